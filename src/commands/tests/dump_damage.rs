//! `RESTORE` of damaged payloads whose checksum is right: an error, or a value that keeps its promises.

use bytes::Bytes;
use proptest::prelude::*;

use super::Harness;
use super::collections::BOTH;
use super::dump::payloads_of_redis;
use crate::data::payload::{Payload, listpack, resealed, ziplist};

/// Payloads of every encoding, without their checksums.
fn samples() -> Vec<Vec<u8>> {
    let unsealed = |payload: Bytes| payload[..payload.len() - 8].to_vec();
    let pairs = ["a", "1", "b", "2"];
    let triples = ["a", "1", "1800000000000", "b", "2", "0"];
    let old = [
        Payload::new(1).len(2).strings(&["a", "b"]),
        Payload::new(2).len(2).strings(&["a", "7"]),
        Payload::new(3).len(1).string(b"a").bytes(b"\x032.5"),
        Payload::new(9).string(b"\x02\x01b\x01\x00x\x01a\x01\x021..\xff"),
        Payload::new(10).string(&ziplist(&pairs)),
        Payload::new(12).string(&ziplist(&pairs)),
        Payload::new(13).string(&ziplist(&pairs)),
        Payload::new(14).len(1).string(&ziplist(&pairs)),
        Payload::new(17).string(&listpack(&pairs)),
        Payload::new(18).len(2).len(1).string(b"a").len(2).string(&listpack(&pairs)),
        Payload::new(20).string(&listpack(&pairs)),
        Payload::new(22).len(1).len(1 << 41).strings(&["a", "1"]),
        Payload::new(23).string(&listpack(&triples)),
        Payload::new(24)
            .time(1 << 41)
            .len(2)
            .len(1)
            .strings(&["a", "1"])
            .len(0)
            .strings(&["b", "2"]),
        Payload::new(25).time(1 << 41).string(&listpack(&triples)),
    ];
    let old = old.into_iter().map(|payload| unsealed(payload.sealed(12)));
    payloads_of_redis().map(|(_, payload)| unsealed(payload)).chain(old).collect()
}

/// Restores it, and where that is possible dumps and restores it once more.
fn survives(server: &mut Harness, unsealed: Vec<u8>) {
    let payload = resealed(unsealed);
    let answer = server.restore("k 0 replace", &payload);
    if answer != "+OK" {
        let known = [
            "-ERR Bad data format",
            "-ERR DUMP payload version or checksum are wrong",
            "-OOM command not allowed: it takes more memory than 'maxmemory' leaves to commands",
        ];
        assert!(known.contains(&answer.as_str()), "{answer}: {payload:?}");
        return;
    }
    // All fields of a hash may have expired.
    if server.run("dump k") != "nil" {
        let again = server.dump("k");
        assert_eq!(server.restore("again 0 replace", &again), "+OK", "{payload:?}");
        assert_eq!(server.content("again"), server.content("k"), "{payload:?}");
    }
}

#[test]
fn every_byte_may_be_wrong() {
    for (first, packing) in BOTH.into_iter().enumerate() {
        let mut server = Harness::new();
        server.packing = packing;
        for sample in samples() {
            for at in (first..sample.len() - 2).step_by(BOTH.len()) {
                let mut bad = sample.clone();
                bad[at] ^= if at % 4 < 2 { 1 } else { 0xff };
                survives(&mut server, bad);
                let mut shorter = sample.clone();
                shorter.remove(at);
                survives(&mut server, shorter);
            }
        }
    }
}

proptest! {
    #[test]
    fn many_bytes_may_be_wrong(
        which: prop::sample::Index,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        exploded: bool,
    ) {
        let samples = samples();
        let mut payload = which.get(&samples).clone();
        let len = payload.len() - 2;
        for (at, byte) in changes {
            payload[at.index(len)] = byte;
        }
        let mut server = Harness::new();
        server.packing = BOTH[usize::from(exploded)];
        survives(&mut server, payload);
    }

    #[test]
    fn any_bytes_of_any_type(kind in 0..27_u8, bytes: Vec<u8>, exploded: bool) {
        let mut server = Harness::new();
        server.packing = BOTH[usize::from(exploded)];
        survives(&mut server, [&[kind][..], &bytes, &[12, 0]].concat());
    }

    #[test]
    fn any_bytes_in_a_blob(
        kind in prop::sample::select(vec![9_u8, 10, 11, 12, 13, 16, 17, 20, 23]), bytes: Vec<u8>,
    ) {
        let mut server = Harness::new();
        let payload = Payload::new(kind).string(&bytes).sealed(12);
        survives(&mut server, payload[..payload.len() - 8].to_vec());
    }

    #[test]
    fn any_words_in_a_list(
        kind in prop::sample::select(vec![16_u8, 17, 20, 23]),
        words in prop::collection::vec("[a-c]|-?[0-9]{1,2}", 0..9),
        exploded: bool,
    ) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut server = Harness::new();
        server.packing = BOTH[usize::from(exploded)];
        let payload = Payload::new(kind).string(&listpack(&words)).sealed(12);
        survives(&mut server, payload[..payload.len() - 8].to_vec());
    }
}
