//! Commands about the connection: `PING`, `ECHO`, `AUTH`, `HELLO`, `SELECT`, `RESET`, `QUIT`.

use bytes::Bytes;

use super::acl::{Context, Denial};
use super::client::{CALLABLE_ANYTIME, check_name};
use super::{
    Arg, Args, Arity, ClientFlag, CommandResult, CommandSpec, Error, Flags, Group, ReplyMode, Run,
    ServerState, Session,
};
use crate::protocol::{Reply, Version};

/// The version of Redis whose behaviour we follow.
pub(super) const REDIS_VERSION: &str = "7.4.0";

/// Allowed before a password was given, whatever else the server does.
const BEFORE_AUTH: Flags =
    CALLABLE_ANYTIME.or(Flags::FAST).or(Flags::NO_AUTH).or(Flags::ALLOW_BUSY);

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("ping", Arity::AtLeast(1), Run::Session(ping))
        .group(Group::Connection)
        .summary("Answers PONG, or the message that it was given.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .flags(Flags::FAST.or(Flags::SENTINEL).or(Flags::SUBSCRIBER))
        .args(&[Arg::string("message").optional()]),
    CommandSpec::new("echo", Arity::Exactly(2), Run::Session(echo))
        .group(Group::Connection)
        .summary("Answers the message that it was given.")
        .flags(Flags::FAST.or(Flags::LOADING).or(Flags::STALE))
        .args(&[Arg::string("message")]),
    CommandSpec::new("quit", Arity::AtLeast(1), Run::Session(quit))
        .group(Group::Connection)
        .deprecated("7.2.0", "just closing the connection")
        .summary("Closes the connection.")
        .flags(BEFORE_AUTH.or(Flags::NOT_QUEUED).or(Flags::SUBSCRIBER)),
    CommandSpec::new("reset", Arity::Exactly(1), Run::Session(reset))
        .group(Group::Connection)
        .since("6.2.0")
        .summary("Brings the connection back to the state of a new one.")
        .flags(BEFORE_AUTH.or(Flags::NOT_QUEUED).or(Flags::SUBSCRIBER)),
    CommandSpec::new("select", Arity::Exactly(2), Run::Session(select))
        .group(Group::Connection)
        .summary("Selects the database of the connection.")
        .flags(Flags::FAST.or(Flags::LOADING).or(Flags::STALE))
        .args(&[Arg::integer("index")]),
    CommandSpec::new("auth", Arity::AtLeast(2), Run::Session(auth))
        .group(Group::Connection)
        .complexity("O(1)")
        .summary("Gives the password of the connection.")
        .history(&[("6.0.0", "A user may be named before the password.")])
        .flags(BEFORE_AUTH.or(Flags::SENTINEL))
        .secrets(|words| 1..words.len())
        .args(&[Arg::string("username").optional().since("6.0.0"), Arg::string("password")]),
    CommandSpec::new("hello", Arity::AtLeast(1), Run::Session(hello))
        .group(Group::Connection)
        .since("6.0.0")
        .summary(
            "Chooses the protocol version, gives a password and a name, tells about the server.",
        )
        .history(&[("6.2.0", "Without a version it only tells.")])
        .flags(BEFORE_AUTH.or(Flags::SENTINEL))
        .secrets(hello_secrets)
        .args(&[Arg::block(
            "arguments",
            &[
                Arg::integer("protover"),
                Arg::block("auth", &[Arg::string("username"), Arg::string("password")])
                    .with_token("AUTH")
                    .optional(),
                Arg::string("clientname").with_token("SETNAME").optional(),
            ],
        )
        .optional()]),
];

/// Where a connection that has subscribed speaks RESP2 the answer has the form of a message.
fn ping(session: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let as_message = session.is_subscriber() && session.version == Version::Resp2;
    match args.rest() {
        [] if as_message => Ok(Reply::array(["pong", ""])),
        [message] if as_message => {
            Ok(Reply::Array(vec!["pong".into(), Reply::Bulk(message.clone())]))
        }
        [] => Ok(Reply::Simple("PONG".into())),
        [message] => Ok(Reply::Bulk(message.clone())),
        _ => Err(Error::WrongArity("ping")),
    }
}

fn echo(_: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    Ok(Reply::Bulk(args.next_bytes()?.clone()))
}

fn quit(session: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    session.close();
    Ok(Reply::OK)
}

fn reset(session: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    session.discard();
    session.select(0);
    session.speak(Version::Resp2);
    session.become_default(&state.users);
    session.reply_mode = ReplyMode::On;
    session.no_touch = false;
    session.wants_debugger = false;
    session.stop_tracking(state);
    if let Some(pushes) = session.pushes.as_deref_mut() {
        pushes.leave();
    }
    session.client.set(ClientFlag::NO_TOUCH, false);
    session.client.set(ClientFlag::NO_EVICT, false);
    session.client.edit_names(|names| names.name = Box::default());
    Ok(Reply::Simple("RESET".into()))
}

fn select(session: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let index = args.next_int_32()?;
    match u16::try_from(index) {
        Ok(db) if db < state.config.load().databases => {
            session.select(db);
            Ok(Reply::OK)
        }
        _ => Err(Error::DbOutOfRange),
    }
}

fn auth(session: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let words = args.all();
    match args.rest() {
        [password] => {
            if state.users.default_user().needs_no_password() {
                return Err(Error::Text(
                    "ERR AUTH <password> called without any password configured for the default \
                     user. Are you sure your configuration is correct?"
                        .to_owned(),
                ));
            }
            authenticate(session, state, words, b"default", password)?;
        }
        [user, password] => authenticate(session, state, words, user, password)?,
        _ => return Err(Error::Syntax),
    }
    Ok(Reply::OK)
}

/// Checks a password; the connection is that user where it is right. `words` is the call.
fn authenticate(
    session: &mut Session,
    state: &ServerState,
    words: &[Bytes],
    user: &[u8],
    password: &[u8],
) -> Result<(), Error> {
    let version = state.users.version();
    let found = state.users.get(user).filter(|user| user.accepts(password));
    if let Some(user) = found {
        session.become_user(user, version);
        return Ok(());
    }
    let command = words.first().map(|word| &word[..]).unwrap_or_default();
    if session.held_messages.is_some() {
        session.held_denials.push(Denial::of_password(Context::Multi, user, command));
    } else {
        let denial = Denial::of_password(Context::Toplevel, user, command);
        state.note_denial(&session.client, &denial, 1);
    }
    Err(Error::Text("WRONGPASS invalid username-password pair or user is disabled.".to_owned()))
}

fn hello(session: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let options = HelloOptions::parse(args)?;
    if let Some((user, password)) = options.auth {
        authenticate(session, state, args.all(), user, password)?;
    }
    if !session.authenticated {
        return Err(Error::Text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time"
                .to_owned(),
        ));
    }
    if let Some(name) = options.name {
        session.client.edit_names(|names| names.name = Box::from(&name[..]));
    }
    if let Some(version) = options.version {
        session.speak(version);
    }
    Ok(about(session))
}

/// User and password behind `AUTH`.
fn hello_secrets(words: &[Bytes]) -> std::ops::Range<usize> {
    let auth = words.iter().skip(2).position(|word| word.eq_ignore_ascii_case(b"AUTH"));
    auth.map_or(0..0, |at| at + 3..(at + 5).min(words.len()))
}

#[derive(Default)]
struct HelloOptions<'a> {
    version: Option<Version>,
    auth: Option<(&'a Bytes, &'a Bytes)>,
    name: Option<&'a Bytes>,
}

impl<'a> HelloOptions<'a> {
    fn parse(args: &mut Args<'a>) -> Result<Self, Error> {
        let mut options = Self::default();
        let Some(version) = args.peek() else { return Ok(options) };
        options.version = Some(match crate::data::parse_int(version) {
            Some(2) => Version::Resp2,
            Some(3) => Version::Resp3,
            Some(_) => return Err(Error::Text("NOPROTO unsupported protocol version".to_owned())),
            None => {
                return Err(Error::Text(
                    "ERR Protocol version is not an integer or out of range".to_owned(),
                ));
            }
        });
        args.next_bytes()?;
        while let Some(option) = args.peek() {
            if args.len() >= 3 && args.eat("AUTH") {
                options.auth = Some((args.next_bytes()?, args.next_bytes()?));
            } else if args.len() >= 2 && args.eat("SETNAME") {
                let name = args.next_bytes()?;
                check_name(name)?;
                options.name = Some(name);
            } else {
                return Err(Error::quoting("ERR Syntax error in HELLO option '{}'", &[option]));
            }
        }
        Ok(options)
    }
}

fn about(session: &Session) -> Reply {
    let proto = match session.version {
        Version::Resp2 => 2,
        Version::Resp3 => 3,
    };
    let id = i64::try_from(session.client.id).unwrap_or(i64::MAX);
    Reply::Map(vec![
        (Reply::bulk("server"), Reply::bulk("redis")),
        (Reply::bulk("version"), Reply::bulk(REDIS_VERSION)),
        (Reply::bulk("proto"), Reply::Integer(proto)),
        (Reply::bulk("id"), Reply::Integer(id)),
        (Reply::bulk("mode"), Reply::bulk("standalone")),
        (Reply::bulk("role"), Reply::bulk("master")),
        (Reply::bulk("modules"), Reply::Array(Vec::new())),
    ])
}

#[cfg(test)]
mod tests;
