//! What commands that wait for keys share.
//!
//! The handler of such a command tries once, in a transaction on the writer. Where it finds nothing it
//! answers what it waits for; the writer keeps the call, and runs it again when one of the keys has
//! got what is waited for.

use bytes::Bytes;

use super::Error;
use crate::data::{Extended, KeyType};
use crate::protocol::Reply;

/// What the handler of a command that may wait answers.
#[derive(Debug)]
pub enum Attempt {
    /// It is done.
    Done(Reply),
    /// There is nothing yet.
    Wait(Wait),
}

/// What a call waits for.
#[derive(Debug)]
pub struct Wait {
    /// Until something is at one of these keys of the selected database.
    pub keys: Vec<Bytes>,
    /// What that has to be.
    pub kind: KeyType,
    /// For how long, in milliseconds; without an end where `None`.
    pub timeout_ms: Option<u64>,
    /// What the call answers when the time is up.
    pub on_timeout: Reply,
    /// What it answers where nothing may wait, in a transaction.
    pub at_once: Reply,
    /// With which words the call is run again, where that are not its own: what it said of now may
    /// have to be said of the time when it came.
    pub again: Option<Vec<Bytes>>,
    /// Whether the call ends when one of its keys goes.
    pub needs_keys: bool,
}

impl Wait {
    /// A call that waits for something of type `kind` at `keys`, and answers a null array when its
    /// time is up.
    #[must_use]
    pub fn new(keys: Vec<Bytes>, kind: KeyType, timeout_ms: Option<u64>) -> Self {
        let (on_timeout, at_once) = (Reply::NullArray, Reply::NullArray);
        let (again, needs_keys) = (None, false);
        Self { keys, kind, timeout_ms, on_timeout, at_once, again, needs_keys }
    }
}

/// A timeout in seconds, as in `BLPOP`: milliseconds, or `None` for 0, which has no end. `now_ms` is
/// the Unix time.
///
/// # Errors
/// Where it is no number, negative, or ends behind the end of time.
pub(super) fn parse_seconds(word: &[u8], now_ms: u64) -> Result<Option<u64>, Error> {
    let refuse = |why: &str| Error::Text(format!("ERR timeout is {why}"));
    let seconds = Extended::parse(word).ok_or_else(|| refuse("not a float or out of range"))?;
    if seconds.is_negative() && seconds.is_infinite() {
        return Err(refuse("negative"));
    }
    let timeout_ms = seconds.scaled_up(1000).ok_or_else(|| refuse("out of range"))?;
    if timeout_ms < 0 {
        return Err(refuse("negative"));
    }
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| refuse("out of range"))?;
    let end = now_ms.checked_add(timeout_ms).filter(|end| i64::try_from(*end).is_ok());
    end.ok_or_else(|| refuse("out of range"))?;
    Ok((timeout_ms > 0).then_some(timeout_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        let parse = |word: &str| {
            parse_seconds(word.as_bytes(), 1_700_000_000_000).map_err(|error| error.to_string())
        };
        assert_eq!(parse("0"), Ok(None));
        assert_eq!(parse("0.0"), Ok(None));
        assert_eq!(parse("1"), Ok(Some(1000)));
        assert_eq!(parse("0.25"), Ok(Some(250)));
        assert_eq!(parse("0.0001"), Ok(Some(1)), "rounded up");
        assert_eq!(parse("-0.0001"), Ok(None), "rounded up");
        assert_eq!(parse("1e3"), Ok(Some(1_000_000)));
        for (word, why) in [
            ("", "not a float or out of range"),
            ("x", "not a float or out of range"),
            (" 1", "not a float or out of range"),
            ("nan", "not a float or out of range"),
            ("-1", "negative"),
            ("-0.5", "negative"),
            ("-inf", "negative"),
            ("inf", "out of range"),
            ("1e30", "out of range"),
            ("0x7FFFFFFFFFFFFFFF", "out of range"),
            ("9223372036854775", "out of range"),
        ] {
            assert_eq!(parse(word), Err(format!("ERR timeout is {why}")), "{word}");
        }
    }
}
