//! Elements of large collections that random picks come from, and members that `SPOP` takes next.
//!
//! To find a random member is a walk from a random position, and that passes over whatever was deleted
//! there. So a set that is popped again and again gets a *pool*: a window of positions is taken at
//! random, wide enough for [`Extent::members`] on the average, or for all of a set of at most
//! [`Extent::whole`]; what is there is listed in random order, and the next ones come from the list.
//!
//! Why each member stays as likely as any other:
//!
//! - Each is equally likely to be in the window. A window is kept with a chance that grows with how many
//!   it holds, so that a crowded one does not make its members rarer (as in `pick.rs`). It is left for
//!   another once half of them were taken, and hardly ever one holds too few.
//! - What is added within the window is listed as likely as what was there before and is still there.
//! - The list says nothing of what is in the set. A candidate stays at its end until the transaction that
//!   took it is known to be committed, or another one sees that it is no member (any more); so a transaction
//!   that is dropped takes none away from the others. When a transaction begins, those before it were
//!   committed, but for one of its own number.
//!
//! A pool belongs to a generation, so it is as good under another name, and nobody asks for it when the
//! set is gone; a generation that is given out again, since the transaction that made it was dropped,
//! begins without one. The writer fills a pool from what it sees. Where that would wait for the disk or takes
//! too many steps, the run that warms fills it: the pool gathers what is added from the moment on at
//! which the writer has found it empty, and a view that is not older knows the rest. From then on the pools
//! of that set are *long*: they list more, since much is passed over for each member, and the writer does
//! not try to fill them.
//!
//! Reads pick from the list at random (of a window one after the other), and leave the window for another after as many picks; what their
//! view does not have they pass over. A pool that a read has made waits for a view that has all that was
//! written before the pool was there.
//!
//! A pool that nobody pops from costs reads less:
//!
//! - They go through all of a window, and the next window is kept whatever it holds: a member comes up once in
//!   each window that has it, and each is equally likely to be in a window. So that this holds from the first pick
//!   on, the first window is kept with a chance that grows with how many it holds, and is begun anywhere.
//! - While nothing was written that its list may have wrong, what it lists is in every view that is not older than the
//!   pool, and is not looked up. The first pop begins with a pool of its own.
//!
//! Bounds: [`POOLS`] pools of at most [`LISTED_MAX`] names and [`NAME_BYTES_MAX`] bytes.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::exploded::{TIMES, hash_of};
use crate::engine::{BuildKeyHasher, SeqNo};

/// How much a pool lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    /// Members of a window, on the average. Half of them are taken.
    members: u64,
    /// Members of a window that are told apart: six standard deviations above.
    members_max: u64,
    /// Of a set of so few members all are listed.
    whole: u64,
}

/// As a rule.
const SHORT: Extent = Extent { members: 512, members_max: 648, whole: 2048 };
/// Where a short window takes too many steps.
const LONG: Extent = Extent { members: 4096, members_max: 4480, whole: 8192 };
/// Names that a pool lists at most.
pub(super) const LISTED_MAX: usize = 12 << 10;
/// Bytes of these names.
const NAME_BYTES_MAX: usize = 512 << 10;
/// Pools at a time.
const POOLS: usize = 8;
/// Sets of which it is known how often they were popped lately.
const WATCHED: usize = 64;
/// Pops from which on a set is worth a pool.
const POPS_MIN: i32 = 4;
/// A pool that was used within so many pops of any set gives its place to no other.
const KEPT_POPS: u64 = 4096;
/// Picks that find nothing before a pool is made anew.
const MISSED_MIN: usize = 64;
/// What a name takes in memory beside its bytes, about.
const NAME_OVERHEAD: usize = 72;

/// A stretch of positions, which may go on behind the last at the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    from: u64,
    width: u64,
    extent: Extent,
}

impl Window {
    /// A window at a random place for a set of so many members.
    fn random(count: u64, extent: Extent) -> Self {
        if count <= extent.whole {
            return Self { from: 0, width: TIMES, extent };
        }
        Self { from: fastrand::u64(..TIMES), width: TIMES / count * extent.members, extent }
    }

    fn is_whole(self) -> bool {
        self.width == TIMES
    }

    /// Whether another one is due once so many were taken.
    fn is_through(self, taken: usize) -> bool {
        !self.is_whole() && taken as u64 >= self.extent.members / 2
    }

    fn contains(self, position: u64) -> bool {
        position.wrapping_sub(self.from) % TIMES < self.width
    }

    /// Its positions as two ranges, the ends of which do not belong to them.
    pub(super) fn ranges(self) -> [(u64, u64); 2] {
        let to = self.from + self.width;
        [(self.from, to.min(TIMES)), (0, to.saturating_sub(TIMES))]
    }
}

/// A name and its position.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) position: u64,
    pub(super) name: Bytes,
}

/// Who asks for the members of which set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) generation: u64,
    /// Members of the set.
    pub(super) count: u64,
    /// Of its transaction.
    pub(super) seq: SeqNo,
    /// Whether it is a run that only warms.
    pub(super) warms: bool,
}

/// What to do for the next member.
#[derive(Debug)]
pub(super) enum Next {
    /// It is this one, if it is a member.
    Candidate(Bytes),
    /// The pool wants to be filled with what is in this window.
    Fill(Window),
    /// The pool waits for a run that warms.
    Later,
    /// The set has no pool.
    NoPool,
}

/// What to do for an element that a read picks.
#[derive(Debug)]
pub(super) enum Pick {
    /// It is this one.
    Member(Bytes),
    /// It is this one, if it is in the view.
    Candidate(Bytes),
    /// The pool wants to be filled with what is in this window.
    Fill(Window),
    /// There is no pool for this view.
    NoPool,
}

/// The candidates of one set.
#[derive(Debug)]
struct Pool {
    /// `None` before it is filled: then all that is added is listed.
    window: Option<Window>,
    /// The last is the next.
    listed: Vec<Candidate>,
    /// The positions of these.
    positions: HashSet<u64, BuildKeyHasher>,
    name_bytes: usize,
    /// The transaction that has found it empty.
    since: SeqNo,
    /// Members listed and members of the set when it was filled.
    filled_with: usize,
    filled_of: u64,
    /// How many were found to be gone since.
    gone: usize,
    /// Picks since, and how many of them did not find what was listed.
    picks: usize,
    missed: usize,
    /// Whether pops come from it, too.
    is_popped: bool,
    /// Whether reads alone have gone through the window before.
    follows: bool,
    /// Whether something was written since that is listed: it may be dropped, or not be in all views.
    is_unsure: bool,
    /// When it was asked last, in pops of any set.
    asked_at: u64,
}

impl Pool {
    fn empty(since: SeqNo, asked_at: u64) -> Self {
        Self {
            window: None,
            listed: Vec::new(),
            positions: HashSet::with_hasher(BuildKeyHasher::random()),
            name_bytes: 0,
            since,
            filled_with: 0,
            filled_of: 0,
            gone: 0,
            picks: 0,
            missed: 0,
            is_popped: false,
            follows: false,
            is_unsure: false,
            asked_at,
        }
    }

    /// An empty one for pops.
    fn popped(since: SeqNo, asked_at: u64) -> Self {
        Self { is_popped: true, ..Self::empty(since, asked_at) }
    }

    /// Whether another window is due.
    fn is_through(&self) -> bool {
        self.listed.is_empty() || self.window.is_some_and(|window| window.is_through(self.gone))
    }

    /// Whether reads have picked as many as a window gives.
    fn is_picked_through(&self) -> bool {
        let is_through = |window: Window| match self.is_popped {
            true => window.is_through(self.picks),
            false => !window.is_whole() && self.picks >= self.listed.len(),
        };
        self.is_through() || self.window.is_some_and(is_through)
    }

    /// Something at this position is written: the list may have it wrong.
    fn doubt(&mut self, position: u64) {
        self.is_unsure |= self.window.is_none() || self.positions.contains(&position);
    }

    /// Whether something that is added in the window is listed.
    fn admits(&self) -> bool {
        let part = |gone: usize, of: u64| 1.0 - gone as f64 / of.max(1) as f64;
        let here = part(self.gone, self.filled_with as u64);
        let everywhere = part(self.gone, self.filled_of);
        self.window.is_some_and(Window::is_whole) || fastrand::f64() * everywhere < here
    }

    /// Lists a candidate at a random place of the order.
    fn push(&mut self, candidate: Candidate) {
        if !self.positions.insert(candidate.position) {
            return;
        }
        self.name_bytes += candidate.name.len();
        self.listed.push(candidate);
        let last = self.listed.len() - 1;
        self.listed.swap(last, fastrand::usize(..=last));
    }

    /// Takes the next candidate off the list, if it is the one at `position`: it is gone.
    fn take_off(&mut self, position: u64) {
        if let Some(next) = self.listed.pop_if(|next| next.position == position) {
            self.positions.remove(&position);
            self.name_bytes -= next.name.len();
            self.gone += 1;
        }
    }

    fn is_too_large(&self) -> bool {
        self.listed.len() > LISTED_MAX || self.name_bytes > NAME_BYTES_MAX
    }

    fn size_bytes(&self) -> usize {
        self.name_bytes + self.listed.len() * NAME_OVERHEAD
    }
}

/// All pools, and which sets are popped.
#[derive(Debug, Default)]
struct Pools {
    by_generation: BTreeMap<u64, Pool>,
    /// By generation, each in a place of its own.
    watched: Vec<Watched>,
    pops: u64,
    /// What a transaction was handed out to take first, unless the next one has begun.
    taken: Option<Taken>,
}

/// What is known of a set that was popped.
#[derive(Debug, Clone, Copy)]
struct Watched {
    generation: u64,
    /// Pops since it is watched.
    pops: i32,
    /// Of its windows.
    extent: Extent,
    /// Whether only runs that warm fill its pools.
    is_left: bool,
}

/// A candidate that a transaction takes.
#[derive(Debug, Clone, Copy)]
struct Taken {
    generation: u64,
    position: u64,
    seq: SeqNo,
}

impl Pools {
    /// Whether the set is popped often enough for a pool, and there is a place for one.
    fn wants(&mut self, generation: u64) -> bool {
        let watched = self.watched(generation);
        watched.pops = watched.pops.saturating_add(1);
        watched.pops >= POPS_MIN && self.has_place()
    }

    /// What is known of a set.
    fn watched(&mut self, generation: u64) -> &mut Watched {
        let unknown = Watched { generation, pops: 0, extent: SHORT, is_left: false };
        self.watched.resize(WATCHED, Watched { generation: 0, ..unknown });
        let place = usize::try_from(generation).unwrap_or(0) % WATCHED;
        let watched = &mut self.watched[place];
        if watched.generation != generation {
            *watched = unknown;
        }
        watched
    }

    /// What the empty pool of a set is to be filled with.
    fn window(&mut self, asker: Asker) -> Window {
        Window::random(asker.count, self.watched(asker.generation).extent)
    }

    /// The same for a pop.
    fn fill(&mut self, asker: Asker) -> Next {
        if self.watched(asker.generation).is_left && !asker.warms {
            return Next::Later;
        }
        Next::Fill(self.window(asker))
    }

    fn has_place(&mut self) -> bool {
        if self.by_generation.len() < POOLS {
            return true;
        }
        let oldest = self.by_generation.iter().min_by_key(|(_, pool)| pool.asked_at);
        let leaves = oldest
            .filter(|(_, pool)| pool.asked_at + KEPT_POPS < self.pops)
            .map(|(generation, _)| *generation);
        leaves.and_then(|generation| self.by_generation.remove(&generation)).is_some()
    }
}

/// The pools of a server. Shared memory beside the records: nothing in it is durable, and what it says is
/// checked when it is used.
#[derive(Debug, Default)]
pub struct Candidates {
    pools: Mutex<Pools>,
    /// Number of pools, so that most never take the lock.
    count: AtomicUsize,
    /// The newest transaction that has written an element of any collection.
    newest: AtomicU64,
    /// Held by a run that warms while it fills a pool: others do not fill it once more.
    filling: Mutex<()>,
    /// Whether something is taken of which it is not known whether that was committed.
    unsettled: AtomicBool,
}

impl Candidates {
    /// A transaction of the writer begins that will take this number: what one before it has taken is
    /// gone, what one of its own number has taken is not. Called before anything is asked for in it.
    #[inline]
    pub(super) fn settle(&self, seq: SeqNo) {
        if self.unsettled.load(Ordering::Relaxed) {
            self.settle_taken(seq);
        }
    }

    fn settle_taken(&self, seq: SeqNo) {
        let pools = &mut *self.pools.lock();
        self.unsettled.store(false, Ordering::Relaxed);
        if let Some(taken) = pools.taken.take().filter(|taken| taken.seq < seq)
            && let Some(pool) = pools.by_generation.get_mut(&taken.generation)
        {
            pool.take_off(taken.position);
        }
    }

    /// What to do for the next member of a set, behind the first `passed` that are listed.
    pub(super) fn next(&self, asker: Asker, passed: usize) -> Next {
        let pools = &mut *self.pools.lock();
        pools.pops += u64::from(!asker.warms);
        let now = pools.pops;
        let Some(pool) = pools.by_generation.get_mut(&asker.generation) else {
            if asker.warms || !pools.wants(asker.generation) {
                return Next::NoPool;
            }
            self.insert(pools, asker.generation, Pool::popped(asker.seq, now));
            return pools.fill(asker);
        };
        if !pool.is_popped {
            if asker.warms {
                return Next::NoPool;
            }
            *pool = Pool::popped(asker.seq, now);
        }
        pool.asked_at = now;
        if pool.window.is_none() && asker.seq < pool.since {
            return Next::NoPool;
        }
        if pool.window.is_none() {
            return pools.fill(asker);
        }
        let at = pool.listed.len().checked_sub(passed + 1);
        match at.and_then(|at| pool.listed.get(at)) {
            Some(next) if !pool.is_through() => {
                if passed == 0 && !asker.warms {
                    let Asker { generation, seq, .. } = asker;
                    pools.taken = Some(Taken { generation, position: next.position, seq });
                    self.unsettled.store(true, Ordering::Relaxed);
                }
                Next::Candidate(next.name.clone())
            }
            _ if asker.warms || passed > 0 => Next::NoPool,
            _ => {
                *pool = Pool::popped(asker.seq, now);
                pools.fill(asker)
            }
        }
    }

    /// What to do for an element that a read picks.
    pub(super) fn pick(&self, asker: Asker) -> Pick {
        let pools = &mut *self.pools.lock();
        pools.pops += 1;
        let now = pools.pops;
        if let Some(pool) = pools.by_generation.get_mut(&asker.generation) {
            pool.asked_at = now;
            if let Some(window) = pool.window
                && !pool.is_picked_through()
            {
                // Of a window none comes twice: they are few, and the collection has many more.
                let picked = if window.is_whole() {
                    fastrand::choice(&pool.listed)
                } else {
                    pool.listed.get(pool.picks % pool.listed.len())
                };
                pool.picks += 1;
                let is_sure = !pool.is_popped && !pool.is_unsure && asker.seq >= pool.since;
                return match picked.map(|picked| picked.name.clone()) {
                    Some(name) if is_sure => Pick::Member(name),
                    Some(name) => Pick::Candidate(name),
                    None => Pick::NoPool,
                };
            }
            if pool.window.is_some() {
                let (is_popped, follows) = (pool.is_popped, !pool.is_popped);
                let since = self.newest.load(Ordering::SeqCst) + 1;
                *pool = Pool { is_popped, follows, ..Pool::empty(since, now) };
            }
        } else if pools.wants(asker.generation) {
            self.insert(pools, asker.generation, Pool::empty(SeqNo::MAX, now));
            if let Some(pool) = pools.by_generation.get_mut(&asker.generation) {
                pool.since = self.newest.load(Ordering::SeqCst) + 1;
            }
        } else {
            return Pick::NoPool;
        }
        let since = pools.by_generation.get(&asker.generation).map(|pool| pool.since);
        if since.is_some_and(|since| asker.seq >= since) {
            Pick::Fill(pools.window(asker))
        } else {
            Pick::NoPool
        }
    }

    /// What [`Self::pick`] has answered is not in the view of who has asked.
    pub(super) fn missed(&self, generation: u64) {
        let pools = &mut *self.pools.lock();
        let Some(pool) = pools.by_generation.get_mut(&generation) else { return };
        pool.missed += 1;
        if pool.missed > MISSED_MIN && pool.missed > pool.listed.len() / 2 {
            self.remove(pools, generation);
        }
    }

    fn insert(&self, pools: &mut Pools, generation: u64, pool: Pool) {
        pools.by_generation.insert(generation, pool);
        self.count.store(pools.by_generation.len(), Ordering::SeqCst);
    }

    /// Fills a pool with all that `asker` sees in `window`, if the window is kept.
    pub(super) fn fill(&self, asker: Asker, window: Window, mut found: Vec<Candidate>) {
        let pools = &mut *self.pools.lock();
        let Some(pool) = pools.by_generation.get_mut(&asker.generation) else { return };
        // A view from before may lack what was added meanwhile.
        if pool.window.is_some() || asker.seq < pool.since {
            return;
        }
        let members_max = window.extent.members_max;
        let is_kept = window.is_whole() || pool.follows;
        if !is_kept && fastrand::u64(..members_max) >= found.len() as u64 {
            return;
        }
        fastrand::shuffle(&mut found);
        let added = std::mem::replace(&mut pool.listed, found);
        pool.window = Some(window);
        pool.positions = pool.listed.iter().map(|candidate| candidate.position).collect();
        pool.name_bytes = pool.listed.iter().map(|candidate| candidate.name.len()).sum();
        (pool.filled_with, pool.filled_of) = (pool.listed.len(), asker.count);
        pool.picks =
            if is_kept || pool.is_popped { 0 } else { fastrand::usize(..pool.listed.len()) };
        let added = added.into_iter().filter(|added| window.contains(added.position));
        added.for_each(|added| pool.push(added));
        if pool.is_too_large() {
            self.remove(pools, asker.generation);
        }
    }

    /// To fill the pool of a set takes longer than others can wait for.
    pub(super) fn takes_long(&self, generation: u64) {
        let pools = &mut *self.pools.lock();
        let watched = pools.watched(generation);
        if !watched.is_left {
            (watched.is_left, watched.extent) = (true, LONG);
        }
    }

    /// What is in a window is too much for a pool: less is listed, or the set is none for a pool.
    pub(super) fn refuse(&self, generation: u64, window: Window) {
        let pools = &mut *self.pools.lock();
        let watched = pools.watched(generation);
        match window.extent {
            LONG => watched.extent = SHORT,
            _ => watched.pops = i32::MIN,
        }
        self.remove(pools, generation);
    }

    /// Whether so many names are too many for a pool.
    pub(super) fn is_too_large(names: usize, name_bytes: usize) -> bool {
        names > LISTED_MAX || name_bytes > NAME_BYTES_MAX
    }

    /// Keeps others from filling pools.
    pub(super) fn lock_filling(&self) -> MutexGuard<'_, ()> {
        self.filling.lock()
    }

    /// The next `count` candidates of a set, for a run that warms.
    pub(super) fn upcoming(&self, generation: u64, count: usize) -> Vec<Bytes> {
        let pools = self.pools.lock();
        let listed = pools.by_generation.get(&generation).map(|pool| &pool.listed);
        let upcoming = listed.into_iter().flat_map(|listed| listed.iter().rev().take(count));
        upcoming.map(|candidate| candidate.name.clone()).collect()
    }

    /// The next candidate of a set, `name`, is no member.
    pub(super) fn gone(&self, generation: u64, name: &[u8]) {
        let mut pools = self.pools.lock();
        let Some(pool) = pools.by_generation.get_mut(&generation) else { return };
        if let Some(position) = pool.listed.last().filter(|next| next.name == name) {
            pool.take_off(position.position);
        }
    }

    /// An element is written by a transaction, most likely a new one.
    pub(super) fn added(&self, generation: u64, name: &[u8], seq: SeqNo) {
        // In this order, and in `pick` the other way round: either this sees the pool, or that sees this.
        self.newest.fetch_max(seq, Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let position = hash_of(name);
        let pools = &mut *self.pools.lock();
        let Some(pool) = pools.by_generation.get_mut(&generation) else { return };
        // What was popped, and comes again, may be the next still; it shall not be from now on.
        pool.take_off(position);
        let is_listed = match pool.window {
            Some(window) => window.contains(position) && pool.admits(),
            None => true,
        };
        if is_listed {
            pool.push(Candidate { position, name: Bytes::copy_from_slice(name) });
            pool.doubt(position);
        }
        if pool.is_too_large() {
            self.remove(pools, generation);
        }
    }

    /// An element is deleted by a transaction.
    pub(super) fn deleted(&self, generation: u64, name: &[u8], seq: SeqNo) {
        // As in `added`.
        self.newest.fetch_max(seq, Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(pool) = self.pools.lock().by_generation.get_mut(&generation) {
            pool.doubt(hash_of(name));
        }
    }

    /// Forgets what is known of a generation.
    pub(super) fn forget(&self, generation: u64) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.remove(&mut self.pools.lock(), generation);
        }
    }

    fn remove(&self, pools: &mut Pools, generation: u64) {
        pools.by_generation.remove(&generation);
        self.count.store(pools.by_generation.len(), Ordering::SeqCst);
    }

    /// Bytes in use, about.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.pools.lock().by_generation.values().map(Pool::size_bytes).sum()
    }
}
