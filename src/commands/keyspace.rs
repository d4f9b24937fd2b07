//! Commands on keys of any type and on whole databases.

use super::acl::Category;
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Run};
use crate::data::{Edit, EventClasses, KEYS_AT_ONCE, Meta, View};
use crate::protocol::Reply;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    many_keys("del", Run::Write(del), REMOVED)
        .since("1.0.0")
        .summary("Deletes keys.")
        .flags(Flags::FREES),
    many_keys("unlink", Run::Write(del), REMOVED)
        .since("4.0.0")
        .summary("Deletes keys.")
        .flags(Flags::FAST.or(Flags::FREES)),
    many_keys("exists", Run::Read(exists), LOOKED_AT)
        .since("1.0.0")
        .summary("Counts those of the keys that exist.")
        .flags(Flags::FAST),
    many_keys("touch", Run::Read(touch), LOOKED_AT)
        .since("3.2.1")
        .summary("Counts those of the keys that exist, and notes that they were used.")
        .flags(Flags::FAST),
    CommandSpec::new("type", Arity::Exactly(2), Run::Read(type_name))
        .since("1.0.0")
        .summary("Answers the type of the value at a key.")
        .flags(Flags::FAST)
        .acl(&[Category::Keyspace])
        .keys(&[KeySpec::one(1).ro()])
        .args(&[Arg::key("key")]),
    CommandSpec::new("rename", Arity::Exactly(3), Run::Write(rename))
        .since("1.0.0")
        .summary("Gives a key another name, whatever that held.")
        .acl(&[Category::Keyspace])
        .keys(&[KeySpec::one(1).rw().access().delete(), KeySpec::one(2).ow().update()])
        .args(&[Arg::key("key"), Arg::key("newkey").key_spec(1)]),
    CommandSpec::new("renamenx", Arity::Exactly(3), Run::Write(renamenx))
        .since("1.0.0")
        .summary("Gives a key another name, but only if that is free.")
        .flags(Flags::FAST)
        .acl(&[Category::Keyspace])
        .keys(&[KeySpec::one(1).rw().access().delete(), KeySpec::one(2).ow().insert()])
        .args(&[Arg::key("key"), Arg::key("newkey").key_spec(1)]),
    CommandSpec::new("copy", Arity::AtLeast(3), Run::Write(copy))
        .since("6.2.0")
        .complexity("O(N) in the size of the value")
        .summary("Copies the value of a key to another key.")
        .flags(Flags::DENYOOM.or(Flags::STORES))
        .acl(&[Category::Keyspace])
        .keys(&[KeySpec::one(1).ro().access(), KeySpec::one(2).ow().update()])
        .args(&[
            Arg::key("source"),
            Arg::key("destination").key_spec(1),
            Arg::integer("destination-db").with_token("DB").optional(),
            Arg::token("replace", "REPLACE").optional(),
        ]),
    CommandSpec::new("move", Arity::Exactly(3), Run::Write(move_key))
        .since("1.0.0")
        .summary("Moves a key to another database.")
        .flags(Flags::FAST)
        .acl(&[Category::Keyspace])
        .keys(&[KeySpec::one(1).rw().access().update()])
        .args(&[Arg::key("key"), Arg::integer("db")]),
    CommandSpec::new("dbsize", Arity::Exactly(1), Run::Read(dbsize))
        .group(Group::Server)
        .since("1.0.0")
        .summary("Answers the number of keys of the database.")
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .flags(Flags::FAST)
        .acl(&[Category::Keyspace]),
    flushing("flushdb", flushdb).summary("Deletes all keys of the database."),
    flushing("flushall", flushall)
        .complexity("O(1) for each database")
        .summary("Deletes all keys of all databases."),
    CommandSpec::new("swapdb", Arity::Exactly(3), Run::Write(swapdb))
        .group(Group::Server)
        .since("4.0.0")
        .summary("Exchanges two databases.")
        .flags(Flags::FAST)
        .acl(&[Category::Keyspace, Category::Dangerous])
        .args(&[Arg::integer("index1"), Arg::integer("index2")]),
];

const REMOVED: &[KeySpec] = &[KeySpec::range(1, -1, 1).rm().delete()];
const LOOKED_AT: &[KeySpec] = &[KeySpec::range(1, -1, 1).ro()];

const MANY_KEYS: &[Arg] = &[Arg::key("key").multiple()];
const FLUSH_TYPE: &[Arg] = &[Arg::one_of(
    "flush-type",
    &[Arg::token("async", "ASYNC").since("4.0.0"), Arg::token("sync", "SYNC").since("6.2.0")],
)
.optional()];

/// A command whose words are all keys.
const fn many_keys(name: &'static str, run: Run, keys: &'static [KeySpec]) -> CommandSpec {
    CommandSpec::new(name, Arity::AtLeast(2), run)
        .complexity("O(N) in the number of keys")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .acl(&[Category::Keyspace])
        .keys(keys)
        .args(MANY_KEYS)
}

/// A command that empties databases.
const fn flushing(
    name: &'static str,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, Arity::AtLeast(1), Run::Write(run))
        .flags(Flags::FREES)
        .group(Group::Server)
        .since("1.0.0")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .acl(&[Category::Keyspace, Category::Dangerous])
        .args(FLUSH_TYPE)
}

fn del(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let mut deleted = 0;
    for keys in args.rest().chunks(KEYS_AT_ONCE) {
        edit.prefetch(keys.iter().map(|key| &key[..]));
        for key in keys {
            if let Some(meta) = edit.find(key)? {
                edit.delete(key, &meta);
                edit.notify(EventClasses::GENERIC, "del", key);
                deleted += 1;
            }
        }
    }
    Ok(Reply::Integer(deleted))
}

fn exists(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let mut found = 0;
    for keys in args.rest().chunks(KEYS_AT_ONCE) {
        view.prefetch(keys.iter().map(|key| &key[..]));
        for key in keys {
            found += i64::from(view.inspect(key)?.is_some());
        }
    }
    Ok(Reply::Integer(found))
}

fn touch(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let mut found = 0;
    for keys in args.rest().chunks(KEYS_AT_ONCE) {
        view.prefetch(keys.iter().map(|key| &key[..]));
        for key in keys {
            if view.inspect(key)?.is_some() {
                // Even where the connection said that its reads shall not count.
                view.touch(key);
                found += 1;
            }
        }
    }
    Ok(Reply::Integer(found))
}

fn type_name(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let found = view.inspect(args.next_bytes()?)?;
    Ok(Reply::Simple(found.map_or("none", |meta| meta.kind.name()).into()))
}

fn rename(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (from, to) = (args.next_bytes()?, args.next_bytes()?);
    let meta = edit.find(from)?.ok_or(Error::NoSuchKey)?;
    if from != to {
        give_name(edit, from, &meta, to)?;
    }
    Ok(Reply::OK)
}

fn renamenx(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (from, to) = (args.next_bytes()?, args.next_bytes()?);
    let meta = edit.find(from)?.ok_or(Error::NoSuchKey)?;
    if from == to || edit.find(to)?.is_some() {
        return Ok(Reply::Integer(0));
    }
    give_name(edit, from, &meta, to)?;
    Ok(Reply::Integer(1))
}

fn give_name(edit: &mut Edit<'_>, from: &[u8], meta: &Meta, to: &[u8]) -> Result<(), Error> {
    edit.rename(from, meta, to)?;
    edit.notify(EventClasses::GENERIC, "rename_from", from);
    edit.notify(EventClasses::GENERIC, "rename_to", to);
    Ok(())
}

fn copy(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (from, to) = (args.next_bytes()?, args.next_bytes()?);
    let home = edit.context().db;
    let (mut db, mut replace) = (home, false);
    while !args.is_empty() {
        if args.eat("REPLACE") {
            replace = true;
        } else if args.eat("DB") {
            db = database(edit, args)?;
        } else {
            return Err(Error::Syntax);
        }
    }
    if db == home && from == to {
        return Err(Error::SameObject);
    }
    let Some(meta) = edit.find_for_answer(from)? else { return Ok(Reply::Integer(0)) };
    if !replace && exists_in(edit, db, to)? {
        return Ok(Reply::Integer(0));
    }
    edit.copy(&meta, db, to)?;
    edit.notify_in(db, EventClasses::GENERIC, "copy_to", to);
    Ok(Reply::Integer(1))
}

fn move_key(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let db = database(edit, args)?;
    if db == edit.context().db {
        return Err(Error::SameObject);
    }
    let Some(meta) = edit.find(key)? else { return Ok(Reply::Integer(0)) };
    if exists_in(edit, db, key)? {
        return Ok(Reply::Integer(0));
    }
    edit.copy(&meta, db, key)?;
    edit.delete(key, &meta);
    edit.uncount_changes(1);
    edit.notify(EventClasses::GENERIC, "move_from", key);
    edit.notify_in(db, EventClasses::GENERIC, "move_to", key);
    Ok(Reply::Integer(1))
}

fn dbsize(view: &View<'_>, _: &mut Args<'_>) -> CommandResult {
    Ok(Reply::Integer(i64::try_from(view.key_count()).unwrap_or(i64::MAX)))
}

fn flushdb(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    check_flush_options(args)?;
    edit.flush(edit.context().db);
    Ok(Reply::OK)
}

fn flushall(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    check_flush_options(args)?;
    edit.flush_all();
    Ok(Reply::OK)
}

/// Both ways are the same here: a flush takes constant time.
fn check_flush_options(args: &mut Args<'_>) -> Result<(), Error> {
    if !args.eat("SYNC") {
        args.eat("ASYNC");
    }
    args.finish()
}

fn swapdb(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let mut next = |which| {
        let number = args.next_int().ok().and_then(|number| i32::try_from(number).ok());
        number.ok_or(Error::InvalidDbIndex(which))
    };
    let (first, second) = (next("first")?, next("second")?);
    let check = |number| database_number(edit, number);
    let (first, second) = (check(first)?, check(second)?);
    edit.swap(first, second);
    Ok(Reply::OK)
}

fn exists_in(edit: &mut Edit<'_>, db: u16, key: &[u8]) -> Result<bool, Error> {
    let home = edit.context().db;
    edit.select(db);
    let found = edit.find(key)?.is_some();
    edit.select(home);
    Ok(found)
}

fn database(edit: &Edit<'_>, args: &mut Args<'_>) -> Result<u16, Error> {
    database_number(edit, args.next_int_32()?)
}

fn database_number(edit: &Edit<'_>, number: i32) -> Result<u16, Error> {
    let known = |db: &u16| *db < edit.context().databases;
    u16::try_from(number).ok().filter(known).ok_or(Error::DbOutOfRange)
}
