//! The server as administrative commands see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot};

use super::acl::{AclLog, Users};
use super::object::packing;
use super::{
    Arrivals, Client, Clients, LongReplies, Monitors, Pause, PubSub, Scripts, Shutdown, Tracking,
    memory, memory_budget, table,
};
use crate::config::{Config, Settings};
use crate::data::{Access, Candidates, Context, Cursors, Edit, EventClasses, KnownOrders};
use crate::engine::{Engine, ReadMode};
use crate::env::{Clock, Fs, MemoryAccount};
use crate::observe::{LatencyMonitor, Metrics, SlowLog};

/// Memory for access times and frequencies of keys, in bytes.
const ACCESS_BYTES: usize = 4 << 20;
/// What decoded count records of sorted sets may take of the budget: those that the writer knows, and
/// as much those that readers have met.
const KNOWN_ORDERS_SHARE: u64 = 32;

/// Pace at which a command looks whether the data directory is open again.
const REOPEN_POLL: Duration = Duration::from_millis(1);

/// Answer to a [`Control`] request.
pub type Done = oneshot::Sender<Result<(), crate::engine::Error>>;

/// What an administrative command asks of the server's tasks.
#[derive(Debug)]
pub enum Control {
    /// Make everything acknowledged so far durable in the write-ahead log.
    Sync(Done),
    /// Flush the memtables to SSTables.
    Flush(Done),
    /// Close the data directory and open it again (`DEBUG RELOAD`); [`ServerState::engine`] is
    /// the new one before the answer.
    Reopen(Done),
    /// Compact everything (`DEBUG COMPACT`).
    Compact(Done),
    /// Answer when everything that was run by now is published.
    Settle(Done),
    /// Change data; the answer comes when the change is published.
    Change(Change, Done),
}

/// What a [`Change`] does; it may be run again after `WouldBlock`, with all changes undone.
pub trait ChangeFn: Fn(&mut Edit<'_>) -> crate::engine::Result<()> + Send + Sync {}

impl<F: Fn(&mut Edit<'_>) -> crate::engine::Result<()> + Send + Sync> ChangeFn for F {}

/// A transaction of the server's own, for the writer.
#[derive(Clone)]
pub struct Change {
    /// The database.
    pub db: u16,
    /// How far its reads may go; where they would wait on the disk, the answer is `WouldBlock`.
    pub mode: ReadMode,
    /// What is done; short, since everybody else's writes wait for it.
    pub run: Arc<dyn ChangeFn>,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change").field("db", &self.db).finish_non_exhaustive()
    }
}

/// Shared by all connections.
#[derive(Debug)]
pub struct ServerState {
    /// Settings.
    pub config: Config,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Disk, for `CONFIG REWRITE`.
    pub fs: Arc<dyn Fs>,
    /// Counters.
    pub metrics: Metrics,
    /// Slow commands.
    pub slowlog: SlowLog,
    /// Latency events.
    pub latency: LatencyMonitor,
    /// Access times and frequencies of keys.
    pub access: Access,
    /// Count records of large sorted sets, decoded.
    pub orders: KnownOrders,
    /// Where running scans continue.
    pub cursors: Cursors,
    /// Members of large sets that are popped next.
    pub candidates: Candidates,
    /// Who may do what.
    pub users: Users,
    /// What was refused to them.
    pub acl_log: AclLog,
    /// All connections.
    pub clients: Clients,
    /// Subscriptions.
    pub pubsub: Arc<PubSub>,
    /// Who keeps copies of keys.
    pub tracking: Tracking,
    /// Who monitors.
    pub monitors: Arc<Monitors>,
    /// `CLIENT PAUSE`.
    pub pause: Pause,
    /// `SHUTDOWN` and signals.
    pub shutdown: Shutdown,
    /// The store; `None` while it is closed and opened again ([`Control::Reopen`]).
    pub engine: ArcSwapOption<Engine>,
    /// To the writer and the background tasks; bounded.
    pub control: mpsc::Sender<Control>,
    /// 40 hexadecimal digits, new at each start.
    pub run_id: String,
    /// The service manager that is told how far the server is; `no` where none is.
    pub supervised: &'static str,
    /// When the server started, in Unix milliseconds.
    pub started_ms: u64,
    /// When the memtables were last flushed by command, in Unix seconds.
    pub last_save_s: AtomicU64,
    /// Whether a `BGSAVE` runs.
    pub saving: AtomicBool,
    /// `EVAL` and `SCRIPT`.
    pub scripts: Scripts,
    /// Keys that calls wait for.
    pub awaited_keys: AtomicUsize,
    /// How many of them end a call when they go.
    pub needed_keys: AtomicUsize,
    /// `DEBUG SET-ACTIVE-EXPIRE`: whether the expiry task removes keys.
    pub active_expire: AtomicBool,
    /// Whether a transaction took so long that walks of the indexes of expiries may have passed what it
    /// has put there: the next one begins anew.
    pub expires_anew: AtomicBool,
    /// `DEBUG PAUSE-CRON`: whether what is done ten times a second is left undone.
    pub pauses_cron: AtomicBool,
    /// Changes since the last flush by command.
    pub changes: AtomicU64,
    /// Replies that are sent while they are made.
    pub long_replies: LongReplies,
    /// Long arguments while they arrive.
    pub arrivals: Arc<Arrivals>,
    /// What clients and commands hold.
    pub memory: Arc<MemoryAccount>,
}

impl ServerState {
    /// The surroundings of a call that runs now on database `db`; `touch` says whether it changes
    /// access times.
    #[must_use]
    pub fn context(&self, db: u16, touch: bool) -> Context<'_> {
        self.context_at(db, touch, self.clock.unix_ms())
    }

    /// As [`Self::context`], for a call that runs at `now_ms`.
    #[must_use]
    pub fn context_at(&self, db: u16, touch: bool, now_ms: u64) -> Context<'_> {
        self.context_by(&self.config.load(), db, touch, now_ms)
    }

    /// As [`Self::context_at`], by these settings.
    #[must_use]
    pub fn context_by(
        &self,
        settings: &Settings,
        db: u16,
        touch: bool,
        now_ms: u64,
    ) -> Context<'_> {
        Context {
            now_ms,
            db,
            databases: settings.databases,
            string_bytes_max: settings.proto_max_bulk_len,
            hll_sparse_bytes_max: settings.hll_sparse_max_bytes,
            packing: packing(settings),
            access: &self.access,
            orders: &self.orders,
            touch,
            in_script: false,
            events: self.event_classes(settings),
            cursors: &self.cursors,
            candidates: &self.candidates,
            warms: false,
            memory: &self.memory,
        }
    }

    /// What somebody wants to know: keyspace events where anybody has subscribed to anything, and what
    /// is modified where anybody tracks.
    #[must_use]
    pub fn event_classes(&self, settings: &Settings) -> EventClasses {
        let told = self.told_classes(settings);
        if self.tracking.is_active() { told.or(EventClasses::MODIFIED) } else { told }
    }

    fn told_classes(&self, settings: &Settings) -> EventClasses {
        if settings.notify_keyspace_events.is_empty() || self.pubsub.is_idle() {
            return EventClasses::NONE;
        }
        EventClasses::parse(&settings.notify_keyspace_events)
    }

    /// The state of a server that starts now; `engine` may follow later.
    #[must_use]
    pub fn new(
        config: Config,
        clock: Arc<dyn Clock>,
        fs: Arc<dyn Fs>,
        engine: Option<Arc<Engine>>,
        control: mpsc::Sender<Control>,
    ) -> Self {
        let started_ms = clock.unix_ms();
        let memory = Arc::new(MemoryAccount::unbounded());
        let users = Users::with_password(&config.load().requirepass);
        let state = Self {
            config,
            users,
            acl_log: AclLog::default(),
            clock,
            fs,
            metrics: Metrics::new(table::all().len()),
            slowlog: SlowLog::default(),
            latency: LatencyMonitor::default(),
            access: Access::new(ACCESS_BYTES, started_ms),
            orders: KnownOrders::new(0),
            cursors: Cursors::default(),
            candidates: Candidates::default(),
            clients: Clients::new(Arc::clone(&memory)),
            pubsub: Arc::default(),
            tracking: Tracking::default(),
            monitors: Arc::default(),
            pause: Pause::default(),
            shutdown: Shutdown::default(),
            engine: ArcSwapOption::new(engine),
            control,
            run_id: random_hex_40(),
            supervised: "no",
            arrivals: Arc::default(),
            started_ms,
            last_save_s: AtomicU64::new(started_ms / 1000),
            saving: AtomicBool::new(false),
            scripts: Scripts::default(),
            awaited_keys: AtomicUsize::new(0),
            needed_keys: AtomicUsize::new(0),
            active_expire: AtomicBool::new(true),
            expires_anew: AtomicBool::new(false),
            pauses_cron: AtomicBool::new(false),
            changes: AtomicU64::new(0),
            long_replies: LongReplies::default(),
            memory,
        };
        state.apply_access_settings(&state.config.load());
        state.apply_memory_settings(&state.config.load());
        state
    }

    /// Has the bounds of what clients and commands hold follow `maxmemory` and `maxmemory-clients`,
    /// and closes clients that hold too much.
    pub fn apply_memory_settings(&self, settings: &Settings) {
        self.memory.set_budget(memory_budget(settings));
        self.memory.set_clients_max(memory::clients_max(settings));
        let bytes = memory_budget(settings) / KNOWN_ORDERS_SHARE;
        self.orders.set_bytes_max(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.bound_clients();
    }

    /// Closes clients where all together hold too much.
    pub fn bound_clients(&self) {
        if self.memory.clients() > self.memory.clients_max() {
            self.clients.evict(&self.metrics, self.clock.unix_ms());
        }
    }

    /// What a client holds has changed: it is told to the account, and clients are closed where all
    /// together hold too much, this one perhaps.
    pub fn client_holds(&self, client: &Client) {
        if client.tell_held(&self.memory) {
            self.clients.evict(&self.metrics, self.clock.unix_ms());
        }
    }

    /// Has `maxmemory-policy` and the `lfu` settings followed by what `OBJECT` answers.
    pub fn apply_access_settings(&self, settings: &Settings) {
        self.access.set_prefers_frequency(settings.maxmemory_policy.is_lfu());
        self.access.set_lfu(settings.lfu_log_factor, settings.lfu_decay_time);
    }

    /// The store; `Closed` while it is being opened again. One reference, no lock.
    pub fn engine(&self) -> crate::engine::Result<Arc<Engine>> {
        self.engine.load_full().ok_or(crate::engine::Error::Closed)
    }

    /// The store; waits while it is being opened again.
    pub async fn opened_engine(&self) -> Arc<Engine> {
        loop {
            if let Ok(engine) = self.engine() {
                return engine;
            }
            tokio::time::sleep(REOPEN_POLL).await;
        }
    }

    /// Asks a task of the server and waits for its answer; `Closed` while the server stops.
    pub async fn ask(&self, request: impl FnOnce(Done) -> Control) -> crate::engine::Result<()> {
        let (done, answer) = oneshot::channel();
        let closed = |_| crate::engine::Error::Closed;
        self.control.send(request(done)).await.map_err(|_| crate::engine::Error::Closed)?;
        answer.await.map_err(closed)?
    }

    /// Whether a call that took so long belongs into the slow log.
    #[must_use]
    pub fn is_slow(&self, elapsed_ns: u64) -> bool {
        self.config.load().is_slow(elapsed_ns / 1000)
    }

    /// Whether active expiry is allowed now: not switched off, nothing paused.
    #[must_use]
    pub fn expires_actively(&self) -> bool {
        self.active_expire.load(Ordering::Relaxed) && !self.pause.is_set()
    }
}

/// 40 random hexadecimal digits.
fn random_hex_40() -> String {
    format!("{:032x}{:08x}", fastrand::u128(..), fastrand::u32(..))
}
