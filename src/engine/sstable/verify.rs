//! Walks every byte of a table.

use super::super::{Error, ReadMode, Record, Result, TableInfo};
use super::block::Block;
use super::bloom;
use super::data_block::DataBlock;
use super::format::{FOOTER_BYTES, Handle, SEQ_BITS, decode_properties};
use super::table::{Loaded, Partition, Table, data_handle, partition};
use crate::engine::SeqNo;

/// What the walk has seen so far.
struct Seen<'a> {
    /// Where the next block has to begin: the blocks of a table leave no gap.
    offset: u64,
    info: TableInfo,
    hashes: Vec<u64>,
    records: Vec<Record>,
    damage: &'a mut dyn FnMut(Error),
    is_damaged: bool,
}

impl Table {
    /// As [`Self::verify_all`]; answers the first damage.
    pub fn verify(&self) -> Result<()> {
        let mut first = Ok(());
        self.verify_all(&mut |error| {
            if first.is_ok() {
                first = Err(error);
            }
        });
        first
    }

    /// Reads every block of the file, past the cache, and checks checksums, the order of the
    /// keys, the index, that the filters have every key, and the properties. Hands each damage to
    /// `damage`; what it hides is told by none. May wait on the disk for long.
    pub fn verify_all(&self, damage: &mut dyn FnMut(Error)) {
        if let Err(error) = self.verify_blocks(damage) {
            damage(error);
        }
    }

    fn verify_blocks(&self, damage: &mut dyn FnMut(Error)) -> Result<()> {
        let loaded = &*self.loaded(ReadMode::Blocking)?;
        let mut seen = Seen {
            offset: 0,
            info: TableInfo { seq_min: SeqNo::MAX, ..TableInfo::default() },
            hashes: Vec::new(),
            records: Vec::new(),
            damage,
            is_damaged: false,
        };
        let footer = loaded.footer;
        let top = self.parse(footer.top_index, Block::new(&loaded.top))?;
        for at in 0..top.restart_count() {
            let entry = top.restart_entry(at).and_then(partition);
            let partition = self.parse(footer.top_index, entry)?;
            let verified = self.verify_partition(loaded, partition, &mut seen);
            seen.note(verified);
            // Where it was left early they are of this partition, not of the next one.
            seen.hashes.clear();
            // The index stands behind all else of its partition.
            seen.offset = partition.index.end();
        }
        self.verify_ends(loaded, &mut seen)
    }

    /// The blocks behind those of records, and what they say of the records.
    fn verify_ends(&self, loaded: &Loaded, seen: &mut Seen<'_>) -> Result<()> {
        let footer = loaded.footer;
        self.verify_place(footer.top_index, seen)?;
        self.verify_place(footer.properties, seen)?;
        if seen.offset + FOOTER_BYTES as u64 != self.info().size {
            return Err(self.corruption(seen.offset, "there are bytes that belong to no block"));
        }
        let properties = self.read(&*loaded.file, footer.properties, ReadMode::Blocking)?;
        let properties = self.parse(footer.properties, decode_properties(&properties))?;
        if properties != *self.info() {
            let what = "the properties are not those that the manifest has";
            return Err(self.corruption(footer.properties.offset, what));
        }
        if seen.is_damaged {
            return Ok(());
        }
        // What only the layer above can tell, and what is no sum over records.
        let TableInfo { id, size, expiring, expiry_median_ms, .. } = properties;
        let sums =
            TableInfo { id, size, expiring, expiry_median_ms, ..std::mem::take(&mut seen.info) };
        if sums != properties {
            let what = "the properties are not those of the records";
            return Err(self.corruption(footer.properties.offset, what));
        }
        Ok(())
    }

    fn verify_partition(
        &self,
        loaded: &Loaded,
        partition: Partition<'_>,
        seen: &mut Seen<'_>,
    ) -> Result<()> {
        let content = self.read(&*loaded.file, partition.index, ReadMode::Blocking)?;
        let index = self.parse(partition.index, Block::new(&content))?;
        let mut low = Vec::new();
        for (at, entry) in index.entries().enumerate() {
            let entry = entry.and_then(|entry| {
                entry.extend_key(&mut low)?;
                data_handle(entry)
            });
            let handle = self.parse(partition.index, entry)?;
            if at == 0 && low != partition.low {
                let what = "the top index and an index disagree";
                return Err(self.corruption(partition.index.offset, what));
            }
            let verified = self.verify_data(loaded, &low, handle, seen);
            seen.note(verified);
        }
        if partition.filter.len > 0 {
            self.verify_place(partition.filter, seen)?;
            let filter = self.read(&*loaded.file, partition.filter, ReadMode::Blocking)?;
            for hash in seen.hashes.drain(..) {
                let may = bloom::may_contain(&filter, partition.probes, hash);
                if !self.parse(partition.filter, may)? {
                    let what = "a filter lacks a key of its partition";
                    return Err(self.corruption(partition.filter.offset, what));
                }
            }
        }
        seen.hashes.clear();
        self.verify_place(partition.index, seen)
    }

    fn verify_data(
        &self,
        loaded: &Loaded,
        low: &[u8],
        handle: Handle,
        seen: &mut Seen<'_>,
    ) -> Result<()> {
        self.verify_place(handle, seen)?;
        let content = self.read(&*loaded.file, handle, ReadMode::Blocking)?;
        let block = self.parse(handle, DataBlock::new(&content))?;
        for interval in 0..block.restart_count() {
            self.parse(handle, block.check_head(interval))?;
            let mut records = std::mem::take(&mut seen.records);
            self.parse(handle, block.read_interval(interval, &content, &mut records))?;
            for (at, record) in records.drain(..).enumerate() {
                let last = (seen.info.entries > 0).then_some(&seen.info.largest[..]);
                let in_order = last.is_none_or(|last| &record.key[..] > last);
                let is_first = interval == 0 && at == 0;
                let low_fits = &record.key[..] >= low && last.is_none_or(|last| low > last);
                if !in_order || (is_first && !low_fits) || record.seq >> SEQ_BITS != 0 {
                    return Err(self.corruption(handle.offset, "records are out of order"));
                }
                seen.count(record);
            }
            seen.records = records;
        }
        Ok(())
    }

    fn verify_place(&self, handle: Handle, seen: &mut Seen<'_>) -> Result<()> {
        let offset = std::mem::replace(&mut seen.offset, handle.end());
        if handle.offset != offset {
            return Err(self.corruption(offset, "there are bytes that belong to no block"));
        }
        Ok(())
    }
}

impl Seen<'_> {
    fn note(&mut self, verified: Result<()>) {
        if let Err(error) = verified {
            self.is_damaged = true;
            (self.damage)(error);
        }
    }

    fn count(&mut self, record: Record) {
        let info = &mut self.info;
        let value_len = record.value.as_ref().map_or(0, bytes::Bytes::len);
        info.raw_bytes += (record.key.len() + value_len) as u64;
        info.entries += 1;
        info.tombstones += u64::from(record.value.is_none());
        info.seq_min = info.seq_min.min(record.seq);
        info.seq_max = info.seq_max.max(record.seq);
        self.hashes.push(bloom::hash(&record.key));
        if info.entries == 1 {
            info.smallest = record.key.clone();
        }
        info.largest = record.key;
    }
}
