//! One connection: wait for bytes, decode, dispatch, send.
//!
//! An idle connection holds no buffer: it waits for readiness, and only then takes its buffers
//! from the pool of its thread. It gives them back when every request has been answered.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_util::codec::Decoder;

use super::buffers;
use super::dispatch::Dispatcher;
use super::output::Output;
use super::stream::{ReadHalf, WriteHalf};
use super::{pushes, tls, wave};
use crate::commands::gates::Refusal;
use crate::commands::{Arrival, Client, ClientFlag, Error, Link, Outbox, ServerState};
use crate::config::OutputLimit;
use crate::protocol::{self, Limits, Reply, Request, RequestDecoder};

/// Requests decoded before they are run; more wait in the read buffer.
const PIPELINE_MAX: usize = 1024;
/// Requests for which room is made at once.
const ROOM_MAX: usize = 64;
/// More room for a request is told to the account before it is taken.
const ROOM_LARGE: usize = 64 << 10;
/// The least that `client-query-buffer-limit` can be, in bytes.
const QUERY_LIMIT_MIN: usize = 1 << 20;
/// This part of what clients may hold is left to all others by the longest request.
const LEFT_SHARE: usize = 16;

/// Keeps a client in the registry while it lives, however its task ends.
pub(crate) struct Registered {
    state: Arc<ServerState>,
    client: Arc<Client>,
    is_tls: bool,
}

impl Registered {
    /// Enters `client`.
    pub(crate) fn new(state: &Arc<ServerState>, client: &Arc<Client>, is_tls: bool) -> Self {
        state.clients.insert(Arc::clone(client));
        state.metrics.connections_tls.add(is_tls.into());
        Self { state: Arc::clone(state), client: Arc::clone(client), is_tls }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.state.clients.remove(self.client.id);
        if self.client.has(ClientFlag::TRACKING) {
            self.state.tracking.disable(&self.client);
        }
        self.client.leave();
        self.state.metrics.connections_tls.sub(self.is_tls.into());
    }
}

/// The way to a connection for others.
pub(crate) struct TaskLink {
    /// Its socket.
    pub(crate) socket: Arc<WriteHalf>,
    /// The task that serves it.
    pub(crate) task: AbortHandle,
}

impl Link for TaskLink {
    fn end(&self, how: Shutdown) {
        self.socket.shutdown(how);
        if how == Shutdown::Both {
            self.task.abort();
        }
    }

    fn is_hung_up(&self) -> bool {
        self.socket.is_hung_up()
    }
}

/// Time for a handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Serves a connection to its end, or says why it is refused. May be aborted at any time: what was sent to the writer by then
/// still runs.
pub(crate) async fn serve(
    mut read: ReadHalf,
    write: Arc<WriteHalf>,
    mut dispatcher: Box<Dispatcher>,
    registered: Registered,
    refusal: Option<&'static str>,
) {
    std::future::poll_fn(|cx| {
        registered.client.set_waker(cx.waker().clone());
        Poll::Ready(())
    })
    .await;
    if matches!(read, ReadHalf::Tls(_)) && !Box::pin(handshake(&mut read, &dispatcher)).await {
        return drop(registered);
    }
    if let Some(text) = refusal {
        // A new socket has room for one line; if not, the peer is gone already.
        drop(write.try_write(text.as_bytes()));
        return write.close();
    }
    let end = conversation(&mut read, &write, &mut dispatcher).await;
    write.close();
    if let Err(error) = end {
        tracing::debug!(client = dispatcher.session.client.id, %error, "connection ended");
    }
    drop(registered);
}

/// Whether the handshake was carried out, in time.
async fn handshake(read: &mut ReadHalf, dispatcher: &Dispatcher) -> bool {
    let done = match tokio::time::timeout(HANDSHAKE_MAX, read.handshake()).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long")),
    };
    if let Err(error) = &done {
        let Client { addr, laddr, .. } = &*dispatcher.session.client;
        dispatcher.state.metrics.tls_handshakes_failed.add(1);
        tracing::warn!(%error, addr, laddr, "Error accepting a client connection");
    }
    done.is_ok()
}

async fn conversation(
    read: &mut ReadHalf,
    write: &Arc<WriteHalf>,
    dispatcher: &mut Dispatcher,
) -> io::Result<()> {
    let mut unfinished: Option<Box<Unfinished>> = None;
    loop {
        dispatcher.session.adopt_outbox(&dispatcher.state);
        match dispatcher.session.outbox() {
            None => {
                tokio::select! {
                    biased;
                    readable = read.readable() => readable?,
                    () = dispatcher.session.client.gets_outbox() => continue,
                }
            }
            Some(outbox) => {
                let receive = receive(read, write, dispatcher, &outbox);
                if !Box::pin(receive).await? {
                    continue;
                }
            }
        }
        // Boxed, so that the task of an idle connection stays small.
        let turn = Box::pin(turn(read, write, dispatcher, unfinished.take()));
        match turn.await? {
            Flow::Idle => {}
            Flow::Unfinished(rest) => unfinished = Some(rest),
            Flow::End => return Ok(()),
        }
    }
}

/// Waits for bytes, or for something to push, and writes that; whether it was bytes.
async fn receive(
    read: &ReadHalf,
    write: &WriteHalf,
    dispatcher: &Dispatcher,
    outbox: &Outbox,
) -> io::Result<bool> {
    let replies = dispatcher.session.replies;
    tokio::select! {
        readable = read.readable() => readable.map(|()| true),
        () = pushes::ready(&dispatcher.state, outbox, replies) => {
            let most = (replies, usize::MAX);
            let delivered = pushes::deliver(&dispatcher.state, write, outbox, most).await;
            delivered.map(|()| false).map_err(|full| dispatcher.dropped(full))
        }
    }
}

/// How a turn left the connection.
enum Flow {
    /// Everything that arrived was answered.
    Idle,
    /// A part of a request has arrived.
    Unfinished(Box<Unfinished>),
    /// The connection has to end.
    End,
}

/// A request of which a part has arrived.
struct Unfinished {
    decoder: RequestDecoder,
    input: BytesMut,
    /// A long argument of it that is let in, and which one that is.
    arrival: Option<(usize, Arrival)>,
}

/// Reads once, runs what is whole, sends the replies.
async fn turn(
    read: &mut ReadHalf,
    write: &Arc<WriteHalf>,
    dispatcher: &mut Dispatcher,
    unfinished: Option<Box<Unfinished>>,
) -> io::Result<Flow> {
    let Unfinished { mut decoder, mut input, mut arrival } = match unfinished {
        Some(unfinished) => *unfinished,
        None => {
            Unfinished { decoder: RequestDecoder::default(), input: buffers::take(), arrival: None }
        }
    };
    let request_max = request_max(dispatcher);
    let is_let_in = arrival.as_ref().is_some_and(|(which, _)| *which == decoder.args_left());
    if !is_let_in && decoder.room_wanted(input.len()) > ROOM_LARGE {
        drop(arrival.take());
        let missing = decoder.missing(input.len());
        let let_in = Box::pin(let_in(dispatcher, write, missing)).await?;
        arrival = let_in.map(|arrival| (decoder.args_left(), arrival));
    }
    let room = decoder.room_wanted(input.len());
    if room > ROOM_LARGE {
        account_held(dispatcher, input.len(), input.len() + room);
        if dispatcher.session.client.is_killed() {
            return Ok(Flow::End);
        }
    }
    if input.capacity() - input.len() < room.min(buffers::ROOM_MIN) {
        make_room(&mut input, room, request_max);
    }
    let received = match read.read_now(&mut input).await? {
        Some(0) => return Ok(Flow::End),
        Some(count) => count,
        None => 0,
    };
    account_received(dispatcher, received, &input);
    if is_hello(dispatcher, &input) {
        return Ok(Flow::End);
    }
    // A request that has just become whole counts as well.
    if input.len() > QUERY_LIMIT_MIN && exceeds_query_limit(dispatcher, input.len()) {
        return Ok(Flow::End);
    }
    let client = Arc::clone(&dispatcher.session.client);
    let mut output = Output::new(Arc::clone(write), client, output_limit(dispatcher));
    let outcome = loop {
        dispatcher.session.client.is_served.store(true, Ordering::Relaxed);
        dispatcher.has_waited = false;
        let before = input.len();
        dispatcher.push_first(&mut output);
        let outcome = answer(dispatcher, &mut decoder, &mut input, &mut output).await?;
        let client = &dispatcher.session.client;
        if dispatcher.has_waited {
            client.last_interaction_ms.store(dispatcher.state.clock.unix_ms(), Ordering::Relaxed);
        }
        client.is_served.store(false, Ordering::Relaxed);
        if input.len() < before {
            // The request with the long argument is through.
            arrival = None;
        }
        if input.is_empty() {
            let (bytes, capacity) = output.ahead().held();
            account_held(dispatcher, bytes, capacity);
            buffers::put(std::mem::take(&mut input));
        }
        // Those who have waited for the same batch are answered behind one another.
        if !dispatcher.has_waited {
            wave::gather().await;
        }
        output.flush(&dispatcher.state).await.map_err(|full| dispatcher.dropped(full))?;
        if outcome == Outcome::Close || !output.ahead().move_to(&mut input) {
            break outcome;
        }
        account_held(dispatcher, input.len(), input.capacity());
    };
    let (output, sent) = output.into_parts();
    dispatcher.session.client.net_out_bytes.fetch_add(sent, Ordering::Relaxed);
    dispatcher.state.metrics.net_out_bytes.add(sent);
    dispatcher.state.metrics.socket_writes.add((sent > 0).into());
    if outcome == Outcome::Close {
        return Ok(Flow::End);
    }
    if exceeds_query_limit(dispatcher, decoder.held_bytes(input.len())) {
        return Ok(Flow::End);
    }
    buffers::put(output);
    if input.is_empty() && !decoder.gives_up() {
        return Ok(Flow::Idle);
    }
    // Before anybody is told of what it holds.
    give_up_too_large(&mut decoder, &mut input, request_max);
    let held = decoder.held_bytes(input.len());
    account_held(dispatcher, held, held.max(input.capacity()));
    Ok(Flow::Unfinished(Box::new(Unfinished { decoder, input, arrival })))
}

/// How long a request may be, in bytes: it leaves a little to all others of what clients may hold.
fn request_max(dispatcher: &Dispatcher) -> usize {
    let Dispatcher { state, session, .. } = dispatcher;
    let is_bounded = !session.client.has(ClientFlag::NO_EVICT);
    let clients_max = state.memory.clients_max();
    if is_bounded { clients_max - clients_max / LEFT_SHARE } else { usize::MAX }
}

/// Gives a request up that can never be held: it will be refused, its client need not be closed for it.
fn give_up_too_large(decoder: &mut RequestDecoder, input: &mut BytesMut, request_max: usize) {
    let missing = decoder.missing(input.len());
    let needed = decoder.held_bytes(input.len()).saturating_add(missing);
    let most = request_max.max(ROOM_LARGE);
    if decoder.args_left() > 0 && !decoder.gives_up() && needed > most {
        tracing::debug!(needed, "a request is refused: too large");
        decoder.give_up(input);
        // What it has taken is given back.
        *input = BytesMut::from(&input[..]);
    }
}

/// Lets a long argument in, of which so many bytes are missing, once there is room for it beside those of
/// others. What is pushed to its client meanwhile is sent; one that does not take that is ended by its
/// output limit.
async fn let_in(
    dispatcher: &Dispatcher,
    write: &WriteHalf,
    missing: usize,
) -> io::Result<Option<Arrival>> {
    let Dispatcher { state, session, .. } = dispatcher;
    let client = &session.client;
    let is_in = Notify::new();
    let enters = async {
        let arrival = state.arrivals.enter(&state.memory, missing).await;
        is_in.notify_one();
        arrival
    };
    let pushes = async {
        let Some(outbox) = session.outbox() else { return Ok(()) };
        loop {
            tokio::select! {
                biased;
                () = is_in.notified() => return Ok(()),
                () = pushes::ready(state, &outbox, session.replies) => {}
            }
            let most = (session.replies, usize::MAX);
            pushes::deliver(state, write, &outbox, most).await?;
        }
    };
    // It is the server that does not read.
    client.is_served.store(true, Ordering::Relaxed);
    let (arrival, pushed) = tokio::join!(enters, pushes);
    client.last_interaction_ms.store(state.clock.unix_ms(), Ordering::Relaxed);
    client.is_served.store(false, Ordering::Relaxed);
    pushed.map_err(|full| dispatcher.dropped(full))?;
    Ok(arrival)
}

/// Whether the first bytes of a connection are those of TLS, where it is not spoken.
fn is_hello(dispatcher: &Dispatcher, input: &[u8]) -> bool {
    let client = &dispatcher.session.client;
    let is_hello = input.starts_with(&tls::HELLO_START)
        && client.net_in_bytes.load(Ordering::Relaxed) == input.len() as u64;
    if is_hello {
        tracing::warn!(addr = client.addr, "a client speaks TLS, which is for tls-port; closing");
    }
    is_hello
}

/// Whether a client holds more than it may: of requests that have arrived in part, and of calls that
/// wait for `EXEC`.
fn exceeds_query_limit(dispatcher: &Dispatcher, held: usize) -> bool {
    let held = held + dispatcher.session.queued_bytes();
    if held <= QUERY_LIMIT_MIN {
        return false;
    }
    let exceeds = held as u64 > dispatcher.state.config.load().client_query_buffer_limit;
    if exceeds {
        dispatcher.state.metrics.query_limit_disconnections.add(1);
        tracing::warn!(client = dispatcher.session.client.id, "client-query-buffer-limit reached");
    }
    exceeds
}

/// How much output may wait for the connection.
fn output_limit(dispatcher: &Dispatcher) -> OutputLimit {
    let limits = dispatcher.state.config.load().client_output_buffer_limit;
    if dispatcher.session.is_subscriber() { limits.pubsub } else { limits.normal }
}

/// Whether the conversation goes on.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    GoOn,
    Close,
}

/// Decodes and runs everything that has arrived.
async fn answer(
    dispatcher: &mut Dispatcher,
    decoder: &mut RequestDecoder,
    input: &mut BytesMut,
    output: &mut Output,
) -> io::Result<Outcome> {
    let mut pipeline = VecDeque::new();
    if decoder.gives_up() {
        match decoder.discard(input) {
            Ok(false) => return Ok(Outcome::GoOn),
            Ok(true) => {
                let refusal = Refusal { error: Error::OutOfMemory, command: None, denied: None };
                dispatcher.refuse(refusal, &Request::default(), output);
            }
            Err(error) => return Ok(wrong(dispatcher, &error, output)),
        }
    }
    loop {
        let failure = decode(dispatcher, decoder, input, &mut pipeline);
        let finished = pipeline.is_empty() || input.is_empty();
        if input.is_empty() {
            dispatcher.idle_input = std::mem::take(input);
        }
        dispatcher.run(&mut pipeline, output).await?;
        if input.is_empty() {
            *input = std::mem::take(&mut dispatcher.idle_input);
        }
        if dispatcher.session.close_after_reply {
            return Ok(Outcome::Close);
        }
        if let Some(protocol::Error::CrossProtocol) = failure {
            tracing::warn!(
                client = %dispatcher.session.client.addr,
                "a line of an HTTP request: possibly an attack through somebody's browser; closing"
            );
            return Ok(Outcome::Close);
        }
        if let Some(error) = failure {
            return Ok(wrong(dispatcher, &error, output));
        }
        if finished {
            return Ok(Outcome::GoOn);
        }
    }
}

/// Answers what is no request.
fn wrong(dispatcher: &Dispatcher, error: &protocol::Error, output: &mut Output) -> Outcome {
    let text = error.to_string();
    dispatcher.state.metrics.error(&text);
    output.push(Reply::Error(text.into()), dispatcher.session.version);
    Outcome::Close
}

/// Makes room in a buffer: where that is much, exactly as much as is asked for, and where the buffer holds
/// much, a quarter of that, within what a request may take. A vector that grows by itself takes twice what
/// it holds, and the end of a long argument is known.
fn make_room(input: &mut BytesMut, room: usize, request_max: usize) {
    let held = input.len();
    if held.max(room) > ROOM_LARGE {
        let step = (held / 4).min(request_max.saturating_sub(held));
        let room = if room > ROOM_LARGE { room } else { room.max(step) };
        let mut larger = BytesMut::with_capacity(held + room);
        larger.extend_from_slice(input);
        *input = larger;
    } else {
        input.reserve(room);
    }
}

/// Decodes requests until the buffer has no whole one left; answers the error that ends it.
fn decode(
    dispatcher: &Dispatcher,
    decoder: &mut RequestDecoder,
    input: &mut BytesMut,
    pipeline: &mut VecDeque<Request>,
) -> Option<protocol::Error> {
    let authenticated = dispatcher.session.is_let_in(&dispatcher.state.users);
    let bulk_len_max = dispatcher.state.config.load().proto_max_bulk_len;
    *decoder.limits_mut() = Limits {
        bulk_bytes_max: usize::try_from(bulk_len_max).unwrap_or(usize::MAX),
        authenticated,
        ..Limits::default()
    };
    // Before it has authenticated, a client's requests are measured one at a time.
    let most = if authenticated { PIPELINE_MAX } else { 1 };
    while pipeline.len() < most {
        match decoder.decode(input) {
            Ok(Some(request)) => {
                if pipeline.is_empty() {
                    // As many as there are if the others are like it.
                    pipeline.reserve((1 + input.len() / request.wire_len.max(1)).min(ROOM_MAX));
                }
                pipeline.push_back(request);
            }
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
    None
}

fn account_received(dispatcher: &Dispatcher, received: usize, input: &BytesMut) {
    let client = &dispatcher.session.client;
    client.last_interaction_ms.store(dispatcher.state.clock.unix_ms(), Ordering::Relaxed);
    client.received(&dispatcher.state.metrics, received);
    // A buffer of the pool is shared with those that come next.
    let is_pooled = input.capacity() <= buffers::KEPT_BYTES_MAX;
    account_held(dispatcher, input.len(), if is_pooled { input.len() } else { input.capacity() });
}

fn account_held(dispatcher: &Dispatcher, query_bytes: usize, capacity: usize) {
    let client = &dispatcher.session.client;
    client.query_bytes.store(query_bytes, Ordering::Relaxed);
    client.query_capacity.store(capacity, Ordering::Relaxed);
    dispatcher.state.client_holds(client);
}
