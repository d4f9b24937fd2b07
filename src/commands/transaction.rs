//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.
//!
//! `MULTI` gives the session a [`Queue`]; the dispatcher puts calls into it instead of running them.
//! `EXEC` makes a [`Program`] of it, which looks at the watched keys before anything else.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::acl::Category;
use super::client::CALLABLE_ANYTIME;
use super::spec::ServerFuture;
use super::table::Command;
use super::{
    Arg, Args, Arity, Calls, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Program,
    Run, ServerState, Session, gates,
};
use crate::data::Watch;
use crate::engine::{self, ReadMode, Snapshot};
use crate::protocol::Reply;

/// Reads of more calls, or of more words, run on the blocking pool at once.
const LIGHT_CALLS_MAX: usize = 128;
const LIGHT_WORDS_MAX: usize = 4096;

const USUAL: Flags = CALLABLE_ANYTIME.or(Flags::FAST).or(Flags::ALLOW_BUSY);

const fn command(name: &'static str, arity: Arity, run: Run) -> CommandSpec {
    CommandSpec::new(name, arity, run).group(Group::Transactions).acl(&[Category::Transaction])
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    command("multi", Arity::Exactly(1), Run::Session(multi))
        .since("1.2.0")
        .summary("Queues the commands that follow, until EXEC runs them as one transaction.")
        .flags(USUAL.or(Flags::NOT_QUEUED).or(Flags::JOINS)),
    command("exec", Arity::Exactly(1), Run::Program(exec))
        .since("1.2.0")
        .complexity("Depends on the queued commands.")
        .summary("Runs the queued commands as one transaction.")
        .differs(
            "After a crash all of a transaction is there, or nothing. ACL LOAD, ACL SAVE, CLIENT PAUSE, \
             CONFIG SET, CONFIG REWRITE, DEBUG, BGSAVE, BGREWRITEAOF and PFSELFTEST are no part of it: it ends before \
             them, and a new one begins behind. A transaction may change as much as one command may hold. \
             All replies are in \
             the protocol version that holds at the end.",
        )
        .flags(CALLABLE_ANYTIME.or(Flags::SKIP_SLOWLOG).or(Flags::NOT_QUEUED)),
    command("discard", Arity::Exactly(1), Run::Session(discard))
        .since("2.0.0")
        .complexity("O(N) with N queued commands")
        .summary("Forgets the queued commands.")
        .flags(USUAL.or(Flags::NOT_QUEUED)),
    command("watch", Arity::AtLeast(2), Run::Server(watch))
        .since("2.2.0")
        .complexity("O(1) for every key")
        .summary("Lets the next EXEC run nothing if one of these keys has changed by then.")
        .differs(
            "A key that is what it was again after FLUSHDB or SWAPDB may count as unchanged.",
        )
        .flags(USUAL.or(Flags::NOT_QUEUED))
        .keys(&[KeySpec::range(1, -1, 1).ro()])
        .args(&[Arg::key("key").multiple()]),
    command("unwatch", Arity::Exactly(1), Run::Session(unwatch))
        .since("2.2.0")
        .summary("Forgets the watched keys.")
        .flags(USUAL),
];

/// What a client has queued since `MULTI`.
#[derive(Debug, Default)]
pub struct Queue {
    calls: Vec<Queued>,
    flags: Flags,
    /// Whether a call could not be queued, so that `EXEC` must not run the others.
    failed: bool,
    bytes: usize,
}

/// A queued call, with words of its own: those of the request would keep the read buffer.
#[derive(Debug)]
struct Queued {
    command: &'static Command,
    words: SmallVec<[Bytes; 4]>,
}

impl Queue {
    /// How many calls there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// What it takes in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a call of it is a script or a function.
    #[must_use]
    pub fn has_programs(&self) -> bool {
        self.calls.iter().any(|call| matches!(call.command.spec.run, Run::Program(_)))
    }

    /// Adds a call that has passed the gates.
    pub fn push(&mut self, command: &'static Command, words: &[Bytes]) {
        let words = copied(words);
        self.flags = self.flags.or(command.flags);
        self.bytes += size_of::<Queued>() + words.iter().map(Bytes::len).sum::<usize>();
        if words.spilled() {
            self.bytes += words.len() * size_of::<Bytes>();
        }
        self.calls.push(Queued { command, words });
    }

    /// Notes that a call could not be queued.
    pub fn fail(&mut self) {
        self.failed = true;
    }
}

/// The words in memory of their own.
fn copied(words: &[Bytes]) -> SmallVec<[Bytes; 4]> {
    let mut all = BytesMut::with_capacity(words.iter().map(Bytes::len).sum());
    words.iter().for_each(|word| all.extend_from_slice(word));
    let mut all = all.freeze();
    words.iter().map(|word| all.split_to(word.len())).collect()
}

/// The keys that a client watches.
#[derive(Debug, Default)]
pub struct Watched {
    keys: HashMap<(u16, Bytes), Watch>,
    bytes: usize,
}

impl Watched {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What they take in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a key; one that is watched already stays as it was seen first.
    pub(super) fn add(&mut self, db: u16, key: Bytes, watch: Watch) {
        let bytes = key.len() + size_of::<((u16, Bytes), Watch)>();
        self.keys.entry((db, key)).or_insert_with(|| {
            self.bytes += bytes;
            watch
        });
    }
}

fn multi(session: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    if session.queue.is_some() {
        return Err(Error::Text("ERR MULTI calls can not be nested".to_owned()));
    }
    session.queue = Some(Box::default());
    session.tell_queued();
    Ok(Reply::OK)
}

fn discard(session: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    if session.queue.is_none() {
        return Err(Error::Text("ERR DISCARD without MULTI".to_owned()));
    }
    session.discard();
    Ok(Reply::OK)
}

fn unwatch(session: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    session.watched = None;
    session.tell_queued();
    Ok(Reply::OK)
}

fn watch<'a>(
    session: &'a mut Session,
    state: &'a Arc<ServerState>,
    words: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(async move {
        if session.queue.is_some() {
            return Err(Error::Text("ERR WATCH inside MULTI is not allowed".to_owned()));
        }
        let (db, now_ms) = (session.db, state.clock.unix_ms());
        let keys: Vec<Bytes> = copied(words.get(1..).unwrap_or_default()).into_vec();
        let snapshot = state.opened_engine().await.snapshot(ReadMode::Resident);
        let found = match look(&snapshot, db, &keys, now_ms) {
            Err(engine::Error::WouldBlock) => {
                let (keys, snapshot) = (keys.clone(), snapshot.with_mode(ReadMode::Blocking));
                let looked =
                    tokio::task::spawn_blocking(move || look(&snapshot, db, &keys, now_ms));
                // Cancelled only when the runtime ends.
                looked.await.map_err(|error| Error::Text(format!("ERR {error}")))??
            }
            found => found?,
        };
        let watched = session.watched.get_or_insert_default();
        for (key, watch) in keys.into_iter().zip(found) {
            watched.add(db, key, watch);
        }
        session.tell_queued();
        Ok(Reply::OK)
    })
}

fn look(snapshot: &Snapshot, db: u16, keys: &[Bytes], now_ms: u64) -> engine::Result<Vec<Watch>> {
    keys.iter().map(|key| Watch::begin(snapshot, snapshot.seq(), db, key, now_ms)).collect()
}

fn exec(
    session: &mut Session,
    state: &Arc<ServerState>,
    _: &[Bytes],
) -> Result<Box<dyn Program>, Error> {
    let Some(queue) = session.queue.take() else {
        return Err(Error::Text("ERR EXEC without MULTI".to_owned()));
    };
    let watched = session.watched.take();
    session.tell_queued();
    if queue.failed {
        let text = "EXECABORT Transaction discarded because of previous errors.";
        return Err(Error::Text(text.to_owned()));
    }
    if queue.flags.has(Flags::WRITE) {
        gates::writable(state).map_err(|error| aborted(&error))?;
    }
    let Queue { calls, flags, .. } = *queue;
    let mut writes = false;
    let mut is_held = false;
    let mut keeps_session = false;
    for Queued { command, words } in &calls {
        let (call_writes, call_is_held) = match command.spec.run {
            // One that cannot be made answers its error in its turn.
            Run::Program(make) => make(session, state, words)
                .map_or((true, false), |made| (made.may_write(), made.is_held_by_pause())),
            run => {
                let flag = |flag| command.flags.has(flag);
                let is_held = flag(Flags::WRITE) || flag(Flags::MAY_REPLICATE);
                (matches!(run, Run::Write(_) | Run::Blocking(_)), is_held)
            }
        };
        keeps_session |= matches!(command.spec.run, Run::Session(_) | Run::Server(_));
        writes |= call_writes;
        is_held |= call_is_held;
    }
    Ok(Box::new(Transaction {
        replies: Vec::with_capacity(calls.len()),
        calls,
        flags,
        writes,
        is_held,
        keeps_session,
        watched,
        settled: 0,
        has_begun: false,
        ended: false,
    }))
}

/// What `EXEC` answers where it is itself refused.
pub(crate) fn aborted(error: &Error) -> Error {
    let text = error.raw_text().unwrap_or_else(|| error.to_string().into_bytes());
    let why = text.strip_prefix(b"ERR ").unwrap_or(&text);
    Error::quoting("EXECABORT Transaction discarded because of: {}", &[why])
}

/// The program of `EXEC`.
struct Transaction {
    calls: Vec<Queued>,
    flags: Flags,
    /// Whether a call may change data.
    writes: bool,
    /// Whether `CLIENT PAUSE WRITE` holds a call back.
    is_held: bool,
    /// Whether a call is about the connection or the server.
    keeps_session: bool,
    watched: Option<Box<Watched>>,
    /// Of the first calls, in order.
    replies: Vec<Reply>,
    /// So many calls have run for good.
    settled: usize,
    /// Whether part of it has run.
    has_begun: bool,
    /// Whether there is nothing more to run: a watched key has changed, or all has run.
    ended: bool,
}

impl Transaction {
    fn has_watched_change(&self, calls: &mut Calls<'_>) -> Result<bool, Error> {
        let Some(watched) = self.watched.as_ref().filter(|_| self.settled == 0) else {
            return Ok(false);
        };
        let now_ms = calls.now_ms();
        calls.look(|read| {
            for ((_, key), watch) in &watched.keys {
                if watch.has_changed(read, key, now_ms)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }
}

impl Program for Transaction {
    fn run(&mut self, calls: &mut Calls<'_>) -> CommandResult {
        self.replies.truncate(self.settled);
        self.ended = self.has_watched_change(calls)?;
        if self.ended {
            return Ok(Reply::NullArray);
        }
        for Queued { command, words } in self.calls.iter().skip(self.settled) {
            if let Err(error) = calls.check_queued(command, words) {
                self.replies.push(Reply::error_from(&error));
                continue;
            }
            if command.is_made_outside() {
                // Goes on behind it.
                return Ok(Reply::Silent);
            }
            let reply = match calls.call(command, words) {
                Err(error) if calls.is_stopped() => return Err(error),
                Err(error) => Reply::error_from(&error),
                Ok(reply) => reply,
            };
            self.replies.push(reply);
        }
        if calls.is_dry() {
            return Ok(Reply::Silent);
        }
        self.ended = true;
        Ok(Reply::Array(std::mem::take(&mut self.replies)))
    }

    fn may_write(&self) -> bool {
        self.writes
    }

    fn is_held_by_pause(&self) -> bool {
        self.is_held
    }

    fn has_begun(&self) -> bool {
        self.has_begun
    }

    fn is_heavy(&self) -> bool {
        let words: usize = self.calls.iter().map(|call| call.words.len()).sum();
        self.flags.has(Flags::HEAVY)
            || self.calls.len() > LIGHT_CALLS_MAX
            || words > LIGHT_WORDS_MAX
    }

    fn keeps_session(&self) -> bool {
        self.keeps_session
    }

    fn outside(&mut self) -> Option<(&'static Command, Vec<Bytes>)> {
        let Queued { command, words } = self.calls.get(self.replies.len())?;
        if self.ended || !command.is_made_outside() {
            return None;
        }
        self.has_begun = true;
        self.settled = self.replies.len();
        Some((command, words.to_vec()))
    }

    fn resume(&mut self, reply: Reply) {
        self.replies.push(reply);
        self.settled = self.replies.len();
    }
}
