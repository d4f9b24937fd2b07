//! `XADD`, `XDEL`, `XTRIM` and `XSETID`.

use super::{Args, CommandResult, Edit, Error, Reply, StreamId, id, id_reply, stream, text};
use crate::data::{EventClasses, Trim, TrimTo};
use crate::engine::VALUE_BYTES_MAX;

/// Bytes of an entry besides fields and values: two varints each at most, and some.
const WORD_BYTES: usize = 10;
/// Nodes that an approximate trim takes at most, if the call does not say how many entries.
const NODES_MAX: u64 = 100;
/// Entries that an approximate trim takes at most where nodes have no length.
const UNKNOWN_NODES: u64 = 10_000;
/// The same where nodes are very long.
const LONG_NODES: u64 = 1_000_000;

/// Which id an entry gets.
#[derive(Debug, Clone, Copy)]
enum Choice {
    /// The time.
    Now,
    /// This one; without a number the next one of this time.
    Given { ms: u64, seq: Option<u64> },
}

/// What stands in front of an entry, and behind the key of `XTRIM`.
#[derive(Debug, Default)]
struct Options {
    to: Option<TrimTo>,
    approximate: bool,
    limit: Option<u64>,
    only_existing: bool,
    id: Option<Choice>,
}

impl Options {
    /// The options of `XADD` up to the id.
    fn of_entry(args: &mut Args<'_>) -> Result<Self, Error> {
        let mut options = Self::default();
        while let Some(word) = args.peek() {
            if options.trimming(args)? {
                continue;
            }
            args.skip(1);
            if word.eq_ignore_ascii_case(b"NOMKSTREAM") {
                options.only_existing = true;
                continue;
            }
            options.id = Some(match &word[..] {
                b"*" => Choice::Now,
                word => {
                    let (ms, seq) = id::open(word)?;
                    Choice::Given { ms, seq }
                }
            });
            break;
        }
        Ok(options)
    }

    /// The options of `XTRIM`.
    fn of_trim(args: &mut Args<'_>) -> Result<Self, Error> {
        let mut options = Self::default();
        while !args.is_empty() {
            if !options.trimming(args)? {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }

    /// Reads an option about trimming, if one comes next.
    fn trimming(&mut self, args: &mut Args<'_>) -> Result<bool, Error> {
        if args.len() < 2 {
            return Ok(false);
        }
        if args.eat("LIMIT") {
            let limit = u64::try_from(args.next_int()?);
            self.limit = Some(limit.map_err(|_| text("ERR The LIMIT argument must be >= 0."))?);
            return Ok(true);
        }
        let by_length = args.eat("MAXLEN");
        if !by_length && !args.eat("MINID") {
            return Ok(false);
        }
        if self.to.is_some() {
            return Err(text(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        self.approximate = false;
        if args.len() >= 2 {
            self.approximate = args.eat("~");
            if !self.approximate {
                args.eat("=");
            }
        }
        self.to = Some(if by_length {
            let length = u64::try_from(args.next_int()?);
            TrimTo::Length(length.map_err(|_| text("ERR The MAXLEN argument must be >= 0."))?)
        } else {
            TrimTo::Id(id::strict(args.next_bytes()?, 0)?)
        });
        Ok(true)
    }

    /// How to trim, where nodes have so many entries.
    fn trim(&self, node_entries: u64) -> Result<Option<Trim>, Error> {
        if self.to.is_none() && self.limit.is_some_and(|limit| limit > 0) {
            return Err(text(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if self.limit.is_some() && !self.approximate {
            return Err(text(
                "ERR syntax error, LIMIT cannot be used without the special ~ option",
            ));
        }
        let default = match node_entries.saturating_mul(NODES_MAX) {
            0 => UNKNOWN_NODES,
            entries => entries.min(LONG_NODES),
        };
        let limit = if self.approximate { self.limit.unwrap_or(default) } else { 0 };
        let approximate = self.approximate;
        Ok(self.to.map(|to| Trim { to, approximate, limit }))
    }
}

impl Choice {
    /// The id of the entry that follows `last`.
    fn resolve(self, last: StreamId, now_ms: u64) -> Option<StreamId> {
        let id = match self {
            Self::Now if now_ms > last.ms => StreamId { ms: now_ms, seq: 0 },
            Self::Now => last.next()?,
            Self::Given { ms, seq: Some(seq) } => StreamId { ms, seq },
            Self::Given { ms, seq: None } if ms == last.ms => {
                StreamId { ms, seq: last.seq.checked_add(1)? }
            }
            Self::Given { ms, seq: None } => StreamId { ms, seq: 0 },
        };
        (id > last).then_some(id)
    }
}

pub(super) fn xadd(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let options = Options::of_entry(args)?;
    let trim = options.trim(edit.context().packing.stream_entries)?;
    let fields = args.rest();
    let (Some(choice), false, true) =
        (options.id, fields.is_empty(), fields.len().is_multiple_of(2))
    else {
        return Err(Error::WrongArity("xadd"));
    };
    if matches!(choice, Choice::Given { ms: 0, seq: Some(0) }) {
        return Err(text("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let found = stream(edit.find(key)?)?;
    if found.is_none() && options.only_existing {
        return Ok(Reply::Null);
    }
    let now_ms = edit.context().now_ms;
    let mut stream = edit.stream(key, found);
    let last = stream.stream().last;
    if last == StreamId::MAX {
        return Err(text(
            "ERR The stream has exhausted the last possible ID, unable to add more items",
        ));
    }
    let id = choice.resolve(last, now_ms).ok_or_else(|| {
        text("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    })?;
    let bytes: usize = fields.iter().map(|word| word.len() + WORD_BYTES).sum();
    if bytes > VALUE_BYTES_MAX {
        return Err(text("ERR Elements are too large to be stored"));
    }
    stream.append(id, fields)?;
    let trimmed = match trim {
        Some(trim) => stream.trim(&trim)?,
        None => 0,
    };
    stream.finish()?;
    // As in Redis, where a trim by itself counts each entry.
    edit.uncount_changes(trimmed);
    edit.notify(EventClasses::STREAM, "xadd", key);
    if trimmed > 0 {
        edit.notify(EventClasses::STREAM, "xtrim", key);
    }
    Ok(id_reply(id))
}

pub(super) fn xtrim(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let options = Options::of_trim(args)?;
    let no_strategy = "ERR syntax error, XTRIM must be called with a trimming strategy";
    if options.to.is_none() && options.limit.unwrap_or(0) == 0 {
        return Err(text(no_strategy));
    }
    let trim = options.trim(edit.context().packing.stream_entries)?;
    let trim = trim.ok_or_else(|| text(no_strategy))?;
    let Some(old) = stream(edit.find(key)?)? else { return Ok(Reply::Integer(0)) };
    let mut stream = edit.stream(key, Some(old));
    let trimmed = stream.trim(&trim)?;
    stream.finish()?;
    if trimmed > 0 {
        edit.notify(EventClasses::STREAM, "xtrim", key);
    }
    Ok(Reply::from(trimmed))
}

pub(super) fn xdel(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let Some(old) = stream(edit.find(key)?)? else { return Ok(Reply::Integer(0)) };
    let ids: Vec<StreamId> =
        args.rest().iter().map(|word| id::strict(word, 0)).collect::<Result<_, _>>()?;
    let mut stream = edit.stream(key, Some(old));
    let mut deleted = 0;
    for id in ids {
        deleted += i64::from(stream.delete(id)?);
    }
    stream.finish()?;
    if deleted > 0 {
        edit.notify(EventClasses::STREAM, "xdel", key);
    }
    Ok(Reply::Integer(deleted))
}

pub(super) fn xsetid(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let last = id::strict(args.next_bytes()?, 0)?;
    let (mut added, mut max_deleted) = (None, None);
    while !args.is_empty() {
        if args.len() < 2 {
            return Err(Error::Syntax);
        }
        if args.eat("ENTRIESADDED") {
            let number = u64::try_from(args.next_int()?);
            added = Some(number.map_err(|_| text("ERR entries_added must be positive"))?);
        } else if args.eat("MAXDELETEDID") {
            let id = id::strict(args.next_bytes()?, 0)?;
            if last < id {
                return Err(text(
                    "ERR The ID specified in XSETID is smaller than the provided \
                     max_deleted_entry_id",
                ));
            }
            max_deleted = Some(id).filter(|id| *id != StreamId::MIN);
        } else {
            return Err(Error::Syntax);
        }
    }
    let old = stream(edit.find(key)?)?.ok_or(Error::NoSuchKey)?;
    let mut stream = edit.stream(key, Some(old));
    let now = stream.stream();
    if last < now.max_deleted {
        return Err(text(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if now.length > 0 && last < now.top {
        return Err(text(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if added.is_some_and(|added| added < now.length) {
        return Err(text(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    stream.set_last(last, added, max_deleted);
    stream.finish()?;
    edit.notify(EventClasses::STREAM, "xsetid", key);
    Ok(Reply::OK)
}
