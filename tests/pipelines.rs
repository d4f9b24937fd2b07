//! Pipelines of all kinds of calls: replies and effects are those of the same calls one at a time.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

mod support;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use support::{Client, Server, encode};

/// Twelve of these are more than a group of calls may answer at once.
const LARGE_BYTES: usize = 2 << 20;

fn words_of(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// A long reply by its length and its end.
fn shown(reply: String) -> String {
    match reply.len() {
        0..200 => reply,
        len => format!("{len} bytes, {}", &reply[len - 20..]),
    }
}

/// A call, or several of a transaction.
fn draw(random: &mut fastrand::Rng, lines: &mut Vec<String>) {
    let key = random.u8(0..6);
    let line = match random.u8(0..20) {
        0..3 => format!("SET k{key} {}", random.u16(..)),
        3..5 => format!("GET k{key}"),
        5 => format!("APPEND k{key} x"),
        6 => format!("INCRBY n{key} 3"),
        7 if random.u8(0..6) == 0 => {
            // More than a group of calls may answer at once: the writer gives the rest back.
            lines.push(format!("SET k{key} before"));
            lines.extend(std::iter::repeat_n("GET large".to_owned(), 12));
            lines.push("INCR n1".to_owned());
            "EVAL return(redis.call('incr',KEYS[1])) 1 n1".to_owned()
        }
        7 => "GET large".to_owned(),
        8 => format!("LPUSH l{key} a b"),
        9 => format!("LRANGE l{key} 0 3"),
        10 => format!("SELECT {}", random.u8(0..2)),
        11 => "PING".to_owned(),
        12 => format!("INCR l{key}"),
        13 => "EVAL return(redis.call('incr',KEYS[1])) 1 n1".to_owned(),
        14 => format!("EVAL return(redis.call('append',KEYS[1],'y')) 1 k{key}"),
        // The script of the call before the last, which the pipeline itself may bring.
        15 => format!("EVALSHA 5f811b105a9ad7503344aa556f20a7314b30f5d0 1 k{key}"),
        16 => "EVAL_RO return(redis.call('get',KEYS[1])) 1 k1".to_owned(),
        17 => match random.u8(0..8) {
            0 => "NOSUCH".to_owned(),
            1 => "INCR".to_owned(),
            2 => format!("MOVE k{key} 1"),
            3 => format!("COPY k{key} n2 DB 1 REPLACE"),
            4 => format!("RENAME k{key} n3"),
            5 => format!("SET k{key} 7 PX 1000000"),
            6 => format!("INCR k{key}"),
            _ => "DBSIZE".to_owned(),
        },
        _ => {
            lines.push("MULTI".to_owned());
            for _ in 0..random.u8(0..4) {
                lines.push(match random.u8(0..5) {
                    0 => format!("SET k{key} t"),
                    1 => format!("GET k{key}"),
                    2 => "SELECT 1".to_owned(),
                    3 => format!("LPOP l{key}"),
                    _ => "INCR n1".to_owned(),
                });
            }
            "EXEC".to_owned()
        }
    };
    lines.push(line);
}

fn one_at_a_time(client: &mut Client, lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| shown(client.call(&words_of(line)))).collect()
}

fn at_once(client: &mut Client, lines: &[String]) -> Vec<String> {
    let mut bytes = Vec::new();
    for line in lines {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        bytes.extend(encode(&words));
    }
    let mut sender = client.sender();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut sender, &bytes));
        lines.iter().map(|_| shown(client.reply())).collect()
    })
}

fn check(fsync: &str, seeds: std::ops::Range<u64>) {
    let server = Server::start(&["--appendfsync", fsync]);
    let other = Server::start(&["--appendfsync", "no"]);
    let (mut client, mut model) = (server.connect(), other.connect());
    for seed in seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let large = "v".repeat(LARGE_BYTES);
        for client in [&mut client, &mut model] {
            assert_eq!(client.call(&["FLUSHALL"]), "+OK");
            assert_eq!(client.call(&["SCRIPT", "FLUSH"]), "+OK");
            assert_eq!(client.call(&["SELECT", "0"]), "+OK");
            assert_eq!(client.call(&["SET", "large", &large]), "+OK");
        }
        let mut lines = Vec::new();
        (0..random.u16(20..300)).for_each(|_| draw(&mut random, &mut lines));
        lines.extend(["DISCARD".to_owned(), "SELECT 0".to_owned(), "DEBUG DIGEST".to_owned()]);
        let (ours, theirs) = (at_once(&mut client, &lines), one_at_a_time(&mut model, &lines));
        for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let mut told = String::new();
            for line in &lines[number.saturating_sub(5)..=number] {
                writeln!(told, "{line}").unwrap();
            }
            assert_eq!(ours, theirs, "seed {seed}, call {number}, behind:\n{told}");
        }
    }
}

#[test]
fn a_pipeline_answers_what_its_calls_answer_one_at_a_time() {
    check("always", 0..12);
    check("everysec", 12..24);
}

/// The writer gives the rest of a group back that has answered much. What comes behind it, in a message
/// of its own, must wait for that.
#[test]
fn nothing_overtakes_the_rest_of_a_group() {
    let server = Server::start(&["--appendfsync", "everysec"]);
    let mut client = server.connect();
    assert_eq!(client.call(&["SET", "large", &"v".repeat(LARGE_BYTES)]), "+OK");
    let mut lines = vec!["SET k 1".to_owned()];
    lines.extend(std::iter::repeat_n("GET large".to_owned(), 12));
    lines.push("INCR n".to_owned());
    lines.push("EVAL return(redis.call('incr',KEYS[1])) 1 n".to_owned());
    lines.extend(["MULTI", "INCR n", "EXEC", "INCR n"].map(str::to_owned));
    let replies = at_once(&mut client, &lines);
    assert_eq!(replies[13..], [":1", ":2", "+OK", "+QUEUED", "[:3]", ":4"]);
}

/// Behind what brings a script, calls of it are what they are alone.
#[test]
fn a_transaction_calls_the_script_that_its_pipeline_brings() {
    let server = Server::start(&["--appendfsync", "everysec"]);
    let mut client = server.connect();
    let call = "1 k y".to_owned();
    let mut lines =
        vec![format!("EVAL return(redis.call('append',KEYS[1],'y')) {call}"), "MULTI".to_owned()];
    lines.push(format!("EVALSHA 5f811b105a9ad7503344aa556f20a7314b30f5d0 {call}"));
    lines.push("EXEC".to_owned());
    lines.push(format!("EVALSHA 5f811b105a9ad7503344aa556f20a7314b30f5d0 {call}"));
    let replies = at_once(&mut client, &lines);
    assert_eq!(replies, [":1", "+OK", "+QUEUED", "[:2]", ":3"]);
}

/// Programs whose replies are many by now wait for the peer to take these.
#[test]
fn replies_of_programs_do_not_pile_up() {
    const CALLS: usize = 200;
    let server = Server::start(&["--appendfsync", "no", "--maxmemory", "128mb"]);
    let mut client = server.connect();
    assert_eq!(client.call(&["SET", "large", &"v".repeat(LARGE_BYTES)]), "+OK");
    let script = "EVAL return(redis.call('get',KEYS[1])) 1 large".to_owned();
    let lines = vec![script; CALLS];
    let peak = |client: &mut Client| -> u64 {
        let info = client.call(&["INFO", "memory"]);
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory_peak:"));
        line.unwrap().trim().parse().unwrap()
    };
    let mut bytes = Vec::new();
    for line in &lines {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        bytes.extend(encode(&words));
    }
    client.send(&bytes);
    let mut other = server.connect();
    // Taken after a while only.
    support::eventually("some have run", || {
        let info = other.call(&["INFO", "commandstats"]);
        info.lines().any(|line| line.starts_with("cmdstat_eval"))
    });
    for _ in 0..CALLS {
        assert_eq!(client.reply().len(), LARGE_BYTES);
    }
    let most = peak(&mut other) >> 20;
    assert!(most < 120, "{most} MB");
}

/// Each of these would wait for a sync of its own, were they not under way together.
#[test]
fn programs_of_one_pipeline_share_the_batches_of_the_log() {
    let server = Server::start(&["--appendfsync", "always"]);
    let mut client = server.connect();
    let script = "EVAL return(redis.call('incr',KEYS[1])) 1 n".to_owned();
    let mut lines = Vec::new();
    for _ in 0..100 {
        lines.push(script.clone());
        lines.extend(["MULTI", "INCR n", "EXEC", "INCR n"].map(str::to_owned));
    }
    let before = syncs(&mut client);
    let replies = at_once(&mut client, &lines);
    assert_eq!(replies.last().unwrap(), ":300");
    assert_eq!(replies[3], "[:2]");
    let made = syncs(&mut client) - before;
    assert!(made <= 30, "{made} syncs for 300 writes of one pipeline");
}

fn syncs(client: &mut Client) -> u64 {
    let info = client.call(&["INFO", "all"]);
    let line = info.lines().find_map(|line| line.strip_prefix("wal_syncs:"));
    line.expect("INFO tells of syncs").trim().parse().unwrap()
}

/// Sends more than the sockets hold before it reads, and looks at what is echoed.
fn sends_all_before_it_reads<S: Read + Write>(client: &mut Client<S>) {
    const CALLS: usize = 1000;
    let call = |number: usize| {
        let mut bytes = vec![b'x'; 32 << 10];
        bytes[..4].copy_from_slice(format!("{number:04}").as_bytes());
        bytes
    };
    client.send(&encode(&[b"SET", b"n", b"0"]));
    for number in 0..CALLS {
        client.send(&encode(&[b"ECHO", &call(number)]));
    }
    client.send(&encode(&[b"INCR", b"n"]));
    assert_eq!(client.reply(), "+OK");
    for number in 0..CALLS {
        assert!(client.reply().as_bytes() == call(number), "echo {number}");
    }
    assert_eq!(client.reply(), ":1");
    assert_eq!(client.call(&["GET", "n"]), "1");
}

#[test]
fn who_sends_all_before_reading_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let server = Server::start(&["--unixsocket", path.to_str().unwrap()]);
    sends_all_before_it_reads(&mut server.connect());
    sends_all_before_it_reads(&mut Client::over(UnixStream::connect(path).unwrap()));
}

#[test]
fn what_is_kept_of_who_never_reads_is_bounded() {
    const ECHO_BYTES: usize = 32 << 10;
    let server = Server::start(&["--maxmemory-clients", "4mb"]);
    let mut plain = server.connect();
    let mut silent = server.connect();
    let id = silent.call(&["CLIENT", "ID"]).trim_start_matches(':').to_owned();
    let call = encode(&[b"ECHO", &[b'x'; ECHO_BYTES]]);
    let mut sender = silent.sender();
    let mut sent = 0;
    let mut send = || {
        sender.set_nonblocking(true).unwrap();
        while let Ok(count) = sender.write(&call[sent % call.len()..]) {
            sent += count;
        }
        sender.set_nonblocking(false).unwrap();
        sent / call.len()
    };
    let mut held = || {
        let list = plain.call(&["CLIENT", "LIST", "ID", &id]);
        let word = list.split(' ').find_map(|word| word.strip_prefix("tot-mem="));
        word.expect("it is still there").parse::<usize>().unwrap()
    };
    support::eventually("requests are read ahead", || {
        send();
        held() > 1 << 20
    });
    for _ in 0..40 {
        send();
        support::pause();
    }
    let calls = send();
    assert!(held() < 4 << 20, "{}", held());
    for _ in 0..calls {
        assert_eq!(silent.reply().len(), ECHO_BYTES);
    }
}

/// What is done of a command before its transaction, or again, is part of its time.
#[test]
fn statistics_count_what_a_command_does_before_its_transaction() {
    let server = Server::start(&["--appendfsync", "no"]);
    let mut client = server.connect();
    let fill =
        "for i = 1, 30000 do redis.call('SADD', KEYS[1], i) redis.call('SADD', KEYS[2], -i) end";
    assert_eq!(client.call(&["EVAL", fill, "2", "a", "b"]), "(nil)");
    // Nothing is in both: all that the command does is read, before a transaction that writes nothing.
    assert_eq!(client.call(&["SINTERSTORE", "c", "a", "b"]), ":0");
    let stats = client.call(&["INFO", "commandstats"]);
    let line = stats.lines().find(|line| line.starts_with("cmdstat_sinterstore")).expect("it ran");
    let usec = line.split("usec=").nth(1).and_then(|rest| rest.split(',').next()).expect("there");
    let counted: u128 = usec.parse().expect("a number");
    // 30,000 members are looked up, which no machine does in less.
    assert!(counted > 2_000, "{counted} microseconds");
}

#[test]
fn calls_of_many_connections_that_run_together_are_each_their_own() {
    let (server, other) = (Server::start(&[]), Server::start(&["--appendfsync", "no"]));
    // Each in a database of its own, so that the order among them does not show.
    let is_alone = |line: &String| {
        let elsewhere = ["SELECT", "MOVE", "COPY", "EVALSHA"];
        !elsewhere.contains(&words_of(line)[0])
    };
    std::thread::scope(|scope| {
        for db in 0..12_u8 {
            let (mut client, mut model) = (server.connect(), other.connect());
            scope.spawn(move || {
                for client in [&mut client, &mut model] {
                    assert_eq!(client.call(&["SELECT", &db.to_string()]), "+OK");
                }
                let mut random = fastrand::Rng::with_seed(db.into());
                for _ in 0..80 {
                    let mut lines = Vec::new();
                    for _ in 0..random.u8(1..4) {
                        draw(&mut random, &mut lines);
                    }
                    lines.retain(is_alone);
                    let wanted = one_at_a_time(&mut model, &lines);
                    assert_eq!(at_once(&mut client, &lines), wanted, "{db}: {lines:?}");
                }
            });
        }
    });
}
