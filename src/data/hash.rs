//! A hash in a transaction.
//!
//! [`HashEdit`] takes what [`Edit::find`] has found, changes fields, and writes the metadata record
//! once, when it is finished. A field that has expired is not there: setting it makes it anew.

use bytes::Bytes;

use super::collection::PACKED_BYTES_MAX;
use super::exploded::{self, decode, split};
use super::packed::{self, Entry, Packed, Shape};
use super::{Body, Collection, Edit, Element, KeyType, Layout, Meta, StringForm};
use crate::engine::Result;

/// The shape of a hash's records.
pub(super) const HASH: Shape = Shape { values: true, expiries: false };

/// How the fields are kept, while they change.
#[derive(Debug)]
pub(super) enum Fields {
    /// In the metadata record.
    Packed(Packed),
    /// A record each.
    Exploded {
        generation: u64,
        count: u64,
        /// When the next field expires; no later than that while `is_stale`.
        next_expiry_ms: Option<u64>,
        /// Whether the field that was to expire next may be gone.
        is_stale: bool,
    },
}

/// A hash that is being changed. Nothing holds before [`HashEdit::finish`].
pub struct HashEdit<'e, 'a> {
    pub(super) edit: &'e mut Edit<'a>,
    key: &'e [u8],
    old: Option<Meta>,
    pub(super) fields: Fields,
    changes: u64,
}

impl<'a> Edit<'a> {
    /// The hash at `key`, for which [`Edit::find`] has answered `old`: a hash or nothing.
    pub fn hash<'e>(&'e mut self, key: &'e [u8], old: Option<Meta>) -> HashEdit<'e, 'a> {
        let fields = match old.as_ref().and_then(Meta::collection) {
            None => Fields::Packed(Packed::new(HASH)),
            Some(Collection { count, next_expiry_ms, layout }) => match layout {
                Layout::Exploded { generation } | Layout::Ordered { generation, .. } => {
                    Fields::Exploded {
                        generation: *generation,
                        count: *count,
                        next_expiry_ms: *next_expiry_ms,
                        is_stale: false,
                    }
                }
                Layout::Packed(list) | Layout::Expiring(list) | Layout::Integers(list) => {
                    let expiries = matches!(layout, Layout::Expiring(_));
                    let shape = Shape { expiries, ..HASH };
                    Fields::Packed(Packed { shape, count: *count, list: list.to_vec() })
                }
            },
        };
        HashEdit { edit: self, key, old, fields, changes: 0 }
    }
}

/// What is stored of a field: value and expiry.
pub(super) type Stored = (Bytes, Option<u64>);

impl HashEdit<'_, '_> {
    /// The field of this name.
    pub fn get(&self, name: &[u8]) -> Result<Option<Element>> {
        let alive = self.stored(name)?.filter(|(_, expires_ms)| !self.has_passed(*expires_ms));
        Ok(alive.map(|(value, expires_ms)| Element {
            name: Bytes::copy_from_slice(name),
            value,
            expires_ms,
        }))
    }

    /// Prepares for so many fields, not all of which need to be new.
    pub fn expect(&mut self, fields: u64) -> Result<()> {
        if fields > self.edit.context().packing.hash_entries {
            self.explode()?;
        }
        Ok(())
    }

    /// Sets a field; its expiry is this one from now on. Answers whether the field is new.
    pub fn set(&mut self, name: &[u8], value: &[u8], expires_ms: Option<u64>) -> Result<bool> {
        let longest = self.edit.context().packing.hash_value;
        if name.len() as u64 > longest || value.len() as u64 > longest {
            self.explode()?;
        }
        let before = self.stored_expiry(name)?;
        let is_new = before.is_none_or(|at_ms| self.has_passed(at_ms));
        let old_ms = before.flatten();
        self.changes += 1;
        match &mut self.fields {
            Fields::Packed(packed) => {
                let found = packed.find(name)?.map(|entry| entry.range);
                match found {
                    Some(range) if old_ms == expires_ms => {
                        packed.put(range, name, value, expires_ms);
                    }
                    found => {
                        if let Some(range) = found {
                            packed.remove(range);
                        }
                        packed.insert(name, value, expires_ms)?;
                    }
                }
                let entries_max = self.edit.context().packing.hash_entries;
                if packed.count > entries_max || packed.list.len() > PACKED_BYTES_MAX {
                    self.explode()?;
                }
            }
            Fields::Exploded { generation, count, .. } => {
                *count += u64::from(before.is_none());
                let record = exploded::encode(value, expires_ms);
                self.edit.put_element(*generation, name, record);
                self.move_expiry(name, old_ms, expires_ms);
            }
        }
        Ok(is_new)
    }

    /// Deletes a field; answers whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> Result<bool> {
        let Some(old_ms) = self.stored_expiry(name)? else { return Ok(false) };
        match &mut self.fields {
            Fields::Packed(packed) => {
                if let Some(range) = packed.find(name)?.map(|entry| entry.range) {
                    packed.remove(range);
                }
            }
            Fields::Exploded { generation, count, .. } => {
                *count -= 1;
                self.edit.delete_element(*generation, name);
                self.move_expiry(name, old_ms, None);
            }
        }
        self.changes += 1;
        Ok(!self.has_passed(old_ms))
    }

    /// Writes the metadata record, or deletes the key where no field is left. Answers how many are.
    pub fn finish(mut self) -> Result<u64> {
        let (count, changes) = (self.count(), self.changes);
        if changes > 0 {
            let old = self.old.take();
            let expires_ms = old.as_ref().and_then(|meta| meta.expires_ms);
            let (edit, key) = (self.edit, self.key);
            let new = meta_of(edit, self.fields, expires_ms)?;
            edit.replace_collection(key, old.as_ref(), new.as_ref(), changes);
        }
        Ok(count)
    }

    /// The metadata record, which is not written; `None` without fields.
    pub(super) fn into_meta(self, expires_ms: Option<u64>) -> Result<Option<Meta>> {
        meta_of(self.edit, self.fields, expires_ms)
    }

    /// How many fields there are, expired ones included.
    fn count(&self) -> u64 {
        match &self.fields {
            Fields::Packed(packed) => packed.count,
            Fields::Exploded { count, .. } => *count,
        }
    }

    /// What is stored of a field, expired or not.
    pub(super) fn stored(&self, name: &[u8]) -> Result<Option<Stored>> {
        match &self.fields {
            Fields::Packed(packed) => Ok(packed
                .find(name)?
                .map(|entry| (Bytes::copy_from_slice(entry.value), entry.expires_ms))),
            Fields::Exploded { generation, .. } => {
                let record = self.record(*generation, name)?;
                record.map(|record| decode(HASH, &record)).transpose()
            }
        }
    }

    /// The expiry of what is stored of a field, expired or not.
    fn stored_expiry(&self, name: &[u8]) -> Result<Option<Option<u64>>> {
        match &self.fields {
            Fields::Packed(packed) => Ok(packed.find(name)?.map(|entry| entry.expires_ms)),
            Fields::Exploded { generation, .. } => {
                let record = self.record(*generation, name)?;
                record.map(|record| Ok(split(HASH, &record)?.1)).transpose()
            }
        }
    }

    /// The record of a field that has one of its own.
    fn record(&self, generation: u64, name: &[u8]) -> Result<Option<Bytes>> {
        match &self.old {
            Some(_) => self.edit.records(generation).get(name),
            None => Ok(self.edit.own_element(generation, name).cloned()),
        }
    }

    /// Whether an expiry has passed.
    pub(super) fn has_passed(&self, expires_ms: Option<u64>) -> bool {
        expires_ms.is_some_and(|at_ms| at_ms <= self.edit.context().now_ms)
    }

    /// Keeps the order of expiries of an exploded hash, and what is known of its start.
    pub(super) fn move_expiry(&mut self, name: &[u8], old_ms: Option<u64>, new_ms: Option<u64>) {
        let Fields::Exploded { generation, next_expiry_ms, is_stale, .. } = &mut self.fields else {
            return;
        };
        self.edit.move_element_expiry(*generation, name, old_ms, new_ms);
        if old_ms.is_some() && old_ms != new_ms && old_ms == *next_expiry_ms {
            *is_stale = true;
        }
        if let Some(at_ms) = new_ms {
            *next_expiry_ms = Some(next_expiry_ms.map_or(at_ms, |next_ms| next_ms.min(at_ms)));
        }
    }

    /// Gives each field a record of its own.
    fn explode(&mut self) -> Result<()> {
        let Fields::Packed(packed) = &self.fields else { return Ok(()) };
        let generation = self.edit.next_generation();
        let mut next_expiry_ms: Option<u64> = None;
        for entry in packed::entries(packed.shape, &packed.list) {
            let Entry { name, value, expires_ms, .. } = entry?;
            self.edit.put_element(generation, name, exploded::encode(value, expires_ms));
            self.edit.move_element_expiry(generation, name, None, expires_ms);
            next_expiry_ms = next_expiry_ms.or(expires_ms);
        }
        let count = packed.count;
        self.fields = Fields::Exploded { generation, count, next_expiry_ms, is_stale: false };
        Ok(())
    }

    /// Notes that something was changed elsewhere than by [`Self::set`] and [`Self::remove`].
    pub(super) fn note_change(&mut self) {
        self.changes += 1;
    }
}

/// The metadata record of a hash; `None` without fields.
fn meta_of(edit: &Edit<'_>, fields: Fields, expires_ms: Option<u64>) -> Result<Option<Meta>> {
    let collection = match fields {
        Fields::Packed(packed) => {
            let next_expiry_ms = if packed.shape.expiries { packed.next_expiry()? } else { None };
            let layout = if packed.shape.expiries { Layout::Expiring } else { Layout::Packed };
            let layout = layout(packed.list.into());
            Collection { count: packed.count, next_expiry_ms, layout }
        }
        Fields::Exploded { generation, count, mut next_expiry_ms, is_stale } => {
            if is_stale && count > 0 {
                let first = edit.records(generation).expiring(u64::MAX).next();
                next_expiry_ms = first.transpose()?.map(|(at_ms, _)| at_ms);
            }
            Collection { count, next_expiry_ms, layout: Layout::Exploded { generation } }
        }
    };
    Ok((collection.count > 0).then(|| Meta {
        kind: KeyType::Hash,
        expires_ms,
        form: StringForm::Natural,
        body: Body::Collection(collection),
    }))
}

impl std::fmt::Debug for HashEdit<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HashEdit").field("fields", &self.fields).finish_non_exhaustive()
    }
}
