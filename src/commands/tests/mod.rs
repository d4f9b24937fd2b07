//! Commands over a store in memory, with a clock that stands still.

mod arguments;
mod bitmaps;
mod collection_model;
mod collections;
mod dump;
mod dump_damage;
mod dump_old;
mod expire;
mod geo;
mod hash_expire;
mod hashes;
mod hyperloglogs;
mod keyspace;
mod list_model;
mod lists;
mod model;
mod scan;
mod sets;
mod sort;
mod store;
mod stream_groups;
mod stream_model;
mod streams;
mod strings;
mod transactions;
mod watch_model;
mod zset_model;
mod zsets;

use bytes::Bytes;

use self::store::Store;
use super::table::{self, Lookup};
use super::{Args, Attempt, BlockingHandler, Error, ReadHandler, Run};
use crate::data::{
    Access, Candidates, Context, Cursors, Edit, EditOutcome, EventClasses, ExpiryMarks,
    KnownOrders, Packing, ReadOutcome, View, expire_due, find_due,
};
use crate::engine::{self, Changes, ReadMode, Txn};
use crate::env::UNBOUNDED_MEMORY;
use crate::protocol::{ListKind, Reply};

const START_MS: u64 = 1_700_000_000_000;

/// A server without sockets: one connection, one store.
struct Harness {
    store: Store,
    access: Access,
    orders: KnownOrders,
    cursors: Cursors,
    candidates: Candidates,
    warms: bool,
    marks: ExpiryMarks,
    now_ms: u64,
    db: u16,
    string_bytes_max: u64,
    hll_sparse_bytes_max: u64,
    packing: Packing,
    expired: u64,
    /// Bytes of keys and values that the last transaction has written.
    last_write_bytes: usize,
    /// Reads that had to run again because they would have waited on the disk.
    blocked: u64,
    /// Whether what reads find expired is deleted right after.
    reaps: bool,
}

impl Harness {
    fn new() -> Self {
        Self::over(Store::memory())
    }

    fn over(store: Store) -> Self {
        Self {
            store,
            access: Access::new(1 << 16, START_MS),
            orders: KnownOrders::new(1 << 16),
            cursors: Cursors::default(),
            candidates: Candidates::default(),
            warms: false,
            marks: ExpiryMarks::default(),
            now_ms: START_MS,
            db: 0,
            string_bytes_max: 512 * 1024 * 1024,
            hll_sparse_bytes_max: 3000,
            packing: Packing::DEFAULT,
            expired: 0,
            last_write_bytes: 0,
            blocked: 0,
            reaps: true,
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            now_ms: self.now_ms,
            db: self.db,
            databases: 16,
            string_bytes_max: self.string_bytes_max,
            hll_sparse_bytes_max: self.hll_sparse_bytes_max,
            packing: self.packing,
            access: &self.access,
            orders: &self.orders,
            in_script: false,
            touch: true,
            events: EventClasses::NONE,
            cursors: &self.cursors,
            candidates: &self.candidates,
            warms: self.warms,
            memory: &UNBOUNDED_MEMORY,
        }
    }

    /// Calls a command; the items of a reply that is encoded already are made again.
    fn call(&mut self, words: &[Bytes]) -> Result<Reply, Error> {
        self.answer(words).map(decoded)
    }

    fn answer(&mut self, words: &[Bytes]) -> Result<Reply, Error> {
        let Lookup::Found(command) = table::lookup(&words[0], words.get(1).map(|w| &w[..])) else {
            panic!("unknown command {words:?}")
        };
        assert!(command.accepts(words.len()), "arity of {words:?}");
        match command.spec.run {
            Run::Read(handler) => self.run_read(handler, words, command.name_words),
            Run::ReadOrBlock(read, handler) => {
                match self.run_read(read, words, command.name_words) {
                    Err(Error::NothingYet) => self.run_blocking(handler, words, command.name_words),
                    answer => answer,
                }
            }
            Run::Write(handler) => {
                let mut args = Args::new(words, command.name_words);
                let mut edit = Edit::new(self.store.txn(), self.context()).unwrap();
                let answer = handler(&mut edit, &mut args)?;
                let done = edit.finish().unwrap();
                self.commit(done);
                Ok(answer)
            }
            Run::Blocking(handler) => self.run_blocking(handler, words, command.name_words),
            _ => panic!("{} needs a server", command.full_name),
        }
    }

    /// Runs writes as inner transactions of one that is committed, but for those that are dropped.
    fn run_nested(&mut self, calls: &[(Vec<Bytes>, bool)]) {
        let mut outer = self.store.txn();
        for (words, is_kept) in calls {
            let inner = outer.inner();
            let (changes, _) = self.run_uncommitted(inner, words);
            if *is_kept {
                outer.absorb(changes);
            }
        }
        let changes = outer.into_changes();
        self.store.commit(changes);
    }

    /// Runs a write as a transaction that is dropped when everything of it is done.
    fn run_dropped(&mut self, words: &[Bytes]) {
        drop(self.run_uncommitted(self.store.txn(), words));
    }

    fn run_uncommitted(&self, txn: Txn<'_>, words: &[Bytes]) -> (Changes, EditOutcome) {
        let Lookup::Found(command) = table::lookup(&words[0], None) else { panic!("{words:?}") };
        let Run::Write(handler) = command.spec.run else { panic!("{words:?} does not write") };
        let mut edit = Edit::new(txn, self.context()).unwrap();
        drop(handler(&mut edit, &mut Args::new(words, command.name_words)));
        edit.finish().unwrap()
    }

    fn run_read(
        &mut self,
        handler: ReadHandler,
        words: &[Bytes],
        name_words: usize,
    ) -> Result<Reply, Error> {
        let run = |mode| {
            self.store.with_mode(mode, |read| {
                let view = View::new(read, self.context()).unwrap();
                let mut args = Args::new(words, name_words);
                (handler(&view, &mut args), view.outcome())
            })
        };
        let (mut answer, mut outcome) = run(ReadMode::Resident);
        if let Err(Error::Engine(engine::Error::WouldBlock)) = answer {
            (answer, outcome) = run(ReadMode::Blocking);
            self.blocked += 1;
        }
        if self.reaps {
            self.reap(&outcome);
        }
        answer
    }

    fn run_blocking(
        &mut self,
        handler: BlockingHandler,
        words: &[Bytes],
        name_words: usize,
    ) -> Result<Reply, Error> {
        let mut args = Args::new(words, name_words);
        let mut edit = Edit::new(self.store.txn(), self.context()).unwrap();
        let answer = handler(&mut edit, &mut args)?;
        let done = edit.finish().unwrap();
        self.commit(done);
        match answer {
            Attempt::Done(reply) => Ok(reply),
            Attempt::Wait(wait) => Ok(Reply::Simple(format!("waits {wait:?}").into())),
        }
    }

    fn reap(&mut self, outcome: &ReadOutcome) {
        let mut edit = Edit::new(self.store.txn(), self.context()).unwrap();
        edit.reap(outcome).unwrap();
        let done = edit.finish().unwrap();
        self.commit(done);
    }

    fn commit(&mut self, (changes, outcome): (Changes, EditOutcome)) {
        let len = |(key, value): &(Bytes, Option<Bytes>)| {
            key.len() + value.as_ref().map_or(0, Bytes::len)
        };
        self.last_write_bytes = changes.writes.iter().map(len).sum();
        self.store.commit(changes);
        self.expired += outcome.expired;
    }

    fn expire_cycle(&mut self, limit: usize) -> (u64, bool) {
        let mut edit = Edit::new(self.store.txn(), self.context()).unwrap();
        let found = find_due(&edit, &self.marks, limit).unwrap();
        let cycle = expire_due(&mut edit, &found.records, limit).unwrap();
        let done = edit.finish().unwrap();
        assert_eq!(done.1.expired, cycle.expired);
        self.commit(done);
        self.marks.advance(&found, cycle.done);
        (cycle.expired, found.more || cycle.done < found.records.len())
    }

    /// Calls a command given as words between blanks; the reply as text.
    fn run(&mut self, line: &str) -> String {
        let words: Vec<Bytes> =
            line.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        self.run_words(&words)
    }

    fn run_words(&mut self, words: &[Bytes]) -> String {
        self.call(words).map_or_else(|error| format!("-{error}"), |reply| text(&reply))
    }

    /// Runs `lines` of a command, `->` and its reply, and checks the store after each.
    #[track_caller]
    fn script(&mut self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (command, expected) = line.split_once(" -> ").unwrap_or((line, "+OK"));
            assert_eq!(self.run(command), expected.trim(), "{command}");
            self.store.check();
        }
    }
}

/// A reply of items, whatever way they are kept.
fn decoded(reply: Reply) -> Reply {
    let Reply::Many(many) = reply else { return reply };
    let mut items = many.items();
    match many.kind() {
        ListKind::Array | ListKind::Pairs => Reply::Array(items.collect()),
        ListKind::Set => Reply::Set(items.collect()),
        ListKind::Map => {
            let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
            Reply::Map(pairs.collect())
        }
    }
}

fn text(reply: &Reply) -> String {
    let list = |replies: &[Reply]| replies.iter().map(text).collect::<Vec<_>>().join(" ");
    match reply {
        Reply::Many(_) => text(&decoded(reply.clone())),
        Reply::Simple(word) => format!("+{word}"),
        Reply::Error(message) => format!("-{message}"),
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Reply::Double(number) => format!(",{}", crate::protocol::format_double(*number)),
        Reply::PlainDouble(number) => format!(",{number}"),
        Reply::Null | Reply::NullArray => "nil".to_owned(),
        Reply::Array(replies) => format!("[{}]", list(replies)),
        Reply::Set(replies) => format!("~[{}]", list(replies)),
        Reply::Map(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| format!("{}: {}", text(key), text(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Reply::Keyed(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| format!("{} => {}", text(key), text(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Reply::Pairs(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| format!("({} {})", text(key), text(value)))
                .collect();
            format!("[{}]", pairs.join(" "))
        }
        other => format!("{other:?}"),
    }
}
