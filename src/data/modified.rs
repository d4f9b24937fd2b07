//! What a transaction tells those who keep copies of what they have read.

use bytes::Bytes;

use super::{Edit, EventClasses};

/// Something of which no copy is good any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modified {
    /// A key, in whatever database.
    Key {
        /// The key.
        key: Bytes,
        /// Whether it was deleted because it had expired, which nobody has asked for.
        expired: bool,
    },
    /// All keys, of a database at least.
    All,
}

impl Edit<'_> {
    /// Hands out what was modified, in order, where that is noted ([`EventClasses::MODIFIED`]). The
    /// same may be named more than once.
    pub fn take_modified(&mut self) -> Vec<Modified> {
        std::mem::take(&mut self.modified)
    }

    /// Notes that `key` was modified.
    pub(super) fn note_modified(&mut self, key: &[u8], expired: bool) {
        if self.context.events.has(EventClasses::MODIFIED) {
            let key = Bytes::copy_from_slice(key);
            self.modified.push(Modified::Key { key, expired });
        }
    }

    /// Notes that all keys of a database were modified.
    pub(super) fn note_all_modified(&mut self) {
        let is_noted = self.context.events.has(EventClasses::MODIFIED);
        if is_noted && self.modified.last() != Some(&Modified::All) {
            self.modified.push(Modified::All);
        }
    }
}
