//! The memory budget.

use super::access::{Number, Word, choice, integer, memory};
use crate::config::MaxmemoryPolicy;
use crate::config::kind::{Kind, Setting};

const I32_MAX: i64 = i32::MAX as i64;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "maxmemory",
        memory!(maxmemory, 0, u64::MAX),
        "0",
        "Memory budget of the process, 32 MiB at least; 0 follows the memory of the control group or \
         the host",
    ),
    Setting::new(
        "maxmemory-clients",
        Kind::MemoryOrPercent {
            get: |settings| settings.maxmemory_clients,
            set: |settings, share| settings.maxmemory_clients = share,
        },
        "0",
        "Most that clients may hold together, in bytes or percent of the budget; beyond it the \
         largest are closed; 0 is an eighth of the budget",
    ),
    Setting::new(
        "maxmemory-policy",
        choice!(maxmemory_policy: MaxmemoryPolicy),
        "noeviction",
        "Whether access times or frequencies are counted; data is on disk and is never evicted",
    ),
    Setting::new(
        "lfu-log-factor",
        integer!(lfu_log_factor, 0, I32_MAX),
        "10",
        "How slowly the frequency counter of a key grows",
    ),
    Setting::new(
        "lfu-decay-time",
        integer!(lfu_decay_time, 0, I32_MAX),
        "1",
        "Minutes after which the frequency counter of an idle key is lowered",
    ),
];
