//! A set in a transaction.
//!
//! [`SetEdit`] takes what [`Edit::find`] has found, changes members, and writes the metadata record
//! once, when it is finished. A set of few integers is kept as these; with its first other member it
//! becomes a packed list, or explodes, by the thresholds of Redis.

use bytes::Bytes;

use super::collection::PACKED_BYTES_MAX;
use super::packed::{self, Packed, Shape};
use super::{Body, Collection, Edit, KeyType, Layout, Meta, StringForm, integers, parse_int};
use crate::engine::Result;

/// The shape of a set's records.
pub(super) const SET: Shape = Shape { values: false, expiries: false };

/// How the members are kept, while they change.
#[derive(Debug)]
pub(super) enum Members {
    /// Integers, ascending.
    Integers(Vec<i64>),
    /// In the metadata record.
    Packed(Packed),
    /// A record each.
    Exploded { generation: u64, count: u64 },
}

/// A set that is being changed. Nothing holds before [`SetEdit::finish`].
pub struct SetEdit<'e, 'a> {
    pub(super) edit: &'e mut Edit<'a>,
    key: &'e [u8],
    old: Option<Meta>,
    pub(super) members: Members,
    pub(super) changes: u64,
    /// Candidates of a pool that were taken or passed over.
    pub(super) passed: usize,
}

impl<'a> Edit<'a> {
    /// The set at `key`, for which [`Edit::find`] has answered `old`: a set or nothing.
    pub fn set<'e>(&'e mut self, key: &'e [u8], old: Option<Meta>) -> SetEdit<'e, 'a> {
        let members = match old.as_ref().and_then(Meta::collection) {
            None => Members::Integers(Vec::new()),
            Some(Collection { count, layout, .. }) => match layout {
                Layout::Integers(list) => Members::Integers(integers::iter(list).collect()),
                Layout::Packed(list) | Layout::Expiring(list) => {
                    Members::Packed(Packed { shape: SET, count: *count, list: list.to_vec() })
                }
                Layout::Exploded { generation } | Layout::Ordered { generation, .. } => {
                    Members::Exploded { generation: *generation, count: *count }
                }
            },
        };
        SetEdit { edit: self, key, old, members, changes: 0, passed: 0 }
    }

    /// Sets `key` to a set of these members, which are different, whatever it held; without members
    /// deletes it. `old` is what [`Edit::find`] has found.
    pub fn store_set(&mut self, key: &[u8], old: Option<&Meta>, members: &[Bytes]) -> Result<()> {
        if self.only_warms() {
            return Ok(());
        }
        self.txn.expect(members.len());
        let mut set = self.set(key, None);
        for member in members {
            set.add_new(member)?;
        }
        let new = set.into_meta(None);
        if old.is_some() || new.is_some() {
            self.replace_collection(key, old, new.as_ref(), 1);
        }
        Ok(())
    }
}

impl SetEdit<'_, '_> {
    /// How many members there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        match &self.members {
            Members::Integers(list) => list.len() as u64,
            Members::Packed(packed) => packed.count,
            Members::Exploded { count, .. } => *count,
        }
    }

    /// Prepares for so many members, not all of which need to be new. The first of them is `first`.
    pub fn expect(&mut self, members: u64, first: &[u8]) -> Result<()> {
        let packing = self.edit.context().packing;
        let limit = match &self.members {
            Members::Integers(list) if !list.is_empty() => packing.set_integers,
            Members::Integers(_) => {
                if parse_int(first).is_some() && members <= packing.set_integers {
                    return Ok(());
                }
                self.members = Members::Packed(Packed::new(SET));
                packing.set_entries
            }
            Members::Packed(_) => packing.set_entries,
            Members::Exploded { .. } => return Ok(()),
        };
        if members > limit { self.explode() } else { Ok(()) }
    }

    /// Whether the member is there.
    pub fn contains(&self, member: &[u8]) -> Result<bool> {
        Ok(match &self.members {
            Members::Integers(list) => {
                parse_int(member).is_some_and(|integer| list.binary_search(&integer).is_ok())
            }
            Members::Packed(packed) => packed.find(member)?.is_some(),
            Members::Exploded { generation, .. } if self.old.is_none() => {
                self.edit.own_element(*generation, member).is_some()
            }
            Members::Exploded { generation, .. } => {
                self.edit.records(*generation).get(member)?.is_some()
            }
        })
    }

    /// Adds a member; answers whether it is new.
    pub fn add(&mut self, member: &[u8]) -> Result<bool> {
        if self.contains(member)? {
            return Ok(false);
        }
        self.add_new(member)?;
        Ok(true)
    }

    /// Adds a member, which is not there.
    fn add_new(&mut self, member: &[u8]) -> Result<()> {
        self.changes += 1;
        self.make_room(member)?;
        match &mut self.members {
            Members::Integers(list) => {
                if let Some(integer) = parse_int(member)
                    && let Err(place) = list.binary_search(&integer)
                {
                    list.insert(place, integer);
                }
            }
            Members::Packed(packed) => packed.insert(member, &[], None)?,
            Members::Exploded { generation, count } => {
                *count += 1;
                self.edit.put_element(*generation, member, Bytes::new());
            }
        }
        Ok(())
    }

    /// Deletes a member; answers whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> Result<bool> {
        if !self.contains(member)? {
            return Ok(false);
        }
        self.take_out(member)?;
        Ok(true)
    }

    /// Deletes a member, which is there.
    pub fn take_out(&mut self, member: &[u8]) -> Result<()> {
        self.changes += 1;
        match &mut self.members {
            Members::Integers(list) => {
                if let Some(integer) = parse_int(member) {
                    list.retain(|other| *other != integer);
                }
            }
            Members::Packed(packed) => {
                if let Some(range) = packed.find(member)?.map(|entry| entry.range) {
                    packed.remove(range);
                }
            }
            Members::Exploded { generation, count } => {
                *count -= 1;
                self.edit.delete_element(*generation, member);
            }
        }
        Ok(())
    }

    /// Writes the metadata record, or deletes the key where no member is left. Answers how many are.
    pub fn finish(mut self) -> u64 {
        let (count, changes) = (self.count(), self.changes);
        if changes > 0 {
            let old = self.old.take();
            let expires_ms = old.as_ref().and_then(|meta| meta.expires_ms);
            let new = meta_of(self.members, expires_ms);
            self.edit.replace_collection(self.key, old.as_ref(), new.as_ref(), changes);
        }
        count
    }

    /// The metadata record, which is not written; `None` without members.
    pub(super) fn into_meta(self, expires_ms: Option<u64>) -> Option<Meta> {
        meta_of(self.members, expires_ms)
    }

    /// Changes the way members are kept where this one, which is new, does not fit.
    fn make_room(&mut self, member: &[u8]) -> Result<()> {
        let packing = self.edit.context().packing;
        let fits = |packed: &Packed| {
            packed.count < packing.set_entries
                && member.len() as u64 <= packing.set_value
                && packed.list.len() + member.len() < PACKED_BYTES_MAX
        };
        match &self.members {
            Members::Integers(list) if parse_int(member).is_some() => {
                if list.len() as u64 >= packing.set_integers {
                    self.explode()?;
                }
            }
            Members::Integers(list) => {
                let packed = to_packed(list)?;
                let longest = |integer: &i64| itoa::Buffer::new().format(*integer).len() as u64;
                let ends = [list.first(), list.last()].into_iter().flatten().map(longest).max();
                if fits(&packed) && ends.is_none_or(|len| len <= packing.set_value) {
                    self.members = Members::Packed(packed);
                } else {
                    self.explode()?;
                }
            }
            Members::Packed(packed) => {
                if !fits(packed) {
                    self.explode()?;
                }
            }
            Members::Exploded { .. } => {}
        }
        Ok(())
    }

    /// Gives each member a record of its own.
    fn explode(&mut self) -> Result<()> {
        let packed = match &self.members {
            Members::Integers(list) => &to_packed(list)?,
            Members::Packed(packed) => packed,
            Members::Exploded { .. } => return Ok(()),
        };
        let generation = self.edit.next_generation();
        for entry in packed::entries(SET, &packed.list) {
            self.edit.put_element(generation, entry?.name, Bytes::new());
        }
        self.members = Members::Exploded { generation, count: packed.count };
        Ok(())
    }
}

fn to_packed(list: &[i64]) -> Result<Packed> {
    let mut packed = Packed::new(SET);
    for integer in list {
        packed.insert(itoa::Buffer::new().format(*integer).as_bytes(), &[], None)?;
    }
    Ok(packed)
}

/// The metadata record of a set; `None` without members.
fn meta_of(members: Members, expires_ms: Option<u64>) -> Option<Meta> {
    let (count, layout) = match members {
        Members::Integers(list) => (list.len() as u64, Layout::Integers(integers::encode(&list))),
        Members::Packed(packed) => (packed.count, Layout::Packed(packed.list.into())),
        Members::Exploded { generation, count } => (count, Layout::Exploded { generation }),
    };
    (count > 0).then(|| Meta {
        kind: KeyType::Set,
        expires_ms,
        form: StringForm::Natural,
        body: Body::Collection(Collection { count, next_expiry_ms: None, layout }),
    })
}

impl std::fmt::Debug for SetEdit<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetEdit").field("members", &self.members).finish_non_exhaustive()
    }
}
