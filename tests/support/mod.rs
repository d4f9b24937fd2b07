//! Starts servers on free ports with data in temporary directories, and talks to them.
//!
//! A server ends with the value that started it. Each integration test uses a part of this.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

mod connection;
pub(crate) mod tls;

pub(crate) use connection::{Client, Connection, Reply, encode, socket};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the servers of a test have printed, beside their data.
const LOG: &str = "server.log";
/// Lines of it that are shown where a test fails.
const LINES_SHOWN: usize = 40;

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) dir: PathBuf,
    args: Vec<String>,
    temporary: tempfile::TempDir,
}

impl Server {
    /// Starts a server with these further arguments and an empty data directory.
    pub(crate) fn start(args: &[&str]) -> Self {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let dir = temporary.path().join("data");
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (child, port) = start(&dir, &args);
        Self { child, port, dir, args, temporary }
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name (`TERM`, `KILL`).
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status;
            }
            assert!(now() < deadline, "the server did not end");
            pause();
        }
    }

    /// Starts the server again on the same data, after it has ended.
    pub(crate) fn restart(&mut self) {
        let (child, port) = start(&self.dir, &self.args);
        self.child = child;
        self.port = port;
    }

    /// Kills the process with SIGKILL and starts it again on the same data.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server has ended");
        self.restart();
    }

    /// Starts the server again, after it has ended, and kills it `after` that, ready or not.
    pub(crate) fn start_and_kill(&mut self, after: Duration) {
        self.child = spawn(&self.dir, &self.args, free_port());
        std::thread::park_timeout(after);
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server has ended");
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Client {
        Client::open(self.port)
    }

    /// What it has printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.temporary.path().join(LOG)).expect("the log is there")
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.pid());
        let text = std::fs::read_to_string(path).expect("the process lives");
        let pages: u64 = text.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
        pages * 4096
    }
}

impl Drop for Server {
    /// Ends the server, and shows the end of its log where the test has failed.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let path = self.temporary.path().join(LOG);
            let log = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n"));
        }
    }
}

/// Starts a server and waits until it answers.
fn start(dir: &Path, args: &[String]) -> (Child, u16) {
    // Another process may take the port between the choice and the start: then choose again.
    for _ in 0..10 {
        let port = free_port();
        let mut child = spawn(dir, args, port);
        if answers(&mut child, port) {
            return (child, port);
        }
        // What has answered may have been somebody else: a server of this one holds the directory.
        drop(child.kill());
        drop(child.wait());
    }
    panic!("the server did not start");
}

fn spawn(dir: &Path, args: &[String], port: u16) -> Child {
    let log = dir.with_file_name(LOG);
    let log = OpenOptions::new().create(true).append(true).open(log).expect("a log");
    // Another build of the server, where the environment names one.
    let program = std::env::var_os("SILTDB_SERVER");
    Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_siltdb").into()))
        .args(["--port", &port.to_string(), "--dir"])
        .arg(dir)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .expect("the server starts")
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn answers(child: &mut Child, port: u16) -> bool {
    let deadline = now() + PATIENCE;
    while now() < deadline {
        if let Ok(mut connection) = Connection::open(port) {
            let ok = connection.call(&[b"QUIT"]).is_ok_and(|reply| reply.to_string() == "+OK");
            // At its end the connection is counted no more.
            return ok && connection.receive().is_err();
        }
        if child.try_wait().expect("the child can be waited for").is_some() {
            return false;
        }
        pause();
    }
    drop(child.kill());
    false
}

#[expect(clippy::disallowed_methods, reason = "how long another process takes is real time")]
fn now() -> Instant {
    Instant::now()
}

/// A moment between two looks at a condition.
#[expect(clippy::disallowed_methods, reason = "the pace of polling another process")]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Waits for a condition.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !condition() {
        assert!(now() < deadline, "did not come true: {what}");
        pause();
    }
}
