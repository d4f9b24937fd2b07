//! `MONITOR`: every call, as it runs, to those who asked to see it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::RwLock;

use super::pubsub::{Outbox, push};
use super::{
    Args, Arity, Client, ClientFlag, CommandResult, CommandSpec, Flags, Group, Run, ServerState,
    Session, table::Command,
};
use crate::protocol::Reply;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] =
    &[CommandSpec::new("monitor", Arity::Exactly(1), Run::Session(monitor))
        .group(Group::Server)
        .summary("Shows every call of every connection from now on.")
        .differs("Who does not keep up is dropped at `client-output-buffer-limit pubsub`.")
        .flags(
            Flags::ADMIN.or(Flags::NOSCRIPT).or(Flags::LOADING).or(Flags::STALE).or(Flags::PUSHES),
        )];

/// The connections that monitor.
#[derive(Debug, Default)]
pub struct Monitors {
    all: RwLock<Vec<Arc<Outbox>>>,
    count: AtomicUsize,
}

impl Monitors {
    /// Whether nobody monitors. Costs one load.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// How many monitor.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn add(&self, outbox: Arc<Outbox>) {
        let mut all = self.all.write();
        all.push(outbox);
        self.count.store(all.len(), Ordering::Release);
    }

    /// Nothing more is shown to the connection with this id.
    pub(super) fn remove(&self, id: u64) {
        let mut all = self.all.write();
        all.retain(|outbox| outbox.client.id != id);
        self.count.store(all.len(), Ordering::Release);
    }

    /// Shows a call, `words` of it, that has run in database `db`; `source` is the address of the
    /// client, or what stands there in its place. Calls of administration are not shown.
    pub fn show(
        &self,
        state: &ServerState,
        command: &Command,
        db: u16,
        source: &str,
        words: &[Bytes],
    ) {
        let hidden = [Flags::ADMIN, Flags::SKIP_MONITOR];
        if !hidden.into_iter().any(|flag| command.flags.has(flag)) {
            self.show_anyway(state, command, db, source, words);
        }
    }

    /// Shows a call that [`Self::show`] hides: a script is shown before the calls that it makes.
    pub fn show_anyway(
        &self,
        state: &ServerState,
        command: &Command,
        db: u16,
        source: &str,
        words: &[Bytes],
    ) {
        if self.is_idle() {
            return;
        }
        let line = line(state.clock.unix_us(), db, source, &command.shown_words(words));
        let limit = state.config.load().client_output_buffer_limit.pubsub;
        for outbox in self.all.read().iter() {
            push(state, outbox, line.clone(), limit);
        }
    }
}

/// What stands for a client in the lines of its calls.
#[must_use]
pub fn source(client: &Client) -> Cow<'_, str> {
    match client.addr.strip_suffix(":0") {
        Some(path) if client.has(ClientFlag::UNIX) => format!("unix:{path}").into(),
        _ => (&*client.addr).into(),
    }
}

/// The line of a call: `+1700000000.000001 [0 127.0.0.1:1234] "get" "key"`.
fn line(unix_us: u64, db: u16, source: &str, words: &[Bytes]) -> Bytes {
    let (seconds, us) = (unix_us / 1_000_000, unix_us % 1_000_000);
    let mut line = BytesMut::from(format!("+{seconds}.{us:06} [{db} {source}]").as_bytes());
    for word in words {
        line.put_u8(b' ');
        line.put_slice(crate::protocol::quote_always(word).as_bytes());
    }
    line.put_slice(b"\r\n");
    line.freeze()
}

/// Once more it answers nothing, as in Redis.
fn monitor(session: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    if session.client.has(ClientFlag::MONITOR) {
        return Ok(Reply::Silent);
    }
    session.client.set(ClientFlag::MONITOR, true);
    state.monitors.add(Arc::clone(&session.pushes(state).outbox));
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_time_database_source_and_quoted_words() {
        let words = [Bytes::from_static(b"set"), Bytes::from_static(b"a\n\xff")];
        let line = line(1_700_000_000_000_042, 9, "lua", &words);
        assert_eq!(line, "+1700000000.000042 [9 lua] \"set\" \"a\\n\\xff\"\r\n");
        let tcp = Client::new(1, "127.0.0.1:0", "b", 3, false, 0);
        assert_eq!(source(&tcp), "127.0.0.1:0");
        let unix = Client::new(1, "/run/s.sock:0", "b", 3, true, 0);
        assert_eq!(source(&unix), "unix:/run/s.sock");
    }
}
