//! One part of a memtable: the entries of one kind.

use std::borrow::Cow;
use std::ops::Bound;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering as Atomic};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::backlog::{Backlog, Run, RunIter, Spot};
use super::entry::Entry;
use super::ordered::{Ordered, Page, Sight};
use super::{Gone, Needed};
use crate::engine::{Direction, Error, KeyRange, ReadMode, Result, SeqNo};

/// Entries that a resident read may put in order.
pub(super) const RESIDENT_BACKLOG_MAX: usize = 256;

/// Keys of the first page of a walk, and of the longest: many walks are short.
const PAGE_KEYS: std::ops::RangeInclusive<usize> = 4..=256;

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
    /// Adds an entry, of the older versions of which those that are not `needed` may go. Where it was
    /// put, and what has gone. Only the writer calls this.
    pub(super) fn insert(&self, entry: Entry, needed: Needed) -> (Spot, Gone) {
        if !self.is_used.load(Atomic::Relaxed) {
            self.is_used.store(true, Atomic::Release);
        }
        if self.is_walked.load(Atomic::Relaxed)
            && let Some(_ordering) = self.ordering.try_lock()
            && let Ok(rest) = self.take_backlog(ReadMode::Resident)
        {
            // What came while a walk put the others in order.
            self.add_run(&rest.backlog.into_run());
            (Spot::NOWHERE, self.ordered.insert(entry, needed))
        } else {
            (self.backlog.lock().push(entry), Gone::default())
        }
    }

    /// To let go of entries that were put down; holds the lock of the backlog.
    pub(super) fn releases(&self) -> Releases<'_> {
        Releases(self.backlog.lock())
    }

    /// Puts the entries of a run into the tree. The caller holds `ordering`.
    fn add_run(&self, run: &Run) {
        let mut versions: Vec<&Entry> = Vec::new();
        // Versions come newest first, and go into the tree oldest first.
        let add = |versions: &mut Vec<&Entry>| {
            for entry in versions.drain(..).rev() {
                self.ordered.insert(entry.clone(), Needed::ALL);
            }
        };
        for entry in run.iter() {
            if versions.last().is_some_and(|other| *other != entry) {
                add(&mut versions);
            }
            versions.push(entry);
        }
        add(&mut versions);
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
            self.add_run(&taken.backlog.into_run());
            if count <= RESIDENT_BACKLOG_MAX {
                return Ok(Order::Tree(&self.ordered));
            }
            taken = self.take_backlog(mode)?;
        }
    }

    /// The newest version of `key` that is not newer than `seq`.
    pub(super) fn get(&self, key: &[u8], seq: SeqNo, mode: ReadMode) -> Result<Option<Entry>> {
        Ok(match self.order(mode)? {
            Order::Tree(tree) => tree.get(key, seq),
            Order::Run(run) => run.get_seen(key, seq),
        })
    }

    /// Walks what a view at `seq` sees of `range`.
    pub(super) fn entries(
        &self,
        (start, end): &KeyRange,
        direction: Direction,
        seq: SeqNo,
        mode: ReadMode,
    ) -> Result<Entries<'_>> {
        let (from, stop) = match direction {
            Direction::Forward => (start, end),
            Direction::Reverse => (end, start),
        };
        Ok(Entries {
            order: self.order(mode)?,
            sight: Sight { seq, tombstones: true },
            page: Vec::new().into_iter(),
            page_keys: *PAGE_KEYS.start(),
            next: Next::Bound(from.clone()),
            stop: stop.clone(),
            direction,
        })
    }

    /// Every version of a run, the newest of each key of a tree; forwards. Puts them in order first.
    pub(super) fn all(&self) -> Result<All<'_>> {
        Ok(match self.order(ReadMode::Blocking)? {
            Order::Run(run) => All::Run(run.iter()),
            Order::Tree(_) => {
                let all = (Bound::Unbounded, Bound::Unbounded);
                let mode = ReadMode::Blocking;
                All::Tree(self.entries(&all, Direction::Forward, SeqNo::MAX, mode)?)
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

/// Where entries are let go of.
pub(super) struct Releases<'a>(MutexGuard<'a, Backlog>);

impl Releases<'_> {
    /// See [`Backlog::release`].
    pub(super) fn release(&mut self, entry: &Entry, spot: Spot) -> bool {
        self.0.release(entry, spot)
    }
}

/// The entries of a part in order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order<'a> {
    Tree(&'a Ordered),
    Run(&'a Run),
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
    /// At the key of this entry (forward) or before it (reverse).
    Page(Entry),
    End,
}

/// A walk over what a view sees of a part, page by page.
#[derive(Debug)]
pub(super) struct Entries<'a> {
    order: Order<'a>,
    sight: Sight,
    page: std::vec::IntoIter<Entry>,
    /// Most keys of the next page.
    page_keys: usize,
    next: Next,
    stop: Bound<Bytes>,
    direction: Direction,
}

impl Entries<'_> {
    /// Passes over tombstones from now on.
    pub(super) fn hide_tombstones(&mut self) {
        self.sight.tombstones = false;
    }

    /// Takes pages as long as they can be.
    pub(super) fn expect_many(&mut self) {
        self.page_keys = *PAGE_KEYS.end();
    }

    /// The next entry that is on a page already.
    pub(super) fn next_on_page(&mut self) -> Option<Entry> {
        let entry = self.page.next()?;
        if self.is_past_stop(entry.key()) {
            self.next = Next::End;
            self.page = Vec::new().into_iter();
            return None;
        }
        Some(entry)
    }

    /// Reads the next page; how many keys were looked at of which nothing is on it. `None` at the end.
    pub(super) fn turn_page(&mut self) -> Option<usize> {
        let next = std::mem::replace(&mut self.next, Next::End);
        let page = match (&next, self.direction) {
            (Next::End, _) => return None,
            (Next::Bound(start), Direction::Forward) => {
                self.page_from(start.as_ref().map(|key| &key[..]))
            }
            (Next::Bound(end), Direction::Reverse) => {
                self.page_before(end.as_ref().map(|key| &key[..]))
            }
            (Next::Page(entry), Direction::Forward) => self.page_from(Bound::Included(entry.key())),
            (Next::Page(entry), Direction::Reverse) => {
                self.page_before(Bound::Excluded(entry.key()))
            }
        };
        let Page { entries, keys, next } = page;
        let unseen = keys.saturating_sub(entries.len());
        self.page = entries.into_iter();
        self.page_keys = (2 * self.page_keys).min(*PAGE_KEYS.end());
        // Where a view sees nothing of a page, the pages behind the range end the walk all the same.
        let next = next.filter(|entry| !self.is_past_stop(entry.key()));
        self.next = next.map_or(Next::End, Next::Page);
        Some(unseen)
    }

    fn page_from(&self, start: Bound<&[u8]>) -> Page {
        let asked = (self.sight, self.page_keys);
        match self.order {
            Order::Tree(tree) => tree.page_from(start, asked, |key| self.is_past_stop(key)),
            Order::Run(run) => run.page_from(start, asked),
        }
    }

    fn page_before(&self, end: Bound<&[u8]>) -> Page {
        let asked = (self.sight, self.page_keys);
        match self.order {
            Order::Tree(tree) => tree.page_before(end, asked),
            Order::Run(run) => run.page_before(end, asked),
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
            if let Some(entry) = self.next_on_page() {
                return Some(entry);
            }
            self.turn_page()?;
        }
    }
}
