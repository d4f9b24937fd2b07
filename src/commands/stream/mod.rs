//! Commands on streams.

use super::acl::Category;
use super::typed::of_type;
use super::{
    Arg, Args, Arity, Attempt, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Run, Wait,
    help,
};
use crate::data::{Edit, KeyType, Meta, StreamEntry, StreamId, View};
use crate::protocol::Reply;

mod add;
mod claim;
mod group;
mod id;
mod info;
mod pending;
mod range;
mod read;
mod read_group;

const READ: &[KeySpec] = &[KeySpec::one(1).ro().access()];
const UPDATED: &[KeySpec] = &[KeySpec::one(1).rw().update()];
const SHORTENED: &[KeySpec] = &[KeySpec::one(1).rw().delete()];
const RANDOM: &[&str] = &["nondeterministic_output"];

const COUNT: Arg = Arg::integer("count").with_token("COUNT").optional();
const JUSTID: Arg = Arg::token("justid", "JUSTID").optional();
const TRIM: &[Arg] = &[
    Arg::one_of(
        "strategy",
        &[Arg::token("maxlen", "MAXLEN"), Arg::token("minid", "MINID").since("6.2.0")],
    ),
    Arg::one_of("operator", &[Arg::token("equal", "="), Arg::token("approximately", "~")])
        .optional(),
    Arg::string("threshold"),
    Arg::integer("count").with_token("LIMIT").optional().since("6.2.0"),
];
const NEW_OR_ID: Arg = Arg::one_of("id-selector", &[Arg::string("id"), Arg::token("new-id", "$")]);
/// What may stand before the streams of `XREAD` and `XREADGROUP`, and how many words belong to it.
const READ_OPTIONS: &[(&str, usize)] = &[("GROUP", 2), ("COUNT", 1), ("BLOCK", 1), ("NOACK", 0)];
const STREAMS: Arg =
    Arg::block("streams", &[Arg::key("key").multiple(), Arg::string("id").multiple()])
        .with_token("STREAMS");
const BLOCK: Arg = Arg::integer("milliseconds").with_token("BLOCK").optional();

const fn reading(
    name: &'static str,
    arity: Arity,
    run: fn(&View<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Read(run)).group(Group::Stream).since("5.0.0").keys(READ)
}

const fn writing(
    name: &'static str,
    arity: Arity,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Write(run)).group(Group::Stream).since("5.0.0").keys(UPDATED)
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    writing("xadd", Arity::AtLeast(5), add::xadd)
        .complexity("O(1); with an exact trim O(N) in the number of entries that it takes")
        .summary("Appends an entry to a stream; makes the stream if needed.")
        .differs("An entry is at most 512 MiB long.")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .tips(RANDOM)
        .args(&[
            Arg::key("key"),
            Arg::token("nomkstream", "NOMKSTREAM").optional().since("6.2.0"),
            Arg::block("trim", TRIM).optional(),
            Arg::one_of("id-selector", &[Arg::token("auto-id", "*"), Arg::string("id")]),
            Arg::block("data", &[Arg::string("field"), Arg::string("value")]).multiple(),
        ]),
    reading("xlen", Arity::Exactly(2), range::xlen)
        .summary("Counts the entries.")
        .flags(Flags::FAST)
        .keys(&[KeySpec::one(1).ro()])
        .args(&[Arg::key("key")]),
    reading("xrange", Arity::AtLeast(4), range::xrange)
        .complexity("O(N) in the number of entries answered")
        .summary("Answers the entries in a range of ids.")
        .args(&[Arg::key("key"), Arg::string("start"), Arg::string("end"), COUNT]),
    reading("xrevrange", Arity::AtLeast(4), range::xrevrange)
        .complexity("O(N) in the number of entries answered")
        .summary("Answers the entries in a range of ids, from the end.")
        .args(&[Arg::key("key"), Arg::string("end"), Arg::string("start"), COUNT]),
    writing("xdel", Arity::AtLeast(3), add::xdel)
        .complexity("O(N) in the number of ids")
        .summary("Deletes entries.")
        .flags(Flags::FAST)
        .keys(SHORTENED)
        .args(&[Arg::key("key"), Arg::string("id").multiple()]),
    writing("xtrim", Arity::AtLeast(4), add::xtrim)
        .complexity("O(N) in the entries that go or in those that stay, whichever are fewer")
        .summary("Deletes the oldest entries, down to a length or an id.")
        .differs(
            "MAXLEN ~ and MINID ~ take whole runs of stream-node-max-entries entries, whatever \
             their size.",
        )
        .tips(RANDOM)
        .keys(SHORTENED)
        .args(&[Arg::key("key"), Arg::block("trim", TRIM)]),
    writing("xsetid", Arity::AtLeast(3), add::xsetid)
        .summary("Sets the last id of a stream and its counters, for replication.")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .args(&[
            Arg::key("key"),
            Arg::string("last-id"),
            Arg::integer("entries-added").with_token("ENTRIESADDED").optional().since("7.0.0"),
            Arg::string("max-deleted-id").with_token("MAXDELETEDID").optional().since("7.0.0"),
        ]),
    CommandSpec::new(
        "xread",
        Arity::AtLeast(4),
        Run::ReadOrBlock(read::xread, read::xread_or_wait),
    )
    .group(Group::Stream)
    .since("5.0.0")
    .complexity("O(N) in the number of entries answered")
    .summary("Answers the entries of several streams behind given ids.")
    .flags(Flags::BLOCKING)
    .keys(&[KeySpec::keyword("STREAMS", 1, -1, 1, 2).behind(READ_OPTIONS).ro().access()])
    .args(&[COUNT, BLOCK, STREAMS]),
    CommandSpec::new("xreadgroup", Arity::AtLeast(7), Run::Blocking(read_group::xreadgroup))
        .group(Group::Stream)
        .since("5.0.0")
        .complexity("O(N) in the number of entries answered")
        .summary("Delivers entries to a consumer of a group, or answers what is pending of it.")
        .flags(Flags::BLOCKING)
        .keys(&[KeySpec::keyword("STREAMS", 4, -1, 1, 2).behind(READ_OPTIONS).ro().access()])
        .args(&[
            Arg::block("group-block", &[Arg::string("group"), Arg::string("consumer")])
                .with_token("GROUP"),
            COUNT,
            BLOCK,
            Arg::token("noack", "NOACK").optional(),
            STREAMS,
        ]),
    writing("xack", Arity::AtLeast(4), pending::xack)
        .complexity("O(N) in the number of ids")
        .summary("Acknowledges entries: they are no longer pending.")
        .flags(Flags::FAST)
        .args(&[Arg::key("key"), Arg::string("group"), Arg::string("id").multiple()]),
    reading("xpending", Arity::AtLeast(3), pending::xpending)
        .complexity("O(N) in the entries looked at; without a range in the number of consumers")
        .summary("Answers what is pending in a group.")
        .tips(RANDOM)
        .args(&[
            Arg::key("key"),
            Arg::string("group"),
            Arg::block(
                "filters",
                &[
                    Arg::integer("min-idle-time").with_token("IDLE").optional().since("6.2.0"),
                    Arg::string("start"),
                    Arg::string("end"),
                    Arg::integer("count"),
                    Arg::string("consumer").optional(),
                ],
            )
            .optional(),
        ]),
    writing("xclaim", Arity::AtLeast(6), claim::xclaim)
        .complexity("O(N) in the number of ids")
        .summary("Gives pending entries to another consumer.")
        .flags(Flags::FAST)
        .tips(RANDOM)
        .args(&[
            Arg::key("key"),
            Arg::string("group"),
            Arg::string("consumer"),
            Arg::string("min-idle-time"),
            Arg::string("id").multiple(),
            Arg::integer("ms").with_token("IDLE").optional(),
            Arg::unix_time("unix-time-milliseconds").with_token("TIME").optional(),
            Arg::integer("count").with_token("RETRYCOUNT").optional(),
            Arg::token("force", "FORCE").optional(),
            JUSTID,
            Arg::string("lastid").with_token("LASTID").optional(),
        ]),
    writing("xautoclaim", Arity::AtLeast(6), claim::xautoclaim)
        .since("6.2.0")
        .complexity("O(N) in COUNT")
        .summary("Gives entries that are pending for long to another consumer.")
        .flags(Flags::FAST)
        .tips(RANDOM)
        .keys(SHORTENED)
        .args(&[
            Arg::key("key"),
            Arg::string("group"),
            Arg::string("consumer"),
            Arg::string("min-idle-time"),
            Arg::string("start"),
            COUNT,
            JUSTID,
        ]),
    CommandSpec::container("xgroup", group::SUBCOMMANDS)
        .group(Group::Stream)
        .since("5.0.0")
        .summary("Commands about consumer groups."),
    CommandSpec::container("xinfo", info::SUBCOMMANDS)
        .group(Group::Stream)
        .since("5.0.0")
        .summary("Commands that tell about streams."),
];

/// The subcommand `HELP` of both containers.
const HELP: CommandSpec = help::subcommand(Group::Stream, "5.0.0").acl(&[Category::Stream]);

/// What was found, if it is a stream or nothing.
fn stream(found: Option<Meta>) -> Result<Option<Meta>, Error> {
    of_type(found, KeyType::Stream)
}

/// An id, as all replies have it.
fn id_reply(id: StreamId) -> Reply {
    Reply::from(id.to_string())
}

/// An entry: its id, and fields and values in turn.
fn entry_reply(entry: StreamEntry) -> Reply {
    Reply::Array(vec![id_reply(entry.id), Reply::array(entry.fields)])
}

/// A number that nobody may know.
fn number_or_null(number: Option<u64>) -> Reply {
    number.map_or(Reply::Null, Reply::from)
}

/// No such key or no such group.
fn no_group(key: &[u8], group: &[u8], where_: &str) -> Error {
    let text = "NOGROUP No such key '{}' or consumer group '{}'{}";
    Error::quoting(text, &[key, group, where_.as_bytes()])
}

/// No such group of a key that is there.
fn no_group_of_key(key: &[u8], group: &[u8]) -> Error {
    Error::quoting("NOGROUP No such consumer group '{}' for key name '{}'", &[group, key])
}

fn text(text: &str) -> Error {
    Error::Text(text.to_owned())
}
