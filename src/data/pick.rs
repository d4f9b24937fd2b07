//! Elements chosen at random.
//!
//! - In the metadata record, and among few records, every element is as likely as any other.
//! - Among many records a window of positions is taken at random, wide enough for [`WINDOW`] elements
//!   on the average, and kept with a chance that grows with how many it holds, so that a crowded
//!   window does not make its elements rarer; then one of them is taken. Every element is equally
//!   likely to be in the window, so each is as likely as any other; only a window of more than
//!   [`WINDOW_MAX`] elements, one in 10^6, makes a difference. A pick takes three windows on the
//!   average, and reads some 25 records.
//! - A collection that is picked from often has a pool (`candidates.rs`): a pick is one look-up then, or none.
//! - Where a walk over all is not much more than the picks would be, it is made: one pass, uniform.

use std::collections::HashSet;

use bytes::Bytes;

use super::candidates::{Asker, Candidate, Candidates, Pick, Window};
use super::exploded::{Record, Records, TIMES};
use super::{Element, Elements, Layout, integers};
use crate::engine::Result;
use crate::env::Room;

/// Among so few records all are read.
const FEW: u64 = 64;
/// Elements of a window, on the average.
const WINDOW: u64 = 8;
/// Elements of a window that are told apart.
const WINDOW_MAX: u64 = 24;
/// Windows that are tried before the first element behind a random position is taken: so many are
/// only needed where nearly all fields have expired.
const TRIES: u32 = 128;
/// Candidates of a pool that are tried before a pick is made without it.
const POOLED_TRIES: u32 = 16;
/// Below so many elements for each pick one pass over all is cheaper than windows.
const PASS_FACTOR: u64 = 32;

/// Fills a pool with what is in `window`; false where that is too much.
pub(super) fn fill(
    candidates: &Candidates,
    records: Records<'_>,
    asker: Asker,
    window: Window,
) -> Result<bool> {
    let (mut found, mut name_bytes) = (Vec::new(), 0);
    for (from, to) in window.ranges().into_iter().filter(|(from, to)| from < to) {
        for record in records.walk(from, to) {
            let Record { hash, name, .. } = record?;
            name_bytes += name.len();
            found.push(Candidate { position: hash, name: Bytes::copy_from_slice(&name) });
            if Candidates::is_too_large(found.len(), name_bytes) {
                candidates.refuse(asker.generation, window);
                return Ok(false);
            }
        }
    }
    candidates.fill(asker, window, found);
    Ok(true)
}

/// The element, where the command may hold it.
fn take(room: &Room<'_>, element: Element) -> Result<Element> {
    room.take(element.name.len() + element.value.len() + size_of::<Element>())?;
    Ok(element)
}

impl Elements<'_> {
    /// One element; `None` where all have expired.
    pub fn pick(&self) -> Result<Option<Element>> {
        if let Layout::Integers(list) = &self.collection.layout {
            let index = fastrand::u64(..self.count().max(1));
            return Ok(integers::at(list, index).map(Element::of_integer));
        }
        if self.is_inline() || self.count() <= FEW {
            return Ok(fastrand::choice(self.walk().collect::<Result<Vec<_>>>()?));
        }
        if let Some(element) = self.pick_pooled()? {
            return Ok(Some(element));
        }
        for _ in 0..TRIES {
            if let Some(element) = self.try_window()? {
                return Ok(Some(element));
            }
        }
        let from = fastrand::u64(..TIMES);
        let found = self.walk_positions(from, TIMES).chain(self.walk_positions(0, from));
        found.filter_map(|found| found.map(|(_, element)| element).transpose()).next().transpose()
    }

    /// Whether one pass over all elements is cheaper than to pick `count` of them one by one.
    #[must_use]
    pub fn wants_pass(&self, count: u64) -> bool {
        count > 1 && (self.is_inline() || self.count() / PASS_FACTOR < count)
    }

    /// At most `count` different elements, their names and values; all of them where there are no
    /// more. In no order.
    pub fn pick_distinct(&self, count: u64, room: &Room<'_>) -> Result<Vec<Element>> {
        if count >= self.count() {
            let taken = |element: Result<Element>| element.and_then(|element| take(room, element));
            return self.walk().map(taken).collect();
        }
        if self.is_inline() || self.count() / PASS_FACTOR < count {
            return self.sample(count, room);
        }
        let (mut names, mut picked) = (HashSet::<Bytes>::new(), Vec::new());
        let mut tries = count.saturating_mul(4).saturating_add(64);
        while (picked.len() as u64) < count {
            tries = tries.saturating_sub(1);
            match self.pick()? {
                Some(element) if tries > 0 => {
                    if names.insert(element.name.clone()) {
                        picked.push(take(room, element)?);
                    }
                }
                // Few are left alive.
                _ => return self.sample(count, room),
            }
        }
        Ok(picked)
    }

    /// `count` elements, each chosen among all, in random order; none where all have expired.
    pub fn pick_repeated(&self, count: u64, room: &Room<'_>) -> Result<Vec<Element>> {
        if !self.is_inline() && self.count() / PASS_FACTOR >= count {
            let mut picked = Vec::new();
            for _ in 0..count {
                let Some(element) = self.pick()? else { return Ok(Vec::new()) };
                picked.push(take(room, element)?);
            }
            return Ok(picked);
        }
        let alive = self.count_alive()?;
        if alive == 0 {
            return Ok(Vec::new());
        }
        let mut wanted: Vec<u64> = (0..count).map(|_| fastrand::u64(..alive)).collect();
        wanted.sort_unstable();
        let mut wanted = wanted.into_iter().peekable();
        let mut picked = Vec::new();
        for (element, index) in self.walk().zip(0_u64..) {
            let element = element?;
            while wanted.next_if_eq(&index).is_some() {
                picked.push(take(room, element.clone())?);
            }
            if wanted.peek().is_none() {
                break;
            }
        }
        fastrand::shuffle(&mut picked);
        Ok(picked)
    }

    /// `count` different elements in one pass: each one that comes takes the place of another with
    /// the chance that all are as likely in the end.
    fn sample(&self, count: u64, room: &Room<'_>) -> Result<Vec<Element>> {
        let mut picked: Vec<Element> = Vec::new();
        let (mut seen, mut taken) = (0, Ok(()));
        self.visit(&mut |name, value| {
            let element = || Element {
                name: Bytes::copy_from_slice(name),
                value: Bytes::copy_from_slice(value),
                expires_ms: None,
            };
            if seen < count {
                taken = take(room, element()).map(|element| picked.push(element));
            } else if let Ok(place) = usize::try_from(fastrand::u64(..=seen))
                && let Some(other) = picked.get_mut(place)
            {
                *other = element();
            }
            seen += 1;
            taken.is_ok()
        })?;
        taken.map(|()| picked)
    }

    /// An element from the pool of the collection, where it has one.
    fn pick_pooled(&self) -> Result<Option<Element>> {
        let (Some(candidates), Some(generation)) = (self.pools, self.collection.generation())
        else {
            return Ok(None);
        };
        let seq = self.read.seq().saturating_add(1);
        let asker = Asker { generation, count: self.count(), seq, warms: false };
        for _ in 0..POOLED_TRIES {
            let name = match candidates.pick(asker) {
                Pick::Member(name) if !self.shape.values => {
                    return Ok(Some(Element { name, value: Bytes::new(), expires_ms: None }));
                }
                Pick::Member(name) | Pick::Candidate(name) => name,
                Pick::Fill(window) => {
                    if !fill(candidates, self.records(generation), asker, window)? {
                        break;
                    }
                    continue;
                }
                Pick::NoPool => break,
            };
            match self.get(&name)? {
                Some(element) => return Ok(Some(element)),
                None => candidates.missed(generation),
            }
        }
        Ok(None)
    }

    /// An element of a window at a random place, if the window is kept.
    fn try_window(&self) -> Result<Option<Element>> {
        let width = (TIMES / self.count().max(1)).saturating_mul(WINDOW).min(TIMES);
        let from = fastrand::u64(..TIMES);
        let to = from + width;
        let behind = to.saturating_sub(TIMES);
        let found = self.walk_positions(from, to).chain(self.walk_positions(0, behind));
        // What is chosen is known before what is there: nothing behind it has to be read.
        let chosen = fastrand::u64(..WINDOW_MAX);
        for (found, at) in found.zip(0..=chosen) {
            let (_, element) = found?;
            if at == chosen {
                return Ok(element);
            }
        }
        Ok(None)
    }
}
