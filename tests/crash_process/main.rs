//! Kills the server by SIGKILL under write load, again and again: with `appendfsync always` every
//! acknowledged write is there after each restart, and what was still in flight is there as a
//! prefix of what was sent. Writes of all families; `siltdb check` finds the data sound.
//!
//! `SILTDB_CRASH_ROUNDS` is the number of rounds (5 unless told), `SILTDB_SEED` repeats a run.

mod operation;
#[path = "../support/mod.rs"]
mod support;
mod value;

use std::collections::VecDeque;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use operation::Operation;
use support::{Connection, Reply, Server};
use value::{State, read_state};

const WRITERS: usize = 8;
const PIPELINE_MAX: usize = 32;
/// Small, so that both ways to keep a collection occur.
const SETTINGS: &[&str] = &[
    "--appendfsync",
    "always",
    "--hash-max-listpack-entries",
    "16",
    "--set-max-listpack-entries",
    "16",
    "--zset-max-listpack-entries",
    "16",
    "--list-max-listpack-size",
    "16",
    "--stream-node-max-entries",
    "16",
];

/// One writer's view of what the server must hold.
struct Writer {
    number: usize,
    random: fastrand::Rng,
    /// The first part of the newest stream id.
    clock: u64,
    /// All acknowledged writes.
    acknowledged: State,
    /// Sent, in order, and not acknowledged when the server was killed.
    in_flight: VecDeque<Operation>,
}

impl Writer {
    /// Writes until the connection breaks; counts acknowledgements in `count`, and the one that
    /// reaches `kill_at` kills `server`.
    fn run(&mut self, count: &AtomicU64, kill_at: u64, server: &Server) {
        let Ok(mut connection) = Connection::open(server.port) else { return };
        loop {
            let mut bytes = Vec::new();
            for _ in 0..self.random.usize(1..=PIPELINE_MAX) {
                let operation = Operation::random(&mut self.random, self.number, &mut self.clock);
                bytes.extend_from_slice(&operation.request());
                self.in_flight.push_back(operation);
            }
            if connection.send(&bytes).is_err() {
                return;
            }
            while let Some(operation) = self.in_flight.front() {
                let Ok(reply) = connection.receive() else { return };
                if let Some(expected) = operation.apply(&mut self.acknowledged) {
                    assert_eq!(reply, expected, "reply to {operation:?}");
                }
                self.in_flight.pop_front();
                if count.fetch_add(1, Ordering::Relaxed) + 1 == kill_at {
                    server.signal("KILL");
                }
            }
        }
    }

    /// Reads the writer's keys back: they hold what was acknowledged, and then some first part of
    /// what was in flight.
    fn verify(&mut self, connection: &mut Connection) {
        let found = read_state(connection, self.number);
        let lost = describe_difference(&self.acknowledged, &found);
        let mut expected = std::mem::take(&mut self.acknowledged);
        while expected != found {
            let Some(operation) = self.in_flight.pop_front() else {
                panic!(
                    "writer {}: the keys are no state that the writes lead to: {lost}",
                    self.number
                );
            };
            operation.apply(&mut expected);
        }
        self.in_flight.clear();
        self.acknowledged = expected;
    }
}

/// The first few keys in which what is found differs from what was acknowledged.
fn describe_difference(acknowledged: &State, found: &State) -> String {
    let show = |state: &State, key: &String| {
        let value = state.get(key).map(|value| format!("{value:?}"));
        value.unwrap_or_default().chars().take(600).collect::<String>()
    };
    let keys =
        acknowledged.keys().chain(found.keys().filter(|key| !acknowledged.contains_key(*key)));
    keys.filter(|key| acknowledged.get(*key) != found.get(*key))
        .take(5)
        .map(|key| {
            format!("\n{key}: acknowledged {}, found {}", show(acknowledged, key), show(found, key))
        })
        .collect()
}

/// `siltdb check` on the directory of a server that has ended.
fn check(server: &Server) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siltdb"));
    let output = command.args(["check", "--dir"]).arg(&server.dir).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn acknowledged_writes_survive_kill() {
    let rounds = from_environment("SILTDB_CRASH_ROUNDS").unwrap_or(5);
    let seed = from_environment("SILTDB_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("SILTDB_SEED={seed} SILTDB_CRASH_ROUNDS={rounds}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut server = Server::start(SETTINGS);
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer {
            number,
            random: random.fork(),
            clock: 0,
            acknowledged: State::new(),
            in_flight: VecDeque::new(),
        })
        .collect();
    let mut written = 0;
    for round in 1..=rounds {
        let kill_at = random.u64(1..6000);
        let acknowledged = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for writer in &mut writers {
                let (server, acknowledged) = (&server, &acknowledged);
                scope.spawn(move || writer.run(acknowledged, kill_at, server));
            }
        });
        let acknowledged = acknowledged.into_inner();
        assert!(acknowledged >= kill_at, "the server ended the connections by itself");
        written += acknowledged;
        server.wait();
        if round % 3 == 2 {
            // A crash somewhere within recovery, before the real start.
            server.start_and_kill(Duration::from_micros(random.u64(..20_000)));
        }
        if round % 2 == 1 {
            check(&server);
        }
        server.restart();
        let mut connection = Connection::open(server.port).expect("the server listens");
        for writer in &mut writers {
            writer.verify(&mut connection);
        }
        let keys: usize = writers.iter().map(|writer| writer.acknowledged.len()).sum();
        let count = connection.call(&[b"DBSIZE"]).expect("DBSIZE is answered");
        assert_eq!(count, Reply::Integer(i64::try_from(keys).expect("a few keys")), "DBSIZE");
    }
    server.signal("TERM");
    assert!(server.wait().success());
    check(&server);
    println!("{written} acknowledged writes in {rounds} rounds, none lost");
}
