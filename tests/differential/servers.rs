//! The two servers.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::generator::Step;
use super::judge::{Judge, judge, program};
use super::support::{Server, encode, eventually, free_port};
use super::value::{Value, Wire};

/// Small, so that both ways to keep a collection occur.
const THRESHOLDS: &[&str] = &[
    "--list-max-listpack-size",
    "6",
    "--hash-max-listpack-entries",
    "8",
    "--hash-max-listpack-value",
    "20",
    "--set-max-intset-entries",
    "8",
    "--zset-max-listpack-entries",
    "8",
    "--zset-max-listpack-value",
    "20",
    "--stream-node-max-entries",
    "6",
];
/// Settings that Redis 7.0 does not have.
const SINCE_7_2: &[&str] = &["--set-max-listpack-entries", "8", "--set-max-listpack-value", "20"];
const OWN: &[&str] = &["--appendfsync", "no", "--enable-debug-command", "yes"];

/// How long it takes until what ends within milliseconds has ended.
const PAUSE: Duration = Duration::from_millis(20);
/// Calls that an iteration may take.
const ITERATION_MAX: usize = 10_000;

/// A redis-server without persistence.
struct Redis {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Redis {
    fn start() -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = free_port();
        let newer = if judge() != Judge::Seven { SINCE_7_2 } else { &[] };
        let child = Command::new(program())
            .args(["--port", &port.to_string(), "--save", "", "--dir"])
            .arg(dir.path())
            .args(THRESHOLDS)
            .args(newer)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        eventually("redis-server answers", || Wire::open(port, false).is_ok());
        Ok(Self { child, port, _dir: dir })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The connections to one server.
struct Side {
    resp2: Wire,
    resp3: Wire,
}

impl Side {
    fn open(port: u16) -> io::Result<Self> {
        Ok(Self { resp2: Wire::open(port, false)?, resp3: Wire::open(port, true)? })
    }

    fn wire(&mut self, resp3: bool) -> &mut Wire {
        if resp3 { &mut self.resp3 } else { &mut self.resp2 }
    }

    /// Calls until the cursor is 0, and answers all elements in one array.
    fn iterate(&mut self, step: &Step, cursor_at: usize) -> io::Result<Value> {
        let mut words = step.words.clone();
        let mut all = Vec::new();
        for _ in 0..ITERATION_MAX {
            let call: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let reply = self.wire(step.resp3).call(&call)?;
            let Value::Array(parts) = &reply else { return Ok(reply) };
            let [Value::Bulk(cursor), Value::Array(found)] = &parts[..] else { return Ok(reply) };
            all.extend_from_slice(found);
            if cursor == b"0" {
                let of = step.check.sorted.unwrap_or(1);
                let mut parts: Vec<&[Value]> = all.chunks(of).collect();
                parts.sort();
                // An element may come twice.
                parts.dedup();
                return Ok(Value::Array(parts.concat()));
            }
            words[cursor_at].clone_from(cursor);
        }
        Err(io::Error::other(format!("no end: {step}")))
    }
}

/// Redis and SiltDB with the same settings.
pub(crate) struct Servers {
    sides: [Side; 2],
    redis: Redis,
    siltdb: Server,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let redis = Redis::start().expect("redis-server starts");
        let siltdb = Server::start(&[THRESHOLDS, SINCE_7_2, OWN].concat());
        let open = |port| Side::open(port).expect("the server listens");
        let sides = [open(redis.port), open(siltdb.port)];
        Self { sides, redis, siltdb }
    }

    /// One more connection to each of both.
    pub(crate) fn open(&self, resp3: bool) -> [Wire; 2] {
        let ports = [self.redis.port, self.siltdb.port];
        ports.map(|port| Wire::open(port, resp3).expect("the server listens"))
    }

    /// Sends calls of one protocol to both servers at once, and answers the replies of Redis and
    /// of SiltDB to each.
    pub(crate) fn run(&mut self, steps: &[Step]) -> Vec<(Value, Value)> {
        let Some(first) = steps.first() else { return Vec::new() };
        if let (Some(cursor_at), 1) = (first.check.cursor, steps.len()) {
            let [redis, siltdb] =
                self.sides.each_mut().map(|side| side.iterate(first, cursor_at).expect("replies"));
            return vec![(redis, siltdb)];
        }
        if let ([b"EXCHANGE", key], 1) = (&first.words_of()[..], steps.len()) {
            return vec![self.exchange(first.resp3, key)];
        }
        let mut bytes = Vec::new();
        for step in steps {
            let words: Vec<&[u8]> = step.words.iter().map(Vec::as_slice).collect();
            bytes.extend_from_slice(&encode(&words));
        }
        for side in &mut self.sides {
            side.wire(first.resp3).send(&bytes).expect("the server reads");
        }
        let [redis, siltdb] = self.sides.each_mut().map(|side| {
            let wire = side.wire(first.resp3);
            let reply = |step: &Step| {
                wire.receive().unwrap_or_else(|error| panic!("no reply to {step}: {error}"))
            };
            steps.iter().map(reply).collect::<Vec<_>>()
        });
        if steps.iter().any(|step| step.pause) {
            std::thread::park_timeout(PAUSE);
        }
        redis.into_iter().zip(siltdb).collect()
    }

    /// Has each server take over what the other one makes of its value of `key`, expiry included.
    fn exchange(&mut self, resp3: bool, key: &[u8]) -> (Value, Value) {
        let [redis, siltdb] = self.sides.each_mut().map(|side| {
            let wire = side.wire(resp3);
            let mut call = |name: &[u8]| wire.call(&[name, key]).expect("a reply");
            (call(b"DUMP"), call(b"PEXPIRETIME"))
        });
        let [of_redis, of_siltdb] = &mut self.sides;
        let restored = |side: &mut Side, other: &(Value, Value)| match other {
            (Value::Bulk(payload), Value::Integer(at_ms)) => {
                let at_ms = (*at_ms).max(0).to_string();
                let words: [&[u8]; 6] =
                    [b"RESTORE", key, at_ms.as_bytes(), payload, b"REPLACE", b"ABSTTL"];
                side.wire(resp3).call(&words).expect("a reply")
            }
            (nothing, _) => nothing.clone(),
        };
        (restored(of_redis, &siltdb), restored(of_siltdb, &redis))
    }

    /// Empties both servers; all connections are at database 0 then.
    pub(crate) fn reset(&mut self) {
        for side in &mut self.sides {
            for resp3 in [false, true] {
                side.wire(resp3).call(&[b"SELECT", b"0"]).expect("a reply");
            }
            side.resp2.call(&[b"FLUSHALL"]).expect("a reply");
        }
    }

    /// Has SiltDB read its data from tables and the log from now on.
    pub(crate) fn reload_siltdb(&mut self, save: bool) {
        let siltdb = &mut self.sides[1].resp2;
        if save {
            let saved = siltdb.call(&[b"SAVE"]).expect("a reply");
            assert_eq!(saved, Value::Simple("OK".into()));
        } else {
            let reloaded = siltdb.call(&[b"DEBUG", b"RELOAD"]).expect("a reply");
            assert_eq!(reloaded, Value::Simple("OK".into()));
        }
    }

    /// Calls Redis alone.
    pub(crate) fn redis(&mut self, words: &[&[u8]]) -> Value {
        self.sides[0].resp2.call(words).expect("a reply")
    }
}
