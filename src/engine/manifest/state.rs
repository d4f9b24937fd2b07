//! What a manifest says.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;

use super::Edit;
use crate::engine::wal::LogPosition;
use crate::engine::{SeqNo, TableInfo};

/// Levels are numbered below this.
pub(super) const LEVELS_MAX: usize = 32;

/// Everything that recovery needs besides the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Tables by level, each in the order in which they were added. Levels behind the last one
    /// that ever had a table are not there.
    pub levels: Vec<Vec<TableInfo>>,
    /// Oldest log segment that is still needed; 1 in a new directory.
    pub log_segment: u64,
    /// The log was durable up to here when this was written; the default in a new directory.
    pub log_mark: LogPosition,
    /// Id for the next table, larger than that of any; 1 in a new directory.
    pub next_table_id: u64,
    /// Newest sequence number in any table.
    pub last_seq: SeqNo,
    /// Root record at `last_seq`.
    pub root: Bytes,
    /// Options fixed when the directory was made.
    pub options: BTreeMap<String, Bytes>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            levels: Vec::new(),
            log_segment: 1,
            log_mark: LogPosition::default(),
            next_table_id: 1,
            last_seq: 0,
            root: Bytes::new(),
            options: BTreeMap::new(),
        }
    }
}

impl State {
    /// Carries out `edit`, or says why it cannot belong to this state, which is then unusable.
    pub(super) fn apply(&mut self, edit: &Edit) -> Result<(), String> {
        for &(level, id) in &edit.removed {
            let tables = self.levels.get_mut(level);
            let found = tables.and_then(|tables| {
                let index = tables.iter().position(|table| table.id == id)?;
                Some(tables.remove(index))
            });
            if found.is_none() {
                return Err(format!("it removes table {id}, which is not in level {level}"));
            }
        }
        let mut ids: HashSet<u64> = self.levels.iter().flatten().map(|table| table.id).collect();
        for (level, table) in &edit.added {
            if *level >= LEVELS_MAX {
                return Err(format!("it adds a table to level {level}"));
            }
            if !ids.insert(table.id) {
                return Err(format!("it adds table {} a second time", table.id));
            }
            if self.levels.len() <= *level {
                self.levels.resize_with(level + 1, Vec::new);
            }
            self.levels[*level].push(table.clone());
            self.next_table_id = self.next_table_id.max(table.id.saturating_add(1));
        }
        if let Some(segment) = edit.log_segment {
            self.log_segment = segment;
        }
        if let Some(mark) = edit.log_mark {
            self.log_mark = mark;
        }
        if let Some(id) = edit.next_table_id {
            self.next_table_id = self.next_table_id.max(id);
        }
        if let Some(seq) = edit.last_seq {
            self.last_seq = seq;
        }
        if let Some(root) = &edit.root {
            self.root = root.clone();
        }
        Ok(())
    }

    /// The edit that makes this state out of an empty one, but for the options.
    pub(super) fn snapshot(&self) -> Edit {
        let levels = self.levels.iter().enumerate();
        let tables = levels.flat_map(|(level, tables)| tables.iter().map(move |t| (level, t)));
        Edit {
            removed: Vec::new(),
            added: tables.map(|(level, table)| (level, table.clone())).collect(),
            log_segment: Some(self.log_segment),
            log_mark: Some(self.log_mark),
            next_table_id: Some(self.next_table_id),
            last_seq: Some(self.last_seq),
            root: Some(self.root.clone()),
        }
    }
}
