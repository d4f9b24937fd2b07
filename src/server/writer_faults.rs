//! The writer task on a disk that fails or hangs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::group::{self, Call, Group};
use super::message::{self, Message};
use super::shutdown;
use super::writer::WriterTask;
use crate::commands::table::{self, Lookup};
use crate::commands::{Client, Control, Error, ServerState, Session};
use crate::config::{AppendFsync, Config, Settings};
use crate::data::{DueRecords, Edit, ExpiryMarks, ReadOutcome, RecordFilter, View, find_due};
use crate::engine::{self, Engine, Options, ReadMode, Txn, Writer};
use crate::env::{Clock, SimClock, SimFs};
use crate::protocol::{Reply, Request};

/// Nothing here may take longer: what does hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rounds of a run: three groups in parallel, an expiry, a reap, now and then a sync.
const ROUNDS: u32 = 8;
/// Log segments that a run fills.
const SMALL_SEGMENT: u64 = 64 << 10;
/// A log segment that it does not: without background threads the writer would wait for the next.
const LARGE_SEGMENT: u64 = 4 << 20;
const POLICIES: [AppendFsync; 3] = [AppendFsync::Always, AppendFsync::EverySecond, AppendFsync::No];

type Model = BTreeMap<String, Bytes>;

/// A writer task and what it is driven by.
struct Rig {
    state: Arc<ServerState>,
    clock: SimClock,
    messages: mpsc::Sender<Message>,
    task: JoinHandle<()>,
}

fn open(fs: &SimFs, clock: &SimClock, segment_bytes: u64) -> engine::Result<(Engine, Writer)> {
    let options = Options {
        segment_bytes,
        background_threads: 0,
        ..Options::for_budget(Path::new("/db"), 64 << 20)
    };
    Engine::open(fs.shared(), Arc::new(clock.clone()), options, Arc::new(RecordFilter))
}

fn start(fs: &SimFs, appendfsync: AppendFsync, segment_bytes: u64) -> Rig {
    let clock = SimClock::at_ms(1_700_000_000_000);
    let (engine, writer) = open(fs, &clock, segment_bytes).expect("the disk does not fail yet");
    let settings = Settings { appendfsync, ..Settings::default() };
    let (control, requests) = mpsc::channel(16);
    let (messages, inbox) = mpsc::channel(message::QUEUE_MAX);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let config = Config::new(settings, None);
    let engine = Some(Arc::new(engine));
    let state = Arc::new(ServerState::new(config, shared, fs.shared(), engine, control));
    let task = WriterTask::new(Arc::clone(&state), writer, inbox, requests).expect("a thread");
    Rig { state, clock, messages, task: tokio::spawn(task.run()) }
}

fn call(words: Vec<Bytes>) -> Call {
    let Lookup::Found(command) = table::lookup(&words[0], None) else { panic!("{words:?}") };
    Call::new(command, Request { args: words.into(), wire_len: 0 })
}

async fn in_time<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

impl Rig {
    /// Of a connection that is not there.
    fn group(&self) -> Box<Group> {
        let client = Arc::new(Client::new(1, "a:1", "b:2", 3, false, 0));
        let mut session = Session::new(client, &self.state.users);
        session.no_touch = true;
        Box::new(Group::new(&session, 1))
    }

    /// Sets `key`; whether it was acknowledged.
    async fn set(&self, key: &str, value: &Bytes, px: Option<&'static str>) -> bool {
        let mut words = vec![Bytes::from("SET"), Bytes::from(key.to_owned()), value.clone()];
        words.extend(px.into_iter().flat_map(|ms| [Bytes::from("PX"), Bytes::from(ms)]));
        match self.run(words).await {
            Ok(reply) => {
                assert_eq!(reply, Reply::OK);
                true
            }
            Err(Error::Engine(_)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    async fn run(&self, words: Vec<Bytes>) -> Result<Reply, Error> {
        let mut group = self.group();
        group.push(call(words));
        let (answer, answered) = oneshot::channel();
        self.messages.send(Message::Group(group, answer)).await.expect("the task runs");
        let mut group = in_time("a write", answered).await.expect("the task runs");
        assert_eq!(group.done.len(), 1);
        group.done.remove(0).result
    }

    /// Has what has expired deleted; an answer is all that is promised.
    async fn expire(&self) {
        let (answer, answered) = oneshot::channel();
        let found = Arc::new(self.find_due());
        let message = Message::Expire { found, from: 0, limit: 10, answer };
        self.messages.send(message).await.expect("the task runs");
        in_time("expiry", answered).await.expect("the task runs");
        let outcome = ReadOutcome { expired: vec![Bytes::from("short")], ..Default::default() };
        let (answer, answered) = oneshot::channel();
        let message = Message::Reap { db: 0, outcome, answer };
        self.messages.send(message).await.expect("the task runs");
        in_time("a reap", answered).await.expect("the task runs");
    }

    fn find_due(&self) -> DueRecords {
        let snapshot = self.state.engine().expect("is open").snapshot(ReadMode::Blocking);
        let txn = Txn::new(&snapshot, snapshot.seq() + 1);
        let edit = Edit::new(txn, self.state.context(0, false)).expect("the root can be read");
        find_due(&edit, &ExpiryMarks::default(), 10).unwrap_or_default()
    }

    async fn sync(&self) -> bool {
        in_time("a sync", self.state.ask(Control::Sync)).await.is_ok()
    }

    fn get(&self, key: &str) -> Option<Bytes> {
        let engine = self.state.engine().expect("is open");
        lookup(&engine, &self.state, key)
    }

    /// Ends the task as a shutdown does.
    async fn end(self, patience: Duration) -> std::io::Result<()> {
        drop(self.messages);
        in_time("the end", shutdown::drain_writer(self.task, patience)).await
    }
}

fn lookup(engine: &Engine, state: &ServerState, key: &str) -> Option<Bytes> {
    let snapshot = engine.snapshot(ReadMode::Blocking);
    let view = View::new(&snapshot, state.context(0, false)).expect("a root record");
    let meta = view.find(key.as_bytes()).expect("reads go on")?;
    Some(view.string(&meta).expect("reads go on"))
}

/// What came of a run.
#[derive(Default)]
struct Outcome {
    /// Was acknowledged.
    kept: Model,
    /// Was acknowledged before a sync that succeeded.
    synced: Model,
    /// Got an error.
    refused: Model,
}

/// Writes, expires and syncs until the end, whatever the disk does.
async fn drive(rig: &Rig) -> Outcome {
    let mut outcome = Outcome::default();
    for round in 0..ROUNDS {
        let large = if round % 4 == 2 { 100_000 } else { 40 };
        let empty = Bytes::new();
        let set = |part: u32| {
            let key = format!("key:{round}:{part}");
            let value = Bytes::from(format!("{round}.{part}.").repeat(large / 4));
            async move { (rig.set(&key, &value, None).await, key, value) }
        };
        let had_failed = !outcome.refused.is_empty();
        let short = rig.set("short", &empty, Some("5"));
        let answers = tokio::join!(set(0), set(1), set(2), short);
        for (done, key, value) in [answers.0, answers.1, answers.2] {
            assert!(!(done && had_failed), "a write behind a failed one was acknowledged");
            let into = if done { &mut outcome.kept } else { &mut outcome.refused };
            into.insert(key, value);
        }
        rig.clock.advance_ms(10);
        rig.expire().await;
        if round % 3 == 1 && rig.sync().await {
            outcome.synced = outcome.kept.clone();
        }
    }
    for (key, value) in &outcome.kept {
        assert_eq!(rig.get(key).as_ref(), Some(value), "{key} was acknowledged");
    }
    for key in outcome.refused.keys() {
        assert_eq!(rig.get(key), None, "{key} was refused");
    }
    outcome
}

/// Opens what is left of the disk and compares.
fn verify(left: &SimFs, promised: &Model, outcome: &Outcome) {
    let clock = SimClock::at_ms(1_700_000_100_000);
    let (engine, _writer) = open(left, &clock, SMALL_SEGMENT).expect("a disk without faults");
    let (control, _requests) = mpsc::channel(1);
    let config = Config::new(Settings::default(), None);
    let state = ServerState::new(config, Arc::new(clock), left.shared(), None, control);
    for (key, value) in promised {
        assert_eq!(lookup(&engine, &state, key).as_ref(), Some(value), "{key} was promised");
    }
    for (key, value) in outcome.kept.iter().chain(&outcome.refused) {
        let found = lookup(&engine, &state, key);
        assert!(found.is_none() || found.as_ref() == Some(value), "{key} is torn");
    }
}

/// A whole run with the faults that `spoil` sets; answers how many operations it took and whether
/// any write was refused.
fn run(policy: AppendFsync, seed: u64, spoil: impl Fn(&SimFs)) -> (u64, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let fs = SimFs::new(seed);
        let rig = start(&fs, policy, SMALL_SEGMENT);
        let before = fs.operations();
        spoil(&fs);
        let outcome = drive(&rig).await;
        // The process is killed, or the power goes, before anything is put in order.
        let (killed, crashed) = (fs.kill(seed), fs.crash(seed));
        let durable = policy == AppendFsync::Always;
        verify(&killed, &outcome.kept, &outcome);
        verify(&crashed, if durable { &outcome.kept } else { &outcome.synced }, &outcome);
        let refused = !outcome.refused.is_empty();
        rig.end(PATIENCE).await.expect("the task ends, failed or not");
        if !refused {
            verify(
                &fs.crash(seed + 1),
                if durable { &outcome.kept } else { &outcome.synced },
                &outcome,
            );
        }
        (fs.operations() - before, refused)
    })
}

#[test]
fn what_was_acknowledged_survives_the_failure_of_any_operation() {
    for policy in POLICIES {
        let (operations, refused) = run(policy, 1, |_| {});
        assert!(!refused && operations > 20, "{policy:?}: {operations} operations");
        let mut failures = 0;
        for n in 0..operations {
            failures += u32::from(run(policy, n, |fs| fs.fail_after(n)).1);
            run(policy, n, |fs| fs.fail_once_after(n));
        }
        assert!(failures > 10, "{policy:?}: only {failures} runs saw a failure");
    }
}

#[test]
fn a_shutdown_syncs_whatever_the_policy() {
    for policy in POLICIES {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let fs = SimFs::new(7);
            let rig = start(&fs, policy, SMALL_SEGMENT);
            let outcome = drive(&rig).await;
            rig.end(PATIENCE).await.expect("a healthy disk");
            verify(&fs.crash(7), &outcome.kept, &outcome);
        });
    }
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_disk_that_hangs() {
    for policy in POLICIES {
        let fs = SimFs::new(3);
        let rig = start(&fs, policy, LARGE_SEGMENT);
        assert!(rig.set("before", &Bytes::from("v"), None).await);
        fs.hang(true);
        let (answer, answered) = oneshot::channel();
        let mut group = rig.group();
        let value = Bytes::from(vec![b'x'; 100_000]);
        group.push(call(vec![Bytes::from("SET"), Bytes::from("hung"), value]));
        rig.messages.send(Message::Group(group, answer)).await.expect("the task runs");
        let early = timeout(Duration::from_millis(50), answered).await;
        assert!(early.is_err(), "{policy:?}: acknowledged by a disk that hangs");
        assert_eq!(rig.get("before"), Some(Bytes::from("v")), "reads go on");
        assert_eq!(rig.get("hung"), None);
        rig.end(Duration::from_millis(100)).await.expect_err("the disk hangs");
        fs.hang(false);
    }
}

#[tokio::test]
async fn keys_are_deleted_below_the_reserve() {
    let fs = SimFs::new(1);
    let rig = start(&fs, AppendFsync::Always, LARGE_SEGMENT);
    let value = Bytes::from_static(b"v");
    for key in ["a", "b", "c"] {
        assert!(rig.set(key, &value, None).await);
    }
    let engine = rig.state.engine().expect("is open");
    let reserve = Options::for_budget(Path::new("/db"), 64 << 20).space_reserve_bytes;
    let leave = |bytes| {
        fs.set_capacity(Some(fs.used_bytes() + bytes));
        while engine.step().expect("nothing fails") {}
    };
    let run = |words: &'static [&str]| rig.run(words.iter().map(|word| (*word).into()).collect());
    leave(reserve - 1);
    assert!(!rig.set("d", &value, None).await);
    let mut group = rig.group();
    for words in [["DEL", "a"], ["GET", "b"]] {
        group.push(call(words.map(Bytes::from).to_vec()));
    }
    let (answer, answered) = oneshot::channel();
    rig.messages.send(Message::Group(group, answer)).await.expect("the task runs");
    let group = in_time("a deletion", answered).await.expect("the task runs");
    assert!(matches!(group.done[..], [group::Done { result: Ok(Reply::Integer(1)), .. }]));
    assert!(group.blocked, "the connection reads by itself");
    assert_eq!(rig.get("a"), None);
    leave(reserve / 2 - 1);
    assert!(matches!(run(&["DEL", "b"]).await, Err(Error::Engine(engine::Error::NoSpace(_)))));
    leave(reserve - 1);
    assert_eq!(run(&["FLUSHALL"]).await.expect("goes on"), Reply::OK);
    assert_eq!(rig.get("b"), None);
    drop(engine);
    rig.end(PATIENCE).await.expect("the end");
}
