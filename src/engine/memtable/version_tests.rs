use std::collections::BTreeMap;
use std::ops::RangeBounds;

use super::*;

#[test]
fn a_view_meets_one_version_of_each_key() {
    let table = Memtable::new();
    table
        .walk(&(Bound::Unbounded, Bound::Unbounded), Direction::Forward, ReadMode::Blocking)
        .unwrap();
    let random = &mut fastrand::Rng::with_seed(9);
    let mut all: Vec<(String, SeqNo)> = Vec::new();
    for seq in 1..3_000 {
        // One key is written all the time, some often, many once.
        let number = [7, random.u32(..9), random.u32(..900)][random.usize(..3)];
        let key = format!("{number:03}");
        table.insert(Entry::new(key.as_bytes(), seq, Some(b"v")));
        all.push((key, seq));
    }
    for sealed in [false, true] {
        let run = Memtable::new();
        all.iter().for_each(|(key, seq)| run.insert(Entry::new(key.as_bytes(), *seq, None)));
        run.seal();
        let table = if sealed { &run } else { &table };
        for view in [0, 1, 50, 700, 2_000, 9_999] {
            let mut expected = BTreeMap::new();
            for (key, seq) in all.iter().filter(|(_, seq)| *seq <= view) {
                expected.insert(key.clone(), *seq);
            }
            let from = Bound::Included(Bytes::from(random.u32(..20).to_string()));
            for range in [(Bound::Unbounded, Bound::Unbounded), (from, Bound::Unbounded)] {
                let expected: Vec<(String, SeqNo)> = expected
                    .iter()
                    .filter(|(key, _)| range.contains(&Bytes::from((*key).clone())))
                    .map(|(key, seq)| (key.clone(), *seq))
                    .collect();
                let seen = |direction| -> Vec<(String, SeqNo)> {
                    let walk = table.walk(&range, direction, ReadMode::Blocking).unwrap();
                    walk.seen_at(view)
                        .map(|record| record.unwrap())
                        .map(|record| (String::from_utf8(record.key.to_vec()).unwrap(), record.seq))
                        .collect()
                };
                assert_eq!(seen(Direction::Forward), expected);
                assert!(seen(Direction::Reverse).into_iter().rev().eq(expected));
            }
        }
    }
}
