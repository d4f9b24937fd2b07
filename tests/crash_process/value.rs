//! What the keys of a writer hold, of every type.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::support::{Connection, Reply};

/// An entry of a stream.
pub(crate) type Id = (u64, u64);

/// A field: its value, and when it expires in Unix milliseconds.
pub(crate) type Field = (Vec<u8>, Option<i64>);

/// A consumer group: the last id that was delivered, and what is pending of whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Group {
    pub(crate) last: Id,
    pub(crate) pending: BTreeMap<Id, String>,
}

/// A stream; the fields of an entry are `n` and one value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stream {
    pub(crate) entries: BTreeMap<Id, Vec<u8>>,
    pub(crate) last: Id,
    pub(crate) groups: BTreeMap<String, Group>,
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    String(Vec<u8>),
    Hash(BTreeMap<String, Field>),
    Set(BTreeSet<String>),
    ZSet(BTreeMap<String, i64>),
    List(VecDeque<Vec<u8>>),
    Stream(Stream),
}

/// The keys of one writer.
pub(crate) type State = BTreeMap<String, Value>;

/// The kinds of keys that a writer has, with how many of each; the name of a key tells its kind.
pub(crate) const KINDS: &[(&str, usize)] = &[
    ("string", 60),
    ("counter", 3),
    ("hash", 4),
    ("set", 4),
    ("zset", 4),
    ("list", 4),
    ("stream", 3),
];

/// Reads the keys of a writer from the server.
pub(crate) fn read_state(connection: &mut Connection, writer: usize) -> State {
    let mut state = State::new();
    for (kind, count) in KINDS {
        for number in 0..*count {
            let key = format!("{writer}:{kind}:{number}");
            if let Some(value) = read_value(connection, kind, &key) {
                state.insert(key, value);
            }
        }
    }
    state
}

/// Sends a call of words; the reply is no error.
fn call(connection: &mut Connection, words: &[&str]) -> Reply {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let reply = connection.call(&words).expect("a reply");
    assert!(!matches!(reply, Reply::Error(_)), "{reply}");
    reply
}

fn items(reply: Reply) -> Vec<Reply> {
    if let Reply::Array(items) = reply { items } else { panic!("no array: {reply}") }
}

fn bytes(reply: Reply) -> Vec<u8> {
    if let Reply::Bulk(Some(bytes)) = reply { bytes } else { panic!("no string: {reply}") }
}

fn text(reply: Reply) -> String {
    String::from_utf8(bytes(reply)).expect("text")
}

/// A stream id.
pub(crate) fn parse_id(text: &str) -> Id {
    let (ms, seq) = text.split_once('-').expect("an id");
    (ms.parse().expect("a number"), seq.parse().expect("a number"))
}

/// The elements of an array two by two.
fn pairs(reply: Reply) -> Vec<(Reply, Reply)> {
    let mut items = items(reply).into_iter();
    std::iter::from_fn(|| items.next().zip(items.next())).collect()
}

fn read_value(connection: &mut Connection, kind: &str, key: &str) -> Option<Value> {
    let value = match kind {
        "string" | "counter" => match call(connection, &["GET", key]) {
            Reply::Bulk(None) => return None,
            value => Value::String(bytes(value)),
        },
        "hash" => Value::Hash(read_hash(connection, key)),
        "set" => {
            let members = items(call(connection, &["SMEMBERS", key]));
            Value::Set(members.into_iter().map(text).collect())
        }
        "zset" => {
            let scored = pairs(call(connection, &["ZRANGE", key, "0", "-1", "WITHSCORES"]));
            let parse = |score: String| score.parse().expect("a number");
            Value::ZSet(scored.into_iter().map(|(m, s)| (text(m), parse(text(s)))).collect())
        }
        "list" => {
            let elements = items(call(connection, &["LRANGE", key, "0", "-1"]));
            Value::List(elements.into_iter().map(bytes).collect())
        }
        "stream" => Value::Stream(read_stream(connection, key)?),
        _ => panic!("no kind {kind}"),
    };
    let is_empty = match &value {
        Value::Hash(fields) => fields.is_empty(),
        Value::Set(members) => members.is_empty(),
        Value::ZSet(members) => members.is_empty(),
        Value::List(elements) => elements.is_empty(),
        Value::String(_) | Value::Stream(_) => false,
    };
    (!is_empty).then_some(value)
}

fn read_hash(connection: &mut Connection, key: &str) -> BTreeMap<String, Field> {
    let fields = pairs(call(connection, &["HGETALL", key]));
    let read = |(name, value): (Reply, Reply)| {
        let name = text(name);
        let times = items(call(connection, &["HPEXPIRETIME", key, "FIELDS", "1", &name]));
        let [Reply::Integer(at_ms)] = times[..] else { panic!("no time of {key} {name}") };
        (name, (bytes(value), (at_ms >= 0).then_some(at_ms)))
    };
    fields.into_iter().map(read).collect()
}

fn read_stream(connection: &mut Connection, key: &str) -> Option<Stream> {
    if call(connection, &["EXISTS", key]) == Reply::Integer(0) {
        return None;
    }
    let mut stream = Stream::default();
    for entry in items(call(connection, &["XRANGE", key, "-", "+"])) {
        let mut entry = items(entry).into_iter();
        let id = parse_id(&text(entry.next().expect("an id")));
        let fields = items(entry.next().expect("fields"));
        stream.entries.insert(id, bytes(fields.into_iter().nth(1).expect("a value")));
    }
    let about = pairs(call(connection, &["XINFO", "STREAM", key]));
    stream.last = parse_id(&field(about, "last-generated-id"));
    for about in items(call(connection, &["XINFO", "GROUPS", key])) {
        let about: Vec<(String, Reply)> =
            pairs(about).into_iter().map(|(name, value)| (text(name), value)).collect();
        let find = |name: &str| {
            let found = about.iter().find(|(other, _)| other == name);
            found.map(|(_, value)| value.to_string()).expect("the field is there")
        };
        let name = find("name");
        let mut group = Group { last: parse_id(&find("last-delivered-id")), ..Group::default() };
        for entry in items(call(connection, &["XPENDING", key, &name, "-", "+", "100000"])) {
            let mut entry = items(entry).into_iter();
            let id = parse_id(&text(entry.next().expect("an id")));
            group.pending.insert(id, text(entry.next().expect("a consumer")));
        }
        stream.groups.insert(name, group);
    }
    Some(stream)
}

fn field(pairs: Vec<(Reply, Reply)>, name: &str) -> String {
    let found = pairs.into_iter().find(|(other, _)| other.to_string() == name);
    text(found.expect("the field is there").1)
}
