//! Intersection, union and difference of sorted sets and sets, which count as sorted sets of scores 1.
//! Results are gathered in memory, as much as a command may hold: they are put in the order of scores.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;

use bytes::Bytes;

use super::{Element, Elements, Scored};
use crate::engine::{BuildKeyHasher, Result};
use crate::env::Room;

/// What becomes of the scores that a member has in several sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Their sum; of opposite infinities zero.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

impl Aggregate {
    fn join(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Sum => not_nan(a + b),
            Self::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Self::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

fn not_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// One of the sets that are combined.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its members; a set or a sorted set.
    pub elements: Elements<'a>,
    /// What its scores are multiplied with.
    pub weight: f64,
}

impl Source<'_> {
    /// Its score by the weight; no number where one is zero and the other infinite.
    fn weighted(&self, element: &Element) -> Result<f64> {
        let score = if element.value.is_empty() { 1.0 } else { element.score()? };
        Ok(self.weight * score)
    }

    fn score_of(&self, element: &Element) -> Result<f64> {
        self.weighted(element).map(not_nan)
    }
}

/// Smallest first: so Redis adds scores.
fn by_size(sources: &[Source<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|at| sources.get(*at).map_or(0, |source| source.elements.count()));
    order
}

/// Visits the members that all of `sources` have, with their scores, in no order.
pub fn scored_intersection(
    sources: &[Source<'_>],
    aggregate: Aggregate,
    visit: &mut dyn FnMut(Bytes, f64) -> ControlFlow<()>,
) -> Result<()> {
    let sources: Vec<&Source<'_>> =
        by_size(sources).into_iter().filter_map(|at| sources.get(at)).collect();
    let Some((smallest, others)) = sources.split_first() else { return Ok(()) };
    'members: for element in smallest.elements.walk() {
        let element = element?;
        let mut score = smallest.score_of(&element)?;
        for other in others {
            let Some(found) = other.elements.get(&element.name)? else { continue 'members };
            // What is no number makes a sum zero, and is neither less nor more than any score.
            score = aggregate.join(score, other.weighted(&found)?);
        }
        if visit(element.name, score).is_break() {
            break;
        }
    }
    Ok(())
}

/// The members that any of `sources` has, by score.
pub fn scored_union(
    sources: &[Source<'_>],
    aggregate: Aggregate,
    room: &Room<'_>,
) -> Result<Vec<Scored>> {
    let mut scores: HashMap<Bytes, f64, _> = HashMap::with_hasher(BuildKeyHasher::random());
    for source in by_size(sources).into_iter().filter_map(|at| sources.get(at)) {
        for element in source.elements.walk() {
            let element = element?;
            let score = source.score_of(&element)?;
            match scores.entry(element.name) {
                Entry::Occupied(mut other) => {
                    let joined = aggregate.join(*other.get(), score);
                    other.insert(joined);
                }
                Entry::Vacant(place) => {
                    // In the map, and in the list.
                    room.take(place.key().len() + 3 * size_of::<Scored>())?;
                    place.insert(score);
                }
            }
        }
    }
    Ok(in_order(scores.into_iter().collect()))
}

/// The members of the first set that none of `others` has, by score.
pub fn scored_difference(
    first: &Source<'_>,
    others: &[Source<'_>],
    room: &Room<'_>,
) -> Result<Vec<Scored>> {
    let mut members = Vec::new();
    'members: for element in first.elements.walk() {
        let element = element?;
        for other in others {
            if other.elements.contains(&element.name)? {
                continue 'members;
            }
        }
        let score = first.score_of(&element)?;
        room.take(element.name.len() + size_of::<Scored>())?;
        members.push((element.name, score));
    }
    Ok(in_order(members))
}

/// Members in the order of their scores, then of their names.
pub fn in_order(mut members: Vec<Scored>) -> Vec<Scored> {
    members.sort_unstable_by(|(a, x), (b, y)| {
        x.partial_cmp(y).unwrap_or(std::cmp::Ordering::Equal).then_with(|| a.cmp(b))
    });
    members
}
