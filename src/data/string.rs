//! Strings: inline while small, chunks of 16 KiB when long.
//!
//! A chunked string is changed in place: `APPEND`, `SETRANGE` and their kind write the metadata
//! record and the chunks that they touch. Setting it as a whole takes a new generation.

use std::ops::{Bound, ControlFlow, Range};

use bytes::{Bytes, BytesMut};

use super::key;
use super::meta::{Body, CHUNK_BYTES, INLINE_BYTES_MAX, KeyType, Meta, StringForm};
use super::{Edit, EventClasses};
use crate::engine::{Direction, Read, Result};

/// Ranges of at most so many chunks are read one by one, longer ones by a scan.
const GETS_MAX: u64 = 4;

/// Bytes `start..end` of a string, cut at its end. Missing chunks read as zeros.
pub(super) fn read_range(
    read: &dyn Read,
    keyspace: u32,
    meta: &Meta,
    start: u64,
    end: u64,
) -> Result<Bytes> {
    let end = end.min(meta.string_len());
    if start >= end {
        return Ok(Bytes::new());
    }
    if let Body::Inline(value) = &meta.body {
        return Ok(value.slice(to_len(start)..to_len(end)));
    }
    let mut bytes = BytesMut::zeroed(to_len(end - start));
    visit(read, keyspace, meta, start..end, &mut |at, part| {
        let into = to_len(at - start);
        bytes[into..into + part.len()].copy_from_slice(part);
        ControlFlow::Continue(())
    })?;
    Ok(bytes.freeze())
}

/// Hands what is stored of bytes `range` of a string to `take`, in order and each part with its
/// place in the string, until `take` breaks off. What lies between the parts reads as zeros.
pub(super) fn visit(
    read: &dyn Read,
    keyspace: u32,
    meta: &Meta,
    range: Range<u64>,
    take: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<()> {
    let (start, end) = (range.start, range.end.min(meta.string_len()));
    if start >= end {
        return Ok(());
    }
    let generation = match &meta.body {
        Body::Inline(value) => {
            let _ = take(start, &value[to_len(start)..to_len(end)]);
            return Ok(());
        }
        Body::Chunked { generation, .. } => *generation,
        Body::Collection(_) | Body::List(_) | Body::Stream(_) => return Ok(()),
    };
    let (first, last) = (chunk_of(start), chunk_of(end - 1));
    let mut take = |number: u32, chunk: &[u8]| {
        let at = u64::from(number) * CHUNK_BYTES as u64;
        let from = to_len(start.saturating_sub(at));
        let to = chunk.len().min(to_len(end.saturating_sub(at)));
        chunk.get(from..to).map_or(ControlFlow::Continue(()), |part| take(at + from as u64, part))
    };
    if u64::from(last - first) < GETS_MAX {
        for number in first..=last {
            if let Some(chunk) = read.get(&key::chunk(keyspace, generation, number))?
                && take(number, &chunk).is_break()
            {
                break;
            }
        }
        return Ok(());
    }
    let bound =
        |number| Bound::Included(Bytes::copy_from_slice(&key::chunk(keyspace, generation, number)));
    for pair in read.scan((bound(first), bound(last)), Direction::Forward) {
        let (engine_key, chunk) = pair?;
        if let Some(number) = key::chunk_number(&engine_key)
            && take(number, &chunk).is_break()
        {
            break;
        }
    }
    Ok(())
}

impl Edit<'_> {
    /// The whole string.
    pub fn string(&self, meta: &Meta) -> Result<Bytes> {
        read_range(&self.txn, self.keyspace, meta, 0, meta.string_len())
    }

    /// Bytes `start..end` of the string, cut at its end.
    pub fn string_range(&self, meta: &Meta, start: u64, end: u64) -> Result<Bytes> {
        read_range(&self.txn, self.keyspace, meta, start, end)
    }

    /// Sets `key` to a string; `old` is what [`Edit::find`] has found.
    pub fn set_string(
        &mut self,
        key: &[u8],
        old: Option<&Meta>,
        value: Bytes,
        expires_ms: Option<u64>,
    ) {
        self.set_string_as(StringForm::Natural, key, old, value, expires_ms);
    }

    /// As [`Edit::set_string`], with what `OBJECT ENCODING` shall call it.
    pub fn set_string_as(
        &mut self,
        form: StringForm,
        key: &[u8],
        old: Option<&Meta>,
        value: Bytes,
        expires_ms: Option<u64>,
    ) {
        if expires_ms.is_none() && value.len() <= INLINE_BYTES_MAX && old.is_none_or(Meta::is_plain)
        {
            return self.replace_plain(key, old.is_none(), Meta::encode_plain(form, &value));
        }
        let new = self.new_string(form, value, expires_ms);
        self.replace(key, old, Some(&new));
    }

    /// Sets `key` to the text of a number; `old` is what [`Edit::find`] has found. Keeps the expiry.
    pub fn set_number(&mut self, key: &[u8], old: Option<&Meta>, text: &[u8]) {
        if old.is_none_or(Meta::is_plain) {
            let record = Meta::encode_plain(StringForm::Natural, text);
            return self.replace_plain(key, old.is_none(), record);
        }
        let expires_ms = old.and_then(|meta| meta.expires_ms);
        self.set_string(key, old, Bytes::copy_from_slice(text), expires_ms);
    }

    /// The metadata record, which is not written, of a string, and its chunks, if it needs any.
    pub(super) fn new_string(
        &mut self,
        form: StringForm,
        value: Bytes,
        expires_ms: Option<u64>,
    ) -> Meta {
        let body = if value.len() <= INLINE_BYTES_MAX {
            Body::Inline(value)
        } else {
            self.new_chunks(&value)
        };
        Meta { kind: KeyType::String, expires_ms, form, body }
    }

    /// Writes `bytes` at `offset` of a string, which grows, with zeros in between, as needed; keeps
    /// the expiry. `old` is what [`Edit::find`] has found, a string. The result is no longer than
    /// the caller allows (at most 4 GiB × [`CHUNK_BYTES`]). Answers the new length in bytes.
    pub fn write_string(
        &mut self,
        key: &[u8],
        old: Option<&Meta>,
        offset: u64,
        bytes: &Bytes,
    ) -> Result<u64> {
        let len = old.map_or(0, Meta::string_len).max(offset + bytes.len() as u64);
        let body = match old.map(|meta| &meta.body) {
            Some(Body::Chunked { generation, .. }) => {
                self.write_chunks(*generation, offset, bytes)?;
                Body::Chunked { generation: *generation, len }
            }
            Some(Body::Inline(value)) if len > CHUNK_BYTES as u64 => {
                let Body::Chunked { generation, .. } = self.new_chunks(value) else {
                    unreachable!("new_chunks makes chunks")
                };
                self.write_chunks(generation, offset, bytes)?;
                Body::Chunked { generation, len }
            }
            None if len > CHUNK_BYTES as u64 => {
                let generation = self.root.next_generation();
                self.write_chunks(generation, offset, bytes)?;
                Body::Chunked { generation, len }
            }
            inline => {
                let mut value = BytesMut::with_capacity(to_len(len));
                if let Some(Body::Inline(before)) = inline {
                    value.extend_from_slice(before);
                }
                value.resize(to_len(len), 0);
                let offset = to_len(offset);
                value[offset..offset + bytes.len()].copy_from_slice(bytes);
                Body::Inline(value.freeze())
            }
        };
        let expires_ms = old.and_then(|meta| meta.expires_ms);
        let new = Meta { kind: KeyType::String, expires_ms, form: StringForm::Raw, body };
        self.replace(key, old, Some(&new));
        Ok(len)
    }

    /// Copies what [`Edit::find`] has found to `key` of database `db`, whatever that held. The
    /// selected database stays the same, unless this fails.
    pub fn copy(&mut self, meta: &Meta, db: u16, key: &[u8]) -> Result<()> {
        let home = self.context().db;
        let body = match &meta.body {
            Body::Inline(value) => Body::Inline(value.clone()),
            Body::Chunked { .. } => {
                let value = self.string(meta)?;
                self.select(db);
                self.new_chunks(&value)
            }
            Body::Collection(collection) => Body::Collection(self.copy_elements(collection, db)?),
            Body::List(list) => Body::List(self.copy_list(list, db)?),
            Body::Stream(stream) => Body::Stream(Box::new(self.copy_stream(stream, db)?)),
        };
        self.select(db);
        let old = self.find(key)?;
        if old.is_some() {
            // As if what was there had been deleted before.
            self.notify(EventClasses::NEW, "new", key);
        }
        self.replace(key, old.as_ref(), Some(&Meta { body, ..meta.clone() }));
        self.select(home);
        Ok(())
    }

    /// Stores `value` as the chunks of a new generation.
    pub(super) fn new_chunks(&mut self, value: &Bytes) -> Body {
        let generation = self.root.next_generation();
        for (number, at) in (0..).zip((0..value.len()).step_by(CHUNK_BYTES)) {
            let end = value.len().min(at + CHUNK_BYTES);
            self.put_chunk(generation, number, value.slice(at..end));
        }
        Body::Chunked { generation, len: value.len() as u64 }
    }

    fn write_chunks(&mut self, generation: u64, offset: u64, bytes: &Bytes) -> Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            let at = offset + written as u64;
            let number = chunk_of(at);
            let from = to_len(at % CHUNK_BYTES as u64);
            let len = (CHUNK_BYTES - from).min(bytes.len() - written);
            let part = bytes.slice(written..written + len);
            if len == CHUNK_BYTES {
                self.put_chunk(generation, number, part);
            } else {
                let engine_key = key::chunk(self.keyspace, generation, number);
                let before = self.txn.get(&engine_key)?.unwrap_or_default();
                let mut chunk = BytesMut::with_capacity(before.len().max(from + len));
                chunk.extend_from_slice(&before);
                chunk.resize(before.len().max(from + len), 0);
                chunk[from..from + len].copy_from_slice(&part);
                self.put_chunk(generation, number, chunk.freeze());
            }
            written += len;
        }
        Ok(())
    }

    /// Writes one chunk; missing bytes at its end, but for the last one's, read as zeros.
    pub(super) fn put_chunk(&mut self, generation: u64, number: u32, chunk: Bytes) {
        let engine_key = key::chunk(self.keyspace, generation, number);
        self.txn.put(Bytes::copy_from_slice(&engine_key), chunk);
    }
}

/// The number of the chunk that holds this byte.
pub(super) fn chunk_of(offset: u64) -> u32 {
    u32::try_from(offset / CHUNK_BYTES as u64).expect("no string has 2^32 chunks")
}

/// A place or length within a string that is in memory.
pub(super) fn to_len(bytes: u64) -> usize {
    usize::try_from(bytes).expect("strings are shorter than memory addresses")
}
