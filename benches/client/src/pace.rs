//! The latency of a client that asks at an even pace, whatever the others do.

use std::io;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::{Options, mix};

/// Time between two requests.
const PERIOD: Duration = Duration::from_millis(1);

/// Sends a GET of a random key every millisecond and prints how long the replies took, in
/// milliseconds, counted from when each was due.
pub fn run(port: u16, options: &Options) -> Result<(), String> {
    let seconds = options.number("seconds", 10)?;
    let keys = options.number("keys", 1_000)?.max(1);
    let mut latencies =
        measure(port, Duration::from_secs(seconds), keys).map_err(|error| error.to_string())?;
    latencies.sort_unstable();
    let at = |part: f64| {
        let index = (latencies.len() as f64 * part) as usize;
        let found = latencies.get(index).or(latencies.last());
        found.map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    };
    println!(
        "requests={} p50_ms={:.3} p99_ms={:.3} p999_ms={:.3} max_ms={:.3}",
        latencies.len(),
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    Ok(())
}

fn measure(port: u16, time: Duration, keys: u64) -> io::Result<Vec<Duration>> {
    let mut connection = Connection::open(port)?;
    let mut latencies = Vec::new();
    let begin = Instant::now();
    let mut due = begin;
    while begin.elapsed() < time {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let key = format!("key:{:012}", mix(latencies.len() as u64) % keys);
        connection.queue(&[b"GET", key.as_bytes()]);
        connection.send()?;
        connection.receive()?;
        latencies.push(due.elapsed());
        due += PERIOD;
    }
    Ok(latencies)
}
