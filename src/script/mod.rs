//! Lua 5.1 for scripts and functions: the machine, its sandbox and its libraries.
//!
//! A [`Vm`] runs one script at a time. What a script asks of the server goes through a [`Host`],
//! whether it may go on is asked of a [`Watch`]; so this layer knows no command and no transaction.
//!
//! The sandbox is written in Lua (`sandbox.lua`), since its functions have to raise Lua's own errors at
//! the place of their caller; what is slow or needs bytes is a native function beside it.

mod arguments;
mod bits;
mod compiled;
mod host;
mod json;
mod library;
mod msgpack;
mod number;
mod random;
mod reply;
mod server;
mod shebang;
mod structs;
mod vm;

pub use compiled::{ScriptId, sha1_hex};
pub use host::{Failed, Host, Stop, Watch};
pub use library::{Libraries, Library, LibraryHeader, LoadError, Registered};
pub use shebang::{ScriptFlags, Shebang};
pub use vm::{Language, Outcome, Vm};

#[cfg(test)]
mod tests;
