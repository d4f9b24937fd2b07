//! Keys from all over a table, for a guess at what it is full of.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::super::{Direction, ReadMode, Result};
use super::block::Block;
use super::options::ScanOptions;
use super::table::{Table, partition};

impl Table {
    /// The smallest key, the largest, and between them up to so many with which partitions begin, evenly
    /// spread, in order. Reads the table's top index, and a block for each key between; past the cache.
    ///
    /// # Errors
    /// Where what is read is damaged, or cannot be read.
    pub(in super::super) fn sample_keys(self: &Arc<Self>, most: usize) -> Result<Vec<Bytes>> {
        let info = self.info();
        let mut keys = vec![info.smallest.clone()];
        for low in self.partition_lows(most)? {
            let options = ScanOptions { readahead_bytes: 0, ..ScanOptions::streaming() };
            let range = (Bound::Included(low), Bound::Unbounded);
            if let Some(record) = self.scan(range, Direction::Forward, options).next() {
                keys.push(record?.key);
            }
        }
        keys.push(info.largest.clone());
        Ok(keys)
    }

    /// The low keys of up to so many partitions behind the first: at or before the first key of each.
    fn partition_lows(&self, most: usize) -> Result<Vec<Bytes>> {
        let loaded = self.loaded(ReadMode::Blocking)?;
        let lows = || {
            let top = Block::new(&loaded.top)?;
            let behind_first = top.restart_count().saturating_sub(1);
            let step = behind_first.div_ceil(most.max(1)).max(1);
            let low = |at| Ok(Bytes::copy_from_slice(partition(top.restart_entry(at)?)?.low));
            (1..=behind_first).step_by(step).map(low).collect()
        };
        self.parse(loaded.footer.top_index, lows())
    }
}
