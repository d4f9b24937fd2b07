//! The process: background, service manager, pidfile.

use super::access::{Word, choice, switch, text};
use crate::config::Supervision;
use crate::config::kind::{Kind, Setting};

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "daemonize",
        switch!(daemonize),
        "no",
        "Run in the background, unless a service manager is told (supervised)",
    )
    .immutable(),
    Setting::new(
        "supervised",
        choice!(supervised: Supervision),
        "no",
        "Who is told when the server is ready: 'systemd', or 'auto' where NOTIFY_SOCKET is set; 'upstart' has no effect",
    )
    .immutable(),
    Setting::new(
        "pidfile",
        text!(pidfile),
        "",
        "File that receives the process id; from `dir` on. In the background /var/run/redis.pid where none is set",
    )
    .immutable(),
];
