//! The library `bit`: operations on numbers as 32 bits.

use mlua::{Lua, Table};

use super::arguments::{Arguments, Failure, Native, native, one};

/// Adding it moves the units of a double to its lowest bits, rounded to the nearest.
const UNITS: f64 = 6_755_399_441_055_744.0;
/// Most hexadecimal digits of `tohex`.
const DIGITS_MAX: u64 = 8;

/// The functions.
pub(super) fn natives(lua: &Lua) -> mlua::Result<Table> {
    let functions = lua.create_table()?;
    let add = |name: &'static str, run: fn(&Arguments<'_>) -> Native| -> mlua::Result<()> {
        functions.set(name, native(lua, name, move |arguments| run(&arguments))?)
    };
    add("tobit", |a| answer(a, bits(a, 1)?))?;
    add("bnot", |a| answer(a, !bits(a, 1)?))?;
    add("bswap", |a| answer(a, bits(a, 1)?.swap_bytes()))?;
    add("band", |a| fold(a, |all, one| all & one))?;
    add("bor", |a| fold(a, |all, one| all | one))?;
    add("bxor", |a| fold(a, |all, one| all ^ one))?;
    add("lshift", |a| shift(a, |number, by| number << by))?;
    add("rshift", |a| shift(a, |number, by| number >> by))?;
    add("arshift", |a| shift(a, |number, by| (number.cast_signed() >> by).cast_unsigned()))?;
    add("rol", |a| shift(a, u32::rotate_left))?;
    add("ror", |a| shift(a, u32::rotate_right))?;
    add("tohex", hexadecimal)?;
    Ok(functions)
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest 32 bits are what is wanted")]
fn bits(arguments: &Arguments<'_>, number: usize) -> Result<u32, Failure> {
    Ok((arguments.number(number)? + UNITS).to_bits() as u32)
}

fn answer(arguments: &Arguments<'_>, result: u32) -> Native {
    one(arguments.lua, result.cast_signed())
}

fn fold(arguments: &Arguments<'_>, join: fn(u32, u32) -> u32) -> Native {
    let mut all = bits(arguments, 1)?;
    for number in 2..=arguments.count() {
        all = join(all, bits(arguments, number)?);
    }
    answer(arguments, all)
}

fn shift(arguments: &Arguments<'_>, shift: fn(u32, u32) -> u32) -> Native {
    let number = bits(arguments, 1)?;
    answer(arguments, shift(number, bits(arguments, 2)? & 31))
}

fn hexadecimal(arguments: &Arguments<'_>) -> Native {
    let number = bits(arguments, 1)?;
    let digits = match arguments.get(2) {
        None | Some(mlua::Value::Nil) => 8,
        Some(_) => bits(arguments, 2)?.cast_signed(),
    };
    let count = u64::from(digits.unsigned_abs()).min(DIGITS_MAX);
    let text = if digits < 0 { format!("{number:08X}") } else { format!("{number:08x}") };
    let start = text.len() - usize::try_from(count).unwrap_or(0);
    one(arguments.lua, &text[start..])
}
