//! `RESTORE` of every encoding that Redis ever wrote, and of values that only look like one.

use bytes::Bytes;

use super::collections::BOTH;
use super::{Harness, START_MS};
use crate::data::payload::{Payload, listpack, ziplist, ziplist_of};

/// Restores the payload under both packings and looks at what is there then.
#[track_caller]
fn restored(payload: Payload, version: u16, content: &str) {
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        server.reaps = false;
        assert_eq!(server.restore("k 0", &payload.clone().sealed(version)), "+OK");
        let found = server.content("k");
        let words =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        assert_eq!(words(&found), words(content));
    }
}

/// Neither packing takes the payload.
#[track_caller]
fn refused(what: &str, payload: Payload) {
    for packing in BOTH {
        let mut server = Harness::new();
        server.packing = packing;
        let answer = server.restore("k 0", &payload.clone().sealed(12));
        assert_eq!(answer, "-ERR Bad data format", "{what}");
        assert_eq!(server.run("exists k"), "0", "{what}");
    }
}

fn hash_line(fields: &[(&str, &str, i64)]) -> String {
    let mut lines: Vec<String> = fields
        .iter()
        .map(|(field, value, at_ms)| {
            let (field, value) =
                (Bytes::from((*field).to_owned()), Bytes::from((*value).to_owned()));
            format!("Bulk({field:?})=Bulk({value:?})@[{at_ms}]")
        })
        .collect();
    lines.sort();
    format!("+hash {}", lines.join(" "))
}

#[test]
fn lists() {
    let content = r#"+list ["a" "-5" "a"]"#;
    restored(Payload::new(1).len(3).strings(&["a", "-5", "a"]), 6, content);
    let nodes = ziplist_of(&[b"\x01a", b"\xfe\xfb", b"\x01a"]);
    restored(Payload::new(10).string(&nodes), 6, content);
    let halves = [ziplist(&["a", "-5"]), ziplist(&[]), ziplist(&["a"])];
    let old = halves.iter().fold(Payload::new(14).len(3), |payload, half| payload.string(half));
    restored(old, 8, content);
    let nodes = Payload::new(18).len(3).len(2).string(&listpack(&["a"]));
    let nodes = nodes.len(1).string(b"-5").len(2).string(&listpack(&["a"]));
    restored(nodes, 10, content);
}

#[test]
fn sets() {
    let content = r#"+set "1" "a""#;
    restored(Payload::new(2).len(2).strings(&["a", "1"]), 6, content);
    restored(Payload::new(20).string(&listpack(&["a", "1"])), 11, content);
    let intset = b"\x04\0\0\0\x02\0\0\0\xff\xff\xff\xff\x01\0\0\0";
    restored(Payload::new(11).string(intset), 6, r#"+set "-1" "1""#);
}

#[test]
fn sorted_sets() {
    let content = r#"+zset [("a" ,-inf) ("b" ,1) ("c" ,1) ("d" ,2.5) ("e" ,inf)]"#;
    let decimals = Payload::new(3).len(5).string(b"e").bytes(&[254]).string(b"b").bytes(b"\x011");
    let decimals = decimals.string(b"a").bytes(&[255]).string(b"d").bytes(b"\x032.5");
    restored(decimals.string(b"c").bytes(b"\x041e+0"), 6, content);
    let scores =
        [("a", f64::NEG_INFINITY), ("c", 1.0), ("e", f64::INFINITY), ("b", 1.0), ("d", 2.5)];
    let binary = scores.iter().fold(Payload::new(5).len(5), |payload, (member, score)| {
        payload.string(member.as_bytes()).bytes(&score.to_le_bytes())
    });
    restored(binary, 8, content);
    let pairs = ["a", "-inf", "b", "1", "c", "1", "d", "2.5", "e", "inf"];
    restored(Payload::new(12).string(&ziplist(&pairs)), 6, content);
    restored(Payload::new(17).string(&listpack(&pairs)), 10, content);
}

#[test]
fn hashes() {
    let content = hash_line(&[("a", "1", -1), ("b", "x", -1)]);
    let pairs = ["b", "x", "a", "1"];
    restored(Payload::new(4).len(2).strings(&pairs), 6, &content);
    restored(Payload::new(9).string(b"\x02\x01b\x01\x00x\x01a\x01\x021..\xff"), 6, &content);
    restored(Payload::new(13).string(&ziplist(&pairs)), 6, &content);
    restored(Payload::new(16).string(&listpack(&pairs)), 10, &content);
}

#[test]
fn hashes_whose_fields_expire() {
    let now_ms = START_MS.cast_signed();
    let content = hash_line(&[("a", "1", now_ms + 5), ("b", "x", -1), ("c", "y", now_ms + 9)]);
    let (first, second) = ((now_ms + 5).to_string(), (now_ms + 9).to_string());
    let fields = |payload: Payload, expiries: [u64; 3]| {
        let [a, b, c] = expiries;
        let payload = payload.len(3).len(c).strings(&["c", "y"]).len(a).strings(&["a", "1"]);
        payload.len(b).strings(&["b", "x"])
    };
    let absolute = [START_MS + 5, 0, START_MS + 9];
    restored(fields(Payload::new(22), absolute), 12, &content);
    restored(fields(Payload::new(24).time(now_ms + 5), [1, 0, 5]), 12, &content);
    let triples = listpack(&["a", "1", &first, "c", "y", &second, "b", "x", "0"]);
    restored(Payload::new(23).string(&triples), 12, &content);
    restored(Payload::new(25).time(now_ms + 5).string(&triples), 12, &content);
    // One that is not in order, and one of which a field has expired.
    let triples = listpack(&["b", "x", "0", "c", "y", &second, "a", "1", &first, "d", "z", "1"]);
    restored(Payload::new(25).time(1).string(&triples), 12, &content);
    let three = fields(Payload::new(24).time(1), [0, 0, 0]);
    restored(three, 12, &hash_line(&[("a", "1", -1), ("b", "x", -1), ("c", "y", -1)]));
}

/// Two entries that share their field and one that does not, a deleted one among them.
fn node() -> Vec<u8> {
    let shared = ["3", "1", "1", "f", "0", "2", "0", "0", "v", "4"];
    let gone = ["3", "0", "1", "w", "4"];
    let other = ["0", "2", "-1", "2", "g", "x", "h", "7", "8"];
    let last = ["2", "2", "0", "y", "4"];
    listpack(&[&shared[..], &gone, &other, &last].concat())
}

/// The start of a stream of one node that begins at 5-1.
fn stream(kind: u8) -> Payload {
    let id = [&5_u64.to_be_bytes()[..], &1_u64.to_be_bytes()].concat();
    Payload::new(kind).len(1).string(&id).string(&node())
}

const ENTRIES: &str = r#"[["5-1" ["f" "v"]] ["7-0" ["g" "x" "h" "7"]] ["7-1" ["f" "y"]]]"#;

#[test]
fn streams() {
    let mut server = Harness::new();
    let old = stream(15).len(3).id(9, 0).len(0);
    assert_eq!(server.restore("old 0", &old.sealed(9)), "+OK");
    let new = stream(19).len(3).id(9, 0).id(5, 1).id(5, 2).len(7).len(0);
    assert_eq!(server.restore("new 0", &new.sealed(10)), "+OK");
    let empty = Payload::new(15).len(0).len(0).id(4, 4).len(0);
    assert_eq!(server.restore("empty 0", &empty.sealed(9)), "+OK");
    server.script(&format!(
        "xrange old - + -> {ENTRIES}
         xrange new - + -> {ENTRIES}
         xlen empty -> 0
         xadd old 9-0 a b -> -ERR The ID specified in XADD is equal or smaller than the target stream top item
         xadd empty 4-5 a b -> \"4-5\""
    ));
    let info = |server: &mut Harness, key: &str| {
        let info = server.run(&format!("xinfo stream {key}"));
        let field = |name: &str| {
            let (_, rest) = info.split_once(&format!("\"{name}\": ")).unwrap();
            rest.split([',', '}']).next().unwrap().to_owned()
        };
        ["last-generated-id", "max-deleted-entry-id", "entries-added"].map(field)
    };
    assert_eq!(info(&mut server, "old"), [r#""9-0""#, r#""0-0""#, "3"]);
    assert_eq!(info(&mut server, "new"), [r#""9-0""#, r#""5-2""#, "7"]);
}

/// A group with two consumers, behind the totals of a stream.
fn group(payload: Payload, kind: u8) -> Payload {
    let time = START_MS.cast_signed();
    let payload = payload.len(1).string(b"g").id(7, 0);
    let payload = if kind >= 19 { payload.len(2) } else { payload };
    let payload = payload.len(2).raw_id(5, 1).time(time - 10).len(3);
    let payload = payload.raw_id(7, 0).time(time - 20).len(1).len(2);
    let active = |payload: Payload, at: i64| if kind == 21 { payload.time(at) } else { payload };
    let payload = active(payload.string(b"alice").time(time - 100), time - 200);
    let payload = payload.len(2).raw_id(5, 1).raw_id(7, 0);
    active(payload.string(b"bob").time(time - 300), -1).len(0)
}

#[test]
fn streams_with_groups() {
    let totals = |kind: u8| {
        let payload = stream(kind).len(3).id(9, 0);
        if kind == 15 { payload } else { payload.id(5, 1).id(0, 0).len(3) }
    };
    for (kind, active) in [(15, "100 300"), (19, "100 300"), (21, "200 -1")] {
        let mut server = Harness::new();
        let payload = group(totals(kind), kind).sealed(11);
        assert_eq!(server.restore("x 0", &payload), "+OK", "{kind}");
        let (alice, bob) = active.split_once(' ').unwrap();
        let read = if kind == 15 { "nil" } else { "2" };
        let lag = if kind == 15 { "nil" } else { "1" };
        server.script(
            r#"xpending x g - + 10 -> [["5-1" "alice" 10 3] ["7-0" "alice" 20 1]]
             xpending x g -> [2 "5-1" "7-0" [["alice" "2"]]]"#,
        );
        let groups = server.run("xinfo groups x");
        let expected = format!(r#""entries-read": {read}, "lag": {lag}"#);
        assert!(groups.contains(&expected), "{kind}: {groups}");
        let consumers = server.run("xinfo consumers x g");
        for (name, idle, inactive, pending) in [("alice", 100, alice, 2), ("bob", 300, bob, 0)] {
            let expected = format!(
                r#""name": "{name}", "pending": {pending}, "idle": {idle}, "inactive": {inactive}"#
            );
            assert!(consumers.contains(&expected), "{kind}: {consumers}");
        }
        server.script(
            "xack x g 5-1 -> 1
             xgroup delconsumer x g alice -> 1",
        );
        let payload = server.dump("x");
        assert_eq!(server.restore("y 0", &payload), "+OK", "{kind}");
        server.script("xpending y g -> [0 nil nil nil]");
    }
}

#[test]
fn what_is_no_type_is_refused() {
    for kind in [6, 7, 8, 26, 99, 247, 255] {
        refused("a module or no type", Payload::new(kind).len(1).string(b"x"));
    }
    let mut server = Harness::new();
    let none = crate::data::payload::resealed(vec![10, 0]);
    assert_eq!(server.restore("k 0", &none), "-ERR Bad data format");
}

#[test]
fn empty_collections_are_refused() {
    for kind in [1, 2, 3, 4, 5, 14, 18, 22] {
        refused("nothing", Payload::new(kind).len(0));
    }
    refused("nothing", Payload::new(24).time(0).len(0));
    for kind in [10, 12, 13] {
        refused("an empty ziplist", Payload::new(kind).string(&ziplist(&[])));
    }
    for kind in [16, 17, 20, 23] {
        refused("an empty listpack", Payload::new(kind).string(&listpack(&[])));
    }
    refused("empty", Payload::new(25).time(0).string(&listpack(&[])));
    refused("an empty node", Payload::new(18).len(1).len(2).string(&listpack(&[])));
    refused("an empty intset", Payload::new(11).string(b"\x02\0\0\0\0\0\0\0"));
    refused("an empty zipmap", Payload::new(9).string(b"\x00\xff"));
}

#[test]
fn names_that_come_twice_are_refused() {
    refused("set", Payload::new(2).len(2).strings(&["a", "a"]));
    refused("integers", Payload::new(2).len(2).strings(&["1", "1"]));
    refused("listpack", Payload::new(20).string(&listpack(&["a", "a"])));
    refused("intset", Payload::new(11).string(b"\x02\0\0\0\x02\0\0\0\x01\0\x01\0"));
    refused("hash", Payload::new(4).len(2).strings(&["a", "1", "a", "2"]));
    refused("zipmap", Payload::new(9).string(b"\x02\x01a\x01\x001\x01a\x01\x001\xff"));
    let twice = ["a", "1", "a", "2"];
    for kind in [12, 13] {
        refused("ziplist", Payload::new(kind).string(&ziplist(&twice)));
    }
    for kind in [16, 17] {
        refused("listpack", Payload::new(kind).string(&listpack(&twice)));
    }
    let triples = ["a", "1", "1700000000005", "a", "2", "1"];
    refused("triples", Payload::new(23).string(&listpack(&triples)));
    let fields = Payload::new(22).len(2).len(1).strings(&["a", "1"]).len(1).strings(&["a", "2"]);
    refused("expired fields", fields);
    let scores = Payload::new(5).len(2).string(b"a").bytes(&[0; 8]).string(b"a");
    refused("members", scores.bytes(&1_f64.to_le_bytes()));
}

#[test]
fn what_is_out_of_order_or_no_number_is_refused() {
    refused("intset", Payload::new(11).string(b"\x02\0\0\0\x02\0\0\0\x02\0\x01\0"));
    refused("intset width", Payload::new(11).string(b"\x03\0\0\0\x01\0\0\0\x02\0\x01"));
    for bad in
        [["a", "2", "b", "1"], ["b", "1", "a", "1"], ["a", "1", "b", "x"], ["a", "1", "b", "nan"]]
    {
        refused("scores", Payload::new(12).string(&ziplist(&bad)));
        refused("scores", Payload::new(17).string(&listpack(&bad)));
    }
    refused("nan", Payload::new(3).len(1).string(b"a").bytes(&[253]));
    refused("no number", Payload::new(3).len(1).string(b"a").bytes(b"\x021x"));
    refused("nan", Payload::new(5).len(1).string(b"a").bytes(&f64::NAN.to_le_bytes()));
    for kind in [12, 13] {
        refused("odd", Payload::new(kind).string(&ziplist(&["a", "1", "b"])));
    }
    for kind in [16, 17, 23] {
        refused("odd", Payload::new(kind).string(&listpack(&["a", "1", "b", "2", "c"])));
    }
    for expiry in ["-1", "x", "281474976710655", "9223372036854775807"] {
        refused("expiry", Payload::new(23).string(&listpack(&["a", "1", expiry])));
    }
    refused("expiry", Payload::new(22).len(1).len(1 << 48).strings(&["a", "1"]));
    refused("expiry", Payload::new(24).time(-1).len(1).len(1).strings(&["a", "1"]));
    refused("expiry", Payload::new(24).time(1 << 47).len(1).len(u64::MAX).strings(&["a", "1"]));
    refused("container", Payload::new(18).len(1).len(3).string(b"a"));
}

#[test]
fn counts_beyond_the_end_are_refused() {
    for kind in [1, 2, 3, 4, 5, 14, 15, 18, 19, 21, 22] {
        for count in [2, 1 << 20, u64::MAX - 1, u64::MAX] {
            refused("a count", Payload::new(kind).len(count).strings(&["a"]));
        }
    }
    for len in [4, 1 << 40, u64::MAX] {
        refused("a length", Payload::new(0).len(len).bytes(b"abc"));
        refused("a length", Payload::new(0).bytes(&[0xc3]).len(2).len(len).bytes(b"\x00a"));
    }
}

#[test]
fn streams_that_contradict_themselves_are_refused() {
    let totals = |payload: Payload, length: u64, last: (u64, u64)| {
        payload.len(length).id(last.0, last.1).id(5, 1).id(0, 0).len(3)
    };
    refused("length", totals(stream(19), 2, (9, 0)).len(0));
    refused("last id", totals(stream(19), 3, (7, 0)).len(0));
    refused("added", stream(19).len(3).id(9, 0).id(5, 1).id(0, 0).len(2).len(0));
    refused("deleted", stream(19).len(3).id(9, 0).id(5, 1).id(9, 1).len(3).len(0));
    refused("a length without entries", Payload::new(15).len(0).len(1).id(4, 4).len(0));
    let key = [0; 16];
    for (what, words) in [
        ("id 0-0", &["1", "0", "1", "f", "0", "2", "0", "0", "v", "4"][..]),
        (
            "descending",
            &["2", "0", "1", "f", "0", "2", "1", "0", "v", "4", "2", "0", "5", "v", "4"],
        ),
        ("twice", &["2", "0", "1", "f", "0", "2", "1", "0", "v", "4", "2", "1", "0", "v", "4"]),
        ("count", &["1", "0", "1", "f", "0", "2", "1", "0", "v", "5"]),
        ("zero", &["1", "0", "1", "f", "1", "2", "1", "0", "v", "4"]),
        ("more", &["1", "0", "1", "f", "0", "2", "1", "0", "v", "4", "2"]),
        ("fewer", &["2", "0", "1", "f", "0", "2", "1", "0", "v", "4"]),
        ("negative", &["-1", "0", "1", "f", "0"]),
        ("negative", &["1", "0", "-1", "0"]),
        ("a text", &["1", "0", "1", "f", "0", "x", "1", "0", "v", "4"]),
        ("nothing", &[]),
    ] {
        let live = if words.first() == Some(&"2") { 2 } else { 1 };
        let payload = Payload::new(15).len(1).string(&key).string(&listpack(words));
        refused(what, payload.len(live).id(9, 0).len(0));
    }
    refused(
        "key",
        Payload::new(15).len(1).string(&key[1..]).string(&node()).len(3).id(9, 0).len(0),
    );
    let good = group(totals(stream(19), 3, (9, 0)), 19);
    let mut server = Harness::new();
    assert_eq!(server.restore("k 0", &good.sealed(12)), "+OK");
    let start =
        |groups: u64| totals(stream(19), 3, (9, 0)).len(groups).string(b"g").id(7, 0).len(2);
    refused("same group", start(2).len(0).len(0).string(b"g").id(7, 0).len(2).len(0).len(0));
    let one = || start(1).len(1).raw_id(5, 1).time(1).len(1);
    refused("nobody's", one().len(0));
    refused("unknown entry", one().len(1).string(b"c").time(1).len(1).raw_id(5, 2));
    let owned = || one().len(2).string(b"c").time(1).len(1).raw_id(5, 1);
    refused("owned twice", owned().string(b"d").time(1).len(1).raw_id(5, 1));
    refused("same consumer", owned().string(b"c").time(1).len(0));
    refused(
        "pending twice",
        start(1).len(2).raw_id(5, 1).time(1).len(1).raw_id(5, 1).time(1).len(1),
    );
}

const TOO_MUCH: &str =
    "-OOM command not allowed: it takes more memory than 'maxmemory' leaves to commands";

/// A long name that many entries mean is not written until the memory is full.
#[test]
fn what_a_small_payload_stands_for_is_bounded() {
    let name = "n".repeat(16_000);
    let mut words = vec!["1000", "0", "1", &name, "0"];
    let ids: Vec<String> = (1..=1000).map(|n| n.to_string()).collect();
    for id in &ids {
        words.extend(["2", id, "0", "v", "4"]);
    }
    let payload = Payload::new(15).len(1).string(&[0; 16]).string(&listpack(&words));
    let payload = payload.len(1000).id(1000, 0).len(0).sealed(9);
    let mut server = Harness::new();
    assert!(payload.len() < 100_000);
    assert_eq!(server.restore("k 0", &payload), TOO_MUCH);
}

/// Nor are short texts kept without being counted: each takes many times its bytes.
#[test]
fn short_texts_are_counted_before_they_are_kept() {
    let mut server = Harness::new();
    let count = (300_000).to_string();
    let mut words = vec!["1", "0", count.as_str()];
    words.extend(std::iter::repeat_n("", 300_000));
    let payload = Payload::new(15).len(1).string(&[0; 16]).string(&listpack(&words)).sealed(9);
    assert_eq!(server.restore("names 0", &payload), TOO_MUCH);
    let fields = (150_000).to_string();
    let mut words = vec!["1", "0", "0", "0", "0", "1", "0", fields.as_str()];
    words.extend(std::iter::repeat_n("", 300_000));
    let payload = Payload::new(15).len(1).string(&[0; 16]).string(&listpack(&words)).sealed(9);
    assert_eq!(server.restore("entry 0", &payload), TOO_MUCH);
}
