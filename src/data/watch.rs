//! Whether a key has changed since it was looked at. Nothing is kept for it where it is written.
//!
//! Every change of a key writes its metadata record, and every record knows the transaction that wrote
//! it. So a key has changed if that transaction is newer than the view in which it was looked at, or
//! if its database was emptied or exchanged and has another keyspace now. A key that had
//! expired by then is as good as none: that it is deleted is no change.
//!
//! A stream that gets or loses a group, or the last id of which is set, has not changed: its record says
//! since when.
//!
//! A key that was made, and has expired, while its database was exchanged for another counts as changed.
//!
//! What left no trace is no change. So it is where a key was not there and is not there, made and
//! deleted meanwhile, if the tombstone has gone with its keyspace or by compaction; or where two
//! databases were exchanged, and exchanged again.

use bytes::Bytes;

use super::root::RootRef;
use super::{Meta, key};
use crate::engine::{Found, Read, Result, SeqNo};

/// What was at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// Nothing.
    Absent,
    /// A value.
    Present,
    /// A value that has expired but was not deleted yet.
    Stale,
}

impl Presence {
    fn of(record: Option<&Bytes>, now_ms: u64) -> Result<Self> {
        let Some(record) = record else { return Ok(Self::Absent) };
        let expired = Meta::decode(record)?.is_expired(now_ms);
        Ok(if expired { Self::Stale } else { Self::Present })
    }
}

/// The transaction that has changed a key last.
fn changed_at(newest: &Found) -> Result<SeqNo> {
    let meta = newest.value.as_ref().map(Meta::decode).transpose()?;
    let stream = meta.as_ref().and_then(Meta::stream);
    Ok(stream.and_then(|stream| stream.quiet_since).unwrap_or(newest.seq))
}

/// A key as it was in some view.
#[derive(Debug, Clone)]
pub struct Watch {
    db: u16,
    keyspace: u32,
    seq: SeqNo,
    found: Presence,
}

impl Watch {
    /// Looks at `key` of database `db` in `read`, a view as of `seq`. Counts and touches nothing.
    pub fn begin(read: &dyn Read, seq: SeqNo, db: u16, key: &[u8], now_ms: u64) -> Result<Self> {
        let keyspace = RootRef::parse(read.root())?.database(db).keyspace;
        let found = Presence::of(read.get(&key::meta(keyspace, key))?.as_ref(), now_ms)?;
        Ok(Self { db, keyspace, seq, found })
    }

    /// Whether `key`, the same one, has changed since, as `read` sees it now.
    pub fn has_changed(&self, read: &dyn Read, key: &[u8], now_ms: u64) -> Result<bool> {
        let keyspace = RootRef::parse(read.root())?.database(self.db).keyspace;
        let newest = read.newest(&key::meta(keyspace, key))?;
        let changed_at = newest.as_ref().map(changed_at).transpose()?;
        let is_newer = changed_at.is_some_and(|seq| seq > self.seq);
        let value = newest.and_then(|newest| newest.value);
        let now = Presence::of(value.as_ref(), now_ms)?;
        let (was_there, is_there) = (self.found == Presence::Present, now == Presence::Present);
        if keyspace != self.keyspace {
            return Ok(was_there || is_there);
        }
        let was_reaped = self.found == Presence::Stale && now == Presence::Absent;
        Ok(if is_newer { !was_reaped } else { was_there && !is_there })
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Store;
    use super::super::{
        Access, Candidates, Context, Cursors, Edit, EventClasses, Packing, StreamEdit, StreamId,
    };
    use super::*;

    /// A store, its clock, and what surrounds its transactions.
    struct Fixture {
        store: Store,
        access: Access,
        cursors: Cursors,
        now_ms: u64,
    }

    impl Fixture {
        fn new() -> Self {
            let access = Access::new(1 << 10, 1000);
            Self { store: Store::default(), access, cursors: Cursors::default(), now_ms: 1000 }
        }

        fn change(&mut self, db: u16, change: impl FnOnce(&mut Edit<'_>)) {
            let context = Context {
                now_ms: self.now_ms,
                db,
                databases: 16,
                string_bytes_max: 1 << 20,
                hll_sparse_bytes_max: 3000,
                packing: Packing::DEFAULT,
                access: &self.access,
                orders: &crate::data::NO_KNOWN_ORDERS,
                touch: true,
                in_script: false,
                cursors: &self.cursors,
                candidates: &Candidates::default(),
                warms: false,
                memory: &crate::env::UNBOUNDED_MEMORY,
                events: EventClasses::default(),
            };
            let mut edit = Edit::new(self.store.txn(), context).unwrap();
            change(&mut edit);
            let (changes, _) = edit.finish().unwrap();
            if !changes.is_empty() {
                self.store.commit(changes);
            }
        }

        fn set(&mut self, db: u16, expires_ms: Option<u64>) {
            self.change(db, |edit| {
                let old = edit.find(b"k").unwrap();
                let value = Bytes::from_static(b"v");
                edit.set_string(b"k", old.as_ref(), value.clone(), expires_ms);
            });
        }

        fn delete(&mut self, db: u16) {
            self.change(db, |edit| {
                if let Some(meta) = edit.find(b"k").unwrap() {
                    edit.delete(b"k", &meta);
                }
            });
        }

        fn watch(&self, db: u16) -> Watch {
            Watch::begin(&self.store, self.store.seq(), db, b"k", self.now_ms).unwrap()
        }

        fn has_changed(&self, watch: &Watch) -> bool {
            watch.has_changed(&self.store, b"k", self.now_ms).unwrap()
        }
    }

    #[test]
    fn a_write_of_the_key_is_a_change_and_one_of_another_database_is_none() {
        let mut on = Fixture::new();
        let absent = on.watch(0);
        on.set(3, None);
        assert!(!on.has_changed(&absent));
        on.set(0, None);
        assert!(on.has_changed(&absent));
        let present = on.watch(0);
        assert!(!on.has_changed(&present));
        on.set(0, None);
        assert!(on.has_changed(&present), "the same value again");
        let present = on.watch(0);
        on.delete(0);
        assert!(on.has_changed(&present));
        let absent = on.watch(0);
        on.set(0, None);
        on.delete(0);
        assert!(on.has_changed(&absent), "made and deleted");
    }

    #[test]
    fn to_expire_is_a_change_and_to_be_deleted_thereafter_is_none() {
        let mut on = Fixture::new();
        on.set(0, Some(1500));
        let fresh = on.watch(0);
        on.now_ms = 1500;
        assert!(on.has_changed(&fresh), "expired, still stored");
        let stale = on.watch(0);
        assert!(!on.has_changed(&stale));
        on.delete(0);
        assert!(on.has_changed(&fresh));
        assert!(!on.has_changed(&stale), "deleted because it had expired");
        on.set(0, None);
        assert!(on.has_changed(&stale));
    }

    #[test]
    fn databases_that_are_emptied_or_exchanged_change_the_keys_that_they_hold() {
        let mut on = Fixture::new();
        on.set(0, None);
        on.set(1, None);
        on.delete(1);
        on.set(2, None);
        let (present, absent) = (on.watch(0), on.watch(1));
        on.change(0, |edit| edit.flush_all());
        assert!(on.has_changed(&present));
        assert!(!on.has_changed(&absent));

        on.set(0, None);
        let (present, absent, neither) = (on.watch(0), on.watch(1), on.watch(4));
        on.change(0, |edit| edit.swap(0, 1));
        assert!(on.has_changed(&present), "not there any more");
        assert!(on.has_changed(&absent), "there now");
        on.change(0, |edit| edit.swap(4, 5));
        assert!(!on.has_changed(&neither));
    }

    #[test]
    fn stale_keys_stay_unchanged_when_databases_are_exchanged() {
        let mut on = Fixture::new();
        on.set(0, Some(1100));
        on.set(2, Some(1100));
        on.now_ms = 1200;
        let (stale, absent) = (on.watch(0), on.watch(1));
        on.change(0, |edit| edit.swap(0, 1));
        assert!(!on.has_changed(&stale), "replaced by nothing");
        assert!(!on.has_changed(&absent), "replaced by a stale one");
        let stale = on.watch(2);
        on.change(0, |edit| edit.swap(1, 2));
        assert!(!on.has_changed(&stale), "replaced by another stale one");
    }

    #[test]
    fn a_stream_changes_with_its_entries_only() {
        let mut on = Fixture::new();
        let stream = |on: &mut Fixture, run: &dyn Fn(&mut StreamEdit<'_, '_>)| {
            on.change(0, |edit| {
                let old = edit.find(b"k").unwrap();
                let mut stream = edit.stream(b"k", old);
                run(&mut stream);
                stream.finish().unwrap();
            });
        };
        let id = |ms| StreamId { ms, seq: 1 };
        stream(&mut on, &|stream| {
            stream.create();
        });
        let watch = on.watch(0);
        stream(&mut on, &|stream| assert!(stream.create_group(b"g", id(0), None).unwrap()));
        stream(&mut on, &|stream| stream.set_last(id(7), None, None));
        stream(&mut on, &|stream| assert!(stream.destroy_group(b"g").unwrap()));
        assert!(!on.has_changed(&watch));
        let later = on.watch(0);
        on.change(0, |edit| {
            let meta = edit.find(b"k").unwrap().unwrap();
            edit.set_expiry(b"k", &meta, Some(9000));
        });
        assert!(on.has_changed(&watch) && on.has_changed(&later));
        let watch = on.watch(0);
        stream(&mut on, &|stream| stream.set_last(id(9), None, None));
        assert!(!on.has_changed(&watch) && on.has_changed(&later));
    }

    #[test]
    fn a_key_that_has_gone_without_a_trace_has_changed() {
        let mut on = Fixture::new();
        on.set(0, None);
        let present = on.watch(0);
        on.delete(0);
        on.store.forget_tombstones();
        assert!(on.has_changed(&present));
    }
}
