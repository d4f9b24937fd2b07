use proptest::prelude::*;

use super::*;
use crate::engine::TableInfo;
use crate::engine::wal::LogPosition;
use crate::env::SimFs;

const DIR: &str = "/db";
/// Small enough for the tests to go through many manifests.
const ROLL_BYTES: u64 = 600;

fn disk(seed: u64) -> SimFs {
    let fs = SimFs::new(seed);
    fs.create_dir_all(Path::new(DIR)).unwrap();
    fs
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

fn options() -> BTreeMap<String, Bytes> {
    BTreeMap::from([("order".to_owned(), Bytes::from_static(b"slot"))])
}

fn open(fs: &SimFs) -> Result<(Manifest, State)> {
    open_accepting(fs, false)
}

fn open_accepting(fs: &SimFs, accept_loss: bool) -> Result<(Manifest, State)> {
    Manifest::open_with(fs.shared(), Path::new(DIR), &options(), ROLL_BYTES, accept_loss)
}

/// A manifest with `count` edits, its path, and its bytes.
fn with_edits(fs: &SimFs, count: u64) -> (PathBuf, Bytes) {
    let (mut manifest, _) = open(fs).unwrap();
    (0..count).for_each(|number| manifest.apply(&edit(number)).unwrap());
    let name = path(&manifest_name(manifest.number));
    let bytes = fs.read(&name).unwrap();
    (name, bytes)
}

/// Every file with its content, but for the lock.
fn image(fs: &SimFs) -> BTreeMap<String, Bytes> {
    let names = fs.list(Path::new(DIR)).unwrap();
    names.into_iter().map(|name| (name.clone(), fs.read(&path(&name)).unwrap())).collect()
}

/// Makes the header that of format `version`.
fn set_version(fs: &SimFs, name: &Path, version: u8) {
    let mut header = b"SILTDBMF".to_vec();
    header.extend([version, 0, 0, 0]);
    header.extend(crc32fast::hash(&header).to_le_bytes());
    fs.open(name).unwrap().write_at(0, &header).unwrap();
}

fn table(id: u64) -> TableInfo {
    TableInfo {
        id,
        size: id * 1000,
        raw_bytes: id * 3000,
        entries: id * 10,
        tombstones: id,
        expiring: 1,
        expiry_median_ms: u64::MAX,
        smallest: Bytes::from(format!("a{id}")),
        largest: Bytes::from(format!("z{id}")),
        seq_min: id,
        seq_max: id + 100,
    }
}

/// Edit `number` of a life in which a few tables come, move and go.
fn edit(number: u64) -> Edit {
    let old = number.checked_sub(3).map(|old| (1, old + 1));
    Edit {
        removed: old.into_iter().chain((number > 0).then_some((0, number))).collect(),
        added: std::iter::once((0, table(number + 1)))
            .chain((number > 0).then(|| (1, table(number))))
            .collect(),
        log_segment: Some(number + 5),
        log_mark: number.is_multiple_of(4).then_some(LogPosition { segment: number, offset: 72 }),
        next_table_id: number.is_multiple_of(2).then_some(number + 10),
        last_seq: Some(number * 7),
        root: number.is_multiple_of(3).then(|| Bytes::from(format!("root {number}"))),
    }
}

/// The state after the first `count` edits.
fn state_after(count: u64) -> State {
    let mut state = State { options: options(), ..State::default() };
    for number in 0..count {
        state.apply(&edit(number)).unwrap();
    }
    state
}

#[test]
fn a_new_directory_has_an_empty_state() {
    let fs = disk(0);
    let (manifest, state) = open(&fs).unwrap();
    assert_eq!(state, state_after(0));
    assert_eq!((state.log_segment, state.next_table_id), (1, 1));
    assert_eq!(manifest.state(), &state);
    assert_eq!(open(&fs.crash(0)).unwrap().1, state);
}

#[test]
fn edits_are_found_again_through_many_manifests() {
    let fs = disk(0);
    for number in 0..60 {
        let (mut manifest, state) = open(&fs).unwrap();
        assert_eq!(state, state_after(number));
        manifest.apply(&edit(number)).unwrap();
        assert_eq!(manifest.state(), &state_after(number + 1));
    }
    let (manifest, _) = open(&fs).unwrap();
    assert!(manifest.number > 3, "{}", manifest.number);
    let mut names = fs.list(Path::new(DIR)).unwrap();
    names.sort();
    assert_eq!(names, ["CURRENT", &manifest_name(manifest.number), witness::NAME]);
}

#[test]
fn options_are_those_of_the_first_opening() {
    let fs = disk(0);
    open(&fs).unwrap();
    let other = BTreeMap::from([("other".to_owned(), Bytes::new())]);
    let (_, state) = Manifest::open_or_create(fs.shared(), Path::new(DIR), &other, false).unwrap();
    assert_eq!(state.options, options());
}

#[test]
fn an_edit_that_contradicts_the_state_is_refused_and_changes_nothing() {
    let fs = disk(0);
    let (mut manifest, _) = open(&fs).unwrap();
    manifest.apply(&edit(0)).unwrap();
    let wrong = [
        Edit { removed: vec![(1, 1)], ..Edit::default() },
        Edit { removed: vec![(0, 2)], ..Edit::default() },
        Edit { added: vec![(3, table(1))], ..Edit::default() },
        Edit { added: vec![(32, table(9))], ..Edit::default() },
    ];
    for edit in wrong {
        assert!(matches!(manifest.apply(&edit), Err(Error::Corruption { .. })), "{edit:?}");
    }
    manifest.apply(&edit(1)).unwrap();
    assert_eq!(open(&fs).unwrap().1, state_after(2));
}

#[test]
fn the_data_of_another_server_is_refused() {
    for name in ["dump.rdb", "appendonly.aof", "appendonlydir"] {
        let fs = disk(0);
        fs.create(&path(name)).unwrap();
        let error = open(&fs).unwrap_err();
        assert!(matches!(error, Error::Directory { .. }));
        assert!(error.to_string().contains("not a SiltDB data directory"), "{error}");
        assert_eq!(fs.list(Path::new(DIR)).unwrap(), [name]);
    }
}

#[test]
fn files_that_are_no_data_stay_beside_the_store() {
    let fs = disk(0);
    for name in ["redis.conf", "stderr"] {
        fs.create(&path(name)).unwrap();
    }
    assert_eq!(open(&fs).unwrap().1, state_after(0));
    assert_eq!(open(&fs).unwrap().1, state_after(0));
    let names = fs.list(Path::new(DIR)).unwrap();
    assert_eq!(names, ["CURRENT", "MANIFEST-000001", witness::NAME, "redis.conf", "stderr"]);
}

#[test]
fn an_edit_without_space_changes_nothing_and_can_be_tried_again() {
    let fs = disk(0);
    let (mut manifest, _) = open(&fs).unwrap();
    for number in 0..40 {
        let used = fs.used_bytes();
        let mut more = 0;
        loop {
            // In the end enough for the edit, but not for a new manifest.
            fs.set_capacity(Some(used + more));
            match manifest.apply(&edit(number)) {
                Ok(()) => break,
                Err(Error::NoSpace(why)) => assert!(why.contains("MANIFEST"), "{why}"),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(fs.used_bytes(), used);
            assert_eq!(manifest.state(), &state_after(number));
            assert_eq!(open(&fs.crash(more)).unwrap().1, state_after(number));
            more += 10;
        }
        assert!(more > 20, "{more}");
        assert_eq!(open(&fs.crash(number)).unwrap().1, state_after(number + 1));
    }
    assert_eq!(manifest.number, 1, "no space for another");
    fs.set_capacity(None);
    (40..120).for_each(|number| manifest.apply(&edit(number)).unwrap());
    assert!(manifest.number > 1);
    assert_eq!(open(&fs.crash(7)).unwrap().1, state_after(120));
}

#[test]
fn what_is_missing_is_named_with_a_remedy() {
    let fs = disk(0);
    let (mut manifest, state) = open(&fs).unwrap();
    while manifest.number < 3 {
        manifest.apply(&Edit { last_seq: Some(7), ..Edit::default() }).unwrap();
    }
    fs.create(&path("0000000001.wal")).unwrap();
    drop((manifest, state));
    let lost = fs.kill(0);
    lost.remove(&path("MANIFEST-000003")).unwrap();
    let error = open(&lost).unwrap_err();
    assert!(matches!(&error, Error::Corruption { path: named, .. }
        if *named == path("MANIFEST-000003")));
    assert!(error.to_string().contains("missing; restore"), "{error}");
    lost.remove(&path("CURRENT")).unwrap();
    let error = open(&lost).unwrap_err().to_string();
    assert!(error.contains("CURRENT and MANIFEST-* are missing"), "{error}");
    fs.remove(&path("CURRENT")).unwrap();
    let error = open(&fs).unwrap_err().to_string();
    assert!(error.contains("CURRENT is missing") && error.contains("MANIFEST-000003"), "{error}");
    fs.create(&path("CURRENT")).unwrap().write_at(0, b"MANIFEST-000003\n").unwrap();
    assert_eq!(open(&fs).unwrap().1.last_seq, 7);
}

#[test]
fn a_lock_or_what_an_interrupted_creation_left_is_no_obstacle() {
    let fs = disk(0);
    for name in ["LOCK", "CURRENT.tmp", "MANIFEST-000001", "lost+found"] {
        fs.create(&path(name)).unwrap();
    }
    assert_eq!(open(&fs).unwrap().1, state_after(0));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let fs = disk(0);
    open(&fs).unwrap();
    set_version(&fs, &path("MANIFEST-000001"), 4);
    let error = open(&fs).unwrap_err();
    assert!(matches!(error, Error::Directory { .. }));
    assert!(error.to_string().contains("written by a newer version"), "{error}");
}

#[test]
fn an_older_format_is_read_and_goes_on_as_the_newest() {
    for version in 1..=2 {
        let fs = disk(0);
        let (name, bytes) = with_edits(&fs, 1);
        set_version(&fs, &name, version);
        fs.remove(&path(witness::NAME)).unwrap();
        // It has no witness: an edit that cannot be read may be one that was.
        let cut = fs.kill(0);
        cut.open(&name).unwrap().set_len(bytes.len() as u64 - 1).unwrap();
        let error = open(&cut).unwrap_err().to_string();
        assert!(error.contains("does not tell whether it was ever finished"), "{error}");
        assert_eq!(open_accepting(&cut, true).unwrap().1, state_after(0));
        let (mut manifest, state) = open(&fs).unwrap();
        assert_eq!((manifest.number, state), (2, state_after(1)));
        manifest.apply(&edit(1)).unwrap();
        assert_eq!(open(&fs.crash(1)).unwrap().1, state_after(2));
        assert_eq!(fs.read(&path("MANIFEST-000002")).unwrap()[8], 3);
    }
}

#[test]
fn a_current_that_names_no_manifest_is_corruption() {
    for content in
        ["", "MANIFEST-000001", "MANIFEST-1\n", "../../etc/passwd\n", "MANIFEST-+00001\n"]
    {
        let fs = disk(0);
        fs.create(&path("CURRENT")).unwrap().write_at(0, content.as_bytes()).unwrap();
        assert!(matches!(open(&fs), Err(Error::Corruption { .. })), "{content:?}");
    }
}

#[test]
fn after_a_failure_the_manifest_is_poisoned_until_reopened() {
    let fs = disk(0);
    let (mut manifest, _) = open(&fs).unwrap();
    fs.fail_once_after(1);
    assert!(matches!(manifest.apply(&edit(0)), Err(Error::Io { .. })));
    assert!(matches!(manifest.apply(&edit(0)), Err(Error::Poisoned(_))));
    let (mut manifest, state) = open(&fs).unwrap();
    let count = u64::from(state != state_after(0));
    assert_eq!(state, state_after(count));
    manifest.apply(&edit(count)).unwrap();
    assert_eq!(open(&fs.crash(0)).unwrap().1, state_after(count + 1));
}

#[test]
fn a_cut_or_a_flipped_bit_anywhere_is_an_error_and_changes_nothing() {
    let fs = disk(0);
    let (name, bytes) = with_edits(&fs, 4);
    for offset in 0..bytes.len() as u64 {
        let (flipped, cut) = (fs.kill(0), fs.kill(0));
        assert!(flipped.flip_bits(&name, offset, 1 << (offset % 8)));
        cut.open(&name).unwrap().set_len(offset).unwrap();
        for damaged in [&flipped, &cut] {
            let before = image(damaged);
            let error = open(damaged).unwrap_err();
            assert!(
                matches!(error, Error::Corruption { .. } | Error::Directory { .. }),
                "{offset}: {error:?}"
            );
            assert_eq!(image(damaged), before, "{offset}");
            damaged.open(&name).unwrap().write_at(0, &bytes).unwrap();
            assert_eq!(open(damaged).unwrap().1, state_after(4), "{offset}");
        }
    }
}

#[test]
fn an_append_that_was_not_finished_is_cut() {
    let fs = disk(0);
    let (name, bytes) = with_edits(&fs, 3);
    let whole = fs.kill(0);
    with_edits_from(&whole, 3, 4);
    let more = whole.read(&name).unwrap();
    assert!(more.len() > bytes.len());
    for len in bytes.len()..=more.len() {
        let torn = fs.kill(0);
        torn.open(&name).unwrap().write_at(0, &more[..len]).unwrap();
        let (manifest, state) = open(&torn).unwrap();
        let count = if len < more.len() { 3 } else { 4 };
        assert_eq!(state, state_after(count), "{len}");
        assert_eq!(manifest.file.len(), torn.read(&name).unwrap().len() as u64);
    }
}

fn with_edits_from(fs: &SimFs, first: u64, end: u64) {
    let (mut manifest, _) = open(fs).unwrap();
    (first..end).for_each(|number| manifest.apply(&edit(number)).unwrap());
}

#[test]
fn what_is_missing_at_the_end_is_named_and_can_be_accepted() {
    let fs = disk(0);
    let (name, bytes) = with_edits(&fs, 4);
    fs.open(&name).unwrap().set_len(bytes.len() as u64 - 9).unwrap();
    let Err(Error::Corruption { path: named, offset, what }) = open(&fs) else { panic!("open") };
    assert_eq!(named, name);
    assert!(offset < bytes.len() as u64 - 9 && offset > 100, "{offset}");
    let up_to = format!("safely written up to offset {}", bytes.len());
    assert!(what.contains(&up_to) && what.contains("restore this file"), "{what}");
    assert_eq!(open_accepting(&fs, true).unwrap().1, state_after(3));
    with_edits_from(&fs, 3, 4);
    assert_eq!(open(&fs.crash(3)).unwrap().1, state_after(4));
}

#[test]
fn a_damaged_witness_costs_nothing_but_is_told_where_it_is_gone() {
    let fs = disk(0);
    with_edits(&fs, 4);
    let name = path(witness::NAME);
    for offset in 0..fs.read(&name).unwrap().len() as u64 {
        let flipped = fs.kill(0);
        flipped.flip_bits(&name, offset, 1 << (offset % 8));
        assert_eq!(open(&flipped).unwrap().1, state_after(4), "{offset}");
    }
    for len in [None, Some(0), Some(20)] {
        let gone = fs.kill(0);
        match len {
            None => gone.remove(&name).unwrap(),
            Some(len) => gone.open(&name).unwrap().set_len(len).unwrap(),
        }
        let before = image(&gone);
        let error = open(&gone).unwrap_err();
        assert!(matches!(&error, Error::Corruption { path, .. } if *path == name), "{error}");
        assert!(error.to_string().contains("missing or cannot be read"), "{error}");
        assert_eq!(image(&gone), before);
        assert_eq!(open_accepting(&gone, true).unwrap().1, state_after(4));
        assert_eq!(open(&gone.crash(5)).unwrap().1, state_after(4));
    }
}

#[test]
fn a_current_that_names_a_manifest_of_before_is_told() {
    let fs = disk(0);
    let (old, bytes) = with_edits(&fs, 1);
    (1..40).for_each(|number| with_edits_from(&fs, number, number + 1));
    let newest = parse_current(&fs.read(&path("CURRENT")).unwrap()).unwrap();
    assert!(newest > 1);
    fs.create(&old).unwrap().write_at(0, &bytes).unwrap();
    fs.open(&path("CURRENT")).unwrap().write_at(0, b"MANIFEST-000001\n").unwrap();
    let error = open(&fs).unwrap_err().to_string();
    assert!(error.contains(&format!("but {} is in force", manifest_name(newest))), "{error}");
    let line = format!("{}\n", manifest_name(newest));
    fs.open(&path("CURRENT")).unwrap().write_at(0, line.as_bytes()).unwrap();
    assert_eq!(open(&fs).unwrap().1, state_after(40));
}

#[test]
fn who_only_reads_changes_nothing() {
    let fs = disk(0);
    let (name, bytes) = with_edits(&fs, 2);
    fs.open(&name).unwrap().write_at(bytes.len() as u64, b"not finished").unwrap();
    fs.create(&path("MANIFEST-000007")).unwrap();
    let before = image(&fs);
    let (mut manifest, state) = Manifest::open_to_read(fs.shared(), Path::new(DIR)).unwrap();
    assert_eq!(state, state_after(2));
    assert!(matches!(manifest.apply(&edit(2)), Err(Error::Poisoned(_))));
    assert_eq!(image(&fs), before);
}

#[test]
fn every_operation_may_fail_and_every_crash_keeps_what_was_applied() {
    for seed in 0..2 {
        let mut fail_at = 0;
        while live_and_crash(seed, fail_at) {
            fail_at += 1;
        }
        assert!(fail_at > 50, "{fail_at}");
    }
}

/// Runs a manifest over several crashes. `fail_at` is the operation at which the disk begins to
/// fail, counted from the start of each life. Answers whether it was reached.
fn live_and_crash(seed: u64, fail_at: u64) -> bool {
    let mut fs = disk(seed);
    let mut failed = false;
    // Edits that must be there, and the most that can be there.
    let (mut applied, mut tried) = (0, 0);
    for life in 0..3 {
        fs.fail_after(fail_at);
        failed |= live(&fs, &mut applied, &mut tried).is_err();
        let chance = seed ^ (life * 7919) ^ fail_at;
        fs = if chance.is_multiple_of(3) { fs.kill(chance) } else { fs.crash(chance) };
        let (_, state) = open(&fs).unwrap();
        let count = (applied..=tried).find(|&count| state == state_after(count)).unwrap();
        // The opening made it durable, and every later one has to find the same.
        fs = fs.crash(!chance);
        assert_eq!(open(&fs).unwrap().1, state_after(count));
        (applied, tried) = (count, count);
    }
    failed
}

fn live(fs: &SimFs, applied: &mut u64, tried: &mut u64) -> Result<()> {
    let (mut manifest, state) = open(fs)?;
    assert_eq!(state, state_after(*applied));
    for _ in 0..12 {
        *tried = *applied + 1;
        manifest.apply(&edit(*applied))?;
        *applied = *tried;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_body_is_decoded_without_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut options = BTreeMap::new();
        if let Some(edit) = Edit::decode(&body, &mut options) {
            let _ = State::default().apply(&edit);
        }
    }

    #[test]
    fn any_edit_comes_back(
        removed in proptest::collection::vec((0usize..40, any::<u64>()), 0..5),
        ids in proptest::collection::vec((0usize..40, 0u64..1 << 40), 0..5),
        log_segment: Option<u64>,
        log_mark: Option<(u64, u64)>,
        next_table_id: Option<u64>,
        last_seq: Option<u64>,
        root: Option<Vec<u8>>,
    ) {
        let added = ids.into_iter().map(|(level, id)| (level, table(id))).collect();
        let root = root.map(Bytes::from);
        let log_mark = log_mark.map(|(segment, offset)| LogPosition { segment, offset });
        let edit = Edit { removed, added, log_segment, log_mark, next_table_id, last_seq, root };
        let mut body = Vec::new();
        edit.encode(&mut body);
        prop_assert_eq!(Edit::decode(&body, &mut BTreeMap::new()), Some(edit));
    }

    #[test]
    fn any_bytes_as_a_manifest_are_read_without_panic(bytes: Vec<u8>, is_headed: bool) {
        let fs = disk(0);
        open(&fs).unwrap();
        let file = fs.open(&path("MANIFEST-000001")).unwrap();
        let start = if is_headed { 16 } else { 0 };
        file.set_len(start).unwrap();
        file.write_at(start, &bytes).unwrap();
        prop_assert!(open(&fs).is_err());
    }
}
