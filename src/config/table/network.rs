//! Sockets, clients and their limits.

use super::access::{Number, Word, choice, integer, memory, switch, text};
use super::words::{get_bind, get_output_limits, set_bind, set_output_limits};
use crate::config::Protection;
use crate::config::kind::{Kind, Setting};

const I32_MAX: i64 = i32::MAX as i64;

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new("port", integer!(port, 0, 65535), "6379", "TCP port; 0 for none"),
    Setting::new(
        "bind",
        Kind::Words { get: get_bind, set: set_bind },
        "* -::*",
        "Addresses to listen on; one that starts with '-' may be unavailable",
    ),
    Setting::new(
        "unixsocket",
        text!(unixsocket),
        "",
        "Path of a unix socket to listen on, from `dir` on",
    )
    .immutable(),
    Setting::new(
        "unixsocketperm",
        Kind::Mode {
            get: |settings| settings.unixsocketperm,
            set: |settings, mode| settings.unixsocketperm = mode,
        },
        "0",
        "Mode of the unix socket, in octal; 0 leaves it to the umask",
    )
    .immutable(),
    Setting::new(
        "protected-mode",
        switch!(protected_mode),
        "yes",
        "Without a password, serve clients of this host only",
    ),
    Setting::new(
        "maxclients",
        integer!(maxclients, 1, 4_294_967_295),
        "10000",
        "Most clients at a time",
    ),
    Setting::new(
        "tracking-table-max-keys",
        integer!(tracking_table_max_keys, 0, i64::MAX),
        "1000000",
        "Keys of CLIENT TRACKING that are remembered with who has read them; 0 for any number",
    ),
    Setting::new(
        "timeout",
        integer!(timeout, 0, I32_MAX),
        "0",
        "Seconds after which an idle client is closed; 0 for never",
    ),
    Setting::new(
        "tcp-keepalive",
        integer!(tcp_keepalive, 0, I32_MAX),
        "300",
        "Seconds between probes of a silent connection; 0 for none",
    ),
    Setting::new(
        "tcp-backlog",
        integer!(tcp_backlog, 0, I32_MAX),
        "511",
        "Connections that may wait to be accepted",
    )
    .immutable(),
    Setting::new("io-threads", integer!(io_threads, 1, 128), "1", "Threads that serve connections")
        .immutable(),
    Setting::new(
        "proto-max-bulk-len",
        memory!(proto_max_bulk_len, 1 << 20, i64::MAX as u64),
        "512mb",
        "Longest argument of a command",
    ),
    Setting::new(
        "client-query-buffer-limit",
        memory!(client_query_buffer_limit, 1 << 20, i64::MAX as u64),
        "1gb",
        "Most bytes of an unfinished command",
    ),
    Setting::new(
        "client-output-buffer-limit",
        Kind::Words { get: get_output_limits, set: set_output_limits },
        "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60",
        "Class, hard limit, soft limit, seconds: output that may wait for a client",
    ),
    Setting::new(
        "enable-debug-command",
        choice!(enable_debug_command: Protection),
        "no",
        "Who may call DEBUG; 'local' is clients of this host",
    )
    .immutable(),
    Setting::new(
        "shutdown-timeout",
        integer!(shutdown_timeout, 0, I32_MAX),
        "10",
        "Seconds that a shutdown waits for running commands and their replies",
    ),
];
