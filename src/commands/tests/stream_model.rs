//! Random commands on streams and their groups against maps in memory, over both ways to keep them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::Harness;
use super::store::Store;
use crate::data::{Packing, StreamId};

/// Consumer, time of the delivery and deliveries.
type Pending = (u8, u64, u64);

#[derive(Debug, Clone, Default, PartialEq)]
struct Group {
    last: StreamId,
    consumers: BTreeSet<u8>,
    pending: BTreeMap<StreamId, Pending>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Stream {
    entries: BTreeMap<StreamId, u16>,
    last: StreamId,
    max_deleted: StreamId,
    added: u64,
    groups: BTreeMap<u8, Group>,
}

#[derive(Debug, Clone)]
enum Op {
    Add { key: u8, ms: u8, value: u16 },
    Burst { key: u8, count: u8 },
    Del { key: u8, which: usize },
    Trim { key: u8, length: usize },
    TrimTo { key: u8, ms: u8 },
    TrimNodes { key: u8, length: u64 },
    SetId { key: u8, ms: u8 },
    Range { key: u8, from: u8, to: u8, count: usize },
    Read { key: u8, behind: u8, count: usize },
    Create { key: u8, group: u8, ms: u8 },
    Destroy { key: u8, group: u8 },
    SetGroup { key: u8, group: u8, ms: u8 },
    Deliver { key: u8, group: u8, consumer: u8, count: usize, no_ack: bool },
    History { key: u8, group: u8, consumer: u8, behind: u8 },
    Ack { key: u8, group: u8, which: usize },
    Claim { key: u8, group: u8, consumer: u8, which: usize, idle_ms: u64, force: bool },
    AutoClaim { key: u8, group: u8, consumer: u8, idle_ms: u64, count: usize },
    Forget { key: u8, group: u8, consumer: u8 },
    Look { key: u8, group: u8 },
    Copy { from: u8, to: u8 },
    Rename { from: u8, to: u8 },
    Remove { key: u8 },
    Advance { ms: u64 },
    Compact,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..2_u8;
    let group = || 0..2_u8;
    let consumer = || 0..3_u8;
    let ms = || 0..40_u8;
    prop_oneof![
        8 => (key(), ms(), any::<u16>()).prop_map(|(key, ms, value)| Op::Add { key, ms, value }),
        2 => (key(), 1..90_u8).prop_map(|(key, count)| Op::Burst { key, count }),
        5 => (key(), any::<usize>()).prop_map(|(key, which)| Op::Del { key, which }),
        2 => (key(), 0..30_usize).prop_map(|(key, length)| Op::Trim { key, length }),
        1 => (key(), ms()).prop_map(|(key, ms)| Op::TrimTo { key, ms }),
        1 => (key(), 0..30_u64).prop_map(|(key, length)| Op::TrimNodes { key, length }),
        1 => (key(), ms()).prop_map(|(key, ms)| Op::SetId { key, ms }),
        3 => (key(), ms(), ms(), 1..9_usize)
            .prop_map(|(key, from, to, count)| Op::Range { key, from, to, count }),
        2 => (key(), ms(), 1..9_usize)
            .prop_map(|(key, behind, count)| Op::Read { key, behind, count }),
        3 => (key(), group(), ms()).prop_map(|(key, group, ms)| Op::Create { key, group, ms }),
        1 => (key(), group()).prop_map(|(key, group)| Op::Destroy { key, group }),
        1 => (key(), group(), ms()).prop_map(|(key, group, ms)| Op::SetGroup { key, group, ms }),
        6 => (key(), group(), consumer(), 1..9_usize, any::<bool>()).prop_map(
            |(key, group, consumer, count, no_ack)| Op::Deliver {
                key, group, consumer, count, no_ack: no_ack && count < 3,
            }),
        2 => (key(), group(), consumer(), ms()).prop_map(
            |(key, group, consumer, behind)| Op::History { key, group, consumer, behind }),
        3 => (key(), group(), any::<usize>())
            .prop_map(|(key, group, which)| Op::Ack { key, group, which }),
        2 => (key(), group(), consumer(), any::<usize>(), 0..20_u64, any::<bool>()).prop_map(
            |(key, group, consumer, which, idle_ms, force)| Op::Claim {
                key, group, consumer, which, idle_ms, force,
            }),
        2 => (key(), group(), consumer(), 0..20_u64, 1..5_usize).prop_map(
            |(key, group, consumer, idle_ms, count)| Op::AutoClaim {
                key, group, consumer, idle_ms, count,
            }),
        1 => (key(), group(), consumer())
            .prop_map(|(key, group, consumer)| Op::Forget { key, group, consumer }),
        4 => (key(), group()).prop_map(|(key, group)| Op::Look { key, group }),
        1 => (key(), key()).prop_map(|(from, to)| Op::Copy { from, to }),
        1 => (key(), key()).prop_map(|(from, to)| Op::Rename { from, to }),
        1 => key().prop_map(|key| Op::Remove { key }),
        2 => (1..20_u64).prop_map(|ms| Op::Advance { ms }),
        1 => Just(Op::Compact),
        1 => Just(Op::Reopen),
    ]
}

fn id(ms: u8) -> StreamId {
    StreamId { ms: u64::from(ms), seq: 0 }
}

fn entry((id, value): (&StreamId, &u16)) -> String {
    format!("[\"{id}\" [\"f\" \"{value}\"]]")
}

fn array(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(" "))
}

/// The server and the model, driven together.
struct Pair {
    server: Harness,
    streams: BTreeMap<u8, Stream>,
}

impl Pair {
    #[track_caller]
    fn expect(&mut self, call: &str, expected: &str) {
        assert_eq!(self.server.run(call), expected, "{call}");
    }

    /// Both the stream and the group, if they are there.
    fn group(&mut self, key: u8, group: u8) -> Option<(&mut Stream, Group)> {
        let stream = self.streams.get_mut(&key)?;
        let group = stream.groups.get(&group)?.clone();
        Some((stream, group))
    }

    fn put(&mut self, key: u8, group: u8, changed: Group) {
        let stream = self.streams.get_mut(&key).unwrap();
        stream.groups.insert(group, changed);
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Add { .. }
            | Op::Burst { .. }
            | Op::Del { .. }
            | Op::Trim { .. }
            | Op::TrimTo { .. }
            | Op::TrimNodes { .. }
            | Op::SetId { .. }
            | Op::Range { .. }
            | Op::Read { .. } => self.apply_to_entries(op),
            Op::Create { key, group, ms } => {
                let stream = self.streams.entry(key).or_default();
                let is_new = !stream.groups.contains_key(&group);
                if is_new {
                    let made = Group { last: id(ms), ..Group::default() };
                    stream.groups.insert(group, made);
                }
                let busy = "-BUSYGROUP Consumer Group name already exists";
                let call = format!("xgroup create s{key} g{group} {ms} mkstream");
                self.expect(&call, if is_new { "+OK" } else { busy });
            }
            Op::Destroy { key, group } => {
                let Some(stream) = self.streams.get_mut(&key) else { return };
                let was = stream.groups.remove(&group).is_some();
                self.expect(
                    &format!("xgroup destroy s{key} g{group}"),
                    &i32::from(was).to_string(),
                );
            }
            Op::SetGroup { key, group, ms } => {
                let Some((_, changed)) = self.group(key, group) else { return };
                self.put(key, group, Group { last: id(ms), ..changed });
                self.expect(&format!("xgroup setid s{key} g{group} {ms}"), "+OK");
            }
            Op::Copy { from, to } if from != to => {
                let Some(stream) = self.streams.get(&from).cloned() else { return };
                self.streams.insert(to, stream);
                self.expect(&format!("copy s{from} s{to} replace"), "1");
            }
            Op::Rename { from, to } => {
                let Some(stream) = self.streams.remove(&from) else { return };
                self.streams.insert(to, stream);
                self.expect(&format!("rename s{from} s{to}"), "+OK");
            }
            Op::Copy { .. } => {}
            Op::Remove { key } => {
                let was = self.streams.remove(&key).is_some();
                self.expect(&format!("del s{key}"), &i32::from(was).to_string());
            }
            Op::Advance { ms } => self.server.now_ms += ms,
            Op::Compact => drop(self.server.store.compact()),
            Op::Reopen => self.server.store.reopen(),
            op => self.apply_to_group(op),
        }
    }

    fn add(&mut self, key: u8, id: StreamId, value: u16) {
        let stream = self.streams.entry(key).or_default();
        let call = format!("xadd s{key} {id} f {value}");
        if id <= stream.last {
            let refused = self.server.run(&call);
            assert!(refused.starts_with("-ERR The ID specified in XADD"), "{refused}");
            if self.server.run(&format!("exists s{key}")) == "0" {
                self.streams.remove(&key);
            }
            return;
        }
        stream.entries.insert(id, value);
        stream.last = id;
        stream.added += 1;
        self.expect(&call, &format!("\"{id}\""));
    }

    fn apply_to_entries(&mut self, op: Op) {
        match op {
            Op::Add { key, ms, value } => self.add(key, id(ms), value),
            Op::Burst { key, count } => {
                let last = self.streams.get(&key).map_or(StreamId::MIN, |stream| stream.last);
                for n in 1..=u64::from(count) {
                    self.add(key, StreamId { seq: last.seq + n, ..last }, 7);
                }
            }
            Op::Del { key, which } => {
                let Some(stream) = self.streams.get_mut(&key) else { return };
                let count = stream.entries.len();
                let id = stream.entries.keys().nth(which % (count + 1)).copied();
                let id = id.unwrap_or(StreamId { ms: 3, seq: 999 });
                let was = stream.entries.remove(&id).is_some();
                if was {
                    stream.max_deleted = stream.max_deleted.max(id);
                }
                self.expect(&format!("xdel s{key} {id}"), &i32::from(was).to_string());
            }
            Op::Trim { key, length } => {
                let Some(stream) = self.streams.get_mut(&key) else { return };
                let gone = stream.entries.len().saturating_sub(length);
                for _ in 0..gone {
                    stream.entries.pop_first();
                }
                self.expect(&format!("xtrim s{key} maxlen {length}"), &gone.to_string());
            }
            Op::TrimTo { key, ms } => {
                let Some(stream) = self.streams.get_mut(&key) else { return };
                let kept = stream.entries.split_off(&id(ms));
                let gone = std::mem::replace(&mut stream.entries, kept).len();
                self.expect(&format!("xtrim s{key} minid {ms}"), &gone.to_string());
            }
            Op::TrimNodes { key, length } => {
                let Some(stream) = self.streams.get_mut(&key) else { return };
                let before = stream.entries.len() as u64;
                let call = format!("xtrim s{key} maxlen ~ {length}");
                let gone: u64 = self.server.run(&call).parse().unwrap();
                let (left, node) = (before - gone, self.server.packing.stream_entries.max(1));
                assert!(gone == 0 || left >= length, "{call} of {before}: {gone}");
                let limit = node * 100;
                assert!(left < length + node || gone + node > limit, "{call} of {before}: {gone}");
                for _ in 0..gone {
                    stream.entries.pop_first();
                }
            }
            Op::SetId { key, ms } => {
                let Some(stream) = self.streams.get_mut(&key) else { return };
                let top = stream.entries.last_key_value().map(|(id, _)| *id);
                let fits = id(ms) >= stream.max_deleted.max(top.unwrap_or_default());
                if fits {
                    stream.last = id(ms);
                }
                let answer = self.server.run(&format!("xsetid s{key} {ms}"));
                assert_eq!(answer == "+OK", fits, "{answer}");
            }
            Op::Range { key, from, to, count } => {
                let Some(stream) = self.streams.get(&key) else { return };
                let to = StreamId { ms: u64::from(to), seq: u64::MAX };
                let inside = stream.entries.iter().filter(|(at, _)| (id(from)..=to).contains(*at));
                let forward = array(inside.clone().take(count).map(entry));
                let back = array(inside.rev().take(count).map(entry));
                let all = array(stream.entries.iter().map(entry));
                let (to, length) = (to.ms, stream.entries.len());
                self.expect(&format!("xrange s{key} {from} {to} count {count}"), &forward);
                self.expect(&format!("xrevrange s{key} {to} {from} count {count}"), &back);
                self.expect(&format!("xrange s{key} - +"), &all);
                self.expect(&format!("xlen s{key}"), &length.to_string());
            }
            Op::Read { key, behind, count } => {
                let Some(stream) = self.streams.get(&key) else { return };
                let inside = stream.entries.iter().filter(|(at, _)| **at > id(behind));
                let found: Vec<String> = inside.take(count).map(entry).collect();
                let expected = match found.is_empty() {
                    true => "nil".to_owned(),
                    false => format!("{{\"s{key}\" => {}}}", array(found)),
                };
                self.expect(&format!("xread count {count} streams s{key} {behind}"), &expected);
            }
            _ => unreachable!("only calls on entries"),
        }
    }

    fn apply_to_group(&mut self, op: Op) {
        let now_ms = self.server.now_ms;
        match op {
            Op::Deliver { key, group, consumer, count, no_ack } => {
                let Some((stream, mut changed)) = self.group(key, group) else { return };
                let behind = changed.last;
                let found = stream.entries.iter().filter(|(at, _)| **at > behind).take(count);
                let found: Vec<(StreamId, u16)> = found.map(|(id, value)| (*id, *value)).collect();
                changed.consumers.insert(consumer);
                for (id, _) in &found {
                    changed.last = *id;
                    if !no_ack {
                        changed.pending.insert(*id, (consumer, now_ms, 1));
                    }
                }
                self.put(key, group, changed);
                let expected = match found.is_empty() {
                    true => "nil".to_owned(),
                    false => {
                        let found = found.iter().map(|(id, value)| entry((id, value)));
                        format!("{{\"s{key}\" => {}}}", array(found))
                    }
                };
                let no_ack = if no_ack { "noack " } else { "" };
                let call = format!(
                    "xreadgroup group g{group} c{consumer} count {count} {no_ack}streams s{key} >"
                );
                self.expect(&call, &expected);
            }
            Op::History { key, group, consumer, behind } => {
                let Some((stream, mut changed)) = self.group(key, group) else { return };
                changed.consumers.insert(consumer);
                let mut found = Vec::new();
                for (at, pending) in &mut changed.pending {
                    if *at <= id(behind) || pending.0 != consumer {
                        continue;
                    }
                    match stream.entries.get(at) {
                        Some(value) => {
                            (pending.1, pending.2) = (now_ms, pending.2 + 1);
                            found.push(entry((at, value)));
                        }
                        None => found.push(format!("[\"{at}\" nil]")),
                    }
                }
                self.put(key, group, changed);
                let call = format!("xreadgroup group g{group} c{consumer} streams s{key} {behind}");
                self.expect(&call, &format!("{{\"s{key}\" => {}}}", array(found)));
            }
            Op::Ack { key, group, which } => {
                let Some((_, mut changed)) = self.group(key, group) else { return };
                let count = changed.pending.len();
                let Some(id) = changed.pending.keys().nth(which % (count + 1)).copied() else {
                    return;
                };
                changed.pending.remove(&id);
                self.put(key, group, changed);
                self.expect(&format!("xack s{key} g{group} {id} {id}"), "1");
            }
            Op::Claim { .. } | Op::AutoClaim { .. } => self.claim(op),
            Op::Forget { key, group, consumer } => {
                let Some((_, mut changed)) = self.group(key, group) else { return };
                let before = changed.pending.len();
                changed.pending.retain(|_, pending| pending.0 != consumer);
                let gone = before - changed.pending.len();
                changed.consumers.remove(&consumer);
                self.put(key, group, changed);
                let call = format!("xgroup delconsumer s{key} g{group} c{consumer}");
                self.expect(&call, &gone.to_string());
            }
            Op::Look { key, group } => {
                let Some((stream, known)) = self.group(key, group) else { return };
                let groups = stream.groups.len();
                let all = known.pending.iter().map(|(id, (consumer, at_ms, count))| {
                    format!("[\"{id}\" \"c{consumer}\" {} {count}]", now_ms - at_ms)
                });
                self.expect(&format!("xpending s{key} g{group} - + 10000"), &array(all));
                for consumer in 0..3 {
                    let own = known.pending.iter().filter(|(_, pending)| pending.0 == consumer);
                    let own = own.map(|(id, (_, at_ms, count))| {
                        format!("[\"{id}\" \"c{consumer}\" {} {count}]", now_ms - at_ms)
                    });
                    let call = format!("xpending s{key} g{group} - + 10000 c{consumer}");
                    self.expect(&call, &array(own));
                }
                let told = self.server.run(&format!("xinfo groups s{key}"));
                let about = format!(
                    "\"g{group}\", \"consumers\": {}, \"pending\": {}, \"last-delivered-id\": \
                     \"{}\"",
                    known.consumers.len(),
                    known.pending.len(),
                    known.last
                );
                assert!(told.contains(&about), "{about}: {told}");
                assert_eq!(told.matches("\"name\"").count(), groups);
            }
            _ => unreachable!("only calls on groups"),
        }
    }

    fn claim(&mut self, op: Op) {
        let now_ms = self.server.now_ms;
        match op {
            Op::Claim { key, group, consumer, which, idle_ms, force } => {
                let Some((stream, mut changed)) = self.group(key, group) else { return };
                let mut ids: Vec<StreamId> = changed.pending.keys().copied().collect();
                ids.extend(stream.entries.keys());
                if ids.is_empty() {
                    return;
                }
                let id = ids[which % ids.len()];
                changed.consumers.insert(consumer);
                let mut expected = Vec::new();
                match (stream.entries.get(&id), changed.pending.get(&id).copied()) {
                    (None, _) => drop(changed.pending.remove(&id)),
                    (Some(_), Some((_, at_ms, _))) if now_ms - at_ms < idle_ms => {}
                    (Some(_), None) if !force => {}
                    (Some(value), old) => {
                        let deliveries = old.map_or(1, |(_, _, count)| count) + 1;
                        changed.pending.insert(id, (consumer, now_ms, deliveries));
                        expected.push(entry((&id, value)));
                    }
                }
                self.put(key, group, changed);
                let force = if force { " force" } else { "" };
                let call = format!("xclaim s{key} g{group} c{consumer} {idle_ms} {id}{force}");
                self.expect(&call, &array(expected));
            }
            Op::AutoClaim { key, group, consumer, idle_ms, count } => {
                let Some((stream, mut changed)) = self.group(key, group) else { return };
                changed.consumers.insert(consumer);
                let (mut claimed, mut deleted, mut next) = (Vec::new(), Vec::new(), None);
                for (looked_at, (id, old)) in changed.pending.clone().into_iter().enumerate() {
                    if claimed.len() + deleted.len() == count || looked_at == count * 10 {
                        next = Some(id);
                        break;
                    }
                    let Some(value) = stream.entries.get(&id) else {
                        changed.pending.remove(&id);
                        deleted.push(format!("\"{id}\""));
                        continue;
                    };
                    if now_ms - old.1 >= idle_ms {
                        changed.pending.insert(id, (consumer, now_ms, old.2 + 1));
                        claimed.push(entry((&id, value)));
                    }
                }
                self.put(key, group, changed);
                let call =
                    format!("xautoclaim s{key} g{group} c{consumer} {idle_ms} - count {count}");
                let next = next.unwrap_or_default();
                let expected = format!("[\"{next}\" {} {}]", array(claimed), array(deleted));
                self.expect(&call, &expected);
            }
            _ => unreachable!("only claims"),
        }
    }
}

/// Thresholds that random streams cross all the time.
fn packing() -> impl Strategy<Value = Packing> {
    let entries = prop_oneof![Just(1_u64), 2..8_u64, Just(100)];
    let bytes = prop_oneof![Just(1_u64), Just(100), Just(4096)];
    (entries, bytes).prop_map(|(stream_entries, stream_bytes)| Packing {
        stream_entries,
        stream_bytes,
        ..Packing::DEFAULT
    })
}

fn run(store: Store, packing: Packing, ops: Vec<Op>) -> Pair {
    let mut server = Harness::over(store);
    server.packing = packing;
    let mut pair = Pair { server, streams: BTreeMap::new() };
    for op in ops {
        pair.apply(op);
        pair.server.store.check();
    }
    for key in 0..2 {
        pair.apply(Op::Range { key, from: 0, to: 255, count: 1000 });
        for group in 0..2 {
            pair.apply(Op::Look { key, group });
        }
    }
    pair
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn over_maps(packing in packing(), ops in proptest::collection::vec(op(), 0..100)) {
        let mut pair = run(Store::memory(), packing, ops);
        for key in 0..2 {
            pair.apply(Op::Remove { key });
        }
        // In the end nothing is left that nobody can read.
        pair.server.store.compact();
        pair.server.store.compact();
        prop_assert_eq!(pair.server.store.len(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    #[test]
    fn over_the_engine(packing in packing(), ops in proptest::collection::vec(op(), 0..100)) {
        let mut pair = run(Store::disk(), packing, ops);
        pair.server.store.compact();
        pair.server.store.reopen();
        pair.server.store.check();
        for key in 0..2 {
            pair.apply(Op::Range { key, from: 0, to: 255, count: 1000 });
        }
    }
}
