//! One command again and again, its replies taken and thrown away.

use std::io;
use std::time::{Duration, Instant};

use super::Options;
use super::connection::Connection;

/// Sends `--command` until the time is over and prints how often it was answered, and how long the
/// slowest took; its words are separated by blanks, and "~" within one stands for a blank.
pub fn run(port: u16, options: &Options) -> Result<(), String> {
    let time = Duration::from_secs(options.number("seconds", 10)?);
    let words: Vec<Vec<u8>> = options
        .text("command", "PING")
        .split(' ')
        .map(|word| word.replace('~', " ").into_bytes())
        .collect();
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let (mut answered, mut bytes, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
    let mut round = |connection: &mut Connection| -> io::Result<()> {
        let begin = Instant::now();
        connection.queue(&words);
        connection.send()?;
        bytes += connection.skip()?;
        answered += 1;
        slowest = slowest.max(begin.elapsed());
        Ok(())
    };
    let mut connection = Connection::open(port).map_err(|error| error.to_string())?;
    let begin = Instant::now();
    while begin.elapsed() < time {
        round(&mut connection).map_err(|error| error.to_string())?;
    }
    println!(
        "answered={answered} seconds={:.1} bytes={bytes} slowest_ms={:.0}",
        begin.elapsed().as_secs_f64(),
        slowest.as_secs_f64() * 1000.0
    );
    Ok(())
}
