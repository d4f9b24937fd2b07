//! `XREAD`, and what it has in common with `XREADGROUP`.

use bytes::Bytes;

use super::{
    Args, Attempt, CommandResult, Edit, Error, KeyType, Reply, StreamId, View, Wait, entry_reply,
    id, stream, text,
};
use crate::data::Meta;
use crate::engine::Direction;
use crate::env::Purpose;

/// A call of `XREAD` or `XREADGROUP`.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// Whether it waits where there is nothing, and for how long, in milliseconds; without an end where
    /// `None`.
    pub(super) block: Option<Option<u64>>,
    /// Entries of each stream at most; `usize::MAX` for all.
    pub(super) count: usize,
    /// Group and consumer.
    pub(super) group: Option<(&'a Bytes, &'a Bytes)>,
    /// Whether what is delivered does not become pending.
    pub(super) no_ack: bool,
    /// The streams.
    pub(super) keys: &'a [Bytes],
    /// As many ids.
    pub(super) ids: &'a [Bytes],
}

impl<'a> Call<'a> {
    /// Reads a call; `name` is `xread` or `xreadgroup`.
    pub(super) fn parse(args: &mut Args<'a>, name: &'static str) -> Result<Self, Error> {
        let is_group = name == "xreadgroup";
        let only_of_group = |option: &str| {
            Error::Text(format!(
                "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
            ))
        };
        let mut call = Self {
            block: None,
            count: usize::MAX,
            group: None,
            no_ack: false,
            keys: &[],
            ids: &[],
        };
        while !args.is_empty() {
            let behind = args.len() - 1;
            if behind >= 1 && args.eat("BLOCK") {
                call.block = Some(timeout_ms(args)?);
            } else if behind >= 1 && args.eat("COUNT") {
                let count = usize::try_from(args.next_int()?).unwrap_or(0);
                call.count = if count == 0 { usize::MAX } else { count };
            } else if behind >= 1 && args.eat("STREAMS") {
                call.set_streams(args.rest(), name)?;
                break;
            } else if behind >= 2 && args.eat("GROUP") {
                if !is_group {
                    return Err(only_of_group("GROUP"));
                }
                call.group = Some((args.next_bytes()?, args.next_bytes()?));
            } else if args.eat("NOACK") {
                if !is_group {
                    return Err(only_of_group("NOACK"));
                }
                call.no_ack = true;
            } else {
                return Err(Error::Syntax);
            }
        }
        if call.keys.is_empty() {
            return Err(Error::Syntax);
        }
        if is_group && call.group.is_none() {
            return Err(text("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(call)
    }

    fn set_streams(&mut self, words: &'a [Bytes], name: &'static str) -> Result<(), Error> {
        if !words.len().is_multiple_of(2) {
            let place = if name == "xread" { "ID or '$'" } else { "ID or '>'" };
            return Err(Error::Text(format!(
                "ERR Unbalanced '{name}' list of streams: for each stream key an {place} must be \
                 specified."
            )));
        }
        (self.keys, self.ids) = words.split_at(words.len() / 2);
        Ok(())
    }
}

/// A timeout in milliseconds; `None` for 0, which has no end.
fn timeout_ms(args: &mut Args<'_>) -> Result<Option<u64>, Error> {
    let refuse = |why: &str| Error::Text(format!("ERR timeout is {why}"));
    let timeout = args.next_int().map_err(|_| refuse("not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| refuse("negative"))?;
    Ok((timeout > 0).then_some(timeout))
}

/// A stream that is read, with the id behind which it is.
type Found<'a> = (&'a Bytes, Option<Meta>, StreamId);

pub(super) fn xread(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let call = Call::parse(args, "xread")?;
    let mut found = Vec::with_capacity(call.keys.len());
    for (key, word) in call.keys.iter().zip(call.ids) {
        let meta = stream(view.find(key)?)?;
        let behind = behind_which(word, meta.as_ref())?;
        found.push((key, meta, behind));
    }
    match (answer(view, &found, call.count)?, call.block) {
        (Some(reply), _) => Ok(reply),
        (None, Some(_)) => Err(Error::NothingYet),
        (None, None) => Ok(Reply::NullArray),
    }
}

/// The same on the writer. By now a key that holds no stream is waited for as one that is not there.
pub(super) fn xread_or_wait(edit: &mut Edit<'_>, args: &mut Args<'_>) -> Result<Attempt, Error> {
    let words = args.all();
    let call = Call::parse(args, "xread")?;
    let tried = edit.read(|view| {
        let mut found = Vec::with_capacity(call.keys.len());
        for (key, word) in call.keys.iter().zip(call.ids) {
            let meta = stream(view.find(key)?).unwrap_or_default();
            let behind = behind_which(word, meta.as_ref())?;
            found.push((key, meta, behind));
        }
        let behind: Vec<StreamId> = found.iter().map(|(_, _, behind)| *behind).collect();
        Ok::<_, Error>((answer(view, &found, call.count)?, behind))
    })?;
    let (reply, behind) = tried?;
    let Some(timeout_ms) = call.block.filter(|_| reply.is_none()) else {
        return Ok(Attempt::Done(reply.unwrap_or(Reply::NullArray)));
    };
    // What was the end when the call came is the end for all time.
    let mut again = words[..words.len() - behind.len()].to_vec();
    again.extend(behind.into_iter().map(|id| Bytes::from(id.to_string())));
    let wait = Wait::new(call.keys.to_vec(), KeyType::Stream, timeout_ms);
    Ok(Attempt::Wait(Wait { again: Some(again), ..wait }))
}

/// The entries of those streams that have some.
fn answer(view: &View<'_>, found: &[Found<'_>], count: usize) -> Result<Option<Reply>, Error> {
    let (mut answer, room) = (Vec::new(), view.context().memory.room(Purpose::Reply));
    for (key, meta, behind) in found {
        let Some(stream) = meta.as_ref().and_then(Meta::stream) else { continue };
        let Some(from) = behind.next().filter(|_| stream.length > 0 && stream.top > *behind) else {
            continue;
        };
        let entries = view.entries(stream).range(from, StreamId::MAX, Direction::Forward);
        let mut replies = Vec::new();
        for entry in entries.take(count) {
            let reply = entry_reply(entry?);
            room.take(reply.weight() + size_of::<Reply>())?;
            replies.push(reply);
        }
        answer.push((Reply::Bulk((*key).clone()), Reply::Array(replies)));
    }
    Ok((!answer.is_empty()).then_some(Reply::Keyed(answer)))
}

/// The id that an argument of `XREAD` stands for.
fn behind_which(word: &Bytes, meta: Option<&Meta>) -> Result<StreamId, Error> {
    let stream = meta.and_then(Meta::stream);
    match &word[..] {
        b"$" => Ok(stream.map_or(StreamId::MIN, |stream| stream.last)),
        b"+" => Ok(stream.map_or(StreamId::MIN, |stream| match stream.length {
            0 => stream.last,
            _ => stream.top.previous().unwrap_or_default(),
        })),
        b">" => Err(text(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
             <consumer> option.",
        )),
        word => id::strict(word, 0),
    }
}
