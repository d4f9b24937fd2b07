//! A connected socket, TCP with or without TLS, or unix: one half for the task that reads, one that is shared.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio_util::io::poll_read_buf;

use super::tls::{self, TlsRead, TlsWrite};

/// The half that is read, by the connection's task alone.
#[derive(Debug)]
pub(crate) enum ReadHalf {
    /// TCP.
    Tcp(tcp::OwnedReadHalf),
    /// TCP with TLS.
    Tls(TlsRead),
    /// Unix domain.
    Unix(unix::OwnedReadHalf),
}

/// The half that is written; anybody may end the connection through it.
#[derive(Debug)]
pub(crate) enum WriteHalf {
    /// TCP.
    Tcp(tcp::OwnedWriteHalf),
    /// TCP with TLS.
    Tls(TlsWrite),
    /// Unix domain.
    Unix(unix::OwnedWriteHalf),
}

/// Both halves of a TCP socket.
pub(crate) fn split_tcp(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
}

/// Both halves of a TCP socket whose client is about to begin the handshake of TLS.
pub(crate) fn split_tls(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<(ReadHalf, WriteHalf)> {
    let (read, write) = tls::split(stream, config)?;
    Ok((ReadHalf::Tls(read), WriteHalf::Tls(write)))
}

/// Both halves of a unix socket.
pub(crate) fn split_unix(stream: UnixStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (ReadHalf::Unix(read), WriteHalf::Unix(write))
}

impl ReadHalf {
    /// Carries out what comes before the first bytes.
    ///
    /// # Errors
    /// Where the peer does not get through it, or is gone.
    pub(crate) async fn handshake(&mut self) -> io::Result<()> {
        match self {
            Self::Tls(half) => half.handshake().await,
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
        }
    }

    /// Waits until bytes, or the end, can be read. Holds no buffer meanwhile.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        // The connection's task is the only one that reads, and whom to wake stands where it has stood.
        match self {
            Self::Tcp(half) => poll_fn(|cx| half.as_ref().poll_read_ready(cx)).await,
            Self::Tls(half) => half.readable().await,
            Self::Unix(half) => poll_fn(|cx| half.as_ref().poll_read_ready(cx)).await,
        }
    }

    /// Appends what can be read now to `buffer`: 0 at the end of the stream, `None` where nothing
    /// is there.
    ///
    /// Goes through `poll_read` rather than `try_read`: it takes a read that does not fill the
    /// buffer for the last one and saves the call that would answer `EAGAIN`.
    pub(crate) async fn read_now(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        poll_fn(|cx| {
            let read = match self {
                Self::Tcp(half) => poll_read_buf(Pin::new(half), cx, buffer),
                Self::Tls(half) => half.poll_read(cx, buffer),
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
    /// Writes what the socket takes now. After `WouldBlock` the next write has to begin with the same
    /// bytes: with TLS some of them are records already.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write(bytes),
            Self::Tls(half) => half.try_write(bytes),
            Self::Unix(half) => half.try_write(bytes),
        }
    }

    /// Writes what the socket takes now of several slices, with one call.
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.try_write_vectored(slices),
            Self::Tls(half) => half.try_write_vectored(slices),
            Self::Unix(half) => half.try_write_vectored(slices),
        }
    }

    /// Waits until bytes, or the end, can be read, as [`ReadHalf::readable`]: for the task that reads.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.as_ref().readable().await,
            Self::Tls(half) => half.readable().await,
            Self::Unix(half) => half.as_ref().readable().await,
        }
    }

    /// Appends what can be read now to `buffer`: 0 at the end of the stream. For the task that reads.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there.
    pub(crate) fn read_now(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Tcp(half) => half.as_ref().try_read_buf(buffer),
            Self::Tls(half) => half.read_now(buffer),
            Self::Unix(half) => half.as_ref().try_read_buf(buffer),
        }
    }

    /// Waits until the socket takes bytes, or its peer is gone.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(half) => half.writable().await,
            Self::Tls(half) => half.writable().await,
            Self::Unix(half) => half.writable().await,
        }
    }

    /// Whether the peer has ended its side and nothing that it sent is left to read.
    pub(crate) fn is_hung_up(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match self {
            Self::Tcp(half) => SockRef::from(half.as_ref()).peek(&mut byte),
            Self::Tls(half) => return half.is_hung_up(),
            Self::Unix(half) => SockRef::from(half.as_ref()).peek(&mut byte),
        };
        match peeked {
            Ok(count) => count == 0,
            Err(error) => {
                !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
            }
        }
    }

    /// Tells the peer that nothing follows, where that is not told by the end itself.
    pub(crate) fn close(&self) {
        match self {
            Self::Tls(half) => half.close(),
            Self::Tcp(_) | Self::Unix(_) => {}
        }
    }

    /// Ends the connection from any thread: its task sees the end of the stream.
    /// An error means that the peer was faster.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        let result = match self {
            Self::Tcp(half) => SockRef::from(half.as_ref()).shutdown(how),
            Self::Tls(half) => half.shutdown(how),
            Self::Unix(half) => SockRef::from(half.as_ref()).shutdown(how),
        };
        if let Err(error) = result {
            tracing::trace!(%error, "shutdown of a socket");
        }
    }
}
