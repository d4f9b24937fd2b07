//! Sorted sets held against sorted lists, over a map and over the engine, small and exploded.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::store::Store;
use super::{Harness, text};
use crate::data::Packing;
use crate::protocol::{Reply, format_double};

/// What is done; numbers name keys and members, scores are halves.
#[derive(Debug, Clone)]
enum Op {
    Add {
        key: u8,
        members: Vec<(u16, i8)>,
    },
    AddMany {
        key: u8,
        from: u16,
        count: u16,
    },
    Raise {
        key: u8,
        member: u16,
        by: i8,
    },
    Remove {
        key: u8,
        members: Vec<u16>,
    },
    Pop {
        key: u8,
        lowest: bool,
        count: u8,
    },
    RemoveRanks {
        key: u8,
        start: i16,
        stop: i16,
    },
    RemoveScores {
        key: u8,
        min: i8,
        max: i8,
        is_open: bool,
    },
    Copy {
        from: u8,
        to: u8,
    },
    Rename {
        from: u8,
        to: u8,
    },
    Delete {
        key: u8,
    },
    /// A transaction that changes these members and is dropped.
    Dropped {
        key: u8,
        member: u16,
        score: i8,
    },
    /// A transaction of several, of which only this member's is kept.
    Nested {
        key: u8,
        member: u16,
        score: i8,
    },
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let (key, member, score) = (|| 0..3_u8, || 0..400_u16, || -6..6_i8);
    let pairs = proptest::collection::vec((member(), score()), 1..9);
    prop_oneof![
        6 => (key(), pairs).prop_map(|(key, members)| Op::Add { key, members }),
        2 => (key(), 0..300_u16, 1..300_u16)
            .prop_map(|(key, from, count)| Op::AddMany { key, from, count }),
        3 => (key(), member(), score()).prop_map(|(key, member, by)| Op::Raise { key, member, by }),
        2 => (key(), proptest::collection::vec(member(), 1..40))
            .prop_map(|(key, members)| Op::Remove { key, members }),
        3 => (key(), any::<bool>(), 0..80_u8)
            .prop_map(|(key, lowest, count)| Op::Pop { key, lowest, count }),
        1 => (key(), -300..300_i16, -300..300_i16)
            .prop_map(|(key, start, stop)| Op::RemoveRanks { key, start, stop }),
        1 => (key(), score(), score(), any::<bool>())
            .prop_map(|(key, min, max, is_open)| Op::RemoveScores { key, min, max, is_open }),
        1 => (key(), key()).prop_map(|(from, to)| Op::Copy { from, to }),
        1 => (key(), key()).prop_map(|(from, to)| Op::Rename { from, to }),
        1 => key().prop_map(|key| Op::Delete { key }),
    ]
}

/// Changes of one member at a time, as those are for which what is known of an order is kept.
fn small_op() -> impl Strategy<Value = Op> {
    let (key, member, score) = (|| 0..2_u8, || 0..400_u16, || -6..6_i8);
    let some = move || (key(), member(), score());
    prop_oneof![
        20 => some().prop_map(|(key, member, score)| {
            Op::Add { key, members: vec![(member, score)] }
        }),
        5 => some().prop_map(|(key, member, by)| Op::Raise { key, member, by }),
        10 => (key(), any::<bool>()).prop_map(|(key, lowest)| Op::Pop { key, lowest, count: 1 }),
        2 => (key(), any::<bool>(), 0..80_u8)
            .prop_map(|(key, lowest, count)| Op::Pop { key, lowest, count }),
        5 => (key(), member()).prop_map(|(key, member)| Op::Remove { key, members: vec![member] }),
        4 => some().prop_map(|(key, member, score)| Op::Dropped { key, member, score }),
        2 => some().prop_map(|(key, member, score)| Op::Nested { key, member, score }),
        2 => (key(), 0..300_u16, 1..200_u16)
            .prop_map(|(key, from, count)| Op::AddMany { key, from, count }),
        1 => (key(), key()).prop_map(|(from, to)| Op::Copy { from, to }),
        1 => (key(), key()).prop_map(|(from, to)| Op::Rename { from, to }),
        1 => Just(Op::Reopen),
    ]
}

/// Members by name; the order is made when it is asked for.
type Model = BTreeMap<String, f64>;

fn in_order(model: &Model) -> Vec<(String, f64)> {
    let mut all: Vec<_> = model.iter().map(|(name, score)| (name.clone(), *score)).collect();
    all.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
    all
}

struct Pair {
    server: Harness,
    keys: [Model; 3],
}

fn half(number: i8) -> f64 {
    f64::from(number) / 2.0
}

fn name(member: u16) -> String {
    format!("m{member}")
}

/// What a command answers that names members with their scores, one after the other.
fn listed(members: &[(String, f64)]) -> Vec<String> {
    members.iter().flat_map(|(name, score)| [name.clone(), format_double(*score)]).collect()
}

fn words(line: &str) -> Vec<Bytes> {
    line.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

impl Pair {
    fn call(&mut self, line: &str) -> Reply {
        self.server.call(&words(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[track_caller]
    fn count(&mut self, line: &str, expected: usize) {
        assert_eq!(text(&self.call(line)), expected.to_string(), "{line}");
    }

    #[track_caller]
    fn list(&mut self, line: &str, expected: &[(String, f64)]) {
        let Reply::Pairs(pairs) = self.call(line) else { panic!("{line}: no pairs") };
        let word = |reply: &Reply| match reply {
            Reply::Bulk(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            Reply::Double(number) => format_double(*number),
            other => panic!("{other:?}"),
        };
        let found: Vec<String> =
            pairs.iter().flat_map(|(name, score)| [word(name), word(score)]).collect();
        assert_eq!(found, listed(expected), "{line}");
    }

    fn remove(&mut self, key: u8, gone: &[(String, f64)]) {
        self.keys[usize::from(key)].retain(|name, _| !gone.iter().any(|(other, _)| other == name));
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Add { key, members } => {
                let model = &mut self.keys[usize::from(*key)];
                let before = model.len();
                let mut line = format!("zadd {key}");
                for (member, score) in members {
                    model.insert(name(*member), half(*score));
                    line += &format!(" {} {}", half(*score), name(*member));
                }
                let added = model.len() - before;
                self.count(&line, added);
            }
            Op::AddMany { key, from, count } => {
                let members = (*from..from + count)
                    .map(|member| (member, i8::try_from(member % 11).unwrap()));
                self.apply(&Op::Add { key: *key, members: members.collect() });
            }
            Op::Raise { key, member, by } => {
                let score = self.keys[usize::from(*key)].entry(name(*member)).or_insert(0.0);
                *score += half(*by);
                let expected = format!(",{}", format_double(*score));
                let line = format!("zincrby {key} {} {}", half(*by), name(*member));
                assert_eq!(text(&self.call(&line)), expected);
            }
            Op::Remove { key, members } => {
                let model = &mut self.keys[usize::from(*key)];
                let before = model.len();
                let names: Vec<String> = members.iter().map(|member| name(*member)).collect();
                model.retain(|name, _| !names.contains(name));
                let removed = before - model.len();
                self.count(&format!("zrem {key} {}", names.join(" ")), removed);
            }
            Op::Pop { key, lowest, count } => {
                let mut members = in_order(&self.keys[usize::from(*key)]);
                if !lowest {
                    members.reverse();
                }
                members.truncate(usize::from(*count));
                let command = if *lowest { "zpopmin" } else { "zpopmax" };
                self.list(&format!("{command} {key} {count}"), &members);
                self.remove(*key, &members);
            }
            Op::RemoveRanks { key, start, stop } => {
                let members = in_order(&self.keys[usize::from(*key)]);
                let len = members.len() as i64;
                let absolute =
                    |rank: i16| if rank < 0 { i64::from(rank) + len } else { i64::from(rank) };
                let (from, to) = (absolute(*start).max(0), absolute(*stop).min(len - 1));
                let numbered = (0_i64..).zip(members);
                let gone: Vec<_> = numbered
                    .filter(|(at, _)| (from..=to).contains(at))
                    .map(|(_, member)| member)
                    .collect();
                self.count(&format!("zremrangebyrank {key} {start} {stop}"), gone.len());
                self.remove(*key, &gone);
            }
            Op::RemoveScores { key, min, max, is_open } => {
                let mut gone = in_order(&self.keys[usize::from(*key)]);
                let (low, high) = (half(*min), half(*max));
                gone.retain(|(_, s)| *s <= high && if *is_open { *s > low } else { *s >= low });
                let open = if *is_open { "(" } else { "" };
                let line = format!("zremrangebyscore {key} {open}{low} {high}");
                self.count(&line, gone.len());
                self.remove(*key, &gone);
            }
            Op::Copy { from, to } if from != to && !self.keys[usize::from(*from)].is_empty() => {
                self.keys[usize::from(*to)] = self.keys[usize::from(*from)].clone();
                self.count(&format!("copy {from} {to} replace"), 1);
            }
            Op::Rename { from, to } if from != to && !self.keys[usize::from(*from)].is_empty() => {
                let moved = std::mem::take(&mut self.keys[usize::from(*from)]);
                self.keys[usize::from(*to)] = moved;
                assert_eq!(text(&self.call(&format!("rename {from} {to}"))), "+OK");
            }
            Op::Copy { .. } | Op::Rename { .. } => {}
            Op::Dropped { key, member, score } => {
                let (score, member) = (half(*score), name(*member));
                self.server.run_dropped(&words(&format!("zadd {key} {score} {member} 9 new")));
                // It has taken the number of the one that was dropped.
                self.list(&format!("zpopmin {key} 0"), &[]);
                self.server.run_dropped(&words(&format!("zpopmin {key} 2")));
            }
            Op::Nested { key, member, score } => {
                let call = |line: String, is_kept: bool| (words(&line), is_kept);
                let (score, member) = (half(*score), name(*member));
                self.server.run_nested(&[
                    call(format!("zadd {key} 9 new 9 newer"), false),
                    call(format!("zadd {key} {score} {member}"), true),
                    call(format!("zpopmax {key} 3"), false),
                ]);
                self.keys[usize::from(*key)].insert(member, score);
            }
            Op::Reopen => self.server.store.reopen(),
            Op::Delete { key } => {
                let there = usize::from(!self.keys[usize::from(*key)].is_empty());
                self.keys[usize::from(*key)].clear();
                self.count(&format!("del {key}"), there);
            }
        }
    }

    /// Everything that can be asked.
    fn compare(&mut self) {
        for key in 0..3_usize {
            let members = in_order(&self.keys[key]);
            let reversed: Vec<_> = members.iter().rev().cloned().collect();
            let len = members.len();
            self.count(&format!("zcard {key}"), len);
            self.list(&format!("zrange {key} 0 -1 withscores"), &members);
            self.list(&format!("zrevrange {key} 0 -1 withscores"), &reversed);
            for at in [0, len / 3, len / 2, len.saturating_sub(2)] {
                let end = len.min(at + 5);
                let (start, stop) = (at, at as i64 + 4);
                let some = &members[at.min(len)..end];
                self.list(&format!("zrange {key} {start} {stop} withscores"), some);
                let some = &reversed[at.min(len)..end];
                self.list(&format!("zrange {key} {start} {stop} rev withscores"), some);
                let Some((name, score)) = members.get(at).cloned() else { continue };
                self.count(&format!("zrank {key} {name}"), at);
                self.count(&format!("zrevrank {key} {name}"), len - at - 1);
                assert_eq!(
                    text(&self.call(&format!("zscore {key} {name}"))),
                    format!(",{}", format_double(score))
                );
                let below: Vec<_> = members.iter().filter(|m| m.1 < score).cloned().collect();
                let from: Vec<_> = members.iter().filter(|m| m.1 >= score).cloned().collect();
                self.count(&format!("zcount {key} -inf ({score}"), below.len());
                let skip = at.min(from.len());
                let some: Vec<_> = from.iter().skip(skip).take(3).cloned().collect();
                let line = format!("zrange {key} {score} inf byscore limit {skip} 3 withscores");
                self.list(&line, &some);
                let some: Vec<_> = from.iter().rev().skip(skip).take(3).cloned().collect();
                let line =
                    format!("zrange {key} inf {score} byscore rev limit {skip} 3 withscores");
                self.list(&line, &some);
            }
            let all: Vec<String> = members.iter().map(|member| member.0.clone()).collect();
            let mut walked = Vec::new();
            let mut cursor = "0".to_owned();
            loop {
                let Reply::Array(page) = self.call(&format!("zscan {key} {cursor} count 30"))
                else {
                    panic!("no page")
                };
                let [Reply::Bulk(next), Reply::Array(found)] = &page[..] else {
                    panic!("{page:?}")
                };
                walked.extend(found.chunks(2).map(|pair| text(&pair[0]).replace('"', "")));
                cursor = String::from_utf8(next.to_vec()).unwrap();
                if cursor == "0" {
                    break;
                }
            }
            walked.sort();
            let mut all = all;
            all.sort();
            assert_eq!(walked, all);
        }
    }
}

fn packing() -> impl Strategy<Value = Packing> {
    let entries = prop_oneof![Just(0_u64), 1..8_u64, Just(128)];
    entries.prop_map(|zset_entries| Packing { zset_entries, ..Packing::DEFAULT })
}

fn run(store: Store, packing: Packing, ops: &[Op], each: bool) -> Pair {
    let mut server = Harness::over(store);
    server.packing = packing;
    let mut pair = Pair { server, keys: Default::default() };
    for op in ops {
        pair.apply(op);
        if each {
            pair.server.store.check();
        }
    }
    pair.compare();
    pair
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn over_maps(packing in packing(), ops in proptest::collection::vec(op(), 0..40)) {
        let mut pair = run(Store::memory(), packing, &ops, true);
        for key in 0..3 {
            pair.apply(&Op::Delete { key });
        }
        // In the end nothing is left that nobody can read.
        pair.server.store.compact();
        prop_assert_eq!(pair.server.store.len(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(15))]
    #[test]
    fn over_the_engine(packing in packing(), ops in proptest::collection::vec(op(), 0..60)) {
        let mut pair = run(Store::disk(), packing, &ops, false);
        pair.server.store.check();
        pair.server.store.compact();
        pair.server.store.reopen();
        pair.server.store.check();
        pair.compare();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// What the writer and readers keep of an order from call to call is right whatever comes between.
    #[test]
    fn what_is_known_of_an_order_is_right(
        packing in packing(),
        bytes_max in prop_oneof![Just(1_usize << 20), Just(6_000)],
        ops in proptest::collection::vec(small_op(), 0..120),
    ) {
        let mut server = Harness::over(Store::disk());
        server.packing = packing;
        server.orders.set_bytes_max(bytes_max);
        let mut pair = Pair { server, keys: Default::default() };
        for key in 0..2 {
            pair.apply(&Op::AddMany { key, from: 50, count: 250 });
        }
        for ops in ops.chunks(10) {
            ops.iter().for_each(|op| pair.apply(op));
            pair.server.store.check();
            prop_assert!(pair.server.orders.bytes() <= bytes_max);
            pair.compare();
        }
        if bytes_max > 10_000 && pair.keys[0].len() > 128 {
            for member in 400..404 {
                pair.apply(&Op::Add { key: 0, members: vec![(member, 0)] });
            }
            prop_assert!(pair.server.orders.bytes() > 0, "nothing was kept");
        }
    }
}

/// At either end of a queue neither what was taken nor how often something was written is met again.
#[test]
fn a_queue_stays_as_fast_as_it_was() {
    for (add, pop) in [(1, "zpopmin"), (-1, "zpopmax"), (1, "zremrangebyrank")] {
        let mut server = Harness::over(Store::disk());
        server.packing = Packing { zset_entries: 0, ..Packing::DEFAULT };
        let add_one = |server: &mut Harness, at: i64| {
            server.run(&format!("zadd q {} m{at}", at * add));
        };
        (0..300).for_each(|at| add_one(&mut server, at));
        for at in 300..2_000 {
            add_one(&mut server, at);
            match pop {
                "zremrangebyrank" => assert_eq!(server.run("zremrangebyrank q 0 0"), "1"),
                pop => drop(server.run(&format!("{pop} q"))),
            }
        }
        // A resident view gives up after so many steps that wading would take many more.
        for is_warm in [false, true] {
            server.blocked = 0;
            server.run("zrange q 0 2");
            server.run("zrange q -3 -1");
            server.run("zrank q m1900");
            server.run("zrange q -inf +inf byscore limit 0 3");
            assert!(!is_warm || server.blocked == 0, "{pop}");
        }
        assert_eq!(server.run("zcard q"), "300");
        server.store.check();
    }
}
