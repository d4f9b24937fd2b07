//! The limit of open files, raised as far as the system allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the server itself needs: listeners, log segments, tables, threads' own. A sixteenth of
/// the limit, between these two.
const RESERVED_FILES_MIN: u64 = 1024;
const RESERVED_FILES_MAX: u64 = 8192;
/// Of those, what is for others than tables that are kept open.
const OTHER_FILES: u64 = 256;

/// Raises the limit of open files to the hard limit: a flush that cannot open its table ends all
/// writes. Answers how many of `clients` connections the limit now allows.
pub(crate) fn raise_open_files(clients: usize) -> usize {
    let allowed = raise();
    usize::try_from(allowed - reserved(allowed)).unwrap_or(usize::MAX).min(clients)
}

/// How many tables may be open beside any number of clients that [`raise_open_files`] allows.
pub(crate) fn open_tables_max() -> usize {
    let reserved = reserved(raise());
    usize::try_from(reserved - OTHER_FILES.min(reserved / 2)).unwrap_or(usize::MAX)
}

fn reserved(allowed: u64) -> u64 {
    (allowed / 16).clamp(RESERVED_FILES_MIN, RESERVED_FILES_MAX).min(allowed / 2)
}

/// Raises the limit as far as it goes, and answers it.
fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current else { return u64::MAX };
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_files_is_for_tables() {
        assert_eq!(reserved(20), 10);
        assert_eq!(reserved(1024), 512);
        assert_eq!(reserved(20_000), 1250);
        assert_eq!(reserved(u64::MAX), RESERVED_FILES_MAX);
        let tables = open_tables_max();
        assert!((1..=8192 - 256).contains(&tables), "{tables}");
    }
}
