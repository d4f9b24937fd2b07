//! Commands on lists. Those that move elements between lists, and those that wait, have files of
//! their own.

use bytes::Bytes;

use super::typed::of_type;
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Run};
use crate::data::{Edit, End, EventClasses, KeyType, List, Meta, View, parse_int};
use crate::engine::Direction;
use crate::protocol::{ListKind, Reply};

const SEEN: &[KeySpec] = &[KeySpec::one(1).ro()];
const READ: &[KeySpec] = &[KeySpec::one(1).ro().access()];
const GROWN: &[KeySpec] = &[KeySpec::one(1).rw().insert()];
const CUT: &[KeySpec] = &[KeySpec::one(1).rw().delete()];
const TAKEN: &[KeySpec] = &[KeySpec::one(1).rw().access().delete()];

const KEY_ELEMENTS: &[Arg] = &[Arg::key("key"), Arg::string("element").multiple()];
const KEY_RANGE: &[Arg] = &[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")];
const KEY_COUNT: &[Arg] = &[Arg::key("key"), Arg::integer("count").optional().since("6.2.0")];

const fn reading(
    name: &'static str,
    arity: Arity,
    run: fn(&View<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Read(run)).group(Group::List).keys(READ)
}

const fn writing(
    name: &'static str,
    arity: Arity,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Write(run)).group(Group::List)
}

const fn pushing(
    name: &'static str,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    writing(name, Arity::AtLeast(3), run)
        .complexity("O(N) in the number of elements")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(GROWN)
        .args(KEY_ELEMENTS)
}

const fn popping(
    name: &'static str,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    writing(name, Arity::AtLeast(2), run)
        .complexity("O(N) in the number of elements")
        .history(&[("6.2.0", "Argument count.")])
        .flags(Flags::FAST)
        .keys(TAKEN)
        .args(KEY_COUNT)
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    pushing("lpush", lpush).summary("Adds elements at the head of a list; makes it if needed."),
    pushing("rpush", rpush).summary("Adds elements at the tail of a list; makes it if needed."),
    pushing("lpushx", lpushx)
        .since("2.2.0")
        .summary("Adds elements at the head of a list, but only if there is one."),
    pushing("rpushx", rpushx)
        .since("2.2.0")
        .summary("Adds elements at the tail of a list, but only if there is one."),
    popping("lpop", lpop).summary("Takes elements off the head of a list and answers them."),
    popping("rpop", rpop).summary("Takes elements off the tail of a list and answers them."),
    reading("llen", Arity::Exactly(2), llen)
        .summary("Counts the elements.")
        .flags(Flags::FAST)
        .keys(SEEN)
        .args(&[Arg::key("key")]),
    reading("lrange", Arity::Exactly(4), lrange)
        .complexity("O(N) in the number of elements answered")
        .summary("Answers the elements of a range.")
        .args(KEY_RANGE),
    reading("lindex", Arity::Exactly(3), lindex)
        .summary("Answers the element at an index.")
        .args(&[Arg::key("key"), Arg::integer("index")]),
    writing("lset", Arity::Exactly(4), lset)
        .summary("Replaces the element at an index.")
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::one(1).rw().update()])
        .args(&[Arg::key("key"), Arg::integer("index"), Arg::string("element")]),
    writing("linsert", Arity::Exactly(5), linsert)
        .since("2.2.0")
        .complexity("O(N) in the number of elements up to the pivot")
        .summary("Adds an element in front of another one or behind it.")
        .flags(Flags::DENYOOM)
        .keys(GROWN)
        .args(&[
            Arg::key("key"),
            Arg::one_of("where", &[Arg::token("before", "BEFORE"), Arg::token("after", "AFTER")]),
            Arg::string("pivot"),
            Arg::string("element"),
        ]),
    writing("lrem", Arity::Exactly(4), lrem)
        .complexity("O(N) in the size of the list")
        .summary("Removes elements that are equal to one.")
        .keys(CUT)
        .args(&[Arg::key("key"), Arg::integer("count"), Arg::string("element")]),
    writing("ltrim", Arity::Exactly(4), ltrim)
        .complexity("O(N) in the number of elements removed, or kept if these are far fewer")
        .summary("Removes everything but a range.")
        .keys(CUT)
        .args(KEY_RANGE),
    reading("lpos", Arity::AtLeast(3), lpos)
        .since("6.0.6")
        .complexity("O(N) in the number of elements looked at")
        .summary("Answers where elements are that are equal to one.")
        .args(&[
            Arg::key("key"),
            Arg::string("element"),
            Arg::integer("rank").with_token("RANK").optional(),
            Arg::integer("num-matches").with_token("COUNT").optional(),
            Arg::integer("len").with_token("MAXLEN").optional(),
        ]),
];

/// What was found, if it is a list or nothing.
pub(super) fn list(found: Option<Meta>) -> Result<Option<Meta>, Error> {
    of_type(found, KeyType::List)
}

fn lpush(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    push(edit, args, End::Head, false)
}

fn rpush(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    push(edit, args, End::Tail, false)
}

fn lpushx(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    push(edit, args, End::Head, true)
}

fn rpushx(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    push(edit, args, End::Tail, true)
}

fn push(edit: &mut Edit<'_>, args: &mut Args<'_>, end: End, only_there: bool) -> CommandResult {
    let key = args.next_bytes()?;
    let old = list(edit.find(key)?)?;
    if only_there && old.is_none() {
        return Ok(Reply::Integer(0));
    }
    let mut list = edit.change_list(key, old);
    list.push(end, args.rest().iter())?;
    let count = list.finish()?;
    edit.notify(EventClasses::LIST, push_event(end), key);
    Ok(Reply::from(count))
}

/// The event of a push at an end, whichever command it comes from.
pub(super) fn push_event(end: End) -> &'static str {
    if end == End::Head { "lpush" } else { "rpush" }
}

/// The event of a pop at an end, whichever command it comes from.
pub(super) fn pop_event(end: End) -> &'static str {
    if end == End::Head { "lpop" } else { "rpop" }
}

fn lpop(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    pop(edit, args, End::Head, "lpop")
}

fn rpop(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    pop(edit, args, End::Tail, "rpop")
}

fn pop(edit: &mut Edit<'_>, args: &mut Args<'_>, end: End, name: &'static str) -> CommandResult {
    let key = args.next_bytes()?;
    if args.len() > 1 {
        return Err(Error::WrongArity(name));
    }
    let count = match args.peek() {
        Some(word) => {
            let count = parse_int(word).and_then(|count| u64::try_from(count).ok());
            Some(count.ok_or(Error::MustBePositive)?)
        }
        None => None,
    };
    let Some(old) = list(edit.find(key)?)? else {
        return Ok(if count.is_some() { Reply::NullArray } else { Reply::Null });
    };
    if count == Some(0) {
        return Ok(Reply::EMPTY);
    }
    let popped = take(edit, key, old, end, count.unwrap_or(1))?;
    match count {
        Some(_) => Ok(Reply::array(popped)),
        None => Ok(Reply::bulk_or_null(popped.into_iter().next())),
    }
}

/// Takes elements off an end of the list at `key`, which was found.
pub(super) fn take(
    edit: &mut Edit<'_>,
    key: &[u8],
    old: Meta,
    end: End,
    count: u64,
) -> Result<Vec<Bytes>, Error> {
    let mut list = edit.change_list(key, Some(old));
    let popped = list.pop(end, count)?;
    list.finish()?;
    edit.notify_shrunk(EventClasses::LIST, pop_event(end), key);
    Ok(popped)
}

/// Asks about the list at `key`, where there is one.
fn with_list<T>(
    view: &View<'_>,
    key: &[u8],
    ask: impl FnOnce(List<'_>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let found = list(view.find(key)?)?;
    found.as_ref().and_then(|meta| view.list(meta)).map(ask).transpose()
}

fn llen(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let count = with_list(view, args.next_bytes()?, |list| Ok(list.count()))?;
    Ok(Reply::from(count.unwrap_or(0)))
}

/// The place of an index that counts from the end where it is negative; `None` in front of the
/// first element.
fn place(index: i64, count: u64) -> Option<u64> {
    if index < 0 { count.checked_sub(index.unsigned_abs()) } else { Some(index.unsigned_abs()) }
}

/// The part of a list from `start` to `stop`, which belongs to it; empty where that is nothing.
fn part(start: i64, stop: i64, count: u64) -> std::ops::Range<u64> {
    let start = place(start, count).unwrap_or(0).min(count);
    let end = place(stop, count).map_or(0, |stop| stop.saturating_add(1)).min(count);
    start..end.max(start)
}

fn lrange(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, start, stop) = (args.next_bytes()?, args.next_int()?, args.next_int()?);
    let elements = with_list(view, key, |list| {
        let part = part(start, stop, list.count());
        let mut replies = args.answer().list_of(ListKind::Array, part.end - part.start)?;
        replies.fill(|push| list.visit(part.start, part.end, push))?;
        replies.finish()
    })?;
    Ok(elements.unwrap_or(Reply::EMPTY))
}

fn lindex(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let element =
        with_list(view, args.next_bytes()?, |list| match place(args.next_int()?, list.count()) {
            Some(index) => Ok(list.get(index)?),
            None => Ok(None),
        })?;
    Ok(Reply::bulk_or_null(element.flatten()))
}

fn lset(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let old = list(edit.find(key)?)?.ok_or(Error::NoSuchKey)?;
    let (index, element) = (args.next_int()?, args.next_bytes()?);
    let mut list = edit.change_list(key, Some(old));
    let index = place(index, list.count());
    let done = match index {
        Some(index) => list.set(index, element)?,
        None => false,
    };
    list.finish()?;
    if !done {
        return Err(Error::Text("ERR index out of range".to_owned()));
    }
    edit.notify(EventClasses::LIST, "lset", key);
    Ok(Reply::OK)
}

fn linsert(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let behind = args.eat("AFTER");
    if !behind && !args.eat("BEFORE") {
        return Err(Error::Syntax);
    }
    let (pivot, element) = (args.next_bytes()?, args.next_bytes()?);
    let Some(old) = list(edit.find(key)?)? else { return Ok(Reply::Integer(0)) };
    let Some(elements) = edit.list(&old) else { return Ok(Reply::Integer(0)) };
    let found = equal_to(pivot, elements, Direction::Forward).next().transpose()?;
    let Some(index) = found else { return Ok(Reply::Integer(-1)) };
    let mut list = edit.change_list(key, Some(old));
    list.insert(index + u64::from(behind), element, behind)?;
    let count = list.finish()?;
    edit.notify(EventClasses::LIST, "linsert", key);
    Ok(Reply::from(count))
}

/// The indexes of the elements that are equal to `sought`, in this direction.
fn equal_to<'a>(
    sought: &'a [u8],
    list: List<'a>,
    direction: Direction,
) -> impl Iterator<Item = Result<u64, Error>> + 'a {
    let count = list.count();
    let index_of = move |step: u64| match direction {
        Direction::Forward => step,
        Direction::Reverse => count - 1 - step,
    };
    list.walk(0, count, direction).zip(0..).filter_map(move |(element, step)| match element {
        Ok(element) => (element == sought).then(|| Ok(index_of(step))),
        Err(error) => Some(Err(error.into())),
    })
}

fn lrem(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let (count, sought) = (next_long(args)?, args.next_bytes()?);
    let Some(old) = list(edit.find(key)?)? else { return Ok(Reply::Integer(0)) };
    let Some(elements) = edit.list(&old) else { return Ok(Reply::Integer(0)) };
    let direction = if count < 0 { Direction::Reverse } else { Direction::Forward };
    let most = if count == 0 { u64::MAX } else { count.unsigned_abs() };
    let found =
        equal_to(sought, elements, direction).take(usize::try_from(most).unwrap_or(usize::MAX));
    let mut indexes = found.collect::<Result<Vec<u64>, Error>>()?;
    if direction == Direction::Reverse {
        indexes.reverse();
    }
    let mut list = edit.change_list(key, Some(old));
    list.remove(&indexes)?;
    list.finish()?;
    if !indexes.is_empty() {
        edit.notify_shrunk(EventClasses::LIST, "lrem", key);
    }
    Ok(Reply::count(indexes.len()))
}

/// The next word as a `long` whose sign can be changed.
fn next_long(args: &mut Args<'_>) -> Result<i64, Error> {
    let number = args.next_int()?;
    if number == i64::MIN {
        return Err(Error::Text(format!(
            "ERR value is out of range, value must between {} and {}",
            -i64::MAX,
            i64::MAX
        )));
    }
    Ok(number)
}

fn ltrim(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, start, stop) = (args.next_bytes()?, args.next_int()?, args.next_int()?);
    let Some(old) = list(edit.find(key)?)? else { return Ok(Reply::OK) };
    let mut list = edit.change_list(key, Some(old));
    let keep = part(start, stop, list.count());
    list.trim(keep)?;
    list.finish()?;
    edit.notify_shrunk(EventClasses::LIST, "ltrim", key);
    Ok(Reply::OK)
}

/// The options of `LPOS`.
struct Sought {
    /// How many matches are passed over.
    skip: usize,
    direction: Direction,
    /// How many are answered, in an array; 0 is all.
    count: Option<u64>,
    /// How many elements are looked at; 0 is all.
    most: u64,
}

impl Sought {
    fn parse(args: &mut Args<'_>) -> Result<Self, Error> {
        let text = |text: &str| Error::Text(text.to_owned());
        let mut sought = Self { skip: 0, direction: Direction::Forward, count: None, most: 0 };
        while !args.is_empty() {
            if args.eat("RANK") {
                let rank = next_long(args)?;
                let skip = rank.unsigned_abs().checked_sub(1).ok_or_else(|| {
                    text(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                         second ... or use negative to start from the end of the list",
                    )
                })?;
                sought.skip = usize::try_from(skip).unwrap_or(usize::MAX);
                sought.direction = if rank < 0 { Direction::Reverse } else { Direction::Forward };
            } else if args.eat("COUNT") {
                let count = positive(args.next_bytes()?);
                sought.count = Some(count.ok_or_else(|| text("ERR COUNT can't be negative"))?);
            } else if args.eat("MAXLEN") {
                let most = positive(args.next_bytes()?);
                sought.most = most.ok_or_else(|| text("ERR MAXLEN can't be negative"))?;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(sought)
    }

    fn find(&self, list: List<'_>, element: &[u8]) -> Result<Vec<u64>, Error> {
        let len = list.count();
        let looked_at = |index: u64| match self.direction {
            Direction::Forward => index,
            Direction::Reverse => len - 1 - index,
        };
        let most = if self.most == 0 { u64::MAX } else { self.most };
        let count = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
        };
        let walk = list.walk(0, len, self.direction).zip(0..most);
        let matches = walk.filter_map(|(found, step)| match found {
            Ok(found) => (found == element).then(|| Ok(looked_at(step))),
            Err(error) => Some(Err(Error::from(error))),
        });
        // An error is no match.
        let wanted = matches
            .enumerate()
            .filter_map(|(number, found)| (number >= self.skip || found.is_err()).then_some(found));
        wanted.take(count).collect()
    }
}

/// A number that is not negative.
fn positive(word: &[u8]) -> Option<u64> {
    parse_int(word).and_then(|number| u64::try_from(number).ok())
}

fn lpos(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, element) = (args.next_bytes()?, args.next_bytes()?);
    let sought = Sought::parse(args)?;
    let found = with_list(view, key, |list| sought.find(list, element))?.unwrap_or_default();
    match sought.count {
        Some(_) => Ok(Reply::array(found)),
        None => Ok(found.first().map_or(Reply::Null, |index| Reply::from(*index))),
    }
}
