//! The values of all settings, typed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::TlsSettings;

/// Most output that a client of one class may have waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimit {
    /// Bytes at which the client is dropped at once; 0 for none.
    pub hard_bytes: u64,
    /// Bytes at which it is dropped if it stays there; 0 for none.
    pub soft_bytes: u64,
    /// How long it may stay above the soft limit, in seconds.
    pub soft_seconds: u64,
}

impl OutputLimit {
    /// Bytes that never reach a limit, in whatever way it is set: a client can always be sent an error, or
    /// the reply to the `CONFIG SET` that is to raise the limit.
    pub const FREE_BYTES: usize = 16 << 10;

    /// Whether any number of bytes may wait for any time.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.hard_bytes == 0 && self.soft_bytes == 0
    }

    /// Whether so many bytes may not wait for any time.
    #[must_use]
    pub fn is_hard_at(&self, bytes: usize) -> bool {
        Self::reaches(bytes, self.hard_bytes)
    }

    /// Whether so many bytes may wait for the time of the soft limit only.
    #[must_use]
    pub fn is_soft_at(&self, bytes: usize) -> bool {
        Self::reaches(bytes, self.soft_bytes)
    }

    fn reaches(bytes: usize, limit: u64) -> bool {
        limit != 0 && bytes > Self::FREE_BYTES && bytes as u64 >= limit
    }
}

/// `client-output-buffer-limit` of each class of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimits {
    /// Clients that send commands.
    pub normal: OutputLimit,
    /// Replicas.
    pub replica: OutputLimit,
    /// Clients with a subscription.
    pub pubsub: OutputLimit,
}

/// A part of the memory budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryShare {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of the budget, 100 at most.
    Percent(u8),
}

impl Default for MemoryShare {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppendFsync {
    /// After it is on disk.
    #[default]
    Always,
    /// Before; the log is synced each second.
    EverySecond,
    /// Before; the operating system decides when it reaches the disk.
    No,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Much.
    Verbose,
    /// What an operator wants to know.
    #[default]
    Notice,
    /// Problems.
    Warning,
    /// Nothing.
    Nothing,
}

/// What is removed when the memory budget is spent. Data lives on disk, so it is only accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaxmemoryPolicy {
    /// Nothing.
    #[default]
    NoEviction,
    /// Least recently used keys with an expiry.
    VolatileLru,
    /// Least frequently used keys with an expiry.
    VolatileLfu,
    /// Random keys with an expiry.
    VolatileRandom,
    /// Keys with the nearest expiry.
    VolatileTtl,
    /// Least recently used keys.
    AllkeysLru,
    /// Least frequently used keys.
    AllkeysLfu,
    /// Random keys.
    AllkeysRandom,
}

impl MaxmemoryPolicy {
    /// Whether `OBJECT FREQ` is meant rather than `OBJECT IDLETIME`.
    #[must_use]
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::VolatileLfu | Self::AllkeysLfu)
    }
}

/// From where a protected command may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protection {
    /// From nowhere.
    #[default]
    No,
    /// From everywhere.
    Yes,
    /// From loopback addresses and the unix socket.
    Local,
}

/// Which service manager is told that the server is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Supervision {
    /// Upstart, where Redis would stop itself; without effect.
    Upstart,
    /// systemd.
    Systemd,
    /// Whichever listens.
    Auto,
    /// None.
    #[default]
    No,
}

/// The values of all settings. Names are those of the table, with underscores; units are in the name
/// where the setting's own name does not say them.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// TCP port; 0 for none.
    pub port: u16,
    /// Addresses to listen on, as written: `*`, `-::1` (optional), names.
    pub bind: Vec<String>,
    /// Path of the unix socket; empty for none.
    pub unixsocket: String,
    /// Mode of the unix socket (octal `755`); 0 to leave it to the umask.
    pub unixsocketperm: u32,
    /// Length of the queue of connections not yet accepted.
    pub tcp_backlog: u32,
    /// Seconds between keep-alive probes; 0 for none.
    pub tcp_keepalive: u32,
    /// Seconds after which an idle client is closed; 0 for never.
    pub timeout: u32,
    /// Without a password, serve only loopback addresses.
    pub protected_mode: bool,
    /// Most clients at a time.
    pub maxclients: usize,
    /// Keys that are remembered with who has read them; 0 for any number.
    pub tracking_table_max_keys: u64,
    /// Password of the default user; empty for none.
    pub requirepass: String,
    /// `user` lines: of each the name, then the rules, as they were written.
    pub users: Vec<Vec<Vec<u8>>>,
    /// File of the users; empty for none.
    pub aclfile: String,
    /// Whether new users may use all channels (`acl-pubsub-default allchannels`).
    pub acl_pubsub_all_channels: bool,
    /// Entries of the log of refusals.
    pub acllog_max_len: usize,
    /// Threads that serve connections.
    pub io_threads: usize,
    /// Longest argument in bytes.
    pub proto_max_bulk_len: u64,
    /// Most bytes that an unfinished request may hold.
    pub client_query_buffer_limit: u64,
    /// Most output that may wait for a client.
    pub client_output_buffer_limit: OutputLimits,
    /// TLS.
    pub tls: TlsSettings,
    /// Data directory.
    pub dir: String,
    /// Number of databases.
    pub databases: u16,
    /// When a write is acknowledged.
    pub appendfsync: AppendFsync,
    /// Points at which Redis would write a snapshot: seconds and changes. Without effect.
    pub save: Vec<(u64, u64)>,
    /// Threads that compact in the background; flushes have one of their own.
    pub compaction_threads: usize,
    /// Longest HyperLogLog with sparse registers, in bytes.
    pub hll_sparse_max_bytes: u64,
    /// Memory budget of the process in bytes; 0 for automatic.
    pub maxmemory: u64,
    /// Most that clients may hold together; 0 for an eighth of the budget.
    pub maxmemory_clients: MemoryShare,
    /// Kept for `OBJECT FREQ` and tools.
    pub maxmemory_policy: MaxmemoryPolicy,
    /// How slowly the frequency counter of a key grows.
    pub lfu_log_factor: u32,
    /// Minutes after which the frequency counter of an idle key is halved.
    pub lfu_decay_time: u32,
    /// Fields up to which a hash is one record.
    pub hash_max_listpack_entries: u64,
    /// Bytes of a field or value up to which a hash is one record.
    pub hash_max_listpack_value: u64,
    /// Members up to which a set of integers is one record.
    pub set_max_intset_entries: u64,
    /// Members up to which another set is one record.
    pub set_max_listpack_entries: u64,
    /// Bytes of a member up to which a set is one record.
    pub set_max_listpack_value: u64,
    /// Entries up to which a stream is one record.
    pub stream_node_max_entries: u64,
    /// Bytes up to which a stream is one record.
    pub stream_node_max_bytes: u64,
    /// Up to where a list is one record: so many elements, or where negative bytes by steps.
    pub list_max_listpack_size: i32,
    /// Members up to which a sorted set is one record.
    pub zset_max_listpack_entries: u64,
    /// Bytes of a member up to which a sorted set is one record.
    pub zset_max_listpack_value: u64,
    /// How hard active expiry works, 1 to 10.
    pub active_expire_effort: u32,
    /// Background ticks per second.
    pub hz: u32,
    /// How much is logged.
    pub loglevel: LogLevel,
    /// Log file; empty for standard output.
    pub logfile: String,
    /// Microseconds from which a command is in the slow log; negative for never.
    pub slowlog_log_slower_than: i64,
    /// Entries of the slow log.
    pub slowlog_max_len: u64,
    /// Milliseconds from which an event is kept by the latency monitor; 0 for never.
    pub latency_monitor_threshold: u64,
    /// Histograms of the time per command.
    pub latency_tracking: bool,
    /// Percentiles of those in `INFO latencystats`.
    pub latency_tracking_info_percentiles: Vec<f64>,
    /// Classes of keyspace events that subscribers are told of, in Redis's order.
    pub notify_keyspace_events: String,
    /// From where `DEBUG` may be called.
    pub enable_debug_command: Protection,
    /// Seconds that a shutdown waits for replies on their way.
    pub shutdown_timeout: u64,
    /// Milliseconds from which on a script that may write has other clients answered `BUSY`.
    pub busy_reply_threshold: u64,
    /// TCP port of the metrics endpoint; 0 for none.
    pub metrics_port: u16,
    /// Address of the metrics endpoint.
    pub metrics_bind: String,
    /// Run in the background.
    pub daemonize: bool,
    /// Which service manager is told that the server is ready.
    pub supervised: Supervision,
    /// File that receives the process id; empty for none.
    pub pidfile: String,
    /// Commands that have another name, or none where it is empty.
    pub renamed_commands: Vec<(String, String)>,
    /// Settings that only round-trip, by name.
    pub kept: BTreeMap<&'static str, String>,
}

impl Settings {
    /// Whether a call that took so many microseconds belongs into the slow log.
    #[must_use]
    pub fn is_slow(&self, elapsed_us: u64) -> bool {
        u64::try_from(self.slowlog_log_slower_than).is_ok_and(|limit_us| elapsed_us >= limit_us)
    }

    /// Where the file or socket that is called `path` lies: from the data directory on, where that is
    /// no absolute path.
    #[must_use]
    pub fn in_dir(&self, path: &str) -> PathBuf {
        Path::new(&self.dir).join(path)
    }

    /// Zero everywhere: what the defaults of the table are laid on.
    pub(super) fn empty() -> Self {
        Self {
            port: Default::default(),
            bind: Default::default(),
            unixsocket: Default::default(),
            unixsocketperm: Default::default(),
            tcp_backlog: Default::default(),
            tcp_keepalive: Default::default(),
            timeout: Default::default(),
            protected_mode: Default::default(),
            maxclients: Default::default(),
            tracking_table_max_keys: Default::default(),
            requirepass: Default::default(),
            users: Default::default(),
            aclfile: Default::default(),
            acl_pubsub_all_channels: Default::default(),
            acllog_max_len: Default::default(),
            io_threads: Default::default(),
            proto_max_bulk_len: Default::default(),
            client_query_buffer_limit: Default::default(),
            client_output_buffer_limit: Default::default(),
            tls: Default::default(),
            dir: Default::default(),
            databases: Default::default(),
            appendfsync: Default::default(),
            save: Default::default(),
            compaction_threads: Default::default(),
            hll_sparse_max_bytes: Default::default(),
            maxmemory: Default::default(),
            maxmemory_clients: Default::default(),
            maxmemory_policy: Default::default(),
            lfu_log_factor: Default::default(),
            lfu_decay_time: Default::default(),
            hash_max_listpack_entries: Default::default(),
            hash_max_listpack_value: Default::default(),
            set_max_intset_entries: Default::default(),
            set_max_listpack_entries: Default::default(),
            set_max_listpack_value: Default::default(),
            stream_node_max_entries: Default::default(),
            stream_node_max_bytes: Default::default(),
            list_max_listpack_size: Default::default(),
            zset_max_listpack_entries: Default::default(),
            zset_max_listpack_value: Default::default(),
            active_expire_effort: Default::default(),
            hz: Default::default(),
            loglevel: Default::default(),
            logfile: Default::default(),
            slowlog_log_slower_than: Default::default(),
            slowlog_max_len: Default::default(),
            latency_monitor_threshold: Default::default(),
            latency_tracking: Default::default(),
            latency_tracking_info_percentiles: Default::default(),
            notify_keyspace_events: Default::default(),
            enable_debug_command: Default::default(),
            shutdown_timeout: Default::default(),
            busy_reply_threshold: Default::default(),
            metrics_port: Default::default(),
            metrics_bind: Default::default(),
            daemonize: Default::default(),
            supervised: Default::default(),
            pidfile: Default::default(),
            renamed_commands: Default::default(),
            kept: Default::default(),
        }
    }
}
