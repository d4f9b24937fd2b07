//! `XGROUP`.

use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Edit, Error, Flags, Group, HELP, KeySpec,
    NEW_OR_ID, Reply, Run, StreamId, id, no_group_of_key, stream, text,
};
use crate::data::{EventClasses, Meta, parse_int};

const KEY_GROUP: &[Arg] = &[Arg::key("key"), Arg::string("group")];
const KEY_GROUP_CONSUMER: &[Arg] =
    &[Arg::key("key"), Arg::string("group"), Arg::string("consumer")];
const ENTRIES_READ: Arg =
    Arg::integer("entriesread").display("entries-read").with_token("ENTRIESREAD").optional();

const fn sub(
    name: &'static str,
    arity: Arity,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult,
    keys: &'static [KeySpec],
) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Write(run)).group(Group::Stream).since("5.0.0").keys(keys)
}

const MADE: &[KeySpec] = &[KeySpec::one(2).rw().insert()];
const TAKEN: &[KeySpec] = &[KeySpec::one(2).rw().delete()];

pub(super) const SUBCOMMANDS: &[CommandSpec] = &[
    sub("create", Arity::AtLeast(5), create, MADE)
        .summary("Makes a consumer group.")
        .flags(Flags::DENYOOM)
        .args(&[
            Arg::key("key"),
            Arg::string("group"),
            NEW_OR_ID,
            Arg::token("mkstream", "MKSTREAM").optional(),
            ENTRIES_READ,
        ]),
    sub("createconsumer", Arity::Exactly(5), create_consumer, MADE)
        .since("6.2.0")
        .summary("Makes a consumer in a group.")
        .flags(Flags::DENYOOM)
        .args(KEY_GROUP_CONSUMER),
    sub("delconsumer", Arity::Exactly(5), delete_consumer, TAKEN)
        .complexity("O(N) in the number of its pending entries")
        .summary("Deletes a consumer of a group, with what is pending of it.")
        .args(KEY_GROUP_CONSUMER),
    sub("destroy", Arity::Exactly(4), destroy, TAKEN)
        .summary("Deletes a consumer group.")
        .args(KEY_GROUP),
    HELP,
    sub("setid", Arity::AtLeast(5), set_id, &[KeySpec::one(2).rw().update()])
        .summary("Sets the last delivered id of a group.")
        .args(&[Arg::key("key"), Arg::string("group"), NEW_OR_ID, ENTRIES_READ]),
];

/// What stands behind the id.
#[derive(Debug, Default)]
struct Options {
    make_stream: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn parse(args: &Args<'_>, may_make: bool) -> Result<Self, Error> {
        let (mut options, all) = (Self::default(), args.all());
        let mut words = all.iter().skip(5);
        while let Some(word) = words.next() {
            if may_make && word.eq_ignore_ascii_case(b"MKSTREAM") {
                options.make_stream = true;
                continue;
            }
            let number = words.next().filter(|_| word.eq_ignore_ascii_case(b"ENTRIESREAD"));
            let number = number.ok_or_else(|| Error::subcommand_syntax(all))?;
            let number = parse_int(number).ok_or(Error::NotAnInteger)?;
            if number < -1 {
                return Err(text("ERR value for ENTRIESREAD must be positive or -1"));
            }
            options.entries_read = u64::try_from(number).ok();
        }
        Ok(options)
    }
}

/// Words of a call that names each option once.
const WORDS_OF_CREATE_MAX: usize = 8;
const WORDS_OF_SETID_MAX: usize = 7;

/// Fails where a call has more words than that.
fn allow_words(args: &Args<'_>, most: usize) -> Result<(), Error> {
    if args.all().len() > most { Err(Error::subcommand_syntax(args.all())) } else { Ok(()) }
}

/// The stream at `key`, which has to exist.
fn existing(found: Option<Meta>) -> Result<Meta, Error> {
    stream(found)?.ok_or_else(|| {
        text(
            "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may \
             want to use the MKSTREAM option to create an empty stream automatically.",
        )
    })
}

fn create(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, name, word) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
    let options = Options::parse(args, true)?;
    let found = edit.find(key)?;
    let found = if options.make_stream { stream(found)? } else { Some(existing(found)?) };
    allow_words(args, WORDS_OF_CREATE_MAX)?;
    let last = match &word[..] {
        b"$" => {
            let stream = found.as_ref().and_then(Meta::stream);
            stream.map_or(StreamId::MIN, |stream| stream.last)
        }
        word => id::strict(word, 0)?,
    };
    let mut stream = edit.stream(key, found);
    if !stream.create_group(name, last, options.entries_read)? {
        return Err(text("BUSYGROUP Consumer Group name already exists"));
    }
    stream.finish()?;
    edit.notify(EventClasses::STREAM, "xgroup-create", key);
    Ok(Reply::OK)
}

fn set_id(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, name, word) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
    let options = Options::parse(args, false)?;
    let meta = existing(edit.find(key)?)?;
    let Some(stream) = meta.stream() else { return Err(Error::WrongType) };
    let mut group = edit.group(stream, name)?.ok_or_else(|| no_group_of_key(key, name))?;
    allow_words(args, WORDS_OF_SETID_MAX)?;
    let last = match &word[..] {
        b"$" => stream.last,
        word => id::any(word, 0)?,
    };
    group.set_last(last, options.entries_read);
    group.finish();
    edit.notify(EventClasses::STREAM, "xgroup-setid", key);
    Ok(Reply::OK)
}

fn destroy(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, name) = (args.next_bytes()?, args.next_bytes()?);
    let meta = existing(edit.find(key)?)?;
    let mut stream = edit.stream(key, Some(meta));
    let destroyed = stream.destroy_group(name)?;
    stream.finish()?;
    if destroyed {
        edit.notify(EventClasses::STREAM, "xgroup-destroy", key);
    }
    Ok(Reply::from(destroyed))
}

fn create_consumer(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, name, consumer) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
    let meta = existing(edit.find(key)?)?;
    let Some(stream) = meta.stream() else { return Err(Error::WrongType) };
    let mut group = edit.group(stream, name)?.ok_or_else(|| no_group_of_key(key, name))?;
    let created = group.create_consumer(consumer)?;
    group.finish();
    notify_consumer(edit, key, created);
    Ok(Reply::from(created))
}

fn delete_consumer(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, name, consumer) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
    let meta = existing(edit.find(key)?)?;
    let Some(stream) = meta.stream() else { return Err(Error::WrongType) };
    let mut group = edit.group(stream, name)?.ok_or_else(|| no_group_of_key(key, name))?;
    let is_there = group.consumer(consumer)?.is_some();
    let pending = group.delete_consumer(consumer)?;
    group.finish();
    if is_there {
        edit.notify(EventClasses::STREAM, "xgroup-delconsumer", key);
    }
    Ok(Reply::from(pending))
}

/// Notes that a call has made a consumer, if it has.
pub(super) fn notify_consumer(edit: &mut Edit<'_>, key: &[u8], created: bool) {
    if created {
        edit.notify(EventClasses::STREAM, "xgroup-createconsumer", key);
    }
}
