//! What scripts ask of the server: the table `redis`.

use std::sync::Arc;

use bytes::Bytes;
use mlua::{Lua, MultiValue, Table, Value};

use super::arguments::{number_of, truncate};
use super::host::{Failed, Host};
use super::number::format_general;
use super::reply::{bytes_of, lossy, to_lua};
use super::vm::{Raised, Shared, halt};
use super::{library, sha1_hex};
use crate::protocol::{Version, format_double, whole};

const BAD_ARGUMENT: &str = "Lua redis lib command arguments must be strings or integers";
const NO_ARGUMENT: &str = "Please specify at least one argument for this redis lib call";
const BAD_FLAGS: &str =
    "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
/// `REPL_ALL`.
const REPLICATION_MAX: i64 = 3;
/// `LOG_WARNING`.
const LEVEL_MAX: i64 = 3;

/// The functions that need no host.
pub(super) fn natives(lua: &Lua, shared: &Arc<Shared>) -> mlua::Result<Table> {
    let functions = lua.create_table()?;
    functions.raw_set("sha1hex", lua.create_function(|_, words| sha1hex(&words))?)?;
    functions.raw_set("log", lua.create_function(|_, words| log(&words))?)?;
    functions.raw_set("set_repl", lua.create_function(|_, words| set_repl(&words))?)?;
    let registering = Arc::clone(shared);
    let register =
        lua.create_function(move |lua, values| library::register(lua, &registering, values))?;
    let shared = Arc::clone(shared);
    let setresp = lua.create_function(move |_, words| setresp(&shared, &words))?;
    functions.raw_set("setresp", setresp)?;
    functions.raw_set("register_function", register)?;
    Ok(functions)
}

fn failed(text: &str) -> Failed {
    Failed { text: format!("ERR {text}").into(), counted: false }
}

/// An error that scripts catch as a table.
pub(super) fn raise<T>(text: &str) -> mlua::Result<T> {
    Err(mlua::Error::external(Raised(failed(text))))
}

/// The table that an error of a call is.
pub(super) fn error_table(lua: &Lua, failed: &Failed) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    table.raw_set("err", lua.create_string(&failed.text)?)?;
    if failed.counted {
        table.raw_set("ignore_error_stats_update", true)?;
    }
    Ok(Value::Table(table))
}

/// The words of a call; `None` where one is neither string nor number.
fn words_of(values: &MultiValue) -> Option<Vec<Bytes>> {
    let word = |value: &Value| match value {
        Value::String(text) => Some(bytes_of(text)),
        value => number_of(value).map(digits),
    };
    values.iter().map(word).collect()
}

/// The digits of a number: whole ones as integers, so zero has no sign.
fn digits(number: f64) -> Bytes {
    match whole(number) {
        Some(integer) => Bytes::copy_from_slice(itoa::Buffer::new().format(integer).as_bytes()),
        None => Bytes::from(format_double(number)),
    }
}

/// Makes a call of `redis.call` or `redis.pcall`.
///
/// # Errors
/// Where the script has to end.
pub(super) fn call(
    lua: &Lua,
    shared: &Shared,
    host: &mut dyn Host,
    values: &MultiValue,
) -> mlua::Result<Result<Value, Failed>> {
    if values.is_empty() {
        return Ok(Err(failed(NO_ARGUMENT)));
    }
    let Some(words) = words_of(values) else { return Ok(Err(failed(BAD_ARGUMENT))) };
    let version = shared.version();
    if !shared.look() {
        match host.call(words, version) {
            Ok(Ok(reply)) => return to_lua(lua, &reply, version).map(Ok),
            Ok(Err(failed)) => return Ok(Err(failed)),
            Err(why) => shared.stop(why),
        }
    }
    halt(lua)?;
    Err(mlua::Error::runtime("stopped"))
}

/// `redis.acl_check_cmd`: whether the user may make a call.
pub(super) fn may_call(host: &mut dyn Host, values: &MultiValue) -> mlua::Result<bool> {
    if values.is_empty() {
        return raise(NO_ARGUMENT);
    }
    let Some(words) = words_of(values) else { return raise(BAD_ARGUMENT) };
    match host.may_call(&words) {
        Some(allowed) => Ok(allowed),
        None => raise("Invalid command passed to redis.acl_check_cmd()"),
    }
}

/// The bytes of a string, or a number as the language itself makes a string of it.
pub(super) fn text_of(value: &Value) -> Option<Bytes> {
    /// Digits that such a string has at most.
    const DIGITS: usize = 14;

    match value {
        Value::String(text) => Some(bytes_of(text)),
        value => number_of(value).map(|number| Bytes::from(format_general(number, DIGITS))),
    }
}

fn sha1hex(values: &MultiValue) -> mlua::Result<String> {
    if values.len() != 1 {
        return raise("wrong number of arguments");
    }
    Ok(sha1_hex(&values.front().and_then(text_of).unwrap_or_default()))
}

/// A number, or a string that is one; the fraction is cut off.
fn integer(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::String(text) => {
            let text = lossy(&text.as_bytes());
            text.trim().parse::<f64>().ok().map(truncate)
        }
        value => number_of(value).map(truncate),
    }
}

fn log(values: &MultiValue) -> mlua::Result<()> {
    if values.len() < 2 {
        return raise("redis.log() requires two arguments or more.");
    }
    let Some(level) = integer(values.front()) else {
        return raise("First argument must be a number (log level).");
    };
    if !(0..=LEVEL_MAX).contains(&level) {
        return raise("Invalid log level.");
    }
    let words: Vec<String> = values.iter().skip(1).filter_map(text_of).map(|w| lossy(&w)).collect();
    let text = words.join(" ");
    match level {
        0 => tracing::debug!(target: "script", "{text}"),
        1 | 2 => tracing::info!(target: "script", "{text}"),
        _ => tracing::warn!(target: "script", "{text}"),
    }
    Ok(())
}

fn setresp(shared: &Shared, values: &MultiValue) -> mlua::Result<()> {
    if values.len() != 1 {
        return raise("redis.setresp() requires one argument.");
    }
    match integer(values.front()) {
        Some(2) => shared.speak(Version::Resp2),
        Some(3) => shared.speak(Version::Resp3),
        _ => return raise("RESP version must be 2 or 3."),
    }
    Ok(())
}

/// What is replicated: accepted, since there is no replica.
fn set_repl(values: &MultiValue) -> mlua::Result<()> {
    if values.len() != 1 {
        return raise("redis.set_repl() requires one argument.");
    }
    match integer(values.front()) {
        Some(0..=REPLICATION_MAX) => Ok(()),
        _ => raise(BAD_FLAGS),
    }
}
