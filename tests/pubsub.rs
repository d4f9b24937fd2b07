//! Publish and subscribe, and `MONITOR`, on real sockets.

mod support;

use support::{Client, Server, encode, eventually};

/// The value of a field of `INFO`.
fn info(client: &mut Client, field: &str) -> String {
    let text = client.call(&["INFO", "everything"]);
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field}")).to_owned()
}

/// A connection that speaks RESP3.
fn resp3(server: &Server) -> Client {
    let mut client = server.connect();
    assert!(client.call(&["HELLO", "3"]).contains("proto, :3"));
    client
}

#[test]
fn who_has_subscribed_and_speaks_resp2_may_do_little_else() {
    let server = Server::start(&[]);
    let (mut subscriber, mut other) = (server.connect(), server.connect());
    subscriber.send(&encode(&[b"SUBSCRIBE", b"a", b"b"]));
    assert_eq!(subscriber.reply(), "[subscribe, a, :1]");
    assert_eq!(subscriber.reply(), "[subscribe, b, :2]");
    assert_eq!(subscriber.call(&["PSUBSCRIBE", "a*"]), "[psubscribe, a*, :3]");
    assert_eq!(subscriber.call(&["SSUBSCRIBE", "s"]), "[ssubscribe, s, :1]");
    for (call, name) in [(&["GET", "k"][..], "get"), (&["CLIENT", "ID"], "client|id")] {
        let refusal = format!(
            "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context"
        );
        assert_eq!(subscriber.call(call), refusal);
    }
    assert_eq!(subscriber.call(&["PING"]), "[pong, ]");
    assert_eq!(subscriber.call(&["PING", "x"]), "[pong, x]");
    assert_eq!(other.call(&["PUBLISH", "a", "hello"]), ":2");
    assert_eq!(subscriber.reply(), "[message, a, hello]");
    assert_eq!(subscriber.reply(), "[pmessage, a*, a, hello]");
    let list = other.call(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    assert!(list.contains(" flags=P ") && list.contains(" sub=2 psub=1 ssub=1 "), "{list}");
    assert_eq!(list.lines().count(), 1);
    for (field, value) in [
        ("pubsub_channels", "2"),
        ("pubsub_patterns", "1"),
        ("pubsubshard_channels", "1"),
        ("pubsub_clients", "1"),
    ] {
        assert_eq!(info(&mut other, field), value, "{field}");
    }
    assert_eq!(subscriber.call(&["RESET"]), "+RESET");
    assert_eq!(subscriber.call(&["GET", "k"]), "(nil)");
    assert_eq!(other.call(&["PUBLISH", "a", "hello"]), ":0");
    assert_eq!(info(&mut other, "pubsub_clients"), "0");
}

#[test]
fn resp3_gets_messages_between_replies() {
    let server = Server::start(&[]);
    let (mut subscriber, mut other) = (resp3(&server), server.connect());
    assert_eq!(subscriber.call(&["SUBSCRIBE", "c"]), "[subscribe, c, :1]");
    assert_eq!(subscriber.call(&["SET", "k", "v"]), "+OK");
    assert_eq!(subscriber.call(&["PING"]), "+PONG");
    // What it publishes to itself comes behind the reply, before the next one.
    let mut pipeline = encode(&[b"PUBLISH", b"c", b"own"]);
    pipeline.extend(encode(&[b"GET", b"k"]));
    subscriber.send(&pipeline);
    assert_eq!(subscriber.reply(), ":1");
    assert_eq!(subscriber.reply(), "[message, c, own]");
    assert_eq!(subscriber.reply(), "v");
    // And while a call waits.
    subscriber.send(&encode(&[b"BLPOP", b"list", b"0"]));
    eventually("the call waits", || info(&mut other, "blocked_clients") == "1");
    assert_eq!(other.call(&["PUBLISH", "c", "meanwhile"]), ":1");
    assert_eq!(subscriber.reply(), "[message, c, meanwhile]");
    assert_eq!(other.call(&["RPUSH", "list", "x"]), ":1");
    assert_eq!(subscriber.reply(), "[list, x]");
    assert_eq!(subscriber.call(&["UNSUBSCRIBE"]), "[unsubscribe, c, :0]");
    assert_eq!(subscriber.call(&["UNSUBSCRIBE"]), "[unsubscribe, (nil), :0]");
}

#[test]
fn messages_come_whatever_client_reply_says() {
    let server = Server::start(&[]);
    let (mut subscriber, mut other) = (resp3(&server), server.connect());
    subscriber.send(&encode(&[b"CLIENT", b"REPLY", b"OFF"]));
    assert_eq!(subscriber.call(&["SUBSCRIBE", "c"]), "[subscribe, c, :1]");
    subscriber.send(&encode(&[b"PING"]));
    assert_eq!(other.call(&["PUBLISH", "c", "x"]), ":1");
    assert_eq!(subscriber.reply(), "[message, c, x]");
    assert_eq!(subscriber.call(&["UNSUBSCRIBE", "c"]), "[unsubscribe, c, :0]");
    assert_eq!(subscriber.call(&["CLIENT", "REPLY", "ON"]), "+OK");
}

#[test]
fn nothing_comes_behind_the_end_of_a_subscription() {
    let server = Server::start(&["--io-threads", "2"]);
    let mut subscriber = server.connect();
    let mut other = server.connect();
    let publishing = std::thread::spawn(move || {
        let batch = encode(&[b"PUBLISH", b"c", b"x"]).repeat(100);
        for _ in 0..100 {
            other.send(&batch);
            for _ in 0..100 {
                other.reply();
            }
        }
    });
    for _ in 0..50 {
        assert_eq!(subscriber.call(&["SUBSCRIBE", "c"]), "[subscribe, c, :1]");
        subscriber.send(&encode(&[b"UNSUBSCRIBE", b"c"]));
        let mut reply = subscriber.reply();
        while reply == "[message, c, x]" {
            reply = subscriber.reply();
        }
        assert_eq!(reply, "[unsubscribe, c, :0]");
        assert_eq!(subscriber.call(&["PING"]), "+PONG");
    }
    publishing.join().expect("the publisher goes on");
}

#[test]
fn a_subscriber_that_does_not_read_is_dropped_and_holds_up_nobody() {
    let server = Server::start(&["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let (mut slow, mut quick, mut publisher) =
        (server.connect(), server.connect(), server.connect());
    assert_eq!(slow.call(&["SUBSCRIBE", "c"]), "[subscribe, c, :1]");
    assert_eq!(quick.call(&["SUBSCRIBE", "c"]), "[subscribe, c, :1]");
    let payload = "x".repeat(100_000);
    let mut rounds = 0;
    while publisher.call(&["PUBLISH", "c", &payload]) == ":2" {
        assert_eq!(quick.reply().len(), payload.len() + "[message, c, ]".len());
        rounds += 1;
        assert!(rounds < 1000, "the slow one is never dropped");
    }
    assert!(rounds > 10, "dropped after {rounds} messages");
    assert_eq!(info(&mut publisher, "client_output_buffer_limit_disconnections"), "1");
    assert_eq!(publisher.call(&["PUBSUB", "NUMSUB", "c"]), "[c, :1]");
    assert!(publisher.call(&["CLIENT", "LIST", "TYPE", "pubsub"]).contains(" omem=0 "));
}

#[test]
fn the_soft_limit_takes_its_time() {
    let server = Server::start(&["--client-output-buffer-limit", "pubsub 0 100kb 1"]);
    let (mut slow, mut publisher) = (server.connect(), server.connect());
    assert_eq!(slow.call(&["SUBSCRIBE", "c"]), "[subscribe, c, :1]");
    let payload = "x".repeat(1_000_000);
    for _ in 0..20 {
        assert_eq!(publisher.call(&["PUBLISH", "c", &payload]), ":1");
    }
    // Nothing is sent any more: the connection itself looks at the clock.
    eventually("the slow one is dropped", || {
        publisher.call(&["PUBSUB", "NUMSUB", "c"]) == "[c, :0]"
    });
    assert_eq!(info(&mut publisher, "client_output_buffer_limit_disconnections"), "1");
}

/// Two publish to ten thousand subscriptions of 400 connections: each gets everything, in one order.
#[test]
fn many_subscriptions_get_all_messages_in_one_order() {
    let server = Server::start(&[]);
    let patterns: Vec<String> = (0..24).map(|n| format!("c{}", "*".repeat(n + 1))).collect();
    let mut subscribe: Vec<&[u8]> = vec![b"PSUBSCRIBE"];
    subscribe.extend(patterns.iter().map(|pattern| pattern.as_bytes()));
    let mut subscribers: Vec<Client> = (0..400).map(|_| server.connect()).collect();
    for subscriber in &mut subscribers {
        subscriber.send(&encode(&[b"SUBSCRIBE", b"c"]));
        subscriber.send(&encode(&subscribe));
        (0..25).for_each(|_| drop(subscriber.reply()));
    }
    let (mut one, mut two) = (server.connect(), server.connect());
    for number in 0..5_u8 {
        let payload = number.to_string();
        one.send(&encode(&[b"PUBLISH", b"c", format!("one{payload}").as_bytes()]));
        two.send(&encode(&[b"PUBLISH", b"c", format!("two{payload}").as_bytes()]));
        // Others are served meanwhile.
        assert_eq!(server.connect().call(&["PING"]), "+PONG");
    }
    for publisher in [&mut one, &mut two] {
        (0..5).for_each(|_| assert_eq!(publisher.reply(), ":10000"));
    }
    let mut order: Option<Vec<String>> = None;
    for subscriber in &mut subscribers {
        let messages: Vec<String> = (0..250).map(|_| subscriber.reply()).collect();
        let direct: Vec<String> =
            messages.into_iter().filter(|m| m.starts_with("[message, c, ")).collect();
        assert_eq!(direct.len(), 10);
        for who in ["one", "two"] {
            let own: Vec<&String> = direct.iter().filter(|m| m.contains(who)).collect();
            assert!(own.is_sorted() && own.len() == 5, "{direct:?}");
        }
        assert_eq!(order.get_or_insert_with(|| direct.clone()), &direct);
    }
}

#[test]
fn a_subscriber_that_is_killed_or_hangs_up_is_forgotten() {
    let server = Server::start(&[]);
    let (mut killed, gone, mut other) = (server.connect(), server.connect(), server.connect());
    let id = killed.call(&["CLIENT", "ID"]);
    assert_eq!(killed.call(&["SUBSCRIBE", "c"]), "[subscribe, c, :1]");
    let mut gone = gone;
    assert_eq!(gone.call(&["PSUBSCRIBE", "c*"]), "[psubscribe, c*, :1]");
    assert_eq!(other.call(&["PUBLISH", "c", "x"]), ":2");
    assert_eq!(killed.reply(), "[message, c, x]");
    assert_eq!(other.call(&["CLIENT", "KILL", "ID", id.trim_start_matches(':')]), ":1");
    assert!(killed.is_closed());
    drop(gone);
    eventually("both are forgotten", || other.call(&["PUBLISH", "c", "x"]) == ":0");
    assert_eq!(other.call(&["PUBSUB", "CHANNELS"]), "[]");
    assert_eq!(other.call(&["PUBSUB", "NUMPAT"]), ":0");
    assert_eq!(info(&mut other, "pubsub_clients"), "0");
}

#[test]
fn idle_subscribers_are_not_closed_for_being_idle() {
    let server = Server::start(&["--timeout", "1"]);
    let (mut subscriber, mut idle) = (server.connect(), server.connect());
    assert_eq!(subscriber.call(&["SUBSCRIBE", "c"]), "[subscribe, c, :1]");
    assert_eq!(idle.call(&["PING"]), "+PONG");
    assert!(idle.is_closed());
    assert_eq!(subscriber.call(&["PING"]), "[pong, ]");
}

#[test]
fn monitor_shows_what_runs() {
    let server = Server::start(&["--requirepass", "secret"]);
    let (mut monitor, mut other) = (server.connect(), server.connect());
    for client in [&mut monitor, &mut other] {
        assert_eq!(client.call(&["AUTH", "secret"]), "+OK");
    }
    assert_eq!(monitor.call(&["MONITOR"]), "+OK");
    let mut shown = |calls: &[&[&str]], expected: &str| {
        calls.iter().for_each(|call| drop(other.call(call)));
        let line = monitor.reply();
        let (time, rest) = line.strip_prefix('+').and_then(|l| l.split_once(' ')).expect("a line");
        let (seconds, us) = time.split_once('.').expect("a time");
        assert!(seconds.len() == 10 && us.len() == 6, "{line}");
        let (from, words) = rest.split_once("] ").expect("a source");
        assert!(from.starts_with("[0 127.0.0.1:") || from.starts_with("[3 127.0.0.1:"), "{line}");
        assert_eq!(words, expected);
    };
    shown(&[&["set", "k", "a \"b\"\r\n\u{1}"]], r#""set" "k" "a \"b\"\r\n\x01""#);
    shown(&[&["get", "k"]], r#""get" "k""#);
    // Administration is not shown, nor what is refused.
    shown(&[&["config", "get", "port"], &["get"], &["auth", "secret"]], r#""auth" "(redacted)""#);
    shown(
        &[&["hello", "2", "AUTH", "default", "secret"]],
        r#""hello" "2" "AUTH" "(redacted)" "(redacted)""#,
    );
    shown(&[&["select", "3"]], r#""select" "3""#);
    shown(&[&["lpush", "l", ""]], r#""lpush" "l" """#);
    let refused = monitor.call(&["GET", "k"]);
    assert_eq!(refused, "-ERR Replica can't interact with the keyspace");
    monitor.send(&encode(&[b"RESET"]));
    assert_eq!(monitor.reply(), "+RESET");
    assert_eq!(monitor.call(&["AUTH", "secret"]), "+OK");
    assert_eq!(monitor.call(&["GET", "nokey"]), "(nil)");
}
