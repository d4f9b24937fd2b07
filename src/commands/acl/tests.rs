use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::denial::Reason;
use super::user::DEFAULT;
use super::*;
use crate::commands::table;
use crate::commands::test_server::{NOW_MS, TestServer};
use crate::config::Settings;
use crate::env::SimFs;
use crate::protocol::Reply;

fn changed(user: &User, rules: &[&str]) -> Result<User, String> {
    let changed = user.with_rules(rules.iter().map(|rule| rule.as_bytes()), false);
    changed.map_err(|why| String::from_utf8(why).expect("a text"))
}

fn user(rules: &[&str]) -> User {
    changed(&User::new(b"u", false), rules).expect("rules")
}

fn commands(user: &User) -> String {
    let mut out = Vec::new();
    user.root.commands.describe(&mut out);
    String::from_utf8(out).expect("text")
}

fn words(call: &str) -> Vec<Bytes> {
    call.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

fn check(user: &User, call: &str) -> Result<(), String> {
    let words = words(call);
    let command = crate::commands::gates::known(&words).expect("a command");
    user.check(command, &words)
        .map_err(|denied| String::from_utf8(denied.full_text(user, command, &words)).expect("text"))
}

#[test]
fn rules_of_commands_keep_their_order_and_forget_what_is_void() {
    for (rules, described) in [
        ("+@all -@hash -@slow +hget", "+@all -@hash -@slow +hget"),
        ("+@all -@hash -@slow +hget -@hash", "+@all -@slow +hget -@hash"),
        ("+@all -@slow +hget -@hash +@hash", "+@all -@slow +hget +@hash"),
        ("-@all +@HASH +@hash +@HaSh", "-@all +@hash"),
        ("-@all +HGET +hget +hGeT", "-@all +hget"),
        ("-@all +@hash +@slow +@set +@set +@slow +@hash", "-@all +@set +@slow +@hash"),
        ("-@all +hget -hset +hset -hget", "-@all +hset -hget"),
        (
            "-@all +client|list +client|list +config|get +config +acl|list -acl",
            "-@all +client|list +config -acl",
        ),
        ("-@all +select|0 +select|0 +debug|segfault +debug", "-@all +select|0 +debug"),
        ("-@all -@dangerous", "-@all -@dangerous"),
        ("-@all +config +config|get -config|set +config", "-@all +config"),
        ("+@all +client|id", "+@all +client|id"),
        ("allcommands nocommands", "-@all"),
    ] {
        let rules: Vec<&str> = rules.split(' ').collect();
        assert_eq!(commands(&user(&rules)), described, "{rules:?}");
    }
}

#[test]
fn commands_are_allowed_by_the_last_rule_that_names_them() {
    let allowed = |rules: &[&str], call: &str| {
        let rules: Vec<&str> = rules.iter().copied().chain(["allkeys", "allchannels"]).collect();
        check(&user(&rules), call).is_ok()
    };
    assert!(allowed(&["+get"], "get k") && !allowed(&["+get"], "set k v"));
    assert!(allowed(&["+@all", "-@string", "+get"], "get k"));
    assert!(!allowed(&["+@all", "-@string", "+get"], "set k v"));
    assert!(allowed(&["+config|get"], "config get x"));
    assert!(!allowed(&["+config|get"], "config set x y"));
    assert!(!allowed(&["+config", "-config|set"], "config set x y"));
    assert!(allowed(&["+select|0"], "select 0") && !allowed(&["+select|0"], "select 1"));
    assert!(!allowed(&["+select|0", "-select"], "select 0"));
    // What needs no password needs no right.
    assert!(allowed(&[], "auth x") && allowed(&[], "hello") && !allowed(&[], "ping"));
    assert!(!allowed(&["+@read"], "eval_ro x 0"));
}

#[test]
fn unrestricted_is_who_may_do_everything() {
    assert!(User::default_user().is_unrestricted());
    assert!(user(&["+@all", "~*", "&*"]).is_unrestricted());
    assert!(user(&["(+@all ~* &*)"]).is_unrestricted());
    for rules in [&["+@all", "~*"][..], &["+@all", "&*"], &["+@all", "~*", "&*", "-debug"]] {
        assert!(!user(rules).is_unrestricted(), "{rules:?}");
    }
    assert!(!user(&["(+@all)", "(~* &*)"]).is_unrestricted());
}

#[test]
fn keys_are_checked_by_what_is_done_with_them() {
    let user = user(&["+@all", "%R~r*", "%W~w*", "%RW~x*"]);
    for call in [
        "get r",
        "set w v",
        "set x v get",
        "copy r w",
        "strlen w",
        "mget r x",
        "eval return 0 nokey",
        "eval return 2 nokey",
        "sort r store w",
        "georadius r 1 1 1 m store w",
        "xread streams r1 r2 0 0",
    ] {
        assert_eq!(check(&user, call), Ok(()), "{call}");
    }
    for (call, key) in [
        ("get w", "w"),
        ("set r v", "r"),
        ("set w v get", "w"),
        ("copy w r", "w"),
        ("strlen n", "n"),
        ("mget r n", "n"),
        ("eval return 1 r", "r"),
        ("sort r store r", "r"),
        ("georadius r 1 1 1 m store r2", "r2"),
        ("georadius r 1 1 1 m store w store r2", "r2"),
        ("georadiusbymember r m 1 m storedist w store r2", "r2"),
        ("xread streams r1 w2 0 0", "w2"),
    ] {
        let refused = format!("User u has no permissions to access the '{key}' key");
        assert_eq!(check(&user, call), Err(refused), "{call}");
    }
}

#[test]
fn a_call_has_to_fit_into_one_selector() {
    let user = user(&["(+@all %R~r*)", "(+@all %W~w*)", "+mget", "~k"]);
    assert_eq!(check(&user, "get r"), Ok(()));
    assert_eq!(check(&user, "lpush w v"), Ok(()));
    assert!(check(&user, "copy r w").is_err());
    let refused = "User u has no permissions to access the 'b' key".to_owned();
    assert_eq!(check(&user, "mget r b"), Err(refused), "the one that went furthest counts");
}

#[test]
fn channels_are_checked_and_patterns_only_as_they_are_written() {
    let user = user(&["+@all", "&news", "&w*"]);
    for call in [
        "publish news x",
        "subscribe news wx",
        "ssubscribe wy",
        "spublish w x",
        "psubscribe w*",
        "unsubscribe other",
        "punsubscribe other*",
        "sunsubscribe other",
    ] {
        assert_eq!(check(&user, call), Ok(()), "{call}");
    }
    for call in ["publish old x", "subscribe news old", "psubscribe wx*", "ssubscribe old"] {
        let refused = check(&user, call).expect_err(call);
        assert!(refused.ends_with("channel"), "{refused}");
    }
}

/// It stores, though its key specs expect a source.
#[test]
fn pfmerge_without_a_source_is_asked_for_its_key() {
    let bob = user(&["on", "nopass", "~foo:*", "+pfmerge"]);
    assert_eq!(check(&bob, "pfmerge foo:x"), Ok(()));
    assert!(check(&bob, "pfmerge secret").is_err());
    assert!(check(&bob, "pfmerge foo:x secret").is_err());
}

#[test]
fn sort_follows_patterns_for_those_only_who_read_all_keys() {
    let followed = |rules: &[&str], call: &str| {
        let words = words(call);
        let command = crate::commands::gates::known(&words).expect("a command");
        user(rules).check_followed(command, &words).is_ok()
    };
    for rules in [&["+@all", "~*"][..], &["+sort", "%R~*"], &["+get", "(+@all ~*)"]] {
        assert!(followed(rules, "sort k by w* get v*"), "{rules:?}");
    }
    for rules in [&["+@all", "~k", "~w*"][..], &["+sort", "%W~*"], &["(+get ~*)", "(+sort ~k)"]] {
        assert!(!followed(rules, "sort k by w*"), "{rules:?}");
        assert!(!followed(rules, "sort k asc get #"), "{rules:?}");
        assert!(!followed(rules, "sort_ro k get v*"), "{rules:?}");
        assert!(followed(rules, "sort k by nosort limit 0 1 alpha"), "{rules:?}");
        assert!(followed(rules, "sort k bad by w*"), "{rules:?}");
    }
}

#[test]
fn passwords_are_kept_as_hashes() {
    let alice = user(&["on", ">secret", ">other"]);
    assert!(alice.accepts(b"secret") && alice.accepts(b"other") && !alice.accepts(b"wrong"));
    assert!(!format!("{alice:?}{}", String::from_utf8_lossy(&alice.line())).contains("secret"));
    let alice = changed(&alice, &["<secret"]).expect("removed");
    assert!(!alice.accepts(b"secret") && alice.accepts(b"other"));
    let error = changed(&alice, &["<secret"]).expect_err("not there");
    assert!(error.ends_with("does not exist"), "{error}");
    assert!(!changed(&alice, &["off"]).expect("off").accepts(b"other"));
    let free = changed(&alice, &["nopass"]).expect("free");
    assert!(free.accepts(b"anything") && free.passwords.is_empty());
    assert!(!changed(&free, &[">x"]).expect("one").accepts(b"anything"));
    assert!(!changed(&free, &["resetpass"]).expect("none").accepts(b""));
}

#[test]
fn a_wrong_rule_changes_nothing() {
    let mut server = TestServer::new();
    assert_eq!(server.ok("acl setuser u on ~k +get"), Reply::OK);
    let before = server.ok("acl list");
    for (rule, why) in [
        ("+nosuch", "Unknown command or category name in ACL"),
        ("+@nosuch", "Unknown command or category name in ACL"),
        ("+config|get|x", "Allowing first-arg of a subcommand is not supported"),
        ("nosuch", "Syntax error"),
        ("%~k", "Syntax error"),
        ("%", "Syntax error"),
        ("%X", "Syntax error"),
        ("#12", "The password hash must be exactly 64 characters"),
        ("(on)", "Syntax error"),
    ] {
        let error = server.error(&format!("acl setuser u off resetkeys {rule}"));
        let start = format!("ERR Error in ACL SETUSER modifier '{rule}': {why}");
        assert!(error.starts_with(&start), "{error}");
        assert_eq!(server.ok("acl list"), before);
    }
    assert_eq!(server.ok("acl setuser empty %r"), Reply::OK);
    let line = server.state.users.get(b"empty").expect("there").line();
    assert_eq!(line, b"user empty off sanitize-payload %R~ resetchannels -@all");
    assert_eq!(server.ok("acl deluser empty"), Reply::Integer(1));
    let error = server.error("acl setuser new (+get ~x");
    assert_eq!(error, "ERR Unmatched parenthesis in acl selector starting at '(+get'.");
    assert_eq!(server.ok("acl users"), Reply::array(["default", "u"]));
}

#[test]
fn channels_of_new_users_follow_the_setting() {
    let settings = Settings { acl_pubsub_all_channels: true, ..Settings::default() };
    let mut server = TestServer::with(settings);
    server.ok("acl setuser u (+get)");
    let line = server.state.users.get(b"u").expect("made").line();
    let text = String::from_utf8(line).expect("text");
    assert_eq!(text, "user u off sanitize-payload &* -@all (&* -@all +get)");
    server.ok("acl setuser u resetchannels reset");
    let line = server.state.users.get(b"u").expect("there").line();
    assert_eq!(line, b"user u off sanitize-payload &* -@all");
}

fn with_file(fs: &SimFs, text: &str) -> Settings {
    let path = Path::new("/users.acl");
    drop(fs.shared().remove(path));
    let file = fs.shared().create(path).expect("created");
    file.write_at(0, text.as_bytes()).expect("written");
    file.sync_data().expect("synced");
    fs.shared().sync_dir(Path::new("/")).expect("synced");
    Settings { aclfile: "/users.acl".to_owned(), ..Settings::default() }
}

#[test]
fn a_file_is_loaded_as_a_whole_or_not_at_all() {
    let fs = SimFs::new(1);
    let settings = with_file(&fs, "user a on >x ~* +@all\r\n\n  user b on (+get ~k) (+set)\t\n");
    let users = Users::configured(&settings, &fs).expect("loaded");
    let names = || users.all().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(), ["a", "b", "default"]);
    assert!(users.default_user().is_unrestricted());
    let before = users.version();
    let wrong = "user a on\n# a comment\nuser a off\nuser c +nosuch ~* ~x nosuch\nuser d (+get\n";
    let settings = with_file(&fs, wrong);
    let error = users.load(&fs, &settings).expect_err("wrong");
    assert_eq!(
        error,
        "/users.acl:2 should start with user keyword followed by the username. \
         WARNING: Duplicate user 'a' found on line 3. \
         /users.acl:4: Error in applying operation '+nosuch': Unknown command or category name in \
         ACL. /users.acl:4: Adding a pattern after the * pattern (or the 'allkeys' flag) is not \
         valid and does not have any effect. Try 'resetkeys' to start with an empty list of \
         patterns. /users.acl:5: Unmatched parenthesis in selector definition.\
         WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
    );
    assert_eq!(
        (names(), users.version()),
        (vec!["a".into(), "b".into(), "default".into()], before)
    );
    let settings = with_file(&fs, "user default off\n");
    users.load(&fs, &settings).expect("loaded");
    assert_eq!(names(), ["default"]);
    assert!(!users.is_open());
    let missing = Settings { aclfile: "/nosuch".to_owned(), ..Settings::default() };
    let error = users.load(&fs, &missing).expect_err("missing");
    assert!(error.starts_with("Error loading ACLs, opening file '/nosuch': "), "{error}");
}

#[test]
fn a_file_without_a_full_path_lies_in_the_data_directory() {
    let fs = SimFs::new(1);
    let full = with_file(&fs, "user a on\n");
    let from =
        |dir: &str| Settings { aclfile: "users.acl".into(), dir: dir.into(), ..full.clone() };
    let users = Users::configured(&from("/"), &fs).expect("loaded");
    users.set(b"new", &[Bytes::from_static(b"on")], false).expect("made");
    users.save(&fs, &from("/")).expect("saved");
    let users = Users::configured(&full, &fs).expect("loaded");
    assert!(users.get(b"new").is_some());
    let error = Users::configured(&from("/nowhere"), &fs).expect_err("not there");
    assert!(error.starts_with("Error loading ACLs, opening file 'users.acl': "), "{error}");
}

#[test]
fn settings_name_users_in_lines_or_a_file_but_not_in_both() {
    let fs = SimFs::new(1);
    let line = |words: &[&str]| words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let mut settings = Settings { requirepass: "p".to_owned(), ..Settings::default() };
    let users = Users::configured(&settings, &fs).expect("none");
    assert!(!users.is_open() && users.default_user().accepts(b"p"));
    settings.users = vec![line(&["a", "on", "(+get", "~k)"]), line(&["default", "on", "nopass"])];
    let users = Users::configured(&settings, &fs).expect("two");
    assert!(users.is_open(), "the line of the default user counts");
    assert_eq!(
        users.config_lines(),
        [
            "user a on sanitize-payload resetchannels -@all (~k resetchannels -@all +get)",
            "user default on nopass sanitize-payload resetchannels -@all"
        ]
    );
    settings.users.push(line(&["b", "+nosuch"]));
    let error = Users::configured(&settings, &fs).expect_err("wrong");
    assert!(error.starts_with("user 'b': Error in ACL SETUSER modifier '+nosuch'"), "{error}");
    settings.users.pop();
    settings.aclfile = with_file(&fs, "").aclfile;
    assert!(Users::configured(&settings, &fs).expect_err("both").contains("only one of both"));
}

#[test]
fn a_saved_file_is_whole_after_a_power_cut() {
    for operations in 0..8 {
        for seed in 0..4 {
            let fs = SimFs::new(seed);
            let settings = with_file(&fs, "user old on\n");
            let users = Users::configured(&settings, &fs).expect("loaded");
            users.set(b"new", &[Bytes::from_static(b"on")], false).expect("made");
            fs.fail_after(operations);
            let saved = users.save(&fs, &settings);
            fs.heal();
            let left = fs.crash(seed);
            let found = Users::configured(&settings, &left).expect("whole");
            let names: Vec<Bytes> = found.all().keys().cloned().collect();
            let is_new = names == ["default", "new", "old"];
            assert!(is_new || names == ["default", "old"], "{names:?}");
            assert!(is_new || saved.is_err(), "what was saved is there");
        }
    }
}

#[test]
fn the_log_groups_what_is_alike() {
    let log = AclLog::default();
    let denial = |object: &'static str| Denial {
        reason: Reason::Key,
        context: Context::Toplevel,
        object: Bytes::from_static(object.as_bytes()),
        user: Bytes::from_static(b"u"),
    };
    let add = |object, now_ms| log.add(&denial(object), 1, Bytes::new(), now_ms, 5);
    let seen = |count| -> Vec<(u64, u64, Bytes)> {
        let entries = log.latest(count).into_iter();
        entries.map(|entry| (entry.id, entry.count, entry.denial.object)).collect()
    };
    add("a", NOW_MS);
    add("b", NOW_MS + 1);
    add("a", NOW_MS + 60_000);
    assert_eq!(seen(9), [(0, 2, "a".into()), (1, 1, "b".into())]);
    assert_eq!(log.latest(1)[0].created_ms, NOW_MS);
    add("a", NOW_MS + 120_001);
    assert_eq!(seen(2), [(2, 1, "a".into()), (0, 2, "a".into())]);
    for object in ["c", "d", "e", "f"] {
        add(object, NOW_MS + 120_001);
    }
    let ids: Vec<u64> = seen(9).into_iter().map(|(id, ..)| id).collect();
    assert_eq!(ids, [6, 5, 4, 3, 2], "the oldest go");
    log.reset();
    add("a", NOW_MS);
    assert_eq!(seen(9), [(7, 1, "a".into())]);
}

#[test]
fn passwords_are_made_of_as_many_bits_as_asked_for() {
    let mut server = TestServer::new();
    let mut digits = |call: &str| match server.ok(call) {
        Reply::Bulk(text) if text.iter().all(u8::is_ascii_hexdigit) => text.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(digits("acl genpass"), 64);
    assert_eq!((digits("acl genpass 1"), digits("acl genpass 5")), (1, 2));
    assert_eq!(digits("acl genpass 4096"), 1024);
    assert_ne!(server.ok("acl genpass"), server.ok("acl genpass"));
}

#[test]
fn every_command_stands_in_a_category_and_has_its_bit() {
    for command in table::all() {
        assert!(command.categories.names().next().is_some(), "{}", command.full_name);
        let rule = format!("+{}", command.full_name);
        let alone = user(&[&rule, "~*", "&*"]);
        let words = words(&command.full_name.replace('|', " "));
        assert!(alone.check(command, &words).is_ok(), "{rule}");
        let allowed = table::all().iter().filter(|other| alone.root.commands.allow(other, &[]));
        assert_eq!(allowed.count(), 1 + command.subcommands.len(), "{rule}");
    }
}

#[test]
fn connections_follow_their_users() {
    let server = TestServer::new();
    let users = &server.state.users;
    let rules = [Bytes::from_static(b"on"), Bytes::from_static(b"+get")];
    users.set(b"u", &rules, false).expect("made");
    let mut session = TestServer::connect(&server.state);
    session.become_user(users.get(b"u").expect("there"), users.version());
    let held = Arc::clone(session.user());
    session.follow_users(users);
    assert!(Arc::ptr_eq(&held, session.user()));
    users.set(b"u", &[Bytes::from_static(b"~*")], false).expect("changed");
    session.follow_users(users);
    assert!(check(session.user(), "get k").is_ok() && check(&held, "get k").is_err());
    assert_eq!(users.delete(&["u".into(), DEFAULT.into()]), 1);
    session.follow_users(users);
    assert!(session.close_after_reply && check(session.user(), "get k").is_err());
}

/// Rules that exist, and texts that look like some.
fn rule() -> impl Strategy<Value = String> {
    let command = (0..table::all().len()).prop_map(|id| table::all()[id].full_name.to_owned());
    let category = (0..Category::ALL.len()).prop_map(|id| format!("@{}", Category::ALL[id].1));
    let name = prop_oneof![command, category, Just("select|0".to_owned())];
    let signed =
        (prop_oneof![Just("+"), Just("-")], name).prop_map(|(sign, name)| format!("{sign}{name}"));
    let marked =
        (prop_oneof![Just("~"), Just("%R~"), Just("%W~"), Just("%RW~"), Just("&")], "[a*]{0,3}");
    let word = prop_oneof![
        Just("on"),
        Just("off"),
        Just("nopass"),
        Just("resetpass"),
        Just(">a"),
        Just(">b"),
        Just("<a"),
        Just("allkeys"),
        Just("resetkeys"),
        Just("allchannels"),
        Just("resetchannels"),
        Just("allcommands"),
        Just("-@all"),
        Just("clearselectors"),
        Just("skip-sanitize-payload"),
        Just("(+@read ~r* &c)"),
        Just("(allkeys"),
        Just("+@write)"),
    ];
    prop_oneof![
        3 => signed,
        2 => marked.prop_map(|(mark, pattern)| format!("{mark}{pattern}")),
        3 => word.prop_map(str::to_owned),
        1 => "[-+~&%@|()#<>!a-z ]{0,6}",
    ]
}

proptest! {
    /// What `ACL LIST` tells makes the same user of a new one, and permissions stay what they are.
    #[test]
    fn a_line_makes_an_equal_user(rules in proptest::collection::vec(rule(), 0..12)) {
        let mut made = User::new(b"u", false);
        for rule in &rules {
            // Each rule alone, so that a wrong one does not hide the others.
            made = changed(&made, &[rule]).unwrap_or(made);
        }
        let line = made.line();
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').skip(2).collect();
        let again = User::new(b"u", false).with_rules(words, false).expect("a line is well formed");
        prop_assert_eq!(&line, &again.line());
        for command in table::all() {
            let words = words_of(command.full_name);
            prop_assert_eq!(made.check(command, &words), again.check(command, &words));
        }
    }

    #[test]
    fn random_rules_do_not_panic(rules in proptest::collection::vec(any::<Vec<u8>>(), 0..6)) {
        let words = rules.iter().map(|rule| &rule[..]);
        if let Ok(user) = User::new(b"u", true).with_rules(words, true) {
            prop_assert!(user.line().starts_with(b"user u "));
        }
    }

    #[test]
    fn random_files_do_not_panic(text in "[-user #+~&()@|\n\t a-z]{0,80}") {
        let fs = SimFs::new(1);
        let settings = with_file(&fs, &text);
        if let Ok(users) = Users::configured(&settings, &fs) {
            prop_assert!(users.get(DEFAULT).is_some());
        }
    }
}

fn words_of(full_name: &str) -> Vec<Bytes> {
    let mut words = words(&full_name.replace('|', " "));
    words.extend(["0", "a", "a*", "1"].map(Bytes::from));
    words
}
