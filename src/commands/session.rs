//! The state of one connection that commands may touch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::acl::{Denial, User, Users};
use super::{Client, ClientFlag, Fanout, Message, Pushes, Queue, Tracker, Watched};
use crate::protocol::Version;

/// What `CLIENT REPLY` asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// Every reply is sent.
    #[default]
    On,
    /// None is.
    Off,
    /// The reply of the next command is not sent; then [`Self::On`]. `CLIENT REPLY SKIP` itself
    /// answers nothing: the connection moves from `SkipNext` to `Skip` behind each command.
    Skip,
    /// The reply of the command behind this one is not sent.
    SkipNext,
}

/// One connection, as its own commands see it. The half that others may see is in [`Client`].
#[derive(Debug)]
pub struct Session {
    /// The half that `CLIENT LIST` and `CLIENT KILL` of others see.
    pub client: Arc<Client>,
    /// Selected database. Changed through [`Self::select`].
    pub db: u16,
    /// Protocol version of the replies. Changed through [`Self::speak`].
    pub version: Version,
    /// Whether a password was given, or none was needed when it came.
    pub authenticated: bool,
    /// Who it is. Changed through [`Self::become_user`]; [`Self::follow_users`] keeps it up to date.
    user: Arc<User>,
    /// Of which version of the users that is.
    users_version: u64,
    /// What `CLIENT REPLY` asked for.
    pub reply_mode: ReplyMode,
    /// `CLIENT NO-TOUCH`: reads do not change access times.
    pub no_touch: bool,
    /// Scripts are not to be run, but debugged (`SCRIPT DEBUG`), which is not possible.
    pub wants_debugger: bool,
    /// Close after the reply (`QUIT`).
    pub close_after_reply: bool,
    /// What was queued since `MULTI`; [`Self::tell_queued`] follows a change.
    pub queue: Option<Box<Queue>>,
    /// What `EXEC` will look at; [`Self::tell_queued`] follows a change.
    pub watched: Option<Box<Watched>>,
    /// What is pushed to it; most are not pushed to.
    pub pushes: Option<Box<Pushes>>,
    /// How it keeps copies of what it reads (`CLIENT TRACKING`), where it does.
    pub tracking: Option<Arc<Tracker>>,
    /// `CLIENT CACHING`, for the next call or transaction.
    pub caching: bool,
    /// Replies so far, those that are not sent included.
    pub replies: u64,
    /// What the call that ran has published to so many that it is not through yet: the connection
    /// goes on when it is.
    pub fanout: Option<Box<Fanout>>,
    /// For how many its messages were put down since others could run.
    pub put_down: usize,
    /// Where this is set, messages are not published but gathered here: those of calls that run as one
    /// transaction, to be published with it.
    pub held_messages: Option<Vec<Message>>,
    /// Wrong passwords that such calls have met.
    pub(crate) held_denials: Vec<Denial>,
    /// Whether a command that would wait answers at once, as inside of a transaction.
    pub denies_waiting: bool,
    /// Whether an asynchronous command has to end before it waits for anything, as inside of a script.
    pub answers_at_once: bool,
    /// Unix microseconds at which time stands still, as inside of a transaction.
    pub stands_at_us: Option<u64>,
}

impl Session {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(client: Arc<Client>, users: &Users) -> Self {
        let users_version = users.version();
        let user = users.default_user();
        let authenticated = user.is_open();
        Self {
            client,
            user,
            users_version,
            db: 0,
            version: Version::Resp2,
            authenticated,
            reply_mode: ReplyMode::On,
            no_touch: false,
            wants_debugger: false,
            close_after_reply: false,
            queue: None,
            watched: None,
            pushes: None,
            tracking: None,
            caching: false,
            replies: 0,
            fanout: None,
            put_down: 0,
            held_messages: None,
            held_denials: Vec::new(),
            denies_waiting: false,
            answers_at_once: false,
            stands_at_us: None,
        }
    }

    /// The same connection for the calls of a program, with nothing published, queued or watched.
    #[must_use]
    pub fn for_program(&self) -> Self {
        Self {
            client: Arc::clone(&self.client),
            user: Arc::clone(&self.user),
            queue: None,
            watched: None,
            pushes: None,
            tracking: self.tracking.clone(),
            fanout: None,
            held_messages: Some(Vec::new()),
            held_denials: Vec::new(),
            ..*self
        }
    }

    /// Who it is.
    #[must_use]
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// Makes it another user, whose password was checked; `version` is of the users before that.
    pub fn become_user(&mut self, user: Arc<User>, version: u64) {
        self.authenticated = true;
        self.client.edit_names(|names| names.user = user.name().clone());
        self.user = user;
        self.users_version = version;
    }

    /// Makes it the user of a new connection again.
    pub fn become_default(&mut self, users: &Users) {
        let version = users.version();
        let user = users.default_user();
        let is_open = user.is_open();
        self.become_user(user, version);
        self.authenticated = is_open;
    }

    /// Takes over what has become of its user; before each call. Costs a load where no user has
    /// changed. Where the user is gone the connection may do nothing more, and is closed.
    pub fn follow_users(&mut self, users: &Users) {
        let version = users.version();
        if self.users_version == version {
            return;
        }
        self.users_version = version;
        match users.get(self.user.name()) {
            Some(user) => self.user = user,
            None => {
                self.user = Arc::new(User::without_rights(self.user.name()));
                self.close();
            }
        }
    }

    /// Of which version of the users its own is.
    #[must_use]
    pub fn users_version(&self) -> u64 {
        self.users_version
    }

    /// Whether the users have changed since it has looked.
    #[must_use]
    pub fn is_behind(&self, users: &Users) -> bool {
        self.users_version != users.version()
    }

    /// Whether it may make calls: it has said who it is, or need not.
    #[must_use]
    pub fn is_let_in(&self, users: &Users) -> bool {
        self.authenticated || users.is_open()
    }

    /// Lets others see the database and the protocol version again that the calls of a program have
    /// changed on the client, and the user, where these do not stay.
    pub fn restore(&mut self) {
        if !self.client.is_user(self.user.name()) {
            self.client.edit_names(|names| names.user = self.user.name().clone());
        }
        self.select(self.db);
        self.speak(self.version);
    }

    /// Selects a database; the caller has checked that it exists.
    pub fn select(&mut self, db: u16) {
        self.db = db;
        self.client.db.store(db, Ordering::Relaxed);
    }

    /// Forgets what is queued and watched.
    pub fn discard(&mut self) {
        self.queue = None;
        self.watched = None;
        self.tell_queued();
    }

    /// What is queued and watched takes so many bytes.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.bytes())
            + self.watched.as_ref().map_or(0, |watched| watched.bytes())
    }

    /// Lets others see how much is queued and watched.
    pub fn tell_queued(&self) {
        let (queue, client) = (self.queue.as_ref(), &self.client);
        client.set(ClientFlag::QUEUES, queue.is_some());
        client.queued_calls.store(queue.map_or(0, |queue| queue.len()), Ordering::Relaxed);
        let watched = self.watched.as_ref().map_or(0, |watched| watched.len());
        client.watched_keys.store(watched, Ordering::Relaxed);
        client.queued_bytes.store(self.queued_bytes(), Ordering::Relaxed);
    }

    /// Changes the protocol version, from the reply of the running command on.
    pub fn speak(&mut self, version: Version) {
        if version != self.version
            && let Some(pushes) = &mut self.pushes
        {
            // What waits to be pushed is in the version before.
            pushes.come_first = pushes.outbox.len();
        }
        self.version = version;
        let number = match version {
            Version::Resp2 => 2,
            Version::Resp3 => 3,
        };
        self.client.resp.store(number, Ordering::Relaxed);
    }

    /// Closes the connection once the replies so far are written.
    pub fn close(&mut self) {
        self.close_after_reply = true;
        self.client.set(ClientFlag::CLOSE_AFTER_REPLY, true);
    }

    /// Whether the reply of the command that just ran is sent; moves `CLIENT REPLY SKIP` on.
    /// Called once behind each command.
    pub fn sends_reply(&mut self) -> bool {
        match self.reply_mode {
            ReplyMode::On => true,
            ReplyMode::Off => false,
            ReplyMode::SkipNext => {
                self.reply_mode = ReplyMode::Skip;
                false
            }
            ReplyMode::Skip => {
                self.reply_mode = ReplyMode::On;
                false
            }
        }
    }
}
