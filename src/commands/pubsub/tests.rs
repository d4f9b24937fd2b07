//! Subscribing and publishing without sockets.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::commands::test_server::TestServer;
use crate::commands::{Args, table};

/// What waits for a connection, as text; nothing waits behind it.
fn waiting(session: &Session) -> String {
    let Some(outbox) = session.outbox() else { return String::new() };
    let mut batch = VecDeque::new();
    outbox.take(&mut batch, Portion::all(0));
    outbox.written(batch.len(), batch.iter().map(Bytes::len).sum());
    batch.iter().map(|message| String::from_utf8_lossy(message)).collect()
}

fn run(session: &mut Session, state: &ServerState, call: &str) -> Reply {
    let words: Vec<Bytes> = call.split(' ').map(|w| Bytes::from(w.to_owned())).collect();
    let table::Lookup::Found(command) = table::lookup(&words[0], words.get(1).map(|w| &w[..]))
    else {
        panic!("unknown: {call}")
    };
    let Run::Session(handler) = command.spec.run else { panic!("no session command: {call}") };
    handler(session, state, &mut Args::new(&words, command.name_words)).expect(call)
}

fn confirmed(word: &'static str, name: &'static str, count: i64) -> Vec<Reply> {
    vec![word.into(), name.into(), Reply::Integer(count)]
}

#[test]
fn each_name_is_confirmed_and_counted() {
    let mut server = TestServer::new();
    let reply = server.ok("subscribe a b a");
    let expected = [("a", 1), ("b", 2), ("a", 2)].map(|(n, c)| confirmed("subscribe", n, c));
    assert_eq!(reply, Reply::Pushes(expected.into()));
    let reply = server.ok("psubscribe p*");
    assert_eq!(reply, Reply::Pushes(vec![confirmed("psubscribe", "p*", 3)]));
    let reply = server.ok("ssubscribe a");
    assert_eq!(reply, Reply::Pushes(vec![confirmed("ssubscribe", "a", 1)]));
    let reply = server.ok("unsubscribe");
    let expected = [("a", 2), ("b", 1)].map(|(n, c)| confirmed("unsubscribe", n, c));
    assert_eq!(reply, Reply::Pushes(expected.into()));
    let none = vec!["unsubscribe".into(), Reply::Null, Reply::Integer(1)];
    assert_eq!(server.ok("unsubscribe"), Reply::Pushes(vec![none]));
    let reply = server.ok("unsubscribe x");
    assert_eq!(reply, Reply::Pushes(vec![confirmed("unsubscribe", "x", 1)]));
    assert!(server.session.is_subscriber());
    server.ok("punsubscribe p*");
    assert!(server.session.is_subscriber(), "a shard channel is left");
    server.ok("sunsubscribe");
    assert!(!server.session.is_subscriber());
    assert!(server.state.pubsub.is_idle());
}

#[test]
fn a_connection_that_has_nothing_is_told_so() {
    let mut server = TestServer::new();
    let none =
        |word: &'static str| Reply::Pushes(vec![vec![word.into(), Reply::Null, Reply::Integer(0)]]);
    assert_eq!(server.ok("unsubscribe"), none("unsubscribe"));
    assert_eq!(server.ok("punsubscribe"), none("punsubscribe"));
    assert_eq!(server.ok("sunsubscribe"), none("sunsubscribe"));
    assert!(server.session.pushes.is_none(), "it costs nothing");
}

#[test]
fn a_message_comes_once_for_each_subscription_in_the_form_of_the_connection() {
    let server = TestServer::new();
    let state = &server.state;
    let mut old = TestServer::connect(state);
    let mut new = TestServer::connect(state);
    new.speak(crate::protocol::Version::Resp3);
    let mut publisher = TestServer::connect(state);
    run(&mut old, state, "subscribe c.1");
    run(&mut old, state, "psubscribe c.* x*");
    run(&mut new, state, "psubscribe c.?");
    run(&mut new, state, "ssubscribe c.1");
    assert_eq!(run(&mut publisher, state, "publish c.1 hi"), Reply::Integer(3));
    let direct = "*3\r\n$7\r\nmessage\r\n$3\r\nc.1\r\n$2\r\nhi\r\n";
    let matched = "*4\r\n$8\r\npmessage\r\n$3\r\nc.*\r\n$3\r\nc.1\r\n$2\r\nhi\r\n";
    assert_eq!(waiting(&old), [direct, matched].concat());
    assert_eq!(waiting(&new), ">4\r\n$8\r\npmessage\r\n$3\r\nc.?\r\n$3\r\nc.1\r\n$2\r\nhi\r\n");
    assert_eq!(run(&mut publisher, state, "spublish c.1 yo"), Reply::Integer(1));
    assert_eq!(waiting(&new), ">3\r\n$8\r\nsmessage\r\n$3\r\nc.1\r\n$2\r\nyo\r\n");
    assert_eq!(waiting(&old), "");
    drop(old);
    assert_eq!(run(&mut publisher, state, "publish c.1 hi"), Reply::Integer(1));
    drop(new);
    assert!(state.pubsub.is_idle());
    assert_eq!(state.pubsub.count(Kind::Pattern), 0);
}

#[test]
fn what_is_known_of_channels() {
    let mut server = TestServer::new();
    let state = Arc::clone(&server.state);
    let mut other = TestServer::connect(&state);
    server.ok("subscribe a ab");
    run(&mut other, &state, "subscribe a");
    run(&mut other, &state, "psubscribe z* y*");
    server.session.client.resp.store(3, std::sync::atomic::Ordering::Relaxed);
    server.ok("psubscribe z*");
    run(&mut other, &state, "ssubscribe s");
    assert_eq!(server.ok("pubsub channels ?b"), Reply::array(["ab"]));
    let Reply::Array(all) = server.ok("pubsub channels") else { panic!("no array") };
    assert_eq!(all.len(), 2);
    assert_eq!(server.ok("pubsub shardchannels"), Reply::array(["s"]));
    assert_eq!(server.ok("pubsub numpat"), Reply::Integer(2));
    let counts = ["a".into(), Reply::Integer(2), "none".into(), Reply::Integer(0)];
    assert_eq!(server.ok("pubsub numsub a none"), Reply::Array(counts.into()));
    assert_eq!(server.ok("pubsub numsub"), Reply::EMPTY);
    let counts = ["s".into(), Reply::Integer(1)];
    assert_eq!(server.ok("pubsub shardnumsub s"), Reply::Array(counts.into()));
    assert_eq!(
        server.error("pubsub channels a b"),
        "ERR unknown subcommand or wrong number of arguments for 'channels'. Try PUBSUB HELP."
    );
}

#[test]
fn a_fan_out_in_steps_reaches_everybody_once() {
    let server = TestServer::new();
    let state = &server.state;
    let mut sessions: Vec<Session> = (0..7).map(|_| TestServer::connect(state)).collect();
    for (number, session) in sessions.iter_mut().enumerate() {
        run(session, state, "subscribe c");
        if number % 2 == 0 {
            run(session, state, "psubscribe ? c* d*");
        }
    }
    let message = Message { channel: "c".into(), payload: "x".into(), is_shard: false };
    assert_eq!(state.pubsub.receivers(&message), 7 + 4 + 4);
    for budget in 1..20 {
        let mut fanout = Fanout::new(message.clone());
        let mut steps = 0;
        while !fanout.advance(state, budget) {
            steps += 1;
            assert!(steps < 60, "no end with a budget of {budget}");
        }
        for (number, session) in sessions.iter().enumerate() {
            let got = waiting(session);
            assert_eq!(got.matches("\r\nmessage\r\n").count(), 1, "budget {budget}");
            let matched = if number % 2 == 0 { 2 } else { 0 };
            assert_eq!(got.matches("pmessage").count(), matched, "budget {budget}");
        }
    }
}

#[test]
fn messages_that_are_held_are_counted_but_not_sent() {
    let mut server = TestServer::new();
    let state = Arc::clone(&server.state);
    let mut subscriber = TestServer::connect(&state);
    run(&mut subscriber, &state, "subscribe c");
    server.session.held_messages = Some(Vec::new());
    assert_eq!(server.ok("publish c x"), Reply::Integer(1));
    assert_eq!(server.ok("publish c y"), Reply::Integer(1));
    assert_eq!(waiting(&subscriber), "");
    let held = server.session.held_messages.take().expect("they were held");
    assert!(state.pubsub.publish_all(&state, &mut held.into_iter()).is_none());
    let got = waiting(&subscriber);
    assert!(got.find("\nx\r") < got.find("\ny\r") && got.contains("\nx\r"), "{got}");
}
