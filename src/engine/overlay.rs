//! What lies above the lowest tables of a range, laid over what they have.

use super::{MergeIter, Record, Result, SeqNo};

/// A forward walk over memtables and upper tables that is shown the records of the tables below, and shows what
/// is seen of both.
pub(super) struct Overlay<'a> {
    records: MergeIter<'a>,
    /// The newest version of the next key.
    next: Option<Record>,
    seq_max: SeqNo,
    /// Tombstones that it has met, and what they hide.
    passed: u64,
}

/// Who is shown keys and values, until it answers false.
type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> bool + 'v;

impl<'a> Overlay<'a> {
    /// An overlay for a view at `seq_max`.
    pub(super) fn new(records: MergeIter<'a>, seq_max: SeqNo) -> Result<Self> {
        let mut this = Self { records, next: None, seq_max, passed: 0 };
        this.step()?;
        Ok(this)
    }

    /// How many records were passed over in vain.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// Shows what comes before a record of the tables, and the record if nothing hides it; whether to go on.
    ///
    /// `pay` is asked for each record.
    pub(super) fn show(
        &mut self,
        (key, seq, value): (&[u8], SeqNo, Option<&[u8]>),
        mut pay: impl FnMut() -> Result<()>,
        visit: &mut Visit<'_>,
    ) -> Result<bool> {
        pay()?;
        while let Some(above) = &self.next {
            if above.key[..] > *key {
                break;
            }
            let is_same = above.key[..] == *key;
            pay()?;
            if !self.show_next(visit)? {
                return Ok(false);
            }
            if is_same {
                return Ok(true);
            }
        }
        match value {
            _ if seq > self.seq_max => {}
            Some(value) => return Ok(visit(key, value)),
            None => self.passed += 1,
        }
        Ok(true)
    }

    /// Shows what comes behind all records of the tables.
    pub(super) fn show_rest(
        &mut self,
        mut pay: impl FnMut() -> Result<()>,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        while self.next.is_some() {
            pay()?;
            if !self.show_next(visit)? {
                break;
            }
        }
        Ok(())
    }

    /// Shows the next record; whether to go on.
    fn show_next(&mut self, visit: &mut Visit<'_>) -> Result<bool> {
        let Some(Record { key, value, .. }) = &self.next else { return Ok(true) };
        let goes_on = match value {
            Some(value) => visit(key, value),
            None => {
                self.passed += 1;
                true
            }
        };
        self.step()?;
        Ok(goes_on)
    }

    /// Goes to the next key.
    fn step(&mut self) -> Result<()> {
        let last = self.next.take();
        while let Some(record) = self.records.next().transpose()? {
            let is_older = last.as_ref().is_some_and(|last| last.key == record.key);
            if !is_older && record.seq <= self.seq_max {
                self.next = Some(record);
                break;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Overlay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overlay").field("next", &self.next).finish_non_exhaustive()
    }
}
