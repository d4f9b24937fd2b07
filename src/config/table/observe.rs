//! Logging and observation.

use super::access::{Number, Word, choice, integer, switch, text};
use super::words::{get_events, get_percentiles, set_events, set_percentiles};
use crate::config::LogLevel;
use crate::config::kind::{Kind, Setting};

const MANY: i64 = i64::MAX;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new("loglevel", choice!(loglevel: LogLevel), "notice", "How much is logged"),
    Setting::new("logfile", text!(logfile), "", "Log file; empty for standard output").immutable(),
    Setting::new(
        "slowlog-log-slower-than",
        integer!(slowlog_log_slower_than, -1, MANY),
        "10000",
        "Microseconds from which a command is in the slow log; -1 for never",
    ),
    Setting::new(
        "slowlog-max-len",
        integer!(slowlog_max_len, 0, MANY),
        "128",
        "Entries of the slow log",
    ),
    Setting::new(
        "notify-keyspace-events",
        Kind::Words { get: get_events, set: set_events },
        "",
        "Classes of events of keys that subscribers are told of, and on which channels",
    ),
    Setting::new(
        "latency-monitor-threshold",
        integer!(latency_monitor_threshold, 0, MANY),
        "0",
        "Milliseconds from which an event is kept by the latency monitor; 0 for never",
    ),
    Setting::new(
        "latency-tracking",
        switch!(latency_tracking),
        "yes",
        "Histograms of the time per command",
    ),
    Setting::new(
        "latency-tracking-info-percentiles",
        Kind::Words { get: get_percentiles, set: set_percentiles },
        "50 99 99.9",
        "Percentiles of those histograms in INFO",
    ),
    Setting::new(
        "metrics-port",
        integer!(metrics_port, 0, 65535),
        "0",
        "TCP port that answers GET /metrics to Prometheus; 0 for none. Not in Redis",
    ),
    Setting::new(
        "metrics-bind",
        text!(metrics_bind),
        "127.0.0.1",
        "Address of that port; whoever reaches it may read the metrics. Not in Redis",
    ),
];
