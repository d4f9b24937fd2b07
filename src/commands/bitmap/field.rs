//! `BITFIELD` and `BITFIELD_RO`: integers of any width within a string.

use bytes::Bytes;

use super::bit_offset;
use crate::commands::string::string;
use crate::commands::{Args, CommandResult, Error, KeyFlags, KeySpec};
use crate::data::{BitEdit, Edit, EventClasses, FieldType, Overflow, View};
use crate::protocol::Reply;

/// One operation of a call.
struct Operation {
    kind: FieldType,
    /// Its first bit.
    at: u64,
    /// What is done besides reading.
    change: Option<Change>,
}

struct Change {
    what: What,
    overflow: Overflow,
}

enum What {
    Set(i64),
    Add(i64),
}

impl Operation {
    /// The bytes that a string needs to hold the field.
    fn end_bytes(&self) -> u64 {
        (self.at + u64::from(self.kind.bits())).div_ceil(8)
    }
}

/// `BITFIELD` only reads its key where it has nothing but `GET`.
pub(super) fn bitfield_key_flags(words: &[Bytes]) -> KeyFlags {
    let mut rest = words.get(2..).unwrap_or_default();
    let reads = loop {
        match rest {
            [] => break true,
            [word, _, _, behind @ ..] if word.eq_ignore_ascii_case(b"GET") => rest = behind,
            [word, _, behind @ ..] if word.eq_ignore_ascii_case(b"OVERFLOW") => rest = behind,
            _ => break false,
        }
    };
    let key = KeySpec::one(1);
    if reads { key.ro().access().flags } else { key.rw().update().access().flags }
}

/// The handler.
pub(super) fn bitfield(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let operations = parse(args, edit.context().string_bytes_max)?;
    let writes = operations.iter().filter(|operation| operation.change.is_some());
    let Some(len_min) = writes.map(Operation::end_bytes).max() else {
        return edit.read(|view| read(view, key, &operations))?;
    };
    let old = string(edit.find(key)?)?;
    let mut bits = BitEdit::new(edit, key, old, len_min);
    let grows = bits.grows();
    let mut changes = 0;
    let mut answers = Vec::with_capacity(operations.len());
    for Operation { kind, at, change } in &operations {
        let before = kind.number(bits.get(*at, kind.bits())?);
        let Some(Change { what, overflow }) = change else {
            answers.push(Reply::Integer(before));
            continue;
        };
        let after = match what {
            What::Set(value) => kind.set(*value, *overflow),
            What::Add(increment) => kind.add(before, *increment, *overflow),
        };
        answers.push(match (after, what) {
            (None, _) => Reply::Null,
            (Some(_), What::Set(_)) => Reply::Integer(before),
            (Some(after), What::Add(_)) => Reply::Integer(after),
        });
        if let Some(after) = after.filter(|after| grows || *after != before) {
            changes += 1;
            if after != before {
                bits.set(*at, kind.bits(), after as u64)?;
            }
        }
    }
    bits.finish(changes);
    if changes > 0 {
        edit.notify(EventClasses::STRING, "setbit", key);
    }
    Ok(Reply::Array(answers))
}

/// The handler.
pub(super) fn bitfield_ro(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let operations = parse(args, view.context().string_bytes_max)?;
    if operations.iter().any(|operation| operation.change.is_some()) {
        let text = "ERR BITFIELD_RO only supports the GET subcommand";
        return Err(Error::Text(text.to_owned()));
    }
    read(view, key, &operations)
}

fn read(view: &View<'_>, key: &[u8], operations: &[Operation]) -> CommandResult {
    let found = string(view.find(key)?)?;
    let mut answers = Vec::with_capacity(operations.len());
    for Operation { kind, at, .. } in operations {
        let bits = match &found {
            Some(meta) => view.bits(meta, *at, kind.bits())?,
            None => 0,
        };
        answers.push(Reply::Integer(kind.number(bits)));
    }
    Ok(Reply::Array(answers))
}

fn parse(args: &mut Args<'_>, string_bytes_max: u64) -> Result<Vec<Operation>, Error> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::default();
    while !args.is_empty() {
        let behind = args.len() - 1;
        if behind >= 1 && args.eat("OVERFLOW") {
            overflow = parse_overflow(args.next_bytes()?)?;
            continue;
        }
        let what: Option<fn(i64) -> What> = if behind >= 2 && args.eat("GET") {
            None
        } else if behind >= 3 && args.eat("SET") {
            Some(What::Set)
        } else if behind >= 3 && args.eat("INCRBY") {
            Some(What::Add)
        } else {
            return Err(Error::Syntax);
        };
        let kind = FieldType::parse(args.next_bytes()?).ok_or_else(invalid_type)?;
        let at = bit_offset(args.next_bytes()?, Some(kind.bits()), string_bytes_max)?;
        let change = match what {
            None => None,
            Some(what) => Some(Change { what: what(args.next_int()?), overflow }),
        };
        operations.push(Operation { kind, at, change });
    }
    Ok(operations)
}

fn parse_overflow(word: &[u8]) -> Result<Overflow, Error> {
    [("WRAP", Overflow::Wrap), ("SAT", Overflow::Saturate), ("FAIL", Overflow::Fail)]
        .into_iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, overflow)| overflow)
        .ok_or_else(|| Error::Text("ERR Invalid OVERFLOW type specified".to_owned()))
}

fn invalid_type() -> Error {
    Error::Text(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but \
         i64 is."
            .to_owned(),
    )
}
