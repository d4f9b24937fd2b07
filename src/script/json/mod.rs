//! The library `cjson`: values of Lua as JSON.

mod decode;
mod encode;

use std::sync::Arc;

use mlua::{IntoLua, Lua, MultiValue, Table, Value};
use parking_lot::Mutex;

use super::arguments::{Arguments, Failure, Native, native, one, truncate};

/// Tables within tables, whatever a script sets.
const NESTING_MAX: i64 = 1000;
const INTEGER_MAX: i64 = i32::MAX as i64;

/// What becomes of numbers that JSON does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Invalid {
    Refused,
    Plain,
    Null,
}

/// What scripts may set.
#[derive(Debug, Clone, Copy)]
struct Options {
    sparse_to_object: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth: i64,
    decode_depth: i64,
    precision: i64,
    keep_buffer: bool,
    encode_invalid: Invalid,
    decode_invalid: Invalid,
    mark_arrays: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sparse_to_object: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: NESTING_MAX,
            decode_depth: NESTING_MAX,
            precision: 14,
            keep_buffer: true,
            encode_invalid: Invalid::Refused,
            decode_invalid: Invalid::Plain,
            mark_arrays: false,
        }
    }
}

type Shared = Arc<Mutex<Options>>;

/// The functions, with options of their own. Decoded arrays get the metatable
/// `array_mark` where a script asks for it, and tables that have it are encoded as arrays.
pub(super) fn natives(lua: &Lua, array_mark: &Table) -> mlua::Result<Table> {
    let options = Shared::default();
    let functions = lua.create_table()?;
    let add = |name: &'static str,
               run: fn(&Arguments<'_>, &mut Options, &Table) -> Native|
     -> mlua::Result<()> {
        let (options, mark) = (Arc::clone(&options), array_mark.clone());
        let function = native(lua, name, move |arguments| {
            let mut current = *options.lock();
            let result = run(&arguments, &mut current, &mark);
            *options.lock() = current;
            result
        })?;
        functions.set(name, function)
    };
    add("encode", encode)?;
    add("decode", decode)?;
    add("encode_max_depth", |a, o, _| depth(a, &mut o.encode_depth))?;
    add("decode_max_depth", |a, o, _| depth(a, &mut o.decode_depth))?;
    add("encode_number_precision", precision)?;
    add("encode_sparse_array", sparse_array)?;
    add("encode_keep_buffer", |a, o, _| switch(a, &mut o.keep_buffer))?;
    add("decode_array_with_array_mt", |a, o, _| switch(a, &mut o.mark_arrays))?;
    add("encode_invalid_numbers", |a, o, _| invalid_numbers(a, &mut o.encode_invalid))?;
    add("decode_invalid_numbers", |a, o, _| invalid_numbers(a, &mut o.decode_invalid))?;
    Ok(functions)
}

fn encode(arguments: &Arguments<'_>, options: &mut Options, mark: &Table) -> Native {
    let [value] = arguments.values() else {
        return Err(arguments.refuse(1, "expected 1 argument"));
    };
    let text = encode::encode(value, options, mark)?;
    one(arguments.lua, arguments.lua.create_string(&text)?)
}

fn decode(arguments: &Arguments<'_>, options: &mut Options, mark: &Table) -> Native {
    if arguments.count() != 1 {
        return Err(arguments.refuse(1, "expected 1 argument"));
    }
    let text = arguments.string(1)?;
    let value = decode::decode(arguments.lua, &text.as_bytes(), options, mark)?;
    one(arguments.lua, value)
}

/// Refuses more than `most` arguments.
fn at_most(arguments: &Arguments<'_>, most: usize) -> Result<(), Failure> {
    if arguments.count() > most {
        return Err(arguments.refuse(most + 1, "found too many arguments"));
    }
    Ok(())
}

/// Sets a number where the argument is there.
fn integer(
    arguments: &Arguments<'_>,
    number: usize,
    option: &mut i64,
    (least, most): (i64, i64),
) -> Result<(), Failure> {
    if !matches!(arguments.get(number), None | Some(Value::Nil)) {
        let value = arguments.integer(number)?;
        if !(least..=most).contains(&value) {
            // The C library names the first argument always.
            let why = format!("expected integer between {least} and {most}");
            return Err(arguments.refuse(1, &why));
        }
        *option = value;
    }
    Ok(())
}

/// Sets a switch where the argument is there.
fn boolean(arguments: &Arguments<'_>, option: &mut bool) -> Result<(), Failure> {
    match arguments.get(1) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(value)) => *option = *value,
        Some(_) => match &*arguments.string(1)?.as_bytes() {
            b"on" => *option = true,
            b"off" => *option = false,
            other => return Err(invalid_option(arguments, other)),
        },
    }
    Ok(())
}

fn invalid_option(arguments: &Arguments<'_>, word: &[u8]) -> Failure {
    arguments.refuse(1, &format!("invalid option '{}'", String::from_utf8_lossy(word)))
}

fn depth(arguments: &Arguments<'_>, option: &mut i64) -> Native {
    at_most(arguments, 1)?;
    integer(arguments, 1, option, (1, INTEGER_MAX))?;
    one(arguments.lua, *option)
}

fn precision(arguments: &Arguments<'_>, options: &mut Options, _mark: &Table) -> Native {
    at_most(arguments, 1)?;
    integer(arguments, 1, &mut options.precision, (1, 14))?;
    one(arguments.lua, options.precision)
}

fn switch(arguments: &Arguments<'_>, option: &mut bool) -> Native {
    at_most(arguments, 1)?;
    boolean(arguments, option)?;
    one(arguments.lua, *option)
}

fn sparse_array(arguments: &Arguments<'_>, options: &mut Options, _mark: &Table) -> Native {
    at_most(arguments, 3)?;
    boolean(arguments, &mut options.sparse_to_object)?;
    integer(arguments, 2, &mut options.sparse_ratio, (0, INTEGER_MAX))?;
    integer(arguments, 3, &mut options.sparse_safe, (0, INTEGER_MAX))?;
    let lua = arguments.lua;
    Ok(MultiValue::from_iter([
        options.sparse_to_object.into_lua(lua)?,
        options.sparse_ratio.into_lua(lua)?,
        options.sparse_safe.into_lua(lua)?,
    ]))
}

fn invalid_numbers(arguments: &Arguments<'_>, option: &mut Invalid) -> Native {
    at_most(arguments, 1)?;
    match arguments.get(1) {
        None | Some(Value::Nil) => {}
        Some(Value::Boolean(true)) => *option = Invalid::Plain,
        Some(Value::Boolean(false)) => *option = Invalid::Refused,
        Some(_) => match &*arguments.string(1)?.as_bytes() {
            b"on" => *option = Invalid::Plain,
            b"off" => *option = Invalid::Refused,
            b"null" => *option = Invalid::Null,
            other => return Err(invalid_option(arguments, other)),
        },
    }
    match option {
        Invalid::Refused => one(arguments.lua, false),
        Invalid::Plain => one(arguments.lua, true),
        Invalid::Null => one(arguments.lua, "null"),
    }
}

/// The number of an index, where it is whole.
fn index(key: &Value) -> Option<i64> {
    match key {
        Value::Integer(number) => Some(*number),
        Value::Number(number) if number.fract() == 0.0 => Some(truncate(*number)),
        _ => None,
    }
}
