//! `EVAL`, `EVALSHA` and their read-only forms: a script as a program.

use std::sync::Arc;

use bytes::Bytes;

use super::NO_DEBUGGER;
use super::host::Server;
use crate::commands::{Calls, CommandResult, Error, Program, ServerState, Session};
use crate::data::parse_int;
use crate::engine;
use crate::protocol::Reply;
use crate::script::{Failed, Outcome, ScriptId, Shebang, Stop, Vm};

const NO_SCRIPT: &str = "NOSCRIPT No matching script. Please use EVAL.";
const KILLED: &str = "ERR Script killed by user with SCRIPT KILL.";
const ENDING: &str =
    "ERR The server is shutting down; the script was ended, and nothing of it is kept.";
const FUNCTION_KILLED: &str = "ERR Script killed by user with FUNCTION KILL.";

type Made = Result<Box<dyn Program>, Error>;

pub(super) fn eval(session: &mut Session, state: &Arc<ServerState>, words: &[Bytes]) -> Made {
    if session.wants_debugger {
        return Err(Error::Text(NO_DEBUGGER.to_owned()));
    }
    by_text(state, words, false)
}

pub(super) fn eval_ro(_: &mut Session, state: &Arc<ServerState>, words: &[Bytes]) -> Made {
    by_text(state, words, true)
}

pub(super) fn evalsha(_: &mut Session, state: &Arc<ServerState>, words: &[Bytes]) -> Made {
    by_id(state, words, false)
}

pub(super) fn evalsha_ro(_: &mut Session, state: &Arc<ServerState>, words: &[Bytes]) -> Made {
    by_id(state, words, true)
}

fn by_text(state: &ServerState, words: &[Bytes], read_only: bool) -> Made {
    let [_, text, numkeys, rest @ ..] = words else { return Err(Error::Syntax) };
    let split = split(numkeys, rest, || Error::NotAnInteger)?;
    let id = ScriptId::of(text);
    let known = state.scripts.cache.lock().call(id);
    let text = known.unwrap_or_else(|| Bytes::copy_from_slice(text));
    Script::make(id, text, words, split, read_only)
}

fn by_id(state: &ServerState, words: &[Bytes], read_only: bool) -> Made {
    let [_, digits, numkeys, rest @ ..] = words else { return Err(Error::Syntax) };
    let unknown = || Error::Text(NO_SCRIPT.to_owned());
    if digits.len() != 40 {
        return Err(unknown());
    }
    let split = split(numkeys, rest, || Error::NotAnInteger)?;
    let id = ScriptId::parse(digits).ok_or_else(unknown)?;
    let text = state.scripts.cache.lock().call(id).ok_or_else(unknown)?;
    Script::make(id, text, words, split, read_only)
}

/// The keys and the arguments of a call; `no_number` says that `numkeys` is none.
pub(in crate::commands) fn split(
    numkeys: &[u8],
    rest: &[Bytes],
    no_number: impl FnOnce() -> Error,
) -> Result<(Vec<Bytes>, Vec<Bytes>), Error> {
    let number = parse_int(numkeys).ok_or_else(no_number)?;
    let wrong = |text: &str| Error::Text(text.to_owned());
    if number < 0 {
        return Err(wrong("ERR Number of keys can't be negative"));
    }
    let split = usize::try_from(number).ok().and_then(|number| rest.split_at_checked(number));
    let (keys, arguments) =
        split.ok_or_else(|| wrong("ERR Number of keys can't be greater than number of args"))?;
    Ok((keys.to_vec(), arguments.to_vec()))
}

/// The first line of a script.
pub(super) fn shebang(text: &[u8]) -> Result<Shebang, Error> {
    Shebang::of_script(text).map_err(Error::Text)
}

/// Has a machine know the script.
pub(super) fn compile(
    vm: &mut Vm,
    id: ScriptId,
    text: &[u8],
    shebang: &Shebang,
) -> Result<(), Error> {
    vm.compile(id, text, shebang.length)
        .map_err(|error| Error::Text(format!("ERR Error compiling script (new function): {error}")))
}

/// A script that is called.
struct Script {
    id: ScriptId,
    text: Bytes,
    shebang: Shebang,
    words: Vec<Bytes>,
    keys: Vec<Bytes>,
    arguments: Vec<Bytes>,
    may_write: bool,
}

impl Script {
    fn make(
        id: ScriptId,
        text: Bytes,
        words: &[Bytes],
        (keys, arguments): (Vec<Bytes>, Vec<Bytes>),
        read_only: bool,
    ) -> Made {
        let shebang = shebang(&text)?;
        let may_write = !read_only && !shebang.flags.no_writes;
        Ok(Box::new(Self { id, text, shebang, words: words.to_vec(), keys, arguments, may_write }))
    }

    fn run_on(&self, vm: &mut Vm, calls: &mut Calls<'_>) -> CommandResult {
        compile(vm, self.id, &self.text, &self.shebang)?;
        let state = Arc::clone(calls.state());
        if !calls.is_dry() {
            state.scripts.cache.lock().evaluate(self.id, &self.text);
        }
        let runs = &state.scripts.runs;
        let entry = runs.begin(&state.clock, calls, self.id.to_string(), false, &self.words);
        let run = Arc::clone(&entry.run);
        let watch = Arc::clone(&entry.run);
        let mut server = Server { calls, may_write: self.may_write, run };
        server.calls.set_in_script(true);
        let ended = vm.run(self.id, &self.keys, &self.arguments, &mut server, watch);
        finish(ended, calls, false)
    }
}

/// What a script or a function answers.
pub(in crate::commands) fn finish(
    ended: Result<Outcome, Stop>,
    calls: &mut Calls<'_>,
    is_function: bool,
) -> CommandResult {
    calls.set_in_script(false);
    match ended {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(Failed { text, counted: true })) => Ok(Reply::error_of(text)),
        Ok(Err(Failed { text, .. })) => Err(Error::Quoting(text)),
        Err(why @ (Stop::Killed | Stop::Ending)) => {
            if calls.has_written() {
                // By the end of the server, or between the look of `SCRIPT KILL` and its own.
                calls.undo();
            }
            let text = match (why, is_function) {
                (Stop::Ending, _) => ENDING,
                (_, true) => FUNCTION_KILLED,
                (_, false) => KILLED,
            };
            Err(Error::Text(text.to_owned()))
        }
        Err(why) => {
            if why == Stop::Time {
                calls.stop_for_time();
            }
            Err(Error::Engine(engine::Error::WouldBlock))
        }
    }
}

impl Program for Script {
    fn run(&mut self, calls: &mut Calls<'_>) -> CommandResult {
        let state = Arc::clone(calls.state());
        let machines = &state.scripts.machines;
        if calls.is_on_writer() {
            machines.writer(&state, |vm| self.run_on(vm, calls))?
        } else {
            machines.reader(&state, |vm| self.run_on(vm, calls))?
        }
    }

    fn may_write(&self) -> bool {
        self.may_write
    }
}
