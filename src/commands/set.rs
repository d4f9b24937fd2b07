//! Commands on sets. Those that combine sets have a file of their own.

use bytes::Bytes;

use super::random::{self, Count};
use super::scan::{ScanOptions, Scanned, parse_cursor, scan_answer};
use super::typed::{field_values, of_type};
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Run};
use crate::data::{Edit, Element, Elements, EventClasses, KeyType, Meta, View, parse_int};
use crate::env::Purpose;
use crate::protocol::{ListKind, Reply};

const KEY_MEMBERS: &[Arg] = &[Arg::key("key"), Arg::string("member").multiple()];
const SEEN: &[KeySpec] = &[KeySpec::one(1).ro()];
const READ: &[KeySpec] = &[KeySpec::one(1).ro().access()];
const TAKEN: &[KeySpec] = &[KeySpec::one(1).rw().access().delete()];

const RANDOM: &[&str] = &["nondeterministic_output"];

const fn reading(
    name: &'static str,
    arity: Arity,
    run: fn(&View<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Read(run)).group(Group::Set).keys(READ)
}

const fn writing(
    name: &'static str,
    arity: Arity,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Write(run)).group(Group::Set).flags(Flags::FAST)
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    writing("sadd", Arity::AtLeast(3), sadd)
        .complexity("O(N) in the number of members")
        .summary("Adds members to a set; makes the set if needed.")
        .differs("A member of a large set is at most 1 MiB long.")
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::one(1).rw().insert()])
        .args(KEY_MEMBERS),
    writing("srem", Arity::AtLeast(3), srem)
        .complexity("O(N) in the number of members")
        .summary("Removes members, and the set with the last of them.")
        .keys(&[KeySpec::one(1).rw().delete()])
        .args(KEY_MEMBERS),
    reading("scard", Arity::Exactly(2), scard)
        .summary("Counts the members.")
        .flags(Flags::FAST)
        .keys(SEEN)
        .args(&[Arg::key("key")]),
    reading("sismember", Arity::Exactly(3), sismember)
        .summary("Whether something is a member.")
        .flags(Flags::FAST)
        .keys(SEEN)
        .args(&[Arg::key("key"), Arg::string("member")]),
    reading("smismember", Arity::AtLeast(3), smismember)
        .since("6.2.0")
        .complexity("O(N) in the number of members asked for")
        .summary("Whether each of several is a member.")
        .flags(Flags::FAST)
        .args(KEY_MEMBERS),
    reading("smembers", Arity::Exactly(2), smembers)
        .complexity("O(N) in the size of the set")
        .summary("Answers all members.")
        .tips(&["nondeterministic_output_order"])
        .args(&[Arg::key("key")]),
    writing("spop", Arity::AtLeast(2), spop)
        .complexity("O(N) in the number of members removed")
        .summary("Removes some members and answers them.")
        .tips(RANDOM)
        .keys(TAKEN)
        .args(&[Arg::key("key"), Arg::integer("count").optional().since("3.2.0")]),
    reading("srandmember", Arity::AtLeast(2), srandmember)
        .complexity("O(N) in the number of members answered")
        .summary("Answers some members.")
        .differs(random::REPEATED_AT_MOST)
        .tips(RANDOM)
        .args(&[Arg::key("key"), Arg::integer("count").optional().since("2.6.0")]),
    writing("smove", Arity::Exactly(4), smove)
        .summary("Moves a member from one set to another.")
        .keys(&[KeySpec::one(1).rw().access().delete(), KeySpec::one(2).rw().insert()])
        .args(&[Arg::key("source"), Arg::key("destination").key_spec(1), Arg::string("member")]),
    reading("sscan", Arity::AtLeast(3), sscan)
        .since("2.8.0")
        .complexity("O(1) for each call; O(N) for a whole walk")
        .summary("Walks the members of a set in steps.")
        .tips(RANDOM)
        .args(&[
            Arg::key("key"),
            Arg::integer("cursor"),
            Arg::pattern("pattern").with_token("MATCH").optional(),
            Arg::integer("count").with_token("COUNT").optional(),
        ]),
];

/// What was found, if it is a set or nothing.
pub(super) fn set(found: Option<Meta>) -> Result<Option<Meta>, Error> {
    of_type(found, KeyType::Set)
}

fn sadd(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let members = args.rest();
    let old = set(edit.find(key)?)?;
    let mut set = edit.set(key, old);
    if let Some(first) = members.first() {
        set.expect(members.len() as u64, first)?;
    }
    let mut added = 0;
    for member in members {
        added += i64::from(set.add(member)?);
    }
    set.finish();
    if added > 0 {
        edit.notify(EventClasses::SET, "sadd", key);
    }
    Ok(Reply::Integer(added))
}

fn srem(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let Some(old) = set(edit.find(key)?)? else { return Ok(Reply::Integer(0)) };
    let mut set = edit.set(key, Some(old));
    let mut removed = 0;
    for member in args.rest() {
        removed += i64::from(set.remove(member)?);
    }
    set.finish();
    if removed > 0 {
        edit.notify_shrunk(EventClasses::SET, "srem", key);
    }
    Ok(Reply::Integer(removed))
}

/// Asks about the set at `key`, where there is one.
fn with_set<T>(
    view: &View<'_>,
    key: &[u8],
    ask: impl FnOnce(Elements<'_>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let found = set(view.find(key)?)?;
    found.as_ref().and_then(|meta| view.elements(key, meta)).map(ask).transpose()
}

fn scard(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let count = with_set(view, args.next_bytes()?, |members| Ok(members.count()))?;
    Ok(Reply::from(count.unwrap_or(0)))
}

fn sismember(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, member) = (args.next_bytes()?, args.next_bytes()?);
    let found = with_set(view, key, |members| Ok(members.contains(member)?))?;
    Ok(Reply::from(found.unwrap_or(false)))
}

fn smismember(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let asked = args.rest();
    let found = with_set(view, key, |members| {
        asked
            .iter()
            .map(|member| Ok(Reply::from(members.contains(member)?)))
            .collect::<Result<Vec<_>, Error>>()
    })?;
    Ok(Reply::Array(found.unwrap_or_else(|| vec![Reply::Integer(0); asked.len()])))
}

fn smembers(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let found = with_set(view, args.next_bytes()?, |members| {
        let mut names = args.answer().list_of(ListKind::Set, members.count())?;
        names.fill(|push| members.visit(&mut |name, _| push(name)))?;
        names.finish()
    })?;
    Ok(found.unwrap_or(Reply::Set(Vec::new())))
}

fn spop(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let count = match args.peek() {
        None => None,
        Some(word) if args.len() == 1 => {
            let count = parse_int(word).and_then(|count| u64::try_from(count).ok());
            Some(count.ok_or(Error::MustBePositive)?)
        }
        Some(_) => return Err(Error::Syntax),
    };
    let none = || if count.is_some() { Reply::Set(Vec::new()) } else { Reply::Null };
    let Some(old) = set(edit.find(key)?)? else { return Ok(none()) };
    let popped = pop_members(edit, key, old, count.unwrap_or(1))?;
    if !popped.is_empty() {
        edit.notify_shrunk(EventClasses::SET, "spop", key);
    }
    let mut replies = popped.into_iter().map(Reply::Bulk);
    match count {
        None => Ok(replies.next().unwrap_or(Reply::Null)),
        Some(_) => Ok(Reply::Set(replies.collect())),
    }
}

/// Takes `count` members out of the set at `key`, or all where there are no more.
fn pop_members(
    edit: &mut Edit<'_>,
    key: &[u8],
    old: Meta,
    count: u64,
) -> Result<Vec<Bytes>, Error> {
    let Some(members) = edit.elements(&old) else { return Ok(Vec::new()) };
    let size = members.count();
    if count >= size || members.wants_pass(count) {
        let room = edit.context().memory.room(Purpose::Working);
        let picked = members.pick_distinct(count, &room)?;
        if count >= size {
            edit.delete_collection(key, &old, size);
        } else {
            let mut set = edit.set(key, Some(old));
            for Element { name, .. } in &picked {
                set.take_out(name)?;
            }
            set.finish();
        }
        return Ok(picked.into_iter().map(|member| member.name).collect());
    }
    let mut set = edit.set(key, Some(old));
    let mut popped = Vec::new();
    for _ in 0..count {
        popped.extend(set.pop()?);
    }
    set.finish();
    Ok(popped)
}

fn srandmember(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    if args.is_empty() {
        let picked = with_set(view, key, |members| Ok(members.pick()?))?;
        return Ok(Reply::bulk_or_null(picked.flatten().map(|member| member.name)));
    }
    if args.len() > 1 {
        return Err(Error::Syntax);
    }
    let count = Count::parse(args)?;
    let room = view.context().memory.room(Purpose::Working);
    let picked = with_set(view, key, |members| count.pick(&members, &room))?.unwrap_or_default();
    Ok(Reply::array(picked.into_iter().map(|member| member.name)))
}

fn smove(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (from, to, member) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
    let (source, target) = (edit.find(from)?, edit.find(to)?);
    let Some(source) = source else { return Ok(Reply::Integer(0)) };
    let (source, target) = (set(Some(source))?, set(target)?);
    let mut members = edit.set(from, source);
    if from == to {
        return Ok(Reply::from(members.contains(member)?));
    }
    if !members.remove(member)? {
        return Ok(Reply::Integer(0));
    }
    members.finish();
    edit.notify_shrunk(EventClasses::SET, "srem", from);
    let mut members = edit.set(to, target);
    members.expect(1, member)?;
    let is_new = members.add(member)?;
    members.finish();
    if is_new {
        edit.notify(EventClasses::SET, "sadd", to);
    }
    Ok(Reply::Integer(1))
}

fn sscan(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let cursor = parse_cursor(args.next_bytes()?).ok_or(Error::InvalidCursor)?;
    let page = with_set(view, key, |members| {
        let options = ScanOptions::parse(args, Scanned::Members)?;
        let (next, mut page) = members.page(cursor, options.count)?;
        page.retain(|member| options.matches(&member.name));
        Ok((next, field_values(page, true)))
    })?;
    let (next, page) = page.unwrap_or_default();
    Ok(scan_answer(next, page))
}
