//! A node of the memtable's tree: items in order, made for a cache that is far from the processor.
//!
//! Beside the items stand, in their order, eight bytes of each key: those behind the prefix that all
//! keys of the node share. A search looks at these, which lie side by side, and at the keys
//! themselves, each of which is somewhere else in memory, only where the eight bytes are equal.
//! Items are appended; an insertion in the middle moves eight bytes and a slot number for
//! each item behind it.

use smallvec::SmallVec;

use crate::engine::coding::head;

/// Bytes of the shared prefix that are made use of.
const PREFIX_MAX: usize = 255;

/// What has a place in the order of keys.
pub(super) trait Keyed {
    /// Its key, that of no other item.
    fn key(&self) -> &[u8];
}

/// Items in order; at most 65,536.
#[derive(Debug)]
pub(super) struct Sorted<T> {
    /// What all keys begin with.
    prefix: SmallVec<[u8; 24]>,
    /// Per item, in order: the bytes of its key behind the prefix, as a number.
    heads: Vec<u64>,
    /// Per item, in order: where it is in `items`.
    slots: Vec<u16>,
    items: Vec<T>,
}

impl<T: Keyed> Sorted<T> {
    /// An empty node with room for `capacity` items.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            prefix: SmallVec::new(),
            heads: Vec::with_capacity(capacity),
            slots: Vec::with_capacity(capacity),
            items: Vec::with_capacity(capacity),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The item at `position` of the order.
    pub(super) fn get(&self, position: usize) -> Option<&T> {
        self.items.get(usize::from(*self.slots.get(position)?))
    }

    /// How many items are before `key`.
    pub(super) fn count_before(&self, key: &[u8]) -> usize {
        self.count(key, |item| item < key)
    }

    /// How many items are before `key` or at it.
    pub(super) fn count_up_to(&self, key: &[u8]) -> usize {
        self.count(key, |item| item <= key)
    }

    /// The item at `position`, where it is that of `key`.
    pub(super) fn at_mut(&mut self, position: usize, key: &[u8]) -> Option<&mut T> {
        let item = self.items.get_mut(usize::from(*self.slots.get(position)?))?;
        (item.key() == key).then_some(item)
    }

    fn count(&self, key: &[u8], is_before: impl Fn(&[u8]) -> bool) -> usize {
        let shared = self.prefix.len().min(key.len());
        let (own, prefix) = (key.split_at(shared), self.prefix.split_at(shared));
        match own.0.cmp(prefix.0) {
            std::cmp::Ordering::Less => return 0,
            std::cmp::Ordering::Greater => return self.len(),
            // Shorter than what all keys begin with: before all of them.
            std::cmp::Ordering::Equal if !prefix.1.is_empty() => return 0,
            std::cmp::Ordering::Equal => {}
        }
        let head = head(own.1);
        let from = self.heads.partition_point(|other| *other < head);
        let equal = self.heads.get(from..).unwrap_or_default();
        let equal = equal.iter().take_while(|other| **other == head).count();
        let slots = self.slots.get(from..from + equal).unwrap_or_default();
        from + slots.partition_point(|slot| {
            self.items.get(usize::from(*slot)).is_some_and(|item| is_before(item.key()))
        })
    }

    /// Inserts `item` so that it is at `position`, which [`Self::count_before`] has told.
    pub(super) fn insert(&mut self, position: usize, item: T) {
        let slot = u16::try_from(self.items.len()).expect("a node has at most 65,536 items");
        let key = item.key();
        let shared = if self.items.is_empty() {
            self.prefix = SmallVec::from_slice(key.get(..PREFIX_MAX).unwrap_or(key));
            self.prefix.len()
        } else {
            // Most keys begin as the others do.
            let begins_alike = key.starts_with(&self.prefix);
            if begins_alike { self.prefix.len() } else { common_len(&self.prefix, key) }
        };
        let head = head(key.get(shared..).unwrap_or_default());
        self.items.push(item);
        self.slots.insert(position, slot);
        if shared < self.prefix.len() {
            self.prefix.truncate(shared);
            self.rebuild_heads();
        } else {
            self.heads.insert(position, head);
        }
    }

    /// Splits off the items from `position` on.
    pub(super) fn split_off(&mut self, position: usize) -> Self {
        let right_slots = self.slots.split_off(position);
        let mut goes_right = vec![false; self.items.len()];
        for slot in &right_slots {
            goes_right[usize::from(*slot)] = true;
        }
        let capacity = self.items.capacity();
        let mut right = Self {
            prefix: self.prefix.clone(),
            heads: self.heads.split_off(position),
            slots: right_slots,
            items: Vec::with_capacity(capacity),
        };
        let left = Vec::with_capacity(capacity);
        let mut moved = vec![0; goes_right.len()];
        for (old, item) in std::mem::replace(&mut self.items, left).into_iter().enumerate() {
            let items = if goes_right[old] { &mut right.items } else { &mut self.items };
            moved[old] = u16::try_from(items.len()).expect("fewer than before");
            items.push(item);
        }
        for slots in [&mut self.slots, &mut right.slots] {
            slots.iter_mut().for_each(|slot| *slot = moved[usize::from(*slot)]);
        }
        self.extend_prefix();
        right.extend_prefix();
        right
    }

    /// Takes the first item out.
    pub(super) fn remove_first(&mut self) -> Option<T> {
        if self.items.is_empty() {
            return None;
        }
        self.heads.remove(0);
        let slot = self.slots.remove(0);
        let item = self.items.swap_remove(usize::from(slot));
        // The last item has taken its slot.
        let moved = self.items.len();
        for other in self.slots.iter_mut().filter(|other| usize::from(**other) == moved) {
            *other = slot;
        }
        Some(item)
    }

    /// Makes the prefix as long as it can be.
    fn extend_prefix(&mut self) {
        let (Some(first), Some(last)) = (self.get(0), self.get(self.len().saturating_sub(1)))
        else {
            return;
        };
        let (first, last) = (first.key(), last.key());
        let shared = common_len(first, last).min(PREFIX_MAX);
        if shared > self.prefix.len() {
            self.prefix = SmallVec::from_slice(first.get(..shared).unwrap_or_default());
            self.rebuild_heads();
        }
    }

    fn rebuild_heads(&mut self) {
        let Self { prefix, heads, slots, items } = self;
        heads.clear();
        heads.extend(slots.iter().map(|slot| {
            let key = items.get(usize::from(*slot)).map_or(&[][..], Keyed::key);
            head(key.get(prefix.len()..).unwrap_or_default())
        }));
    }
}

fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    impl Keyed for Vec<u8> {
        fn key(&self) -> &[u8] {
            self
        }
    }

    /// Keys with long common prefixes, zeros and ends inside of eight bytes; each once.
    fn keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let key = prop_oneof![
            vec(0_u8..3, 0..12),
            vec(0_u8..2, 0..4)
                .prop_map(|tail| [b"a common prefix of keys".to_vec(), tail].concat()),
            vec(any::<u8>(), 0..4).prop_map(|tail| [vec![7; 300], tail].concat()),
        ];
        let once = |keys: Vec<Vec<u8>>| {
            let mut known = std::collections::HashSet::new();
            keys.into_iter().filter(|key| known.insert(key.clone())).collect()
        };
        vec(key, 1..60).prop_map(once)
    }

    fn check(node: &mut Sorted<Vec<u8>>, expected: &[Vec<u8>]) {
        let found: Vec<&Vec<u8>> = (0..node.len()).map(|at| node.get(at).unwrap()).collect();
        assert!(found.into_iter().eq(expected));
        for (at, key) in expected.iter().enumerate() {
            assert_eq!(node.count_before(key), at);
            assert_eq!(node.count_up_to(key), at + 1);
            assert_eq!(node.at_mut(at, key).as_deref(), Some(key));
            assert_eq!(node.at_mut(at + 1, key), None);
        }
    }

    proptest! {
        #[test]
        fn items_are_in_order_and_found(keys in keys(), cut in any::<prop::sample::Index>(), probe in keys()) {
            let mut node = Sorted::with_capacity(4);
            let mut expected: Vec<Vec<u8>> = Vec::new();
            for key in keys {
                let at = node.count_before(&key);
                prop_assert_eq!(at, expected.partition_point(|other| *other < key));
                node.insert(at, key.clone());
                expected.insert(at, key);
            }
            check(&mut node, &expected);
            for key in &probe {
                let before = expected.partition_point(|other| other < key);
                prop_assert_eq!(node.count_before(key), before);
            }
            let cut = cut.index(expected.len());
            let mut right = node.split_off(cut);
            let mut expected_right = expected.split_off(cut);
            check(&mut node, &expected);
            check(&mut right, &expected_right);
            let first = right.remove_first().unwrap();
            prop_assert_eq!(first, expected_right.remove(0));
            check(&mut right, &expected_right);
        }
    }
}
