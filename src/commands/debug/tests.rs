use super::*;
use crate::commands::test_server::TestServer;
use crate::config::Settings;
use crate::protocol::{ReplyEncoder, Version};

#[tokio::test]
async fn is_off_unless_allowed() {
    let mut server = TestServer::new();
    let error = server.run_async("debug sleep 0").await.expect_err("is off");
    assert!(error.to_string().starts_with("ERR DEBUG command not allowed."), "{error}");
    let local = Settings { enable_debug_command: Protection::Local, ..Settings::default() };
    assert!(TestServer::with(local).run_async("debug sleep 0").await.is_ok());
}

#[tokio::test]
async fn small_subcommands() {
    let settings = Settings { enable_debug_command: Protection::Yes, ..Settings::default() };
    let mut server = TestServer::with(settings);
    assert_eq!(
        server.run_async("debug error OOPS").await.expect_err("asked for").to_string(),
        "OOPS"
    );
    assert_eq!(server.run_async("debug protocol true").await.expect("known"), Reply::Bool(true));
    assert_eq!(
        server.run_async("debug stringmatch-len 9 a*").await.expect("ok"),
        Reply::Integer(1)
    );
    for (word, on) in [("0", false), ("1", true), ("x", false)] {
        server.run_async(&format!("debug set-active-expire {word}")).await.expect("ok");
        assert_eq!(server.state.expires_actively(), on, "{word}");
    }
    for call in ["quicklist-packed-threshold 100b", "replicate set a b", "dict-resizing 0"] {
        assert_eq!(server.run_async(&format!("debug {call}")).await.expect("ok"), Reply::OK);
    }
    assert!(server.run_async("debug quicklist-packed-threshold 5gb").await.is_err());
    for call in ["x", "-1", "1 key -1"] {
        let error =
            server.run_async(&format!("debug populate {call}")).await.expect_err("no count");
        assert_eq!(error.to_string(), "ERR value is out of range, must be positive");
    }
    let too_long = server.run_async("debug populate 1 key 9999999999").await.expect_err("too long");
    assert!(too_long.to_string().contains("proto-max-bulk-len"), "{too_long}");
    for call in ["x", "-1", "0s", "1e-3"] {
        assert!(server.run_async(&format!("debug sleep {call}")).await.is_ok(), "{call}");
    }
    assert!(server.run_async("debug sleep 1e9").await.is_err());
    let error = server.run_async("debug nosuch").await.expect_err("unknown");
    assert!(error.to_string().contains("for 'nosuch'. Try DEBUG HELP."), "{error}");
}

#[tokio::test]
async fn a_push_needs_resp3() {
    let settings = Settings { enable_debug_command: Protection::Yes, ..Settings::default() };
    let mut server = TestServer::with(settings);
    let error = server.run_async("debug protocol push").await.expect_err("RESP2");
    assert_eq!(error.to_string(), "ERR RESP2 is not supported by this command");
    server.session.version = Version::Resp3;
    let reply = server.run_async("debug protocol push").await.expect("RESP3");
    let mut wire = bytes::BytesMut::new();
    ReplyEncoder::new(Version::Resp3).write(&reply, &mut wire);
    let expected = ">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n\
                    $40\r\nSome real reply following the push reply\r\n";
    assert_eq!(wire, expected);
}
