//! Messages to one channel of many subscribers.

use std::io::{self, ErrorKind, Read};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::Options;
use super::connection::Connection;
use super::latencies::at_ms;

const CHANNEL: &[u8] = b"fanout";
const PAYLOAD: &[u8] = &[b'x'; 64];
/// How long the last messages may take after the last was published.
const PATIENCE: Duration = Duration::from_secs(30);

/// Publishes at an even rate and prints how many messages have arrived, and how long each took from
/// when it was published to when the last subscriber had it.
pub fn run(port: u16, options: &Options) -> Result<(), String> {
    let count = usize::try_from(options.number("connections", 10_000)?.max(1)).unwrap_or(1);
    let messages = usize::try_from(options.number("seconds", 10)? * options.number("rate", 20)?)
        .map_err(|error| error.to_string())?;
    let period = Duration::from_secs(1) / u32::try_from(options.number("rate", 20)?).unwrap_or(1);
    let mut subscribers = Subscribers::open(port, count).map_err(|error| error.to_string())?;
    println!("ready");
    let published = Mutex::new(Vec::new());
    let mut took = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish(port, messages, period, &published));
        let took = subscribers.receive(messages, period, &published);
        match publisher.join() {
            Ok(Ok(())) => took,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the publisher panicked")),
        }
    })
    .map_err(|error| error.to_string())?;
    took.sort_unstable();
    let at = |part| at_ms(&took, part);
    println!(
        "subscribers={count} published={messages} complete={} complete_p50_ms={:.1} \
         complete_max_ms={:.1}",
        took.len(),
        at(0.5),
        at(1.0)
    );
    Ok(())
}

fn publish(
    port: u16,
    messages: usize,
    period: Duration,
    published: &Mutex<Vec<Instant>>,
) -> io::Result<()> {
    let mut connection = Connection::open(port)?;
    let mut due = Instant::now();
    for _ in 0..messages {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if let Ok(mut published) = published.lock() {
            published.push(Instant::now());
        }
        connection.queue(&[b"PUBLISH", CHANNEL, PAYLOAD]);
        connection.send()?;
        connection.receive()?;
        due += period;
    }
    Ok(())
}

/// Connections that have subscribed to the channel.
struct Subscribers {
    poll: Poll,
    streams: Vec<TcpStream>,
    /// Bytes of a message.
    message: usize,
}

impl Subscribers {
    fn open(port: u16, count: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut streams = Vec::with_capacity(count);
        for number in 0..count {
            let mut connection = Connection::open(port)?;
            connection.queue(&[b"SUBSCRIBE", CHANNEL]);
            connection.send()?;
            connection.receive()?;
            let stream = connection.into_stream();
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
            streams.push(stream);
        }
        let head = format!("*3\r\n$7\r\nmessage\r\n${}\r\n", CHANNEL.len());
        let message = head.len() + CHANNEL.len() + "\r\n$64\r\n".len() + PAYLOAD.len() + 2;
        Ok(Self { poll, streams, message })
    }

    /// Takes all messages; how long each took to all.
    fn receive(
        &mut self,
        messages: usize,
        period: Duration,
        published: &Mutex<Vec<Instant>>,
    ) -> io::Result<Vec<Duration>> {
        let whole = self.message * self.streams.len();
        let (mut bytes, mut took) = (0, Vec::new());
        let mut events = Events::with_capacity(1024);
        let end = Instant::now() + period * u32::try_from(messages).unwrap_or(1) + PATIENCE;
        while took.len() < messages && Instant::now() < end {
            self.poll.poll(&mut events, Some(Duration::from_secs(1)))?;
            for event in &events {
                if let Some(stream) = self.streams.get_mut(event.token().0) {
                    bytes += drain(stream)?;
                }
            }
            while bytes >= whole * (took.len() + 1) {
                let begin = published.lock().ok().and_then(|all| all.get(took.len()).copied());
                took.push(begin.map_or(Duration::ZERO, |begin| begin.elapsed()));
            }
        }
        Ok(took)
    }
}

/// Reads what has arrived; how many bytes.
fn drain(stream: &mut TcpStream) -> io::Result<usize> {
    let (mut scratch, mut bytes) = ([0; 4096], 0);
    loop {
        match stream.read(&mut scratch) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => bytes += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
