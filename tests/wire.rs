//! Raw bytes on a real socket: framing, pipelines, limits, errors, the life of connections.

mod support;

use std::net::TcpStream;

use support::{Client, Server, encode, eventually};

#[test]
fn requests_may_be_split_at_any_byte() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let bytes = encode(&[b"SET", b"key", b"a value\r\nof two lines"]);
    for split in 1..bytes.len() {
        client.send(&bytes[..split]);
        client.send(&bytes[split..]);
        assert_eq!(client.reply(), "+OK", "split at {split}");
    }
    for byte in &bytes {
        client.send(std::slice::from_ref(byte));
    }
    assert_eq!(client.reply(), "+OK");
    assert_eq!(client.call(&["GET", "key"]), "a value\r\nof two lines");
}

#[test]
fn a_pipeline_is_answered_in_order_and_reads_see_the_writes_before_them() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut bytes = Vec::new();
    for i in 0..5000 {
        let value = i.to_string();
        bytes.extend(encode(&[b"SET", b"k", value.as_bytes()]));
        bytes.extend(encode(&[b"GET", b"k"]));
        if i % 7 == 0 {
            bytes.extend(encode(&[b"PING"]));
        }
        if i % 11 == 0 {
            bytes.extend(encode(&[b"NOSUCH", b"x"]));
        }
    }
    let mut sender = server.connect();
    std::mem::swap(&mut sender, &mut client);
    let mut writer = client.sender();
    let sending = std::thread::spawn(move || {
        std::io::Write::write_all(&mut writer, &bytes).expect("the server reads");
    });
    for i in 0..5000 {
        assert_eq!(client.reply(), "+OK");
        assert_eq!(client.reply(), i.to_string());
        if i % 7 == 0 {
            assert_eq!(client.reply(), "+PONG");
        }
        if i % 11 == 0 {
            let error = client.reply();
            assert_eq!(error, "-ERR unknown command 'NOSUCH', with args beginning with: 'x' ");
        }
    }
    sending.join().expect("everything was sent");
}

#[test]
fn inline_commands_follow_the_quoting_of_redis() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(b"PING\r\n");
    assert_eq!(client.reply(), "+PONG");
    client.send(b"\r\n  \r\nSET quoted \"a \\x41\\n\" \n");
    assert_eq!(client.reply(), "+OK");
    assert_eq!(client.call(&["GET", "quoted"]), "a A\n");
    client.send(b"SET bad \"unbalanced\r\n");
    assert_eq!(client.reply(), "-ERR Protocol error: unbalanced quotes in request");
    assert!(client.is_closed());
}

/// Words of a client come back in errors as they were sent.
#[test]
fn errors_repeat_bytes_that_are_no_text() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(b"\xff\xfe\r\nnope \xff\r\nCONFIG \xc3\r\nMULTI\r\n\xff\r\nQUIT\r\n");
    let expected = [
        &b"-ERR unknown command '\xff\xfe', with args beginning with: \r\n"[..],
        b"-ERR unknown command 'nope', with args beginning with: '\xff' \r\n",
        b"-ERR unknown subcommand '\xc3'. Try CONFIG HELP.\r\n",
        b"+OK\r\n",
        b"-ERR unknown command '\xff', with args beginning with: \r\n",
        b"+OK\r\n",
    ];
    assert_eq!(
        client.rest().escape_ascii().to_string(),
        expected.concat().escape_ascii().to_string()
    );
}

#[test]
fn broken_framing_is_answered_with_the_texts_of_redis_and_closes() {
    let server = Server::start(&[]);
    for (bytes, text) in [
        (&b"*x\r\n"[..], "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
    ] {
        let mut client = server.connect();
        client.send(bytes);
        assert_eq!(client.reply(), format!("-ERR Protocol error: {text}"));
        assert!(client.is_closed());
    }
    let mut client = server.connect();
    client.send(&vec![b'x'; 70_000]);
    assert_eq!(client.reply(), "-ERR Protocol error: too big inline request");
}

#[test]
fn a_read_of_very_many_keys_leaves_the_others_alone() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let keys: Vec<String> = (0..5000).map(|n| format!("key:{n}")).collect();
    let call = |keys: &[String]| -> Vec<String> {
        std::iter::once("EXISTS".to_owned()).chain(keys.iter().cloned()).collect()
    };
    for (keys, runs) in [(&keys[..4000], 0), (&keys[..], 1)] {
        let words = call(keys);
        assert_eq!(client.call(&words.iter().map(String::as_str).collect::<Vec<_>>()), ":0");
        let info = client.call(&["INFO", "siltdb"]);
        assert!(info.contains(&format!("\r\nreads_on_blocking_pool:{runs}\r\n")), "{info}");
    }
}

#[test]
fn debug_populate_makes_keys_that_are_not_there() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    assert_eq!(client.call(&["SET", "p:7", "mine"]), "+OK");
    assert_eq!(client.call(&["DEBUG", "POPULATE", "1234", "p", "12"]), "+OK");
    assert_eq!(client.call(&["DBSIZE"]), ":1234");
    assert_eq!(client.call(&["GET", "p:7"]), "mine");
    assert_eq!(client.call(&["GET", "p:1233"]), "value:1233\0\0");
    assert_eq!(client.call(&["DEBUG", "POPULATE", "3"]), "+OK");
    assert_eq!(client.call(&["GET", "key:2"]), "value:2");
    assert_eq!(client.call(&["DEBUG", "POPULATE", "1", "long", "200000"]), "+OK");
    assert_eq!(client.call(&["STRLEN", "long:0"]), ":200000");
    assert_eq!(client.call(&["DEBUG", "LISTPACK", "p:7"]), "-ERR Not a listpack encoded object.");
    assert_eq!(client.call(&["DEBUG", "LISTPACK", "none"]), "-ERR no such key");
}

#[test]
fn an_announced_length_costs_nothing_before_bytes_arrive() {
    let server = Server::start(&[]);
    let before = server.resident_bytes();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let mut client = server.connect();
            client.send(b"*2147483647\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc");
            client
        })
        .collect();
    let mut other = server.connect();
    assert_eq!(other.call(&["PING"]), "+PONG");
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for {} announcements", clients.len());
}

#[test]
fn a_password_keeps_everything_else_out() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut client = server.connect();
    assert_eq!(client.call(&["GET", "k"]), "-NOAUTH Authentication required.");
    assert!(client.call(&["AUTH", "wrong"]).starts_with("-WRONGPASS"));
    assert_eq!(client.call(&["AUTH", "secret"]), "+OK");
    assert_eq!(client.call(&["GET", "k"]), "(nil)");
    let mut pipelined = server.connect();
    let mut bytes = encode(&[b"AUTH", b"secret"]);
    bytes.extend(encode(&[b"SET", b"k", &[b'v'; 20_000]]));
    pipelined.send(&bytes);
    assert_eq!(pipelined.reply(), "+OK");
    assert_eq!(pipelined.reply(), "+OK");
    let mut stranger = server.connect();
    stranger.send(b"*11\r\n");
    assert_eq!(stranger.reply(), "-ERR Protocol error: unauthenticated multibulk length");
}

#[test]
fn more_clients_than_allowed_are_told_so() {
    let server = Server::start(&["--maxclients", "3"]);
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.call(&["PING"]), "+PONG");
    }
    let mut fourth = server.connect();
    assert_eq!(fourth.reply(), "-ERR max number of clients reached");
    assert!(fourth.is_closed());
    clients.pop();
    eventually("a place is free", || {
        let mut client = server.connect();
        client.send(b"PING\r\n");
        client.reply() == "+PONG"
    });
}

#[test]
fn an_idle_client_is_closed_after_the_timeout() {
    let server = Server::start(&["--timeout", "1"]);
    let mut client = server.connect();
    assert_eq!(client.call(&["PING"]), "+PONG");
    assert!(client.is_closed());
}

#[test]
fn a_client_can_be_killed_while_it_is_idle() {
    let server = Server::start(&[]);
    let mut victim = server.connect();
    let id = victim.call(&["CLIENT", "ID"]);
    let mut killer = server.connect();
    assert_eq!(killer.call(&["CLIENT", "KILL", "ID", id.trim_start_matches(':')]), ":1");
    assert!(victim.is_closed());
}

#[test]
fn a_client_that_does_not_read_costs_bounded_memory() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let value = "v".repeat(1 << 20);
    assert_eq!(client.call(&["SET", "big", &value]), "+OK");
    let before = server.resident_bytes();
    let request = encode(&[b"GET", b"big"]);
    for _ in 0..500 {
        client.send(&request);
    }
    let mut other = server.connect();
    for _ in 0..100 {
        assert_eq!(other.call(&["PING"]), "+PONG");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "{grown} bytes for replies that nobody reads");
    for _ in 0..500 {
        assert_eq!(client.reply().len(), value.len());
    }
}

#[test]
fn a_signal_ends_the_server_cleanly_and_nothing_is_lost() {
    let mut server = Server::start(&["--appendfsync", "no"]);
    let mut client = server.connect();
    for i in 0..1000 {
        let value = i.to_string();
        assert_eq!(client.call(&["SET", &format!("key:{i}"), &value]), "+OK");
    }
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(client.is_closed());
    server.restart();
    let mut client = server.connect();
    assert_eq!(client.call(&["DBSIZE"]), ":1000");
    assert_eq!(client.call(&["GET", "key:999"]), "999");
    client.send(&encode(&[b"SHUTDOWN"]));
    assert!(server.wait().success());
    server.restart();
    assert_eq!(server.connect().call(&["DBSIZE"]), ":1000");
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.call(&["SET", "key", "value"]), "+OK");
    assert_eq!(client.call(&["INCRBY", "n", "41"]), ":41");
    server.kill_and_restart();
    let mut client = server.connect();
    assert_eq!(client.call(&["GET", "key"]), "value");
    assert_eq!(client.call(&["INCR", "n"]), ":42");
    assert_eq!(client.call(&["DBSIZE"]), ":2");
}

#[test]
fn a_second_server_is_kept_off_the_data() {
    let server = Server::start(&[]);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_siltdb"))
        .args(["--port", "0", "--unixsocket"])
        .arg(server.dir.join("second.sock"))
        .arg("--dir")
        .arg(&server.dir)
        .output()
        .expect("the second server starts");
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("in use by another process"), "{text}");
}

#[test]
fn the_port_can_be_changed_while_clients_stay() {
    let server = Server::start(&["--maxmemory", "100mb"]);
    let taken = std::net::TcpListener::bind("0.0.0.0:0").expect("a free port");
    let taken_port = taken.local_addr().expect("an address").port().to_string();
    let mut client = server.connect();
    let refused =
        client.call(&["CONFIG", "SET", "maxmemory", "200mb", "port", &taken_port, "timeout", "7"]);
    assert_eq!(
        refused,
        "-ERR CONFIG SET failed (possibly related to argument 'port') - \
         Unable to listen on this port. Check server logs."
    );
    assert_eq!(client.call(&["CONFIG", "GET", "timeout"]), "[timeout, 0]");
    assert_eq!(server.connect().call(&["PING"]), "+PONG");
    drop(taken);
    assert_eq!(client.call(&["CONFIG", "SET", "port", &taken_port]), "+OK");
    assert_eq!(client.call(&["PING"]), "+PONG");
    let new_port = taken_port.parse().expect("a port");
    assert_eq!(Client::open(new_port).call(&["PING"]), "+PONG");
    assert!(TcpStream::connect(("127.0.0.1", server.port)).is_err(), "the old port is closed");
    assert_eq!(client.call(&["CONFIG", "SET", "bind", "127.0.0.1"]), "+OK");
    let refused = client.call(&["CONFIG", "SET", "bind", "127.0.0.1 192.0.2.1"]);
    assert!(refused.ends_with("Failed to bind to specified addresses."), "{refused}");
    assert_eq!(client.call(&["CONFIG", "GET", "bind"]), "[bind, 127.0.0.1]");
    assert_eq!(Client::open(new_port).call(&["PING"]), "+PONG", "the old addresses are back");
}

#[test]
fn a_client_above_the_soft_output_limit_is_dropped_when_its_time_is_up() {
    let server = Server::start(&["--client-output-buffer-limit", "normal 0 1mb 1"]);
    let mut client = server.connect();
    // More than the buffers of the two sockets may grow to.
    let value = "v".repeat(64 << 20);
    assert_eq!(client.call(&["SET", "big", &value]), "+OK");
    assert_eq!(client.call(&["GET", "big"]).len(), value.len(), "one that reads is not dropped");
    client.send(&encode(&[b"GET", b"big"]));
    let mut other = server.connect();
    eventually("the client is dropped", || {
        other.call(&["INFO", "stats"]).contains("client_output_buffer_limit_disconnections:1\r\n")
    });
    assert!(client.is_closed());
}

/// As in Redis, where a limit counts what the first buffer of a client does not hold.
#[test]
fn no_output_limit_locks_out_who_wants_to_change_it() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let set = |limit| ["CONFIG", "SET", "client-output-buffer-limit", limit];
    assert_eq!(client.call(&["SET", "large", &"v".repeat(20_000)]), "+OK");
    assert_eq!(client.call(&set("normal 1 1 1 pubsub 1 1 1")), "+OK");
    assert_eq!(client.call(&["PING"]), "+PONG");
    let mut subscriber = server.connect();
    assert_eq!(subscriber.call(&["SUBSCRIBE", "c"]), "[subscribe, c, :1]");
    assert_eq!(client.call(&["PUBLISH", "c", "m"]), ":1");
    assert_eq!(subscriber.reply(), "[message, c, m]");
    client.send(&encode(&[b"GET", b"large"]));
    assert!(client.is_closed(), "a limit it is");
    assert_eq!(server.connect().call(&set("normal 0 0 0")), "+OK");
    assert_eq!(server.connect().call(&["GET", "large"]).len(), 20_000);
}

#[test]
fn a_key_may_have_one_mib() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let name = |len| "k".repeat(len);
    let (most, renamed, hash) = (name(1 << 20), "r".repeat(1 << 20), "h".repeat(1 << 20));
    assert_eq!(client.call(&["SET", &most, "v", "EX", "100"]), "+OK");
    assert_eq!(client.call(&["RENAME", &most, &renamed]), "+OK");
    assert_eq!(client.call(&["HSET", &hash, "f", "v"]), ":1");
    assert_eq!(client.call(&["HEXPIRE", &hash, "9", "FIELDS", "1", "f"]), "[:1]");
    let refused = client.call(&["SET", &name((1 << 20) + 64), "v"]);
    assert_eq!(refused, "-ERR a key, or the name of an element, is longer than 1 MiB");
}

#[test]
fn the_pidfile_is_there_while_the_server_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("server.pid");
    let mut server = Server::start(&["--pidfile", path.to_str().expect("text")]);
    let text = std::fs::read_to_string(&path).expect("the pidfile is there");
    assert_eq!(text.trim(), server.pid().to_string());
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(!path.exists());
}

/// Sends a command whose reply is not awaited, once the server runs it.
fn waiting_for(server: &Server, words: &[&[u8]], sign: &str) -> Client {
    let mut client = server.connect();
    client.send(&encode(words));
    let mut other = server.connect();
    eventually(sign, || other.call(&["CLIENT", "LIST"]).contains(sign));
    client
}

#[test]
fn commands_that_wait_do_not_keep_the_server_from_its_end() {
    let arguments = ["--shutdown-timeout", "1", "--enable-debug-command", "yes"];
    let mut server = Server::start(&[&arguments[..], &["--appendfsync", "no"]].concat());
    let mut client = server.connect();
    assert_eq!(client.call(&["SET", "key", "value"]), "+OK");
    let _sleeps = waiting_for(&server, &[b"DEBUG", b"SLEEP", b"1000"], "cmd=debug");
    let _waits = waiting_for(&server, &[b"WAIT", b"1", b"0"], "cmd=wait");
    assert_eq!(client.call(&["CLIENT", "PAUSE", "100000000", "WRITE"]), "+OK");
    let mut paused = server.connect();
    paused.send(&encode(&[b"SET", b"key", b"never"]));
    eventually("two wait", || client.call(&["INFO", "clients"]).contains("blocked_clients:2"));
    server.signal("TERM");
    assert!(server.wait().success());
    server.restart();
    assert_eq!(server.connect().call(&["GET", "key"]), "value");
}

#[test]
fn a_kill_ends_a_command_that_waits() {
    let server = Server::start(&[]);
    let mut killer = server.connect();
    let mut victim = waiting_for(&server, &[b"WAIT", b"1", b"0"], "cmd=wait");
    assert_ne!(killer.call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]), ":0");
    assert!(victim.is_closed());
    eventually("it is gone", || !killer.call(&["CLIENT", "LIST"]).contains("cmd=wait"));
}

#[test]
fn a_peer_that_goes_ends_its_command_that_waits() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    drop(waiting_for(&server, &[b"WAIT", b"1", b"0"], "cmd=wait"));
    eventually("it is gone", || !other.call(&["CLIENT", "LIST"]).contains("cmd=wait"));
}

#[test]
fn shutdown_saves_only_where_asked_to() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.call(&["SHUTDOWN", "ABORT"]), "-ERR No shutdown in progress.");
    assert_eq!(client.call(&["SET", "key", "value"]), "+OK");
    for (option, tables) in [("NOSAVE", "tables_bytes:0\r\n"), ("SAVE", "level0:files=1")] {
        server.connect().send(&encode(&[b"SHUTDOWN", option.as_bytes()]));
        assert!(server.wait().success());
        server.restart();
        let mut client = server.connect();
        let info = client.call(&["INFO", "lsm"]);
        assert!(info.contains(tables), "{option}: {info}");
        assert_eq!(client.call(&["GET", "key"]), "value");
    }
}

#[test]
fn many_waiting_for_a_sync_at_once_are_all_answered() {
    let server = Server::start(&["--appendfsync", "everysec"]);
    let mut clients: Vec<_> = (0..60).map(|_| server.connect()).collect();
    for round in 0..5 {
        for client in &mut clients {
            client.send(&encode(&[b"SET", b"k", round.to_string().as_bytes()]));
            client.send(&encode(&[b"WAITAOF", b"1", b"0", b"0"]));
        }
        for client in &mut clients {
            assert_eq!(client.reply(), "+OK");
            assert_eq!(client.reply(), "[:1, :0]");
        }
    }
    assert_eq!(server.connect().call(&["SET", "k", "v"]), "+OK");
}

#[test]
fn a_pipeline_of_large_copies_is_cut_into_batches() {
    let server = Server::start(&["--maxmemory", "256mb"]);
    let mut client = server.connect();
    let value = "v".repeat(4 << 20);
    assert_eq!(client.call(&["SET", "k", &value]), "+OK");
    let mut bytes = Vec::new();
    for i in 0..40 {
        bytes.extend(encode(&[b"COPY", b"k", format!("k{i}").as_bytes()]));
        bytes.extend(encode(&[b"STRLEN", format!("k{i}").as_bytes()]));
    }
    client.send(&bytes);
    for _ in 0..40 {
        assert_eq!(client.reply(), ":1");
        assert_eq!(client.reply(), format!(":{}", value.len()));
    }
    assert_eq!(client.call(&["DBSIZE"]), ":41");
}

#[test]
fn a_web_page_cannot_make_a_browser_send_commands() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET pwned yes\r\n");
    assert!(client.is_closed());
    assert_eq!(server.connect().call(&["EXISTS", "pwned"]), ":0");
}

#[test]
fn the_replies_of_a_pipeline_are_sent_before_they_are_many() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let value = "x".repeat(1 << 20);
    assert_eq!(client.call(&["SET", "large", &value]), "+OK");
    let mut pipeline = encode(&[b"SET", b"x", b"1"]);
    (0..400).for_each(|_| pipeline.extend(encode(&[b"GET", b"large"])));
    client.send(&pipeline);
    let mut other = server.connect();
    for _ in 0..20 {
        assert_eq!(other.call(&["INCR", "n"]).as_bytes()[0], b':');
        support::pause();
    }
    assert!(server.resident_bytes() < 250 << 20, "{}", server.resident_bytes());
    assert_eq!(client.reply(), "+OK");
    (0..400).for_each(|_| assert_eq!(client.reply().len(), value.len()));
}

#[test]
fn a_rank_counts_matches_wherever_the_read_goes_on() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut push = vec!["RPUSH", "l"];
    push.resize(5_000, "a");
    push.extend(["b", "b"]);
    assert_eq!(client.call(&push), ":5000");
    assert_eq!(client.call(&["LPOS", "l", "b", "RANK", "2"]), ":4999");
    assert_eq!(client.call(&["LPOS", "l", "a", "RANK", "-3"]), ":4995");
}

#[test]
fn errors_repeat_the_bytes_of_the_client() {
    let server = Server::start(&[]);
    let pending = b"return redis.call('XPENDING', KEYS[1], 'g')";
    let calls: [(&[&[u8]], &[u8]); 7] = [
        (
            &[b"XREADGROUP", b"GROUP", b"g\xff", b"c", b"STREAMS", b"k\xfe\r\n", b">"],
            b"-NOGROUP No such key 'k\xfe  ' or consumer group 'g\xff' in XREADGROUP with GROUP option",
        ),
        (&[b"EXPIRE", b"k", b"1", b"\xff"], b"-ERR Unsupported option \xff"),
        (&[b"CLIENT", b"KILL", b"TYPE", b"\xff"], b"-ERR Unknown client type '\xff'"),
        (
            &[b"ACL", b"SETUSER", b"u", b"\xff"],
            b"-ERR Error in ACL SETUSER modifier '\xff': Syntax error",
        ),
        (
            &[b"CONFIG", b"SET", b"\xff", b"1"],
            b"-ERR Unknown option or number of arguments for CONFIG SET - '\xff'",
        ),
        (&[b"EVAL", b"return redis.error_reply('BAD \xff')", b"0"], b"-BAD \xff"),
        (&[b"EVAL", pending, b"1", b"k\xff"], b"-NOGROUP No such key 'k\xff' or consumer group 'g'"),
    ];
    for (words, expected) in calls {
        let mut client = server.connect();
        client.send(&[encode(words), encode(&[b"QUIT"])].concat());
        let rest = client.rest();
        let shown = String::from_utf8_lossy(&rest).into_owned();
        assert!(rest.starts_with(expected) && rest.ends_with(b"\r\n+OK\r\n"), "{shown}");
    }
}

#[test]
fn a_key_has_a_mebibyte_at_most() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let (longest, too_long) = ("k".repeat(1 << 20), "k".repeat((1 << 20) + 1));
    let refusal = "-ERR a key, or the name of an element, is longer than 1 MiB";
    assert_eq!(client.call(&["SET", &longest, "v"]), "+OK");
    assert_eq!(client.call(&["GETEX", &longest, "EX", "1000"]), "v");
    for call in [
        &["SET", &too_long, "v"][..],
        &["SET", &too_long, "v", "EX", "1000"],
        &["INCR", &too_long],
        &["RPUSH", &too_long, "a"],
        &["HSET", &too_long, "f", "v"],
        &["RENAME", &longest, &too_long],
        &["COPY", &longest, &too_long],
        &["MSET", "other", "v", &too_long, "v"],
        &["EVAL", "return redis.pcall('SET', KEYS[1], 'v')", "1", &too_long],
    ] {
        assert_eq!(client.call(call), refusal, "{}", call[0]);
    }
    assert_eq!(client.call(&["DEL", &too_long, "other"]), ":0");
    assert_eq!(client.call(&["GET", &too_long]), "(nil)");
    assert_eq!(client.call(&["DEL", &longest]), ":1");
}
