//! Settings that take effect in the running server when `CONFIG SET` changes them.

use std::sync::{Arc, Weak};

use super::listeners::Listeners;
use super::logging::{self, Level};
use crate::commands::{ServerState, memory_budget};
use crate::config::{Settings, Veto};

/// Has changed settings carried out. All others are read where they are used.
pub(crate) fn watch(state: &Arc<ServerState>, level: Level, listeners: Arc<Listeners>) {
    let server = Arc::downgrade(state);
    state.config.on_change(Box::new(move |old, new, names| {
        let each =
            |old, new| names.iter().try_for_each(|name| apply(&server, &level, old, new, name));
        let applied = each(old, new).and_then(|()| move_listeners(&listeners, old, new));
        if applied.is_err()
            && let Err(Veto { name, why }) = each(new, old)
        {
            tracing::warn!(name, why, "a setting could not be set back");
        }
        applied
    }));
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
            if let Ok(engine) = state.engine() {
                engine.set_budget(memory_budget(new));
            }
            state.apply_memory_settings(new);
        }
        "maxmemory-clients" => state.apply_memory_settings(new),
        "maxmemory-policy" | "lfu-log-factor" | "lfu-decay-time" => {
            state.apply_access_settings(new);
        }
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

/// `port` and `bind`.
fn move_listeners(listeners: &Listeners, old: &Settings, new: &Settings) -> Result<(), Veto> {
    if old.port == new.port && old.bind == new.bind {
        return Ok(());
    }
    listeners.rebind(old, new).map_err(|error| {
        tracing::warn!(%error, "the listening addresses stay as they are");
        if old.port == new.port {
            Veto { name: "bind", why: "Failed to bind to specified addresses.".to_owned() }
        } else {
            let why = "Unable to listen on this port. Check server logs.".to_owned();
            Veto { name: "port", why }
        }
    })
}
