//! The count records of an order as far as they were met, decoded: the way to an order key without a
//! look-up.
//!
//! A [`CountTree`] says the same as the records do, or nothing: branches that nobody has asked for are
//! not there, and are read when somebody does. Whoever writes a count record tells it.

use std::ops::Range;
use std::sync::Arc;

use super::edit::{Change, Item};
use super::separator::Separator;
use super::{CHILDREN_MAX, CHILDREN_MIN, Node, Order, damaged};
use crate::engine::Result;
use crate::engine::coding::head;

/// What a count record takes here, with its part of the memory of its branch.
const CHILD_BYTES: usize = size_of::<Child>() + 8;
/// One in so many branches goes where room is needed.
const PRUNED: u8 = 4;

/// The count records of an order, as far as they are known. A copy shares the branches that neither of
/// the two changes.
#[derive(Debug, Clone)]
pub(super) struct CountTree {
    root: Branch,
    levels: u8,
    /// Whether it does not fit the records any more.
    is_lost: bool,
    bytes: usize,
}

/// The children of a node that are count records, in their order; one at least.
#[derive(Debug, Clone)]
pub(super) struct Branch(pub(super) Vec<Child>);

/// A count record.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) separator: Separator,
    pub(super) node: Node,
    /// Its children, if they are count records and known.
    pub(super) below: Option<Arc<Branch>>,
}

impl Child {
    /// What it takes in memory without what is below, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        CHILD_BYTES + self.separator.heap_bytes()
    }
}

/// A node on the way from level 1 to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) separator: Separator,
    pub(super) node: Node,
}

impl CountTree {
    /// Reads the highest level; `None` where there are no levels.
    pub(super) fn read(order: Order<'_>) -> Result<Option<Self>> {
        let levels = order.counts.levels;
        if levels == 0 {
            return Ok(None);
        }
        let root = Branch::read(order, levels, Separator::default(), order.counts.top)?;
        let bytes = root.bytes();
        Ok(Some(Self { root, levels, is_lost: false, bytes }))
    }

    /// The tree of so many levels, of which this is the highest, and which takes so many bytes; `None`
    /// where there are no levels.
    pub(super) fn of_root(root: Branch, levels: u8, bytes: usize) -> Option<Self> {
        (levels > 0).then_some(Self { root, levels, is_lost: false, bytes })
    }

    /// Its highest level, with all that is known below.
    pub(super) fn into_root(self) -> Branch {
        self.root
    }

    /// What it takes in memory, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets some of its lowest branches, chosen at random, until it takes no more than so many
    /// bytes. All of a level above is kept: `false` where that alone takes more.
    pub(super) fn prune(&mut self, bytes_max: usize) -> bool {
        for one_of in [PRUNED, PRUNED, PRUNED, PRUNED, 1] {
            if self.bytes <= bytes_max {
                break;
            }
            let forgotten = self.root.prune(self.levels, one_of);
            self.bytes = self.bytes.saturating_sub(forgotten);
        }
        self.bytes <= bytes_max
    }

    /// Whether something of it was not followed.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Whether it says the same as the records of this order, all of whose writes it was told.
    pub(super) fn fits(&self, order: Order<'_>) -> bool {
        let (len, top) = (order.counts.len, order.counts.top);
        !self.is_lost
            && self.levels == order.counts.levels
            && (self.levels == 0 || self.has_all(len, top))
    }

    fn has_all(&self, len: u64, top: u64) -> bool {
        self.root.0.len() as u64 == top
            && self.root.0.iter().map(|child| child.node.items).sum::<u64>() == len
    }

    /// Appends the nodes that an order key lies in to `path`, level 1 first, without the root, and
    /// answers the separator of level 1 behind them.
    pub(super) fn path(
        &mut self,
        order: Order<'_>,
        order_key: &[u8],
        path: &mut Vec<Step>,
    ) -> Result<Option<Separator>> {
        let (mut branch, mut behind) = (&mut self.root, None);
        for level in (1..=self.levels).rev() {
            let at = branch.behind(order_key);
            behind = branch.0.get(at).map(|next| next.separator.clone()).or(behind);
            let Some(child) = at.checked_sub(1).and_then(|at| branch.0.get_mut(at)) else {
                return Err(damaged("a first count record is missing"));
            };
            let Child { separator, node, below } = child;
            path.push(Step { separator: separator.clone(), node: *node });
            if level == 1 {
                break;
            }
            let below = match below {
                Some(below) => below,
                None => {
                    let read = Branch::read(order, level - 1, separator.clone(), node.children)?;
                    self.bytes += read.bytes();
                    below.insert(Arc::new(read))
                }
            };
            if below.0.len() as u64 != node.children {
                return Err(damaged("more or fewer count records than counted"));
            }
            branch = Arc::make_mut(below);
        }
        path.reverse();
        Ok(behind)
    }

    /// Reads those branches that changes lie in, and that are not known yet.
    pub(super) fn load(&mut self, order: Order<'_>, changes: &[Item]) -> Result<()> {
        let (mut rest, mut path) = (changes, Vec::new());
        while let Some((order_key, _)) = rest.first() {
            path.clear();
            let behind = self.path(order, order_key, &mut path)?;
            let within = behind.map_or(rest.len(), |behind| count_before(rest, &behind));
            rest = rest.get(within.max(1)..).unwrap_or_default();
        }
        Ok(())
    }

    /// Which of these changes, which are in order, are not for [`Self::shift`]: a node that they lie in has
    /// or gets a size that is to be mended. `None` where not all of these nodes are known.
    pub(super) fn mended(&self, changes: &[Item]) -> Option<Vec<Range<usize>>> {
        let mut mended = Vec::new();
        self.root.mended(self.levels, (0, changes), &mut mended).then_some(mended)
    }

    /// Counts changes, none of which is [`Self::mended`], in the nodes that they lie in, and tells `written`
    /// the level, the separator and the new node of each, once.
    pub(super) fn shift(&mut self, changes: &[Item], written: &mut dyn FnMut(u8, &[u8], Node)) {
        self.root.shift(self.levels, changes, written);
    }

    /// The children of a node that is above level 1, if they are known, each as a node of its own.
    pub(super) fn children(&self, level: u8, separator: &[u8]) -> Option<&[Child]> {
        let mut branch = &self.root;
        for _ in level..=self.levels {
            let at = branch.behind(separator).checked_sub(1)?;
            branch = branch.0.get(at)?.below.as_deref()?;
        }
        Some(&branch.0)
    }

    /// A count record was written.
    pub(super) fn put(&mut self, level: u8, separator: &Separator, node: Node) {
        while self.levels < level {
            // The first record of a new level is written, too.
            let below = std::mem::replace(&mut self.root, Branch(Vec::new()));
            let below = (self.levels > 0).then(|| Arc::new(below));
            let separator = Separator::default();
            self.root.0.push(Child { separator, node: Node::NOTHING, below });
            self.levels += 1;
            self.bytes += CHILD_BYTES;
        }
        let Some((branch, at)) = self.branch_of(level, separator) else { return };
        match at.checked_sub(1).and_then(|at| branch.0.get_mut(at)) {
            Some(child) if child.separator == *separator => child.node = node,
            Some(before) => {
                // A node that was cut: its children go with it.
                let below = before.below.as_mut().map(|below| {
                    let behind = Arc::make_mut(below).split_off(separator);
                    Arc::new(behind)
                });
                let child = Child { separator: separator.clone(), node, below };
                let bytes = child.bytes();
                branch.0.insert(at, child);
                self.bytes += bytes;
            }
            None => self.is_lost = true,
        }
    }

    /// A count record was deleted.
    pub(super) fn delete(&mut self, level: u8, separator: &Separator) {
        if level == self.levels && separator.is_empty() {
            return self.lower();
        }
        let Some((branch, at)) = self.branch_of(level, separator) else { return };
        let at = at.checked_sub(1).filter(|at| {
            *at > 0 && branch.0.get(*at).is_some_and(|child| child.separator == *separator)
        });
        let Some(at) = at else {
            self.is_lost = true;
            return;
        };
        let gone = branch.0.remove(at);
        let mut forgotten = gone.bytes();
        if let Some(before) = at.checked_sub(1).and_then(|before| branch.0.get_mut(before)) {
            before.below = match (before.below.take(), gone.below) {
                (Some(mut below), Some(more)) => {
                    Arc::make_mut(&mut below).0.extend(Arc::unwrap_or_clone(more).0);
                    Some(below)
                }
                (one, other) => {
                    forgotten += one.or(other).map_or(0, |branch| branch.total_bytes());
                    None
                }
            };
        }
        self.bytes = self.bytes.saturating_sub(forgotten);
    }

    /// The highest level, which has one record, was deleted.
    fn lower(&mut self) {
        self.levels -= 1;
        let only = self.root.0.pop().filter(|_| self.root.0.is_empty());
        self.bytes = self.bytes.saturating_sub(CHILD_BYTES);
        match only.and_then(|child| child.below) {
            Some(below) => self.root = Arc::unwrap_or_clone(below),
            None => self.is_lost |= self.levels > 0,
        }
    }

    /// The branch of a level that a separator belongs to, if it is known, and how many of its children
    /// come before the separator or are it.
    fn branch_of(&mut self, level: u8, separator: &[u8]) -> Option<(&mut Branch, usize)> {
        let mut branch = &mut self.root;
        for _ in level..self.levels {
            let at = branch.behind(separator).checked_sub(1)?;
            branch = Arc::make_mut(branch.0.get_mut(at)?.below.as_mut()?);
        }
        let at = branch.behind(separator);
        Some((branch, at))
    }
}

impl Branch {
    /// The children of a node, count records of `level`, so many from `separator` on.
    pub(super) fn read(
        order: Order<'_>,
        level: u8,
        separator: Separator,
        children: u64,
    ) -> Result<Self> {
        let count = usize::try_from(children).unwrap_or(usize::MAX);
        let nodes = order.nodes(level, &separator, std::ops::Bound::Unbounded).take(count);
        let mut read = Vec::with_capacity(usize::try_from(children.min(CHILDREN_MAX)).unwrap_or(0));
        for node in nodes {
            let (separator, node) = node?;
            read.push(Child { separator: (&separator[..]).into(), node, below: None });
        }
        if read.len() != count || count == 0 {
            return Err(damaged("fewer count records than counted"));
        }
        Ok(Self(read))
    }

    /// How many children come before an order key or begin there.
    fn behind(&self, order_key: &[u8]) -> usize {
        let head = head(order_key);
        self.0.partition_point(|child| child.separator.is_up_to(order_key, head))
    }

    /// The child that the first of these changes lies in, and how many of them do.
    fn first_group(&self, changes: &[Item]) -> Option<(usize, usize)> {
        let (order_key, _) = changes.first()?;
        let at = self.behind(order_key).checked_sub(1)?;
        let next = self.0.get(at + 1);
        Some((at, next.map_or(changes.len(), |next| count_before(changes, &next.separator))))
    }

    /// As [`CountTree::mended`], for children that are records of `level`, and changes before which there
    /// are so many others. Answers whether all nodes are known.
    fn mended(
        &self,
        level: u8,
        (mut start, mut changes): (usize, &[Item]),
        mended: &mut Vec<Range<usize>>,
    ) -> bool {
        while let Some((at, count)) = self.first_group(changes) {
            let (within, others) = changes.split_at(count);
            let Some(Child { node, below, .. }) = self.0.get(at) else { return false };
            let (came, gone) = moves(within);
            let items = (node.items + came).checked_sub(gone);
            let children = if level == 1 { items } else { Some(node.children) };
            let has_size =
                children.is_some_and(|size| (CHILDREN_MIN..=CHILDREN_MAX).contains(&size));
            match below {
                _ if (came, gone) == (0, 0) => {}
                _ if items.is_none() || !has_size => mended.push(start..start + count),
                _ if level == 1 => {}
                Some(below) if below.0.len() as u64 == node.children => {
                    if !below.mended(level - 1, (start, within), mended) {
                        return false;
                    }
                }
                _ => return false,
            }
            (start, changes) = (start + count, others);
        }
        changes.is_empty()
    }

    /// As [`CountTree::shift`], for children that are records of `level`: how many items came and went.
    fn shift(
        &mut self,
        level: u8,
        mut changes: &[Item],
        written: &mut dyn FnMut(u8, &[u8], Node),
    ) -> (u64, u64) {
        let mut moved = (0, 0);
        while let Some((at, count)) = self.first_group(changes) {
            let (within, others) = changes.split_at(count);
            changes = others;
            let Some(Child { separator, node, below }) = self.0.get_mut(at) else { break };
            let (came, gone) = match below {
                Some(below) => Arc::make_mut(below).shift(level - 1, within, written),
                None => moves(within),
            };
            if (came, gone) == (0, 0) {
                continue;
            }
            node.items = node.items + came - gone;
            if level == 1 {
                node.children = node.items;
            }
            written(level, separator, *node);
            moved = (moved.0 + came, moved.1 + gone);
        }
        moved
    }

    fn split_off(&mut self, separator: &[u8]) -> Self {
        let at = self.0.partition_point(|child| child.separator[..] < *separator);
        let behind = Self(self.0.split_off(at));
        // It has grown to be cut.
        self.0.shrink_to(usize::try_from(CHILDREN_MAX).unwrap_or(0));
        behind
    }

    /// As [`CountTree::prune`], one pass for children that are records of `level`, in which one in so many
    /// branches goes: the bytes of what is forgotten.
    fn prune(&mut self, level: u8, one_of: u8) -> usize {
        let mut forgotten = 0;
        for child in &mut self.0 {
            if level > 2 {
                forgotten += child
                    .below
                    .as_mut()
                    .map_or(0, |below| Arc::make_mut(below).prune(level - 1, one_of));
            } else if fastrand::u8(..one_of) == 0 {
                forgotten += child.below.take().map_or(0, |below| below.bytes());
            }
        }
        forgotten
    }

    /// What its children take in memory without what is below them, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(Child::bytes).sum()
    }

    #[cfg(test)]
    fn compare(&self, order: Order<'_>, level: u8, separator: Separator, children: u64) {
        let read = Self::read(order, level, separator, children).unwrap();
        let records = |branch: &Self| {
            let all = branch.0.iter().map(|child| (child.separator.clone(), child.node));
            all.collect::<Vec<_>>()
        };
        assert_eq!(records(self), records(&read));
        for child in &self.0 {
            if let Some(below) = &child.below {
                below.compare(order, level - 1, child.separator.clone(), child.node.children);
            }
        }
    }

    fn total_bytes(&self) -> usize {
        let below = self.0.iter().filter_map(|child| child.below.as_ref());
        self.bytes() + below.map(|below| below.total_bytes()).sum::<usize>()
    }
}

/// How many items come and go with these changes.
pub(super) fn moves(changes: &[Item]) -> (u64, u64) {
    changes.iter().fold((0, 0), |(came, gone), (_, change)| match change {
        Change::Insert(_) => (came + 1, gone),
        Change::Replace(_) => (came, gone),
        Change::Delete => (came, gone + 1),
    })
}

/// How many changes, which are in order, come before an order key.
pub(super) fn count_before(changes: &[Item], order_key: &[u8]) -> usize {
    changes.partition_point(|(changed, _)| changed[..] < *order_key)
}

#[cfg(test)]
impl CountTree {
    /// Panics where it says anything else than the records do, or counts its bytes wrongly.
    pub(super) fn compare(&self, order: Order<'_>) {
        assert!(self.fits(order));
        if self.levels > 0 {
            let top = order.counts.top;
            self.root.compare(order, self.levels, Separator::default(), top);
            assert_eq!(self.bytes, self.root.total_bytes());
        }
    }

    /// One of so many nodes.
    pub(super) fn sample(nodes: u64) -> Self {
        let child = |number: u64| Child {
            separator: if number == 0 {
                Separator::default()
            } else {
                Separator::from(&number.to_be_bytes()[..])
            },
            node: Node { items: 20, children: 20 },
            below: None,
        };
        let root = Branch((0..nodes).map(child).collect());
        let bytes = root.bytes();
        Self { root, levels: 1, is_lost: false, bytes }
    }
}
