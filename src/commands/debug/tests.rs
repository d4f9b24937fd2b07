use super::*;
use crate::commands::test_server::TestServer;
use crate::config::Settings;

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
    server.run_async("debug set-active-expire 0").await.expect("ok");
    assert!(!server.state.expires_actively());
    assert!(server.run_async("debug sleep x").await.is_err());
    let error = server.run_async("debug nosuch").await.expect_err("unknown");
    assert!(error.to_string().contains("for 'nosuch'. Try DEBUG HELP."), "{error}");
}
