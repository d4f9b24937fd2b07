//! The merge and what snapshots see of it, against sorted lists.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{Direction, Error, Pair, Record, RecordIter, Result};
use super::{MergeIter, VisibleIter};

/// One write: source, key, value. The place in the list is the sequence number.
type Write = (usize, u8, Option<u8>);

fn record(seq: usize, &(_, key, value): &Write) -> Record {
    let value = value.map(|value| Bytes::from(vec![value]));
    Record { key: Bytes::from(vec![key]), seq: seq as u64 + 1, value }
}

fn sorted(mut records: Vec<Record>, direction: Direction) -> Vec<Record> {
    records.sort_by(|a, b| a.key.cmp(&b.key).then(b.seq.cmp(&a.seq)));
    if direction == Direction::Reverse {
        records.reverse();
    }
    records
}

fn source<'a>(records: Vec<Record>) -> Box<dyn RecordIter + 'a> {
    Box::new(records.into_iter().map(Ok))
}

fn merged(writes: &[Write], direction: Direction) -> MergeIter<'static> {
    let sources = (0..4).map(|number| {
        let own = writes.iter().enumerate().filter(|(_, write)| write.0 == number);
        source(sorted(own.map(|(seq, write)| record(seq, write)).collect(), direction))
    });
    MergeIter::new(sources.collect(), direction)
}

proptest! {
    #[test]
    fn merges_and_shows_like_a_map(
        writes in prop::collection::vec((0_usize..4, 0_u8..12, any::<Option<u8>>()), 0..80),
        seq_max in 0_usize..90,
    ) {
        for direction in [Direction::Forward, Direction::Reverse] {
            let all = writes.iter().enumerate().map(|(seq, write)| record(seq, write)).collect();
            let records: Result<Vec<Record>> = merged(&writes, direction).collect();
            prop_assert_eq!(records.unwrap(), sorted(all, direction));

            let mut model = BTreeMap::new();
            for (_, key, value) in writes.iter().take(seq_max) {
                model.insert(*key, *value);
            }
            let mut visible: Vec<Pair> = model
                .into_iter()
                .filter_map(|(key, value)| Some((vec![key].into(), vec![value?].into())))
                .collect();
            if direction == Direction::Reverse {
                visible.reverse();
            }
            let walk = VisibleIter::new(merged(&writes, direction), seq_max as u64, direction);
            let pairs: Result<Vec<Pair>> = walk.collect();
            prop_assert_eq!(pairs.unwrap(), visible);
        }
    }
}

#[test]
fn an_error_ends_the_walk() {
    for direction in [Direction::Forward, Direction::Reverse] {
        let bad = || -> Box<dyn RecordIter> {
            let first = record(4, &(0, 5, Some(1)));
            Box::new([Ok(first), Err(Error::WouldBlock)].into_iter())
        };
        let good =
            || source(sorted((0..9).map(|n| record(1, &(0, n, Some(n)))).collect(), direction));
        let mut walk = MergeIter::new(vec![good(), bad()], direction);
        let before = walk.by_ref().take_while(Result::is_ok).count();
        assert!((4..=6).contains(&before), "{before}");
        assert!(walk.next().is_none());

        let merge = MergeIter::new(vec![good(), bad()], direction);
        let mut walk = VisibleIter::new(merge, 99, direction);
        assert!(walk.by_ref().take_while(Result::is_ok).count() <= 5);
        assert!(walk.next().is_none());
        let mut walk =
            MergeIter::new(vec![good(), Box::new([Err(Error::Closed)].into_iter())], direction);
        assert!(matches!(walk.next(), Some(Err(Error::Closed))));
        assert!(walk.next().is_none());
    }
}

#[test]
fn of_equal_versions_the_earlier_source_wins() {
    let version = |value| record(0, &(0, 1, Some(value)));
    for direction in [Direction::Forward, Direction::Reverse] {
        let sources = vec![source(vec![version(1)]), source(vec![version(2)])];
        let walk = VisibleIter::new(MergeIter::new(sources, direction), 9, direction);
        let pairs: Result<Vec<Pair>> = walk.collect();
        assert_eq!(pairs.unwrap(), [(vec![1].into(), vec![1].into())]);
    }
}

/// What compaction would keep is not passed over in vain: versions that were overwritten, and those that
/// are too new, make room for nothing when level 0 is compacted for its tombstones.
#[test]
fn only_tombstones_and_what_lies_below_them_are_passed_in_vain() {
    let writes = [(0, 1, Some(1)), (1, 1, Some(2)), (0, 2, Some(1)), (1, 2, None), (2, 3, Some(1))];
    for (direction, expected) in [(Direction::Forward, 2), (Direction::Reverse, 1)] {
        let mut walk = VisibleIter::new(merged(&writes, direction), 4, direction);
        assert_eq!(walk.by_ref().collect::<Result<Vec<Pair>>>().unwrap().len(), 1);
        assert_eq!(walk.passed(), expected);
    }
}
