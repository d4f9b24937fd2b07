//! A list in a transaction.
//!
//! [`ListEdit`] takes what [`Edit::find`] has found, changes elements, and writes the metadata record
//! once, when it is finished. In a dense list a change in the middle moves what is between it and the
//! nearer end by one position, or turns it into an indexed one where that would be much.

use std::ops::Range;

use bytes::Bytes;

use super::between::Near;
use super::body::Dense;
use super::indexed::Indexed;
use super::listpack::{Limit, element_bytes};
use super::{ELEMENTS, ListBody, missing};
use crate::data::counted::{Known, Order, OrderChanges};
use crate::data::packed;
use crate::data::{Body, Edit, KeyType, KnownOrders, Meta, StringForm, key};
use crate::engine::coding::put_slice;
use crate::engine::{Direction, Read, Result};

/// Where the first element of a new list is.
const MIDDLE: u64 = 1 << 63;
/// Fewer elements than these are not worth a new generation when the others go.
const FEW: u64 = 64;
/// Bytes of elements that are written again so that those before and behind them go at once.
const MOVED_BYTES_MAX: u64 = 8 << 20;
/// Elements that a change in the middle of a dense list moves at most, besides as many as it removes;
/// in tests few, so that short lists turn.
const MOVED_MAX: u64 = if cfg!(test) { 8 } else { 128 };

/// One of the two ends of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Where the first element is.
    Head,
    /// Where the last one is.
    Tail,
}

/// Where the elements are, while they change.
#[derive(Debug)]
enum Kept {
    /// In the metadata record.
    Packed { count: u64, list: Vec<u8> },
    /// A record each.
    Dense(Dense),
    /// A record each, counted.
    Indexed(Indexed),
}

/// A list that is being changed. Nothing holds before [`ListEdit::finish`].
pub struct ListEdit<'e, 'a> {
    edit: &'e mut Edit<'a>,
    key: &'e [u8],
    old: Option<Meta>,
    kept: Kept,
    changes: u64,
    /// Whether it was trimmed, though nothing was to be removed.
    is_trimmed: bool,
    /// Whether it may have become small enough for one record.
    has_shrunk: bool,
}

impl<'a> Edit<'a> {
    /// The list at `key`, for which [`Edit::find`] has answered `old`: a list or nothing.
    pub fn change_list<'e>(&'e mut self, key: &'e [u8], old: Option<Meta>) -> ListEdit<'e, 'a> {
        let kept = match old.as_ref().and_then(Meta::list) {
            None => Kept::Packed { count: 0, list: Vec::new() },
            Some(ListBody::Packed { count, list }) => {
                Kept::Packed { count: *count, list: list.to_vec() }
            }
            Some(ListBody::Dense(dense)) => Kept::Dense(*dense),
            Some(ListBody::Indexed(indexed)) => Kept::Indexed(indexed.clone()),
        };
        ListEdit { edit: self, key, old, kept, changes: 0, has_shrunk: false, is_trimmed: false }
    }

    /// Replaces whatever is at `key`, for which [`Edit::find`] has answered `old`, by a list of these
    /// elements; deletes it where there are none.
    pub fn store_list(&mut self, key: &[u8], old: Option<&Meta>, elements: &[Bytes]) -> Result<()> {
        let mut list = self.change_list(key, None);
        list.push(End::Tail, elements.iter())?;
        let changes = list.changes.max(1);
        let new = meta_of(list.kept, None);
        if old.is_some() || new.is_some() {
            self.replace_collection(key, old, new.as_ref(), changes);
        }
        Ok(())
    }

    /// Copies the element records of a list, if it has any, to database `db`, which is selected from
    /// then on. The records pass through memory.
    pub(in crate::data) fn copy_list(&mut self, of: &ListBody, db: u16) -> Result<ListBody> {
        match of.generation() {
            Some(generation) => Ok(of.with_generation(self.copy_records(generation, db)?)),
            None => {
                self.select(db);
                Ok(of.clone())
            }
        }
    }
}

impl ListEdit<'_, '_> {
    /// How many elements there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        match &self.kept {
            Kept::Packed { count, .. } => *count,
            Kept::Dense(dense) => dense.count,
            Kept::Indexed(indexed) => indexed.counts.len(),
        }
    }

    /// Adds elements at an end, one after the other.
    pub fn push<'b>(
        &mut self,
        end: End,
        elements: impl Iterator<Item = &'b Bytes> + Clone,
    ) -> Result<()> {
        self.make_room(elements.clone())?;
        if let Kept::Indexed(indexed) = &mut self.kept {
            let mut changes = OrderChanges::default();
            for element in elements {
                self.changes += 1;
                indexed.bytes += element_bytes(element);
                changes.insert(indexed.extend(end), element.clone());
            }
            return self.apply(changes);
        }
        for element in elements {
            self.changes += 1;
            match &mut self.kept {
                Kept::Packed { count, list } => {
                    let at = if end == End::Head { 0 } else { list.len() };
                    put_packed(list, at..at, element);
                    *count += 1;
                }
                Kept::Dense(dense) => {
                    let index = if end == End::Head { 0 } else { dense.count };
                    self.grow(end, element);
                    self.put(index, element.clone());
                }
                Kept::Indexed(_) => {}
            }
        }
        Ok(())
    }

    /// Takes up to `count` elements off an end; in the order in which they are taken.
    pub fn pop(&mut self, end: End, count: u64) -> Result<Vec<Bytes>> {
        let (len, count) = (self.count(), count.min(self.count()));
        let (range, direction) = match end {
            End::Head => (0..count, Direction::Forward),
            End::Tail => (len - count..len, Direction::Reverse),
        };
        let popped = match &self.kept {
            // Most take one.
            Kept::Dense(dense) if count == 1 => {
                vec![dense.get(&self.edit.txn, self.edit.keyspace, range.start)?]
            }
            _ => self.read(range.clone(), direction)?,
        };
        self.cut(range, total_bytes(&popped))?;
        self.changes += count;
        Ok(popped)
    }

    /// Replaces the element at `index`; answers whether there is one.
    pub fn set(&mut self, index: u64, element: &Bytes) -> Result<bool> {
        if index >= self.count() {
            return Ok(false);
        }
        self.make_room(std::iter::once(element))?;
        self.changes += 1;
        self.has_shrunk = true;
        match &mut self.kept {
            Kept::Packed { list, .. } => {
                let range = places(list, index..index + 1)?;
                put_packed(list, range, element);
            }
            Kept::Dense(dense) => {
                let before = dense.get(&self.edit.txn, self.edit.keyspace, index)?;
                dense.bytes = dense.bytes.saturating_sub(element_bytes(&before));
                dense.bytes += element_bytes(element);
                self.put(index, element.clone());
            }
            Kept::Indexed(indexed) => {
                // No count record changes: what is known of them stays right.
                let orders = self.edit.txn.is_committed().then_some(self.edit.context().orders);
                let branches = orders.and_then(KnownOrders::branches);
                let order = indexed.order(&self.edit.txn, self.edit.keyspace);
                let found = Order { branches, ..order }.at(index)?;
                let (order_key, before) = found.ok_or_else(missing)?;
                indexed.bytes = indexed.bytes.saturating_sub(element_bytes(&before));
                indexed.bytes += element_bytes(element);
                let record = indexed.place(self.edit.keyspace).key(0, &order_key);
                self.edit.txn.put(record, element.clone());
            }
        }
        Ok(true)
    }

    /// Removes everything but the elements `keep`, a part of the list. Each that goes is a change.
    pub fn trim(&mut self, keep: Range<u64>) -> Result<()> {
        let cut = self.count() - (keep.end - keep.start);
        if cut == 0 {
            self.is_trimmed = true;
            return Ok(());
        }
        self.changes += cut;
        let few = keep.end - keep.start;
        if few == 0 {
            self.clear();
            return Ok(());
        }
        if !matches!(self.kept, Kept::Packed { .. })
            && few < FEW.max(cut / 4)
            && cut > FEW
            && self.bytes_of(keep.clone(), MOVED_BYTES_MAX)? < MOVED_BYTES_MAX
        {
            let kept = self.read(keep, Direction::Forward)?;
            self.start_anew(&kept);
            return Ok(());
        }
        // Both are read before one is cut: a walk has no changes to pass over then.
        let (head, tail) = (0..keep.start, keep.end..self.count());
        let head_bytes = self.bytes_of(head.clone(), u64::MAX)?;
        let tail_bytes = self.bytes_of(tail.clone(), u64::MAX)?;
        self.cut(tail, tail_bytes)?;
        self.cut(head, head_bytes)
    }

    /// Puts an element in front of the one at `index`, which is there or one behind the last.
    /// `behind` says that the next one is expected in front of this one, not behind it.
    pub fn insert(&mut self, index: u64, element: &Bytes, behind: bool) -> Result<()> {
        self.make_room(std::iter::once(element))?;
        self.turn(index.min(self.count() - index) > MOVED_MAX)?;
        self.changes += 1;
        match &mut self.kept {
            Kept::Packed { count, list } => {
                let at = places(list, index..index)?;
                put_packed(list, at, element);
                *count += 1;
                Ok(())
            }
            Kept::Dense(_) => self.insert_moving(index, element),
            Kept::Indexed(indexed) => {
                let near = if behind { Near::Behind } else { Near::Before };
                let (read, keyspace) = (&self.edit.txn, self.edit.keyspace);
                match indexed.key_at(read, keyspace, index, near)? {
                    Some(order_key) => {
                        indexed.bytes += element_bytes(element);
                        let mut changes = OrderChanges::default();
                        changes.insert(order_key, element.clone());
                        self.apply(changes)
                    }
                    None => {
                        let mut all = self.read(0..self.count(), Direction::Forward)?;
                        all.insert(usize::try_from(index).unwrap_or(usize::MAX), element.clone());
                        self.start_anew(&all);
                        Ok(())
                    }
                }
            }
        }
    }

    fn insert_moving(&mut self, index: u64, element: &Bytes) -> Result<()> {
        let count = self.count();
        if index < count - index {
            let moved = self.read(0..index, Direction::Forward)?;
            self.grow(End::Head, element);
            self.put_all(0, moved);
        } else {
            let moved = self.read(index..count, Direction::Forward)?;
            self.grow(End::Tail, element);
            self.put_all(index + 1, moved);
        }
        self.put(index, element.clone());
        Ok(())
    }

    /// Removes the elements at these indexes, which are there and ascend.
    pub fn remove(&mut self, indexes: &[u64]) -> Result<()> {
        let (Some(first), Some(last)) = (indexes.first(), indexes.last()) else { return Ok(()) };
        let (first, last) = (*first, *last);
        let (count, removed) = (self.count(), indexes.len() as u64);
        self.changes += removed;
        self.has_shrunk = true;
        let moved = (count - first - removed).min(last + 1 - removed);
        self.turn(moved > MOVED_MAX + removed)?;
        match &mut self.kept {
            Kept::Packed { count, list } => {
                for index in indexes.iter().rev() {
                    let range = places(list, *index..*index + 1)?;
                    list.drain(range);
                }
                *count -= removed;
                Ok(())
            }
            Kept::Dense(_) => self.remove_moving(indexes, first, last),
            Kept::Indexed(indexed) => {
                let mut changes = OrderChanges::default();
                let (read, keyspace) = (&self.edit.txn, self.edit.keyspace);
                let mut indexes = indexes.iter().copied().peekable();
                let mut gone_bytes = 0;
                let items = indexed.items(read, keyspace, first, last + 1, Direction::Forward);
                for (item, index) in items.zip(first..) {
                    let (order_key, element) = item?;
                    if indexes.next_if_eq(&index).is_some() {
                        gone_bytes += element_bytes(&element);
                        changes.delete(order_key);
                    }
                }
                indexed.bytes = indexed.bytes.saturating_sub(gone_bytes);
                self.apply(changes)
            }
        }
    }

    fn remove_moving(&mut self, indexes: &[u64], first: u64, last: u64) -> Result<()> {
        let (len, removed) = (self.count(), indexes.len() as u64);
        let near_tail = len - first <= last + 1;
        let range = if near_tail { first..len } else { 0..last + 1 };
        let (mut gone, mut moved) = (Vec::new(), Vec::new());
        let mut indexes = indexes.iter().copied().peekable();
        for (element, index) in self.read(range.clone(), Direction::Forward)?.into_iter().zip(range)
        {
            let is_gone = indexes.next_if_eq(&index).is_some();
            if is_gone { gone.push(element) } else { moved.push(element) }
        }
        if near_tail {
            self.put_all(first, moved);
            self.cut(len - removed..len, total_bytes(&gone))
        } else {
            self.put_all(removed, moved);
            self.cut(0..removed, total_bytes(&gone))
        }
    }

    /// Writes the metadata record, or deletes the key where no element is left. Answers how many are.
    pub fn finish(mut self) -> Result<u64> {
        let count = self.count();
        if self.changes == 0 {
            if self.is_trimmed {
                // For those who watch it, or keep copies, that is a change.
                self.edit.replace_counted(self.key, self.old.as_ref(), self.old.as_ref(), 0);
            }
            return Ok(count);
        }
        self.take_back()?;
        let old = self.old.take();
        let expires_ms = old.as_ref().and_then(|meta| meta.expires_ms);
        let new = meta_of(self.kept, expires_ms);
        self.edit.replace_collection(self.key, old.as_ref(), new.as_ref(), self.changes);
        Ok(count)
    }

    /// The metadata record, which is not written, of a list without an expiry; `None` without elements.
    pub(in crate::data) fn into_meta(self) -> Option<Meta> {
        meta_of(self.kept, None)
    }

    fn limit(&self) -> Limit {
        Limit(self.edit.context().packing.list_size)
    }

    /// Elements of this range, which are there.
    fn read(&self, range: Range<u64>, direction: Direction) -> Result<Vec<Bytes>> {
        self.walk(range, direction)?.collect()
    }

    /// What the elements of this range would take in a listpack; stops where that reaches `max`.
    fn bytes_of(&self, range: Range<u64>, max: u64) -> Result<u64> {
        let mut bytes = 0;
        for element in self.walk(range, Direction::Forward)? {
            bytes += element_bytes(&element?);
            if bytes >= max {
                break;
            }
        }
        Ok(bytes)
    }

    fn walk(
        &self,
        range: Range<u64>,
        direction: Direction,
    ) -> Result<Box<dyn Iterator<Item = Result<Bytes>> + '_>> {
        let (read, keyspace) = (&self.edit.txn, self.edit.keyspace);
        Ok(match &self.kept {
            Kept::Packed { list, .. } => {
                let places = places(list, range)?;
                let part = Bytes::copy_from_slice(list.get(places).ok_or_else(missing)?);
                Box::new(
                    super::walk_packed(&part, 0, u64::MAX, direction)
                        .collect::<Vec<_>>()
                        .into_iter(),
                )
            }
            Kept::Dense(dense) => {
                Box::new(dense.walk(read, keyspace, range.start, range.end, direction))
            }
            Kept::Indexed(indexed) => {
                let items = indexed.items(read, keyspace, range.start, range.end, direction);
                Box::new(items.map(|item| Ok(item?.1)))
            }
        })
    }

    /// Takes all elements away; their records go with their generation.
    fn clear(&mut self) {
        self.kept = Kept::Packed { count: 0, list: Vec::new() };
    }

    /// Takes a range at one of the ends away, which took `gone_bytes` in a listpack.
    fn cut(&mut self, range: Range<u64>, gone_bytes: u64) -> Result<()> {
        self.has_shrunk = true;
        if range.end - range.start == self.count() {
            self.clear();
            return Ok(());
        }
        match &mut self.kept {
            Kept::Packed { count, list } => {
                let places = places(list, range.clone())?;
                list.drain(places);
                *count -= range.end - range.start;
            }
            Kept::Dense(dense) => {
                let (head, generation) = (dense.head, dense.generation);
                dense.count -= range.end - range.start;
                dense.bytes = dense.bytes.saturating_sub(gone_bytes);
                if range.start == 0 {
                    dense.head += range.end;
                }
                let range = if self.edit.only_warms() { 0..0 } else { range };
                for index in range {
                    let record = key::element(self.edit.keyspace, generation, head + index, b"");
                    self.edit.txn.delete(Bytes::copy_from_slice(&record));
                }
            }
            Kept::Indexed(indexed) => {
                indexed.bytes = indexed.bytes.saturating_sub(gone_bytes);
                let (read, keyspace) = (&self.edit.txn, self.edit.keyspace);
                let mut changes = OrderChanges::default();
                let Range { start, end } = range;
                for item in indexed.items(read, keyspace, start, end, Direction::Forward) {
                    changes.delete(item?.0);
                }
                self.apply(changes)?;
            }
        }
        Ok(())
    }

    /// Makes an indexed list of a dense one, where that is `needed`.
    fn turn(&mut self, needed: bool) -> Result<()> {
        if let (true, Kept::Dense(dense)) = (needed, &self.kept) {
            let indexed = Indexed::of(*dense, &mut self.edit.txn, self.edit.keyspace)?;
            self.kept = Kept::Indexed(indexed);
        }
        Ok(())
    }

    /// Writes changes of an indexed list.
    fn apply(&mut self, changes: OrderChanges) -> Result<()> {
        if let Kept::Indexed(indexed) = &mut self.kept {
            let place = indexed.place(self.edit.keyspace);
            let known = &mut Known::default();
            changes.apply(&mut self.edit.txn, place, &mut indexed.counts, known)?;
        }
        Ok(())
    }

    /// Gives the list one more position at an end, for this element or one that makes room for it.
    fn grow(&mut self, end: End, element: &[u8]) {
        if let Kept::Dense(dense) = &mut self.kept {
            if end == End::Head {
                dense.head -= 1;
            }
            dense.count += 1;
            dense.bytes += element_bytes(element);
        }
    }

    /// Writes the record of the element at `index`.
    fn put(&mut self, index: u64, element: Bytes) {
        if let Kept::Dense(dense) = &self.kept {
            self.edit.put_ordered(dense.generation, dense.head + index, b"", element);
        }
    }

    /// Writes the records from `index` on.
    fn put_all(&mut self, index: u64, elements: Vec<Bytes>) {
        for (index, element) in (index..).zip(elements) {
            self.put(index, element);
        }
    }

    /// Gives each element a record of its own where these, which come, would be too much for one
    /// record. As in Redis their lengths are taken for their sizes.
    fn make_room<'b>(&mut self, coming: impl Iterator<Item = &'b Bytes>) -> Result<()> {
        let Kept::Packed { count, list } = &self.kept else { return Ok(()) };
        let (mut coming_bytes, mut coming_count) = (0, 0);
        for element in coming {
            coming_bytes += element.len() as u64;
            coming_count += 1;
        }
        let count = count + coming_count;
        let limit = self.limit();
        if limit.surely_holds(list.len() as u64 + coming_bytes, count) {
            return Ok(());
        }
        let mut bytes = coming_bytes;
        for entry in packed::entries(ELEMENTS, list) {
            bytes += element_bytes(entry?.name);
        }
        if limit.is_exceeded(bytes, count) {
            let elements = self.read(0..self.count(), Direction::Forward)?;
            self.start_anew(&elements);
        }
        Ok(())
    }

    /// Gives each of these elements, from now on the whole list, a record under a new generation.
    fn start_anew(&mut self, elements: &[Bytes]) {
        self.has_shrunk = true;
        let generation = self.edit.next_generation();
        let (count, bytes) = (elements.len() as u64, total_bytes(elements));
        self.kept = Kept::Dense(Dense { generation, head: MIDDLE, count, bytes });
        for (index, element) in (0..).zip(elements) {
            // Not the whole record that it was a part of.
            self.put(index, Bytes::copy_from_slice(element));
        }
    }

    /// Makes one record of a list that has shrunk to half of what one holds.
    fn take_back(&mut self) -> Result<()> {
        let (count, bytes) = match &self.kept {
            Kept::Packed { .. } => return Ok(()),
            Kept::Dense(dense) => (dense.count, dense.bytes),
            Kept::Indexed(indexed) => (indexed.counts.len(), indexed.bytes),
        };
        if !self.has_shrunk || count == 0 || !self.limit().takes_back(bytes, count) {
            return Ok(());
        }
        let elements = self.read(0..count, Direction::Forward)?;
        let mut list = Vec::new();
        elements.iter().for_each(|element| put_slice(&mut list, element));
        self.kept = Kept::Packed { count, list };
        Ok(())
    }
}

/// What these elements take in a listpack, without its frame.
fn total_bytes(elements: &[Bytes]) -> u64 {
    elements.iter().map(|element| element_bytes(element)).sum()
}

/// Where elements of a packed list begin and end.
fn places(list: &[u8], range: Range<u64>) -> Result<Range<usize>> {
    let mut places = list.len()..list.len();
    if range.start == 0 {
        places.start = 0;
    }
    for (entry, index) in packed::entries(ELEMENTS, list).zip(0..=range.end) {
        let start = entry?.range.start;
        if index == range.start {
            places.start = start;
        }
        if index == range.end {
            places.end = start;
        }
    }
    Ok(places)
}

/// Replaces a part of a packed list by an element.
fn put_packed(list: &mut Vec<u8>, range: Range<usize>, element: &[u8]) {
    let mut entry = Vec::with_capacity(element.len() + 5);
    put_slice(&mut entry, element);
    list.splice(range, entry);
}

/// The metadata record of a list; `None` without elements.
fn meta_of(kept: Kept, expires_ms: Option<u64>) -> Option<Meta> {
    let body = match kept {
        Kept::Packed { count, list } => ListBody::Packed { count, list: list.into() },
        Kept::Dense(dense) => ListBody::Dense(dense),
        Kept::Indexed(indexed) => ListBody::Indexed(indexed),
    };
    (body.count() > 0).then_some(Meta {
        kind: KeyType::List,
        expires_ms,
        form: StringForm::Natural,
        body: Body::List(body),
    })
}

impl std::fmt::Debug for ListEdit<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListEdit").field("kept", &self.kept).finish_non_exhaustive()
    }
}
