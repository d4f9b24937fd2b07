use super::*;
use crate::commands::test_server::TestServer;

fn names(reply: Reply) -> Vec<String> {
    let Reply::Array(items) = reply else { panic!("{reply:?}") };
    let name = |item| match item {
        Reply::Bulk(name) => String::from_utf8_lossy(&name).into_owned(),
        other => panic!("{other:?}"),
    };
    items.into_iter().map(name).collect()
}

#[test]
fn lists_by_filter() {
    let mut server = TestServer::new();
    let all = names(server.ok("command list"));
    assert_eq!(all.len(), table::all().len());
    assert_eq!(server.ok("command count"), Reply::Integer(table::top_level().count() as i64));
    assert_eq!(names(server.ok("command list filterby pattern CLIENT|K*")), ["client|kill"]);
    assert!(names(server.ok("command list filterby aclcat string")).contains(&"get".to_owned()));
    assert!(names(server.ok("command list filterby aclcat nosuch")).is_empty());
    assert!(names(server.ok("command list filterby module x")).is_empty());
    assert_eq!(server.error("command list filterby x y"), "ERR syntax error");
}

#[test]
fn info_of_known_and_unknown() {
    let mut server = TestServer::new();
    let Reply::Array(entries) = server.ok("command info get nosuch client|list get|x") else {
        panic!("no array")
    };
    let Reply::Array(get) = &entries[0] else { panic!("{:?}", entries[0]) };
    assert_eq!(get[..2], [Reply::bulk("get"), Reply::Integer(2)]);
    assert_eq!(get[3..6], [1, 1, 1].map(Reply::Integer));
    assert_eq!(entries[1], Reply::Null);
    assert!(matches!(&entries[2], Reply::Array(list) if list[0] == Reply::bulk("client|list")));
    assert_eq!(entries[3], Reply::Null);
}

#[test]
fn keys_of_a_call() {
    let mut server = TestServer::new();
    assert_eq!(names(server.ok("command getkeys mset a 1 b 2")), ["a", "b"]);
    assert_eq!(names(server.ok("command getkeys memory usage k")), ["k"]);
    for (call, keys) in [
        ("sort k", &["k"][..]),
        ("sort k store t", &["k", "t"]),
        ("sort k store no store neither store t", &["k", "t"]),
        ("sort k by store get store limit store 1 alpha", &["k"]),
        ("sort k get # store", &["k"]),
        ("sort_ro k", &["k"]),
        ("xread count 1 streams streams 0", &["streams"]),
        ("xreadgroup group g streams streams a b > >", &["a", "b"]),
        ("xreadgroup count 1 noack group streams streams block 0 streams a >", &["a"]),
    ] {
        assert_eq!(names(server.ok(&format!("command getkeys {call}"))), keys, "{call}");
    }
    for (call, text) in [
        ("nosuch a", "ERR Invalid command specified"),
        ("ping a", "ERR The command has no key arguments"),
        ("spublish a b", "ERR The command has no key arguments"),
        ("zunionstore d 0 a", "ERR Invalid arguments specified for command"),
        ("zunion 0 a", "ERR Invalid arguments specified for command"),
        ("get a b", "ERR Invalid number of arguments specified for command"),
    ] {
        assert_eq!(server.error(&format!("command getkeys {call}")), text);
    }
    let flags = |flags: &[&'static str]| {
        let flags = flags.iter().map(|flag| Reply::Simple((*flag).into())).collect();
        Reply::Array(vec![Reply::Array(vec![Reply::bulk("k"), Reply::Set(flags)])])
    };
    assert_eq!(server.ok("command getkeysandflags set k v"), flags(&["OW", "update"]));
    assert_eq!(
        server.ok("command getkeysandflags set k v GET"),
        flags(&["RW", "access", "update"])
    );
}

#[test]
fn docs_of_a_command_and_its_subcommands() {
    let mut server = TestServer::new();
    let Reply::Map(all) = server.ok("command docs") else { panic!("no map") };
    assert_eq!(all.len(), table::top_level().count());
    let Reply::Map(one) = server.ok("command docs config nosuch") else { panic!("no map") };
    let [(name, Reply::Map(fields))] = &one[..] else { panic!("{one:?}") };
    assert_eq!(*name, Reply::bulk("config"));
    assert_eq!(fields[0].0, Reply::bulk("summary"));
    let subcommands = fields.iter().find(|(name, _)| *name == Reply::bulk("subcommands"));
    assert!(matches!(subcommands, Some((_, Reply::Map(subs))) if subs.len() == 5));
}
