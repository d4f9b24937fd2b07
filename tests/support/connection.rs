//! Connections to a server: one whose failures are part of the test, and one that must not fail.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::PATIENCE;

/// A reply.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Vec<Reply>),
}

/// Bulk strings as they are, the rest with its type byte; arrays in brackets.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(f, "+{text}"),
            Self::Error(text) => write!(f, "-{text}"),
            Self::Integer(number) => write!(f, ":{number}"),
            Self::Bulk(None) => f.write_str("(nil)"),
            Self::Bulk(Some(bytes)) => f.write_str(&String::from_utf8_lossy(bytes)),
            Self::Array(items) => {
                let items: Vec<String> = items.iter().map(Self::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
        }
    }
}

/// A blocking connection, plain unless another stream is named.
pub(crate) struct Connection<S = TcpStream> {
    stream: BufReader<S>,
}

/// A socket to a server of this machine.
pub(crate) fn socket(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

impl Connection {
    /// Connects to a server of this machine.
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        socket(port).map(Self::over)
    }
}

impl<S: Read + Write> Connection<S> {
    /// Talks over `stream`.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// What it talks over.
    pub(crate) fn stream(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// The next reply.
    pub(crate) fn receive(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 || !line.ends_with("\r\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = line.trim_end_matches(['\r', '\n']).split_at(1);
        let number = || rest.parse::<i64>().map_err(|_| io::Error::other(line.clone()));
        Ok(match kind {
            "+" => Reply::Simple(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(number()?),
            "$" | "=" => match usize::try_from(number()?) {
                Err(_) => Reply::Bulk(None),
                Ok(length) => {
                    let mut value = vec![0; length + 2];
                    self.stream.read_exact(&mut value)?;
                    value.truncate(length);
                    Reply::Bulk(Some(value))
                }
            },
            "*" if rest == "-1" => Reply::Bulk(None),
            "_" => Reply::Bulk(None),
            "*" | ">" | "~" | "%" => (0..number()? * if kind == "%" { 2 } else { 1 })
                .map(|_| self.receive())
                .collect::<io::Result<_>>()
                .map(Reply::Array)?,
            _ => return Err(io::Error::other(line)),
        })
    }

    /// Sends a command and answers its reply.
    pub(crate) fn call(&mut self, arguments: &[&[u8]]) -> io::Result<Reply> {
        self.send(&encode(arguments))?;
        self.receive()
    }
}

/// A connection that must not fail, with replies as text.
pub(crate) struct Client<S = TcpStream> {
    connection: Connection<S>,
}

impl Client {
    /// Connects to a server of this machine.
    pub(crate) fn open(port: u16) -> Self {
        Self { connection: Connection::open(port).expect("the server listens") }
    }

    /// A second handle of the socket, to send while this one receives.
    pub(crate) fn sender(&self) -> TcpStream {
        self.connection.stream.get_ref().try_clone().expect("a second handle")
    }
}

impl<S: Read + Write> Client<S> {
    /// Talks over `stream`.
    pub(crate) fn over(stream: S) -> Self {
        Self { connection: Connection::over(stream) }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.connection.send(bytes).expect("the server reads");
    }

    /// Sends a command and answers the text of its reply.
    pub(crate) fn call(&mut self, words: &[&str]) -> String {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.send(&encode(&words));
        self.reply()
    }

    /// The text of the next reply.
    pub(crate) fn reply(&mut self) -> String {
        self.connection.receive().expect("a reply").to_string()
    }

    /// Everything that still comes, until the server closes the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.connection.stream.read_to_end(&mut rest).expect("the server closes the connection");
        rest
    }

    /// Whether the server closes the connection (what it sent before is dropped).
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.connection.stream.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

/// A command as an array of bulk strings.
pub(crate) fn encode(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
