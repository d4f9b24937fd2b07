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

    /// The bare socket.
    pub fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }
}
