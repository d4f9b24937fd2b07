//! Compression of blocks.

use std::cell::RefCell;

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use super::super::coding::Reader;
use super::Compression;
use super::format::{BLOCK_BYTES_MAX, Parsed};

/// Kinds of stored blocks. Permanent.
pub(super) const KIND_RAW: u8 = 0;
const KIND_LZ4: u8 = 1;
const KIND_ZSTD: u8 = 2;

const ZSTD_LEVEL: i32 = 3;
/// The raw length in front of a compressed block.
const PREFIX_BYTES: usize = 4;
/// LZ4 can not shrink by more than this.
const LZ4_RATIO_MAX: usize = 255;

/// Compresses blocks; keeps its tables and its buffer from block to block.
pub(super) struct Compressor {
    codec: Codec,
    buffer: Vec<u8>,
}

enum Codec {
    None,
    Lz4(CompressTable),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    pub(super) fn new(compression: Compression) -> Self {
        let codec = match compression {
            Compression::None => Codec::None,
            Compression::Lz4 => Codec::Lz4(CompressTable::default()),
            // Fails only for want of memory, or for a level that does not exist; raw blocks are
            // right in any case.
            Compression::Zstd => {
                zstd::bulk::Compressor::new(ZSTD_LEVEL).map_or(Codec::None, Codec::Zstd)
            }
        };
        Self { codec, buffer: Vec::new() }
    }

    /// The content to store for `raw`, and its kind.
    pub(super) fn compress<'a>(&'a mut self, raw: &'a [u8]) -> (&'a [u8], u8) {
        let Ok(raw_len) = u32::try_from(raw.len()) else { return (raw, KIND_RAW) };
        let bound = match self.codec {
            Codec::None => return (raw, KIND_RAW),
            Codec::Lz4(_) => get_maximum_output_size(raw.len()),
            Codec::Zstd(_) => zstd::zstd_safe::compress_bound(raw.len()),
        };
        if self.buffer.len() < PREFIX_BYTES + bound {
            self.buffer.resize(PREFIX_BYTES + bound, 0);
        }
        let (prefix, body) = self.buffer.split_at_mut(PREFIX_BYTES);
        prefix.copy_from_slice(&raw_len.to_le_bytes());
        let (compressed, kind) = match &mut self.codec {
            Codec::None => (None, KIND_RAW),
            Codec::Lz4(table) => (compress_into_with_table(raw, body, table).ok(), KIND_LZ4),
            Codec::Zstd(context) => (context.compress_to_buffer(raw, body).ok(), KIND_ZSTD),
        };
        match compressed.and_then(|len| self.buffer.get(..PREFIX_BYTES + len)) {
            Some(stored) if shrinks_enough(raw.len(), stored.len()) => (stored, kind),
            _ => (raw, KIND_RAW),
        }
    }
}

/// Whether it pays to decompress at every read: 12 % at least.
fn shrinks_enough(raw: usize, stored: usize) -> bool {
    stored as u64 * 100 <= raw as u64 * 88
}

thread_local! {
    /// A context is some 100 KB, too much to make anew for each block.
    static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Undoes compression of a block of a kind other than raw. Allocates no more than the limit of
/// a block.
pub(super) fn decompress(stored: &[u8], kind: u8) -> Parsed<Vec<u8>> {
    let mut reader = Reader::new(stored);
    let raw_len = reader.u32().ok_or("a block is cut off")? as usize;
    let stored = reader.rest();
    if raw_len > BLOCK_BYTES_MAX {
        return Err("a block announces more than the limit");
    }
    match kind {
        KIND_LZ4 => decompress_lz4(stored, raw_len),
        KIND_ZSTD => decompress_zstd(stored, raw_len),
        _ => Err("a block is of an unknown kind"),
    }
}

const BAD: &str = "a block can not be decompressed";
const BAD_LEN: &str = "a block announces another length than it has";

fn decompress_lz4(stored: &[u8], raw_len: usize) -> Parsed<Vec<u8>> {
    if raw_len > stored.len().saturating_mul(LZ4_RATIO_MAX) {
        return Err(BAD_LEN);
    }
    let mut raw = vec![0; raw_len];
    let len = lz4_flex::block::decompress_into(stored, &mut raw).map_err(|_| BAD)?;
    if len == raw_len { Ok(raw) } else { Err(BAD_LEN) }
}

fn decompress_zstd(stored: &[u8], raw_len: usize) -> Parsed<Vec<u8>> {
    // The frame has the length too. Memory is committed only as the frame fills it.
    let announced = zstd::zstd_safe::get_frame_content_size(stored).ok().flatten();
    if announced != Some(raw_len as u64) {
        return Err(BAD_LEN);
    }
    let raw = ZSTD.with_borrow_mut(|context| {
        let context = match context {
            Some(context) => context,
            None => context.insert(zstd::bulk::Decompressor::new()?),
        };
        context.decompress(stored, raw_len)
    });
    raw.ok().filter(|raw| raw.len() == raw_len).ok_or(BAD)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(byte: u8, len in 0_usize..200_000, noise: Vec<u8>) {
            let raw = [vec![byte; len], noise].concat();
            for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
                let mut compressor = Compressor::new(compression);
                for _ in 0..2 {
                    let (stored, kind) = compressor.compress(&raw);
                    if kind == KIND_RAW {
                        prop_assert_eq!(stored, &raw[..]);
                    } else {
                        prop_assert!(stored.len() < raw.len());
                        prop_assert_eq!(decompress(stored, kind).unwrap(), &raw[..]);
                    }
                }
            }
        }

        #[test]
        fn any_bytes_are_decompressed_without_panic(
            mut stored: Vec<u8>,
            len in 0_u32..5000,
            kind in 0_u8..4,
        ) {
            prop_assert!(decompress(&stored, kind).is_err() || kind == KIND_LZ4);
            stored.splice(0..0, len.to_le_bytes());
            if let Ok(raw) = decompress(&stored, kind) {
                prop_assert_eq!(raw.len(), len as usize);
            }
        }
    }

    #[test]
    fn an_announced_length_costs_nothing() {
        let announced = |len: u32| [&len.to_le_bytes()[..], b"abc"].concat();
        for kind in [KIND_LZ4, KIND_ZSTD] {
            assert!(decompress(&announced(u32::MAX), kind).is_err());
            assert!(decompress(&announced(1 << 30), kind).is_err());
        }
    }
}
