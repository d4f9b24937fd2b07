//! Settings that take effect in the running server when `CONFIG SET` changes them.

use std::sync::{Arc, Weak};

use super::accept::Transport;
use super::listeners::Listeners;
use super::logging::{self, Level};
use super::metrics::Endpoint;
use super::tls;
use crate::commands::{ServerState, memory_budget};
use crate::config::{AppendFsync, Kind, Setting, Settings, Veto, find};

/// Has changed settings carried out. All others are read where they are used.
pub(crate) fn watch(
    state: &Arc<ServerState>,
    level: Level,
    listeners: Arc<Listeners>,
    metrics: Endpoint,
) {
    let server = Arc::downgrade(state);
    state.config.on_change(Box::new(move |old, new, names| {
        let each =
            |old, new| names.iter().try_for_each(|name| apply(&server, &level, old, new, name));
        let applied =
            each(old, new).and_then(|()| move_metrics(&metrics, old, new)).and_then(|()| {
                let moved = reconnect(&server, &listeners, old, new, names);
                moved.inspect_err(|_| {
                    if let Err(Veto { name, why }) = move_metrics(&metrics, new, old) {
                        tracing::warn!(name, why, "a setting could not be set back");
                    }
                })
            });
        if applied.is_err()
            && let Err(Veto { name, why }) = each(new, old)
        {
            tracing::warn!(name, why, "a setting could not be set back");
        }
        applied
    }));
}

/// Says in the log where the budget is more than `maxmemory` asks for.
pub(crate) fn tell_floor(settings: &Settings) {
    let budget = memory_budget(settings);
    if settings.maxmemory != 0 && settings.maxmemory < budget {
        let asked = settings.maxmemory;
        tracing::warn!(asked, budget, "maxmemory is below the least, which is taken instead");
    }
}

fn apply(
    server: &Weak<ServerState>,
    level: &Level,
    old: &Settings,
    new: &Settings,
    name: &'static str,
) -> Result<(), Veto> {
    let Some(state) = server.upgrade() else { return Ok(()) };
    match name {
        "maxmemory" => {
            tell_floor(new);
            if let Ok(engine) = state.engine() {
                engine.set_budget(memory_budget(new));
            }
            state.apply_memory_settings(new);
        }
        "appendfsync" => {
            if let Ok(engine) = state.engine() {
                engine.set_fill_log(new.appendfsync == AppendFsync::Always);
            }
        }
        "maxmemory-clients" => state.apply_memory_settings(new),
        "maxmemory-policy" | "lfu-log-factor" | "lfu-decay-time" => {
            state.apply_access_settings(new);
        }
        "requirepass" => state.users.set_password(&new.requirepass),
        "loglevel" => {
            level.reload(logging::filter(new.loglevel)).map_err(|error| Veto {
                name,
                why: format!("the level cannot be changed: {error}"),
            })?;
        }
        "maxclients" if new.maxclients > old.maxclients => {
            let can = super::limits::raise_open_files(new.maxclients);
            if can < new.maxclients {
                return Err(Veto {
                    name,
                    why: format!(
                        "The operating system is not able to handle the specified number of \
                         clients, try with {can}"
                    ),
                });
            }
        }
        _ => {}
    }
    Ok(())
}

/// `metrics-port` and `metrics-bind`.
fn move_metrics(metrics: &Endpoint, old: &Settings, new: &Settings) -> Result<(), Veto> {
    metrics.rebind(old, new).map_err(|error| {
        tracing::warn!(%error, "the metrics stay where they are");
        let moved = old.metrics_port != new.metrics_port;
        let name = if moved { "metrics-port" } else { "metrics-bind" };
        Veto { name, why: "Unable to listen on this port. Check server logs.".to_owned() }
    })
}

/// TLS and the listening sockets: the configuration that `new` asks for is made first, and taken once
/// everybody listens where they shall.
fn reconnect(
    server: &Weak<ServerState>,
    listeners: &Listeners,
    old: &Settings,
    new: &Settings,
    names: &[&'static str],
) -> Result<(), Veto> {
    let changed = names.iter().find(|name| find(name).is_some_and(is_of_tls));
    let made = match (changed, server.upgrade()) {
        (Some(name), Some(state)) if new.tls.port != 0 => {
            let made = tls::server_config(&new.tls, &*state.fs, &state.clock);
            Some(made.map_err(|why| {
                tracing::warn!(why, "Failed to configure TLS; it stays as it is");
                let why = "Unable to update TLS configuration. Check server logs.".to_owned();
                Veto { name, why }
            })?)
        }
        _ => None,
    };
    // Connections on a new port must not be the first to ask for it.
    let before = made.map(|made| listeners.tls().swap(Some(made)));
    let moved = move_listeners(listeners, Transport::Plain, old, new).and_then(|()| {
        move_listeners(listeners, Transport::Tls, old, new).inspect_err(|_| {
            if move_listeners(listeners, Transport::Plain, new, old).is_err() {
                tracing::error!("the old addresses could not be listened on again");
            }
        })
    });
    if let (Err(_), Some(before)) = (&moved, before) {
        listeners.tls().store(before);
    }
    moved
}

fn is_of_tls(setting: &Setting) -> bool {
    setting.name.starts_with("tls-") && !matches!(setting.kind, Kind::Kept(_))
}

/// `port`, `tls-port` and `bind`.
fn move_listeners(
    listeners: &Listeners,
    transport: Transport,
    old: &Settings,
    new: &Settings,
) -> Result<(), Veto> {
    let (from, to) = (transport.port(old), transport.port(new));
    if from == to && (old.bind == new.bind || to == 0) {
        return Ok(());
    }
    listeners.rebind(transport, old, new).map_err(|error| {
        tracing::warn!(%error, "the listening addresses stay as they are");
        if from == to {
            return Veto { name: "bind", why: "Failed to bind to specified addresses.".to_owned() };
        }
        let why = "Unable to listen on this port. Check server logs.".to_owned();
        let name = match transport {
            Transport::Plain => "port",
            Transport::Tls => "tls-port",
        };
        Veto { name, why }
    })
}
