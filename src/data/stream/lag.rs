//! How far a group is behind its stream, where that can be told without a walk.
//!
//! The count of entries ever added gives each entry a number. What a group has read is known while the
//! entries between it and the end have no holes: deletions there make the numbers useless, and lag and
//! entries read unknown, until the group has passed them. The rules are those of Redis 8.0, which
//! of an empty stream knows that nobody is behind it.

use super::{Group, Stream, StreamId};

impl Stream {
    /// How many entries the group has not got yet; `None` where nobody knows. Below zero where the
    /// count of entries read was set too high.
    #[must_use]
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let added = i64::try_from(self.added).unwrap_or(i64::MAX);
        let behind = |read: u64| added.saturating_sub(i64::try_from(read).unwrap_or(i64::MAX));
        if self.length == 0 {
            return Some(0);
        }
        if group.last < self.first && self.max_deleted < self.first {
            return i64::try_from(self.length).ok();
        }
        match group.entries_read {
            Some(read) if !self.has_holes_from(group.last) => Some(behind(read)),
            _ => self.number_of(group.last).map(behind),
        }
    }

    /// Notes that `group` is given the entry `id`, the next one behind its last.
    pub(super) fn advance(&self, group: &mut Group, id: StreamId) {
        group.entries_read = match group.entries_read {
            Some(read) if group.last >= self.first && !self.has_holes_from(group.last) => {
                Some(read.saturating_add(1))
            }
            read if self.added == 0 => read,
            _ => self.number_of(id),
        };
        group.last = id;
    }

    /// Whether an entry at `id` or behind it was deleted.
    fn has_holes_from(&self, id: StreamId) -> bool {
        self.length > 0 && self.max_deleted != StreamId::MIN && id <= self.max_deleted
    }

    /// How many entries were added up to `id`, where that can be told.
    pub(in crate::data) fn number_of(&self, id: StreamId) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        if self.length == 0 && id <= self.last {
            return Some(self.added);
        }
        if id != StreamId::MIN && id < self.max_deleted {
            return None;
        }
        if id >= self.last {
            return (id == self.last).then_some(self.added);
        }
        let gone = self.added.saturating_sub(self.length);
        let is_whole = self.max_deleted == StreamId::MIN || self.max_deleted < self.first;
        match id.cmp(&self.first) {
            std::cmp::Ordering::Less if is_whole => Some(gone),
            std::cmp::Ordering::Equal if is_whole => Some(gone + 1),
            _ => None,
        }
    }
}
