//! Flush: a sealed memtable becomes a table of level 0.
//!
//! Only a memtable whose every transaction is published is flushed: what nobody was promised must
//! not become durable ahead of the log. The same manifest edit names the table, the root record as of
//! the memtable's end, and the oldest log segment that is still needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::manifest::Edit;
use super::memtable::Memtable;
use super::shared::{Shared, State};
use super::tree::{Sealed, Tree};
use super::version::Handle;
use super::{BlockCache, Error, Filter, Result, TableBuilder, TableInfo, TableOptions};
use crate::env::Fs;

/// The sealed memtable that can be flushed now.
pub(super) fn choose(shared: &Shared, state: &State) -> Option<Arc<Sealed>> {
    if state.flush_running {
        return None;
    }
    let published = shared.published.load();
    let oldest = published.tree.sealed.last()?;
    (oldest.last_seq <= published.seq).then(|| oldest.clone())
}

/// Flushes the oldest sealed memtable. After a failure the memtable stays. With
/// [`Error::NoSpace`] nothing else has changed and the flush can be tried again; after any other the
/// caller ends all writes: memory would only grow.
pub(super) fn run(shared: &Shared, sealed: &Arc<Sealed>) -> Result<()> {
    let table = match sealed.memtable.is_empty() {
        true => None,
        false => Some(make_table(shared, sealed)?),
    };
    let path = table.as_ref().map(|handle| handle.table.path().to_owned());
    let result = install(shared, sealed, table);
    if let (Err(Error::NoSpace(_)), Some(path)) = (&result, &path) {
        remove_unfinished(&*shared.fs, path);
    }
    result
}

fn make_table(shared: &Shared, sealed: &Sealed) -> Result<Arc<Handle>> {
    let id = shared.new_table_id();
    let path = shared.table_path(id);
    let (fs, filter, cache) = (&*shared.fs, &*shared.filter, Some(&*shared.cache));
    let info = write_table(fs, path, id, &sealed.memtable, filter, cache)?;
    shared.fs.sync_dir(&shared.options.dir).map_err(Error::io("sync", &shared.options.dir))?;
    let handle = shared.handle(info);
    handle.table.load()?;
    Ok(handle)
}

fn install(shared: &Shared, sealed: &Arc<Sealed>, table: Option<Arc<Handle>>) -> Result<()> {
    let added: Vec<_> = table.into_iter().map(|handle| (0, handle)).collect();
    let segment = needed_after(shared, sealed);
    let edit = Edit {
        added: added.iter().map(|(level, handle)| (*level, handle.info().clone())).collect(),
        log_segment: Some(segment),
        next_table_id: Some(shared.next_table_id.load(Ordering::Relaxed)),
        last_seq: Some(sealed.last_seq),
        root: Some(sealed.root.clone()),
        ..Edit::default()
    };
    shared.install_version(&edit, &added, |state, before, version| {
        let mut left = before.sealed.clone();
        let flushed = left.pop();
        debug_assert!(flushed.is_some_and(|flushed| Arc::ptr_eq(&flushed, sealed)));
        state.flushed = sealed.last_seq;
        state.retired.push(sealed.clone());
        sealed.memtable.set_flushed();
        Tree { sealed: left, version, flushes: before.rows.count_flush(), ..before.clone() }
    })?;
    shared.tree().rows.trim(sealed.last_seq);
    let written: u64 = added.iter().map(|(_, handle)| handle.info().size).sum();
    shared.counters.flushes.fetch_add(1, Ordering::Relaxed);
    shared.counters.flush_bytes_written.fetch_add(written, Ordering::Relaxed);
    // A segment that stays too long only takes space; the next flush tries again.
    if let Err(error) = shared.segments.retire_below(segment) {
        tracing::warn!(%error, "log segments not retired");
        shared.state.lock().background_error = Some(("retire", error.to_string()));
    }
    Ok(())
}

/// The oldest log segment with a batch that is newer than `sealed`.
fn needed_after(shared: &Shared, sealed: &Arc<Sealed>) -> u64 {
    let _state = shared.state.lock();
    let tree = shared.tree();
    let newer = tree.sealed.iter().rev().filter(|other| !Arc::ptr_eq(other, sealed));
    newer
        .map(|other| &other.memtable)
        .chain(std::iter::once(&tree.active))
        .find_map(|memtable| memtable.log_segment())
        .unwrap_or_else(|| shared.log_segment.load(Ordering::Relaxed))
}

/// Writes the newest version of each key of `memtable` to a new table, synced, and its blocks to
/// `cache` as far as that has room. The caller syncs the directory. Leaves no file behind where it fails, so that it can be tried again under another
/// id where that was for want of space ([`Error::NoSpace`]).
pub(super) fn write_table(
    fs: &dyn Fs,
    path: PathBuf,
    id: u64,
    memtable: &Memtable,
    filter: &dyn Filter,
    cache: Option<&BlockCache>,
) -> Result<TableInfo> {
    let created = fs.create(&path).map_err(Error::io("create", &path));
    let file = created.map_err(Error::without_effect)?;
    let mut builder = TableBuilder::new(file, path.clone(), id, TableOptions::default(), filter);
    if let Some(cache) = cache {
        builder = builder.filling(cache);
    }
    let mut write =
        || memtable.for_each_newest(|entry| builder.add(entry.key(), entry.seq(), entry.value()));
    let result = write().and_then(|()| builder.finish());
    if result.is_err() {
        remove_unfinished(fs, &path);
    }
    result.map_err(Error::without_effect)
}

/// What cannot be removed now is removed by the next start.
pub(super) fn remove_unfinished(fs: &dyn Fs, path: &Path) {
    if let Err(error) = fs.remove(path) {
        tracing::warn!(path = %path.display(), %error, "unfinished table not removed");
    }
}
