use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;
use crate::engine::{Error, Result};
use crate::env::{Fs, RealFs, SimFs};

/// Nobody stops these preparations.
static RUNNING: AtomicBool = AtomicBool::new(false);

const DIR: &str = "/log";
const NOTHING_KNOWN: Expected =
    Expected { from_segment: 1, mark: LogPosition { segment: 0, offset: 0 }, accept_loss: false };
const SMALL: WalOptions =
    WalOptions { segment_bytes: 1024, first_bytes: 1024, recycle_max: 2, fills: true };

fn disk(seed: u64) -> SimFs {
    let fs = SimFs::new(seed);
    fs.create_dir_all(Path::new(DIR)).unwrap();
    fs
}

fn segment(id: u64) -> PathBuf {
    segments::segment_path(Path::new(DIR), id)
}

fn open(fs: &SimFs, start: LogStart) -> Wal {
    Wal::create(fs.shared(), Path::new(DIR), SMALL, start).unwrap()
}

fn batch(payload: &[u8]) -> LogBatch {
    let mut batch = LogBatch::new();
    batch.payload_mut().extend_from_slice(payload);
    batch
}

fn put(wal: &mut Wal, payload: &[u8]) -> Result<()> {
    wal.append(batch(payload))?.write().map(drop)
}

/// The payload of record `number`: tells which one it is, and its length varies.
fn payload(number: u64) -> Vec<u8> {
    let len = fastrand::Rng::with_seed(number).usize(0..700);
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + len, number.to_le_bytes()[0] | 1);
    bytes
}

fn read(fs: &SimFs, from: u64) -> Result<(Vec<Vec<u8>>, Replay)> {
    read_expecting(fs, Expected { from_segment: from, ..NOTHING_KNOWN })
}

fn read_expecting(fs: &SimFs, expected: Expected) -> Result<(Vec<Vec<u8>>, Replay)> {
    let mut found = Vec::new();
    let replay = replay(&fs.shared(), Path::new(DIR), expected, &mut |_, payload| {
        found.push(payload.to_vec());
        Ok(())
    })?;
    Ok((found, replay))
}

/// Reads the log and asserts that it holds records 0, 1, 2, ... as they were written.
fn read_numbered(fs: &SimFs) -> (u64, Replay) {
    let (found, replay) = read(fs, 1).unwrap();
    for (number, bytes) in (0..).zip(&found) {
        assert_eq!(*bytes, payload(number), "record {number}");
    }
    (found.len() as u64, replay)
}

#[test]
fn an_empty_directory_is_an_empty_log() {
    let (found, replay) = read(&disk(0), 1).unwrap();
    assert!(found.is_empty());
    assert_eq!(replay, Replay { records: 0, bytes: 0, torn: None, next: LogStart::default() });
}

#[test]
fn records_come_back_in_order_through_rotation_and_reopening() {
    let fs = disk(0);
    let mut start = LogStart::default();
    for round in 0..5 {
        let mut wal = open(&fs, start);
        for number in round * 10..(round + 1) * 10 {
            put(&mut wal, &payload(number)).unwrap();
        }
        let (count, replay) = read_numbered(&fs);
        assert_eq!(count, (round + 1) * 10);
        assert_eq!(replay.torn, None);
        start = replay.next;
    }
    assert!(fs.list(Path::new(DIR)).unwrap().len() > 10);
}

#[test]
fn a_record_larger_than_a_segment_gets_its_own() {
    let fs = disk(0);
    let mut wal = open(&fs, LogStart::default());
    let large = vec![9; 5000];
    put(&mut wal, &large).unwrap();
    wal.segments().prepare_next(&RUNNING).unwrap();
    put(&mut wal, b"small").unwrap();
    wal.segments().prepare_next(&RUNNING).unwrap();
    put(&mut wal, &large).unwrap();
    put(&mut wal, b"").unwrap();
    wal.syncer().sync().unwrap();
    let (found, replay) = read(&fs.crash(1), 1).unwrap();
    assert_eq!(found, [&large[..], b"small", &large, b""]);
    assert_eq!(replay.torn, None);
}

#[test]
fn records_larger_than_a_read_come_back_and_prove_damage_far_before_them() {
    let options =
        WalOptions { segment_bytes: 4 << 20, first_bytes: 4 << 20, recycle_max: 0, fills: true };
    let fs = disk(0);
    let mut wal = Wal::create(fs.shared(), Path::new(DIR), options, LogStart::default()).unwrap();
    let sizes = [10, 300_000, 262_088, 262_087, 1_000_000, 262_089, 10];
    for (fill, size) in (1..).zip(sizes) {
        put(&mut wal, &vec![fill; size]).unwrap();
        wal.syncer().sync().unwrap();
    }
    assert_eq!(wal.active_segment(), 1);
    let (found, replay) = read(&fs.crash(0), 1).unwrap();
    assert!(found.iter().zip(sizes).all(|(bytes, size)| bytes.len() == size));
    assert_eq!((found.len(), replay.torn), (7, None));
    // With its header gone, the records behind it have to be searched for.
    let damaged = fs.kill(0);
    assert!(damaged.flip_bits(&segment(1), 72 + 8, 0xff));
    assert!(matches!(read(&damaged, 1), Err(Error::Corruption { offset: 72, .. })));
    // The last record is proof of the one before it, but nothing is of the last.
    let last = wal.end().offset - 72;
    assert!(fs.flip_bits(&segment(1), last + 8, 0xff));
    assert_eq!(read(&fs, 1).unwrap().0.len(), 6);
}

#[test]
fn the_active_segment_is_never_retired() {
    let fs = disk(0);
    let mut wal = open(&fs, LogStart::default());
    put(&mut wal, b"x").unwrap();
    wal.segments().retire_below(u64::MAX).unwrap();
    wal.segments().prepare_next(&RUNNING).unwrap();
    put(&mut wal, b"y").unwrap();
    assert_eq!(read(&fs, 1).unwrap().0, [b"x", b"y"]);
}

#[test]
fn a_record_that_is_left_out_poisons_the_log() {
    let fs = disk(0);
    let mut wal = open(&fs, LogStart::default());
    drop(wal.append(batch(b"lost")).unwrap());
    assert!(matches!(put(&mut wal, b"next"), Err(Error::Poisoned(_))));
    assert!(matches!(wal.append(batch(b"more")), Err(Error::Poisoned(_))));
    assert_eq!(read(&fs, 1).unwrap().0.len(), 0);
}

#[test]
fn after_a_failed_write_or_sync_everything_is_refused() {
    for fail_after in 0..2 {
        let fs = disk(0);
        let mut wal = open(&fs, LogStart::default());
        let syncer = wal.syncer();
        put(&mut wal, b"w").unwrap();
        syncer.sync().unwrap();
        fs.fail_once_after(fail_after);
        let result = put(&mut wal, b"x").and_then(|()| syncer.sync());
        assert!(matches!(result, Err(Error::Io { .. })));
        assert!(matches!(put(&mut wal, b"y"), Err(Error::Poisoned(_))));
        let again = syncer.sync();
        assert!(fail_after == 0 || matches!(again, Err(Error::Poisoned(_))));
        assert!(syncer.durable() < syncer.written() || fail_after == 0);
    }
}

#[test]
fn retired_segments_are_used_again_and_their_old_records_are_not_seen() {
    let fs = disk(0);
    let mut wal = open(&fs, LogStart::default());
    let segments = wal.segments();
    for number in 0..200 {
        put(&mut wal, &payload(number)).unwrap();
        wal.syncer().sync().unwrap();
        if number % 7 == 0 {
            segments.retire_below(wal.active_segment()).unwrap();
        }
        segments.prepare_next(&RUNNING).unwrap();
        assert!(!segments.needs_spare());
    }
    // The active one, a spare, at most two kept and what was filled since the last retirement.
    let names = fs.list(Path::new(DIR)).unwrap();
    assert!(names.len() < 12, "{names:?}");
    assert!(wal.active_segment() > 50);
    let active = wal.active_segment();
    segments.retire_below(active).unwrap();
    let (found, replay) = read(&fs, active).unwrap();
    assert_eq!(found.last().unwrap(), &payload(199));
    assert_eq!(replay.torn, None);
    // The spare, never written to, holds old records of other segments only.
    let bytes = fs.read(&segment(active + 1)).unwrap();
    assert!(bytes.iter().any(|&byte| byte != 0), "the spare was recycled");
}

#[test]
fn a_segment_in_use_is_not_recycled() {
    let fs = disk(0);
    let mut wal = open(&fs, LogStart::default());
    put(&mut wal, &[1; 900]).unwrap();
    put(&mut wal, &[2; 900]).unwrap();
    wal.segments().retire_below(2).unwrap();
    wal.segments().prepare_next(&RUNNING).unwrap();
    assert!(fs.open(&segment(1)).is_ok(), "not synced yet, so kept under its name");
    wal.syncer().sync().unwrap();
    put(&mut wal, &[3; 900]).unwrap();
    wal.segments().prepare_next(&RUNNING).unwrap();
    assert!(fs.open(&segment(1)).is_err(), "used again");
    let (found, _) = read(&fs, 2).unwrap();
    assert_eq!(found, [[2; 900], [3; 900]]);
}

#[test]
fn an_append_to_a_full_disk_is_tried_again_until_there_is_space() {
    let fs = disk(0);
    let mut wal = open(&fs, LogStart::default());
    put(&mut wal, &payload(0)).unwrap();
    wal.syncer().sync().unwrap();
    // No new segment, then one that cannot be reserved, then a spare that is too small.
    for (number, more) in [(1, 0), (2, 1500), (3, 3000)] {
        wal.segments().prepare_next(&RUNNING).unwrap();
        fs.set_capacity(Some(fs.used_bytes() + more));
        let mut bytes = payload(number);
        bytes.resize(5000, 1);
        let before = fs.list(Path::new(DIR)).unwrap();
        let mut append = wal.append(batch(&bytes)).unwrap();
        for _ in 0..3 {
            let Err(Error::NoSpace(why)) = append.write() else { panic!("the disk is full") };
            assert!(why.contains("No space left on device") && why.contains("/log/"), "{why}");
            assert_eq!(fs.list(Path::new(DIR)).unwrap(), before);
            // What was written before can still be made durable.
            wal.syncer().sync().unwrap();
            assert_eq!(read(&fs.crash(number), 1).unwrap().0.len() as u64, number);
        }
        fs.set_capacity(None);
        append.write().unwrap();
        wal.syncer().sync().unwrap();
    }
    put(&mut wal, b"and on").unwrap();
    let (found, replay) = read(&fs, 1).unwrap();
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>()[1..], [5000, 5000, 5000, 6]);
    assert_eq!(replay.torn, None);
}

#[test]
fn a_write_that_ran_out_of_space_half_way_is_written_again() {
    let fs = disk(0);
    let mut wal = open(&fs, LogStart::default());
    put(&mut wal, &[1; 100]).unwrap();
    wal.syncer().sync().unwrap();
    // As where a file system cannot reserve space: the file is shorter than its capacity.
    fs.open(&segment(1)).unwrap().set_len(wal.end().offset).unwrap();
    let mut append = wal.append(batch(&[2; 500])).unwrap();
    for more in [0, 1, 30, 300] {
        fs.set_capacity(Some(fs.used_bytes() + more));
        assert!(matches!(append.write(), Err(Error::NoSpace(_))));
        for seed in 0..20 {
            assert_eq!(read(&fs.crash(seed), 1).unwrap().0, [[1; 100]]);
        }
    }
    fs.set_capacity(None);
    append.write().unwrap();
    wal.syncer().sync().unwrap();
    put(&mut wal, &[3; 100]).unwrap();
    let (found, replay) = read(&fs, 1).unwrap();
    assert_eq!(found, [vec![1; 100], vec![2; 500], vec![3; 100]]);
    assert_eq!(replay.torn, None);
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let fs = disk(0);
    let mut wal = open(&fs, LogStart::default());
    put(&mut wal, b"first").unwrap();
    let offset = wal.end().offset;
    put(&mut wal, b"second").unwrap();
    assert!(fs.flip_bits(&segment(1), offset + 60, 1));
    let (found, replay) = read(&fs, 1).unwrap();
    assert_eq!(found, [b"first"]);
    let (path, bytes_lost, is_accepted_loss) = (segment(1), 64, false);
    assert_eq!(replay.torn, Some(TornTail { path, offset, bytes_lost, is_accepted_loss }));
    assert_eq!(fs.read(&segment(1)).unwrap().len() as u64, offset);
    assert_eq!(read(&fs, 1).unwrap().1, Replay { torn: None, ..replay.clone() }, "reported once");
    let mut wal = open(&fs, replay.next);
    put(&mut wal, b"third").unwrap();
    let (found, replay) = read(&fs, 1).unwrap();
    assert_eq!(found, [b"first", b"third"]);
    assert_eq!(replay.torn, None, "it was cut before");
}

#[test]
fn damage_before_what_was_durable_is_an_error() {
    for damaged in [0, 64, 128] {
        for byte in [0, 4, 9, 17, 30, 50, 56] {
            let fs = disk(0);
            let mut wal = open(&fs, LogStart::default());
            for _ in 0..3 {
                put(&mut wal, b"x").unwrap();
            }
            wal.syncer().sync().unwrap();
            put(&mut wal, b"x").unwrap();
            assert!(fs.flip_bits(&segment(1), damaged + byte, 0x10));
            match read(&fs, 1) {
                Err(Error::Corruption { path, offset, what }) => {
                    assert_eq!((path, offset), (segment(1), damaged));
                    assert!(what.contains("backup"));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_missing_segment_or_the_missing_end_of_one_is_an_error() {
    let fs = disk(0);
    let mut wal = open(&fs, LogStart::default());
    for _ in 0..4 {
        put(&mut wal, &[1; 900]).unwrap();
        wal.syncer().sync().unwrap();
    }
    for id in 1..=3 {
        let missing = fs.kill(0);
        missing.remove(&segment(id)).unwrap();
        assert!(matches!(read(&missing, 1), Err(Error::Corruption { .. })), "{id}");
        let short = fs.kill(0);
        short.open(&segment(id)).unwrap().set_len(950).unwrap();
        assert!(matches!(read(&short, 1), Err(Error::Corruption { .. })), "{id}");
    }
}

#[test]
fn what_a_replay_has_applied_is_durable() {
    for seed in 0..50 {
        let fs = disk(0);
        let mut wal = open(&fs, LogStart::default());
        for number in 0..6 {
            put(&mut wal, &payload(number)).unwrap();
        }
        let killed = fs.kill(seed);
        assert_eq!(read_numbered(&killed).0, 6);
        assert_eq!(read_numbered(&killed.crash(seed)).0, 6);
    }
}

#[test]
fn the_error_of_apply_ends_the_replay() {
    let fs = disk(0);
    put(&mut open(&fs, LogStart::default()), b"x").unwrap();
    let result =
        replay(&fs.shared(), Path::new(DIR), NOTHING_KNOWN, &mut |_, _| Err(Error::Closed));
    assert!(matches!(result, Err(Error::Closed)));
}

/// What outlives the processes of one test, beside the disk.
#[derive(Debug, Default)]
struct Promises {
    /// Records that must be there, and the most that can be there.
    durable: u64,
    written: u64,
    /// As a manifest would say: records before this are in tables, so that segments before
    /// `from_segment` are not needed.
    in_tables: u64,
    from_segment: u64,
}

impl Promises {
    /// Reads the log and answers how many records there are with those in tables.
    fn count(&self, fs: &SimFs) -> Result<(u64, Replay)> {
        let (found, replay) = read(fs, self.from_segment)?;
        let mut count = self.in_tables;
        let mut last = None;
        for bytes in found {
            let number = u64::from_le_bytes(*bytes.first_chunk().unwrap());
            assert_eq!(bytes, payload(number));
            assert!(last.is_none_or(|last| last < number), "in order");
            assert!(number <= count, "nothing is missing");
            count = count.max(number + 1);
            last = Some(number);
        }
        assert!((self.durable..=self.written).contains(&count), "{count} {self:?}");
        Ok((count, replay))
    }
}

/// Runs a log over several crashes. `fail_at` is the operation at which the disk begins to fail,
/// counted from the start of each life. Answers whether it was reached.
fn live_and_crash(seed: u64, fail_at: u64) -> bool {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut fs = disk(seed);
    let mut failed = false;
    let mut promises = Promises { from_segment: 1, ..Promises::default() };
    for life in 0..3 {
        fs.fail_after(fail_at);
        failed |= live(&fs, &mut rng, &mut promises).is_err();
        fs = if rng.u8(0..4) == 0 { fs.kill(seed + life) } else { fs.crash(seed + life) };
        let count = promises.count(&fs).unwrap().0;
        // The replay made it durable, and every later one has to find the same.
        (promises.durable, promises.written) = (count, count);
        fs = fs.crash(seed ^ life);
        promises.count(&fs).unwrap();
    }
    failed
}

fn live(fs: &SimFs, rng: &mut fastrand::Rng, promises: &mut Promises) -> Result<()> {
    let (_, replay) = promises.count(fs)?;
    let mut wal = Wal::create(fs.shared(), Path::new(DIR), SMALL, replay.next)?;
    for _ in 0..12 {
        let number = promises.written;
        promises.written += 1;
        put(&mut wal, &payload(number))?;
        if rng.u8(0..3) == 0 {
            wal.syncer().sync()?;
            promises.durable = promises.written;
        }
        if rng.u8(0..3) == 0 {
            wal.segments().set_fills(rng.bool());
            wal.segments().prepare_next(&RUNNING)?;
        }
        if rng.u8(0..6) == 0 {
            promises.in_tables = promises.written;
            promises.durable = promises.written;
            promises.from_segment = wal.active_segment();
            wal.segments().retire_below(promises.from_segment)?;
        }
    }
    Ok(())
}

#[test]
fn every_operation_may_fail_and_every_crash_keeps_what_was_synced() {
    for seed in 0..4 {
        let mut fail_at = 0;
        while live_and_crash(seed * 1000 + fail_at, fail_at) {
            fail_at += 1;
        }
        assert!(fail_at > 30, "{fail_at}");
    }
}

#[test]
fn crashes_without_faults_keep_what_was_synced() {
    for seed in 0..150 {
        live_and_crash(seed, u64::MAX / 2);
    }
}

#[test]
fn a_cut_or_a_flipped_bit_anywhere_never_makes_a_wrong_record() {
    let fs = disk(0);
    let mut wal = open(&fs, LogStart::default());
    for number in 0..4 {
        put(&mut wal, &payload(number)).unwrap();
        wal.syncer().sync().unwrap();
    }
    let ids = 1..=wal.active_segment();
    assert!(ids.contains(&2), "the records span segments");
    for id in ids {
        let len = fs.read(&segment(id)).unwrap().len() as u64;
        for offset in 0..len {
            let flipped = fs.kill(0);
            assert!(flipped.flip_bits(&segment(id), offset, 1 << (offset % 8)));
            assert!(check_prefix(&flipped).is_none_or(|count| count >= 3));
            let cut = fs.kill(0);
            cut.open(&segment(id)).unwrap().set_len(offset).unwrap();
            check_prefix(&cut);
        }
    }
}

/// Whatever is found must be what was written; damage is an error (`None`) or the end.
fn check_prefix(fs: &SimFs) -> Option<u64> {
    let mut number = 0;
    let result = replay(&fs.shared(), Path::new(DIR), NOTHING_KNOWN, &mut |_, found| {
        assert_eq!(found, payload(number));
        number += 1;
        Ok(())
    });
    assert!(matches!(result, Ok(_) | Err(Error::Corruption { .. })), "{result:?}");
    result.is_ok().then_some(number)
}

#[test]
fn the_log_works_on_the_real_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let fs = RealFs::shared();
    let options =
        WalOptions { segment_bytes: 1 << 20, first_bytes: 1 << 10, recycle_max: 1, fills: true };
    let mut wal = Wal::create(Arc::clone(&fs), dir.path(), options, LogStart::default()).unwrap();
    let (segments, syncer) = (wal.segments(), wal.syncer());
    let background = segments.clone();
    std::thread::scope(|scope| {
        scope.spawn(move || background.prepare_next(&RUNNING).unwrap());
        for number in 0..3000 {
            put(&mut wal, &payload(number)).unwrap();
            if number % 500 == 0 {
                scope.spawn(|| syncer.sync().unwrap());
            }
        }
    });
    assert_eq!(syncer.sync().unwrap(), wal.end());
    assert_eq!(syncer.durable(), wal.end());
    let mut number = 0;
    let replay = replay(&fs, dir.path(), NOTHING_KNOWN, &mut |_, found| {
        assert_eq!(found, payload(number));
        number += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!((replay.records, replay.torn), (3000, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_bytes_as_a_segment_are_read_without_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        len: u32,
        at in 0usize..100,
    ) {
        // A header that is right but for its length and checksum.
        let at = at * 8;
        if let Some(header) = bytes.get_mut(at..at + 24) {
            header[4..8].copy_from_slice(&len.to_le_bytes());
            header[8..16].copy_from_slice(&1u64.to_le_bytes());
            header[16..24].copy_from_slice(&(at as u64).to_le_bytes());
        }
        let fs = disk(0);
        fs.create(&segment(1)).unwrap().write_at(0, &bytes).unwrap();
        let (found, _) = read(&fs, 1).unwrap();
        prop_assert!(found.is_empty());
    }

    #[test]
    fn random_records_come_back(
        records in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..1500), 0..20),
    ) {
        let fs = disk(0);
        let mut wal = open(&fs, LogStart::default());
        for record in &records {
            put(&mut wal, record).unwrap();
        }
        wal.syncer().sync().unwrap();
        prop_assert_eq!(read(&fs.crash(0), 1).unwrap().0, records);
    }
}

#[test]
fn a_preparation_that_is_stopped_leaves_nothing_that_hurts() {
    let fs = disk(1);
    let wal = open(&fs, LogStart::default());
    let stopped = AtomicBool::new(true);
    assert!(matches!(wal.segments().prepare_next(&stopped), Err(Error::Closed)));
    assert!(wal.segments().needs_spare());
    wal.segments().prepare_next(&RUNNING).unwrap();
    assert!(!wal.segments().needs_spare());
}

#[test]
fn segments_grow_with_use() {
    let options =
        WalOptions { segment_bytes: 6000, first_bytes: 1024, recycle_max: 2, fills: true };
    let fs = disk(1);
    let mut wal = Wal::create(fs.shared(), Path::new(DIR), options, LogStart::default()).unwrap();
    while wal.active_segment() < 6 {
        put(&mut wal, &[7; 400]).unwrap();
        // With a segment ready, and without.
        if wal.active_segment() == 2 {
            wal.segments().prepare_next(&RUNNING).unwrap();
        }
    }
    for (id, bytes) in (1..).zip([1024, 2048, 4096, 6000, 6000]) {
        assert_eq!(fs.file_bytes(&segment(id)).unwrap(), bytes, "segment {id}");
    }
    assert_eq!(read(&fs, 1).unwrap().1.torn, None);
    // What was retired small is not kept for use.
    wal.segments().retire_below(6).unwrap();
    let is_kept = |id: &u64| fs.file_bytes(&segment(*id)).is_ok();
    assert_eq!((1..6).filter(is_kept).collect::<Vec<_>>(), [4, 5]);
}
