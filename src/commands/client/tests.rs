use super::*;
use crate::commands::test_server::{NOW_MS, TestServer};

#[test]
fn a_line_has_all_fields() {
    let mut server = TestServer::new();
    server.ok("client setname me");
    server.ok("client setinfo lib-name lib");
    server.ok("client setinfo LIB-VER 1.2");
    server.clock.advance_ms(5000);
    let size = size_of::<Client>();
    assert_eq!(
        server.text("client list"),
        format!(
            "id=1 addr=127.0.0.1:50001 laddr=127.0.0.1:6379 fd=8 name=me age=5 idle=5 flags=N db=0 \
             sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 \
             rbp=0 obl=0 oll=0 omem=0 tot-mem={size} events=r cmd=NULL user=default redir=-1 resp=2 \
             lib-name=lib lib-ver=1.2\n"
        )
    );
    assert_eq!(server.text("client info"), server.text("client list id 1 99"));
    assert_eq!(server.text("client list type pubsub"), "");
    assert_eq!(server.error("client list type x"), "ERR Unknown client type 'x'");
    assert_eq!(server.error("client list id x"), "ERR Invalid client ID");
}

#[test]
fn names_are_printable_words() {
    let mut server = TestServer::new();
    let words = ["client", "setname", "a b"].map(Bytes::from_static_str);
    let text = "ERR Client names cannot contain spaces, newlines or special characters.";
    assert_eq!(server.run_words(&words).expect_err("a blank").to_string(), text);
    assert_eq!(server.error("client setinfo x y"), "ERR Unrecognized option 'x'");
    let words = ["client", "setinfo", "LIB-name", "a b"].map(Bytes::from_static_str);
    let text = "ERR LIB-name cannot contain spaces, newlines or special characters.";
    assert_eq!(server.run_words(&words).expect_err("a blank").to_string(), text);
    server.ok("client setname me");
    server.run_words(&["client", "setname", ""].map(Bytes::from_static_str)).expect("clears");
    assert_eq!(server.ok("client getname"), Reply::Null);
}

trait FromStaticStr {
    fn from_static_str(text: &'static str) -> Bytes;
}

impl FromStaticStr for Bytes {
    fn from_static_str(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }
}

#[test]
fn kill_by_address_and_by_filters() {
    let mut server = TestServer::new();
    let others: Vec<Session> = (0..3).map(|_| TestServer::connect(&server.state)).collect();
    assert_eq!(server.ok(&format!("client kill {}", others[0].client.addr)), Reply::OK);
    assert!(others[0].client.is_killed() && !others[1].client.is_killed());
    assert_eq!(server.error("client kill 1.2.3.4:5"), "ERR No such client");
    assert_eq!(server.ok("client kill id 3"), Reply::Integer(1));
    assert!(others[1].client.is_killed());
    assert_eq!(server.ok("client kill type replica"), Reply::Integer(0));
    assert_eq!(server.ok("client kill maxage 10"), Reply::Integer(0));
    assert_eq!(server.ok("client kill id 1"), Reply::Integer(0), "skips itself");
    for (call, text) in [
        ("id 0", "ERR client-id should be greater than 0"),
        ("type x", "ERR Unknown client type 'x'"),
        ("user x", "ERR No such user 'x'"),
        ("maxage x", "ERR maxage is not an integer or out of range"),
        ("maxage 0", "ERR maxage should be greater than 0"),
        ("skipme x", "ERR syntax error"),
        ("id 1 type", "ERR syntax error"),
    ] {
        assert_eq!(server.error(&format!("client kill {call}")), text);
    }
    server.clock.advance_ms(20_000);
    assert_eq!(server.ok("client kill maxage 10 skipme no"), Reply::Integer(4));
    assert!(server.session.close_after_reply && !server.session.client.is_killed());
}

#[test]
fn replies_are_switched_off_and_skipped() {
    let mut server = TestServer::new();
    let mut sent = |call: &str| {
        let reply = server.ok(call);
        server.session.sends_reply() && reply != Reply::Silent
    };
    let calls =
        ["client reply skip", "ping", "ping", "client reply off", "ping", "client reply on"];
    assert_eq!(calls.map(&mut sent), [false, false, true, false, false, true]);
}

#[tokio::test]
async fn pauses_grow_and_end() {
    let mut server = TestServer::new();
    let (_, control) = tokio::sync::mpsc::channel(1);
    let mut settled = std::mem::replace(&mut server.control, control);
    tokio::spawn(async move {
        while let Some(Control::Settle(to)) = settled.recv().await {
            to.send(Ok(())).expect("who has asked waits");
        }
    });
    for (call, text) in [
        ("client pause x", "ERR timeout is not an integer or out of range"),
        ("client pause -1", "ERR timeout is negative"),
        ("client pause 9223372036854775807", "ERR timeout is out of range"),
        ("client pause 1 x", "ERR CLIENT PAUSE mode must be WRITE or ALL"),
    ] {
        assert_eq!(server.run_async(call).await.expect_err(call).to_string(), text);
    }
    server.run_async("client pause 100 write").await.expect("a pause");
    let pause = |server: &TestServer| server.state.pause.current(NOW_MS);
    assert_eq!(pause(&server), Some((PauseKind::Write, NOW_MS + 100)));
    server.run_async("client pause 50 all").await.expect("a pause");
    assert_eq!(pause(&server), Some((PauseKind::All, NOW_MS + 100)));
    server.ok("client unpause");
    assert_eq!((pause(&server), server.state.pause.is_set()), (None, false));
}

#[tokio::test]
async fn unblock_ends_a_blocking_command() {
    let mut server = TestServer::new();
    assert_eq!(server.ok("client unblock 1"), Reply::Integer(0));
    assert!(server.error("client unblock 1 x").contains("TIMEOUT or ERROR"));
    for (how, expected) in [("timeout", Unblock::Timeout), ("error", Unblock::Error)] {
        let other = TestServer::connect(&server.state).client;
        let waiting = Arc::clone(&other);
        let task =
            tokio::spawn(async move { waiting.blocked_on(std::future::pending::<()>()).await });
        while !other.has(ClientFlag::BLOCKED) {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.ok(&format!("client unblock {} {how}", other.id)), Reply::Integer(1));
        assert_eq!(task.await.expect("no panic"), Err(expected));
        assert!(!other.has(ClientFlag::BLOCKED));
    }
}
