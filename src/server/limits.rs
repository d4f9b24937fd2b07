//! The limit of open files, raised as far as the system allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the server itself needs: listeners, log segments, tables, threads' own.
const RESERVED_FILES: u64 = 1024;

/// Raises the limit of open files to the hard limit: open tables are never closed, so what the
/// server needs grows with its data, and a flush that cannot open its table ends all writes.
/// Answers how many of `clients` connections the limit now allows.
pub(crate) fn raise_open_files(clients: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current else { return clients };
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => current,
    };
    let reserved = RESERVED_FILES.min(allowed / 2);
    usize::try_from(allowed - reserved).unwrap_or(usize::MAX).min(clients)
}
