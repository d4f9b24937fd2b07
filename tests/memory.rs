//! One number bounds the process: what clients and commands hold stays within `maxmemory`.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use support::{Client, Server, encode, eventually, pause};

const MAXMEMORY: u64 = 128 << 20;
/// What the process may take at most, in bytes, beside the pages of its own program: a build for tests
/// is some 20 MB larger than others.
const PROCESS_MAX: u64 = MAXMEMORY + MAXMEMORY / 10;

fn start() -> Server {
    Server::start(&["--maxmemory", "128mb", "--appendfsync", "no", "--save", ""])
}

/// The most that the process has had resident, in bytes, but for the pages of its program.
fn peak_bytes(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.pid());
    let text = std::fs::read_to_string(path).expect("the process lives");
    let bytes = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).expect(name);
        let kilobytes = line.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok());
        kilobytes.map(|kilobytes: u64| kilobytes << 10).expect("a number")
    };
    bytes("VmHWM:") - bytes("RssFile:")
}

fn assert_bounded(server: &Server, what: &str) {
    let peak = peak_bytes(server);
    assert!(peak <= PROCESS_MAX, "{what}: {} MB", peak >> 20);
}

/// A number of `INFO`.
fn info(client: &mut Client, name: &str) -> u64 {
    let info = client.call(&["INFO", "everything"]);
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.trim().parse().ok()).expect(name)
}

/// Sends calls, a pipeline at a time; all have to succeed with a number.
fn fill(client: &mut Client, name: &str, elements: usize, words: impl Fn(usize) -> Vec<String>) {
    const PER_CALL: usize = 1000;
    for first in (0..elements).step_by(PER_CALL) {
        let mut call: Vec<Vec<u8>> = name.split(' ').map(|word| word.into()).collect();
        let numbers = first..first + PER_CALL;
        call.extend(numbers.flat_map(&words).map(String::into_bytes));
        let call: Vec<&[u8]> = call.iter().map(|word| &word[..]).collect();
        client.send(&encode(&call));
        let reply = client.reply();
        assert!(reply.starts_with(':'), "{reply}");
    }
}

/// Reads a reply of items to its end, in small parts with pauses at first; its bytes.
fn read_slowly(stream: &mut TcpStream, ends_with: &[u8], lines: usize) -> usize {
    let (mut bytes, mut seen) = (0, 0);
    let mut part = vec![0; 16 << 10];
    while seen < lines {
        let count = stream.read(&mut part).expect("the reply goes on");
        assert!(count > 0, "the reply broke off after {bytes} bytes and {seen} of {lines} lines");
        bytes += count;
        seen += memchr_count(&part[..count]);
        if bytes < 1 << 20 {
            pause();
        }
        if seen == lines {
            assert!(part[..count].ends_with(ends_with));
        }
    }
    bytes
}

fn memchr_count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

#[test]
fn many_long_replies_to_slow_readers_take_little_memory() {
    const ELEMENTS: usize = 50_000;
    let server = start();
    let mut client = server.connect();
    let text = |number: usize| format!("element:{number:08}:{}", "x".repeat(250));
    fill(&mut client, "RPUSH list", ELEMENTS, |number| vec![text(number)]);
    fill(&mut client, "SADD set", ELEMENTS, |number| vec![text(number)]);
    fill(&mut client, "HSET hash", ELEMENTS, |number| vec![text(number), number.to_string()]);
    fill(&mut client, "ZADD zset", ELEMENTS, |number| vec![number.to_string(), text(number)]);
    let calls: [(&[&str], usize); 5] = [
        (&["LRANGE", "list", "0", "-1"], 1),
        (&["SMEMBERS", "set"], 1),
        (&["HGETALL", "hash"], 2),
        (&["ZRANGE", "zset", "0", "-1", "WITHSCORES"], 2),
        (&["SUNION", "set", "set"], 1),
    ];
    // Else the replies would pin what is being flushed, and are closed where that is much.
    eventually("what was written is in tables", || info(&mut client, "sealed_memtables") == 0);
    let readers: Vec<_> = (0..15)
        .map(|number| {
            let (words, each) = calls[number % calls.len()];
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            let mut reader = server.connect();
            reader.send(&encode(&words));
            let mut stream = reader.sender();
            let lines = 1 + ELEMENTS * each * 2;
            std::thread::spawn(move || {
                let bytes = read_slowly(&mut stream, b"\r\n", lines);
                drop(reader);
                bytes
            })
        })
        .collect();
    eventually("replies are streamed", || info(&mut client, "replies_streamed") >= 15);
    assert!(info(&mut client, "used_memory_replies") < 8 << 20);
    for reader in readers {
        let bytes = reader.join().expect("a whole reply");
        assert!(bytes > ELEMENTS * 260, "{bytes}");
    }
    assert_bounded(&server, "long replies");
    eventually("nothing is held any more", || info(&mut client, "used_memory_replies") == 0);
}

#[test]
fn requests_that_have_arrived_in_part_are_bounded_together() {
    let server = start();
    let mut control = server.connect();
    let header = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", 4 << 20);
    let half = vec![b'v'; 2 << 20];
    let clients: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = server.connect().sender();
            // Whoever is closed meanwhile has sent enough.
            let sent = stream.write_all(header.as_bytes()).and_then(|()| stream.write_all(&half));
            drop(sent);
            stream
        })
        .collect();
    eventually("the clients are closed that hold too much", || {
        info(&mut control, "evicted_clients") > 150 && info(&mut control, "connected_clients") < 40
    });
    eventually("they are gone", || info(&mut control, "mem_clients_normal") <= 17 << 20);
    assert_bounded(&server, "half requests");
    drop(clients);
    eventually("all are gone", || info(&mut control, "connected_clients") == 1);
    assert!(info(&mut control, "mem_clients_normal") < 1 << 20);
}

#[test]
fn replies_that_nobody_reads_and_queues_of_transactions_are_bounded() {
    let server = start();
    let mut control = server.connect();
    let value = "v".repeat(10_000);
    assert_eq!(control.call(&["SET", "k", &value]), "+OK");
    let gets = encode(&[b"GET", b"k"]).repeat(10_000);
    let mut unread: Vec<TcpStream> = (0..20).map(|_| server.connect().sender()).collect();
    for stream in &mut unread {
        stream.set_nonblocking(true).expect("a socket");
        // The server stops to read where its replies are not read.
        let mut sent = 0;
        while let Ok(count @ 1..) = stream.write(&gets[sent..]) {
            sent += count;
        }
    }
    let big = vec![b'x'; 1 << 20];
    let set = encode(&[b"SET", b"q", &big]);
    let queues: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = server.connect().sender();
            drop(stream.write_all(&encode(&[b"MULTI"])));
            for _ in 0..10 {
                if stream.write_all(&set).is_err() {
                    break;
                }
            }
            stream
        })
        .collect();
    eventually("queues are bounded", || info(&mut control, "evicted_clients") >= 5);
    eventually("they are gone", || info(&mut control, "mem_clients_normal") <= 18 << 20);
    assert_bounded(&server, "pipelines and queues");
    drop((unread, queues));
}

#[test]
fn a_command_that_takes_too_much_is_refused_and_costs_nobody_anything() {
    let server = start();
    let mut client = server.connect();
    let text = |number: usize| format!("element:{number:08}:{}", "x".repeat(900));
    for set in ["a", "b"] {
        fill(&mut client, &format!("SADD {set}"), 20_000, |n| vec![format!("{set}{}", text(n))]);
    }
    const OOM: &str =
        "-OOM command not allowed: it takes more memory than 'maxmemory' leaves to commands";
    assert_eq!(client.call(&["SUNIONSTORE", "c", "a", "b"]), OOM);
    assert_eq!(client.call(&["COPY", "a", "c"]), OOM);
    assert_eq!(client.call(&["ZUNION", "2", "a", "b"]), OOM);
    assert_eq!(client.call(&["SORT_RO", "a", "ALPHA"]), OOM);
    assert_eq!(client.call(&["DUMP", "a"]), OOM);
    assert_eq!(client.call(&["SRANDMEMBER", "a", "-100000"]), OOM);
    let refused = client.call(&["EVAL", "return redis.call('SMEMBERS', 'a')", "0"]);
    assert!(refused.starts_with("-OOM "), "{refused}");
    assert_eq!(client.call(&["EXISTS", "c"]), ":0");
    assert_eq!(client.call(&["SCARD", "a"]), ":20000");
    assert_bounded(&server, "refused commands");
    assert_eq!(info(&mut client, "used_memory_working_sets"), 0);
    assert_eq!(info(&mut client, "used_memory_transactions"), 0);
}

#[test]
fn the_largest_clients_are_closed_first_and_some_are_exempt() {
    let server = start();
    let mut control = server.connect();
    assert_eq!(control.call(&["CLIENT", "NO-EVICT", "ON"]), "+OK");
    assert_eq!(control.call(&["CONFIG", "SET", "maxmemory-clients", "100mb"]), "+OK");
    let sizes = [128 << 10, 1 << 20, 3 << 20];
    let mut clients = Vec::new();
    for (number, size) in sizes.into_iter().cycle().take(9).enumerate() {
        let mut client = server.connect();
        assert_eq!(client.call(&["CLIENT", "SETNAME", &format!("size{}", number % 3)]), "+OK");
        let text = vec![b'v'; size];
        client.send(format!("*2\r\n${size}\r\n").as_bytes());
        client.send(&text);
        clients.push(client);
    }
    let alive = |control: &mut Client, name: &str| {
        let list = control.call(&["CLIENT", "LIST"]);
        list.lines().filter(|line| line.contains(&format!(" name={name} "))).count()
    };
    let total = |control: &mut Client| -> u64 {
        let list = control.call(&["CLIENT", "LIST"]);
        let bytes = |line: &str| {
            let word = line.split(' ').find_map(|word| word.strip_prefix("qbuf="));
            word.and_then(|word| word.parse::<u64>().ok()).expect("a number")
        };
        list.lines().filter(|line| !line.is_empty()).map(bytes).sum()
    };
    eventually("all has arrived", || total(&mut control) >= 3 * sizes.iter().sum::<usize>() as u64);
    // Without the three largest, then without the three in the middle.
    for (bytes, expected) in [("5000000", [3, 3, 0]), ("1000000", [3, 0, 0])] {
        assert_eq!(control.call(&["CONFIG", "SET", "maxmemory-clients", bytes]), "+OK");
        eventually("the largest are closed", || {
            [0, 1, 2].map(|size| alive(&mut control, &format!("size{size}"))) == expected
        });
    }
    assert_eq!(info(&mut control, "evicted_clients"), 6);
    assert_eq!(control.call(&["CONFIG", "SET", "maxmemory-clients", "1"]), "+OK");
    eventually("only the exempt one is left", || info(&mut control, "connected_clients") == 1);
    assert_eq!(control.call(&["CONFIG", "SET", "maxmemory-clients", "7%"]), "+OK");
    assert_eq!(info(&mut control, "maxmemory_clients"), MAXMEMORY / 100 * 7);
}

/// What was read stays where it was read to until it is done; only the bytes of the requests count.
#[test]
fn small_requests_of_many_clients_that_wait_close_nobody() {
    const CLIENTS: usize = 400;
    let server = start();
    let (mut control, mut busy) = (server.connect(), server.connect());
    assert_eq!(control.call(&["CONFIG", "SET", "maxmemory-clients", "3mb"]), "+OK");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| server.connect()).collect();
    assert_eq!(busy.call(&["SET", "held", "0"]), "+OK");
    // While it runs nobody else writes.
    let script = "for i = 1, 20000000 do end return redis.call('incr', 'held')";
    busy.send(&encode(&[b"EVAL", script.as_bytes(), b"1", b"held"]));
    for (number, client) in clients.iter_mut().enumerate() {
        let key = format!("key:{number}");
        client.send(&encode(&[b"SET", key.as_bytes(), b"value"]));
    }
    assert_eq!(busy.reply(), ":1");
    assert!(clients.iter_mut().all(|client| client.reply() == "+OK"));
    assert_eq!(info(&mut control, "evicted_clients"), 0);
    assert_bounded(&server, "waiting clients");
}

#[test]
fn long_strings_are_sent_in_parts() {
    let server = start();
    let mut client = server.connect();
    let mut value = String::new();
    for number in 0..100_000 {
        value.push_str(&format!("{number:010}"));
    }
    assert_eq!(client.call(&["SET", "k", &value]), "+OK");
    assert_eq!(client.call(&["GET", "k"]), value);
    assert_eq!(client.call(&["GETRANGE", "k", "17", "900016"]), value[17..900_017]);
    assert_eq!(client.call(&["MGET", "k", "none", "k"]), format!("[{value}, (nil), {value}]"));
    assert_eq!(client.call(&["SET", "k", &value, "GET"]), value);
    client.send(&[encode(&[b"CLIENT", b"REPLY", b"SKIP"]), encode(&[b"GET", b"k"])].concat());
    assert_eq!(client.call(&["STRLEN", "k"]), format!(":{}", value.len()));
    assert!(info(&mut client, "replies_streamed") >= 4);
}

/// The words of a call as bytes.
fn call(client: &mut Client, words: &[&[u8]]) -> String {
    client.send(&encode(words));
    client.reply()
}

#[test]
fn large_payloads_are_read_beside_the_connection() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    let text = |number: usize| format!("element:{number:08}:{}", "x".repeat(20));
    const ELEMENTS: usize = 5000;
    fill(&mut client, "RPUSH list", ELEMENTS, |number| vec![text(number)]);
    fill(&mut client, "SADD set", ELEMENTS, |number| vec![text(number)]);
    fill(&mut client, "HSET hash", ELEMENTS, |number| vec![text(number), number.to_string()]);
    fill(&mut client, "ZADD zset", ELEMENTS, |number| vec![number.to_string(), text(number)]);
    for number in 0..ELEMENTS {
        client.send(&encode(&[b"XADD", b"stream", b"*", b"f", text(number).as_bytes()]));
    }
    (0..ELEMENTS).for_each(|_| drop(client.reply()));
    assert_eq!(client.call(&["XGROUP", "CREATE", "stream", "g", "0"]), "+OK");
    assert_eq!(client.call(&["SET", "string", &"y".repeat(200_000)]), "+OK");
    for key in ["list", "set", "hash", "zset", "stream", "string"] {
        let mut raw = support::Connection::open(server.port).expect("the server listens");
        let dumped = raw.call(&[b"DUMP", key.as_bytes()]).expect("a payload");
        let support::Reply::Bulk(Some(payload)) = dumped else { panic!("{key}: {dumped}") };
        assert!(payload.len() > 64 << 10, "{key}: {}", payload.len());
        let restored = format!("{key}:again").into_bytes();
        let digest = |client: &mut Client, key: &[u8]| call(client, &[b"DUMP", key]).len();
        assert_eq!(call(&mut client, &[b"RESTORE", &restored, b"0", &payload]), "+OK", "{key}");
        let busy = "-BUSYKEY Target key name already exists.";
        assert_eq!(call(&mut client, &[b"RESTORE", &restored, b"0", &payload]), busy);
        let replaced = [&b"RESTORE"[..], &restored, b"100000", &payload, b"REPLACE"];
        assert_eq!(call(&mut client, &replaced), "+OK", "{key}");
        assert_eq!(digest(&mut client, &restored), digest(&mut client, key.as_bytes()), "{key}");
        let mut damaged = payload.clone();
        damaged[1000] ^= 1;
        let wrong = "-ERR DUMP payload version or checksum are wrong";
        assert_eq!(call(&mut client, &[b"RESTORE", b"none", b"0", &damaged]), wrong);
        // In a transaction it is read where it is written.
        assert_eq!(client.call(&["MULTI"]), "+OK");
        assert_eq!(call(&mut client, &[b"RESTORE", b"multi", b"0", &payload]), "+QUEUED");
        assert_eq!(client.call(&["EXEC"]), "[+OK]");
        assert_eq!(client.call(&["DEL", "multi"]), ":1");
        // A database that is another one when the value is put down.
        let mut other = server.connect();
        assert_eq!(other.call(&["SELECT", "1"]), "+OK");
        assert_eq!(call(&mut other, &[b"RESTORE", b"k", b"0", &payload]), "+OK");
        assert_eq!(other.call(&["SWAPDB", "1", "2"]), "+OK");
        let swapped =
            [encode(&[b"SWAPDB", b"1", b"2"]), encode(&[b"RESTORE", b"k", b"0", &payload])]
                .concat();
        other.send(&swapped);
        assert_eq!((other.reply(), other.reply()), ("+OK".into(), busy.into()), "{key}");
        assert_eq!(other.call(&["DEL", "k"]), ":1");
    }
    client.send(&encode(&[b"SHUTDOWN"]));
    assert!(server.wait().success());
    server.restart();
    let mut client = server.connect();
    assert_eq!(client.call(&["LLEN", "list:again"]), ":5000");
    assert_eq!(client.call(&["ZCARD", "zset:again"]), ":5000");
    assert_eq!(client.call(&["STRLEN", "string:again"]), ":200000");
}

#[test]
fn a_long_argument_takes_no_more_room_than_it_needs() {
    let server = Server::start(&["--maxmemory", "256mb", "--maxmemory-clients", "20mb"]);
    let mut client = server.connect();
    let value = "v".repeat(15 << 20);
    for _ in 0..3 {
        assert_eq!(client.call(&["SET", "key", &value]), "+OK");
    }
    assert_eq!(client.call(&["STRLEN", "key"]), format!(":{}", value.len()));
}

/// What does not fit beside the others is not read until these are through.
#[test]
fn large_values_of_several_clients_come_in_turn() {
    const VALUE: usize = 8 << 20;
    let server = Server::start(&["--maxmemory", "64mb", "--appendfsync", "no"]);
    let mut control = server.connect();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let mut client = server.connect();
            scope.spawn(move || {
                let (key, value) = (format!("k{number}"), vec![b'v'; VALUE]);
                for _ in 0..3 {
                    assert_eq!(call(&mut client, &[b"SET", key.as_bytes(), &value]), "+OK");
                }
            });
        }
    });
    assert_eq!(info(&mut control, "evicted_clients"), 0);
    assert_eq!(info(&mut control, "rejected_connections"), 0);
    for number in 0..8 {
        assert_eq!(control.call(&["STRLEN", &format!("k{number}")]), format!(":{VALUE}"));
    }
    // On its way a value stands in the request, in the log and in a memtable: of several, more than the
    // budget, but not all of the 192 MB that were sent.
    let peak = peak_bytes(&server);
    assert!(peak <= 3 * (64 << 20), "{} MB", peak >> 20);
}

/// Nobody is closed for what can be refused.
#[test]
fn a_request_that_takes_more_than_clients_may_hold_is_refused() {
    let server = Server::start(&["--maxmemory", "64mb", "--appendfsync", "no"]);
    let mut client = server.connect();
    let value = vec![b'v'; 40 << 20];
    let oom = "-OOM command not allowed";
    assert!(call(&mut client, &[b"SET", b"k", &value]).starts_with(oom));
    assert!(call(&mut client, &[b"MSET", b"a", &value, b"b", &value]).starts_with(oom));
    // As a whole it does not fit, though its first argument does.
    let part = vec![b'v'; 9 << 20];
    assert!(call(&mut client, &[b"MSET", b"a", &part, b"b", &part]).starts_with(oom));
    assert_eq!(client.call(&["MULTI"]), "+OK");
    assert!(call(&mut client, &[b"SET", b"k", &value]).starts_with(oom));
    assert!(client.call(&["EXEC"]).starts_with("-EXECABORT"));
    assert_eq!(client.call(&["EXISTS", "k", "a", "b"]), ":0");
    assert_eq!(info(&mut client, "evicted_clients"), 0);
    assert!(client.call(&["INFO", "errorstats"]).contains("errorstat_OOM:count=4"));
    let peak = peak_bytes(&server);
    assert!(peak <= (64 << 20) / 10 * 13, "{} MB", peak >> 20);
}

/// A call with so many pairs of a key and a value of so many bytes.
fn mset(pairs: usize, bytes: usize) -> Vec<u8> {
    let value = vec![b'v'; bytes];
    let keys: Vec<String> = (0..pairs).map(|number| format!("key:{number}")).collect();
    let pairs = keys.iter().flat_map(|key| [key.as_bytes(), &value]);
    encode(&std::iter::once(&b"MSET"[..]).chain(pairs).collect::<Vec<_>>())
}

#[test]
fn a_request_of_many_arguments_that_is_too_large_is_refused_and_costs_nobody_anything() {
    let server = Server::start(&["--maxmemory", "64mb", "--appendfsync", "no", "--save", ""]);
    let mut client = server.connect();
    for (pairs, bytes, is_taken) in
        [(13, 1 << 20, true), (40, 1 << 20, false), (200_000, 80, false), (7, 1 << 20, true)]
    {
        client.send(&mset(pairs, bytes));
        let reply = client.reply();
        assert_eq!(reply == "+OK", is_taken, "{pairs} of {bytes} bytes: {reply}");
        assert!(is_taken || reply.starts_with("-OOM "), "{reply}");
    }
    assert_eq!(client.call(&["DBSIZE"]), ":13");
    assert_eq!(info(&mut client, "evicted_clients"), 0);
}

#[test]
fn who_waits_to_send_a_long_argument_gets_its_messages_meanwhile() {
    let server = Server::start(&["--maxmemory", "64mb", "--appendfsync", "no", "--save", ""]);
    let (mut control, mut subscriber) = (server.connect(), server.connect());
    let start = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", 14 << 20);
    let start = [start.into_bytes(), vec![b'v'; 400 << 10]].concat();
    // Each is let in for a second, one behind the other.
    let ahead: Vec<_> = (0..6)
        .map(|_| {
            let (mut stream, start) = (server.connect().sender(), start.clone());
            std::thread::spawn(move || stream.write_all(&start).map(|()| stream))
        })
        .collect();
    assert_eq!(subscriber.call(&["CLIENT", "SETNAME", "listens"]), "+OK");
    assert_eq!(subscriber.call(&["SUBSCRIBE", "channel"]), "[subscribe, channel, :1]");
    let mut stream = subscriber.sender();
    let sending = std::thread::spawn(move || stream.write_all(&start));
    let mut arrived = || {
        let list = control.call(&["CLIENT", "LIST"]);
        let line = list.lines().find(|line| line.contains("name=listens")).expect("it is there");
        let bytes = line.split(' ').find_map(|word| word.strip_prefix("qbuf="));
        bytes.and_then(|bytes| bytes.parse::<usize>().ok()).expect("a number")
    };
    eventually("it waits in line", || arrived() > 64 << 10);
    let mut publisher = server.connect();
    assert_eq!(publisher.call(&["PUBLISH", "channel", "hello"]), ":1");
    assert_eq!(subscriber.reply(), "[message, channel, hello]");
    assert!(arrived() < 200 << 10, "it is no more in line");
    drop(subscriber);
    drop(sending.join());
    ahead.into_iter().for_each(|sending| drop(sending.join()));
}

#[test]
fn a_small_budget_is_kept_within_twice_itself_while_large_values_are_written() {
    let server = Server::start(&["--maxmemory", "64mb", "--appendfsync", "no", "--save", ""]);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let mut client = server.connect();
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(number);
                // They do not compress, so that there is much to compact.
                let value: Vec<u8> =
                    std::iter::repeat_with(|| random.u8(..)).take(1 << 20).collect();
                for _ in 0..100 {
                    let key = format!("key:{}", random.u8(..40));
                    client.send(&encode(&[b"SET", key.as_bytes(), &value]));
                    assert_eq!(client.reply(), "+OK");
                }
            });
        }
    });
    let peak = peak_bytes(&server);
    assert!(peak <= 2 * (64 << 20), "{} MB", peak >> 20);
}
