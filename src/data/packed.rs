//! The packed list: the elements of a small hash, set or sorted set, in the metadata record.
//!
//! One element after the other, to the end of the record:
//!
//! ```text
//! expiry  u64 in Unix milliseconds, little-endian, 0 for none; only where the shape has expiries
//! name    its length as a varint, then its bytes
//! value   the same; only where the shape has values
//! ```
//!
//! New elements come last, in a sorted set at their place in the order of scores. In a list with expiries those that expire come first, soonest first, as
//! Redis keeps them, so the first element tells when the next one expires. A name comes once.

use std::ops::Range;

use super::collection::damaged;
use crate::engine::Result;
use crate::engine::coding::{Reader, put_slice, put_u64};

/// What an element holds besides its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Whether it has a value.
    pub(super) values: bool,
    /// Whether it has room for an expiry.
    pub(super) expiries: bool,
}

/// An element of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Where it stands in the list.
    pub(super) range: Range<usize>,
    /// Its name.
    pub(super) name: &'a [u8],
    /// Its value; empty where there are none.
    pub(super) value: &'a [u8],
    /// When it expires, in Unix milliseconds.
    pub(super) expires_ms: Option<u64>,
}

/// The elements of a list, in order; ends behind the first that cannot be read.
pub(super) fn entries(shape: Shape, list: &[u8]) -> impl Iterator<Item = Result<Entry<'_>>> {
    let mut reader = Reader::new(list);
    let mut broken = false;
    std::iter::from_fn(move || {
        if broken || reader.is_empty() {
            return None;
        }
        let start = list.len() - reader.len();
        let entry = read_entry(shape, &mut reader).map(|(name, value, expires_ms)| Entry {
            range: start..list.len() - reader.len(),
            name,
            value,
            expires_ms,
        });
        broken = entry.is_none();
        Some(entry.ok_or_else(|| damaged("an element of a packed list is cut off")))
    })
}

type Parts<'a> = (&'a [u8], &'a [u8], Option<u64>);

fn read_entry<'a>(shape: Shape, reader: &mut Reader<'a>) -> Option<Parts<'a>> {
    let expires_ms = if shape.expiries { reader.u64()? } else { 0 };
    let name = reader.slice()?;
    let value = if shape.values { reader.slice()? } else { &[] };
    Some((name, value, (expires_ms != 0).then_some(expires_ms)))
}

/// The element of this name.
pub(super) fn find<'a>(shape: Shape, list: &'a [u8], name: &[u8]) -> Result<Option<Entry<'a>>> {
    for entry in entries(shape, list) {
        let entry = entry?;
        if entry.name == name {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// A list that is being changed.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub(super) shape: Shape,
    pub(super) count: u64,
    pub(super) list: Vec<u8>,
}

impl Packed {
    /// A list without elements.
    pub(super) fn new(shape: Shape) -> Self {
        Self { shape, count: 0, list: Vec::new() }
    }

    /// The element of this name.
    pub(super) fn find(&self, name: &[u8]) -> Result<Option<Entry<'_>>> {
        find(self.shape, &self.list, name)
    }

    /// Adds an element that is not there yet, at its place in the order.
    pub(super) fn insert(
        &mut self,
        name: &[u8],
        value: &[u8],
        expires_ms: Option<u64>,
    ) -> Result<()> {
        let at = match expires_ms {
            Some(at_ms) => self.place_of(at_ms)?,
            None => self.list.len(),
        };
        self.count += 1;
        self.put(at..at, name, value, expires_ms);
        Ok(())
    }

    /// Replaces the element at `range` by one of the same name and expiry.
    pub(super) fn put(
        &mut self,
        range: Range<usize>,
        name: &[u8],
        value: &[u8],
        expires_ms: Option<u64>,
    ) {
        let mut entry = Vec::with_capacity(name.len() + value.len() + 16);
        if self.shape.expiries {
            put_u64(&mut entry, expires_ms.unwrap_or(0));
        }
        put_slice(&mut entry, name);
        if self.shape.values {
            put_slice(&mut entry, value);
        }
        self.list.splice(range, entry);
    }

    /// Takes the element at `range` away.
    pub(super) fn remove(&mut self, range: Range<usize>) {
        self.list.drain(range);
        self.count -= 1;
    }

    /// Gives every element room for an expiry.
    pub(super) fn make_room_for_expiries(&mut self) -> Result<()> {
        if self.shape.expiries {
            return Ok(());
        }
        let mut wider = Self::new(Shape { expiries: true, ..self.shape });
        for entry in entries(self.shape, &self.list) {
            let Entry { name, value, .. } = entry?;
            wider.insert(name, value, None)?;
        }
        *self = wider;
        Ok(())
    }

    /// When the first element expires.
    pub(super) fn next_expiry(&self) -> Result<Option<u64>> {
        match entries(self.shape, &self.list).next().transpose()? {
            Some(first) => Ok(first.expires_ms),
            None => Ok(None),
        }
    }

    /// Where an element with this expiry belongs: behind those that expire no later.
    fn place_of(&self, at_ms: u64) -> Result<usize> {
        for entry in entries(self.shape, &self.list) {
            let entry = entry?;
            if entry.expires_ms.is_none_or(|other_ms| other_ms > at_ms) {
                return Ok(entry.range.start);
            }
        }
        Ok(self.list.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(packed: &Packed) -> String {
        let entries = entries(packed.shape, &packed.list);
        let texts: Vec<String> = entries
            .map(|entry| {
                let Entry { name, value, expires_ms, .. } = entry.unwrap();
                let (name, value) = (name.escape_ascii(), value.escape_ascii());
                format!("{name}={value}@{}", expires_ms.unwrap_or(0))
            })
            .collect();
        texts.join(" ")
    }

    #[test]
    fn elements_keep_the_order_in_which_they_came() {
        let mut packed = Packed::new(Shape { values: true, expiries: false });
        for (name, value) in [("b", "1"), ("a", "2"), ("", "")] {
            packed.insert(name.as_bytes(), value.as_bytes(), None).unwrap();
        }
        let range = packed.find(b"b").unwrap().unwrap().range;
        packed.put(range, b"b", b"longer", None);
        assert_eq!(shown(&packed), "b=longer@0 a=2@0 =@0");
        let range = packed.find(b"a").unwrap().unwrap().range;
        packed.remove(range);
        assert_eq!((shown(&packed).as_str(), packed.count), ("b=longer@0 =@0", 2));
        assert_eq!(packed.find(b"a").unwrap(), None);
    }

    #[test]
    fn those_that_expire_come_first_soonest_first() {
        let mut packed = Packed::new(Shape { values: true, expiries: false });
        packed.insert(b"a", b"", None).unwrap();
        packed.make_room_for_expiries().unwrap();
        for (name, at_ms) in [("b", Some(20)), ("c", Some(10)), ("d", None), ("e", Some(20))] {
            packed.insert(name.as_bytes(), b"", at_ms).unwrap();
        }
        assert_eq!(shown(&packed), "c=@10 b=@20 e=@20 a=@0 d=@0");
        assert_eq!(packed.next_expiry().unwrap(), Some(10));
    }

    #[test]
    fn a_list_that_is_cut_is_an_error() {
        let shape = Shape { values: true, expiries: true };
        let mut packed = Packed::new(shape);
        packed.insert(b"name", b"value", Some(7)).unwrap();
        for len in 1..packed.list.len() {
            let read: Vec<_> = entries(shape, &packed.list[..len]).collect();
            assert!(matches!(read[..], [Err(_)]), "{len}");
        }
    }
}
