//! `XINFO`.

use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Group, HELP, KeySpec, RANDOM, Reply, Run,
    StreamId, View, entry_reply, id_reply, no_group_of_key, number_or_null, stream,
};
use crate::data::{self, Consumer, Groups, Meta, Stream, parse_int};
use crate::engine::{self, Direction};
use crate::env::Purpose;

const SEEN: &[KeySpec] = &[KeySpec::one(2).ro().access()];
/// Entries of each kind that `FULL` answers, if the call does not say how many.
const FULL_COUNT: usize = 10;

const fn sub(
    name: &'static str,
    arity: Arity,
    run: fn(&View<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Read(run)).group(Group::Stream).since("5.0.0").keys(SEEN)
}

pub(super) const SUBCOMMANDS: &[CommandSpec] = &[
    sub("consumers", Arity::Exactly(4), consumers)
        .complexity("O(N) in the number of consumers")
        .summary("Answers the consumers of a group.")
        .tips(RANDOM)
        .args(&[Arg::key("key"), Arg::string("group")]),
    sub("groups", Arity::Exactly(3), groups)
        .complexity("O(N) in the number of groups")
        .summary("Answers the groups of a stream.")
        .args(&[Arg::key("key")]),
    HELP,
    sub("stream", Arity::AtLeast(3), about)
        .complexity("O(1); with FULL O(N) in what is answered")
        .summary("Answers what is known of a stream.")
        .differs(
            "There is no radix tree: radix-tree-keys and radix-tree-nodes are told from the number \
             of entries.",
        )
        .args(&[
            Arg::key("key"),
            Arg::block(
                "full-block",
                &[Arg::token("full", "FULL"), Arg::integer("count").with_token("COUNT").optional()],
            )
            .optional(),
        ]),
];

fn existing(found: Option<Meta>) -> Result<Meta, Error> {
    stream(found)?.ok_or(Error::NoSuchKey)
}

/// Milliseconds since a moment, for a reply.
fn since(now_ms: u64, at_ms: u64) -> Reply {
    Reply::from(now_ms.saturating_sub(at_ms))
}

fn consumers(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, name) = (args.next_bytes()?, args.next_bytes()?);
    let meta = existing(view.find(key)?)?;
    let Some(stream) = meta.stream() else { return Err(Error::WrongType) };
    let groups = view.groups(stream);
    let group = groups.get(name)?.ok_or_else(|| no_group_of_key(key, name))?;
    let now_ms = view.context().now_ms;
    let mut replies = Vec::new();
    for found in groups.consumers(&group) {
        let (name, Consumer { seen_ms, active_ms, pending }) = found?;
        replies.push(Reply::map([
            ("name", Reply::Bulk(name)),
            ("pending", Reply::from(pending)),
            ("idle", since(now_ms, seen_ms)),
            ("inactive", active_ms.map_or(Reply::Integer(-1), |at_ms| since(now_ms, at_ms))),
        ]));
    }
    Ok(Reply::Array(replies))
}

fn lag(stream: &Stream, group: &data::Group) -> Reply {
    stream.lag(group).map_or(Reply::Null, Reply::Integer)
}

fn groups(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let meta = existing(view.find(args.next_bytes()?)?)?;
    let Some(stream) = meta.stream() else { return Err(Error::WrongType) };
    let mut replies = Vec::new();
    for found in view.groups(stream).walk() {
        let (name, group) = found?;
        replies.push(Reply::map([
            ("name", Reply::Bulk(name)),
            ("consumers", Reply::from(group.consumers)),
            ("pending", Reply::from(group.pending)),
            ("last-delivered-id", id_reply(group.last)),
            ("entries-read", number_or_null(group.entries_read)),
            ("lag", lag(stream, &group)),
        ]));
    }
    Ok(Reply::Array(replies))
}

/// `FULL` and its count, from the words behind the key.
fn full(args: &Args<'_>) -> Result<Option<usize>, Error> {
    let count = match args.rest() {
        [] => return Ok(None),
        [full] if full.eq_ignore_ascii_case(b"FULL") => return Ok(Some(FULL_COUNT)),
        [full, token, count]
            if full.eq_ignore_ascii_case(b"FULL") && token.eq_ignore_ascii_case(b"COUNT") =>
        {
            parse_int(count).ok_or(Error::NotAnInteger)?
        }
        _ => return Err(Error::subcommand_syntax(args.all())),
    };
    Ok(Some(match usize::try_from(count) {
        Ok(0) => usize::MAX,
        Ok(count) => count,
        Err(_) => FULL_COUNT,
    }))
}

fn about(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let meta = existing(view.find(args.next_bytes()?)?)?;
    let Some(stream) = meta.stream() else { return Err(Error::WrongType) };
    let full = full(args)?;
    let node_entries = match view.context().packing.stream_entries {
        0 => u64::MAX,
        entries => entries,
    };
    let nodes = stream.length.div_ceil(node_entries);
    let mut answer = vec![
        ("length", Reply::from(stream.length)),
        ("radix-tree-keys", Reply::from(nodes)),
        ("radix-tree-nodes", Reply::from(nodes + 1)),
        ("last-generated-id", id_reply(stream.last)),
        ("max-deleted-entry-id", id_reply(stream.max_deleted)),
        ("entries-added", Reply::from(stream.added)),
        ("recorded-first-entry-id", id_reply(stream.first)),
    ];
    let entries = view.entries(stream);
    let all = |direction| entries.range(StreamId::MIN, StreamId::MAX, direction);
    match full {
        None => {
            let edge = |direction| -> engine::Result<Reply> {
                Ok(all(direction).next().transpose()?.map_or(Reply::Null, entry_reply))
            };
            answer.push(("groups", Reply::from(stream.group_count())));
            answer.push(("first-entry", edge(Direction::Forward)?));
            answer.push(("last-entry", edge(Direction::Reverse)?));
        }
        Some(count) => {
            let (mut entries, room) = (Vec::new(), view.context().memory.room(Purpose::Reply));
            for entry in all(Direction::Forward).take(count) {
                let reply = entry_reply(entry?);
                room.take(reply.weight() + size_of::<Reply>())?;
                entries.push(reply);
            }
            answer.push(("entries", Reply::Array(entries)));
            let reader = view.groups(stream);
            let mut groups = Vec::new();
            for found in reader.walk() {
                let (name, group) = found?;
                let mut reply = vec![("name", Reply::Bulk(name))];
                full_group(&reader, (stream, &group), count, &mut reply)?;
                groups.push(Reply::map(reply));
            }
            answer.push(("groups", Reply::Array(groups)));
        }
    }
    Ok(Reply::map(answer))
}

/// A group with so many of its pending entries, and so many of each consumer.
fn full_group(
    groups: &Groups<'_>,
    (stream, group): (&Stream, &data::Group),
    count: usize,
    answer: &mut Vec<(&'static str, Reply)>,
) -> Result<(), Error> {
    let all = (StreamId::MIN, StreamId::MAX);
    let mut pending = Vec::new();
    for found in groups.all_pending(group, all, Direction::Forward).take(count) {
        let (id, entry) = found?;
        pending.push(Reply::Array(vec![
            id_reply(id),
            Reply::Bulk(entry.consumer),
            Reply::from(entry.delivered_ms),
            Reply::from(entry.deliveries),
        ]));
    }
    let mut consumers = Vec::new();
    for found in groups.consumers(group) {
        let (name, consumer) = found?;
        let mut pending = Vec::new();
        for id in groups.owned(group, &name, all).take(count) {
            let id = id?;
            let Some(entry) = groups.pending(group, id)? else { continue };
            pending.push(Reply::Array(vec![
                id_reply(id),
                Reply::from(entry.delivered_ms),
                Reply::from(entry.deliveries),
            ]));
        }
        consumers.push(Reply::map([
            ("name", Reply::Bulk(name)),
            ("seen-time", Reply::from(consumer.seen_ms)),
            ("active-time", consumer.active_ms.map_or(Reply::Integer(-1), Reply::from)),
            ("pel-count", Reply::from(consumer.pending)),
            ("pending", Reply::Array(pending)),
        ]));
    }
    answer.extend([
        ("last-delivered-id", id_reply(group.last)),
        ("entries-read", number_or_null(group.entries_read)),
        ("lag", lag(stream, group)),
        ("pel-count", Reply::from(group.pending)),
        ("pending", Reply::Array(pending)),
        ("consumers", Reply::Array(consumers)),
    ]);
    Ok(())
}
