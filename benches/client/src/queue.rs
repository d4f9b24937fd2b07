//! A queue that is used for long: what is put in at one end is taken out at the other.

use std::io;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::latencies::at_ms;
use super::{Options, mix};

/// Time between two pipelines.
const PERIOD: Duration = Duration::from_millis(2);

/// Commands that put an element in and take one out.
type Steps = fn(&mut Connection, key: &[u8], number: u64, backlog: u64) -> u64;

/// Puts in and takes out at an even rate and prints a line for each interval: how many steps, and how
/// long the pipelines took, in milliseconds.
pub fn run(port: u16, options: &Options) -> Result<(), String> {
    let seconds = options.number("seconds", 3_600)?;
    let interval = Duration::from_secs(options.number("interval", 60)?.max(1));
    let rate = options.number("rate", 1_000)?.max(1);
    let backlog = options.number("backlog", 10_000)?;
    let kind = options.text("kind", "list");
    let steps: Steps = match kind {
        "list" => list,
        "zpopmin" => zpopmin,
        "zremrangebyrank" => zremrangebyrank,
        "stream" => stream,
        other => return Err(format!("no queue is a {other}")),
    };
    let queue = Queue { steps, key: format!("queue:{kind}"), backlog, rate };
    queue
        .run(port, Duration::from_secs(seconds), interval)
        .map_err(|error| format!("{kind}: {error}"))
}

struct Queue {
    steps: Steps,
    key: String,
    backlog: u64,
    /// Steps per second.
    rate: u64,
}

impl Queue {
    fn run(&self, port: u16, time: Duration, interval: Duration) -> io::Result<()> {
        let mut connection = Connection::open(port)?;
        let (mut next, mut number) = (Instant::now(), 0_u64);
        let (begin, mut interval_end) = (Instant::now(), interval);
        let (mut latencies, mut interval_first) = (Vec::new(), 0);
        while begin.elapsed() < time {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next += PERIOD;
            let due = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX) * self.rate;
            let started = Instant::now();
            let mut sent = 0;
            while number * 1_000_000 < due {
                sent += (self.steps)(&mut connection, self.key.as_bytes(), number, self.backlog);
                number += 1;
            }
            connection.send()?;
            for _ in 0..sent {
                connection.receive()?;
            }
            latencies.push(started.elapsed());
            if begin.elapsed() >= interval_end {
                report(&self.key, interval_end, number - interval_first, &mut latencies);
                interval_first = number;
                interval_end += interval;
            }
        }
        Ok(())
    }
}

fn report(key: &str, end: Duration, steps: u64, latencies: &mut Vec<Duration>) {
    latencies.sort_unstable();
    let at = |part| at_ms(latencies, part);
    println!(
        "queue={key} end_s={} steps={steps} p50_ms={:.3} p99_ms={:.3} max_ms={:.3}",
        end.as_secs(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    latencies.clear();
}

fn element(number: u64) -> Vec<u8> {
    format!("job:{number:012}:{:016x}", mix(number)).into_bytes()
}

fn list(connection: &mut Connection, key: &[u8], number: u64, backlog: u64) -> u64 {
    connection.queue(&[b"LPUSH", key, &element(number)]);
    if number < backlog {
        return 1;
    }
    connection.queue(&[b"RPOP", key]);
    2
}

fn zadd(connection: &mut Connection, key: &[u8], number: u64) {
    connection.queue(&[b"ZADD", key, number.to_string().as_bytes(), &element(number)]);
}

fn zpopmin(connection: &mut Connection, key: &[u8], number: u64, backlog: u64) -> u64 {
    zadd(connection, key, number);
    if number < backlog {
        return 1;
    }
    connection.queue(&[b"ZPOPMIN", key]);
    2
}

fn zremrangebyrank(connection: &mut Connection, key: &[u8], number: u64, backlog: u64) -> u64 {
    zadd(connection, key, number);
    if number < backlog {
        return 1;
    }
    connection.queue(&[b"ZREMRANGEBYRANK", key, b"0", b"0"]);
    2
}

fn stream(connection: &mut Connection, key: &[u8], number: u64, backlog: u64) -> u64 {
    let (limit, value) = (backlog.to_string(), element(number));
    connection.queue(&[b"XADD", key, b"MAXLEN", b"=", limit.as_bytes(), b"*", b"job", &value]);
    1
}
