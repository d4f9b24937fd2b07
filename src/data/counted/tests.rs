use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::data::model::{Store, record_count};
use crate::engine::{Changes, Found, KeyRange, Txn};

/// A counted order beside a plain map of what it has to hold.
struct Fixture {
    store: Store,
    place: OrderPlace,
    counts: Counts,
    /// What is known beside the records.
    known: Known,
    has_known: bool,
    /// Whether part of what is known is forgotten again and again.
    forgets: bool,
    model: BTreeMap<Bytes, Bytes>,
}

impl Fixture {
    fn new(items: &'static [u8]) -> Self {
        let place = OrderPlace { keyspace: 1, generation: 7, items, tag: 0x81 };
        let (store, counts) = (Store::default(), Counts::default());
        Self {
            store,
            place,
            counts,
            known: Known::default(),
            has_known: false,
            forgets: false,
            model: BTreeMap::new(),
        }
    }

    fn knowing(items: &'static [u8]) -> Self {
        Self { has_known: true, ..Self::new(items) }
    }

    fn forgetting(items: &'static [u8]) -> Self {
        Self { forgets: true, ..Self::knowing(items) }
    }

    fn order(&self) -> Order<'_> {
        Order { read: &self.store, place: self.place, counts: &self.counts, branches: None }
    }

    /// Toggles these items in one transaction and looks at everything.
    fn toggle(&mut self, keys: impl IntoIterator<Item = Bytes>) {
        let mut changes = OrderChanges::default();
        for key in keys {
            let value = Bytes::from(self.model.len().to_string());
            if self.model.remove(&key).is_some() {
                changes.delete(key);
            } else {
                self.model.insert(key.clone(), value.clone());
                changes.insert(key, value);
            }
        }
        if self.has_known && !self.known.is_wanted() {
            self.known = Known::wanted(self.order()).unwrap();
        }
        assert!(self.known.fits(self.order()));
        let mut known = std::mem::take(&mut self.known);
        if self.model.len().is_multiple_of(2) {
            for (end, count) in [(Direction::Forward, 3), (Direction::Reverse, 5)] {
                let outermost = known.outermost(self.order(), end, count, |_| {}).unwrap();
                let items = self.order().items(Bound::Unbounded, Bound::Unbounded, end);
                let expected: Vec<_> = items.take(count).collect::<Result<_>>().unwrap();
                assert_eq!(outermost, expected);
            }
        }
        self.known = known;
        let changes = {
            let mut txn = self.store.txn();
            changes.apply(&mut txn, self.place, &mut self.counts, &mut self.known).unwrap();
            txn.into_changes()
        };
        self.store.commit(changes);
        self.order().check().unwrap();
        self.known.compare(self.order());
        let mut known = std::mem::take(&mut self.known);
        known.follow_levels(self.order()).unwrap();
        if self.forgets && self.model.len().is_multiple_of(5) {
            let bytes_max = known.bytes() / 2;
            assert!(!known.prune(bytes_max) || known.bytes() <= bytes_max);
            known.compare(self.order());
        }
        self.known = known;
        let mut encoded = Vec::new();
        self.counts.encode(&mut encoded);
        assert_eq!(encoded.len(), self.counts.encoded_len());
        let decoded = Counts::decode(self.counts.len, &mut Reader::new(&encoded));
        assert_eq!(decoded.as_ref(), Some(&self.counts));
    }

    /// Holds ranks, selections and walks against the model.
    fn compare(&self, probes: &[Bytes]) {
        let all: Vec<(Bytes, Bytes)> =
            self.model.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let walk = |direction| {
            let items = self.order().items(Bound::Unbounded, Bound::Unbounded, direction);
            items.collect::<Result<Vec<_>>>().unwrap()
        };
        assert_eq!(walk(Direction::Forward), all);
        assert!(walk(Direction::Reverse).into_iter().eq(all.iter().rev().cloned()));
        let ranks = (0..all.len()).step_by(1 + all.len() / 200);
        for rank in ranks.chain([all.len().saturating_sub(1), all.len(), all.len() + 9]) {
            let expected = all.get(rank).cloned();
            assert_eq!(self.order().at(rank as u64).unwrap(), expected, "rank {rank}");
            if let Some((key, _)) = expected {
                assert_eq!(self.order().rank(&key).unwrap(), rank as u64);
            }
        }
        for probe in probes {
            let expected = self.model.range(..probe.clone()).count();
            assert_eq!(self.order().rank(probe).unwrap(), expected as u64);
            let bounds = (Bound::Excluded(&probe[..]), Bound::Unbounded);
            let found = self.order().items(bounds.0, bounds.1, Direction::Forward).next();
            let expected = self.model.range::<[u8], _>(bounds).next();
            assert_eq!(
                found.transpose().unwrap().map(|item| item.0).as_ref(),
                expected.map(|e| e.0)
            );
        }
    }
}

fn number(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// Keys of many lengths with common prefixes, some longer than a bound; all before the tag.
fn any_key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => proptest::collection::vec(0_u8..4, 1..7).prop_map(Bytes::from),
        1 => proptest::collection::vec(0_u8..2, 0..5)
            .prop_map(|tail| Bytes::from([vec![2; 30], tail].concat())),
        1 => proptest::collection::vec(Just(255_u8), 1..40)
            .prop_map(|tail| Bytes::from([vec![127], tail].concat())),
        1 => any::<u64>().prop_map(|any| number(any >> 1)),
    ]
}

/// What was read of a tree of two levels knows the upper one only; where that shrinks to one node, its
/// children were never looked at.
#[test]
fn a_level_that_goes_away_unknown_is_read_again() {
    let mut fixture = Fixture::new(b"");
    fixture.toggle((0..2000).map(number));
    assert_eq!(fixture.counts.levels, 2);
    fixture.has_known = true;
    fixture.toggle((0..900).map(number));
    assert!(fixture.known.is_wanted());
    fixture.toggle((1000..1003).map(number));
    fixture.compare(&[number(950), number(1500)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn it_counts_as_a_map_does(
        batches in proptest::collection::vec(
            proptest::collection::vec(any_key(), 1..400), 1..12),
        probes in proptest::collection::vec(any_key(), 20),
        with_prefix: bool,
        has_known: bool,
        forgets: bool,
    ) {
        let items: &[u8] = if with_prefix { &[0x80] } else { &[] };
        let mut fixture = Fixture { has_known, forgets, ..Fixture::new(items) };
        for batch in batches {
            fixture.toggle(batch);
            fixture.compare(&probes);
        }
    }
}

#[test]
fn three_levels_come_and_go() {
    levels_come_and_go(Fixture::knowing(&[]));
    levels_come_and_go(Fixture::forgetting(&[]));
}

fn levels_come_and_go(mut fixture: Fixture) {
    let random = &mut fastrand::Rng::with_seed(7);
    let keys: Vec<Bytes> = (0..100_000).map(|_| number(random.u64(..1 << 60))).collect();
    fixture.toggle(keys.iter().cloned());
    assert_eq!(fixture.counts.levels, 3);
    let probes: Vec<Bytes> = (0..50).map(|_| number(random.u64(..1 << 60))).collect();
    fixture.compare(&probes);
    for chunk in keys.chunks(15_000) {
        fixture.toggle(chunk.iter().cloned());
    }
    fixture.compare(&probes);
    assert_eq!(fixture.counts, Counts::default());
    assert_eq!(record_count(&fixture.store), 0, "nothing is left behind");
}

#[test]
fn single_changes_keep_the_balance() {
    changes_keep_the_balance(Fixture::new(&[0x80]));
    changes_keep_the_balance(Fixture::knowing(&[0x80]));
    changes_keep_the_balance(Fixture::forgetting(&[0x80]));
}

fn changes_keep_the_balance(mut fixture: Fixture) {
    let random = &mut fastrand::Rng::with_seed(8);
    fixture.toggle((0..3_000).map(|at| number(at * 10)));
    for round in 0..3 {
        for _ in 0..200 {
            // Around one place, so that its nodes are cut and joined.
            fixture.toggle([number(1_000 * round + random.u64(..1_500))]);
        }
        fixture.compare(&[number(1_000 * round), number(29_999)]);
    }
}

#[test]
fn any_number_of_items_makes_pieces_of_the_right_size() {
    for count in (40..250).step_by(3).chain([48, 49, 96, 97, 144, 145]) {
        Fixture::new(&[]).toggle((0..count).map(number));
    }
}

/// A count record takes part in a transaction only where an item comes or goes below it.
#[test]
fn a_change_writes_one_small_record_per_level() {
    let mut fixture = Fixture::new(&[]);
    fixture.toggle((0..30_000).map(|at| number(at * 2)));
    assert_eq!(fixture.counts.levels, 2);
    let mut changes = OrderChanges::default();
    changes.insert(number(30_001), Bytes::new());
    let mut txn = fixture.store.txn();
    changes
        .apply(&mut txn, fixture.place, &mut fixture.counts.clone(), &mut Known::default())
        .unwrap();
    let Changes { writes, .. } = txn.into_changes();
    assert_eq!(writes.len(), 3, "the item and two levels");
    let bytes: usize =
        writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum();
    assert!(bytes <= 3 * 32, "{bytes}");
}

#[test]
fn changes_of_one_call_write_each_node_once() {
    let mut fixture = Fixture::knowing(&[0x80]);
    fixture.toggle((0..30_000).map(|at| number(at * 2)));
    let mut changes = OrderChanges::default();
    (0..100).for_each(|at| changes.insert(number(at * 600 + 1), Bytes::new()));
    let mut txn = fixture.store.txn();
    let (place, mut counts) = (fixture.place, fixture.counts);
    changes.apply(&mut txn, place, &mut counts, &mut fixture.known).unwrap();
    let nodes = 30_000_u64.div_ceil(CHILDREN_MAX / 4 * 3).div_ceil(CHILDREN_MAX / 4 * 3);
    let Changes { writes, .. } = txn.into_changes();
    assert_eq!(writes.len() as u64, 200 + nodes, "items, their nodes, and those above");
    assert_eq!(counts.len(), 30_100);
}

/// What was deleted before an end is never met again: the bounds follow the items.
#[test]
fn the_bounds_follow_a_queue() {
    let mut fixture = Fixture::knowing(&[]);
    fixture.toggle((0..500).map(number));
    for at in 0..2_000 {
        fixture.toggle([number(500 + at), number(at)]);
        assert_eq!(fixture.counts.first[..], number(at + 1)[..]);
        assert_eq!(fixture.counts.end[..8], number(500 + at)[..]);
    }
    for at in (0..2_000).rev() {
        fixture.toggle([number(at), number(500 + at)]);
        assert_eq!(fixture.counts.first[..], number(at)[..]);
    }
    fixture.compare(&[number(100)]);
}

/// A state of an order that readers may still see.
struct State {
    store: Store,
    counts: Counts,
    keys: Vec<Bytes>,
}

impl State {
    fn of(fixture: &Fixture) -> Self {
        let mut counts = fixture.counts;
        // Every change of an order writes the metadata record, too.
        counts.set_seq(fixture.store.seq());
        Self { store: fixture.store.clone(), counts, keys: fixture.model.keys().cloned().collect() }
    }

    /// Holds what is read through these branches against the keys.
    fn compare(&self, place: OrderPlace, branches: &Branches, probes: &[Bytes]) {
        let (read, counts) = (&self.store, &self.counts);
        let order = Order { read, place, counts, branches: Some(branches) };
        for probe in probes {
            let expected = self.keys.partition_point(|key| key < probe);
            assert_eq!(order.rank(probe).unwrap(), expected as u64, "{probe:?}");
            let at = |rank: usize| order.at(rank as u64).unwrap().map(|(key, _)| key);
            assert_eq!(at(expected).as_ref(), self.keys.get(expected));
            let items = order.items_from(expected as u64).unwrap();
            let items = items.take(3).map(|item| item.map(|(key, _)| key));
            let items = items.collect::<Result<Vec<_>>>().unwrap();
            assert!(self.keys.iter().skip(expected).take(3).eq(&items));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Readers of newer and of older states share the branches, and each sees its own.
    #[test]
    fn branches_show_the_state_that_is_asked_for(
        batches in proptest::collection::vec(
            proptest::collection::vec(0_u64..4_000, 1..60), 1..12),
        looks in proptest::collection::vec((any::<proptest::sample::Index>(), 0_u64..4_000), 60),
        bytes_max in prop_oneof![Just(1_u64 << 20), Just(4_000), Just(0)],
        is_small: bool,
    ) {
        let branches = Branches::new(bytes_max);
        let mut fixture = Fixture::new(&[0x80]);
        fixture.toggle((0..if is_small { 60 } else { 3_000 }).map(number));
        let mut states = vec![State::of(&fixture)];
        for batch in batches {
            // Around one place, too, so that nodes are cut and joined.
            let around = batch[0];
            fixture.toggle(batch.into_iter().chain(around..around + 30).map(number));
            states.push(State::of(&fixture));
            for (state, probe) in &looks {
                let probes = [number(*probe), number(around + 7)];
                state.get(&states).compare(fixture.place, &branches, &probes);
            }
            prop_assert!(branches.bytes() <= bytes_max);
        }
        prop_assert!(bytes_max < 1 << 20 || branches.bytes() > 0, "nothing was kept");
    }
}

/// A store of which the check must find fault once `damage` has been at it.
fn is_noticed(damage: impl FnOnce(&mut Fixture)) -> bool {
    let mut fixture = Fixture::new(&[0x80]);
    fixture.toggle((0..1_000).map(number));
    damage(&mut fixture);
    fixture.order().check().is_err()
}

#[test]
fn damage_is_noticed() {
    let put = |fixture: &mut Fixture, level, key: &[u8], value: Option<&[u8]>| {
        let key = fixture.place.key(level, key);
        let mut changes = Changes::default();
        changes.writes.set(key, value.map(Bytes::copy_from_slice));
        fixture.store.commit(changes);
    };
    assert!(!is_noticed(|_| {}));
    assert!(is_noticed(|fixture| put(fixture, 0, &number(500), None)));
    assert!(is_noticed(|fixture| put(fixture, 0, &number(0), None)));
    assert!(is_noticed(|fixture| put(fixture, 1, b"", None)));
    assert!(is_noticed(|fixture| put(fixture, 1, b"", Some(&[3]))));
    assert!(is_noticed(|fixture| put(fixture, 2, b"", Some(&[3, 3]))));
    assert!(is_noticed(|fixture| put(fixture, 1, &number(333), Some(&[3]))));
    assert!(is_noticed(|fixture| fixture.counts.first = Edge::floor_of(&number(3))));
    assert!(is_noticed(|fixture| fixture.counts.end = Edge::floor_of(&number(3))));
    assert!(is_noticed(|fixture| fixture.counts.top = 3));
    assert!(is_noticed(|fixture| fixture.counts.len = 3));
}

/// A view that is not walked.
struct NotWalked<'a>(&'a Store);

impl Read for NotWalked<'_> {
    fn newest(&self, key: &[u8]) -> Result<Option<Found>> {
        self.0.newest(key)
    }

    fn scan(&self, _: KeyRange, _: Direction) -> Scan<'_> {
        unreachable!("what is asked for is known")
    }

    fn seq(&self) -> SeqNo {
        self.0.seq()
    }

    fn root(&self) -> &[u8] {
        self.0.root()
    }

    fn prefetch(&self, _: &[&[u8]]) {}
}

#[test]
fn what_is_known_is_not_walked() {
    let mut fixture = Fixture::knowing(&[0x80]);
    for start in (0..2000).step_by(20) {
        fixture.toggle((start..start + 20).map(number));
    }
    let Fixture { store, place, counts, .. } = &fixture;
    let mut known = Known::wanted(fixture.order()).unwrap();
    let forward = Direction::Forward;
    assert_eq!(known.outermost(fixture.order(), forward, 1, |_| {}).unwrap()[0].0, number(0));
    let mut counts = *counts;
    // The way to the records that count it is known with the first one.
    for at in 0..10 {
        let read = NotWalked(store);
        let base: &dyn Read = if at == 0 { store } else { &read };
        let mut txn = Txn::new(base, 1);
        let order = Order { read: &txn, place: *place, counts: &counts, branches: None };
        let first = known.outermost(order, forward, 1, |_| {}).unwrap().remove(0).0;
        assert_eq!(first, number(at));
        let mut changes = OrderChanges::default();
        changes.delete(first);
        changes.apply(&mut txn, *place, &mut counts, &mut known).unwrap();
    }
}

/// Large ranges go and come back, on both sides of what is there and in the middle of it.
fn ranges_come_and_go(mut fixture: Fixture) {
    let random = &mut fastrand::Rng::with_seed(9);
    fixture.toggle((0..20_000).map(|at| number(at * 3)));
    for round in 0..12 {
        let from = random.u64(..19_000);
        let len = random.u64(64..9_000);
        let step = if round % 3 == 0 { 1 } else { 3 };
        let start = if round % 3 == 0 { from * 3 + 1 } else { from * 3 };
        fixture.toggle((0..len).map(|at| number(start + at * step)));
    }
    fixture.compare(&[number(3), number(30_000), number(59_000)]);
    let last = number(u64::MAX >> 1);
    fixture.toggle([last.clone()]);
    let all: Vec<Bytes> = fixture.model.keys().filter(|key| **key != last).cloned().collect();
    fixture.toggle(all);
    assert_eq!((fixture.counts.len, fixture.counts.levels), (1, 0));
    assert_eq!(record_count(&fixture.store), 1, "nothing else is left behind");
}

#[test]
fn large_ranges_come_and_go() {
    ranges_come_and_go(Fixture::new(&[0x80]));
    ranges_come_and_go(Fixture::knowing(&[]));
    ranges_come_and_go(Fixture::forgetting(&[]));
}

/// Counts what is looked at.
struct Metered<'a> {
    read: &'a Store,
    records: std::sync::atomic::AtomicU64,
}

impl Metered<'_> {
    fn count(&self) {
        self.records.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Read for Metered<'_> {
    fn newest(&self, key: &[u8]) -> Result<Option<crate::engine::Found>> {
        self.count();
        self.read.newest(key)
    }

    fn scan(
        &self,
        range: crate::engine::KeyRange,
        direction: Direction,
    ) -> crate::engine::Scan<'_> {
        Box::new(self.read.scan(range, direction).inspect(|_| self.count()))
    }

    fn seq(&self) -> u64 {
        self.read.seq()
    }

    fn root(&self) -> &[u8] {
        self.read.root()
    }

    fn prefetch(&self, _keys: &[&[u8]]) {}
}

impl Fixture {
    /// How many records changes look at.
    fn looked_at(&self, changes: OrderChanges) -> u64 {
        let read = Metered { read: &self.store, records: 0.into() };
        let mut txn = crate::engine::Txn::new(&read, 1);
        let (counts, known) = (&mut self.counts.clone(), &mut Known::default());
        changes.apply(&mut txn, self.place, counts, known).unwrap();
        drop(txn);
        read.records.into_inner()
    }
}

/// What goes at once is looked at once or twice, however much it is and wherever it lies; what
/// comes into an empty order, not at all.
#[test]
fn many_changes_look_at_each_record_a_few_times() {
    const ALL: u64 = 60_000;
    let mut fixture = Fixture::new(&[0x80]);
    let mut changes = OrderChanges::default();
    (0..ALL).for_each(|at| changes.insert(number(at), Bytes::new()));
    assert_eq!(fixture.looked_at(changes), 0);
    fixture.toggle((0..ALL).map(number));
    for gone in [0..40_000, 10_000..50_000, 20_000..ALL, 1..ALL - 1] {
        let mut changes = OrderChanges::default();
        let count = gone.end - gone.start;
        gone.for_each(|at| changes.delete(number(at)));
        let looked_at = fixture.looked_at(changes);
        assert!(looked_at < count * 5 / 2, "{looked_at} records for {count}");
    }
    let mut changes = OrderChanges::default();
    (0..ALL).step_by(600).for_each(|at| changes.delete(number(at)));
    let looked_at = fixture.looked_at(changes);
    assert!(looked_at < 100 * 200, "{looked_at} records for 100 deletions here and there");
}

/// A view that can be walked so many times; a further walk would wait.
struct Interrupted<'a> {
    store: &'a Store,
    walks: std::sync::atomic::AtomicU64,
}

impl Read for Interrupted<'_> {
    fn newest(&self, key: &[u8]) -> Result<Option<Found>> {
        self.store.newest(key)
    }

    fn scan(&self, range: KeyRange, direction: Direction) -> Scan<'_> {
        use std::sync::atomic::Ordering::Relaxed;
        if self.walks.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err() {
            return Box::new(std::iter::once(Err(crate::engine::Error::WouldBlock)));
        }
        self.store.scan(range, direction)
    }

    fn seq(&self) -> SeqNo {
        self.store.seq()
    }

    fn root(&self) -> &[u8] {
        self.store.root()
    }

    fn prefetch(&self, _: &[&[u8]]) {}
}

/// Wherever a change fails, what is known stays, and what was read is known the next time.
#[test]
fn a_change_that_would_wait_leaves_what_is_known() {
    let random = &mut fastrand::Rng::with_seed(11);
    let mut fixture = Fixture::knowing(&[0x80]);
    fixture.toggle((0..30_000).map(|at| number(at * 2)));
    for count in [1, 3, 30, 100, 300] {
        let keys: Vec<Bytes> = (0..count).map(|_| number(random.u64(..30_000) * 2 + 1)).collect();
        let keys: std::collections::BTreeSet<Bytes> = keys.into_iter().collect();
        fixture.known = Known::wanted(fixture.order()).unwrap();
        let mut walks = 0;
        loop {
            let mut changes = OrderChanges::default();
            keys.iter().for_each(|key| changes.insert(key.clone(), Bytes::new()));
            let read = Interrupted { store: &fixture.store, walks: walks.into() };
            let mut txn = Txn::new(&read, 1);
            let (mut counts, known) = (fixture.counts, &mut fixture.known);
            let applied = changes.apply(&mut txn, fixture.place, &mut counts, known);
            drop(txn);
            if applied.is_ok() {
                break;
            }
            walks += 1;
            assert!(fixture.known.is_wanted());
            fixture.known.compare(fixture.order());
        }
        assert!(walks <= count, "{walks} walks at once for {count} changes");
        fixture.known = Known::wanted(fixture.order()).unwrap();
        fixture.toggle(keys);
    }
}
