//! Listening sockets: TCP on every `bind` address, with and without TLS, and a unix socket.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;

use super::chain::UnderWay;
use super::connection::{self, Registered, TaskLink};
use super::dispatch::Dispatcher;
use super::message::Message;
use super::stream::{ReadHalf, WriteHalf, split_tcp, split_tls, split_unix};
use super::tls;
use crate::commands::{Client, ServerState, Session};
use crate::config::Settings;

/// Pause after a failed accept (no file descriptors left), so that it does not spin.
const RETRY: Duration = Duration::from_millis(50);
/// Answer beyond `maxclients`.
const TOO_MANY: &str = "-ERR max number of clients reached\r\n";
/// Answer of `protected-mode`.
const PROTECTED: &str = "-DENIED SiltDB is running in protected mode: no password is set for the \
default user, so connections are accepted from the loopback interface and the unix socket only. \
To accept others, set requirepass, or switch protected-mode off where the network is trusted.\r\n";

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// TCP with TLS.
    Tls(TcpListener),
    /// Unix domain; the path is removed when the listener is dropped.
    Unix(UnixListener, SocketPath),
}

/// The path of a unix socket, removed when dropped.
#[derive(Debug)]
pub(crate) struct SocketPath(pub(crate) PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        drop(crate::env::remove_socket(&self.0));
    }
}

/// Opens the TCP sockets of the settings, before the data directory is touched. Fails where one that
/// was asked for without a leading `-` could not be opened (as `bind` of redis.conf has it), and
/// where the settings name no socket at all.
pub(crate) fn listen(settings: &Settings) -> io::Result<Vec<Listener>> {
    let mut listeners = listen_tcp(settings, Transport::Plain)?;
    listeners.extend(listen_tcp(settings, Transport::Tls)?);
    if listeners.is_empty() && settings.unixsocket.is_empty() {
        return Err(io::Error::other("configured to not listen anywhere"));
    }
    Ok(listeners)
}

/// Opens the unix socket of the settings, if they name one. It takes the place of what another
/// server on the same data left behind, so only whoever has the lock of the data may do it.
pub(crate) fn listen_local(settings: &Settings) -> io::Result<Option<Listener>> {
    if settings.unixsocket.is_empty() {
        return Ok(None);
    }
    listen_unix(&settings.in_dir(&settings.unixsocket), settings.unixsocketperm).map(Some)
}

/// How connections of a TCP port speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// As they are.
    Plain,
    /// With TLS.
    Tls,
}

impl Transport {
    /// The port of the settings; 0 for none.
    pub(crate) fn port(self, settings: &Settings) -> u16 {
        match self {
            Self::Plain => settings.port,
            Self::Tls => settings.tls.port,
        }
    }

    fn listener(self, socket: TcpListener) -> Listener {
        match self {
            Self::Plain => Listener::Tcp(socket),
            Self::Tls => Listener::Tls(socket),
        }
    }
}

/// Opens a socket on the port of each `bind` address; none where the port is 0. Fails where an address
/// without a leading `-` is not available, or none is.
pub(crate) fn listen_tcp(settings: &Settings, transport: Transport) -> io::Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    let port = transport.port(settings);
    if port == 0 {
        return Ok(listeners);
    }
    for address in &settings.bind {
        let (optional, address) = match address.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, address.as_str()),
        };
        match listen_address(address, port, settings.tcp_backlog) {
            Ok(listener) => listeners.push(transport.listener(listener)),
            Err(error) if optional && may_be_absent(&error) => {
                tracing::warn!(address, %error, "address is not available, left out");
            }
            Err(error) => {
                let text = format!("Failed listening on port {port} ({address}): {error}");
                return Err(io::Error::new(error.kind(), text));
            }
        }
    }
    if listeners.is_empty() && !settings.bind.is_empty() {
        return Err(io::Error::other("none of the addresses to bind is available"));
    }
    Ok(listeners)
}

fn may_be_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported | io::ErrorKind::NotFound
    )
}

fn listen_address(address: &str, port: u16, backlog: u32) -> io::Result<TcpListener> {
    let host = match address {
        "*" => "0.0.0.0",
        "::*" => "::",
        other => other,
    };
    let address: SocketAddr = (host, port)
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such address"))?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

fn listen_unix(path: &Path, permissions: u32) -> io::Result<Listener> {
    crate::env::remove_socket(path)?;
    let listener = UnixListener::bind(path)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
    if permissions != 0 {
        crate::env::set_permissions(path, permissions)?;
    }
    Ok(Listener::Unix(listener, SocketPath(path.to_path_buf())))
}

/// No delay of small replies, and keepalive after `tcp_keepalive` seconds (0: none).
pub(crate) fn tune(stream: &TcpStream, tcp_keepalive: u32) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if tcp_keepalive > 0 {
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(tcp_keepalive.into()))
            .with_interval(Duration::from_secs((tcp_keepalive / 3).max(1).into()))
            .with_retries(3);
        SockRef::from(stream).set_tcp_keepalive(&keepalive)?;
    }
    Ok(())
}

/// Accepts connections until the server stops.
pub(crate) async fn run(
    listener: Listener,
    state: Arc<ServerState>,
    writer: mpsc::Sender<Message>,
    tls: tls::Current,
) {
    loop {
        match accept(&listener, &state, &tls).await {
            Ok(peer) => admit(peer, &state, &writer),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// A connection that was just accepted.
struct Peer {
    read: ReadHalf,
    write: WriteHalf,
    addr: String,
    laddr: String,
    fd: i32,
    local: bool,
}

async fn accept(listener: &Listener, state: &ServerState, tls: &tls::Current) -> io::Result<Peer> {
    match listener {
        Listener::Tcp(socket) | Listener::Tls(socket) => {
            let (stream, addr) = socket.accept().await?;
            if let Err(error) = tune(&stream, state.config.load().tcp_keepalive) {
                tracing::debug!(%error, "a socket could not be tuned");
            }
            let laddr = stream.local_addr().map(|addr| addr.to_string()).unwrap_or_default();
            let local = addr.ip().to_canonical().is_loopback();
            let fd = stream.as_raw_fd();
            let (read, write) = match listener {
                Listener::Tls(_) => {
                    let config = tls.load_full();
                    let config = config.ok_or_else(|| io::Error::other("TLS is not configured"))?;
                    split_tls(stream, config)?
                }
                Listener::Tcp(_) | Listener::Unix(..) => split_tcp(stream),
            };
            Ok(Peer { read, write, addr: addr.to_string(), laddr, fd, local })
        }
        Listener::Unix(listener, path) => {
            let (stream, _) = listener.accept().await?;
            let addr = format!("{}:0", path.0.display());
            let fd = stream.as_raw_fd();
            let (read, write) = split_unix(stream);
            Ok(Peer { read, write, laddr: addr.clone(), addr, fd, local: true })
        }
    }
}

/// Serves the peer, unless there are too many, or it comes from outside to a server without a
/// password.
fn admit(peer: Peer, state: &Arc<ServerState>, writer: &mpsc::Sender<Message>) {
    let settings = state.config.load();
    let needs_password = !state.users.default_user().needs_no_password();
    let refusal = if state.clients.len() >= settings.maxclients {
        state.metrics.connections_rejected.add(1);
        Some(TOO_MANY)
    } else if settings.protected_mode && !needs_password && !peer.local {
        state.metrics.connections_rejected.add(1);
        Some(PROTECTED)
    } else {
        None
    };
    drop(settings);
    let is_tls = matches!(peer.write, WriteHalf::Tls(_));
    match refusal {
        Some(text) if !is_tls => {
            // The buffer of a new socket has room for one line; if not, the peer is gone already.
            drop(peer.write.try_write(text.as_bytes()));
            return;
        }
        // Nobody could read it before a handshake, and there is no room for one.
        Some(TOO_MANY) => return,
        _ => {}
    }
    let unix = matches!(peer.read, ReadHalf::Unix(_));
    let now_ms = state.clock.unix_ms();
    let id = state.clients.next_id();
    let client = Arc::new(Client::new(id, &peer.addr, &peer.laddr, peer.fd, unix, now_ms));
    let write = Arc::new(peer.write);
    let socket = Arc::clone(&write);
    let registered = Registered::new(state, &client, is_tls);
    state.metrics.connections_received.add(1);
    state.metrics.clients_peak.raise(state.clients.len() as u64);
    let dispatcher = Box::new(Dispatcher {
        last_ended_ns: None,
        idle_input: bytes::BytesMut::new(),
        state: Arc::clone(state),
        writer: writer.clone(),
        session: Session::new(Arc::clone(&client), &state.users),
        under_way: UnderWay::new(&client),
        has_waited: false,
    });
    let task = tokio::spawn(connection::serve(peer.read, write, dispatcher, registered, refusal));
    client.set_link(Box::new(TaskLink { socket, task: task.abort_handle() }));
}
