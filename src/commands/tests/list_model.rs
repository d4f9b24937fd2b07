//! Random commands on lists against double-ended queues in memory, over every way to keep them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;

use super::Harness;
use super::store::Store;
use crate::data::Packing;

type List = VecDeque<u8>;

#[derive(Debug, Clone)]
enum Op {
    Push { key: u8, left: bool, elements: Vec<u8> },
    Fill { key: u8, count: usize },
    Pop { key: u8, left: bool, count: usize },
    Set { key: u8, index: i64, element: u8 },
    Insert { key: u8, after: bool, pivot: u8, element: u8 },
    Remove { key: u8, count: i64, element: u8 },
    Trim { key: u8, start: i64, stop: i64 },
    Move { from: u8, to: u8, left: bool, into_left: bool },
    Range { key: u8, start: i64, stop: i64 },
    Position { key: u8, element: u8, rank: i64, count: usize, most: usize },
    Copy { from: u8, to: u8 },
    Rename { from: u8, to: u8 },
    Del { key: u8 },
    Compact,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..3_u8;
    let element = || 0..9_u8;
    let index = || prop_oneof![3 => -30..30_i64, 1 => -400..400_i64];
    prop_oneof![
        8 => (key(), any::<bool>(), proptest::collection::vec(element(), 1..12))
            .prop_map(|(key, left, elements)| Op::Push { key, left, elements }),
        1 => (key(), 100..300_usize).prop_map(|(key, count)| Op::Fill { key, count }),
        4 => (key(), any::<bool>(), 0..9_usize)
            .prop_map(|(key, left, count)| Op::Pop { key, left, count }),
        3 => (key(), index(), element())
            .prop_map(|(key, index, element)| Op::Set { key, index, element }),
        3 => (key(), any::<bool>(), element(), element())
            .prop_map(|(key, after, pivot, element)| Op::Insert { key, after, pivot, element }),
        3 => (key(), -3..4_i64, element())
            .prop_map(|(key, count, element)| Op::Remove { key, count, element }),
        2 => (key(), index(), index())
            .prop_map(|(key, start, stop)| Op::Trim { key, start, stop }),
        3 => (key(), key(), any::<bool>(), any::<bool>())
            .prop_map(|(from, to, left, into_left)| Op::Move { from, to, left, into_left }),
        4 => (key(), index(), index())
            .prop_map(|(key, start, stop)| Op::Range { key, start, stop }),
        2 => (key(), element(), -3..4_i64, 0..3_usize, 0..20_usize).prop_map(
            |(key, element, rank, count, most)| Op::Position { key, element, rank, count, most }
        ),
        1 => (key(), key()).prop_map(|(from, to)| Op::Copy { from, to }),
        1 => (key(), key()).prop_map(|(from, to)| Op::Rename { from, to }),
        1 => key().prop_map(|key| Op::Del { key }),
        1 => Just(Op::Compact),
        1 => Just(Op::Reopen),
    ]
}

/// Integers and texts of all sizes.
fn text(element: u8) -> String {
    match element {
        0 => "0".to_owned(),
        1 => "-70000".to_owned(),
        2 => "x".repeat(100),
        3 => "y".repeat(1500),
        other => format!("element:{other}"),
    }
}

fn shown<'a>(elements: impl IntoIterator<Item = &'a u8>) -> String {
    let words: Vec<String> =
        elements.into_iter().map(|element| format!("\"{}\"", text(*element))).collect();
    format!("[{}]", words.join(" "))
}

struct Pair {
    server: Harness,
    lists: BTreeMap<u8, List>,
}

/// The part of a list of `len` elements that a range names.
fn part(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let len = i64::try_from(len).unwrap();
    let from_end = |index: i64| if index < 0 { index + len } else { index };
    let start = from_end(start).max(0);
    let end = from_end(stop).min(len - 1) + 1;
    let place = |index: i64| usize::try_from(index).unwrap();
    if start >= end { 0..0 } else { place(start)..place(end) }
}

impl Pair {
    fn call(&mut self, words: &[&str]) -> String {
        let words: Vec<Bytes> =
            words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        self.server.run_words(&words)
    }

    fn list(&mut self, key: u8) -> &mut List {
        self.lists.entry(key).or_default()
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Push { key, left, elements } => {
                let texts: Vec<String> = elements.iter().copied().map(text).collect();
                let key_text = format!("l{key}");
                let mut words = vec![if left { "lpush" } else { "rpush" }, key_text.as_str()];
                words.extend(texts.iter().map(String::as_str));
                let answer = self.call(&words);
                let list = self.list(key);
                for element in elements {
                    if left { list.push_front(element) } else { list.push_back(element) }
                }
                assert_eq!(answer, list.len().to_string());
            }
            Op::Fill { key, count } => {
                let elements: Vec<u8> = (0..count).map(|n| [4, 5, 6, 7, 8][n % 5]).collect();
                self.apply(Op::Push { key, left: count % 2 == 0, elements });
            }
            Op::Pop { key, left, count } => {
                let name = if left { "lpop" } else { "rpop" };
                let answer = self.call(&[name, &format!("l{key}"), &count.to_string()]);
                let list = self.list(key);
                if list.is_empty() {
                    return assert_eq!(answer, "nil");
                }
                let count = count.min(list.len());
                let popped: Vec<u8> = (0..count)
                    .filter_map(|_| if left { list.pop_front() } else { list.pop_back() })
                    .collect();
                assert_eq!(answer, shown(&popped));
            }
            Op::Move { from, to, left, into_left } => {
                let end = |left| if left { "left" } else { "right" };
                let (source, target) = (format!("l{from}"), format!("l{to}"));
                let answer = self.call(&["lmove", &source, &target, end(left), end(into_left)]);
                let list = self.list(from);
                let moved = if left { list.pop_front() } else { list.pop_back() };
                let Some(moved) = moved else { return assert_eq!(answer, "nil") };
                let list = self.list(to);
                if into_left {
                    list.push_front(moved)
                } else {
                    list.push_back(moved)
                }
                assert_eq!(answer, format!("\"{}\"", text(moved)));
            }
            Op::Range { .. } | Op::Position { .. } => self.apply_read(op),
            Op::Set { .. } | Op::Insert { .. } | Op::Remove { .. } | Op::Trim { .. } => {
                self.apply_in_the_middle(op);
            }
            Op::Copy { from, to } => {
                if from != to {
                    self.call(&["copy", &format!("l{from}"), &format!("l{to}"), "replace"]);
                    let list = self.list(from).clone();
                    if !list.is_empty() {
                        self.lists.insert(to, list);
                    }
                }
            }
            Op::Rename { from, to } => {
                let done = self.call(&["rename", &format!("l{from}"), &format!("l{to}")]) == "+OK";
                assert_eq!(done, !self.list(from).is_empty());
                if done && from != to {
                    let list = std::mem::take(self.list(from));
                    self.lists.insert(to, list);
                }
            }
            Op::Del { key } => {
                self.call(&["del", &format!("l{key}")]);
                self.lists.remove(&key);
            }
            Op::Compact => drop(self.server.store.compact()),
            Op::Reopen => self.server.store.reopen(),
        }
    }

    fn apply_in_the_middle(&mut self, op: Op) {
        match op {
            Op::Set { key, index, element } => {
                let answer =
                    self.call(&["lset", &format!("l{key}"), &index.to_string(), &text(element)]);
                let list = self.list(key);
                if list.is_empty() {
                    return assert_eq!(answer, "-ERR no such key");
                }
                let place = part(index, index, list.len());
                let expected = if place.is_empty() { "-ERR index out of range" } else { "+OK" };
                assert_eq!(answer, expected);
                place.for_each(|place| list[place] = element);
            }
            Op::Insert { key, after, pivot, element } => {
                let side = if after { "after" } else { "before" };
                let (pivot_text, element_text) = (text(pivot), text(element));
                let key_text = format!("l{key}");
                let answer = self.call(&["linsert", &key_text, side, &pivot_text, &element_text]);
                let list = self.list(key);
                match list.iter().position(|other| *other == pivot) {
                    _ if list.is_empty() => assert_eq!(answer, "0"),
                    None => assert_eq!(answer, "-1"),
                    Some(place) => {
                        list.insert(place + usize::from(after), element);
                        assert_eq!(answer, list.len().to_string());
                    }
                }
            }
            Op::Remove { key, count, element } => {
                let answer =
                    self.call(&["lrem", &format!("l{key}"), &count.to_string(), &text(element)]);
                let list = self.list(key);
                let mut places: Vec<usize> =
                    (0..list.len()).filter(|place| list[*place] == element).collect();
                let most = usize::try_from(count.unsigned_abs()).unwrap();
                if count < 0 {
                    places.reverse();
                }
                if count != 0 {
                    places.truncate(most);
                }
                places.sort_unstable();
                for place in places.iter().rev() {
                    list.remove(*place);
                }
                assert_eq!(answer, places.len().to_string());
            }
            Op::Trim { key, start, stop } => {
                let (first, last) = (start.to_string(), stop.to_string());
                assert_eq!(self.call(&["ltrim", &format!("l{key}"), &first, &last]), "+OK");
                let list = self.list(key);
                let kept = part(start, stop, list.len());
                *list = list.range(kept).copied().collect();
            }
            _ => unreachable!("only changes in the middle"),
        }
    }

    fn apply_read(&mut self, op: Op) {
        match op {
            Op::Range { key, start, stop } => {
                let key_text = format!("l{key}");
                let answer =
                    self.call(&["lrange", &key_text, &start.to_string(), &stop.to_string()]);
                let list = self.list(key).clone();
                assert_eq!(answer, shown(list.range(part(start, stop, list.len()))));
                let place = part(start, start, list.len());
                let expected = match list.range(place).next() {
                    Some(element) => format!("\"{}\"", text(*element)),
                    None => "nil".to_owned(),
                };
                assert_eq!(self.call(&["lindex", &key_text, &start.to_string()]), expected);
                assert_eq!(self.call(&["llen", &key_text]), list.len().to_string());
            }
            Op::Position { key, element, rank, count, most } => {
                let rank = if rank == 0 { 1 } else { rank };
                let answer = self.call(&[
                    "lpos",
                    &format!("l{key}"),
                    &text(element),
                    "rank",
                    &rank.to_string(),
                    "count",
                    &count.to_string(),
                    "maxlen",
                    &most.to_string(),
                ]);
                let list = self.list(key);
                let mut places: Vec<usize> = (0..list.len()).collect();
                if rank < 0 {
                    places.reverse();
                }
                if most > 0 {
                    places.truncate(most);
                }
                places.retain(|place| list[*place] == element);
                let skip = usize::try_from(rank.unsigned_abs()).unwrap() - 1;
                let count = if count == 0 { usize::MAX } else { count };
                let expected: Vec<String> =
                    places.iter().skip(skip).take(count).map(usize::to_string).collect();
                assert_eq!(answer, format!("[{}]", expected.join(" ")));
            }
            _ => unreachable!("only reads"),
        }
    }
}

/// Thresholds that random lists cross all the time.
fn packing() -> impl Strategy<Value = Packing> {
    let list_size = prop_oneof![Just(-1), Just(-2), 0..12_i32, Just(1)];
    list_size.prop_map(|list_size| Packing { list_size, ..Packing::DEFAULT })
}

fn run(store: Store, packing: Packing, ops: Vec<Op>) -> Pair {
    let mut server = Harness::over(store);
    server.packing = packing;
    let mut pair = Pair { server, lists: BTreeMap::new() };
    for op in ops {
        pair.apply(op);
        pair.server.store.check();
    }
    for key in 0..3 {
        pair.apply(Op::Range { key, start: 0, stop: -1 });
    }
    pair
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn over_queues(packing in packing(), ops in proptest::collection::vec(op(), 0..60)) {
        let mut pair = run(Store::memory(), packing, ops);
        for key in 0..3 {
            pair.apply(Op::Del { key });
        }
        // In the end nothing is left that nobody can read.
        pair.server.store.compact();
        prop_assert_eq!(pair.server.store.len(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn over_the_engine(packing in packing(), ops in proptest::collection::vec(op(), 0..80)) {
        let mut pair = run(Store::disk(), packing, ops);
        pair.server.store.compact();
        pair.server.store.reopen();
        pair.server.store.check();
        for key in 0..3 {
            pair.apply(Op::Range { key, start: 0, stop: -1 });
        }
    }
}
