//! `FUNCTION LIST`, `DUMP`, `STATS`.

use std::sync::Arc;

use bytes::Bytes;

use super::known::synced;
use crate::commands::{Calls, CommandResult, Error, Program, ServerState, Session};
use crate::data::{dump_libraries, glob_matches, stored_libraries};
use crate::engine::Read;
use crate::protocol::Reply;
use crate::script::{Library, Registered};

type Made = Result<Box<dyn Program>, Error>;

/// What is asked.
enum Question {
    List { pattern: Option<Bytes>, with_code: bool },
    Dump,
    Stats,
}

impl Program for Question {
    fn run(&mut self, calls: &mut Calls<'_>) -> CommandResult {
        match self {
            Self::List { pattern, with_code } => answer_list(calls, pattern.as_deref(), *with_code),
            Self::Dump => {
                let stored = calls.look(|read: &dyn Read| stored_libraries(read))?;
                let codes = stored.iter().map(|library| &library.code[..]);
                Ok(Reply::Bulk(dump_libraries(codes)))
            }
            Self::Stats => answer_stats(calls),
        }
    }

    fn may_write(&self) -> bool {
        false
    }
}

pub(super) fn dump(_: &mut Session, _: &Arc<ServerState>, _: &[Bytes]) -> Made {
    Ok(Box::new(Question::Dump))
}

pub(super) fn stats(_: &mut Session, _: &Arc<ServerState>, _: &[Bytes]) -> Made {
    Ok(Box::new(Question::Stats))
}

pub(super) fn list(_: &mut Session, _: &Arc<ServerState>, words: &[Bytes]) -> Made {
    let text = |text: String| Error::Text(text);
    let (mut pattern, mut with_code) = (None, false);
    let mut words = words.iter().skip(2);
    while let Some(word) = words.next() {
        if !with_code && word.eq_ignore_ascii_case(b"withcode") {
            with_code = true;
        } else if pattern.is_none() && word.eq_ignore_ascii_case(b"libraryname") {
            let missing = || text("ERR library name argument was not given".to_owned());
            pattern = Some(Bytes::copy_from_slice(words.next().ok_or_else(missing)?));
        } else {
            return Err(Error::quoting("ERR Unknown argument {}", &[word]));
        }
    }
    Ok(Box::new(Question::List { pattern, with_code }))
}

fn answer_list(calls: &mut Calls<'_>, pattern: Option<&[u8]>, with_code: bool) -> CommandResult {
    let stored = calls.look(|read: &dyn Read| stored_libraries(read))?;
    synced(calls, |vm, _| {
        let asked = stored.iter().filter(|library| {
            pattern.is_none_or(|pattern| glob_matches(pattern, &library.name, true))
        });
        let items = asked.filter_map(|stored| {
            let library = vm.libraries().get(&stored.name)?;
            let mut fields = describe(&stored.name, library);
            if with_code {
                fields.push(("library_code".into(), stored.code.clone().into()));
            }
            Some(Reply::Map(fields))
        });
        Ok(Reply::Array(items.collect()))
    })
}

fn describe(name: &Bytes, library: &Library) -> Vec<(Reply, Reply)> {
    let function = |function: &Registered| {
        let flags = function.flags.words().map(Reply::simple).collect();
        Reply::Map(vec![
            ("name".into(), function.name.clone().into()),
            ("description".into(), function.description.clone().into()),
            ("flags".into(), Reply::Set(flags)),
        ])
    };
    vec![
        ("library_name".into(), name.clone().into()),
        ("engine".into(), "LUA".into()),
        ("functions".into(), Reply::Array(library.functions().map(function).collect())),
    ]
}

fn answer_stats(calls: &mut Calls<'_>) -> CommandResult {
    let (libraries, functions) = synced(calls, |vm, _| {
        let functions = vm.libraries().values().map(|library| library.functions().count()).sum();
        Ok((vm.libraries().len(), functions))
    })?;
    let state = calls.state();
    let running = match state.scripts.runs.running(&*state.clock) {
        None => Reply::Null,
        Some(run) => Reply::Map(vec![
            ("name".into(), run.name.into()),
            ("command".into(), Reply::array(run.words)),
            ("duration_ms".into(), run.elapsed_ms.into()),
        ]),
    };
    let counts = Reply::Map(vec![
        ("libraries_count".into(), Reply::count(libraries)),
        ("functions_count".into(), Reply::count(functions)),
    ]);
    Ok(Reply::Map(vec![
        ("running_script".into(), running),
        ("engines".into(), Reply::Map(vec![("LUA".into(), counts)])),
    ]))
}
