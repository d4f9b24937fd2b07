//! Ids in the arguments of stream commands.

use super::{Error, StreamId, text};

fn invalid() -> Error {
    text("ERR Invalid stream ID specified as stream command argument")
}

/// An id; without its number that is `missing_seq`.
pub(super) fn strict(word: &[u8], missing_seq: u64) -> Result<StreamId, Error> {
    StreamId::parse(word, missing_seq).ok_or_else(invalid)
}

/// An id without a number that may be missing, or with `*` for it.
pub(super) fn open(word: &[u8]) -> Result<(u64, Option<u64>), Error> {
    StreamId::parse_open(word).ok_or_else(invalid)
}

/// An id, or `-` for the smallest, or `+` for the largest one.
pub(super) fn any(word: &[u8], missing_seq: u64) -> Result<StreamId, Error> {
    match word {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => strict(word, missing_seq),
    }
}

/// Where a range starts; behind the id where a bracket stands before it.
pub(super) fn start(word: &[u8]) -> Result<StreamId, Error> {
    match word.strip_prefix(b"(").filter(|id| !id.is_empty()) {
        None => any(word, 0),
        Some(id) => {
            strict(id, 0)?.next().ok_or_else(|| text("ERR invalid start ID for the interval"))
        }
    }
}

/// Where a range ends; before the id where a bracket stands before it.
pub(super) fn end(word: &[u8]) -> Result<StreamId, Error> {
    match word.strip_prefix(b"(").filter(|id| !id.is_empty()) {
        None => any(word, u64::MAX),
        Some(id) => {
            let id = strict(id, u64::MAX)?.previous();
            id.ok_or_else(|| text("ERR invalid end ID for the interval"))
        }
    }
}
