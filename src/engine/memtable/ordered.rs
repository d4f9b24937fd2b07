//! The entries of a memtable in order: a tree of three levels, one writer, any number of readers.
//!
//! A root of branches, branches of leaves, leaves of keys with their versions; each node has a lock of
//! its own, and locks are taken from the root downwards. Readers hold theirs for one leaf at a time.
//! The writer locks a leaf for an insertion, and the way down to it only where the leaf is full and is
//! split. No key is ever removed, so a walk needs no care for what the writer does between two leaves.

use std::ops::Bound;

use parking_lot::RwLock;

use super::chain::Chain;
use super::entry::Entry;
use super::sorted::{Keyed, Sorted};
use super::{Gone, Needed};
use crate::engine::SeqNo;

/// Keys of a leaf.
const LEAF_KEYS: usize = 64;
/// Leaves that a walk passes over at once where it sees nothing of them.
const LEAVES_AT_ONCE: usize = 16;
/// Leaves of a branch.
const BRANCH_LEAVES: usize = 128;

type Leaf = Sorted<Chain>;
type Branch = Node<Leaf>;

/// A node whose children are nodes.
#[derive(Debug)]
struct Node<T> {
    /// What is before all of `rest`.
    first: Box<RwLock<T>>,
    rest: Sorted<Child<T>>,
}

/// A node and the first key that it may have.
#[derive(Debug)]
struct Child<T> {
    from: Entry,
    node: Box<RwLock<T>>,
}

impl<T> Keyed for Child<T> {
    fn key(&self) -> &[u8] {
        self.from.key()
    }
}

impl<T> Node<T> {
    fn new(first: T, capacity: usize) -> Self {
        Self { first: Box::new(RwLock::new(first)), rest: Sorted::with_capacity(capacity) }
    }

    /// The child with this number, the first being 0.
    fn child(&self, number: usize) -> &RwLock<T> {
        match number.checked_sub(1).and_then(|at| self.rest.get(at)) {
            Some(child) => &child.node,
            None => &self.first,
        }
    }

    /// The number of the child in which `key` lies.
    fn number_of(&self, key: &[u8]) -> usize {
        self.rest.count_up_to(key)
    }

    /// The number of the child in which the last key within `end` lies.
    fn number_before(&self, end: Bound<&[u8]>) -> usize {
        match end {
            Bound::Unbounded => self.rest.len(),
            Bound::Included(key) => self.rest.count_up_to(key),
            Bound::Excluded(key) => self.rest.count_before(key),
        }
    }

    /// Where the child with this number begins; `None` for the first and behind the last.
    fn from(&self, number: usize) -> Option<&Entry> {
        number.checked_sub(1).and_then(|at| self.rest.get(at)).map(|child| &child.from)
    }

    /// Adds a child that begins at `from`.
    fn add(&mut self, from: Entry, node: T) {
        let position = self.rest.count_before(from.key());
        self.rest.insert(position, Child { from, node: Box::new(RwLock::new(node)) });
    }

    /// Splits off the children from number `cut` on, at least 1; and where they begin.
    fn split_off(&mut self, cut: usize) -> Option<(Entry, Self)> {
        let mut rest = self.rest.split_off(cut - 1);
        let Child { from, node } = rest.remove_first()?;
        Some((from, Self { first: node, rest }))
    }
}

/// All entries, in order.
#[derive(Debug)]
pub(super) struct Ordered {
    root: RwLock<Node<Branch>>,
}

/// What a walk sees of a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    /// Of its view.
    pub(super) seq: SeqNo,
    /// Whether that the key was deleted is worth a mention: not where nothing older is below.
    pub(super) tombstones: bool,
}

impl Sight {
    fn of(self, chain: &Chain) -> Option<&Entry> {
        chain.seen_at(self.seq).filter(|entry| self.shows(entry))
    }

    /// Whether this version is shown.
    pub(super) fn shows(self, entry: &Entry) -> bool {
        self.tombstones || !entry.is_tombstone()
    }
}

/// What a view sees of some keys that follow each other, in the order in which they were asked for,
/// and where to go on.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    /// Keys that were looked at for it.
    pub(super) keys: usize,
    /// Forward: the key that comes next. Reverse: the key before which to go on.
    pub(super) next: Option<Entry>,
}

/// Whether the writer found room in a leaf.
enum Inserted {
    /// What has gone.
    Done(Gone),
    /// The leaf is full; the entry comes back.
    Full(Entry),
}

impl Default for Ordered {
    fn default() -> Self {
        let branch = Branch::new(Leaf::with_capacity(0), 0);
        Self { root: RwLock::new(Node::new(branch, 0)) }
    }
}

impl Ordered {
    /// Adds an entry, of the older versions of which those that are not `needed` go; see
    /// [`Chain::add`]. Only the writer calls this.
    pub(super) fn insert(&self, entry: Entry, needed: Needed) -> Gone {
        let full = match self.insert_in_leaf(entry, needed) {
            Inserted::Done(gone) => return gone,
            Inserted::Full(entry) => entry,
        };
        self.split_for(full.key());
        match self.insert_in_leaf(full, needed) {
            Inserted::Done(gone) => gone,
            Inserted::Full(_) => unreachable!("a leaf that was split has room"),
        }
    }

    fn insert_in_leaf(&self, entry: Entry, needed: Needed) -> Inserted {
        let root = self.root.read();
        let branch = root.child(root.number_of(entry.key())).read();
        let mut leaf = branch.child(branch.number_of(entry.key())).write();
        let position = leaf.count_before(entry.key());
        if let Some(chain) = leaf.at_mut(position, entry.key()) {
            return Inserted::Done(chain.add(entry, needed));
        }
        if leaf.len() >= LEAF_KEYS {
            return Inserted::Full(entry);
        }
        leaf.insert(position, Chain::new(entry));
        Inserted::Done(Gone::default())
    }

    /// Makes room for `key`: splits its leaf, and the branch of that where it is full too.
    fn split_for(&self, key: &[u8]) {
        let mut root = self.root.write();
        let number = root.number_of(key);
        let mut branch = root.child(number).write();
        let leaf_number = branch.number_of(key);
        let is_last = number == root.rest.len() && leaf_number == branch.rest.len();
        let split = split(&mut branch.child(leaf_number).write(), key, is_last);
        if let Some((from, leaf)) = split {
            branch.add(from, leaf);
        }
        if branch.rest.len() < BRANCH_LEAVES {
            return;
        }
        // Keys that only grow fill their branches; others leave room on both sides.
        let grows = branch.number_of(key) == branch.rest.len();
        let cut = if grows { branch.rest.len() } else { branch.rest.len() / 2 };
        let split = branch.split_off(cut);
        drop(branch);
        if let Some((from, right)) = split {
            root.add(from, right);
        }
    }

    /// Number of leaves.
    #[cfg(test)]
    pub(super) fn leaves(&self) -> usize {
        let root = self.root.read();
        (0..=root.rest.len()).map(|number| root.child(number).read().rest.len() + 1).sum()
    }

    /// The version of `key` that a view at `seq` sees.
    pub(super) fn get(&self, key: &[u8], seq: SeqNo) -> Option<Entry> {
        let root = self.root.read();
        let branch = root.child(root.number_of(key)).read();
        let leaf = branch.child(branch.number_of(key)).read();
        let chain = leaf.get(leaf.count_before(key)).filter(|chain| chain.key() == key)?;
        chain.seen_at(seq).cloned()
    }

    /// What a walk sees of the keys from `start` on, ascending: at most `limit` versions, all of one
    /// leaf. Leaves of which it sees nothing are passed over, a few at a time, up to a key that is past
    /// the end. May be empty though more follow.
    pub(super) fn page_from(
        &self,
        start: Bound<&[u8]>,
        (sight, limit): (Sight, usize),
        is_past: impl Fn(&[u8]) -> bool,
    ) -> Page {
        let (Bound::Included(key) | Bound::Excluded(key)) = start else {
            return self.page_from(Bound::Included(&[]), (sight, limit), is_past);
        };
        let root = self.root.read();
        let branch_number = root.number_of(key);
        let branch = root.child(branch_number).read();
        let mut number = branch.number_of(key);
        let last_number = number + LEAVES_AT_ONCE;
        let mut page = Page { entries: Vec::new(), keys: 0, next: None };
        let mut leaf = branch.child(number).read();
        let mut at = match start {
            Bound::Excluded(_) => leaf.count_up_to(key),
            _ => leaf.count_before(key),
        };
        loop {
            let from = at;
            while at < leaf.len() && page.entries.len() < limit {
                page.entries.extend(leaf.get(at).and_then(|chain| sight.of(chain)).cloned());
                at += 1;
            }
            page.keys += at - from;
            if let Some(chain) = leaf.get(at) {
                page.next = chain.seen_at(SeqNo::MAX).cloned();
                return page;
            }
            number += 1;
            let next = branch.from(number);
            let goes_on = next.is_some_and(|next| !is_past(next.key()));
            if !goes_on || !page.entries.is_empty() || number > last_number {
                page.next = next.or_else(|| root.from(branch_number + 1)).cloned();
                return page;
            }
            leaf = branch.child(number).read();
            at = 0;
        }
    }

    /// What a walk sees of the keys up to `end`, descending: of at most `limit` keys, all of one leaf.
    /// May be empty though more follow.
    pub(super) fn page_before(&self, end: Bound<&[u8]>, (sight, limit): (Sight, usize)) -> Page {
        let root = self.root.read();
        let branch_number = root.number_before(end);
        let branch = root.child(branch_number).read();
        let number = branch.number_before(end);
        let begin = branch.from(number).or_else(|| root.from(branch_number));
        let leaf = branch.child(number).read();
        let last = match end {
            Bound::Unbounded => leaf.len(),
            Bound::Included(key) => leaf.count_up_to(key),
            Bound::Excluded(key) => leaf.count_before(key),
        };
        let first = last.saturating_sub(limit);
        let seen = |position| leaf.get(position).and_then(|chain| sight.of(chain)).cloned();
        let entries = (first..last).rev().filter_map(seen).collect();
        let next = match first {
            0 => begin,
            _ => leaf.get(first).and_then(|chain| chain.seen_at(SeqNo::MAX)),
        };
        Page { entries, keys: last - first, next: next.cloned() }
    }
}

/// Splits a full leaf for `key`; the new one and where it begins. Behind the last key of the last
/// leaf it begins a leaf of its own, so that keys that only grow fill their leaves.
fn split(leaf: &mut Leaf, key: &[u8], is_last: bool) -> Option<(Entry, Leaf)> {
    if leaf.len() < LEAF_KEYS {
        return None;
    }
    if is_last && leaf.count_before(key) == leaf.len() {
        // Only the key of what begins there is looked at.
        let from = Entry::new(key, 0, None);
        return Some((from, Leaf::with_capacity(LEAF_KEYS)));
    }
    let right = leaf.split_off(LEAF_KEYS / 2);
    Some((right.get(0)?.seen_at(SeqNo::MAX)?.clone(), right))
}
