//! Load generator of the benchmark scripts: loads known keys, reads them back at random and checks
//! them, holds idle connections.
//!
//! ```text
//! siltdb-bench-client load PORT [--keys N] [--size BYTES] [--connections N] [--pipeline N] [--order random|sequential]
//! siltdb-bench-client get  PORT [--keys N] [--size BYTES] [--connections N] [--pipeline N] [--count N]
//! siltdb-bench-client idle PORT [--connections N]
//! siltdb-bench-client fill PORT --type hash|set|zset|list|stream [--key KEY] [--count N]
//! siltdb-bench-client pace PORT [--seconds N] [--keys N] [--connections N] [--rate N]
//! siltdb-bench-client repeat PORT --command WORDS [--seconds N]
//! siltdb-bench-client toggle PORT --remove WORDS --add WORDS [--elements N] [--connections N] [--pipeline N] [--count N]
//! siltdb-bench-client fanout PORT [--connections N] [--rate N] [--seconds N]
//! siltdb-bench-client queue PORT --kind list|zpopmin|zremrangebyrank|stream [--seconds N] [--interval S] [--rate N] [--backlog N]
//! ```
//!
//! `load` sets key:000000000000 to N-1, each once; a value is text that its key determines, about
//! three quarters of it entropy. `get` reads keys drawn evenly. Both print one line of `name=value`
//! words; latencies are those of a whole pipeline, in milliseconds. `idle` opens connections, sends a
//! PING on each, prints `ready` and keeps them until its standard input ends. `fill` makes one
//! collection of elements element:000000000000 to N-1. `pace` sends GETs at an even rate and says
//! how long the replies took. `repeat` sends one command again and again. `toggle` takes
//! elements that `fill` has made out and puts them back. `fanout` subscribes, prints
//! `ready`, and publishes at an even rate. `queue` puts in and takes out `rate` elements a second.

#![expect(clippy::disallowed_methods, reason = "a load generator measures real time")]

mod connection;
mod fanout;
mod fill;
mod latencies;
mod pace;
mod queue;
mod repeat;
mod toggle;

use std::collections::HashMap;
use std::io::{self, Read};
use std::time::Instant;

use connection::Connection;

/// Settings after the port, by name.
struct Options(HashMap<String, String>);

impl Options {
    fn parse(words: &[String]) -> Result<Self, String> {
        let mut settings = HashMap::new();
        for pair in words.chunks(2) {
            match pair {
                [name, value] if name.starts_with("--") => {
                    settings.insert(name[2..].to_owned(), value.clone());
                }
                _ => return Err(format!("'{}' is no --name value", pair.join(" "))),
            }
        }
        Ok(Self(settings))
    }

    fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.0.get(name).map_or(default, String::as_str)
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        self.0.get(name).map_or(Ok(default), |value| {
            value.parse().map_err(|_| format!("--{name} is a number, not '{value}'"))
        })
    }
}

/// What one connection does: pipelines of requests, until its share is done.
struct Share {
    port: u16,
    first: u64,
    end: u64,
    keys: u64,
    value_bytes: usize,
    pipeline: u64,
    is_random: bool,
    is_load: bool,
}

/// What came of a share.
#[derive(Default)]
struct Outcome {
    latencies_us: Vec<u32>,
    wrong: u64,
}

/// A step of the splitmix64 generator.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The value of key number `key`, `bytes` long.
fn value(key: u64, bytes: usize) -> Vec<u8> {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    let mut value = Vec::with_capacity(bytes + 10);
    let mut state = key;
    while value.len() < bytes {
        state = mix(state);
        value.extend((0..10).map(|i| LETTERS[(state >> (i * 6)) as usize & 63]));
    }
    value.truncate(bytes);
    value
}

/// The number at `index` of an order that visits each of `0..keys` once and looks random.
fn shuffled(index: u64, keys: u64) -> u64 {
    // A step without a common divisor visits every number.
    let mut step = (keys / 2 + keys / 9) | 1;
    while gcd(step, keys) != 1 {
        step += 2;
    }
    u64::try_from(u128::from(index) * u128::from(step) % u128::from(keys)).unwrap_or(0)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Share {
    fn run(&self) -> io::Result<Outcome> {
        let mut connection = Connection::open(self.port)?;
        let mut outcome = Outcome::default();
        let mut next = self.first;
        let mut numbers = Vec::new();
        while next < self.end {
            let end = self.end.min(next + self.pipeline);
            numbers.clear();
            numbers.extend((next..end).map(|index| match (self.is_load, self.is_random) {
                (true, true) => shuffled(index, self.keys),
                (true, false) => index,
                (false, _) => mix(index) % self.keys,
            }));
            for &number in &numbers {
                let key = format!("key:{number:012}");
                if self.is_load {
                    let value = value(number, self.value_bytes);
                    connection.queue(&[b"SET", key.as_bytes(), &value]);
                } else {
                    connection.queue(&[b"GET", key.as_bytes()]);
                }
            }
            let begin = Instant::now();
            connection.send()?;
            for &number in &numbers {
                let reply = connection.receive()?;
                let is_right = if self.is_load {
                    reply == b"OK"
                } else {
                    reply == value(number, self.value_bytes)
                };
                outcome.wrong += u64::from(!is_right);
            }
            outcome
                .latencies_us
                .push(u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX));
            next = end;
        }
        Ok(outcome)
    }
}

/// Runs `load` or `get` on all connections at once and prints what came of it.
fn run(port: u16, is_load: bool, options: &Options) -> Result<(), String> {
    let keys = options.number("keys", 1_000_000)?.max(1);
    let connections = options.number("connections", 50)?.max(1);
    let total = if is_load { keys } else { options.number("count", 1_000_000)? };
    let share = |i: u64| -> Result<Share, String> {
        Ok(Share {
            port,
            first: total * i / connections,
            end: total * (i + 1) / connections,
            keys,
            value_bytes: usize::try_from(options.number("size", 100)?)
                .map_err(|e| e.to_string())?,
            pipeline: options.number("pipeline", 16)?.max(1),
            is_random: options.0.get("order").is_none_or(|order| order == "random"),
            is_load,
        })
    };
    let shares = (0..connections).map(share).collect::<Result<Vec<_>, _>>()?;
    let begin = Instant::now();
    let outcomes: Vec<io::Result<Outcome>> = std::thread::scope(|scope| {
        let threads: Vec<_> = shares.iter().map(|share| scope.spawn(|| share.run())).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a connection panicked")))
            })
            .collect()
    });
    let seconds = begin.elapsed().as_secs_f64();
    let mut latencies_us = Vec::new();
    let mut wrong = 0;
    for outcome in outcomes {
        let outcome = outcome.map_err(|error| error.to_string())?;
        latencies_us.extend(outcome.latencies_us);
        wrong += outcome.wrong;
    }
    latencies_us.sort_unstable();
    let at = |part: f64| {
        let index = (latencies_us.len() as f64 * part) as usize;
        latencies_us.get(index).or(latencies_us.last()).map_or(0.0, |us| f64::from(*us) / 1000.0)
    };
    println!(
        "requests={total} seconds={seconds:.1} per_second={:.0} p50_ms={:.2} p99_ms={:.2} \
         p999_ms={:.2} max_ms={:.2} wrong={wrong}",
        total as f64 / seconds,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    if wrong == 0 { Ok(()) } else { Err(format!("{wrong} replies were wrong")) }
}

/// Opens idle connections and keeps them until standard input ends.
fn idle(port: u16, options: &Options) -> Result<(), String> {
    let count = options.number("connections", 10_000)?;
    let mut connections = Vec::new();
    for number in 0..count {
        let mut connection =
            Connection::open(port).map_err(|error| format!("connection {number}: {error}"))?;
        connection.queue(&[b"PING"]);
        let reply = connection.send().and_then(|()| connection.receive());
        match reply {
            Ok(reply) if reply == b"PONG" => {
                // Only the socket stays; what this program buffers does not count.
                connections.push(connection.into_stream());
            }
            other => return Err(format!("connection {number}: {other:?}")),
        }
    }
    println!("ready");
    io::stdin().read_to_end(&mut Vec::new()).map_err(|error| error.to_string())?;
    drop(connections);
    Ok(())
}

const USAGE: &str = "usage: siltdb-bench-client load|get|idle|fill|pace|repeat|toggle|fanout|queue PORT \
                     [--name value]";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.as_slice() {
        [command, port, rest @ ..] => match (command.as_str(), port.parse()) {
            ("load", Ok(port)) => Options::parse(rest).and_then(|o| run(port, true, &o)),
            ("get", Ok(port)) => Options::parse(rest).and_then(|o| run(port, false, &o)),
            ("idle", Ok(port)) => Options::parse(rest).and_then(|o| idle(port, &o)),
            ("fill", Ok(port)) => Options::parse(rest).and_then(|o| fill::run(port, &o)),
            ("pace", Ok(port)) => Options::parse(rest).and_then(|o| pace::run(port, &o)),
            ("repeat", Ok(port)) => Options::parse(rest).and_then(|o| repeat::run(port, &o)),
            ("toggle", Ok(port)) => Options::parse(rest).and_then(|o| toggle::run(port, &o)),
            ("fanout", Ok(port)) => Options::parse(rest).and_then(|o| fanout::run(port, &o)),
            ("queue", Ok(port)) => Options::parse(rest).and_then(|o| queue::run(port, &o)),
            _ => Err(USAGE.to_owned()),
        },
        _ => Err(USAGE.to_owned()),
    };
    if let Err(message) = outcome {
        eprintln!("{message}");
        std::process::exit(1);
    }
}
