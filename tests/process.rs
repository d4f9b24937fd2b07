//! The process as an operator meets it: background, service manager.

mod support;

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::tls::write;
use support::{Client, Connection, Server, eventually, free_port};

/// The path as text.
fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[expect(clippy::disallowed_methods, reason = "files that another process writes")]
fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn siltdb(dir: &Path, args: &[&str]) -> Output {
    let mut server = Command::new(env!("CARGO_BIN_EXE_siltdb"));
    server.current_dir(dir).args(args).env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
    server.output().expect("it runs")
}

/// A server in the background; it ends with this, however its test ends.
struct Daemon(u16);

impl Daemon {
    /// Waits until it answers.
    fn await_on(port: u16) -> (Self, Client) {
        eventually("it listens", || Connection::open(port).is_ok());
        (Self(port), Client::open(port))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let call = [&b"SHUTDOWN"[..], b"NOW", b"FORCE"];
        // It may have ended.
        drop(Connection::open(self.0).map(|mut connection| connection.call(&call).is_ok()));
    }
}

/// The fields of `/proc/PID/stat` behind the name: state, parent, group, session, terminal.
fn standing(pid: u32) -> Vec<i64> {
    let stat = read(Path::new(&format!("/proc/{pid}/stat")));
    let behind = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    behind.split_whitespace().skip(1).take(4).filter_map(|field| field.parse().ok()).collect()
}

#[test]
fn a_daemon_leaves_its_terminal_and_writes_its_pidfile() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let here = temporary.path();
    let port = free_port();
    write(&here.join("redis.conf"), &format!("daemonize yes\nport {port}\ndir ./data\n"));
    let log = here.join("log");
    let options = ["redis.conf", "--logfile", "log", "--pidfile", "server.pid"];
    let output = siltdb(here, &options);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");

    let (_daemon, mut client) = Daemon::await_on(port);
    let pidfile = here.join("data/server.pid");
    eventually("the pidfile is there", || !read(&pidfile).is_empty());
    let pid: u32 = read(&pidfile).trim().parse().expect("a process");
    assert!(client.call(&["INFO", "server"]).contains(&format!("process_id:{pid}\r\n")));
    let [_, group, session, terminal] = standing(pid)[..] else { panic!("{:?}", standing(pid)) };
    assert_eq!((group, session, terminal), (i64::from(pid), i64::from(pid), 0));
    for stream in 0..3 {
        let leads_to = std::fs::read_link(format!("/proc/{pid}/fd/{stream}")).expect("open");
        assert_eq!(leads_to, Path::new("/dev/null"), "stream {stream}");
    }
    assert!(read(&log).contains("Ready to accept connections"), "{}", read(&log));
    assert_eq!(client.call(&["CONFIG", "GET", "daemonize"]), "[daemonize, yes]");
    assert_eq!(client.call(&["SET", "k", "v"]), "+OK");

    // The address is in use: the command has gone well, the log tells.
    let second =
        siltdb(here, &["--daemonize", "yes", "--port", &port.to_string(), "--logfile", "second"]);
    assert!(second.status.success(), "{second:?}");
    eventually("the log tells", || read(&here.join("second")).contains("listen"));

    client.send(&support::encode(&[b"SHUTDOWN"]));
    eventually("it has ended", || !pidfile.exists());
    eventually("its log says so", || read(&log).contains("bye bye"));
}

/// Where nobody has named a pidfile it is that of Redis. A configuration on standard input is handed on.
#[test]
fn a_daemon_reads_what_its_starter_was_given() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let here = temporary.path();
    let port = free_port();
    let conf = here.join("piped");
    write(&conf, &format!("daemonize yes\nport {port}\n"));
    let piped = std::fs::OpenOptions::new().read(true).open(&conf).expect("there");
    let mut server = Command::new(env!("CARGO_BIN_EXE_siltdb"));
    server.current_dir(here).args(["-", "--dir", text(&here.join("data"))]).stdin(piped);
    let output = server.env_remove("NOTIFY_SOCKET").output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let (_daemon, mut client) = Daemon::await_on(port);
    assert_eq!(client.call(&["CONFIG", "GET", "pidfile"]), "[pidfile, /var/run/redis.pid]");
    client.send(&support::encode(&[b"SHUTDOWN", b"NOSAVE"]));
    eventually("it has ended", || Connection::open(port).is_err());
}

/// What is wrong before the process is in the background its starter tells.
#[test]
fn a_daemon_that_cannot_log_is_not_started() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let here = temporary.path();
    for args in [&["--logfile", "no/log"][..], &["--nosuch", "1"]] {
        let output = siltdb(here, &[&["--daemonize", "yes"], args].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!output.stderr.is_empty(), "{output:?}");
    }
    assert_eq!(std::fs::read_dir(here).expect("there").count(), 0);
}

/// What the service manager was told since it was last asked.
fn told(manager: &UnixDatagram) -> String {
    let mut told = String::new();
    let mut buffer = [0; 1024];
    while let Ok(bytes) = manager.recv(&mut buffer) {
        told.push_str(&String::from_utf8_lossy(&buffer[..bytes]));
    }
    told
}

/// As Debian's unit starts Redis: `daemonize yes` of the file is overruled, and would be anyway.
#[test]
fn a_service_manager_is_told_of_start_and_end() {
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let here = temporary.path();
    let socket = here.join("notify");
    let manager = UnixDatagram::bind(&socket).expect("bound");
    manager.set_nonblocking(true).expect("set");
    for options in [
        &["--supervised", "systemd", "--daemonize", "no"][..],
        &["--supervised", "auto", "--daemonize", "yes"],
    ] {
        let port = free_port();
        let mut server = Command::new(env!("CARGO_BIN_EXE_siltdb"))
            .args(["--port", &port.to_string(), "--dir", text(&here.join("data"))])
            .args(options)
            .env("NOTIFY_SOCKET", &socket)
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut all = String::new();
        eventually("it is ready", || {
            all.push_str(&told(&manager));
            all.contains("READY=1\n")
        });
        assert!(all.contains("STATUS=Ready to accept connections\n"), "{all}");
        let mut client = Client::open(port);
        assert!(client.call(&["INFO", "server"]).contains("process_supervised:systemd\r\n"));
        client.send(&support::encode(&[b"SHUTDOWN"]));
        assert!(server.wait().expect("it ends").success());
        assert!(told(&manager).contains("STOPPING=1\n"));
    }
}

#[test]
fn a_service_manager_that_is_not_there_is_told_about() {
    for (name, why) in [("systemd", "NOTIFY_SOCKET is not set"), ("upstart", "has no effect")] {
        let server = Server::start(&["--supervised", name]);
        assert!(server.log().contains(&format!("supervised {name}")), "{}", server.log());
        assert!(server.log().contains(why), "{}", server.log());
        let info = server.connect().call(&["INFO", "server"]);
        assert!(info.contains("process_supervised:no\r\n"), "{info}");
    }
}

/// As Debian installs it, but for the places of its files.
#[test]
fn the_configuration_of_debian_is_taken_as_it_is() {
    let conf = Path::new("/etc/redis/redis.conf");
    if !conf.exists() {
        return;
    }
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let here = temporary.path();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    drop(taken);
    let (data, log, pidfile) = (here.join("data"), here.join("log"), here.join("pid"));
    let places = ["--dir", text(&data), "--logfile", text(&log), "--pidfile", text(&pidfile)];
    let port_text = port.to_string();
    let output = siltdb(here, &[&[text(conf), "--port", &port_text][..], &places].concat());
    assert!(output.status.success(), "{output:?}");
    let (_daemon, mut client) = Daemon::await_on(port);
    assert_eq!(client.call(&["CONFIG", "GET", "appendfsync"]), "[appendfsync, everysec]");
    client.send(&support::encode(&[b"SHUTDOWN"]));
    eventually("it has ended", || read(&log).contains("bye bye"));
}

/// A script that is on its thread, and in a look for a pattern that goes on for ever, where nothing but
/// the end of the process ends it.
const ENDLESS: &str = "for i = 1, 5000000 do end redis.call('SET', 'written', '1') \
     redis.log(redis.LOG_WARNING, 'looks for ever') \
     return string.find(string.rep('a', 100000), '.-.-.-.-.-b')";

#[test]
fn the_end_gives_up_what_takes_for_ever() {
    for by_signal in [true, false] {
        let mut server = Server::start(&["--shutdown-timeout", "1"]);
        let mut client = server.connect();
        assert_eq!(client.call(&["SET", "k", "v"]), "+OK");
        let mut pipeline = support::encode(&[b"EVAL", ENDLESS.as_bytes(), b"0"]);
        pipeline.extend(support::encode(&[b"SET", b"behind", b"1"]));
        client.send(&pipeline);
        eventually("it looks", || server.log().contains("looks for ever"));
        if by_signal {
            server.signal("TERM");
        } else {
            server.connect().send(&support::encode(&[b"SHUTDOWN", b"NOSAVE", b"NOW"]));
        }
        assert!(server.wait().success());
        let log = server.log();
        assert!(log.contains("a script or transaction was not done in time"), "{log}");
        assert!(log.contains("bye bye"), "{log}");
        server.restart();
        let mut client = server.connect();
        assert_eq!(client.call(&["MGET", "k", "written", "behind"]), "[v, (nil), (nil)]");
    }
}

/// What it was answered waits for its socket, for longer than this test waits for the end.
#[test]
fn the_end_does_not_wait_for_who_does_not_read() {
    let mut server = Server::start(&["--shutdown-timeout", "1000"]);
    let mut client = server.connect();
    assert_eq!(client.call(&["SET", "k", &"v".repeat(1 << 20)]), "+OK");
    client.send(&support::encode(&[b"GET", b"k"]).repeat(32));
    let mut other = server.connect();
    eventually("it waits", || {
        let list = other.call(&["CLIENT", "LIST"]);
        list.lines().any(|line| line.contains("cmd=get") && !line.contains(" omem=0 "))
    });
    server.signal("TERM");
    assert!(server.wait().success());
    drop(client);
}

/// Also where the server does not get around to its end at all.
#[test]
fn a_second_signal_ends_the_process_at_once() {
    let mut server = Server::start(&["--shutdown-timeout", "1000"]);
    let mut client = server.connect();
    client.send(&support::encode(&[b"EVAL", ENDLESS.as_bytes(), b"0"]));
    eventually("it looks", || server.log().contains("looks for ever"));
    server.signal("TERM");
    eventually("the log tells", || server.log().contains("signal received"));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(130));
    assert!(server.log().contains("exiting at once"));

    // A script that holds the writer's own thread from its first moment.
    server.restart();
    let mut client = server.connect();
    let script = "redis.log(redis.LOG_WARNING, 'it holds the thread')
        return string.find(string.rep('a', 100000), '.-.-.-.-.-b')";
    client.send(&support::encode(&[b"EVAL", script.as_bytes(), b"0"]));
    eventually("it begins", || server.log().contains("it holds the thread"));
    let before = server.log().matches("signal received").count();
    server.signal("TERM");
    eventually("the log tells", || server.log().matches("signal received").count() > before);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(130));
}

/// Ends who sets a priority, as the filter of Debian's unit for Redis does, and runs its arguments.
const FILTER: &str = "
import ctypes, os, platform, struct, sys
number = {'x86_64': 141, 'aarch64': 140}[platform.machine()]
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x80000000), (6, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_filter_of_system_calls_does_not_end_the_server() {
    let has_python = Command::new("python3").arg("-c").arg("").status();
    if !has_python.is_ok_and(|status| status.success()) {
        return;
    }
    let temporary = tempfile::tempdir().expect("a temporary directory");
    let port = free_port();
    let mut server = Command::new("python3")
        .args(["-c", FILTER, env!("CARGO_BIN_EXE_siltdb"), "--port", &port.to_string(), "--dir"])
        .arg(temporary.path().join("data"))
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    eventually("it listens", || Connection::open(port).is_ok());
    let mut client = Client::open(port);
    assert_eq!(client.call(&["SET", "k", "v"]), "+OK");
    // A thread of the pool, which would stand back.
    assert_eq!(client.call(&["KEYS", "*"]), "[k]");
    client.send(&support::encode(&[b"SHUTDOWN", b"SAVE"]));
    assert!(server.wait().expect("it ends").success());
}
