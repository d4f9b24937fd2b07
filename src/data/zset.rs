//! A sorted set in a transaction.
//!
//! [`ZSetEdit`] takes what [`Edit::find`] has found, changes members, and writes the order of scores
//! and the metadata record once, when it is finished. How both look stands in `sorted.rs`.

use bytes::Bytes;

use super::collection::PACKED_BYTES_MAX;
use super::counted::{Known, Order, OrderChanges, Taken};
use super::hash::HASH;
use super::packed::{self, Packed};
use super::sorted::{SCORE_BYTES, order_key, order_place, order_value, parse_item, parse_score};
use super::{Body, Collection, Counts, Edit, KeyType, Layout, Meta, Scored, StringForm, exploded};
use crate::engine::{Direction, Read, Result, SeqNo};

/// How the members are kept, while they change.
#[derive(Debug)]
enum Members {
    /// In the metadata record, in the order of their scores.
    Packed(Packed),
    /// A record each, the changes that the order of scores waits for, and what is known of it, once
    /// that was looked up.
    Ordered {
        generation: u64,
        count: u64,
        counts: Box<Counts>,
        changes: OrderChanges,
        known: Option<Box<Known>>,
    },
}

/// A sorted set that is being changed. Nothing holds before [`ZSetEdit::finish`].
pub struct ZSetEdit<'e, 'a> {
    edit: &'e mut Edit<'a>,
    key: &'e [u8],
    old: Option<Meta>,
    members: Members,
    changes: u64,
}

impl<'a> Edit<'a> {
    /// The sorted set at `key`, for which [`Edit::find`] has answered `old`: a sorted set or nothing.
    pub fn zset<'e>(&'e mut self, key: &'e [u8], old: Option<Meta>) -> ZSetEdit<'e, 'a> {
        let members = match old.as_ref().and_then(Meta::collection) {
            Some(Collection { count, layout: Layout::Ordered { generation, counts }, .. }) => {
                Members::Ordered {
                    generation: *generation,
                    count: *count,
                    counts: counts.clone(),
                    changes: OrderChanges::default(),
                    known: None,
                }
            }
            Some(collection) => Members::Packed(Packed {
                shape: HASH,
                count: collection.count,
                list: collection.packed_bytes().to_vec(),
            }),
            None => Members::Packed(Packed::new(HASH)),
        };
        ZSetEdit { edit: self, key, old, members, changes: 0 }
    }

    /// Sets `key` to a sorted set of these members, which are different and in order, whatever it
    /// held; without members deletes it. `old` is what [`Edit::find`] has found.
    pub fn store_zset(&mut self, key: &[u8], old: Option<&Meta>, members: &[Scored]) -> Result<()> {
        if self.only_warms() {
            return Ok(());
        }
        // Members and items of the order.
        self.txn.expect(members.len() * 2);
        let longest = members.iter().map(|(member, _)| member.len()).max().unwrap_or(0);
        let mut zset = self.zset(key, None);
        zset.expect(members.len() as u64, longest)?;
        for (member, score) in members {
            zset.append(member, *score)?;
        }
        let new = zset.into_meta(None)?;
        if old.is_some() || new.is_some() {
            self.replace_collection(key, old, new.as_ref(), 1);
        }
        Ok(())
    }
}

impl ZSetEdit<'_, '_> {
    /// How many members there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        match &self.members {
            Members::Packed(packed) => packed.count,
            Members::Ordered { count, .. } => *count,
        }
    }

    /// Prepares for so many members, the longest of so many bytes, not all of which need to be new.
    pub fn expect(&mut self, members: u64, longest: usize) -> Result<()> {
        let packing = self.edit.context().packing;
        if members > packing.zset_entries || longest as u64 > packing.zset_value {
            self.explode()?;
        }
        Ok(())
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Result<Option<f64>> {
        match &self.members {
            Members::Packed(packed) => {
                packed.find(member)?.map(|entry| parse_score(entry.value)).transpose()
            }
            Members::Ordered { generation, .. } => {
                let record = match &self.old {
                    Some(_) => self.edit.records(*generation).get(member)?,
                    None => self.edit.own_element(*generation, member).cloned(),
                };
                let Some(record) = record else { return Ok(None) };
                parse_score(exploded::split(HASH, &record)?.0).map(Some)
            }
        }
    }

    /// Sets the score of a member; `before` is what [`Self::score`] has answered, another one.
    pub fn put(&mut self, member: &[u8], before: Option<f64>, score: f64) -> Result<()> {
        self.changes += 1;
        if before.is_none() {
            self.make_room(member)?;
        }
        match &mut self.members {
            Members::Packed(packed) => {
                if before.is_some()
                    && let Some(range) = packed.find(member)?.map(|entry| entry.range)
                {
                    packed.remove(range);
                }
                let at = place_of(packed, score, member)?;
                packed.put(at..at, member, &packed_score(score), None);
                packed.count += 1;
            }
            Members::Ordered { generation, count, changes, .. } => {
                // The record of the member is written over.
                match before {
                    Some(before) => changes.delete(order_key(before, member)),
                    None => *count += 1,
                }
                changes.insert(order_key(score, member), order_value(score));
                let record = exploded::encode(&score.to_le_bytes(), None);
                self.edit.put_element(*generation, member, record);
            }
        }
        Ok(())
    }

    /// Deletes a member, whose score is this.
    pub fn take(&mut self, member: &[u8], score: f64) -> Result<()> {
        self.changes += 1;
        match &mut self.members {
            Members::Packed(packed) => {
                if let Some(range) = packed.find(member)?.map(|entry| entry.range) {
                    packed.remove(range);
                }
            }
            Members::Ordered { generation, count, changes, .. } => {
                *count -= 1;
                changes.delete(order_key(score, member));
                self.edit.delete_element(*generation, member);
            }
        }
        Ok(())
    }

    /// The first members of the order (forward), or the last, and so many of them; none where they
    /// are in the metadata record. Nothing was changed yet.
    pub fn outermost(&mut self, end: Direction, count: usize) -> Result<Vec<Scored>> {
        self.look_up_known()?;
        let Members::Ordered { generation, counts, known: Some(known), .. } = &mut self.members
        else {
            return Ok(Vec::new());
        };
        let place = order_place(self.edit.keyspace, *generation);
        let order = Order { read: &self.edit.txn, place, counts, branches: None };
        let mut keys: Vec<Bytes> = Vec::new();
        let records = self.edit.records(*generation);
        let items = known.outermost(order, end, count, |order_keys| {
            // Their records are somewhere in memory each: the waits for them overlap.
            for order_key in order_keys {
                let member = order_key.get(SCORE_BYTES..).unwrap_or_default();
                keys.push(place.key(0, order_key));
                keys.push(records.key(member));
            }
        })?;
        if !keys.is_empty() {
            let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
            self.edit.txn.prefetch(&keys);
        }
        items.iter().map(parse_item).collect()
    }

    /// Takes what the writer knows of the order, where that was not done.
    fn look_up_known(&mut self) -> Result<()> {
        if let Members::Ordered { generation, counts, known: known @ None, .. } = &mut self.members
            && self.old.is_some()
        {
            let place = order_place(self.edit.keyspace, *generation);
            let order = Order { read: &self.edit.txn, place, counts, branches: None };
            *known = Some(self.edit.take_known(order)?);
        }
        Ok(())
    }

    /// Writes the order and the metadata record, or deletes the key where no member is left. Answers
    /// how many are.
    pub fn finish(mut self) -> Result<u64> {
        self.write()
    }

    /// Deletes members, which are different, with their scores, then does as [`Self::finish`].
    pub fn finish_without(mut self, members: &[Scored]) -> Result<u64> {
        let Members::Ordered { generation, count, changes, .. } = &mut self.members else {
            members.iter().try_for_each(|(member, score)| self.take(member, *score))?;
            return self.write();
        };
        let generation = *generation;
        *count -= members.len() as u64;
        self.changes += members.len() as u64;
        for (member, score) in members {
            changes.delete(order_key(*score, member));
        }
        // The order is read while the transaction has little to lay over it.
        let left = self.write()?;
        let members = if self.edit.only_warms() { &[] } else { members };
        for (member, _) in members {
            self.edit.delete_element(generation, member);
        }
        Ok(left)
    }

    fn write(&mut self) -> Result<u64> {
        let (count, changes) = (self.count(), self.changes);
        if changes > 0 {
            self.look_up_known()?;
            let old = self.old.take();
            let expires_ms = old.as_ref().and_then(|meta| meta.expires_ms);
            let members = self.take_members();
            let new = meta_of(self.edit, members, expires_ms)?;
            self.edit.replace_collection(self.key, old.as_ref(), new.as_ref(), changes);
        }
        Ok(count)
    }

    /// The metadata record, which is not written but all others are; `None` without members.
    pub(super) fn into_meta(mut self, expires_ms: Option<u64>) -> Result<Option<Meta>> {
        let members = self.take_members();
        meta_of(self.edit, members, expires_ms)
    }

    fn take_members(&mut self) -> Members {
        std::mem::replace(&mut self.members, Members::Packed(Packed::new(HASH)))
    }

    /// Adds a member behind all others.
    fn append(&mut self, member: &[u8], score: f64) -> Result<()> {
        self.make_room(member)?;
        match &mut self.members {
            Members::Packed(packed) => packed.insert(member, &packed_score(score), None),
            Members::Ordered { .. } => self.put(member, None, score),
        }
    }

    /// Explodes where this member, which is new, does not fit.
    fn make_room(&mut self, member: &[u8]) -> Result<()> {
        let packing = self.edit.context().packing;
        if let Members::Packed(packed) = &self.members {
            let fits = packed.count < packing.zset_entries
                && member.len() as u64 <= packing.zset_value
                && packed.list.len() + member.len() < PACKED_BYTES_MAX;
            if !fits {
                self.explode()?;
            }
        }
        Ok(())
    }

    /// Gives each member a record of its own.
    fn explode(&mut self) -> Result<()> {
        let Members::Packed(packed) = &self.members else { return Ok(()) };
        let generation = self.edit.next_generation();
        let mut changes = OrderChanges::default();
        for entry in packed::entries(HASH, &packed.list) {
            let entry = entry?;
            let score = parse_score(entry.value)?;
            changes.insert(order_key(score, entry.name), order_value(score));
            let record = exploded::encode(entry.value, None);
            self.edit.put_element(generation, entry.name, record);
        }
        let (count, counts) = (packed.count, Box::default());
        self.members = Members::Ordered { generation, count, counts, changes, known: None };
        Ok(())
    }
}

impl Drop for ZSetEdit<'_, '_> {
    /// What is known of the order is as good as before where it was not written.
    fn drop(&mut self) {
        if let Members::Ordered { generation, counts, known, .. } = &mut self.members
            && let Some(known) = known.take()
        {
            self.edit.return_known(*generation, counts.seq(), known);
        }
    }
}

/// A score as a packed list has it: as in Redis, zero has no sign there.
fn packed_score(score: f64) -> [u8; 8] {
    (score + 0.0).to_le_bytes()
}

/// Where a member belongs in the packed list.
fn place_of(packed: &Packed, score: f64, member: &[u8]) -> Result<usize> {
    for entry in packed::entries(HASH, &packed.list) {
        let entry = entry?;
        let other = parse_score(entry.value)?;
        if other > score || other == score && entry.name > member {
            return Ok(entry.range.start);
        }
    }
    Ok(packed.list.len())
}

/// The metadata record of a sorted set, once the order of its scores is written; `None` without
/// members.
fn meta_of(edit: &mut Edit<'_>, members: Members, expires_ms: Option<u64>) -> Result<Option<Meta>> {
    let (count, layout) = match members {
        Members::Packed(packed) => (packed.count, Layout::Packed(packed.list.into())),
        Members::Ordered { generation, count, mut counts, changes, known } => {
            let place = order_place(edit.keyspace, generation);
            let mut known = known.unwrap_or_default();
            let seq = counts.seq();
            if let Err(error) = changes.apply(&mut edit.txn, place, &mut counts, &mut known) {
                edit.return_known(generation, seq, known);
                return Err(error);
            }
            let order = Order { read: &edit.txn, place, counts: &counts, branches: None };
            known.follow_levels(order)?;
            if known.is_wanted() && count > 0 {
                edit.context.orders.give(generation, edit.txn.seq(), known);
            }
            (count, Layout::Ordered { generation, counts })
        }
    };
    Ok((count > 0).then(|| Meta {
        kind: KeyType::ZSet,
        expires_ms,
        form: StringForm::Natural,
        body: Body::Collection(Collection { count, next_expiry_ms: None, layout }),
    }))
}

impl Edit<'_> {
    /// Gives back what [`Self::take_known`] has handed out of the version `seq` of a metadata record, which
    /// stays the newest. Not of one that this transaction itself has written: that goes with it.
    fn return_known(&self, generation: u64, seq: SeqNo, known: Box<Known>) {
        if seq < self.txn.seq() {
            self.context.orders.take_back(generation, seq, known);
        }
    }

    /// What the writer knows of the order of a sorted set, as [`Edit::find`] has found it.
    fn take_known(&self, order: Order<'_>) -> Result<Box<Known>> {
        let seq = order.counts.seq();
        if seq == 0 || !self.txn.is_over_newest() {
            return Ok(Box::default());
        }
        match self.context.orders.take(order.place.generation, seq) {
            Taken::Known(known) => {
                debug_assert!(known.fits(order), "what is known of an order does not fit its root");
                if known.fits(order) { Ok(known) } else { Known::wanted(order).map(Box::new) }
            }
            Taken::Wanted => Known::wanted(order).map(Box::new),
            Taken::Nothing => Ok(Box::default()),
        }
    }
}

impl std::fmt::Debug for ZSetEdit<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZSetEdit").field("members", &self.members).finish_non_exhaustive()
    }
}
