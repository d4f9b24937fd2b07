//! Commands that take elements off one of several lists or move them to another, at once or as soon
//! as there are any.

use bytes::Bytes;

use super::blocking::{Attempt, Wait, parse_seconds};
use super::list::{list, pop_event, push_event, take};
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Run};
use crate::data::{Edit, End, EventClasses, KeyType, parse_int};
use crate::protocol::Reply;

const MOVED: &[KeySpec] = &[KeySpec::one(1).rw().access().delete(), KeySpec::one(2).rw().insert()];
const POPPED: &[KeySpec] = &[KeySpec::range(1, -2, 1).rw().access().delete()];

const LEFT_RIGHT: &[Arg] = &[Arg::token("left", "LEFT"), Arg::token("right", "RIGHT")];
const DESTINATION: Arg = Arg::key("destination").key_spec(1);
const KEYS_TIMEOUT: &[Arg] = &[Arg::key("key").multiple(), Arg::double("timeout")];
const WHERE: Arg = Arg::one_of("where", LEFT_RIGHT);
const COUNT: Arg = Arg::integer("count").with_token("COUNT").optional();
const NUM_KEYS: Arg = Arg::integer("numkeys");

const POP_COMPLEXITY: &str = "O(N+M) in the number of keys and of elements answered";

const fn spec(name: &'static str, arity: Arity, run: Run) -> CommandSpec {
    CommandSpec::new(name, arity, run).group(Group::List)
}

const fn waiting(
    name: &'static str,
    arity: Arity,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> Result<Attempt, Error>,
) -> CommandSpec {
    spec(name, arity, Run::Blocking(run)).flags(Flags::BLOCKING)
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    spec("lmove", Arity::Exactly(5), Run::Write(lmove))
        .since("6.2.0")
        .summary("Moves an element from one end of a list to one of another.")
        .flags(Flags::DENYOOM)
        .keys(MOVED)
        .args(&[
            Arg::key("source"),
            DESTINATION,
            Arg::one_of("wherefrom", LEFT_RIGHT),
            Arg::one_of("whereto", LEFT_RIGHT),
        ]),
    spec("rpoplpush", Arity::Exactly(3), Run::Write(rpoplpush))
        .since("1.2.0")
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")
        .summary("Moves the last element of a list to the head of another.")
        .flags(Flags::DENYOOM)
        .keys(MOVED)
        .args(&[Arg::key("source"), DESTINATION]),
    spec("lmpop", Arity::AtLeast(4), Run::Write(lmpop))
        .since("7.0.0")
        .complexity(POP_COMPLEXITY)
        .summary("Takes elements off the first of several lists that there is.")
        .keys(&[KeySpec::keynum(1).rw().access().delete()])
        .args(&[NUM_KEYS, Arg::key("key").multiple(), WHERE, COUNT]),
    waiting("blpop", Arity::AtLeast(3), blpop)
        .since("2.0.0")
        .complexity("O(N) in the number of keys")
        .summary("Takes the first element off one of several lists; waits for it.")
        .history(&[("6.0.0", "A timeout with fractions.")])
        .keys(POPPED)
        .args(KEYS_TIMEOUT),
    waiting("brpop", Arity::AtLeast(3), brpop)
        .since("2.0.0")
        .complexity("O(N) in the number of keys")
        .summary("Takes the last element off one of several lists; waits for it.")
        .history(&[("6.0.0", "A timeout with fractions.")])
        .keys(POPPED)
        .args(KEYS_TIMEOUT),
    waiting("blmove", Arity::Exactly(6), blmove)
        .since("6.2.0")
        .summary("Moves an element from one end of a list to one of another; waits for it.")
        .flags(Flags::DENYOOM)
        .keys(MOVED)
        .args(&[
            Arg::key("source"),
            DESTINATION,
            Arg::one_of("wherefrom", LEFT_RIGHT),
            Arg::one_of("whereto", LEFT_RIGHT),
            Arg::double("timeout"),
        ]),
    waiting("brpoplpush", Arity::Exactly(4), brpoplpush)
        .since("2.2.0")
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")
        .summary("Moves the last element of a list to the head of another; waits for it.")
        .history(&[("6.0.0", "A timeout with fractions.")])
        .flags(Flags::DENYOOM)
        .keys(MOVED)
        .args(&[Arg::key("source"), DESTINATION, Arg::double("timeout")]),
    waiting("blmpop", Arity::AtLeast(5), blmpop)
        .since("7.0.0")
        .complexity(POP_COMPLEXITY)
        .summary("Takes elements off the first of several lists that there is; waits for one.")
        .keys(&[KeySpec::keynum(2).rw().access().delete()])
        .args(&[Arg::double("timeout"), NUM_KEYS, Arg::key("key").multiple(), WHERE, COUNT]),
];

/// The next word: `LEFT` or `RIGHT`.
fn next_end(args: &mut Args<'_>) -> Result<End, Error> {
    if args.eat("LEFT") {
        Ok(End::Head)
    } else if args.eat("RIGHT") {
        Ok(End::Tail)
    } else {
        Err(Error::Syntax)
    }
}

/// Moves an element; `None` where there is none.
fn move_element(
    edit: &mut Edit<'_>,
    (from, out_of): (&Bytes, End),
    (to, into): (&Bytes, End),
) -> Result<Option<Reply>, Error> {
    let Some(source) = list(edit.find(from)?)? else { return Ok(None) };
    if from == to {
        let mut list = edit.change_list(from, Some(source));
        let moved = list.pop(out_of, 1)?;
        list.push(into, moved.iter())?;
        list.finish()?;
        edit.uncount_changes(1);
        edit.notify(EventClasses::LIST, push_event(into), to);
        edit.notify(EventClasses::LIST, pop_event(out_of), from);
        return Ok(moved.into_iter().next().map(Reply::Bulk));
    }
    let target = list(edit.find(to)?)?;
    let mut list = edit.change_list(from, Some(source));
    let moved = list.pop(out_of, 1)?;
    let is_empty = list.finish()? == 0;
    let mut list = edit.change_list(to, target);
    list.push(into, moved.iter())?;
    list.finish()?;
    edit.uncount_changes(1);
    edit.notify(EventClasses::LIST, push_event(into), to);
    edit.notify(EventClasses::LIST, pop_event(out_of), from);
    if is_empty {
        edit.notify(EventClasses::GENERIC, "del", from);
    }
    Ok(moved.into_iter().next().map(Reply::Bulk))
}

fn lmove(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (from, to) = (args.next_bytes()?, args.next_bytes()?);
    let (out_of, into) = (next_end(args)?, next_end(args)?);
    Ok(move_element(edit, (from, out_of), (to, into))?.unwrap_or(Reply::Null))
}

fn rpoplpush(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (from, to) = (args.next_bytes()?, args.next_bytes()?);
    Ok(move_element(edit, (from, End::Tail), (to, End::Head))?.unwrap_or(Reply::Null))
}

fn blmove(edit: &mut Edit<'_>, args: &mut Args<'_>) -> Result<Attempt, Error> {
    let (from, to) = (args.next_bytes()?, args.next_bytes()?);
    let (out_of, into) = (next_end(args)?, next_end(args)?);
    move_or_wait(edit, args, (from, out_of), (to, into))
}

fn brpoplpush(edit: &mut Edit<'_>, args: &mut Args<'_>) -> Result<Attempt, Error> {
    let (from, to) = (args.next_bytes()?, args.next_bytes()?);
    move_or_wait(edit, args, (from, End::Tail), (to, End::Head))
}

fn move_or_wait(
    edit: &mut Edit<'_>,
    args: &mut Args<'_>,
    from: (&Bytes, End),
    to: (&Bytes, End),
) -> Result<Attempt, Error> {
    let timeout_ms = parse_seconds(args.next_bytes()?, edit.context().now_ms)?;
    Ok(match move_element(edit, from, to)? {
        Some(moved) => Attempt::Done(moved),
        None => {
            let wait = Wait::new(vec![from.0.clone()], KeyType::List, timeout_ms);
            Attempt::Wait(Wait { at_once: Reply::Null, ..wait })
        }
    })
}

fn blpop(edit: &mut Edit<'_>, args: &mut Args<'_>) -> Result<Attempt, Error> {
    pop_or_wait(edit, args, End::Head)
}

fn brpop(edit: &mut Edit<'_>, args: &mut Args<'_>) -> Result<Attempt, Error> {
    pop_or_wait(edit, args, End::Tail)
}

fn pop_or_wait(edit: &mut Edit<'_>, args: &mut Args<'_>, end: End) -> Result<Attempt, Error> {
    let (timeout, keys) = args.rest().split_last().ok_or(Error::Syntax)?;
    let timeout_ms = parse_seconds(timeout, edit.context().now_ms)?;
    Ok(match pop_first(edit, keys, end, 1)? {
        Some((key, popped)) => {
            let element = popped.into_iter().next();
            Attempt::Done(Reply::Array(vec![Reply::Bulk(key), Reply::bulk_or_null(element)]))
        }
        None => Attempt::Wait(Wait::new(keys.to_vec(), KeyType::List, timeout_ms)),
    })
}

/// Takes elements off the first of the lists that there is; its key and the elements.
fn pop_first(
    edit: &mut Edit<'_>,
    keys: &[Bytes],
    end: End,
    count: u64,
) -> Result<Option<(Bytes, Vec<Bytes>)>, Error> {
    for key in keys {
        if let Some(found) = list(edit.find(key)?)? {
            return Ok(Some((key.clone(), take(edit, key, found, end, count)?)));
        }
    }
    Ok(None)
}

/// The arguments of `LMPOP`.
struct ManyKeys<'a> {
    keys: &'a [Bytes],
    end: End,
    count: u64,
}

impl<'a> ManyKeys<'a> {
    fn parse(args: &mut Args<'a>) -> Result<Self, Error> {
        let from_one = |word: &[u8], what: &str| {
            let number = parse_int(word).and_then(|number| u64::try_from(number).ok());
            let refusal = || Error::Text(format!("ERR {what} should be greater than 0"));
            number.filter(|number| *number > 0).ok_or_else(refusal)
        };
        let number = from_one(args.next_bytes()?, "numkeys")?;
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let keys = args.rest().get(..number).ok_or(Error::Syntax)?;
        args.skip(number);
        let end = next_end(args)?;
        let count = match args.eat("COUNT") {
            true => from_one(args.next_bytes()?, "count")?,
            false => 1,
        };
        args.finish()?;
        Ok(Self { keys, end, count })
    }

    fn pop(&self, edit: &mut Edit<'_>) -> Result<Option<Reply>, Error> {
        let popped = pop_first(edit, self.keys, self.end, self.count)?;
        Ok(popped
            .map(|(key, elements)| Reply::Array(vec![Reply::Bulk(key), Reply::array(elements)])))
    }
}

fn lmpop(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    Ok(ManyKeys::parse(args)?.pop(edit)?.unwrap_or(Reply::NullArray))
}

fn blmpop(edit: &mut Edit<'_>, args: &mut Args<'_>) -> Result<Attempt, Error> {
    let timeout = args.next_bytes()?;
    let call = ManyKeys::parse(args)?;
    let timeout_ms = parse_seconds(timeout, edit.context().now_ms)?;
    Ok(match call.pop(edit)? {
        Some(reply) => Attempt::Done(reply),
        None => Attempt::Wait(Wait::new(call.keys.to_vec(), KeyType::List, timeout_ms)),
    })
}
