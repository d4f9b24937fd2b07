//! What the records of a collection promise each other: looked through by tests and by whoever
//! doubts a data directory.

use std::collections::HashSet;

use super::collection::damaged;
use super::exploded::{self, Records, TIMES, hash_of};
use super::packed::{self, Shape};
use super::sorted::order_key;
use super::verify::Ledger;
use super::{Collection, Elements, KeyType, Layout, Meta, SortedSet, View, integers};
use crate::engine::{Direction, Read, Result};

impl View<'_> {
    /// Fails where the elements of a key, for which [`View::find`] or [`View::walk`] has answered
    /// `meta`, do not fit each other or the metadata: their number, their order, their expiries. Reads
    /// all of them.
    pub fn check_elements(&self, meta: &Meta) -> Result<()> {
        check(self.read(), self.keyspace(), meta)
    }
}

/// See [`View::check_elements`].
pub(super) fn check(read: &dyn Read, keyspace: u32, meta: &Meta) -> Result<()> {
    if let Some(list) = meta.list() {
        return list.check(read, keyspace);
    }
    if let Some(stream) = meta.stream() {
        return super::stream::check(read, keyspace, stream);
    }
    let Some(collection) = meta.collection() else { return Ok(()) };
    let shape = collection.shape(meta.kind);
    match &collection.layout {
        Layout::Packed(list) | Layout::Expiring(list) => check_list(collection, shape, list),
        Layout::Integers(list) => ensure(
            integers::iter(list).is_sorted_by(|a, b| a < b),
            "the integers of a set are not ascending",
        ),
        Layout::Exploded { generation } => {
            let records = Records { read, keyspace, generation: *generation };
            check_records(collection, shape, records)
        }
        Layout::Ordered { generation, counts } => {
            let records = Records { read, keyspace, generation: *generation };
            ensure(counts.len() == collection.count, "an order is of another number of members")?;
            check_records(collection, shape, records)?;
            let elements = Elements {
                read,
                keyspace,
                now_ms: 0,
                shape,
                collection,
                pools: None,
                branches: None,
            };
            check_scores(shape, records, SortedSet::new(elements))
        }
    }?;
    let is_inline = collection.generation().is_none();
    if meta.kind == KeyType::ZSet && is_inline {
        let elements =
            Elements { read, keyspace, now_ms: 0, shape, collection, pools: None, branches: None };
        let all = SortedSet::new(elements).walk_from(0, Direction::Forward)?;
        let members = all.collect::<Result<Vec<_>>>()?;
        let keys = members.iter().map(|(member, score)| order_key(*score, member));
        ensure(keys.is_sorted_by(|a, b| a < b), "a packed list is not in the order of its scores")?;
    }
    Ok(())
}

/// Holds the order of scores against the members.
fn check_scores(shape: Shape, records: Records<'_>, sorted: SortedSet<'_>) -> Result<()> {
    if let Some(order) = sorted.order() {
        order.check()?;
    }
    let mut by_score = Ledger::default();
    for found in sorted.walk_from(0, Direction::Forward)? {
        let (member, score) = found?;
        by_score.add(&[&member, &score.to_bits().to_le_bytes()]);
    }
    ensure(by_score.count() == sorted.count(), "the order of scores has too few members")?;
    let mut by_name = Ledger::default();
    for found in records.walk(0, TIMES) {
        let found = found?;
        let (score, _) = exploded::decode(shape, &found.record)?;
        by_name.add(&[&found.name, &score]);
    }
    ensure(by_name == by_score, "a member has another score")
}

pub(super) fn ensure(holds: bool, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(damaged(what)) }
}

fn check_list(collection: &Collection, shape: Shape, list: &[u8]) -> Result<()> {
    let (mut names, mut expiries) = (HashSet::new(), Vec::new());
    for entry in packed::entries(shape, list) {
        let entry = entry?;
        ensure(names.insert(entry.name), "a name is in a packed list twice")?;
        expiries.push(entry.expires_ms.unwrap_or(u64::MAX));
    }
    ensure(names.len() as u64 == collection.count, "a packed list is counted wrongly")?;
    ensure(expiries.is_sorted(), "a packed list is not in the order of its expiries")?;
    let next_ms = expiries.first().copied().filter(|at_ms| *at_ms != u64::MAX);
    ensure(next_ms == collection.next_expiry_ms, "a packed list has another next expiry")
}

fn check_records(collection: &Collection, shape: Shape, records: Records<'_>) -> Result<()> {
    let (mut count, mut expiring, mut next_ms) = (0, 0_u64, None);
    for found in records.walk(0, TIMES) {
        let found = found?;
        ensure(found.hash == hash_of(&found.name), "an element is not at its position")?;
        let (_, expires_ms) = exploded::decode(shape, &found.record)?;
        count += 1;
        expiring += u64::from(expires_ms.is_some());
    }
    ensure(count == collection.count, "element records are counted wrongly")?;
    let is_ordered = matches!(collection.layout, Layout::Ordered { .. });
    for found in records.expiring(u64::MAX).filter(|_| !is_ordered) {
        let (at_ms, name) = found?;
        let record = records.get(&name)?.ok_or_else(|| damaged("an expiry of no element"))?;
        let (_, expires_ms) = exploded::decode(shape, &record)?;
        ensure(expires_ms == Some(at_ms), "an element has another expiry")?;
        expiring = expiring.checked_sub(1).ok_or_else(|| damaged("an expiry too many"))?;
        next_ms = next_ms.or(Some(at_ms));
    }
    ensure(expiring == 0, "an element is not in the order of expiries")?;
    ensure(next_ms == collection.next_expiry_ms, "a hash has another next expiry")
}
