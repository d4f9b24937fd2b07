//! Commands that walk the keys of a database: `SCAN`, `KEYS`, `RANDOMKEY`.
//!
//! Keys are walked in the order of their bytes. That makes the promise of `SCAN` easy to keep: a
//! call goes on behind the last key that the call before it has examined, so a key that is there
//! from the first call to the last is met exactly when its place comes, whatever is inserted or
//! deleted around it. How a place becomes a 64-bit cursor stands in [`crate::data::Cursors`].
//! `COUNT` is the number of keys that a call examines; those that have expired count, so that a
//! call is short even where everything has expired. A literal prefix of `MATCH` bounds the walk:
//! `MATCH user:*` costs what there is below `user:`.
//!
//! `RANDOMKEY` chooses uniformly where a database has few keys. Where it has many it goes down the
//! tree of prefixes, choosing each byte uniformly between the smallest and the largest that occur
//! there; that is uniform for keys such as `user:000123`, and prefers keys that few others share a
//! prefix with, or that stand behind a gap.

use std::ops::Bound;

use bytes::Bytes;
use smallvec::SmallVec;

use super::acl::Category;
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Run, random};
use crate::data::{Meta, Place, View, glob_matches, glob_prefix, parse_int};
use crate::engine::{self, Direction};
use crate::protocol::{ListKind, Reply};

/// Keys that a call of `SCAN` examines if it does not say how many.
const COUNT_DEFAULT: u64 = 10;
/// A page is of no more: it is made in memory.
const COUNT_MAX: u64 = 1 << 16;
/// Keys that a call may examine beyond those where it goes on at a place that is not exactly known.
const REPEATED_MAX: u64 = 1000;
/// Expired keys that `RANDOMKEY` may meet before it takes the first one that is alive.
const RANDOM_TRIES: usize = 100;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("scan", Arity::AtLeast(2), Run::Read(scan))
        .since("2.8.0")
        .complexity("O(1) for each call; O(N) for a whole walk")
        .summary("Walks the keys of the database in steps.")
        .differs(
            "Keys come in the order of their bytes. A literal prefix of MATCH bounds the walk.",
        )
        .tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
        .flags(Flags::TOUCHES_ARBITRARY_KEYS)
        .acl(&[Category::Keyspace])
        .args(&[
            Arg::integer("cursor"),
            Arg::pattern("pattern").with_token("MATCH").optional(),
            Arg::integer("count").with_token("COUNT").optional(),
            Arg::string("type").with_token("TYPE").optional().since("6.0.0"),
        ]),
    CommandSpec::new("keys", Arity::Exactly(2), Run::Read(keys))
        .since("1.0.0")
        .complexity("O(N) in the number of keys of the database")
        .summary("Answers all keys that match a pattern.")
        .flags(Flags::HEAVY)
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .acl(&[Category::Keyspace, Category::Dangerous])
        .args(&[Arg::pattern("pattern")]),
    CommandSpec::new("randomkey", Arity::Exactly(1), Run::Read(randomkey))
        .since("1.0.0")
        .complexity("O(log N) in the number of keys")
        .summary("Answers some key of the database.")
        .differs("Not quite uniform where key names are not.")
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"])
        .flags(Flags::TOUCHES_ARBITRARY_KEYS)
        .acl(&[Category::Keyspace]),
];

fn scan(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let cursor = parse_cursor(args.next_bytes()?).ok_or(Error::InvalidCursor)?;
    let options = ScanOptions::parse(args, Scanned::Keys)?;
    let (cursors, keyspace) = (view.context().cursors, view.keyspace());
    let wanted = Wanted::new(options.pattern);
    let from = Resumed::of(view, cursors.resume(keyspace, cursor))?;
    let start = match &from.start {
        Bound::Included(key) if key > &wanted.prefix[..] => Bound::Included(key.clone()),
        Bound::Excluded(key) if key >= &wanted.prefix[..] => Bound::Excluded(key.clone()),
        _ => Bound::Included(Bytes::copy_from_slice(&wanted.prefix)),
    };
    let mut keys = Vec::new();
    let mut last: Option<Bytes> = None;
    let (mut examined, mut repeated) = (0, 0);
    for entry in wanted.walk(view, as_slice(&start)) {
        let (key, meta) = entry?;
        if let Some(last) = last.filter(|_| examined == options.count) {
            let cursor = cursors.remember(keyspace, &last, from.shared_with(view, &last)?);
            return Ok(scan_answer(cursor, keys));
        }
        if let Some(meta) = meta
            && wanted.matches(&key)
            && options
                .type_name
                .is_none_or(|name| name.eq_ignore_ascii_case(meta.kind.name().as_bytes()))
        {
            keys.push(Reply::Bulk(key.clone()));
        }
        if repeated < REPEATED_MAX && from.may_repeat(&key) {
            repeated += 1;
        } else {
            examined += 1;
        }
        last = Some(key);
    }
    Ok(scan_answer(0, keys))
}

/// Where a call goes on.
struct Resumed {
    start: Bound<Bytes>,
    /// Whether the cursor was not known any more, so that keys come again.
    is_near: bool,
    /// A key, and how many bytes of it all keys have in common; `None` where that is not told yet.
    shared: Option<(Bytes, usize)>,
}

impl Resumed {
    fn of(view: &View<'_>, place: Place) -> Result<Self, Error> {
        Ok(match place {
            Place::Start => Self { start: Bound::Unbounded, is_near: false, shared: None },
            Place::Behind { key, shared } => {
                let shared = Some((key.clone(), shared));
                Self { start: Bound::Excluded(key), is_near: false, shared }
            }
            Place::Near { shared, piece } => {
                let common = common_prefix(view)?;
                // Others came that begin otherwise: what the key began with is not known.
                let start = match common.get(..shared) {
                    Some(begin) => Bound::Included([begin, &piece[..]].concat().into()),
                    None => Bound::Unbounded,
                };
                let len = common.len();
                Self { start, is_near: true, shared: Some((common, len)) }
            }
        })
    }

    /// Whether a key stands where the one of a forgotten cursor did, as far as that is known. Such
    /// keys are not counted, so that a scan goes on even where each of its cursors is forgotten.
    fn may_repeat(&self, key: &[u8]) -> bool {
        matches!(&self.start, Bound::Included(near) if self.is_near && key.starts_with(near))
    }

    /// How many bytes of `key` all keys have in common: of those that have been there since the scan
    /// began, all do.
    fn shared_with(&self, view: &View<'_>, key: &[u8]) -> Result<usize, Error> {
        match &self.shared {
            Some((known, shared)) => Ok(common_len(known, key).min(*shared)),
            None => Ok(common_prefix(view)?.len()),
        }
    }
}

/// What all keys of the database begin with: what the first and the last one do.
fn common_prefix(view: &View<'_>) -> Result<Bytes, Error> {
    let end = |direction| {
        let mut keys = view.walk(Bound::Unbounded, Bound::Unbounded, direction);
        keys.next().transpose().map(|entry| entry.map_or(Bytes::new(), |(key, _)| key))
    };
    let (first, last) = (end(Direction::Forward)?, end(Direction::Reverse)?);
    Ok(first.slice(..common_len(&first, &last)))
}

fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A cursor as Redis 7.4 reads it: `strtoull` of C, which takes blanks and a plus in front, and folds
/// a negative number over; but none that fits a signed 64-bit integer. Nothing behind a NUL byte.
pub(super) fn parse_cursor(text: &[u8]) -> Option<u64> {
    let text = text.split(|byte| *byte == 0).next()?;
    if parse_int(text).is_some_and(|number| number < 0) {
        return None;
    }
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !is_blank(byte))?;
    let (negative, digits) = match text.get(start..)? {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number: u64 = std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// Cursor and page of a scan.
pub(super) fn scan_answer(cursor: u64, page: Vec<Reply>) -> Reply {
    let cursor = Bytes::copy_from_slice(itoa::Buffer::new().format(cursor).as_bytes());
    Reply::Array(vec![Reply::Bulk(cursor), Reply::Array(page)])
}

/// What a scan walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    /// Keys of a database.
    Keys,
    /// Fields of a hash.
    Fields,
    /// Members of a set.
    Members,
}

/// The options of a scan.
pub(super) struct ScanOptions<'a> {
    pattern: &'a [u8],
    /// About how many are to be examined; not 0.
    pub(super) count: u64,
    type_name: Option<&'a [u8]>,
    /// `NOVALUES`.
    pub(super) no_values: bool,
}

impl<'a> ScanOptions<'a> {
    /// Reads what is left of the call.
    pub(super) fn parse(args: &mut Args<'a>, scanned: Scanned) -> Result<Self, Error> {
        let mut options =
            Self { pattern: b"*", count: COUNT_DEFAULT, type_name: None, no_values: false };
        while !args.is_empty() {
            if args.eat("COUNT") {
                let count = u64::try_from(args.next_int()?).ok().filter(|count| *count > 0);
                options.count = count.ok_or(Error::Syntax)?.min(COUNT_MAX);
            } else if args.eat("MATCH") {
                options.pattern = args.next_bytes()?;
            } else if scanned == Scanned::Keys && args.eat("TYPE") {
                options.type_name = Some(args.next_bytes()?);
            } else if args.eat("NOVALUES") {
                if scanned != Scanned::Fields {
                    return Err(Error::NoValuesOfHashes);
                }
                options.no_values = true;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether the pattern matches; that of every name matches an empty one too.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        self.pattern == b"*" || glob_matches(self.pattern, name, false)
    }
}

fn keys(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let wanted = Wanted::new(args.next_bytes()?);
    let mut keys = args.answer().list(ListKind::Array);
    for entry in wanted.walk(view, Bound::Included(&wanted.prefix)) {
        let (key, meta) = entry?;
        if meta.is_some() && wanted.matches(&key) {
            keys.push(Reply::Bulk(key))?;
        }
    }
    keys.finish()
}

/// The keys that match a pattern lie between its literal prefix and the end of that prefix.
struct Wanted<'a> {
    pattern: &'a [u8],
    prefix: SmallVec<[u8; 32]>,
    /// Whether every key of the range matches.
    whole_range: bool,
    /// Whether the prefix is the only key that matches.
    one_key: bool,
}

impl<'a> Wanted<'a> {
    fn new(pattern: &'a [u8]) -> Self {
        let (prefix, one_key) = glob_prefix(pattern);
        let whole_range = pattern.split_last() == Some((&b'*', &prefix));
        Self { pattern, prefix, whole_range, one_key }
    }

    fn matches(&self, key: &[u8]) -> bool {
        self.whole_range || glob_matches(self.pattern, key, false)
    }

    fn walk<'v>(&self, view: &'v View<'_>, start: Bound<&[u8]>) -> Walk<'v> {
        let end_of_prefix = prefix_end(&self.prefix);
        let end = match &end_of_prefix {
            _ if self.one_key => Bound::Included(&self.prefix[..]),
            Some(end) => Bound::Excluded(&end[..]),
            None => Bound::Unbounded,
        };
        let is_empty = match (start, end) {
            (Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end))
            | (Bound::Included(start), Bound::Excluded(end)) => start >= end,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            _ => false,
        };
        if is_empty {
            return Box::new(std::iter::empty());
        }
        Box::new(view.walk(start, end, Direction::Forward))
    }
}

type Walk<'a> = Box<dyn Iterator<Item = engine::Result<(Bytes, Option<Meta>)>> + 'a>;

/// The smallest key behind all keys with this prefix; `None` where there is none.
pub(super) fn prefix_end(prefix: &[u8]) -> Option<SmallVec<[u8; 32]>> {
    let len = prefix.iter().rposition(|byte| *byte != u8::MAX)? + 1;
    let mut end: SmallVec<[u8; 32]> = prefix.get(..len)?.into();
    *end.last_mut()? += 1;
    Some(end)
}

fn as_slice(bound: &Bound<Bytes>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn randomkey(view: &View<'_>, _: &mut Args<'_>) -> CommandResult {
    let all = || view.walk(Bound::Unbounded, Bound::Unbounded, Direction::Forward);
    if view.key_count() == 0 {
        return Ok(Reply::Null);
    }
    if view.key_count() <= random::FEW_KEYS {
        let mut live = Vec::new();
        for entry in all() {
            let (key, meta) = entry?;
            live.extend(meta.map(|_| key));
        }
        let picked = fastrand::choice(live);
        return Ok(picked.map_or(Reply::Null, Reply::Bulk));
    }
    for _ in 0..RANDOM_TRIES {
        if let Some((key, Some(_))) = random::entry(view)? {
            return Ok(Reply::Bulk(key));
        }
    }
    for entry in all() {
        if let (key, Some(_)) = entry? {
            return Ok(Reply::Bulk(key));
        }
    }
    Ok(Reply::Null)
}
