//! `OBJECT`: how a key is kept.

use super::acl::Category;
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Group, KeySpec, Run, help};
use crate::config::Settings;
use crate::data::{Body, Layout, Meta, Packing, StringForm, View, parse_int};
use crate::protocol::Reply;

/// Longest string in bytes that Redis would keep in one piece with its header.
const EMBEDDED_BYTES_MAX: usize = 44;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[CommandSpec::container("object", SUBCOMMANDS)
    .since("2.2.3")
    .summary("Commands about how a key is kept.")];

const ONE: &[KeySpec] = &[KeySpec::one(2).ro()];
const KEY: &[Arg] = &[Arg::key("key")];

/// A subcommand that asks about one key.
const fn about_key(
    name: &'static str,
    run: fn(&View<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, Arity::Exactly(3), Run::Read(run))
        .since("2.2.3")
        .tips(&["nondeterministic_output"])
        .acl(&[Category::Keyspace])
        .keys(ONE)
        .args(KEY)
}

const SUBCOMMANDS: &[CommandSpec] = &[
    about_key("encoding", encoding).summary("Answers how the value at a key is encoded."),
    about_key("freq", freq)
        .since("4.0.0")
        .summary("Answers how often a key was used lately, as a logarithmic counter.")
        .differs("Approximate: keys may share a counter, which a restart sets back."),
    help::subcommand(Group::Generic, "6.2.0").acl(&[Category::Keyspace]),
    about_key("idletime", idletime)
        .summary("Answers for how many seconds a key was not used.")
        .differs("Approximate: keys may share a counter. After a restart, idle since the start."),
    about_key("refcount", refcount)
        .summary("Answers how many references there are to the value at a key.")
        .differs("Always 1, for small integers too."),
];

fn encoding(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let Some(meta) = view.inspect(args.next_bytes()?)? else { return Ok(Reply::Null) };
    Ok(Reply::bulk(encoding_name(&meta)))
}

/// What Redis would call the encoding of a value.
pub(super) fn encoding_name(meta: &Meta) -> &'static str {
    if let Body::Collection(collection) = &meta.body {
        return match collection.layout {
            Layout::Packed(_) => "listpack",
            Layout::Expiring(_) => "listpackex",
            Layout::Integers(_) => "intset",
            Layout::Exploded { .. } => "hashtable",
            Layout::Ordered { .. } => "skiplist",
        };
    }
    if let Body::List(list) = &meta.body {
        return if list.is_inline() { "listpack" } else { "quicklist" };
    }
    if meta.stream().is_some() {
        return "stream";
    }
    match (&meta.body, meta.form) {
        (_, StringForm::Raw) => "raw",
        (Body::Inline(value), StringForm::Natural) if parse_int(value).is_some() => "int",
        (Body::Inline(value), _) if value.len() <= EMBEDDED_BYTES_MAX => "embstr",
        _ => "raw",
    }
}

/// Up to where collections are one record, by the settings.
pub(crate) fn packing(settings: &Settings) -> Packing {
    Packing {
        hash_entries: settings.hash_max_listpack_entries,
        hash_value: settings.hash_max_listpack_value,
        set_integers: settings.set_max_intset_entries,
        set_entries: settings.set_max_listpack_entries,
        set_value: settings.set_max_listpack_value,
        list_size: settings.list_max_listpack_size,
        stream_entries: settings.stream_node_max_entries,
        stream_bytes: settings.stream_node_max_bytes,
        zset_entries: settings.zset_max_listpack_entries,
        zset_value: settings.zset_max_listpack_value,
    }
}

fn freq(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    if view.inspect(key)?.is_none() {
        return Ok(Reply::Null);
    }
    let context = view.context();
    if !context.access.prefers_frequency() {
        return Err(Error::FrequencyNotTracked);
    }
    let counter = context.access.frequency(view.keyspace(), key, context.now_ms);
    Ok(Reply::Integer(i64::from(counter)))
}

fn idletime(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    if view.inspect(key)?.is_none() {
        return Ok(Reply::Null);
    }
    let context = view.context();
    if context.access.prefers_frequency() {
        return Err(Error::IdleTimeNotTracked);
    }
    let seconds = context.access.idle_seconds(view.keyspace(), key, context.now_ms);
    Ok(Reply::Integer(i64::try_from(seconds).unwrap_or(i64::MAX)))
}

fn refcount(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let found = view.inspect(args.next_bytes()?)?;
    Ok(found.map_or(Reply::Null, |_| Reply::Integer(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_pack_as_the_settings_say() {
        assert_eq!(packing(&Settings::default()), Packing::DEFAULT);
    }
}
