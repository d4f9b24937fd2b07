//! `SORT` and `SORT_RO`: the elements of a list, a set or a sorted set in an order, and what keys named
//! after them hold.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;

use super::acl::Category;
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, KeySpec, Run};
use crate::data::{Edit, EventClasses, KeyType, Meta, SortedSet, View, parse_double};
use crate::engine::{self, Direction};
use crate::env::{Purpose, Room};
use crate::protocol::{ListKind, Reply};

/// The key, what patterns lead to, and the target.
const KEYS: &[KeySpec] = &[
    KeySpec::one(1).ro().access(),
    KeySpec::unknown().ro().access(),
    KeySpec::unknown().ow().update(),
];
const READ_KEYS: &[KeySpec] = &[KeySpec::one(1).ro().access(), KeySpec::unknown().ro().access()];

const BY: Arg =
    Arg::pattern("by-pattern").display("pattern").with_token("BY").key_spec(1).optional();
const LIMIT: Arg = Arg::block("limit", &[Arg::integer("offset"), Arg::integer("count")])
    .with_token("LIMIT")
    .optional();
const GET: Arg = Arg::pattern("get-pattern")
    .display("pattern")
    .with_token("GET")
    .key_spec(1)
    .optional()
    .multiple_token();
const ORDER: Arg =
    Arg::one_of("order", &[Arg::token("asc", "ASC"), Arg::token("desc", "DESC")]).optional();
const ALPHA: Arg = Arg::token("sorting", "ALPHA").optional();

const fn sorting(name: &'static str, run: Run) -> CommandSpec {
    CommandSpec::new(name, Arity::AtLeast(2), run)
        .complexity("O(N+M*log(M)) for N elements there are and M that are sorted")
        .acl(&[Category::Set, Category::SortedSet, Category::List, Category::Dangerous])
}

/// Values that `GET` answers at most: they are made in memory.
const VALUES_MAX: usize = 1 << 22;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    sorting("sort", Run::Write(sort))
        .summary("Answers or stores the elements of a list, a set or a sorted set in an order.")
        .differs(
            "ALPHA compares bytes whatever the locale. The elements are gathered in memory; what \
             is stored is at most what one command may hold.",
        )
        .flags(Flags::DENYOOM)
        .keys(KEYS)
        .last_key(target_place)
        .follows(|words| followed(words, true))
        .args(&[
            Arg::key("key"),
            BY,
            LIMIT,
            GET,
            ORDER,
            ALPHA,
            Arg::key("destination").with_token("STORE").key_spec(2).optional(),
        ]),
    sorting("sort_ro", Run::Read(sort_ro))
        .since("7.0.0")
        .summary("Answers the elements of a list, a set or a sorted set in an order.")
        .differs("ALPHA compares bytes whatever the locale. The elements are gathered in memory; GET answers at most 4194304 values.")
        .keys(READ_KEYS)
        .follows(|words| followed(words, false))
        .args(&[Arg::key("key"), BY, LIMIT, GET, ORDER, ALPHA]),
];

/// Where the target stands in a call of `SORT`: behind the last `STORE` that is no option's value.
fn target_place(words: &[Bytes]) -> Option<usize> {
    let (mut at, mut target) = (2, None);
    while let Some(word) = words.get(at) {
        let is = |token: &str| word.eq_ignore_ascii_case(token.as_bytes());
        if is("LIMIT") {
            at += 2;
        } else if is("GET") || is("BY") {
            at += 1;
        } else if is("STORE") && at + 1 < words.len() {
            at += 1;
            target = Some(at);
        }
        at += 1;
    }
    target
}

/// The first option that leads to keys that the call does not name, up to what is no option.
fn followed(words: &[Bytes], stores: bool) -> Option<&'static str> {
    let mut at = 2;
    while let Some(word) = words.get(at) {
        let left = words.len() - at - 1;
        let is = |token: &str| word.eq_ignore_ascii_case(token.as_bytes());
        if is("LIMIT") && left >= 2 {
            at += 2;
        } else if is("BY") && left >= 1 {
            if matches!(Pattern::parse(&words[at + 1]), Pattern::Key { .. }) {
                return Some("BY");
            }
            at += 1;
        } else if is("GET") && left >= 1 {
            return Some("GET");
        } else if stores && is("STORE") && left >= 1 {
            at += 1;
        } else if !(is("ASC") || is("DESC") || is("ALPHA")) {
            return None;
        }
        at += 1;
    }
    None
}

/// A pattern of `BY` or `GET`. As in Redis, a zero byte ends the part that is looked through.
#[derive(Debug, Clone, Copy)]
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// No `*`: leads nowhere.
    Constant,
    /// The string at a key, or a field of the hash there; the element stands between both parts of
    /// the key.
    Key { before: &'a [u8], behind: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    fn parse(pattern: &'a [u8]) -> Self {
        let seen = pattern.split(|byte| *byte == 0).next().unwrap_or_default();
        if seen == b"#" {
            return Self::Element;
        }
        let Some(star) = seen.iter().position(|byte| *byte == b'*') else {
            return Self::Constant;
        };
        let (before, behind) = (&pattern[..star], &pattern[star + 1..]);
        let arrow = seen[star + 1..].windows(2).position(|pair| pair == b"->");
        // An arrow at the end is part of the key.
        match arrow.filter(|arrow| star + 1 + arrow + 2 < seen.len()) {
            Some(arrow) => {
                Self::Key { before, behind: &behind[..arrow], field: Some(&behind[arrow + 2..]) }
            }
            None => Self::Key { before, behind, field: None },
        }
    }

    /// What the pattern leads to from an element; `None` where there is nothing of that type.
    fn value(self, view: &View<'_>, element: &Bytes) -> Result<Option<Bytes>, Error> {
        let (before, behind, field) = match self {
            Self::Element => return Ok(Some(element.clone())),
            Self::Constant => return Ok(None),
            Self::Key { before, behind, field } => (before, behind, field),
        };
        let key = [before, element, behind].concat();
        let Some(meta) = view.find(&key)? else { return Ok(None) };
        match field {
            None if meta.kind == KeyType::String => Ok(Some(view.string(&meta)?)),
            Some(field) if meta.kind == KeyType::Hash => match view.elements(&key, &meta) {
                Some(fields) => Ok(fields.get(field)?.map(|found| found.value)),
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }
}

/// By what the elements are sorted.
#[derive(Debug, Clone, Copy)]
enum Criterion<'a> {
    /// Not at all: as they are kept.
    Native,
    /// By numbers: the elements, or what the pattern leads to.
    Number(Option<Pattern<'a>>),
    /// By bytes: of the elements, or of what the pattern leads to.
    Text(Option<Pattern<'a>>),
}

/// What a call asks for behind its key.
#[derive(Debug)]
struct Options<'a> {
    by: Option<Pattern<'a>>,
    /// Whether some `BY` had no `*`.
    is_native: bool,
    is_text: bool,
    descends: bool,
    /// The elements themselves where it is empty.
    gets: Vec<Pattern<'a>>,
    offset: i64,
    /// All where it is negative.
    count: i64,
    target: Option<&'a Bytes>,
}

impl<'a> Options<'a> {
    fn parse(args: &mut Args<'a>, stores: bool) -> Result<Self, Error> {
        let mut options = Self {
            by: None,
            is_native: false,
            is_text: false,
            descends: false,
            gets: Vec::new(),
            offset: 0,
            count: -1,
            target: None,
        };
        while !args.is_empty() {
            let has_value = args.len() > 1;
            if args.eat("ASC") {
                options.descends = false;
            } else if args.eat("DESC") {
                options.descends = true;
            } else if args.eat("ALPHA") {
                options.is_text = true;
            } else if args.len() > 2 && args.eat("LIMIT") {
                (options.offset, options.count) = (args.next_int()?, args.next_int()?);
            } else if stores && has_value && args.eat("STORE") {
                options.target = Some(args.next_bytes()?);
            } else if has_value && args.eat("BY") {
                let pattern = Pattern::parse(args.next_bytes()?);
                options.is_native |= !matches!(pattern, Pattern::Key { .. });
                options.by = Some(pattern);
            } else if has_value && args.eat("GET") {
                options.gets.push(Pattern::parse(args.next_bytes()?));
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }

    /// By what the elements of a value of this type are sorted. A set that is stored, or that a
    /// script asks for, is never left
    /// as it is kept: the outcome must not depend on that.
    fn criterion(&self, kind: KeyType, in_script: bool) -> Criterion<'a> {
        match (self.is_native, self.is_text) {
            (true, _) if kind == KeyType::Set && (self.target.is_some() || in_script) => {
                Criterion::Text(None)
            }
            (true, _) => Criterion::Native,
            (false, true) => Criterion::Text(self.by),
            (false, false) => Criterion::Number(self.by),
        }
    }

    /// Which of `count` elements are answered.
    fn part(&self, count: u64) -> Range<u64> {
        let start = u64::try_from(self.offset).unwrap_or(0).min(count);
        let limit = u64::try_from(self.count).unwrap_or(u64::MAX);
        start..start.saturating_add(limit).min(count)
    }

    fn directed(&self, ordering: Ordering) -> Ordering {
        if self.descends { ordering.reverse() } else { ordering }
    }

    fn direction(&self) -> Direction {
        if self.descends { Direction::Reverse } else { Direction::Forward }
    }

    /// Sorts `elements`. Those that are equal stay in the order in which they came.
    fn sort(
        &self,
        view: &View<'_>,
        criterion: Criterion<'a>,
        mut elements: Vec<Bytes>,
        room: &Room<'_>,
    ) -> Result<Vec<Bytes>, Error> {
        match criterion {
            Criterion::Native => {}
            Criterion::Text(None) => elements.sort_by(|a, b| self.directed(a.cmp(b))),
            Criterion::Text(Some(by)) => {
                let mut weighed = Vec::with_capacity(elements.len());
                for element in elements {
                    let value = by.value(view, &element)?;
                    room.take(value.as_ref().map_or(0, Bytes::len) + 2 * size_of::<Bytes>())?;
                    weighed.push((value, element));
                }
                weighed.sort_by(|a, b| self.directed(a.0.cmp(&b.0)));
                return Ok(weighed.into_iter().map(|(_, element)| element).collect());
            }
            Criterion::Number(by) => {
                let mut weighed = Vec::with_capacity(elements.len());
                for element in elements {
                    let weight = match by {
                        None => parse_weight(&element)?,
                        Some(by) => match by.value(view, &element)? {
                            Some(value) => parse_weight(&value)?,
                            None => 0.0,
                        },
                    };
                    weighed.push((weight, element));
                }
                weighed.sort_by(|a, b| {
                    let by_weight = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
                    self.directed(by_weight.then_with(|| a.1.cmp(&b.1)))
                });
                return Ok(weighed.into_iter().map(|(_, element)| element).collect());
            }
        }
        Ok(elements)
    }

    /// The elements of the value at `key` that are answered, in their order.
    fn elements(&self, view: &View<'_>, key: &[u8], room: &Room<'_>) -> Result<Vec<Bytes>, Error> {
        let Some(meta) = view.find(key)? else { return Ok(Vec::new()) };
        let criterion = self.criterion(meta.kind, view.context().in_script);
        if matches!(criterion, Criterion::Native) && meta.kind != KeyType::Set {
            return self.kept_elements(view, key, &meta, room);
        }
        let elements = all_elements(view, key, &meta, room)?;
        let mut elements = self.sort(view, criterion, elements, room)?;
        let part = self.part(elements.len() as u64);
        let index = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        elements.truncate(index(part.end));
        elements.drain(..index(part.start));
        Ok(elements)
    }

    /// The elements that are answered of a list or a sorted set in the order in which it keeps them:
    /// no others are read.
    fn kept_elements(
        &self,
        view: &View<'_>,
        key: &[u8],
        meta: &Meta,
        room: &Room<'_>,
    ) -> Result<Vec<Bytes>, Error> {
        if let Some(list) = view.list(meta) {
            let count = list.count();
            let mut part = self.part(count);
            if self.descends {
                part = count - part.end..count - part.start;
            }
            return gather(list.walk(part.start, part.end, self.direction()), room);
        }
        let zset = scored(view, key, meta)?;
        let part = self.part(zset.count());
        if part.is_empty() {
            return Ok(Vec::new());
        }
        let walk = zset.walk_from(part.start, self.direction())?;
        gather(walk.zip(part).map(|(member, _)| Ok(member?.0)), room)
    }

    /// What the call answers: the elements, or what their patterns lead to.
    fn answers(&self, view: &View<'_>, key: &[u8]) -> Result<Vec<Option<Bytes>>, Error> {
        let room = view.context().memory.room(Purpose::Working);
        let elements = self.elements(view, key, &room)?;
        if self.gets.is_empty() {
            return Ok(elements.into_iter().map(Some).collect());
        }
        let count = elements.len().saturating_mul(self.gets.len());
        if count > VALUES_MAX {
            return Err(Error::Text(format!(
                "ERR value is out of range, at most {VALUES_MAX} values are answered"
            )));
        }
        let mut answers = Vec::with_capacity(count);
        for element in &elements {
            for get in &self.gets {
                let value = get.value(view, element)?;
                room.take(value.as_ref().map_or(0, Bytes::len) + size_of::<Reply>())?;
                answers.push(value);
            }
        }
        Ok(answers)
    }
}

/// A sorted set, or an error where it is none.
fn scored<'a>(view: &'a View<'_>, key: &[u8], meta: &'a Meta) -> Result<SortedSet<'a>, Error> {
    match view.elements(key, meta) {
        Some(members) if meta.kind == KeyType::ZSet => Ok(SortedSet::new(members)),
        _ => Err(Error::WrongType),
    }
}

/// All of these elements, as many as a command may hold.
fn gather(
    elements: impl Iterator<Item = engine::Result<Bytes>>,
    room: &Room<'_>,
) -> Result<Vec<Bytes>, Error> {
    let mut gathered = Vec::new();
    for element in elements {
        let element = element?;
        room.take(element.len() + size_of::<Bytes>())?;
        gathered.push(element);
    }
    Ok(gathered)
}

fn all_elements(
    view: &View<'_>,
    key: &[u8],
    meta: &Meta,
    room: &Room<'_>,
) -> Result<Vec<Bytes>, Error> {
    if let Some(list) = view.list(meta) {
        return gather(list.walk_all(), room);
    }
    match view.elements(key, meta) {
        Some(members) if matches!(meta.kind, KeyType::Set | KeyType::ZSet) => {
            gather(members.walk().map(|member| Ok(member?.name)), room)
        }
        _ => Err(Error::WrongType),
    }
}

/// A number as `strtod` reads it: behind blanks, up to a zero byte; nothing at all is zero.
fn parse_weight(text: &[u8]) -> Result<f64, Error> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(0.0);
    }
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\x0b';
    let start = text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len());
    parse_double(&text[start..]).ok_or_else(|| {
        Error::Text("ERR One or more scores can't be converted into double".to_owned())
    })
}

fn sort_ro(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let answers = Options::parse(args, false)?.answers(view, key)?;
    let mut replies = args.answer().list_of(ListKind::Array, answers.len() as u64)?;
    for answer in answers {
        replies.push(Reply::bulk_or_null(answer))?;
    }
    replies.finish()
}

fn sort(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let options = Options::parse(args, true)?;
    let answers = edit.read(|view| options.answers(view, key))??;
    let Some(target) = options.target else {
        return Ok(Reply::Array(answers.into_iter().map(Reply::bulk_or_null).collect()));
    };
    let elements: Vec<Bytes> = answers.into_iter().map(Option::unwrap_or_default).collect();
    let old = edit.find(target)?;
    edit.store_list(target, old.as_ref(), &elements)?;
    edit.notify_stored(EventClasses::LIST, "sortstore", target, elements.is_empty());
    Ok(Reply::count(elements.len()))
}
