//! `XACK` and `XPENDING`.

use bytes::Bytes;

use super::{
    Args, CommandResult, Edit, Error, Reply, StreamId, View, id, id_reply, no_group, stream,
};
use crate::data::{Group, Groups, Meta, Pending, parse_int};
use crate::engine::{self, Direction};

pub(super) fn xack(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, name) = (args.next_bytes()?, args.next_bytes()?);
    let found = stream(edit.find(key)?)?;
    let Some(stream) = found.as_ref().and_then(Meta::stream) else { return Ok(Reply::Integer(0)) };
    let Some(mut group) = edit.group(stream, name)? else { return Ok(Reply::Integer(0)) };
    let ids: Vec<StreamId> =
        args.rest().iter().map(|word| id::strict(word, 0)).collect::<Result<_, _>>()?;
    let mut acknowledged = 0;
    for id in ids {
        if let Some(pending) = group.pending(id)? {
            group.forget(id, &pending)?;
            acknowledged += 1;
        }
    }
    group.finish();
    Ok(Reply::Integer(acknowledged))
}

/// What `XPENDING` looks for, where it does not just count.
#[derive(Debug)]
struct Search<'a> {
    idle_ms: i64,
    range: (StreamId, StreamId),
    count: usize,
    consumer: Option<&'a Bytes>,
}

impl<'a> Search<'a> {
    /// Reads what stands behind the group.
    fn parse(words: &'a [Bytes]) -> Result<Option<Self>, Error> {
        if words.is_empty() {
            return Ok(None);
        }
        if !(3..=6).contains(&words.len()) {
            return Err(Error::Syntax);
        }
        let int = |word: &Bytes| parse_int(word).ok_or(Error::NotAnInteger);
        let (mut idle_ms, mut words) = (0, words);
        if let [option, idle, rest @ ..] = words
            && option.eq_ignore_ascii_case(b"IDLE")
        {
            idle_ms = int(idle)?;
            words = rest;
        }
        let [start, end, count, rest @ ..] = words else { return Err(Error::Syntax) };
        let count = usize::try_from(int(count)?).unwrap_or(0);
        let range = (id::start(start)?, id::end(end)?);
        Ok(Some(Self { idle_ms, range, count, consumer: rest.first() }))
    }
}

pub(super) fn xpending(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, name) = (args.next_bytes()?, args.next_bytes()?);
    let search = Search::parse(args.rest())?;
    let meta = stream(view.find(key)?)?;
    let stream = meta.as_ref().and_then(Meta::stream);
    let stream = stream.ok_or_else(|| no_group(key, name, ""))?;
    let groups = view.groups(stream);
    let group = groups.get(name)?.ok_or_else(|| no_group(key, name, ""))?;
    match search {
        None => summary(&groups, &group),
        Some(search) => found(&groups, &group, &search, view.context().now_ms),
    }
}

/// How much is pending, from where to where, and of whom.
fn summary(groups: &Groups<'_>, group: &Group) -> CommandResult {
    let edge = |direction| -> engine::Result<Option<StreamId>> {
        let all = (StreamId::MIN, StreamId::MAX);
        let first = groups.all_pending(group, all, direction).next().transpose()?;
        Ok(first.map(|(id, _)| id))
    };
    let edges = (edge(Direction::Forward)?, edge(Direction::Reverse)?);
    let (Some(first), Some(last)) = edges else {
        return Ok(Reply::Array(vec![
            Reply::Integer(0),
            Reply::Null,
            Reply::Null,
            Reply::NullArray,
        ]));
    };
    let mut consumers = Vec::new();
    for found in groups.consumers(group) {
        let (name, consumer) = found?;
        if consumer.pending > 0 {
            let count = Reply::from(consumer.pending.to_string());
            consumers.push(Reply::Array(vec![Reply::Bulk(name), count]));
        }
    }
    Ok(Reply::Array(vec![
        Reply::from(group.pending),
        id_reply(first),
        id_reply(last),
        Reply::Array(consumers),
    ]))
}

/// Each pending entry that is looked for.
fn found(groups: &Groups<'_>, group: &Group, search: &Search<'_>, now_ms: u64) -> CommandResult {
    let idle_ms = |pending: &Pending| {
        i64::try_from(now_ms).unwrap_or(i64::MAX)
            - i64::try_from(pending.delivered_ms).unwrap_or(i64::MAX)
    };
    let pending: Box<dyn Iterator<Item = engine::Result<(StreamId, Pending)>>> = match search
        .consumer
    {
        None => Box::new(groups.all_pending(group, search.range, Direction::Forward)),
        Some(consumer) => Box::new(groups.owned(group, consumer, search.range).filter_map(|id| {
            let with_record = |id| Ok(groups.pending(group, id)?.map(|p| (id, p)));
            id.and_then(with_record).transpose()
        })),
    };
    let old_enough = |found: &engine::Result<(StreamId, Pending)>| match found {
        Ok((_, pending)) => search.idle_ms == 0 || idle_ms(pending) >= search.idle_ms,
        Err(_) => true,
    };
    let mut replies = Vec::new();
    for found in pending.filter(old_enough).take(search.count) {
        let (id, pending) = found?;
        replies.push(Reply::Array(vec![
            id_reply(id),
            Reply::Bulk(pending.consumer.clone()),
            Reply::Integer(idle_ms(&pending).max(0)),
            Reply::from(pending.deliveries),
        ]));
    }
    Ok(Reply::Array(replies))
}
