//! The expiry options that several commands share: `EX`, `PX`, `EXAT`, `PXAT`, `KEEPTTL`,
//! `PERSIST`.

use bytes::Bytes;

use super::{Args, Error};
use crate::data::parse_int;

/// Unit of a time in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// An expiry as it stands in the call. Only one may be given; the same one may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExpiryOption<'a> {
    /// Not given.
    None,
    /// `KEEPTTL`.
    Keep,
    /// `PERSIST`.
    Persist,
    /// `EX` and its kind.
    Time {
        /// Unit of `time`.
        unit: TimeUnit,
        /// Whether `time` is a Unix time, not a duration.
        absolute: bool,
        /// The number, not parsed yet: options are checked before numbers.
        time: &'a Bytes,
    },
}

/// What becomes of a key's expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// Nothing was said.
    None,
    /// It stays as it is.
    Keep,
    /// It is taken away.
    Persist,
    /// It is this, in Unix milliseconds.
    At(u64),
}

impl<'a> ExpiryOption<'a> {
    /// Reads one of `EX`, `PX`, `EXAT`, `PXAT` and its number, if that comes next.
    pub(super) fn eat(&mut self, args: &mut Args<'a>) -> Result<bool, Error> {
        let words = [
            ("EX", TimeUnit::Seconds, false),
            ("PX", TimeUnit::Milliseconds, false),
            ("EXAT", TimeUnit::Seconds, true),
            ("PXAT", TimeUnit::Milliseconds, true),
        ];
        let Some((_, unit, absolute)) = words.into_iter().find(|(word, ..)| args.eat(word)) else {
            return Ok(false);
        };
        match *self {
            Self::None => {}
            Self::Time { unit: u, absolute: a, .. } if (u, a) == (unit, absolute) => {}
            _ => return Err(Error::Syntax),
        }
        *self = Self::Time { unit, absolute, time: args.next_bytes()? };
        Ok(true)
    }

    /// Reads `KEEPTTL`, if that comes next and nothing else was given.
    pub(super) fn eat_keep(&mut self, args: &mut Args<'a>) -> bool {
        self.eat_word(args, "KEEPTTL", Self::Keep)
    }

    /// Reads `PERSIST`, if that comes next and nothing else was given.
    pub(super) fn eat_persist(&mut self, args: &mut Args<'a>) -> bool {
        self.eat_word(args, "PERSIST", Self::Persist)
    }

    fn eat_word(&mut self, args: &mut Args<'a>, word: &str, option: Self) -> bool {
        let found = (*self == Self::None || *self == option) && args.eat(word);
        if found {
            *self = option;
        }
        found
    }

    /// The expiry that was asked for; `command` is named in the error.
    pub(super) fn resolve(self, command: &'static str, now_ms: u64) -> Result<Expiry, Error> {
        let (unit, absolute, time) = match self {
            Self::None => return Ok(Expiry::None),
            Self::Keep => return Ok(Expiry::Keep),
            Self::Persist => return Ok(Expiry::Persist),
            Self::Time { unit, absolute, time } => (unit, absolute, time),
        };
        let time = parse_int(time).ok_or(Error::NotAnInteger)?;
        let now_ms = if absolute { 0 } else { now_ms };
        let at_ms = if time > 0 { expires_at(time, unit, now_ms) } else { None };
        let at_ms = at_ms.and_then(|at_ms| u64::try_from(at_ms).ok());
        at_ms.map(Expiry::At).ok_or(Error::InvalidExpire(command))
    }
}

/// `time` behind `now_ms`, in milliseconds; `None` where that leaves 64 bits.
pub(super) fn expires_at(time: i64, unit: TimeUnit, now_ms: u64) -> Option<i64> {
    let time_ms = match unit {
        TimeUnit::Seconds => time.checked_mul(1000)?,
        TimeUnit::Milliseconds => time,
    };
    time_ms.checked_add(i64::try_from(now_ms).ok()?)
}
