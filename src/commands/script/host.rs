//! What a script sees of the server: its calls are those of a program.

use std::sync::Arc;

use bytes::Bytes;

use super::runs::OneRun;
use crate::commands::gates;
use crate::commands::table::Command;
use crate::commands::{Calls, Flags};
use crate::protocol::{Reply, Version};
use crate::script::{Failed, Host, Stop};

/// The server, for one run of a script.
pub(in crate::commands) struct Server<'c, 'a> {
    pub(in crate::commands) calls: &'c mut Calls<'a>,
    pub(in crate::commands) may_write: bool,
    pub(in crate::commands) run: Arc<OneRun>,
}

impl Host for Server<'_, '_> {
    fn call(&mut self, words: Vec<Bytes>, version: Version) -> Result<Result<Reply, Failed>, Stop> {
        let counted = |text: String| Ok(Err(Failed { text, counted: true }));
        let command = match self.calls.find_for_script(&words, self.may_write) {
            Ok(command) => command,
            Err(error) => return counted(error.to_string()),
        };
        if asks_to_wait(command, &words) {
            let name = command.full_name;
            let text = format!("ERR {name} command is not allowed with BLOCK option from scripts");
            return Ok(Err(Failed { text, counted: false }));
        }
        self.calls.session().version = version;
        let result = self.calls.call(command, &words);
        if self.calls.is_stopped() {
            return Err(Stop::Again);
        }
        if self.calls.has_written() {
            self.run.note_wrote();
        }
        match result {
            Ok(Reply::Error(text)) => counted(text.into_owned()),
            Ok(reply) => Ok(Ok(reply)),
            Err(error) => counted(error.to_string()),
        }
    }

    fn may_call(&mut self, words: &[Bytes]) -> Option<bool> {
        let command = gates::known(words).ok()?;
        Some(self.calls.may_call(command, words))
    }
}

/// Whether a call that reads streams says that it waits.
fn asks_to_wait(command: &Command, words: &[Bytes]) -> bool {
    if !command.flags.has(Flags::BLOCKING) {
        return false;
    }
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if is("BLOCK") {
            return true;
        }
        let skipped = match () {
            () if is("GROUP") => 2,
            () if is("COUNT") => 1,
            () if is("NOACK") => 0,
            () => return false,
        };
        words.by_ref().take(skipped).for_each(drop);
    }
    false
}
