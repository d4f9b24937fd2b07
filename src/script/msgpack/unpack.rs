//! MessagePack to values.

use mlua::{IntoLua, Lua, MultiValue, Value};

use super::super::arguments::{Arguments, Failure, Native};

/// Containers within containers.
const NESTING_MAX: usize = 1000;
/// Results of one call, at most: what Lua's stack takes.
const RESULTS_MAX: usize = 7_000;
/// Elements that a table gets room for before they are seen.
const RESERVED_MAX: usize = 1024;

/// `cmsgpack.unpack`.
pub(super) fn all(arguments: &Arguments<'_>) -> Native {
    unpack(arguments, 0, 0)
}

/// `cmsgpack.unpack_one`.
pub(super) fn one(arguments: &Arguments<'_>) -> Native {
    let offset = arguments.integer_or(2, 0)?;
    unpack(arguments, 1, offset)
}

/// `cmsgpack.unpack_limit`.
pub(super) fn limited(arguments: &Arguments<'_>) -> Native {
    let limit = arguments.integer(2)?;
    unpack(arguments, limit, arguments.integer_or(3, 0)?)
}

/// At most `limit` values, all where that and the offset are 0; the offset behind them before them,
/// unless all were asked for.
fn unpack(arguments: &Arguments<'_>, limit: i64, offset: i64) -> Native {
    let data = arguments.string(1)?;
    let data = data.as_bytes();
    let length = data.len();
    if limit < 0 || offset < 0 {
        return Err(Failure::said(format!(
            "Invalid request to unpack with offset of {offset} and limit of {length}."
        )));
    }
    let rest = usize::try_from(offset).ok().and_then(|offset| data.get(offset..));
    let Some(rest) = rest else {
        return Err(Failure::said(format!(
            "Start offset {offset} greater than input length {length}."
        )));
    };
    let everything = limit == 0 && offset == 0;
    let mut input = Input { lua: arguments.lua, rest };
    let mut results = MultiValue::new();
    let limit = if everything { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    while !input.rest.is_empty() && results.len() < limit {
        if results.len() >= RESULTS_MAX {
            return Err(Failure::said("stack overflow (in function mp_unpack_full)"));
        }
        results.push_back(input.value(0)?);
    }
    if !everything {
        let next = if input.rest.is_empty() {
            -1
        } else {
            i64::try_from(length - input.rest.len()).unwrap_or(i64::MAX)
        };
        results.push_front(Value::Integer(next));
    }
    Ok(results)
}

struct Input<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

fn missing() -> Failure {
    Failure::said("Missing bytes in input.")
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(missing)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A big-endian number of so many bytes, 8 at most.
    fn unsigned(&mut self, bytes: usize) -> Result<u64, Failure> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn signed(&mut self, bytes: usize) -> Result<i64, Failure> {
        let unused = 64 - bytes * 8;
        Ok((self.unsigned(bytes)? << unused).cast_signed() >> unused)
    }

    fn length(&mut self, bytes: usize) -> Result<usize, Failure> {
        Ok(usize::try_from(self.unsigned(bytes)?).unwrap_or(usize::MAX))
    }

    fn value(&mut self, depth: usize) -> Result<Value, Failure> {
        if depth > NESTING_MAX {
            return Err(Failure::said("stack overflow (in function mp_decode_to_lua_type)"));
        }
        let mark = self.take(1)?[0];
        let low = usize::from(mark & 0x0f);
        let number = match mark {
            0x00..=0x7f => f64::from(mark),
            0xe0..=0xff => f64::from(mark.cast_signed()),
            0x80..=0x8f => return self.map(low, depth),
            0x90..=0x9f => return self.array(low, depth),
            0xa0..=0xbf => return self.string(usize::from(mark & 0x1f)),
            0xc0 => return Ok(Value::Nil),
            0xc2 => return Ok(Value::Boolean(false)),
            0xc3 => return Ok(Value::Boolean(true)),
            0xca => f64::from(f32::from_bits(u32::try_from(self.unsigned(4)?).unwrap_or(0))),
            0xcb => f64::from_bits(self.unsigned(8)?),
            0xcc => self.unsigned(1)? as f64,
            0xcd => self.unsigned(2)? as f64,
            0xce => self.unsigned(4)? as f64,
            // The C library keeps these as signed numbers.
            0xcf | 0xd3 => self.signed(8)? as f64,
            0xd0 => self.signed(1)? as f64,
            0xd1 => self.signed(2)? as f64,
            0xd2 => self.signed(4)? as f64,
            0xd9 => return self.sized(1, Self::string),
            0xda => return self.sized(2, Self::string),
            0xdb => return self.sized(4, Self::string),
            0xdc => return self.sized(2, |input, count| input.array(count, depth)),
            0xdd => return self.sized(4, |input, count| input.array(count, depth)),
            0xde => return self.sized(2, |input, count| input.map(count, depth)),
            0xdf => return self.sized(4, |input, count| input.map(count, depth)),
            0xc1 | 0xc4..=0xc9 | 0xd4..=0xd8 => {
                return Err(Failure::said("Bad data format in input."));
            }
        };
        Ok(Value::Number(number))
    }

    fn sized(
        &mut self,
        bytes: usize,
        read: impl FnOnce(&mut Self, usize) -> Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        let length = self.length(bytes)?;
        read(self, length)
    }

    fn string(&mut self, length: usize) -> Result<Value, Failure> {
        let bytes = self.take(length)?;
        Ok(self.lua.create_string(bytes)?.into_lua(self.lua)?)
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<Value, Failure> {
        // Each element has a byte at least.
        if count > self.rest.len() {
            return Err(missing());
        }
        let table = self.lua.create_table_with_capacity(count.min(RESERVED_MAX), 0)?;
        for index in 1..=count {
            table.raw_set(index, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, count: usize, depth: usize) -> Result<Value, Failure> {
        if count > self.rest.len() / 2 {
            return Err(missing());
        }
        let table = self.lua.create_table_with_capacity(0, count.min(RESERVED_MAX))?;
        for _ in 0..count {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            match key {
                Value::Nil => return Err(Failure::said("table index is nil")),
                Value::Number(key) if key.is_nan() => {
                    return Err(Failure::said("table index is NaN"));
                }
                key => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }
}
