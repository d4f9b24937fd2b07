//! The tasks that accept connections, and their exchange when `port` or `bind` change.

use std::io;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc::WeakSender;
use tokio::task::JoinHandle;

use super::accept::{self, Listener};
use super::message::Message;
use crate::commands::ServerState;
use crate::config::Settings;

/// One task per listening socket. It keeps no writer alive but through its tasks.
#[derive(Debug)]
pub(crate) struct Listeners {
    state: Weak<ServerState>,
    writer: WeakSender<Message>,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    tcp: Vec<JoinHandle<()>>,
    unix: Vec<JoinHandle<()>>,
    closed: bool,
}

impl Listeners {
    /// No sockets yet.
    pub(crate) fn new(state: &Arc<ServerState>, writer: WeakSender<Message>) -> Self {
        Self { state: Arc::downgrade(state), writer, tasks: Mutex::default() }
    }

    /// Accepts connections from `sockets`.
    pub(crate) fn start(&self, sockets: Vec<Listener>) {
        let mut tasks = self.tasks.lock();
        for socket in sockets {
            let is_tcp = matches!(socket, Listener::Tcp(_));
            let Some(task) = self.spawn(socket) else { return };
            if is_tcp { &mut tasks.tcp } else { &mut tasks.unix }.push(task);
        }
    }

    /// Listens where `new` says, and no longer where `old` does; connections stay. Where that
    /// fails everything is as it was, as far as the system allows. Blocks the thread: not for a
    /// thread that runs tasks.
    pub(crate) fn rebind(&self, old: &Settings, new: &Settings) -> io::Result<()> {
        let mut tasks = self.tasks.lock();
        if tasks.closed {
            return Err(io::Error::other("the server is shutting down"));
        }
        let sockets = if old.port == new.port {
            // The new addresses may overlap the old ones, so those have to be free first.
            close(tasks.tcp.drain(..));
            accept::listen_tcp(new).inspect_err(|_| {
                let restored = accept::listen_tcp(old).unwrap_or_else(|error| {
                    tracing::error!(%error, "the old addresses could not be listened on again");
                    Vec::new()
                });
                tasks.tcp.extend(restored.into_iter().filter_map(|socket| self.spawn(socket)));
            })?
        } else {
            let sockets = accept::listen_tcp(new)?;
            close(tasks.tcp.drain(..));
            sockets
        };
        tasks.tcp.extend(sockets.into_iter().filter_map(|socket| self.spawn(socket)));
        Ok(())
    }

    /// Accepts no further connection.
    pub(crate) fn close(&self) {
        let mut tasks = self.tasks.lock();
        tasks.closed = true;
        let Tasks { tcp, unix, .. } = &*tasks;
        tcp.iter().chain(unix).for_each(JoinHandle::abort);
    }

    fn spawn(&self, socket: Listener) -> Option<JoinHandle<()>> {
        let (state, writer) = (self.state.upgrade()?, self.writer.upgrade()?);
        Some(tokio::spawn(accept::run(socket, state, writer)))
    }
}

/// Ends the tasks and waits until their sockets are closed.
fn close(tasks: impl Iterator<Item = JoinHandle<()>>) {
    for task in tasks {
        task.abort();
        // An error says that the task was ended, which is what was asked for.
        drop(Handle::current().block_on(task));
    }
}
