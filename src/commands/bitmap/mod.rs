//! Commands on strings as arrays of bits.
//!
//! Single bits and fields cost a chunk or two of a long string. `BITCOUNT` and `BITPOS` look at a long
//! string chunk by chunk. `BITOP` makes its result chunk by chunk; until it is written all of it is in
//! memory. Where it is long it is made on a thread of its own.

mod field;

use std::ops::Range;

use bytes::Bytes;

use self::field::{bitfield, bitfield_key_flags, bitfield_ro};
use super::string::string;
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Run};
use crate::data::{BitEdit, BitOperation, Edit, EventClasses, Meta, View, parse_int};
use crate::protocol::Reply;

/// Bytes of strings that `BITOP` combines while others wait; it takes about a millisecond.
const COMBINED_IN_PLACE: u64 = 1 << 20;

const UNIT: Arg = Arg::one_of("unit", &[Arg::token("byte", "BYTE"), Arg::token("bit", "BIT")])
    .optional()
    .since("7.0.0");
const UNIT_HISTORY: &[(&str, &str)] = &[("7.0.0", "Added the `BYTE|BIT` option.")];
const FIELD: &[Arg] = &[Arg::string("encoding"), Arg::integer("offset")];

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("setbit", Arity::Exactly(4), Run::Write(setbit))
        .group(Group::Bitmap)
        .since("2.2.0")
        .summary("Sets or clears a bit of the string at a key and answers what it was.")
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::one(1).rw().access().update()])
        .args(&[Arg::key("key"), Arg::integer("offset"), Arg::integer("value")]),
    CommandSpec::new("getbit", Arity::Exactly(3), Run::Read(getbit))
        .group(Group::Bitmap)
        .since("2.2.0")
        .summary("Answers a bit of the string at a key.")
        .flags(Flags::FAST)
        .keys(&[KeySpec::one(1).ro().access()])
        .args(&[Arg::key("key"), Arg::integer("offset")]),
    CommandSpec::new("bitcount", Arity::AtLeast(2), Run::Read(bitcount))
        .group(Group::Bitmap)
        .since("2.6.0")
        .complexity("O(N) in the length of what is counted")
        .summary("Counts the set bits of the string at a key.")
        .history(UNIT_HISTORY)
        .keys(&[KeySpec::one(1).ro().access()])
        .args(&[
            Arg::key("key"),
            Arg::block("range", &[Arg::integer("start"), Arg::integer("end"), UNIT]).optional(),
        ]),
    CommandSpec::new("bitpos", Arity::AtLeast(3), Run::Read(bitpos))
        .group(Group::Bitmap)
        .since("2.8.7")
        .complexity("O(N) in the length of what is searched")
        .summary("Finds the first set or clear bit of the string at a key.")
        .history(UNIT_HISTORY)
        .keys(&[KeySpec::one(1).ro().access()])
        .args(&[
            Arg::key("key"),
            Arg::integer("bit"),
            Arg::block(
                "range",
                &[
                    Arg::integer("start"),
                    Arg::block("end-unit-block", &[Arg::integer("end"), UNIT]).optional(),
                ],
            )
            .optional(),
        ]),
    CommandSpec::new("bitop", Arity::AtLeast(4), Run::Write(bitop))
        .group(Group::Bitmap)
        .since("2.6.0")
        .complexity("O(N) in the lengths of the strings")
        .summary("Sets a key to the result of a bitwise operation between strings.")
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::one(2).ow().update(), KeySpec::range(3, -1, 1).ro().access()])
        .args(&[
            Arg::one_of(
                "operation",
                &[
                    Arg::token("and", "AND"),
                    Arg::token("or", "OR"),
                    Arg::token("xor", "XOR"),
                    Arg::token("not", "NOT"),
                ],
            ),
            Arg::key("destkey"),
            Arg::key("key").key_spec(1).multiple(),
        ]),
    CommandSpec::new("bitfield", Arity::AtLeast(2), Run::Write(bitfield))
        .group(Group::Bitmap)
        .since("3.2.0")
        .complexity("O(1) for each operation")
        .summary("Reads and changes integers of any width within the string at a key.")
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::one(1).rw().update().access().variable_flags()])
        .key_flags(bitfield_key_flags)
        .args(&[
            Arg::key("key"),
            Arg::one_of(
                "operation",
                &[
                    Arg::block("get-block", FIELD).with_token("GET"),
                    Arg::block(
                        "write",
                        &[
                            Arg::one_of(
                                "overflow-block",
                                &[
                                    Arg::token("wrap", "WRAP"),
                                    Arg::token("sat", "SAT"),
                                    Arg::token("fail", "FAIL"),
                                ],
                            )
                            .with_token("OVERFLOW")
                            .optional(),
                            Arg::one_of(
                                "write-operation",
                                &[
                                    Arg::block(
                                        "set-block",
                                        &[
                                            Arg::string("encoding"),
                                            Arg::integer("offset"),
                                            Arg::integer("value"),
                                        ],
                                    )
                                    .with_token("SET"),
                                    Arg::block(
                                        "incrby-block",
                                        &[
                                            Arg::string("encoding"),
                                            Arg::integer("offset"),
                                            Arg::integer("increment"),
                                        ],
                                    )
                                    .with_token("INCRBY"),
                                ],
                            ),
                        ],
                    ),
                ],
            )
            .optional()
            .multiple(),
        ]),
    CommandSpec::new("bitfield_ro", Arity::AtLeast(2), Run::Read(bitfield_ro))
        .group(Group::Bitmap)
        .since("6.0.0")
        .complexity("O(1) for each operation")
        .summary("Reads integers of any width within the string at a key.")
        .flags(Flags::FAST)
        .keys(&[KeySpec::one(1).ro().access()])
        .args(&[
            Arg::key("key"),
            Arg::block("get-block", FIELD).with_token("GET").optional().multiple_token(),
        ]),
];

fn setbit(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let at = bit_offset(args.next_bytes()?, None, edit.context().string_bytes_max)?;
    let bit = match parse_int(args.next_bytes()?) {
        Some(bit @ (0 | 1)) => u64::from(bit == 1),
        _ => {
            return Err(Error::Text("ERR bit is not an integer or out of range".to_owned()));
        }
    };
    let old = string(edit.find(key)?)?;
    let mut bits = BitEdit::new(edit, key, old, at / 8 + 1);
    let before = bits.get(at, 1)?;
    if before != bit {
        bits.set(at, 1, bit)?;
    }
    let changed = before != bit || bits.grows();
    bits.finish(u64::from(changed));
    if changed {
        edit.notify(EventClasses::STRING, "setbit", key);
    }
    Ok(Reply::Integer(i64::from(before == 1)))
}

fn getbit(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let at = bit_offset(args.next_bytes()?, None, view.context().string_bytes_max)?;
    let Some(meta) = string(view.find(key)?)? else { return Ok(Reply::Integer(0)) };
    Ok(Reply::Integer(i64::from(view.bits(&meta, at, 1)? == 1)))
}

/// A place in bits within the longest string; for a field `#3` is the place of the fourth one of so
/// many bits.
fn bit_offset(text: &[u8], field: Option<u32>, string_bytes_max: u64) -> Result<u64, Error> {
    let (digits, unit) = match (text.strip_prefix(b"#"), field) {
        (Some(digits), Some(bits)) => (digits, u64::from(bits)),
        _ => (text, 1),
    };
    parse_int(digits)
        .and_then(|number| u64::try_from(number).ok()?.checked_mul(unit))
        .filter(|offset| offset / 8 < string_bytes_max)
        .ok_or(Error::BitOffset)
}

/// The unit of a range, as bits.
fn unit_bits(word: &[u8]) -> Result<i64, Error> {
    if word.eq_ignore_ascii_case(b"BIT") {
        Ok(1)
    } else if word.eq_ignore_ascii_case(b"BYTE") {
        Ok(8)
    } else {
        Err(Error::Syntax)
    }
}

/// The bits from unit `start` to unit `end`, both included and counted from the end where they are
/// negative, of a string of so many bytes; `None` where there are none.
fn bit_range(start: i64, end: i64, unit_bits: i64, len_bytes: u64) -> Option<Range<u64>> {
    let len = i64::try_from(len_bytes * 8).unwrap_or(i64::MAX) / unit_bits;
    let from_start = |index: i64| if index < 0 { len.saturating_add(index).max(0) } else { index };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    let to_bits = |units: i64| u64::try_from(units * unit_bits).unwrap_or(0);
    (start <= end).then(|| to_bits(start)..to_bits(end + 1))
}

fn bitcount(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let range = match args.rest() {
        [] => None,
        [start, end] => Some((integer(start)?, integer(end)?, 8)),
        [start, end, unit] => Some((integer(start)?, integer(end)?, unit_bits(unit)?)),
        _ => return Err(Error::Syntax),
    };
    let Some(meta) = string(view.find(key)?)? else { return Ok(Reply::Integer(0)) };
    let (start, end, unit) = range.unwrap_or((0, -1, 8));
    // As in Redis none, though both are taken for the start of the string where they lie before it.
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::Integer(0));
    }
    let count = match bit_range(start, end, unit, meta.string_len()) {
        Some(bits) => view.count_bits(&meta, bits)?,
        None => 0,
    };
    Ok(place(count))
}

fn bitpos(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, bit) = (args.next_bytes()?, args.next_int()?);
    let wanted = match bit {
        0 => false,
        1 => true,
        _ => return Err(Error::Text("ERR The bit argument must be 1 or 0.".to_owned())),
    };
    let (start, end, unit) = match args.rest() {
        [] => (0, None, 8),
        [start] => (integer(start)?, None, 8),
        [start, end] => (integer(start)?, Some(integer(end)?), 8),
        [start, end, unit] => {
            // Looked at in this order.
            let (start, unit) = (integer(start)?, unit_bits(unit)?);
            (start, Some(integer(end)?), unit)
        }
        _ => return Err(Error::Syntax),
    };
    let Some(meta) = string(view.find(key)?)? else {
        return Ok(Reply::Integer(if wanted { -1 } else { 0 }));
    };
    let len = meta.string_len();
    let Some(bits) = bit_range(start, end.unwrap_or(-1), unit, len) else {
        return Ok(Reply::Integer(-1));
    };
    Ok(match view.find_bit(&meta, wanted, bits)? {
        Some(found) => place(found),
        // Without an end the string goes on with zeros.
        None if !wanted && end.is_none() => place(len * 8),
        None => Reply::Integer(-1),
    })
}

fn bitop(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let name = args.next_bytes()?;
    let operation = [
        ("AND", BitOperation::And),
        ("OR", BitOperation::Or),
        ("XOR", BitOperation::Xor),
        ("NOT", BitOperation::Not),
    ]
    .into_iter()
    .find(|(word, _)| name.eq_ignore_ascii_case(word.as_bytes()))
    .map(|(_, operation)| operation)
    .ok_or(Error::Syntax)?;
    let destination = args.next_bytes()?;
    if operation == BitOperation::Not && args.len() != 1 {
        let text = "ERR BITOP NOT must be called with a single source key.";
        return Err(Error::Text(text.to_owned()));
    }
    let mut sources = Vec::with_capacity(args.len());
    for key in args.rest() {
        sources.push(string(edit.find_for_answer(key)?)?);
    }
    let bytes: u64 = sources.iter().flatten().map(Meta::string_len).sum();
    if bytes > COMBINED_IN_PLACE && args.answer().is_in_place() {
        return Err(Error::TooLong(sources.len()));
    }
    let len = edit.combine_bits(operation, &sources, destination)?;
    edit.notify_stored(EventClasses::STRING, "set", destination, len == 0);
    Ok(place(len))
}

fn integer(word: &Bytes) -> Result<i64, Error> {
    parse_int(word).ok_or(Error::NotAnInteger)
}

fn place(number: u64) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
