//! Random commands on hashes and sets against maps in memory, over every way to keep them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::Harness;
use super::collections::sorted;
use super::store::Store;
use crate::data::Packing;

/// Field to value and expiry.
type Hash = BTreeMap<u8, (u8, Option<u64>)>;

#[derive(Debug, Clone, Default, PartialEq)]
struct Keys {
    hashes: BTreeMap<u8, Hash>,
    sets: BTreeMap<u8, BTreeSet<u8>>,
}

#[derive(Debug, Clone)]
enum Op {
    HSet { key: u8, fields: Vec<(u8, u8)> },
    HDel { key: u8, fields: Vec<u8> },
    HIncr { key: u8, field: u8, by: i8 },
    HExpire { key: u8, field: u8, ttl_ms: u64 },
    HPersist { key: u8, field: u8 },
    HGetAll { key: u8 },
    SAdd { key: u8, members: Vec<u8> },
    SRem { key: u8, members: Vec<u8> },
    SMove { from: u8, to: u8, member: u8 },
    SPop { key: u8, count: usize },
    Store { which: usize, to: u8, keys: Vec<u8> },
    Members { key: u8 },
    Copy { from: u8, to: u8 },
    Rename { from: u8, to: u8 },
    Del { key: u8 },
    Advance { ms: u64 },
    Expired { limit: usize },
    Compact,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..3_u8;
    let name = 0..14_u8;
    let names = proptest::collection::vec(0..14_u8, 1..8);
    prop_oneof![
        5 => (key.clone(), proptest::collection::vec((name.clone(), any::<u8>()), 1..8))
            .prop_map(|(key, fields)| Op::HSet { key, fields }),
        2 => (key.clone(), names.clone()).prop_map(|(key, fields)| Op::HDel { key, fields }),
        1 => (key.clone(), name.clone(), any::<i8>())
            .prop_map(|(key, field, by)| Op::HIncr { key, field, by }),
        4 => (key.clone(), name.clone(), 0..40_u64)
            .prop_map(|(key, field, ttl_ms)| Op::HExpire { key, field, ttl_ms }),
        1 => (key.clone(), name.clone()).prop_map(|(key, field)| Op::HPersist { key, field }),
        3 => key.clone().prop_map(|key| Op::HGetAll { key }),
        5 => (key.clone(), names.clone()).prop_map(|(key, members)| Op::SAdd { key, members }),
        2 => (key.clone(), names.clone()).prop_map(|(key, members)| Op::SRem { key, members }),
        1 => (key.clone(), key.clone(), name)
            .prop_map(|(from, to, member)| Op::SMove { from, to, member }),
        1 => (key.clone(), 0..5_usize).prop_map(|(key, count)| Op::SPop { key, count }),
        2 => (0..3_usize, key.clone(), proptest::collection::vec(key.clone(), 1..4))
            .prop_map(|(which, to, keys)| Op::Store { which, to, keys }),
        2 => key.clone().prop_map(|key| Op::Members { key }),
        1 => (key.clone(), key.clone()).prop_map(|(from, to)| Op::Copy { from, to }),
        1 => (key.clone(), key.clone()).prop_map(|(from, to)| Op::Rename { from, to }),
        1 => key.prop_map(|key| Op::Del { key }),
        2 => (1..20_u64).prop_map(|ms| Op::Advance { ms }),
        2 => (1..9_usize).prop_map(|limit| Op::Expired { limit }),
        1 => Just(Op::Compact),
        1 => Just(Op::Reopen),
    ]
}

/// Half of the names are integers, of different widths; one in seven is long.
fn name(number: u8) -> String {
    match number % 7 {
        0 => format!("{number}{}", "x".repeat(20)),
        1 => number.to_string(),
        2 => format!("-{}", u64::from(number) << 40),
        3 => format!("{}", 100_000 + i32::from(number)),
        _ => format!("n{number}"),
    }
}

/// The server and the model, driven together. Hashes have keys `h…`, sets `s…`.
struct Pair {
    server: Harness,
    keys: Keys,
}

impl Pair {
    fn run(&mut self, words: &[String]) -> String {
        let words: Vec<Bytes> = words.iter().map(|word| Bytes::from(word.clone())).collect();
        self.server.run_words(&words)
    }

    fn call(&mut self, start: &str, rest: impl IntoIterator<Item = String>) -> String {
        let mut words: Vec<String> = start.split(' ').map(str::to_owned).collect();
        words.extend(rest);
        self.run(&words)
    }

    /// The fields of a hash that are alive. The model forgets expired ones at once.
    fn hash(&mut self, key: u8) -> &mut Hash {
        let now_ms = self.server.now_ms;
        let hash = self.keys.hashes.entry(key).or_default();
        hash.retain(|_, (_, at_ms)| at_ms.is_none_or(|at_ms| at_ms > now_ms));
        hash
    }

    fn set(&mut self, key: u8) -> &mut BTreeSet<u8> {
        self.keys.sets.entry(key).or_default()
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::HSet { .. }
            | Op::HDel { .. }
            | Op::HIncr { .. }
            | Op::HExpire { .. }
            | Op::HPersist { .. }
            | Op::HGetAll { .. } => self.apply_to_hash(op),
            Op::SAdd { .. }
            | Op::SRem { .. }
            | Op::SMove { .. }
            | Op::SPop { .. }
            | Op::Store { .. }
            | Op::Members { .. } => self.apply_to_set(op),
            Op::Copy { from, to } if from != to => {
                for kind in ["h", "s"] {
                    self.call(&format!("copy {kind}{from} {kind}{to} replace"), []);
                }
                let (hash, set) = (self.hash(from).clone(), self.set(from).clone());
                // Redis has the key until its expired fields are deleted.
                if !hash.is_empty() || self.call(&format!("exists h{from}"), []) == "1" {
                    self.keys.hashes.insert(to, hash);
                }
                if !set.is_empty() {
                    self.keys.sets.insert(to, set);
                }
            }
            Op::Rename { from, to } => {
                for kind in ["h", "s"] {
                    let done = self.call(&format!("rename {kind}{from} {kind}{to}"), []) == "+OK";
                    if done && kind == "h" {
                        let hash = self.keys.hashes.remove(&from).unwrap_or_default();
                        self.keys.hashes.insert(to, hash);
                    } else if done {
                        let set = self.keys.sets.remove(&from).unwrap_or_default();
                        assert!(!set.is_empty(), "an empty set has no key");
                        self.keys.sets.insert(to, set);
                    }
                }
            }
            Op::Copy { .. } => {}
            Op::Del { key } => {
                self.call(&format!("del h{key} s{key}"), []);
                self.keys.hashes.remove(&key);
                self.keys.sets.remove(&key);
            }
            Op::Advance { ms } => self.server.now_ms += ms,
            Op::Expired { limit } => {
                while self.server.expire_cycle(limit).1 {}
                for key in 0..3 {
                    let expected = self.hash(key).len().to_string();
                    assert_eq!(self.call(&format!("hlen h{key}"), []), expected, "exact now");
                }
            }
            Op::Compact => drop(self.server.store.compact()),
            Op::Reopen => self.server.store.reopen(),
        }
    }

    fn apply_to_hash(&mut self, op: Op) {
        let now_ms = self.server.now_ms;
        match op {
            Op::HSet { key, fields } => {
                let words =
                    fields.iter().flat_map(|(field, value)| [name(*field), value.to_string()]);
                let words: Vec<String> = words.collect();
                let answer = self.call(&format!("hset h{key}"), words);
                let hash = self.hash(key);
                let before = hash.len();
                hash.extend(fields.iter().map(|(field, value)| (*field, (*value, None))));
                assert_eq!(answer, (hash.len() - before).to_string());
            }
            Op::HDel { key, fields } => {
                let names: Vec<String> = fields.iter().copied().map(name).collect();
                let answer = self.call(&format!("hdel h{key}"), names);
                let hash = self.hash(key);
                let gone = fields.iter().filter(|field| hash.remove(field).is_some()).count();
                assert_eq!(answer, gone.to_string());
            }
            Op::HIncr { key, field, by } => {
                let answer = self.call(&format!("hincrby h{key}"), [name(field), by.to_string()]);
                let before = self.hash(key).get(&field).copied();
                let sum = i64::from(before.map_or(0, |(value, _)| value)) + i64::from(by);
                assert_eq!(answer, sum.to_string());
                // The model keeps small numbers only.
                let value = sum.unsigned_abs().to_le_bytes()[0];
                self.call(&format!("hset h{key}"), [name(field), value.to_string()]);
                self.hash(key).insert(field, (value, None));
            }
            Op::HExpire { key, field, ttl_ms } => {
                let start = format!("hpexpire h{key} {ttl_ms} fields 1");
                let answer = self.call(&start, [name(field)]);
                let hash = self.hash(key);
                let expected = match hash.get_mut(&field) {
                    None => "[-2]",
                    Some(_) if ttl_ms == 0 => {
                        hash.remove(&field);
                        "[2]"
                    }
                    Some(entry) => {
                        entry.1 = Some(now_ms + ttl_ms);
                        "[1]"
                    }
                };
                assert_eq!(answer, expected);
            }
            Op::HPersist { key, field } => {
                let answer = self.call(&format!("hpersist h{key} fields 1"), [name(field)]);
                let expected = match self.hash(key).get_mut(&field) {
                    None => "[-2]",
                    Some((_, at_ms)) => at_ms.take().map_or("[-1]", |_| "[1]"),
                };
                assert_eq!(answer, expected);
            }
            Op::HGetAll { key } => {
                let expected = self.hash(key).clone();
                let pairs = expected.iter().map(|(field, (value, _))| (name(*field), *value));
                let mut pairs: Vec<String> =
                    pairs.map(|(field, value)| format!("\"{field}\": \"{value}\"")).collect();
                pairs.sort();
                let answer = self.call(&format!("hgetall h{key}"), []);
                let inner = answer.trim_start_matches('{').trim_end_matches('}');
                let mut found: Vec<&str> =
                    inner.split(", ").filter(|pair| !pair.is_empty()).collect();
                found.sort_unstable();
                assert_eq!(found, pairs);
                for (field, (value, at_ms)) in expected {
                    let answer = self.call(&format!("hget h{key}"), [name(field)]);
                    assert_eq!(answer, format!("\"{value}\""));
                    let answer = self.call(&format!("hpexpiretime h{key} fields 1"), [name(field)]);
                    let at_ms = at_ms.map_or("-1".to_owned(), |at_ms| at_ms.to_string());
                    assert_eq!(answer, format!("[{at_ms}]"));
                }
            }
            _ => unreachable!("only calls on hashes"),
        }
    }

    fn apply_to_set(&mut self, op: Op) {
        match op {
            Op::SAdd { key, members } => {
                let names: Vec<String> = members.iter().copied().map(name).collect();
                let answer = self.call(&format!("sadd s{key}"), names);
                let set = self.set(key);
                let added = members.iter().filter(|member| set.insert(**member)).count();
                assert_eq!(answer, added.to_string());
            }
            Op::SRem { key, members } => {
                let names: Vec<String> = members.iter().copied().map(name).collect();
                let answer = self.call(&format!("srem s{key}"), names);
                let set = self.set(key);
                let gone = members.iter().filter(|member| set.remove(member)).count();
                assert_eq!(answer, gone.to_string());
            }
            Op::SMove { from, to, member } => {
                let answer = self.call(&format!("smove s{from} s{to}"), [name(member)]);
                let moved = self.set(from).remove(&member);
                if moved {
                    self.set(to).insert(member);
                }
                assert_eq!(answer, i32::from(moved).to_string());
            }
            Op::SPop { key, count } => {
                let popped = sorted(&self.call(&format!("spop s{key} {count}"), []));
                let set = self.set(key);
                assert_eq!(popped.len(), count.min(set.len()));
                for word in popped {
                    let member = (0..14).find(|number| format!("\"{}\"", name(*number)) == word);
                    assert!(set.remove(&member.unwrap()), "{word}");
                }
            }
            Op::Store { which, to, keys } => {
                let sets: Vec<BTreeSet<u8>> =
                    keys.iter().map(|key| self.set(*key).clone()).collect();
                let (first, others) = sets.split_first().unwrap();
                let mut result = first.clone();
                for other in others {
                    result = match which {
                        0 => &result & other,
                        1 => &result | other,
                        _ => &result - other,
                    };
                }
                let command = ["sinter", "sunion", "sdiff"][which];
                let names: Vec<String> = keys.iter().map(|key| format!("s{key}")).collect();
                let mut expected: Vec<String> =
                    result.iter().map(|member| format!("\"{}\"", name(*member))).collect();
                expected.sort();
                assert_eq!(sorted(&self.call(command, names.clone())), expected);
                let answer = self.call(&format!("{command}store s{to}"), names);
                assert_eq!(answer, result.len().to_string());
                *self.set(to) = result;
            }
            Op::Members { key } => {
                let set = self.set(key).clone();
                let mut expected: Vec<String> =
                    set.iter().map(|member| format!("\"{}\"", name(*member))).collect();
                expected.sort();
                assert_eq!(sorted(&self.call(&format!("smembers s{key}"), [])), expected);
                for member in 0..14 {
                    let answer = self.call(&format!("sismember s{key}"), [name(member)]);
                    assert_eq!(answer, i32::from(set.contains(&member)).to_string());
                }
            }
            _ => unreachable!("only calls on sets"),
        }
    }
}

/// Thresholds that random collections cross all the time.
fn packing() -> impl Strategy<Value = Packing> {
    let entries = || prop_oneof![Just(0_u64), 1..8_u64, Just(1000)];
    let value = || prop_oneof![Just(0_u64), Just(10), Just(1000)];
    (entries(), value(), entries(), entries(), value()).prop_map(
        |(hash_entries, hash_value, set_integers, set_entries, set_value)| Packing {
            hash_entries,
            hash_value,
            set_integers,
            set_entries,
            set_value,
            ..Packing::DEFAULT
        },
    )
}

fn run(store: Store, packing: Packing, reaps: bool, ops: Vec<Op>) -> Pair {
    let mut server = Harness::over(store);
    server.packing = packing;
    server.reaps = reaps;
    let mut pair = Pair { server, keys: Keys::default() };
    for op in ops {
        pair.apply(op);
        pair.server.store.check();
    }
    pair
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn over_maps(
        packing in packing(), reaps: bool, ops in proptest::collection::vec(op(), 0..60),
    ) {
        let mut pair = run(Store::memory(), packing, reaps, ops);
        for key in 0..3 {
            pair.apply(Op::HGetAll { key });
            pair.apply(Op::Members { key });
            pair.apply(Op::Del { key });
        }
        // In the end nothing is left that nobody can read.
        pair.server.store.compact();
        prop_assert_eq!(pair.server.store.len(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    #[test]
    fn over_the_engine(packing in packing(), ops in proptest::collection::vec(op(), 0..80)) {
        let mut pair = run(Store::disk(), packing, true, ops);
        pair.server.store.compact();
        pair.server.store.reopen();
        pair.server.store.check();
        for key in 0..3 {
            pair.apply(Op::HGetAll { key });
            pair.apply(Op::Members { key });
        }
    }
}
