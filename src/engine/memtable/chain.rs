//! The versions of one key.

use super::entry::Entry;
use super::sorted::Keyed;
use super::{Gone, Needed};
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

    /// Adds a version; where it is the newest, older ones that are not `needed` go.
    pub(super) fn add(&mut self, entry: Entry, needed: Needed) -> Gone {
        let mut gone = Gone::default();
        if entry.seq() < self.newest.seq() {
            // What came while others were put in order.
            let older = self.older.get_or_insert_default();
            let place = older.partition_point(|other| other.seq() < entry.seq());
            older.insert(place, entry);
            return gone;
        }
        let before = std::mem::replace(&mut self.newest, entry);
        if before.seq() >= needed.batch_seq {
            gone.add(&before);
            return gone;
        }
        let older = self.older.get_or_insert_default();
        older.push(before);
        // Of those that every view sees, every view sees the newest, or a newer one.
        let seen_by_all = older.partition_point(|other| other.seq() <= needed.oldest_view);
        older.drain(..seen_by_all.saturating_sub(1)).for_each(|entry| gone.add(&entry));
        gone
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
            assert_eq!(chain.add(version(seq), needed(0, seq)), Gone::default());
        }
        let views = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        let expected = [0, 1, 1, 3, 4, 5, 5, 7, 7, 9, 9].map(|seq| (seq > 0).then_some(seq));
        assert_eq!(views.map(|view| seen(&chain, view)), expected);
    }

    fn needed(oldest_view: SeqNo, batch_seq: SeqNo) -> Needed {
        Needed { oldest_view, batch_seq }
    }

    #[test]
    fn what_no_view_sees_goes() {
        let mut chain = Chain::new(version(1));
        // A view at 2 is held all the time.
        let gone = (2..=9).map(|seq| chain.add(version(seq), needed(2, seq)).versions);
        assert_eq!(gone.collect::<Vec<_>>(), [0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!([2, 5, 8, 9].map(|view| seen(&chain, view)), [2, 5, 8, 9].map(Some));
        // It was let go of; the oldest one that is held, or to come, is at 8.
        assert_eq!(chain.add(version(10), needed(8, 10)), Gone { versions: 6, bytes: 36 });
        assert_eq!([8, 9, 10].map(|view| seen(&chain, view)), [8, 9, 10].map(Some));
    }

    #[test]
    fn a_batch_keeps_only_the_last_version_that_it_writes() {
        let mut chain = Chain::new(version(1));
        let one = Gone { versions: 1, bytes: 6 };
        assert_eq!(chain.add(version(2), needed(0, 2)), Gone::default());
        assert_eq!(chain.add(version(3), needed(0, 2)), one);
        assert_eq!(chain.add(version(4), needed(0, 2)), one);
        assert_eq!(
            (seen(&chain, 4), seen(&chain, 3), seen(&chain, 1)),
            (Some(4), Some(1), Some(1))
        );
    }
}
