//! Users and what they may do, on real sockets.

mod support;

use std::io::Write;

use support::{Client, Server, encode, eventually};

/// A connection of `user`, who needs no password.
fn login(server: &Server, user: &str) -> Client {
    let mut client = server.connect();
    assert_eq!(client.call(&["AUTH", user, "any"]), "+OK");
    client
}

fn set_user(admin: &mut Client, name: &str, rules: &[&str]) {
    let words: Vec<&str> = ["ACL", "SETUSER", name].iter().chain(rules).copied().collect();
    assert_eq!(admin.call(&words), "+OK");
}

/// The value of a field of `INFO`.
fn info(client: &mut Client, field: &str) -> String {
    let text = client.call(&["INFO", "everything"]);
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field}")).to_owned()
}

#[test]
fn who_has_not_authenticated_is_not_waited_for() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut admin = server.connect();
    assert_eq!(admin.call(&["AUTH", "secret"]), "+OK");
    let stranger = server.connect();
    let call = encode(&[b"SET", b"x", b"5"]).repeat(1000);
    eventually("it is there", || info(&mut admin, "connected_clients") == "2");
    // It reads none of the replies.
    let mut sender = stranger.sender();
    sender.set_nonblocking(true).expect("a socket that does not wait");
    let mut sent = 0;
    eventually("it is gone", || {
        while let Ok(count) = sender.write(&call[sent % call.len()..]) {
            sent += count;
        }
        info(&mut admin, "connected_clients") == "1"
    });
    assert_eq!(info(&mut admin, "client_output_buffer_limit_disconnections"), "1");
}

#[test]
fn users_may_do_what_their_rules_say() {
    let server = Server::start(&[]);
    let mut admin = server.connect();
    set_user(&mut admin, "ann", &["on", "nopass", "~a*", "+get", "+set", "&c*", "+publish"]);
    let mut ann = login(&server, "ann");
    assert_eq!(ann.call(&["SET", "a1", "v"]), "+OK");
    assert_eq!(ann.call(&["GET", "a1"]), "v");
    assert_eq!(ann.call(&["GET", "b"]), "-NOPERM No permissions to access a key");
    assert_eq!(ann.call(&["PUBLISH", "c1", "x"]), ":0");
    assert_eq!(ann.call(&["PUBLISH", "d", "x"]), "-NOPERM No permissions to access a channel");
    let refused = "-NOPERM User ann has no permissions to run the 'del' command";
    assert_eq!(ann.call(&["DEL", "a1"]), refused);
    let refused = "-NOPERM User ann has no permissions to run the 'acl|whoami' command";
    assert_eq!(ann.call(&["ACL", "WHOAMI"]), refused);
    // A pipeline of which one part is refused runs the others, and each sees the rules of its time.
    let mut bytes = Vec::new();
    for call in [&[&b"SET"[..], b"a2", b"v"][..], &[b"SET", b"x", b"v"], &[b"SET", b"a3", b"v"]] {
        bytes.extend(encode(call));
    }
    ann.send(&bytes);
    let replies: Vec<String> = (0..3).map(|_| ann.reply()).collect();
    assert_eq!(replies, ["+OK", "-NOPERM No permissions to access a key", "+OK"]);
    set_user(&mut admin, "ann", &["-set"]);
    assert!(ann.call(&["SET", "a1", "v"]).starts_with("-NOPERM User ann"));
    let list = admin.call(&["CLIENT", "LIST"]);
    assert!(list.contains(" user=ann ") && list.contains(" user=default "), "{list}");
    for (field, value) in [
        ("acl_access_denied_cmd", "3"),
        ("acl_access_denied_key", "2"),
        ("acl_access_denied_channel", "1"),
        ("acl_access_denied_auth", "0"),
        ("errorstat_NOPERM", "count=6"),
    ] {
        assert_eq!(info(&mut admin, field), value, "{field}");
    }
    assert!(info(&mut admin, "cmdstat_del").ends_with("rejected_calls=1,failed_calls=0"));
}

#[test]
fn queued_calls_are_checked_again_when_they_run() {
    let server = Server::start(&[]);
    let mut admin = server.connect();
    set_user(&mut admin, "ann", &["on", "nopass", "~*", "&*", "+@all"]);
    let mut ann = login(&server, "ann");
    let queue = |ann: &mut Client| {
        assert_eq!(ann.call(&["MULTI"]), "+OK");
        for call in [&["SET", "k", "v"][..], &["INCR", "n"], &["PUBLISH", "c", "x"]] {
            assert_eq!(ann.call(call), "+QUEUED");
        }
    };
    let changed = "-NOPERM ACLs rules changed between the moment the transaction was accumulated \
                   and the EXEC call. This command is no longer allowed for the following reason: ";
    queue(&mut ann);
    set_user(&mut admin, "ann", &["-incr"]);
    let replies = ann.call(&["EXEC"]);
    let why = "no permission to execute the command or subcommand";
    assert_eq!(replies, format!("[+OK, {changed}{why}, :0]"));
    set_user(&mut admin, "ann", &["+incr"]);
    queue(&mut ann);
    set_user(&mut admin, "ann", &["resetkeys", "~n", "resetchannels"]);
    let (key, channel) = (
        "no permission to touch the specified keys",
        "no permission to access one of the channels used as arguments",
    );
    assert_eq!(ann.call(&["EXEC"]), format!("[{changed}{key}, :1, {changed}{channel}]"));
    // A change within the transaction holds for what comes behind.
    set_user(&mut admin, "ann", &["allkeys"]);
    assert_eq!(ann.call(&["MULTI"]), "+OK");
    assert_eq!(ann.call(&["ACL", "SETUSER", "ann", "-get"]), "+QUEUED");
    assert_eq!(ann.call(&["GET", "k"]), "+QUEUED");
    let replies = ann.call(&["EXEC"]);
    assert_eq!(replies, format!("[+OK, {changed}{why}]"));
    // What may not be queued ends the transaction.
    assert_eq!(ann.call(&["MULTI"]), "+OK");
    assert!(ann.call(&["GET", "k"]).starts_with("-NOPERM"));
    assert!(ann.call(&["EXEC"]).starts_with("-EXECABORT"));
    let log = admin.call(&["ACL", "LOG", "1"]);
    assert!(log.contains("reason, command, context, multi, object, get, username, ann"), "{log}");
    assert!(log.contains(" cmd=get "), "{log}");
}

#[test]
fn scripts_may_do_what_their_user_may() {
    let server = Server::start(&[]);
    let mut admin = server.connect();
    set_user(&mut admin, "ann", &["on", "nopass", "~a*", "+get", "+eval", "+eval_ro", "+fcall"]);
    let library = "#!lua name=l\nredis.register_function('f', function(keys) \
                   return redis.call('set', keys[1], 'v') end)";
    assert_eq!(admin.call(&["FUNCTION", "LOAD", library]), "l");
    let mut ann = login(&server, "ann");
    let mut eval = |script: &str| ann.call(&["EVAL", script, "0"]);
    assert_eq!(eval("return redis.call('get', 'a')"), "(nil)");
    let refused = eval("return redis.call('get', 'b')");
    let start = "-NOPERM ACL failure in script: No permissions to access a key script: ";
    assert!(refused.starts_with(start), "{refused}");
    let refused = eval("return redis.pcall('set', 'a', 'v')");
    let text =
        "-NOPERM ACL failure in script: User ann has no permissions to run the 'set' command";
    assert_eq!(refused, text);
    for (call, allowed) in
        [("'get', 'a'", ":1"), ("'get', 'b'", "(nil)"), ("'set', 'a', 'v'", "(nil)")]
    {
        assert_eq!(eval(&format!("return redis.acl_check_cmd({call})")), allowed, "{call}");
    }
    assert!(eval("return redis.acl_check_cmd('nosuch')").contains("Invalid command passed"));
    let refused = ann.call(&["FCALL", "f", "1", "a"]);
    assert!(refused.starts_with("-NOPERM ACL failure in script: User ann"), "{refused}");
    // Met again and again in one script it is one entry, with its number.
    assert_eq!(admin.call(&["ACL", "LOG", "RESET"]), "+OK");
    let script = "for i = 1, 300 do redis.pcall('get', 'b') end return 1";
    assert_eq!(ann.call(&["EVAL_RO", script, "0"]), ":1");
    let log = admin.call(&["ACL", "LOG"]);
    assert!(log.contains("count, :300, reason, key, context, lua, object, b"), "{log}");
    assert_eq!(info(&mut admin, "acl_access_denied_key"), "301");
}

#[test]
fn who_is_deleted_is_cut_off() {
    let server = Server::start(&[]);
    let mut admin = server.connect();
    set_user(&mut admin, "ann", &["on", "nopass", "~*", "&*", "+@all"]);
    let (mut idle, mut waits, mut own) =
        (login(&server, "ann"), login(&server, "ann"), login(&server, "ann"));
    waits.send(&encode(&[b"BLPOP", b"l", b"0"]));
    eventually("it waits", || info(&mut admin, "blocked_clients") == "1");
    let mut bytes = encode(&[b"ACL", b"DELUSER", b"ann", b"nosuch"]);
    bytes.extend(encode(&[b"SET", b"after", b"v"]));
    own.send(&bytes);
    assert_eq!(own.reply(), ":1");
    assert!(own.is_closed() && idle.is_closed() && waits.is_closed());
    assert_eq!(admin.call(&["EXISTS", "after"]), ":0");
    assert!(admin.call(&["AUTH", "ann", "any"]).starts_with("-WRONGPASS"));
    let refused = "-ERR The 'default' user cannot be removed";
    assert_eq!(admin.call(&["ACL", "DELUSER", "default"]), refused);
    set_user(&mut admin, "bob", &["on", "nopass", "+@all"]);
    let mut bob = login(&server, "bob");
    assert_eq!(admin.call(&["CLIENT", "KILL", "USER", "nosuch"]), "-ERR No such user 'nosuch'");
    assert_eq!(admin.call(&["CLIENT", "KILL", "USER", "bob"]), ":1");
    assert!(bob.is_closed());
}

#[test]
fn a_call_that_has_waited_is_checked_again() {
    let server = Server::start(&[]);
    let mut admin = server.connect();
    let rules = ["on", "nopass", "~*", "+blpop", "+ping"];
    set_user(&mut admin, "ann", &rules);
    set_user(&mut admin, "bob", &rules);
    let (mut ann, mut bob) = (login(&server, "ann"), login(&server, "bob"));
    for (waiting, client) in [("1", &mut ann), ("2", &mut bob)] {
        client.send(&encode(&[b"BLPOP", b"l", b"0"]));
        eventually("it waits", || info(&mut admin, "blocked_clients") == waiting);
    }
    set_user(&mut admin, "ann", &["resetkeys", "~other"]);
    assert_eq!(admin.call(&["RPUSH", "l", "x"]), ":1");
    assert_eq!(ann.reply(), "-NOPERM No permissions to access a key");
    assert_eq!(bob.reply(), "[l, x]");
    assert_eq!(ann.call(&["PING"]), "+PONG");
    assert_eq!(info(&mut admin, "acl_access_denied_key"), "1");
}

#[test]
fn who_loses_a_channel_listens_no_longer() {
    let server = Server::start(&["--io-threads", "2"]);
    let mut admin = server.connect();
    for (call, rule) in [("SUBSCRIBE", "&c1"), ("PSUBSCRIBE", "&c*"), ("SSUBSCRIBE", "&c1")] {
        let name = rule.trim_start_matches('&');
        set_user(&mut admin, "ann", &["reset", "on", "nopass", "+@all", rule, "&other"]);
        let (mut loses, mut keeps) = (login(&server, "ann"), login(&server, "ann"));
        assert!(loses.call(&[call, name]).contains(":1"), "{call}");
        assert!(keeps.call(&[call, "other"]).contains(":1") || call == "PSUBSCRIBE");
        set_user(&mut admin, "ann", &["&more"]);
        set_user(&mut admin, "ann", &["allchannels"]);
        set_user(&mut admin, "ann", &["resetchannels", rule, "&other"]);
        assert_eq!(loses.call(&["PING"]), "[pong, ]", "{call}");
        set_user(&mut admin, "ann", &["resetchannels", "&other"]);
        assert!(loses.is_closed(), "{call}");
        assert!(keeps.call(&["PING"]).contains("pong"), "{call}");
    }
}

#[test]
fn who_has_not_said_who_it_is_may_do_little() {
    let server = Server::start(&["--requirepass", "one"]);
    let mut client = server.connect();
    assert_eq!(client.call(&["PING"]), "-NOAUTH Authentication required.");
    assert!(client.call(&["HELLO", "3"]).starts_with("-NOAUTH HELLO must be called"));
    assert!(client.call(&["HELLO", "2", "AUTH", "default", "two"]).starts_with("-WRONGPASS"));
    assert_eq!(client.call(&["AUTH", "one"]), "+OK");
    assert_eq!(client.call(&["CONFIG", "SET", "requirepass", "two"]), "+OK");
    assert_eq!(client.call(&["PING"]), "+PONG");
    let mut late = server.connect();
    assert!(late.call(&["AUTH", "one"]).starts_with("-WRONGPASS"));
    set_user(&mut client, "ann", &["on", "nopass", "+@all"]);
    assert_eq!(late.call(&["AUTH", "ann", "x"]), "+OK");
    assert_eq!(late.call(&["ACL", "WHOAMI"]), "ann");
    assert_eq!(late.call(&["RESET"]), "+RESET");
    assert_eq!(late.call(&["PING"]), "-NOAUTH Authentication required.");
    assert_eq!(client.call(&["CONFIG", "SET", "requirepass", ""]), "+OK");
    assert_eq!(late.call(&["PING"]), "+PONG");
    let log = client.call(&["ACL", "LOG"]);
    let entry = "count, :1, reason, auth, context, toplevel, object, AUTH, username, default";
    assert!(log.contains(entry) && log.contains("object, HELLO"), "{log}");
    // A wrong password within a transaction counts once.
    assert_eq!(client.call(&["ACL", "LOG", "RESET"]), "+OK");
    for (call, reply) in [(&["MULTI"][..], "+OK"), (&["AUTH", "ann2", "x"], "+QUEUED")] {
        assert_eq!(client.call(call), reply);
    }
    assert!(client.call(&["EXEC"]).starts_with("[-WRONGPASS"));
    let log = client.call(&["ACL", "LOG"]);
    let entry = "[[count, :1, reason, auth, context, multi, object, AUTH, username, ann2";
    assert!(log.starts_with(entry), "{log}");
}

#[test]
fn sort_leads_nobody_to_keys_that_it_may_not_read() {
    let server = Server::start(&[]);
    let mut admin = server.connect();
    assert_eq!(admin.call(&["RPUSH", "mine", "1", "2"]), ":2");
    assert_eq!(admin.call(&["SET", "secret1", "x"]), "+OK");
    set_user(&mut admin, "ann", &["on", "nopass", "~mine", "+@all"]);
    let mut ann = login(&server, "ann");
    let denied = |option: &str| {
        format!("-ERR {option} option of SORT denied due to insufficient ACL permissions.")
    };
    assert_eq!(ann.call(&["SORT", "mine"]), "[1, 2]");
    assert_eq!(ann.call(&["SORT", "mine", "BY", "secret*"]), denied("BY"));
    assert_eq!(ann.call(&["SORT_RO", "mine", "GET", "secret*"]), denied("GET"));
    assert_eq!(ann.call(&["SORT_RO", "mine", "BY", "secret*", "ALPHA"]), denied("BY"));
    let script = "return redis.call('sort', 'mine', 'get', 'secret*')";
    assert!(ann.call(&["EVAL", script, "0"]).starts_with(&denied("GET")));
    assert_eq!(ann.call(&["MULTI"]), "+OK");
    assert_eq!(ann.call(&["SORT", "mine", "GET", "secret*"]), "+QUEUED");
    assert_eq!(ann.call(&["EXEC"]), format!("[{}]", denied("GET")));
    // Behind a write, which takes along what follows it.
    let mut bytes = encode(&[b"RPUSH", b"mine", b"3"]);
    bytes.extend(encode(&[b"SORT", b"mine", b"GET", b"secret*"]));
    ann.send(&bytes);
    assert_eq!([ann.reply(), ann.reply()], [":3".to_owned(), denied("GET")]);
    set_user(&mut admin, "ann", &["%R~*"]);
    assert_eq!(ann.call(&["SORT", "mine", "GET", "secret*", "LIMIT", "0", "1"]), "[x]");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the server reads a real file")]
fn a_file_of_users_is_loaded_and_saved() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("users.acl");
    let file = path.to_str().expect("text");
    std::fs::write(&path, "user ann on nopass ~* &* +@all\nuser bob on nopass +@all &c\n")
        .expect("written");
    let mut server = Server::start(&["--aclfile", file]);
    let mut admin = server.connect();
    let (mut ann, mut bob) = (login(&server, "ann"), login(&server, "bob"));
    assert!(bob.call(&["SUBSCRIBE", "c"]).contains(":1"));
    let read = || std::fs::read_to_string(&path).expect("readable");
    set_user(&mut admin, "eve", &["on", ">secret", "(+get ~k)"]);
    assert_eq!(admin.call(&["ACL", "SAVE"]), "+OK");
    let saved = read();
    assert!(saved.contains("\nuser eve on sanitize-payload #2bb80d537b1da3e38bd3"), "{saved}");
    // Nothing has changed for those who are there; who is gone from the file is cut off.
    assert_eq!(admin.call(&["ACL", "LOAD"]), "+OK");
    assert_eq!(ann.call(&["PING"]), "+PONG");
    assert_eq!(bob.call(&["PING"]), "[pong, ]");
    let mut eve = server.connect();
    assert_eq!(eve.call(&["AUTH", "eve", "secret"]), "+OK");
    std::fs::write(&path, "user bob on nopass +@all &d\nuser eve nosuch\n").expect("written");
    let error = admin.call(&["ACL", "LOAD"]);
    assert!(error.starts_with(&format!("-ERR {file}:2: Syntax error. WARNING:")), "{error}");
    assert_eq!(ann.call(&["PING"]), "+PONG");
    std::fs::write(&path, "user bob on nopass +@all &d\nuser eve on >other\n").expect("written");
    assert_eq!(admin.call(&["ACL", "LOAD"]), "+OK");
    assert!(ann.is_closed() && bob.is_closed());
    assert!(eve.call(&["GET", "k"]).starts_with("-NOPERM"));
    assert_eq!(admin.call(&["ACL", "USERS"]), "[bob, default, eve]");
    // As part of a transaction it is made between its parts.
    assert_eq!(admin.call(&["MULTI"]), "+OK");
    for call in [&["SET", "k", "v"][..], &["ACL", "SAVE"], &["GET", "k"]] {
        assert_eq!(admin.call(call), "+QUEUED");
    }
    assert_eq!(admin.call(&["EXEC"]), "[+OK, +OK, v]");
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir_all(path.join("in the way")).expect("made");
    assert!(admin.call(&["ACL", "SAVE"]).starts_with("-ERR There was an error trying to save"));
    std::fs::remove_dir_all(&path).expect("removed");
    std::fs::write(&path, saved).expect("written");
    server.kill_and_restart();
    assert_eq!(server.connect().call(&["ACL", "USERS"]), "[ann, bob, default, eve]");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the server reads a real file")]
fn users_stand_in_the_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("silt.conf");
    let file = path.to_str().expect("text");
    let read = || std::fs::read_to_string(&path).expect("readable");
    std::fs::write(&path, "user ann on nopass +@all ~k\n# kept\nuser bob off\n").expect("written");
    let mut server =
        Server::start(&["--user", "eve", "on", "nopass", "-@all", "(+get", "~e)", "--", file]);
    let mut admin = server.connect();
    assert_eq!(admin.call(&["ACL", "USERS"]), "[ann, bob, default, eve]");
    let mut ann = login(&server, "ann");
    assert_eq!(ann.call(&["GET", "x"]), "-NOPERM No permissions to access a key");
    assert_eq!(login(&server, "eve").call(&["GET", "e"]), "(nil)");
    assert_eq!(admin.call(&["ACL", "DELUSER", "bob", "eve"]), ":2");
    assert_eq!(
        admin.call(&["ACL", "SAVE"]).split(" to use").next(),
        Some("-ERR This Redis instance is not configured")
    );
    // Bytes that are no text come back as well.
    admin.send(&encode(&[b"ACL", b"SETUSER", b"zo\xff", b"on", b"~\"\xfe*", b"+get"]));
    assert_eq!(admin.reply(), "+OK");
    assert_eq!(admin.call(&["CONFIG", "REWRITE"]), "+OK");
    let rewritten = read();
    assert!(rewritten.starts_with("# kept\n"), "{rewritten}");
    let line = "user ann on nopass sanitize-payload ~k resetchannels +@all\n";
    assert!(rewritten.contains(line), "{rewritten}");
    let before = admin.call(&["ACL", "LIST"]);
    assert_eq!(admin.call(&["CONFIG", "REWRITE"]), "+OK");
    assert_eq!(read(), rewritten);
    drop(server);
    server = Server::start(&["--", file]);
    assert_eq!(server.connect().call(&["ACL", "LIST"]), before);
}

/// What stands before it in the pipeline is refused for itself.
#[test]
fn what_is_refused_before_a_transaction_does_not_end_it() {
    let server = Server::start(&["--appendfsync", "no"]);
    let (mut admin, mut busy) = (server.connect(), server.connect());
    set_user(&mut admin, "u", &["on", "nopass", "~*", "+@all"]);
    let mut user = login(&server, "u");
    assert_eq!(user.call(&["CLIENT", "SETNAME", "waits"]), "+OK");
    // While it runs nobody else writes.
    busy.send(&encode(&[b"EVAL", b"while true do redis.call('GET', 'k') end", b"0"]));
    eventually("it runs", || !admin.call(&["FUNCTION", "STATS"]).contains("running_script, (nil)"));
    let calls: [&[&[u8]]; 4] =
        [&[b"SET", b"other", b"1"], &[b"MULTI"], &[b"SET", b"own", b"1"], &[b"EXEC"]];
    user.send(&calls.map(encode).concat());
    eventually("they have come", || {
        let list = admin.call(&["CLIENT", "LIST"]);
        list.lines().any(|line| line.contains("name=waits") && line.contains(" cmd=exec"))
    });
    set_user(&mut admin, "u", &["resetkeys", "~own"]);
    assert_eq!(admin.call(&["SCRIPT", "KILL"]), "+OK");
    assert!(busy.reply().contains("killed"));
    assert!(user.reply().starts_with("-NOPERM"));
    assert_eq!([user.reply(), user.reply(), user.reply()], ["+OK", "+QUEUED", "[+OK]"]);
}
