//! Counters of the server. All are relaxed: each is right by itself, no two agree exactly.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Histogram;

/// Different error codes that are told apart. With one more none is any longer, until the counters
/// are reset: scripts may make up any number.
const ERROR_CODES_MAX: usize = 128;
/// What stands in place of the codes then.
const ERRORS_DISABLED: &str = "ERRORSTATS_DISABLED";
/// Samples over which the rates are averaged.
const RATE_SAMPLES: usize = 16;

/// A counter, or a gauge that its owner sets.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes `n` off; not below zero.
    pub fn sub(&self, n: u64) {
        let less = |value: u64| Some(value.saturating_sub(n));
        // The closure never refuses, so the update cannot fail.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Raises the value to `n` where it is less.
    pub fn raise(&self, n: u64) {
        self.0.fetch_max(n, Ordering::Relaxed);
    }

    /// Sets the value.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Statistics of one command.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// Calls that ran.
    pub calls: Counter,
    /// Time they took, in nanoseconds.
    pub total_ns: Counter,
    /// Calls refused before they ran.
    pub rejected: Counter,
    /// Calls that ran and answered an error.
    pub failed: Counter,
    latency: OnceLock<Box<Histogram>>,
}

impl CommandStats {
    /// Counts a call that ran.
    pub fn ran(&self, ns: u64, failed: bool) {
        self.calls.add(1);
        self.total_ns.add(ns);
        if failed {
            self.failed.add(1);
        }
        self.latency.get_or_init(Box::default).record(ns);
    }

    /// Counts calls that ran, so many of which have failed; in the durations with their average.
    pub fn ran_many(&self, calls: u64, failed: u64, total_ns: u64) {
        self.calls.add(calls);
        self.total_ns.add(total_ns);
        self.failed.add(failed);
        if let Some(average_ns) = total_ns.checked_div(calls) {
            self.latency.get_or_init(Box::default).record_many(average_ns, calls);
        }
    }

    /// Its durations; `None` before the first call.
    #[must_use]
    pub fn latency(&self) -> Option<&Histogram> {
        self.latency.get().map(|histogram| &**histogram)
    }

    fn reset(&self) {
        for counter in [&self.calls, &self.total_ns, &self.rejected, &self.failed] {
            counter.set(0);
        }
        if let Some(latency) = self.latency() {
            latency.reset();
        }
    }
}

/// Rates per second, averaged over the latest samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Commands.
    pub commands: u64,
    /// Bytes received.
    pub net_in_bytes: u64,
    /// Bytes sent.
    pub net_out_bytes: u64,
}

#[derive(Debug, Default)]
struct Sampler {
    last: Option<(u64, [u64; 3])>,
    rates: [[u64; RATE_SAMPLES]; 3],
    next: usize,
}

/// Counters of the server.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections accepted.
    pub connections_received: Counter,
    /// Replies that were sent while they were made.
    pub replies_streamed: Counter,
    /// Clients closed because all together held too much.
    pub evicted_clients: Counter,
    /// Connections refused because of `maxclients`.
    pub connections_rejected: Counter,
    /// Commands that ran.
    pub commands_processed: Counter,
    /// Bytes received.
    pub net_in_bytes: Counter,
    /// Bytes sent.
    pub net_out_bytes: Counter,
    /// Times that something was received.
    pub socket_reads: Counter,
    /// Times that replies or messages were sent, each with all that was gathered.
    pub socket_writes: Counter,
    /// Reads that found their key.
    pub keyspace_hits: Counter,
    /// Reads that did not.
    pub keyspace_misses: Counter,
    /// Keys removed because their time had come.
    pub expired_keys: Counter,
    /// Fields of hashes removed because their time had come.
    pub expired_fields: Counter,
    /// Keys whose time has come and that are not removed yet, in hundredths of a percent of all with
    /// an expiry; a gauge, estimated while active expiry is behind.
    pub expired_stale_basis_points: Counter,
    /// Times that active expiry has left keys to its next round.
    pub expired_time_cap_reached: Counter,
    /// Error replies.
    pub error_replies: Counter,
    /// Wrong passwords.
    pub auth_denied: Counter,
    /// Calls whose command the user may not run.
    pub commands_denied: Counter,
    /// Calls with a key that the user may not touch.
    pub keys_denied: Counter,
    /// Calls with a channel that the user may not use.
    pub channels_denied: Counter,
    /// Clients that wait in a blocking command; a gauge.
    pub blocked_clients: Counter,
    /// Clients dropped at `client-output-buffer-limit`.
    pub output_limit_disconnections: Counter,
    /// Clients dropped at `client-query-buffer-limit`.
    pub query_limit_disconnections: Counter,
    /// Commands that waited because the queue to the writer was full.
    pub writer_queue_full: Counter,
    /// Messages that wait for the writer; a gauge.
    pub writer_queue_depth: Counter,
    /// Durations of syncs of the log.
    pub wal_sync: Histogram,
    /// Those durations, summed, in nanoseconds.
    pub wal_sync_ns: Counter,
    /// Connections with TLS; a gauge.
    pub connections_tls: Counter,
    /// Handshakes of TLS that came to nothing.
    pub tls_handshakes_failed: Counter,
    /// Reads that were run again on the blocking pool because they would have waited on the disk.
    pub reads_blocking: Counter,
    /// Writes whose keys had to be warmed before they could run.
    pub writes_warmed: Counter,
    /// Largest number of clients at once.
    pub clients_peak: Counter,
    /// Memory allocated before the data directory was opened, in bytes.
    pub memory_startup_bytes: Counter,
    /// Largest memory seen by the sampler, in bytes.
    pub memory_peak_bytes: Counter,
    commands: Vec<CommandStats>,
    errors: Mutex<BTreeMap<Box<str>, u64>>,
    sampler: Mutex<Sampler>,
}

impl Metrics {
    /// Counters for a table of `commands` commands.
    #[must_use]
    pub fn new(commands: usize) -> Self {
        Self {
            commands: std::iter::repeat_with(CommandStats::default).take(commands).collect(),
            ..Self::default()
        }
    }

    /// Statistics of the command with this id; `None` for an id that the table does not have.
    #[must_use]
    pub fn command(&self, id: u16) -> Option<&CommandStats> {
        self.commands.get(usize::from(id))
    }

    /// Counts an error reply by its code: the first word of `text` (the reply without the minus
    /// sign).
    pub fn error(&self, text: &str) {
        self.error_many(text.split(' ').next().unwrap_or_default(), 1);
    }

    /// Counts error replies of one code.
    pub fn error_many(&self, code: &str, count: u64) {
        self.error_replies.add(count);
        let mut errors = self.errors.lock();
        if errors.contains_key(ERRORS_DISABLED) {
            return;
        }
        if let Some(known) = errors.get_mut(code) {
            *known += count;
        } else if errors.len() < ERROR_CODES_MAX {
            errors.insert(code.into(), count);
        } else {
            let codes = errors.keys().map(|code| &**code).collect::<Vec<_>>().join(", ");
            tracing::warn!(
                "Errorstats stopped adding new errors: their number has reached the limit, which \
                 may be a misuse of error_reply in Lua; CONFIG RESETSTAT starts anew"
            );
            tracing::warn!("Current errors code list: {codes}");
            *errors = BTreeMap::from([(ERRORS_DISABLED.into(), 1)]);
        }
    }

    /// Error replies by code.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<Box<str>, u64> {
        self.errors.lock().clone()
    }

    /// Takes a sample for the rates. Called at a steady pace, ten times a second.
    pub fn sample(&self, monotonic_ns: u64) {
        let now =
            [self.commands_processed.get(), self.net_in_bytes.get(), self.net_out_bytes.get()];
        let mut sampler = self.sampler.lock();
        if let Some((last_ns, last)) = sampler.last {
            let elapsed_ns = u128::from(monotonic_ns.saturating_sub(last_ns).max(1));
            let slot = sampler.next;
            sampler.next = (slot + 1) % RATE_SAMPLES;
            for (index, (now, last)) in now.into_iter().zip(last).enumerate() {
                let rate = u128::from(now.saturating_sub(last)) * 1_000_000_000 / elapsed_ns;
                sampler.rates[index][slot] = u64::try_from(rate).unwrap_or(u64::MAX);
            }
        }
        sampler.last = Some((monotonic_ns, now));
    }

    /// The rates of about the last second and a half.
    #[must_use]
    pub fn rates(&self) -> Rates {
        let sampler = self.sampler.lock();
        let average = |index: usize| sampler.rates[index].iter().sum::<u64>() / RATE_SAMPLES as u64;
        Rates { commands: average(0), net_in_bytes: average(1), net_out_bytes: average(2) }
    }

    /// `CONFIG RESETSTAT`: counters back to zero; gauges stay.
    pub fn reset(&self) {
        for counter in [
            &self.connections_received,
            &self.connections_rejected,
            &self.commands_processed,
            &self.net_in_bytes,
            &self.net_out_bytes,
            &self.socket_reads,
            &self.socket_writes,
            &self.keyspace_hits,
            &self.keyspace_misses,
            &self.expired_keys,
            &self.expired_fields,
            &self.expired_time_cap_reached,
            &self.error_replies,
            &self.auth_denied,
            &self.commands_denied,
            &self.keys_denied,
            &self.channels_denied,
            &self.output_limit_disconnections,
            &self.query_limit_disconnections,
            &self.writer_queue_full,
            &self.wal_sync_ns,
            &self.tls_handshakes_failed,
            &self.reads_blocking,
            &self.writes_warmed,
            &self.memory_peak_bytes,
        ] {
            counter.set(0);
        }
        self.wal_sync.reset();
        self.commands.iter().for_each(CommandStats::reset);
        self.errors.lock().clear();
        *self.sampler.lock() = Sampler::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_code_up_to_a_maximum() {
        let metrics = Metrics::new(0);
        metrics.error("ERR one");
        metrics.error("ERR two");
        metrics.error("WRONGTYPE x");
        assert_eq!(metrics.errors().get("ERR"), Some(&2));
        for code in 2..ERROR_CODES_MAX {
            metrics.error(&format!("E{code} x"));
        }
        assert_eq!(metrics.errors().len(), ERROR_CODES_MAX);
        metrics.error("ERR three");
        assert_eq!(metrics.errors().get("ERR"), Some(&3));
        metrics.error("MORE x");
        metrics.error("ERR four");
        let disabled = BTreeMap::from([(Box::from(ERRORS_DISABLED), 1)]);
        assert_eq!(metrics.errors(), disabled);
        assert_eq!(metrics.error_replies.get(), 132);
        metrics.reset();
        metrics.error("ERR five");
        assert_eq!(metrics.errors().get("ERR"), Some(&1));
    }

    #[test]
    fn rates_follow_the_counters() {
        let metrics = Metrics::new(0);
        for tick in 0..=RATE_SAMPLES as u64 {
            metrics.sample(tick * 100_000_000);
            metrics.commands_processed.add(50);
        }
        assert_eq!(metrics.rates().commands, 500);
    }

    #[test]
    fn reset_clears_commands_and_keeps_gauges() {
        let metrics = Metrics::new(1);
        metrics.blocked_clients.add(1);
        let stats = metrics.command(0).expect("there is one");
        stats.ran(2000, true);
        metrics.reset();
        assert_eq!(
            (stats.calls.get(), stats.failed.get(), metrics.blocked_clients.get()),
            (0, 0, 1)
        );
        assert_eq!(stats.latency().map(Histogram::count), Some(0));
    }
}
