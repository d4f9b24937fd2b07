//! Commands on the expiry of keys.

use super::acl::Category;
use super::expiry_option::{TimeUnit, expires_at};
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, KeySpec, Run};
use crate::data::{Edit, EventClasses, Meta, View, parse_int};
use crate::protocol::Reply;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    setting("expire", expire, &[Arg::key("key"), Arg::integer("seconds"), CONDITION])
        .since("1.0.0")
        .summary("Lets a key expire in so many seconds."),
    setting("pexpire", pexpire, &[Arg::key("key"), Arg::integer("milliseconds"), CONDITION])
        .since("2.6.0")
        .summary("Lets a key expire in so many milliseconds."),
    setting(
        "expireat",
        expireat,
        &[Arg::key("key"), Arg::unix_time("unix-time-seconds"), CONDITION],
    )
    .since("1.2.0")
    .summary("Lets a key expire at a Unix time in seconds."),
    setting(
        "pexpireat",
        pexpireat,
        &[Arg::key("key"), Arg::unix_time("unix-time-milliseconds"), CONDITION],
    )
    .since("2.6.0")
    .summary("Lets a key expire at a Unix time in milliseconds."),
    asking("expiretime", expiretime)
        .since("7.0.0")
        .summary("Answers when a key expires, as a Unix time in seconds."),
    asking("pexpiretime", pexpiretime)
        .since("7.0.0")
        .summary("Answers when a key expires, as a Unix time in milliseconds."),
    asking("ttl", ttl)
        .since("1.0.0")
        .summary("Answers in how many seconds a key expires.")
        .tips(&["nondeterministic_output"]),
    asking("pttl", pttl)
        .since("2.6.0")
        .summary("Answers in how many milliseconds a key expires.")
        .tips(&["nondeterministic_output"]),
    CommandSpec::new("persist", Arity::Exactly(2), Run::Write(persist))
        .since("2.2.0")
        .summary("Takes the expiry from a key.")
        .flags(Flags::FAST)
        .acl(&[Category::Keyspace])
        .keys(UPDATED)
        .args(ONE_KEY),
];

const CONDITION: Arg = Arg::one_of(
    "condition",
    &[
        Arg::token("nx", "NX"),
        Arg::token("xx", "XX"),
        Arg::token("gt", "GT"),
        Arg::token("lt", "LT"),
    ],
)
.optional()
.since("7.0.0");

const ONE_KEY: &[Arg] = &[Arg::key("key")];
const UPDATED: &[KeySpec] = &[KeySpec::one(1).rw().update()];
const READ: &[KeySpec] = &[KeySpec::one(1).ro().access()];

/// A command that sets the expiry of a key.
const fn setting(
    name: &'static str,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult,
    args: &'static [Arg],
) -> CommandSpec {
    CommandSpec::new(name, Arity::AtLeast(3), Run::Write(run))
        .flags(Flags::FAST)
        .acl(&[Category::Keyspace])
        .keys(UPDATED)
        .args(args)
}

/// A command that answers the expiry of a key.
const fn asking(
    name: &'static str,
    run: fn(&View<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, Arity::Exactly(2), Run::Read(run))
        .flags(Flags::FAST)
        .acl(&[Category::Keyspace])
        .keys(READ)
        .args(ONE_KEY)
}

fn expire(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let now_ms = edit.context().now_ms;
    set_expiry(edit, args, TimeUnit::Seconds, now_ms, "expire")
}

fn pexpire(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let now_ms = edit.context().now_ms;
    set_expiry(edit, args, TimeUnit::Milliseconds, now_ms, "pexpire")
}

fn expireat(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    set_expiry(edit, args, TimeUnit::Seconds, 0, "expireat")
}

fn pexpireat(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    set_expiry(edit, args, TimeUnit::Milliseconds, 0, "pexpireat")
}

/// Lets a key expire at a time behind `base_ms`; one that has passed deletes the key.
fn set_expiry(
    edit: &mut Edit<'_>,
    args: &mut Args<'_>,
    unit: TimeUnit,
    base_ms: u64,
    command: &'static str,
) -> CommandResult {
    let (key, time) = (args.next_bytes()?, args.next_bytes()?);
    let guard = Guard::parse(args)?;
    let time = parse_int(time).ok_or(Error::NotAnInteger)?;
    let at_ms = expires_at(time, unit, base_ms).ok_or(Error::InvalidExpire(command))?;
    let Some(meta) = edit.find(key)? else { return Ok(Reply::Integer(0)) };
    if !guard.allows(meta.expires_ms, at_ms) {
        return Ok(Reply::Integer(0));
    }
    match u64::try_from(at_ms) {
        Ok(at_ms) if at_ms > edit.context().now_ms => {
            edit.set_expiry(key, &meta, Some(at_ms));
            edit.notify(EventClasses::GENERIC, "expire", key);
        }
        _ => {
            edit.delete(key, &meta);
            edit.notify(EventClasses::GENERIC, "del", key);
        }
    }
    Ok(Reply::Integer(1))
}

/// The conditions on the expiry that is there. A key without one counts as expiring never.
#[derive(Default)]
struct Guard {
    if_none: bool,
    if_some: bool,
    if_later: bool,
    if_earlier: bool,
}

impl Guard {
    fn parse(args: &mut Args<'_>) -> Result<Self, Error> {
        let mut guard = Self::default();
        while let Some(word) = args.peek() {
            let option = if args.eat("NX") {
                &mut guard.if_none
            } else if args.eat("XX") {
                &mut guard.if_some
            } else if args.eat("GT") {
                &mut guard.if_later
            } else if args.eat("LT") {
                &mut guard.if_earlier
            } else {
                return Err(Error::UnsupportedOption(word.to_vec()));
            };
            *option = true;
        }
        if guard.if_none && (guard.if_some || guard.if_later || guard.if_earlier) {
            return Err(Error::ExpireNxWithOthers);
        }
        if guard.if_later && guard.if_earlier { Err(Error::ExpireGtWithLt) } else { Ok(guard) }
    }

    fn allows(&self, current_ms: Option<u64>, at_ms: i64) -> bool {
        let at_ms = u64::try_from(at_ms).unwrap_or(0);
        !(self.if_none && current_ms.is_some()
            || self.if_some && current_ms.is_none()
            || self.if_later && current_ms.is_none_or(|current_ms| at_ms <= current_ms)
            || self.if_earlier && current_ms.is_some_and(|current_ms| at_ms >= current_ms))
    }
}

fn ttl(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer_expiry(view, args, |at_ms, now_ms| rounded_seconds(at_ms - now_ms))
}

fn pttl(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer_expiry(view, args, |at_ms, now_ms| at_ms - now_ms)
}

fn expiretime(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer_expiry(view, args, |at_ms, _| rounded_seconds(at_ms))
}

fn pexpiretime(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer_expiry(view, args, |at_ms, _| at_ms)
}

/// `form` gets the expiry and the time; the expiry has not passed, else the key would not be seen.
fn answer_expiry(
    view: &View<'_>,
    args: &mut Args<'_>,
    form: impl Fn(u64, u64) -> u64,
) -> CommandResult {
    Ok(Reply::Integer(match view.inspect(args.next_bytes()?)? {
        None => -2,
        Some(Meta { expires_ms: None, .. }) => -1,
        Some(Meta { expires_ms: Some(at_ms), .. }) => {
            i64::try_from(form(at_ms, view.context().now_ms)).unwrap_or(i64::MAX)
        }
    }))
}

fn rounded_seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

fn persist(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    match edit.find(key)? {
        Some(meta) if meta.expires_ms.is_some() => {
            edit.set_expiry(key, &meta, None);
            edit.notify(EventClasses::GENERIC, "persist", key);
            Ok(Reply::Integer(1))
        }
        _ => Ok(Reply::Integer(0)),
    }
}
