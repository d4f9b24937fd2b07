//! `XCLAIM` and `XAUTOCLAIM`.

use std::collections::VecDeque;

use bytes::Bytes;

use super::group::notify_consumer;
use super::{
    Args, CommandResult, Edit, Error, Reply, StreamId, entry_reply, id, id_reply, no_group, stream,
    text,
};
use crate::data::{GroupEdit, Meta, Pending, StreamEntry, parse_int};
use crate::engine::{self, Direction};

/// Pending entries that are fetched at a time.
const PAGE: usize = 256;
/// Entries that `XAUTOCLAIM` claims, if the call does not say how many.
const COUNT: u64 = 100;
/// It looks at so many times as many entries at most.
const ATTEMPTS: u64 = 10;

/// What `XCLAIM` sets, behind the ids.
#[derive(Debug, Default)]
struct Options {
    delivered_ms: Option<i64>,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last: StreamId,
}

impl Options {
    fn parse(args: &mut Args<'_>, now_ms: i64) -> Result<Self, Error> {
        let mut options = Self::default();
        let invalid =
            |name: &str| Error::Text(format!("ERR Invalid {name} option argument for XCLAIM"));
        while let Some(word) = args.peek() {
            let has_value = args.len() > 1;
            let number = |args: &mut Args<'_>, name: &str| {
                (has_value && args.eat(name))
                    .then(|| args.next_int().map_err(|_| invalid(name)))
                    .transpose()
            };
            if args.eat("FORCE") {
                options.force = true;
            } else if args.eat("JUSTID") {
                options.just_id = true;
            } else if let Some(idle_ms) = number(args, "IDLE")? {
                options.delivered_ms = Some(now_ms.saturating_sub(idle_ms));
            } else if let Some(at_ms) = number(args, "TIME")? {
                options.delivered_ms = Some(at_ms);
            } else if let Some(deliveries) = number(args, "RETRYCOUNT")? {
                options.deliveries = u64::try_from(deliveries).ok();
            } else if has_value && args.eat("LASTID") {
                options.last = id::strict(args.next_bytes()?, 0)?;
            } else {
                return Err(Error::quoting("ERR Unrecognized XCLAIM option '{}'", &[word]));
            }
        }
        Ok(options)
    }

    /// When the claimed entries count as delivered: now, unless a time that makes sense is given.
    fn delivered_ms(&self, now_ms: u64) -> u64 {
        let given = self.delivered_ms.and_then(|at_ms| u64::try_from(at_ms).ok());
        given.filter(|at_ms| *at_ms <= now_ms).unwrap_or(now_ms)
    }
}

/// Milliseconds for which an entry must have been pending.
fn idle_time(word: &[u8], name: &str) -> Result<i64, Error> {
    let idle_ms = parse_int(word)
        .ok_or_else(|| Error::Text(format!("ERR Invalid min-idle-time argument for {name}")))?;
    Ok(idle_ms.max(0))
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// Whether an entry is pending for too short a time.
fn is_fresh(pending: &Pending, min_idle_ms: i64, now_ms: u64) -> bool {
    min_idle_ms > 0 && signed(now_ms) - signed(pending.delivered_ms) < min_idle_ms
}

pub(super) fn xclaim(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, name, consumer) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
    let found = stream(edit.find(key)?)?;
    let stream = found.as_ref().and_then(Meta::stream);
    let stream = stream.ok_or_else(|| no_group(key, name, ""))?;
    let mut group = edit.group(stream, name)?.ok_or_else(|| no_group(key, name, ""))?;
    let now_ms = group.now_ms();
    let min_idle_ms = idle_time(args.next_bytes()?, "XCLAIM")?;
    let mut ids = Vec::new();
    while let Some(id) = args.peek().and_then(|word| StreamId::parse(word, 0)) {
        ids.push(id);
        args.skip(1);
    }
    let options = Options::parse(args, signed(now_ms))?;
    if options.last > group.group().last {
        let entries_read = group.group().entries_read;
        group.set_last(options.last, entries_read);
    }
    let created = group.see(consumer)?;
    let mut replies = Vec::new();
    for id in ids {
        let old = group.pending(id)?;
        let Some(entry) = group.entries().get(id)? else {
            if let Some(old) = old {
                group.forget(id, &old)?;
            }
            continue;
        };
        let before = match &old {
            Some(old) if is_fresh(old, min_idle_ms, now_ms) => continue,
            Some(old) => old.deliveries,
            None if options.force => 1,
            None => continue,
        };
        let counted = before.saturating_add(u64::from(!options.just_id));
        let new = Pending {
            consumer: consumer.clone(),
            delivered_ms: options.delivered_ms(now_ms),
            deliveries: options.deliveries.unwrap_or(counted),
        };
        group.set_pending(id, old.as_ref(), &new)?;
        group.count_change();
        group.activate(consumer)?;
        replies.push(claimed(entry, options.just_id));
    }
    group.finish();
    notify_consumer(edit, key, created);
    Ok(Reply::Array(replies))
}

fn claimed(entry: StreamEntry, just_id: bool) -> Reply {
    if just_id { id_reply(entry.id) } else { entry_reply(entry) }
}

/// The pending entries of a group from an id on, fetched in pages, so that they may be changed
/// meanwhile.
struct Pages {
    from: Option<StreamId>,
    page: VecDeque<(StreamId, Pending)>,
}

impl Pages {
    /// The next one, which stays the next one.
    fn peek(&mut self, group: &GroupEdit<'_, '_>) -> engine::Result<Option<StreamId>> {
        if let (true, Some(from)) = (self.page.is_empty(), self.from) {
            let range = (from, StreamId::MAX);
            let pending = group.groups().all_pending(group.group(), range, Direction::Forward);
            self.page = pending.take(PAGE).collect::<engine::Result<_>>()?;
            let last = self.page.back().filter(|_| self.page.len() == PAGE);
            self.from = last.and_then(|(id, _)| id.next());
        }
        Ok(self.page.front().map(|(id, _)| *id))
    }

    fn next(&mut self, group: &GroupEdit<'_, '_>) -> engine::Result<Option<(StreamId, Pending)>> {
        self.peek(group)?;
        Ok(self.page.pop_front())
    }
}

/// What stands behind the start of `XAUTOCLAIM`: how many, and whether only their ids are answered.
fn autoclaim_options(args: &mut Args<'_>) -> Result<(u64, bool), Error> {
    let (mut count, mut just_id) = (COUNT, false);
    while !args.is_empty() {
        if args.len() > 1 && args.eat("COUNT") {
            let number = args.next_int().ok().and_then(|number| u64::try_from(number).ok());
            let number = number.filter(|number| (1..=i64::MAX as u64 / 16).contains(number));
            count = number.ok_or_else(|| text("ERR COUNT must be > 0"))?;
        } else if args.eat("JUSTID") {
            just_id = true;
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok((count, just_id))
}

pub(super) fn xautoclaim(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, name, consumer) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
    let min_idle_ms = idle_time(args.next_bytes()?, "XAUTOCLAIM")?;
    let start = id::start(args.next_bytes()?)?;
    let (count, just_id) = autoclaim_options(args)?;
    let found = stream(edit.find(key)?)?;
    let stream = found.as_ref().and_then(Meta::stream);
    let stream = stream.ok_or_else(|| no_group(key, name, ""))?;
    let mut group = edit.group(stream, name)?.ok_or_else(|| no_group(key, name, ""))?;
    let created = group.see(consumer)?;
    let mut pages = Pages { from: Some(start), page: VecDeque::new() };
    let (mut replies, mut deleted) = (Vec::new(), Vec::new());
    for _ in 0..count.saturating_mul(ATTEMPTS) {
        if (replies.len() + deleted.len()) as u64 >= count {
            break;
        }
        let Some((id, old)) = pages.next(&group)? else { break };
        match claim_one(&mut group, (id, &old), consumer, min_idle_ms, just_id)? {
            Outcome::Claimed(entry) => replies.push(claimed(entry, just_id)),
            Outcome::Deleted => deleted.push(id_reply(id)),
            Outcome::Left => {}
        }
    }
    let next = pages.peek(&group)?.unwrap_or_default();
    group.finish();
    notify_consumer(edit, key, created);
    Ok(Reply::Array(vec![id_reply(next), Reply::Array(replies), Reply::Array(deleted)]))
}

/// What has become of a pending entry.
enum Outcome {
    Claimed(StreamEntry),
    /// The stream does not have it any more.
    Deleted,
    Left,
}

fn claim_one(
    group: &mut GroupEdit<'_, '_>,
    (id, old): (StreamId, &Pending),
    consumer: &Bytes,
    min_idle_ms: i64,
    just_id: bool,
) -> engine::Result<Outcome> {
    let Some(entry) = group.entries().get(id)? else {
        group.forget(id, old)?;
        return Ok(Outcome::Deleted);
    };
    let delivered_ms = group.now_ms();
    if is_fresh(old, min_idle_ms, delivered_ms) {
        return Ok(Outcome::Left);
    }
    let deliveries = old.deliveries.saturating_add(u64::from(!just_id));
    let new = Pending { consumer: consumer.clone(), delivered_ms, deliveries };
    group.set_pending(id, Some(old), &new)?;
    group.count_change();
    group.activate(consumer)?;
    Ok(Outcome::Claimed(entry))
}
