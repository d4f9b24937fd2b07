//! Commands that take members from the ends of sorted sets.

use bytes::Bytes;

use super::zset::{pair, writing, zset};
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, KeySpec};
use crate::data::{Edit, Meta, Scored, SortedSet, parse_int};
use crate::engine::Direction;
use crate::protocol::Reply;

const TAKEN: &[KeySpec] = &[KeySpec::one(1).rw().access().delete()];
const POPPED: &[Arg] = &[Arg::key("key"), Arg::integer("count").optional()];

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
        .complexity("O(K) + O(log(N)*M) for K keys and M members removed")
        .summary("Removes members at one end of the first sorted set that has some.")
        .keys(&[KeySpec::keynum(1).rw().access().delete()])
        .args(&[
            Arg::integer("numkeys"),
            Arg::key("key").multiple(),
            Arg::one_of("where", &[Arg::token("min", "MIN"), Arg::token("max", "MAX")]),
            Arg::integer("count").with_token("COUNT").optional(),
        ]),
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
pub(super) fn pop(
    edit: &mut Edit<'_>,
    key: &[u8],
    end: Direction,
    count: u64,
) -> Result<Option<Vec<Scored>>, Error> {
    let Some(old) = zset(edit.find_for_answer(key)?)? else { return Ok(None) };
    let Some(elements) = edit.elements(&old) else { return Ok(None) };
    let size = elements.count();
    let mut popped: Vec<Scored> = Vec::new();
    for (member, _) in SortedSet::new(elements).walk_from(0, end)?.zip(0..count) {
        popped.push(member?);
    }
    remove(edit, key, old, &popped, size)?;
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
    let mut zset = edit.zset(key, Some(old));
    for (member, score) in members {
        zset.take(member, *score)?;
    }
    zset.finish()?;
    Ok(())
}

fn zmpop(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let count = parse_int(args.next_bytes()?).and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count > 0).ok_or(Error::NoKeys)?;
    let keys = args.rest().get(..count).ok_or(Error::Syntax)?;
    args.skip(count);
    let (end, count) = parse_pop(args)?;
    Ok(pop_first(edit, keys, end, count)?.unwrap_or(Reply::NullArray))
}

/// Which end `ZMPOP` and its blocking form pop at, and how many members.
pub(super) fn parse_pop(args: &mut Args<'_>) -> Result<(Direction, u64), Error> {
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
pub(super) fn pop_first(
    edit: &mut Edit<'_>,
    keys: &[Bytes],
    end: Direction,
    count: u64,
) -> Result<Option<Reply>, Error> {
    for key in keys {
        if let Some(popped) = pop(edit, key, end, count)? {
            let pairs = popped.into_iter().map(|member| {
                let (member, score) = pair(member);
                Reply::Array(vec![member, score])
            });
            return Ok(Some(Reply::Array(vec![Reply::Bulk(key.clone()), Reply::array(pairs)])));
        }
    }
    Ok(None)
}
