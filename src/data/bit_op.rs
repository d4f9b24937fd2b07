//! Bitwise operations between strings.
//!
//! The result is made chunk by chunk: at a time one chunk of each source is in memory, and all of
//! the result, which is what the transaction writes. Chunks of zeros are not written.

use bytes::{Bytes, BytesMut};

use super::Edit;
use super::bit_edit::stored_block;
use super::meta::{Body, CHUNK_BYTES, INLINE_BYTES_MAX, KeyType, Meta, StringForm};
use super::string::{chunk_of, to_len};
use crate::engine::Result;

/// What is done with the bits of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitOperation {
    /// Set where all are set.
    And,
    /// Set where one is set.
    Or,
    /// Set where an odd number is set.
    Xor,
    /// Set where the first source's is not.
    Not,
}

impl Edit<'_> {
    /// Sets `destination` to the result, which is as long as the longest source: shorter ones are
    /// followed by zeros, one that does not exist is empty. An empty result deletes it. `sources`
    /// are what [`Edit::find`] has found, strings. Answers the length of the result in bytes.
    pub fn combine_bits(
        &mut self,
        operation: BitOperation,
        sources: &[Option<Meta>],
        destination: &[u8],
    ) -> Result<u64> {
        let len = sources.iter().flatten().map(Meta::string_len).max().unwrap_or(0);
        let old = self.find(destination)?;
        if len == 0 {
            if let Some(meta) = old {
                self.delete(destination, &meta);
            }
            return Ok(0);
        }
        let chunks = 0..=chunk_of(len - 1);
        let body = if len <= INLINE_BYTES_MAX as u64 {
            let mut value = BytesMut::with_capacity(to_len(len));
            for number in chunks {
                value.extend_from_slice(&self.combined(operation, sources, number, len)?);
            }
            Body::Inline(value.freeze())
        } else {
            let generation = self.root.next_generation();
            for number in chunks {
                self.txn.check_room()?;
                let chunk = self.combined(operation, sources, number, len)?;
                if chunk.iter().any(|byte| *byte != 0) {
                    self.put_chunk(generation, number, chunk);
                }
            }
            Body::Chunked { generation, len }
        };
        let form = StringForm::Raw;
        let new = Meta { kind: KeyType::String, expires_ms: None, form, body };
        self.replace(destination, old.as_ref(), Some(&new));
        Ok(len)
    }

    /// One chunk of a result of `len` bytes.
    fn combined(
        &self,
        operation: BitOperation,
        sources: &[Option<Meta>],
        number: u32,
        len: u64,
    ) -> Result<Bytes> {
        let number = u64::from(number);
        let chunk_len = (len - number * CHUNK_BYTES as u64).min(CHUNK_BYTES as u64);
        let mut result = BytesMut::zeroed(to_len(chunk_len));
        for (index, source) in sources.iter().enumerate() {
            let block = stored_block(self, source.as_ref(), number)?;
            let pairs = result.iter_mut().zip(block.iter());
            match operation {
                _ if index == 0 => pairs.for_each(|(to, from)| *to = *from),
                BitOperation::Or => pairs.for_each(|(to, from)| *to |= from),
                BitOperation::Xor => pairs.for_each(|(to, from)| *to ^= from),
                BitOperation::And | BitOperation::Not => {
                    pairs.for_each(|(to, from)| *to &= from);
                    let behind = block.len().min(result.len());
                    result[behind..].fill(0);
                }
            }
        }
        if operation == BitOperation::Not {
            result.iter_mut().for_each(|byte| *byte = !*byte);
        }
        Ok(result.freeze())
    }
}
