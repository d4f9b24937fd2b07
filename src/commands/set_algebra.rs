//! Commands that combine sets.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::set::set;
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Run};
use crate::data::{
    Edit, Elements, EventClasses, Meta, View, difference, intersection, parse_int, union,
};
use crate::engine;
use crate::env::Purpose;
use crate::protocol::{ListKind, Reply};

const SOURCES: &[KeySpec] = &[KeySpec::range(1, -1, 1).ro().access()];
const STORED: &[KeySpec] = &[KeySpec::one(1).ow().update(), KeySpec::range(2, -1, 1).ro().access()];
const KEYS: &[Arg] = &[Arg::key("key").multiple()];
const STORE_KEYS: &[Arg] = &[Arg::key("destination"), Arg::key("key").key_spec(1).multiple()];

const fn combining(
    name: &'static str,
    run: fn(&View<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, Arity::AtLeast(2), Run::Read(run))
        .group(Group::Set)
        .complexity("O(N) in the size of all sets")
        .tips(&["nondeterministic_output_order"])
        .keys(SOURCES)
        .args(KEYS)
}

const fn storing(
    name: &'static str,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, Arity::AtLeast(3), Run::Write(run))
        .group(Group::Set)
        .complexity("O(N) in the size of all sets")
        .differs("The result is gathered in memory, at most what one command may hold.")
        .flags(Flags::DENYOOM.or(Flags::STORES))
        .keys(STORED)
        .args(STORE_KEYS)
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    combining("sinter", sinter)
        .complexity("O(N*M) in the size of the smallest set and the number of sets")
        .summary("Answers the members that all of the sets have."),
    storing("sinterstore", sinterstore)
        .complexity("O(N*M) in the size of the smallest set and the number of sets")
        .summary("Stores the members that all of the sets have."),
    CommandSpec::new("sintercard", Arity::AtLeast(3), Run::Read(sintercard))
        .group(Group::Set)
        .since("7.0.0")
        .complexity("O(N*M) in the size of the smallest set and the number of sets")
        .summary("Counts the members that all of the sets have.")
        .keys(&[KeySpec::keynum(1).ro().access()])
        .args(&[
            Arg::integer("numkeys"),
            Arg::key("key").multiple(),
            Arg::integer("limit").with_token("LIMIT").optional(),
        ]),
    combining("sunion", sunion).summary("Answers the members that any of the sets has."),
    storing("sunionstore", sunionstore).summary("Stores the members that any of the sets has."),
    combining("sdiff", sdiff)
        .summary("Answers the members of the first set that none of the others has."),
    storing("sdiffstore", sdiffstore)
        .summary("Stores the members of the first set that none of the others has."),
];

/// How sets are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

impl Operation {
    /// Visits the members of the result; a set that does not exist is empty.
    fn visit(
        self,
        sets: &[Option<Elements<'_>>],
        visit: &mut dyn FnMut(Bytes) -> ControlFlow<()>,
    ) -> engine::Result<()> {
        let there: Vec<Elements<'_>> = sets.iter().copied().flatten().collect();
        match self {
            Self::Intersection if there.len() < sets.len() => Ok(()),
            Self::Intersection => intersection(&there, visit),
            Self::Union => union(&there, visit),
            Self::Difference => match (sets.first(), there.split_first()) {
                (Some(Some(_)), Some((first, others))) => difference(first, others, visit),
                _ => Ok(()),
            },
        }
    }

    /// Hands the members of the result to `take`, up to its first error.
    fn each(
        self,
        sets: &[Option<Elements<'_>>],
        mut take: impl FnMut(Bytes) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut taken = Ok(());
        self.visit(sets, &mut |member| {
            taken = take(member);
            if taken.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        taken
    }
}

fn sinter(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer(view, args, Operation::Intersection)
}

fn sunion(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer(view, args, Operation::Union)
}

fn sdiff(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer(view, args, Operation::Difference)
}

fn answer(view: &View<'_>, args: &Args<'_>, operation: Operation) -> CommandResult {
    let keys = args.rest();
    let found = find_all(view, keys)?;
    let mut members = args.answer().list(ListKind::Set);
    operation.each(&elements(view, keys, &found), |member| members.push(Reply::Bulk(member)))?;
    members.finish()
}

/// The sets at `keys`, all looked up before anything is answered.
fn find_all(view: &View<'_>, keys: &[Bytes]) -> Result<Vec<Option<Meta>>, Error> {
    keys.iter().map(|key| set(view.find(key)?)).collect()
}

fn elements<'a>(
    view: &'a View<'_>,
    keys: &[Bytes],
    found: &'a [Option<Meta>],
) -> Vec<Option<Elements<'a>>> {
    let sets = keys.iter().zip(found);
    sets.map(|(key, meta)| meta.as_ref().and_then(|meta| view.elements(key, meta))).collect()
}

fn sintercard(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let count = parse_int(args.next_bytes()?).and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count > 0).ok_or(Error::NoKeys)?;
    let keys = args.rest().get(..count).ok_or(Error::TooManyKeys)?;
    args.skip(count);
    let mut limit = 0;
    while !args.is_empty() {
        if !args.eat("LIMIT") || args.is_empty() {
            return Err(Error::Syntax);
        }
        let word = parse_int(args.next_bytes()?).and_then(|limit| u64::try_from(limit).ok());
        limit = word.ok_or(Error::NegativeLimit)?;
    }
    let found = find_all(view, keys)?;
    let mut members = 0_u64;
    Operation::Intersection.visit(&elements(view, keys, &found), &mut |_| {
        members += 1;
        if members == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(Reply::from(members))
}

fn sinterstore(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    store(edit, args, Operation::Intersection, "sinterstore")
}

fn sunionstore(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    store(edit, args, Operation::Union, "sunionstore")
}

fn sdiffstore(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    store(edit, args, Operation::Difference, "sdiffstore")
}

/// The target may be among the sources: the result is gathered before it is written.
fn store(
    edit: &mut Edit<'_>,
    args: &mut Args<'_>,
    operation: Operation,
    name: &'static str,
) -> CommandResult {
    let target = args.next_bytes()?;
    let mut found = Vec::with_capacity(args.len());
    for key in args.rest() {
        found.push(set(edit.find_for_answer(key)?)?);
    }
    let sets: Vec<Option<Elements<'_>>> =
        found.iter().map(|meta| meta.as_ref().and_then(|meta| edit.elements(meta))).collect();
    let (mut members, room) = (Vec::new(), edit.context().memory.room(Purpose::Working));
    operation.each(&sets, |member| {
        room.take(member.len() + size_of::<Bytes>())?;
        members.push(member);
        Ok(())
    })?;
    drop(sets);
    let old = edit.find(target)?;
    edit.store_set(target, old.as_ref(), &members)?;
    edit.notify_stored(EventClasses::SET, name, target, members.is_empty());
    Ok(Reply::count(members.len()))
}
