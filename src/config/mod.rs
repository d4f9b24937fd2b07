//! The one table of settings; feeds the command line, the file parser and `CONFIG GET/SET/REWRITE`.

mod cli;
mod error;
mod file;
mod glob;
mod kind;
mod rewrite;
mod settings;
mod store;
mod table;
mod tls;
mod units;

pub use cli::{Action, CliError, Parsed, parse};
pub use error::{ConfigError, LoadError};
pub use kind::{Kind, Setting, Shape, Source};
pub use settings::{
    AppendFsync, LogLevel, MaxmemoryPolicy, MemoryShare, OutputLimit, OutputLimits, Protection,
    Settings, Supervision,
};
pub use store::{ApplyHook, Config, Veto};
pub use table::{GROUPS, REFUSED_DIRECTIVES, SettingGroup, find, settings};
pub use tls::{AuthClients, TlsSettings};
pub(crate) use units::parse_memory;
