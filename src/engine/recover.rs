//! Opening a store: lock, manifest, log tail, fresh log.
//!
//! No table is read. What the log holds beyond the tables goes into a memtable, which is flushed by
//! the first background work; where it grows past its size it is flushed on the way, so the memory
//! of an open is bounded like that of a run.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::log_mark::LogMark;
use super::manifest::{self, Edit, Manifest};
use super::memtable::Memtable;
use super::shared::{Shared, State};
use super::stats::Counters;
use super::tree::{Published, Sealed, Tree};
use super::version::{Handle, LEVELS, Obsolete, Version};
use super::wal::{self, Wal, WalOptions};
use super::{
    BlockCache, Error, Filter, Options, Result, SeqNo, Table, TableInfo, Writer, batch, flush,
    table_file_name,
};
use crate::env::{Clock, DirectoryLock, Fs};

/// The file whose lock says that a process uses the directory.
const LOCK_FILE: &str = "LOCK";
/// Retired log segments kept for reuse.
const LOG_RECYCLE_MAX: usize = 2;

/// Opens or makes the store in `options.dir`. Starts no thread.
pub(super) fn open(
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    options: Options,
    filter: Arc<dyn Filter>,
) -> Result<(Arc<Shared>, Writer)> {
    let dir = options.dir.clone();
    make_dir(&*fs, &dir)?;
    let lock = take_lock(&*fs, &dir)?;
    let (manifest, found) = Manifest::open_or_create(fs.clone(), &dir, &BTreeMap::new())?;
    let files = table_files(&*fs, &dir)?;
    remove_orphans(&*fs, &dir, &found, &files)?;

    let mut replay = Replay::new(&fs, &dir, &options, &*filter, manifest, &found, &files)?;
    let mut apply = |segment: u64, payload: &[u8]| replay.apply(segment, payload);
    let accept_loss = names(&*fs, &dir)?.iter().any(|name| name == wal::ACCEPT_LOSS);
    let expected =
        wal::Expected { from_segment: found.log_segment, mark: found.log_mark, accept_loss };
    let log = wal::replay(&fs, &dir, expected, &mut apply)?;
    if accept_loss {
        // What is lost must not be expected again, and a later loss not be accepted unasked.
        replay.manifest.apply(&Edit { log_mark: Some(log.end()), ..Edit::default() })?;
        remove(&*fs, &dir.join(wal::ACCEPT_LOSS))?;
        fs.sync_dir(&dir).map_err(Error::io("sync", &dir))?;
    }
    if let Some(torn) = &log.torn {
        tracing::warn!(path = %torn.path.display(), offset = torn.offset, bytes = torn.bytes_lost,
            "the log ended in an unfinished record, which was never acknowledged as durable");
    }
    let wal_options =
        WalOptions { segment_bytes: options.segment_bytes, recycle_max: LOG_RECYCLE_MAX };
    let wal = Wal::create(fs.clone(), &dir, wal_options, log.next)?;

    let cache = Arc::new(BlockCache::new(options.block_cache_bytes));
    let obsolete = Arc::new(Obsolete::default());
    let tables = replay.tables.into_iter().map(|(level, info)| {
        let path = dir.join(table_file_name(info.id));
        let table = Table::open(fs.clone(), path, info, cache.clone());
        (level, Handle::new(table, obsolete.clone()))
    });
    let version = Version::new(tables);
    if let Some((handle, what)) = version.broken_invariant() {
        return Err(Error::Corruption { path: handle.table.path().to_owned(), offset: 0, what });
    }
    let (seq, root) = (replay.seq, replay.root);
    // What was replayed is flushed soon, so that restarts do not heap up log segments.
    let mut sealed = Vec::new();
    if seq > replay.flushed {
        let memtable = replay.memtable;
        sealed.push(Arc::new(Sealed { memtable, last_seq: seq, root: root.clone() }));
    } else {
        let segment = wal.active_segment();
        replay.manifest.apply(&Edit { log_segment: Some(segment), ..Edit::default() })?;
        wal.segments().retire_below(segment)?;
    }
    let tree = Tree { active: Arc::new(Memtable::new()), sealed, version: Arc::new(version) };
    let published = Published { tree: Arc::new(tree), seq, root: root.clone() };
    let state = State {
        committed: seq,
        committed_root: root.clone(),
        flushed: replay.flushed,
        prepare_log_segment: true,
        log_mark: LogMark::at(replay.manifest.state().log_mark),
        ..State::default()
    };
    let counters = Counters {
        recovered_transactions: AtomicU64::new(replay.transactions),
        ..Counters::default()
    };
    let shared = Arc::new(Shared {
        memtable_bytes: AtomicU64::new(options.memtable_bytes),
        next_table_id: AtomicU64::new(replay.next_table_id),
        log_segment: AtomicU64::new(wal.active_segment()),
        segments: wal.segments(),
        log: wal.syncer(),
        manifest: Mutex::new(replay.manifest),
        published: ArcSwap::from_pointee(published),
        state: Mutex::new(state),
        work: Condvar::new(),
        progress: Condvar::new(),
        stopped: Condvar::new(),
        flushed: watch::Sender::new(0),
        stop: AtomicBool::new(false),
        poisoned: OnceLock::new(),
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
    let writer = Writer::new(shared.clone(), wal, seq, root);
    Ok((shared, writer))
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
    let path = dir.join(LOCK_FILE);
    fs.lock(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => Error::Directory {
            path: dir.to_owned(),
            what: "in use by another process; stop it, or give another directory".into(),
        },
        _ => Error::io("lock", &path)(error),
    })
}

fn names(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>> {
    fs.list(dir).map_err(Error::io("list", dir))
}

fn remove(fs: &dyn Fs, path: &Path) -> Result<()> {
    fs.remove(path).map_err(Error::io("remove", path))
}

/// Ids of the table files in `dir`.
fn table_files(fs: &dyn Fs, dir: &Path) -> Result<HashSet<u64>> {
    let names = names(fs, dir)?;
    let ids = names.iter().filter_map(|name| {
        let id = name.strip_suffix(".sst")?.parse().ok()?;
        (table_file_name(id) == *name).then_some(id)
    });
    Ok(ids.collect())
}

/// Removes tables that the manifest does not name: outputs of jobs that did not end, and inputs of
/// such that did. Fails where a table that it names is missing.
fn remove_orphans(
    fs: &dyn Fs,
    dir: &Path,
    found: &manifest::State,
    files: &HashSet<u64>,
) -> Result<()> {
    let named: HashSet<u64> = found.levels.iter().flatten().map(|info| info.id).collect();
    if let Some(missing) = named.difference(files).min() {
        return Err(Error::Corruption {
            path: dir.join(table_file_name(*missing)),
            offset: 0,
            what: "the manifest names this table, but the file is missing; restore it from a \
                   backup"
                .into(),
        });
    }
    for orphan in files.difference(&named) {
        remove(fs, &dir.join(table_file_name(*orphan)))?;
    }
    Ok(())
}

/// What becomes of the log's records.
struct Replay<'a> {
    fs: &'a dyn Fs,
    dir: PathBuf,
    filter: &'a dyn Filter,
    memtable_bytes: u64,
    manifest: Manifest,
    tables: Vec<(usize, TableInfo)>,
    next_table_id: u64,
    memtable: Arc<Memtable>,
    /// Everything up to here is in tables.
    flushed: SeqNo,
    seq: SeqNo,
    root: Bytes,
    transactions: u64,
}

impl<'a> Replay<'a> {
    fn new(
        fs: &'a Arc<dyn Fs>,
        dir: &Path,
        options: &Options,
        filter: &'a dyn Filter,
        manifest: Manifest,
        found: &manifest::State,
        files: &HashSet<u64>,
    ) -> Result<Self> {
        if found.levels.iter().skip(LEVELS).any(|level| !level.is_empty()) {
            return Err(Error::Directory {
                path: dir.to_owned(),
                what: format!("has tables below level {}; a newer version made it", LEVELS - 1),
            });
        }
        let levels = found.levels.iter().enumerate();
        let tables =
            levels.flat_map(|(level, infos)| infos.iter().map(move |i| (level, i.clone())));
        let next_free = files.iter().max().map_or(1, |last| last + 1);
        Ok(Self {
            fs: &**fs,
            dir: dir.to_owned(),
            filter,
            memtable_bytes: options.memtable_bytes,
            manifest,
            tables: tables.collect(),
            next_table_id: found.next_table_id.max(next_free),
            memtable: Arc::new(Memtable::new()),
            flushed: found.last_seq,
            seq: found.last_seq,
            root: found.root.clone(),
            transactions: 0,
        })
    }

    fn apply(&mut self, segment: u64, payload: &[u8]) -> Result<()> {
        let damaged = |what: String| Error::Corruption {
            path: self.dir.join(format!("log segment {segment}")),
            offset: 0,
            what,
        };
        let Some(decoded) = batch::decode(&Bytes::copy_from_slice(payload)) else {
            return Err(damaged("a record whose checksum is right is no batch".into()));
        };
        if decoded.last_seq <= self.flushed {
            return Ok(());
        }
        if decoded.first_seq != self.seq + 1 {
            return Err(damaged(format!(
                "transaction {} follows {}; those between are missing",
                decoded.first_seq, self.seq
            )));
        }
        if self.memtable.bytes() >= self.memtable_bytes {
            self.flush(segment)?;
        }
        self.memtable.note_log(segment, payload.len() as u64);
        for write in &decoded.writes {
            self.memtable.insert(&write.key, write.seq, write.value.as_ref());
        }
        self.transactions += decoded.last_seq - decoded.first_seq + 1;
        self.seq = decoded.last_seq;
        if let Some(root) = decoded.root {
            self.root = root;
        }
        Ok(())
    }

    /// Makes the memtable a table; the log is needed from `segment` on.
    fn flush(&mut self, segment: u64) -> Result<()> {
        let id = self.next_table_id;
        self.next_table_id += 1;
        let path = self.dir.join(table_file_name(id));
        let info = flush::write_table(self.fs, path, id, &self.memtable, self.filter)?;
        self.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        self.manifest.apply(&Edit {
            added: vec![(0, info.clone())],
            log_segment: Some(segment),
            next_table_id: Some(self.next_table_id),
            last_seq: Some(self.seq),
            root: Some(self.root.clone()),
            ..Edit::default()
        })?;
        self.tables.push((0, info));
        self.flushed = self.seq;
        self.memtable = Arc::new(Memtable::new());
        Ok(())
    }
}
