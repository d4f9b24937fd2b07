//! Payloads for tests, put together as the format is described.

use bytes::Bytes;
use crc::{CRC_64_REDIS, Crc};

/// A payload that is being put together.
#[derive(Debug, Clone)]
pub(crate) struct Payload(Vec<u8>);

impl Payload {
    /// Of a value of this type.
    pub(crate) fn new(kind: u8) -> Self {
        Self(vec![kind])
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A length below 16,384, or one of eight bytes.
    pub(crate) fn len(self, len: u64) -> Self {
        let [.., c1, c0] = len.to_be_bytes();
        match len {
            0..=63 => self.bytes(&[c0]),
            64..=16_383 => self.bytes(&[0x40 | c1, c0]),
            _ => self.bytes(&[0x81]).bytes(&len.to_be_bytes()),
        }
    }

    pub(crate) fn string(self, text: &[u8]) -> Self {
        self.len(text.len() as u64).bytes(text)
    }

    pub(crate) fn strings(self, texts: &[&str]) -> Self {
        texts.iter().fold(self, |payload, text| payload.string(text.as_bytes()))
    }

    /// Two lengths.
    pub(crate) fn id(self, ms: u64, seq: u64) -> Self {
        self.len(ms).len(seq)
    }

    /// Sixteen bytes.
    pub(crate) fn raw_id(self, ms: u64, seq: u64) -> Self {
        self.bytes(&ms.to_be_bytes()).bytes(&seq.to_be_bytes())
    }

    pub(crate) fn time(self, ms: i64) -> Self {
        self.bytes(&ms.to_le_bytes())
    }

    /// With version and checksum.
    pub(crate) fn sealed(self, version: u16) -> Bytes {
        let mut payload = self.0;
        payload.extend_from_slice(&version.to_le_bytes());
        resealed(payload)
    }
}

/// With the checksum of these bytes, which end with the version.
pub(crate) fn resealed(mut payload: Vec<u8>) -> Bytes {
    let checksum = Crc::<u64>::new(&CRC_64_REDIS).checksum(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload.into()
}

/// A ziplist of these texts, as they are.
pub(crate) fn ziplist(texts: &[&str]) -> Vec<u8> {
    let elements: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat())
        .collect();
    let elements: Vec<&[u8]> = elements.iter().map(|element| &element[..]).collect();
    ziplist_of(&elements)
}

/// A ziplist of these elements, each as its tag and what follows.
pub(crate) fn ziplist_of(elements: &[&[u8]]) -> Vec<u8> {
    let (mut body, mut tail, mut before) = (Vec::new(), 10, 0);
    for element in elements {
        tail = 10 + body.len();
        match u8::try_from(before).ok().filter(|before| *before < 254) {
            Some(short) => body.push(short),
            None => {
                body.push(0xfe);
                body.extend(u32::try_from(before).unwrap().to_le_bytes());
            }
        }
        body.extend_from_slice(element);
        before = 10 + body.len() - tail;
    }
    let bytes = u32::try_from(body.len() + 11).unwrap().to_le_bytes();
    let tail = u32::try_from(tail).unwrap().to_le_bytes();
    let count = u16::try_from(elements.len()).unwrap().to_le_bytes();
    [&bytes[..], &tail, &count, &body, &[0xff]].concat()
}

/// A listpack of these texts, integers among them as such of 64 bits.
pub(crate) fn listpack(texts: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in texts {
        let mut element = match text.parse::<i64>() {
            Ok(integer) => [&[0xf4][..], &integer.to_le_bytes()].concat(),
            Err(_) => {
                let len = u32::try_from(text.len()).unwrap();
                [&[0xf0][..], &len.to_le_bytes(), text.as_bytes()].concat()
            }
        };
        let len = element.len();
        let low = |shift: u32| u8::try_from(len >> shift & 0x7f).unwrap();
        match len {
            0..=127 => element.push(low(0)),
            128..=16_382 => element.extend([low(7), low(0) | 0x80]),
            _ => element.extend([low(14), low(7) | 0x80, low(0) | 0x80]),
        }
        body.extend(element);
    }
    let bytes = u32::try_from(body.len() + 7).unwrap().to_le_bytes();
    let count = u16::try_from(texts.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&bytes[..], &count, &body, &[0xff]].concat()
}
