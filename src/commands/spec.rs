//! What is known of a command. One entry per command, beside its handler; everything else
//! (dispatch, arity, `COMMAND`, ACL categories, statistics, key warming) is derived from it.
//!
//! Specs are built by `const fn`s, so that a family's table is one constant beside its handlers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::acl::Category;
use super::{
    Arg, Args, Attempt, CommandResult, Error, KeyFlags, KeySpec, Prepare, Program, ServerState,
    Session,
};
use crate::data::{Edit, View};

/// The future of an admin command.
pub type ServerFuture<'a> = Pin<Box<dyn Future<Output = CommandResult> + Send + 'a>>;

/// The handler of a command about a connection or the server.
pub type SessionHandler = fn(&mut Session, &ServerState, &mut Args<'_>) -> CommandResult;

/// The handler of an asynchronous command; it gets all words of the call.
pub type ServerHandler =
    for<'a> fn(&'a mut Session, &'a Arc<ServerState>, &'a [bytes::Bytes]) -> ServerFuture<'a>;

/// Makes the program of a command that runs several calls as one; it gets all words of the call.
pub type ProgramHandler =
    fn(&mut Session, &Arc<ServerState>, &[bytes::Bytes]) -> Result<Box<dyn Program>, Error>;

/// The handler of a command that may wait for keys.
pub type BlockingHandler = fn(&mut Edit<'_>, &mut Args<'_>) -> Result<Attempt, Error>;

/// The read of a command that may wait for keys; [`Error::NothingYet`] where it would.
pub type ReadHandler = fn(&View<'_>, &mut Args<'_>) -> CommandResult;

/// Where a key stands in a call, all words of which it gets; `None` where the call has none.
pub type KeyPlace = fn(&[bytes::Bytes]) -> Option<usize>;

/// Which option of a call leads to keys that it does not name, where one does; all words are given.
pub type FollowedKeys = fn(&[bytes::Bytes]) -> Option<&'static str>;

/// Which words of a call are channels that it sends to or listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// The first behind the name.
    First,
    /// All behind the name.
    All,
    /// All behind the name, each a pattern of channels.
    Patterns,
}

/// Which words of a call are secret; the call with all its words is given.
pub type SecretWords = fn(&[bytes::Bytes]) -> std::ops::Range<usize>;

/// What a handler may touch, so that the type system keeps the promise.
#[derive(Clone, Copy)]
pub enum Run {
    /// This connection's own state; may read the server's.
    Session(SessionHandler),
    /// A consistent view. Runs resident first, on the blocking pool if it would wait; must
    /// therefore be a plain function of its inputs.
    Read(fn(&View<'_>, &mut Args<'_>) -> CommandResult),
    /// A transaction on the writer. May be run again after `WouldBlock`, with all changes undone.
    Write(fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult),
    /// A transaction on the writer that may have nothing to do yet: then the call waits there, and is
    /// run again when it may have. As [`Self::Write`] otherwise.
    Blocking(BlockingHandler),
    /// A read first, as [`Self::Read`]; where that finds nothing yet, the second handler, as
    /// [`Self::Blocking`].
    ReadOrBlock(ReadHandler, BlockingHandler),
    /// Administration: asynchronous, sees the whole server.
    Server(ServerHandler),
    /// Several calls as one: the handler makes the [`Program`], which runs them in one transaction on
    /// the writer, or over one view where it only reads.
    Program(ProgramHandler),
    /// Has subcommands only; alone it is an error.
    Container,
}

impl Run {
    /// Whether a program may make such a call: all that is done at once, and no program itself.
    #[must_use]
    pub fn fits_programs(&self) -> bool {
        !matches!(self, Self::Server(_) | Self::Program(_) | Self::Container)
    }
}

/// How many words a call has, the name included (for a subcommand both names).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arity {
    /// Exactly so many.
    Exactly(u8),
    /// So many or more.
    AtLeast(u8),
}

impl Arity {
    /// Whether a call of so many words is complete.
    #[must_use]
    pub const fn accepts(self, words: usize) -> bool {
        match self {
            Self::Exactly(count) => words == count as usize,
            Self::AtLeast(count) => words >= count as usize,
        }
    }

    /// As in `COMMAND INFO`: negative where it is a minimum.
    #[must_use]
    pub const fn signed(self) -> i64 {
        match self {
            Self::Exactly(count) => count as i64,
            Self::AtLeast(count) => -(count as i64),
        }
    }
}

/// Group of commands as in `COMMAND DOCS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Strings.
    String,
    /// Hashes.
    Hash,
    /// Sets.
    Set,
    /// Lists.
    List,
    /// Sorted sets.
    SortedSet,
    /// Sorted sets of places on earth.
    Geo,
    /// Keys of any type.
    Generic,
    /// Strings as arrays of bits.
    Bitmap,
    /// Estimates of how many different elements there are.
    HyperLogLog,
    /// Streams.
    Stream,
    /// Several calls as one.
    Transactions,
    /// Scripts and functions.
    Scripting,
    /// Publish and subscribe.
    PubSub,
    /// Cluster mode.
    Cluster,
    /// The connection.
    Connection,
    /// The server.
    Server,
}

impl Group {
    /// The word in `COMMAND DOCS`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::List => "list",
            Self::SortedSet => "sorted-set",
            Self::Geo => "geo",
            Self::Generic => "generic",
            Self::Bitmap => "bitmap",
            Self::HyperLogLog => "hyperloglog",
            Self::Stream => "stream",
            Self::Transactions => "transactions",
            Self::Scripting => "scripting",
            Self::PubSub => "pubsub",
            Self::Cluster => "cluster",
            Self::Connection => "connection",
            Self::Server => "server",
        }
    }
}

/// Flags of a command. A table entry names those that cannot be derived; `WRITE`, `READONLY` and
/// `MOVABLE_KEYS` are added by [`super::table`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u32);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Changes data. Derived from [`Run::Write`] and [`Run::Blocking`], unless the entry says [`Self::READONLY`].
    pub const WRITE: Self = Self(1);
    /// Reads keys. Derived from [`Run::Read`]; in an entry with [`Run::Write`]: what it writes is
    /// only what it has found out of the data.
    pub const READONLY: Self = Self(1 << 1);
    /// May grow the data set; refused when space has run out.
    pub const DENYOOM: Self = Self(1 << 2);
    /// Administration.
    pub const ADMIN: Self = Self(1 << 3);
    /// Part of publish and subscribe.
    pub const PUBSUB: Self = Self(1 << 4);
    /// Not in scripts.
    pub const NOSCRIPT: Self = Self(1 << 5);
    /// May wait.
    pub const BLOCKING: Self = Self(1 << 6);
    /// Allowed while loading.
    pub const LOADING: Self = Self(1 << 7);
    /// Allowed on a stale replica.
    pub const STALE: Self = Self(1 << 8);
    /// Not shown to `MONITOR`.
    pub const SKIP_MONITOR: Self = Self(1 << 9);
    /// Not in the slow log.
    pub const SKIP_SLOWLOG: Self = Self(1 << 10);
    /// Constant or logarithmic time.
    pub const FAST: Self = Self(1 << 11);
    /// Allowed before authentication.
    pub const NO_AUTH: Self = Self(1 << 12);
    /// Counts as a write for `CLIENT PAUSE WRITE` though it is none. Not shown by `COMMAND INFO`, as in
    /// Redis.
    pub const MAY_REPLICATE: Self = Self(1 << 13);
    /// Refused while an asynchronous load runs.
    pub const NO_ASYNC_LOADING: Self = Self(1 << 14);
    /// Not inside `MULTI`.
    pub const NO_MULTI: Self = Self(1 << 15);
    /// Where the keys stand cannot be told by first, last and step. Derived from the key specs.
    pub const MOVABLE_KEYS: Self = Self(1 << 16);
    /// Allowed while a script blocks the server.
    pub const ALLOW_BUSY: Self = Self(1 << 17);
    /// Off unless a setting allows it.
    pub const PROTECTED: Self = Self(1 << 18);
    /// A call may name no key though the command has key specs.
    pub const NO_MANDATORY_KEYS: Self = Self(1 << 19);
    /// Touches keys that the call does not name. Not shown by `COMMAND INFO`, as in Redis.
    pub const TOUCHES_ARBITRARY_KEYS: Self = Self(1 << 20);
    /// Known to Sentinel. Not shown by `COMMAND INFO`, as in Redis.
    pub const SENTINEL: Self = Self(1 << 21);
    /// Runs at once inside `MULTI`. Ours; not shown.
    pub const NOT_QUEUED: Self = Self(1 << 23);
    /// Walks much of the store: goes to the blocking pool at once. Ours; not shown.
    pub const HEAVY: Self = Self(1 << 22);
    /// Allowed to a connection that has subscribed and speaks RESP2. Ours; not shown.
    pub const SUBSCRIBER: Self = Self(1 << 24);
    /// Changes what is pushed to the connection: of the calls of a program the connection makes it, not
    /// the writer. Ours; not shown.
    pub const PUSHES: Self = Self(1 << 25);

    /// Has nothing to do with data, nor with what the connection has sent to the writer: need not wait
    /// for that. Ours; not shown.
    pub const JOINS: Self = Self(1 << 27);
    /// Only deletes, in the records of each key as a whole: goes on where little space is free on the
    /// disk. Ours; not shown.
    pub const FREES: Self = Self(1 << 28);
    /// Stores what it walks over: a run that warms ends where the writer would come no further, since the
    /// call takes long. Ours; not shown.
    pub const STORES: Self = Self(1 << 29);
    /// For a slot that is being imported, in a cluster; means nothing alone.
    pub const ASKING: Self = Self(1 << 26);

    /// Flags that `COMMAND INFO` shows, with their words, in its order.
    pub const SHOWN: &'static [(Self, &'static str)] = &[
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::DENYOOM, "denyoom"),
        (Self::ADMIN, "admin"),
        (Self::PUBSUB, "pubsub"),
        (Self::NOSCRIPT, "noscript"),
        (Self::BLOCKING, "blocking"),
        (Self::LOADING, "loading"),
        (Self::STALE, "stale"),
        (Self::SKIP_MONITOR, "skip_monitor"),
        (Self::SKIP_SLOWLOG, "skip_slowlog"),
        (Self::ASKING, "asking"),
        (Self::FAST, "fast"),
        (Self::NO_AUTH, "no_auth"),
        (Self::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Self::NO_ASYNC_LOADING, "no_async_loading"),
        (Self::NO_MULTI, "no_multi"),
        (Self::MOVABLE_KEYS, "movablekeys"),
        (Self::ALLOW_BUSY, "allow_busy"),
    ];

    /// Both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Everything that is known of one command or subcommand.
#[derive(Debug, Clone, Copy)]
pub struct CommandSpec {
    /// Lower case; a subcommand's own word only.
    pub name: &'static str,
    /// Words of a call.
    pub arity: Arity,
    /// The handler.
    pub run: Run,
    /// Group in the documentation.
    pub group: Group,
    /// Since which Redis version.
    pub since: &'static str,
    /// Since which version of ours.
    pub since_here: &'static str,
    /// Big-O.
    pub complexity: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Deprecated since this Redis version, and what to use instead.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Redis version and what changed with it, oldest first.
    pub history: &'static [(&'static str, &'static str)],
    /// Tips for clients and proxies, as in `COMMAND INFO`.
    pub tips: &'static [&'static str],
    /// How our behaviour differs from Redis 7.4; empty where it does not.
    pub differs: &'static str,
    /// Flags that cannot be derived.
    pub flags: Flags,
    /// ACL categories that cannot be derived from group and flags.
    pub acl: &'static [Category],
    /// Where its keys stand.
    pub keys: &'static [KeySpec],
    /// What is done with the keys of a given call, where its first key spec is variable.
    pub key_flags: Option<fn(&[bytes::Bytes]) -> KeyFlags>,
    /// Where the key of the last key spec stands in a call, where that spec is unknown or may find
    /// another one.
    pub last_key: Option<KeyPlace>,
    /// Which option of a call leads to keys that it does not name.
    pub follows: Option<FollowedKeys>,
    /// Which of its words are channels that it sends to or listens to.
    pub channels: Option<Channels>,
    /// Which words of a call are secret, where some are: neither logged nor shown to others.
    pub secrets: Option<SecretWords>,
    /// What can be done for a write before its transaction, where that is much.
    pub prepare: Option<Prepare>,
    /// Its arguments.
    pub args: &'static [Arg],
    /// Its subcommands.
    pub subcommands: &'static [CommandSpec],
}

impl CommandSpec {
    /// An entry with name, arity and handler; the rest follows by the methods below.
    #[must_use]
    pub const fn new(name: &'static str, arity: Arity, run: Run) -> Self {
        Self {
            name,
            arity,
            run,
            group: Group::Generic,
            since: "1.0.0",
            since_here: "0.1.0",
            complexity: "O(1)",
            summary: "",
            deprecated: None,
            history: &[],
            tips: &[],
            differs: "",
            flags: Flags::NONE,
            acl: &[],
            keys: &[],
            key_flags: None,
            last_key: None,
            follows: None,
            channels: None,
            secrets: None,
            prepare: None,
            args: &[],
            subcommands: &[],
        }
    }

    /// A command that has subcommands only.
    #[must_use]
    pub const fn container(name: &'static str, subcommands: &'static [CommandSpec]) -> Self {
        Self::new(name, Arity::AtLeast(2), Run::Container)
            .complexity("Depends on the subcommand.")
            .subcommands(subcommands)
    }

    /// A command about a connection or the server.
    #[must_use]
    pub const fn session(name: &'static str, arity: Arity, run: SessionHandler) -> Self {
        Self::new(name, arity, Run::Session(run))
    }

    /// Group in the documentation (default: generic).
    #[must_use]
    pub const fn group(mut self, group: Group) -> Self {
        self.group = group;
        self
    }

    /// Since which Redis version (default: 1.0.0).
    #[must_use]
    pub const fn since(mut self, version: &'static str) -> Self {
        self.since = version;
        self
    }

    /// Since which version of ours (default: 0.1.0).
    #[must_use]
    pub const fn since_here(mut self, version: &'static str) -> Self {
        self.since_here = version;
        self
    }

    /// Big-O (default: O(1)).
    #[must_use]
    pub const fn complexity(mut self, text: &'static str) -> Self {
        self.complexity = text;
        self
    }

    /// With what can be done before its transaction.
    #[must_use]
    pub const fn prepare(mut self, prepare: Prepare) -> Self {
        self.prepare = Some(prepare);
        self
    }

    /// One sentence.
    #[must_use]
    pub const fn summary(mut self, text: &'static str) -> Self {
        self.summary = text;
        self
    }

    /// Deprecated since this Redis version; what to use instead.
    #[must_use]
    pub const fn deprecated(mut self, since: &'static str, instead: &'static str) -> Self {
        self.deprecated = Some((since, instead));
        self
    }

    /// Redis version and what changed with it, oldest first.
    #[must_use]
    pub const fn history(mut self, history: &'static [(&'static str, &'static str)]) -> Self {
        self.history = history;
        self
    }

    /// Tips for clients and proxies.
    #[must_use]
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    /// How our behaviour differs from Redis 7.4; goes to `docs/compatibility.md`.
    #[must_use]
    pub const fn differs(mut self, text: &'static str) -> Self {
        self.differs = text;
        self
    }

    /// Flags that cannot be derived; adds to those given before.
    #[must_use]
    pub const fn flags(mut self, flags: Flags) -> Self {
        self.flags = self.flags.or(flags);
        self
    }

    /// ACL categories that cannot be derived from group and flags.
    #[must_use]
    pub const fn acl(mut self, categories: &'static [Category]) -> Self {
        self.acl = categories;
        self
    }

    /// Where its keys stand.
    #[must_use]
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }

    /// What is done with the keys of a given call, for a variable key spec.
    #[must_use]
    pub const fn key_flags(mut self, flags: fn(&[bytes::Bytes]) -> KeyFlags) -> Self {
        self.key_flags = Some(flags);
        self
    }

    /// Where the key of the last key spec stands in a call, which the spec does not tell.
    #[must_use]
    pub const fn last_key(mut self, place: KeyPlace) -> Self {
        self.last_key = Some(place);
        self
    }

    /// Which option of a call leads to keys that it does not name.
    #[must_use]
    pub const fn follows(mut self, option: FollowedKeys) -> Self {
        self.follows = Some(option);
        self
    }

    /// Which words of a call are channels that it sends to or listens to.
    #[must_use]
    pub const fn channels(mut self, channels: Channels) -> Self {
        self.channels = Some(channels);
        self
    }

    /// Which words of a call are neither logged nor shown to others.
    #[must_use]
    pub const fn secrets(mut self, words: SecretWords) -> Self {
        self.secrets = Some(words);
        self
    }

    /// Its arguments.
    #[must_use]
    pub const fn args(mut self, args: &'static [Arg]) -> Self {
        self.args = args;
        self
    }

    /// Its subcommands.
    #[must_use]
    pub const fn subcommands(mut self, subcommands: &'static [CommandSpec]) -> Self {
        self.subcommands = subcommands;
        self
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Session(_) => "Session",
            Self::Read(_) => "Read",
            Self::Write(_) => "Write",
            Self::Blocking(_) => "Blocking",
            Self::ReadOrBlock(..) => "ReadOrBlock",
            Self::Server(_) => "Server",
            Self::Program(_) => "Program",
            Self::Container => "Container",
        })
    }
}
