//! `CLIENT`: what is known of connections, and what can be done to them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{
    Arg, Args, Arity, Client, ClientFlag, CommandResult, CommandSpec, Control, Error, Flags, Group,
    Kind, PauseKind, ReplyMode, Run, ServerFuture, ServerState, Session, SessionHandler, Unblock,
    help, table,
};
use crate::protocol::Reply;

mod filter;
mod tracking;
use filter::Filter;

/// Not for scripts, but allowed whatever state the data is in.
pub(super) const CALLABLE_ANYTIME: Flags = Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE);
const USUAL: Flags = CALLABLE_ANYTIME.or(Flags::SENTINEL);
const ADMIN: Flags = USUAL.or(Flags::ADMIN);

const ON_OFF: &[Arg] =
    &[Arg::one_of("enabled", &[Arg::token("on", "ON"), Arg::token("off", "OFF")])];

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[CommandSpec::container("client", SUBCOMMANDS)
    .group(Group::Connection)
    .since("2.4.0")
    .summary("Commands about connections.")
    .flags(Flags::SENTINEL)];

const fn sub(name: &'static str, arity: Arity, run: SessionHandler) -> CommandSpec {
    CommandSpec::session(name, arity, run).group(Group::Connection)
}

const SUBCOMMANDS: &[CommandSpec] = &[
    sub("caching", Arity::Exactly(3), tracking::caching)
        .since("6.0.0")
        .summary("Says whether the next call is tracked, in mode OPTIN or OPTOUT.")
        .flags(USUAL)
        .args(tracking::CACHING_ARGS),
    sub("getredir", Arity::Exactly(2), tracking::getredir)
        .since("6.0.0")
        .summary("Answers to which connection invalidations go.")
        .flags(USUAL),
    CommandSpec::new("tracking", Arity::AtLeast(3), Run::Server(tracking::tracking))
        .group(Group::Connection)
        .since("6.0.0")
        .complexity("O(1); with N prefixes, O(N)")
        .summary("Tells the connection of what it has read once that is modified.")
        .differs(
            "SWAPDB invalidates all keys. Who does not keep up with invalidations is dropped at \
             `client-output-buffer-limit pubsub`. Where a write of somebody else crosses a read, the \
             reader may be told of a value that it got in its newer form.",
        )
        .flags(USUAL.or(Flags::PUSHES))
        .args(tracking::TRACKING_ARGS),
    sub("trackinginfo", Arity::Exactly(2), tracking::trackinginfo)
        .since("6.2.0")
        .summary("Describes how this connection tracks.")
        .flags(USUAL),
    sub("getname", Arity::Exactly(2), getname)
        .since("2.6.9")
        .summary("Answers the name of this connection.")
        .flags(USUAL),
    help::subcommand(Group::Connection, "5.0.0").flags(Flags::SENTINEL),
    sub("id", Arity::Exactly(2), id)
        .since("5.0.0")
        .summary("Answers the id of this connection.")
        .flags(USUAL),
    sub("info", Arity::Exactly(2), info)
        .since("6.2.0")
        .summary("Describes this connection.")
        .tips(&["nondeterministic_output"])
        .flags(USUAL),
    sub("kill", Arity::AtLeast(3), kill)
        .since("2.4.0")
        .complexity("O(N) with N connections")
        .summary("Closes connections.")
        .history(&[
            ("2.8.12", "The form with filters."),
            ("2.8.12", "Filter ID."),
            ("3.2.0", "Type master."),
            ("5.0.0", "Type replica, another word for slave."),
            ("6.2.0", "Filter LADDR."),
            ("7.4.0", "Filter MAXAGE."),
        ])
        .flags(ADMIN)
        .args(filter::KILL_ARGS),
    sub("list", Arity::AtLeast(2), list)
        .since("2.4.0")
        .complexity("O(N) with N connections")
        .summary("Describes all connections, or some.")
        .history(&[
            ("2.8.12", "Field id."),
            ("5.0.0", "Filter TYPE."),
            ("6.0.0", "Field user."),
            ("6.2.0", "Fields argv-mem, tot-mem, laddr, redir; filter ID."),
            ("7.0.0", "Fields resp, multi-mem, rbs, rbp."),
            ("7.0.3", "Field ssub."),
            ("7.2.0", "Fields lib-name, lib-ver."),
            ("7.4.0", "Field watch."),
        ])
        .tips(&["nondeterministic_output"])
        .flags(ADMIN)
        .args(filter::LIST_ARGS),
    sub("no-evict", Arity::Exactly(3), no_evict)
        .since("7.0.0")
        .summary("Exempts this connection from being closed for its memory.")
        .flags(ADMIN)
        .args(ON_OFF),
    sub("no-touch", Arity::Exactly(3), no_touch)
        .since("7.2.0")
        .summary("Lets the reads of this connection leave access times as they are.")
        .flags(CALLABLE_ANYTIME)
        .args(ON_OFF),
    CommandSpec::new("pause", Arity::AtLeast(3), Run::Server(pause))
        .group(Group::Connection)
        .since("3.0.0")
        .summary("Lets commands of clients wait for some time.")
        .history(&[("6.2.0", "Mode WRITE.")])
        .flags(ADMIN)
        .args(&[
            Arg::integer("timeout"),
            Arg::one_of("mode", &[Arg::token("write", "WRITE"), Arg::token("all", "ALL")])
                .optional()
                .since("6.2.0"),
        ]),
    sub("reply", Arity::Exactly(3), reply)
        .since("3.2.0")
        .summary("Chooses whether this connection gets replies.")
        .flags(USUAL)
        .args(&[Arg::one_of(
            "action",
            &[Arg::token("on", "ON"), Arg::token("off", "OFF"), Arg::token("skip", "SKIP")],
        )]),
    sub("setinfo", Arity::Exactly(4), setinfo)
        .since("7.2.0")
        .summary("Names the client library and its version.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .flags(USUAL)
        .args(&[Arg::one_of(
            "attr",
            &[
                Arg::string("libname").with_token("lib-name"),
                Arg::string("libver").with_token("lib-ver"),
            ],
        )]),
    sub("setname", Arity::Exactly(3), setname)
        .since("2.6.9")
        .summary("Names this connection.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .flags(USUAL)
        .args(&[Arg::string("connection-name")]),
    sub("unblock", Arity::AtLeast(3), unblock)
        .since("5.0.0")
        .complexity("O(1)")
        .summary("Ends the blocking command of another connection.")
        .flags(ADMIN)
        .args(&[
            Arg::integer("client-id"),
            Arg::one_of(
                "unblock-type",
                &[Arg::token("timeout", "TIMEOUT"), Arg::token("error", "ERROR")],
            )
            .optional(),
        ]),
    sub("unpause", Arity::Exactly(2), unpause)
        .since("6.2.0")
        .complexity("O(N) with N waiting connections")
        .summary("Ends a pause.")
        .flags(ADMIN),
];

/// Names are printable ASCII without blanks, so that `CLIENT LIST` can be parsed.
pub(super) fn check_name(name: &[u8]) -> Result<(), Error> {
    check_word(name, "Client names")
}

fn check_word(word: &[u8], what: &str) -> Result<(), Error> {
    if word.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    Err(Error::Text(format!("ERR {what} cannot contain spaces, newlines or special characters.")))
}

fn getname(session: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    let name = session.client.names().name;
    Ok(if name.is_empty() { Reply::Null } else { Reply::Bulk(Bytes::from(name)) })
}

fn setname(session: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let name = args.next_bytes()?;
    check_name(name)?;
    session.client.edit_names(|names| names.name = Box::from(&name[..]));
    Ok(Reply::OK)
}

fn setinfo(session: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let attribute = args.next_bytes()?;
    let value = args.next_bytes()?;
    let is_name = attribute.eq_ignore_ascii_case(b"lib-name");
    if !is_name && !attribute.eq_ignore_ascii_case(b"lib-ver") {
        return Err(Error::quoting("ERR Unrecognized option '{}'", &[attribute]));
    }
    check_word(value, &String::from_utf8_lossy(attribute))?;
    session.client.edit_names(|names| {
        let field = if is_name { &mut names.lib_name } else { &mut names.lib_version };
        *field = Box::from(&value[..]);
    });
    Ok(Reply::OK)
}

fn id(session: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    Ok(Reply::Integer(i64::try_from(session.client.id).unwrap_or(i64::MAX)))
}

fn info(session: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    let mut text = Vec::new();
    describe(&mut text, &session.client, state.clock.unix_ms());
    Ok(Reply::Verbatim("txt", text.into()))
}

fn list(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let clients = filter::list(state, args)?;
    let now_ms = state.clock.unix_ms();
    let mut text = Vec::new();
    for client in clients {
        describe(&mut text, &client, now_ms);
    }
    Ok(Reply::Verbatim("txt", text.into()))
}

/// Writes the line of a client in the form of `CLIENT LIST`.
pub(super) fn describe(out: &mut Vec<u8>, client: &Client, now_ms: u64) {
    let names = client.names();
    let load = |number: &std::sync::atomic::AtomicUsize| number.load(Ordering::Relaxed);
    let (query, capacity) = (load(&client.query_bytes), load(&client.query_capacity));
    let (argv, output) = (load(&client.argv_bytes), client.waiting_bytes());
    let queued = load(&client.queued_bytes);
    let queues = client.has(ClientFlag::QUEUES);
    let calls = queues.then(|| load(&client.queued_calls).to_string());
    let subscriptions = |kind| load(client.subscriptions(kind));
    let total = client.held_bytes();
    let command = table::by_id(client.last_command.load(Ordering::Relaxed));
    let seconds_since = |ms: u64| now_ms.saturating_sub(ms) / 1000;
    out.extend_from_slice(
        format!(
            "id={} addr={} laddr={} fd={} name=",
            client.id, client.addr, client.laddr, client.fd
        )
        .as_bytes(),
    );
    out.extend_from_slice(&names.name);
    out.extend_from_slice(
        format!(
            " age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} watch={} qbuf={query} \
             qbuf-free={} argv-mem={argv} multi-mem={queued} rbs=0 rbp=0 obl=0 oll={} omem={output} \
             tot-mem={total} events={} cmd={} user=",
            seconds_since(client.created_ms),
            client.idle_ms(now_ms) / 1000,
            client.flag_letters(),
            client.db.load(Ordering::Relaxed),
            subscriptions(Kind::Channel),
            subscriptions(Kind::Pattern),
            subscriptions(Kind::Shard),
            calls.as_deref().unwrap_or("-1"),
            load(&client.watched_keys),
            capacity.saturating_sub(query),
            u8::from(output > 0),
            if output > 0 { "rw" } else { "r" },
            command.map_or("NULL", |command| command.full_name),
        )
        .as_bytes(),
    );
    out.extend_from_slice(&names.user);
    let (redirect, resp) = (client.shown_redirect(), client.resp.load(Ordering::Relaxed));
    out.extend_from_slice(format!(" redir={redirect} resp={resp} lib-name=").as_bytes());
    out.extend_from_slice(&names.lib_name);
    out.extend_from_slice(b" lib-ver=");
    out.extend_from_slice(&names.lib_version);
    out.push(b'\n');
}

fn kill(session: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    if let [address] = args.rest() {
        let found = state.clients.all().into_iter().find(|c| c.addr.as_bytes() == &address[..]);
        let client = found.ok_or_else(|| Error::Text("ERR No such client".to_owned()))?;
        kill_one(session, &client);
        return Ok(Reply::OK);
    }
    let filter = Filter::parse(state, args)?;
    let now_ms = state.clock.unix_ms();
    let mut killed = 0;
    for client in state.clients.all() {
        if filter.matches(&client, session.client.id, now_ms) {
            kill_one(session, &client);
            killed += 1;
        }
    }
    Ok(Reply::Integer(killed))
}

/// A client that kills itself still gets its reply.
fn kill_one(session: &mut Session, client: &Arc<Client>) {
    if client.id == session.client.id {
        session.close();
    } else {
        client.kill();
    }
}

fn on_or_off(args: &mut Args<'_>) -> Result<bool, Error> {
    let on = args.eat("ON");
    if on || args.eat("OFF") { Ok(on) } else { Err(Error::Syntax) }
}

fn no_evict(session: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    session.client.set(ClientFlag::NO_EVICT, on_or_off(args)?);
    state.bound_clients();
    Ok(Reply::OK)
}

fn no_touch(session: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    session.no_touch = on_or_off(args)?;
    session.client.set(ClientFlag::NO_TOUCH, session.no_touch);
    Ok(Reply::OK)
}

fn reply(session: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    if args.eat("ON") {
        session.reply_mode = ReplyMode::On;
        return Ok(Reply::OK);
    }
    if args.eat("OFF") {
        session.reply_mode = ReplyMode::Off;
    } else if !args.eat("SKIP") {
        return Err(Error::Syntax);
    } else if session.reply_mode != ReplyMode::Off {
        session.reply_mode = ReplyMode::SkipNext;
    }
    Ok(Reply::Silent)
}

/// Starts a pause, and answers when everything is published that the writer had run by then: it looks
/// at the pause itself, before it runs anything more.
fn pause<'a>(
    _: &'a mut Session,
    state: &'a Arc<ServerState>,
    words: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(async move {
        start_pause(state, &mut Args::new(words, 2))?;
        // A server that ends writes nothing more.
        drop(state.ask(Control::Settle).await);
        Ok(Reply::OK)
    })
}

fn start_pause(state: &ServerState, args: &mut Args<'_>) -> Result<(), Error> {
    let timeout = args.next_bytes()?;
    let kind = if args.is_empty() || args.eat("ALL") {
        PauseKind::All
    } else if args.eat("WRITE") {
        PauseKind::Write
    } else {
        return Err(Error::Text("ERR CLIENT PAUSE mode must be WRITE or ALL".to_owned()));
    };
    args.finish()?;
    let until_ms = deadline_ms(timeout, state.clock.unix_ms())?;
    state.pause.start(kind, until_ms);
    Ok(())
}

/// The end of a timeout in milliseconds that starts at `now_ms`.
pub(super) fn deadline_ms(timeout: &[u8], now_ms: u64) -> Result<u64, Error> {
    let refuse = |why: &str| Error::Text(format!("ERR timeout is {why}"));
    let timeout =
        crate::data::parse_int(timeout).ok_or_else(|| refuse("not an integer or out of range"))?;
    let timeout = u64::try_from(timeout).map_err(|_| refuse("negative"))?;
    now_ms
        .checked_add(timeout)
        .filter(|end| i64::try_from(*end).is_ok())
        .ok_or_else(|| refuse("out of range"))
}

fn unpause(_: &mut Session, state: &ServerState, _: &mut Args<'_>) -> CommandResult {
    state.pause.end();
    Ok(Reply::OK)
}

fn unblock(_: &mut Session, state: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let id = args.next_bytes()?;
    let how = if args.is_empty() || args.eat("TIMEOUT") {
        Unblock::Timeout
    } else if args.eat("ERROR") {
        Unblock::Error
    } else {
        return Err(Error::Text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".to_owned()));
    };
    args.finish()?;
    let id = crate::data::parse_int(id).ok_or(Error::NotAnInteger)?;
    let client = u64::try_from(id).ok().and_then(|id| state.clients.get(id));
    Ok(Reply::Integer(i64::from(client.is_some_and(|client| client.unblock(how)))))
}

#[cfg(test)]
mod tests;
