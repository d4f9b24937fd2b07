//! Durability and databases.

use super::access::{Number, Word, choice, integer, memory, text};
use crate::config::AppendFsync;
use crate::config::kind::{Kind, Setting};

/// Most background ticks per second.
const HZ_MAX: i64 = 500;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new("dir", text!(dir), "./data", "Data directory; created if it is not there")
        .protected(),
    Setting::new(
        "appendfsync",
        choice!(appendfsync: AppendFsync),
        "always",
        "When a write is acknowledged: 'always' after it is on disk; 'everysec' and 'no' before",
    ),
    Setting::new(
        "appendonly",
        Kind::On("every write is logged; see appendfsync for when the log is synced"),
        "yes",
        "Always 'yes': every write is logged",
    ),
    Setting::new("databases", integer!(databases, 1, 16384), "16", "Number of databases")
        .immutable(),
    Setting::new(
        "compaction-threads",
        integer!(compaction_threads, 1, 64),
        "1",
        "Threads that compact in the background; flushes have one of their own",
    )
    .immutable()
    // Redis's own suite sets whatever `CONFIG GET *` shows, and must not see one more that is immutable.
    .hidden(),
    Setting::new(
        "hll-sparse-max-bytes",
        memory!(hll_sparse_max_bytes, 0, i64::MAX as u64),
        "3000",
        "A HyperLogLog that would become longer gets dense registers, 12304 bytes",
    ),
    Setting::new(
        "busy-reply-threshold",
        integer!(busy_reply_threshold, 0, i64::MAX),
        "5000",
        "Milliseconds from which on a script that may write has other clients answered BUSY",
    )
    .alias("lua-time-limit"),
    Setting::new(
        "active-expire-effort",
        integer!(active_expire_effort, 1, 10),
        "1",
        "How many expired keys are deleted at a time: the more, the longer writes wait meanwhile",
    ),
    Setting::new(
        "hz",
        Kind::Integer {
            min: 0,
            max: i32::MAX as i64,
            get: |settings| Number::to_i64(settings.hz),
            // Any number is taken, and cut to what makes sense, as in Redis.
            set: |settings, value| settings.hz = Number::from_i64(value.clamp(1, HZ_MAX)),
        },
        "10",
        "Background ticks per second, from 1 to 500",
    ),
];
