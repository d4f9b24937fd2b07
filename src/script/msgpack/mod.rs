//! The library `cmsgpack`: values of Lua as MessagePack.

mod pack;
mod unpack;

use mlua::{Lua, Table};

use super::arguments::native;

/// The functions.
pub(super) fn natives(lua: &Lua) -> mlua::Result<Table> {
    let functions = lua.create_table()?;
    functions.set("pack", native(lua, "pack", |arguments| pack::pack(&arguments))?)?;
    functions.set("unpack", native(lua, "unpack", |arguments| unpack::all(&arguments))?)?;
    functions.set("unpack_one", native(lua, "unpack_one", |arguments| unpack::one(&arguments))?)?;
    functions.set(
        "unpack_limit",
        native(lua, "unpack_limit", |arguments| unpack::limited(&arguments))?,
    )?;
    Ok(functions)
}
