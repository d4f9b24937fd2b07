//! Publish and subscribe.
//!
//! - `registry`: who has subscribed to what.
//! - `outbox`: what waits to be pushed to one connection.
//! - `fanout`: one message on its way to all who get it.
//! - `events`: keyspace events as messages.
//! - `subscriptions`: what one connection has subscribed to.
//! - `turns`: when connections write what is pushed to them.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Arg, Args, Arity, Channels, CommandResult, CommandSpec, Flags, Group, KeySpec, Run,
    ServerState, Session, SessionHandler, help,
};
use crate::protocol::Reply;

mod events;
mod fanout;
mod outbox;
mod registry;
mod subscriptions;
mod turns;

pub use events::event_messages;
pub use fanout::Fanout;
pub(super) use fanout::{push, push_at};
pub(crate) use outbox::{Outbox, Place as PlaceAmongReplies, Portion};
pub use registry::PubSub;
pub(crate) use registry::{
    AT_ONCE_MAX as FANOUT_AT_ONCE_MAX, STEP as FANOUT_STEP, TURN as FANOUT_TURN,
};
pub use subscriptions::Pushes;

/// What can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A channel.
    Channel,
    /// All channels that match a pattern.
    Pattern,
    /// A channel of a slot of a cluster.
    Shard,
}

impl Kind {
    /// The first words of what is pushed: a message, and the two confirmations.
    const fn words(self) -> [&'static str; 3] {
        match self {
            Self::Channel => ["message", "subscribe", "unsubscribe"],
            Self::Pattern => ["pmessage", "psubscribe", "punsubscribe"],
            Self::Shard => ["smessage", "ssubscribe", "sunsubscribe"],
        }
    }

    const fn message(self) -> &'static str {
        self.words()[0]
    }
}

/// A message for the subscribers of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The channel.
    pub channel: Bytes,
    /// What is told.
    pub payload: Bytes,
    /// Whether it is for shard channels.
    pub is_shard: bool,
}

impl Message {
    const fn kind(&self) -> Kind {
        if self.is_shard { Kind::Shard } else { Kind::Channel }
    }
}

const USUAL: Flags = Flags::PUBSUB.or(Flags::LOADING).or(Flags::STALE);
const SUBSCRIBER: Flags = USUAL.or(Flags::NOSCRIPT).or(Flags::SUBSCRIBER).or(Flags::PUSHES);
const PUBLISHER: Flags = USUAL.or(Flags::FAST).or(Flags::MAY_REPLICATE);

const fn command(name: &'static str, arity: Arity, run: SessionHandler) -> CommandSpec {
    CommandSpec::new(name, arity, Run::Session(run)).group(Group::PubSub).since("2.0.0")
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    command("subscribe", Arity::AtLeast(2), |s, state, args| {
        Ok(subscribe(s, state, args, Kind::Channel))
    })
    .complexity("O(N) with N channels")
    .summary("Listens to channels.")
    .flags(SUBSCRIBER.or(Flags::SENTINEL))
    .channels(Channels::All)
    .args(&[Arg::string("channel").multiple()]),
    command("unsubscribe", Arity::AtLeast(1), |s, _, args| Ok(unsubscribe(s, args, Kind::Channel)))
        .complexity("O(N) with N channels")
        .summary("Stops listening to channels.")
        .flags(SUBSCRIBER.or(Flags::SENTINEL))
        .args(&[Arg::string("channel").optional().multiple()]),
    command("psubscribe", Arity::AtLeast(2), |s, state, args| {
        Ok(subscribe(s, state, args, Kind::Pattern))
    })
    .complexity("O(N) with N patterns")
    .summary("Listens to all channels that match one of the patterns.")
    .flags(SUBSCRIBER.or(Flags::SENTINEL))
    .channels(Channels::Patterns)
    .args(&[Arg::pattern("pattern").multiple()]),
    command("punsubscribe", Arity::AtLeast(1), |s, _, args| {
        Ok(unsubscribe(s, args, Kind::Pattern))
    })
    .complexity("O(N) with N patterns")
    .summary("Stops listening to patterns.")
    .flags(SUBSCRIBER.or(Flags::SENTINEL))
    .args(&[Arg::pattern("pattern").optional().multiple()]),
    command("ssubscribe", Arity::AtLeast(2), |s, state, args| {
        Ok(subscribe(s, state, args, Kind::Shard))
    })
    .since("7.0.0")
    .complexity("O(N) with N channels")
    .summary("Listens to shard channels.")
    .flags(SUBSCRIBER)
    .keys(&[KeySpec::range(1, -1, 1).not_key()])
    .channels(Channels::All)
    .args(&[Arg::string("shardchannel").multiple()]),
    command("sunsubscribe", Arity::AtLeast(1), |s, _, args| Ok(unsubscribe(s, args, Kind::Shard)))
        .since("7.0.0")
        .complexity("O(N) with N channels")
        .summary("Stops listening to shard channels.")
        .flags(SUBSCRIBER)
        .keys(&[KeySpec::range(1, -1, 1).not_key()])
        .args(&[Arg::string("shardchannel").optional().multiple()]),
    command("publish", Arity::Exactly(3), |s, state, args| publish(s, state, args, false))
        .complexity("O(N + M) with N subscribers of the channel and M patterns")
        .summary("Sends a message to all who listen to a channel.")
        .flags(PUBLISHER.or(Flags::SENTINEL))
        .channels(Channels::First)
        .args(&[Arg::string("channel"), Arg::string("message")]),
    command("spublish", Arity::Exactly(3), |s, state, args| publish(s, state, args, true))
        .since("7.0.0")
        .complexity("O(N) with N subscribers of the channel")
        .summary("Sends a message to all who listen to a shard channel.")
        .flags(PUBLISHER)
        .keys(&[KeySpec::one(1).not_key()])
        .channels(Channels::First)
        .args(&[Arg::string("shardchannel"), Arg::string("message")]),
    CommandSpec::container("pubsub", SUBCOMMANDS)
        .group(Group::PubSub)
        .since("2.8.0")
        .summary("Commands about channels and who listens to them."),
];

const SUBCOMMANDS: &[CommandSpec] = &[
    command("channels", Arity::AtLeast(2), |_, state, args| names(state, args, Kind::Channel))
        .since("2.8.0")
        .complexity("O(N) with N channels")
        .summary("Answers the channels that somebody listens to.")
        .flags(USUAL)
        .args(&[Arg::pattern("pattern").optional()]),
    help::subcommand(Group::PubSub, "6.2.0"),
    command("numpat", Arity::Exactly(2), numpat)
        .since("2.8.0")
        .summary("Answers how many different patterns somebody listens to.")
        .flags(USUAL),
    command("numsub", Arity::AtLeast(2), |_, state, args| numsub(state, args, Kind::Channel))
        .since("2.8.0")
        .complexity("O(N) with N channels")
        .summary("Answers how many listen to each of the channels.")
        .flags(USUAL)
        .args(&[Arg::string("channel").optional().multiple()]),
    command("shardchannels", Arity::AtLeast(2), |_, state, args| names(state, args, Kind::Shard))
        .since("7.0.0")
        .complexity("O(N) with N shard channels")
        .summary("Answers the shard channels that somebody listens to.")
        .flags(USUAL)
        .args(&[Arg::pattern("pattern").optional()]),
    command("shardnumsub", Arity::AtLeast(2), |_, state, args| numsub(state, args, Kind::Shard))
        .since("7.0.0")
        .complexity("O(N) with N shard channels")
        .summary("Answers how many listen to each of the shard channels.")
        .flags(USUAL)
        .args(&[Arg::string("shardchannel").optional().multiple()]),
];

/// Subscribes, with one confirmation for each name.
fn subscribe(session: &mut Session, state: &ServerState, args: &mut Args<'_>, kind: Kind) -> Reply {
    let pushes = session.pushes(state);
    let confirm = |name: &Bytes| {
        pushes.subscribe(kind, name);
        confirmation(kind.words()[1], Reply::Bulk(name.clone()), pushes.count(kind))
    };
    let confirmed = Reply::Pushes(args.rest().iter().map(confirm).collect());
    session.check_subscriptions(state);
    confirmed
}

/// Ends the subscriptions that are named, or all of the kind; one confirmation for each, and one
/// where there is none.
fn unsubscribe(session: &mut Session, args: &mut Args<'_>, kind: Kind) -> Reply {
    let word = kind.words()[2];
    let mut names = args.rest().to_vec();
    let Some(pushes) = session.pushes.as_deref_mut() else {
        let none = |name| confirmation(word, name, 0);
        return Reply::Pushes(match &names[..] {
            [] => vec![none(Reply::Null)],
            names => names.iter().map(|name| none(Reply::Bulk(name.clone()))).collect(),
        });
    };
    if names.is_empty() {
        names = pushes.names(kind);
    }
    if names.is_empty() {
        return Reply::Pushes(vec![confirmation(word, Reply::Null, pushes.count(kind))]);
    }
    let confirm = |name: &Bytes| {
        pushes.unsubscribe(kind, name);
        confirmation(word, Reply::Bulk(name.clone()), pushes.count(kind))
    };
    Reply::Pushes(names.iter().map(confirm).collect())
}

fn confirmation(word: &'static str, name: Reply, count: usize) -> Vec<Reply> {
    vec![word.into(), name, Reply::count(count)]
}

fn publish(
    session: &mut Session,
    state: &ServerState,
    args: &mut Args<'_>,
    is_shard: bool,
) -> CommandResult {
    let (channel, payload) = (args.next_bytes()?.clone(), args.next_bytes()?.clone());
    let message = Message { channel, payload, is_shard };
    if let Some(held) = &mut session.held_messages {
        let receivers = state.pubsub.receivers(&message);
        held.push(message);
        return Ok(Reply::count(receivers));
    }
    let (receivers, rest) = state.pubsub.publish(state, message);
    session.fanout = rest.map(Box::new);
    session.put_down += receivers;
    Ok(Reply::count(receivers))
}

fn names(state: &ServerState, args: &mut Args<'_>, kind: Kind) -> CommandResult {
    let words = args.all();
    match args.rest() {
        [] => Ok(Reply::array(state.pubsub.names(kind, None))),
        [pattern] => Ok(Reply::array(state.pubsub.names(kind, Some(pattern)))),
        _ => Err(super::Error::subcommand_syntax(words)),
    }
}

fn numsub(state: &ServerState, args: &mut Args<'_>, kind: Kind) -> CommandResult {
    let count = |name: &Bytes| {
        [Reply::Bulk(name.clone()), Reply::count(state.pubsub.subscribers_of(kind, name))]
    };
    Ok(Reply::Array(args.rest().iter().flat_map(count).collect()))
}

fn numpat(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    Ok(Reply::count(state.pubsub.count(Kind::Pattern)))
}

impl Session {
    /// What is pushed to this connection; made where it is asked for first.
    pub(super) fn pushes(&mut self, state: &ServerState) -> &mut Pushes {
        let client = &self.client;
        self.pushes.get_or_insert_with(|| Box::new(Pushes::new(client, state)))
    }

    /// Whether it has subscribed to anything.
    #[must_use]
    pub fn is_subscriber(&self) -> bool {
        self.pushes.as_ref().is_some_and(|pushes| pushes.has_any())
    }

    /// Takes over the outbox that others have made for it, where they have.
    pub(crate) fn adopt_outbox(&mut self, state: &ServerState) {
        if self.pushes.is_none() && self.client.has(super::ClientFlag::PUSHED_TO) {
            self.pushes(state);
        }
    }

    /// The way on which it is pushed to, if there is one.
    #[must_use]
    pub(crate) fn outbox(&self) -> Option<Arc<Outbox>> {
        self.pushes.as_ref().map(|pushes| Arc::clone(&pushes.outbox))
    }
}

#[cfg(test)]
mod tests;
