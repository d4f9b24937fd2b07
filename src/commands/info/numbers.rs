//! The numbers of `INFO` as metrics: each with a name that has its unit, a kind and a text.
//!
//! A metric has no value of its own: it is read from the field that it names, so that both always say
//! the same. A test holds the table against the fields.

use std::collections::BTreeMap;

use super::{Fields, Picture, SECTIONS};
use crate::commands::{ServerState, table};

/// How a number behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NumberKind {
    /// Goes up only, until it is reset.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A number of `INFO`, described.
#[derive(Debug)]
pub(crate) struct Number {
    /// The field. `prefix*.item`: the item of each field with that prefix, labelled by the rest of its
    /// name.
    pub(crate) field: &'static str,
    /// The name of the metric, unit included.
    pub(crate) name: &'static str,
    /// How it behaves.
    pub(crate) kind: NumberKind,
    /// What the field is divided by to be in the unit of the metric.
    pub(crate) divisor: f64,
    /// What it is.
    pub(crate) help: &'static str,
}

const fn gauge(field: &'static str, name: &'static str, help: &'static str) -> Number {
    Number { field, name, kind: NumberKind::Gauge, divisor: 1.0, help }
}

const fn counter(field: &'static str, name: &'static str, help: &'static str) -> Number {
    Number { field, name, kind: NumberKind::Counter, divisor: 1.0, help }
}

impl Number {
    /// The field is in microseconds.
    const fn us(mut self) -> Self {
        self.divisor = 1e6;
        self
    }

    /// The field is in milliseconds.
    const fn ms(mut self) -> Self {
        self.divisor = 1e3;
        self
    }

    /// The field is in percent.
    const fn percent(mut self) -> Self {
        self.divisor = 1e2;
        self
    }
}

/// The label of the fields with a prefix.
const LABELS: &[(&str, &str)] =
    &[("cmdstat_", "command"), ("errorstat_", "code"), ("level", "level"), ("db", "db")];

/// All of them, in the order of the sections.
pub(crate) const NUMBERS: &[Number] = &[
    gauge("uptime_in_seconds", "uptime_seconds", "Time since the start"),
    counter(
        "writer_queue_full",
        "writer_queue_full",
        "Calls that waited to be queued to the writer",
    ),
    gauge("writer_queue_depth", "writer_queue_depth", "Messages that wait for the writer"),
    counter(
        "reads_on_blocking_pool",
        "reads_on_blocking_pool",
        "Reads that had to wait on the disk",
    ),
    counter(
        "writes_warmed",
        "writes_warmed",
        "Writes whose keys had to be read from the disk first",
    ),
    gauge("clients_peak", "clients_peak", "Most clients at once"),
    gauge("tcp_connections", "connections_tcp", "Connections over TCP without TLS"),
    gauge("tls_connections", "connections_tls", "Connections with TLS, handshakes included"),
    gauge("unix_connections", "connections_unix", "Connections over the unix socket"),
    gauge("monitor_clients", "monitor_clients", "Clients in MONITOR"),
    counter("tls_handshakes_failed", "tls_handshakes_failed", "Handshakes that came to nothing"),
    gauge("connected_clients", "connected_clients", "Clients that are connected"),
    gauge("maxclients", "clients_max", "Clients that may be connected"),
    gauge(
        "client_recent_max_input_buffer",
        "client_input_buffer_largest_bytes",
        "Largest buffer of a request",
    ),
    gauge(
        "client_recent_max_output_buffer",
        "client_output_buffer_largest_bytes",
        "Largest output that waits for a client",
    ),
    gauge("blocked_clients", "blocked_clients", "Clients whose call waits for keys"),
    gauge("pubsub_clients", "pubsub_clients", "Clients with subscriptions"),
    gauge("total_blocking_keys", "blocking_keys", "Keys that calls wait for"),
    gauge(
        "total_blocking_keys_on_nokey",
        "blocking_keys_on_nokey",
        "Keys that calls wait for which end when they go",
    ),
    gauge("used_memory", "memory_allocated_bytes", "Memory allocated by the process"),
    gauge("used_memory_rss", "memory_resident_bytes", "Memory resident, as the system counts it"),
    gauge("used_memory_peak", "memory_allocated_peak_bytes", "Most memory allocated"),
    gauge("used_memory_overhead", "memory_overhead_bytes", "Memory that holds no data"),
    gauge("used_memory_startup", "memory_startup_bytes", "Memory before the data was opened"),
    gauge("used_memory_dataset", "memory_dataset_bytes", "Memory that holds data"),
    gauge("used_memory_memtables", "memory_memtables_bytes", "Memory of memtables"),
    gauge("used_memory_block_cache", "memory_block_cache_bytes", "Memory of the block cache"),
    gauge("used_memory_access_slots", "memory_access_slots_bytes", "Memory of access times"),
    gauge(
        "used_memory_set_candidates",
        "memory_set_candidates_bytes",
        "Memory of members of sets that SPOP takes next",
    ),
    gauge("allocator_active", "allocator_active_bytes", "Pages that the allocator uses"),
    gauge("allocator_resident", "allocator_resident_bytes", "Pages that the allocator holds"),
    gauge("total_system_memory", "system_memory_bytes", "Memory of the host"),
    gauge("used_memory_vm_eval", "memory_scripts_vm_bytes", "Memory of the machines of scripts"),
    counter("replies_streamed", "replies_streamed", "Replies that were sent while they were made"),
    gauge("watching_clients", "watching_clients", "Clients with watched keys"),
    gauge("total_watched_keys", "watched_keys", "Keys that clients watch"),
    gauge("tracking_clients", "tracking_clients", "Clients with CLIENT TRACKING"),
    gauge(
        "used_memory_pinned_memtables",
        "memory_pinned_memtables_bytes",
        "Memory of memtables on disk that views still hold",
    ),
    gauge("used_memory_replies", "memory_replies_bytes", "Memory of replies"),
    gauge(
        "used_memory_working_sets",
        "memory_working_sets_bytes",
        "Memory of what commands gather",
    ),
    gauge("used_memory_transactions", "memory_transactions_bytes", "Memory of open transactions"),
    gauge("maxmemory_clients", "memory_clients_max_bytes", "Memory that all clients may hold"),
    counter("evicted_clients", "evicted_clients", "Clients closed at maxmemory-clients"),
    counter("acl_access_denied_cmd", "acl_denied_commands", "Calls that the user may not make"),
    counter("acl_access_denied_key", "acl_denied_keys", "Calls on keys that the user may not use"),
    counter(
        "acl_access_denied_channel",
        "acl_denied_channels",
        "Calls on channels that the user may not use",
    ),
    gauge("tracking_total_keys", "tracking_keys", "Keys that clients keep copies of"),
    gauge("tracking_total_items", "tracking_copies", "Copies that clients keep"),
    gauge("tracking_total_prefixes", "tracking_prefixes", "Prefixes that clients track"),
    gauge("used_memory_scripts_eval", "memory_scripts_texts_bytes", "Memory of cached scripts"),
    gauge("used_memory_vm_functions", "memory_functions_vm_bytes", "Memory of functions"),
    gauge("number_of_cached_scripts", "cached_scripts", "Scripts that are cached"),
    gauge("number_of_functions", "functions", "Functions"),
    gauge("number_of_libraries", "libraries", "Libraries of functions"),
    gauge("maxmemory", "memory_budget_bytes", "Memory budget in effect"),
    gauge("mem_fragmentation_ratio", "memory_fragmentation_ratio", "Resident by allocated memory"),
    gauge("mem_clients_normal", "memory_clients_bytes", "Memory of connections"),
    gauge("loading", "loading", "1 while the data directory is being opened"),
    gauge(
        "rdb_changes_since_last_save",
        "changes_since_last_save",
        "Changes since the last flush by command",
    ),
    gauge("rdb_bgsave_in_progress", "save_in_progress", "1 while a flush by command runs"),
    gauge(
        "rdb_last_save_time",
        "last_save_timestamp_seconds",
        "When the last flush by command was, in Unix time",
    ),
    counter("total_connections_received", "connections_received", "Connections accepted"),
    counter("total_commands_processed", "commands_processed", "Commands that ran"),
    counter("total_net_input_bytes", "net_input_bytes", "Bytes received"),
    counter("total_net_output_bytes", "net_output_bytes", "Bytes sent"),
    counter("total_reads_processed", "socket_reads", "Times that something was received"),
    counter("total_writes_processed", "socket_writes", "Times that replies were sent"),
    counter("rejected_connections", "connections_rejected", "Connections refused"),
    counter("expired_subkeys", "expired_fields", "Fields of hashes whose time had come"),
    counter("expired_keys", "expired_keys", "Keys whose time had come"),
    gauge(
        "expired_stale_perc",
        "expired_stale_ratio",
        "Keys whose time has come and that are not removed yet, of all with an expiry; an estimate",
    )
    .percent(),
    counter(
        "expired_time_cap_reached_count",
        "expire_time_cap_reached",
        "Times that active expiry has left keys to its next round, which follows at once",
    ),
    counter("evicted_scripts", "evicted_scripts", "Scripts that left the cache"),
    counter("keyspace_hits", "keyspace_hits", "Reads that found their key"),
    counter("keyspace_misses", "keyspace_misses", "Reads that did not"),
    gauge("pubsub_channels", "pubsub_channels", "Channels with subscribers"),
    gauge("pubsub_patterns", "pubsub_patterns", "Patterns with subscribers"),
    gauge("pubsubshard_channels", "pubsub_shard_channels", "Shard channels with subscribers"),
    counter("total_error_replies", "error_replies", "Replies that are errors"),
    counter(
        "client_query_buffer_limit_disconnections",
        "query_limit_disconnections",
        "Clients dropped at client-query-buffer-limit",
    ),
    counter(
        "client_output_buffer_limit_disconnections",
        "output_limit_disconnections",
        "Clients dropped at client-output-buffer-limit",
    ),
    counter("acl_access_denied_auth", "auth_denied", "Wrong passwords"),
    counter("used_cpu_sys", "cpu_system_seconds", "Time of the processor within the system"),
    counter("used_cpu_user", "cpu_user_seconds", "Time of the processor within the server"),
    counter(
        "used_cpu_sys_main_thread",
        "main_thread_cpu_system_seconds",
        "Time of the processor within the system, of the first thread",
    ),
    counter(
        "used_cpu_user_main_thread",
        "main_thread_cpu_user_seconds",
        "Time of the processor within the server, of the first thread",
    ),
    counter("cmdstat_*.calls", "command_calls", "Calls that ran, by command"),
    counter("cmdstat_*.rejected_calls", "command_rejected_calls", "Calls refused before they ran"),
    counter("cmdstat_*.failed_calls", "command_failed_calls", "Calls that answered an error"),
    counter("errorstat_*.count", "errors", "Replies that are errors, by code"),
    gauge("level*.files", "level_files", "Tables of a level"),
    gauge("level*.bytes", "level_bytes", "Bytes of the tables of a level"),
    gauge("open_tables", "open_tables", "Tables whose file is open"),
    gauge("open_table_bytes", "open_tables_bytes", "Memory of open tables"),
    gauge(
        "retired_memtables_bytes",
        "retired_memtables_bytes",
        "Memory of flushed memtables that readers still hold",
    ),
    gauge("memtable_bytes", "memtable_active_bytes", "Memory of the active memtable"),
    gauge("sealed_memtables", "memtables_sealed", "Memtables that wait for their flush"),
    gauge("sealed_memtables_bytes", "memtables_sealed_bytes", "Memory of those"),
    counter("sequence_number", "sequence_number", "Transactions since the store was made"),
    counter(
        "flushed_sequence_number",
        "flushed_sequence_number",
        "Those of them that are in tables",
    ),
    counter("flushes", "flushes", "Flushes done"),
    counter("flush_bytes_written", "flush_written_bytes", "Bytes written by flushes"),
    counter("compactions", "compactions", "Compactions done"),
    gauge("compactions_running", "compactions_running", "Compactions running"),
    counter("compactions_failed", "compactions_failed", "Compactions that failed"),
    counter("compaction_bytes_read", "compaction_read_bytes", "Bytes read by compactions"),
    counter("compaction_bytes_written", "compaction_written_bytes", "Bytes written by compactions"),
    gauge(
        "compaction_debt_bytes",
        "compaction_debt_bytes",
        "Bytes that compactions have to move to bring the tree into shape",
    ),
    counter(
        "compaction_records_dropped",
        "compaction_dropped_records",
        "Records of dead generations dropped by compactions",
    ),
    gauge(
        "write_amplification",
        "write_amplification_ratio",
        "Bytes written to tables by bytes flushed",
    ),
    gauge("read_amplification", "read_amplification", "Tables that a lookup may have to look into"),
    counter("block_cache_hits", "block_cache_hits", "Blocks found in the cache"),
    counter("block_cache_misses", "block_cache_misses", "Blocks that were not"),
    gauge("rows_in_memory", "rows", "Keys whose newest version is in memory"),
    gauge("row_cache_bytes", "memory_row_cache_bytes", "Memory of rows whose keys are in tables"),
    counter("table_lookups", "table_lookups", "Lookups that went to tables"),
    counter("wal_bytes", "wal_written_bytes", "Bytes appended to the log"),
    counter("wal_batches", "wal_batches", "Batches appended to the log"),
    counter("wal_syncs", "wal_syncs", "Syncs of the log"),
    gauge("wal_disk_bytes", "wal_disk_bytes", "Bytes of the log on disk"),
    counter("write_delays", "write_delays", "Batches delayed to let flush and compaction catch up"),
    counter("write_delay_us", "write_delay_seconds", "Those delays, summed").us(),
    gauge("recovered_transactions", "recovered_transactions", "Transactions found in the log"),
    gauge("recovered_torn_bytes", "recovered_torn_bytes", "Bytes cut off the end of the log"),
    gauge("db*.keys", "database_keys", "Keys of a database"),
    gauge("db*.expires", "database_expiring_keys", "Keys of a database that expire"),
    gauge("db*.avg_ttl", "database_ttl_average_seconds", "Average time that those have left").ms(),
];

/// A value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    /// A whole number, exactly.
    Whole(u64),
    /// Any number.
    Real(f64),
}

/// A metric with its values: one, or one for each label.
#[derive(Debug)]
pub(crate) struct Measured {
    /// What it is.
    pub(crate) number: &'static Number,
    /// Label and value of each; no label where there is one value.
    pub(crate) values: Vec<(Option<(&'static str, String)>, Value)>,
}

/// Durations, counted in octaves.
#[derive(Debug)]
pub(crate) struct Durations {
    /// Whose they are.
    pub(crate) label: Option<(&'static str, String)>,
    /// All of them, summed, in nanoseconds.
    pub(crate) total_ns: u64,
    /// Upper bound in nanoseconds and durations between the bound before and this one.
    pub(crate) octaves: Vec<(u64, u64)>,
}

/// All numbers of the server at one time.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Those of `INFO`.
    pub(crate) measured: Vec<Measured>,
    /// Times of commands.
    pub(crate) commands: Vec<Durations>,
    /// Times of syncs of the log.
    pub(crate) wal_syncs: Durations,
}

impl Numbers {
    /// Looks now.
    pub(crate) fn take(state: &ServerState) -> Self {
        let text = all_sections(state);
        let fields: BTreeMap<&str, &str> =
            text.lines().filter_map(|line| line.split_once(':')).collect();
        let metrics = &state.metrics;
        let commands = table::all().iter().filter_map(|command| {
            let stats = metrics.command(command.id)?;
            let octaves = stats.latency()?.octaves();
            let label = Some(("command", command.full_name.to_owned()));
            Some(Durations { label, total_ns: stats.total_ns.get(), octaves })
        });
        Self {
            measured: NUMBERS.iter().map(|number| number.measure(&fields)).collect(),
            commands: commands.collect(),
            wal_syncs: Durations {
                label: None,
                total_ns: metrics.wal_sync_ns.get(),
                octaves: metrics.wal_sync.octaves(),
            },
        }
    }
}

fn all_sections(state: &ServerState) -> String {
    let picture = Picture::take(state);
    let mut fields = Fields::default();
    for section in SECTIONS {
        (section.write)(&picture, &mut fields);
    }
    fields.0
}

impl Number {
    fn measure(&'static self, fields: &BTreeMap<&str, &str>) -> Measured {
        let one = |text: &str| self.value(text);
        let values = match self.field.split_once("*.") {
            None => {
                let value = fields.get(self.field).and_then(|text| one(text));
                value.map(|value| (None, value)).into_iter().collect()
            }
            Some((prefix, item)) => {
                let label = LABELS.iter().find(|(known, _)| *known == prefix);
                let label = label.map_or("name", |(_, label)| label);
                let labelled = labelled(fields, prefix).filter_map(|(name, text)| {
                    let found = items(text).find(|(key, _)| *key == item);
                    Some((Some((label, name.to_owned())), one(found?.1)?))
                });
                labelled.collect()
            }
        };
        Measured { number: self, values }
    }

    fn value(&self, text: &str) -> Option<Value> {
        match text.parse::<u64>() {
            Ok(whole) if self.divisor == 1.0 => Some(Value::Whole(whole)),
            _ => text.parse::<f64>().ok().map(|real| Value::Real(real / self.divisor)),
        }
    }
}

/// The fields `prefix<name>:key=value,...`.
fn labelled<'a>(
    fields: &'a BTreeMap<&str, &str>,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    fields
        .iter()
        .filter(|(_, text)| text.contains('='))
        .filter_map(move |(name, text)| Some((name.strip_prefix(prefix)?, *text)))
}

/// The items `key=value` of a field.
fn items(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(',').filter_map(|item| item.split_once('='))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::commands::test_server::TestServer;
    use crate::engine::{Engine, KeepAll, Options};
    use crate::env::{SimClock, SimFs};

    /// Numbers that say who the server is, or the same as another one does.
    const NO_MEASURES: &str = "redis_git_sha1 redis_git_dirty arch_bits process_id tcp_port \
        server_time_usec uptime_in_days hz configured_hz lru_clock io_threads_active \
        allocator_allocated used_memory_lua used_memory_vm_total used_memory_scripts \
        allocator_frag_ratio allocator_frag_bytes allocator_rss_ratio allocator_rss_bytes \
        rss_overhead_ratio rss_overhead_bytes mem_fragmentation_bytes rdb_saves \
        instantaneous_ops_per_sec instantaneous_input_kbps instantaneous_output_kbps \
        aof_current_size aof_base_size tables_bytes block_cache_bytes cmdstat_*.usec cmdstat_*.usec_per_call";

    /// Numbers that are the same in every server, since what they count is not there.
    const CONSTANT: &str = "cluster_connections active_defrag_hits active_defrag_misses \
        active_defrag_key_hits active_defrag_key_misses io_threaded_reads_processed \
        io_threaded_writes_processed \
        clients_in_timeout_table \
        used_memory_functions mem_not_counted_for_evict \
        mem_replication_backlog mem_total_replication_buffers mem_clients_slaves \
        mem_cluster_links mem_aof_buffer active_defrag_running lazyfree_pending_objects \
        lazyfreed_objects async_loading current_cow_peak current_cow_size \
        current_cow_size_age current_fork_perc current_save_keys_processed \
        current_save_keys_total rdb_last_bgsave_time_sec rdb_current_bgsave_time_sec \
        rdb_last_cow_size rdb_last_load_keys_expired rdb_last_load_keys_loaded aof_enabled \
        aof_rewrite_in_progress aof_rewrite_scheduled aof_last_rewrite_time_sec \
        aof_current_rewrite_time_sec aof_rewrites aof_rewrites_consecutive_failures \
        aof_last_cow_size module_fork_in_progress module_fork_last_cow_size \
        aof_pending_rewrite aof_buffer_length aof_pending_bio_fsync aof_delayed_fsync \
        total_net_repl_input_bytes total_net_repl_output_bytes instantaneous_input_repl_kbps \
        instantaneous_output_repl_kbps sync_full sync_partial_ok sync_partial_err evicted_keys \
        total_eviction_exceeded_time current_eviction_exceeded_time \
        latest_fork_usec total_forks migrate_cached_sockets slave_expires_tracked_keys \
        \
        unexpected_error_replies dump_payload_sanitizations \
        connected_slaves master_replid2 \
        master_repl_offset second_repl_offset repl_backlog_active repl_backlog_size \
        repl_backlog_first_byte_offset repl_backlog_histlen used_cpu_sys_children \
        used_cpu_user_children cluster_enabled";

    /// The names of all numbers in the text, as the table names them.
    fn numbers_of(text: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
            if value.parse::<f64>().is_ok_and(f64::is_finite) {
                names.insert(name.to_owned());
            }
            let prefix = LABELS.iter().find(|(prefix, _)| name.starts_with(prefix));
            if let Some((prefix, _)) = prefix.filter(|_| value.contains('=')) {
                names.extend(items(value).map(|(item, _)| format!("{prefix}*.{item}")));
            }
        }
        names
    }

    /// A server that has an error and a call; with a store.
    fn busy() -> TestServer {
        let server = TestServer::new();
        let options = Options {
            background_threads: 0,
            space_reserve_bytes: 0,
            ..Options::for_budget(Path::new("/db"), 8 << 20)
        };
        let clock = Arc::new(SimClock::at_ms(1));
        let opened = Engine::open(SimFs::new(1).shared(), clock, options, Arc::new(KeepAll));
        let (engine, _writer) = opened.expect("an empty store");
        server.state.engine.store(Some(Arc::new(engine)));
        server.state.metrics.error("WRONGTYPE x");
        server.state.metrics.command(0).expect("there is one").ran(3000, true);
        server
    }

    #[test]
    fn every_number_of_info_is_described_or_left_out_for_a_reason() {
        let mut server = busy();
        let text = server.text("info everything");
        let there = numbers_of(&text);
        let known: BTreeSet<&str> = NUMBERS.iter().map(|number| number.field).collect();
        assert_eq!(known.len(), NUMBERS.len(), "a field stands twice");
        let left_out = || NO_MEASURES.split_whitespace().chain(CONSTANT.split_whitespace());
        for name in &there {
            let ways =
                known.contains(&name[..]) as usize + left_out().filter(|n| n == name).count();
            assert_eq!(ways, 1, "{name} has to be in one of the lists");
        }
        for name in left_out().chain(known) {
            // Without a key there is no line of a database.
            assert!(there.contains(name) || name.starts_with("db*"), "{name} is no number of INFO");
        }
    }

    #[test]
    fn names_are_unique_and_have_their_unit() {
        let mut names = BTreeSet::new();
        for number in NUMBERS {
            let Number { field, name, help, .. } = number;
            assert!(names.insert(name), "{name} twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            let unit = |part: &str, end: &str| !field.contains(part) || name.ends_with(end);
            assert!(unit("bytes", "_bytes") && unit("ratio", "_ratio"), "{name}");
            let is_size = field.contains("used_memory") || field.starts_with("mem_clients");
            assert!(!is_size || name.ends_with("_bytes") || name.ends_with("_ratio"), "{name}");
            let in_seconds = number.divisor == 1e6 || number.divisor == 1e3;
            assert!(!in_seconds || name.ends_with("_seconds"), "{name}");
            assert!(!name.ends_with("_total") && !help.ends_with('.') && !help.is_empty());
        }
    }

    #[test]
    fn numbers_are_those_of_the_fields() {
        let server = busy();
        server.state.metrics.keyspace_hits.add(17);
        let numbers = Numbers::take(&server.state);
        let of = |name: &str| {
            let found = numbers.measured.iter().find(|measured| measured.number.name == name);
            found.map(|measured| measured.values.clone()).unwrap_or_default()
        };
        assert_eq!(of("keyspace_hits"), [(None, Value::Whole(17))]);
        assert_eq!(of("expired_stale_ratio"), [(None, Value::Real(0.0))]);
        let label = |name, value: &str| Some((name, value.to_owned()));
        assert_eq!(of("errors"), [(label("code", "WRONGTYPE"), Value::Whole(1))]);
        let name = table::all()[0].full_name;
        assert_eq!(of("command_failed_calls"), [(label("command", name), Value::Whole(1))]);
        let [durations] = &numbers.commands[..] else { panic!("one command ran") };
        assert_eq!(durations.total_ns, 3000);
        assert_eq!(durations.octaves.iter().map(|(_, count)| count).sum::<u64>(), 1);
    }
}
