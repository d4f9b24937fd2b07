//! The HTTP server of the metrics: `GET /metrics`, one request per connection.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::exposition;
use crate::commands::ServerState;
use crate::config::Settings;

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// Bytes of a request.
const REQUEST_BYTES_MAX: usize = 16 << 10;
/// Time for a request and its answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;
/// Pause after a failed accept.
const RETRY: Duration = Duration::from_millis(50);

/// The endpoint, open or not.
#[derive(Debug)]
pub(crate) struct Endpoint {
    state: Weak<ServerState>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// Opens the socket that the settings ask for; `None` where `metrics-port` is 0.
pub(crate) fn open(settings: &Settings) -> io::Result<Option<TcpListener>> {
    if settings.metrics_port == 0 {
        return Ok(None);
    }
    let host = (settings.metrics_bind.as_str(), settings.metrics_port);
    listen(host).map(Some).map_err(|error| {
        let text = format!("cannot listen for metrics on {}:{}: {error}", host.0, host.1);
        io::Error::new(error.kind(), text)
    })
}

fn listen(host: (&str, u16)) -> io::Result<TcpListener> {
    let address: SocketAddr = host
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such address"))?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Endpoint {
    /// Serves the metrics of `state` on `socket`, if there is one.
    pub(crate) fn start(state: &Arc<ServerState>, socket: Option<TcpListener>) -> Self {
        let endpoint = Self { state: Arc::downgrade(state), task: Mutex::default() };
        *endpoint.task.lock() = socket.map(|socket| endpoint.serve(socket));
        endpoint
    }

    /// Serves where `new` says; where that fails it stays as it is. Blocks the thread: not for a thread
    /// that runs tasks.
    pub(crate) fn rebind(&self, old: &Settings, new: &Settings) -> io::Result<()> {
        let same_port = old.metrics_port == new.metrics_port;
        if same_port && old.metrics_bind == new.metrics_bind {
            return Ok(());
        }
        let mut task = self.task.lock();
        if !same_port {
            let socket = open(new)?;
            close(task.take());
            *task = socket.map(|socket| self.serve(socket));
            return Ok(());
        }
        // The new address may overlap the old one, so that has to be free first.
        close(task.take());
        let (socket, result) = match open(new) {
            Ok(socket) => (socket, Ok(())),
            Err(error) => {
                let restored = open(old).unwrap_or_else(|error| {
                    tracing::error!(%error, "the old address of the metrics could not be restored");
                    None
                });
                (restored, Err(error))
            }
        };
        *task = socket.map(|socket| self.serve(socket));
        result
    }

    fn serve(&self, socket: TcpListener) -> JoinHandle<()> {
        tokio::spawn(accept(socket, Weak::clone(&self.state)))
    }
}

/// Ends the task and waits until its socket is closed.
fn close(task: Option<JoinHandle<()>>) {
    if let Some(task) = task {
        task.abort();
        // An error says that the task was ended, which is what was asked for.
        drop(Handle::current().block_on(task));
    }
}

async fn accept(socket: TcpListener, state: Weak<ServerState>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match socket.accept().await {
            Ok((stream, _)) => {
                let state = Weak::clone(&state);
                tokio::spawn(async move {
                    if tokio::time::timeout(REQUEST_TIME_MAX, answer(stream, state)).await.is_err()
                    {
                        tracing::debug!("a request for metrics took too long");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics could not be accepted");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// One request and its answer.
async fn answer(stream: TcpStream, state: Weak<ServerState>) {
    let service = service_fn(move |request| respond(request, Weak::clone(&state)));
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME_MAX)
        .max_buf_size(REQUEST_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a request for metrics");
    }
}

async fn respond(
    request: Request<Incoming>,
    state: Weak<ServerState>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let known = request.uri().path() == "/metrics";
    Ok(match *request.method() {
        _ if !known => status(StatusCode::NOT_FOUND),
        Method::GET | Method::HEAD => metrics(state).await,
        _ => {
            let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            response
        }
    })
}

/// The text is made on the blocking pool, where it holds up no connection.
async fn metrics(state: Weak<ServerState>) -> Response<Full<Bytes>> {
    let made = tokio::task::spawn_blocking(move || {
        let state = state.upgrade()?;
        exposition::text(&state).ok()
    });
    let Ok(Some(text)) = made.await else { return status(StatusCode::SERVICE_UNAVAILABLE) };
    let mut response = Response::new(Full::new(text.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(exposition::CONTENT_TYPE));
    response
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from_static(reason.as_bytes())));
    *response.status_mut() = status;
    response
}
