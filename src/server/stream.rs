//! A connected socket, TCP or unix: one half for the task that reads, one that is shared.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::Poll;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio_util::io::poll_read_buf;

/// The half that is read, by the connection's task alone.
#[derive(Debug)]
pub(crate) enum ReadHalf {
    /// TCP.
    Tcp(tcp::OwnedReadHalf),
    /// Unix domain.
    Unix(unix::OwnedReadHalf),
}

/// The half that is written; anybody may end the connection through it.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    /// TCP.
    Tcp(tcp::OwnedWriteHalf),
    /// Unix domain.
    Unix(unix::OwnedWriteHalf),
}

/// Both halves of a TCP socket.
pub(crate) fn split_tcp(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
}

/// Both halves of a unix socket.
pub(crate) fn split_unix(stream: UnixStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (ReadHalf::Unix(read), WriteHalf::Unix(write))
}

impl ReadHalf {
    /// Waits until bytes, or the end, can be read. Holds no buffer meanwhile.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.readable().await,
            Self::Unix(half) => half.readable().await,
        }
    }

    /// Appends what can be read now to `buffer`: 0 at the end of the stream, `None` where nothing
    /// is there.
    ///
    /// Goes through `poll_read` rather than `try_read`: it takes a read that does not fill the
    /// buffer for the last one and saves the call that would answer `EAGAIN`.
    pub(crate) async fn read_now(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        std::future::poll_fn(|cx| {
            let read = match self {
                Self::Tcp(half) => poll_read_buf(Pin::new(half), cx, buffer),
                Self::Unix(half) => poll_read_buf(Pin::new(half), cx, buffer),
            };
            match read {
                Poll::Ready(read) => Poll::Ready(read.map(Some)),
                Poll::Pending => Poll::Ready(Ok(None)),
            }
        })
        .await
    }
}

impl WriteHalf {
    /// Writes what the socket takes now.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write(bytes),
            Self::Unix(half) => half.try_write(bytes),
        }
    }

    /// Writes what the socket takes now of several slices, with one call.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write_vectored(slices),
            Self::Unix(half) => half.try_write_vectored(slices),
        }
    }

    /// Waits until the socket takes bytes, or its peer is gone.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.writable().await,
            Self::Unix(half) => half.writable().await,
        }
    }

    /// Whether the peer has ended its side and nothing that it sent is left to read.
    pub(crate) fn is_hung_up(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match self {
            Self::Tcp(half) => SockRef::from(half.as_ref()).peek(&mut byte),
            Self::Unix(half) => SockRef::from(half.as_ref()).peek(&mut byte),
        };
        match peeked {
            Ok(count) => count == 0,
            Err(error) => {
                !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
            }
        }
    }

    /// Ends the connection from any thread: its task sees the end of the stream.
    /// An error means that the peer was faster.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        let result = match self {
            Self::Tcp(half) => SockRef::from(half.as_ref()).shutdown(how),
            Self::Unix(half) => SockRef::from(half.as_ref()).shutdown(how),
        };
        if let Err(error) = result {
            tracing::trace!(%error, "shutdown of a socket");
        }
    }
}
