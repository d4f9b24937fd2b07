//! `FCALL` and `FCALL_RO`: a function as a program.

use std::sync::Arc;

use bytes::Bytes;

use super::known::{synced, writes_nothing};
use crate::commands::script::{Server, finish, split};
use crate::commands::{Calls, CommandResult, Error, Program, ServerState, Session};
use crate::script::Vm;

const NOT_FOUND: &str = "ERR Function not found";
const MAY_WRITE: &str = "ERR Can not execute a script with write flag using *_ro command.";
const REPLACED: &str = "ERR the function was replaced while it was called";

type Made = Result<Box<dyn Program>, Error>;

pub(super) fn fcall(session: &mut Session, state: &Arc<ServerState>, words: &[Bytes]) -> Made {
    FunctionCall::make(session, state, words, false)
}

pub(super) fn fcall_ro(session: &mut Session, state: &Arc<ServerState>, words: &[Bytes]) -> Made {
    FunctionCall::make(session, state, words, true)
}

/// A function that is called.
struct FunctionCall {
    words: Vec<Bytes>,
    /// Whether the command was `FCALL_RO`.
    read_only: bool,
    may_write: bool,
}

impl FunctionCall {
    fn make(session: &Session, state: &Arc<ServerState>, words: &[Bytes], read_only: bool) -> Made {
        let name = words.get(1).ok_or(Error::Syntax)?;
        let may_write = !read_only && !writes_nothing(session, state, name);
        Ok(Box::new(Self { words: words.to_vec(), read_only, may_write }))
    }

    fn run_on(&self, vm: &mut Vm, calls: &mut Calls<'_>) -> CommandResult {
        let text = |text: &str| Error::Text(text.to_owned());
        let [_, name, numkeys, rest @ ..] = &self.words[..] else { return Err(Error::Syntax) };
        let function = vm.find_function(name).ok_or_else(|| text(NOT_FOUND))?;
        let writes_nothing = function.flags.no_writes;
        let shown = String::from_utf8_lossy(&function.name).into_owned();
        let (keys, arguments) = split(numkeys, rest, || text("ERR Bad number of keys provided"))?;
        if !writes_nothing && self.read_only {
            return Err(text(MAY_WRITE));
        }
        if !writes_nothing && !self.may_write {
            return Err(text(REPLACED));
        }
        let state = Arc::clone(calls.state());
        let entry = state.scripts.runs.begin(&state.clock, calls, shown, true, &self.words);
        let run = Arc::clone(&entry.run);
        let watch = Arc::clone(&entry.run);
        let mut server = Server { calls, may_write: !writes_nothing, run };
        server.calls.set_in_script(true);
        let ended = vm.call_function(name, &keys, &arguments, &mut server, watch);
        finish(ended.ok_or_else(|| text(NOT_FOUND))?, calls, true)
    }
}

impl Program for FunctionCall {
    fn run(&mut self, calls: &mut Calls<'_>) -> CommandResult {
        synced(calls, |vm, calls| self.run_on(vm, calls))
    }

    fn may_write(&self) -> bool {
        self.may_write
    }
}
