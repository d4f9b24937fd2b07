//! Kills the server by SIGKILL under write load, again and again: with `appendfsync always` every
//! acknowledged write is there after each restart, and what was still in flight is there as a
//! prefix of what was sent.
//!
//! `SILTDB_CRASH_ROUNDS` is the number of rounds (5 unless told), `SILTDB_SEED` repeats a run.

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use support::{Connection, Reply, Server, encode};

const WRITERS: usize = 8;
const KEYS_PER_WRITER: usize = 400;
const PIPELINE_MAX: usize = 32;

/// A write that this test sends; all are of one writer's own keys.
#[derive(Clone, Debug)]
enum Operation {
    Set(String, Vec<u8>),
    Delete(String),
    Increment(String),
    SetBoth(String, String, Vec<u8>),
    /// The same, and one to the counter, by calls of their own in one transaction.
    Together(String, String, Vec<u8>, String),
}

/// What a writer's keys hold.
type State = BTreeMap<String, Vec<u8>>;

impl Operation {
    fn random(random: &mut fastrand::Rng, writer: usize) -> Self {
        let key =
            |random: &mut fastrand::Rng| format!("{writer}:{}", random.usize(..KEYS_PER_WRITER));
        let value = |random: &mut fastrand::Rng| {
            let length =
                if random.u8(..20) == 0 { random.usize(..40_000) } else { random.usize(..300) };
            let byte = random.alphanumeric();
            let mut value = random.u64(..).to_string().into_bytes();
            value.resize(value.len() + length, u8::try_from(byte).expect("a letter or digit"));
            value
        };
        match random.u8(..10) {
            0 => Self::Delete(key(random)),
            1 | 2 => Self::Increment(format!("{writer}:counter")),
            3 => Self::SetBoth(key(random), key(random), value(random)),
            4 => {
                let counter = format!("{writer}:counter");
                Self::Together(key(random), key(random), value(random), counter)
            }
            _ => Self::Set(key(random), value(random)),
        }
    }

    fn request(&self) -> Vec<u8> {
        match self {
            Self::Set(key, value) => encode(&[b"SET", key.as_bytes(), value]),
            Self::Delete(key) => encode(&[b"DEL", key.as_bytes()]),
            Self::Increment(key) => encode(&[b"INCR", key.as_bytes()]),
            Self::SetBoth(a, b, value) => {
                encode(&[b"MSET", a.as_bytes(), value, b.as_bytes(), value])
            }
            Self::Together(a, b, value, counter) => [
                encode(&[b"MULTI"]),
                encode(&[b"SET", a.as_bytes(), value]),
                encode(&[b"INCR", counter.as_bytes()]),
                encode(&[b"SET", b.as_bytes(), value]),
                encode(&[b"EXEC"]),
            ]
            .concat(),
        }
    }

    /// How many replies come before the one that acknowledges it.
    fn earlier_replies(&self) -> usize {
        if matches!(self, Self::Together(..)) { 4 } else { 0 }
    }

    fn apply(&self, state: &mut State) -> Reply {
        let ok = || Reply::Simple("OK".to_owned());
        match self {
            Self::Set(key, value) => {
                state.insert(key.clone(), value.clone());
                ok()
            }
            Self::Delete(key) => Reply::Integer(i64::from(state.remove(key).is_some())),
            Self::Increment(key) => {
                let old =
                    state.get(key).map_or("0", |value| str::from_utf8(value).expect("digits"));
                let new = old.parse::<i64>().expect("a counter") + 1;
                state.insert(key.clone(), new.to_string().into_bytes());
                Reply::Integer(new)
            }
            Self::SetBoth(a, b, value) => {
                state.insert(a.clone(), value.clone());
                state.insert(b.clone(), value.clone());
                ok()
            }
            Self::Together(a, b, value, counter) => Reply::Array(vec![
                Self::Set(a.clone(), value.clone()).apply(state),
                Self::Increment(counter.clone()).apply(state),
                Self::Set(b.clone(), value.clone()).apply(state),
            ]),
        }
    }
}

/// One writer's view of what the server must hold.
struct Writer {
    number: usize,
    random: fastrand::Rng,
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
                let operation = Operation::random(&mut self.random, self.number);
                bytes.extend_from_slice(&operation.request());
                self.in_flight.push_back(operation);
            }
            if connection.send(&bytes).is_err() {
                return;
            }
            while let Some(operation) = self.in_flight.front() {
                for _ in 0..operation.earlier_replies() {
                    if connection.receive().is_err() {
                        return;
                    }
                }
                let Ok(reply) = connection.receive() else { return };
                assert_eq!(
                    reply,
                    operation.apply(&mut self.acknowledged),
                    "reply to {operation:?}"
                );
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
        let mut names: Vec<String> =
            (0..KEYS_PER_WRITER).map(|i| format!("{}:{i}", self.number)).collect();
        names.push(format!("{}:counter", self.number));
        let mut arguments = vec![&b"MGET"[..]];
        arguments.extend(names.iter().map(String::as_bytes));
        let Reply::Array(values) = connection.call(&arguments).expect("MGET is answered") else {
            panic!("MGET is answered by an array");
        };
        let found: State = names
            .into_iter()
            .zip(values)
            .filter_map(|(name, value)| match value {
                Reply::Bulk(value) => value.map(|value| (name, value)),
                other => panic!("{name} is {other:?}"),
            })
            .collect();
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
    let start = |value: Option<&Vec<u8>>| {
        value.map(|value| String::from_utf8_lossy(&value[..value.len().min(24)]).into_owned())
    };
    let keys =
        acknowledged.keys().chain(found.keys().filter(|key| !acknowledged.contains_key(*key)));
    keys.filter(|key| acknowledged.get(*key) != found.get(*key))
        .take(5)
        .map(|key| {
            format!(
                "{key}: acknowledged {:?}, found {:?}; ",
                start(acknowledged.get(key)),
                start(found.get(key))
            )
        })
        .collect()
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
    let mut server = Server::start(&["--appendfsync", "always"]);
    let mut writers: Vec<Writer> = (0..WRITERS)
        .map(|number| Writer {
            number,
            random: random.fork(),
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
        server.restart();
        let mut connection = Connection::open(server.port).expect("the server listens");
        for writer in &mut writers {
            writer.verify(&mut connection);
        }
        let keys: usize = writers.iter().map(|writer| writer.acknowledged.len()).sum();
        let count = connection.call(&[b"DBSIZE"]).expect("DBSIZE is answered");
        assert_eq!(count, Reply::Integer(i64::try_from(keys).expect("a few keys")), "DBSIZE");
    }
    println!("{written} acknowledged writes in {rounds} rounds, none lost");
}
