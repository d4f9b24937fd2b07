//! Scans that go on over a restart.

mod support;

use support::{Connection, Reply, Server, eventually};

/// One call: the next cursor and the keys.
fn step(server: &Server, cursor: &str) -> (String, Vec<String>) {
    let mut connection = Connection::open(server.port).expect("the server listens");
    let reply = connection.call(&[b"SCAN", cursor.as_bytes(), b"COUNT", b"10"]);
    let Ok(Reply::Array(parts)) = reply else { panic!("{reply:?}") };
    let [cursor, Reply::Array(keys)] = &parts[..] else { panic!("{parts:?}") };
    (cursor.to_string(), keys.iter().map(Reply::to_string).collect())
}

fn name(number: usize) -> String {
    format!("the:same:beginning:{number:04}")
}

fn populated() -> Server {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for number in 0..100 {
        assert_eq!(client.call(&["SET", &name(number), "v"]), "+OK");
    }
    server
}

fn names(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(name).collect()
}

#[test]
fn a_cursor_outlives_a_restart() {
    let mut server = populated();
    let (cursor, keys) = step(&server, "0");
    assert_eq!(keys, names(0..10));
    server.signal("TERM");
    assert!(server.wait().success());
    server.restart();
    let (cursor, keys) = step(&server, &cursor);
    assert_eq!(keys, names(10..20));
    // The same again, for a file that was there.
    server.signal("TERM");
    assert!(server.wait().success());
    server.restart();
    assert_eq!(step(&server, &cursor).1, names(20..30));
}

#[test]
fn a_cursor_outlives_a_kill() {
    let mut server = populated();
    let (cursor, _) = step(&server, "0");
    let file = server.dir.join("CURSORS");
    eventually("the file is written", || file.exists());
    server.kill_and_restart();
    assert_eq!(step(&server, &cursor).1, names(10..20));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "damage from outside, not by the server")]
fn a_damaged_file_costs_a_few_keys_twice() {
    let mut server = populated();
    let (cursor, _) = step(&server, "0");
    server.signal("TERM");
    assert!(server.wait().success());
    let file = server.dir.join("CURSORS");
    let mut bytes = std::fs::read(&file).expect("the file is there");
    bytes[40] ^= 1;
    std::fs::write(&file, bytes).expect("the file can be written");
    server.restart();
    // The last key that was seen comes again, and is not counted.
    let (_, keys) = step(&server, &cursor);
    assert_eq!(keys, names(9..20));
}
