//! Commands that combine sorted sets, and sets, which count as sorted sets of scores 1.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::zset::{reading, writing};
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, KeySpec};
use crate::data::{
    Aggregate, Edit, EventClasses, KeyType, Meta, Scored, Source, View, in_order, parse_double,
    parse_int, scored_difference, scored_intersection, scored_union,
};
use crate::env::{Purpose, Room};
use crate::protocol::{ListKind, Reply};

const SOURCES: &[KeySpec] = &[KeySpec::keynum(1).ro().access()];
const STORED: &[KeySpec] = &[KeySpec::one(1).ow().update(), KeySpec::keynum(2).ro().access()];
const WEIGHTS: Arg = Arg::integer("weight").with_token("WEIGHTS").optional().multiple();
const AGGREGATE: Arg = Arg::one_of(
    "aggregate",
    &[Arg::token("sum", "SUM"), Arg::token("min", "MIN"), Arg::token("max", "MAX")],
)
.with_token("AGGREGATE")
.optional();
const KEYS: Arg = Arg::key("key").multiple();
const WITH_SCORES: Arg = Arg::token("withscores", "WITHSCORES").optional();
const JOINED: &[Arg] = &[Arg::integer("numkeys"), KEYS, WEIGHTS, AGGREGATE, WITH_SCORES];
const JOINED_STORED: &[Arg] =
    &[Arg::key("destination"), Arg::integer("numkeys"), KEYS.key_spec(1), WEIGHTS, AGGREGATE];
const GATHERED: &str = "The result is gathered in memory, at most what one command may hold.";
const INTERSECTION_COST: &str =
    "O(N*K+M*log(M)) for K sets, the smallest of N members, and M members of the result";
const UNION_COST: &str = "O(N+M*log(M)) for N members of all sets and M members of the result";

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    reading("zinter", Arity::AtLeast(3), zinter)
        .since("6.2.0")
        .complexity(INTERSECTION_COST)
        .summary("Answers the members that all of the sorted sets have.")
        .keys(SOURCES)
        .args(JOINED),
    writing("zinterstore", Arity::AtLeast(4), zinterstore)
        .since("2.0.0")
        .complexity(INTERSECTION_COST)
        .summary("Stores the members that all of the sorted sets have.")
        .differs(GATHERED)
        .flags(Flags::DENYOOM.or(Flags::STORES))
        .keys(STORED)
        .args(JOINED_STORED),
    reading("zintercard", Arity::AtLeast(3), zintercard)
        .since("7.0.0")
        .complexity("O(N*K) for K sets, the smallest of N members")
        .summary("Counts the members that all of the sorted sets have.")
        .keys(SOURCES)
        .args(&[
            Arg::integer("numkeys"),
            KEYS,
            Arg::integer("limit").with_token("LIMIT").optional(),
        ]),
    reading("zunion", Arity::AtLeast(3), zunion)
        .since("6.2.0")
        .complexity(UNION_COST)
        .summary("Answers the members that any of the sorted sets has.")
        .keys(SOURCES)
        .args(JOINED),
    writing("zunionstore", Arity::AtLeast(4), zunionstore)
        .since("2.0.0")
        .complexity(UNION_COST)
        .summary("Stores the members that any of the sorted sets has.")
        .differs(GATHERED)
        .flags(Flags::DENYOOM.or(Flags::STORES))
        .keys(STORED)
        .args(JOINED_STORED),
    reading("zdiff", Arity::AtLeast(3), zdiff)
        .since("6.2.0")
        .complexity(
            "O(N*K+M*log(M)) for K sets, the first of N members, and M members of the result",
        )
        .summary("Answers the members of the first sorted set that none of the others has.")
        .keys(SOURCES)
        .args(&[Arg::integer("numkeys"), KEYS, WITH_SCORES]),
    writing("zdiffstore", Arity::AtLeast(4), zdiffstore)
        .since("6.2.0")
        .complexity(
            "O(N*K+M*log(M)) for K sets, the first of N members, and M members of the result",
        )
        .summary("Stores the members of the first sorted set that none of the others has.")
        .differs(GATHERED)
        .flags(Flags::DENYOOM.or(Flags::STORES))
        .keys(STORED)
        .args(&[Arg::key("destination"), Arg::integer("numkeys"), KEYS.key_spec(1)]),
];

/// How sorted sets are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

/// What a call asks for behind its keys.
#[derive(Debug)]
struct Options {
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

impl Options {
    fn parse(
        args: &mut Args<'_>,
        sources: usize,
        operation: Operation,
        stores: bool,
    ) -> Result<Self, Error> {
        let mut options =
            Self { weights: vec![1.0; sources], aggregate: Aggregate::Sum, with_scores: false };
        let joins = operation != Operation::Difference;
        while !args.is_empty() {
            if joins && args.len() > sources && args.eat("WEIGHTS") {
                for weight in &mut options.weights {
                    let text = || Error::Text("ERR weight value is not a float".to_owned());
                    *weight = parse_double(args.next_bytes()?).ok_or_else(text)?;
                }
            } else if joins && args.len() > 1 && args.eat("AGGREGATE") {
                options.aggregate = parse_aggregate(args)?;
            } else if !stores && args.eat("WITHSCORES") {
                options.with_scores = true;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }
}

fn parse_aggregate(args: &mut Args<'_>) -> Result<Aggregate, Error> {
    if args.eat("SUM") {
        Ok(Aggregate::Sum)
    } else if args.eat("MIN") {
        Ok(Aggregate::Min)
    } else if args.eat("MAX") {
        Ok(Aggregate::Max)
    } else {
        Err(Error::Syntax)
    }
}

/// The keys of a call, of which the next word says how many there are.
fn parse_keys<'a>(args: &mut Args<'a>, name: &str) -> Result<&'a [Bytes], Error> {
    let count = args.next_int()?;
    let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else {
        let text = format!("ERR at least 1 input key is needed for '{name}' command");
        return Err(Error::Text(text));
    };
    let keys = args.rest().get(..count).ok_or(Error::Syntax)?;
    args.skip(count);
    Ok(keys)
}

/// What was found, if it is a sorted set, a set or nothing.
fn scored(found: Option<Meta>) -> Result<Option<Meta>, Error> {
    match found {
        Some(meta) if !matches!(meta.kind, KeyType::Set | KeyType::ZSet) => Err(Error::WrongType),
        found => Ok(found),
    }
}

/// The members of the result, by score; a set that does not exist is empty.
fn combine(
    operation: Operation,
    sources: &[Option<Source<'_>>],
    aggregate: Aggregate,
    room: &Room<'_>,
) -> Result<Vec<Scored>, Error> {
    let there: Vec<Source<'_>> = sources.iter().copied().flatten().collect();
    Ok(match operation {
        Operation::Intersection if there.len() < sources.len() => Vec::new(),
        Operation::Intersection => {
            let (mut members, mut fits) = (Vec::new(), Ok(()));
            scored_intersection(&there, aggregate, &mut |member, score| {
                fits = room.take(member.len() + size_of::<Scored>());
                members.push((member, score));
                if fits.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            fits?;
            in_order(members)
        }
        Operation::Union => scored_union(&there, aggregate, room)?,
        Operation::Difference => match (sources.first(), there.split_first()) {
            (Some(Some(_)), Some((first, others))) => scored_difference(first, others, room)?,
            _ => Vec::new(),
        },
    })
}

fn answer(
    view: &View<'_>,
    args: &mut Args<'_>,
    name: &'static str,
    operation: Operation,
) -> CommandResult {
    let keys = parse_keys(args, name)?;
    let found = find_all(view, keys)?;
    let options = Options::parse(args, keys.len(), operation, false)?;
    let sources = sources(view, keys, &found, &options.weights);
    let room = view.context().memory.room(Purpose::Working);
    let members = combine(operation, &sources, options.aggregate, &room)?;
    let kind = if options.with_scores { ListKind::Pairs } else { ListKind::Array };
    let mut list = args.answer().list_of(kind, members.len() as u64)?;
    for (member, score) in members {
        if options.with_scores {
            list.push_pair(member, score)?;
        } else {
            list.push(Reply::Bulk(member))?;
        }
    }
    list.finish()
}

/// What is at `keys`, all looked up before anything is answered.
fn find_all(view: &View<'_>, keys: &[Bytes]) -> Result<Vec<Option<Meta>>, Error> {
    keys.iter().map(|key| scored(view.find(key)?)).collect()
}

fn sources<'a>(
    view: &'a View<'_>,
    keys: &[Bytes],
    found: &'a [Option<Meta>],
    weights: &[f64],
) -> Vec<Option<Source<'a>>> {
    let sets = keys.iter().zip(found).zip(weights);
    sets.map(|((key, meta), weight)| {
        let elements = view.elements(key, meta.as_ref()?)?;
        Some(Source { elements, weight: *weight })
    })
    .collect()
}

fn zinter(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer(view, args, "zinter", Operation::Intersection)
}

fn zunion(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer(view, args, "zunion", Operation::Union)
}

fn zdiff(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer(view, args, "zdiff", Operation::Difference)
}

fn zintercard(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let keys = parse_keys(args, "zintercard")?;
    let found = find_all(view, keys)?;
    let mut limit = 0;
    while !args.is_empty() {
        if args.len() < 2 || !args.eat("LIMIT") {
            return Err(Error::Syntax);
        }
        let word = parse_int(args.next_bytes()?).and_then(|limit| u64::try_from(limit).ok());
        limit = word.ok_or(Error::NegativeLimit)?;
    }
    let sources = sources(view, keys, &found, &vec![1.0; keys.len()]);
    let there: Vec<Source<'_>> = sources.iter().copied().flatten().collect();
    if there.len() < sources.len() {
        return Ok(Reply::Integer(0));
    }
    let mut members = 0_u64;
    scored_intersection(&there, Aggregate::Sum, &mut |_, _| {
        members += 1;
        if members == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(Reply::from(members))
}

fn zinterstore(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    store(edit, args, "zinterstore", Operation::Intersection)
}

fn zunionstore(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    store(edit, args, "zunionstore", Operation::Union)
}

fn zdiffstore(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    store(edit, args, "zdiffstore", Operation::Difference)
}

/// The target may be among the sources: the result is gathered before it is written.
fn store(
    edit: &mut Edit<'_>,
    args: &mut Args<'_>,
    name: &'static str,
    operation: Operation,
) -> CommandResult {
    let target = args.next_bytes()?;
    let keys = parse_keys(args, name)?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        found.push(scored(edit.find_for_answer(key)?)?);
    }
    let options = Options::parse(args, keys.len(), operation, true)?;
    let sources: Vec<Option<Source<'_>>> = found
        .iter()
        .zip(&options.weights)
        .map(|(meta, weight)| {
            Some(Source { elements: edit.elements(meta.as_ref()?)?, weight: *weight })
        })
        .collect();
    let room = edit.context().memory.room(Purpose::Working);
    let members = combine(operation, &sources, options.aggregate, &room)?;
    drop(sources);
    let old = edit.find(target)?;
    edit.store_zset(target, old.as_ref(), &members)?;
    edit.notify_stored(EventClasses::ZSET, name, target, members.is_empty());
    Ok(Reply::count(members.len()))
}
