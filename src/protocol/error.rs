//! What a client may do wrong on the wire. Each answer is followed by the end of the connection.

use std::fmt;
use std::io;

/// A violation of the protocol; its `Display` is the text of the error reply, code first. The
/// connection is closed after that reply.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An inline command without an end within the limit.
    TooBigInline,
    /// Quotes of an inline command that do not close.
    UnbalancedQuotes,
    /// No end of line where the number of arguments should stand.
    TooBigMultibulkCount,
    /// The number of arguments is not a number, or above the limit.
    InvalidMultibulkLength,
    /// More arguments than a client may send before it has authenticated.
    UnauthenticatedMultibulkLength,
    /// No end of line where the length of an argument should stand.
    TooBigBulkCount,
    /// An argument does not start with `$` but with this byte.
    ExpectedDollar(u8),
    /// The length of an argument is not a number, or above the limit.
    InvalidBulkLength,
    /// A longer argument than a client may send before it has authenticated.
    UnauthenticatedBulkLength,
    /// A line of an HTTP request: a browser is made to attack a server that it can reach. The
    /// connection is closed without a reply, as in Redis.
    CrossProtocol,
    /// The socket failed. No reply can be sent.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::TooBigInline => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::TooBigMultibulkCount => "too big mbulk count string",
            Self::InvalidMultibulkLength => "invalid multibulk length",
            Self::UnauthenticatedMultibulkLength => "unauthenticated multibulk length",
            Self::TooBigBulkCount => "too big bulk count string",
            Self::ExpectedDollar(found) => {
                let shown = if found.is_ascii_control() { b' ' } else { *found };
                return write!(f, "ERR Protocol error: expected '$', got '{}'", char::from(shown));
            }
            Self::InvalidBulkLength => "invalid bulk length",
            Self::UnauthenticatedBulkLength => "unauthenticated bulk length",
            Self::CrossProtocol => "possible cross protocol scripting",
            Self::Io(error) => return write!(f, "{error}"),
        };
        write!(f, "ERR Protocol error: {text}")
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
