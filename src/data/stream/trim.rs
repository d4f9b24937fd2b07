//! Trimming: which entries at the head of a stream go.
//!
//! An approximate trim takes whole nodes, as Redis does: runs of `stream-node-max-entries` entries, by
//! the order in which they were added. There are no nodes here; an entry's place is told from the
//! count of entries ever added and the length.

use super::{Layout, StreamEdit, StreamId, entry};
use crate::engine::{Direction, Result};

/// Entries of a node where the setting knows no limit.
const NODE_ENTRIES: u64 = 100;

/// What shall remain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrimTo {
    /// So many entries.
    Length(u64),
    /// Those that are not older than this one.
    Id(StreamId),
}

/// How a stream is trimmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trim {
    /// What remains.
    pub to: TrimTo,
    /// Whether only whole nodes go.
    pub approximate: bool,
    /// Entries that go at most; 0 for no limit.
    pub limit: u64,
}

impl StreamEdit<'_, '_> {
    /// Trims the stream; answers how many entries are gone.
    pub fn trim(&mut self, trim: &Trim) -> Result<u64> {
        let stream = &self.stream;
        let mut count = match trim.to {
            TrimTo::Length(length) => stream.length.saturating_sub(length),
            TrimTo::Id(id) if trim.approximate && trim.limit > 0 => {
                self.count_below(id, trim.limit)?
            }
            TrimTo::Id(id) => self.count_below(id, u64::MAX)?,
        };
        if trim.approximate {
            count = self.whole_nodes(count, trim.limit);
        }
        self.cut(count)?;
        Ok(count)
    }

    /// How many of the first `count` entries belong to nodes that end within them.
    fn whole_nodes(&self, count: u64, limit: u64) -> u64 {
        let length = self.stream.length;
        let node = self.node_entries();
        let mut place = self.stream.added.saturating_sub(length) % node;
        let (mut whole, limit) = (0, if limit == 0 { u64::MAX } else { limit });
        loop {
            let entries = (node - place).min(length - whole);
            if entries == 0 || whole + entries > count.min(limit) {
                return whole;
            }
            whole += entries;
            place = 0;
        }
    }

    fn node_entries(&self) -> u64 {
        match self.edit.context().packing.stream_entries {
            0 => NODE_ENTRIES,
            entries => entries,
        }
    }

    /// How many entries are older than `id`, or `most` where there are no fewer: walks those or the
    /// others, whichever are fewer.
    fn count_below(&self, id: StreamId, most: u64) -> Result<u64> {
        let length = self.stream.length;
        let entries = self.entries();
        let Some(before) = id.previous() else { return Ok(0) };
        let mut older = entries.ids(StreamId::MIN, before, Direction::Forward);
        let mut newer = entries.ids(id, StreamId::MAX, Direction::Forward);
        for passed in 0..most {
            if older.next().transpose()?.is_none() {
                return Ok(passed);
            }
            if newer.next().transpose()?.is_none() {
                return Ok(length.saturating_sub(passed));
            }
        }
        Ok(most)
    }

    /// Takes the first `count` entries off.
    pub(super) fn cut(&mut self, count: u64) -> Result<()> {
        let length = self.stream.length;
        let count = count.min(length);
        if count == 0 {
            return Ok(());
        }
        let kept = length - count;
        let first = if kept == 0 { None } else { Some(self.nth(count)?) };
        self.changes += count;
        match &mut self.stream.layout {
            Layout::Packed(list) => {
                let mut rest = Vec::with_capacity(list.len());
                for found in entry::packed(list).skip(usize::try_from(count).unwrap_or(usize::MAX))
                {
                    let (id, record) = found?;
                    entry::put_packed(&mut rest, id, &record);
                }
                *list = rest.into();
            }
            Layout::Exploded { unmarked, .. } => *unmarked = unmarked.saturating_add(count),
        }
        self.stream.length = kept;
        self.stream.first = first.unwrap_or_default();
        if kept == 0 {
            self.stream.top = StreamId::MIN;
        }
        Ok(())
    }

    /// The id of the entry behind the first `count`, of which there are fewer than all: counted from
    /// the nearer end.
    fn nth(&self, count: u64) -> Result<StreamId> {
        let kept = self.stream.length - count;
        let (direction, steps) = match count < kept {
            true => (Direction::Forward, count),
            false => (Direction::Reverse, kept - 1),
        };
        let mut ids = self.entries().ids(StreamId::MIN, StreamId::MAX, direction);
        for _ in 0..steps {
            ids.next().transpose()?;
        }
        let found = ids.next().transpose()?;
        found.ok_or_else(|| super::damaged("a stream has fewer entries than it says"))
    }
}
