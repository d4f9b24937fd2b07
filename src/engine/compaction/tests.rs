use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::super::version::{Handle, Obsolete, Version};
use super::super::{BlockCache, Options, Table, TableInfo};
use super::targets::Targets;
use super::{Choice, Reason, Running, choose, debt, level0_at_leisure};
use crate::env::SimFs;

/// A version from lines like `1: 7 a-c 100`: level, table id, keys, size. More words: `t` makes
/// the table one half tombstones, `x` one half expiring with a median of 50 ms.
fn version(text: &str) -> Version {
    let fs = SimFs::new(0).shared();
    let cache = Arc::new(BlockCache::new(0));
    Version::new(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
        let (level, rest) = line.split_once(": ").unwrap();
        let words: Vec<&str> = rest.split(' ').collect();
        let (smallest, largest) = words[1].split_once('-').unwrap();
        let half = |mark| if words[3..].contains(&mark) { 500 } else { 0 };
        let id: u64 = words[0].parse().unwrap();
        let info = TableInfo {
            id,
            size: words[2].parse().unwrap(),
            entries: 1000,
            tombstones: half("t"),
            expiring: half("x"),
            expiry_median_ms: half("x") / 10,
            smallest: Bytes::copy_from_slice(smallest.as_bytes()),
            largest: Bytes::copy_from_slice(largest.as_bytes()),
            seq_min: id,
            seq_max: id,
            ..TableInfo::default()
        };
        let table = Table::open(fs.clone(), format!("/{id}").into(), info, cache.clone());
        (level.parse().unwrap(), Handle::new(table, Arc::new(Obsolete::default())))
    }))
}

fn options() -> Options {
    Options {
        l0_trigger: 2,
        level1_bytes: 100,
        fanout: 10,
        ..Options::for_budget(Path::new("/db"), 1 << 30)
    }
}

fn print(choice: Option<&Choice>) -> String {
    let Some(choice) = choice else { return "nothing".into() };
    let ids: Vec<String> =
        choice.inputs.iter().map(|(level, handle)| format!("{level}:{}", handle.id())).collect();
    let kind = if choice.is_move() { "move" } else { "merge" };
    format!("{kind} {} to {} ({:?})", ids.join(" "), choice.to, choice.reason)
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let choice = choose(&version(text), &options(), &Running::default(), 100);
    assert_eq!(print(choice.as_ref()), expected);
}

#[test]
fn a_tree_in_shape_is_left_alone() {
    check("", "nothing");
    check("0: 1 a-z 999999", "nothing");
    check("0: 3 a-z 10 \n 1: 1 a-z 100 \n 2: 2 a-z 1000", "nothing");
}

#[test]
fn level_0_goes_with_all_that_it_meets() {
    check(
        "0: 4 c-d 9 \n 0: 5 a-b 9 \n 1: 1 a-a 9 \n 1: 2 d-e 9 \n 1: 3 x-z 9",
        "merge 0:5 0:4 1:1 1:2 to 1 (Size)",
    );
}

#[test]
fn a_long_level_0_gives_its_oldest() {
    let tables: Vec<String> = (1..=11).map(|id| format!("0: {id} a-b 9")).collect();
    check(&tables.join("\n"), "merge 0:8 0:7 0:6 0:5 0:4 0:3 0:2 0:1 to 6 (Size)");
}

#[test]
fn level_0_goes_for_its_tombstones() {
    check("0: 2 a-z 10 t", "merge 0:2 to 6 (Tombstones)");
    check("0: 2 a-m 10 t \n 6: 1 a-c 90", "merge 0:2 6:1 to 6 (Tombstones)");
    // Too much would be rewritten for them.
    check("0: 2 a-z 10 t \n 6: 1 a-c 30 \n 6: 3 d-f 30 \n 6: 4 g-i 30", "nothing");
    check("0: 2 a-z 10", "nothing");
}

#[test]
fn level_0_goes_at_leisure_where_it_takes_little_with_it() {
    let leisure = |text: &str| {
        let options = Options { l0_trigger: 4, ..options() };
        print(level0_at_leisure(&version(text), &options, &Running::default()).as_ref())
    };
    assert_eq!(leisure(""), "nothing");
    assert_eq!(leisure("0: 2 a-z 10 \n 6: 1 a-z 10"), "nothing");
    assert_eq!(
        leisure("0: 3 a-z 10 \n 0: 2 a-c 10 \n 6: 1 a-z 80"),
        "merge 0:3 0:2 6:1 to 6 (Size)"
    );
    // That would be to write it again and again, for two flushes each.
    assert_eq!(leisure("0: 3 a-z 10 \n 0: 2 a-c 10 \n 6: 1 a-z 81"), "nothing");
}

#[test]
fn a_full_level_gives_what_moves_the_least() {
    check("1: 1 a-c 80 \n 1: 2 e-g 80 \n 2: 3 a-b 500 \n 2: 4 f-f 20", "merge 1:2 2:4 to 2 (Size)");
    check("1: 1 a-c 80 \n 1: 2 e-g 80 \n 2: 3 a-b 500", "move 1:2 to 2 (Size)");
}

#[test]
fn the_level_that_is_fullest_goes_first() {
    check("0: 9 a-b 1 \n 0: 8 a-b 1 \n 1: 1 a-c 500", "move 1:1 to 2 (Size)");
    check(
        "0: 9 a-b 1 \n 0: 8 a-b 1 \n 0: 7 a-b 1 \n 0: 6 a-b 1 \n 1: 1 a-c 150",
        "merge 0:9 0:8 0:7 0:6 1:1 to 1 (Size)",
    );
}

/// Sizes of the levels from 1 on (0: shall be empty), and where level 0 goes.
#[track_caller]
fn check_targets(text: &str, expected: &str) {
    let targets = Targets::of(&version(text), &options());
    let sizes: Vec<String> = (1..7)
        .map(|level| match targets.bytes(level) {
            u64::MAX => "max".into(),
            bytes => bytes.to_string(),
        })
        .collect();
    assert_eq!(format!("{}, 0 to {}", sizes.join(" "), targets.below(0)), expected, "{text}");
}

#[test]
fn sizes_follow_the_deepest_level() {
    check_targets("", "0 0 0 0 0 max, 0 to 6");
    check_targets("6: 1 a-z 100", "0 0 0 0 0 max, 0 to 6");
    check_targets("6: 1 a-z 101", "0 0 0 0 100 max, 0 to 5");
    check_targets("6: 1 a-z 5000", "0 0 0 100 500 max, 0 to 4");
    check_targets("6: 1 a-z 100000", "0 0 100 1000 10000 max, 0 to 3");
    check_targets("6: 1 a-z 99999999999999", "100 1000 10000 100000 1000000 max, 0 to 1");
    // A level that is larger than the deepest one says how large that will be.
    check_targets("5: 2 a-z 5000 \n 6: 1 a-z 10", "0 0 0 100 500 max, 0 to 4");
}

#[test]
fn a_store_of_fixed_sizes_is_measured_from_its_deepest_level() {
    check_targets("1: 1 a-z 90", "100 1000 10000 100000 1000000 max, 0 to 1");
    check_targets("1: 1 a-z 90 \n 2: 2 a-z 900", "100 1000 10000 100000 1000000 max, 0 to 1");
    check_targets(
        "1: 1 a-z 90 \n 2: 2 a-z 900 \n 3: 3 a-z 3000",
        "100 300 10000 100000 1000000 max, 0 to 1",
    );
    check("2: 1 a-c 900 \n 2: 2 d-e 200", "move 2:1 to 3 (Size)");
}

#[test]
fn a_level_that_shall_be_empty_takes_level_0_until_it_is() {
    check_targets("4: 1 a-z 9 \n 6: 2 a-z 500", "0 0 0 0 100 max, 0 to 4");
    let empties = "4: 1 a-c 9 \n 5: 3 b-b 9 \n 6: 2 a-z 500";
    check(empties, "merge 4:1 5:3 to 5 (Size)");
    let busy = format!("0: 9 a-b 1 \n 0: 8 a-b 1 \n 0: 7 a-b 1 \n {empties}");
    check(&busy, "merge 0:9 0:8 0:7 4:1 to 4 (Size)");
}

#[test]
fn garbage_goes_down_or_away() {
    check("1: 1 a-c 9 t", "merge 1:1 to 1 (Tombstones)");
    check("1: 1 a-c 9 t \n 2: 2 b-b 900", "merge 1:1 2:2 to 2 (Tombstones)");
    check("2: 1 a-c 9 x", "merge 2:1 to 2 (Expired)");
    let version = version("2: 1 a-c 9 x");
    let mut running = Running::default();
    assert_eq!(print(choose(&version, &options(), &running, 49).as_ref()), "nothing", "too early");
    running.settle(1);
    assert_eq!(print(choose(&version, &options(), &running, 100).as_ref()), "nothing", "settled");
}

#[test]
fn what_runs_is_not_disturbed() {
    let before = version(
        "0: 6 m-p 9 \n 0: 7 m-p 9 \n 0: 8 m-p 9 \n 0: 9 m-p 9 \n 1: 1 a-c 120 \n 1: 2 e-g 40 \n 1: 3 m-n 120 \n 2: 4 b-f 50",
    );
    let mut running = Running::default();
    let options = options();
    let mut chosen = Vec::new();
    while let Some(choice) = choose(&before, &options, &running, 0) {
        running.begin(&choice);
        chosen.push(print(Some(&choice)));
    }
    // Level 0 waits for table 3, and level 1 must not go on without it.
    assert_eq!(chosen, ["move 1:3 to 2 (Size)"]);
    running.end(1);
    let moved = version(
        "0: 6 m-p 9 \n 0: 7 m-p 9 \n 0: 8 m-p 9 \n 0: 9 m-p 9 \n 1: 1 a-c 120 \n 1: 2 e-g 40 \n
         2: 3 m-n 120 \n 2: 4 b-f 50",
    );
    let next = choose(&moved, &options, &running, 0);
    assert_eq!(print(next.as_ref()), "merge 0:9 0:8 0:7 0:6 to 1 (Size)");
}

#[test]
fn a_damaged_table_is_left_where_it_is() {
    let version = version("1: 1 a-c 120 \n 1: 2 e-g 120");
    let mut running = Running::default();
    running.avoid(1, &crate::engine::Error::Closed);
    let choice = choose(&version, &options(), &running, 0);
    assert_eq!(print(choice.as_ref()), "move 1:2 to 2 (Size)");
    assert_eq!(choice.unwrap().reason, Reason::Size);
}

#[test]
fn debt_is_what_is_above_the_target() {
    assert_eq!(debt(&version("0: 1 a-b 50 \n 1: 2 a-b 100"), &options()), 0);
    assert_eq!(debt(&version("1: 2 a-b 150"), &options()), 50);
    assert!(debt(&version("1: 2 a-b 150 \n 2: 3 a-b 900"), &options()) > 50);
    assert_eq!(debt(&version("5: 2 a-b 100 \n 6: 3 a-b 9999"), &options()), 0);
    // A store with fixed sizes, in their shape, takes its new one without holding up writes.
    let fixed = "1: 4 a-b 100 \n 2: 3 a-b 1000 \n 3: 2 a-b 10000 \n 4: 1 a-b 20000";
    assert_eq!(debt(&version(fixed), &options()), 0);
    assert!(choose(&version(fixed), &options(), &Running::default(), 0).is_some());
    // Level 0 counts with what it meets where it goes.
    let deep = "0: 9 a-b 10 \n 0: 8 a-b 10 \n 6: 3 a-b 60";
    assert_eq!(debt(&version(deep), &options()), 20 * (1 + 3));
}
