//! Two clients that watch, held against Redis's rules: there each change of a key marks those who
//! watch it.
//!
//! Ours may differ in two ways only: where a key is again what it was (no key before and after, or
//! the same through `SWAPDB` and back), we may call unchanged what Redis calls changed; and where a key
//! was made and has expired while its database had another number, changed what Redis calls unchanged.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::store::Store;
use super::transactions::Transactions;

const DATABASES: u16 = 2;

#[derive(Debug, Clone)]
enum Op {
    Set {
        db: u16,
        key: u8,
        ttl_ms: Option<u8>,
    },
    Delete {
        db: u16,
        key: u8,
    },
    Persist {
        db: u16,
        key: u8,
    },
    Rename {
        db: u16,
        from: u8,
        to: u8,
    },
    Read {
        db: u16,
        key: u8,
    },
    FlushDb(u16),
    FlushAll,
    Swap,
    Sleep(u8),
    Compact,
    Watch {
        who: usize,
        db: u16,
        key: u8,
    },
    Unwatch(usize),
    Discard(usize),
    /// Reads only, or writes this key.
    Exec {
        who: usize,
        writes: Option<u8>,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let (db, key, who) = (|| 0..DATABASES, || 0..4_u8, || 0..2_usize);
    prop_oneof![
        4 => (db(), key(), proptest::option::of(1..40_u8))
            .prop_map(|(db, key, ttl_ms)| Op::Set { db, key, ttl_ms }),
        3 => (db(), key()).prop_map(|(db, key)| Op::Delete { db, key }),
        1 => (db(), key()).prop_map(|(db, key)| Op::Persist { db, key }),
        1 => (db(), key(), key()).prop_map(|(db, from, to)| Op::Rename { db, from, to }),
        2 => (db(), key()).prop_map(|(db, key)| Op::Read { db, key }),
        1 => db().prop_map(Op::FlushDb),
        1 => Just(Op::FlushAll),
        1 => Just(Op::Swap),
        3 => (1..30_u8).prop_map(Op::Sleep),
        1 => Just(Op::Compact),
        8 => (who(), db(), key()).prop_map(|(who, db, key)| Op::Watch { who, db, key }),
        1 => who().prop_map(Op::Unwatch),
        1 => who().prop_map(Op::Discard),
        6 => (who(), proptest::option::of(key())).prop_map(|(who, writes)| Op::Exec { who, writes }),
    ]
}

/// A value of its own, and when it expires.
type Entry = (u64, Option<u64>);

#[derive(Debug, Clone)]
struct Mark {
    db: u16,
    key: u8,
    /// Whether the key had expired, but was still stored, when it was watched.
    stale: bool,
    was_stale: bool,
    /// Whether its database has got another keyspace since.
    moved: bool,
    dirty: bool,
    /// What was to be seen at the key.
    seen: Option<Entry>,
}

#[derive(Debug, Default)]
struct Model {
    now_ms: u64,
    values: u64,
    databases: [BTreeMap<u8, Entry>; DATABASES as usize],
    marks: [Vec<Mark>; 2],
}

impl Model {
    fn is_stale(&self, db: u16, key: u8) -> bool {
        let entry = self.databases[usize::from(db)].get(&key);
        entry.is_some_and(|(_, at_ms)| at_ms.is_some_and(|at_ms| at_ms <= self.now_ms))
    }

    fn seen(&self, db: u16, key: u8) -> Option<Entry> {
        let entry = self.databases[usize::from(db)].get(&key).copied();
        entry.filter(|_| !self.is_stale(db, key))
    }

    /// Marks those who watch a key that has changed.
    fn touch(&mut self, db: u16, key: u8) {
        let is_there = self.databases[usize::from(db)].contains_key(&key);
        for mark in self.marks.iter_mut().flatten().filter(|mark| (mark.db, mark.key) == (db, key))
        {
            if mark.stale && !is_there {
                mark.stale = false;
            } else {
                mark.dirty = true;
            }
        }
    }

    /// Deletes a key that has expired.
    fn reap(&mut self, db: u16, key: u8) {
        if self.is_stale(db, key) {
            self.databases[usize::from(db)].remove(&key);
            self.touch(db, key);
        }
    }

    fn put(&mut self, db: u16, key: u8, entry: Option<Entry>) {
        match entry {
            Some(entry) => drop(self.databases[usize::from(db)].insert(key, entry)),
            None => drop(self.databases[usize::from(db)].remove(&key)),
        }
        self.touch(db, key);
    }

    fn set(&mut self, db: u16, key: u8, ttl_ms: Option<u8>) {
        self.reap(db, key);
        self.values += 1;
        let at_ms = ttl_ms.map(|ttl_ms| self.now_ms + u64::from(ttl_ms));
        self.put(db, key, Some((self.values, at_ms)));
    }

    /// The keys of `db` are replaced by these.
    fn replace(&mut self, db: u16, with: BTreeMap<u8, Entry>) {
        let old = std::mem::replace(&mut self.databases[usize::from(db)], with);
        let now_ms = self.now_ms;
        let is_stale = |entry: &Entry| entry.1.is_some_and(|at_ms| at_ms <= now_ms);
        let new = self.databases[usize::from(db)].clone();
        for mark in self.marks.iter_mut().flatten().filter(|mark| mark.db == db) {
            mark.moved = true;
            let (was, is) = (old.get(&mark.key), new.get(&mark.key));
            match (mark.stale, was, is) {
                (_, None, None) => {}
                (true, _, None) => mark.stale = false,
                (true, _, Some(entry)) if is_stale(entry) => {}
                (false, None, Some(entry)) if is_stale(entry) => mark.stale = true,
                _ => mark.dirty = true,
            }
        }
    }

    fn watch(&mut self, who: usize, db: u16, key: u8) {
        if self.marks[who].iter().any(|mark| (mark.db, mark.key) == (db, key)) {
            return;
        }
        let (stale, seen) = (self.is_stale(db, key), self.seen(db, key));
        self.marks[who].push(Mark {
            db,
            key,
            stale,
            was_stale: stale,
            moved: false,
            dirty: false,
            seen,
        });
    }

    fn is_dirty(&self, who: usize) -> bool {
        self.marks[who]
            .iter()
            .any(|mark| mark.dirty || (!mark.stale && self.is_stale(mark.db, mark.key)))
    }

    fn is_as_seen(&self, who: usize) -> bool {
        self.marks[who].iter().all(|mark| self.seen(mark.db, mark.key) == mark.seen)
    }
}

struct Pair {
    server: Transactions,
    model: Model,
    /// Whether tombstones are kept.
    keeps_tombstones: bool,
}

impl Pair {
    fn over(store: Store, keeps_tombstones: bool) -> Self {
        let mut server = Transactions::over(store, 2);
        // What a read finds expired stays until something else deletes it.
        server.on.reaps = false;
        Self { server, model: Model::default(), keeps_tombstones }
    }

    fn call(&mut self, db: u16, line: &str) -> String {
        self.server.on.db = db;
        self.server.on.run(line)
    }

    fn apply(&mut self, op: &Op) {
        let model = &mut self.model;
        match *op {
            Op::Set { db, key, ttl_ms } => {
                model.set(db, key, ttl_ms);
                let (value, px) = (model.values, ttl_ms.map(|ms| format!(" px {ms}")));
                self.call(db, &format!("set {key} {value}{}", px.unwrap_or_default()));
            }
            Op::Delete { db, key } => {
                model.reap(db, key);
                if model.seen(db, key).is_some() {
                    model.put(db, key, None);
                }
                self.call(db, &format!("del {key}"));
            }
            Op::Persist { db, key } => {
                model.reap(db, key);
                if let Some((value, Some(_))) = model.seen(db, key) {
                    model.put(db, key, Some((value, None)));
                }
                self.call(db, &format!("persist {key}"));
            }
            Op::Rename { db, from, to } => {
                model.reap(db, from);
                if let Some(entry) = model.seen(db, from)
                    && from != to
                {
                    model.reap(db, to);
                    model.put(db, to, Some(entry));
                    model.put(db, from, None);
                }
                self.call(db, &format!("rename {from} {to}"));
            }
            Op::Read { db, key } => {
                let seen = model.seen(db, key);
                let value = self.call(db, &format!("get {key}"));
                let expected = seen.map_or("nil".to_owned(), |(value, _)| format!("\"{value}\""));
                assert_eq!(value, expected);
            }
            Op::FlushDb(db) => {
                model.replace(db, BTreeMap::new());
                self.call(db, "flushdb");
            }
            Op::FlushAll => {
                (0..DATABASES).for_each(|db| model.replace(db, BTreeMap::new()));
                self.call(0, "flushall");
            }
            Op::Swap => {
                let [first, second] = model.databases.clone();
                model.replace(0, second);
                model.replace(1, first);
                self.call(0, "swapdb 0 1");
            }
            Op::Sleep(ms) => {
                model.now_ms += u64::from(ms);
                self.server.advance_ms(u64::from(ms));
            }
            Op::Compact => drop(self.server.on.store.compact()),
            Op::Watch { who, db, key } => {
                model.watch(who, db, key);
                self.server.session(who, &format!("select {db}"));
                self.server.watch(who, &key.to_string());
            }
            Op::Unwatch(who) => {
                model.marks[who].clear();
                self.server.session(who, "unwatch");
            }
            Op::Discard(who) => {
                model.marks[who].clear();
                self.server.session(who, "multi");
                self.server.session(who, "discard");
            }
            Op::Exec { who, writes } => self.exec(who, writes),
        }
    }

    fn exec(&mut self, who: usize, writes: Option<u8>) {
        self.server.session(who, "select 0");
        self.server.session(who, "multi");
        self.server.queue(who, "ping");
        if let Some(key) = writes {
            let value = self.model.values + 1;
            self.server.queue(who, &format!("set {key} {value}"));
        }
        let ran = match self.server.exec(who).as_str() {
            "nil" => false,
            reply => reply.starts_with("[+PONG"),
        };
        let (dirty, as_seen) = (self.model.is_dirty(who), self.model.is_as_seen(who));
        let came_stale = |mark: &Mark| mark.moved && self.model.is_stale(mark.db, mark.key);
        let may_abort = dirty || self.model.marks[who].iter().any(came_stale);
        assert!(ran || may_abort, "aborted, though nothing has changed");
        assert!(!ran || as_seen, "ran, though a key is not what it was");
        let mut marks = self.model.marks[who].iter();
        if self.keeps_tombstones && !marks.any(|mark| mark.was_stale || mark.moved) {
            assert_eq!(ran, !dirty, "{:?}", self.model.marks[who]);
        }
        self.model.marks[who].clear();
        if ran && let Some(key) = writes {
            self.model.set(0, key, None);
        }
        self.server.on.store.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_watch_tells_what_has_changed(ops in proptest::collection::vec(op(), 1..80)) {
        let mut pair = Pair::over(Store::memory(), true);
        ops.iter().for_each(|op| pair.apply(op));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn and_so_it_does_in_tables(ops in proptest::collection::vec(op(), 1..60)) {
        let mut pair = Pair::over(Store::disk(), false);
        ops.iter().for_each(|op| pair.apply(op));
    }
}

#[test]
fn a_key_that_expired_elsewhere_may_count_as_changed() {
    let mut pair = Pair::over(Store::memory(), true);
    for op in [
        Op::Watch { who: 0, db: 1, key: 3 },
        Op::Swap,
        Op::Set { db: 0, key: 3, ttl_ms: Some(1) },
        Op::Sleep(1),
        Op::Swap,
        Op::Exec { who: 0, writes: None },
    ] {
        pair.apply(&op);
    }
}
