//! What can go wrong in the engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::NoRoom;

/// Result of an engine operation.
pub type Result<T> = std::result::Result<T, Error>;

/// An engine error. Cheap to clone: one failed sync answers many writes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// A resident read would have to wait on the disk, or has used up its budget of work. Not a
    /// failure: run the same read again with [`super::ReadMode::Blocking`] on the blocking pool.
    WouldBlock,
    /// An operation of the file system failed.
    Io {
        /// What was tried: "open", "read", "write", "sync", ...
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
    /// Bytes on disk are not what was written there.
    Corruption {
        /// The damaged file.
        path: PathBuf,
        /// Offset of the damaged unit in bytes.
        offset: u64,
        /// What is wrong, and what can be done about it.
        what: String,
    },
    /// The data directory cannot be used: locked, of a newer format, not a data directory.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why, and what can be done about it.
        what: String,
    },
    /// The disk is full. What was tried has had no effect and can be tried again; writes are
    /// refused until there is space. Says what was tried and what can be done.
    NoSpace(Arc<str>),
    /// An earlier append or sync of the write-ahead log failed; no write is accepted until restart.
    Poisoned(Arc<str>),
    /// A stated maximum was exceeded (key, value, transaction size).
    Limit(&'static str),
    /// A transaction, or all commands together, would hold more memory than they may.
    NoRoom,
    /// The engine was closed.
    Closed,
}

impl From<NoRoom> for Error {
    fn from(_: NoRoom) -> Self {
        Self::NoRoom
    }
}

impl Error {
    /// Wraps a failure of `operation` on `path`; made for `map_err`.
    pub fn io(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { operation, path, source: Arc::new(source) }
    }

    /// For a failure that had no effect: one for want of space becomes [`Error::NoSpace`].
    pub(super) fn without_effect(self) -> Self {
        let Self::Io { operation, path, source } = &self else { return self };
        let what = match source.kind() {
            std::io::ErrorKind::StorageFull => "No space left on device",
            std::io::ErrorKind::QuotaExceeded => "Disk quota exceeded",
            _ => return self,
        };
        let path = path.display();
        let why = format!(
            "{what}: {operation} {path}; free some space there, writes then come back by themselves"
        );
        Self::NoSpace(why.into())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WouldBlock => write!(f, "the read would wait on the disk"),
            Self::Io { operation, path, source } => {
                write!(f, "{operation} {}: {source}", path.display())
            }
            Self::Corruption { path, offset, what } => {
                write!(f, "{} is damaged at offset {offset}: {what}", path.display())
            }
            Self::Directory { path, what } => write!(f, "{}: {what}", path.display()),
            Self::NoSpace(why) => write!(f, "{why}"),
            Self::Poisoned(why) => write!(f, "writes are refused since an earlier failure: {why}"),
            Self::Limit(what) => write!(f, "{what}"),
            Self::NoRoom => write!(f, "more memory than a command may hold"),
            Self::Closed => write!(f, "the engine is closed"),
        }
    }
}

impl std::error::Error for Error {}
