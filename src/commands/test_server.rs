//! A server without sockets and without a store, for tests of commands about it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::table::{self, Lookup};
use super::{Args, Client, CommandResult, Control, Run, ServerState, Session};
use crate::config::{Config, Settings};
use crate::env::{SimClock, SimFs};
use crate::protocol::Reply;

/// When the clock of a test server stands still.
pub(super) const NOW_MS: u64 = 1_700_000_000_000;

/// A server and one connection to it.
pub(super) struct TestServer {
    pub(super) state: Arc<ServerState>,
    pub(super) clock: SimClock,
    pub(super) session: Session,
    /// What commands ask of the server's tasks.
    pub(super) control: mpsc::Receiver<Control>,
}

impl TestServer {
    /// A server with these settings.
    pub(super) fn with(settings: Settings) -> Self {
        let clock = SimClock::at_ms(NOW_MS);
        let (sender, control) = mpsc::channel(16);
        let state = Arc::new(ServerState::new(
            Config::new(settings, None),
            Arc::new(clock.clone()),
            Arc::new(SimFs::new(0)),
            None,
            sender,
        ));
        let session = Self::connect(&state);
        Self { state, clock, session, control }
    }

    /// A server with the settings that a server has by itself.
    pub(super) fn new() -> Self {
        Self::with(Settings::default())
    }

    /// One more connection.
    pub(super) fn connect(state: &ServerState) -> Session {
        let id = state.clients.next_id();
        let addr = format!("127.0.0.1:{}", 50_000 + id);
        let client = Client::new(id, &addr, "127.0.0.1:6379", 8, false, NOW_MS);
        let client = Arc::new(client);
        state.clients.insert(Arc::clone(&client));
        Session::new(client, &state.users)
    }

    /// Runs a call of words without blanks in them; panics where it is no session command, or too
    /// short.
    pub(super) fn run(&mut self, call: &str) -> CommandResult {
        let words: Vec<Bytes> =
            call.split(' ').map(|w| Bytes::copy_from_slice(w.as_bytes())).collect();
        self.run_words(&words)
    }

    /// Runs a call.
    pub(super) fn run_words(&mut self, words: &[Bytes]) -> CommandResult {
        let Lookup::Found(command) = table::lookup(&words[0], words.get(1).map(|word| &word[..]))
        else {
            panic!("unknown command {words:?}");
        };
        assert!(command.accepts(words.len()), "wrong number of words in {words:?}");
        let Run::Session(run) = command.spec.run else { panic!("no session command: {words:?}") };
        run(&mut self.session, &self.state, &mut Args::new(words, command.name_words))
    }

    /// The text of the error that a call answers.
    pub(super) fn error(&mut self, call: &str) -> String {
        self.run(call).expect_err(call).to_string()
    }

    /// The reply of a call that does not fail.
    pub(super) fn ok(&mut self, call: &str) -> Reply {
        self.run(call).unwrap_or_else(|error| panic!("{call}: {error}"))
    }

    /// The text of a verbatim reply.
    pub(super) fn text(&mut self, call: &str) -> String {
        match self.ok(call) {
            Reply::Verbatim("txt", text) => String::from_utf8_lossy(&text).into_owned(),
            other => panic!("{call}: {other:?}"),
        }
    }

    /// Runs an asynchronous command.
    pub(super) async fn run_async(&mut self, call: &str) -> CommandResult {
        let words: Vec<Bytes> =
            call.split(' ').map(|w| Bytes::copy_from_slice(w.as_bytes())).collect();
        let found = table::lookup(&words[0], words.get(1).map(|word| &word[..]));
        let Lookup::Found(command) = found else { panic!("unknown command {call}") };
        let Run::Server(run) = command.spec.run else { panic!("no server command: {call}") };
        run(&mut self.session, &self.state, &words).await
    }
}
