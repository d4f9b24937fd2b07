//! Client-side caching: clients keep copies of what they have read, and are told when these are no
//! good any more.
//!
//! A client that tracks is remembered with each key that it reads (`table`), until that key is
//! modified once; or it names prefixes, and is told of every key that begins with one (`prefixes`).
//! The keys of all databases are one. `CLIENT TRACKING` and its kind stand in `client/tracking.rs`.
//!
//! # Why no copy is stale
//!
//! Reads look at snapshots beside the writer, so a read and a modification may cross. What must not
//! be is that a client takes a value for good that was read at sequence number `s`, while the key was
//! modified at `s' > s` and the client was told before it got the value, or is never told.
//!
//! *It is told.* The writer publishes `s'` first, and looks up who has read the key behind that. A
//! connection is remembered with the key first, and takes its snapshot behind that. Both use the lock
//! of the key's shard. If the look-up comes behind the entry, it finds it, and the client is told. If
//! it comes before, the publication came before the entry too, so the snapshot is of `s'` or later:
//! the value is not stale. Prefixes are the same: one is entered before the client reads.
//!
//! *Scripts and transactions that only read* do not know their keys beforehand. They read from one
//! snapshot, are remembered behind that, and then look whether one of their keys has changed between
//! the snapshot and now ([`crate::data::Watch`]); where it has, they tell the client themselves. A
//! change that is published behind this look finds the entry.
//!
//! *Calls on the writer* read between modifications. What they have read and what they have modified
//! is put down in order, and takes effect in this order when the batch is published: a modification
//! behind the read in the batch, or in a later one, finds the entry, one before does not.
//!
//! *It is told behind the value.* What is pushed to a connection is written behind its replies, and a
//! reply that was being made when something was pushed comes first; what was pushed before a request
//! was read stands before its reply. Only the calls of a group, which
//! travel to the writer together, have several replies waiting at once; there an invalidation says
//! behind which reply it has to stand: that with which the key was read, and that of the call which
//! modified it, if the client did it itself. What is not about one read (prefixes, a flush) stands
//! behind the group. Invalidations that are redirected leave on another connection; their order with
//! the replies is for the client to see to, as with Redis: it drops the copy that it asks for.
//!
//! *The first one.* While nobody tracks, modifications are not noted. So the first `CLIENT TRACKING
//! ON` sets the flag, and answers when everything is published that the writer has run before it saw
//! the flag ([`super::Control::Settle`]); what the client reads behind the answer is noted when it is
//! modified.
//!
//! Too much is told sometimes: a client that is told of a value which it got in its newer form drops
//! that, and asks again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::Mutex;

use super::pubsub::PlaceAmongReplies;
use super::{Client, ClientFlag, ServerState, memory_budget};

mod broadcast;
mod delivery;
mod prefixes;
mod table;
#[cfg(test)]
mod tests;
mod trail;

pub(crate) use broadcast::Broadcast;
pub(crate) use delivery::{Cause, Delivery};
use delivery::{Part, What, places};
use prefixes::Prefixes;
use table::Table;
pub(crate) use trail::{Noted, Trail};

/// What a prefix takes besides its bytes, about: its places with the client and with all prefixes.
const PREFIX_BYTES: usize = 160;
/// Keys that are evicted at a time where there are too many; more in each round behind another.
const EVICTED: usize = 100;

/// The part of the memory budget that what is remembered may take.
const BUDGET_SHARE: u64 = 8;

/// How a client tracks.
#[derive(Debug, Clone, Default)]
pub struct TrackingOptions {
    /// To which client invalidations go, where that is not itself.
    pub redirect: Option<u64>,
    /// By prefix; else by what it reads.
    pub bcast: bool,
    /// Only what is read behind `CLIENT CACHING YES`.
    pub optin: bool,
    /// All but what is read behind `CLIENT CACHING NO`.
    pub optout: bool,
    /// It is not told of what it modifies itself.
    pub noloop: bool,
    /// The prefixes; one that is empty stands for all keys.
    pub prefixes: BTreeSet<Bytes>,
}

/// A client that tracks.
#[derive(Debug)]
pub struct Tracker {
    pub(crate) client: Arc<Client>,
    /// How it does.
    pub options: TrackingOptions,
}

impl Tracker {
    /// Whether it is remembered with what it reads; `caching` says that `CLIENT CACHING` was called.
    #[must_use]
    pub fn remembers(&self, caching: bool) -> bool {
        let TrackingOptions { bcast, optin, optout, .. } = self.options;
        let is_left_out = if caching { optout } else { optin };
        !(bcast || is_left_out)
    }
}

/// Whether modifications are noted by now.
#[derive(Debug, Default)]
struct Phase {
    /// How often somebody was the first to track.
    generation: u64,
    /// Whether all that is not published yet was noted, as long as somebody tracks.
    settled: bool,
    trackers: usize,
}

/// All that track, and what they have read.
#[derive(Debug, Default)]
pub struct Tracking {
    active: AtomicBool,
    phase: Mutex<Phase>,
    trackers: DashMap<u64, Arc<Tracker>>,
    table: Table,
    prefixes: Prefixes,
    /// Rounds of eviction in a row that were not enough.
    rounds: AtomicUsize,
}

impl Tracking {
    /// Whether anybody tracks. Costs one load.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    /// Clients that track, keys that are remembered, clients with these keys in sum, prefixes.
    #[must_use]
    pub fn totals(&self) -> [usize; 4] {
        let trackers = self.phase.lock().trackers;
        [trackers, self.table.keys(), self.table.items(), self.prefixes.len()]
    }

    /// What is remembered takes so many bytes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Has `client` track from now on, and hands out what stands for that. Where the second answer is
    /// `Some`, what it reads is noted only once the writer has settled ([`Self::settled`]).
    pub(crate) fn enable(
        &self,
        client: &Arc<Client>,
        options: TrackingOptions,
    ) -> (Arc<Tracker>, Option<u64>) {
        let tracker = Arc::new(Tracker { client: Arc::clone(client), options });
        let options = &tracker.options;
        let redirect = options.redirect.and_then(|id| i64::try_from(id).ok());
        client.redirect.store(redirect.unwrap_or(0), Ordering::Relaxed);
        client.set(ClientFlag::TRACKING, true);
        client.set(ClientFlag::TRACKING_BROKEN, false);
        client.set(ClientFlag::TRACKING_BCAST, options.bcast);
        let bytes = options.prefixes.iter().map(|prefix| prefix.len() + PREFIX_BYTES).sum();
        client.tracked_bytes.store(bytes, Ordering::Relaxed);
        let mut phase = self.phase.lock();
        if phase.trackers == 0 {
            phase.generation += 1;
            self.active.store(true, Ordering::SeqCst);
        }
        if self.trackers.insert(client.id, Arc::clone(&tracker)).is_none() {
            phase.trackers += 1;
        }
        for prefix in &options.prefixes {
            self.prefixes.add(prefix, client.id);
        }
        let unsettled = (!phase.settled).then_some(phase.generation);
        drop(phase);
        (tracker, unsettled)
    }

    /// Everything is published that the writer had run when this generation began.
    pub(crate) fn settled(&self, generation: u64) {
        let mut phase = self.phase.lock();
        phase.settled |= phase.generation == generation && phase.trackers > 0;
    }

    /// A client does not track any more. It stays in the table until the keys are modified, as with
    /// Redis, and nobody is told there; the table is emptied when the last one goes.
    pub(crate) fn disable(&self, client: &Client) {
        let mut phase = self.phase.lock();
        let Some((_, tracker)) = self.trackers.remove(&client.id) else { return };
        for prefix in &tracker.options.prefixes {
            self.prefixes.remove(prefix, client.id);
        }
        for flag in [ClientFlag::TRACKING, ClientFlag::TRACKING_BROKEN, ClientFlag::TRACKING_BCAST]
        {
            client.set(flag, false);
        }
        client.redirect.store(-1, Ordering::Relaxed);
        client.tracked_bytes.store(0, Ordering::Relaxed);
        phase.trackers -= 1;
        if phase.trackers == 0 {
            phase.settled = false;
            self.active.store(false, Ordering::SeqCst);
            self.table.clear();
        }
    }

    /// Notes that a client reads `key`. An invalidation of it has to stand behind the reply of number
    /// `reply`; 0 where it does so anyway.
    pub(crate) fn remember(&self, client: u64, reply: u64, key: &[u8]) {
        self.table.remember(key, client, reply);
    }

    /// A client has to be told that its copy of `key` is no good.
    pub(crate) fn tell_one(&self, state: &ServerState, tracker: &Arc<Tracker>, key: &Bytes) {
        self.table.forget(key, tracker.client.id);
        let part =
            Part::new([(Arc::clone(tracker), PlaceAmongReplies::default())], What::keys([key]));
        Delivery::from(part).advance(state, usize::MAX);
    }

    /// Who has to be told that `key` was modified; they are forgotten with it.
    pub(crate) fn modified(&self, key: &Bytes, cause: Cause) -> Option<Delivery> {
        let holders = self.table.take(key)?;
        let to = holders.iter().filter_map(|holder| {
            let tracker = self.tracker(holder.client)?;
            let is_own = holder.client == cause.client;
            if tracker.options.bcast || (tracker.options.noloop && is_own) {
                return None;
            }
            Some((tracker, places(holder.reply, is_own.then_some(cause.reply))))
        });
        let part = Part::new(to, What::keys([key]));
        (!part.is_empty()).then(|| part.into())
    }

    /// Who has to be told that all keys were modified; what was read is forgotten.
    pub(crate) fn all_modified(&self, cause: Cause) -> Delivery {
        self.table.clear();
        let trackers = self.trackers.iter().map(|entry| Arc::clone(entry.value()));
        let to = trackers.map(|tracker| {
            let place = cause.place_of_all(tracker.client.id);
            (tracker, place)
        });
        Part::new(to, What::All).into()
    }

    /// Forgets keys where there are more than `tracking-table-max-keys`, or they take more than their
    /// part of the budget, and tells those who have read them; whether there were any.
    pub(crate) fn evict(&self, state: &ServerState) -> bool {
        let (most, most_bytes) = {
            let settings = state.config.load();
            (settings.tracking_table_max_keys, memory_budget(&settings) / BUDGET_SHARE)
        };
        let exceeds = || {
            let is_many = most != 0 && self.table.keys() as u64 > most;
            is_many || self.table.bytes() as u64 > most_bytes
        };
        if !exceeds() {
            self.rounds.store(0, Ordering::Relaxed);
            return false;
        }
        let rounds = self.rounds.fetch_add(1, Ordering::Relaxed);
        for _ in 0..EVICTED * (rounds + 1) {
            let Some(key) = self.table.any() else { break };
            if let Some(mut delivery) = self.modified(&key, Cause::NOBODY) {
                delivery.advance(state, usize::MAX);
            }
            if !exceeds() {
                self.rounds.store(0, Ordering::Relaxed);
                break;
            }
        }
        true
    }

    fn tracker(&self, client: u64) -> Option<Arc<Tracker>> {
        self.trackers.get(&client).map(|entry| Arc::clone(entry.value()))
    }
}
