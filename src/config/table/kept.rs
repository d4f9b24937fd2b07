//! What Redis has a use for and we have not: checked, kept and shown, so that tools and
//! configuration files of Redis work. The text says why there is no effect.

use super::words::{get_replicaof, get_save, set_replicaof, set_save};
use crate::config::kind::Shape::{
    self, Choice, Choices, Integer, Integers, Memory, Switch, Template, Text,
};
use crate::config::kind::{Kind, Setting};

const I32: i64 = i32::MAX as i64;
const I64: i64 = i64::MAX;
const SIZE: Shape = Memory(0, i64::MAX as u64);

const CLUSTER: &str = "there is no cluster mode yet";
// Immutable in Redis, where its suite knows them by their older names only; it would try the others.
const CPU: &str = "threads are not pinned to cores";
const CRASH: &str = "crash reports are those of the Rust runtime";
const DEFRAG: &str = "the allocator is not defragmented";
const EVICTION: &str = "data is on disk and is never evicted";
const LAZY: &str = "deletion of any size takes constant time";
const LOGGED: &str = "the log is not an append-only file of Redis";
const MEMORY: &str = "the data set is not a hash table in memory";
const MODULES: &str = "there are no modules";
const OS: &str = "it is left to the operating system or the service manager";
const RDB: &str = "no RDB snapshots are written";
const CHECKED: &str = "payloads of RESTORE are always checked in full";
const REPLICATION: &str = "there is no replication yet";
const SCRIPTS: &str = "scripts never see what it would add";
const SIGNAL: &str = "a signal always syncs the log and waits for replies";
const TEST: &str = "it serves Redis's own tests";
const HANDSHAKES: &str = "a handshake holds up no other connection";
const OUTGOING: &str = "the server connects to nobody";
const TYPES: &str = "the elements of a large list are records, which tables compress";

const PROTECTION: Shape = Choice(&["no", "yes", "local"]);
const SHUTDOWN: Shape = Choices(&["default", "save", "nosave", "now", "force"]);

const fn kept(
    name: &'static str,
    shape: Shape,
    default: &'static str,
    why: &'static str,
) -> Setting {
    Setting::kept(name, shape, default, why)
}

/// Settings of older versions, which Redis reads with one word and forgets.
pub(in crate::config) const FORGOTTEN: &[&str] =
    &["list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"];

pub(super) const SETTINGS: &[Setting] = &[
    kept("active-defrag-cycle-max", Integer(1, 99), "25", DEFRAG),
    kept("active-defrag-cycle-min", Integer(1, 99), "1", DEFRAG),
    kept("active-defrag-ignore-bytes", Memory(1, i64::MAX as u64), "100mb", DEFRAG),
    kept("active-defrag-max-scan-fields", Integer(1, I64), "1000", DEFRAG),
    kept("active-defrag-threshold-lower", Integer(0, 1000), "10", DEFRAG),
    kept("active-defrag-threshold-upper", Integer(0, 1000), "100", DEFRAG),
    kept("activedefrag", Switch, "no", DEFRAG),
    kept("activerehashing", Switch, "yes", MEMORY),
    kept("always-show-logo", Switch, "no", "there is no logo").immutable(),
    kept("aof-disable-auto-gc", Switch, "no", LOGGED).hidden(),
    kept("aof-load-truncated", Switch, "yes", LOGGED),
    kept("aof-rewrite-incremental-fsync", Switch, "yes", LOGGED),
    kept("aof-timestamp-enabled", Switch, "no", LOGGED),
    kept("aof-use-rdb-preamble", Switch, "yes", LOGGED),
    kept("aof-rewrite-cpulist", Text, "", CPU).alias("aof_rewrite_cpulist"),
    kept("appenddirname", Text, "appendonlydir", LOGGED).immutable(),
    kept("appendfilename", Text, "appendonly.aof", LOGGED).immutable(),
    kept("auto-aof-rewrite-min-size", SIZE, "64mb", LOGGED),
    kept("auto-aof-rewrite-percentage", Integer(0, I32), "100", LOGGED),
    kept("bgsave-cpulist", Text, "", CPU).alias("bgsave_cpulist"),
    kept("bind-source-addr", Text, "", REPLICATION),
    kept("bio-cpulist", Text, "", CPU).alias("bio_cpulist"),
    kept("close-on-replica-write", Switch, "yes", REPLICATION).hidden(),
    kept("cluster-allow-pubsubshard-when-down", Switch, "yes", CLUSTER),
    kept("cluster-allow-reads-when-down", Switch, "no", CLUSTER),
    kept("cluster-allow-replica-migration", Switch, "yes", CLUSTER),
    kept("cluster-announce-bus-port", Integer(0, 65535), "0", CLUSTER),
    kept("cluster-announce-hostname", Text, "", CLUSTER),
    kept("cluster-announce-human-nodename", Text, "", CLUSTER),
    kept("cluster-announce-ip", Text, "", CLUSTER),
    kept("cluster-announce-port", Integer(0, 65535), "0", CLUSTER),
    kept("cluster-announce-tls-port", Integer(0, 65535), "0", CLUSTER),
    kept("cluster-config-file", Text, "nodes.conf", CLUSTER).immutable(),
    Setting::new("cluster-enabled", Kind::Only("cluster mode is not supported"), "no", CLUSTER)
        .immutable(),
    kept("cluster-link-sendbuf-limit", Memory(0, u64::MAX), "0", CLUSTER),
    kept("cluster-migration-barrier", Integer(0, I32), "1", CLUSTER),
    kept("cluster-node-timeout", Integer(0, I64), "15000", CLUSTER),
    kept("cluster-port", Integer(0, 65535), "0", CLUSTER).immutable(),
    kept(
        "cluster-preferred-endpoint-type",
        Choice(&["ip", "hostname", "unknown-endpoint"]),
        "ip",
        CLUSTER,
    ),
    kept("cluster-replica-no-failover", Switch, "no", CLUSTER).alias("cluster-slave-no-failover"),
    kept("cluster-replica-validity-factor", Integer(0, I32), "10", CLUSTER)
        .alias("cluster-slave-validity-factor"),
    kept("cluster-require-full-coverage", Switch, "yes", CLUSTER),
    kept("crash-log-enabled", Switch, "yes", CRASH),
    kept("crash-memcheck-enabled", Switch, "yes", CRASH),
    kept("dbfilename", Text, "dump.rdb", RDB),
    kept("disable-thp", Switch, "yes", OS).immutable(),
    kept("dynamic-hz", Switch, "yes", "ticks cost the same with many clients"),
    kept("dict-resizing", Switch, "yes", MEMORY).hidden(),
    kept("enable-module-command", PROTECTION, "no", MODULES).immutable(),
    kept("enable-protected-configs", PROTECTION, "no", "dir cannot be changed at run time")
        .immutable(),
    kept("ignore-warnings", Text, "", OS),
    kept("io-threads-do-reads", Switch, "no", "all threads read and write").immutable(),
    kept("jemalloc-bg-thread", Switch, "yes", "the allocator always has its threads"),
    kept("key-load-delay", Integer(i32::MIN as i64, I32), "0", TEST).hidden(),
    kept("lazyfree-lazy-eviction", Switch, "no", LAZY),
    kept("lazyfree-lazy-expire", Switch, "no", LAZY),
    kept("lazyfree-lazy-server-del", Switch, "no", LAZY),
    kept("lazyfree-lazy-user-del", Switch, "no", LAZY),
    kept("lazyfree-lazy-user-flush", Switch, "no", LAZY),
    kept("list-compress-depth", Integer(0, I32), "0", TYPES),
    kept("loading-process-events-interval-bytes", Memory(1024, i32::MAX as u64), "2mb", RDB)
        .hidden(),
    kept("locale-collate", Text, "", "text is compared byte by byte"),
    kept("lua-enable-deprecated-api", Switch, "no", SCRIPTS).immutable().hidden(),
    kept("masterauth", Text, "", REPLICATION),
    kept("masteruser", Text, "", REPLICATION),
    kept("max-new-connections-per-cycle", Integer(1, 1000), "10", "connections are tasks"),
    kept("max-new-tls-connections-per-cycle", Integer(1, 1000), "1", HANDSHAKES),
    kept("maxmemory-eviction-tenacity", Integer(0, 100), "10", EVICTION),
    kept("maxmemory-samples", Integer(1, 64), "5", EVICTION),
    kept("min-replicas-max-lag", Integer(0, I32), "10", REPLICATION).alias("min-slaves-max-lag"),
    kept("min-replicas-to-write", Integer(0, I32), "0", REPLICATION).alias("min-slaves-to-write"),
    kept("no-appendfsync-on-rewrite", Switch, "no", LOGGED),
    kept("oom-score-adj", Choice(&["no", "yes", "relative", "absolute"]), "no", OS),
    kept("oom-score-adj-values", Integers(3, -2000, 2000), "0 200 800", OS),
    kept("proc-title-template", Template, "{title} {listen-addr} {server-mode}", OS),
    kept(
        "propagation-error-behavior",
        Choice(&["ignore", "panic", "panic-on-replicas"]),
        "ignore",
        TEST,
    ),
    kept("rdb-del-sync-files", Switch, "no", RDB),
    kept("rdb-key-save-delay", Integer(i32::MIN as i64, I32), "0", TEST).hidden(),
    kept("rdb-save-incremental-fsync", Switch, "yes", RDB),
    kept("rdbchecksum", Switch, "yes", RDB).immutable(),
    kept("rdbcompression", Switch, "yes", RDB),
    kept("repl-backlog-size", Memory(1, i64::MAX as u64), "1mb", REPLICATION),
    kept("repl-backlog-ttl", Integer(0, I64), "3600", REPLICATION),
    kept("repl-disable-tcp-nodelay", Switch, "no", REPLICATION),
    kept(
        "repl-diskless-load",
        Choice(&["disabled", "on-empty-db", "swapdb"]),
        "disabled",
        REPLICATION,
    ),
    kept("repl-diskless-sync", Switch, "yes", REPLICATION),
    kept("repl-diskless-sync-delay", Integer(0, I32), "5", REPLICATION),
    kept("repl-diskless-sync-max-replicas", Integer(0, I32), "0", REPLICATION),
    kept("repl-ping-replica-period", Integer(1, I32), "10", REPLICATION)
        .alias("repl-ping-slave-period"),
    kept("repl-timeout", Integer(1, I32), "60", REPLICATION),
    kept("replica-announce-ip", Text, "", REPLICATION).alias("slave-announce-ip"),
    kept("replica-announce-port", Integer(0, 65535), "0", REPLICATION).alias("slave-announce-port"),
    kept("replica-announced", Switch, "yes", REPLICATION),
    kept("replica-ignore-disk-write-errors", Switch, "no", REPLICATION),
    kept("replica-ignore-maxmemory", Switch, "yes", REPLICATION).alias("slave-ignore-maxmemory"),
    kept("replica-lazy-flush", Switch, "no", REPLICATION).alias("slave-lazy-flush"),
    kept("replica-priority", Integer(0, I32), "100", REPLICATION).alias("slave-priority"),
    kept("replica-read-only", Switch, "yes", REPLICATION).alias("slave-read-only"),
    kept("replica-serve-stale-data", Switch, "yes", REPLICATION).alias("slave-serve-stale-data"),
    Setting::new(
        "replicaof",
        Kind::Words { get: get_replicaof, set: set_replicaof },
        "",
        REPLICATION,
    )
    .alias("slaveof")
    .immutable(),
    kept("sanitize-dump-payload", Choice(&["no", "yes", "clients"]), "no", CHECKED),
    Setting::new("save", Kind::Words { get: get_save, set: set_save }, "", RDB),
    kept("server-cpulist", Text, "", CPU).alias("server_cpulist"),
    kept("set-proc-title", Switch, "yes", OS).immutable(),
    kept("shutdown-on-sigint", SHUTDOWN, "default", SIGNAL),
    kept("shutdown-on-sigterm", SHUTDOWN, "default", SIGNAL),
    kept("socket-mark-id", Integer(0, 4_294_967_295), "0", OS).immutable(),
    kept("stop-writes-on-bgsave-error", Switch, "yes", RDB),
    kept("syslog-enabled", Switch, "no", OS).immutable(),
    kept(
        "syslog-facility",
        Choice(&[
            "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
        ]),
        "local0",
        OS,
    )
    .immutable(),
    kept("syslog-ident", Text, "redis", OS).immutable(),
    kept("tls-client-cert-file", Text, "", OUTGOING),
    kept("tls-client-key-file", Text, "", OUTGOING),
    kept("tls-client-key-file-pass", Text, "", OUTGOING),
    kept("tls-cluster", Switch, "no", CLUSTER),
    kept("tls-replication", Switch, "no", REPLICATION),
    kept("use-exit-on-panic", Switch, "no", TEST).hidden(),
    kept("watchdog-period", Integer(0, I32), "0", CRASH).hidden(),
];
