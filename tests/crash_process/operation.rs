//! The writes of this test, of every family: as a request, and as a change of the model.

use std::collections::VecDeque;
use std::ops::Bound;

use super::support::{Reply, encode};
use super::value::{Group, Id, KINDS, State, Stream, Value};

/// An expiry that no run lives to see, in Unix milliseconds.
const FAR_MS: i64 = 4_000_000_000_000;

/// An end of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Left,
    Right,
}

impl End {
    fn word(self) -> &'static str {
        if matches!(self, Self::Left) { "LEFT" } else { "RIGHT" }
    }
}

/// A write; all are of one writer's own keys.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Set(String, Vec<u8>),
    Delete(String),
    Increment(String),
    SetBoth(String, String, Vec<u8>),
    Rename(String, String),
    Copy(String, String),
    HashSet(String, Vec<String>, Vec<u8>),
    HashDelete(String, String),
    HashIncrement(String, String),
    FieldExpire(String, String, i64),
    FieldPersist(String, String),
    SetAdd(String, Vec<String>),
    SetRemove(String, String),
    SetMove(String, String, String),
    Score(String, String, i64),
    ScoreIncrement(String, String, i64),
    ScoreRemove(String, String),
    PopMin(String),
    Union(String, String, String),
    Push(End, String, Vec<Vec<u8>>),
    Pop(End, String),
    ListMove(String, String, End, End),
    Trim(String, usize),
    Append(String, Id, Vec<u8>),
    CreateGroup(String, String),
    ReadGroup(String, String, String, usize),
    Acknowledge(String, String, Id),
    StreamDelete(String, Id),
    StreamTrim(String, usize),
}

use Operation as O;

impl Operation {
    /// A write that fits what the keys hold by now (`state`), or not.
    pub(crate) fn random(random: &mut fastrand::Rng, writer: usize, clock: &mut u64) -> Self {
        let key = |random: &mut fastrand::Rng, kind: &str| {
            let count = KINDS.iter().find(|(name, _)| *name == kind).map_or(1, |(_, count)| *count);
            format!("{writer}:{kind}:{}", random.usize(..count))
        };
        let value = |random: &mut fastrand::Rng| {
            let length =
                if random.u8(..20) == 0 { random.usize(..40_000) } else { random.usize(..300) };
            let byte = random.alphanumeric();
            let mut value = random.u64(..).to_string().into_bytes();
            value.resize(value.len() + length, u8::try_from(byte).expect("a letter or digit"));
            value
        };
        let short = |random: &mut fastrand::Rng| random.u32(..100_000).to_string().into_bytes();
        let end = |random: &mut fastrand::Rng| if random.bool() { End::Left } else { End::Right };
        let group = |random: &mut fastrand::Rng| format!("g{}", random.u8(..2));
        // The even keys stay small, so that they are kept in one record.
        let member = |random: &mut fastrand::Rng, key: &str| {
            let small = key.ends_with(['0', '2']);
            format!("m{}", random.u32(..if small { 8 } else { 300 }))
        };
        let id = |random: &mut fastrand::Rng, clock: u64| {
            (random.u64(clock.saturating_sub(60)..=clock), 1)
        };
        let r = random;
        match r.u8(..42) {
            0 => O::Delete(key(r, "string")),
            1 | 2 => O::Increment(key(r, "counter")),
            3 => O::SetBoth(key(r, "string"), key(r, "string"), value(r)),
            4..10 => O::Set(key(r, "string"), value(r)),
            10 => {
                let kind = KINDS[r.usize(..KINDS.len())].0;
                O::Rename(key(r, kind), key(r, kind))
            }
            11 => {
                let kind = KINDS[r.usize(..KINDS.len())].0;
                O::Copy(key(r, kind), key(r, kind))
            }
            12 if r.u8(..8) == 0 => {
                let kind = ["hash", "set", "zset"][r.usize(..3)];
                O::Delete(key(r, kind))
            }
            12..15 => {
                let key = key(r, "hash");
                let fields = (0..r.usize(1..6)).map(|_| member(r, &key)).collect();
                O::HashSet(key, fields, short(r))
            }
            15 => with_member(key(r, "hash"), |key| member(r, key), O::HashDelete),
            16 => with_member(key(r, "hash"), |_| format!("count{}", 0), O::HashIncrement),
            17 => {
                let key = key(r, "hash");
                let field = member(r, &key);
                O::FieldExpire(key, field, FAR_MS + r.i64(0..1000))
            }
            18 => with_member(key(r, "hash"), |key| member(r, key), O::FieldPersist),
            19 | 20 => {
                let key = key(r, "set");
                let members = (0..r.usize(1..6)).map(|_| member(r, &key)).collect();
                O::SetAdd(key, members)
            }
            21 => with_member(key(r, "set"), |key| member(r, key), O::SetRemove),
            22 => {
                let (from, to) = (key(r, "set"), key(r, "set"));
                let member = member(r, &from);
                O::SetMove(from, to, member)
            }
            23..25 => {
                let key = key(r, "zset");
                let member = member(r, &key);
                O::Score(key, member, r.i64(-50..50))
            }
            25 => {
                let key = key(r, "zset");
                let member = member(r, &key);
                O::ScoreIncrement(key, member, r.i64(-5..5))
            }
            26 => with_member(key(r, "zset"), |key| member(r, key), O::ScoreRemove),
            27 => O::PopMin(key(r, "zset")),
            28 => O::Union(key(r, "zset"), key(r, "zset"), key(r, "zset")),
            29..31 => {
                let values = (0..r.usize(1..5)).map(|_| short(r)).collect();
                O::Push(end(r), key(r, "list"), values)
            }
            31 | 32 => O::Pop(end(r), key(r, "list")),
            33 => O::ListMove(key(r, "list"), key(r, "list"), end(r), end(r)),
            34 => O::Trim(key(r, "list"), r.usize(1..40)),
            35 | 36 => {
                *clock += r.u64(1..3);
                O::Append(key(r, "stream"), (*clock, 1), short(r))
            }
            37 => O::CreateGroup(key(r, "stream"), group(r)),
            38 => {
                O::ReadGroup(key(r, "stream"), group(r), format!("c{}", r.u8(..3)), r.usize(1..6))
            }
            39 => O::Acknowledge(key(r, "stream"), group(r), id(r, *clock)),
            40 => O::StreamDelete(key(r, "stream"), id(r, *clock)),
            _ => O::StreamTrim(key(r, "stream"), r.usize(1..50)),
        }
    }

    /// The call.
    pub(crate) fn request(&self) -> Vec<u8> {
        let text = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let with = |words: &[&str], value: &[u8]| {
            let mut words: Vec<Vec<u8>> = text(words);
            words.push(value.to_vec());
            words
        };
        let words: Vec<Vec<u8>> = match self {
            O::Set(key, value) => with(&["SET", key], value),
            O::Delete(key) => text(&["DEL", key]),
            O::Increment(key) => text(&["INCR", key]),
            O::SetBoth(a, b, value) => {
                let mut words = with(&["MSET", a], value);
                words.extend([b.clone().into_bytes(), value.clone()]);
                words
            }
            O::Rename(from, to) => text(&["RENAME", from, to]),
            O::Copy(from, to) => text(&["COPY", from, to, "REPLACE"]),
            O::HashSet(key, fields, value) => {
                let mut words: Vec<Vec<u8>> = text(&["HSET", key]);
                for field in fields {
                    words.extend([field.clone().into_bytes(), value.clone()]);
                }
                words
            }
            O::HashDelete(key, field) => text(&["HDEL", key, field]),
            O::HashIncrement(key, field) => text(&["HINCRBY", key, field, "1"]),
            O::FieldExpire(key, field, at_ms) => {
                text(&["HPEXPIREAT", key, &at_ms.to_string(), "FIELDS", "1", field])
            }
            O::FieldPersist(key, field) => text(&["HPERSIST", key, "FIELDS", "1", field]),
            O::SetAdd(key, members) => {
                let mut words: Vec<Vec<u8>> = text(&["SADD", key]);
                words.extend(members.iter().map(|member| member.clone().into_bytes()));
                words
            }
            O::SetRemove(key, member) => text(&["SREM", key, member]),
            O::SetMove(from, to, member) => text(&["SMOVE", from, to, member]),
            O::Score(key, member, score) => text(&["ZADD", key, &score.to_string(), member]),
            O::ScoreIncrement(key, member, by) => text(&["ZINCRBY", key, &by.to_string(), member]),
            O::ScoreRemove(key, member) => text(&["ZREM", key, member]),
            O::PopMin(key) => text(&["ZPOPMIN", key]),
            O::Union(to, a, b) => text(&["ZUNIONSTORE", to, "2", a, b, "AGGREGATE", "MAX"]),
            O::Push(end, key, values) => {
                let name = if matches!(end, End::Left) { "LPUSH" } else { "RPUSH" };
                let mut words: Vec<Vec<u8>> = text(&[name, key]);
                words.extend(values.iter().cloned());
                words
            }
            O::Pop(End::Left, key) => text(&["LPOP", key]),
            O::Pop(End::Right, key) => text(&["RPOP", key]),
            O::ListMove(from, to, a, b) => text(&["LMOVE", from, to, a.word(), b.word()]),
            O::Trim(key, count) => text(&["LTRIM", key, "0", &(count - 1).to_string()]),
            O::Append(key, id, value) => with(&["XADD", key, &id_text(*id), "n"], value),
            O::CreateGroup(key, group) => text(&["XGROUP", "CREATE", key, group, "0", "MKSTREAM"]),
            O::ReadGroup(key, group, consumer, count) => {
                let count = count.to_string();
                let (name, streams) = ("XREADGROUP", "STREAMS");
                text(&[name, "GROUP", group, consumer, "COUNT", &count, streams, key, ">"])
            }
            O::Acknowledge(key, group, id) => text(&["XACK", key, group, &id_text(*id)]),
            O::StreamDelete(key, id) => text(&["XDEL", key, &id_text(*id)]),
            O::StreamTrim(key, count) => text(&["XTRIM", key, "MAXLEN", &count.to_string()]),
        };
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        encode(&words)
    }

    /// Changes the model as the call changes the server; answers the reply where it is simple.
    pub(crate) fn apply(&self, state: &mut State) -> Option<Reply> {
        let ok = || Some(Reply::Simple("OK".to_owned()));
        match self {
            O::Set(key, value) => {
                state.insert(key.clone(), Value::String(value.clone()));
                ok()
            }
            O::Delete(key) => integer(usize::from(state.remove(key).is_some())),
            O::Increment(key) => {
                let old = match state.get(key) {
                    Some(Value::String(old)) => str::from_utf8(old).expect("digits").to_owned(),
                    _ => "0".to_owned(),
                };
                let new = old.parse::<i64>().expect("a counter") + 1;
                state.insert(key.clone(), Value::String(new.to_string().into_bytes()));
                Some(Reply::Integer(new))
            }
            O::SetBoth(a, b, value) => {
                state.insert(a.clone(), Value::String(value.clone()));
                state.insert(b.clone(), Value::String(value.clone()));
                ok()
            }
            O::Rename(from, to) => {
                let Some(value) = state.remove(from) else {
                    return Some(Reply::Error("ERR no such key".to_owned()));
                };
                state.insert(to.clone(), value);
                ok()
            }
            O::Copy(from, to) if from == to => None,
            O::Copy(from, to) => {
                let value = state.get(from).cloned();
                let copied = usize::from(value.is_some());
                state.extend(value.map(|value| (to.clone(), value)));
                integer(copied)
            }
            _ => self.apply_to_elements(state),
        }
    }

    fn apply_to_elements(&self, state: &mut State) -> Option<Reply> {
        match self {
            O::HashSet(..)
            | O::HashDelete(..)
            | O::HashIncrement(..)
            | O::FieldExpire(..)
            | O::FieldPersist(..) => self.apply_to_hash(state),
            O::SetAdd(..) | O::SetRemove(..) | O::SetMove(..) => self.apply_to_set(state),
            O::Push(..) | O::Pop(..) | O::ListMove(..) | O::Trim(..) => self.apply_to_list(state),
            O::Append(..)
            | O::CreateGroup(..)
            | O::ReadGroup(..)
            | O::Acknowledge(..)
            | O::StreamDelete(..)
            | O::StreamTrim(..) => self.apply_to_stream(state),
            _ => self.apply_to_zset(state),
        }
    }

    fn apply_to_hash(&self, state: &mut State) -> Option<Reply> {
        let (O::HashSet(key, ..)
        | O::HashDelete(key, _)
        | O::HashIncrement(key, _)
        | O::FieldExpire(key, ..)
        | O::FieldPersist(key, _)) = self
        else {
            return None;
        };
        let value = state.entry(key.clone()).or_insert_with(|| Value::Hash(Default::default()));
        let Value::Hash(hash) = value else { panic!("{key} is no hash") };
        let one = |number| Some(Reply::Array(vec![Reply::Integer(number)]));
        let reply = match self {
            O::HashSet(_, fields, value) => {
                let new = fields
                    .iter()
                    .filter(|field| hash.insert((*field).clone(), (value.clone(), None)).is_none());
                integer(new.count())
            }
            O::HashDelete(_, field) => integer(usize::from(hash.remove(field).is_some())),
            O::HashIncrement(_, field) => {
                let (old, expires_ms) = hash.remove(field).unwrap_or((b"0".to_vec(), None));
                let old = str::from_utf8(&old).expect("digits").parse::<i64>().expect("a number");
                hash.insert(field.clone(), ((old + 1).to_string().into_bytes(), expires_ms));
                Some(Reply::Integer(old + 1))
            }
            O::FieldExpire(_, _, _) if hash.is_empty() => one(-2),
            O::FieldExpire(_, field, at_ms) => match hash.get_mut(field) {
                Some((_, expires_ms)) => {
                    *expires_ms = Some(*at_ms);
                    one(1)
                }
                None => one(-2),
            },
            O::FieldPersist(_, field) => match hash.get_mut(field) {
                Some((_, expires_ms)) => one(if expires_ms.take().is_some() { 1 } else { -1 }),
                None => one(-2),
            },
            _ => None,
        };
        if hash.is_empty() {
            state.remove(key);
        }
        reply
    }

    fn apply_to_set(&self, state: &mut State) -> Option<Reply> {
        let count = match self {
            O::SetAdd(key, members) => {
                let Value::Set(set) =
                    state.entry(key.clone()).or_insert_with(|| Value::Set(Default::default()))
                else {
                    panic!("{key} is no set")
                };
                members.iter().filter(|member| set.insert((*member).clone())).count()
            }
            O::SetRemove(key, member) => usize::from(remove_member(state, key, member)),
            O::SetMove(from, to, member) if from == to => {
                let set = state.get(from);
                usize::from(matches!(set, Some(Value::Set(set)) if set.contains(member)))
            }
            O::SetMove(from, to, member) => {
                let moved = remove_member(state, from, member);
                if moved {
                    O::SetAdd(to.clone(), vec![member.clone()]).apply(state);
                }
                usize::from(moved)
            }
            _ => return None,
        };
        integer(count)
    }

    fn apply_to_zset(&self, state: &mut State) -> Option<Reply> {
        let members = |state: &State, key: &str| match state.get(key) {
            Some(Value::ZSet(members)) => members.clone(),
            _ => Default::default(),
        };
        let (key, new, reply) = match self {
            O::Score(key, member, score) => {
                let mut zset = members(state, key);
                let is_new = zset.insert(member.clone(), *score).is_none();
                (key, zset, integer(usize::from(is_new)))
            }
            O::ScoreIncrement(key, member, by) => {
                let mut zset = members(state, key);
                let score = zset.entry(member.clone()).or_default();
                *score += by;
                let reply = score.to_string().into_bytes();
                (key, zset, Some(Reply::Bulk(Some(reply))))
            }
            O::ScoreRemove(key, member) => {
                let mut zset = members(state, key);
                let was = zset.remove(member).is_some();
                (key, zset, integer(usize::from(was)))
            }
            O::PopMin(key) => {
                let mut zset = members(state, key);
                let least = zset.iter().map(|(member, score)| (*score, member.clone())).min();
                let reply = least.map(|(score, member)| {
                    zset.remove(&member);
                    [member, score.to_string()].map(|text| Reply::Bulk(Some(text.into()))).into()
                });
                (key, zset, Some(Reply::Array(reply.unwrap_or_default())))
            }
            O::Union(to, a, b) => {
                let mut zset = members(state, a);
                for (member, score) in members(state, b) {
                    // Sums would grow beyond what a double tells apart.
                    let of_both = zset.entry(member).or_insert(score);
                    *of_both = score.max(*of_both);
                }
                let count = zset.len();
                (to, zset, integer(count))
            }
            _ => return None,
        };
        match new.is_empty() {
            true => drop(state.remove(key)),
            false => drop(state.insert(key.clone(), Value::ZSet(new))),
        }
        reply
    }

    fn apply_to_list(&self, state: &mut State) -> Option<Reply> {
        let bulk = |element: Option<Vec<u8>>| Some(Reply::Bulk(element));
        match self {
            O::Push(end, key, values) => {
                let mut list = take_list(state, key);
                for value in values {
                    push(&mut list, *end, value.clone());
                }
                let count = list.len();
                put_list(state, key, list);
                integer(count)
            }
            O::Pop(end, key) => {
                let mut list = take_list(state, key);
                let element = pop(&mut list, *end);
                put_list(state, key, list);
                bulk(element)
            }
            O::ListMove(from, to, a, b) => {
                let mut list = take_list(state, from);
                let element = pop(&mut list, *a);
                put_list(state, from, list);
                if let Some(element) = &element {
                    let mut list = take_list(state, to);
                    push(&mut list, *b, element.clone());
                    put_list(state, to, list);
                }
                bulk(element)
            }
            O::Trim(key, count) => {
                let mut list = take_list(state, key);
                list.truncate(*count);
                put_list(state, key, list);
                Some(Reply::Simple("OK".to_owned()))
            }
            _ => None,
        }
    }

    fn apply_to_stream(&self, state: &mut State) -> Option<Reply> {
        match self {
            O::Append(key, id, value) => {
                let stream = stream_at(state, key);
                if *id <= stream.last {
                    return None;
                }
                stream.last = *id;
                stream.entries.insert(*id, value.clone());
                Some(Reply::Bulk(Some(id_text(*id).into_bytes())))
            }
            O::CreateGroup(key, name) => {
                let stream = stream_at(state, key);
                stream.groups.entry(name.clone()).or_default();
                None
            }
            _ => {
                let (O::ReadGroup(key, ..)
                | O::Acknowledge(key, ..)
                | O::StreamDelete(key, _)
                | O::StreamTrim(key, _)) = self
                else {
                    return None;
                };
                let Some(Value::Stream(stream)) = state.get_mut(key) else { return None };
                self.change_stream(stream)
            }
        }
    }

    fn change_stream(&self, stream: &mut Stream) -> Option<Reply> {
        match self {
            O::ReadGroup(_, group, consumer, count) => {
                let group: &mut Group = stream.groups.get_mut(group)?;
                let behind = (Bound::Excluded(group.last), Bound::Unbounded);
                for (&id, _) in stream.entries.range(behind).take(*count) {
                    group.last = id;
                    group.pending.insert(id, consumer.clone());
                }
                None
            }
            O::Acknowledge(_, group, id) => {
                let was = stream.groups.get_mut(group)?.pending.remove(id).is_some();
                integer(usize::from(was))
            }
            O::StreamDelete(_, id) => integer(usize::from(stream.entries.remove(id).is_some())),
            O::StreamTrim(_, count) => {
                let gone = stream.entries.len().saturating_sub(*count);
                for _ in 0..gone {
                    stream.entries.pop_first();
                }
                integer(gone)
            }
            _ => None,
        }
    }
}

fn with_member(
    key: String,
    member: impl FnOnce(&str) -> String,
    operation: fn(String, String) -> Operation,
) -> Operation {
    let member = member(&key);
    operation(key, member)
}

fn integer(number: usize) -> Option<Reply> {
    Some(Reply::Integer(i64::try_from(number).expect("a small number")))
}

fn id_text((ms, seq): Id) -> String {
    format!("{ms}-{seq}")
}

fn remove_member(state: &mut State, key: &str, member: &str) -> bool {
    let Some(Value::Set(set)) = state.get_mut(key) else { return false };
    let was = set.remove(member);
    if set.is_empty() {
        state.remove(key);
    }
    was
}

fn take_list(state: &mut State, key: &str) -> VecDeque<Vec<u8>> {
    match state.remove(key) {
        Some(Value::List(list)) => list,
        _ => VecDeque::new(),
    }
}

fn put_list(state: &mut State, key: &str, list: VecDeque<Vec<u8>>) {
    if !list.is_empty() {
        state.insert(key.to_owned(), Value::List(list));
    }
}

fn push(list: &mut VecDeque<Vec<u8>>, end: End, element: Vec<u8>) {
    match end {
        End::Left => list.push_front(element),
        End::Right => list.push_back(element),
    }
}

fn pop(list: &mut VecDeque<Vec<u8>>, end: End) -> Option<Vec<u8>> {
    match end {
        End::Left => list.pop_front(),
        End::Right => list.pop_back(),
    }
}

fn stream_at<'a>(state: &'a mut State, key: &str) -> &'a mut Stream {
    let value = state.entry(key.to_owned()).or_insert_with(|| Value::Stream(Stream::default()));
    if let Value::Stream(stream) = value { stream } else { panic!("{key} is no stream") }
}
