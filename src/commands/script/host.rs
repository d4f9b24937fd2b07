//! What a script sees of the server: its calls are those of a program.

use std::sync::Arc;

use bytes::Bytes;

use super::runs::OneRun;
use crate::commands::{Calls, Error, gates};
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
        let counted = |text: Vec<u8>| Ok(Err(Failed { text, counted: true }));
        let command = match self.calls.find_for_script(&words, self.may_write) {
            Ok(command) => command,
            Err(error) => return counted(text_of(&error)),
        };
        self.calls.session().version = version;
        let result = self.calls.call(command, &words);
        if self.calls.is_stopped() {
            return Err(Stop::Again);
        }
        if self.calls.has_written() {
            self.run.note_wrote();
        }
        match result {
            Ok(Reply::Error(text)) => counted(text.into_owned().into()),
            Ok(Reply::RawError(text)) => counted(text.into()),
            Ok(reply) => Ok(Ok(reply)),
            Err(error) => counted(text_of(&error)),
        }
    }

    fn may_call(&mut self, words: &[Bytes]) -> Option<bool> {
        let command = gates::known(words).ok()?;
        Some(self.calls.may_call(command, words))
    }
}

/// The text of an error as it is sent.
fn text_of(error: &Error) -> Vec<u8> {
    error.raw_text().unwrap_or_else(|| error.to_string().into())
}
