//! Scripts and functions over sockets: that they are one transaction, that a long one holds up nobody who
//! reads, and how it is ended.

mod support;

use support::{Client, Server, encode, eventually};

/// A connection that runs an endless call by now, and another one that is told so.
fn endless(server: &Server, words: &[&str]) -> (Client, Client) {
    let mut other = server.connect();
    other.call(&["CONFIG", "SET", "busy-reply-threshold", "10"]);
    let mut client = server.connect();
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    client.send(&encode(&words));
    eventually("the server is busy", || other.call(&["PING"]).starts_with("-BUSY"));
    (client, other)
}

/// However many calls there were since the last collection of garbage.
#[test]
fn what_is_told_of_the_machine_is_without_garbage() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for _ in 0..60 {
        client.call(&["EVAL", "return redis.call('incr', KEYS[1])", "1", "x"]);
        let info = client.call(&["INFO", "memory"]);
        let told = info.split("used_memory_lua:").nth(1).expect("a field");
        let bytes: usize = told.lines().next().expect("a line").trim().parse().expect("a number");
        assert!((1..100 << 10).contains(&bytes), "{bytes}");
    }
}

#[test]
fn a_busy_script_does_not_hold_up_reads() {
    let server = Server::start(&[]);
    let mut other = server.connect();
    assert_eq!(other.call(&["SET", "k", "v"]), "+OK");
    let mut client = server.connect();
    // It goes on until it is killed, and the server is not busy for long after that.
    client.send(&encode(&[b"EVAL", b"while true do redis.call('GET', 'k') end", b"0"]));
    eventually("it runs on its thread", || {
        !other.call(&["FUNCTION", "STATS"]).contains("running_script, (nil)")
    });
    for _ in 0..1000 {
        assert_eq!(other.call(&["GET", "k"]), "v");
    }
    let stats = other.call(&["FUNCTION", "STATS"]);
    assert!(stats.contains("while true"), "it still runs: {stats}");
    assert_eq!(other.call(&["SCRIPT", "KILL"]), "+OK");
    assert!(client.reply().contains("killed by user"));
    assert_eq!(other.call(&["SET", "k", "w"]), "+OK");
}

#[test]
fn a_reading_script_holds_up_nobody() {
    let server = Server::start(&["--busy-reply-threshold", "1"]);
    let mut other = server.connect();
    let mut client = server.connect();
    client.send(&encode(&[b"EVAL_RO", b"while true do redis.call('GET', 'k') end", b"0"]));
    eventually("it runs", || !other.call(&["FUNCTION", "STATS"]).contains("running_script, (nil)"));
    for number in 0..200 {
        assert_eq!(other.call(&["SET", "k", &number.to_string()]), "+OK");
        assert_eq!(other.call(&["EVAL", "return redis.call('GET', 'k')", "0"]), number.to_string());
    }
    assert_eq!(other.call(&["SCRIPT", "KILL"]), "+OK");
    assert!(client.reply().contains("killed by user"));
}

/// Nor is it closed by `timeout`: it waits for us.
#[test]
fn a_client_whose_command_runs_is_not_idle() {
    let server = Server::start(&["--timeout", "1"]);
    let mut client = server.connect();
    assert_eq!(client.call(&["CLIENT", "SETNAME", "reader"]), "+OK");
    client.send(&encode(&[b"EVAL_RO", b"while true do redis.call('GET', 'k') end", b"0"]));
    let seconds = |line: &str, name: &str| {
        let (_, rest) = line.split_once(name).expect("the field");
        rest.split(' ').next().and_then(|digits| digits.parse::<u64>().ok()).expect("a number")
    };
    // Each look by a client of its own, which is not closed meanwhile.
    eventually("it has run for longer than the timeout", || {
        let list = server.connect().call(&["CLIENT", "LIST"]);
        let line = list.lines().find(|line| line.contains("name=reader")).expect("it is there");
        assert!(seconds(line, " idle=") < 2, "{line}");
        seconds(line, " age=") >= 3
    });
    assert_eq!(server.connect().call(&["SCRIPT", "KILL"]), "+OK");
    assert!(client.reply().contains("killed by user"));
}

#[test]
fn a_script_reads_streams_without_waiting() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut eval = |call: &str| client.call(&["EVAL", &format!("return redis.call({call})"), "0"]);
    eval("'XGROUP', 'CREATE', 's', 'g', '$', 'MKSTREAM'");
    let read = "'XREAD', 'BLOCK', '0', 'STREAMS', 's', '0'";
    let for_group = "'XREADGROUP', 'GROUP', 'g', 'c', 'BLOCK', '0', 'STREAMS', 's', '>'";
    assert_eq!(eval(read), "(nil)");
    assert_eq!(eval(for_group), "(nil)");
    eval("'XADD', 's', '1-1', 'a', '1'");
    for call in [read, for_group] {
        assert_eq!(eval(call), "[[s, [[1-1, [a, 1]]]]]", "{call}");
    }
}

#[test]
fn a_busy_server_answers_what_ends_it() {
    let server = Server::start(&[]);
    let (mut client, mut other) = endless(&server, &["EVAL", "while true do end", "0"]);
    assert_eq!(
        other.call(&["GET", "k"]),
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
    );
    assert!(other.call(&["FUNCTION", "KILL"]).starts_with("-BUSY"));
    assert_eq!(other.call(&["SCRIPT", "KILL"]), "+OK");
    assert_eq!(client.reply(), "-ERR Script killed by user with SCRIPT KILL.");
    eventually("it is not busy", || other.call(&["PING"]) == "+PONG");
    assert!(other.call(&["SCRIPT", "KILL"]).starts_with("-NOTBUSY"));

    let library = "#!lua name=l\nredis.register_function('f', function() while true do end end)";
    assert_eq!(other.call(&["FUNCTION", "LOAD", library]), "l");
    let (mut client, mut other) = endless(&server, &["FCALL", "f", "0"]);
    assert!(other.call(&["SCRIPT", "KILL"]).contains("FUNCTION KILL or SHUTDOWN"));
    assert_eq!(other.call(&["FUNCTION", "KILL"]), "+OK");
    assert_eq!(client.reply(), "-ERR Script killed by user with FUNCTION KILL.");
}

/// Whether it has written or not: nobody has killed it.
#[test]
fn the_end_of_the_server_is_what_its_scripts_are_told() {
    for script in ["redis.call('SET', 'k', 'v') while true do end", "while true do end"] {
        let mut server = Server::start(&["--shutdown-timeout", "1"]);
        let (mut client, _other) = endless(&server, &["EVAL", script, "0"]);
        server.signal("TERM");
        let told =
            "-ERR The server is shutting down; the script was ended, and nothing of it is kept.";
        assert_eq!(client.reply(), told);
        assert!(server.wait().success());
        server.restart();
        assert_eq!(server.connect().call(&["EXISTS", "k"]), ":0");
    }
}

/// As any other command that takes long.
#[test]
fn a_script_that_runs_at_the_end_of_the_server_has_time_to_finish() {
    let mut server = Server::start(&["--shutdown-timeout", "600"]);
    let mut client = server.connect();
    let script = "redis.log(redis.LOG_WARNING, 'it runs') for i = 1, 20000000 do end
        return redis.call('INCR', 'k')";
    client.send(&encode(&[b"EVAL", script.as_bytes(), b"0"]));
    eventually("it runs", || server.log().contains("it runs"));
    server.signal("TERM");
    assert_eq!(client.reply(), ":1");
    assert!(server.wait().success());
    server.restart();
    assert_eq!(server.connect().call(&["GET", "k"]), "1");
}

/// Else it could not be ended before `shutdown-timeout` by anything but a kill.
#[test]
fn a_busy_script_ends_at_once_with_shutdown_nosave() {
    let mut server = Server::start(&["--shutdown-timeout", "600"]);
    let script = "redis.call('SET', 'k', 'v') while true do end";
    let (mut client, mut other) = endless(&server, &["EVAL", script, "0"]);
    other.send(&encode(&[b"SHUTDOWN", b"NOSAVE"]));
    assert!(client.reply().starts_with("-ERR The server is shutting down"));
    assert!(server.wait().success());
}

#[test]
fn a_script_that_has_written_is_ended_by_the_server_only() {
    let mut server = Server::start(&[]);
    let script = "redis.call('SET', 'k', 'v') while true do end";
    let (_client, mut other) = endless(&server, &["EVAL", script, "0"]);
    assert!(other.call(&["SCRIPT", "KILL"]).starts_with("-UNKILLABLE"));
    server.kill_and_restart();
    assert_eq!(server.connect().call(&["GET", "k"]), "(nil)", "all of it or nothing");
}

#[test]
fn all_that_a_script_writes_survives_a_kill_or_nothing() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    let script = "for i = 1, 100 do redis.call('SET', 'k' .. i, ARGV[1]) end return ARGV[1]";
    for round in 1..=3 {
        let mut acknowledged = 0;
        for number in 0..20 {
            let value = (round * 100 + number).to_string();
            if number < 10 {
                assert_eq!(client.call(&["EVAL", script, "0", &value]), value);
                acknowledged = round * 100 + number;
            } else {
                client.send(&encode(&[b"EVAL", script.as_bytes(), b"0", value.as_bytes()]));
            }
        }
        server.kill_and_restart();
        client = server.connect();
        let first = client.call(&["GET", "k1"]);
        assert!(first.parse::<i32>().expect("a number") >= acknowledged);
        for key in 2..=100 {
            assert_eq!(client.call(&["GET", &format!("k{key}")]), first, "k{key}");
        }
    }
}

#[test]
fn functions_survive_a_kill_and_a_flush() {
    let mut server = Server::start(&[]);
    let mut client = server.connect();
    let library = |answer: u32| {
        format!("#!lua name=l\nredis.register_function('f', function() return {answer} end)")
    };
    assert_eq!(client.call(&["FUNCTION", "LOAD", &library(1)]), "l");
    assert_eq!(client.call(&["FCALL", "f", "0"]), ":1");
    assert_eq!(client.call(&["FLUSHALL"]), "+OK");
    server.kill_and_restart();
    client = server.connect();
    assert_eq!(client.call(&["FCALL", "f", "0"]), ":1");
    assert_eq!(client.call(&["FUNCTION", "LOAD", "REPLACE", &library(2)]), "l");
    assert_eq!(client.call(&["FCALL", "f", "0"]), ":2");
    // Part of a transaction as any other change.
    assert_eq!(client.call(&["MULTI"]), "+OK");
    client.call(&["FUNCTION", "LOAD", "REPLACE", &library(3)]);
    client.call(&["FCALL", "f", "0"]);
    client.call(&["FUNCTION", "DELETE", "l"]);
    client.call(&["FCALL", "f", "0"]);
    assert_eq!(client.call(&["EXEC"]), "[l, :3, +OK, -ERR Function not found]");
    server.kill_and_restart();
    assert_eq!(server.connect().call(&["FUNCTION", "LIST"]), "[]");
}

#[test]
fn scripts_are_part_of_a_transaction() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    assert_eq!(client.call(&["MULTI"]), "+OK");
    client.call(&["SET", "k", "1"]);
    client.call(&[
        "EVAL",
        "redis.call('SELECT', 3) return redis.call('INCRBY', KEYS[1], 5)",
        "1",
        "k",
    ]);
    client.call(&["EVAL", "return redis.call('INCRBY', KEYS[1], 5)", "1", "k"]);
    client.call(&["EVAL", "redis.call('SET', 'k', 'x') return redis.call('INCR', 'k')", "0"]);
    client.call(&["GET", "k"]);
    let replies = client.call(&["EXEC"]);
    assert!(replies.starts_with("[+OK, :5, :6, -ERR value is not an integer"), "{replies}");
    assert!(replies.ends_with(", x]"), "what a script wrote before its error stays: {replies}");
}

#[test]
fn what_a_script_pushes_is_served_behind_it() {
    let server = Server::start(&[]);
    let mut waiting = server.connect();
    waiting.send(&encode(&[b"BLPOP", b"l", b"0"]));
    let mut other = server.connect();
    eventually("it waits", || other.call(&["INFO", "clients"]).contains("blocked_clients:1\r\n"));
    let script = "redis.call('RPUSH', 'l', 'a') redis.call('RPUSH', 'l', 'b') \
                  return redis.call('LLEN', 'l')";
    assert_eq!(other.call(&["EVAL", script, "0"]), ":2");
    assert_eq!(waiting.reply(), "[l, a]");
}

#[test]
fn a_long_script_is_followed_by_what_waited() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut other = server.connect();
    let script = "local n = 0 for i = 1, 300000 do n = n + #redis.call('GET', 'k') end \
                  return redis.call('SET', 'k', n)";
    assert_eq!(client.call(&["SET", "k", "x"]), "+OK");
    client.send(&encode(&[b"EVAL", script.as_bytes(), b"0"]));
    eventually("it runs on its thread", || {
        !other.call(&["FUNCTION", "STATS"]).contains("running_script, (nil)")
    });
    assert_eq!(other.call(&["APPEND", "k", "y"]), ":7");
    assert_eq!(client.reply(), "+OK");
    assert_eq!(other.call(&["GET", "k"]), "300000y");
}

/// A client that runs an endless script as this user, with a write behind it in its pipeline.
fn with_a_write_behind(server: &Server, user: &str) -> (Client, String) {
    let (mut client, mut other) = (server.connect(), server.connect());
    assert_eq!(client.call(&["AUTH", user, "x"]), "+OK");
    let id = client.call(&["CLIENT", "ID"]).trim_start_matches(':').to_owned();
    let mut pipeline = encode(&[b"EVAL", b"while true do end", b"0"]);
    pipeline.extend(encode(&[b"SET", b"behind", b"v"]));
    pipeline.extend(encode(&[b"ECHO", b"end"]));
    client.send(&pipeline);
    eventually("it runs on its thread", || {
        !other.call(&["FUNCTION", "STATS"]).contains("running_script, (nil)")
    });
    (client, id)
}

#[test]
fn what_is_behind_a_script_runs_only_while_its_client_may() {
    let server = Server::start(&["--user", "bob", "on", "nopass", "~*", "&*", "+@all"]);
    let mut other = server.connect();
    for how in ["closed", "user deleted", "right taken"] {
        let (mut client, id) = with_a_write_behind(&server, "bob");
        match how {
            "closed" => assert_eq!(other.call(&["CLIENT", "KILL", "ID", &id]), ":1"),
            "user deleted" => assert_eq!(other.call(&["ACL", "DELUSER", "bob"]), ":1"),
            _ => assert_eq!(other.call(&["ACL", "SETUSER", "bob", "-set"]), "+OK"),
        }
        assert_eq!(other.call(&["SCRIPT", "KILL"]), "+OK");
        if how == "right taken" {
            assert!(client.reply().contains("killed by user"));
            let refused = "-NOPERM User bob has no permissions to run the 'set' command";
            assert_eq!(client.reply(), refused);
            assert_eq!(client.reply(), "end");
        } else {
            assert!(client.is_closed());
        }
        // Behind whatever the writer has got.
        assert_eq!(other.call(&["SET", "last", "v"]), "+OK");
        assert_eq!(other.call(&["EXISTS", "behind"]), ":0", "{how}");
        let again = ["ACL", "SETUSER", "bob", "reset", "on", "nopass", "~*", "&*", "+@all"];
        assert_eq!(other.call(&again), "+OK");
    }
}

#[test]
fn what_waits_for_replicas_or_the_disk_answers_a_script_at_once() {
    for (policy, local) in [("always", 1), ("no", 0)] {
        let server = Server::start(&["--appendfsync", policy]);
        let script = "return {redis.call('wait', 1, 0), redis.call('waitaof', 1, 0, 0)}";
        let reply = server.connect().call(&["EVAL", script, "0"]);
        assert_eq!(reply, format!("[:0, [:{local}, :0]]"));
    }
}

#[test]
fn time_stands_still_in_a_script_that_sleeps() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    let script = "redis.call('SET', KEYS[1], 'v', 'PX', 5) redis.call('DEBUG', 'SLEEP', 0.05) \
                  return redis.call('EXISTS', KEYS[1])";
    let eval = ["EVAL", script, "1", "k"];
    assert!(client.call(&eval).starts_with("-ERR This Redis command is not allowed from script"));
    assert_eq!(client.call(&["DEBUG", "SET-DISABLE-DENY-SCRIPTS", "1"]), "+OK");
    assert_eq!(client.call(&eval), ":1");
    assert_eq!(client.call(&["EXISTS", "k"]), ":0");
    let script = "local before = redis.call('TIME') redis.call('DEBUG', 'SLEEP', 0.01) \
                  return table.concat(before, '.') == table.concat(redis.call('TIME'), '.')";
    assert_eq!(client.call(&["EVAL", script, "0"]), ":1");
}

#[test]
fn a_pause_is_answered_when_no_write_can_come_any_more() {
    let server = Server::start(&[]);
    let (mut other, mut writer, mut admin) = (server.connect(), server.connect(), server.connect());
    let mut waiting = server.connect();
    let mut script = server.connect();
    script.send(&encode(&[b"EVAL", b"while true do end", b"0"]));
    eventually("it runs on its thread", || {
        !other.call(&["FUNCTION", "STATS"]).contains("running_script, (nil)")
    });
    // These wait for the writer, and the pause behind them.
    writer.send(&encode(&[b"SET", b"k", b"v"]));
    waiting.send(&encode(&[b"BLPOP", b"list", b"0"]));
    eventually("they have arrived", || {
        let list = other.call(&["CLIENT", "LIST"]);
        list.contains("cmd=set") && list.contains("cmd=blpop")
    });
    admin.send(&encode(&[b"CLIENT", b"PAUSE", b"100000", b"WRITE"]));
    eventually("it has arrived", || other.call(&["CLIENT", "LIST"]).contains("cmd=client|pause"));
    assert_eq!(other.call(&["SCRIPT", "KILL"]), "+OK");
    assert_eq!(admin.reply(), "+OK");
    for _ in 0..20 {
        assert_eq!(other.call(&["EXISTS", "k"]), ":0");
    }
    assert_eq!(other.call(&["CLIENT", "UNPAUSE"]), "+OK");
    assert_eq!(writer.reply(), "+OK");
    assert_eq!(other.call(&["RPUSH", "list", "x"]), ":1");
    assert_eq!(waiting.reply(), "[list, x]");
    assert_eq!(other.call(&["GET", "k"]), "v");
}

#[test]
fn a_table_that_stands_for_too_much_is_refused() {
    let server = Server::start(&["--maxmemory", "100mb"]);
    let mut client = server.connect();
    let script = "#!lua flags=no-writes\n\
                  local s, t = string.rep('x', 1000000), {} \
                  for i = 1, 1000 do t[i] = s end return t";
    let reply = client.call(&["EVAL", script, "0"]);
    assert!(reply.starts_with("-ERR") && reply.contains("too large"), "{reply}");
    assert_eq!(client.call(&["PING"]), "+PONG");
}

/// Who debugs a script does not mean its changes to stay.
#[test]
fn a_script_that_shall_be_debugged_is_not_run() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let set = ["EVAL", "return redis.call('SET', 'k', 'v')", "0"];
    let refused = "-ERR the script debugger is not supported, so the script is not run";
    for (mode, end) in [("YES", &["SCRIPT", "DEBUG", "NO"][..]), ("SYNC", &["RESET"])] {
        assert_eq!(client.call(&["SCRIPT", "DEBUG", mode]), refused);
        assert_eq!(client.call(&set), refused);
        assert_eq!(client.call(&set), refused);
        assert_eq!(client.call(&["EXISTS", "k"]), ":0");
        client.call(end);
        assert_eq!(client.call(&set), "+OK");
        assert_eq!(client.call(&["DEL", "k"]), ":1");
    }
}
