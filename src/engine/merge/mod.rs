//! Merges sorted sources into one, and shows of it what a snapshot sees.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use bytes::Bytes;

use super::{Direction, Pair, Record, RecordIter, Result, SeqNo};

/// All records of several sources in one order: key ascending and sequence number descending, or
/// the opposite for a reverse walk. Where two sources hold the same version of a key, that of the
/// earlier source comes first (forward) or last (reverse). Ends after the first error.
pub struct MergeIter<'a> {
    /// Sources that were not asked yet: a walk that is dropped at once costs nothing.
    fresh: Vec<Source<'a>>,
    heap: BinaryHeap<Head<'a>>,
    direction: Direction,
}

type Source<'a> = Box<dyn RecordIter + 'a>;

/// A source and the record it stands at.
struct Head<'a> {
    record: Record,
    rank: usize,
    source: Source<'a>,
    direction: Direction,
}

impl<'a> MergeIter<'a> {
    /// A merge of `sources`, newest first, each of which walks in `direction`.
    #[must_use]
    pub fn new(sources: Vec<Box<dyn RecordIter + 'a>>, direction: Direction) -> Self {
        let heap = BinaryHeap::with_capacity(sources.len());
        Self { fresh: sources, heap, direction }
    }

    fn start(&mut self) -> Result<()> {
        for (rank, mut source) in std::mem::take(&mut self.fresh).into_iter().enumerate() {
            if let Some(record) = source.next().transpose()? {
                self.heap.push(Head { record, rank, source, direction: self.direction });
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: super::Error) -> Option<Result<Record>> {
        self.heap.clear();
        Some(Err(error))
    }
}

impl Iterator for MergeIter<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.fresh.is_empty()
            && let Err(error) = self.start()
        {
            return self.fail(error);
        }
        let mut top = self.heap.peek_mut()?;
        match top.source.next() {
            Some(Ok(record)) => Some(Ok(std::mem::replace(&mut top.record, record))),
            None => Some(Ok(PeekMut::pop(top).record)),
            Some(Err(error)) => {
                drop(top);
                self.fail(error)
            }
        }
    }
}

impl std::fmt::Debug for MergeIter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergeIter")
            .field("sources", &(self.fresh.len() + self.heap.len()))
            .field("direction", &self.direction)
            .finish_non_exhaustive()
    }
}

impl Ord for Head<'_> {
    /// The greatest head is the next record of the merge, because the heap gives its greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        let (mine, its) = (&self.record, &other.record);
        let forward = (mine.key.cmp(&its.key))
            .then_with(|| its.seq.cmp(&mine.seq))
            .then_with(|| self.rank.cmp(&other.rank));
        match self.direction {
            Direction::Forward => forward.reverse(),
            Direction::Reverse => forward,
        }
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head<'_> {}

/// What a snapshot sees of a sorted walk: of each key the newest version that is not newer than
/// the snapshot, and nothing where that is a tombstone. Ends after the first error.
#[derive(Debug)]
pub struct VisibleIter<I> {
    records: I,
    seq_max: SeqNo,
    /// Forward: the key that was decided last. Its older versions are passed over.
    decided: Option<Bytes>,
    /// Forward: whether a tombstone has decided it.
    is_dead: bool,
    /// Reverse: the newest visible version so far of the key that is being walked.
    candidate: Option<Record>,
    direction: Direction,
    passed: u64,
    ended: bool,
}

impl<I> VisibleIter<I> {
    /// How many records it has passed over that compaction would drop with a tombstone: those, and, forward,
    /// the versions below them.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }
}

impl<I: RecordIter> VisibleIter<I> {
    /// What a snapshot at `seq_max` sees of `records`, which walk in `direction`.
    pub fn new(records: I, seq_max: SeqNo, direction: Direction) -> Self {
        Self {
            records,
            seq_max,
            decided: None,
            is_dead: false,
            candidate: None,
            direction,
            passed: 0,
            ended: false,
        }
    }

    fn next_forward(&mut self) -> Option<Result<Pair>> {
        loop {
            let record = match self.records.next()? {
                Ok(record) => record,
                Err(error) => return Some(Err(error)),
            };
            if record.seq > self.seq_max {
                continue;
            }
            if self.decided.as_ref() != Some(&record.key) {
                self.decided = Some(record.key.clone());
                self.is_dead = record.value.is_none();
                if let Some(value) = record.value {
                    return Some(Ok((record.key, value)));
                }
            }
            self.passed += u64::from(self.is_dead);
        }
    }

    /// Versions come oldest first, so a key is decided when the next key begins.
    fn next_reverse(&mut self) -> Option<Result<Pair>> {
        loop {
            let decided = match self.records.next() {
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(record)) if record.seq > self.seq_max => continue,
                Some(Ok(record)) => {
                    let before = self.candidate.replace(record);
                    before.filter(|before| {
                        self.candidate.as_ref().is_none_or(|now| now.key != before.key)
                    })
                }
                None => Some(self.candidate.take()?),
            };
            match decided {
                Some(Record { key, value: Some(value), .. }) => return Some(Ok((key, value))),
                Some(_) => self.passed += 1,
                None => {}
            }
        }
    }
}

impl<I: RecordIter> Iterator for VisibleIter<I> {
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = match self.direction {
            Direction::Forward => self.next_forward(),
            Direction::Reverse => self.next_reverse(),
        };
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests;
