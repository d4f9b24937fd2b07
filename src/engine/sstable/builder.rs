//! Writes a table.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::super::coding::put_u32;
use super::super::{BlockCache, Error, Filter, Result, SeqNo, TableInfo};
use super::block::{BlockBuilder, RESTART_INTERVAL, common_prefix, tag};
use super::bloom;
use super::compress::{Compressor, KIND_RAW};
use super::data_block::DataBlockBuilder;
use super::expiry_sample::ExpirySample;
use super::format::{
    FOOTER_BYTES, Footer, Handle, RECORD_BYTES_MAX, SEQ_BITS, TRAILER_BYTES, block_checksum,
    encode_properties, properties_bytes,
};
use super::options::TableOptions;
use crate::env::File;

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// A partition of long keys is closed early, so that a lookup need not read megabytes of index.
const INDEX_BYTES_MAX: usize = 128 << 10;

/// Writes one table, from its smallest key to its largest. Needs the memory of one block, one
/// write of 256 KiB, the key hashes of one partition, and the top index.
pub struct TableBuilder<'a> {
    options: TableOptions,
    filter: &'a dyn Filter,
    cache: Option<&'a BlockCache>,
    output: Output,
    compressor: Compressor,
    data: DataBlockBuilder,
    /// The low key of `data`, and of `index`, and the one for the next entry of `top`.
    data_low: Vec<u8>,
    index: BlockBuilder,
    index_low: Vec<u8>,
    top: BlockBuilder,
    /// Hashes of the keys of this partition.
    hashes: Vec<u64>,
    last_key: Vec<u8>,
    info: TableInfo,
    expiries: ExpirySample,
}

impl<'a> TableBuilder<'a> {
    /// A builder that writes to `file`, which is empty and is named `path` in errors. `filter`
    /// tells the expiry of each record for the table's properties.
    #[must_use]
    pub fn new(
        file: Arc<dyn File>,
        path: PathBuf,
        id: u64,
        options: TableOptions,
        filter: &'a dyn Filter,
    ) -> Self {
        Self {
            options,
            filter,
            cache: None,
            output: Output { file, path, table_id: id, buffer: Vec::new(), written: 0 },
            compressor: Compressor::new(options.compression),
            data: DataBlockBuilder::default(),
            data_low: Vec::new(),
            index: BlockBuilder::new(RESTART_INTERVAL),
            index_low: Vec::new(),
            top: BlockBuilder::new(1),
            hashes: Vec::new(),
            last_key: Vec::new(),
            info: TableInfo { id, seq_min: SeqNo::MAX, ..TableInfo::default() },
            expiries: ExpirySample::default(),
        }
    }

    /// Has the blocks of the table in `cache` as far as that has room.
    #[must_use]
    pub fn filling(self, cache: &'a BlockCache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// Appends a record; `None` is a tombstone. Fails when a write fails, and with
    /// [`Error::Limit`] where key and value exceed 1 GiB; the builder is of no use then.
    ///
    /// # Panics
    /// Where `key` is not greater than the key before, or `seq` needs more than 56 bits.
    pub fn add(&mut self, key: &[u8], seq: SeqNo, value: Option<&[u8]>) -> Result<()> {
        let record_bytes = key.len() + value.map_or(0, <[u8]>::len);
        if record_bytes > RECORD_BYTES_MAX {
            return Err(Error::Limit("a key and its value exceed 1 GiB"));
        }
        assert!(seq >> SEQ_BITS == 0, "sequence number {seq} needs more than 56 bits");
        if self.is_empty() {
            self.info.smallest = Bytes::copy_from_slice(key);
        } else {
            assert!(key > self.last_key.as_slice(), "keys of a table are strictly increasing");
        }
        // Cut before a record that would not fit, so that a large value has a block of its own.
        let (tag, block_bytes) = (tag(seq, value.is_none()), self.options.block_bytes);
        if !self.data.add(key, tag, value, block_bytes) {
            self.cut_block()?;
            let low_bytes = common_prefix(&self.last_key, key) + 1;
            self.data_low.extend_from_slice(&key[..low_bytes]);
            self.data.add(key, tag, value, block_bytes);
        }
        self.count(key, seq, value, record_bytes);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        Ok(())
    }

    fn count(&mut self, key: &[u8], seq: SeqNo, value: Option<&[u8]>, record_bytes: usize) {
        if self.options.filter_bits_per_key > 0 {
            self.hashes.push(bloom::hash(key));
        }
        self.info.entries += 1;
        self.info.raw_bytes += record_bytes as u64;
        self.info.seq_min = self.info.seq_min.min(seq);
        self.info.seq_max = self.info.seq_max.max(seq);
        match value {
            None => self.info.tombstones += 1,
            Some(value) => {
                if let Some(expiry_ms) = self.filter.expires_at_ms(key, value) {
                    self.expiries.add(expiry_ms);
                }
            }
        }
    }

    /// Bytes that the file would have if it were finished now, about.
    #[must_use]
    pub fn estimated_size(&self) -> u64 {
        let filter = self.hashes.len() * self.options.filter_bits_per_key / 8;
        let pending = self.data.len() + self.index.len() + self.top.len() + filter + FOOTER_BYTES;
        self.output.position() + pending as u64
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.info.entries == 0
    }

    /// Writes what is left, and syncs the file. The caller syncs the directory.
    ///
    /// # Panics
    /// Where nothing was added: a table has at least one record.
    pub fn finish(mut self) -> Result<TableInfo> {
        assert!(!self.is_empty(), "a table has at least one record");
        self.cut_block()?;
        if !self.index.is_empty() {
            self.cut_partition()?;
        }
        let (content, kind) = self.compressor.compress(self.top.finish());
        let top_index = self.output.put_block(content, kind)?;

        self.info.largest = Bytes::from(std::mem::take(&mut self.last_key));
        self.info.expiring = self.expiries.count();
        self.info.expiry_median_ms = self.expiries.median();
        let tail_bytes = properties_bytes(&self.info) + TRAILER_BYTES + FOOTER_BYTES;
        self.info.size = self.output.position() + tail_bytes as u64;
        let properties = self.output.put_block(&encode_properties(&self.info), KIND_RAW)?;

        let footer = Footer { top_index, properties, table_id: self.info.id };
        self.output.buffer.extend_from_slice(&footer.encode());
        self.output.sync()?;
        assert_eq!(self.output.written, self.info.size, "the size stands in the properties");
        Ok(self.info)
    }

    /// Closes the data block, and the partition when that is full.
    fn cut_block(&mut self) -> Result<()> {
        let raw = self.data.finish();
        let (content, kind) = self.compressor.compress(raw);
        let handle = self.output.put_block(content, kind)?;
        offer(self.cache, self.info.id, handle, raw);
        self.data.clear();
        if self.index.is_empty() {
            self.index_low.clone_from(&self.data_low);
        }
        let mut value = Vec::with_capacity(16);
        handle.put_varints(&mut value);
        self.index.add(&self.data_low, 0, &value);
        self.data_low.clear();
        if self.index.count() >= self.options.partition_blocks
            || self.index.len() >= INDEX_BYTES_MAX
        {
            self.cut_partition()?;
        }
        Ok(())
    }

    fn cut_partition(&mut self) -> Result<()> {
        let mut filter = Handle::default();
        let probes = bloom::probes(self.options.filter_bits_per_key);
        if !self.hashes.is_empty() {
            let content = bloom::build(&self.hashes, probes, self.options.filter_bits_per_key);
            filter = self.output.put_block(&content, KIND_RAW)?;
            offer(self.cache, self.info.id, filter, &content);
            self.hashes.clear();
        }
        let raw = self.index.finish();
        let (content, kind) = self.compressor.compress(raw);
        let index = self.output.put_block(content, kind)?;
        offer(self.cache, self.info.id, index, raw);
        self.index.clear();
        let mut value = Vec::with_capacity(32);
        index.put_varints(&mut value);
        filter.put_varints(&mut value);
        value.push(probes);
        self.top.add(&self.index_low, 0, &value);
        Ok(())
    }
}

fn offer(cache: Option<&BlockCache>, table: u64, handle: Handle, block: &[u8]) {
    if let Some(cache) = cache {
        cache.offer(table, handle.offset, block);
    }
}

impl std::fmt::Debug for TableBuilder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableBuilder")
            .field("path", &self.output.path)
            .field("entries", &self.info.entries)
            .finish_non_exhaustive()
    }
}

/// The file, written in large pieces.
struct Output {
    file: Arc<dyn File>,
    path: PathBuf,
    table_id: u64,
    buffer: Vec<u8>,
    /// Bytes that are in the file.
    written: u64,
}

impl Output {
    /// Offset of the next byte.
    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn put_block(&mut self, content: &[u8], kind: u8) -> Result<Handle> {
        let offset = self.position();
        let len = u32::try_from(content.len()).expect("a block is less than 4 GiB");
        let start = self.buffer.len();
        self.buffer.extend_from_slice(content);
        self.buffer.push(kind);
        let checksum = block_checksum(&self.buffer[start..], self.table_id, offset);
        put_u32(&mut self.buffer, checksum);
        if self.buffer.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(Handle { offset, len })
    }

    /// Writes the buffer, and lets the disk begin with it, so that the sync at the end is short.
    fn write(&mut self) -> Result<()> {
        let (offset, len) = (self.written, self.buffer.len() as u64);
        self.file.write_at(offset, &self.buffer).map_err(Error::io("write", &self.path))?;
        self.file
            .start_writeback(offset, len)
            .map_err(Error::io("start writeback of", &self.path))?;
        self.written += len;
        self.buffer.clear();
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.write()?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))
    }
}
