//! Transactions over sockets: what is queued, who sees what, and what is there after a kill.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use support::{Client, Connection, Reply, Server, encode, eventually};

/// Sends calls of words between blanks in one write.
fn send(client: &mut Client, lines: &[&str]) {
    let bytes: Vec<u8> = lines
        .iter()
        .flat_map(|line| encode(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>()))
        .collect();
    client.send(&bytes);
}

fn call(client: &mut Client, line: &str) -> String {
    client.call(&line.split(' ').collect::<Vec<_>>())
}

#[test]
fn queued_commands_run_as_one_and_what_does_not_fit_aborts() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    send(
        &mut client,
        &["MULTI", "SET k v", "INCR k", "LPUSH l a b", "LRANGE l 0 -1", "EXEC", "GET k"],
    );
    for expected in ["+OK", "+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED"] {
        assert_eq!(client.reply(), expected);
    }
    let replies = "[+OK, -ERR value is not an integer or out of range, :2, [b, a]]";
    assert_eq!(client.reply(), replies);
    assert_eq!(client.reply(), "v");
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    for (wrong, why) in [
        ("NOSUCH x", "-ERR unknown command 'NOSUCH', with args beginning with: 'x' "),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("SAVE", "-ERR Command not allowed inside a transaction"),
    ] {
        assert_eq!(call(&mut client, "MULTI"), "+OK");
        assert_eq!(call(&mut client, "SET k other"), "+QUEUED");
        assert_eq!(call(&mut client, wrong), why);
        assert_eq!(call(&mut client, "SET k other"), "+QUEUED");
        assert_eq!(call(&mut client, "EXEC"), aborted);
        assert_eq!(call(&mut client, "GET k"), "v");
    }
    assert_eq!(call(&mut client, "MULTI"), "+OK");
    assert_eq!(call(&mut client, "MULTI"), "-ERR MULTI calls can not be nested");
    assert_eq!(call(&mut client, "WATCH k"), "-ERR WATCH inside MULTI is not allowed");
    let refused =
        "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    assert_eq!(call(&mut client, "EXEC now"), refused);
    assert_eq!(call(&mut client, "EXEC"), "-ERR EXEC without MULTI");
    assert_eq!(call(&mut client, "DISCARD"), "-ERR DISCARD without MULTI");
    assert_eq!(call(&mut client, "MULTI"), "+OK");
    assert_eq!(call(&mut client, "EXEC"), "[]");
}

#[test]
fn a_watched_key_that_changes_ends_a_transaction() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (server.connect(), server.connect());
    let transact = |client: &mut Client| {
        assert_eq!(call(client, "MULTI"), "+OK");
        assert_eq!(call(client, "INCR k"), "+QUEUED");
    };
    assert_eq!(call(&mut client, "WATCH k x"), "+OK");
    transact(&mut client);
    assert_eq!(call(&mut other, "SET k 10"), "+OK");
    client.send(&encode(&[b"EXEC"]));
    client.send(&encode(&[b"PING"]));
    let mut null = [0; 12];
    std::io::Read::read_exact(&mut client.sender(), &mut null).expect("a null array and a reply");
    assert_eq!(&null, b"*-1\r\n+PONG\r\n");
    transact(&mut client);
    assert_eq!(call(&mut client, "EXEC"), "[:11]");
    for (end, expected) in [("UNWATCH", "+OK"), ("RESET", "+RESET")] {
        assert_eq!(call(&mut client, "WATCH k"), "+OK");
        assert_eq!(call(&mut other, "SET k 20"), "+OK");
        assert_eq!(call(&mut client, end), expected);
        transact(&mut client);
        assert_eq!(call(&mut client, "EXEC"), "[:21]");
    }
    // A transaction that only reads looks at its keys as well.
    assert_eq!(call(&mut client, "WATCH k"), "+OK");
    assert_eq!(call(&mut other, "FLUSHALL"), "+OK");
    assert_eq!(call(&mut client, "MULTI"), "+OK");
    assert_eq!(call(&mut client, "GET k"), "+QUEUED");
    client.send(&encode(&[b"EXEC"]));
    let mut null = [0; 5];
    std::io::Read::read_exact(&mut client.sender(), &mut null).expect("a null array");
    assert_eq!(&null, b"*-1\r\n");
}

#[test]
fn nobody_sees_half_a_transaction_and_reads_see_one_moment() {
    let server = Server::start(&["--io-threads", "2"]);
    let mut reader = server.connect();
    let ended = AtomicBool::new(false);
    let port = server.port;
    std::thread::scope(|scope| {
        let ended = &ended;
        scope.spawn(move || {
            let mut writer = Client::open(port);
            for number in 1..=400 {
                let (a, b) = (format!("SET a {number}"), format!("SET b {number}"));
                send(&mut writer, &["MULTI", &a, &b, "EXEC"]);
                for expected in ["+OK", "+QUEUED", "+QUEUED", "[+OK, +OK]"] {
                    assert_eq!(writer.reply(), expected);
                }
            }
            ended.store(true, Ordering::Release);
        });
        let mut distinct = 0;
        let mut last = String::new();
        while !ended.load(Ordering::Acquire) {
            send(&mut reader, &["MULTI", "GET a", "GET b", "MGET b a", "EXEC"]);
            (0..4).for_each(|_| drop(reader.reply()));
            let seen = reader.reply();
            let value = seen.trim_start_matches('[').split(',').next().unwrap_or_default();
            assert_eq!(seen, format!("[{value}, {value}, [{value}, {value}]]"));
            distinct += u32::from(seen != last);
            last = seen;
        }
        assert!(distinct > 1, "the reader saw nothing change");
    });
}

#[test]
fn a_transaction_survives_a_kill_as_a_whole_or_not_at_all() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    for round in 0..3 {
        let mut connection = Connection::open(server.port).expect("the server listens");
        let mut sent = Vec::new();
        for number in 0..300 {
            let value = format!("{round}-{number}");
            sent.extend(encode(&[b"MULTI"]));
            for key in ["a", "b", "c"] {
                sent.extend(encode(&[b"SET", key.as_bytes(), value.as_bytes()]));
                sent.extend(encode(&[b"RPUSH", format!("l{key}").as_bytes(), value.as_bytes()]));
            }
            sent.extend(encode(&[b"EXEC"]));
        }
        connection.send(&sent).expect("the server listens");
        let mut acknowledged = 0;
        while acknowledged < 20 * (round + 1) {
            let reply = connection.receive().expect("a reply");
            acknowledged += usize::from(matches!(reply, Reply::Array(_)));
        }
        server.kill_and_restart();
        let mut client = server.connect();
        let values = client.call(&["MGET", "a", "b", "c"]);
        let last = client.call(&["LINDEX", "la", "-1"]);
        assert_eq!(values, format!("[{last}, {last}, {last}]"));
        let number: usize = last.rsplit('-').next().and_then(|n| n.parse().ok()).expect("a number");
        assert!(number + 1 >= acknowledged, "{last}: {acknowledged} were acknowledged");
        let lists = ["la", "lb", "lc"].map(|list| client.call(&["LRANGE", list, "0", "-1"]));
        assert!(lists[0] == lists[1] && lists[1] == lists[2]);
    }
}

#[test]
fn who_waits_is_served_behind_the_whole_transaction() {
    let server = Server::start(&[]);
    let (mut client, mut other) = (server.connect(), server.connect());
    let waiting = |words: &[&[u8]], count: u32| {
        let mut waiting = server.connect();
        waiting.send(&encode(words));
        let sign = format!("blocked_clients:{count}\r\n");
        let mut client = server.connect();
        eventually(&sign, || client.call(&["INFO", "clients"]).contains(&sign));
        waiting
    };
    let mut waiter = waiting(&[b"BLPOP", b"l", b"0"], 1);
    send(&mut client, &["MULTI", "LPUSH l a", "DEL l", "SET l string", "EXEC"]);
    (0..4).for_each(|_| drop(client.reply()));
    assert_eq!(client.reply(), "[:1, :1, +OK]");
    assert_eq!(call(&mut other, "DEL l"), ":1");
    send(&mut client, &["MULTI", "RPUSH l a", "RPUSH l b", "LPUSH l c", "BLPOP l 0", "EXEC"]);
    (0..5).for_each(|_| drop(client.reply()));
    assert_eq!(client.reply(), "[:1, :2, :3, [l, c]]");
    assert_eq!(waiter.reply(), "[l, a]");
    assert_eq!(call(&mut other, "LRANGE l 0 -1"), "[b]");
    assert_eq!(call(&mut client, "XGROUP CREATE s g $ MKSTREAM"), "+OK");
    let mut reader =
        waiting(&[b"XREADGROUP", b"GROUP", b"g", b"c", b"BLOCK", b"0", b"STREAMS", b"s", b">"], 1);
    send(&mut client, &["MULTI", "DEL s", "RPUSH s x", "EXEC"]);
    (0..3).for_each(|_| drop(client.reply()));
    assert_eq!(client.reply(), "[:1, :1]");
    assert!(reader.reply().starts_with('-'), "its stream has gone");
    assert_eq!(call(&mut other, "LRANGE s 0 -1"), "[x]");
}

#[test]
fn the_session_and_the_protocol_may_change_inside() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    send(&mut client, &["MULTI", "SELECT 2", "SET k two", "CLIENT SETNAME inside", "EXEC"]);
    (0..4).for_each(|_| drop(client.reply()));
    assert_eq!(client.reply(), "[+OK, +OK, +OK]");
    assert_eq!(call(&mut client, "GET k"), "two");
    assert_eq!(call(&mut client, "CLIENT GETNAME"), "inside");
    assert_eq!(call(&mut client, "SELECT 0"), "+OK");
    assert_eq!(call(&mut client, "GET k"), "(nil)");
    // The reply of EXEC is in the version that holds at its end.
    let calls = ["MULTI", "HGETALL nosuch", "HELLO 3", "HGETALL nosuch", "EXEC", "QUIT"];
    send(&mut client, &calls);
    let all = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(all.contains("+QUEUED\r\n*3\r\n%0\r\n%7\r\n"), "{all}");
    assert!(all.ends_with("%0\r\n+OK\r\n"), "{all}");
    let mut client = server.connect();
    send(&mut client, &["MULTI", "CLIENT REPLY OFF", "SET k v", "EXEC", "CLIENT REPLY ON"]);
    for expected in ["+OK", "+QUEUED", "+QUEUED", "+OK"] {
        assert_eq!(client.reply(), expected);
    }
    assert_eq!(call(&mut client, "GET k"), "v");
    send(&mut client, &["HELLO 3", "WATCH k", "SET k w", "MULTI", "GET k", "EXEC", "QUIT"]);
    let all = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(all.ends_with("+QUEUED\r\n_\r\n+OK\r\n"), "{all}");
}

#[test]
fn asynchronous_commands_run_between() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    send(
        &mut client,
        &[
            "MULTI",
            "INCR n",
            "CONFIG SET timeout 77",
            "INCR n",
            "CONFIG SET timeout x",
            "INCR n",
            "EXEC",
        ],
    );
    (0..6).for_each(|_| drop(client.reply()));
    let reply = client.reply();
    assert!(reply.starts_with("[:1, +OK, :2, -ERR CONFIG SET failed"), "{reply}");
    assert!(reply.ends_with(", :3]"), "{reply}");
    assert_eq!(call(&mut client, "CONFIG GET timeout"), "[timeout, 77]");
    // To list clients cannot be taken back, and sees the transaction's own client.
    send(&mut client, &["MULTI", "INCR n", "CLIENT LIST", "INCR n", "EXEC"]);
    (0..4).for_each(|_| drop(client.reply()));
    let reply = client.reply();
    assert!(reply.starts_with("[:4, id=") && reply.ends_with(", :5]"), "{reply}");
}

#[test]
fn what_is_queued_is_told_and_bounded() {
    let server = Server::start(&["--client-query-buffer-limit", "1mb"]);
    let (mut client, mut other) = (server.connect(), server.connect());
    call(&mut client, "CLIENT SETNAME queues");
    let described = |other: &mut Client, part: &str| {
        let list = call(other, "CLIENT LIST");
        let line = list.lines().find(|line| line.contains("name=queues")).unwrap_or_default();
        assert!(line.contains(part), "{part}: {line}");
        line.to_owned()
    };
    described(&mut other, " flags=N ");
    described(&mut other, " multi=-1 watch=0 ");
    call(&mut client, "WATCH a b a");
    call(&mut client, "MULTI");
    described(&mut other, " multi=0 watch=2 ");
    call(&mut client, "GET a");
    described(&mut other, " flags=x ");
    let line = described(&mut other, " multi=1 watch=2 ");
    assert!(!line.contains("multi-mem=0 "), "{line}");
    call(&mut client, "DISCARD");
    described(&mut other, " multi=-1 watch=0 ");
    described(&mut other, " multi-mem=0 ");
    call(&mut client, "MULTI");
    let value = "x".repeat(100_000);
    let many: Vec<u8> = (0..20).flat_map(|_| encode(&[b"SET", b"k", value.as_bytes()])).collect();
    client.send(&many);
    let replies = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(replies.matches("+QUEUED").count() < 20, "nothing bounds the queue");
    assert_eq!(call(&mut other, "EXISTS k"), ":0");
    // One request of that length is too much, whether it comes in parts or at once.
    let mut large = server.connect();
    large.send(&encode(&[b"SET", b"k", "x".repeat(1 << 20).as_bytes()]));
    assert!(large.rest().is_empty());
    assert_eq!(call(&mut other, "EXISTS k"), ":0");
}

#[test]
fn a_pause_of_writes_holds_back_transactions_that_write() {
    let server = Server::start(&[]);
    let (mut writes, mut reads, mut admin) = (server.connect(), server.connect(), server.connect());
    send(&mut writes, &["MULTI", "SET k v"]);
    assert_eq!((writes.reply(), writes.reply()), ("+OK".to_owned(), "+QUEUED".to_owned()));
    assert_eq!(call(&mut admin, "CLIENT PAUSE 100000 WRITE"), "+OK");
    send(&mut writes, &["EXEC"]);
    eventually("the transaction waits", || {
        call(&mut admin, "INFO clients").contains("blocked_clients:1\r\n")
    });
    send(&mut reads, &["MULTI", "GET k", "EXEC"]);
    assert_eq!(reads.reply(), "+OK");
    assert_eq!(reads.reply(), "+QUEUED");
    assert_eq!(reads.reply(), "[(nil)]");
    assert_eq!(call(&mut admin, "CLIENT UNPAUSE"), "+OK");
    assert_eq!(writes.reply(), "[+OK]");
}

#[test]
fn a_pause_of_all_holds_back_those_who_administrate() {
    let server = Server::start(&[]);
    let (mut admin, mut other) = (server.connect(), server.connect());
    assert_eq!(call(&mut admin, "CLIENT PAUSE 300 ALL"), "+OK");
    // The second pause comes when the first one is over, so it is not one of all.
    assert_eq!(call(&mut admin, "CLIENT PAUSE 100000 WRITE"), "+OK");
    assert_eq!(call(&mut other, "PING"), "+PONG");
    assert_eq!(call(&mut other, "CLIENT UNPAUSE"), "+OK");
    assert_eq!(call(&mut other, "SET k v"), "+OK");
}

#[test]
fn a_transaction_is_not_held_back_by_a_pause_of_its_own() {
    let server = Server::start(&[]);
    let (mut client, mut admin) = (server.connect(), server.connect());
    send(&mut client, &["MULTI", "SET a 1", "CLIENT PAUSE 100000 WRITE", "SET b 2", "EXEC"]);
    for expected in ["+OK", "+QUEUED", "+QUEUED", "+QUEUED", "[+OK, +OK, +OK]"] {
        assert_eq!(client.reply(), expected);
    }
    // It has begun: a further write waits, what was answered before does not.
    send(&mut client, &["PING", "SET c 3"]);
    assert_eq!(client.reply(), "+PONG");
    eventually("the write waits", || {
        call(&mut admin, "INFO clients").contains("blocked_clients:1\r\n")
    });
    assert_eq!(call(&mut admin, "CLIENT UNPAUSE"), "+OK");
    assert_eq!(client.reply(), "+OK");
    send(&mut client, &["MULTI", "CLIENT PAUSE 100000 ALL", "SET b 3", "CLIENT UNPAUSE", "EXEC"]);
    for expected in ["+OK", "+QUEUED", "+QUEUED", "+QUEUED", "[+OK, +OK, +OK]"] {
        assert_eq!(client.reply(), expected);
    }
}

#[test]
fn calls_inside_are_counted_and_logged_by_themselves() {
    let server = Server::start(&["--slowlog-log-slower-than", "0"]);
    let mut client = server.connect();
    call(&mut client, "CONFIG RESETSTAT");
    call(&mut client, "SLOWLOG RESET");
    send(&mut client, &["MULTI", "SET k v", "INCR k", "GET k", "EXEC"]);
    (0..5).for_each(|_| drop(client.reply()));
    let stats = call(&mut client, "INFO commandstats");
    for line in [
        "cmdstat_set:calls=1,",
        "cmdstat_get:calls=1,",
        "cmdstat_exec:calls=1,",
        "cmdstat_multi:calls=1,",
    ] {
        assert!(stats.contains(line), "{line} in {stats}");
    }
    let failed = stats.lines().find(|line| line.starts_with("cmdstat_incr:")).unwrap_or_default();
    assert!(failed.ends_with("rejected_calls=0,failed_calls=1"), "{failed}");
    let errors = call(&mut client, "INFO errorstats");
    assert!(errors.contains("errorstat_ERR:count=1"), "{errors}");
    let log = call(&mut client, "SLOWLOG GET 10");
    for word in ["[SET, k, v]", "[INCR, k]", "[GET, k]", "[MULTI]"] {
        assert!(log.contains(word), "{word} in {log}");
    }
    assert!(!log.contains("EXEC"), "{log}");
}

#[test]
fn what_would_wait_answers_at_once_and_reads_tell_wrong_types() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    send(&mut client, &["MULTI", "SET s v", "WAIT 1 0", "XREAD STREAMS s 0", "SET t w", "EXEC"]);
    for expected in ["+OK", "+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED"] {
        assert_eq!(client.reply(), expected);
    }
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    assert_eq!(client.reply(), format!("[+OK, :0, {wrong}, +OK]"));
    // Outside of a transaction it waits again.
    assert_eq!(call(&mut client, "WAIT 1 20"), ":0");
    assert_eq!(call(&mut client, "GET t"), "w");
}
