//! `CLIENT TRACKING` and its kind: a connection keeps copies of what it reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::super::spec::ServerFuture;
use super::super::{
    Arg, Args, CommandResult, Control, Error, ServerState, Session, TrackingOptions,
};
use crate::data::parse_int;
use crate::protocol::Reply;

pub(super) const TRACKING_ARGS: &[Arg] = &[
    Arg::one_of("status", &[Arg::token("on", "ON"), Arg::token("off", "OFF")]),
    Arg::integer("client-id").with_token("REDIRECT").optional(),
    Arg::string("prefix").with_token("PREFIX").optional().multiple_token(),
    Arg::token("bcast", "BCAST").optional(),
    Arg::token("optin", "OPTIN").optional(),
    Arg::token("optout", "OPTOUT").optional(),
    Arg::token("noloop", "NOLOOP").optional(),
];

pub(super) const CACHING_ARGS: &[Arg] =
    &[Arg::one_of("mode", &[Arg::token("yes", "YES"), Arg::token("no", "NO")])];

fn error<T>(text: impl std::fmt::Display) -> Result<T, Error> {
    Err(Error::Text(format!("ERR {text}")))
}

pub(super) fn tracking<'a>(
    session: &'a mut Session,
    state: &'a Arc<ServerState>,
    words: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(async move {
        let mut args = Args::new(words, 2);
        let switch = args.next_bytes()?;
        let given = parse(state, &mut args)?;
        if switch.eq_ignore_ascii_case(b"OFF") {
            session.stop_tracking(state);
            return Ok(Reply::OK);
        }
        if !switch.eq_ignore_ascii_case(b"ON") {
            return Err(Error::Syntax);
        }
        let options = checked(session, given)?;
        session.pushes(state);
        let (tracker, unsettled) = state.tracking.enable(&session.client, options);
        session.tracking = Some(tracker);
        if let Some(generation) = unsettled {
            state.ask(Control::Settle).await?;
            state.tracking.settled(generation);
        }
        Ok(Reply::OK)
    })
}

/// The options as they were given, and the prefixes in their order.
type Given = (TrackingOptions, Vec<Bytes>);

fn parse(state: &ServerState, args: &mut Args<'_>) -> Result<Given, Error> {
    let mut options = TrackingOptions::default();
    let mut prefixes = Vec::new();
    while !args.is_empty() {
        if args.len() >= 2 && args.eat("REDIRECT") {
            if options.redirect.is_some() {
                return error("A client can only redirect to a single other client");
            }
            let id = parse_int(args.next_bytes()?).ok_or(Error::NotAnInteger)?;
            let id = u64::try_from(id).ok().filter(|id| state.clients.get(*id).is_some());
            if id.is_none() {
                return error("The client ID you want redirect to does not exist");
            }
            options.redirect = id;
        } else if args.len() >= 2 && args.eat("PREFIX") {
            prefixes.push(Bytes::copy_from_slice(args.next_bytes()?));
        } else if args.eat("BCAST") {
            options.bcast = true;
        } else if args.eat("OPTIN") {
            options.optin = true;
        } else if args.eat("OPTOUT") {
            options.optout = true;
        } else if args.eat("NOLOOP") {
            options.noloop = true;
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok((options, prefixes))
}

/// The options that hold, those that did before and stay included.
fn checked(session: &Session, (mut given, prefixes): Given) -> Result<TrackingOptions, Error> {
    let before = session.tracking.as_ref().map(|tracker| &tracker.options);
    if !given.bcast && !prefixes.is_empty() {
        return error("PREFIX option requires BCAST mode to be enabled");
    }
    if before.is_some_and(|before| before.bcast != given.bcast) {
        return error(
            "You can't switch BCAST mode on/off before disabling tracking for this client, and then \
             re-enabling it with a different mode.",
        );
    }
    if given.bcast && (given.optin || given.optout) {
        return error("OPTIN and OPTOUT are not compatible with BCAST");
    }
    if given.optin && given.optout {
        return error("You can't specify both OPTIN mode and OPTOUT mode");
    }
    let switches =
        |before: &TrackingOptions| (given.optin && before.optout) || (given.optout && before.optin);
    if before.is_some_and(switches) {
        return error(
            "You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then \
             re-enabling it with a different mode.",
        );
    }
    if !given.bcast {
        return Ok(given);
    }
    let existing = before.map(|before| before.prefixes.clone()).unwrap_or_default();
    no_overlap(&prefixes, &existing)?;
    given.prefixes = existing;
    if prefixes.is_empty() {
        given.prefixes.insert(Bytes::new());
    }
    given.prefixes.extend(prefixes);
    Ok(given)
}

/// A key must not begin with two of the prefixes.
fn no_overlap(prefixes: &[Bytes], existing: &BTreeSet<Bytes>) -> Result<(), Error> {
    let overlaps = |a: &Bytes, b: &Bytes| a.starts_with(b) || b.starts_with(a);
    let refuse = |prefix: &Bytes, what: &str, other: &Bytes| {
        let text = "ERR Prefix '{}' overlaps with {} prefix '{}'. Prefixes for a single client must \
                    not overlap.";
        Err(Error::quoting(text, &[prefix, what.as_bytes(), other]))
    };
    for (at, prefix) in prefixes.iter().enumerate() {
        // These do not overlap each other, so only its neighbours in their order can overlap it.
        let before = existing.range::<Bytes, _>(..=prefix).next_back();
        let mut neighbours = before.into_iter().chain(existing.range::<Bytes, _>(prefix..).next());
        if let Some(other) = neighbours.find(|other| overlaps(prefix, other)) {
            return refuse(prefix, "an existing", other);
        }
        if let Some(other) = prefixes.iter().skip(at + 1).find(|other| overlaps(prefix, other)) {
            return refuse(prefix, "another provided", other);
        }
    }
    Ok(())
}

pub(super) fn caching(
    session: &mut Session,
    _: &ServerState,
    args: &mut Args<'_>,
) -> CommandResult {
    let Some(tracker) = &session.tracking else {
        return error(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
             OPTOUT mode enabled",
        );
    };
    let (optin, optout) = (tracker.options.optin, tracker.options.optout);
    if args.eat("YES") {
        if !optin {
            return error(
                "CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
            );
        }
    } else if !args.eat("NO") {
        return Err(Error::Syntax);
    } else if !optout {
        return error("CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");
    }
    session.caching = true;
    Ok(Reply::OK)
}

pub(super) fn getredir(session: &mut Session, _: &ServerState, _: &mut Args<'_>) -> CommandResult {
    Ok(Reply::Integer(session.client.shown_redirect()))
}

pub(super) fn trackinginfo(
    session: &mut Session,
    _: &ServerState,
    _: &mut Args<'_>,
) -> CommandResult {
    let off = TrackingOptions::default();
    let options = session.tracking.as_ref().map_or(&off, |tracker| &tracker.options);
    let is_on = session.tracking.is_some();
    let is_broken = session.client.has(super::ClientFlag::TRACKING_BROKEN);
    let flags = [
        (true, if is_on { "on" } else { "off" }),
        (options.bcast, "bcast"),
        (options.optin, "optin"),
        (options.optin && session.caching, "caching-yes"),
        (options.optout, "optout"),
        (options.optout && session.caching, "caching-no"),
        (options.noloop, "noloop"),
        (is_broken, "broken_redirect"),
    ];
    let flags = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, word)| Reply::bulk(word));
    Ok(Reply::Map(vec![
        (Reply::bulk("flags"), Reply::Set(flags.collect())),
        (Reply::bulk("redirect"), Reply::Integer(session.client.shown_redirect())),
        (Reply::bulk("prefixes"), Reply::array(options.prefixes.iter().cloned())),
    ]))
}

impl Session {
    /// Keeps no copies any more.
    pub(in crate::commands) fn stop_tracking(&mut self, state: &ServerState) {
        if self.tracking.take().is_some() {
            state.tracking.disable(&self.client);
            self.caching = false;
        }
    }

    /// What stands for it in the table of keys, where it is remembered with what the next call reads.
    #[must_use]
    pub(crate) fn remembered(&self) -> Option<&Arc<super::super::Tracker>> {
        self.tracking.as_ref().filter(|tracker| tracker.remembers(self.caching))
    }
}
