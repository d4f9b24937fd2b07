//! What counts as a change, for `rdb_changes_since_last_save`: as much as in Redis.

mod support;

use support::{Client, Server};

fn changes(client: &mut Client) -> u64 {
    let text = client.call(&["INFO", "persistence"]);
    let line = text.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
    line.and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn calls_count_as_in_redis() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for (call, expected) in [
        ("SET a 1", 1),
        ("RENAME a b", 1),
        ("SET a 1", 1),
        ("RENAME a b", 1),
        ("MOVE b 3", 1),
        ("RPUSH l a b c d e f", 6),
        ("LMOVE l m LEFT LEFT", 1),
        ("LMOVE l l LEFT RIGHT", 1),
        ("BLMOVE l m LEFT LEFT 1", 1),
        ("LTRIM l 0 1", 2),
        ("LTRIM l 5 1", 2),
        ("GEOADD g 1 1 a 2 2 b", 2),
        ("GEOSEARCHSTORE to g FROMLONLAT 0 0 BYRADIUS 500 km", 2),
        ("XADD s 1-1 a 1", 1),
        ("XADD s 2-1 a 1", 1),
        ("XADD s MAXLEN 1 3-1 a 1", 1),
        ("XADD s 4-1 a 1", 1),
        ("XGROUP CREATE s g 0", 1),
        ("XGROUP CREATECONSUMER s g c", 1),
        ("XGROUP CREATECONSUMER s g d", 1),
        ("XREADGROUP GROUP g c STREAMS s >", 1),
        ("XREADGROUP GROUP g c STREAMS s 0", 0),
        ("XCLAIM s g d 0 3-1 4-1", 2),
        ("XAUTOCLAIM s g c 0 0", 2),
        ("XACK s g 3-1", 1),
        ("XTRIM s MAXLEN 1", 1),
    ] {
        let before = changes(&mut client);
        let reply = client.call(&call.split(' ').collect::<Vec<_>>());
        assert!(!reply.starts_with('-'), "{call}: {reply}");
        assert_eq!(changes(&mut client) - before, expected, "{call}");
    }
}
