//! The witness: how much of the manifest is known to be durable, in a file beside it.
//!
//! A manifest that was cut from outside ends as one whose last append was never finished: what is
//! missing leaves no trace in it. So `MANIFEST.witness` says which manifest is in force and up to
//! which offset it is durable. It is written and synced behind each edit, when that is durable and
//! before anybody acts on it. So a manifest that holds less than its witness says is damaged, and
//! what a whole one holds beyond is at most one edit on which nobody has acted.
//!
//! Two slots, at offsets 0 and 4096, are written in turn, so that one is whole at any time:
//!
//! | offset | size | name     | meaning                                                      |
//! |--------|------|----------|--------------------------------------------------------------|
//! | 0      | 8    | magic    | `SILTDBMW`                                                   |
//! | 8      | 8    | count    | of the whole slots, the one with the larger count holds      |
//! | 16     | 8    | manifest | number of the manifest                                       |
//! | 24     | 8    | len      | the manifest is durable up to this offset                    |
//! | 32     | 4    | crc      | crc32 of the bytes from offset 0 to 32                       |
//!
//! All numbers are little-endian. A slot that is not whole is a write that was never finished. The
//! witness has no space to take once it is made; where a file system needs some to write the same
//! bytes again, and has none, it stays behind until the next edit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::coding::{Reader, put_u64};
use crate::engine::{Error, Result};
use crate::env::{File, Fs};

/// Name of the witness.
pub(super) const NAME: &str = "MANIFEST.witness";
const MAGIC: &[u8; 8] = b"SILTDBMW";
/// Slots lie in pages of their own: a disk that fails to write one leaves the other alone.
const SLOT_BYTES: u64 = 4096;
/// Bytes of a slot before its checksum.
const COVERED_BYTES: usize = 32;

/// What the witness says: manifest `number` is durable up to offset `len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) number: u64,
    pub(super) len: u64,
}

/// An open witness.
#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    file: Arc<dyn File>,
    /// Of the newest slot that is whole.
    count: u64,
    known: Option<Known>,
}

impl Witness {
    /// Makes a witness that says `known`. Durable on return, but for its name.
    pub(super) fn create(fs: &dyn Fs, dir: &Path, known: Known) -> Result<Self> {
        super::remove_all(fs, dir, [NAME])?;
        let path = dir.join(NAME);
        let file = fs.create(&path).map_err(Error::io("create", &path))?;
        file.allocate(2 * SLOT_BYTES).map_err(Error::io("reserve space for", &path))?;
        let mut this = Self { path, file, count: 0, known: None };
        this.write(known)?;
        Ok(this)
    }

    /// The witness of `dir`, if there is one.
    pub(super) fn open(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(NAME);
        let bytes = match fs.read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(Error::io("read", &path))?,
        };
        let file = fs.open(&path).map_err(Error::io("open", &path))?;
        let slots = bytes.chunks(usize::try_from(SLOT_BYTES).unwrap_or(usize::MAX));
        let newest = slots.take(2).filter_map(decode).max_by_key(|(count, _)| *count);
        let (count, known) = newest.map_or((0, None), |(count, known)| (count, Some(known)));
        Ok(Some(Self { path, file, count, known }))
    }

    /// What it says; `None` where it cannot be read.
    pub(super) fn known(&self) -> Option<Known> {
        self.known
    }

    /// Says `known` from now on, durably.
    pub(super) fn write(&mut self, known: Known) -> Result<()> {
        let count = self.count + 1;
        let mut bytes = MAGIC.to_vec();
        for number in [count, known.number, known.len] {
            put_u64(&mut bytes, number);
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        let offset = count % 2 * SLOT_BYTES;
        self.file.write_at(offset, &bytes).map_err(Error::io("write", &self.path))?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        self.count = count;
        self.known = Some(known);
        Ok(())
    }
}

/// Count and content of a slot, where it is whole.
fn decode(slot: &[u8]) -> Option<(u64, Known)> {
    let mut reader = Reader::new(slot);
    if reader.take(MAGIC.len())? != MAGIC {
        return None;
    }
    let (count, number, len) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let crc = reader.u32()?;
    (crc32fast::hash(slot.get(..COVERED_BYTES)?) == crc).then_some((count, Known { number, len }))
}
