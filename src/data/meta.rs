//! The metadata record: what a key is, when it expires, and its value where that is small.
//!
//! ```text
//! offset  size  name
//! 0       1     type (low four bits) and encoding (high four bits)
//! 1       1     flags: 1 has an expiry; of strings also 2 was modified in place ("raw"), 4 is text
//!               though it may read as an integer; never both
//! 2       8     expiry in Unix milliseconds, little-endian; only with flag 1
//! then, encoding 0 (inline):   the value, to the end of the record
//!       encoding 1 (chunked):  generation u64 and length in bytes u64, both little-endian
//!       encodings 2 to 5:      a hash or a set, see `collection.rs`
//!       of lists 2, 6, 7:      see `list/body.rs`
//!       of streams 2 and 4:    see `stream/mod.rs`
//! ```
//!
//! Chunk `i` of a chunked string holds its bytes from `i × CHUNK_BYTES`; a chunk that is missing,
//! or shorter than the string, reads as zeros. Strings are written inline up to
//! [`INLINE_BYTES_MAX`]; one that grows in place beyond [`CHUNK_BYTES`] becomes chunked, so that
//! `APPEND` or `SETRANGE` never write much more than one chunk.

use std::path::PathBuf;

use bytes::{Buf, Bytes};

use super::{Collection, Layout, ListBody, Stream};
use crate::engine::{Error, Found, Result};

/// Longest string in bytes that `SET` stores in the metadata record.
pub(super) const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a chunk of a longer string.
pub(super) const CHUNK_BYTES: usize = 16 * 1024;

/// From so many elements on a value is large: it takes megabytes.
const LARGE_ELEMENTS: u64 = 1 << 16;
/// From so many bytes on a string is large.
const LARGE_BYTES: u64 = 4 << 20;

const FLAG_EXPIRY: u8 = 1;
const FLAG_RAW: u8 = 2;
const FLAG_TEXT: u8 = 4;
const ENCODING_INLINE: u8 = 0;
const ENCODING_CHUNKED: u8 = 1;
/// What the record of a string begins with that is inline, has no expiry, and is called by its bytes.
const PLAIN: [u8; 2] = [KeyType::String as u8 | ENCODING_INLINE << 4, 0];

/// Type of a key. The numbers are stored and permanent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyType {
    /// `string`.
    String = 0,
    /// `list`.
    List = 1,
    /// `set`.
    Set = 2,
    /// `zset`.
    ZSet = 3,
    /// `hash`.
    Hash = 4,
    /// `stream`.
    Stream = 5,
}

impl KeyType {
    /// The name that `TYPE` answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::ZSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
        }
    }

    fn from_stored(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::String,
            1 => Self::List,
            2 => Self::Set,
            3 => Self::ZSet,
            4 => Self::Hash,
            5 => Self::Stream,
            _ => return None,
        })
    }
}

/// Where the value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// In the metadata record.
    Inline(Bytes),
    /// In chunks.
    Chunked {
        /// Names the chunks.
        generation: u64,
        /// Length of the string in bytes.
        len: u64,
    },
    /// The elements of a hash or a set.
    Collection(Collection),
    /// The elements of a list.
    List(ListBody),
    /// The entries and groups of a stream.
    Stream(Box<Stream>),
}

/// How `OBJECT ENCODING` calls a string that could be kept in several ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StringForm {
    /// As its bytes say: `int`, `embstr` or `raw`.
    #[default]
    Natural,
    /// `embstr` or `raw`, never `int`: what a computation with fractions has left.
    Text,
    /// `raw`: it was modified in place.
    Raw,
}

impl StringForm {
    fn flag(self) -> u8 {
        match self {
            Self::Natural => 0,
            Self::Text => FLAG_TEXT,
            Self::Raw => FLAG_RAW,
        }
    }

    fn from_flags(flags: u8) -> Option<Self> {
        match flags & (FLAG_RAW | FLAG_TEXT) {
            0 => Some(Self::Natural),
            FLAG_TEXT => Some(Self::Text),
            FLAG_RAW => Some(Self::Raw),
            _ => None,
        }
    }
}

/// A decoded metadata record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Type of the key.
    pub kind: KeyType,
    /// When the key expires, in Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// How `OBJECT ENCODING` calls the string.
    pub form: StringForm,
    /// The value, or where it is.
    pub body: Body,
}

impl Meta {
    /// Reads a record; the value shares its bytes.
    pub fn decode(record: &Bytes) -> Result<Self> {
        Self::decode_checked(record).ok_or_else(|| Error::Corruption {
            path: PathBuf::from("metadata record"),
            offset: 0,
            what: "not a key that this version can read".to_owned(),
        })
    }

    /// Reads what a look-up has found; `None` for what was deleted.
    pub(super) fn of(found: Found) -> Result<Option<Self>> {
        let Some(mut record) = found.value else { return Ok(None) };
        if record.starts_with(&PLAIN) {
            // Most records are such: the value takes their memory over.
            record.advance(PLAIN.len());
            return Ok(Some(Self {
                kind: KeyType::String,
                expires_ms: None,
                form: StringForm::Natural,
                body: Body::Inline(record),
            }));
        }
        let mut meta = Self::decode(&record)?;
        match &mut meta.body {
            Body::Collection(Collection { layout: Layout::Ordered { counts, .. }, .. }) => {
                counts.set_seq(found.seq);
            }
            Body::List(ListBody::Indexed(indexed)) => indexed.counts.set_seq(found.seq),
            _ => {}
        }
        Ok(Some(meta))
    }

    fn decode_checked(record: &Bytes) -> Option<Self> {
        let ([tag, flags], mut rest) = record.split_first_chunk::<2>()?;
        if flags & !(FLAG_EXPIRY | FLAG_RAW | FLAG_TEXT) != 0 {
            return None;
        }
        let expires_ms = if flags & FLAG_EXPIRY == 0 { None } else { Some(take_u64(&mut rest)?) };
        let kind = KeyType::from_stored(tag & 0x0f)?;
        let body = match tag >> 4 {
            encoding if kind == KeyType::List => {
                let rest = record.slice(record.len() - rest.len()..);
                Body::List(ListBody::decode(encoding, &rest)?)
            }
            encoding if kind == KeyType::Stream => {
                let rest = record.slice(record.len() - rest.len()..);
                Body::Stream(Box::new(Stream::decode(encoding, &rest)?))
            }
            encoding if kind != KeyType::String => {
                let rest = record.slice(record.len() - rest.len()..);
                Body::Collection(Collection::decode(kind, encoding, &rest)?)
            }
            ENCODING_INLINE => Body::Inline(record.slice(record.len() - rest.len()..)),
            ENCODING_CHUNKED => {
                let body =
                    Body::Chunked { generation: take_u64(&mut rest)?, len: take_u64(&mut rest)? };
                rest.is_empty().then_some(body)?
            }
            _ => return None,
        };
        let form = StringForm::from_flags(*flags)?;
        let fits = kind == KeyType::String || form == StringForm::Natural;
        fits.then_some(Self { kind, expires_ms, form, body })
    }

    /// The expiry of a record, without reading the rest.
    #[must_use]
    pub fn peek_expiry(record: &[u8]) -> Option<u64> {
        let ([_, flags], mut rest) = record.split_first_chunk::<2>()?;
        if flags & FLAG_EXPIRY == 0 { None } else { take_u64(&mut rest) }
    }

    /// The record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let value: &[u8] = match &self.body {
            Body::Inline(value) => value,
            Body::Chunked { .. } => &[],
            Body::Collection(collection) => collection.packed_bytes(),
            Body::List(list) => list.packed_bytes(),
            Body::Stream(stream) => stream.packed_bytes(),
        };
        let (encoding, place_len) = match &self.body {
            Body::Inline(_) => (ENCODING_INLINE, 0),
            Body::Chunked { .. } => (ENCODING_CHUNKED, 16),
            Body::Collection(collection) => {
                (collection.encoding(), collection.header_len(self.kind))
            }
            Body::List(list) => (list.encoding(), list.header_len()),
            Body::Stream(stream) => (stream.encoding(), Stream::HEADER_LEN_MAX),
        };
        let expiry_len = if self.expires_ms.is_some() { 8 } else { 0 };
        // Exactly what is needed: a full vector becomes shared bytes without another allocation.
        let mut record = Vec::with_capacity(2 + expiry_len + place_len + value.len());
        record.push(self.kind as u8 | encoding << 4);
        let expiry_flag = if self.expires_ms.is_some() { FLAG_EXPIRY } else { 0 };
        record.push(expiry_flag | self.form.flag());
        if let Some(at_ms) = self.expires_ms {
            record.extend_from_slice(&at_ms.to_le_bytes());
        }
        match &self.body {
            Body::Inline(_) => {}
            Body::Chunked { generation, len } => {
                record.extend_from_slice(&generation.to_le_bytes());
                record.extend_from_slice(&len.to_le_bytes());
            }
            Body::Collection(collection) => collection.put_header(self.kind, &mut record),
            Body::List(list) => list.put_header(&mut record),
            Body::Stream(stream) => stream.put_header(&mut record),
        }
        record.extend_from_slice(value);
        record.into()
    }

    /// Whether it is a string in its metadata record that does not expire: nothing but the record and
    /// the counts has to follow where it comes, changes or goes.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.body, Body::Inline(_)) && self.expires_ms.is_none()
    }

    /// The record of a string of this form that [`Self::is_plain`].
    pub(super) fn encode_plain(form: StringForm, value: &[u8]) -> Bytes {
        let mut record = Vec::with_capacity(PLAIN.len() + value.len());
        let [tag, flags] = PLAIN;
        record.extend_from_slice(&[tag, flags | form.flag()]);
        record.extend_from_slice(value);
        record.into()
    }

    /// Whether the key is gone at `now_ms`.
    #[must_use]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// The generation of the value, if it has parts outside of this record.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        match &self.body {
            Body::Inline(_) => None,
            Body::Chunked { generation, .. } => Some(*generation),
            Body::Collection(collection) => collection.generation(),
            Body::List(list) => list.generation(),
            Body::Stream(stream) => stream.generation(),
        }
    }

    /// Whether what it takes on disk is worth a search for it when it is gone.
    #[must_use]
    pub(super) fn is_large(&self) -> bool {
        match &self.body {
            Body::Inline(_) => false,
            Body::Chunked { len, .. } => *len >= LARGE_BYTES,
            Body::Collection(collection) => collection.count >= LARGE_ELEMENTS,
            Body::List(list) => list.count() >= LARGE_ELEMENTS,
            Body::Stream(stream) => stream.length >= LARGE_ELEMENTS,
        }
    }

    /// The elements, of a hash or a set.
    #[must_use]
    pub fn collection(&self) -> Option<&Collection> {
        match &self.body {
            Body::Collection(collection) => Some(collection),
            Body::Inline(_) | Body::Chunked { .. } | Body::List(_) | Body::Stream(_) => None,
        }
    }

    /// The stream, of a stream.
    #[must_use]
    pub fn stream(&self) -> Option<&Stream> {
        match &self.body {
            Body::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// The same as after a change that those who watch the key take notice of.
    pub(super) fn heard(&self) -> Self {
        let mut meta = self.clone();
        if let Body::Stream(stream) = &mut meta.body {
            stream.quiet_since = None;
        }
        meta
    }

    /// When the first of the fields expires, in Unix milliseconds, if one does.
    #[must_use]
    pub fn next_field_expiry(&self) -> Option<u64> {
        self.collection()?.next_expiry_ms
    }

    /// Length of a string in bytes; 0 for any other type.
    #[must_use]
    pub fn string_len(&self) -> u64 {
        match &self.body {
            Body::Inline(value) => value.len() as u64,
            Body::Chunked { len, .. } => *len,
            Body::Collection(_) | Body::List(_) | Body::Stream(_) => 0,
        }
    }
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body() -> impl Strategy<Value = Body> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|v| Body::Inline(v.into())),
            any::<(u64, u64)>().prop_map(|(generation, len)| Body::Chunked { generation, len }),
        ]
    }

    proptest! {
        #[test]
        fn decode_is_the_inverse_of_encode(
            expires_ms in any::<Option<u64>>(), form in 0usize..3, body in body(),
        ) {
            let kind = KeyType::String;
            let form = [StringForm::Natural, StringForm::Text, StringForm::Raw][form];
            let meta = Meta { kind, expires_ms, form, body };
            let record = meta.encode();
            prop_assert_eq!(Meta::peek_expiry(&record), expires_ms);
            prop_assert_eq!(Meta::decode(&record).unwrap(), meta);
        }

        #[test]
        fn damage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Meta::decode(&bytes.into());
        }
    }

    #[test]
    fn unknown_types_flags_and_lengths_are_errors() {
        for bad in [
            &b""[..],
            &[0],
            &[9, 0],
            &[0x20, 0],
            &[0, 8],
            &[0, 6],
            &[0, 1, 1, 2],
            &[0x10, 0, 1],
            &[4, 0],
        ] {
            assert!(Meta::decode(&Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
        }
        assert!(Meta::decode(&Bytes::from([0x10; 2].repeat(20))).is_err());
    }
}
