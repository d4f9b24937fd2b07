//! The tasks that accept connections, and their exchange when `port`, `tls-port` or `bind` change.

use std::io;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc::WeakSender;
use tokio::task::JoinHandle;

use super::accept::{self, Listener, Transport};
use super::message::Message;
use super::tls;
use crate::commands::ServerState;
use crate::config::Settings;

/// One task per listening socket. It keeps no writer alive but through its tasks.
#[derive(Debug)]
pub(crate) struct Listeners {
    state: Weak<ServerState>,
    writer: WeakSender<Message>,
    tls: tls::Current,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    tcp: Vec<JoinHandle<()>>,
    tls: Vec<JoinHandle<()>>,
    unix: Vec<JoinHandle<()>>,
    closed: bool,
}

impl Tasks {
    fn of(&mut self, transport: Transport) -> &mut Vec<JoinHandle<()>> {
        match transport {
            Transport::Plain => &mut self.tcp,
            Transport::Tls => &mut self.tls,
        }
    }
}

impl Listeners {
    /// No sockets yet; connections with TLS will begin with the configuration that `tls` then has.
    pub(crate) fn new(
        state: &Arc<ServerState>,
        writer: WeakSender<Message>,
        tls: tls::Current,
    ) -> Self {
        Self { state: Arc::downgrade(state), writer, tls, tasks: Mutex::default() }
    }

    /// The configuration of TLS.
    pub(crate) fn tls(&self) -> &tls::Current {
        &self.tls
    }

    /// Accepts connections from `sockets`.
    pub(crate) fn start(&self, sockets: Vec<Listener>) {
        let mut tasks = self.tasks.lock();
        for socket in sockets {
            let line = match socket {
                Listener::Tcp(_) => &mut tasks.tcp,
                Listener::Tls(_) => &mut tasks.tls,
                Listener::Unix(..) => &mut tasks.unix,
            };
            let Some(task) = self.spawn(socket) else { return };
            line.push(task);
        }
    }

    /// Listens where `new` says, and no longer where `old` does; connections stay. Where that
    /// fails everything is as it was, as far as the system allows. Blocks the thread: not for a
    /// thread that runs tasks.
    pub(crate) fn rebind(
        &self,
        transport: Transport,
        old: &Settings,
        new: &Settings,
    ) -> io::Result<()> {
        let mut tasks = self.tasks.lock();
        if tasks.closed {
            return Err(io::Error::other("the server is shutting down"));
        }
        let tasks = tasks.of(transport);
        let spawn = |sockets: Vec<Listener>| {
            sockets.into_iter().filter_map(|socket| self.spawn(socket)).collect::<Vec<_>>()
        };
        let sockets = if transport.port(old) == transport.port(new) {
            // The new addresses may overlap the old ones, so those have to be free first.
            close(tasks.drain(..));
            accept::listen_tcp(new, transport).inspect_err(|_| {
                let restored = accept::listen_tcp(old, transport).unwrap_or_else(|error| {
                    tracing::error!(%error, "the old addresses could not be listened on again");
                    Vec::new()
                });
                tasks.extend(spawn(restored));
            })?
        } else {
            let sockets = accept::listen_tcp(new, transport)?;
            close(tasks.drain(..));
            sockets
        };
        tasks.extend(spawn(sockets));
        Ok(())
    }

    /// Accepts no further connection.
    pub(crate) fn close(&self) {
        let mut tasks = self.tasks.lock();
        tasks.closed = true;
        let Tasks { tcp, tls, unix, .. } = &*tasks;
        tcp.iter().chain(tls).chain(unix).for_each(JoinHandle::abort);
    }

    fn spawn(&self, socket: Listener) -> Option<JoinHandle<()>> {
        let (state, writer) = (self.state.upgrade()?, self.writer.upgrade()?);
        Some(tokio::spawn(accept::run(socket, state, writer, Arc::clone(&self.tls))))
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
