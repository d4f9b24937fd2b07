//! `XREADGROUP`.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::group::notify_consumer;
use super::read::Call;
use super::{
    Args, Attempt, Edit, Error, KeyType, Reply, StreamId, Wait, entry_reply, id, id_reply,
    no_group, stream,
};
use crate::data::{GroupEdit, Meta, Pending};
use crate::engine::{self, Direction};

/// What a consumer asks for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    /// Entries that were not delivered to anybody.
    New,
    /// Those behind this one that are pending of itself.
    History(StreamId),
}

impl Asked {
    fn parse(word: &[u8]) -> Result<Self, Error> {
        let meaningless = |symbol: char| {
            Error::Text(format!(
                "ERR The {symbol} ID is meaningless in the context of XREADGROUP: you want to \
                 read the history of this consumer by specifying a proper ID, or use the > ID to \
                 get new messages. The {symbol} ID would just return an empty result set."
            ))
        };
        match word {
            b">" => Ok(Self::New),
            b"$" => Err(meaningless('$')),
            b"+" => Err(meaningless('+')),
            word => {
                let id = id::strict(word, 0)?;
                Ok(if id == StreamId::MAX { Self::New } else { Self::History(id) })
            }
        }
    }
}

pub(super) fn xreadgroup(edit: &mut Edit<'_>, args: &mut Args<'_>) -> Result<Attempt, Error> {
    let call = Call::parse(args, "xreadgroup")?;
    let Some((group, consumer)) = call.group else { return Err(Error::Syntax) };
    let mut found = Vec::with_capacity(call.keys.len());
    for (key, word) in call.keys.iter().zip(call.ids) {
        let meta = stream(edit.find_for_answer(key)?)?;
        let stream = meta.as_ref().and_then(Meta::stream);
        let is_there = match stream {
            Some(stream) => edit.groups(stream).get(group)?.is_some(),
            None => false,
        };
        if !is_there {
            return Err(no_group(key, group, " in XREADGROUP with GROUP option"));
        }
        found.push((key, meta, Asked::parse(word)?));
    }
    let mut answer = Vec::new();
    for (key, meta, asked) in &found {
        let Some(stream) = meta.as_ref().and_then(Meta::stream) else { continue };
        let Some(mut group) = edit.group(stream, group)? else { continue };
        let created = group.see(consumer)?;
        let entries = match asked {
            Asked::History(behind) => Some(history(&mut group, consumer, *behind, call.count)?),
            Asked::New => deliver(&mut group, consumer, &call)?,
        };
        group.finish();
        notify_consumer(edit, key, created);
        if let Some(entries) = entries {
            answer.push((Reply::Bulk((*key).clone()), Reply::Array(entries)));
        }
    }
    Ok(match call.block {
        _ if !answer.is_empty() => Attempt::Done(Reply::Keyed(answer)),
        None => Attempt::Done(Reply::NullArray),
        Some(timeout_ms) => {
            let wait = Wait::new(call.keys.to_vec(), KeyType::Stream, timeout_ms);
            Attempt::Wait(Wait { needs_keys: true, ..wait })
        }
    })
}

/// Delivers new entries; `None` where there are none.
fn deliver(
    group: &mut GroupEdit<'_, '_>,
    consumer: &Bytes,
    call: &Call<'_>,
) -> Result<Option<Vec<Reply>>, Error> {
    let entries = group.entries();
    let stream = entries.stream();
    if stream.length == 0 || stream.top <= group.group().last {
        return Ok(None);
    }
    let Some(from) = group.group().last.next() else { return Ok(None) };
    let entries = entries.range(from, StreamId::MAX, Direction::Forward).take(call.count);
    let entries = entries.collect::<engine::Result<Vec<_>>>()?;
    let Some(last) = entries.last().map(|entry| entry.id) else { return Ok(None) };
    // As a rule there are none: the group would have to be set back.
    let pending: BTreeMap<StreamId, Pending> = group
        .groups()
        .all_pending(group.group(), (from, last), Direction::Forward)
        .collect::<engine::Result<_>>()?;
    let delivered_ms = group.now_ms();
    for entry in &entries {
        group.advance(entry.id);
        if !call.no_ack {
            let new = Pending { consumer: consumer.clone(), delivered_ms, deliveries: 1 };
            group.set_pending(entry.id, pending.get(&entry.id), &new)?;
        }
    }
    if !call.no_ack {
        group.activate(consumer)?;
    }
    // As in Redis all of them are one change, and what is delivered again is none.
    group.count_change();
    Ok(Some(entries.into_iter().map(entry_reply).collect()))
}

/// What is pending of the consumer, delivered once more. Of a deleted entry the id.
fn history(
    group: &mut GroupEdit<'_, '_>,
    consumer: &Bytes,
    behind: StreamId,
    count: usize,
) -> Result<Vec<Reply>, Error> {
    let Some(from) = behind.next() else { return Ok(Vec::new()) };
    let owned = group.groups().owned(group.group(), consumer, (from, StreamId::MAX));
    let ids = owned.take(count).collect::<engine::Result<Vec<_>>>()?;
    let delivered_ms = group.now_ms();
    let mut replies = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(entry) = group.entries().get(id)? else {
            replies.push(Reply::Array(vec![id_reply(id), Reply::NullArray]));
            continue;
        };
        if let Some(old) = group.pending(id)? {
            let deliveries = old.deliveries.saturating_add(1);
            let new = Pending { delivered_ms, deliveries, ..old.clone() };
            group.set_pending(id, Some(&old), &new)?;
        }
        replies.push(entry_reply(entry));
    }
    Ok(replies)
}
