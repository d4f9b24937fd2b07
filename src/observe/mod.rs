//! Counters, slow log, latency monitor. Only counts and formats.

mod histogram;
mod latency;
mod metrics;
mod slowlog;

pub use histogram::Histogram;
pub use latency::{LatencyEvent, LatencyMonitor, LatencySample};
pub use metrics::{CommandStats, Counter, Metrics, Rates};
pub use slowlog::{SlowLog, SlowLogEntry};
