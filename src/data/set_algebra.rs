//! Intersection, union and difference of sets, member by member: nothing is gathered here but what
//! `visit` keeps, so that memory does not grow with the sets. Sets in metadata records are small and
//! may be sorted in memory.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::ops::ControlFlow;

use bytes::Bytes;

use super::Elements;
use super::elements::Walk;
use super::exploded::hash_of;
use crate::engine::Result;

/// Called with each member once; ends the walk with `Break`.
pub(super) type Visit<'a> = &'a mut dyn FnMut(Bytes) -> ControlFlow<()>;

/// Visits the members that all of `sets` have: walks the smallest and asks the others.
pub fn intersection(sets: &[Elements<'_>], visit: Visit<'_>) -> Result<()> {
    let mut sets: Vec<&Elements<'_>> = sets.iter().collect();
    sets.sort_by_key(|set| set.count());
    let Some((smallest, others)) = sets.split_first() else { return Ok(()) };
    for member in smallest.walk() {
        let member = member?.name;
        if is_in_all(others, &member)? && visit(member).is_break() {
            break;
        }
    }
    Ok(())
}

fn is_in_all(sets: &[&Elements<'_>], member: &[u8]) -> Result<bool> {
    for set in sets {
        if !set.contains(member)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Visits the members of the first set that none of `others` has.
pub fn difference(first: &Elements<'_>, others: &[Elements<'_>], visit: Visit<'_>) -> Result<()> {
    'members: for member in first.walk() {
        let member = member?.name;
        for other in others {
            if other.contains(&member)? {
                continue 'members;
            }
        }
        if visit(member).is_break() {
            break;
        }
    }
    Ok(())
}

/// Visits the members that any of `sets` has: where all are small, in their order; else all sets are
/// walked side by side in the order of positions.
pub fn union(sets: &[Elements<'_>], visit: Visit<'_>) -> Result<()> {
    if sets.iter().all(Elements::is_inline) {
        let mut seen = HashSet::new();
        for member in sets.iter().flat_map(Elements::walk) {
            let member = member?.name;
            if seen.insert(member.clone()) && visit(member).is_break() {
                break;
            }
        }
        return Ok(());
    }
    let mut walks = Vec::with_capacity(sets.len());
    let mut heads = BinaryHeap::new();
    for (index, set) in sets.iter().enumerate() {
        let mut walk = in_positions(set)?;
        if let Some(head) = walk.next().transpose()? {
            heads.push(Reverse((hash_of(&head.name), head.name, index)));
        }
        walks.push(walk);
    }
    let mut last: Option<Bytes> = None;
    while let Some(Reverse((_, member, index))) = heads.pop() {
        if let Some(walk) = walks.get_mut(index)
            && let Some(next) = walk.next().transpose()?
        {
            heads.push(Reverse((hash_of(&next.name), next.name, index)));
        }
        if last.as_ref() != Some(&member) {
            last = Some(member.clone());
            if visit(member).is_break() {
                break;
            }
        }
    }
    Ok(())
}

/// A walk in the order of positions, then names.
fn in_positions<'a>(set: &Elements<'a>) -> Result<Walk<'a>> {
    if !set.is_inline() {
        return Ok(set.walk());
    }
    let mut members: Vec<_> = set.walk().collect::<Result<_>>()?;
    members.sort_by_cached_key(|member| (hash_of(&member.name), member.name.clone()));
    Ok(Box::new(members.into_iter().map(Ok)))
}
