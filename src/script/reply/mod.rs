//! Replies as values of Lua, and values as replies.

use std::borrow::Cow;

use bytes::Bytes;
use mlua::{IntoLua, Lua, LuaString, Table, Value};

use super::arguments::{number_of, truncate};
use crate::protocol::{EncodedItems, ListKind, Reply, Version, format_double, format_plain_double};

/// Tables within tables that a reply may have.
const NESTING_MAX: usize = 512;
/// Bytes of a value in a table of Lua. A reply has an item for each value at most, unless tables stand
/// in it several times.
const VALUE_BYTES: usize = 16;
/// Bytes of a reply at most, whatever the machine may hold.
const REPLY_BYTES_MAX: usize = 512 << 20;
/// What is sent for a table deeper down.
const TOO_DEEP: &str = "ERR reached lua stack limit";

/// The value of `reply` for a script that asked for replies of `version`.
pub(super) fn to_lua(lua: &Lua, reply: &Reply, version: Version) -> mlua::Result<Value> {
    let resp3 = version == Version::Resp3;
    match reply {
        Reply::Integer(number) => Ok(Value::Number(*number as f64)),
        Reply::Bulk(bytes) => lua.create_string(bytes)?.into_lua(lua),
        Reply::Many(many) => many_items(lua, many, version),
        Reply::Null | Reply::NullArray | Reply::Silent | Reply::Pushes(_) | Reply::Encoded(_) => {
            Ok(if resp3 { Value::Nil } else { Value::Boolean(false) })
        }
        Reply::Simple(text) => field(lua, "ok", text.as_ref()),
        Reply::Error(text) => field(lua, "err", text.as_ref()),
        Reply::RawError(text) => field(lua, "err", lua.create_string(text)?),
        Reply::Array(items) | Reply::Push(items) => sequence(lua, items, version),
        Reply::Map(pairs) | Reply::Keyed(pairs) if resp3 => {
            let table = lua.create_table()?;
            for (key, value) in pairs {
                let key = to_lua(lua, key, version)?;
                table.raw_set(key, to_lua(lua, value, version)?)?;
            }
            field(lua, "map", table)
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) if !resp3 => {
            let items = pairs.iter().flat_map(|(key, value)| [key, value]);
            sequence(lua, items, version)
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) | Reply::Keyed(pairs) => {
            let table = lua.create_table_with_capacity(pairs.len(), 0)?;
            for (at, (key, value)) in pairs.iter().enumerate() {
                table.raw_set(at + 1, sequence(lua, [key, value], version)?)?;
            }
            Ok(Value::Table(table))
        }
        Reply::Set(items) if resp3 => {
            let table = lua.create_table_with_capacity(0, items.len())?;
            for item in items {
                table.raw_set(to_lua(lua, item, version)?, true)?;
            }
            field(lua, "set", table)
        }
        Reply::Set(items) => sequence(lua, items, version),
        Reply::Double(number) | Reply::PlainDouble(number) if resp3 => {
            field(lua, "double", *number)
        }
        Reply::Double(number) => format_double(*number).into_lua(lua),
        Reply::PlainDouble(number) => format_plain_double(*number).into_lua(lua),
        Reply::Bool(value) if resp3 => Ok(Value::Boolean(*value)),
        Reply::Bool(value) => Ok(Value::Integer(i64::from(*value))),
        Reply::BigNumber(digits) if resp3 => field(lua, "big_number", lua.create_string(digits)?),
        Reply::Verbatim(format, text) if resp3 => {
            let table = lua.create_table()?;
            table.raw_set("format", *format)?;
            table.raw_set("string", lua.create_string(text)?)?;
            field(lua, "verbatim_string", table)
        }
        Reply::BigNumber(bytes) | Reply::Verbatim(_, bytes) => {
            lua.create_string(bytes)?.into_lua(lua)
        }
        Reply::Attribute(_, reply) | Reply::AfterPush(_, reply) => to_lua(lua, reply, version),
    }
}

/// The value of a reply of many items.
fn many_items(lua: &Lua, many: &EncodedItems, version: Version) -> mlua::Result<Value> {
    let mut items = many.items();
    let table = lua.create_table()?;
    match (many.kind(), version) {
        (ListKind::Map, Version::Resp3) => {
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                let key = to_lua(lua, &key, version)?;
                table.raw_set(key, to_lua(lua, &value, version)?)?;
            }
            field(lua, "map", table)
        }
        (ListKind::Set, Version::Resp3) => {
            for item in items {
                table.raw_set(to_lua(lua, &item, version)?, true)?;
            }
            field(lua, "set", table)
        }
        (ListKind::Array | ListKind::Pairs, _) | (_, Version::Resp2) => {
            for (at, item) in items.enumerate() {
                table.raw_set(at + 1, to_lua(lua, &item, version)?)?;
            }
            Ok(Value::Table(table))
        }
    }
}

/// A table with one field.
fn field(lua: &Lua, name: &str, value: impl IntoLua) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn sequence<'r>(
    lua: &Lua,
    items: impl IntoIterator<Item = &'r Reply, IntoIter: Clone>,
    version: Version,
) -> mlua::Result<Value> {
    let items = items.into_iter();
    let table = lua.create_table_with_capacity(items.clone().count(), 0)?;
    for (at, item) in items.enumerate() {
        table.raw_set(at + 1, to_lua(lua, item, version)?)?;
    }
    Ok(Value::Table(table))
}

/// The reply that a script makes with `value`, on a machine of so many bytes; booleans by the
/// `version` that it asked for.
///
/// # Errors
/// Where it is larger than values of the machine can be that stand in it once each: a table that
/// holds itself, or another one several times, stands for any number of items.
pub(super) fn to_reply(
    value: &Value,
    version: Version,
    machine_bytes: usize,
) -> mlua::Result<Reply> {
    let left = machine_bytes.saturating_mul(size_of::<Reply>().div_ceil(VALUE_BYTES));
    Making { version, left: left.min(REPLY_BYTES_MAX) }.reply(value, 0)
}

/// A reply that is being made.
struct Making {
    version: Version,
    /// Bytes that it may take more.
    left: usize,
}

impl Making {
    fn take(&mut self, bytes: usize) -> mlua::Result<()> {
        let left = self.left.checked_sub(bytes + size_of::<Reply>());
        self.left = left.ok_or_else(|| mlua::Error::runtime("the reply is too large"))?;
        Ok(())
    }

    fn reply(&mut self, value: &Value, depth: usize) -> mlua::Result<Reply> {
        self.take(match value {
            Value::String(text) => text.as_bytes().len(),
            _ => 0,
        })?;
        Ok(match value {
            Value::String(text) => Reply::Bulk(bytes_of(text)),
            Value::Boolean(value) if self.version == Version::Resp3 => Reply::Bool(*value),
            Value::Boolean(true) => Reply::Integer(1),
            Value::Table(_) if depth >= NESTING_MAX => Reply::Error(Cow::Borrowed(TOO_DEEP)),
            Value::Table(table) => self.of_table(table, depth + 1)?,
            value => match number_of(value) {
                Some(number) => Reply::Integer(truncate(number)),
                None => Reply::Null,
            },
        })
    }

    /// The text of a field, within what the reply may take.
    fn text(&mut self, table: &Table, name: &str) -> mlua::Result<Option<Bytes>> {
        let text = text_field(table, name)?;
        if let Some(text) = &text {
            self.take(text.len())?;
        }
        Ok(text)
    }

    fn of_table(&mut self, table: &Table, depth: usize) -> mlua::Result<Reply> {
        if let Some(text) = self.text(table, "err")? {
            return Ok(Reply::error_of(text.into()));
        }
        if let Some(text) = self.text(table, "ok")? {
            return Ok(Reply::Simple(lossy(&text).into()));
        }
        if let Some(number) = number_of(&table.raw_get("double")?) {
            return Ok(Reply::Double(number));
        }
        if let Value::Table(map) = table.raw_get("map")? {
            let pairs = map.pairs::<Value, Value>().map(|pair| {
                let (key, value) = pair?;
                Ok((self.reply(&key, depth)?, self.reply(&value, depth)?))
            });
            return Ok(Reply::Map(pairs.collect::<mlua::Result<_>>()?));
        }
        if let Value::Table(set) = table.raw_get("set")? {
            let items = set.pairs::<Value, Value>().map(|pair| self.reply(&pair?.0, depth));
            return Ok(Reply::Set(items.collect::<mlua::Result<_>>()?));
        }
        if let Some(digits) = self.text(table, "big_number")? {
            let digits: Vec<u8> = digits.iter().map(|byte| one_line(*byte)).collect();
            return Ok(Reply::BigNumber(digits.into()));
        }
        if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
            && let Some(text) = self.text(&verbatim, "string")?
            && let Some(format) = self.text(&verbatim, "format")?
        {
            let format = if format.starts_with(b"mkd") { "mkd" } else { "txt" };
            return Ok(Reply::Verbatim(format, text));
        }
        let mut items = Vec::new();
        for index in 1.. {
            let item: Value = table.raw_get(index)?;
            if item.is_nil() {
                break;
            }
            items.push(self.reply(&item, depth)?);
        }
        Ok(Reply::Array(items))
    }
}

/// The bytes of a string field; `None` where the field is something else.
pub(super) fn text_field(table: &Table, name: &str) -> mlua::Result<Option<Bytes>> {
    Ok(match table.raw_get(name)? {
        Value::String(text) => Some(bytes_of(&text)),
        _ => None,
    })
}

pub(super) fn bytes_of(text: &LuaString) -> Bytes {
    Bytes::copy_from_slice(&text.as_bytes())
}

fn one_line(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }
}

pub(super) fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests;
