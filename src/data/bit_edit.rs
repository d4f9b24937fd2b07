//! Changes of single bits and small fields of a string.
//!
//! Only the chunks that hold the bits are read and written, each once however many of its bits are
//! changed in one call.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::bits::{bytes_of, deposit, extract};
use super::meta::{Body, CHUNK_BYTES, KeyType, Meta, StringForm};
use super::string::to_len;
use super::{Edit, key};
use crate::engine::{Read, Result};

/// A string whose bits are read and changed; [`BitEdit::finish`] writes it.
#[derive(Debug)]
pub struct BitEdit<'e, 'a> {
    edit: &'e mut Edit<'a>,
    key: &'e [u8],
    old: Option<Meta>,
    /// Length that the string gets, in bytes.
    len: u64,
    /// What was looked at, by the number of the chunk.
    blocks: BTreeMap<u64, Block>,
}

#[derive(Debug)]
enum Block {
    Read(Bytes),
    Changed(BytesMut),
}

impl Block {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Read(bytes) => bytes,
            Self::Changed(bytes) => bytes,
        }
    }
}

impl<'e, 'a> BitEdit<'e, 'a> {
    /// Starts with what [`Edit::find`] has found, a string, which grows to at least `len_min`
    /// bytes. The limit of that is the caller's (at most 4 GiB × the bytes of a chunk).
    pub fn new(edit: &'e mut Edit<'a>, key: &'e [u8], old: Option<Meta>, len_min: u64) -> Self {
        let len = old.as_ref().map_or(0, Meta::string_len).max(len_min);
        Self { edit, key, old, len, blocks: BTreeMap::new() }
    }

    /// Whether the string becomes longer, or is new.
    #[must_use]
    pub fn grows(&self) -> bool {
        self.old.as_ref().is_none_or(|meta| meta.string_len() < self.len)
    }

    /// Bits `at..at + width` as a number, the first bit highest; zeros behind the end. `width` is
    /// at most 64.
    pub fn get(&mut self, at: u64, width: u32) -> Result<u64> {
        let (start, end) = bytes_of(at, width);
        let window = self.window(start, end)?;
        Ok(extract(&window[..to_len(end - start)], at % 8, width))
    }

    /// Sets bits `at..at + width`, which lie within the new length, to the low bits of `value`.
    pub fn set(&mut self, at: u64, width: u32, value: u64) -> Result<()> {
        let (start, end) = bytes_of(at, width);
        let mut window = self.window(start, end)?;
        let window = &mut window[..to_len(end - start)];
        deposit(window, at % 8, width, value);
        for (byte, place) in window.iter().zip(start..) {
            let block = self.block(place / CHUNK_BYTES as u64)?;
            let within = to_len(place % CHUNK_BYTES as u64);
            if let Block::Read(bytes) = block {
                *block = Block::Changed(BytesMut::from(&bytes[..]));
            }
            if let Block::Changed(bytes) = block {
                bytes.resize(bytes.len().max(within + 1), 0);
                bytes[within] = *byte;
            }
        }
        Ok(())
    }

    /// Writes the string, where it has changed, as so many changes. Its expiry stays. One that has not
    /// changed keeps its form: a record that is written counts as changed for those who watch it.
    pub fn finish(mut self, changes: u64) {
        let is_changed = self.blocks.values().any(|block| matches!(block, Block::Changed(_)));
        if !is_changed && !self.grows() {
            return;
        }
        let body = match self.old.as_ref().map(|meta| &meta.body) {
            Some(Body::Chunked { generation, .. }) => {
                let generation = *generation;
                self.chunked(generation)
            }
            inline if self.len > CHUNK_BYTES as u64 => {
                let before = match inline {
                    Some(Body::Inline(value)) => value.clone(),
                    _ => Bytes::new(),
                };
                let Body::Chunked { generation, .. } = self.edit.new_chunks(&before) else {
                    unreachable!("new_chunks makes chunks")
                };
                self.chunked(generation)
            }
            inline => {
                let mut value = match (self.blocks.remove(&0), inline) {
                    (Some(Block::Changed(bytes)), _) => bytes,
                    (_, Some(Body::Inline(value))) => BytesMut::from(&value[..]),
                    _ => BytesMut::new(),
                };
                value.resize(to_len(self.len), 0);
                Body::Inline(value.freeze())
            }
        };
        let expires_ms = self.old.as_ref().and_then(|meta| meta.expires_ms);
        let new = Meta { kind: KeyType::String, expires_ms, form: StringForm::Raw, body };
        self.edit.replace_counted(self.key, self.old.as_ref(), Some(&new), changes);
    }

    fn chunked(&mut self, generation: u64) -> Body {
        for (number, block) in std::mem::take(&mut self.blocks) {
            if let Block::Changed(bytes) = block {
                let number = u32::try_from(number).expect("no string has 2^32 chunks");
                self.edit.put_chunk(generation, number, bytes.freeze());
            }
        }
        Body::Chunked { generation, len: self.len }
    }

    /// Bytes `start..end`, at most nine, and zeros behind them.
    fn window(&mut self, start: u64, end: u64) -> Result<[u8; 9]> {
        let mut window = [0; 9];
        for (byte, place) in window.iter_mut().zip(start..end) {
            let block = self.block(place / CHUNK_BYTES as u64)?.bytes();
            *byte = block.get(to_len(place % CHUNK_BYTES as u64)).copied().unwrap_or(0);
        }
        Ok(window)
    }

    fn block(&mut self, number: u64) -> Result<&mut Block> {
        use std::collections::btree_map::Entry;

        match self.blocks.entry(number) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let bytes = stored_block(self.edit, self.old.as_ref(), number)?;
                Ok(place.insert(Block::Read(bytes)))
            }
        }
    }
}

/// What is stored of chunk `number` of a string, as if it were in chunks: zeros follow.
pub(super) fn stored_block(edit: &Edit<'_>, meta: Option<&Meta>, number: u64) -> Result<Bytes> {
    let start = number * CHUNK_BYTES as u64;
    let Some(meta) = meta.filter(|meta| start < meta.string_len()) else {
        return Ok(Bytes::new());
    };
    match &meta.body {
        Body::Inline(value) => {
            let start = to_len(start);
            Ok(value.slice(start..value.len().min(start + CHUNK_BYTES)))
        }
        Body::Chunked { generation, .. } => {
            let number = super::string::chunk_of(start);
            let engine_key = key::chunk(edit.keyspace, *generation, number);
            Ok(edit.txn.get(&engine_key)?.unwrap_or_default())
        }
        Body::Collection(_) | Body::List(_) | Body::Stream(_) => Ok(Bytes::new()),
    }
}
