//! A TCP connection with TLS: one half for the task that reads, one that is shared.
//!
//! Both halves meet in [`Records`], which has the state of the connection: rustls keeps what of a
//! record has arrived, and the records that the socket has not taken yet. Its lock is held without
//! waiting for anything.

use std::cell::RefCell;
use std::io::{self, BufRead, IoSlice, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use parking_lot::Mutex;
use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, tcp};
use tokio::sync::Notify;

/// Bytes that one read may bring: two records of the largest size, nearly.
const READ_BYTES: usize = 32 << 10;
/// Bytes that are made records at a time: what the socket does not take of them is kept.
const WRITE_BYTES: usize = 64 << 10;

thread_local! {
    /// Takes what is read until it is decrypted, which is at once.
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The half that is read, by the connection's task alone.
#[derive(Debug)]
pub(crate) struct TlsRead {
    socket: tcp::OwnedReadHalf,
    records: Arc<Records>,
}

/// The half that is written by the connection's task; anybody may end the connection through it.
#[derive(Debug)]
pub(crate) struct TlsWrite {
    socket: tcp::OwnedWriteHalf,
    records: Arc<Records>,
}

/// What both halves share.
#[derive(Debug)]
struct Records {
    state: Mutex<State>,
    /// Told when [`TlsWrite::is_hung_up`] has read what the task waits for.
    arrived: Notify,
}

#[derive(Debug)]
struct State {
    rustls: ServerConnection,
    /// Bytes of the caller that are records already, which the socket has not taken: the next write
    /// begins with the same ones.
    owed: usize,
    /// Bytes that are decrypted and were not taken yet.
    decrypted: usize,
    /// Nothing will arrive any more.
    ended: bool,
}

/// Both halves of a socket whose client is about to begin a handshake.
pub(crate) fn split(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<(TlsRead, TlsWrite)> {
    let rustls = ServerConnection::new(config).map_err(io::Error::other)?;
    let state = State { rustls, owed: 0, decrypted: 0, ended: false };
    let records = Arc::new(Records { state: Mutex::new(state), arrived: Notify::new() });
    let (read, write) = stream.into_split();
    let read = TlsRead { socket: read, records: Arc::clone(&records) };
    Ok((read, TlsWrite { socket: write, records }))
}

impl State {
    /// Hands records to the socket; `WouldBlock` where some are left.
    fn send(&mut self, socket: &TcpStream) -> io::Result<()> {
        while self.rustls.wants_write() {
            match self.rustls.write_tls(&mut NowWrite(socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads once and decrypts, without waiting. A peer that breaks the rules is told, and is an error.
    fn receive(&mut self, socket: &TcpStream) -> io::Result<()> {
        if self.rustls.read_tls(&mut NowRead(socket))? == 0 {
            self.ended = true;
        }
        self.decrypt(socket)
    }

    fn decrypt(&mut self, socket: &TcpStream) -> io::Result<()> {
        let state = self.rustls.process_new_packets().map_err(|error| {
            // The alert that says why; the socket may not take it.
            drop(self.send(socket));
            io::Error::new(io::ErrorKind::InvalidData, error)
        })?;
        self.decrypted = state.plaintext_bytes_to_read();
        self.ended |= state.peer_has_closed();
        Ok(())
    }

    /// Decrypts what was read into `buffer`; how many bytes that adds.
    fn take(
        &mut self,
        mut read: &[u8],
        socket: &TcpStream,
        buffer: &mut BytesMut,
    ) -> io::Result<usize> {
        let mut count = 0;
        while !read.is_empty() && !self.ended {
            self.rustls.read_tls(&mut read)?;
            self.decrypt(socket)?;
            count += self.drain(buffer);
        }
        // rustls gives back what a large record took when it prepares the next read.
        if let Err(error) = self.rustls.read_tls(&mut Nothing) {
            debug_assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        if self.rustls.wants_write() {
            // An answer of the protocol itself; what the socket does not take goes with the next write.
            match self.send(socket) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(count)
    }

    /// Moves what is decrypted to `buffer`; how many bytes that was.
    fn drain(&mut self, buffer: &mut BytesMut) -> usize {
        let count = self.decrypted;
        let mut reader = self.rustls.reader();
        while self.decrypted > 0 {
            let Ok(chunk) = reader.fill_buf() else { break };
            let len = chunk.len();
            buffer.extend_from_slice(chunk);
            reader.consume(len);
            self.decrypted = self.decrypted.saturating_sub(len.max(1));
        }
        count
    }

    /// Tells the peer that nothing follows, as far as the socket takes it now.
    fn close(&mut self, socket: &TcpStream) {
        self.rustls.send_close_notify();
        if let Err(error) = self.send(socket) {
            tracing::trace!(%error, "the end of a connection could not be told");
        }
    }
}

impl Records {
    /// Waits until bytes, or the end, may be there to be read.
    async fn readable(&self, socket: &TcpStream) -> io::Result<()> {
        let is_ready = {
            let state = self.state.lock();
            state.decrypted > 0 || state.ended
        };
        if is_ready {
            return Ok(());
        }
        tokio::select! {
            readable = socket.readable() => readable,
            () = self.arrived.notified() => Ok(()),
        }
    }
}

impl TlsRead {
    /// Carries the handshake out.
    ///
    /// # Errors
    /// Where the client does not speak TLS, does not get through, or is gone.
    pub(crate) async fn handshake(&mut self) -> io::Result<()> {
        loop {
            let (sent, is_done) = {
                let mut state = self.records.state.lock();
                (state.send(self.socket.as_ref()), !state.rustls.is_handshaking())
            };
            match sent {
                Ok(()) if is_done => return Ok(()),
                Ok(()) => self.socket.readable().await?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket.as_ref().writable().await?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            let mut state = self.records.state.lock();
            match state.receive(self.socket.as_ref()) {
                // What came together with the end is still to be answered.
                Ok(()) if state.ended && state.rustls.is_handshaking() => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    /// Waits until bytes, or the end, may be there to be read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.records.readable(self.socket.as_ref()).await
    }

    /// Appends what can be read now to `buffer`: 0 at the end of the stream, pending where nothing is
    /// there, which nobody is woken for.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.records.state.lock();
        if state.decrypted > 0 {
            return Poll::Ready(Ok(state.drain(buffer)));
        }
        if state.ended {
            return Poll::Ready(Ok(0));
        }
        READ.with_borrow_mut(|room| {
            room.resize(READ_BYTES, 0);
            let mut read = ReadBuf::new(room);
            match Pin::new(&mut self.socket).poll_read(cx, &mut read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(result) => result?,
            }
            if read.filled().is_empty() {
                return Poll::Ready(Ok(0));
            }
            match state.take(read.filled(), self.socket.as_ref(), buffer)? {
                0 if !state.ended => Poll::Pending,
                count => Poll::Ready(Ok(count)),
            }
        })
    }
}

impl TlsWrite {
    /// Writes what the socket takes now. Bytes count as written once their records are with the
    /// socket as a whole; after `WouldBlock` the next write has to begin with the same bytes.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let most = bytes.get(..WRITE_BYTES).unwrap_or(bytes);
        self.write(|state| state.rustls.writer().write(most))
    }

    /// Writes what the socket takes now of several slices, as [`Self::try_write`].
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(|state| state.rustls.writer().write_vectored(slices))
    }

    fn write(&self, encrypt: impl FnOnce(&mut State) -> io::Result<usize>) -> io::Result<usize> {
        let mut state = self.records.state.lock();
        // What is left of an earlier write, or of the protocol itself.
        state.send(self.socket.as_ref())?;
        if state.owed == 0 {
            state.owed = encrypt(&mut state)?;
            state.send(self.socket.as_ref())?;
        }
        Ok(std::mem::take(&mut state.owed))
    }

    /// Waits until the socket takes bytes, or its peer is gone.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// Waits until bytes, or the end, may be there to be read: for the task that reads.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.records.readable(self.socket.as_ref()).await
    }

    /// Appends what can be read now to `buffer`: 0 at the end of the stream. For the task that reads.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is there.
    pub(crate) fn read_now(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut state = self.records.state.lock();
        if state.decrypted == 0 && !state.ended {
            state.receive(self.socket.as_ref())?;
        }
        match state.drain(buffer) {
            0 if !state.ended => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    /// Whether the peer has ended its side and nothing that it sent is left to read. Reads, since
    /// only what is decrypted tells; its task finds what there was.
    pub(crate) fn is_hung_up(&self) -> bool {
        let mut state = self.records.state.lock();
        if state.decrypted > 0 || state.ended || state.rustls.is_handshaking() {
            return state.ended && state.decrypted == 0;
        }
        let received = state.receive(self.socket.as_ref());
        let is_ready = state.decrypted > 0 || state.ended;
        if is_ready {
            self.records.arrived.notify_one();
        }
        match received {
            Ok(()) => state.ended && state.decrypted == 0,
            Err(error) => {
                !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
            }
        }
    }

    /// Tells the peer that nothing follows.
    pub(crate) fn close(&self) {
        self.records.state.lock().close(self.socket.as_ref());
    }

    /// Ends the connection from any thread.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            self.close();
        }
        SockRef::from(self.socket.as_ref()).shutdown(how)
    }
}

/// Reads what the socket has now.
struct NowRead<'a>(&'a TcpStream);

impl io::Read for NowRead<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(room)
    }
}

/// A socket that has nothing now.
struct Nothing;

impl io::Read for Nothing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Writes what the socket takes now.
struct NowWrite<'a>(&'a TcpStream);

impl Write for NowWrite<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
