//! The elements of a hash, a set or a sorted set, read, whatever way they are kept. Fields that have expired are
//! not seen.
//!
//! Elements come in the order of the metadata record where they are there (as they came; integers
//! ascending), else in the order of their positions (`exploded.rs`).

use bytes::Bytes;

use super::collection::damaged;
use super::counted::Branches;
use super::exploded::{self, Record, Records, TIMES};
use super::packed::{self, Entry, Shape};
use super::{Candidates, Collection, Edit, Layout, Meta, View, integers, parse_int};
use crate::engine::{Read, Result};

/// An element of a hash, a set or a sorted set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Field of a hash, member of a set.
    pub name: Bytes,
    /// Value of a field, score of a member of a sorted set ([`Self::score`]); empty in a set.
    pub value: Bytes,
    /// When the field expires, in Unix milliseconds.
    pub expires_ms: Option<u64>,
}

impl Element {
    /// The member of a set that is this integer.
    pub(super) fn of_integer(integer: i64) -> Self {
        let name = Bytes::copy_from_slice(itoa::Buffer::new().format(integer).as_bytes());
        Self { name, value: Bytes::new(), expires_ms: None }
    }

    fn of_entry(list: &Bytes, entry: &Entry<'_>) -> Self {
        Self {
            name: list.slice_ref(entry.name),
            value: list.slice_ref(entry.value),
            expires_ms: entry.expires_ms,
        }
    }
}

/// A running walk over elements.
pub(super) type Walk<'a> = Box<dyn Iterator<Item = Result<Element>> + 'a>;

/// The elements of one key.
#[derive(Clone, Copy)]
pub struct Elements<'a> {
    pub(super) read: &'a dyn Read,
    pub(super) keyspace: u32,
    pub(super) now_ms: u64,
    pub(super) shape: Shape,
    pub(super) collection: &'a Collection,
    /// Where candidates for picks are.
    pub(super) pools: Option<&'a Candidates>,
    /// Where readers keep what they have met of the orders of sorted sets.
    pub(super) branches: Option<&'a Branches>,
}

impl View<'_> {
    /// The elements of `key`, for which [`View::find`] has answered `meta`; `None` for a string.
    /// Notes the key where fields of it have expired, so that they are deleted soon.
    pub fn elements<'a>(&'a self, key: &[u8], meta: &'a Meta) -> Option<Elements<'a>> {
        let collection = meta.collection()?;
        let now_ms = self.context().now_ms;
        if collection.has_expired(now_ms) {
            self.note_expired(|| Bytes::copy_from_slice(key));
        }
        let shape = collection.shape(meta.kind);
        let (read, keyspace) = (self.read(), self.keyspace());
        let pools = read.is_committed().then_some(self.context().candidates);
        let branches = pools.and_then(|_| self.context().orders.branches());
        Some(Elements { read, keyspace, now_ms, shape, collection, pools, branches })
    }
}

impl Edit<'_> {
    /// The elements of the key for which [`Edit::find`] has answered `meta`; `None` for a string.
    pub fn elements<'a>(&'a self, meta: &'a Meta) -> Option<Elements<'a>> {
        let collection = meta.collection()?;
        Some(self.elements_of(collection.shape(meta.kind), collection))
    }

    /// The elements of a collection that hold this.
    pub(super) fn elements_of<'a>(
        &'a self,
        shape: Shape,
        collection: &'a Collection,
    ) -> Elements<'a> {
        let now_ms = self.context().now_ms;
        let keyspace = self.keyspace;
        let pools = self.txn.is_committed().then_some(self.context().candidates);
        let branches = pools.and_then(|_| self.context().orders.branches());
        Elements { read: &self.txn, keyspace, now_ms, shape, collection, pools, branches }
    }
}

impl<'a> Elements<'a> {
    /// How many there are, expired ones that are not deleted yet included.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.collection.count
    }

    /// How many elements there are now, where that is known without a walk: not while fields have
    /// expired that are not deleted yet.
    #[must_use]
    pub fn live_count(&self) -> Option<u64> {
        (!self.collection.has_expired(self.now_ms)).then(|| self.count())
    }

    /// Whether all of them sit in the metadata record.
    #[must_use]
    pub fn is_inline(&self) -> bool {
        self.collection.generation().is_none()
    }

    /// The element of this name.
    pub fn get(&self, name: &[u8]) -> Result<Option<Element>> {
        let found = match &self.collection.layout {
            Layout::Packed(list) | Layout::Expiring(list) => {
                packed::find(self.shape, list, name)?.map(|entry| Element::of_entry(list, &entry))
            }
            Layout::Integers(list) => parse_int(name)
                .filter(|integer| integers::contains(list, *integer))
                .map(Element::of_integer),
            Layout::Exploded { generation } | Layout::Ordered { generation, .. } => {
                match self.records(*generation).get(name)? {
                    Some(record) => {
                        let (value, expires_ms) = exploded::decode(self.shape, &record)?;
                        let name = Bytes::copy_from_slice(name);
                        Some(Element { name, value, expires_ms })
                    }
                    None => None,
                }
            }
        };
        Ok(found.filter(|element| self.is_alive(element.expires_ms)))
    }

    /// Whether there is an element of this name.
    pub fn contains(&self, name: &[u8]) -> Result<bool> {
        match &self.collection.layout {
            Layout::Packed(list) => Ok(packed::find(self.shape, list, name)?.is_some()),
            Layout::Integers(list) => {
                Ok(parse_int(name).is_some_and(|integer| integers::contains(list, integer)))
            }
            Layout::Expiring(_) | Layout::Exploded { .. } | Layout::Ordered { .. } => {
                Ok(self.get(name)?.is_some())
            }
        }
    }

    /// All elements, in order.
    #[must_use]
    pub fn walk(&self) -> Walk<'a> {
        let this = *self;
        match &self.collection.layout {
            Layout::Packed(list) | Layout::Expiring(list) => {
                let entries = packed::entries(self.shape, list).map(move |entry| {
                    let entry = entry?;
                    Ok(this.is_alive(entry.expires_ms).then(|| Element::of_entry(list, &entry)))
                });
                Box::new(entries.filter_map(Result::transpose))
            }
            Layout::Integers(list) => {
                Box::new(integers::iter(list).map(|integer| Ok(Element::of_integer(integer))))
            }
            Layout::Exploded { .. } | Layout::Ordered { .. } => {
                let elements = this.walk_positions(0, TIMES).map(|found| Ok(found?.1));
                Box::new(elements.filter_map(Result::transpose))
            }
        }
    }

    /// Hands name and value of all elements, in order, to `visit` until it answers false.
    pub fn visit(&self, visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        match &self.collection.layout {
            Layout::Packed(list) | Layout::Expiring(list) => {
                for entry in packed::entries(self.shape, list) {
                    let entry = entry?;
                    if self.is_alive(entry.expires_ms) && !visit(entry.name, entry.value) {
                        break;
                    }
                }
                Ok(())
            }
            Layout::Integers(list) => {
                for integer in integers::iter(list) {
                    if !visit(itoa::Buffer::new().format(integer).as_bytes(), &[]) {
                        break;
                    }
                }
                Ok(())
            }
            Layout::Exploded { generation } | Layout::Ordered { generation, .. } => {
                let mut failed = Ok(());
                self.records(*generation).visit(&mut |name, record| match exploded::split(
                    self.shape, record,
                ) {
                    Ok((_, expires_ms)) if !self.is_alive(expires_ms) => true,
                    Ok((value, _)) => visit(name, value),
                    Err(error) => {
                        failed = Err(error);
                        false
                    }
                })?;
                failed
            }
        }
    }

    /// Elements with positions from `from` up to `to`; `None` for one that has expired. Nothing where
    /// the elements have no positions.
    pub(super) fn walk_positions(
        self,
        from: u64,
        to: u64,
    ) -> impl Iterator<Item = Result<(u64, Option<Element>)>> + 'a {
        let records = self.collection.generation().map(|generation| self.records(generation));
        records.into_iter().flat_map(move |records| records.walk(from, to)).map(move |found| {
            let Record { hash, name, record } = found?;
            let (value, expires_ms) = exploded::decode(self.shape, &record)?;
            let element = Element { name, value, expires_ms };
            Ok((hash, self.is_alive(expires_ms).then_some(element)))
        })
    }

    /// One page of a scan: the elements from the position `cursor` on, of which about `count` are
    /// looked at, and the cursor of the next page, 0 behind the last one.
    ///
    /// What is there from the first page to the last is met exactly once, whatever comes and goes
    /// meanwhile: a page ends between two positions, and an element never changes its own. Elements in
    /// the metadata record are one page.
    pub fn page(&self, cursor: u64, count: u64) -> Result<(u64, Vec<Element>)> {
        if self.is_inline() {
            return Ok((0, self.walk().collect::<Result<_>>()?));
        }
        let (mut page, mut last) = (Vec::new(), cursor);
        for (found, looked_at) in self.walk_positions(cursor, TIMES).zip(0_u64..) {
            let (hash, element) = found?;
            if looked_at >= count && hash != last {
                return Ok((hash, page));
            }
            last = hash;
            page.extend(element);
        }
        Ok((0, page))
    }

    /// Bytes that the elements take in records: of all where `samples` is 0, else told from so many
    /// of them.
    pub fn size_bytes(&self, samples: u64) -> Result<u64> {
        /// Generation, order and form of a record, and what the engine adds to one.
        const RECORD_BYTES: u64 = 48;

        if self.is_inline() {
            return Ok(self.collection.packed_bytes().len() as u64);
        }
        let samples = if samples == 0 { u64::MAX } else { samples };
        let (mut seen, mut bytes) = (0, 0);
        for (element, _) in self.walk().zip(0..samples) {
            let element = element?;
            seen += 1;
            bytes += element.name.len() as u64 + element.value.len() as u64 + RECORD_BYTES;
        }
        let mean = bytes as f64 / f64::from(u32::try_from(seen.max(1)).unwrap_or(u32::MAX));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate of a size, not negative"
        )]
        Ok(if seen == self.count() { bytes } else { (mean * self.count() as f64) as u64 })
    }

    /// How many have not expired: a walk where some have.
    pub(super) fn count_alive(&self) -> Result<u64> {
        if !self.collection.has_expired(self.now_ms) {
            return Ok(self.count());
        }
        let expired = match &self.collection.layout {
            Layout::Exploded { generation } => {
                let mut expired = 0;
                for found in self.records(*generation).expiring(self.now_ms) {
                    found?;
                    expired += 1;
                }
                expired
            }
            _ => return Ok(self.walk().count() as u64),
        };
        self.count().checked_sub(expired).ok_or_else(|| damaged("more expiries than elements"))
    }

    pub(super) fn records(&self, generation: u64) -> Records<'a> {
        Records { read: self.read, keyspace: self.keyspace, generation }
    }

    fn is_alive(&self, expires_ms: Option<u64>) -> bool {
        expires_ms.is_none_or(|at_ms| at_ms > self.now_ms)
    }
}

impl std::fmt::Debug for Elements<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elements").field("collection", self.collection).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::key;
    use crate::data::model::Store;
    use crate::engine::Changes;

    /// A set whose members have these positions.
    fn store(members: &[(u64, &str)]) -> (Store, Collection) {
        let (mut store, mut changes) = (Store::default(), Changes::default());
        for (order, name) in members {
            let engine_key = key::element(0, 1, *order, name.as_bytes());
            changes.writes.set(Bytes::copy_from_slice(&engine_key), Some(Bytes::new()));
        }
        store.commit(changes);
        let layout = Layout::Exploded { generation: 1 };
        (store, Collection { count: members.len() as u64, next_expiry_ms: None, layout })
    }

    #[test]
    fn a_page_never_ends_between_members_of_one_position() {
        let members = [(0, "a"), (0, "b"), (3, "c"), (7, "d"), (7, "e"), (7, "f"), (9, "g")];
        let (store, collection) = store(&members);
        let shape = Shape { values: false, expiries: false };
        let elements = Elements {
            read: &store,
            keyspace: 0,
            now_ms: 0,
            shape,
            collection: &collection,
            pools: None,
            branches: None,
        };
        let page = |cursor, count| {
            let (next, page) = elements.page(cursor, count).unwrap();
            let names: Vec<u8> = page.iter().flat_map(|member| member.name.to_vec()).collect();
            (next, String::from_utf8(names).unwrap())
        };
        assert_eq!(page(0, 1), (3, "ab".to_owned()));
        assert_eq!(page(3, 2), (9, "cdef".to_owned()));
        assert_eq!(page(7, 1), (9, "def".to_owned()));
        assert_eq!(page(4, 3), (9, "def".to_owned()));
        assert_eq!(page(9, 1), (0, "g".to_owned()));
        assert_eq!(page(10, 1), (0, String::new()));
        assert_eq!(page(0, 100), (0, "abcdefg".to_owned()));
    }
}
