//! `XREAD`, and what it has in common with `XREADGROUP`.

use bytes::Bytes;

use super::{Args, CommandResult, Error, Reply, StreamId, View, entry_reply, id, stream, text};
use crate::data::Meta;
use crate::engine::Direction;

/// A call of `XREAD` or `XREADGROUP`.
#[derive(Debug)]
pub(super) struct Call<'a> {
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
        let mut call = Self { count: usize::MAX, group: None, no_ack: false, keys: &[], ids: &[] };
        while !args.is_empty() {
            let behind = args.len() - 1;
            if behind >= 1 && args.eat("BLOCK") {
                let timeout = args.next_int();
                let timeout =
                    timeout.map_err(|_| text("ERR timeout is not an integer or out of range"))?;
                if timeout < 0 {
                    return Err(text("ERR timeout is negative"));
                }
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
            let symbol = if name == "xread" { '$' } else { '>' };
            return Err(Error::Text(format!(
                "ERR Unbalanced '{name}' list of streams: for each stream key an ID, '+', or \
                 '{symbol}' must be specified."
            )));
        }
        (self.keys, self.ids) = words.split_at(words.len() / 2);
        Ok(())
    }
}

pub(super) fn xread(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let call = Call::parse(args, "xread")?;
    let mut found = Vec::with_capacity(call.keys.len());
    for (key, word) in call.keys.iter().zip(call.ids) {
        let meta = stream(view.find(key)?)?;
        let behind = behind_which(word, meta.as_ref())?;
        found.push((key, meta, behind));
    }
    let mut answer = Vec::new();
    for (key, meta, behind) in &found {
        let Some(stream) = meta.as_ref().and_then(Meta::stream) else { continue };
        let Some(from) = behind.next().filter(|_| stream.length > 0 && stream.top > *behind) else {
            continue;
        };
        let entries = view.entries(stream).range(from, StreamId::MAX, Direction::Forward);
        let entries = entries.take(call.count).map(|entry| Ok(entry_reply(entry?)));
        let entries = entries.collect::<Result<_, Error>>()?;
        answer.push((Reply::Bulk((*key).clone()), Reply::Array(entries)));
    }
    Ok(if answer.is_empty() { Reply::NullArray } else { Reply::Keyed(answer) })
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
