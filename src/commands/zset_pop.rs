//! Commands that take members from the ends of sorted sets, at once or as soon as there are any.

use bytes::Bytes;

use super::blocking::{Attempt, Wait, parse_seconds};
use super::zset::{pair, writing, zset};
use super::{
    Arg, Args, Arity, BlockingHandler, CommandResult, CommandSpec, Error, Flags, Group, KeySpec,
    Run,
};
use crate::data::{Edit, EventClasses, KeyType, Meta, Scored, SortedSet, parse_int};
use crate::engine::Direction;
use crate::protocol::Reply;

const TAKEN: &[KeySpec] = &[KeySpec::one(1).rw().access().delete()];
const TAKEN_FROM_ONE: &[KeySpec] = &[KeySpec::range(1, -2, 1).rw().access().delete()];
const POPPED: &[Arg] = &[Arg::key("key"), Arg::integer("count").optional()];
const KEYS_TIMEOUT: &[Arg] = &[Arg::key("key").multiple(), Arg::double("timeout")];
const NUM_KEYS: Arg = Arg::integer("numkeys");
const WHERE: Arg = Arg::one_of("where", &[Arg::token("min", "MIN"), Arg::token("max", "MAX")]);
const COUNT: Arg = Arg::integer("count").with_token("COUNT").optional();

const MANY_COMPLEXITY: &str = "O(K) + O(log(N)*M) for K keys and M members removed";

const fn waiting(name: &'static str, arity: Arity, run: BlockingHandler) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Blocking(run))
        .group(Group::SortedSet)
        .complexity("O(log(N))")
        .flags(Flags::BLOCKING)
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    writing("zpopmin", Arity::AtLeast(2), zpopmin)
        .since("5.0.0")
        .complexity("O(log(N)*M) for M members removed")
        .summary("Removes the members of the lowest scores and answers them.")
        .flags(Flags::FAST)
        .keys(TAKEN)
        .args(POPPED),
    writing("zpopmax", Arity::AtLeast(2), zpopmax)
        .since("5.0.0")
        .complexity("O(log(N)*M) for M members removed")
        .summary("Removes the members of the highest scores and answers them.")
        .flags(Flags::FAST)
        .keys(TAKEN)
        .args(POPPED),
    writing("zmpop", Arity::AtLeast(4), zmpop)
        .since("7.0.0")
        .complexity(MANY_COMPLEXITY)
        .summary("Removes members at one end of the first sorted set that has some.")
        .keys(&[KeySpec::keynum(1).rw().access().delete()])
        .args(&[NUM_KEYS, Arg::key("key").multiple(), WHERE, COUNT]),
    waiting("bzpopmin", Arity::AtLeast(3), bzpopmin)
        .since("5.0.0")
        .summary(
            "Removes the member of the lowest score of one of several sorted sets; waits for it.",
        )
        .history(&[("6.0.0", "A timeout with fractions.")])
        .flags(Flags::FAST)
        .keys(TAKEN_FROM_ONE)
        .args(KEYS_TIMEOUT),
    waiting("bzpopmax", Arity::AtLeast(3), bzpopmax)
        .since("5.0.0")
        .summary(
            "Removes the member of the highest score of one of several sorted sets; waits for it.",
        )
        .history(&[("6.0.0", "A timeout with fractions.")])
        .flags(Flags::FAST)
        .keys(TAKEN_FROM_ONE)
        .args(KEYS_TIMEOUT),
    waiting("bzmpop", Arity::AtLeast(5), bzmpop)
        .since("7.0.0")
        .complexity(MANY_COMPLEXITY)
        .summary("Removes members at one end of the first sorted set that has some; waits for one.")
        .keys(&[KeySpec::keynum(2).rw().access().delete()])
        .args(&[Arg::double("timeout"), NUM_KEYS, Arg::key("key").multiple(), WHERE, COUNT]),
];

fn zpopmin(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    zpop(edit, args, Direction::Forward)
}

fn zpopmax(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    zpop(edit, args, Direction::Reverse)
}

fn zpop(edit: &mut Edit<'_>, args: &mut Args<'_>, end: Direction) -> CommandResult {
    let key = args.next_bytes()?;
    let count = match args.peek() {
        None => None,
        Some(word) if args.len() == 1 => {
            let count = parse_int(word).and_then(|count| u64::try_from(count).ok());
            Some(count.ok_or(Error::MustBePositive)?)
        }
        Some(_) => return Err(Error::Syntax),
    };
    let popped = pop(edit, key, end, count.unwrap_or(1))?.unwrap_or_default();
    let mut pairs = popped.into_iter().map(pair);
    match count {
        Some(_) => Ok(Reply::Pairs(pairs.collect())),
        None => {
            let (member, score) = match pairs.next() {
                Some(pair) => pair,
                None => return Ok(Reply::EMPTY),
            };
            Ok(Reply::Array(vec![member, score]))
        }
    }
}

/// Removes up to `count` members at one end of the sorted set at `key` and answers them; `None` where
/// there is none.
fn pop(
    edit: &mut Edit<'_>,
    key: &[u8],
    end: Direction,
    count: u64,
) -> Result<Option<Vec<Scored>>, Error> {
    let Some(old) = zset(edit.find(key)?)? else { return Ok(None) };
    let Some(size) = old.collection().map(|members| members.count) else { return Ok(None) };
    let popped = match usize::try_from(count) {
        Ok(some) if (1..size).contains(&count) && old.generation().is_some() => {
            let mut zset = edit.zset(key, Some(old));
            let popped = zset.outermost(end, some)?;
            zset.finish_without(&popped)?;
            popped
        }
        _ => {
            let Some(elements) = edit.elements(&old) else { return Ok(None) };
            let walk = SortedSet::new(elements).walk_from(0, end)?;
            let all =
                walk.zip(0..count).map(|(member, _)| member).collect::<Result<Vec<_>, _>>()?;
            remove(edit, key, old, &all, size)?;
            all
        }
    };
    if !popped.is_empty() {
        let name = if end == Direction::Forward { "zpopmin" } else { "zpopmax" };
        edit.notify_shrunk(EventClasses::ZSET, name, key);
    }
    Ok(Some(popped))
}

/// Removes these members of the sorted set at `key`, which has `size`.
pub(super) fn remove(
    edit: &mut Edit<'_>,
    key: &[u8],
    old: Meta,
    members: &[Scored],
    size: u64,
) -> Result<(), Error> {
    if members.len() as u64 >= size {
        edit.delete_collection(key, &old, size);
        return Ok(());
    }
    edit.zset(key, Some(old)).finish_without(members)?;
    Ok(())
}

fn bzpopmin(edit: &mut Edit<'_>, args: &mut Args<'_>) -> Result<Attempt, Error> {
    pop_or_wait(edit, args, Direction::Forward)
}

fn bzpopmax(edit: &mut Edit<'_>, args: &mut Args<'_>) -> Result<Attempt, Error> {
    pop_or_wait(edit, args, Direction::Reverse)
}

fn pop_or_wait(edit: &mut Edit<'_>, args: &mut Args<'_>, end: Direction) -> Result<Attempt, Error> {
    let (timeout, keys) = args.rest().split_last().ok_or(Error::Syntax)?;
    let timeout_ms = parse_seconds(timeout, edit.context().now_ms)?;
    let popped = pop_first(edit, keys, end, 1)?;
    let first = popped.and_then(|(key, members)| Some((key, members.into_iter().next()?)));
    Ok(match first {
        Some((key, member)) => {
            let (member, score) = pair(member);
            Attempt::Done(Reply::Array(vec![Reply::Bulk(key), member, score]))
        }
        None => Attempt::Wait(Wait::new(keys.to_vec(), KeyType::ZSet, timeout_ms)),
    })
}

fn zmpop(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    Ok(ManyKeys::parse(args)?.pop(edit)?.unwrap_or(Reply::NullArray))
}

fn bzmpop(edit: &mut Edit<'_>, args: &mut Args<'_>) -> Result<Attempt, Error> {
    let timeout = args.next_bytes()?;
    let call = ManyKeys::parse(args)?;
    let timeout_ms = parse_seconds(timeout, edit.context().now_ms)?;
    Ok(match call.pop(edit)? {
        Some(reply) => Attempt::Done(reply),
        None => Attempt::Wait(Wait::new(call.keys.to_vec(), KeyType::ZSet, timeout_ms)),
    })
}

/// The arguments of `ZMPOP`.
struct ManyKeys<'a> {
    keys: &'a [Bytes],
    end: Direction,
    count: u64,
}

impl<'a> ManyKeys<'a> {
    fn parse(args: &mut Args<'a>) -> Result<Self, Error> {
        let number = parse_int(args.next_bytes()?).and_then(|number| usize::try_from(number).ok());
        let number = number.filter(|number| *number > 0).ok_or(Error::NoKeys)?;
        let keys = args.rest().get(..number).ok_or(Error::Syntax)?;
        args.skip(number);
        let (end, count) = parse_pop(args)?;
        Ok(Self { keys, end, count })
    }

    fn pop(&self, edit: &mut Edit<'_>) -> Result<Option<Reply>, Error> {
        let popped = pop_first(edit, self.keys, self.end, self.count)?;
        Ok(popped.map(|(key, members)| {
            let pairs = members.into_iter().map(|member| {
                let (member, score) = pair(member);
                Reply::Array(vec![member, score])
            });
            Reply::Array(vec![Reply::Bulk(key), Reply::array(pairs)])
        }))
    }
}

/// Which end `ZMPOP` pops at, and how many members.
fn parse_pop(args: &mut Args<'_>) -> Result<(Direction, u64), Error> {
    let end = if args.eat("MIN") {
        Direction::Forward
    } else if args.eat("MAX") {
        Direction::Reverse
    } else {
        return Err(Error::Syntax);
    };
    let mut count = None;
    while !args.is_empty() {
        if count.is_some() || !args.eat("COUNT") || args.is_empty() {
            return Err(Error::Syntax);
        }
        let word = parse_int(args.next_bytes()?).and_then(|count| u64::try_from(count).ok());
        let word = word.filter(|count| *count > 0);
        let text = "ERR count should be greater than 0";
        count = Some(word.ok_or_else(|| Error::Text(text.to_owned()))?);
    }
    Ok((end, count.unwrap_or(1)))
}

/// Pops members of the first of `keys` that holds a sorted set: its name and what was popped. `None`
/// where none of them does.
fn pop_first(
    edit: &mut Edit<'_>,
    keys: &[Bytes],
    end: Direction,
    count: u64,
) -> Result<Option<(Bytes, Vec<Scored>)>, Error> {
    for key in keys {
        if let Some(popped) = pop(edit, key, end, count)? {
            return Ok(Some((key.clone(), popped)));
        }
    }
    Ok(None)
}
