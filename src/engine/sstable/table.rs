//! Reads a table.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::super::coding::Reader;
use super::super::{BlockCache, Direction, Error, Found, KeyRange, ReadMode, Result, TableInfo};
use super::block::{Block, Entry};
use super::bloom;
use super::compress::{KIND_RAW, decompress};
use super::data_block::DataBlock;
use super::format::{FOOTER_BYTES, Footer, Handle, Parsed, TRAILER_BYTES, check_block};
use super::iter::TableIter;
use super::open::Slot;
use super::options::ScanOptions;
use super::partitions::{OpenPartition, Partitions, Pinnable};
use crate::env::{File, Fs};

/// What is stored of a block up to this size is read into a buffer that each thread keeps.
const SMALL_BLOCK_BYTES: usize = 16 << 10;

thread_local! {
    /// Bytes to be taken apart: new ones would be cleared first, and are not in the processor's cache.
    static STORED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Values up to this part of their block are copied out of it by a lookup.
const COPY_PART: usize = 4;

/// What filters know of a key.
#[inline]
pub(in super::super) fn filter_hash(key: &[u8]) -> u64 {
    bloom::hash(key)
}

/// Name of the file of table `id`: ten digits and `.sst`.
#[must_use]
pub fn table_file_name(id: u64) -> String {
    format!("{id:010}.sst")
}

/// A table. Shared by all readers.
#[derive(Debug)]
pub struct Table {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    info: TableInfo,
    cache: Arc<BlockCache>,
    /// Filled by whoever comes first; two may read the same bytes at the same time.
    slot: Arc<Slot>,
    /// Whether anybody has met damage in it.
    is_damaged: AtomicBool,
}

/// What a table needs to find any block.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) file: Arc<dyn File>,
    pub(super) footer: Footer,
    /// Content of the top index.
    pub(super) top: Bytes,
    pub(super) partitions: Partitions,
}

/// An entry of the top index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Partition<'a> {
    pub(super) low: &'a [u8],
    pub(super) index: Handle,
    /// Of length 0 where there is none.
    pub(super) filter: Handle,
    /// Of the filter, per key.
    pub(super) probes: u8,
}

impl Table {
    /// The table that `info` describes, in the file `path`. Touches no disk: the file is opened
    /// by the first blocking read, or by [`Table::load`], and again where it was closed to keep the
    /// bounds of [`BlockCache::open_tables`].
    #[must_use]
    pub fn open(
        fs: Arc<dyn Fs>,
        path: PathBuf,
        info: TableInfo,
        cache: Arc<BlockCache>,
    ) -> Arc<Self> {
        let (slot, is_damaged) = (Arc::default(), AtomicBool::new(false));
        Arc::new(Self { fs, path, info, cache, slot, is_damaged })
    }

    /// Opens the file and reads its footer and its top index, if it is not open. A resident read of
    /// a table that is not open answers [`Error::WouldBlock`].
    pub fn load(&self) -> Result<()> {
        self.loaded(ReadMode::Blocking).map(drop)
    }

    /// What the manifest says of the table.
    #[must_use]
    pub fn info(&self) -> &TableInfo {
        &self.info
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cache that the blocks of this table go through.
    #[must_use]
    pub fn cache(&self) -> &BlockCache {
        &self.cache
    }

    /// Bytes of memory that the open table holds outside the block cache.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let keys = self.info.smallest.len() + self.info.largest.len();
        let open = usize::try_from(self.slot.bytes()).unwrap_or(usize::MAX);
        size_of::<Self>() + keys + open
    }

    /// Whether a read, a walk or a check has met damage in it since it was opened.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// The version of `key` in this table. Fails with [`Error::WouldBlock`] in resident mode,
    /// with [`Error::Io`] and [`Error::Corruption`].
    ///
    /// A small value is a copy: as a slice of its block it would keep 4 KiB alive, uncounted, for
    /// as long as a slow client takes to read its reply. A large one is a slice.
    pub fn get(&self, key: &[u8], mode: ReadMode) -> Result<Option<Found>> {
        self.get_hashed(key, filter_hash(key), mode)
    }

    /// As [`Self::get`], where the [`filter_hash`] of the key is known.
    pub(in super::super) fn get_hashed(
        &self,
        key: &[u8],
        hash: u64,
        mode: ReadMode,
    ) -> Result<Option<Found>> {
        if key < &self.info.smallest[..] || key > &self.info.largest[..] {
            return Ok(None);
        }
        let open = self.slot.get();
        let opened;
        let loaded: &Loaded = match &*open {
            Some(loaded) => loaded,
            None => {
                opened = self.open_again(mode)?;
                &opened
            }
        };
        let partition = loaded.partitions.of_key(key, &loaded.top);
        let Some(partition) = self.parse(loaded.footer.top_index, partition)? else {
            return Ok(None);
        };
        if partition.filter.handle.len > 0 {
            let filter = self.at_hand(loaded, &partition.filter, mode)?;
            let may = bloom::may_contain(&filter, partition.probes, hash);
            if !self.parse(partition.filter.handle, may)? {
                return Ok(None);
            }
        }
        let index = self.at_hand(loaded, &partition.index, mode)?;
        let handle =
            Block::new(&index).and_then(|index| index.floor(key)?.map(data_handle).transpose());
        let Some(handle) = self.parse(partition.index.handle, handle)? else { return Ok(None) };
        let data = self.cached(loaded, handle, mode)?;
        let found = DataBlock::new(&data).and_then(|block| {
            Ok(block
                .find(key)?
                .map(|entry| Found { seq: entry.seq(), value: value(&data, &block, &entry) }))
        });
        self.parse(handle, found)
    }

    /// Walks the records of `range`. Touches the disk only when the walk begins.
    #[must_use]
    pub fn scan(
        self: &Arc<Self>,
        range: KeyRange,
        direction: Direction,
        options: ScanOptions,
    ) -> TableIter {
        TableIter::new(Arc::clone(self), range, direction, options)
    }

    /// What a walk holds: it goes on even where the table is closed meanwhile.
    pub(super) fn loaded(&self, mode: ReadMode) -> Result<Arc<Loaded>> {
        match &*self.slot.get() {
            Some(loaded) => Ok(loaded.clone()),
            None => self.open_again(mode),
        }
    }

    #[cold]
    fn open_again(&self, mode: ReadMode) -> Result<Arc<Loaded>> {
        match mode {
            ReadMode::Resident => Err(Error::WouldBlock),
            ReadMode::Blocking => {
                let loaded = self.read_top()?;
                Ok(self.cache.open_tables().admit(&self.slot, loaded))
            }
        }
    }

    fn read_top(&self) -> Result<Loaded> {
        let file = self.fs.open(&self.path).map_err(Error::io("open", &self.path))?;
        let size = file.len().map_err(Error::io("read the length of", &self.path))?;
        let at = size.checked_sub(FOOTER_BYTES as u64);
        let Some(at) = at.filter(|_| size == self.info.size) else {
            let what = format!("it has {size} bytes instead of {}", self.info.size);
            return Err(self.corruption(0, &what));
        };
        let mut bytes = [0; FOOTER_BYTES];
        file.read_at(at, &mut bytes).map_err(Error::io("read", &self.path))?;
        let footer = Footer::decode(&bytes).map_err(|what| self.corruption(at, what))?;
        if footer.table_id != self.info.id {
            let what = format!("it is table {} under another name", footer.table_id);
            return Err(self.corruption(at, &what));
        }
        let top = self.read(&*file, footer.top_index, ReadMode::Blocking)?;
        let partitions = Partitions::of(&top, &self.info, self.cache.pins().clone());
        let partitions = self.parse(footer.top_index, partitions)?;
        Ok(Loaded { file, footer, top, partitions })
    }

    /// The block at `handle` from the cache, or from the file and then into the cache.
    pub(super) fn cached(&self, loaded: &Loaded, handle: Handle, mode: ReadMode) -> Result<Bytes> {
        if let Some(block) = self.cache.get(self.info.id, handle.offset) {
            return Ok(block);
        }
        let block = self.read(&*loaded.file, handle, mode)?;
        self.fill(handle, &block);
        Ok(block)
    }

    /// An index or a filter, which stays at hand if there is room.
    #[inline]
    fn at_hand<'l>(
        &self,
        loaded: &'l Loaded,
        place: &'l Pinnable,
        mode: ReadMode,
    ) -> Result<Cow<'l, Bytes>> {
        match place.pinned() {
            Some(block) => Ok(Cow::Borrowed(block)),
            None => self.bring_to_hand(loaded, place, mode).map(Cow::Owned),
        }
    }

    #[cold]
    fn bring_to_hand(&self, loaded: &Loaded, place: &Pinnable, mode: ReadMode) -> Result<Bytes> {
        let block = self.cached(loaded, place.handle, mode)?;
        if loaded.partitions.pin(place, &block) {
            self.cache.remove(self.info.id, place.handle.offset);
            self.cache.make_room_for_pins();
        }
        Ok(block)
    }

    /// An index, for a walk.
    pub(super) fn index(
        &self,
        loaded: &Loaded,
        place: &Pinnable,
        options: ScanOptions,
    ) -> Result<Bytes> {
        if options.fill_cache {
            return self.at_hand(loaded, place, options.mode).map(Cow::into_owned);
        }
        match place.pinned().cloned().or_else(|| self.peek(place.handle)) {
            Some(block) => Ok(block),
            None => self.read(&*loaded.file, place.handle, options.mode),
        }
    }

    /// The block at `handle` if it is in the cache; does not count as a use of it.
    pub(super) fn peek(&self, handle: Handle) -> Option<Bytes> {
        self.cache.peek(self.info.id, handle.offset)
    }

    /// The block at `handle` if it is in the cache, which has it no longer.
    pub(super) fn take(&self, handle: Handle) -> Option<Bytes> {
        self.cache.remove(self.info.id, handle.offset)
    }

    /// Puts a block that was read past the cache into it.
    pub(super) fn fill(&self, handle: Handle, block: &Bytes) {
        self.cache.insert(self.info.id, handle.offset, block.clone());
    }

    /// Lets go of the blocks that the cache has of this table, which nobody will look into any more. Those of
    /// one that is closed stay until others need room. May wait on the disk; fails where the index cannot be
    /// read.
    pub fn forget_blocks(&self) -> Result<()> {
        let open = self.slot.get();
        let Some(loaded) = open.as_deref() else { return Ok(()) };
        for OpenPartition { index, filter, .. } in loaded.partitions.all() {
            let content = self.index(loaded, index, ScanOptions::streaming())?;
            for entry in self.parse(index.handle, Block::new(&content))?.entries() {
                let data = self.parse(index.handle, entry.and_then(data_handle))?;
                self.cache.remove(self.info.id, data.offset);
            }
            self.cache.remove(self.info.id, index.handle.offset);
            self.cache.remove(self.info.id, filter.handle.offset);
        }
        Ok(())
    }

    /// The block at `handle` from the file.
    pub(super) fn read(&self, file: &dyn File, handle: Handle, mode: ReadMode) -> Result<Bytes> {
        let len = self.bounded(handle)?;
        if len > SMALL_BLOCK_BYTES {
            return self.read_large(file, handle, mode);
        }
        STORED.with_borrow_mut(|buffer| {
            buffer.resize(SMALL_BLOCK_BYTES, 0);
            let stored = buffer.get_mut(..len).unwrap_or_default();
            self.read_bytes(file, handle.offset, stored, mode)?;
            self.unpack(handle, stored)
        })
    }

    #[cold]
    fn read_large(&self, file: &dyn File, handle: Handle, mode: ReadMode) -> Result<Bytes> {
        let mut stored = vec![0; self.bounded(handle)?];
        self.read_bytes(file, handle.offset, &mut stored, mode)?;
        let (content, kind) =
            self.parse(handle, check_block(&stored, self.info.id, handle.offset))?;
        if kind == KIND_RAW {
            stored.truncate(stored.len() - TRAILER_BYTES);
            return Ok(Bytes::from(stored));
        }
        self.parse(handle, decompress(content, kind)).map(Bytes::from)
    }

    /// The block at `handle`, whose bytes with trailer are `stored`.
    pub(super) fn unpack(&self, handle: Handle, stored: &[u8]) -> Result<Bytes> {
        let (content, kind) =
            self.parse(handle, check_block(stored, self.info.id, handle.offset))?;
        if kind == KIND_RAW {
            return Ok(Bytes::copy_from_slice(content));
        }
        self.parse(handle, decompress(content, kind)).map(Bytes::from)
    }

    pub(super) fn read_bytes(
        &self,
        file: &dyn File,
        offset: u64,
        buffer: &mut [u8],
        mode: ReadMode,
    ) -> Result<()> {
        let result = match mode {
            ReadMode::Resident => file.read_at_nowait(offset, buffer),
            ReadMode::Blocking => file.read_at(offset, buffer),
        };
        result.map_err(|error| match (error.kind(), mode) {
            (io::ErrorKind::WouldBlock, ReadMode::Resident) => Error::WouldBlock,
            (io::ErrorKind::UnexpectedEof, _) => self.corruption(offset, "it was cut off"),
            _ => Error::io("read", &self.path)(error),
        })
    }

    /// Bytes to read for `handle`, which may be damaged: nothing is allocated that the file does
    /// not have.
    pub(super) fn bounded(&self, handle: Handle) -> Result<usize> {
        if handle.end() > self.info.size {
            return Err(self.corruption(handle.offset, "a block ends behind the file"));
        }
        Ok(handle.stored_bytes())
    }

    /// Names the file and the block where bytes could not be taken apart.
    pub(super) fn parse<T>(&self, handle: Handle, parsed: Parsed<T>) -> Result<T> {
        parsed.map_err(|what| self.corruption(handle.offset, what))
    }

    pub(super) fn corruption(&self, offset: u64, what: &str) -> Error {
        self.is_damaged.store(true, Ordering::Relaxed);
        let what = format!(
            "{what}; the records of this table can not be trusted: restore the data directory \
             from a backup, and check the disk"
        );
        Error::Corruption { path: self.path.clone(), offset, what }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.cache.open_tables().forget(&self.slot);
    }
}

/// Reads an entry of the top index.
#[inline]
pub(super) fn partition<'a>((low, entry): (&'a [u8], Entry<'a>)) -> Parsed<Partition<'a>> {
    let mut value = Reader::new(entry.value);
    let index = Handle::take_varints(&mut value);
    let filter = Handle::take_varints(&mut value);
    match (index, filter, value.u8()) {
        (Some(index), Some(filter), Some(probes)) if value.is_empty() => {
            Ok(Partition { low, index, filter, probes })
        }
        _ => Err("an entry of the top index is malformed"),
    }
}

/// Reads an entry of an index partition.
#[inline]
pub(super) fn data_handle(entry: Entry<'_>) -> Parsed<Handle> {
    let mut value = Reader::new(entry.value);
    Handle::take_varints(&mut value)
        .filter(|_| value.is_empty())
        .ok_or("an entry of an index is malformed")
}

/// The value of an entry, of which a large one stays a slice of its block.
fn value(data: &Bytes, block: &DataBlock<'_>, entry: &Entry<'_>) -> Option<Bytes> {
    let (front, rest) = block.value(entry)?;
    if !front.is_empty() {
        return Some(Bytes::from([front, rest].concat()));
    }
    let is_small = rest.len() < data.len() / COPY_PART;
    Some(if is_small { Bytes::copy_from_slice(rest) } else { data.slice_ref(rest) })
}
