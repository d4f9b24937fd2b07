//! Values to MessagePack.

use mlua::{Table, Value};

use super::super::arguments::{Arguments, Failure, Native, number_of, one};

/// Tables within tables; what lies deeper becomes nil.
const NESTING_MAX: usize = 16;
/// Largest output, in bytes: tables that name one another many times would fill the memory.
const BYTES_MAX: usize = 512 << 20;

/// `cmsgpack.pack`.
pub(super) fn pack(arguments: &Arguments<'_>) -> Native {
    if arguments.count() == 0 {
        return Err(arguments.refuse(0, "MessagePack pack needs input."));
    }
    let mut packed = Vec::new();
    for value in arguments.values() {
        put(&mut packed, value, 0)?;
    }
    one(arguments.lua, arguments.lua.create_string(&packed)?)
}

fn put(packed: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), Failure> {
    if packed.len() > BYTES_MAX {
        return Err(Failure::said("not enough memory"));
    }
    match value {
        Value::Boolean(value) => packed.push(if *value { 0xc3 } else { 0xc2 }),
        Value::String(text) => put_string(packed, &text.as_bytes()),
        Value::Table(table) if depth < NESTING_MAX => put_table(packed, table, depth)?,
        value => match number_of(value) {
            Some(number) => put_number(packed, number),
            None => packed.push(0xc0),
        },
    }
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "casts are compared, or of checked ranges")]
fn put_number(packed: &mut Vec<u8>, number: f64) {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&number) && number.fract() == 0.0 {
        put_integer(packed, number as i64);
    } else if f64::from(number as f32) == number {
        packed.push(0xca);
        packed.extend_from_slice(&(number as f32).to_be_bytes());
    } else {
        packed.push(0xcb);
        packed.extend_from_slice(&number.to_be_bytes());
    }
}

fn put_integer(packed: &mut Vec<u8>, number: i64) {
    let bytes = number.to_be_bytes();
    let (mark, kept) = match number {
        -32..=0x7f => return packed.push(bytes[7]),
        0x80..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -128..=-33 => (0xd0, 1),
        -32_768..=-129 => (0xd1, 2),
        -2_147_483_648..=-32_769 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    packed.push(mark);
    packed.extend_from_slice(&bytes[8 - kept..]);
}

/// The mark and the length of what follows: in the mark itself where `small` has room, else in as many
/// bytes as it takes, with the mark for these.
fn put_length(packed: &mut Vec<u8>, length: usize, small: (u8, usize), marks: [Option<u8>; 3]) {
    let bytes = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let (mark, room) = small;
    if length < room {
        return packed.push(mark | bytes[3]);
    }
    let widths = [(1, 0xff), (2, 0xffff), (4, usize::MAX)];
    for (mark, (width, most)) in marks.into_iter().zip(widths) {
        if let Some(mark) = mark
            && length <= most
        {
            packed.push(mark);
            packed.extend_from_slice(&bytes[4 - width..]);
            return;
        }
    }
}

fn put_string(packed: &mut Vec<u8>, text: &[u8]) {
    put_length(packed, text.len(), (0xa0, 32), [Some(0xd9), Some(0xda), Some(0xdb)]);
    packed.extend_from_slice(text);
}

fn put_table(packed: &mut Vec<u8>, table: &Table, depth: usize) -> Result<(), Failure> {
    let (count, is_array) = shape(table)?;
    if is_array {
        put_length(packed, count, (0x90, 16), [None, Some(0xdc), Some(0xdd)]);
        for index in 1..=count {
            put(packed, &table.raw_get(index)?, depth + 1)?;
        }
        return Ok(());
    }
    put_length(packed, count, (0x80, 16), [None, Some(0xde), Some(0xdf)]);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        put(packed, &key, depth + 1)?;
        put(packed, &value, depth + 1)?;
    }
    Ok(())
}

/// How many pairs a table has, and whether its keys are the whole numbers from 1 on.
fn shape(table: &Table) -> Result<(usize, bool), Failure> {
    let (mut count, mut largest, mut whole) = (0_usize, 0_i64, true);
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        count += 1;
        match key {
            Value::Integer(key) if key > 0 => largest = largest.max(key),
            _ => whole = false,
        }
    }
    Ok((count, whole && usize::try_from(largest) == Ok(count)))
}
