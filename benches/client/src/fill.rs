//! One collection of many elements.

use std::io;
use std::time::Instant;

use super::connection::Connection;
use super::{Options, mix};

/// Elements of one command, and commands of one pipeline.
const ELEMENTS: u64 = 100;
const COMMANDS: u64 = 10;

/// Fills the collection and prints how long that took.
pub fn run(port: u16, options: &Options) -> Result<(), String> {
    let (kind, key) = (options.text("type", "hash"), options.text("key", "key"));
    let count = options.number("count", 1_000_000)?;
    let begin = Instant::now();
    fill(port, kind, key.as_bytes(), count).map_err(|error| error.to_string())?;
    let seconds = begin.elapsed().as_secs_f64();
    println!("elements={count} seconds={seconds:.1} per_second={:.0}", count as f64 / seconds);
    Ok(())
}

fn fill(port: u16, kind: &str, key: &[u8], count: u64) -> io::Result<()> {
    let mut connection = Connection::open(port)?;
    let mut next = 0;
    while next < count {
        let mut sent = 0;
        for _ in 0..COMMANDS {
            let end = count.min(next + ELEMENTS);
            if next == end {
                break;
            }
            sent += queue(&mut connection, kind, key, next..end)?;
            next = end;
        }
        connection.send()?;
        for _ in 0..sent {
            connection.receive()?;
        }
    }
    Ok(())
}

/// Queues what adds these elements; the number of commands.
fn queue(
    connection: &mut Connection,
    kind: &str,
    key: &[u8],
    numbers: std::ops::Range<u64>,
) -> io::Result<u64> {
    let element = |number: u64| format!("element:{number:012}").into_bytes();
    let mut words: Vec<Vec<u8>> = match kind {
        "hash" => vec![b"HSET".into()],
        "set" => vec![b"SADD".into()],
        "zset" => vec![b"ZADD".into()],
        "list" => vec![b"RPUSH".into()],
        "stream" => {
            let count = numbers.end - numbers.start;
            for number in numbers {
                let id = format!("{}-1", number + 1);
                let value = element(number);
                connection.queue(&[b"XADD", key, id.as_bytes(), b"f", &value]);
            }
            return Ok(count);
        }
        other => return Err(io::Error::other(format!("no collection is a {other}"))),
    };
    words.push(key.into());
    for number in numbers {
        match kind {
            "hash" => words.extend([element(number), element(mix(number))]),
            // Neighbours of the order come from everywhere.
            "zset" => {
                words.extend([(mix(number) % 1_000_000_000).to_string().into(), element(number)])
            }
            _ => words.push(element(number)),
        }
    }
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    connection.queue(&words);
    Ok(1)
}
