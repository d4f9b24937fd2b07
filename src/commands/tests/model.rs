//! Random commands against the plainest Redis: a map of strings and expiries.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::store::Store;
use super::{Harness, START_MS};

/// Key to value and expiry.
type Keys = BTreeMap<u8, (Vec<u8>, Option<u64>)>;

#[derive(Debug, Clone)]
enum Op {
    Set { key: u8, len: usize, ttl_ms: Option<u64> },
    Append { key: u8, len: usize },
    SetRange { key: u8, offset: usize, len: usize },
    Get { key: u8 },
    GetRange { key: u8, start: usize, end: usize },
    Del { key: u8 },
    Expire { key: u8, ttl_ms: u64 },
    Persist { key: u8 },
    Rename { from: u8, to: u8 },
    Copy { from: u8, to: u8, db: u16 },
    Move { key: u8, db: u16 },
    Swap { a: u16, b: u16 },
    Flush,
    Select { db: u16 },
    Advance { ms: u64 },
    Expired,
    Compact,
    Reopen,
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..60_usize, 1 => 16_000..17_000_usize, 1 => 60_000..90_000_usize]
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..4_u8;
    let db = 0..3_u16;
    let ttl = 1..50_u64;
    prop_oneof![
        4 => (key.clone(), len(), proptest::option::of(ttl.clone()))
            .prop_map(|(key, len, ttl_ms)| Op::Set { key, len, ttl_ms }),
        3 => (key.clone(), len()).prop_map(|(key, len)| Op::Append { key, len }),
        3 => (key.clone(), len(), 0..100_usize)
            .prop_map(|(key, offset, len)| Op::SetRange { key, offset, len }),
        3 => key.clone().prop_map(|key| Op::Get { key }),
        2 => (key.clone(), len(), len()).prop_map(|(key, start, end)| Op::GetRange { key, start, end }),
        2 => key.clone().prop_map(|key| Op::Del { key }),
        2 => (key.clone(), ttl).prop_map(|(key, ttl_ms)| Op::Expire { key, ttl_ms }),
        1 => key.clone().prop_map(|key| Op::Persist { key }),
        2 => (key.clone(), key.clone()).prop_map(|(from, to)| Op::Rename { from, to }),
        2 => (key.clone(), key.clone(), db.clone())
            .prop_map(|(from, to, db)| Op::Copy { from, to, db }),
        1 => (key, db.clone()).prop_map(|(key, db)| Op::Move { key, db }),
        1 => (db.clone(), db.clone()).prop_map(|(a, b)| Op::Swap { a, b }),
        1 => Just(Op::Flush),
        2 => db.prop_map(|db| Op::Select { db }),
        2 => (1..30_u64).prop_map(|ms| Op::Advance { ms }),
        1 => Just(Op::Expired),
        1 => Just(Op::Compact),
        1 => Just(Op::Reopen),
    ]
}

/// The server and the model, driven together.
struct Pair {
    server: Harness,
    databases: Vec<Keys>,
    fill: u8,
}

impl Pair {
    fn keys(&mut self) -> &mut Keys {
        let now_ms = self.server.now_ms;
        for keys in &mut self.databases {
            keys.retain(|_, (_, at_ms)| at_ms.is_none_or(|at_ms| at_ms > now_ms));
        }
        &mut self.databases[usize::from(self.server.db)]
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.fill = self.fill.wrapping_add(1) | 128;
        vec![self.fill; len]
    }

    fn call(&mut self, words: &[&[u8]]) -> String {
        let words: Vec<Bytes> = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
        self.server.run_words(&words)
    }

    fn apply(&mut self, op: Op) {
        let now_ms = self.server.now_ms;
        match op {
            Op::Set { key, len, ttl_ms } => {
                let value = self.bytes(len);
                let answer = match ttl_ms {
                    Some(ttl) => {
                        self.call(&[b"SET", &[key], &value, b"PX", ttl.to_string().as_bytes()])
                    }
                    None => self.call(&[b"SET", &[key], &value]),
                };
                assert_eq!(answer, "+OK");
                self.keys().insert(key, (value, ttl_ms.map(|ttl| now_ms + ttl)));
            }
            Op::Append { key, len } => {
                let value = self.bytes(len);
                let answer = self.call(&[b"APPEND", &[key], &value]);
                let entry = self.keys().entry(key).or_default();
                entry.0.extend_from_slice(&value);
                assert_eq!(answer, entry.0.len().to_string());
            }
            Op::SetRange { key, offset, len } => {
                let value = self.bytes(len);
                let answer =
                    self.call(&[b"SETRANGE", &[key], offset.to_string().as_bytes(), &value]);
                if len > 0 {
                    let entry = self.keys().entry(key).or_default();
                    entry.0.resize(entry.0.len().max(offset + len), 0);
                    entry.0[offset..offset + len].copy_from_slice(&value);
                }
                let expected = self.keys().get(&key).map_or(0, |entry| entry.0.len());
                assert_eq!(answer, expected.to_string());
            }
            Op::Get { key } => {
                let answer = self.call(&[b"GET", &[key]]);
                let expected = self.keys().get(&key).map(|entry| entry.0.clone());
                assert!(answer == shown(expected.as_deref()), "GET {key}");
                let answer = self.call(&[b"PTTL", &[key]]);
                let expected = match self.keys().get(&key) {
                    None => "-2".to_owned(),
                    Some((_, None)) => "-1".to_owned(),
                    Some((_, Some(at_ms))) => (at_ms - now_ms).to_string(),
                };
                assert_eq!(answer, expected);
            }
            Op::GetRange { key, start, end } => {
                let (from, to) = (start.to_string(), end.to_string());
                let answer = self.call(&[b"GETRANGE", &[key], from.as_bytes(), to.as_bytes()]);
                let value = self.keys().get(&key).map(|entry| entry.0.clone()).unwrap_or_default();
                let end = (end + 1).min(value.len());
                let expected = value.get(start..end).unwrap_or_default();
                assert!(answer == shown(Some(expected)), "GETRANGE {key} {from} {to}");
            }
            Op::Del { key } => {
                let answer = self.call(&[b"DEL", &[key]]);
                let expected = i32::from(self.keys().remove(&key).is_some());
                assert_eq!(answer, expected.to_string());
            }
            Op::Expire { key, ttl_ms } => {
                let answer = self.call(&[b"PEXPIRE", &[key], ttl_ms.to_string().as_bytes()]);
                let found = self.keys().get_mut(&key).map(|entry| entry.1 = Some(now_ms + ttl_ms));
                assert_eq!(answer, i32::from(found.is_some()).to_string());
            }
            Op::Persist { key } => {
                let answer = self.call(&[b"PERSIST", &[key]]);
                let had = self.keys().get_mut(&key).and_then(|entry| entry.1.take());
                assert_eq!(answer, i32::from(had.is_some()).to_string());
            }
            Op::Rename { from, to } => {
                let answer = self.call(&[b"RENAME", &[from], &[to]]);
                let expected = match self.keys().remove(&from) {
                    None => "-ERR no such key",
                    Some(entry) => {
                        self.keys().insert(to, entry);
                        "+OK"
                    }
                };
                assert_eq!(answer, expected);
            }
            Op::Copy { from, to, db } => {
                if from == to && db == self.server.db {
                    return;
                }
                let answer = self.call(&[
                    b"COPY",
                    &[from],
                    &[to],
                    b"DB",
                    db.to_string().as_bytes(),
                    b"REPLACE",
                ]);
                let found = self.keys().get(&from).cloned();
                assert_eq!(answer, i32::from(found.is_some()).to_string());
                if let Some(entry) = found {
                    self.databases[usize::from(db)].insert(to, entry);
                }
            }
            Op::Move { key, db } => {
                if db == self.server.db {
                    return;
                }
                let answer = self.call(&[b"MOVE", &[key], db.to_string().as_bytes()]);
                let free = {
                    self.keys();
                    !self.databases[usize::from(db)].contains_key(&key)
                };
                let moved = if free { self.keys().remove(&key) } else { None };
                assert_eq!(answer, i32::from(moved.is_some()).to_string());
                if let Some(entry) = moved {
                    self.databases[usize::from(db)].insert(key, entry);
                }
            }
            Op::Swap { a, b } => {
                let (first, second) = (a.to_string(), b.to_string());
                assert_eq!(self.call(&[b"SWAPDB", first.as_bytes(), second.as_bytes()]), "+OK");
                self.databases.swap(usize::from(a), usize::from(b));
            }
            Op::Flush => {
                assert_eq!(self.call(&[b"FLUSHDB"]), "+OK");
                self.keys().clear();
            }
            Op::Select { db } => self.server.db = db,
            Op::Advance { ms } => self.server.now_ms += ms,
            Op::Expired => {
                self.server.expire_cycle(usize::MAX);
                let expected = self.keys().len();
                assert_eq!(self.call(&[b"DBSIZE"]), expected.to_string());
            }
            Op::Compact => drop(self.server.store.compact()),
            Op::Reopen => self.server.store.reopen(),
        }
    }
}

fn shown(value: Option<&[u8]>) -> String {
    value.map_or_else(|| "nil".to_owned(), |value| format!("\"{}\"", value.escape_ascii()))
}

fn run(store: Store, ops: Vec<Op>) -> Pair {
    let mut pair = Pair { server: Harness::over(store), databases: vec![Keys::new(); 16], fill: 0 };
    for op in ops {
        pair.apply(op);
        pair.server.store.check();
    }
    pair
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn over_a_map(ops in proptest::collection::vec(op(), 0..60)) {
        let mut pair = run(Store::memory(), ops);
        // In the end nothing is left that nobody can read.
        pair.server.store.compact();
        pair.server.now_ms = START_MS + 1_000_000;
        pair.server.expire_cycle(usize::MAX);
        pair.call(&[b"FLUSHALL"]);
        pair.server.store.compact();
        prop_assert_eq!(pair.server.store.len(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]
    #[test]
    fn over_the_engine(ops in proptest::collection::vec(op(), 0..80)) {
        let mut pair = run(Store::disk(), ops);
        pair.server.store.compact();
        pair.server.store.reopen();
        pair.server.store.check();
    }
}
