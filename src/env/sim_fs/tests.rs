use super::*;

const DIR: &str = "/db";

fn disk() -> SimFs {
    let fs = SimFs::new(1);
    fs.create_dir_all(Path::new(DIR)).unwrap();
    fs
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

#[test]
fn what_is_synced_outlives_every_crash() {
    let fs = disk();
    let file = fs.create(&path("a")).unwrap();
    file.write_at(0, &[1; 2000]).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(Path::new(DIR)).unwrap();
    file.write_at(2000, &[2; 2000]).unwrap();
    for seed in 0..100 {
        let after = fs.crash(seed).read(&path("a")).unwrap();
        assert_eq!(after[..2000], [1; 2000]);
        assert!(after[2000..].iter().all(|&byte| byte == 2 || byte == 0));
    }
}

#[test]
fn what_is_not_synced_is_kept_lost_or_torn_at_sectors() {
    let fs = disk();
    let file = fs.create(&path("a")).unwrap();
    file.write_at(0, &[0; 2048]).unwrap();
    file.sync_data().unwrap();
    fs.sync_dir(Path::new(DIR)).unwrap();
    file.write_at(100, &[2; 1000]).unwrap();
    let mut images = BTreeSet::new();
    for seed in 0..200 {
        let after = fs.crash(seed).read(&path("a")).unwrap();
        assert_eq!(after, fs.crash(seed).read(&path("a")).unwrap(), "a seed repeats");
        let sectors = [after[100], after[511], after[512], after[1023], after[1024], after[1099]];
        assert_eq!((sectors[0], sectors[2], sectors[4]), (sectors[1], sectors[3], sectors[5]));
        images.insert(sectors);
    }
    assert_eq!(images.len(), 8, "every combination of the three sectors");
}

#[test]
fn names_are_lost_until_the_directory_is_synced() {
    let fs = disk();
    let file = fs.create(&path("a")).unwrap();
    file.write_at(0, b"x").unwrap();
    file.sync_data().unwrap();
    let kept = (0..50).filter(|&seed| fs.crash(seed).open(&path("a")).is_ok()).count();
    assert!((1..50).contains(&kept));
    fs.sync_dir(Path::new(DIR)).unwrap();
    fs.rename(&path("a"), &path("b")).unwrap();
    for seed in 0..50 {
        let names = fs.crash(seed).list(Path::new(DIR)).unwrap();
        assert!(names == ["a"] || names == ["b"], "{names:?}");
    }
}

#[test]
fn a_killed_process_loses_nothing_but_power_may_still_go() {
    let fs = disk();
    let file = fs.create(&path("a")).unwrap();
    file.write_at(0, b"x").unwrap();
    let next = fs.kill(0);
    assert_eq!(next.read(&path("a")).unwrap(), "x");
    let kept = (0..50).filter(|&seed| next.crash(seed).open(&path("a")).is_ok()).count();
    assert!((1..50).contains(&kept));
    next.open(&path("a")).unwrap().sync_data().unwrap();
    next.sync_dir(Path::new(DIR)).unwrap();
    assert_eq!(next.crash(3).read(&path("a")).unwrap(), "x");
}

#[test]
fn faults_hit_the_operations_that_were_named() {
    let fs = disk();
    let file = fs.create(&path("a")).unwrap();
    fs.fail_once_after(1);
    file.write_at(0, b"one").unwrap();
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    fs.fail_after(1);
    file.write_at(3, b"two").unwrap();
    assert!(file.write_at(6, b"three").is_err());
    assert!(fs.list(Path::new(DIR)).is_err());
    fs.heal();
    assert_eq!(fs.read(&path("a")).unwrap()[..6], *b"onetwo");
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let lost = (0..50).filter(|&seed| {
        let fs = SimFs::new(seed);
        fs.create_dir_all(Path::new(DIR)).unwrap();
        let file = fs.create(&path("a")).unwrap();
        fs.sync_dir(Path::new(DIR)).unwrap();
        file.write_at(0, b"x").unwrap();
        fs.fail_once_after(0);
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        fs.crash(seed).read(&path("a")).unwrap().is_empty()
    });
    assert!((1..50).contains(&lost.count()));
}

#[test]
fn locks_and_reads_that_would_wait() {
    let fs = disk();
    let held = fs.lock(&path("LOCK")).unwrap();
    assert_eq!(fs.lock(&path("LOCK")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    fs.crash(0).lock(&path("LOCK")).unwrap();
    drop(held);
    fs.lock(&path("LOCK")).unwrap();

    let file = fs.create(&path("a")).unwrap();
    file.write_at(0, b"x").unwrap();
    file.read_at_nowait(0, &mut [0]).unwrap();
    fs.nowait_blocks(true);
    let error = file.read_at_nowait(0, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    file.read_at(0, &mut [0]).unwrap();
}

#[test]
fn a_removed_file_stays_readable_through_its_handle() {
    let fs = disk();
    let file = fs.create(&path("a")).unwrap();
    file.write_at(0, b"x").unwrap();
    fs.remove(&path("a")).unwrap();
    assert_eq!(fs.open(&path("a")).unwrap_err().kind(), io::ErrorKind::NotFound);
    file.read_at(0, &mut [0]).unwrap();
}
