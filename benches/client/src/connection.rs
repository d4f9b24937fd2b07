//! A plain blocking connection: requests are queued, sent as one pipeline, and answered in order.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// One connection to the server.
pub struct Connection {
    stream: BufReader<TcpStream>,
    queued: Vec<u8>,
}

impl Connection {
    /// Connects to `port` of this machine.
    pub fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), queued: Vec::new() })
    }

    /// Adds a request to the pipeline.
    pub fn queue(&mut self, arguments: &[&[u8]]) {
        self.queued.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
        for argument in arguments {
            self.queued.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            self.queued.extend_from_slice(argument);
            self.queued.extend_from_slice(b"\r\n");
        }
    }

    /// Sends all that is queued.
    pub fn send(&mut self) -> io::Result<()> {
        self.stream.get_mut().write_all(&self.queued)?;
        self.queued.clear();
        Ok(())
    }

    /// The next reply: the text of a simple string, an integer or a bulk string; the last one of an
    /// array. An error reply is an error.
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        match (line.as_bytes().first(), line.get(1..)) {
            (Some(b'+' | b':'), Some(text)) => Ok(text.as_bytes().to_vec()),
            (Some(b'$'), Some(length)) => {
                let length: i64 = length.parse().map_err(|_| io::Error::other(line))?;
                let Ok(length) = usize::try_from(length) else { return Ok(Vec::new()) };
                let mut value = vec![0; length + 2];
                self.stream.read_exact(&mut value)?;
                value.truncate(length);
                Ok(value)
            }
            (Some(b'*'), Some(count)) => {
                let count: i64 = count.parse().map_err(|_| io::Error::other(line))?;
                (0..count).try_fold(Vec::new(), |_, _| self.receive())
            }
            _ => Err(io::Error::other(line)),
        }
    }

    /// Takes the next reply and throws it away; how many bytes it had. An error reply is an error.
    pub fn skip(&mut self) -> io::Result<u64> {
        let (mut line, mut bytes, mut waiting) = (Vec::new(), 0, 1_u64);
        while waiting > 0 {
            line.clear();
            let count = self.stream.read_until(b'\n', &mut line)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes += count as u64;
            waiting -= 1;
            let text = std::str::from_utf8(&line).map_err(io::Error::other)?.trim_end();
            let number = || text.get(1..).and_then(|number| number.parse::<i64>().ok());
            match text.as_bytes().first() {
                Some(b'*' | b'~' | b'>') => waiting += number().unwrap_or(0).max(0).unsigned_abs(),
                Some(b'%') => waiting += 2 * number().unwrap_or(0).max(0).unsigned_abs(),
                Some(b'$') => {
                    let length = number().filter(|length| *length >= 0);
                    let mut left = length.map_or(0, |length| length.unsigned_abs() + 2);
                    bytes += left;
                    while left > 0 {
                        let ready = self.stream.fill_buf()?.len();
                        let taken = ready.min(usize::try_from(left).unwrap_or(ready));
                        if taken == 0 {
                            return Err(io::ErrorKind::UnexpectedEof.into());
                        }
                        self.stream.consume(taken);
                        left -= taken as u64;
                    }
                }
                Some(b'-' | b'!') | None => return Err(io::Error::other(text)),
                Some(_) => {}
            }
        }
        Ok(bytes)
    }

    /// The bare socket.
    pub fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }
}
