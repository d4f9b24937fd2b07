//! The versions of one key.

use super::entry::Entry;
use super::sorted::Keyed;
use crate::engine::SeqNo;

/// The versions of one key that are in the tree. A walk meets the key once, however often it was
/// written.
#[derive(Debug)]
pub(super) struct Chain {
    newest: Entry,
    /// The others, oldest first, where there are any.
    #[expect(clippy::box_collection, reason = "most keys have none: one word instead of three")]
    older: Option<Box<Vec<Entry>>>,
}

impl Chain {
    pub(super) fn new(newest: Entry) -> Self {
        Self { newest, older: None }
    }

    /// The newest version that is not newer than `seq`.
    pub(super) fn seen_at(&self, seq: SeqNo) -> Option<&Entry> {
        if self.newest.seq() <= seq {
            return Some(&self.newest);
        }
        self.older.as_ref()?.iter().rev().find(|entry| entry.seq() <= seq)
    }

    /// Adds a version; the newest one so far goes where it is not older than `batch_seq`, the first
    /// transaction of the batch that writes `entry`: no view sees it. The bytes of what has gone.
    pub(super) fn add(&mut self, entry: Entry, batch_seq: SeqNo) -> usize {
        if entry.seq() < self.newest.seq() {
            // What came while others were put in order.
            let older = self.older.get_or_insert_default();
            let place = older.partition_point(|other| other.seq() < entry.seq());
            older.insert(place, entry);
            return 0;
        }
        let before = std::mem::replace(&mut self.newest, entry);
        if before.seq() >= batch_seq {
            return before.len();
        }
        self.older.get_or_insert_default().push(before);
        0
    }
}

impl Keyed for Chain {
    fn key(&self) -> &[u8] {
        self.newest.key()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(seq: SeqNo) -> Entry {
        Entry::new(b"k", seq, Some(b"value"))
    }

    fn seen(chain: &Chain, seq: SeqNo) -> Option<SeqNo> {
        chain.seen_at(seq).map(Entry::seq)
    }

    #[test]
    fn each_view_sees_its_version() {
        let mut chain = Chain::new(version(5));
        for seq in [7, 3, 9, 4, 1] {
            assert_eq!(chain.add(version(seq), seq), 0);
        }
        let views = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        let expected = [0, 1, 1, 3, 4, 5, 5, 7, 7, 9, 9].map(|seq| (seq > 0).then_some(seq));
        assert_eq!(views.map(|view| seen(&chain, view)), expected);
    }

    #[test]
    fn a_batch_keeps_only_the_last_version_that_it_writes() {
        let mut chain = Chain::new(version(1));
        assert_eq!(chain.add(version(2), 2), 0);
        assert_eq!(chain.add(version(3), 2), 6);
        assert_eq!(chain.add(version(4), 2), 6);
        assert_eq!(
            (seen(&chain, 4), seen(&chain, 3), seen(&chain, 1)),
            (Some(4), Some(1), Some(1))
        );
    }
}
