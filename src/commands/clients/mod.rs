//! Connections as others see them: the shared half of each, and the registry of all.

use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::task::Waker;

use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Kind, Outbox};
use crate::env::MemoryAccount;
use crate::observe::Metrics;

mod eviction;

/// What a client holds is told to the account when it has changed by so much.
const TOLD_STEP_BYTES: usize = 16 << 10;
/// In the place of what a client has told, once it is gone.
const GONE: usize = usize::MAX;

/// Bits of [`Client::flags`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientFlag(u32);

impl ClientFlag {
    /// Connected through a unix socket (`U`).
    pub const UNIX: Self = Self(1);
    /// Waits in a blocking command (`b`).
    pub const BLOCKED: Self = Self(1 << 1);
    /// Waits for the end of `CLIENT PAUSE` (`b`, as in Redis); `CLIENT UNBLOCK` does not end it.
    pub const PAUSED: Self = Self(1 << 6);
    /// Closes after the replies are written (`c`).
    pub const CLOSE_AFTER_REPLY: Self = Self(1 << 2);
    /// Is to be closed at once (`A`).
    pub const KILLED: Self = Self(1 << 3);
    /// `CLIENT NO-EVICT ON` (`e`).
    pub const NO_EVICT: Self = Self(1 << 4);
    /// `CLIENT NO-TOUCH ON` (`T`).
    pub const NO_TOUCH: Self = Self(1 << 5);
    /// Has subscribed to something (`P`).
    pub const PUBSUB: Self = Self(1 << 7);
    /// Monitors (`O`).
    pub const MONITOR: Self = Self(1 << 8);

    /// Queues calls since `MULTI` (`x`).
    pub const QUEUES: Self = Self(1 << 9);

    /// Keeps copies of what it reads (`t`).
    pub const TRACKING: Self = Self(1 << 10);
    /// Invalidations go to a connection that is gone (`R`).
    pub const TRACKING_BROKEN: Self = Self(1 << 11);
    /// Is told of all keys with a prefix (`B`).
    pub const TRACKING_BCAST: Self = Self(1 << 12);
    /// Has an outbox.
    pub const PUSHED_TO: Self = Self(1 << 13);
    /// Its connection is gone.
    pub const GONE: Self = Self(1 << 14);

    const LETTERS: &'static [(Self, char)] = &[
        (Self::QUEUES, 'x'),
        (Self::MONITOR, 'O'),
        (Self::PUBSUB, 'P'),
        (Self::BLOCKED, 'b'),
        (Self::PAUSED, 'b'),
        (Self::TRACKING, 't'),
        (Self::TRACKING_BROKEN, 'R'),
        (Self::TRACKING_BCAST, 'B'),
        (Self::CLOSE_AFTER_REPLY, 'c'),
        (Self::KILLED, 'A'),
        (Self::UNIX, 'U'),
        (Self::NO_EVICT, 'e'),
        (Self::NO_TOUCH, 'T'),
    ];
}

/// How `CLIENT UNBLOCK` ends a blocking command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unblock {
    /// As if its timeout had passed.
    Timeout,
    /// With `-UNBLOCKED`.
    Error,
}

/// Names that a client gave to itself, of which most give none, and that of its user.
#[derive(Debug, Clone)]
pub(crate) struct ClientNames {
    pub(crate) user: Bytes,
    pub(crate) name: Box<[u8]>,
    pub(crate) lib_name: Box<[u8]>,
    pub(crate) lib_version: Box<[u8]>,
}

/// What others may do to the connection of a client, from any thread.
pub(crate) trait Link: Send + Sync {
    /// Ends one or both directions of the socket. With both, whatever its task waits for ends too.
    fn end(&self, how: Shutdown);

    /// Whether the peer has ended its side, and nothing that it sent is left to read. Does not wait.
    fn is_hung_up(&self) -> bool;
}

/// The link of a client, and what was asked of it before it was there.
#[derive(Default)]
struct LinkSlot {
    link: Option<Box<dyn Link>>,
    ended: Option<Shutdown>,
}

/// One connection as others see it (`CLIENT LIST`, `CLIENT KILL`). The connection's task keeps the
/// numbers up to date; they are relaxed atomics, each true by itself.
pub struct Client {
    /// Unique, increasing from 1.
    pub id: u64,
    /// Address of the peer, or the path of the unix socket with `:0`.
    pub addr: Box<str>,
    /// Our address.
    pub laddr: Box<str>,
    /// The socket's number in this process.
    pub fd: i32,
    /// When it connected, in Unix milliseconds.
    pub created_ms: u64,
    /// When it last sent something, or was answered, in Unix milliseconds.
    pub last_interaction_ms: AtomicU64,
    /// Whether its requests are being answered.
    pub is_served: AtomicBool,
    /// Selected database.
    pub db: AtomicU16,
    /// Protocol version: 2 or 3.
    pub resp: AtomicU8,
    /// Id of the last command in the table; `u16::MAX` before the first.
    pub last_command: AtomicU16,
    /// Bytes in the query buffer, those of the running command included.
    pub query_bytes: AtomicUsize,
    /// Capacity of the query buffer in bytes; 0 while idle.
    pub query_capacity: AtomicUsize,
    /// Bytes of the arguments of the running command.
    pub argv_bytes: AtomicUsize,
    /// Bytes of replies that wait for the socket.
    pub output_bytes: AtomicUsize,
    /// Calls that are queued since `MULTI`.
    pub queued_calls: AtomicUsize,
    /// Keys that are watched.
    pub watched_keys: AtomicUsize,
    /// Bytes of what is queued and watched.
    pub queued_bytes: AtomicUsize,
    /// Bytes of messages that wait to be pushed.
    pub pushed_bytes: AtomicUsize,
    /// Bytes of the prefixes that it tracks.
    pub tracked_bytes: AtomicUsize,
    /// Bytes of its subscriptions.
    pub subscribed_bytes: AtomicUsize,
    /// What it has told the account that it holds, in bytes.
    told_bytes: AtomicUsize,
    /// Subscriptions to channels, to patterns, to shard channels.
    subscriptions: [AtomicUsize; 3],
    /// To whom its invalidations go: 0 for itself, -1 where it does not track.
    pub(super) redirect: AtomicI64,
    /// What waits to be pushed, where anything ever did.
    pub(super) outbox: Mutex<Option<Arc<Outbox>>>,
    /// Wakes the task of the connection.
    waker: Mutex<Option<Waker>>,
    /// Bytes received since it connected.
    pub net_in_bytes: AtomicU64,
    /// Bytes sent since it connected.
    pub net_out_bytes: AtomicU64,
    flags: AtomicU32,
    unblock_with_error: AtomicU8,
    names: Mutex<ClientNames>,
    link: Mutex<LinkSlot>,
    unblocked: Notify,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that connected now. `unix` tells a unix socket from TCP.
    #[must_use]
    pub fn new(id: u64, addr: &str, laddr: &str, fd: i32, unix: bool, now_ms: u64) -> Self {
        Self {
            id,
            addr: addr.into(),
            laddr: laddr.into(),
            fd,
            created_ms: now_ms,
            last_interaction_ms: AtomicU64::new(now_ms),
            is_served: AtomicBool::new(false),
            db: AtomicU16::new(0),
            resp: AtomicU8::new(2),
            last_command: AtomicU16::new(u16::MAX),
            query_bytes: AtomicUsize::new(0),
            query_capacity: AtomicUsize::new(0),
            argv_bytes: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            queued_calls: AtomicUsize::new(0),
            watched_keys: AtomicUsize::new(0),
            tracked_bytes: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            pushed_bytes: AtomicUsize::new(0),
            subscribed_bytes: AtomicUsize::new(0),
            told_bytes: AtomicUsize::new(0),
            subscriptions: Default::default(),
            redirect: AtomicI64::new(-1),
            outbox: Mutex::default(),
            waker: Mutex::default(),
            net_in_bytes: AtomicU64::new(0),
            net_out_bytes: AtomicU64::new(0),
            flags: AtomicU32::new(if unix { ClientFlag::UNIX.0 } else { 0 }),
            unblock_with_error: AtomicU8::new(0),
            names: Mutex::new(ClientNames {
                user: Bytes::from_static(b"default"),
                name: Box::default(),
                lib_name: Box::default(),
                lib_version: Box::default(),
            }),
            link: Mutex::default(),
            unblocked: Notify::new(),
        }
    }

    /// How its task is woken when it gets an outbox.
    pub(crate) fn set_waker(&self, waker: Waker) {
        *self.waker.lock() = Some(waker);
    }

    /// Wakes its task, if that runs.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.lock() {
            waker.wake_by_ref();
        }
    }

    /// Its connection is gone: lets go of what belonged to that.
    pub(crate) fn leave(&self) {
        let outbox = {
            let mut slot = self.outbox.lock();
            self.set(ClientFlag::GONE, true);
            slot.take()
        };
        let waker = self.waker.lock().take();
        drop((outbox, waker));
    }

    /// Waits until somebody has made an outbox for it. For its own task only, which must have told how
    /// it is woken.
    pub(crate) async fn gets_outbox(&self) {
        std::future::poll_fn(|_| match self.has(ClientFlag::PUSHED_TO) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        })
        .await;
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn has(&self, flag: ClientFlag) -> bool {
        self.flags.load(Ordering::Acquire) & flag.0 != 0
    }

    /// Sets or clears a flag.
    pub fn set(&self, flag: ClientFlag, on: bool) {
        if on {
            self.flags.fetch_or(flag.0, Ordering::AcqRel);
        } else {
            self.flags.fetch_and(!flag.0, Ordering::AcqRel);
        }
    }

    /// Sets the way to the connection. An end that was asked for before is carried out now.
    pub(crate) fn set_link(&self, link: Box<dyn Link>) {
        let mut slot = self.link.lock();
        if let Some(how) = slot.ended {
            link.end(how);
        }
        slot.link = Some(link);
    }

    /// Ends one or both directions of the connection. When only reading ends, its task sees the end
    /// of the stream, and what has been received already is still served; with both directions its
    /// task ends at once, whatever it waits for.
    pub fn end(&self, how: Shutdown) {
        let mut slot = self.link.lock();
        if slot.ended != Some(Shutdown::Both) {
            slot.ended = Some(how);
        }
        if let Some(link) = &slot.link {
            link.end(how);
        }
    }

    /// Whether the peer is known to be gone. Asks the system; not for a hot path.
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        self.link.lock().link.as_ref().is_some_and(|link| link.is_hung_up())
    }

    /// Closes the connection at once. May be called often.
    pub fn kill(&self) {
        self.set(ClientFlag::KILLED, true);
        self.end(Shutdown::Both);
    }

    /// Whether [`Self::kill`] was called.
    #[must_use]
    pub fn is_killed(&self) -> bool {
        self.has(ClientFlag::KILLED)
    }

    /// Waits for `CLIENT UNBLOCK` while `waiting` runs; the client counts as blocked meanwhile.
    /// `Err` says how it was unblocked.
    pub async fn blocked_on<T>(&self, waiting: impl Future<Output = T>) -> Result<T, Unblock> {
        let unblocked = self.unblocked.notified();
        tokio::pin!(unblocked);
        // Whoever sees the mark below can notify already.
        unblocked.as_mut().enable();
        let _blocked = Marked::enter(self, ClientFlag::BLOCKED);
        tokio::select! {
            biased;
            done = waiting => Ok(done),
            () = unblocked => Err(self.unblock_kind()),
        }
    }

    /// Runs `waiting`, the end of a pause; the client counts as blocked meanwhile.
    pub async fn paused_for<T>(&self, waiting: impl Future<Output = T>) -> T {
        let _paused = Marked::enter(self, ClientFlag::PAUSED);
        waiting.await
    }

    /// Whether it waits: in a blocking command, or for the end of a pause.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.has(ClientFlag::BLOCKED) || self.has(ClientFlag::PAUSED)
    }

    /// For how long nothing was done for it or with it, in milliseconds: 0 while its command runs,
    /// but for one that waits, in a blocking command or for the peer to read.
    #[must_use]
    pub fn idle_ms(&self, now_ms: u64) -> u64 {
        let is_served = self.is_served.load(Ordering::Relaxed);
        if is_served && !self.is_waiting() && self.output_bytes.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        now_ms.saturating_sub(self.last_interaction_ms.load(Ordering::Relaxed))
    }

    /// Ends the blocking command of the client; false where it runs none.
    pub fn unblock(&self, how: Unblock) -> bool {
        if !self.has(ClientFlag::BLOCKED) {
            return false;
        }
        self.unblock_with_error.store(u8::from(how == Unblock::Error), Ordering::Release);
        self.unblocked.notify_waiters();
        true
    }

    /// How many subscriptions of a kind it has.
    #[must_use]
    pub fn subscriptions(&self, kind: Kind) -> &AtomicUsize {
        let [channels, patterns, shards] = &self.subscriptions;
        match kind {
            Kind::Channel => channels,
            Kind::Pattern => patterns,
            Kind::Shard => shards,
        }
    }

    /// To whom its invalidations go: 0 for itself, -1 where it does not track.
    #[must_use]
    pub fn shown_redirect(&self) -> i64 {
        self.redirect.load(Ordering::Relaxed)
    }

    /// Bytes that wait for the socket: of replies and of pushed messages.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.output_bytes.load(Ordering::Relaxed) + self.pushed_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that it holds: its state, what it has sent, queued, watches and has subscribed to, the
    /// prefixes that it tracks, and what waits for its socket. The words of the running command are part of what it has sent.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let load = |bytes: &AtomicUsize| bytes.load(Ordering::Relaxed);
        let sent = load(&self.query_capacity).max(load(&self.argv_bytes));
        let kept =
            load(&self.queued_bytes) + load(&self.subscribed_bytes) + load(&self.tracked_bytes);
        size_of::<Self>() + sent + kept + self.waiting_bytes()
    }

    /// Counts what was read of its socket.
    pub fn received(&self, metrics: &Metrics, bytes: usize) {
        self.net_in_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        metrics.net_in_bytes.add(bytes as u64);
        metrics.socket_reads.add((bytes > 0).into());
    }

    /// Tells the account what it holds, where that has changed much; whether all clients hold more
    /// than they may together, and something should be done about it.
    pub fn tell_held(&self, memory: &MemoryAccount) -> bool {
        let held = self.held_bytes();
        let is_told = |told: usize| told == GONE || held.abs_diff(told) < TOLD_STEP_BYTES;
        let told = &self.told_bytes;
        let update = |told| (!is_told(told)).then_some(held);
        let Ok(before) = told.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update) else {
            return false;
        };
        memory.client_holds(before, held);
        held > before && memory.clients() > memory.clients_max()
    }

    /// It holds nothing any more, and tells nothing.
    fn tell_gone(&self, memory: &MemoryAccount) {
        let before = self.told_bytes.swap(GONE, Ordering::Relaxed);
        if before != GONE {
            memory.client_holds(before, 0);
        }
    }

    /// The letters of `flags=` in `CLIENT LIST`.
    #[must_use]
    pub fn flag_letters(&self) -> String {
        let letters: String =
            ClientFlag::LETTERS.iter().filter(|(f, _)| self.has(*f)).map(|(_, c)| *c).collect();
        if letters.is_empty() { "N".to_owned() } else { letters }
    }

    pub(crate) fn names(&self) -> ClientNames {
        self.names.lock().clone()
    }

    /// Whether it is the user of this name.
    pub(crate) fn is_user(&self, name: &[u8]) -> bool {
        self.names.lock().user == name
    }

    /// The name of its user.
    pub(crate) fn user_name(&self) -> Bytes {
        self.names.lock().user.clone()
    }

    pub(crate) fn edit_names(&self, edit: impl FnOnce(&mut ClientNames)) {
        edit(&mut self.names.lock());
    }

    fn unblock_kind(&self) -> Unblock {
        match self.unblock_with_error.load(Ordering::Acquire) {
            0 => Unblock::Timeout,
            _ => Unblock::Error,
        }
    }
}

/// Sets a flag of a client while it lives.
struct Marked<'a>(&'a Client, ClientFlag);

impl<'a> Marked<'a> {
    fn enter(client: &'a Client, flag: ClientFlag) -> Self {
        client.set(flag, true);
        Self(client, flag)
    }
}

impl Drop for Marked<'_> {
    fn drop(&mut self) {
        self.0.set(self.1, false);
    }
}

/// All connections.
#[derive(Debug)]
pub struct Clients {
    memory: Arc<MemoryAccount>,
    by_id: DashMap<u64, Arc<Client>>,
    last_id: AtomicU64,
    count: AtomicI64,
}

impl Clients {
    /// None yet; what they hold is told to `memory`.
    #[must_use]
    pub fn new(memory: Arc<MemoryAccount>) -> Self {
        Self { memory, by_id: DashMap::new(), last_id: AtomicU64::new(0), count: AtomicI64::new(0) }
    }

    /// A new id, greater than all before.
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Registers a connection.
    pub fn insert(&self, client: Arc<Client>) {
        if self.by_id.insert(client.id, client).is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets a connection.
    pub fn remove(&self, id: u64) {
        if let Some((_, client)) = self.by_id.remove(&id) {
            client.tell_gone(&self.memory);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many connections there are; cheap.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.count.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connection with this id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.by_id.get(&id).map(|entry| Arc::clone(entry.value()))
    }

    /// Those that wait in a command or for the end of a pause, in no order.
    #[must_use]
    pub fn waiting(&self) -> Vec<Arc<Client>> {
        let waiting = self.by_id.iter().filter(|entry| entry.value().is_waiting());
        waiting.map(|entry| Arc::clone(entry.value())).collect()
    }

    /// All connections in the order of their ids. Costs what they are; not for a hot path.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Client>> {
        let mut all: Vec<_> = self.by_id.iter().map(|entry| Arc::clone(entry.value())).collect();
        all.sort_unstable_by_key(|client| client.id);
        all
    }
}

#[cfg(test)]
mod tests;
