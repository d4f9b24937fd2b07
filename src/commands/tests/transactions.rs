//! Programs and transactions over a store in memory or on a simulated disk.

use std::sync::Arc;

use bytes::Bytes;

use super::store::Store;
use super::{Error, Harness, START_MS, text};
use crate::commands::program::{Ended, Pace, Stopped};
use crate::commands::table::{self, Command, Lookup};
use crate::commands::test_server::TestServer;
use crate::commands::{Calls, CommandResult, Program, Run, ServerState, Session};
use crate::data::{Ready, Watch};
use crate::engine::{self, Read, ReadMode, Txn};

/// A server whose clients transact.
pub(super) struct Transactions {
    pub(super) on: Harness,
    server: TestServer,
    pub(super) sessions: Vec<Session>,
    /// What the last transaction has made ready for others.
    ready: Vec<Ready>,
}

pub(super) fn words(line: &str) -> Vec<Bytes> {
    line.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

pub(super) fn command(words: &[Bytes]) -> &'static Command {
    match table::lookup(&words[0], words.get(1).map(|word| &word[..])) {
        Lookup::Found(command) => command,
        _ => panic!("unknown command {words:?}"),
    }
}

impl Transactions {
    pub(super) fn over(store: Store, clients: usize) -> Self {
        let server = TestServer::new();
        assert_eq!(server.state.clock.unix_ms(), START_MS);
        let sessions = (0..clients).map(|_| TestServer::connect(&server.state)).collect();
        Self { on: Harness::over(store), server, sessions, ready: Vec::new() }
    }

    pub(super) fn advance_ms(&mut self, ms: u64) {
        self.on.now_ms += ms;
        self.server.clock.advance_ms(ms);
    }

    fn state(&self) -> &Arc<ServerState> {
        &self.server.state
    }

    /// Runs a session command of client `who`.
    pub(super) fn session(&mut self, who: usize, line: &str) -> String {
        let words = words(line);
        let Run::Session(run) = command(&words).spec.run else { panic!("{line}") };
        let state = Arc::clone(self.state());
        let mut args = crate::commands::Args::new(&words, command(&words).name_words);
        said(run(&mut self.sessions[who], &state, &mut args))
    }

    pub(super) fn watch(&mut self, who: usize, key: &str) {
        let session = &mut self.sessions[who];
        let (seq, db, now_ms) = (self.on.store.seq(), session.db, self.on.now_ms);
        let look = |read: &dyn Read| Watch::begin(read, seq, db, key.as_bytes(), now_ms).unwrap();
        let watch = self.on.store.with_read(look);
        let watched = session.watched.get_or_insert_default();
        watched.add(db, Bytes::copy_from_slice(key.as_bytes()), watch);
    }

    pub(super) fn queue(&mut self, who: usize, line: &str) {
        let words = words(line);
        let queue = self.sessions[who].queue.as_mut().expect("after MULTI");
        queue.push(command(&words), &words);
    }

    fn program(&mut self, who: usize) -> Result<Box<dyn Program>, Error> {
        let Run::Program(exec) = command(&words("exec")).spec.run else { panic!("no program") };
        let state = Arc::clone(self.state());
        exec(&mut self.sessions[who], &state, &[])
    }

    /// Runs a program as the writer does; `None` where it was stopped.
    fn run(
        &mut self,
        who: usize,
        program: &mut dyn Program,
        pace: Pace,
    ) -> Result<String, Stopped> {
        let session = self.sessions[who].for_program();
        let txn = self.on.store.txn();
        let mut calls = Calls::over_txn(&self.server.state, txn, session, pace, true);
        let result = program.run(&mut calls);
        let Ended { changes, gathered, session, stopped } = calls.finish();
        if let Some(why) = stopped {
            return Err(why);
        }
        if pace != Pace::Dry {
            if !changes.is_empty() {
                self.on.store.commit(changes);
            }
            self.ready = gathered.ready;
            self.sessions[who] = session;
        }
        Ok(said(result))
    }

    /// `EXEC` of client `who`.
    pub(super) fn exec(&mut self, who: usize) -> String {
        match self.program(who) {
            Ok(mut program) => self.run(who, &mut *program, Pace::Final).expect("it is final"),
            Err(error) => format!("-{error}"),
        }
    }

    /// `MULTI`, these calls, `EXEC`.
    fn multi(&mut self, lines: &[&str]) -> String {
        assert_eq!(self.session(0, "multi"), "+OK");
        lines.iter().for_each(|line| self.queue(0, line));
        self.exec(0)
    }
}

fn said(result: CommandResult) -> String {
    result.map_or_else(|error| format!("-{error}"), |reply| text(&reply))
}

#[test]
fn calls_see_what_those_before_them_did_and_a_failing_one_leaves_nothing() {
    let mut server = Transactions::over(Store::memory(), 1);
    let replies = server.multi(&[
        "set a 1",
        "incr a",
        "lpush a x",
        "rpush l 1 2 3",
        "lrange l 0 -1",
        "linsert l before 9 x",
        "rename nosuch other",
        "mset b 1 c 2",
        "getrange a 0 -1",
        "dbsize",
    ]);
    let expected = "[+OK 2 -WRONGTYPE Operation against a key holding the wrong kind of value 3 \
                    [\"1\" \"2\" \"3\"] -1 -ERR no such key +OK \"2\" 4]";
    assert_eq!(replies, expected);
    server.on.store.check();
    assert_eq!(server.on.run("mget a b c"), "[\"2\" \"1\" \"2\"]");
}

#[test]
fn a_change_that_fails_half_way_is_undone_while_the_others_stay() {
    let mut server = Transactions::over(Store::memory(), 1);
    server.on.run("set word x");
    server.on.run("hset h f x");
    // The key that has expired is deleted by the call that then fails.
    server.on.run("set old 1 px 10");
    server.advance_ms(20);
    let replies = server.multi(&["set a 1", "incrby word 1", "hincrby h f 1", "incr a"]);
    let expected = "[+OK -ERR value is not an integer or out of range \
                    -ERR hash value is not an integer 2]";
    assert_eq!(replies, expected);
    server.on.store.check();
    assert_eq!(server.on.run("get word"), "\"x\"");
}

#[test]
fn a_select_inside_stays_behind() {
    let mut server = Transactions::over(Store::memory(), 1);
    assert_eq!(server.multi(&["select 3", "set k v", "select 99"]).matches("+OK").count(), 2);
    assert_eq!(server.sessions[0].db, 3);
    server.on.db = 3;
    assert_eq!(server.on.run("get k"), "\"v\"");
}

#[test]
fn calls_that_wait_answer_at_once() {
    let mut server = Transactions::over(Store::memory(), 1);
    server.on.run("xgroup create s g $ mkstream");
    let replies = server.multi(&[
        "blpop l 0",
        "blmove l m left left 0",
        "brpoplpush l m 0",
        "bzpopmin z 0",
        "bzmpop 0 1 z min",
        "xread block 0 streams s $",
        "xreadgroup group g c block 0 streams s >",
    ]);
    assert_eq!(replies, "[nil nil nil nil nil nil nil]");
}

#[test]
fn what_others_wait_for_is_noted() {
    let mut server = Transactions::over(Store::memory(), 1);
    server.multi(&["rpush l a", "set k v", "zadd z 1 m"]);
    let keys: Vec<_> = server.ready.iter().filter_map(|ready| ready.key.clone()).collect();
    assert_eq!(keys, ["l", "z"]);
}

#[test]
fn an_error_while_queueing_and_a_missing_multi_are_told() {
    let mut server = Transactions::over(Store::memory(), 1);
    assert_eq!(server.exec(0), "-ERR EXEC without MULTI");
    assert_eq!(server.session(0, "discard"), "-ERR DISCARD without MULTI");
    assert_eq!(server.session(0, "multi"), "+OK");
    assert_eq!(server.session(0, "multi"), "-ERR MULTI calls can not be nested");
    server.queue(0, "set a 1");
    server.sessions[0].queue.as_mut().unwrap().fail();
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    assert_eq!(server.exec(0), aborted);
    assert_eq!(server.exec(0), "-ERR EXEC without MULTI");
    assert_eq!(server.on.run("exists a"), "0");
}

#[test]
fn discard_forgets_what_is_queued_and_watched() {
    let mut server = Transactions::over(Store::memory(), 1);
    server.watch(0, "k");
    server.on.run("set k 1");
    server.session(0, "multi");
    server.queue(0, "set k 2");
    let held = server.sessions[0].queued_bytes();
    assert!(held > 100, "{held}");
    assert_eq!(server.session(0, "discard"), "+OK");
    assert_eq!(server.sessions[0].queued_bytes(), 0);
    assert_eq!(server.multi(&["get k"]), "[\"1\"]");
}

#[test]
fn a_watch_is_of_one_database_and_one_exec() {
    let mut server = Transactions::over(Store::memory(), 1);
    server.session(0, "select 5");
    server.watch(0, "k");
    server.on.run("set k other");
    server.session(0, "select 1");
    assert_eq!(server.multi(&["ping"]), "[+PONG]");
    server.watch(0, "k");
    server.on.db = 1;
    server.on.run("set k 1");
    assert_eq!(server.multi(&["set k 2"]), "nil");
    assert_eq!(server.multi(&["get k"]), "[\"1\"]");
}

#[test]
fn every_change_of_a_large_value_is_seen_by_a_watch() {
    let mut server = Transactions::over(Store::memory(), 1);
    server.on.packing.hash_entries = 4;
    server.on.packing.set_entries = 4;
    server.on.packing.zset_entries = 4;
    server.on.packing.list_size = 4;
    let numbers: Vec<String> = (0..40).map(|number| format!("{number} {number}")).collect();
    let pairs = numbers.join(" ");
    server.on.run(&format!("hset h {pairs}"));
    server.on.run(&format!("sadd s {pairs}"));
    server.on.run(&format!("zadd z {pairs}"));
    server.on.run(&format!("rpush l {pairs}"));
    server.on.run(&format!("set big {}", "x".repeat(200_000)));
    for id in 1..300 {
        server.on.run(&format!("xadd x {id} f v"));
    }
    for (key, change) in [
        ("h", "hset h 7 other"),
        ("h", "hincrby h 7777 1"),
        ("h", "hdel h 8"),
        ("h", "hpexpire h 100000 fields 1 9"),
        ("s", "sadd s new"),
        ("s", "srem s new"),
        ("s", "spop s"),
        ("z", "zadd z 100 5"),
        ("z", "zincrby z 1 5"),
        ("z", "zrem z 5"),
        ("z", "zpopmin z"),
        ("l", "lset l 20 other"),
        ("l", "linsert l before other x"),
        ("l", "lpop l"),
        ("l", "lrem l 1 30"),
        ("l", "ltrim l 1 -2"),
        ("big", "setrange big 100000 y"),
        ("big", "append big y"),
        ("big", "setbit big 5 1"),
        ("big", "expire big 1000"),
        ("big", "persist big"),
        ("x", "xadd x 1000 f v"),
        ("x", "xdel x 20"),
        ("x", "xtrim x maxlen 200"),
        ("l", "ltrim l 0 -1"),
    ] {
        server.watch(0, key);
        let reply = server.on.run(change);
        assert!(!reply.starts_with('-'), "{change}: {reply}");
        assert_eq!(server.multi(&["ping"]), "nil", "{change}: {reply}");
    }
    for (key, look) in [
        ("h", "hget h 1"),
        ("h", "hsetnx h 1 other"),
        ("s", "srem s nosuch"),
        ("z", "zadd z nx 3 30"),
        ("l", "lrange l 0 -1"),
        ("big", "strlen big"),
        ("nosuch", "del nosuch"),
        ("x", "xsetid x 5000"),
        ("x", "xgroup create x g 0"),
        ("x", "xgroup destroy x g"),
        ("x", "xlen x"),
    ] {
        server.watch(0, key);
        server.on.run(look);
        assert_eq!(server.multi(&["ping"]), "[+PONG]", "{look}");
    }
}

#[test]
fn a_watch_holds_over_flush_and_compaction() {
    let mut server = Transactions::over(Store::disk(), 1);
    for key in ["changed", "same", "deleted", "again"] {
        server.on.run(&format!("set {key} 1"));
    }
    server.on.store.compact();
    for (key, change, expected) in [
        ("same", "get same", "[+PONG]"),
        ("changed", "set changed 2", "nil"),
        ("deleted", "del deleted", "nil"),
        ("absent", "get absent", "[+PONG]"),
        ("made", "set made 1", "nil"),
    ] {
        server.watch(0, key);
        server.on.run(change);
        server.on.store.compact();
        assert_eq!(server.multi(&["ping"]), expected, "{change}");
    }
    server.watch(0, "again");
    server.on.run("del again");
    server.on.run("set again 1");
    server.on.store.compact();
    server.on.store.reopen();
    assert_eq!(server.multi(&["ping"]), "nil", "deleted and made again");
}

#[test]
fn a_run_that_is_stopped_or_dry_leaves_nothing_and_can_be_made_again() {
    let mut server = Transactions::over(Store::memory(), 1);
    server.session(0, "multi");
    // To list clients needs the run that is final.
    for line in ["incr n", "client list", "incr n"] {
        server.queue(0, line);
    }
    let mut program = server.program(0).unwrap();
    assert_eq!(server.run(0, &mut *program, Pace::Resident), Err(Stopped::NeedsFinal));
    assert_eq!(server.on.run("exists n"), "0");
    server.run(0, &mut *program, Pace::Dry).unwrap();
    assert_eq!(server.on.run("exists n"), "0");
    let replies = server.run(0, &mut *program, Pace::Final).unwrap();
    assert!(replies.starts_with("[1 ") && replies.ends_with(" 2]"), "{replies}");
    assert_eq!(server.on.run("get n"), "\"2\"");
}

#[test]
fn a_read_that_would_wait_stops_the_run_whatever_comes_behind() {
    let mut server = Transactions::over(Store::disk(), 1);
    server.on.run("set cold v");
    server.on.store.compact();
    server.on.store.reopen();
    server.session(0, "multi");
    for line in ["set a 1", "append cold w", "set b 1"] {
        server.queue(0, line);
    }
    let mut program = server.program(0).unwrap();
    let session = server.sessions[0].for_program();
    let ended = server.on.store.with_mode(ReadMode::Resident, |view| {
        let txn = Txn::new(view, 1_000_000);
        let mut calls = Calls::over_txn(&server.server.state, txn, session, Pace::Resident, true);
        let result = program.run(&mut calls);
        assert!(matches!(result, Err(Error::Engine(engine::Error::WouldBlock))));
        let further = calls.call(command(&words("ping")), &words("ping"));
        assert!(further.is_err(), "a stopped run goes on");
        calls.finish()
    });
    assert_eq!(ended.stopped, Some(Stopped::WouldBlock));
    assert_eq!(server.run(0, &mut *program, Pace::Final).unwrap(), "[+OK 2 +OK]");
}

#[test]
fn an_asynchronous_call_cuts_a_transaction() {
    let mut server = Transactions::over(Store::memory(), 1);
    server.session(0, "multi");
    let lines = ["config set timeout 4", "incr n", "config set timeout 5", "incr n", "bgsave"];
    for line in lines {
        server.queue(0, line);
    }
    let mut program = server.program(0).unwrap();
    for (outside, so_far) in [("config|set", "nil"), ("config|set", "\"1\""), ("bgsave", "\"2\"")] {
        server.run(0, &mut *program, Pace::Dry).unwrap();
        server.run(0, &mut *program, Pace::Final).unwrap();
        assert_eq!(server.on.run("get n"), so_far);
        let (command, _) = program.outside().expect("a call outside");
        assert_eq!(command.full_name, outside);
        program.resume(crate::protocol::Reply::simple(outside));
    }
    let replies = server.run(0, &mut *program, Pace::Final).unwrap();
    assert_eq!(replies, "[+config|set 1 +config|set 2 +bgsave]");
    assert!(program.outside().is_none());
}

#[test]
fn words_are_copied_and_counted() {
    let mut server = Transactions::over(Store::memory(), 1);
    server.session(0, "multi");
    let buffer = Bytes::from(vec![b'x'; 1 << 20]);
    let words = [Bytes::from_static(b"set"), buffer.slice(..1), buffer.slice(1..3)];
    let queue = server.sessions[0].queue.as_mut().unwrap();
    queue.push(command(&words), &words);
    drop(words);
    assert!(buffer.is_unique(), "the read buffer is kept");
    assert!((6..1000).contains(&queue.bytes()), "{}", queue.bytes());
}
