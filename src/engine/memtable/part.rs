//! One part of a memtable: the entries of one kind.

use std::borrow::Cow;
use std::ops::Bound;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering as Atomic};

use bytes::Bytes;
use parking_lot::Mutex;

use super::backlog::{Backlog, Run, RunIter};
use super::entry::{Entry, Place};
use super::ordered::{Ordered, Page};
use crate::engine::{Direction, Error, KeyRange, ReadMode, Result, SeqNo};

/// Entries that a resident read may put in order.
pub(super) const RESIDENT_BACKLOG_MAX: usize = 256;

/// Entries of a page where a walk has passed over the versions of a key.
const SHORT_PAGE: usize = 4;

/// Before every version of its key.
const NEWEST: SeqNo = SeqNo::MAX;
/// After every version of its key: sequence numbers start at 1.
const OLDEST: SeqNo = 0;

/// Entries in no order yet, and those that were put in order.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// What is in no order yet.
    backlog: Mutex<Backlog>,
    /// Held by whoever puts entries in order; taken before `backlog`.
    ordering: Mutex<()>,
    /// What was put in order while the writer may add more.
    ordered: Ordered,
    /// Everything in order, where that was asked for only when it was sealed.
    run: OnceLock<Run>,
    is_sealed: AtomicBool,
    /// Whether the writer keeps `ordered` up to date.
    is_walked: AtomicBool,
    /// Whether anything was inserted.
    is_used: AtomicBool,
}

impl Part {
    /// Adds an entry. Only the writer calls this.
    pub(super) fn insert(&self, entry: Entry) {
        if !self.is_used.load(Atomic::Relaxed) {
            self.is_used.store(true, Atomic::Release);
        }
        if self.is_walked.load(Atomic::Relaxed)
            && let Some(_ordering) = self.ordering.try_lock()
            && let Ok(rest) = self.take_backlog(ReadMode::Resident)
        {
            // What came while a walk put the others in order.
            rest.backlog.into_run().iter().for_each(|entry| self.ordered.insert(entry.clone()));
            self.ordered.insert(entry);
        } else {
            self.backlog.lock().push(entry);
        }
    }

    /// Takes what is in no order yet; `WouldBlock` where that is too much for a resident read. The
    /// writer adds to the next backlog meanwhile. The caller holds `ordering`.
    pub(super) fn take_backlog(&self, mode: ReadMode) -> Result<Taken> {
        // Before the backlog is taken: only behind its seal that is all there will be.
        let is_all = self.is_sealed.load(Atomic::Acquire);
        let mut backlog = self.backlog.lock();
        if mode == ReadMode::Resident && backlog.len() > RESIDENT_BACKLOG_MAX {
            return Err(Error::WouldBlock);
        }
        Ok(Taken { backlog: std::mem::take(&mut *backlog), is_all })
    }

    /// No more entries will come.
    pub(super) fn seal(&self) {
        self.is_sealed.store(true, Atomic::Release);
    }

    /// Whether nothing was inserted.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_used.load(Atomic::Acquire)
    }

    /// Puts everything in order that was inserted so far; the writer does from now on.
    /// Fails with `WouldBlock` where a resident read would wait, or would hold up others.
    fn order(&self, mode: ReadMode) -> Result<Order<'_>> {
        if let Some(run) = self.run.get() {
            return Ok(Order::Run(run));
        }
        let _ordering = match mode {
            ReadMode::Blocking => self.ordering.lock(),
            ReadMode::Resident => self.ordering.try_lock().ok_or(Error::WouldBlock)?,
        };
        // Whoever held the lock before may have made it.
        if let Some(run) = self.run.get() {
            return Ok(Order::Run(run));
        }
        self.put_in_order(self.take_backlog(mode)?, mode)
    }

    /// Goes on behind [`Self::take_backlog`]. The caller holds `ordering`.
    pub(super) fn put_in_order(&self, mut taken: Taken, mode: ReadMode) -> Result<Order<'_>> {
        let was_walked = self.is_walked.swap(true, Atomic::Relaxed);
        if taken.is_all && !was_walked {
            return Ok(Order::Run(self.run.get_or_init(|| taken.backlog.into_run())));
        }
        // Until the writer can keep up by itself: each round is shorter than the one before.
        loop {
            let count = taken.backlog.len();
            taken.backlog.into_run().iter().for_each(|entry| self.ordered.insert(entry.clone()));
            if count <= RESIDENT_BACKLOG_MAX {
                return Ok(Order::Tree(&self.ordered));
            }
            taken = self.take_backlog(mode)?;
        }
    }

    /// The newest version of `key` that is not newer than `seq`.
    pub(super) fn get(&self, key: &[u8], seq: SeqNo, mode: ReadMode) -> Result<Option<Entry>> {
        Ok(self.order(mode)?.newest_at(key, seq))
    }

    /// Walks all versions in `range`.
    pub(super) fn entries(
        &self,
        (start, end): &KeyRange,
        direction: Direction,
        mode: ReadMode,
    ) -> Result<Entries<'_>> {
        let (from, stop) = match direction {
            Direction::Forward => (start, end),
            Direction::Reverse => (end, start),
        };
        Ok(Entries {
            order: self.order(mode)?,
            page: Vec::new().into_iter(),
            page_len: usize::MAX,
            next: Next::Bound(from.clone()),
            stop: stop.clone(),
            direction,
        })
    }

    /// Everything, forwards. Puts it in order first.
    pub(super) fn all(&self) -> Result<All<'_>> {
        Ok(match self.order(ReadMode::Blocking)? {
            Order::Run(run) => All::Run(run.iter()),
            Order::Tree(_) => {
                let all = (Bound::Unbounded, Bound::Unbounded);
                All::Tree(self.entries(&all, Direction::Forward, ReadMode::Blocking)?)
            }
        })
    }

    /// Whether the entries were put in order at once.
    #[cfg(test)]
    pub(super) fn is_run(&self) -> bool {
        self.run.get().is_some()
    }

    /// Leaves of the tree.
    #[cfg(test)]
    pub(super) fn leaves(&self) -> usize {
        self.ordered.leaves()
    }
}

/// The entries of a part in order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order<'a> {
    Tree(&'a Ordered),
    Run(&'a Run),
}

impl Order<'_> {
    /// The newest version of `key` that `seq` allows.
    fn newest_at(self, key: &[u8], seq: SeqNo) -> Option<Entry> {
        let place = Place { key, seq };
        let found = match self {
            Order::Tree(tree) => tree.first_from(place),
            Order::Run(run) => run.page_from(place, 1).entries.pop(),
        };
        found.filter(|entry| entry.key() == key)
    }
}

/// All entries of a part.
#[derive(Debug)]
pub(super) enum All<'a> {
    Tree(Entries<'a>),
    Run(RunIter<'a>),
}

impl<'a> Iterator for All<'a> {
    type Item = Cow<'a, Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Tree(entries) => entries.next().map(Cow::Owned),
            Self::Run(entries) => entries.next().map(Cow::Borrowed),
        }
    }
}

/// What was in no order yet.
#[derive(Debug)]
pub(super) struct Taken {
    backlog: Backlog,
    /// Whether no more will come behind it.
    is_all: bool,
}

/// Where a walk goes on.
#[derive(Debug)]
enum Next {
    /// At the bound where it starts.
    Bound(Bound<Bytes>),
    /// At this entry (forward) or before it (reverse).
    Page(Entry),
    End,
}

/// A walk over the entries of a part, page by page.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    order: Order<'a>,
    page: std::vec::IntoIter<Entry>,
    /// Most entries of the next page, forward.
    page_len: usize,
    next: Next,
    stop: Bound<Bytes>,
    direction: Direction,
}

impl Entries<'_> {
    /// Reads the next page; `false` at the end.
    fn turn_page(&mut self) -> bool {
        let next = std::mem::replace(&mut self.next, Next::End);
        let page = match (&next, self.direction) {
            (Next::End, _) => return false,
            (Next::Bound(start), Direction::Forward) => self.page_from(match start {
                Bound::Unbounded => Place { key: &[], seq: NEWEST },
                Bound::Included(key) => Place { key, seq: NEWEST },
                Bound::Excluded(key) => Place { key, seq: OLDEST },
            }),
            (Next::Bound(end), Direction::Reverse) => self.page_before(match end {
                Bound::Unbounded => None,
                Bound::Included(key) => Some(Place { key, seq: OLDEST }),
                Bound::Excluded(key) => Some(Place { key, seq: NEWEST }),
            }),
            (Next::Page(entry), Direction::Forward) => self.page_from(entry.place()),
            (Next::Page(entry), Direction::Reverse) => self.page_before(Some(entry.place())),
        };
        let Page { entries, next } = page;
        self.page = entries.into_iter();
        self.page_len = usize::MAX;
        self.next = next.map_or(Next::End, Next::Page);
        true
    }

    /// Passes over what is left of the versions of `key`, however many they are; answers the newest
    /// of those in the page that `seq` allows, and whether all of them were in the page.
    fn pass_over(&mut self, key: &Entry, seq: SeqNo) -> (Option<Entry>, bool) {
        let rest = self.page.as_slice();
        let same = rest.iter().take_while(|entry| *entry == key).count();
        let is_whole = same < rest.len();
        let allowed = rest.iter().take(same).filter(|entry| entry.seq() <= seq);
        let newest = allowed.max_by_key(|entry| entry.seq()).cloned();
        if is_whole {
            self.page.by_ref().take(same).for_each(drop);
        } else {
            self.page = Vec::new().into_iter();
            self.page_len = SHORT_PAGE;
            self.next = Next::Bound(Bound::Excluded(Bytes::copy_from_slice(key.key())));
        }
        (newest, is_whole)
    }

    /// Of the next key of which `seq` allows a version: the newest of these.
    pub(super) fn next_seen(&mut self, seq: SeqNo) -> Option<Entry> {
        loop {
            let entry = self.next()?;
            let (newest, is_whole) = self.pass_over(&entry, seq);
            let is_allowed = entry.seq() <= seq;
            // Forward the newest version comes first.
            let seen = match self.direction {
                Direction::Forward if is_allowed => Some(entry),
                _ if !is_whole => self.order.newest_at(entry.key(), seq),
                _ => newest.or(is_allowed.then_some(entry)),
            };
            if seen.is_some() {
                return seen;
            }
        }
    }

    fn page_from(&self, place: Place<'_>) -> Page {
        match self.order {
            Order::Tree(tree) => tree.leaf_from(place, self.page_len),
            Order::Run(run) => run.page_from(place, self.page_len),
        }
    }

    fn page_before(&self, place: Option<Place<'_>>) -> Page {
        match self.order {
            Order::Tree(tree) => tree.leaf_before(place),
            Order::Run(run) => run.page_before(place),
        }
    }

    fn is_past_stop(&self, key: &[u8]) -> bool {
        match (&self.stop, self.direction) {
            (Bound::Unbounded, _) => false,
            (Bound::Included(stop), Direction::Forward) => key > &stop[..],
            (Bound::Excluded(stop), Direction::Forward) => key >= &stop[..],
            (Bound::Included(stop), Direction::Reverse) => key < &stop[..],
            (Bound::Excluded(stop), Direction::Reverse) => key <= &stop[..],
        }
    }
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            match self.page.next() {
                Some(entry) if self.is_past_stop(entry.key()) => {
                    self.next = Next::End;
                    self.page = Vec::new().into_iter();
                    return None;
                }
                Some(entry) => return Some(entry),
                None if !self.turn_page() => return None,
                None => {}
            }
        }
    }
}
