//! What a script sees of the server, and who says when it has to stop.

use bytes::Bytes;

use crate::protocol::{Reply, Version};

/// Why a running script has to end at once, whatever it catches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Its time in this place is over.
    Time,
    /// Somebody asked for its end.
    Killed,
    /// The server ends.
    Ending,
    /// One of its calls cannot be carried out here: the whole is run again in another way.
    Again,
}

/// An error of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The text, code first; it may repeat any bytes of a client.
    pub text: Vec<u8>,
    /// Whether the error was counted when it happened.
    pub counted: bool,
}

/// What a script asks of the server.
pub trait Host {
    /// Runs the command `words`, which are at least one, as a client that speaks `version` would.
    ///
    /// # Errors
    /// The error reply; or that the script has to end.
    fn call(&mut self, words: Vec<Bytes>, version: Version) -> Result<Result<Reply, Failed>, Stop>;

    /// Whether the user may call the command `words`; `None` where there is no such command.
    fn may_call(&mut self, words: &[Bytes]) -> Option<bool>;
}

/// Says whether a script may go on. Asked every few thousand instructions.
pub trait Watch: Send + Sync {
    /// Why it has to end now, if it has to.
    fn look(&self) -> Option<Stop>;
}
