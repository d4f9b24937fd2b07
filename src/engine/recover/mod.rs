//! Opening a store: lock, manifest, log tail.
//!
//! No table is read, but each must be there in its size. What the log holds beyond the tables goes
//! into memtables, which are flushed by the first background work; where they grow past their size
//! they are flushed on the way, so the memory of an open is bounded like that of a run. Where the
//! disk is full the flush is put off: the log holds no more than the memtables of a run did, so the
//! store can be opened and read.
//!
//! Nothing is removed before everything was found whole: manifest, tables and log. A store that is
//! opened to be read only is looked at in the same way; nothing is flushed, cut, removed or marked.

mod leftovers;
mod replay;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use self::leftovers::Found;
use self::replay::Replay;
use super::log_mark::LogMark;
use super::manifest::{self, Edit, Manifest};
use super::memtable::Memtable;
use super::shared::{Shared, State};
use super::space::Space;
use super::stats::Counters;
use super::tree::{Published, Tree};
use super::version::{Handle, Obsolete, Version};
use super::views::Views;
use super::wal::{self, Wal, WalOptions};
use super::{
    BlockCache, Error, Filter, Options, Result, Table, TableInfo, Writer, space, table_file_name,
};
use crate::env::{Clock, DirectoryLock, Fs};

/// The file whose lock says that a process uses the directory.
const LOCK_FILE: &str = "LOCK";
/// Retired log segments kept for reuse, at least; enough for the log of a memtable.
const LOG_RECYCLE_MIN: u64 = 2;

/// What an open may do to the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Make it, write to it, remove what is left of earlier lives.
    Full,
    /// Take its lock, nothing else; writes are refused.
    ReadOnly,
}

/// Opens or makes the store in `options.dir`. Starts no thread.
pub(super) fn open(
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    options: Options,
    filter: Arc<dyn Filter>,
    access: Access,
) -> Result<(Arc<Shared>, Writer)> {
    let dir = options.dir.clone();
    if access == Access::Full {
        make_dir(&*fs, &dir)?;
    }
    // What is refused gets no lock file either.
    Manifest::check_dir(&*fs, &dir)?;
    let lock = take_lock(&*fs, &dir)?;
    let files = Found::list(&*fs, &dir)?;
    if access == Access::ReadOnly && files.accepts_loss() {
        return Err(loss_is_accepted(dir));
    }
    let (manifest, found) = match access {
        Access::Full => {
            Manifest::open_or_create(fs.clone(), &dir, &BTreeMap::new(), files.accepts_loss())?
        }
        Access::ReadOnly => Manifest::open_to_read(fs.clone(), &dir)?,
    };
    check_tables(&*fs, &dir, &found)?;

    let next_free = files.tables().max().map_or(1, |last| last + 1);
    let mut replay = Replay::new(&fs, &options, &*filter, manifest, &found, next_free, access)?;
    let start = match access {
        Access::Full => replay_log(&fs, &dir, &found, files.accepts_loss(), &mut replay)?,
        Access::ReadOnly => look_at_log(&fs, &dir, &found, &mut replay)?,
    };
    let wal_options = log_options(&options);
    let wal = Wal::create(fs.clone(), &dir, wal_options, start)?;
    replay.seal();

    let cache = Arc::new(BlockCache::new(options.block_cache_bytes));
    cache.open_tables().set_bounds(options.open_tables_max, options.open_tables_bytes);
    let obsolete = Arc::new(Obsolete::default());
    let version = open_tables(&fs, &dir, std::mem::take(&mut replay.tables), &cache, &obsolete)?;
    if access == Access::Full {
        if replay.sealed.is_empty() {
            retire_log(&mut replay.manifest, &wal)?;
        }
        files.remove_leftovers(&*fs, &dir, &replay.manifest, &found)?;
    }
    let (seq, root) = (replay.seq, replay.root.clone());
    let state = first_state(&replay);
    let tree = Tree {
        waste: Arc::default(),
        rows: replay.rows.clone(),
        flushes: replay.rows.flushes(),
        active: Arc::new(Memtable::of(&options)),
        sealed: std::mem::take(&mut replay.sealed),
        version: Arc::new(version),
    };
    let published = Published { tree: Arc::new(tree), seq, root: root.clone() };
    let counters = Counters {
        recovered_transactions: AtomicU64::new(replay.transactions),
        recovered_torn_bytes: AtomicU64::new(replay.torn_bytes),
        ..Counters::default()
    };
    let shared = Arc::new(Shared {
        memtable_bytes: AtomicU64::new(options.memtable_bytes),
        cache_share: AtomicU64::new(options.block_cache_bytes),
        next_table_id: AtomicU64::new(replay.next_table_id),
        log_segment: AtomicU64::new(wal.active_segment()),
        segments: wal.segments(),
        log: wal.syncer(),
        manifest: Mutex::new(replay.manifest),
        published: ArcSwap::from_pointee(published),
        views: Views::default(),
        state: Mutex::new(state),
        work: Condvar::new(),
        progress: Condvar::new(),
        stopped: Condvar::new(),
        flushed: watch::Sender::new(0),
        stop: AtomicBool::new(false),
        is_idle: AtomicBool::new(false),
        poisoned: match access {
            Access::Full => OnceLock::new(),
            Access::ReadOnly => OnceLock::from(Arc::from("the store was opened to be read only")),
        },
        space: Space::new(options.space_reserve_bytes, options.segment_bytes),
        threads: Mutex::default(),
        fs,
        clock,
        filter,
        options,
        cache,
        obsolete,
        counters,
        lock,
    });
    space::look(&shared);
    let writer = Writer::new(shared.clone(), wal, seq, root);
    Ok((shared, writer))
}

/// What the next start goes on with is not what a look would find.
fn loss_is_accepted(path: PathBuf) -> Error {
    let what = format!(
        "it has a file {}, so the next start gives up what is damaged; remove that file to have the \
         directory looked at as it is",
        wal::ACCEPT_LOSS
    );
    Error::Directory { path, what }
}

fn first_state(replay: &Replay<'_>) -> State {
    State {
        committed: replay.seq,
        committed_root: replay.root.clone(),
        flushed: replay.flushed,
        prepare_log_segment: true,
        log_mark: LogMark::at(replay.manifest.state().log_mark),
        ..State::default()
    }
}

/// Reads the log into `replay`, and answers where the next one would start. Changes nothing.
fn look_at_log(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    found: &manifest::State,
    replay: &mut Replay<'_>,
) -> Result<wal::LogStart> {
    let (from_segment, mark) = (found.log_segment, found.log_mark);
    let expected = wal::Expected { from_segment, mark, accept_loss: false };
    let mut apply = |segment: u64, payload: &[u8]| replay.apply(segment, payload);
    let log = wal::look(fs, dir, expected, &mut apply)?;
    replay.torn_bytes = log.torn.map_or(0, |torn| torn.bytes_lost);
    Ok(log.next)
}

/// Reads the log into `replay`, cuts an unfinished end, and answers where the next one starts.
fn replay_log(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    found: &manifest::State,
    accept_loss: bool,
    replay: &mut Replay<'_>,
) -> Result<wal::LogStart> {
    let expected =
        wal::Expected { from_segment: found.log_segment, mark: found.log_mark, accept_loss };
    let mut apply = |segment: u64, payload: &[u8]| replay.apply(segment, payload);
    let log = wal::replay(fs, dir, expected, &mut apply)?;
    if let Some(torn) = &log.torn {
        replay.torn_bytes = torn.bytes_lost;
        let (path, offset, bytes) = (torn.path.display(), torn.offset, torn.bytes_lost);
        if torn.is_accepted_loss {
            tracing::warn!(%path, offset, bytes,
                "the log was cut here, as was accepted; these bytes of records are lost");
        } else {
            tracing::warn!(%path, offset, bytes,
                "the log ended in an unfinished record, which was never acknowledged as durable");
        }
    }
    if accept_loss {
        // What is lost must not be expected again, and a later loss not be accepted unasked.
        replay.manifest.apply(&Edit { log_mark: Some(log.end()), ..Edit::default() })?;
        remove(&**fs, &dir.join(wal::ACCEPT_LOSS))?;
        fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
    }
    Ok(log.next)
}

fn log_options(options: &Options) -> WalOptions {
    let per_memtable = options.memtable_bytes / options.segment_bytes.max(1) + 1;
    WalOptions {
        segment_bytes: options.segment_bytes,
        recycle_max: usize::try_from(per_memtable.max(LOG_RECYCLE_MIN)).unwrap_or(usize::MAX),
        fills: options.fill_log,
        ..WalOptions::default()
    }
}

/// Everything in the log is in tables: none of it is needed.
fn retire_log(manifest: &mut Manifest, wal: &Wal) -> Result<()> {
    let segment = wal.active_segment();
    match manifest.apply(&Edit { log_segment: Some(segment), ..Edit::default() }) {
        Ok(()) => wal.segments().retire_below(segment),
        Err(error @ Error::NoSpace(_)) => {
            tracing::warn!(%error, "the log is kept, though it is in tables");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn open_tables(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    tables: Vec<(usize, TableInfo)>,
    cache: &Arc<BlockCache>,
    obsolete: &Arc<Obsolete>,
) -> Result<Version> {
    let version = Version::new(tables.into_iter().map(|(level, info)| {
        let path = dir.join(table_file_name(info.id));
        let table = Table::open(fs.clone(), path, info, cache.clone());
        (level, Handle::new(table, obsolete.clone()))
    }));
    match version.broken_invariant() {
        None => Ok(version),
        Some((handle, what)) => {
            Err(Error::Corruption { path: handle.table.path().to_owned(), offset: 0, what })
        }
    }
}

fn make_dir(fs: &dyn Fs, dir: &Path) -> Result<()> {
    if fs.list(dir).is_ok() {
        return Ok(());
    }
    fs.create_dir_all(dir).map_err(Error::io("create", dir))?;
    let parent = match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    fs.sync_dir(parent).map_err(Error::io("sync", parent))
}

fn take_lock(fs: &dyn Fs, dir: &Path) -> Result<Box<dyn DirectoryLock>> {
    fs.lock(&dir.join(LOCK_FILE)).map_err(|error| lock_error(dir, error))
}

fn lock_error(dir: &Path, error: std::io::Error) -> Error {
    let what = match error.kind() {
        ErrorKind::WouldBlock => {
            "in use by another process; stop it, or give another directory".to_owned()
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => format!(
            "it cannot be locked ({error}); who opens it must be able to write there, to check it \
             as well: a check of data that must not be touched is one of a copy"
        ),
        _ => return Error::io("lock", &dir.join(LOCK_FILE))(error),
    };
    Error::Directory { path: dir.to_owned(), what }
}

fn remove(fs: &dyn Fs, path: &Path) -> Result<()> {
    fs.remove(path).map_err(Error::io("remove", path))
}

/// Fails where a table that the manifest names is missing or of another size.
fn check_tables(fs: &dyn Fs, dir: &Path, found: &manifest::State) -> Result<()> {
    for info in found.levels.iter().flatten() {
        let path = dir.join(table_file_name(info.id));
        let (offset, what) = match fs.file_bytes(&path) {
            Ok(bytes) if bytes == info.size => continue,
            Ok(bytes) => (bytes.min(info.size), format!("it has {bytes} bytes")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                (0, "the file is missing".to_owned())
            }
            Err(error) => return Err(Error::io("measure", &path)(error)),
        };
        let what = format!(
            "{what}, but the manifest names it as a table of {} bytes; restore this file, or the \
             whole data directory, from a backup",
            info.size
        );
        return Err(Error::Corruption { path, offset, what });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_cannot_be_had_says_why() {
        let told = |kind: ErrorKind| lock_error(Path::new("/db"), kind.into()).to_string();
        assert!(told(ErrorKind::WouldBlock).starts_with("/db: in use by another process"));
        for kind in [ErrorKind::ReadOnlyFilesystem, ErrorKind::PermissionDenied] {
            let text = told(kind);
            assert!(
                text.starts_with("/db: it cannot be locked") && text.contains("copy"),
                "{text}"
            );
        }
        assert!(told(ErrorKind::Other).starts_with("lock /db/LOCK"));
    }
}
