//! The metrics endpoint: what it answers is well-formed, and says what `INFO` says.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;

use support::{Client, Server, encode, eventually, free_port, socket};

/// A server with metrics, and their port.
fn start() -> (Server, u16) {
    let port = free_port();
    (Server::start(&["--metrics-port", &port.to_string()]), port)
}

/// Sends a request; head and body of the answer.
fn request(port: u16, text: &str) -> (String, String) {
    let mut stream = socket(port).expect("somebody listens");
    stream.write_all(text.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and the end");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

fn get(port: u16) -> String {
    let (head, body) = request(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    body
}

/// A line of values: name, labels, value.
type Sample = (String, Vec<(String, String)>, f64);

/// A metric with everything that stands below its name.
#[derive(Default)]
struct Family {
    kind: String,
    samples: Vec<Sample>,
}

/// Reads a text of OpenMetrics 1.0; panics where it is not one.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("ends in the mark of the end");
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(is_name(name) && !help.is_empty(), "{line}");
            let before = families.insert(name.to_owned(), Family::default());
            assert!(before.is_none(), "{name} stands twice");
            current = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram", "info"].contains(&kind), "{line}");
            let family = families.get_mut(name).filter(|_| name == current).expect("its help");
            assert!(family.kind.is_empty() && family.samples.is_empty(), "{line}");
            family.kind = kind.to_owned();
        } else {
            let sample = sample(line);
            let family = families.get_mut(&current).expect("a type before");
            let endings: &[&str] = match &family.kind[..] {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                "info" => &["_info"],
                _ => &[""],
            };
            let ending = sample.0.strip_prefix(&current[..]).expect("of the metric above");
            assert!(endings.contains(&ending), "{line}");
            assert!(ending.is_empty() || sample.2 >= 0.0, "{line}");
            family.samples.push(sample);
        }
    }
    for (name, family) in &families {
        let same = family.samples.iter().map(|(name, labels, _)| (name, labels));
        assert_eq!(same.collect::<BTreeSet<_>>().len(), family.samples.len(), "{name} repeats");
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    families
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a value");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, behind) = rest.split_once("=\"").expect("a label");
            assert!(is_name(key), "{line}");
            let (value, behind) = label_value(behind);
            labels.push((key.to_owned(), value));
            rest = behind.strip_prefix(',').unwrap_or(behind);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').expect("one blank");
    assert!(!value.is_empty() && !value.contains(' '), "{line}");
    (name.to_owned(), labels, value.parse().expect("a number"))
}

/// A value with its escapes undone, and what follows the quote.
fn label_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => match chars.next().expect("an escape").1 {
                'n' => value.push('\n'),
                c @ ('\\' | '"') => value.push(c),
                c => panic!("no escape: {c}"),
            },
            c => value.push(c),
        }
    }
    panic!("no end: {text}");
}

/// Buckets ascend, end in the whole, and each set of labels has all three kinds of lines.
fn check_histogram(name: &str, family: &Family) {
    let mut sets: BTreeMap<Vec<(String, String)>, Vec<&Sample>> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.1.clone();
        labels.retain(|(key, _)| key != "le");
        sets.entry(labels).or_default().push(sample);
    }
    for (labels, samples) in sets {
        let of = |ending: &str| {
            let name = format!("{name}{ending}");
            samples.iter().filter(|s| s.0 == name).copied().collect::<Vec<_>>()
        };
        let ([count], [_sum]) = (&of("_count")[..], &of("_sum")[..]) else { panic!("{labels:?}") };
        let bound = |sample: &Sample| {
            let le = sample.1.iter().find(|(key, _)| key == "le").expect("a bound");
            if le.1 == "+Inf" { f64::INFINITY } else { le.1.parse().expect("a number") }
        };
        let buckets: Vec<(f64, f64)> = of("_bucket").iter().map(|s| (bound(s), s.2)).collect();
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name} {labels:?}");
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, count.2)), "{name} {labels:?}");
    }
}

/// The value of a sample with this label, or with none.
fn value(families: &BTreeMap<String, Family>, name: &str, label: &str) -> f64 {
    let mut samples = families.values().flat_map(|family| &family.samples);
    let found = samples.find(|(sample, labels, _)| {
        sample == name && labels.first().map_or("", |(_, value)| value) == label
    });
    found.unwrap_or_else(|| panic!("no {name} of '{label}'")).2
}

/// A field of `INFO`, or an item of it behind a dot.
fn field(info: &str, name: &str) -> f64 {
    let (name, item) = name.split_once('.').unwrap_or((name, ""));
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let mut line = line.unwrap_or_else(|| panic!("no {name}")).to_owned();
    if !item.is_empty() {
        let found = line.split(',').find_map(|part| part.strip_prefix(item)?.strip_prefix('='));
        line = found.unwrap_or_else(|| panic!("no {item} in {line}")).to_owned();
    }
    line.parse().expect("a number")
}

#[test]
fn metrics_are_well_formed_and_those_of_info() {
    let (server, port) = start();
    let mut client = server.connect();
    for number in 0..100 {
        client.call(&["SET", &format!("k{number}"), "v"]);
        client.call(&["GET", &format!("k{number}")]);
        client.call(&["GET", "missing"]);
    }
    client.call(&["SET", "t", "v", "EX", "1000"]);
    client.call(&["LPUSH", "k1", "x"]);
    client.call(&["SAVE"]);
    // Codes of errors may be any text.
    client.call(&["EVAL", r#"return redis.error_reply('a"\\b no')"#, "0"]);
    let _other = [server.connect(), server.connect()];
    eventually("all are there", || client.call(&["CLIENT", "LIST"]).lines().count() == 3);
    let info = client.call(&["INFO", "everything"]);
    let families = parse(&get(port));
    for (metric, label, of_info) in [
        ("siltdb_keyspace_hits_total", "", "keyspace_hits"),
        ("siltdb_keyspace_misses_total", "", "keyspace_misses"),
        ("siltdb_connected_clients", "", "connected_clients"),
        ("siltdb_connections_tcp", "", "tcp_connections"),
        ("siltdb_connections_tls", "", "tls_connections"),
        ("siltdb_memory_budget_bytes", "", "maxmemory"),
        ("siltdb_wal_syncs_total", "", "wal_syncs"),
        ("siltdb_wal_written_bytes_total", "", "wal_bytes"),
        ("siltdb_flushes_total", "", "flushes"),
        ("siltdb_flush_written_bytes_total", "", "flush_bytes_written"),
        ("siltdb_write_amplification_ratio", "", "write_amplification"),
        ("siltdb_read_amplification", "", "read_amplification"),
        ("siltdb_level_files", "0", "level0.files"),
        ("siltdb_level_bytes", "0", "level0.bytes"),
        ("siltdb_level_bytes", "6", "level6.bytes"),
        ("siltdb_sequence_number_total", "", "sequence_number"),
        ("siltdb_database_keys", "0", "db0.keys"),
        ("siltdb_database_expiring_keys", "0", "db0.expires"),
        ("siltdb_command_calls_total", "get", "cmdstat_get.calls"),
        ("siltdb_command_failed_calls_total", "lpush", "cmdstat_lpush.failed_calls"),
        ("siltdb_command_calls_total", "client|list", "cmdstat_client|list.calls"),
        ("siltdb_errors_total", "WRONGTYPE", "errorstat_WRONGTYPE.count"),
        ("siltdb_errors_total", "a\"\\b", "errorstat_a\"\\b.count"),
        ("siltdb_command_duration_seconds_count", "set", "cmdstat_set.calls"),
    ] {
        assert_eq!(value(&families, metric, label), field(&info, of_info), "{metric} {label}");
    }
    assert_eq!(value(&families, "siltdb_keyspace_hits_total", ""), 100.0);
    let set_seconds = value(&families, "siltdb_command_duration_seconds_sum", "set");
    assert!((set_seconds - field(&info, "cmdstat_set.usec") / 1e6).abs() < 1e-6);
    assert!(value(&families, "siltdb_wal_sync_duration_seconds_count", "") >= 100.0);
    assert!(value(&families, "siltdb_wal_sync_duration_seconds_sum", "") > 0.0);
    let version = &families["siltdb_build"].samples[0].1;
    assert_eq!(version[..], [("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    assert_eq!(value(&families, "siltdb_level_files", "0"), 1.0);
}

#[test]
fn only_get_and_head_of_one_path_are_served() {
    let (server, port) = start();
    let head = |text: &str| request(port, text).0;
    let (answer, body) = request(port, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200") && body.is_empty(), "{answer} {body}");
    assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"));
    let length = answer.lines().find_map(|line| line.strip_prefix("content-length: "));
    assert!(length.is_some_and(|length| length.parse::<usize>().is_ok_and(|n| n > 1000)));
    assert!(head("GET / HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(head("GET /metrics/x HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 404"));
    assert!(head("GET /metrics?x=1 HTTP/1.0\r\n\r\n").starts_with("HTTP/1.0 200"));
    let post = head("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 405") && post.contains("allow: GET, HEAD"), "{post}");

    // Too large, not HTTP, and nothing at all.
    let mut large = socket(port).expect("connected");
    let start = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(1 << 20));
    // The server may close before it has everything.
    let _cut_off = large.write_all(start.as_bytes());
    let mut answer = Vec::new();
    let _reset = large.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut other = Client::open(port);
    other.send(&encode(&[b"PING"]));
    assert!(!other.rest().starts_with(b"HTTP/1.1 200"));
    let mut silent = [(); 16].map(|()| socket(port).expect("connected"));
    // They have all the places; their time ends.
    parse(&get(port));
    assert_eq!(silent[0].read(&mut [0]).map_err(|error| error.kind()), Ok(0));
    assert_eq!(server.connect().call(&["PING"]), "+PONG");
}

#[test]
fn the_port_opens_moves_and_closes() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.call(&["CONFIG", "GET", "metrics-port"]), "[metrics-port, 0]");
    let (first, second) = (free_port(), free_port());
    let mut set = |port: u16| client.call(&["CONFIG", "SET", "metrics-port", &port.to_string()]);
    let is_open = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert_eq!(set(first), "+OK");
    parse(&get(first));
    assert_eq!(set(second), "+OK");
    assert!(!is_open(first));
    let refused = set(server.port);
    assert!(refused.contains("argument 'metrics-port') - Unable to listen"), "{refused}");
    parse(&get(second));
    let mut client = server.connect();
    let refused = client.call(&["CONFIG", "SET", "metrics-bind", "192.0.2.1"]);
    assert!(refused.contains("argument 'metrics-bind')"), "{refused}");
    parse(&get(second));
    assert_eq!(client.call(&["CONFIG", "SET", "metrics-bind", "0.0.0.0"]), "+OK");
    parse(&get(second));
    assert_eq!(client.call(&["CONFIG", "SET", "metrics-port", "0"]), "+OK");
    assert!(!is_open(second));
}
