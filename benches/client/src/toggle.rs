//! Elements of a collection taken out and put back, so that it stays as large as it is.

use std::io;

use super::connection::Connection;
use super::{Options, mix};

/// Sends `--count` requests, half of which remove an element that is there, by the words `--remove` and its name, and
/// half of which put it back, by the words `--add`. Each connection has elements of its own of the `--elements` that
/// `fill` has made: it removes as many at random as a pipeline has requests, and the next pipeline adds them.
pub fn run(port: u16, options: &Options) -> Result<(), String> {
    let connections = options.number("connections", 8)?.max(1);
    let elements = options.number("elements", 1000)?.max(1);
    let pipeline = options.number("pipeline", 8)?.max(1);
    let rounds = options.number("count", 100_000)? / connections / pipeline / 2;
    let own = elements / connections;
    if own < pipeline {
        return Err("too few elements for as many on the way".to_owned());
    }
    let words = |name: &str| -> Vec<Vec<u8>> {
        options.text(name, "").split(' ').map(|word| word.as_bytes().to_vec()).collect()
    };
    let (remove, add) = (words("remove"), words("add"));
    let share = |first: u64| -> io::Result<()> {
        let mut connection = Connection::open(port)?;
        for round in 0..rounds {
            // One of each stretch, so that none comes twice.
            let stretch = own / pipeline;
            let at =
                |place: u64| place * stretch + mix(first ^ place << 16 ^ round << 32) % stretch;
            for command in [&remove, &add] {
                for number in (0..pipeline).map(at) {
                    let element = format!("element:{:012}", first + number * connections);
                    let mut words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
                    words.push(element.as_bytes());
                    connection.queue(&words);
                }
                connection.send()?;
                for _ in 0..pipeline {
                    if connection.receive()? != b"1" {
                        return Err(io::Error::other("an element was not as it was left"));
                    }
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|first| {
                scope.spawn({
                    let share = &share;
                    move || share(first)
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            let outcome = thread.join();
            outcome.unwrap_or_else(|_| Err(io::Error::other("a connection panicked")))
        })
    })
    .map_err(|error: io::Error| error.to_string())?;
    println!("requests={}", rounds * connections * pipeline * 2);
    Ok(())
}
