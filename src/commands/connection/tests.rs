use super::*;
use crate::commands::test_server::TestServer;
use crate::config::Settings;

fn field(reply: &Reply, name: &'static str) -> Reply {
    let Reply::Map(fields) = reply else { panic!("{reply:?}") };
    let found = fields.iter().find(|(key, _)| *key == Reply::bulk(name));
    found.map(|(_, value)| value.clone()).expect(name)
}

#[test]
fn ping_and_echo() {
    let mut server = TestServer::new();
    assert_eq!(server.ok("ping"), Reply::Simple("PONG".into()));
    assert_eq!(server.ok("ping hi"), Reply::bulk("hi"));
    assert_eq!(server.error("ping a b"), "ERR wrong number of arguments for 'ping' command");
    assert_eq!(server.ok("echo hi"), Reply::bulk("hi"));
}

#[test]
fn passwords() {
    let mut server = TestServer::new();
    assert!(server.error("auth x").starts_with("ERR AUTH <password> called without any password"));
    assert_eq!(server.ok("auth default x"), Reply::OK);
    let settings = Settings { requirepass: "secret".to_owned(), ..Settings::default() };
    let mut server = TestServer::with(settings);
    assert!(server.error("hello 3").starts_with("NOAUTH HELLO must be called"));
    for wrong in ["auth x", "auth default x", "auth other secret", "hello 3 AUTH default x"] {
        let text = "WRONGPASS invalid username-password pair or user is disabled.";
        assert_eq!(server.error(wrong), text);
    }
    assert_eq!(server.state.metrics.auth_denied.get(), 4);
    assert!(!server.session.authenticated && server.session.version == Version::Resp2);
    server.ok("auth secret");
    assert!(server.session.authenticated);
    server.ok("reset");
    assert!(!server.session.authenticated);
}

#[test]
fn hello_tells_and_changes() {
    let mut server = TestServer::new();
    assert_eq!(server.error("hello 1"), "NOPROTO unsupported protocol version");
    assert_eq!(server.error("hello x"), "ERR Protocol version is not an integer or out of range");
    assert_eq!(server.error("hello 3 AUTH x"), "ERR Syntax error in HELLO option 'AUTH'");
    let about = server.ok("hello 3 setname me");
    assert_eq!(field(&about, "proto"), Reply::Integer(3));
    assert_eq!(field(&about, "version"), Reply::bulk(REDIS_VERSION));
    assert_eq!(server.ok("client getname"), Reply::bulk("me"));
    assert_eq!(field(&server.ok("hello"), "proto"), Reply::Integer(3));
    assert_eq!(server.ok("reset"), Reply::Simple("RESET".into()));
    assert_eq!(field(&server.ok("hello"), "proto"), Reply::Integer(2));
    assert_eq!(server.ok("client getname"), Reply::Null);
}

#[test]
fn select_checks_the_range() {
    let mut server = TestServer::new();
    assert_eq!(server.ok("select 15"), Reply::OK);
    assert_eq!(server.session.db, 15);
    for index in ["16", "-1", "65536"] {
        assert_eq!(server.error(&format!("select {index}")), "ERR DB index is out of range");
    }
    let text = "ERR value is not an integer or out of range";
    assert_eq!(server.error("select x"), text);
    let text = "ERR value is out of range, value must between -2147483648 and 2147483647";
    assert_eq!(server.error("select 2147483648"), text);
    let text = "ERR unknown subcommand or wrong number of arguments for 'Get'. Try SLOWLOG HELP.";
    assert_eq!(server.error("slowlog Get 1 2"), text);
}
