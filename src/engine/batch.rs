//! The payload of one write-ahead log record: a batch of transactions.
//!
//! ```text
//! u64     sequence number of the first transaction; each further one takes the next
//! u32     number of transactions, at least 1
//! u8      1 where a root record follows the transactions, else 0
//! then per transaction:
//!   varint  number of writes
//!   then per write, each key once:
//!     u8      1 put, 0 delete
//!     slice   key
//!     slice   value (put only)
//! slice   root record, the state after the last transaction (where announced)
//! ```
//!
//! A slice is its length as a varint, then its bytes. The log adds length and checksum.

use bytes::Bytes;

use super::coding::{Reader, put_slice, put_u8, put_u32, put_u64, put_varint};
use super::wal::LogBatch;
use super::{Changes, SeqNo};

const COUNT_AT: usize = 8;
const ROOT_FLAG_AT: usize = 12;
const DELETE: u8 = 0;
const PUT: u8 = 1;

/// Encodes a batch, one transaction after the other.
#[derive(Debug)]
pub(super) struct BatchBuilder {
    log: LogBatch,
    /// Where the payload starts; before it the log keeps its own header.
    base: usize,
    transactions: u32,
}

impl BatchBuilder {
    /// An empty batch whose first transaction takes `first_seq`, in an empty log record.
    pub(super) fn new(first_seq: SeqNo, mut log: LogBatch) -> Self {
        let payload = log.payload_mut();
        let base = payload.len();
        put_u64(payload, first_seq);
        put_u32(payload, 0);
        put_u8(payload, 0);
        Self { log, base, transactions: 0 }
    }

    /// Appends a transaction.
    pub(super) fn add(&mut self, changes: &Changes) {
        let payload = self.log.payload_mut();
        put_varint(payload, changes.writes.len() as u64);
        for (key, value) in &changes.writes {
            put_u8(payload, if value.is_some() { PUT } else { DELETE });
            put_slice(payload, key);
            if let Some(value) = value {
                put_slice(payload, value);
            }
        }
        self.transactions += 1;
    }

    /// Bytes so far.
    pub(super) fn bytes(&self) -> usize {
        self.log.len()
    }

    /// Ends the batch; `root` where it changed in it.
    pub(super) fn finish(mut self, root: Option<&[u8]>) -> LogBatch {
        let payload = self.log.payload_mut();
        if let Some(root) = root {
            payload[self.base + ROOT_FLAG_AT] = 1;
            put_slice(payload, root);
        }
        let count = self.base + COUNT_AT..self.base + ROOT_FLAG_AT;
        payload[count].copy_from_slice(&self.transactions.to_le_bytes());
        self.log
    }
}

/// One write of a decoded batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) seq: SeqNo,
    pub(super) key: Bytes,
    pub(super) value: Option<Bytes>,
}

/// A decoded batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) first_seq: SeqNo,
    pub(super) last_seq: SeqNo,
    pub(super) writes: Vec<Write>,
    pub(super) root: Option<Bytes>,
}

/// Decodes a payload. `None` where these bytes cannot have come from [`BatchBuilder`].
pub(super) fn decode(payload: &Bytes) -> Option<Decoded> {
    let mut reader = Reader::new(payload);
    let first_seq = reader.u64()?;
    let transactions = reader.u32()?;
    let root_follows = reader.u8()?;
    if first_seq == 0 || transactions == 0 || root_follows > 1 {
        return None;
    }
    let last_seq = first_seq.checked_add(u64::from(transactions) - 1)?;
    let mut writes = Vec::new();
    for seq in first_seq..=last_seq {
        for _ in 0..reader.varint()? {
            let kind = reader.u8()?;
            let key = payload.slice_ref(reader.slice()?);
            let value = match kind {
                PUT => Some(payload.slice_ref(reader.slice()?)),
                DELETE => None,
                _ => return None,
            };
            writes.push(Write { seq, key, value });
        }
    }
    let root = match root_follows {
        1 => Some(payload.slice_ref(reader.slice()?)),
        _ => None,
    };
    reader.is_empty().then_some(Decoded { first_seq, last_seq, writes, root })
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    type Transactions = Vec<std::collections::BTreeMap<Vec<u8>, Option<Vec<u8>>>>;

    fn encode(first_seq: SeqNo, transactions: &Transactions, root: Option<&[u8]>) -> Vec<u8> {
        let mut builder = BatchBuilder::new(first_seq, LogBatch::new());
        for writes in transactions {
            let writes = writes
                .iter()
                .map(|(k, v)| (Bytes::copy_from_slice(k), v.clone().map(Bytes::from)))
                .collect();
            builder.add(&Changes { writes, root: None });
        }
        let base = LogBatch::new().payload_mut().len();
        builder.finish(root).payload_mut().split_off(base)
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            first in 1u64..1 << 50,
            transactions in vec(btree_map(any::<Vec<u8>>(), option::of(any::<Vec<u8>>()), 0..4), 1..5),
            root: Option<Vec<u8>>,
        ) {
            let payload = Bytes::from(encode(first, &transactions, root.as_deref()));
            let decoded = decode(&payload).unwrap();
            prop_assert_eq!(decoded.first_seq, first);
            prop_assert_eq!(decoded.last_seq, first + transactions.len() as u64 - 1);
            prop_assert_eq!(decoded.root.as_deref(), root.as_deref());
            let expected: Vec<Write> = transactions.iter().zip(first..).flat_map(|(writes, seq)| {
                writes.iter().map(move |(k, v)| Write {
                    seq, key: k.clone().into(), value: v.clone().map(Bytes::from),
                })
            }).collect();
            prop_assert_eq!(decoded.writes, expected);
            for cut in 0..payload.len() {
                prop_assert!(decode(&payload.slice(..cut)).is_none(), "cut at {}", cut);
            }
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(bytes: Vec<u8>) {
            let _ = decode(&Bytes::from(bytes));
        }
    }
}
