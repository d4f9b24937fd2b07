//! Members of a set that are taken out at random.

use bytes::Bytes;

use super::candidates::{Asker, LISTED_MAX, Next, Window};
use super::elements::Elements;
use super::pick::fill;
use super::set::{Members, SET, SetEdit};
use super::{Collection, Layout, packed};
use crate::engine::{Error, Result};

/// Candidates that are looked at before a pick is made without them: all that a pool may list.
const TRIES: usize = LISTED_MAX;
/// Windows that are tried for a pool, of which one in five is not kept.
const WINDOWS: u32 = 8;
/// Steps of the writer that it takes to fill a pool.
const FILL_STEPS: u32 = 4096;
/// Candidates that a run that warms looks up: as many as a pipeline is likely to take.
const WARMED: usize = 32;

impl SetEdit<'_, '_> {
    /// Takes out a member, each as likely as any other; `None` where there is none.
    pub fn pop(&mut self) -> Result<Option<Bytes>> {
        let picked = match &mut self.members {
            Members::Integers(list) => {
                if list.is_empty() {
                    return Ok(None);
                }
                self.changes += 1;
                let integer = list.remove(fastrand::usize(..list.len()));
                let digits = itoa::Buffer::new().format(integer).to_owned();
                return Ok(Some(Bytes::from(digits)));
            }
            Members::Packed(packed) => {
                let at = usize::try_from(fastrand::u64(..packed.count.max(1))).unwrap_or(0);
                let entry = packed::entries(SET, &packed.list).nth(at).transpose()?;
                entry.map(|entry| Bytes::copy_from_slice(entry.name))
            }
            Members::Exploded { generation, count } => {
                let (generation, count) = (*generation, *count);
                self.next_member(generation, count)?
            }
        };
        let Some(member) = picked else { return Ok(None) };
        self.take_out(&member)?;
        Ok(Some(member))
    }

    /// A member of a set the members of which have records of their own.
    fn next_member(&mut self, generation: u64, count: u64) -> Result<Option<Bytes>> {
        // What runs within another transaction may be dropped with that.
        let member = match self.edit.is_over_newest() || self.edit.context().warms {
            true => self.next_candidate(generation, count)?,
            false => None,
        };
        // A run that warms answers nobody: to look elsewhere would be of no use to the writer.
        if member.is_some() || self.edit.context().warms {
            return Ok(member);
        }
        let layout = Layout::Exploded { generation };
        let collection = Collection { count, next_expiry_ms: None, layout };
        let elements = Elements { pools: None, ..self.edit.elements_of(SET, &collection) };
        Ok(elements.pick()?.map(|element| element.name))
    }

    /// The member that a pool has next. What this transaction has taken out stays listed, and is passed:
    /// it may be dropped.
    fn next_candidate(&mut self, generation: u64, count: u64) -> Result<Option<Bytes>> {
        let context = self.edit.context();
        let (seq, warms) = (self.edit.seq(), context.warms);
        let asker = Asker { generation, count, seq, warms };
        let (candidates, mut windows) = (context.candidates, 0);
        for _ in 0..TRIES {
            match candidates.next(asker, self.passed) {
                Next::Candidate(name) => {
                    if self.edit.records(generation).get(&name)?.is_some() {
                        self.passed += 1;
                        return self.warm(asker).map(|()| Some(name));
                    }
                    if warms {
                        // The writer may see it.
                        break;
                    }
                    if self.passed == 0 {
                        candidates.gone(generation, &name);
                    } else {
                        self.passed += 1;
                    }
                }
                Next::Fill(window) => {
                    let _filling = warms.then(|| candidates.lock_filling());
                    let is_filled =
                        warms && matches!(candidates.next(asker, 0), Next::Candidate(_));
                    windows += 1;
                    if windows > WINDOWS || !is_filled && !self.fill(asker, window)? {
                        break;
                    }
                }
                Next::Later => return Err(Error::WouldBlock),
                Next::NoPool => break,
            }
        }
        Ok(None)
    }

    /// Fills the pool; false where that is too much.
    fn fill(&self, asker: Asker, window: Window) -> Result<bool> {
        let candidates = self.edit.context().candidates;
        let records = self.edit.records(asker.generation);
        let filled =
            self.edit.txn.within_steps(FILL_STEPS, || fill(candidates, records, asker, window));
        if matches!(filled, Err(Error::WouldBlock)) {
            candidates.takes_long(asker.generation);
        }
        filled
    }

    /// Looks up what comes next, in a run that warms.
    fn warm(&self, asker: Asker) -> Result<()> {
        if !asker.warms {
            return Ok(());
        }
        let upcoming = self.edit.context().candidates.upcoming(asker.generation, WARMED);
        let records = self.edit.records(asker.generation);
        upcoming.iter().try_for_each(|name| records.get(name).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::data::model::{Store, check};
    use crate::data::{Access, Context, Cursors, Edit, EventClasses, Meta, Packing, View};
    use crate::data::{Candidates, KnownOrders};
    use crate::engine::{Direction, Found, KeyRange, Read, Scan, Txn};
    use crate::env::UNBOUNDED_MEMORY;

    /// A store, and the shared memory of a server.
    struct Server {
        store: Store,
        access: Access,
        cursors: Cursors,
        candidates: Candidates,
        orders: KnownOrders,
    }

    /// A view that has no time for walks.
    struct NoWalks<'a>(&'a Store);

    impl Read for NoWalks<'_> {
        fn newest(&self, key: &[u8]) -> Result<Option<Found>> {
            self.0.newest(key)
        }

        fn scan(&self, _: KeyRange, _: Direction) -> Scan<'_> {
            Box::new(std::iter::once(Err(Error::WouldBlock)))
        }

        fn seq(&self) -> u64 {
            self.0.seq()
        }

        fn root(&self) -> &[u8] {
            self.0.root()
        }

        fn prefetch(&self, _: &[&[u8]]) {}
    }

    /// A view that counts what it is asked for.
    struct Counting<'a> {
        store: &'a Store,
        lookups: AtomicUsize,
        walks: AtomicUsize,
    }

    impl<'a> Counting<'a> {
        fn new(store: &'a Store) -> Self {
            Self { store, lookups: AtomicUsize::new(0), walks: AtomicUsize::new(0) }
        }
    }

    impl Read for Counting<'_> {
        fn newest(&self, key: &[u8]) -> Result<Option<Found>> {
            self.lookups.fetch_add(1, Ordering::Relaxed);
            self.store.newest(key)
        }

        fn scan(&self, range: KeyRange, direction: Direction) -> Scan<'_> {
            self.walks.fetch_add(1, Ordering::Relaxed);
            self.store.scan(range, direction)
        }

        fn seq(&self) -> u64 {
            self.store.seq()
        }

        fn root(&self) -> &[u8] {
            self.store.root()
        }

        fn prefetch(&self, _: &[&[u8]]) {}
    }

    fn set<'e, 'a>(edit: &'e mut Edit<'a>, key: &'e [u8]) -> SetEdit<'e, 'a> {
        let old = edit.find(key).unwrap();
        edit.set(key, old)
    }

    fn add(edit: &mut Edit<'_>, key: &[u8], names: impl IntoIterator<Item = u32>) {
        let mut set = set(edit, key);
        for name in names {
            set.add(name.to_string().as_bytes()).unwrap();
        }
        set.finish();
    }

    fn pop(edit: &mut Edit<'_>, key: &[u8]) -> Result<Option<u32>> {
        let mut set = set(edit, key);
        let popped = set.pop()?;
        set.finish();
        Ok(popped.map(|name| std::str::from_utf8(&name).unwrap().parse().unwrap()))
    }

    impl Server {
        fn new() -> Self {
            let (access, cursors) = (Access::new(1 << 10, 0), Cursors::default());
            let (candidates, orders) = (Candidates::default(), KnownOrders::new(0));
            Self { store: Store::default(), access, cursors, candidates, orders }
        }

        fn context(&self) -> Context<'_> {
            Context {
                now_ms: 1000,
                db: 0,
                databases: 16,
                string_bytes_max: 1 << 20,
                hll_sparse_bytes_max: 3000,
                packing: Packing { set_integers: 2, set_entries: 2, ..Packing::DEFAULT },
                access: &self.access,
                touch: true,
                in_script: false,
                events: EventClasses::NONE,
                cursors: &self.cursors,
                candidates: &self.candidates,
                orders: &self.orders,
                warms: false,
                memory: &UNBOUNDED_MEMORY,
            }
        }

        /// Runs a transaction, which is committed if that is asked for.
        fn run<T>(&mut self, commits: bool, run: impl FnOnce(&mut Edit<'_>) -> T) -> T {
            let mut edit = Edit::new(self.store.txn(), self.context()).unwrap();
            let answer = run(&mut edit);
            let (changes, _) = edit.finish().unwrap();
            if commits {
                self.store.commit(changes);
            }
            answer
        }

        fn pop(&mut self, key: &[u8]) -> Option<u32> {
            self.run(true, |edit| pop(edit, key).unwrap())
        }

        /// A pop on the writer, while walks would wait.
        fn pop_without_walks(&mut self, key: &[u8]) -> Result<Option<u32>> {
            let read = NoWalks(&self.store);
            let txn = Txn::over_newest(&read, self.store.seq() + 1);
            let mut edit = Edit::new(txn, self.context()).unwrap();
            let popped = pop(&mut edit, key)?;
            let (changes, _) = edit.finish().unwrap();
            self.store.commit(changes);
            Ok(popped)
        }

        /// The run that warms a pop, over a view that may be older.
        fn warm(&self, store: &Store, key: &[u8]) {
            let context = Context { warms: true, ..self.context() };
            pop(&mut Edit::new(store.txn(), context).unwrap(), key).unwrap();
        }
    }

    /// Chi-square of how often each of the names came, by its mean: near 1 where all are as likely.
    fn unevenness(counts: &BTreeMap<u32, u32>) -> f64 {
        let mean = f64::from(counts.values().sum::<u32>()) / counts.len() as f64;
        let squares = counts.values().map(|count| (f64::from(*count) - mean).powi(2) / mean);
        squares.sum::<f64>() / (counts.len() - 1) as f64
    }

    #[test]
    fn all_members_are_as_likely_in_windows_and_among_all() {
        fastrand::seed(7);
        // Half of a window goes before the next is taken: how often a member comes varies a little
        // more than if each pop were on its own. That some members are more likely would add to it.
        for (members, pops, expected) in [(3000, 90_000, 0.8..1.5), (500, 15_000, 0.7..1.3)] {
            let mut server = Server::new();
            server.run(true, |edit| add(edit, b"s", 0..members));
            let mut counts: BTreeMap<u32, u32> = (0..members).map(|name| (name, 0)).collect();
            for _ in 0..pops {
                let popped = server.pop(b"s").unwrap();
                *counts.get_mut(&popped).unwrap() += 1;
                server.run(true, |edit| add(edit, b"s", [popped]));
            }
            let unevenness = unevenness(&counts);
            assert!(expected.contains(&unevenness), "{members}: {unevenness}");
        }
    }

    #[test]
    fn what_was_added_last_is_as_likely_as_the_rest() {
        fastrand::seed(8);
        let mut server = Server::new();
        server.run(true, |edit| add(edit, b"s", 0..4000));
        // Half of what is popped when it comes to it has been there for longer than the other half.
        let (mut young, mut ages) = (0, Vec::new());
        let mut born: BTreeMap<u32, u32> = (0..4000).map(|name| (name, 0)).collect();
        for now in 4000..34_000 {
            let popped = server.pop(b"s").unwrap();
            let at = born.remove(&popped).unwrap();
            server.run(true, |edit| add(edit, b"s", [now]));
            born.insert(now, now);
            if now >= 20_000 {
                ages.push(now - at);
                // At a constant chance of 1 in 4000 for each, so many are popped before they are so old.
                young += u32::from(now - at < 2773);
            }
        }
        let part = f64::from(young) / ages.len() as f64;
        assert!((0.47..0.53).contains(&part), "{part}");
    }

    #[test]
    fn a_pool_says_nothing_of_what_is_in_the_set() {
        for seed in 0..30 {
            fastrand::seed(seed);
            let mut server = Server::new();
            let mut models: [BTreeSet<u32>; 2] = Default::default();
            for _ in 0..1500 {
                let at = fastrand::usize(..2);
                let key = [b"a", b"b"][at];
                let commits = fastrand::u8(..8) > 0;
                let before = models.clone();
                let names: Vec<u32> =
                    (0..fastrand::usize(..9)).map(|_| fastrand::u32(..90)).collect();
                server.run(commits, |edit| match fastrand::u8(..20) {
                    0..7 => {
                        add(edit, key, names.iter().copied());
                        models[at].extend(names);
                    }
                    7..17 => {
                        for _ in 0..fastrand::u8(1..4) {
                            match pop(edit, key).unwrap() {
                                Some(popped) => assert!(models[at].remove(&popped), "{popped}"),
                                None => assert!(models[at].is_empty()),
                            }
                        }
                    }
                    17 => {
                        let mut set = set(edit, key);
                        for name in names {
                            set.remove(name.to_string().as_bytes()).unwrap();
                            models[at].remove(&name);
                        }
                        set.finish();
                    }
                    18 => {
                        if let Some(meta) = edit.find(key).unwrap() {
                            edit.rename(key, &meta, [b"b", b"a"][at]).unwrap();
                            models[1 - at] = std::mem::take(&mut models[at]);
                        }
                    }
                    _ => {
                        if fastrand::u8(..10) == 0 {
                            edit.flush_all();
                            models = Default::default();
                        } else if let Some(meta) = edit.find(key).unwrap() {
                            edit.delete(key, &meta);
                            models[at].clear();
                        }
                    }
                });
                if !commits {
                    models = before;
                }
            }
            check(&server.store);
            for (key, model) in [b"a", b"b"].into_iter().zip(models) {
                let rest = std::iter::from_fn(|| server.pop(key)).collect::<BTreeSet<u32>>();
                assert_eq!(rest, model);
            }
        }
    }

    #[test]
    fn a_run_that_warms_fills_the_pool_and_knows_what_came_meanwhile() {
        let mut server = Server::new();
        server.run(true, |edit| add(edit, b"s", 0..500));
        let pops = (0..3).filter(|_| server.pop(b"s").is_some()).count();
        // The writer finds that it wants a pool, and has no time to fill it.
        let before = server.store.clone();
        server.run(true, |edit| add(edit, b"s", [1000]));
        assert!(server.pop_without_walks(b"s").is_err());
        let view = server.store.clone();
        server.run(true, |edit| add(edit, b"s", [1001]));
        server.warm(&before, b"s");
        assert!(server.pop_without_walks(b"s").is_err(), "that view was too old");
        server.warm(&view, b"s");
        let rest = std::iter::from_fn(|| server.pop_without_walks(b"s").ok().flatten());
        let rest: BTreeSet<u32> = rest.collect();
        assert_eq!(rest.len(), 502 - pops);
        assert!(rest.contains(&1000) && rest.contains(&1001));
        assert_eq!(server.pop(b"s"), None);
    }

    #[test]
    fn a_pool_that_takes_long_to_fill_is_left_to_runs_that_warm() {
        fastrand::seed(10);
        let mut server = Server::new();
        server.run(true, |edit| add(edit, b"s", 0..7000));
        // The first pops are made without a pool.
        let mut rest: BTreeSet<u32> = (0..3).filter_map(|_| server.pop(b"s")).collect();
        assert!(matches!(server.pop_without_walks(b"s"), Err(Error::WouldBlock)));
        // Even where walks would be short by now: others wait for the writer.
        let popped = server.run(false, |edit| pop(edit, b"s"));
        assert!(matches!(popped, Err(Error::WouldBlock)));
        server.warm(&server.store, b"s");
        // All are listed at once, though they are many.
        rest.extend(std::iter::from_fn(|| server.pop_without_walks(b"s").unwrap()));
        assert_eq!(rest.len(), 7000);
    }

    #[test]
    fn a_run_that_warms_takes_nothing() {
        let mut server = Server::new();
        server.run(true, |edit| add(edit, b"s", 0..500));
        let empty = server.store.clone();
        while server.candidates.size_bytes() == 0 {
            server.pop(b"s");
        }
        let size = server.candidates.size_bytes();
        server.warm(&server.store, b"s");
        server.run(true, |edit| add(edit, b"s", 500..600));
        server.warm(&empty, b"s");
        assert!(server.candidates.size_bytes() >= size);
        let rest: BTreeSet<u32> = std::iter::from_fn(|| server.pop(b"s")).collect();
        assert_eq!(rest.len(), 600 - 4);
    }

    #[test]
    fn what_was_taken_leaves_the_list_once_that_is_committed() {
        let mut server = Server::new();
        server.run(true, |edit| add(edit, b"s", 0..500));
        while server.candidates.size_bytes() == 0 {
            server.pop(b"s");
        }
        let listed = |server: &mut Server| {
            server.run(true, |_| ());
            server.candidates.size_bytes()
        };
        let before = listed(&mut server);
        server.run(false, |edit| pop(edit, b"s").unwrap());
        assert_eq!(listed(&mut server), before, "one that is dropped takes nothing");
        server.pop(b"s");
        assert!(listed(&mut server) < before);
    }

    #[test]
    fn reads_pick_what_their_view_has_and_all_of_it_as_likely() {
        fastrand::seed(9);
        let pick = |server: &Server, store: &Store| {
            let view = View::new(store, server.context()).unwrap();
            let meta = view.find(b"s").unwrap().unwrap();
            let picked = view.elements(b"s", &meta).unwrap().pick().unwrap().unwrap();
            std::str::from_utf8(&picked.name).unwrap().parse::<u32>().unwrap()
        };
        // A window gives each of its members once: those of one are picked as often as each other, and there
        // have to be many windows side by side to tell.
        for (members, picks, expected) in [(500, 15_000, 0.7..1.3), (6000, 90_000, 0.4..1.4)] {
            let mut server = Server::new();
            server.run(true, |edit| add(edit, b"s", 0..members));
            let mut counts: BTreeMap<u32, u32> = (0..members).map(|name| (name, 0)).collect();
            for _ in 0..picks {
                *counts.get_mut(&pick(&server, &server.store)).unwrap() += 1;
            }
            let unevenness = unevenness(&counts);
            assert!(expected.contains(&unevenness), "{members}: {unevenness}");
            assert!(server.candidates.size_bytes() > 0, "there is a pool");

            let before = server.store.clone();
            server.run(true, |edit| {
                add(edit, b"s", 12_000..12_500);
                let mut set = set(edit, b"s");
                for name in 0..400_u32 {
                    set.remove(name.to_string().as_bytes()).unwrap();
                }
                set.finish();
            });
            // One that is dropped says nothing.
            server.run(false, |edit| add(edit, b"s", 13_000..13_100));
            let mut seen = BTreeSet::new();
            for number in 0..picks {
                assert!(number % 16 > 0 || pick(&server, &before) < 12_000);
                seen.insert(pick(&server, &server.store));
            }
            assert!(
                seen.iter()
                    .all(|name| (400..members).contains(name) || (12_000..12_500).contains(name))
            );
            assert_eq!(seen.len(), members as usize + 100);
        }
    }

    /// So many picks of a read: their names, how many lookups that took and how many walks.
    fn picks(server: &Server, store: &Store, count: usize) -> (Vec<u32>, usize, usize) {
        let read = Counting::new(store);
        let view = View::new(&read, server.context()).unwrap();
        let meta = view.find(b"s").unwrap().unwrap();
        let elements = view.elements(b"s", &meta).unwrap();
        let before = read.lookups.load(Ordering::Relaxed);
        let pick = |_| elements.pick().unwrap().unwrap().name;
        let names = (0..count).map(pick).map(|name| std::str::from_utf8(&name).unwrap().parse());
        let names = names.collect::<std::result::Result<_, _>>().unwrap();
        let lookups = read.lookups.load(Ordering::Relaxed) - before;
        (names, lookups, read.walks.load(Ordering::Relaxed))
    }

    #[test]
    fn reads_go_through_all_of_a_window_and_look_nothing_up() {
        fastrand::seed(11);
        let mut server = Server::new();
        server.run(true, |edit| add(edit, b"s", 0..5000));
        picks(&server, &server.store, 100);
        let (_, lookups, walks) = picks(&server, &server.store, 16 * 512);
        assert_eq!(lookups, 0);
        // A window that goes on behind the last position at the first is two.
        assert!((13..22).contains(&walks), "{walks}");

        // Once the set is popped windows are shared with pops, and nothing is sure.
        server.pop(b"s");
        let (_, lookups, walks) = picks(&server, &server.store, 16 * 512);
        assert!(lookups >= 16 * 512 && walks > 28, "{lookups} {walks}");
    }

    #[test]
    fn reads_look_up_what_was_written_since_their_pool_was_there() {
        fastrand::seed(12);
        let mut server = Server::new();
        server.run(true, |edit| add(edit, b"s", 0..1500));
        picks(&server, &server.store, 100);
        assert_eq!(picks(&server, &server.store, 100).1, 0);
        // One that is dropped counts as well: nobody tells that it was.
        let before = server.store.clone();
        server.run(false, |edit| add(edit, b"s", 2000..2001));
        let (names, lookups, _) = picks(&server, &server.store, 3000);
        assert!(lookups >= 3000 && names.iter().all(|name| *name < 1500));

        let mut server = Server::new();
        server.store = before;
        picks(&server, &server.store, 100);
        server.run(true, |edit| {
            let mut set = set(edit, b"s");
            set.remove(b"77").unwrap();
            set.finish();
        });
        let (names, lookups, _) = picks(&server, &server.store, 15_000);
        assert!(lookups >= 15_000 && !names.contains(&77));
    }

    #[test]
    fn pools_are_bounded() {
        let mut server = Server::new();
        let long = "x".repeat(1 << 10);
        for number in 0..40 {
            let key = format!("s{number}").into_bytes();
            server.run(true, |edit| {
                let mut set = set(edit, &key);
                for name in 0..if number == 0 { 600 } else { 1500 } {
                    let name = if number == 0 { format!("{name}{long}") } else { name.to_string() };
                    set.add(name.as_bytes()).unwrap();
                }
                set.finish();
            });
            for _ in 0..10 {
                server.run(true, |edit| {
                    let mut set = set(edit, &key);
                    assert!(set.pop().unwrap().is_some());
                    set.finish();
                });
            }
            assert_eq!(number == 0, server.candidates.size_bytes() == 0, "too long for a pool");
            assert!(server.candidates.size_bytes() < 8 * 1500 * 100);
        }
        // One that grows beyond the bound is given up, and made anew.
        server.run(true, |edit| add(edit, b"s1", 2000..16_000));
        let found = server.run(true, |edit| edit.find(b"s1").unwrap());
        assert_eq!(found.as_ref().and_then(Meta::collection).unwrap().count, 1490 + 14_000);
        assert!(server.pop(b"s1").is_some());
    }
}
