//! Carries out a compaction.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::super::flush::remove_unfinished;
use super::super::manifest::Edit;
use super::super::shared::Shared;
use super::super::snapshot::Snapshot;
use super::super::tree::Tree;
use super::super::version::{Handle, Version};
use super::super::{
    Compression, Direction, Error, LevelIter, MergeIter, ReadMode, Record, RecordIter, Result,
    ScanOptions, TableBuilder, TableInfo, TableOptions,
};
use super::Choice;
use super::choose::Reason;

/// Bytes between two looks at whether to stop or to pause.
const CHUNK_BYTES: u64 = 256 << 10;

/// Runs `choice`, which was taken from `version` and is noted as running. Fails with
/// [`Error::Closed`] when the store closes meanwhile; then, as after every failure, the tree is
/// as before.
pub(in super::super) fn run(shared: &Shared, version: &Version, choice: &Choice) -> Result<()> {
    if choice.is_move() {
        return move_down(shared, choice);
    }
    let mut output = Output::new(shared, version, choice);
    let result = merge(shared, version, choice, &mut output)
        .and_then(|()| output.finish_table())
        .map_err(Error::without_effect)
        .and_then(|()| output.close());
    let infos = match result {
        Ok(infos) => infos,
        Err(error) => {
            output.discard();
            return Err(error);
        }
    };
    let written: u64 = infos.iter().map(|info| info.size).sum();
    let added: Vec<_> = infos.into_iter().map(|info| (choice.to, shared.handle(info))).collect();
    // Reading back the index proves that the files can be read before the inputs go, and
    // lets resident reads find them open.
    let ready = added.iter().try_for_each(|(_, handle)| handle.table.load());
    let edit = Edit {
        removed: choice.inputs.iter().map(|(level, handle)| (*level, handle.id())).collect(),
        added: added.iter().map(|(level, handle)| (*level, handle.info().clone())).collect(),
        next_table_id: Some(shared.next_table_id.load(Ordering::Relaxed)),
        ..Edit::default()
    };
    if let Err(error) = ready {
        output.discard();
        return Err(error);
    }
    if let Err(error) = install(shared, &edit, &added) {
        if matches!(error, Error::NoSpace(_)) {
            output.discard();
        }
        return Err(error);
    }
    forget_blocks(choice);
    shared.counters.compaction_bytes_written.fetch_add(written, Ordering::Relaxed);
    if choice.reason == Reason::Expired && choice.from == choice.to {
        let mut state = shared.state.lock();
        added.iter().for_each(|(_, handle)| state.compactions.settle(handle.id()));
    }
    Ok(())
}

/// The cache has room for what is read from now on. A view from before reads what it needs again.
fn forget_blocks(choice: &Choice) {
    for (_, handle) in &choice.inputs {
        // Their indexes have just been read; where that fails now the blocks go when others need room.
        if let Err(error) = handle.table.forget_blocks() {
            tracing::debug!(%error, "blocks of a table stay in the cache");
        }
    }
}

/// The same file, one level deeper.
fn move_down(shared: &Shared, choice: &Choice) -> Result<()> {
    let added: Vec<_> =
        choice.inputs.iter().map(|(_, handle)| (choice.to, handle.clone())).collect();
    let edit = Edit {
        removed: choice.inputs.iter().map(|(level, handle)| (*level, handle.id())).collect(),
        added: added.iter().map(|(level, handle)| (*level, handle.info().clone())).collect(),
        ..Edit::default()
    };
    install(shared, &edit, &added)
}

/// After a failed edit nobody knows what the manifest says, so the outputs stay, unless there was no
/// space for it; the next open removes what is not named.
fn install(shared: &Shared, edit: &Edit, added: &[(usize, Arc<Handle>)]) -> Result<()> {
    shared.install_version(edit, added, |_, before, version| Tree { version, ..before.clone() })?;
    shared.counters.compactions.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

fn merge(
    shared: &Shared,
    version: &Version,
    choice: &Choice,
    output: &mut Output<'_>,
) -> Result<()> {
    let mut view = shared.published.load_full();
    let judge_by = |view| shared.filter.judge(Box::new(Snapshot::new(view, ReadMode::Blocking, 0)));
    let mut judge = judge_by(view.clone());
    let mut below = Below::new(version, choice.to);
    let mut last: Option<Bytes> = None;
    let mut is_view_durable = false;
    let mut chunk = 0u64;
    for record in sources(shared, choice) {
        let Record { key, seq, mut value } = record?;
        chunk += (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64 + 16;
        if chunk >= CHUNK_BYTES {
            shared.counters.compaction_bytes_read.fetch_add(chunk, Ordering::Relaxed);
            shared.pause_compaction(chunk);
            chunk = 0;
            if shared.is_stopping() {
                return Err(Error::Closed);
            }
            let newest = shared.published.load_full();
            if !Arc::ptr_eq(&newest.tree.active, &view.tree.active) {
                // What is dead stays dead; the older view would keep memtables that are flushed meanwhile.
                judge = judge_by(newest.clone());
                (view, is_view_durable) = (newest, false);
            }
        }
        if last.as_ref() == Some(&key) {
            continue;
        }
        if let Some(bytes) = &value
            && judge.is_dead(&key, bytes)?
        {
            if !is_view_durable {
                // What made it dead must not be undone by a power cut when this is gone.
                shared.log.sync()?;
                is_view_durable = true;
            }
            value = None;
            shared.counters.filter_dropped.fetch_add(1, Ordering::Relaxed);
        }
        // An older record may lie below; without the tombstone it would come back.
        if value.is_some() || below.may_hold(&key) {
            output.add(&key, seq, value.as_deref())?;
        }
        last = Some(key);
    }
    shared.counters.compaction_bytes_read.fetch_add(chunk, Ordering::Relaxed);
    Ok(())
}

/// All records of the inputs in order; newer inputs first where keys are equal.
fn sources(shared: &Shared, choice: &Choice) -> MergeIter<'static> {
    let all = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
    // Until the new tables are there, lookups would miss the blocks.
    let is_idle = shared.is_idle.load(Ordering::Relaxed);
    let options = if is_idle { ScanOptions::replacing() } else { ScanOptions::streaming() };
    let direction = Direction::Forward;
    let mut sources: Vec<Box<dyn RecordIter>> = Vec::new();
    let of_level = |level: usize| choice.inputs.iter().filter(move |(from, _)| *from == level);
    if choice.from == 0 {
        for (_, handle) in of_level(0) {
            sources.push(Box::new(handle.table.scan(all.clone(), direction, options)));
        }
    }
    for level in [choice.from, choice.to] {
        let tables: Vec<_> = of_level(level).map(|(_, handle)| handle.table.clone()).collect();
        if level > 0 && !tables.is_empty() {
            sources.push(Box::new(LevelIter::new(tables, all.clone(), direction, options)));
        }
        if choice.from == choice.to {
            break;
        }
    }
    MergeIter::new(sources, direction)
}

/// Asked in key order, whether a level deeper than the output may hold a key.
struct Below<'a> {
    levels: Vec<&'a [Arc<Handle>]>,
}

impl<'a> Below<'a> {
    fn new(version: &'a Version, to: usize) -> Self {
        Self { levels: version.levels.iter().skip(to + 1).map(|level| &level.tables[..]).collect() }
    }

    fn may_hold(&mut self, key: &[u8]) -> bool {
        let mut found = false;
        for tables in &mut self.levels {
            while let [first, rest @ ..] = tables
                && &first.info().largest[..] < key
            {
                *tables = rest;
            }
            found |= tables.first().is_some_and(|first| &first.info().smallest[..] <= key);
        }
        found
    }
}

/// The tables being written.
struct Output<'a> {
    shared: &'a Shared,
    options: TableOptions,
    builder: Option<TableBuilder<'a>>,
    created: Vec<PathBuf>,
    done: Vec<TableInfo>,
}

impl<'a> Output<'a> {
    fn new(shared: &'a Shared, version: &Version, choice: &Choice) -> Self {
        // What fits one level is written again and again as a whole; that is not worth the time.
        let is_large = version.levels[choice.to].bytes() > shared.options.level1_bytes;
        let is_last = choice.to >= version.bottom();
        let compression = if is_last && is_large { Compression::Zstd } else { Compression::Lz4 };
        let options = TableOptions { compression, ..TableOptions::default() };
        Self { shared, options, builder: None, created: Vec::new(), done: Vec::new() }
    }

    fn add(&mut self, key: &[u8], seq: u64, value: Option<&[u8]>) -> Result<()> {
        let is_full = |builder: &TableBuilder<'_>| {
            builder.estimated_size() >= self.shared.options.table_bytes
        };
        if self.builder.as_ref().is_some_and(is_full) {
            self.finish_table()?;
        }
        if self.builder.is_none() {
            let id = self.shared.new_table_id();
            let path = self.shared.table_path(id);
            let file = self.shared.fs.create(&path).map_err(Error::io("create", &path))?;
            self.created.push(path.clone());
            let filter = &*self.shared.filter;
            let builder = TableBuilder::new(file, path, id, self.options, filter);
            self.builder = Some(builder.filling(&self.shared.cache));
        }
        self.builder.as_mut().map_or(Ok(()), |builder| builder.add(key, seq, value))
    }

    fn finish_table(&mut self) -> Result<()> {
        if let Some(builder) = self.builder.take() {
            self.done.push(builder.finish()?);
        }
        Ok(())
    }

    /// Makes the names of all tables durable, too.
    fn close(&mut self) -> Result<Vec<TableInfo>> {
        let dir = &self.shared.options.dir;
        self.shared.fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
        Ok(std::mem::take(&mut self.done))
    }

    /// Removes what was written. A file that cannot be removed now is removed by the next open.
    fn discard(&mut self) {
        self.builder = None;
        for path in self.created.drain(..) {
            remove_unfinished(&*self.shared.fs, &path);
        }
    }
}
