//! Replies of RESP2 and RESP3 as they came, and a connection that reads them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A reply; numbers that are no integers are kept as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    NullBulk,
    NullArray,
    Null,
    Double(String),
    Bool(String),
    Big(String),
    Verbatim(Vec<u8>),
    Array(Vec<Value>),
    Set(Vec<Value>),
    Push(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

/// One line, with strings escaped.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let items = |f: &mut std::fmt::Formatter<'_>, open: &str, items: &[Value]| {
            f.write_str(open)?;
            for (i, item) in items.iter().enumerate() {
                write!(f, "{}{item}", if i == 0 { "" } else { ", " })?;
            }
            f.write_str("]")
        };
        match self {
            Self::Simple(text) => write!(f, "+{text}"),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Integer(number) => write!(f, ":{number}"),
            Self::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::NullBulk => f.write_str("$-1"),
            Self::NullArray => f.write_str("*-1"),
            Self::Null => f.write_str("_"),
            Self::Double(text) => write!(f, ",{text}"),
            Self::Bool(text) => write!(f, "#{text}"),
            Self::Big(text) => write!(f, "({text}"),
            Self::Verbatim(bytes) => write!(f, "={}", bytes.escape_ascii()),
            Self::Array(list) => items(f, "[", list),
            Self::Set(list) => items(f, "~[", list),
            Self::Push(list) => items(f, ">[", list),
            Self::Map(pairs) => {
                let flat: Vec<Value> =
                    pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect();
                items(f, "%[", &flat)
            }
        }
    }
}

/// A blocking connection.
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    /// Connects to a server of this machine; with `resp3` says HELLO 3.
    pub(crate) fn open(port: u16, resp3: bool) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut wire = Self { stream: BufReader::new(stream) };
        if resp3 {
            wire.call(&[b"HELLO", b"3"])?;
        }
        Ok(wire)
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends a command and answers its reply.
    pub(crate) fn call(&mut self, words: &[&[u8]]) -> io::Result<Value> {
        self.send(&super::support::encode(words))?;
        self.receive()
    }

    /// The next reply.
    pub(crate) fn receive(&mut self) -> io::Result<Value> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\r\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.len() - 2);
        let rest = String::from_utf8_lossy(&line[1..]).into_owned();
        let size = rest.parse::<i64>().unwrap_or(0);
        Ok(match (line[0], size) {
            (b'+', _) => Value::Simple(rest),
            (b'-', _) => Value::Error(rest),
            (b':', _) => Value::Integer(size),
            (b'$', -1) => Value::NullBulk,
            (b'*', -1) => Value::NullArray,
            (b'_', _) => Value::Null,
            (b',', _) => Value::Double(rest),
            (b'#', _) => Value::Bool(rest),
            (b'(', _) => Value::Big(rest),
            (b'$', _) => Value::Bulk(self.bytes(size)?),
            (b'=', _) => Value::Verbatim(self.bytes(size)?),
            (b'*', _) => Value::Array(self.items(size)?),
            (b'~', _) => Value::Set(self.items(size)?),
            (b'>', _) => Value::Push(self.items(size)?),
            (b'%', _) => {
                let flat = self.items(size * 2)?;
                Value::Map(flat.chunks(2).map(|two| (two[0].clone(), two[1].clone())).collect())
            }
            _ => return Err(io::Error::other(format!("no reply starts like this: {rest}"))),
        })
    }

    fn bytes(&mut self, size: i64) -> io::Result<Vec<u8>> {
        let size = usize::try_from(size).map_err(io::Error::other)?;
        let mut bytes = vec![0; size + 2];
        self.stream.read_exact(&mut bytes)?;
        bytes.truncate(size);
        Ok(bytes)
    }

    fn items(&mut self, count: i64) -> io::Result<Vec<Value>> {
        (0..count).map(|_| self.receive()).collect()
    }
}
