//! Lists, read. [`ListEdit`] changes them.
//!
//! A small list is a packed list in its metadata record, up to `list-max-listpack-size`. With the push
//! that crosses it each element gets a record of its own, keyed under the generation by its *position*,
//! a number that starts in the middle of its range; the metadata record keeps the position of the
//! head and the count. Positions have no gaps: element `i` is at `head + i`, a push or a pop is one
//! record and the metadata, and a range is read from where it starts, however much was popped before.
//! A list that shrinks to half the threshold becomes one record again.
//!
//! A change in the middle moves what is between it and the nearer end by one position, if that is not
//! much; else the list becomes an *indexed* one (`indexed.rs`), whose elements need not have
//! positions of their own and are counted. Each of these is what it is until it is laid out anew.
//!
//! ```text
//! key of an element record    generation, then the position (u64, big-endian); if it is indexed, maybe
//!                             more behind it
//! its value                   the element
//! ```

use bytes::Bytes;

pub use self::body::ListBody;
pub use self::edit::{End, ListEdit};
pub(in crate::data) use self::listpack::{Limit, element_bytes};

mod between;
mod body;
mod check;
mod edit;
mod indexed;
mod listpack;

use self::body::Dense;
use self::indexed::items_of;
use super::collection::damaged;
use super::counted::{Branches, Order};
use super::packed::{self, Shape};
use super::{Body, Edit, KnownOrders, Meta, View, key};
use crate::engine::{Direction, Read, Result};

/// The shape of a packed list of elements.
const ELEMENTS: Shape = Shape { values: false, expiries: false };
/// Up to so many elements are looked up one by one; more are walked.
const LOOK_UPS_MAX: u64 = 16;

/// A running walk over elements.
pub type ListWalk<'a> = Box<dyn Iterator<Item = Result<Bytes>> + 'a>;

/// The elements of one list.
#[derive(Clone, Copy)]
pub struct List<'a> {
    read: &'a dyn Read,
    keyspace: u32,
    body: &'a ListBody,
    /// Where readers keep what they have met of the orders of indexed lists.
    branches: Option<&'a Branches>,
}

impl Meta {
    /// Where the elements are, of a list.
    #[must_use]
    pub fn list(&self) -> Option<&ListBody> {
        match &self.body {
            Body::List(body) => Some(body),
            _ => None,
        }
    }
}

impl View<'_> {
    /// The elements of the key for which [`View::find`] has answered `meta`; `None` where it is no
    /// list.
    pub fn list<'a>(&'a self, meta: &'a Meta) -> Option<List<'a>> {
        let (read, body) = (self.read(), meta.list()?);
        let orders = read.is_committed().then_some(self.context().orders);
        let branches = orders.and_then(KnownOrders::branches);
        Some(List { read, keyspace: self.keyspace(), body, branches })
    }
}

impl Edit<'_> {
    /// The elements of the key for which [`Edit::find`] has answered `meta`; `None` where it is no
    /// list.
    pub fn list<'a>(&'a self, meta: &'a Meta) -> Option<List<'a>> {
        let (read, body) = (&self.txn, meta.list()?);
        let orders = read.is_committed().then_some(self.context().orders);
        let branches = orders.and_then(KnownOrders::branches);
        Some(List { read, keyspace: self.keyspace, body, branches })
    }
}

impl<'a> List<'a> {
    /// How many elements there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.body.count()
    }

    /// The element at `index`; `None` behind the last one.
    pub fn get(&self, index: u64) -> Result<Option<Bytes>> {
        self.walk(index, index.saturating_add(1), Direction::Forward).next().transpose()
    }

    /// The elements from index `from` up to `to`, which does not belong to the range; as far as there
    /// are any. Backwards the last of them comes first.
    #[must_use]
    pub fn walk(&self, from: u64, to: u64, direction: Direction) -> ListWalk<'a> {
        let to = to.min(self.count());
        let from = from.min(to);
        match self.body {
            ListBody::Packed { list, .. } => walk_packed(list, from, to, direction),
            ListBody::Dense(dense) => dense.walk(self.read, self.keyspace, from, to, direction),
            ListBody::Indexed(indexed) => {
                let order = indexed.order(self.read, self.keyspace);
                let order = Order { branches: self.branches, ..order };
                let items = items_of(order, from, to, direction);
                Box::new(items.map(|item| Ok(item?.1)))
            }
        }
    }

    /// Hands the elements from index `from` up to `to`, which does not belong to the range, to `visit`
    /// until it answers false; as far as there are any.
    pub fn visit(&self, from: u64, to: u64, visit: &mut dyn FnMut(&[u8]) -> bool) -> Result<()> {
        let to = to.min(self.count());
        let from = from.min(to);
        match self.body {
            ListBody::Packed { list, .. } => {
                let skipped = usize::try_from(from).unwrap_or(usize::MAX);
                let taken = usize::try_from(to - from).unwrap_or(usize::MAX);
                for entry in packed::entries(ELEMENTS, list).skip(skipped).take(taken) {
                    if !visit(entry?.name) {
                        break;
                    }
                }
                Ok(())
            }
            ListBody::Dense(dense) if to - from > LOOK_UPS_MAX => {
                dense.visit(self.read, self.keyspace, (from, to), visit)
            }
            ListBody::Dense(_) | ListBody::Indexed(_) => {
                for element in self.walk(from, to, Direction::Forward) {
                    if !visit(&element?) {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// All elements in order.
    #[must_use]
    pub fn walk_all(&self) -> ListWalk<'a> {
        self.walk(0, self.count(), Direction::Forward)
    }

    /// Bytes that the elements take in records: of all where `samples` is 0, else told from so many
    /// of them.
    pub fn size_bytes(&self, samples: u64) -> Result<u64> {
        /// Generation and position of a record, and what the engine adds to one.
        const RECORD_BYTES: u64 = 48;

        if self.body.is_inline() {
            return Ok(self.body.packed_bytes().len() as u64);
        }
        let seen = if samples == 0 { self.count() } else { samples.min(self.count()) };
        let mut bytes: u64 = 0;
        for element in self.walk(0, seen, Direction::Forward) {
            bytes += element?.len() as u64 + RECORD_BYTES;
        }
        let all = u128::from(bytes) * u128::from(self.count()) / u128::from(seen.max(1));
        Ok(u64::try_from(all).unwrap_or(u64::MAX))
    }
}

/// Elements `from..to` of a packed list.
fn walk_packed(list: &Bytes, from: u64, to: u64, direction: Direction) -> ListWalk<'_> {
    let skipped = usize::try_from(from).unwrap_or(usize::MAX);
    let taken = usize::try_from(to - from).unwrap_or(usize::MAX);
    let elements = packed::entries(ELEMENTS, list)
        .map(|entry| Ok(list.slice_ref(entry?.name)))
        .skip(skipped)
        .take(taken);
    match direction {
        Direction::Forward => Box::new(elements),
        Direction::Reverse => {
            let mut elements: Vec<Result<Bytes>> = elements.collect();
            elements.reverse();
            Box::new(elements.into_iter())
        }
    }
}

fn missing() -> crate::engine::Error {
    damaged("an element of a list is missing")
}

impl Dense {
    /// The element at `index`, which is there.
    fn get(self, read: &dyn Read, keyspace: u32, index: u64) -> Result<Bytes> {
        self.at(read, keyspace, self.head + index)
    }

    /// The element at a position, which is there.
    fn at(self, read: &dyn Read, keyspace: u32, position: u64) -> Result<Bytes> {
        let record = key::element(keyspace, self.generation, position, b"");
        read.get(&record)?.ok_or_else(missing)
    }

    /// Hands elements `from..to`, which are there, to `visit` until it answers false.
    fn visit(
        self,
        read: &dyn Read,
        keyspace: u32,
        (from, to): (u64, u64),
        visit: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<()> {
        let (mut next, end) = (self.head + from, self.head + to);
        let range = key::elements(keyspace, self.generation, next, Some(end));
        let (mut is_sound, mut goes_on) = (true, true);
        read.visit(range, Direction::Forward, &mut |record, element| {
            is_sound = key::split_element(record).is_some_and(|(position, _)| position == next);
            next += 1;
            goes_on = is_sound && visit(element);
            goes_on
        })?;
        if is_sound && (next == end || !goes_on) { Ok(()) } else { Err(missing()) }
    }

    /// Elements `from..to`, which are there.
    fn walk<'a>(
        self,
        read: &'a dyn Read,
        keyspace: u32,
        from: u64,
        to: u64,
        direction: Direction,
    ) -> ListWalk<'a> {
        let (start, end) = (self.head + from, self.head + to);
        let place = move |step: u64| match direction {
            Direction::Forward => start + step,
            Direction::Reverse => end - 1 - step,
        };
        if to - from <= LOOK_UPS_MAX {
            return Box::new((0..to - from).map(move |step| self.at(read, keyspace, place(step))));
        }
        let range = key::elements(keyspace, self.generation, start, Some(end));
        let mut records = read.scan(range, direction);
        Box::new((0..to - from).map(move |step| {
            let (record, element) = records.next().ok_or_else(missing)??;
            match key::parse_element(&record) {
                Some((position, _)) if position == place(step) => Ok(element),
                _ => Err(missing()),
            }
        }))
    }
}

impl std::fmt::Debug for List<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("List").field("body", self.body).finish_non_exhaustive()
    }
}
