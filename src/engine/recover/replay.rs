//! What becomes of the log's records when a store is opened.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::Access;
use crate::engine::manifest::{self, Edit, Manifest};
use crate::engine::memtable::{Entry, Memtable, Needed};
use crate::engine::rows::Rows;
use crate::engine::tree::Sealed;
use crate::engine::version::LEVELS;
use crate::engine::{
    Error, Filter, Options, Result, SeqNo, TableInfo, batch, flush, table_file_name,
};
use crate::env::Fs;

/// What becomes of the log's records.
pub(super) struct Replay<'a> {
    fs: &'a dyn Fs,
    dir: PathBuf,
    filter: &'a dyn Filter,
    access: Access,
    memtable_bytes: u64,
    pub(super) manifest: Manifest,
    /// With their levels.
    pub(super) tables: Vec<(usize, TableInfo)>,
    pub(super) next_table_id: u64,
    memtable: Arc<Memtable>,
    pub(super) rows: Arc<Rows>,
    /// Memtables whose flush was put off because the disk is full, newest first.
    pub(super) sealed: Vec<Arc<Sealed>>,
    /// Everything up to here is in tables.
    pub(super) flushed: SeqNo,
    /// Newest transaction, and the root record as of it.
    pub(super) seq: SeqNo,
    pub(super) root: Bytes,
    /// Transactions found in the log.
    pub(super) transactions: u64,
    pub(super) torn_bytes: u64,
}

impl<'a> Replay<'a> {
    /// `next_free` is larger than the id of any table that is there. With [`Access::ReadOnly`]
    /// nothing is flushed.
    pub(super) fn new(
        fs: &'a Arc<dyn Fs>,
        options: &Options,
        filter: &'a dyn Filter,
        manifest: Manifest,
        found: &manifest::State,
        next_free: u64,
        access: Access,
    ) -> Result<Self> {
        let dir = options.dir.clone();
        if found.levels.iter().skip(LEVELS).any(|level| !level.is_empty()) {
            return Err(Error::Directory {
                path: dir,
                what: format!("has tables below level {}; a newer version made it", LEVELS - 1),
            });
        }
        let levels = found.levels.iter().enumerate();
        let tables =
            levels.flat_map(|(level, infos)| infos.iter().map(move |i| (level, i.clone())));
        Ok(Self {
            fs: &**fs,
            dir,
            filter,
            access,
            memtable_bytes: options.memtable_bytes,
            manifest,
            tables: tables.collect(),
            next_table_id: found.next_table_id.max(next_free),
            memtable: Arc::new(Memtable::of(options)),
            rows: Arc::new(Rows::new(options.row_cache_bytes)),
            sealed: Vec::new(),
            flushed: found.last_seq,
            seq: found.last_seq,
            root: found.root.clone(),
            transactions: 0,
            torn_bytes: 0,
        })
    }

    /// Takes a record of log segment `segment`.
    pub(super) fn apply(&mut self, segment: u64, payload: &[u8]) -> Result<()> {
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
            self.make_room(segment)?;
        }
        self.memtable.note_log(segment, payload.len() as u64);
        for write in &decoded.writes {
            let entry = Entry::new(&write.key, write.seq, write.value.as_deref());
            // There are no views yet: older versions are of no use.
            let spot = self.memtable.insert(entry.clone(), Needed::NEWEST);
            if let Some((entry, spot)) = self.rows.note(entry, spot, 0) {
                self.memtable.release([(&entry, spot)]);
            }
        }
        self.transactions += decoded.last_seq - decoded.first_seq + 1;
        self.seq = decoded.last_seq;
        if let Some(root) = decoded.root {
            self.root = root;
        }
        Ok(())
    }

    /// Flushes the memtable, or seals it where that has to wait or is not wanted; the order of
    /// flushes is theirs.
    fn make_room(&mut self, segment: u64) -> Result<()> {
        if self.sealed.is_empty() && self.access == Access::Full {
            match self.flush(segment) {
                Err(error @ Error::NoSpace(_)) => tracing::warn!(%error, "a flush is put off"),
                result => return result,
            }
        }
        self.seal();
        Ok(())
    }

    /// Seals what is in the memtable, so that it is flushed soon and restarts do not heap up log
    /// segments.
    pub(super) fn seal(&mut self) {
        let before = self.sealed.first().map_or(self.flushed, |newest| newest.last_seq);
        if self.seq > before {
            self.memtable.seal();
            let next = Arc::new(self.memtable.new_like());
            let memtable = std::mem::replace(&mut self.memtable, next);
            let sealed = Sealed { memtable, last_seq: self.seq, root: self.root.clone() };
            self.sealed.insert(0, Arc::new(sealed));
        }
    }

    /// Makes the memtable a table; the log is needed from `segment` on. With [`Error::NoSpace`]
    /// nothing has changed.
    fn flush(&mut self, segment: u64) -> Result<()> {
        let id = self.next_table_id;
        self.next_table_id += 1;
        let path = self.dir.join(table_file_name(id));
        self.memtable.seal();
        let info =
            flush::write_table(self.fs, path.clone(), id, &self.memtable, self.filter, None)?;
        self.fs.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        let edit = Edit {
            added: vec![(0, info.clone())],
            log_segment: Some(segment),
            next_table_id: Some(self.next_table_id),
            last_seq: Some(self.seq),
            root: Some(self.root.clone()),
            ..Edit::default()
        };
        if let Err(error) = self.manifest.apply(&edit) {
            if matches!(error, Error::NoSpace(_)) {
                flush::remove_unfinished(self.fs, &path);
            }
            return Err(error);
        }
        self.tables.push((0, info));
        self.flushed = self.seq;
        self.rows.trim(self.flushed);
        self.memtable = Arc::new(self.memtable.new_like());
        Ok(())
    }
}
