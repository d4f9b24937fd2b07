//! What can be wrong with a setting.

use std::fmt;
use std::path::PathBuf;

/// An error of `CONFIG SET` or `CONFIG REWRITE`; its `Display` is the text on the wire, code first.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// No setting has this name, which may be any bytes.
    Unknown(Vec<u8>),
    /// A value was refused, by the table or by the server.
    Refused {
        /// The setting by the name that the client used.
        name: String,
        /// Why.
        why: String,
    },
    /// `CONFIG REWRITE` without a file.
    NoFile,
    /// `CONFIG REWRITE` could not write the file.
    Rewrite(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let name = String::from_utf8_lossy(name);
                write!(f, "ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
            }
            Self::Refused { name, why } => {
                write!(f, "ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
            }
            Self::NoFile => write!(f, "ERR The server is running without a config file"),
            Self::Rewrite(why) => write!(f, "ERR Rewriting config file: {why}"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Why the configuration could not be loaded at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The file; `None` for the command line.
    pub file: Option<PathBuf>,
    /// Line in the file, from 1; 0 where the file as a whole is meant.
    pub line: usize,
    /// The line as written, without secrets.
    pub text: String,
    /// What is wrong, and what can be done about it.
    pub why: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "configuration error in {}", file.display())?,
            None => write!(f, "configuration error in the command line")?,
        }
        if self.line > 0 {
            write!(f, ", line {}", self.line)?;
        }
        write!(f, ": {}", self.why)?;
        if !self.text.is_empty() {
            write!(f, "\n    {}", self.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}
