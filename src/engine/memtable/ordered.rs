//! The entries of a memtable in order: a tree of three levels, one writer, any number of readers.
//!
//! A root of branches, branches of leaves, leaves of entries; each node has a lock of its own, and
//! locks are taken from the root downwards. Readers hold theirs for one leaf at a time. The writer
//! locks a leaf for an insertion, and the way down to it only where the leaf is full and is split.
//! Nothing is ever removed, so a walk needs no care for what the writer does between two leaves.

use parking_lot::RwLock;

use super::entry::{Entry, Place};
use super::sorted::{Placed, Sorted};

/// Entries of a leaf.
const LEAF_ENTRIES: usize = 64;
/// Leaves of a branch.
const BRANCH_LEAVES: usize = 128;

type Leaf = Sorted<Entry>;
type Branch = Node<Leaf>;

/// A node whose children are nodes.
#[derive(Debug)]
struct Node<T> {
    /// What is before all of `rest`.
    first: Box<RwLock<T>>,
    rest: Sorted<Child<T>>,
}

/// A node and where it begins.
#[derive(Debug)]
struct Child<T> {
    from: Entry,
    node: Box<RwLock<T>>,
}

impl<T> Placed for Child<T> {
    fn entry(&self) -> &Entry {
        &self.from
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

    /// The number of the child in which `place` lies.
    fn number_of(&self, place: Place<'_>) -> usize {
        self.rest.count_up_to(place)
    }

    /// The number of the child in which the last entry before `place` lies; `None` is behind all.
    fn number_before(&self, place: Option<Place<'_>>) -> usize {
        place.map_or(self.rest.len(), |place| self.rest.count_before(place))
    }

    /// Where the child with this number begins; `None` for the first and behind the last.
    fn from(&self, number: usize) -> Option<&Entry> {
        number.checked_sub(1).and_then(|at| self.rest.get(at)).map(|child| &child.from)
    }

    /// Adds a child that begins at `from`.
    fn add(&mut self, from: Entry, node: T) {
        let position = self.rest.count_before(from.place());
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

/// Entries of one leaf, in the order in which they were asked for, and where to go on.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    /// Where to go on: what comes next (forward), or where this leaf begins (reverse: go on before
    /// it).
    pub(super) next: Option<Entry>,
}

/// Whether the writer found room in a leaf.
enum Inserted {
    Done,
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
    /// Adds an entry. Only the writer calls this.
    pub(super) fn insert(&self, entry: Entry) {
        let full = match self.insert_in_leaf(entry) {
            Inserted::Done => return,
            Inserted::Full(entry) => entry,
        };
        self.split_for(&full);
        match self.insert_in_leaf(full) {
            Inserted::Done => {}
            Inserted::Full(_) => unreachable!("a leaf that was split has room"),
        }
    }

    fn insert_in_leaf(&self, entry: Entry) -> Inserted {
        let root = self.root.read();
        let branch = root.child(root.number_of(entry.place())).read();
        let mut leaf = branch.child(branch.number_of(entry.place())).write();
        if leaf.len() >= LEAF_ENTRIES {
            return Inserted::Full(entry);
        }
        let position = leaf.count_before(entry.place());
        leaf.insert(position, entry);
        Inserted::Done
    }

    /// Makes room for `entry`: splits its leaf, and the branch of that where it is full too.
    fn split_for(&self, entry: &Entry) {
        let mut root = self.root.write();
        let number = root.number_of(entry.place());
        let mut branch = root.child(number).write();
        let leaf_number = branch.number_of(entry.place());
        let is_last = number == root.rest.len() && leaf_number == branch.rest.len();
        let split = split(&mut branch.child(leaf_number).write(), entry, is_last);
        if let Some((from, leaf)) = split {
            branch.add(from, leaf);
        }
        if branch.rest.len() < BRANCH_LEAVES {
            return;
        }
        // Keys that only grow fill their branches; others leave room on both sides.
        let grows = branch.number_of(entry.place()) == branch.rest.len();
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

    /// The first entry at or behind `place`.
    pub(super) fn first_from(&self, place: Place<'_>) -> Option<Entry> {
        let mut page = self.leaf_from(place, 1);
        while page.entries.is_empty() {
            page = self.leaf_from(page.next?.place(), 1);
        }
        page.entries.into_iter().next()
    }

    /// Entries at or behind `place` in the leaf where it lies, at most `limit`, ascending. May be
    /// empty though more follow.
    pub(super) fn leaf_from(&self, place: Place<'_>, limit: usize) -> Page {
        let root = self.root.read();
        let branch_number = root.number_of(place);
        let branch = root.child(branch_number).read();
        let number = branch.number_of(place);
        let next = branch.from(number + 1).or_else(|| root.from(branch_number + 1)).cloned();
        let leaf = branch.child(number).read();
        let first = leaf.count_before(place);
        let end = leaf.len().min(first.saturating_add(limit));
        let entries = (first..end).filter_map(|position| leaf.get(position).cloned()).collect();
        Page { entries, next: leaf.get(end).cloned().or(next) }
    }

    /// Entries before `place` (`None`: all) in the leaf where the last of them lies, descending.
    /// May be empty though more follow.
    pub(super) fn leaf_before(&self, place: Option<Place<'_>>) -> Page {
        let root = self.root.read();
        let branch_number = root.number_before(place);
        let branch = root.child(branch_number).read();
        let number = branch.number_before(place);
        let next = branch.from(number).or_else(|| root.from(branch_number)).cloned();
        let leaf = branch.child(number).read();
        let end = place.map_or(leaf.len(), |place| leaf.count_before(place));
        let entries = (0..end).rev().filter_map(|position| leaf.get(position).cloned()).collect();
        Page { entries, next }
    }
}

/// Splits a full leaf for `entry`; the new one and where it begins. Behind the last entry of the last
/// leaf it begins a leaf of its own, so that keys that only grow fill their leaves.
fn split(leaf: &mut Leaf, entry: &Entry, is_last: bool) -> Option<(Entry, Leaf)> {
    if leaf.len() < LEAF_ENTRIES {
        return None;
    }
    if is_last && leaf.count_before(entry.place()) == leaf.len() {
        return Some((entry.clone(), Leaf::with_capacity(LEAF_ENTRIES)));
    }
    let right = leaf.split_off(LEAF_ENTRIES / 2);
    Some((right.get(0)?.clone(), right))
}
