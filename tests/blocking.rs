//! Commands that wait for keys, over sockets: who is served in which order, and how a wait ends.

mod support;

use support::{Client, Server, encode, eventually};

/// A connection whose call waits by now; `waiting` calls wait then.
fn blocked(server: &Server, words: &[&str], waiting: u32) -> Client {
    let mut client = server.connect();
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    client.send(&encode(&words));
    await_blocked(server, waiting);
    client
}

/// Waits until so many clients are blocked.
fn await_blocked(server: &Server, count: u32) {
    let mut other = server.connect();
    let sign = format!("blocked_clients:{count}\r\n");
    eventually(&sign, || other.call(&["INFO", "clients"]).contains(&sign));
}

#[test]
fn who_came_first_is_served_first() {
    let server = Server::start(&[]);
    let mut waiting: Vec<Client> =
        (1..=5).map(|count| blocked(&server, &["BLPOP", "l", "0"], count)).collect();
    let mut other = server.connect();
    assert_eq!(other.call(&["RPUSH", "l", "a", "b"]), ":2");
    assert_eq!(waiting.remove(0).reply(), "[l, a]");
    assert_eq!(waiting.remove(0).reply(), "[l, b]");
    assert_eq!(other.call(&["EXISTS", "l"]), ":0");
    await_blocked(&server, 3);
    assert_eq!(other.call(&["LPUSH", "l", "c", "d", "e", "f"]), ":4");
    for (mut client, element) in waiting.into_iter().zip(["f", "e", "d"]) {
        assert_eq!(client.reply(), format!("[l, {element}]"));
    }
    assert_eq!(other.call(&["LRANGE", "l", "0", "-1"]), "[c]");
}

#[test]
fn a_call_waits_for_many_keys_and_takes_from_the_first_there_is() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let mut client = blocked(&server, &["BRPOP", "a", "b", "c", "0"], 1);
    assert_eq!(other.call(&["RPUSH", "c", "1", "2"]), ":2");
    assert_eq!(client.reply(), "[c, 2]");
    assert_eq!(client.call(&["BRPOP", "a", "b", "c", "0"]), "[c, 1]");
    let mut client = blocked(&server, &["BLMPOP", "0", "2", "a", "b", "LEFT", "COUNT", "2"], 1);
    assert_eq!(other.call(&["RPUSH", "b", "1", "2", "3"]), ":3");
    assert_eq!(client.reply(), "[b, [1, 2]]");
    // Nothing of it is left in the lines of the other keys.
    assert_eq!(other.call(&["RPUSH", "a", "x"]), ":1");
    assert_eq!(other.call(&["LLEN", "a"]), ":1");
}

#[test]
fn a_wait_ends_with_its_time() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.call(&["BLMOVE", "a", "b", "LEFT", "LEFT", "0.01"]), "(nil)");
    assert_eq!(client.call(&["BLPOP", "a", "0.01"]), "(nil)");
    assert_eq!(client.call(&["BLMPOP", "0.01", "1", "a", "LEFT"]), "(nil)");
    let mut other = server.connect();
    assert_eq!(other.call(&["RPUSH", "a", "1"]), ":1");
    assert_eq!(other.call(&["LLEN", "a"]), ":1", "nobody waits any more");
}

/// The bytes of the reply that ends a wait with its time.
#[test]
fn a_null_is_of_the_kind_that_the_protocol_has() {
    let server = Server::start(&[]);
    for (version, null) in [("2", &b"*-1\r\n"[..]), ("3", b"_\r\n")] {
        for call in [
            "BLPOP a 0.01",
            "BRPOPLPUSH a b 0.01",
            "BLMPOP 0.01 1 a LEFT",
            "BZPOPMAX a 0.01",
            "BZMPOP 0.01 1 a MIN",
        ] {
            let mut client = server.connect();
            client.send(format!("HELLO {version}\r\n{call}\r\nQUIT\r\n").as_bytes());
            let bytes = client.rest();
            let end = [null, b"+OK\r\n"].concat();
            assert!(bytes.ends_with(&end), "{call}: {:?}", bytes.escape_ascii().to_string());
        }
    }
}

#[test]
fn client_unblock_ends_a_wait_as_asked() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    for (how, reply) in [
        (&[][..], "(nil)"),
        (&["TIMEOUT"][..], "(nil)"),
        (&["ERROR"][..], "-UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        let mut client = server.connect();
        let id = client.call(&["CLIENT", "ID"]);
        let id = id.trim_start_matches(':');
        client.send(&encode(&[b"BLPOP", b"l", b"0"]));
        await_blocked(&server, 1);
        let list = other.call(&["CLIENT", "LIST", "ID", id]);
        assert!(list.contains("flags=b ") && list.contains("cmd=blpop"), "{list}");
        assert_eq!(other.call(&[&["CLIENT", "UNBLOCK", id][..], how].concat()), ":1");
        assert_eq!(client.reply(), reply);
        assert_eq!(other.call(&["CLIENT", "UNBLOCK", id]), ":0");
        assert_eq!(client.call(&["PING"]), "+PONG");
    }
    assert_eq!(other.call(&["RPUSH", "l", "a"]), ":1");
    assert_eq!(other.call(&["LLEN", "l"]), ":1");
}

#[test]
fn clients_that_have_gone_take_nothing() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let mut killed = server.connect();
    let id = killed.call(&["CLIENT", "ID"]);
    killed.send(&encode(&[b"BLPOP", b"l", b"0"]));
    await_blocked(&server, 1);
    drop(blocked(&server, &["BLPOP", "l", "0"], 2));
    let mut stays = blocked(&server, &["BLPOP", "k", "l", "0"], 2);
    assert_eq!(other.call(&["CLIENT", "KILL", "ID", id.trim_start_matches(':')]), ":1");
    assert_eq!(other.call(&["RPUSH", "l", "a"]), ":1");
    assert_eq!(stays.reply(), "[l, a]");
    assert!(killed.is_closed());
    await_blocked(&server, 0);
}

#[test]
fn what_one_makes_another_takes() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let mut third = blocked(&server, &["BLPOP", "c", "0"], 1);
    let mut second = blocked(&server, &["BRPOPLPUSH", "b", "c", "0"], 2);
    let mut first = blocked(&server, &["BLMOVE", "a", "b", "LEFT", "RIGHT", "0"], 3);
    assert_eq!(other.call(&["LPUSH", "a", "x"]), ":1");
    assert_eq!(first.reply(), "x");
    assert_eq!(second.reply(), "x");
    assert_eq!(third.reply(), "[c, x]");
    assert_eq!(other.call(&["DBSIZE"]), ":0");
    // Two that feed each other end.
    let mut there = blocked(&server, &["BRPOPLPUSH", "a", "b", "0"], 1);
    let mut back = blocked(&server, &["BRPOPLPUSH", "b", "a", "0"], 2);
    assert_eq!(other.call(&["RPUSH", "a", "x"]), ":1");
    assert_eq!(there.reply(), "x");
    assert_eq!(back.reply(), "x");
    assert_eq!(other.call(&["LRANGE", "a", "0", "-1"]), "[x]");
}

#[test]
fn a_pipeline_goes_on_behind_the_wait() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let calls: [&[&[u8]]; 4] =
        [&[b"SET", b"k", b"1"], &[b"BLPOP", b"l", b"0"], &[b"INCR", b"k"], &[b"GET", b"k"]];
    let bytes: Vec<u8> = calls.iter().flat_map(|words| encode(words)).collect();
    client.send(&bytes);
    assert_eq!(client.reply(), "+OK", "not held up by the wait");
    await_blocked(&server, 1);
    let mut other = server.connect();
    assert_eq!(other.call(&["GET", "k"]), "1");
    assert_eq!(other.call(&["RPUSH", "l", "a"]), ":1");
    assert_eq!(client.reply(), "[l, a]");
    assert_eq!(client.reply(), ":2");
    assert_eq!(client.reply(), "2");
}

#[test]
fn only_what_is_waited_for_ends_a_wait() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let mut client = blocked(&server, &["BLPOP", "l", "0"], 1);
    for call in [
        &["SET", "l", "v"][..],
        &["DEL", "l"],
        &["SADD", "l", "v"],
        &["FLUSHALL"],
        &["RPUSH", "m", "v"],
        &["SELECT", "1"],
        &["RPUSH", "l", "other database"],
    ] {
        other.call(call);
    }
    await_blocked(&server, 1);
    let mut home = server.connect();
    assert_eq!(home.call(&["RPUSH", "l", "v"]), ":1");
    assert_eq!(client.reply(), "[l, v]");
    assert_eq!(
        client.call(&["BLPOP", "x", "l", "0.01"]),
        "(nil)",
        "a key that holds nothing is passed over"
    );
    assert_eq!(home.call(&["SET", "l", "v"]), "+OK");
    let wrong = client.call(&["BLPOP", "l", "0"]);
    assert!(wrong.starts_with("-WRONGTYPE"), "{wrong}");
}

#[test]
fn every_way_to_make_a_list_ends_a_wait() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    for calls in [
        &[&["RPUSH", "m", "v"][..], &["RENAME", "m", "l"]][..],
        &[&["RPUSH", "m", "v"], &["COPY", "m", "l"], &["DEL", "m"]],
        &[&["RPUSH", "m", "v"], &["LMOVE", "m", "l", "LEFT", "LEFT"]],
        &[&["SADD", "m", "v"], &["SORT", "m", "ALPHA", "STORE", "l"], &["DEL", "m"]],
        &[&["SELECT", "1"], &["RPUSH", "l", "v"], &["MOVE", "l", "0"], &["SELECT", "0"]],
        &[&["SELECT", "1"], &["RPUSH", "l", "v"], &["SWAPDB", "0", "1"], &["SELECT", "0"]],
    ] {
        let mut client = blocked(&server, &["BLPOP", "l", "0"], 1);
        for call in calls {
            other.call(call);
        }
        assert_eq!(client.reply(), "[l, v]", "{calls:?}");
        assert_eq!(other.call(&["DBSIZE"]), ":0");
    }
}

#[test]
fn a_swap_that_brings_another_type_ends_no_wait() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let mut client = blocked(&server, &["BLPOP", "l", "0"], 1);
    for call in [&["SELECT", "1"][..], &["SET", "l", "v"], &["SWAPDB", "0", "1"]] {
        assert_eq!(other.call(call), "+OK");
    }
    await_blocked(&server, 1);
    for call in [&["RPUSH", "l", "v"][..], &["SWAPDB", "0", "1"]] {
        other.call(call);
    }
    assert_eq!(client.reply(), "[l, v]");
}

#[test]
fn a_target_of_the_wrong_type_ends_one_wait_only() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    assert_eq!(other.call(&["SET", "s", "v"]), "+OK");
    let mut wrong = blocked(&server, &["BLMOVE", "l", "s", "LEFT", "LEFT", "0"], 1);
    let mut right = blocked(&server, &["BLPOP", "l", "0"], 2);
    assert_eq!(other.call(&["RPUSH", "l", "a"]), ":1");
    assert!(wrong.reply().starts_with("-WRONGTYPE"));
    assert_eq!(right.reply(), "[l, a]");
}

#[test]
fn the_server_ends_while_calls_wait() {
    let mut server = Server::start(&["--shutdown-timeout", "30"]);
    let mut other = server.connect();
    let mut client = blocked(&server, &["BLPOP", "l", "0"], 1);
    assert_eq!(other.call(&["SET", "k", "v"]), "+OK");
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(client.is_closed());
}

#[test]
fn a_reload_leaves_those_who_wait() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = blocked(&server, &["BLPOP", "l", "0"], 1);
    let mut other = server.connect();
    assert_eq!(other.call(&["DEBUG", "RELOAD"]), "+OK");
    assert_eq!(other.call(&["RPUSH", "l", "a"]), ":1");
    assert_eq!(client.reply(), "[l, a]");
}

#[test]
fn what_was_taken_stays_taken_after_a_kill() {
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut client = blocked(&server, &["BLMOVE", "a", "b", "LEFT", "LEFT", "0"], 1);
    let mut other = server.connect();
    assert_eq!(other.call(&["RPUSH", "a", "1", "2"]), ":2");
    assert_eq!(client.reply(), "1");
    server.kill_and_restart();
    let mut other = server.connect();
    assert_eq!(other.call(&["LRANGE", "a", "0", "-1"]), "[2]");
    assert_eq!(other.call(&["LRANGE", "b", "0", "-1"]), "[1]");
}

#[test]
fn keys_that_are_waited_for_are_counted() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let mut counts = |count: u32| {
        let sign = format!("total_blocking_keys:{count}\r\n");
        eventually(&sign, || other.call(&["INFO", "clients"]).contains(&sign));
    };
    counts(0);
    let first = blocked(&server, &["BLPOP", "a", "b", "0"], 1);
    let mut second = blocked(&server, &["BLPOP", "b", "c", "0"], 2);
    counts(3);
    drop(first);
    counts(2);
    assert_eq!(server.connect().call(&["RPUSH", "c", "x"]), ":1");
    assert_eq!(second.reply(), "[c, x]");
    counts(0);
}

#[test]
fn many_wait_at_one_key() {
    let server = Server::start(&[]);
    let mut waiting: Vec<Client> = (0..1000).map(|_| server.connect()).collect();
    for client in &mut waiting {
        client.send(&encode(&[b"BLPOP", b"l", b"0"]));
    }
    await_blocked(&server, 1000);
    let mut other = server.connect();
    for n in 0..500 {
        assert_eq!(other.call(&["RPUSH", "l", &n.to_string()]), ":1");
    }
    let elements: Vec<String> = (500..1000).map(|n| n.to_string()).collect();
    let mut words = vec!["RPUSH", "l"];
    words.extend(elements.iter().map(String::as_str));
    assert_eq!(other.call(&words), ":500");
    let mut taken: Vec<u32> = Vec::new();
    for client in &mut waiting {
        let reply = client.reply();
        let element = reply.trim_start_matches("[l, ").trim_end_matches(']');
        taken.push(element.parse().expect("a number"));
    }
    taken.sort_unstable();
    assert!(taken.into_iter().eq(0..1000), "each element was taken once");
    assert_eq!(other.call(&["EXISTS", "l"]), ":0");
}

#[test]
fn xread_waits_for_entries_behind_the_end() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    other.call(&["XADD", "s", "1-1", "a", "1"]);
    let read = ["XREAD", "BLOCK", "0", "STREAMS", "x", "s", "$", "$"];
    let mut all: Vec<Client> = (1..=3).map(|count| blocked(&server, &read, count)).collect();
    // Nothing that they wait for.
    other.call(&["XDEL", "s", "1-1"]);
    other.call(&["DEL", "s"]);
    other.call(&["SET", "s", "v"]);
    other.call(&["DEL", "s"]);
    await_blocked(&server, 3);
    assert_eq!(other.call(&["XADD", "s", "2-1", "a", "2"]), "2-1");
    for client in &mut all {
        assert_eq!(client.reply(), "[[s, [[2-1, [a, 2]]]]]");
    }
    // What is there already is answered at once; and a wait ends.
    let mut client = server.connect();
    let answer = client.call(&["XREAD", "BLOCK", "0", "STREAMS", "s", "0"]);
    assert_eq!(answer, "[[s, [[2-1, [a, 2]]]]]");
    assert_eq!(client.call(&["XREAD", "BLOCK", "20", "STREAMS", "s", "+", "$"]), UNBALANCED);
    assert_eq!(client.call(&["XREAD", "BLOCK", "20", "STREAMS", "s", "$"]), "(nil)");
    assert_eq!(client.call(&["XREAD", "BLOCK", "0", "STREAMS", "s", "+"]), answer);
    other.call(&["SET", "k", "v"]);
    assert!(client.call(&["XREAD", "BLOCK", "0", "STREAMS", "k", "$"]).starts_with("-WRONGTYPE"));
}

const UNBALANCED: &str = "-ERR Unbalanced 'xread' list of streams: for each stream key an ID or \
                          '$' must be specified.";

#[test]
fn an_entry_wakes_one_consumer_of_a_group() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    other.call(&["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"]);
    let read = |consumer| ["XREADGROUP", "GROUP", "g", consumer, "BLOCK", "0", "STREAMS", "s", ">"];
    let mut first = blocked(&server, &read("a"), 1);
    let mut second = blocked(&server, &read("b"), 2);
    // Both are consumers, though they have got nothing yet.
    assert!(other.call(&["XINFO", "GROUPS", "s"]).contains("consumers, :2"));
    other.call(&["XADD", "s", "1-1", "a", "1"]);
    assert_eq!(first.reply(), "[[s, [[1-1, [a, 1]]]]]");
    await_blocked(&server, 1);
    other.call(&["XADD", "s", "2-1", "a", "2"]);
    assert_eq!(second.reply(), "[[s, [[2-1, [a, 2]]]]]");
    assert_eq!(other.call(&["XPENDING", "s", "g"]), "[:2, 1-1, 2-1, [[a, 1], [b, 1]]]");
    // The history never waits.
    let history = ["XREADGROUP", "GROUP", "g", "a", "BLOCK", "0", "STREAMS", "s", "5"];
    assert_eq!(first.call(&history), "[[s, []]]");
}

#[test]
fn who_reads_for_a_group_is_told_when_it_goes() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let read = ["XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">"];
    let no_group = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    for (call, expected) in [
        (&["XGROUP", "DESTROY", "s", "g"][..], no_group),
        (&["DEL", "s"], no_group),
        (&["FLUSHALL"], no_group),
        (&["RENAME", "s", "t"], no_group),
        (&["SET", "s", "v"], wrong_type),
        (&["RENAME", "l", "s"], wrong_type),
        (&["SWAPDB", "0", "1"], wrong_type),
    ] {
        for call in [&["SELECT", "1"][..], &["RPUSH", "s", "v"], &["SELECT", "0"], &["DEL", "s"]] {
            other.call(call);
        }
        other.call(&["RPUSH", "l", "v"]);
        other.call(&["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"]);
        let mut client = blocked(&server, &read, 1);
        other.call(call);
        assert_eq!(client.reply(), expected, "{call:?}");
    }
}

#[test]
fn who_reads_a_stream_waits_on_when_it_goes() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    for call in [&["DEL", "s"][..], &["SET", "s", "v"], &["RENAME", "l", "s"]] {
        other.call(&["DEL", "s"]);
        other.call(&["XADD", "s", "1-1", "a", "1"]);
        other.call(&["RPUSH", "l", "v"]);
        let mut client = blocked(&server, &["XREAD", "BLOCK", "0", "STREAMS", "s", "$"], 1);
        other.call(call);
        other.call(&["DEL", "s"]);
        other.call(&["XADD", "s", "2-1", "b", "2"]);
        assert_eq!(client.reply(), "[[s, [[2-1, [b, 2]]]]]", "{call:?}");
    }
}

#[test]
fn members_go_to_those_who_wait_in_order() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let mut lowest = blocked(&server, &["BZPOPMIN", "x", "z", "0"], 1);
    let mut highest = blocked(&server, &["BZPOPMAX", "z", "0"], 2);
    let mut many = blocked(&server, &["BZMPOP", "0", "2", "z", "y", "MAX", "COUNT", "2"], 3);
    let mut last = blocked(&server, &["BZPOPMIN", "z", "y", "0"], 4);
    assert_eq!(other.call(&["ZADD", "z", "1", "a", "2", "b", "3", "c", "4", "d", "5", "e"]), ":5");
    assert_eq!(lowest.reply(), "[z, a, 1]");
    assert_eq!(highest.reply(), "[z, e, 5]");
    assert_eq!(many.reply(), "[z, [[d, 4], [c, 3]]]");
    assert_eq!(last.reply(), "[z, b, 2]");
    assert_eq!(other.call(&["EXISTS", "z"]), ":0");
    // Nothing of it is left in the lines of the other keys.
    assert_eq!(other.call(&["ZADD", "y", "1", "a"]), ":1");
    assert_eq!(other.call(&["ZADD", "x", "1", "a"]), ":1");
    assert_eq!(other.call(&["DBSIZE"]), ":2");
    // What is there already is answered at once; a wait ends with its time.
    assert_eq!(last.call(&["BZPOPMIN", "z", "y", "0"]), "[y, a, 1]");
    assert_eq!(last.call(&["BZPOPMIN", "z", "y", "0.01"]), "(nil)");
    assert_eq!(last.call(&["BZMPOP", "0.01", "1", "z", "MIN"]), "(nil)");
    assert_eq!(other.call(&["ZADD", "z", "1", "a"]), ":1");
    assert_eq!(other.call(&["ZCARD", "z"]), ":1", "nobody waits any more");
}

#[test]
fn scores_are_doubles_for_those_who_wait() {
    let server = Server::start(&[]);
    let bytes = |version: &str, calls: &str| {
        let mut client = server.connect();
        client.send(format!("HELLO {version}\r\nPING\r\n{calls}\r\nQUIT\r\n").as_bytes());
        let bytes = client.rest();
        let text = String::from_utf8(bytes).expect("text");
        let (_, answers) = text.split_once("+PONG\r\n").expect("the answer to PING");
        answers.trim_end_matches("+OK\r\n").to_owned()
    };
    let one = "ZADD z 1.5 a\r\nBZPOPMIN z 0";
    let many = "ZADD z 1.5 a\r\nBZMPOP 0 1 z MAX";
    assert_eq!(bytes("3", one), ":1\r\n*3\r\n$1\r\nz\r\n$1\r\na\r\n,1.5\r\n");
    assert_eq!(bytes("2", one), ":1\r\n*3\r\n$1\r\nz\r\n$1\r\na\r\n$3\r\n1.5\r\n");
    let (start, end) = (":1\r\n*2\r\n$1\r\nz\r\n*1\r\n*2\r\n$1\r\na\r\n", "1.5\r\n");
    assert_eq!(bytes("3", many), format!("{start},{end}"));
    assert_eq!(bytes("2", many), format!("{start}$3\r\n{end}"));
}

#[test]
fn only_a_sorted_set_ends_a_wait_for_one() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let mut list = blocked(&server, &["BLPOP", "k", "0"], 1);
    let mut zset = blocked(&server, &["BZPOPMIN", "k", "0"], 2);
    for call in [&["SET", "k", "v"][..], &["DEL", "k"], &["SADD", "k", "v"], &["DEL", "k"]] {
        other.call(call);
    }
    await_blocked(&server, 2);
    assert_eq!(other.call(&["ZADD", "k", "1", "a"]), ":1");
    assert_eq!(zset.reply(), "[k, a, 1]");
    await_blocked(&server, 1);
    let mut zset = blocked(&server, &["BZPOPMIN", "k", "0"], 2);
    assert_eq!(other.call(&["RPUSH", "k", "e"]), ":1");
    assert_eq!(list.reply(), "[k, e]");
    await_blocked(&server, 1);
    // Another of its keys holds something else by the time.
    assert_eq!(other.call(&["ZADD", "k", "1", "a"]), ":1");
    assert_eq!(zset.reply(), "[k, a, 1]");
    let mut zset = blocked(&server, &["BZMPOP", "0", "2", "s", "k", "MIN"], 1);
    assert_eq!(other.call(&["SET", "s", "v"]), "+OK");
    await_blocked(&server, 1);
    assert_eq!(other.call(&["ZADD", "k", "1", "a"]), ":1");
    assert!(zset.reply().starts_with("-WRONGTYPE"));
    assert_eq!(other.call(&["ZCARD", "k"]), ":1");
    assert!(zset.call(&["BZPOPMAX", "x", "s", "0"]).starts_with("-WRONGTYPE"));
}

#[test]
fn every_way_to_make_a_sorted_set_ends_a_wait() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    let add = &["ZADD", "m", "1", "v"][..];
    let set = &["SADD", "m", "v"][..];
    let place = &["GEOADD", "m", "13", "38", "v"][..];
    let near = &["GEOSEARCHSTORE", "z", "m", "FROMMEMBER", "v", "BYRADIUS", "1", "m", "STOREDIST"];
    let one = &["SELECT", "1"][..];
    let home = &["SELECT", "0"][..];
    for calls in [
        &[&["ZADD", "z", "1", "v"][..]][..],
        &[&["ZADD", "z", "INCR", "1", "v"]],
        &[&["ZINCRBY", "z", "1", "v"]],
        &[&["GEOADD", "z", "13", "38", "v"]],
        &[place, near],
        &[place, &["GEORADIUSBYMEMBER", "m", "v", "1", "m", "STORE", "z"]],
        &[add, &["ZRANGESTORE", "z", "m", "0", "-1"]],
        &[add, &["ZUNIONSTORE", "z", "1", "m"]],
        &[set, &["ZINTERSTORE", "z", "1", "m"]],
        &[add, &["ZDIFFSTORE", "z", "2", "m", "n"]],
        &[add, &["RENAME", "m", "z"]],
        &[add, &["RENAMENX", "m", "z"]],
        &[add, &["COPY", "m", "z"]],
        &[one, &["ZADD", "z", "1", "v"], &["MOVE", "z", "0"], home],
        &[one, &["ZADD", "z", "1", "v"], &["COPY", "z", "z", "DB", "0"], home],
        &[one, &["ZADD", "z", "1", "v"], &["SWAPDB", "0", "1"], home],
    ] {
        other.call(&["FLUSHALL"]);
        let mut client = blocked(&server, &["BZPOPMIN", "z", "0"], 1);
        for call in calls {
            let answer = other.call(call);
            assert!(!answer.starts_with('-'), "{call:?}: {answer}");
        }
        assert!(client.reply().starts_with("[z, v, "), "{calls:?}");
        assert_eq!(other.call(&["EXISTS", "z"]), ":0", "{calls:?}");
    }
}

#[test]
fn to_pop_is_no_hit_and_no_miss() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    assert_eq!(other.call(&["ZADD", "z", "1", "a", "2", "b"]), ":2");
    assert_eq!(other.call(&["ZPOPMIN", "none"]), "[]");
    assert_eq!(other.call(&["ZPOPMIN", "z"]), "[a, 1]");
    assert_eq!(other.call(&["BZPOPMIN", "none", "z", "0"]), "[z, b, 2]");
    let stats = other.call(&["INFO", "stats"]);
    assert!(stats.contains("keyspace_hits:0\r\nkeyspace_misses:0\r\n"), "{stats}");
}

#[test]
fn one_large_element_moves_through_many_waits() {
    let server = Server::start(&["--maxmemory", "256mb"]);
    let waiting: Vec<Client> = (1..=40)
        .map(|count| blocked(&server, &["BLMOVE", "l", "l", "LEFT", "RIGHT", "0"], count))
        .collect();
    let mut other = server.connect();
    let element = "x".repeat(1 << 20);
    assert_eq!(other.call(&["RPUSH", "l", &element]), ":1");
    for mut client in waiting {
        assert_eq!(client.reply(), element);
    }
    assert_eq!(other.call(&["LLEN", "l"]), ":1");
    assert_eq!(other.call(&["SET", "k", "v"]), "+OK");
    await_blocked(&server, 0);
}

#[test]
fn what_is_restored_is_waited_for() {
    /// The list of `a` and `b`, as Redis serializes it.
    const LIST: &[u8] = b"\x01\x02\x01a\x01b\x0a\x00\x32\xa8\x90\x7e\xd5\x03\x1a\x45";

    let server = Server::start(&[]);
    let mut client = blocked(&server, &["BLPOP", "l", "0"], 1);
    let mut other = server.connect();
    other.send(&encode(&[b"RESTORE", b"l", b"0", LIST]));
    assert_eq!(other.reply(), "+OK");
    assert_eq!(client.reply(), "[l, a]");
    assert_eq!(other.call(&["LRANGE", "l", "0", "-1"]), "[b]");
    // One that has expired already is not.
    let client = blocked(&server, &["BLPOP", "m", "0"], 1);
    other.send(&encode(&[b"RESTORE", b"m", b"1", LIST, b"ABSTTL"]));
    assert_eq!(other.reply(), "+OK");
    await_blocked(&server, 1);
    drop(client);
}

#[test]
fn who_monitors_sees_a_call_when_it_begins_to_wait() {
    let server = Server::start(&[]);
    let mut monitor = server.connect();
    assert_eq!(monitor.call(&["MONITOR"]), "+OK");
    let mut client = server.connect();
    client.send(&encode(&[b"BLPOP", b"l", b"0"]));
    assert!(monitor.reply().ends_with(r#"] "BLPOP" "l" "0""#));
    let mut other = server.connect();
    assert_eq!(other.call(&["RPUSH", "l", "a"]), ":1");
    assert_eq!(client.reply(), "[l, a]");
    assert_eq!(client.call(&["PING"]), "+PONG");
    assert!(monitor.reply().ends_with(r#"] "RPUSH" "l" "a""#));
    assert!(monitor.reply().ends_with(r#"] "PING""#), "it is shown once");
}

#[test]
fn keys_that_end_a_call_when_they_go_are_counted() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    assert_eq!(other.call(&["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"]), "+OK");
    let read = |name| ["XREADGROUP", "GROUP", "g", name, "BLOCK", "0", "STREAMS", "s", ">"];
    let _list = blocked(&server, &["BLPOP", "l", "0"], 1);
    let _one = blocked(&server, &read("one"), 2);
    let mut two = blocked(&server, &read("two"), 3);
    let told = |other: &mut Client| {
        let info = other.call(&["INFO", "clients"]);
        let lines = info.lines().filter(|line| line.starts_with("total_blocking_keys"));
        lines.map(|line| line.rsplit(':').next().expect("a number").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut other), ["2", "1"]);
    assert_eq!(other.call(&["DEL", "s"]), ":1");
    assert!(two.reply().starts_with("-NOGROUP"));
    eventually("they are gone", || told(&mut other) == ["1", "0"]);
}
