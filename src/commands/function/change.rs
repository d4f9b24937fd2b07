//! `FUNCTION LOAD`, `DELETE`, `FLUSH`, `RESTORE`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::known::{Loading, load_failed, synced};
use crate::commands::{Calls, CommandResult, Error, Program, ServerState, Session};
use crate::data::{DumpPayload, StoredLibrary};
use crate::protocol::Reply;
use crate::script::{LibraryHeader, Registered, Vm};

type Made = Result<Box<dyn Program>, Error>;

fn text(text: impl Into<String>) -> Error {
    Error::Text(text.into())
}

fn shown(word: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(word)
}

/// What is to be done.
enum Change {
    Load { code: Bytes, replace: bool },
    Delete(Bytes),
    Flush,
    Restore { codes: Vec<Bytes>, policy: Policy },
}

/// What becomes of libraries that are there when others are restored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Flush,
    Append,
    Replace,
}

/// As a program.
struct Changing(Change);

fn made(change: Change) -> Made {
    Ok(Box::new(Changing(change)))
}

pub(super) fn load(_: &mut Session, _: &Arc<ServerState>, words: &[Bytes]) -> Made {
    let [_, _, options @ .., code] = words else { return Err(Error::Syntax) };
    if let Some(other) = options.iter().find(|word| !word.eq_ignore_ascii_case(b"replace")) {
        return Err(Error::quoting("ERR Unknown option given: {}", &[other]));
    }
    let code = Bytes::copy_from_slice(code);
    made(Change::Load { code, replace: !options.is_empty() })
}

pub(super) fn delete(_: &mut Session, _: &Arc<ServerState>, words: &[Bytes]) -> Made {
    let name = words.get(2).ok_or(Error::Syntax)?;
    made(Change::Delete(Bytes::copy_from_slice(name)))
}

pub(super) fn flush(_: &mut Session, _: &Arc<ServerState>, words: &[Bytes]) -> Made {
    match words.get(2..).unwrap_or_default() {
        [] => {}
        [how] if how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async") => {}
        [_] => return Err(text("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")),
        _ => return Err(Error::subcommand_syntax(words)),
    }
    made(Change::Flush)
}

pub(super) fn restore(_: &mut Session, state: &Arc<ServerState>, words: &[Bytes]) -> Made {
    let [_, _, payload, options @ ..] = words else { return Err(Error::Syntax) };
    let policy = match options {
        [] => Policy::Append,
        [word] if word.eq_ignore_ascii_case(b"append") => Policy::Append,
        [word] if word.eq_ignore_ascii_case(b"replace") => Policy::Replace,
        [word] if word.eq_ignore_ascii_case(b"flush") => Policy::Flush,
        [_] => {
            return Err(text(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
        _ => return Err(Error::subcommand_syntax(words)),
    };
    let opened = DumpPayload::open(&Bytes::copy_from_slice(payload));
    let opened = opened.ok_or_else(|| text("ERR DUMP payload version or checksum are wrong"))?;
    let bytes_max = state.config.load().proto_max_bulk_len;
    let codes = opened.libraries(bytes_max);
    let codes = codes.ok_or_else(|| text("ERR given type is not a function"))?;
    made(Change::Restore { codes, policy })
}

impl Program for Changing {
    fn run(&mut self, calls: &mut Calls<'_>) -> CommandResult {
        let change = &self.0;
        synced(calls, |vm, calls| carry_out(change, vm, calls))
    }

    fn may_write(&self) -> bool {
        true
    }
}

fn carry_out(change: &Change, vm: &mut Vm, calls: &mut Calls<'_>) -> CommandResult {
    let names = |vm: &Vm| vm.libraries().keys().cloned().collect::<Vec<_>>();
    match change {
        Change::Load { code, replace } => {
            let policy = if *replace { Policy::Replace } else { Policy::Append };
            let added = load_all(std::slice::from_ref(code), policy, true, vm, calls)?;
            calls.change(|edit| Ok(edit.change_libraries(&[], &added)?))?;
            Ok(added.into_iter().next().map(|library| library.name).into())
        }
        Change::Delete(name) => {
            if !vm.libraries().contains_key(name) {
                return Err(text("ERR Library not found"));
            }
            let deleted = std::slice::from_ref(name);
            calls.change(|edit| Ok(edit.change_libraries(deleted, &[])?))?;
            Ok(Reply::OK)
        }
        Change::Flush => {
            let deleted = names(vm);
            calls.change(|edit| Ok(edit.change_libraries(&deleted, &[])?))?;
            Ok(Reply::OK)
        }
        Change::Restore { codes, policy } => {
            let added = load_all(codes, *policy, false, vm, calls)?;
            let deleted = if *policy == Policy::Flush { names(vm) } else { Vec::new() };
            calls.change(|edit| Ok(edit.change_libraries(&deleted, &added)?))?;
            Ok(Reply::OK)
        }
    }
}

/// Loads libraries to see whether they can be, and whether their functions are those of no other;
/// `quoted` is how error texts name a library.
fn load_all(
    codes: &[Bytes],
    policy: Policy,
    quoted: bool,
    vm: &mut Vm,
    calls: &mut Calls<'_>,
) -> Result<Vec<StoredLibrary>, Error> {
    let mut added: BTreeMap<Bytes, (StoredLibrary, Vec<Registered>)> = BTreeMap::new();
    for code in codes {
        let name = LibraryHeader::of(code).map_err(Error::Text)?.name;
        let is_there = policy == Policy::Append && vm.libraries().contains_key(&name);
        if is_there || added.contains_key(&name) {
            let name = shown(&name);
            let name = if quoted { format!("'{name}'") } else { name.into_owned() };
            return Err(text(format!("ERR Library {name} already exists")));
        }
        let functions =
            vm.try_library(code, Loading::new(calls)).map_err(|error| load_failed(calls, error))?;
        let library = StoredLibrary { name: name.clone(), code: code.clone() };
        added.insert(name, (library, functions));
    }
    let kept = vm
        .libraries()
        .iter()
        .filter(|(name, _)| policy != Policy::Flush && !added.contains_key(*name))
        .flat_map(|(_, library)| library.functions());
    let mut names: Vec<Vec<u8>> = kept.map(|function| function.name.to_ascii_lowercase()).collect();
    for (_, functions) in added.values() {
        let own: Vec<_> = functions.iter().map(|f| f.name.to_ascii_lowercase()).collect();
        if let Some(at) = own.iter().position(|name| names.contains(name)) {
            let name = functions.get(at).map(|f| shown(&f.name).into_owned()).unwrap_or_default();
            return Err(text(format!("ERR Function {name} already exists")));
        }
        names.extend(own);
    }
    Ok(added.into_values().map(|(library, _)| library).collect())
}
