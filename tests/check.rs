//! `siltdb check` on data of all types: sound as a server leaves it, and each planted damage named.

mod support;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use siltdb::data::{KIND_AT, RecordFilter, SHARE_AT};
use siltdb::engine::{Direction, Engine, Options, Read, ReadMode, Txn};
use siltdb::env::{RealFs, SystemClock};
use support::{Client, Server, eventually};

/// Kinds of records, as `data/key.rs` has them.
const META: u8 = 0;
const ELEMENT: u8 = 1;
const EXPIRY: u8 = 2;
const GENERATION: u8 = 3;
const FIELD_EXPIRY: u8 = 4;
/// First byte of the record of a generation that is part of another.
const BELONGS: u8 = 2;

/// Runs the check; its exit status and what it said on both outputs.
fn check(dir: &Path) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siltdb"));
    let output = command.args(["check", "--dir"]).arg(dir).output().expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("no signal"), String::from_utf8_lossy(&said).into_owned())
}

/// The same of a store that was open in this process: another one, which another test starts, has its lock
/// until it runs its program.
fn check_closed(dir: &Path) -> (i32, String) {
    let mut answer = check(dir);
    eventually("the lock is free", || {
        let is_free = !answer.1.contains("in use by another process");
        if !is_free {
            answer = check(dir);
        }
        is_free
    });
    answer
}

/// Keys of every type, small and large, with and without expiry, in two databases.
fn fill(client: &mut Client) {
    for kind in ["small", "large"] {
        let count = if kind == "small" { 3 } else { 400 };
        let key = |of: &str| format!("{kind}-{of}");
        for n in 0..count {
            let n = n.to_string();
            let member = format!("element-{n}");
            client.call(&["HSET", &key("hash"), &member, &n]);
            client.call(&["SADD", &key("set"), &member]);
            client.call(&["ZADD", &key("zset"), &n, &member]);
            client.call(&["RPUSH", &key("list"), &member]);
            client.call(&["XADD", &key("stream"), "*", "f", &n]);
        }
        client.call(&["HPEXPIRE", &key("hash"), "10000000", "FIELDS", "1", "element-1"]);
        client.call(&["XGROUP", "CREATE", &key("stream"), "group", "0"]);
        let read = ["XREADGROUP", "GROUP", "group", "c", "COUNT", "50", "STREAMS"];
        client.call(&[&read[..], &[&key("stream"), ">"]].concat());
        client.call(&["EXPIRE", &key("set"), "10000"]);
    }
    client.call(&["LINSERT", "large-list", "BEFORE", "element-200", "between"]);
    client.call(&["SET", "string", "value", "EX", "10000"]);
    client.call(&["SETRANGE", "long", "200000", "end"]);
    client.call(&["PFADD", "hll", "a", "b"]);
    client.call(&["SADD", "gone", &"x".repeat(100)]);
    client.call(&["DEL", "gone"]);
    client.call(&["SELECT", "3"]);
    client.call(&["MSET", "a", "1", "b", "2"]);
    assert_eq!(client.call(&["SAVE"]), "+OK");
    client.call(&["SET", "c", "in the log only"]);
}

/// Every file of a directory with its content.
#[expect(clippy::disallowed_methods, reason = "files are compared as they are")]
fn image(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let files = paths.filter(|path| path.is_file()).map(|path| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read(&path).expect("readable"))
    });
    files.collect()
}

/// A directory with these data, of a server that has ended.
fn data() -> Server {
    let mut server = Server::start(&["--list-max-listpack-size", "16"]);
    fill(&mut server.connect());
    server.signal("TERM");
    assert!(server.wait().success());
    server
}

#[test]
fn what_a_server_leaves_is_sound() {
    let mut server = data();
    let (status, said) = check(&server.dir);
    assert_eq!(status, 0, "{said}");
    assert!(said.ends_with("sound\n"), "{said}");
    let row = |name: &str, elements: &str| {
        said.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.first() == Some(&name) && words.get(2) == Some(&elements)
        })
    };
    assert!(row("hash", "403") && row("zset", "403") && row("list", "404"), "{said}");
    assert!(said.contains("database 3: 3 keys, 0 expire"), "{said}");
    // It has changed nothing, and a server goes on from there.
    server.restart();
    let mut client = server.connect();
    assert_eq!(client.call(&["HLEN", "large-hash"]), ":400");
    let (status, said) = check(&server.dir);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("in use by another process; stop it"), "{said}");
    let nowhere = server.dir.join("nowhere");
    assert_eq!(check(&nowhere).0, 2);
    assert!(!nowhere.exists());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "damage is done to files as they are")]
fn each_flipped_bit_in_a_table_is_named_with_its_place() {
    let server = data();
    let tables = std::fs::read_dir(&server.dir).expect("a directory");
    let table = tables
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "sst"))
        .expect("a table");
    let mut bytes = std::fs::read(&table).expect("readable");
    let second = bytes.len() / 3;
    bytes[100] ^= 1;
    bytes[second] ^= 1;
    std::fs::write(&table, bytes).expect("writable");
    let (status, said) = check(&server.dir);
    assert_eq!(status, 1, "{said}");
    let name = table.file_name().expect("a name").to_string_lossy().into_owned();
    let damages = said.lines().filter(|line| line.starts_with("DAMAGED: "));
    let offsets = damages.map(|damage| -> usize {
        assert!(damage.contains(&name) && damage.contains("the checksum of a block"), "{said}");
        let offset = damage.split("offset ").nth(1).and_then(|rest| rest.split(':').next());
        offset.and_then(|offset| offset.parse().ok()).expect("an offset")
    });
    let offsets: Vec<usize> = offsets.collect();
    let [one, two] = offsets[..] else { panic!("each damage is named, and no more: {said}") };
    assert!(one < 100 && one + 4096 < second, "a block starts before the byte: {said}");
    assert!(two <= second && two + 4096 > second, "a block starts before the byte: {said}");
}

/// A change that no command makes.
struct Plant {
    what: &'static str,
    change: fn(&mut Txn<'_>),
    /// Each is part of a line of the report.
    said: &'static [&'static str],
}

/// All keys of engine records of a kind that contain `part`.
fn keys(txn: &Txn<'_>, kind: u8, part: &str) -> Vec<Bytes> {
    let all = txn.scan((Bound::Unbounded, Bound::Unbounded), Direction::Forward);
    all.map(|pair| pair.expect("readable").0)
        .filter(|key| key.get(KIND_AT) == Some(&kind))
        .filter(|key| key.escape_ascii().to_string().contains(part))
        .collect()
}

fn delete(txn: &mut Txn<'_>, kind: u8, part: &str) {
    let key = keys(txn, kind, part).pop().expect("there is one");
    txn.delete(key);
}

const PLANTS: &[Plant] = &[
    Plant {
        what: "an element is missing",
        change: |txn| delete(txn, ELEMENT, "element-77"),
        said: &["key \"large-", "counted wrongly"],
    },
    Plant {
        what: "an expiry is not in the index",
        change: |txn| delete(txn, EXPIRY, "string"),
        said: &["key \"string\": it has no entry in the index of expiries"],
    },
    Plant {
        what: "an expiry of fields is not in the index",
        change: |txn| delete(txn, FIELD_EXPIRY, "small-hash"),
        said: &["key \"small-hash\": it has no entry in the index of expiries of fields"],
    },
    Plant {
        what: "an entry of the index leads nowhere",
        change: |txn| {
            let mut key = keys(txn, EXPIRY, "string").pop().expect("there is one").to_vec();
            key.extend_from_slice(b"-nobody");
            txn.put(key.into(), Bytes::new());
        },
        said: &["key \"string-nobody\": an entry of the index of expiries leads to no key"],
    },
    Plant {
        what: "a generation counts as dead",
        change: |txn| delete(txn, GENERATION, ""),
        said: &["counts as dead"],
    },
    Plant {
        what: "a generation of nobody",
        change: |txn| {
            let mut key = keys(txn, GENERATION, "").pop().expect("there is one").to_vec();
            let at = key.len() - 8;
            key[at..].copy_from_slice(&99_999_u64.to_be_bytes());
            txn.put(key.into(), Bytes::new());
        },
        said: &[
            "generation 99999 is alive, but was not given out yet",
            "generation 99999 is alive, but no key has it",
        ],
    },
    Plant {
        what: "a group is part of another key",
        change: |txn| {
            let all = keys(txn, GENERATION, "");
            let parent = |key: &Bytes| txn.get(key).expect("readable").expect("there");
            let belongs = |key: &&Bytes| parent(key).first() == Some(&BELONGS);
            let key = all.iter().find(belongs).expect("a group").clone();
            let mut value = parent(&key).to_vec();
            let other = all.iter().find(|key| parent(key).is_empty()).expect("no group");
            let at = value.len() - 8;
            value[at..].copy_from_slice(&other[other.len() - 8..]);
            txn.put(key, value.into());
        },
        said: &["stream\": its generation", "counts as part of"],
    },
    Plant {
        what: "an entry of an index that has no form",
        change: |txn| {
            let key = keys(txn, EXPIRY, "string").pop().expect("there is one");
            txn.put(key.slice(..KIND_AT + 5), Bytes::new());
        },
        said: &["the index of expiries is not that of the keys"],
    },
    Plant {
        what: "a key too few",
        change: |txn| delete(txn, META, "hll"),
        said: &["database 0: ", "keys, but"],
    },
    Plant {
        what: "metadata that cannot be read",
        change: |txn| {
            let key = keys(txn, META, "hll").pop().expect("there is one");
            txn.put(key, Bytes::from_static(&[0xff; 9]));
        },
        said: &["key \"hll\": not a key that this version can read"],
    },
    Plant {
        what: "a record of no kind",
        change: |txn| txn.put(Bytes::from_static(&[0, 0, 0, 0, 99, 1]), Bytes::new()),
        said: &["a record of no known kind"],
    },
];

/// Changes records past the layer that keeps them in step.
fn plant(dir: &Path, change: fn(&mut Txn<'_>)) {
    let options = Options {
        kind_at: KIND_AT,
        share_at: SHARE_AT,
        background_threads: 0,
        ..Options::for_budget(dir, 64 << 20)
    };
    let clock = Arc::new(SystemClock::default());
    let (engine, mut writer) =
        Engine::open(RealFs::shared(), clock, options, Arc::new(RecordFilter)).expect("opened");
    let mut txn = writer.begin(ReadMode::Blocking).expect("writable");
    change(&mut txn);
    let changes = txn.into_changes();
    writer.commit(changes);
    let batch = writer.take_batch().expect("a batch");
    let seq = batch.seq();
    batch.write().expect("written");
    writer.syncer().sync().expect("synced");
    writer.publish(seq);
    engine.close();
}

#[test]
fn each_planted_damage_is_named() {
    let server = data();
    for Plant { what, change, said: expected } in PLANTS {
        let copy = tempfile::tempdir().expect("a directory");
        for entry in std::fs::read_dir(&server.dir).expect("a directory") {
            let entry = entry.expect("an entry");
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
        }
        plant(copy.path(), *change);
        let (status, said) = check_closed(copy.path());
        assert_eq!(status, 1, "{what}: {said}");
        for part in *expected {
            let is_named =
                said.lines().any(|line| line.starts_with("DAMAGED: ") && line.contains(part));
            assert!(is_named, "{what}: no {part} in {said}");
        }
    }
}

#[test]
fn what_holds_no_data_is_not_called_sound() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(dir.path().join("lost+found")).expect("a directory");
    let check = |args: &[&str]| {
        let program = env!("CARGO_BIN_EXE_siltdb");
        let output = std::process::Command::new(program).arg("check").args(args).output();
        output.expect("siltdb check runs").status.code()
    };
    let path = dir.path().to_str().expect("a plain path");
    assert_eq!(check(&["--dir", path]), Some(2));
    assert_eq!(std::fs::read_dir(dir.path()).expect("it is there").count(), 1);
    assert_eq!(check(&["--dir", path, "--maxmemory", "lots"]), Some(2));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "damage is done to files as they are")]
fn what_is_cut_off_the_log_is_told() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    let manifest = server.dir.join("MANIFEST-000001");
    let length = || std::fs::metadata(&manifest).expect("it is there").len();
    let before = length();
    assert_eq!(client.call(&["SET", "first", "stays here"]), "+OK");
    // Once the manifest says how far the log is durable it says so again some seconds later only.
    support::eventually("a mark of the log", || length() > before);
    assert_eq!(client.call(&["SET", "last", "torn off in the end"]), "+OK");
    server.signal("KILL");
    server.wait();
    let files = std::fs::read_dir(&server.dir).expect("the directory is there");
    let is_log = |path: &std::path::PathBuf| path.extension().is_some_and(|end| end == "wal");
    let mut paths = files.map(|file| file.expect("a file").path()).filter(is_log);
    let wanted = b"torn off in the end";
    let (path, mut log, at) = paths
        .find_map(|path| {
            let log = std::fs::read(&path).expect("it can be read");
            let at = log.windows(wanted.len()).position(|part| part == wanted)?;
            Some((path, log, at))
        })
        .expect("the log has the write");
    log[at] ^= 1;
    std::fs::write(path, log).expect("it can be written");
    let before = image(&server.dir);
    let (status, said) = check(&server.dir);
    assert_eq!(status, 0, "{said}");
    assert!(image(&server.dir) == before, "it has changed nothing");
    assert!(said.contains("the log ended in unfinished records of"), "{said}");
    assert!(said.contains("database 0: 1 keys"), "{said}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "damage is done to files as they are")]
fn a_manifest_that_was_cut_is_told_and_nothing_is_removed() {
    let mut server = data();
    let manifest = server.dir.join("MANIFEST-000001");
    let whole = std::fs::read(&manifest).expect("readable");
    for cut_off in [9, 60, 110] {
        std::fs::write(&manifest, &whole[..whole.len() - cut_off]).expect("writable");
        let before = image(&server.dir);
        let (status, said) = check(&server.dir);
        assert_eq!(status, 1, "{said}");
        let known = format!("safely written up to offset {}", whole.len());
        let parts = ["DAMAGED: ", "MANIFEST-000001 is damaged", &known, "restore this file"];
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        assert!(image(&server.dir) == before, "it has changed nothing");
        let mut refused = Command::new(env!("CARGO_BIN_EXE_siltdb"));
        let output = refused.args(["--port", &server.port.to_string(), "--dir"]).arg(&server.dir);
        let output = output.output().expect("it runs and ends");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success() && said.contains("MANIFEST-000001 is damaged"), "{said}");
        assert!(image(&server.dir) == before, "nor has a start");
    }
    std::fs::write(&manifest, &whole).expect("writable");
    assert_eq!(check(&server.dir).0, 0);
    server.restart();
    let mut client = server.connect();
    assert_eq!(client.call(&["HLEN", "large-hash"]), ":400");
    client.call(&["SELECT", "3"]);
    assert_eq!(client.call(&["GET", "c"]), "in the log only");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "as a user makes it")]
fn a_directory_whose_loss_is_accepted_is_not_looked_at() {
    let server = data();
    let accepted = server.dir.join("ACCEPT-LOG-LOSS");
    std::fs::write(&accepted, b"").expect("writable");
    let (status, said) = check(&server.dir);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("a file ACCEPT-LOG-LOSS"), "{said}");
    assert!(accepted.exists());
}
