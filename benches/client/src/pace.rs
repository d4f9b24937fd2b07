//! The latency of clients that ask at an even pace, whatever the others do.

use std::io;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::latencies::at_ms;
use super::{Options, mix};

/// Sends GETs of random keys at an even rate, one at a time on each connection, and prints how long
/// the replies took, in milliseconds: counted from when each was due, since a reply that comes late
/// holds up the requests behind it; but not what this program oversleeps.
pub fn run(port: u16, options: &Options) -> Result<(), String> {
    let time = Duration::from_secs(options.number("seconds", 10)?);
    let keys = options.number("keys", 1_000)?.max(1);
    let connections = options.number("connections", 1)?.max(1);
    let rate = options.number("rate", 1_000)?.max(1);
    let period = Duration::from_secs(connections) / u32::try_from(rate).unwrap_or(u32::MAX);
    let measured: Vec<io::Result<Vec<Duration>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|number| {
                let seed = number << 32;
                scope.spawn(move || measure(port, time, period, keys, seed))
            })
            .collect();
        let panicked = |_| Err(io::Error::other("a connection panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let mut latencies = Vec::new();
    for measured in measured {
        latencies.extend(measured.map_err(|error| error.to_string())?);
    }
    latencies.sort_unstable();
    let at = |part| at_ms(&latencies, part);
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

fn measure(
    port: u16,
    time: Duration,
    period: Duration,
    keys: u64,
    seed: u64,
) -> io::Result<Vec<Duration>> {
    let mut connection = Connection::open(port)?;
    let mut latencies = Vec::new();
    let begin = Instant::now();
    // The connections take turns.
    let mut due = begin + period.mul_f64((mix(seed) % 1000) as f64 / 1000.0);
    while begin.elapsed() < time {
        let mut start = due;
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
            start = Instant::now();
        }
        let key = format!("key:{:012}", mix(seed + latencies.len() as u64) % keys);
        connection.queue(&[b"GET", key.as_bytes()]);
        connection.send()?;
        connection.receive()?;
        latencies.push(start.elapsed());
        due += period;
    }
    Ok(latencies)
}
