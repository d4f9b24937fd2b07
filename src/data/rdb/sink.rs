//! A payload that is being written. The encodings stand in `source.rs`.

use crate::data::{StreamId, parse_int};

/// A payload up to a place.
#[derive(Debug, Default)]
pub(super) struct Sink {
    out: Vec<u8>,
}

/// A count that is written once it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Later {
    at: usize,
}

impl Sink {
    /// What was written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// One byte.
    pub(super) fn u8(&mut self, byte: u8) {
        self.out.push(byte);
    }

    /// Bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A number with a fraction.
    pub(super) fn f64(&mut self, number: f64) {
        self.bytes(&number.to_le_bytes());
    }

    /// A time in milliseconds since the epoch.
    pub(super) fn time_ms(&mut self, time_ms: u64) {
        self.bytes(&time_ms.to_le_bytes());
    }

    /// A length, as short as it can be.
    pub(super) fn len(&mut self, len: u64) {
        let [.., c1, c0] = len.to_be_bytes();
        match len {
            0..0x40 => self.u8(c0),
            0x40..0x4000 => self.bytes(&[0x40 | c1, c0]),
            _ => match u32::try_from(len) {
                Ok(len) => {
                    self.u8(0x80);
                    self.bytes(&len.to_be_bytes());
                }
                Err(_) => {
                    self.u8(0x81);
                    self.bytes(&len.to_be_bytes());
                }
            },
        }
    }

    /// A count that is not known yet.
    pub(super) fn count_later(&mut self) -> Later {
        self.u8(0x81);
        let at = self.out.len();
        self.bytes(&[0; 8]);
        Later { at }
    }

    /// The count that belongs to `later`.
    pub(super) fn count(&mut self, later: Later, count: u64) {
        self.out[later.at..later.at + 8].copy_from_slice(&count.to_be_bytes());
    }

    /// An id as two lengths.
    pub(super) fn id(&mut self, id: StreamId) {
        self.len(id.ms);
        self.len(id.seq);
    }

    /// A string, as an integer where it is one of at most 32 bits.
    pub(super) fn string(&mut self, text: &[u8]) {
        let Some(integer) = parse_int(text).and_then(|integer| i32::try_from(integer).ok()) else {
            return self.blob(text);
        };
        if let Ok(integer) = i8::try_from(integer) {
            self.bytes(&[0xc0, integer.cast_unsigned()]);
        } else if let Ok(integer) = i16::try_from(integer) {
            self.u8(0xc1);
            self.bytes(&integer.to_le_bytes());
        } else {
            self.u8(0xc2);
            self.bytes(&integer.to_le_bytes());
        }
    }

    /// A string as it is.
    pub(super) fn blob(&mut self, bytes: &[u8]) {
        self.len(bytes.len() as u64);
        self.bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::source::Source;
    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(
            len: u64, shift in 0..64_u32, text: Vec<u8>, integer: i64, ms: u64, seq: u64, score: f64,
        ) {
            let (len, integer) = (len >> shift, (integer >> shift).to_string());
            let mut sink = Sink::default();
            let later = sink.count_later();
            sink.len(len);
            sink.string(&text);
            sink.string(integer.as_bytes());
            sink.id(StreamId { ms, seq });
            sink.f64(score);
            sink.count(later, len);
            let payload = Bytes::from(sink.into_bytes());
            let mut source = Source::new(&payload, 1000);
            prop_assert_eq!(source.len().unwrap(), len);
            prop_assert_eq!(source.len().unwrap(), len);
            prop_assert_eq!(&source.string().unwrap()[..], &text[..]);
            prop_assert_eq!(&source.string().unwrap()[..], integer.as_bytes());
            prop_assert_eq!(source.id().unwrap(), StreamId { ms, seq });
            prop_assert_eq!(source.f64().unwrap().to_bits(), score.to_bits());
            prop_assert!(source.u8().is_err());
        }
    }
}
