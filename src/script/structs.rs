//! The library `struct`: numbers and strings as bytes of a given layout.

use mlua::{IntoLua, Lua, MultiValue, Table, Value};

use super::arguments::{Arguments, Failure, Native, native, one, truncate};

/// Largest integer, in bytes.
const INTEGER_BYTES_MAX: usize = 32;
/// Alignment that `!` stands for.
const ALIGN_NATIVE: usize = 8;
/// Results of one call, at most: what Lua's stack takes.
const RESULTS_MAX: usize = 7_000;

/// The functions.
pub(super) fn natives(lua: &Lua) -> mlua::Result<Table> {
    let functions = lua.create_table()?;
    functions.set("pack", native(lua, "pack", |arguments| pack(&arguments))?)?;
    functions.set("unpack", native(lua, "unpack", |arguments| unpack(&arguments))?)?;
    functions.set("size", native(lua, "size", |arguments| size(&arguments))?)?;
    Ok(functions)
}

/// A format under way.
struct Format<'f> {
    rest: &'f [u8],
    little: bool,
    align: usize,
}

/// One item of a format.
struct Item {
    option: u8,
    /// In bytes; 0 where the data tell.
    size: usize,
}

impl<'f> Format<'f> {
    fn new(text: &'f [u8]) -> Self {
        // Up to a NUL byte, as C reads it.
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        Self { rest: &text[..end], little: cfg!(target_endian = "little"), align: 1 }
    }

    fn number_or(&mut self, absent: usize) -> Result<usize, Failure> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        if digits.is_empty() {
            return Ok(absent);
        }
        let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i32>().ok());
        let number = number.and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| Failure::said("integral size overflow"))
    }

    /// The next option and its size; those that only switch something are taken.
    fn next(&mut self) -> Result<Option<Item>, Failure> {
        while let Some((option, rest)) = self.rest.split_first() {
            self.rest = rest;
            let size = match option {
                b'B' | b'b' | b'x' => 1,
                b'H' | b'h' => 2,
                b'L' | b'l' | b'T' | b'd' => 8,
                b'f' => 4,
                b'c' => self.number_or(1)?,
                b'i' | b'I' => self.integer_size()?,
                b's' => 0,
                option if option.is_ascii_alphanumeric() => 0,
                option => {
                    self.control(*option)?;
                    continue;
                }
            };
            return Ok(Some(Item { option: *option, size }));
        }
        Ok(None)
    }

    fn integer_size(&mut self) -> Result<usize, Failure> {
        let size = self.number_or(4)?;
        if size > INTEGER_BYTES_MAX {
            return Err(Failure::said(format!(
                "integral size {size} is larger than limit of {INTEGER_BYTES_MAX}"
            )));
        }
        Ok(size)
    }

    fn control(&mut self, option: u8) -> Result<(), Failure> {
        match option {
            b' ' => {}
            b'>' => self.little = false,
            b'<' => self.little = true,
            b'!' => {
                let align = self.number_or(ALIGN_NATIVE)?;
                if !align.is_power_of_two() {
                    return Err(Failure::said(format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            option => return Err(unknown(option)),
        }
        Ok(())
    }

    /// Bytes between `length` and the place of an item.
    fn padding(&self, length: usize, item: &Item) -> usize {
        let size = item.size.min(self.align);
        if size == 0 || item.option == b'c' {
            return 0;
        }
        (size - (length & (size - 1))) & (size - 1)
    }
}

fn unknown(option: u8) -> Failure {
    Failure::said(format!("invalid format option '{}'", char::from(option)))
}

fn size(arguments: &Arguments<'_>) -> Native {
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&text);
    let mut total = 0_usize;
    while let Some(item) = format.next()? {
        match (item.option, item.size) {
            (b's', _) => return Err(arguments.refuse(1, "option 's' has no fixed size")),
            (b'c', 0) => return Err(arguments.refuse(1, "option 'c0' has no fixed size")),
            _ => {}
        }
        total = total.saturating_add(format.padding(total, &item)).saturating_add(item.size);
    }
    one(arguments.lua, i64::try_from(total).unwrap_or(i64::MAX))
}

/// A number to be packed; an absent one is named as the C library does.
fn number(arguments: &Arguments<'_>, number: usize) -> Result<f64, Failure> {
    if number > arguments.count() {
        return Err(arguments.refuse(number, "number expected, got nil"));
    }
    arguments.number(number)
}

fn pack(arguments: &Arguments<'_>) -> Native {
    let text = arguments.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&text);
    let mut packed = Vec::new();
    let mut next = 1;
    while let Some(item) = format.next()? {
        packed.resize(packed.len() + format.padding(packed.len(), &item), 0);
        if item.option != b'x' {
            next += 1;
        }
        match item.option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                put_integer(&mut packed, number(arguments, next)?, item.size, format.little);
            }
            b'x' => packed.push(0),
            #[expect(clippy::cast_possible_truncation, reason = "this is what 'f' asks for")]
            b'f' => {
                let value = number(arguments, next)? as f32;
                let bytes = if format.little { value.to_le_bytes() } else { value.to_be_bytes() };
                packed.extend_from_slice(&bytes);
            }
            b'd' => {
                let value = number(arguments, next)?;
                let bytes = if format.little { value.to_le_bytes() } else { value.to_be_bytes() };
                packed.extend_from_slice(&bytes);
            }
            b'c' | b's' => {
                let value = arguments.string(next)?;
                let value = value.as_bytes();
                let size = if item.size == 0 { value.len() } else { item.size };
                let Some(value) = value.get(..size) else {
                    return Err(arguments.refuse(next + 1, "string too short"));
                };
                packed.extend_from_slice(value);
                if item.option == b's' {
                    packed.push(0);
                }
            }
            option => return Err(unknown(option)),
        }
    }
    one(arguments.lua, arguments.lua.create_string(&packed)?)
}

fn put_integer(packed: &mut Vec<u8>, value: f64, size: usize, little: bool) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as C converts")]
    let value = if value < 0.0 { truncate(value).cast_unsigned() } else { value as u64 };
    let start = packed.len();
    packed.extend((0..size).map(|at| value.to_le_bytes().get(at).copied().unwrap_or(0)));
    if !little {
        packed[start..].reverse();
    }
}

fn integer(bytes: &[u8], signed: bool, little: bool) -> f64 {
    let mut value = 0_u64;
    let mut add = |byte: u8| value = value << 8 | u64::from(byte);
    if little {
        bytes.iter().rev().for_each(|byte| add(*byte));
    } else {
        bytes.iter().for_each(|byte| add(*byte));
    }
    if !signed {
        return value as f64;
    }
    if (1..8).contains(&bytes.len()) {
        let unused = 64 - bytes.len() * 8;
        return ((value << unused).cast_signed() >> unused) as f64;
    }
    value.cast_signed() as f64
}

fn unpack(arguments: &Arguments<'_>) -> Native {
    let lua = arguments.lua;
    let (text, data) = (arguments.string(1)?, arguments.string(2)?);
    let (text, data) = (text.as_bytes(), data.as_bytes());
    let position = arguments.integer_or(3, 1)?;
    if position == 0 {
        return Err(arguments.refuse(3, "offset must be 1 or greater"));
    }
    let short = || arguments.refuse(2, "data string too short");
    let mut at = usize::try_from(position - 1).map_err(|_| short())?;
    let mut format = Format::new(&text);
    let mut results: Vec<Value> = Vec::new();
    while let Some(mut item) = format.next()? {
        at = at.saturating_add(format.padding(at, &item));
        let taken =
            |size: usize| at.checked_add(size).and_then(|end| data.get(at..end)).ok_or_else(short);
        let mut bytes = taken(item.size)?;
        if results.len() >= RESULTS_MAX {
            return Err(Failure::said("stack overflow (too many results)"));
        }
        match item.option {
            b'x' => {}
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let signed = item.option.is_ascii_lowercase();
                results.push(Value::Number(integer(bytes, signed, format.little)));
            }
            b'f' => results.push(Value::Number(f64::from(float(bytes, format.little)))),
            b'd' => results.push(Value::Number(double(bytes, format.little))),
            b'c' => {
                if item.size == 0 {
                    item.size = previous_size(results.pop())?;
                    bytes = taken(item.size)?;
                }
                results.push(lua.create_string(bytes)?.into_lua(lua)?);
            }
            b's' => {
                let rest = &data[at..];
                let Some(end) = memchr::memchr(0, rest) else {
                    return Err(Failure::said("unfinished string in data"));
                };
                results.push(lua.create_string(&rest[..end])?.into_lua(lua)?);
                item.size = end + 1;
            }
            option => return Err(unknown(option)),
        }
        at += item.size;
    }
    results.push((at + 1).into_lua(lua)?);
    Ok(MultiValue::from_iter(results))
}

/// How many bytes `c0` takes: the number read before it, which is no result then.
fn previous_size(before: Option<Value>) -> Result<usize, Failure> {
    let Some(Value::Number(size)) = before else {
        return Err(Failure::said("format 'c0' needs a previous size"));
    };
    Ok(usize::try_from(truncate(size)).unwrap_or(usize::MAX))
}

fn float(bytes: &[u8], little: bool) -> f32 {
    let bytes: [u8; 4] = bytes.try_into().unwrap_or_default();
    if little { f32::from_le_bytes(bytes) } else { f32::from_be_bytes(bytes) }
}

fn double(bytes: &[u8], little: bool) -> f64 {
    let bytes: [u8; 8] = bytes.try_into().unwrap_or_default();
    if little { f64::from_le_bytes(bytes) } else { f64::from_be_bytes(bytes) }
}
