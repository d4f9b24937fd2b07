//! From a field of `Settings` to the two functions of a kind.

use crate::config::{AppendFsync, AuthClients, LogLevel, MaxmemoryPolicy, Protection, Supervision};

/// A whole number that a setting may be kept in.
pub(super) trait Number: Copy {
    /// As a setting shows it; what does not fit is the greatest number.
    fn to_i64(self) -> i64;
    /// From a number within the bounds of the setting, which fit the type.
    fn from_i64(value: i64) -> Self;
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn to_i64(self) -> i64 {
                i64::try_from(self).unwrap_or(i64::MAX)
            }
            fn from_i64(value: i64) -> Self {
                Self::try_from(value).unwrap_or_default()
            }
        }
    )*};
}

number!(u16, u32, u64, usize, i32, i64);

/// One of a few words.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// The words, in the order of `ALL`.
    const NAMES: &'static [&'static str];
    /// The values.
    const ALL: &'static [Self];

    /// Its place in both lists.
    fn index(self) -> usize {
        Self::ALL.iter().position(|value| *value == self).unwrap_or_default()
    }
}

macro_rules! word {
    ($type:ty: $($name:literal = $variant:ident),* $(,)?) => {
        impl Word for $type {
            const NAMES: &'static [&'static str] = &[$($name),*];
            const ALL: &'static [Self] = &[$(Self::$variant),*];
        }
    };
}

word!(AppendFsync: "everysec" = EverySecond, "always" = Always, "no" = No);
word!(LogLevel: "debug" = Debug, "verbose" = Verbose, "notice" = Notice, "warning" = Warning,
    "nothing" = Nothing);
word!(MaxmemoryPolicy: "volatile-lru" = VolatileLru, "volatile-lfu" = VolatileLfu,
    "volatile-random" = VolatileRandom, "volatile-ttl" = VolatileTtl, "allkeys-lru" = AllkeysLru,
    "allkeys-lfu" = AllkeysLfu, "allkeys-random" = AllkeysRandom, "noeviction" = NoEviction);
word!(AuthClients: "no" = No, "yes" = Yes, "optional" = Optional);
word!(Supervision: "upstart" = Upstart, "systemd" = Systemd, "auto" = Auto, "no" = No);
word!(Protection: "no" = No, "yes" = Yes, "local" = Local);

macro_rules! switch {
    ($($field:ident).+) => {
        Kind::Switch {
            get: |settings| settings.$($field).+,
            set: |settings, value| settings.$($field).+ = value,
        }
    };
}

macro_rules! integer {
    ($($field:ident).+, $min:expr, $max:expr) => {
        Kind::Integer {
            min: $min,
            max: $max,
            get: |settings| Number::to_i64(settings.$($field).+),
            set: |settings, value| settings.$($field).+ = Number::from_i64(value),
        }
    };
}

macro_rules! memory {
    ($($field:ident).+, $min:expr, $max:expr) => {
        Kind::Memory {
            min: $min,
            max: $max,
            get: |settings| settings.$($field).+,
            set: |settings, value| settings.$($field).+ = value,
        }
    };
}

macro_rules! choice {
    ($($field:ident).+: $type:ty) => {
        Kind::Choice {
            names: <$type as Word>::NAMES,
            get: |settings| settings.$($field).+.index(),
            set: |settings, at| {
                settings.$($field).+ = <$type as Word>::ALL.get(at).copied().unwrap_or_default();
            },
        }
    };
}

macro_rules! text {
    ($($field:ident).+) => {
        Kind::Text {
            get: |settings| &settings.$($field).+,
            set: |settings, value| settings.$($field).+ = value,
        }
    };
}

pub(super) use {choice, integer, memory, switch, text};
