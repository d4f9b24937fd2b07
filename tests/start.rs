//! What a start that fails leaves behind.

mod support;

use std::net::TcpListener;
use std::process::Command;

use support::tls::write;
use support::{Client, Connection, Server, encode, eventually};

#[test]
fn a_server_that_cannot_listen_makes_no_data_directory() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("data");
    for args in [&["--port", &port, "--bind", "127.0.0.1"][..], &["--port", "0"]] {
        let mut server = Command::new(env!("CARGO_BIN_EXE_siltdb"));
        let output = server.args(args).arg("--dir").arg(&dir).output().expect("it runs");
        assert!(!output.status.success(), "{args:?}");
        let errors = String::from_utf8_lossy(&output.stdout);
        assert!(errors.contains("listen"), "{errors}");
        assert!(output.stderr.is_empty(), "told once: {output:?}");
        assert!(!dir.exists(), "{args:?}");
    }
}

/// The reason stands on standard error where the log does not show it, and names the file.
#[test]
fn a_start_without_a_log_on_standard_output_tells_why_on_standard_error() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let (dir, log) = (temporary.path().join("data"), temporary.path().join("log"));
    let no_log = temporary.path().join("no/log");
    for (logfile, why) in
        [(&no_log, format!("log file {}", no_log.display())), (&log, "listen".to_owned())]
    {
        let mut server = Command::new(env!("CARGO_BIN_EXE_siltdb"));
        server.args(["--port", "0", "--logfile"]).arg(logfile).arg("--dir").arg(&dir);
        let output = server.output().expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(&why), "{errors}");
        assert!(!dir.exists());
    }
}

#[test]
fn a_directory_that_is_refused_gets_no_file() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let dir = temporary.path().join("data");
    std::fs::create_dir(&dir).expect("made");
    write(&dir.join("dump.rdb"), "");
    let mut server = Command::new(env!("CARGO_BIN_EXE_siltdb"));
    server.args(["--port", &support::free_port().to_string(), "--dir"]).arg(&dir);
    let output = server.output().expect("it runs");
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && log.contains("another server (dump.rdb)"), "{log}");
    assert_eq!(std::fs::read_dir(&dir).expect("there").count(), 1);
}

/// Whatever the mistake in the command line or a file.
#[test]
fn a_wrong_configuration_ends_with_one_status() {
    for args in
        [&["--nosuch", "1"][..], &["--port"], &["--port", "x"], &["/no/file"], &["a", "b"], &["-x"]]
    {
        let output =
            Command::new(env!("CARGO_BIN_EXE_siltdb")).args(args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
        let mut check = Command::new(env!("CARGO_BIN_EXE_siltdb"));
        let output = check.arg("check").args(args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let help = Command::new(env!("CARGO_BIN_EXE_siltdb")).arg("--help").output().expect("it runs");
    assert!(help.status.success() && help.stderr.is_empty());
}

/// The budget has a floor, and nobody has to find that out.
#[test]
fn a_budget_that_is_too_small_is_told() {
    let server = Server::start(&["--maxmemory", "1mb"]);
    let told = || server.log().matches("maxmemory is below the least").count();
    eventually("the log tells at the start", || told() == 1);
    let mut client = server.connect();
    assert_eq!(client.call(&["CONFIG", "SET", "maxmemory", "2mb"]), "+OK");
    eventually("the log tells upon a change", || told() == 2);
    assert_eq!(client.call(&["CONFIG", "GET", "maxmemory"]), "[maxmemory, 2097152]");
    assert!(client.call(&["INFO", "memory"]).contains("maxmemory:33554432\r\n"));
    for enough in ["32mb", "0"] {
        assert_eq!(client.call(&["CONFIG", "SET", "maxmemory", enough]), "+OK");
    }
    assert_eq!(told(), 2);
}

/// A terminal that ends, or a service manager that asks for a new configuration, ends nothing.
#[test]
fn a_hangup_is_logged_and_ignored() {
    let socket = tempfile::tempdir().expect("a temporary directory");
    let socket = socket.path().join("socket");
    let mut server = Server::start(&["--unixsocket", socket.to_str().expect("text")]);
    for times in 1..=2 {
        server.signal("HUP");
        eventually("the log tells", || server.log().matches("SIGHUP").count() == times);
    }
    assert_eq!(server.connect().call(&["SET", "k", "v"]), "+OK");
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(!socket.exists(), "the end is an orderly one");
}

/// A rule means the command whatever it is called.
#[test]
fn rules_of_users_name_commands_as_if_nothing_was_renamed() {
    let words = ["--rename-command", "GET", "fetch", "--rename-command", "SET", "GET"];
    let renamed = ["--rename-command", "CONFIG", "b840", "--rename-command", "FLUSHALL", ""];
    let users = ["--user", "app", "on", "nopass", "~*", "+get"];
    let ops = ["--user", "ops", "on", "nopass", "~*", "+@all", "-config"];
    let server = Server::start(&[&words[..], &renamed[..], &users[..], &ops[..]].concat());
    let mut client = server.connect();
    assert_eq!(client.call(&["ACL", "SETUSER", "more", "-flushall", "+config|get"]), "+OK");
    assert_eq!(client.call(&["AUTH", "app", "x"]), "+OK");
    assert_eq!(client.call(&["FETCH", "k"]), "(nil)");
    let refused = "-NOPERM User app has no permissions to run the 'set' command";
    assert_eq!(client.call(&["GET", "k", "v"]), refused);
    assert_eq!(client.call(&["AUTH", "ops", "x"]), "+OK");
    assert!(client.call(&["B840", "GET", "port"]).starts_with("-NOPERM User ops"));
}

/// Who had to wait runs with the rights that are left then.
#[test]
fn what_a_pause_has_held_back_is_asked_again() {
    let server = Server::start(&["--user", "bob", "on", "nopass", "~*", "+@all"]);
    let (mut admin, mut bob) = (server.connect(), server.connect());
    assert_eq!(bob.call(&["AUTH", "bob", "x"]), "+OK");
    assert_eq!(admin.call(&["CLIENT", "PAUSE", "100000", "WRITE"]), "+OK");
    bob.send(&encode(&[b"SET", b"k", b"v"]));
    // Bytes that the server has read of it: the call is there.
    let arrived = |list: String| {
        let bob = list.lines().find(|line| line.contains("user=bob")).map(str::to_owned);
        bob.is_some_and(|line| line.contains("tot-net-in=") || line.contains("flags=b"))
    };
    eventually("the write is held back", || arrived(admin.call(&["CLIENT", "LIST"])));
    assert_eq!(admin.call(&["ACL", "SETUSER", "bob", "-@write"]), "+OK");
    assert_eq!(admin.call(&["CLIENT", "UNPAUSE"]), "+OK");
    assert_eq!(bob.reply(), "-NOPERM User bob has no permissions to run the 'set' command");
    assert_eq!(admin.call(&["EXISTS", "k"]), ":0");
}

/// A call of each name, and what its reply starts with.
#[test]
fn commands_are_called_by_their_new_names_only() {
    let server = Server::start(&[
        "--rename-command",
        "CONFIG",
        "b840",
        "--rename-command",
        "FLUSHALL",
        "",
        "--rename-command",
        "get",
        "fetch",
        "--rename-command",
        "SET",
        "GET",
        "--rename-command",
        "EVAL",
        &"x".repeat(64),
    ]);
    let mut client = server.connect();
    let long = "X".repeat(64);
    for (call, reply) in [
        (
            "CONFIG GET port",
            "-ERR unknown command 'CONFIG', with args beginning with: 'GET' 'port'",
        ),
        ("B840 GET timeout", "[timeout, 0]"),
        ("b840 nope", "-ERR unknown subcommand 'nope'. Try B840 HELP."),
        ("b840", "-ERR wrong number of arguments for 'config' command"),
        ("b840 get", "-ERR wrong number of arguments for 'config|get' command"),
        ("flushall", "-ERR unknown command 'flushall'"),
        ("GET a 1", "+OK"),
        ("SET a 2", "-ERR unknown command 'SET'"),
        ("fetch a", "1"),
        ("fetch", "-ERR wrong number of arguments for 'get' command"),
        ("COMMAND GETKEYS GET k v", "[k]"),
        ("COMMAND INFO config flushall set", "[(nil), (nil), (nil)]"),
        ("COMMAND INFO fetch", "[[get, :2, [+readonly, +fast]"),
        ("COMMAND LIST FILTERBY PATTERN flush*", "[flushdb]"),
        ("COMMAND LIST FILTERBY PATTERN config|se*", "[config|set]"),
        ("COMMAND DOCS fetch", "[get, [summary, "),
        ("B840 HELP", "[+B840 <subcommand> "),
    ] {
        let words: Vec<&str> = call.split(' ').collect();
        let got = client.call(&words);
        assert!(got.starts_with(reply), "{call}: {got}");
    }
    assert_eq!(client.call(&[&long, "return redis.call('FETCH', 'a')", "0"]), "1");
    let refused = client.call(&[&long, "return redis.call('set', 'a', 'b')", "0"]);
    assert!(refused.contains("Unknown Redis command"), "{refused}");
    client.send(&encode(&[b"MULTI"]));
    assert_eq!(client.reply(), "+OK");
    assert_eq!(client.call(&["GET", "a", "7"]), "+QUEUED");
    assert_eq!(client.call(&["fetch", "a"]), "+QUEUED");
    assert_eq!(client.call(&["EXEC"]), "[+OK, 7]");
    let stats = client.call(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_get:calls=") && !stats.contains("fetch"), "{stats}");
}

#[test]
fn wrong_renames_are_told_and_rewritten_files_keep_theirs() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let file = temporary.path().join("redis.conf");
    for (line, why) in [
        ("rename-command NOPE x", "No such command in rename-command"),
        ("rename-command GET set", "Target command name already exists"),
        ("rename-command config|get x", "No such command in rename-command"),
        ("rename-command GET", "rename-command: wrong number of arguments"),
    ] {
        write(&file, &format!("port 0\n{line}\n"));
        let mut server = Command::new(env!("CARGO_BIN_EXE_siltdb"));
        let output = server.arg(&file).arg("--dir").arg(temporary.path().join("data")).output();
        let output = output.expect("it runs");
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        assert!(!output.status.success() && told.contains(why), "{line}: {told}");
    }
    write(&file, "rename-command CONFIG settings\ntimeout 5\n");
    for expected in ["5", "6"] {
        let port = support::free_port();
        let mut server = Command::new(env!("CARGO_BIN_EXE_siltdb"))
            .arg(&file)
            .args(["--port", &port.to_string(), "--dir"])
            .arg(temporary.path().join("data"))
            .spawn()
            .expect("it starts");
        eventually("it listens", || Connection::open(port).is_ok());
        let mut client = Client::open(port);
        let timeout = format!("[timeout, {expected}]");
        assert_eq!(client.call(&["settings", "GET", "timeout"]), timeout);
        assert_eq!(client.call(&["settings", "SET", "timeout", "6"]), "+OK");
        assert_eq!(client.call(&["settings", "REWRITE"]), "+OK");
        server.kill().expect("it runs");
        server.wait().expect("it has ended");
    }
}
