//! Commands on sorted sets. Those on ranges, those that pop, and those that combine sorted sets have
//! files of their own.

use bytes::Bytes;

use super::random::{self, Count};
use super::scan::{ScanOptions, Scanned, parse_cursor, scan_answer};
use super::typed::of_type;
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Run};
use crate::data::{
    Edit, EventClasses, KeyType, Meta, Scored, SortedSet, View, ZSetEdit, parse_double,
};
use crate::env::Purpose;
use crate::protocol::{Reply, format_double};

pub(super) const READ: &[KeySpec] = &[KeySpec::one(1).ro().access()];
const UPDATED: &[KeySpec] = &[KeySpec::one(1).rw().update()];
const KEY_MEMBER: &[Arg] = &[Arg::key("key"), Arg::string("member")];
const KEY_MEMBERS: &[Arg] = &[Arg::key("key"), Arg::string("member").multiple()];
const RANKED: &[Arg] =
    &[Arg::key("key"), Arg::string("member"), Arg::token("withscore", "WITHSCORE").optional()];
const NAMES_ARE_SHORT: &str = "A member of a large sorted set is at most 1 MiB long.";
const RANDOM: &[&str] = &["nondeterministic_output"];

pub(super) const fn reading(
    name: &'static str,
    arity: Arity,
    run: fn(&View<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Read(run))
        .group(Group::SortedSet)
        .since("1.2.0")
        .complexity("O(log(N))")
        .keys(READ)
}

pub(super) const fn writing(
    name: &'static str,
    arity: Arity,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Write(run))
        .group(Group::SortedSet)
        .since("1.2.0")
        .complexity("O(log(N))")
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    writing("zadd", Arity::AtLeast(4), zadd)
        .complexity("O(log(N)) for each member")
        .summary("Adds members to a sorted set or sets their scores; makes the set if needed.")
        .differs(NAMES_ARE_SHORT)
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(UPDATED)
        .args(&[
            Arg::key("key"),
            Arg::one_of("condition", &[Arg::token("nx", "NX"), Arg::token("xx", "XX")])
                .optional()
                .since("3.0.2"),
            Arg::one_of("comparison", &[Arg::token("gt", "GT"), Arg::token("lt", "LT")])
                .optional()
                .since("6.2.0"),
            Arg::token("change", "CH").optional().since("3.0.2"),
            Arg::token("increment", "INCR").optional().since("3.0.2"),
            Arg::block("data", &[Arg::double("score"), Arg::string("member")]).multiple(),
        ]),
    writing("zincrby", Arity::Exactly(4), zincrby)
        .summary("Adds to the score of a member; makes set and member if needed.")
        .differs(NAMES_ARE_SHORT)
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(&[KeySpec::one(1).rw().access().update()])
        .args(&[Arg::key("key"), Arg::integer("increment"), Arg::string("member")]),
    writing("zrem", Arity::AtLeast(3), zrem)
        .complexity("O(log(N)) for each member")
        .summary("Removes members, and the sorted set with the last of them.")
        .flags(Flags::FAST)
        .keys(&[KeySpec::one(1).rw().delete()])
        .args(KEY_MEMBERS),
    reading("zscore", Arity::Exactly(3), zscore)
        .complexity("O(1)")
        .summary("Answers the score of a member.")
        .flags(Flags::FAST)
        .args(KEY_MEMBER),
    reading("zmscore", Arity::AtLeast(3), zmscore)
        .since("6.2.0")
        .complexity("O(N) in the number of members asked for")
        .summary("Answers the scores of several members.")
        .flags(Flags::FAST)
        .args(KEY_MEMBERS),
    reading("zcard", Arity::Exactly(2), zcard)
        .complexity("O(1)")
        .summary("Counts the members.")
        .flags(Flags::FAST)
        .keys(&[KeySpec::one(1).ro()])
        .args(&[Arg::key("key")]),
    reading("zrank", Arity::AtLeast(3), zrank)
        .since("2.0.0")
        .summary("Answers how many members stand before one.")
        .flags(Flags::FAST)
        .args(RANKED),
    reading("zrevrank", Arity::AtLeast(3), zrevrank)
        .since("2.0.0")
        .summary("Answers how many members stand behind one.")
        .flags(Flags::FAST)
        .args(RANKED),
    reading("zrandmember", Arity::AtLeast(2), zrandmember)
        .since("6.2.0")
        .complexity("O(N) in the number of members answered")
        .summary("Answers some members.")
        .differs(random::REPEATED_AT_MOST)
        .tips(RANDOM)
        .args(&[
            Arg::key("key"),
            Arg::block(
                "options",
                &[Arg::integer("count"), Arg::token("withscores", "WITHSCORES").optional()],
            )
            .optional(),
        ]),
    reading("zscan", Arity::AtLeast(3), zscan)
        .since("2.8.0")
        .complexity("O(1) for each call; O(N) for a whole walk")
        .summary("Walks the members of a sorted set in steps.")
        .tips(RANDOM)
        .args(&[
            Arg::key("key"),
            Arg::integer("cursor"),
            Arg::pattern("pattern").with_token("MATCH").optional(),
            Arg::integer("count").with_token("COUNT").optional(),
        ]),
];

/// What was found, if it is a sorted set or nothing.
pub(super) fn zset(found: Option<Meta>) -> Result<Option<Meta>, Error> {
    of_type(found, KeyType::ZSet)
}

/// Asks about the sorted set at `key`, where there is one.
pub(super) fn with_zset<T>(
    view: &View<'_>,
    key: &[u8],
    ask: impl FnOnce(SortedSet<'_>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let found = zset(view.find(key)?)?;
    let elements = found.as_ref().and_then(|meta| view.elements(key, meta));
    elements.map(|elements| ask(SortedSet::new(elements))).transpose()
}

/// A member and its score, as most commands answer both.
pub(super) fn pair((member, score): Scored) -> (Reply, Reply) {
    (Reply::Bulk(member), Reply::Double(score))
}

/// Which members are changed, and how.
#[derive(Debug, Clone, Copy, Default)]
struct AddOptions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    changed: bool,
    increment: bool,
}

/// What became of a member.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Added {
    /// The options did not let it happen.
    Refused,
    /// It has the score that it had.
    Same(f64),
    New(f64),
    Updated(f64),
}

impl AddOptions {
    fn parse(args: &mut Args<'_>) -> Self {
        let mut options = Self::default();
        loop {
            if args.eat("NX") {
                options.nx = true;
            } else if args.eat("XX") {
                options.xx = true;
            } else if args.eat("GT") {
                options.gt = true;
            } else if args.eat("LT") {
                options.lt = true;
            } else if args.eat("CH") {
                options.changed = true;
            } else if args.eat("INCR") {
                options.increment = true;
            } else {
                return options;
            }
        }
    }

    fn check(self, words: usize) -> Result<(), Error> {
        let text = |text: &str| Err(Error::Text(text.to_owned()));
        if words == 0 || words % 2 == 1 {
            return Err(Error::Syntax);
        }
        if self.nx && self.xx {
            return text("ERR XX and NX options at the same time are not compatible");
        }
        if self.nx && (self.gt || self.lt) || self.gt && self.lt {
            return text("ERR GT, LT, and/or NX options at the same time are not compatible");
        }
        if self.increment && words > 2 {
            return text("ERR INCR option supports a single increment-element pair");
        }
        Ok(())
    }

    /// Sets or raises the score of one member.
    fn add(self, zset: &mut ZSetEdit<'_, '_>, member: &[u8], score: f64) -> Result<Added, Error> {
        let Some(before) = zset.score(member)? else {
            if self.xx {
                return Ok(Added::Refused);
            }
            zset.put(member, None, score)?;
            return Ok(Added::New(score));
        };
        if self.nx {
            return Ok(Added::Refused);
        }
        let score = if self.increment { before + score } else { score };
        if score.is_nan() {
            return Err(Error::Text("ERR resulting score is not a number (NaN)".to_owned()));
        }
        if self.gt && score <= before || self.lt && score >= before {
            return Ok(Added::Refused);
        }
        #[expect(clippy::float_cmp, reason = "the very same score is no change")]
        if score == before {
            return Ok(Added::Same(score));
        }
        zset.put(member, Some(before), score)?;
        Ok(Added::Updated(score))
    }
}

pub(super) fn zadd(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let options = AddOptions::parse(args);
    options.check(args.len())?;
    let mut pairs = Vec::with_capacity(args.len() / 2);
    let mut longest = 0;
    for pair in args.rest().chunks_exact(2) {
        if let [score, member] = pair {
            pairs.push((parse_double(score).ok_or(Error::NotAFloat)?, member));
            longest = longest.max(member.len());
        }
    }
    let old = zset(edit.find(key)?)?;
    if old.is_none() && options.xx {
        return Ok(if options.increment { Reply::Null } else { Reply::Integer(0) });
    }
    let mut zset = edit.zset(key, old);
    zset.expect(pairs.len() as u64, if zset.count() == 0 { longest } else { 0 })?;
    let (mut new, mut updated, mut score_now) = (0, 0, None);
    for (score, member) in pairs {
        score_now = match options.add(&mut zset, member, score)? {
            Added::Refused => None,
            Added::Same(score) => Some(score),
            Added::New(score) => {
                new += 1;
                Some(score)
            }
            Added::Updated(score) => {
                updated += 1;
                Some(score)
            }
        };
    }
    zset.finish()?;
    if new + updated > 0 {
        let name = if options.increment { "zincr" } else { "zadd" };
        edit.notify(EventClasses::ZSET, name, key);
    }
    Ok(match (options.increment, options.changed) {
        (true, _) => score_now.map_or(Reply::Null, Reply::Double),
        (false, true) => Reply::Integer(new + updated),
        (false, false) => Reply::Integer(new),
    })
}

fn zincrby(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    // As in Redis an option of ZADD is taken for one, and then a word is missing.
    AddOptions::parse(args).check(args.len())?;
    let (by, member) = (args.next_bytes()?, args.next_bytes()?);
    let by = parse_double(by).ok_or(Error::NotAFloat)?;
    let old = zset(edit.find(key)?)?;
    let mut zset = edit.zset(key, old);
    let options = AddOptions { increment: true, ..AddOptions::default() };
    let added = options.add(&mut zset, member, by)?;
    zset.finish()?;
    if matches!(added, Added::New(_) | Added::Updated(_)) {
        edit.notify(EventClasses::ZSET, "zincr", key);
    }
    Ok(match added {
        Added::Refused => Reply::Null,
        Added::Same(score) | Added::New(score) | Added::Updated(score) => Reply::Double(score),
    })
}

fn zrem(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let Some(old) = zset(edit.find(key)?)? else { return Ok(Reply::Integer(0)) };
    let mut zset = edit.zset(key, Some(old));
    let mut removed = 0;
    for member in args.rest() {
        if let Some(score) = zset.score(member)? {
            zset.take(member, score)?;
            removed += 1;
        }
    }
    zset.finish()?;
    if removed > 0 {
        edit.notify_shrunk(EventClasses::ZSET, "zrem", key);
    }
    Ok(Reply::Integer(removed))
}

fn zscore(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, member) = (args.next_bytes()?, args.next_bytes()?);
    let score = with_zset(view, key, |zset| Ok(zset.score(member)?))?;
    Ok(score.flatten().map_or(Reply::Null, Reply::Double))
}

fn zmscore(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let asked = args.rest();
    let scores = with_zset(view, key, |zset| {
        let score = |member: &Bytes| Ok(zset.score(member)?.map_or(Reply::Null, Reply::Double));
        asked.iter().map(score).collect::<Result<Vec<_>, Error>>()
    })?;
    Ok(Reply::Array(scores.unwrap_or_else(|| vec![Reply::Null; asked.len()])))
}

fn zcard(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let count = with_zset(view, args.next_bytes()?, |zset| Ok(zset.count()))?;
    Ok(Reply::from(count.unwrap_or(0)))
}

fn zrank(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    rank(view, args, "zrank", |rank, _| rank)
}

fn zrevrank(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    rank(view, args, "zrevrank", |rank, count| count.saturating_sub(rank + 1))
}

fn rank(
    view: &View<'_>,
    args: &mut Args<'_>,
    name: &'static str,
    counted: impl FnOnce(u64, u64) -> u64,
) -> CommandResult {
    let (key, member) = (args.next_bytes()?, args.next_bytes()?);
    if args.len() > 1 {
        return Err(Error::WrongArity(name));
    }
    let with_score = args.eat("WITHSCORE");
    args.finish()?;
    let found = with_zset(view, key, |zset| Ok(zset.rank(member)?.map(|at| (at, zset.count()))))?;
    Ok(match found.flatten() {
        Some(((rank, score), count)) if with_score => {
            Reply::Array(vec![Reply::from(counted(rank, count)), Reply::Double(score)])
        }
        Some(((rank, _), count)) => Reply::from(counted(rank, count)),
        None if with_score => Reply::NullArray,
        None => Reply::Null,
    })
}

fn zrandmember(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    if args.is_empty() {
        let picked = with_zset(view, key, |zset| Ok(zset.elements().pick()?))?;
        return Ok(Reply::bulk_or_null(picked.flatten().map(|member| member.name)));
    }
    let count = Count::parse(args)?;
    let with_scores = !args.is_empty();
    if with_scores && !args.eat("WITHSCORES") {
        return Err(Error::Syntax);
    }
    args.finish()?;
    if with_scores {
        count.check_twice()?;
    }
    let room = view.context().memory.room(Purpose::Working);
    let picked =
        with_zset(view, key, |zset| count.pick(zset.elements(), &room))?.unwrap_or_default();
    if !with_scores {
        return Ok(Reply::array(picked.into_iter().map(|member| member.name)));
    }
    let mut pairs = Vec::with_capacity(picked.len());
    for member in picked {
        let score = member.score()?;
        pairs.push(pair((member.name, score)));
    }
    Ok(Reply::Pairs(pairs))
}

fn zscan(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let cursor = parse_cursor(args.next_bytes()?).ok_or(Error::InvalidCursor)?;
    let page = with_zset(view, key, |zset| {
        let options = ScanOptions::parse(args, Scanned::Members)?;
        let (next, page) = zset.elements().page(cursor, options.count)?;
        let mut replies = Vec::with_capacity(page.len() * 2);
        for member in page.into_iter().filter(|member| options.matches(&member.name)) {
            let score = member.score()?;
            replies.extend([Reply::Bulk(member.name), Reply::from(format_double(score))]);
        }
        Ok((next, replies))
    })?;
    let (next, page) = page.unwrap_or_default();
    Ok(scan_answer(next, page))
}
