//! Fields that expire.

use super::collection::damaged;
use super::exploded;
use super::hash::{Fields, HashEdit};
use super::{Edit, EventClasses, KeyType, Meta};
use crate::engine::Result;

/// Expired fields of one hash that are deleted because a read has met the hash.
pub(super) const REAPED_FIELDS_MAX: usize = 512;

impl HashEdit<'_, '_> {
    /// Gives a field that is there an expiry in Unix milliseconds, or takes it away.
    pub fn set_field_expiry(&mut self, name: &[u8], expires_ms: Option<u64>) -> Result<()> {
        let Some((value, old_ms)) = self.stored(name)? else { return Ok(()) };
        self.note_change();
        match &mut self.fields {
            Fields::Packed(packed) => {
                packed.make_room_for_expiries()?;
                if let Some(range) = packed.find(name)?.map(|entry| entry.range) {
                    packed.remove(range);
                }
                packed.insert(name, &value, expires_ms)?;
            }
            Fields::Exploded { generation, .. } => {
                let record = exploded::encode(&value, expires_ms);
                self.edit.put_element(*generation, name, record);
                self.move_expiry(name, old_ms, expires_ms);
            }
        }
        Ok(())
    }

    /// Has a hash keep room for expiries, as Redis does as soon as one is asked for.
    pub fn expect_expiries(&mut self) -> Result<()> {
        if let Fields::Packed(packed) = &mut self.fields
            && !packed.shape.expiries
        {
            packed.make_room_for_expiries()?;
            self.note_change();
        }
        Ok(())
    }

    /// Deletes at most `limit` fields that have expired; answers how many that were.
    fn remove_expired(&mut self, limit: usize) -> Result<u64> {
        let now_ms = self.edit.context().now_ms;
        let mut names = Vec::new();
        match &self.fields {
            Fields::Packed(packed) => {
                for entry in super::packed::entries(packed.shape, &packed.list).take(limit) {
                    let entry = entry?;
                    // Those that expire come first, soonest first.
                    if !self.has_passed(entry.expires_ms) {
                        break;
                    }
                    names.push(bytes::Bytes::copy_from_slice(entry.name));
                }
            }
            Fields::Exploded { generation, .. } => {
                for found in self.edit.records(*generation).expiring(now_ms).take(limit) {
                    names.push(found?.1);
                }
            }
        }
        for name in &names {
            self.remove(name)?;
        }
        Ok(names.len() as u64)
    }
}

/// What is left of a hash whose expired fields were deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expired {
    /// Fields that were deleted.
    pub(super) fields: usize,
    /// When the next field expires; not later than now where the limit was reached.
    pub(super) next_expiry_ms: Option<u64>,
}

impl Edit<'_> {
    /// Deletes at most `limit` expired fields of the hash at `key`, and the key where none is left.
    pub(super) fn expire_fields(
        &mut self,
        key: &[u8],
        meta: Meta,
        limit: usize,
    ) -> Result<Expired> {
        if meta.kind != KeyType::Hash {
            return Err(damaged("fields that expire in a key that is no hash"));
        }
        let mut hash = self.hash(key, Some(meta));
        let fields = hash.remove_expired(limit)?;
        hash.finish()?;
        self.count_expired_fields(fields);
        if fields > 0 {
            self.notify_shrunk(EventClasses::HASH, "hexpired", key);
        }
        let next_expiry_ms = self.stored(key)?.and_then(|meta| meta.next_field_expiry());
        Ok(Expired { fields: usize::try_from(fields).unwrap_or(limit), next_expiry_ms })
    }
}
