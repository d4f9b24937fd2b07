//! Every error reply. One `Display` holds all texts.

use bytes::Bytes;

use crate::engine;
use crate::env::NoRoom;
use crate::protocol::Reply;

/// What a handler answers.
pub type CommandResult = Result<Reply, Error>;

/// An error reply; its `Display` is the text on the wire, code first, without the minus sign.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The options do not parse.
    Syntax,
    /// A call that may wait has found nothing: see [`super::Run::ReadOrBlock`]. No client sees it.
    NothingYet,
    /// A reply of so many items is too long to be gathered: it is to be sent while it is made. Or the call
    /// itself takes longer than others can wait for. No client sees it.
    TooLong(usize),
    /// The command, or all together, would hold more memory than they may.
    OutOfMemory,
    /// A call of the wrong length; the command's full name (`get`, `object|freq`).
    WrongArity(&'static str),
    /// No command of that name; the name and the arguments, both shortened, as the text repeats
    /// them.
    UnknownCommand {
        /// As it was sent.
        name: Vec<u8>,
        /// Each in quotes, with a blank behind it.
        args: Vec<u8>,
    },
    /// No subcommand of that name.
    UnknownSubcommand {
        /// The command, in upper case.
        container: Vec<u8>,
        /// As it was sent, shortened.
        name: Vec<u8>,
    },
    /// The connection has to authenticate first.
    NotAuthenticated,
    /// An integer was expected.
    NotAnInteger,
    /// An integer of 32 bits was expected.
    Not32Bits,
    /// A number was expected.
    NotAFloat,
    /// The key holds another type.
    WrongType,
    /// The key does not exist.
    NoSuchKey,
    /// Source and destination are one and the same.
    SameObject,
    /// No database has this number.
    DbOutOfRange,
    /// `SWAPDB`: the first or the second number is none.
    InvalidDbIndex(&'static str),
    /// The expiry is not positive where it has to be, or too far away; the command's name.
    InvalidExpire(&'static str),
    /// An option that `EXPIRE` does not know.
    UnsupportedOption(Vec<u8>),
    /// Options of `EXPIRE` that exclude each other.
    ExpireNxWithOthers,
    /// Options of `EXPIRE` that exclude each other.
    ExpireGtWithLt,
    /// The string would be longer than `proto-max-bulk-len`.
    StringTooLong,
    /// A negative offset.
    OffsetOutOfRange,
    /// A bit offset that is none, or beyond the longest string.
    BitOffset,
    /// The sum leaves 64 bits.
    IncrementOverflow,
    /// The decrement cannot be negated.
    DecrementOverflow,
    /// The sum is no finite number.
    NanOrInfinity,
    /// The value of a field is no integer.
    HashNotAnInteger,
    /// The value of a field is no number.
    HashNotAFloat,
    /// An infinite increment.
    NotFinite,
    /// A negative number, or none, where a count was expected.
    MustBePositive,
    /// `HEXPIRE` with a negative time.
    NegativeFieldExpire,
    /// No `FIELDS` where it has to be.
    NoFieldsArgument,
    /// More or fewer fields than announced.
    WrongFieldCount,
    /// `SINTERCARD` without keys.
    NoKeys,
    /// `SINTERCARD` of more keys than there are words.
    TooManyKeys,
    /// `SINTERCARD` with a negative limit.
    NegativeLimit,
    /// `NOVALUES` of another scan than `HSCAN`.
    NoValuesOfHashes,
    /// `SCAN` with a cursor that is no number.
    InvalidCursor,
    /// `LCS` of keys that hold no strings.
    LcsNotStrings,
    /// `LCS` with `LEN` and `IDX`.
    LcsLenWithIdx,
    /// `LCS` of strings whose table would be too large.
    LcsTooLarge,
    /// `OBJECT IDLETIME` under a policy that counts frequencies.
    IdleTimeNotTracked,
    /// `OBJECT FREQ` under a policy that does not.
    FrequencyNotTracked,
    /// The engine could not do it; `WouldBlock` means: run again on the blocking pool.
    Engine(engine::Error),
    /// A text that belongs to one place only, code included.
    Text(String),
    /// As [`Self::Text`], of a text that repeats words of the client: see [`Self::quoting`].
    Quoting(Vec<u8>),
}

impl Error {
    /// Whether a look-up could not be made where others wait.
    pub(crate) fn is_blocked(&self) -> bool {
        matches!(self, Self::Engine(crate::engine::Error::WouldBlock))
    }

    /// The error of this text, in which each `{}` stands for the next of `words`, which may be any bytes.
    #[must_use]
    pub fn quoting(text: &str, words: &[&[u8]]) -> Self {
        let mut words = words.iter();
        let mut quoting = Vec::new();
        for (number, part) in text.split("{}").enumerate() {
            if number > 0 {
                quoting.extend_from_slice(words.next().copied().unwrap_or_default());
            }
            quoting.extend_from_slice(part.as_bytes());
        }
        debug_assert!(words.next().is_none(), "each word has its place");
        Self::Quoting(quoting)
    }

    /// The text on the wire of an error that repeats words of the client, which may be any bytes.
    #[must_use]
    pub fn raw_text(&self) -> Option<Vec<u8>> {
        let parts: [&[u8]; 5] = match self {
            Self::UnknownCommand { name, args } => {
                [b"ERR unknown command '", name, b"', with args beginning with: ", args, b""]
            }
            Self::UnknownSubcommand { container, name } => {
                [b"ERR unknown subcommand '", name, b"'. Try ", container, b" HELP."]
            }
            Self::UnsupportedOption(word) => [b"ERR Unsupported option ", word, b"", b"", b""],
            Self::Quoting(text) => return Some(text.clone()),
            _ => return None,
        };
        Some(parts.concat())
    }

    /// A call of a container whose subcommand takes no such arguments; `words` are all of the call.
    #[must_use]
    pub fn subcommand_syntax(words: &[Bytes]) -> Self {
        let word = |at: usize| words.get(at).map_or(&b""[..], |word| word);
        Self::quoting(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try {} HELP.",
            &[word(1), &word(0).to_ascii_uppercase()],
        )
    }
}

/// The text of the error that a call answers, for those who count it.
pub(super) fn text_of(result: &CommandResult) -> Option<Box<str>> {
    match result {
        Err(error) => Some(error.to_string().into()),
        Ok(Reply::Error(text)) => Some(Box::from(&**text)),
        Ok(Reply::RawError(text)) => Some(String::from_utf8_lossy(text).into()),
        Ok(_) => None,
    }
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        match error {
            engine::Error::NoRoom => Self::OutOfMemory,
            error => Self::Engine(error),
        }
    }
}

impl From<NoRoom> for Error {
    fn from(_: NoRoom) -> Self {
        Self::OutOfMemory
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::Syntax => "ERR syntax error",
            Self::NothingYet => "ERR nothing to read yet",
            Self::TooLong(_) => "ERR a reply is too long",
            Self::OutOfMemory => {
                "OOM command not allowed: it takes more memory than 'maxmemory' leaves to commands"
            }
            Self::WrongArity(name) => {
                return write!(f, "ERR wrong number of arguments for '{name}' command");
            }
            Self::UnknownCommand { .. }
            | Self::UnknownSubcommand { .. }
            | Self::UnsupportedOption(_)
            | Self::Quoting(_) => {
                return f.write_str(&String::from_utf8_lossy(&self.raw_text().unwrap_or_default()));
            }
            Self::NotAuthenticated => "NOAUTH Authentication required.",
            Self::NotAnInteger => "ERR value is not an integer or out of range",
            Self::Not32Bits => {
                "ERR value is out of range, value must between -2147483648 and 2147483647"
            }
            Self::NotAFloat => "ERR value is not a valid float",
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::NoSuchKey => "ERR no such key",
            Self::SameObject => "ERR source and destination objects are the same",
            Self::DbOutOfRange => "ERR DB index is out of range",
            Self::InvalidDbIndex(which) => return write!(f, "ERR invalid {which} DB index"),
            Self::InvalidExpire(name) => {
                return write!(f, "ERR invalid expire time in '{name}' command");
            }
            Self::ExpireNxWithOthers => {
                "ERR NX and XX, GT or LT options at the same time are not compatible"
            }
            Self::ExpireGtWithLt => "ERR GT and LT options at the same time are not compatible",
            Self::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::OffsetOutOfRange => "ERR offset is out of range",
            Self::BitOffset => "ERR bit offset is not an integer or out of range",
            Self::IncrementOverflow => "ERR increment or decrement would overflow",
            Self::DecrementOverflow => "ERR decrement would overflow",
            Self::NanOrInfinity => "ERR increment would produce NaN or Infinity",
            Self::HashNotAnInteger => "ERR hash value is not an integer",
            Self::HashNotAFloat => "ERR hash value is not a float",
            Self::NotFinite => "ERR value is NaN or Infinity",
            Self::MustBePositive => "ERR value is out of range, must be positive",
            Self::NegativeFieldExpire => "ERR invalid expire time, must be >= 0",
            Self::NoFieldsArgument => {
                "ERR Mandatory argument FIELDS is missing or not at the right position"
            }
            Self::WrongFieldCount => {
                "ERR The `numfields` parameter must match the number of arguments"
            }
            Self::NoKeys => "ERR numkeys should be greater than 0",
            Self::TooManyKeys => "ERR Number of keys can't be greater than number of args",
            Self::NegativeLimit => "ERR LIMIT can't be negative",
            Self::NoValuesOfHashes => "ERR NOVALUES option can only be used in HSCAN",
            Self::InvalidCursor => "ERR invalid cursor",
            Self::LcsNotStrings => "ERR The specified keys must contain string values",
            Self::LcsLenWithIdx => {
                "ERR If you want both the length and indexes, please just use IDX."
            }
            Self::LcsTooLarge => {
                "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"
            }
            Self::IdleTimeNotTracked => {
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that \
                 when switching between policies at runtime LRU and LFU data will take some time \
                 to adjust."
            }
            Self::FrequencyNotTracked => {
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please \
                 note that when switching between policies at runtime LRU and LFU data will take \
                 some time to adjust."
            }
            Self::Engine(engine::Error::NoSpace(why)) => {
                return write!(f, "MISCONF Errors writing to the AOF file: {why}");
            }
            Self::Engine(engine::Error::Poisoned(why)) => {
                let remedy = "reads go on, writes are refused until the server is restarted";
                return write!(f, "MISCONF Errors writing to the AOF file: {why}; {remedy}");
            }
            Self::Engine(error) => return write!(f, "ERR {error}"),
            Self::Text(text) => text,
        };
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts that clients and the upstream suite look for.
    #[test]
    fn golden_texts() {
        for (error, text) in [
            (Error::Syntax, "ERR syntax error"),
            (Error::WrongArity("mset"), "ERR wrong number of arguments for 'mset' command"),
            (
                Error::UnknownCommand { name: b"get2".to_vec(), args: b"'a' 'b' ".to_vec() },
                "ERR unknown command 'get2', with args beginning with: 'a' 'b' ",
            ),
            (
                Error::UnknownSubcommand { container: b"CONFIG".to_vec(), name: b"get2".to_vec() },
                "ERR unknown subcommand 'get2'. Try CONFIG HELP.",
            ),
            (Error::NotAuthenticated, "NOAUTH Authentication required."),
            (Error::NotAnInteger, "ERR value is not an integer or out of range"),
            (Error::NotAFloat, "ERR value is not a valid float"),
            (Error::WrongType, "WRONGTYPE Operation against a key holding the wrong kind of value"),
            (Error::NoSuchKey, "ERR no such key"),
            (Error::DbOutOfRange, "ERR DB index is out of range"),
            (Error::InvalidDbIndex("first"), "ERR invalid first DB index"),
            (Error::InvalidExpire("set"), "ERR invalid expire time in 'set' command"),
            (Error::UnsupportedOption(b"ab".to_vec()), "ERR Unsupported option ab"),
            (Error::quoting("ERR '{}' and {}", &[b"a", b"{}"]), "ERR 'a' and {}"),
            (Error::InvalidCursor, "ERR invalid cursor"),
            (Error::Text("ERR x".to_owned()), "ERR x"),
            (Error::Engine(engine::Error::Limit("too long")), "ERR too long"),
        ] {
            assert_eq!(error.to_string(), text);
        }
        let refused = Error::Engine(engine::Error::Poisoned("disk full".into())).to_string();
        assert_eq!(
            refused,
            "MISCONF Errors writing to the AOF file: disk full; reads go on, writes are refused \
             until the server is restarted"
        );
        let full = Error::Engine(engine::Error::NoSpace("No space left on device".into()));
        assert_eq!(
            full.to_string(),
            "MISCONF Errors writing to the AOF file: No space left on device"
        );
    }
}
