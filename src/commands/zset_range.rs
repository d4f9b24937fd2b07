//! Commands on ranges of sorted sets: by rank, by score, by name.

use std::ops::Bound;

use bytes::Bytes;

use super::zset::{reading, with_zset, writing, zset};
use super::zset_pop::remove;
use super::{Answer, Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, KeySpec};
use crate::data::{
    Edit, EventClasses, LexBound, LexRange, Scored, SortedSet, Span, View, in_order, parse_double,
    parse_int,
};
use crate::engine::Direction;
use crate::env::{Purpose, Room};
use crate::protocol::{ListKind, Reply};

const LIMIT: Arg = Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")])
    .with_token("LIMIT")
    .optional();
const SORT_BY: Arg =
    Arg::one_of("sortby", &[Arg::token("byscore", "BYSCORE"), Arg::token("bylex", "BYLEX")])
        .optional()
        .since("6.2.0");
const WITH_SCORES: Arg = Arg::token("withscores", "WITHSCORES").optional();
const REMOVED: &[KeySpec] = &[KeySpec::one(1).rw().delete()];
const RANGE_COST: &str = "O(log(N)+M) for M members answered";

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    reading("zrange", Arity::AtLeast(4), zrange)
        .complexity(RANGE_COST)
        .summary("Answers the members within a range.")
        .args(&[
            Arg::key("key"),
            Arg::string("start"),
            Arg::string("stop"),
            SORT_BY,
            Arg::token("rev", "REV").optional().since("6.2.0"),
            LIMIT.since("6.2.0"),
            WITH_SCORES,
        ]),
    writing("zrangestore", Arity::AtLeast(5), zrangestore)
        .since("6.2.0")
        .complexity("O(log(N)+M) for M members stored")
        .summary("Stores the members within a range.")
        .differs("The result is gathered in memory, at most what one command may hold.")
        .flags(Flags::DENYOOM.or(Flags::STORES))
        .keys(&[KeySpec::one(1).ow().update(), KeySpec::one(2).ro().access()])
        .args(&[
            Arg::key("dst"),
            Arg::key("src").key_spec(1),
            Arg::string("min"),
            Arg::string("max"),
            Arg::one_of(
                "sortby",
                &[Arg::token("byscore", "BYSCORE"), Arg::token("bylex", "BYLEX")],
            )
            .optional(),
            Arg::token("rev", "REV").optional(),
            LIMIT,
        ]),
    reading("zrevrange", Arity::AtLeast(4), zrevrange)
        .complexity(RANGE_COST)
        .summary("Answers the members within a range of ranks, from the highest score on.")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument")
        .args(&[Arg::key("key"), Arg::integer("start"), Arg::integer("stop"), WITH_SCORES]),
    reading("zrangebyscore", Arity::AtLeast(4), zrangebyscore)
        .since("1.0.5")
        .complexity(RANGE_COST)
        .summary("Answers the members within a range of scores.")
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument")
        .args(&[
            Arg::key("key"),
            Arg::double("min"),
            Arg::double("max"),
            WITH_SCORES.since("2.0.0"),
            LIMIT,
        ]),
    reading("zrevrangebyscore", Arity::AtLeast(4), zrevrangebyscore)
        .since("2.2.0")
        .complexity(RANGE_COST)
        .summary("Answers the members within a range of scores, from the highest on.")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments")
        .args(&[Arg::key("key"), Arg::double("max"), Arg::double("min"), WITH_SCORES, LIMIT]),
    reading("zrangebylex", Arity::AtLeast(4), zrangebylex)
        .since("2.8.9")
        .complexity(RANGE_COST)
        .summary("Answers the members within a range of names, where all scores are the same.")
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument")
        .args(&[Arg::key("key"), Arg::string("min"), Arg::string("max"), LIMIT]),
    reading("zrevrangebylex", Arity::AtLeast(4), zrevrangebylex)
        .since("2.8.9")
        .complexity(RANGE_COST)
        .summary("Answers the members within a range of names in reverse order.")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments")
        .args(&[Arg::key("key"), Arg::string("max"), Arg::string("min"), LIMIT]),
    reading("zcount", Arity::Exactly(4), zcount)
        .since("2.0.0")
        .summary("Counts the members within a range of scores.")
        .flags(Flags::FAST)
        .args(&[Arg::key("key"), Arg::double("min"), Arg::double("max")]),
    reading("zlexcount", Arity::Exactly(4), zlexcount)
        .since("2.8.9")
        .summary("Counts the members within a range of names, where all scores are the same.")
        .flags(Flags::FAST)
        .args(&[Arg::key("key"), Arg::string("min"), Arg::string("max")]),
    writing("zremrangebyrank", Arity::Exactly(4), zremrangebyrank)
        .since("2.0.0")
        .complexity("O(log(N)+M) for M members removed")
        .summary("Removes the members within a range of ranks.")
        .keys(REMOVED)
        .args(&[Arg::key("key"), Arg::integer("start"), Arg::integer("stop")]),
    writing("zremrangebyscore", Arity::Exactly(4), zremrangebyscore)
        .complexity("O(log(N)+M) for M members removed")
        .summary("Removes the members within a range of scores.")
        .keys(REMOVED)
        .args(&[Arg::key("key"), Arg::double("min"), Arg::double("max")]),
    writing("zremrangebylex", Arity::Exactly(4), zremrangebylex)
        .since("2.8.9")
        .complexity("O(log(N)+M) for M members removed")
        .summary("Removes the members within a range of names, where all scores are the same.")
        .keys(REMOVED)
        .args(&[Arg::key("key"), Arg::string("min"), Arg::string("max")]),
];

/// What the bounds of a range are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Name,
}

/// A range, its bounds in ascending order.
#[derive(Debug, Clone)]
enum Range {
    Ranks(i64, i64),
    Scores(Span),
    Names(LexRange),
}

impl Range {
    fn parse(by: By, min: &Bytes, max: &Bytes) -> Result<Self, Error> {
        Ok(match by {
            By::Rank => {
                let rank = |word| parse_int(word).ok_or(Error::NotAnInteger);
                Self::Ranks(rank(min)?, rank(max)?)
            }
            By::Score => Self::Scores(parse_scores(min, max)?),
            By::Name => Self::Names(parse_names(min, max)?),
        })
    }

    /// Visits the members of the range but for those that the limit passes over; `direction` says
    /// where the first is.
    fn visit(
        &self,
        zset: SortedSet<'_>,
        direction: Direction,
        limit: Limit,
        visit: &mut dyn FnMut(Scored) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Ok(skipped) = u64::try_from(limit.offset) else { return Ok(()) };
        let count = u64::try_from(limit.count).unwrap_or(u64::MAX);
        let (walk, count) = match self {
            Self::Ranks(start, stop) => {
                let (start, end) = ranks(*start, *stop, zset.count());
                (zset.walk_from(start, direction)?, end.saturating_sub(start))
            }
            Self::Scores(span) => (zset.walk_behind(span, skipped, direction)?, count),
            Self::Names(names) => (zset.walk_names(names, skipped, direction)?, count),
        };
        let mut left = count;
        if left == 0 {
            return Ok(());
        }
        for found in walk {
            visit(found?)?;
            left -= 1;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The members that [`Self::visit`] visits, as many as a command may hold.
    fn members(
        &self,
        zset: SortedSet<'_>,
        direction: Direction,
        limit: Limit,
        room: &Room<'_>,
    ) -> Result<Vec<Scored>, Error> {
        let mut members = Vec::new();
        self.visit(zset, direction, limit, &mut |member| {
            room.take(member.0.len() + size_of::<Scored>())?;
            members.push(member);
            Ok(())
        })?;
        Ok(members)
    }
}

/// First rank and the one behind the last, of bounds that may count from the end.
fn ranks(start: i64, stop: i64, count: u64) -> (u64, u64) {
    let size = i64::try_from(count).unwrap_or(i64::MAX);
    let absolute = |rank: i64| if rank < 0 { rank.saturating_add(size) } else { rank };
    let (start, stop) = (absolute(start).max(0), absolute(stop).min(size - 1));
    if start > stop {
        return (0, 0);
    }
    (start.unsigned_abs(), stop.unsigned_abs() + 1)
}

fn parse_scores(min: &[u8], max: &[u8]) -> Result<Span, Error> {
    let bound = |word: &[u8]| {
        let (number, is_open) = match word.strip_prefix(b"(") {
            Some(number) => (number, true),
            None => (word, false),
        };
        let score = parse_score_bound(number);
        let score = score.ok_or_else(|| Error::Text("ERR min or max is not a float".to_owned()))?;
        Ok::<_, Error>(if is_open { Bound::Excluded(score) } else { Bound::Included(score) })
    };
    Ok(Span::of_scores(bound(min)?, bound(max)?))
}

/// As `strtod` reads it: nothing is zero, blanks may stand before it, a zero byte ends it, and what is
/// too large is infinite.
fn parse_score_bound(word: &[u8]) -> Option<f64> {
    let word = word.split(|byte| *byte == 0).next().unwrap_or(word);
    if word.is_empty() {
        return Some(0.0);
    }
    let word = word.trim_ascii_start();
    let rest =
        || std::str::from_utf8(word).ok()?.parse().ok().filter(|score: &f64| !score.is_nan());
    parse_double(word).or_else(rest)
}

fn parse_names(min: &Bytes, max: &Bytes) -> Result<LexRange, Error> {
    let bound = |word: &Bytes| match &word[..] {
        b"-" => Ok(LexBound::First),
        b"+" => Ok(LexBound::Last),
        [b'[', ..] => Ok(LexBound::Included(word.slice(1..))),
        [b'(', ..] => Ok(LexBound::Excluded(word.slice(1..))),
        _ => Err(Error::Text("ERR min or max not valid string range item".to_owned())),
    };
    Ok(LexRange { min: bound(min)?, max: bound(max)? })
}

/// How many members are passed over, and how many taken at most; negative: all.
#[derive(Debug, Clone, Copy)]
struct Limit {
    offset: i64,
    count: i64,
}

/// What a command says of its range before it reads its words.
#[derive(Debug, Clone, Copy)]
struct Form {
    by: Option<By>,
    direction: Option<Direction>,
    stores: bool,
}

/// A call, read.
struct Call<'a> {
    source: &'a Bytes,
    range: Range,
    direction: Direction,
    limit: Limit,
    with_scores: bool,
}

impl<'a> Call<'a> {
    fn parse(args: &mut Args<'a>, form: Form) -> Result<Self, Error> {
        let (source, first, second) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
        let Form { mut by, mut direction, stores } = form;
        let mut limit = Limit { offset: 0, count: -1 };
        let mut with_scores = false;
        while !args.is_empty() {
            if !stores && args.eat("WITHSCORES") {
                with_scores = true;
            } else if args.len() > 2 && args.eat("LIMIT") {
                limit = Limit { offset: args.next_int()?, count: args.next_int()? };
            } else if direction.is_none() && args.eat("REV") {
                direction = Some(Direction::Reverse);
            } else if by.is_none() && args.eat("BYLEX") {
                by = Some(By::Name);
            } else if by.is_none() && args.eat("BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(Error::Syntax);
            }
        }
        let (by, direction) = (by.unwrap_or(By::Rank), direction.unwrap_or(Direction::Forward));
        let text = |text: &str| Err(Error::Text(format!("ERR syntax error, {text}")));
        if limit.count != -1 && by == By::Rank {
            return text("LIMIT is only supported in combination with either BYSCORE or BYLEX");
        }
        if with_scores && by == By::Name {
            return text("WITHSCORES not supported in combination with BYLEX");
        }
        let is_swapped = direction == Direction::Reverse && by != By::Rank;
        let (min, max) = if is_swapped { (second, first) } else { (first, second) };
        let limit = if by == By::Rank { Limit { offset: 0, count: -1 } } else { limit };
        let range = Range::parse(by, min, max)?;
        Ok(Self { source, range, direction, limit, with_scores })
    }

    /// How many members are answered, where that is known.
    fn count(&self, zset: SortedSet<'_>) -> Option<u64> {
        let Range::Ranks(start, stop) = self.range else { return None };
        let (start, end) = ranks(start, stop, zset.count());
        Some(end - start)
    }

    fn reply(&self, zset: SortedSet<'_>, answer: Answer<'_>) -> CommandResult {
        let kind = self.kind();
        let mut list = match self.count(zset) {
            Some(count) => answer.list_of(kind, count)?,
            None => answer.list(kind),
        };
        self.range.visit(zset, self.direction, self.limit, &mut |(member, score)| {
            if self.with_scores {
                list.push_pair(member, score)
            } else {
                list.push(Reply::Bulk(member))
            }
        })?;
        list.finish()
    }

    fn kind(&self) -> ListKind {
        if self.with_scores { ListKind::Pairs } else { ListKind::Array }
    }
}

fn answer(
    view: &View<'_>,
    args: &mut Args<'_>,
    by: Option<By>,
    direction: Option<Direction>,
) -> CommandResult {
    let call = Call::parse(args, Form { by, direction, stores: false })?;
    let answer = args.answer();
    match with_zset(view, call.source, |zset| call.reply(zset, answer))? {
        Some(reply) => Ok(reply),
        None => answer.list(call.kind()).finish(),
    }
}

fn zrange(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer(view, args, None, None)
}

fn zrevrange(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer(view, args, Some(By::Rank), Some(Direction::Reverse))
}

fn zrangebyscore(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer(view, args, Some(By::Score), Some(Direction::Forward))
}

fn zrevrangebyscore(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer(view, args, Some(By::Score), Some(Direction::Reverse))
}

fn zrangebylex(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer(view, args, Some(By::Name), Some(Direction::Forward))
}

fn zrevrangebylex(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer(view, args, Some(By::Name), Some(Direction::Reverse))
}

fn zrangestore(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let target = args.next_bytes()?;
    let call = Call::parse(args, Form { by: None, direction: None, stores: true })?;
    let found = zset(edit.find_for_answer(call.source)?)?;
    let elements = found.as_ref().and_then(|meta| edit.elements(meta));
    let room = edit.context().memory.room(Purpose::Working);
    let members = elements.map(|elements| {
        let zset = SortedSet::new(elements);
        call.range.members(zset, call.direction, call.limit, &room)
    });
    let members = members.transpose()?;
    let members = in_order(members.unwrap_or_default());
    let old = edit.find(target)?;
    edit.store_zset(target, old.as_ref(), &members)?;
    edit.notify_stored(EventClasses::ZSET, "zrangestore", target, members.is_empty());
    Ok(Reply::count(members.len()))
}

fn zcount(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let span = parse_scores(args.next_bytes()?, args.next_bytes()?)?;
    let count = with_zset(view, key, |zset| Ok(zset.count_in(&span)?))?;
    Ok(Reply::from(count.unwrap_or(0)))
}

fn zlexcount(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let names = parse_names(args.next_bytes()?, args.next_bytes()?)?;
    let count = with_zset(view, key, |zset| Ok(zset.count_names(&names)?))?;
    Ok(Reply::from(count.unwrap_or(0)))
}

fn zremrangebyrank(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    remove_range(edit, args, By::Rank, "zremrangebyrank")
}

fn zremrangebyscore(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    remove_range(edit, args, By::Score, "zremrangebyscore")
}

fn zremrangebylex(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    remove_range(edit, args, By::Name, "zremrangebylex")
}

/// The members are gathered before they are removed; a range of all of them is not read.
fn remove_range(
    edit: &mut Edit<'_>,
    args: &mut Args<'_>,
    by: By,
    name: &'static str,
) -> CommandResult {
    let key = args.next_bytes()?;
    let range = Range::parse(by, args.next_bytes()?, args.next_bytes()?)?;
    let Some(old) = zset(edit.find(key)?)? else { return Ok(Reply::Integer(0)) };
    let Some(elements) = edit.elements(&old) else { return Ok(Reply::Integer(0)) };
    let zset = SortedSet::new(elements);
    let size = zset.count();
    let counted = match &range {
        Range::Ranks(start, stop) => {
            let (start, end) = ranks(*start, *stop, size);
            end - start
        }
        Range::Scores(span) => zset.count_in(span)?,
        Range::Names(names) => zset.count_names(names)?,
    };
    if counted == size {
        edit.delete_collection(key, &old, size);
        edit.notify_shrunk(EventClasses::ZSET, name, key);
        return Ok(Reply::from(size));
    }
    let all = Limit { offset: 0, count: -1 };
    let room = edit.context().memory.room(Purpose::Working);
    let members = range.members(zset, Direction::Forward, all, &room)?;
    remove(edit, key, old, &members, size)?;
    if !members.is_empty() {
        edit.notify_shrunk(EventClasses::ZSET, name, key);
    }
    Ok(Reply::count(members.len()))
}

#[cfg(test)]
mod tests {
    use super::parse_score_bound;

    #[test]
    fn bounds_are_read_as_strtod_reads_them() {
        for (word, score) in [
            (&b""[..], Some(0.0)),
            (b"\0abc", Some(0.0)),
            (b" 2", Some(2.0)),
            (b"2\0abc", Some(2.0)),
            (b"1e999", Some(f64::INFINITY)),
            (b" ", None),
            (b"2 ", None),
            (b"nan", None),
        ] {
            assert_eq!(parse_score_bound(word), score, "{}", word.escape_ascii());
        }
    }
}
