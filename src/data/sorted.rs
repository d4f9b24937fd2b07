//! A sorted set, read: by member, by score, by rank.
//!
//! The *order key* of a member is its score in eight bytes that sort as the scores do, and the member.
//! The packed list of a small sorted set is in the order of these keys; it holds the score as the
//! value of the member, an f64, little-endian. An exploded one keeps
//!
//! ```text
//! hash of the member | member      0 and the score: the record of an element (`exploded.rs`)
//! 0x80 | order key                 empty, or 0x80 where the score is minus zero
//! 0x81 and up                      what counts the order keys (`counted`)
//! ```
//!
//! Minus zero and zero are one score, and stand beside each other in the order of their members. A
//! packed list has no minus zero, as in Redis.

use std::cmp::Ordering;
use std::ops::Bound;

use bytes::Bytes;

use super::collection::damaged;
use super::counted::{Order, OrderPlace};
use super::{Element, Elements, Layout};
use crate::engine::{Direction, Result};

/// A member and its score.
pub type Scored = (Bytes, f64);

/// A running walk over members in the order of their scores.
pub type ScoredWalk<'a> = Box<dyn Iterator<Item = Result<Scored>> + 'a>;

/// Bytes of an order key before the member.
pub(super) const SCORE_BYTES: usize = 8;
/// So many members are passed over one by one; more are counted.
const FEW: u64 = 64;

/// The score as a number that sorts as it does.
fn code(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

fn score_of_code(code: u64) -> f64 {
    f64::from_bits(if code >> 63 == 1 { code & !(1 << 63) } else { !code })
}

/// The place of a member in the order of scores.
pub(super) fn order_key(score: f64, member: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(SCORE_BYTES + member.len());
    key.extend_from_slice(&code(score).to_be_bytes());
    key.extend_from_slice(member);
    key.into()
}

/// What stands beside an order key.
pub(super) fn order_value(score: f64) -> Bytes {
    if score == 0.0 && score.is_sign_negative() {
        Bytes::from_static(&[0x80])
    } else {
        Bytes::new()
    }
}

/// Member and score of an item of the order.
pub(super) fn parse_item((order_key, value): &(Bytes, Bytes)) -> Result<Scored> {
    let code = order_key.first_chunk::<SCORE_BYTES>();
    let code = code.ok_or_else(|| damaged("the key of a score is cut off"))?;
    let score = score_of_code(u64::from_be_bytes(*code));
    let score = if value.is_empty() { score } else { -score };
    Ok((order_key.slice(SCORE_BYTES..), score))
}

/// Score in the record of a member.
pub(super) fn parse_score(value: &[u8]) -> Result<f64> {
    let bytes = value.try_into().map_err(|_| damaged("a score is not eight bytes long"))?;
    Ok(f64::from_le_bytes(bytes))
}

/// The order of scores under a generation.
pub(super) fn order_place(keyspace: u32, generation: u64) -> OrderPlace {
    OrderPlace { keyspace, generation, items: &[0x80], tag: 0x81 }
}

/// Members with order keys from one on, up to another, which does not belong to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    from: Bytes,
    to: Option<Bytes>,
}

impl Span {
    /// All members.
    pub const ALL: Self = Self { from: Bytes::new(), to: None };

    /// Members with scores within the bounds, of which none is NaN.
    #[must_use]
    pub fn of_scores(min: Bound<f64>, max: Bound<f64>) -> Self {
        let key = |code: u64| Bytes::copy_from_slice(&code.to_be_bytes());
        let from = match min {
            Bound::Included(min) => key(code(min)),
            Bound::Excluded(min) => key(code(min) + 1),
            Bound::Unbounded => Bytes::new(),
        };
        let to = match max {
            Bound::Included(max) => Some(key(code(max) + 1)),
            Bound::Excluded(max) => Some(key(code(max))),
            Bound::Unbounded => None,
        };
        Self { from, to }
    }

    /// Whether a member is among them: before, among or behind them.
    fn compare(&self, score: f64, member: &[u8]) -> Ordering {
        let code = code(score).to_be_bytes();
        let is_before = |key: &[u8]| match key.split_at_checked(SCORE_BYTES) {
            Some((score, name)) => (&code[..], member) < (score, name),
            None => false,
        };
        if is_before(&self.from) {
            Ordering::Less
        } else if self.to.as_ref().is_none_or(|to| is_before(to)) {
            Ordering::Equal
        } else {
            Ordering::Greater
        }
    }

    fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| self.from >= *to)
    }

    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let to = self.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(&self.from), to)
    }
}

/// A bound among members of one score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LexBound {
    /// Before all.
    First,
    /// At this member.
    Included(Bytes),
    /// Behind this member (as a lower bound) or before it.
    Excluded(Bytes),
    /// Behind all.
    Last,
}

/// Bounds of names; they mean most where all members have the same score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LexRange {
    /// Lower bound.
    pub min: LexBound,
    /// Upper bound.
    pub max: LexBound,
}

impl LexRange {
    fn is_behind_min(&self, member: &[u8]) -> bool {
        match &self.min {
            LexBound::First => true,
            LexBound::Included(min) => member >= &min[..],
            LexBound::Excluded(min) => member > &min[..],
            LexBound::Last => false,
        }
    }

    fn is_before_max(&self, member: &[u8]) -> bool {
        match &self.max {
            LexBound::First => false,
            LexBound::Included(max) => member <= &max[..],
            LexBound::Excluded(max) => member < &max[..],
            LexBound::Last => true,
        }
    }

    fn contains(&self, member: &[u8]) -> bool {
        self.is_behind_min(member) && self.is_before_max(member)
    }

    fn is_at_or_behind_start(&self, member: &[u8], direction: Direction) -> bool {
        match direction {
            Direction::Forward => self.is_behind_min(member),
            Direction::Reverse => self.is_before_max(member),
        }
    }
}

/// A sorted set.
#[derive(Clone, Copy, Debug)]
pub struct SortedSet<'a> {
    elements: Elements<'a>,
}

impl Element {
    /// Score of a member of a sorted set. Fails where it is none.
    pub fn score(&self) -> Result<f64> {
        parse_score(&self.value)
    }
}

impl<'a> SortedSet<'a> {
    /// Reads the elements of a sorted set in their order.
    #[must_use]
    pub fn new(elements: Elements<'a>) -> Self {
        Self { elements }
    }

    /// The members without an order.
    #[must_use]
    pub fn elements(&self) -> &Elements<'a> {
        &self.elements
    }

    /// How many members there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.elements.count()
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Result<Option<f64>> {
        self.elements.get(member)?.map(|found| found.score()).transpose()
    }

    /// How many members stand before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Result<Option<(u64, f64)>> {
        if let Some(order) = self.order() {
            let Some(score) = self.score(member)? else { return Ok(None) };
            return Ok(Some((order.rank(&order_key(score, member))?, score)));
        }
        for (found, rank) in self.elements.walk().zip(0..) {
            let found = found?;
            if found.name == member {
                return Ok(Some((rank, found.score()?)));
            }
        }
        Ok(None)
    }

    /// Members from a rank on, counted from the first (forward) or from the last (reverse).
    pub fn walk_from(&self, rank: u64, direction: Direction) -> Result<ScoredWalk<'a>> {
        let Some(order) = self.order() else {
            let skip = usize::try_from(rank).unwrap_or(usize::MAX);
            return Ok(Box::new(
                self.listed(&Span::ALL, direction)?.into_iter().skip(skip).map(Ok),
            ));
        };
        if rank == 0 {
            return self.walk(&Span::ALL, direction);
        }
        if direction == Direction::Forward {
            return Ok(Box::new(order.items_from(rank)?.map(|item| parse_item(&item?))));
        }
        let rank = self.count().checked_sub(rank.saturating_add(1));
        let Some((start, _)) = rank.map(|rank| order.at(rank)).transpose()?.flatten() else {
            return Ok(Box::new(std::iter::empty()));
        };
        let (from, to) = (Bound::Unbounded, Bound::Included(&start[..]));
        Ok(Box::new(order.items(from, to, direction).map(|item| parse_item(&item?))))
    }

    /// The members of a span.
    pub fn walk(&self, span: &Span, direction: Direction) -> Result<ScoredWalk<'a>> {
        if span.is_empty() {
            return Ok(Box::new(std::iter::empty()));
        }
        let Some(order) = self.order() else {
            return Ok(Box::new(self.listed(span, direction)?.into_iter().map(Ok)));
        };
        let (from, to) = span.bounds();
        Ok(Box::new(order.items(from, to, direction).map(|item| parse_item(&item?))))
    }

    /// The members of a span but for the first ones of it.
    pub fn walk_behind(
        &self,
        span: &Span,
        skipped: u64,
        direction: Direction,
    ) -> Result<ScoredWalk<'a>> {
        let Some(order) = self.order().filter(|_| skipped > FEW && !span.is_empty()) else {
            let walk = self.walk(span, direction)?;
            return Ok(pass_over(walk, skipped));
        };
        let (first, end) = self.ranks(span)?;
        let rank = match direction {
            Direction::Forward => first.checked_add(skipped),
            Direction::Reverse => end.checked_sub(skipped.saturating_add(1)),
        };
        let rank = rank.filter(|rank| (first..end).contains(rank));
        let Some((start, _)) = rank.map(|rank| order.at(rank)).transpose()?.flatten() else {
            return Ok(Box::new(std::iter::empty()));
        };
        let (from, to) = span.bounds();
        let (from, to) = match direction {
            Direction::Forward => (Bound::Included(&start[..]), to),
            Direction::Reverse => (from, Bound::Included(&start[..])),
        };
        Ok(Box::new(order.items(from, to, direction).map(|item| parse_item(&item?))))
    }

    /// How many members a span has.
    pub fn count_in(&self, span: &Span) -> Result<u64> {
        if span.is_empty() {
            return Ok(0);
        }
        let (first, end) = self.ranks(span)?;
        Ok(end.saturating_sub(first))
    }

    /// Rank of the first member of a span, and of what comes behind its last one.
    pub fn ranks(&self, span: &Span) -> Result<(u64, u64)> {
        if let Some(order) = self.order() {
            let end = span.to.as_ref().map(|to| order.rank(to)).transpose()?;
            return Ok((order.rank(&span.from)?, end.unwrap_or(self.count())));
        }
        let (mut before, mut among) = (0, 0);
        for member in self.elements.walk() {
            let member = member?;
            match span.compare(member.score()?, &member.name) {
                Ordering::Less => before += 1,
                Ordering::Equal => among += 1,
                Ordering::Greater => break,
            }
        }
        Ok((before, before + among))
    }

    /// The members within bounds of names, but for the first ones of them. Where not all have the same
    /// score, all are walked in the order of scores: from the first within the bounds up to the one
    /// before the next that is not.
    pub fn walk_names(
        &self,
        range: &LexRange,
        skipped: u64,
        direction: Direction,
    ) -> Result<ScoredWalk<'a>> {
        if let Some(span) = self.lex_span(range)? {
            return self.walk_behind(&span, skipped, direction);
        }
        let (range, mut is_within) = (range.clone(), false);
        let walk = self.walk_from(0, direction)?.map_while(move |found| match found {
            Ok((member, score)) => {
                is_within = is_within || range.is_at_or_behind_start(&member, direction);
                let is_end = is_within && !range.contains(&member);
                (!is_end).then(|| Ok(is_within.then_some((member, score))))
            }
            Err(error) => Some(Err(error)),
        });
        Ok(pass_over(walk.filter_map(Result::transpose), skipped))
    }

    /// How many members there are within bounds of names; see [`Self::walk_names`].
    pub fn count_names(&self, range: &LexRange) -> Result<u64> {
        match self.lex_span(range)? {
            Some(span) => self.count_in(&span),
            None => {
                let mut count = 0;
                for found in self.walk_names(range, 0, Direction::Forward)? {
                    found?;
                    count += 1;
                }
                Ok(count)
            }
        }
    }

    /// The members within bounds of names, where all have the same score; `None` where they have not.
    fn lex_span(&self, range: &LexRange) -> Result<Option<Span>> {
        const NONE: Span = Span { from: Bytes::new(), to: Some(Bytes::new()) };

        let end = |direction| self.walk_from(0, direction)?.next().transpose();
        let (first, last) = (end(Direction::Forward)?, end(Direction::Reverse)?);
        let (Some((_, score)), Some((_, last))) = (first, last) else { return Ok(Some(NONE)) };
        if code(score) != code(last) {
            return Ok(None);
        }
        let at = |member: &Bytes| order_key(score, member);
        let behind = |member: &Bytes| [&at(member)[..], &[0]].concat().into();
        let from = match &range.min {
            LexBound::First => Bytes::new(),
            LexBound::Included(member) => at(member),
            LexBound::Excluded(member) => behind(member),
            LexBound::Last => return Ok(Some(NONE)),
        };
        let to = match &range.max {
            LexBound::First => return Ok(Some(NONE)),
            LexBound::Included(member) => Some(behind(member)),
            LexBound::Excluded(member) => Some(at(member)),
            LexBound::Last => None,
        };
        Ok(Some(Span { from, to }))
    }

    /// The order of scores, where it has records.
    pub(super) fn order(&self) -> Option<Order<'a>> {
        let Elements { read, keyspace, collection, branches, .. } = self.elements;
        match &collection.layout {
            Layout::Ordered { generation, counts } => {
                let place = order_place(keyspace, *generation);
                Some(Order { read, place, counts, branches })
            }
            _ => None,
        }
    }

    /// The members of a span of a packed list.
    fn listed(&self, span: &Span, direction: Direction) -> Result<Vec<Scored>> {
        let mut members = Vec::new();
        for member in self.elements.walk() {
            let member = member?;
            let score = member.score()?;
            if span.compare(score, &member.name) == Ordering::Equal {
                members.push((member.name, score));
            }
        }
        if direction == Direction::Reverse {
            members.reverse();
        }
        Ok(members)
    }
}

/// A walk without its first members. An error is no member.
fn pass_over<'a>(walk: impl Iterator<Item = Result<Scored>> + 'a, members: u64) -> ScoredWalk<'a> {
    let skip = usize::try_from(members).unwrap_or(usize::MAX);
    let numbered = walk.enumerate();
    Box::new(
        numbered.filter_map(move |(at, found)| (at >= skip || found.is_err()).then_some(found)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_keys_sort_as_scores_and_members_do() {
        let scores = [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -f64::MIN_POSITIVE,
            0.0,
            f64::MIN_POSITIVE,
            1.0,
            1.0 + f64::EPSILON,
            f64::MAX,
            f64::INFINITY,
        ];
        let mut keys = Vec::new();
        for score in scores {
            for member in ["", "\0", "a", "ab", "b"] {
                let item = (order_key(score, member.as_bytes()), order_value(score));
                assert_eq!(parse_item(&item).unwrap(), (Bytes::from(member), score));
                keys.push(item.0);
            }
        }
        assert!(keys.is_sorted_by(|a, b| a < b));
        assert_eq!(order_key(-0.0, b"m"), order_key(0.0, b"m"));
        let zero = parse_item(&(order_key(-0.0, b"m"), order_value(-0.0))).unwrap().1;
        assert_eq!(zero.to_bits(), (-0.0_f64).to_bits());
    }
}
