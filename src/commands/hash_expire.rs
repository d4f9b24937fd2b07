//! Commands on the expiry of fields of hashes.

use bytes::Bytes;

use super::expiry_option::TimeUnit;
use super::hash::hash;
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Run};
use crate::data::{Edit, EventClasses, HashEdit, View, parse_int};
use crate::protocol::Reply;

/// Latest expiry of a field in Unix milliseconds, as in Redis.
const FIELD_EXPIRY_MAX_MS: i64 = (1 << 46) - 1;

const NO_FIELD: i64 = -2;
const NO_EXPIRY: i64 = -1;
const REFUSED: i64 = 0;
const DONE: i64 = 1;
const DELETED: i64 = 2;

const CONDITION: Arg = Arg::one_of(
    "condition",
    &[
        Arg::token("nx", "NX"),
        Arg::token("xx", "XX"),
        Arg::token("gt", "GT"),
        Arg::token("lt", "LT"),
    ],
)
.optional();
const FIELDS: Arg =
    Arg::block("fields", &[Arg::integer("numfields"), Arg::string("field").multiple()])
        .with_token("FIELDS");
const UPDATED: &[KeySpec] = &[KeySpec::one(1).rw().update()];
const READ: &[KeySpec] = &[KeySpec::one(1).ro().access()];
const KEY_FIELDS: &[Arg] = &[Arg::key("key"), FIELDS];

/// A command that sets the expiry of fields.
const fn setting(
    name: &'static str,
    run: fn(&mut Edit<'_>, &mut Args<'_>) -> CommandResult,
    args: &'static [Arg],
) -> CommandSpec {
    CommandSpec::new(name, Arity::AtLeast(6), Run::Write(run))
        .group(Group::Hash)
        .since("7.4.0")
        .complexity("O(N) in the number of fields")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(UPDATED)
        .args(args)
}

/// A command that answers the expiry of fields.
const fn asking(
    name: &'static str,
    run: fn(&View<'_>, &mut Args<'_>) -> CommandResult,
) -> CommandSpec {
    CommandSpec::new(name, Arity::AtLeast(5), Run::Read(run))
        .group(Group::Hash)
        .since("7.4.0")
        .complexity("O(N) in the number of fields")
        .flags(Flags::FAST)
        .keys(READ)
        .args(KEY_FIELDS)
}

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    setting("hexpire", hexpire, &[Arg::key("key"), Arg::integer("seconds"), CONDITION, FIELDS])
        .summary("Lets fields expire in so many seconds."),
    setting(
        "hpexpire",
        hpexpire,
        &[Arg::key("key"), Arg::integer("milliseconds"), CONDITION, FIELDS],
    )
    .summary("Lets fields expire in so many milliseconds."),
    setting(
        "hexpireat",
        hexpireat,
        &[Arg::key("key"), Arg::unix_time("unix-time-seconds"), CONDITION, FIELDS],
    )
    .summary("Lets fields expire at a Unix time in seconds."),
    setting(
        "hpexpireat",
        hpexpireat,
        &[Arg::key("key"), Arg::unix_time("unix-time-milliseconds"), CONDITION, FIELDS],
    )
    .summary("Lets fields expire at a Unix time in milliseconds."),
    asking("httl", httl).summary("Answers in how many seconds fields expire."),
    asking("hpttl", hpttl).summary("Answers in how many milliseconds fields expire."),
    asking("hexpiretime", hexpiretime)
        .summary("Answers when fields expire, as a Unix time in seconds."),
    asking("hpexpiretime", hpexpiretime)
        .summary("Answers when fields expire, as a Unix time in milliseconds."),
    CommandSpec::new("hpersist", Arity::AtLeast(5), Run::Write(hpersist))
        .group(Group::Hash)
        .since("7.4.0")
        .complexity("O(N) in the number of fields")
        .summary("Takes the expiry from fields.")
        .flags(Flags::FAST)
        .keys(UPDATED)
        .args(KEY_FIELDS),
];

fn hexpire(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let now_ms = edit.context().now_ms;
    set_expiry(edit, args, TimeUnit::Seconds, now_ms, "hexpire")
}

fn hpexpire(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let now_ms = edit.context().now_ms;
    set_expiry(edit, args, TimeUnit::Milliseconds, now_ms, "hpexpire")
}

fn hexpireat(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    set_expiry(edit, args, TimeUnit::Seconds, 0, "hexpireat")
}

fn hpexpireat(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    set_expiry(edit, args, TimeUnit::Milliseconds, 0, "hpexpireat")
}

/// When an expiry is set. A field without one counts as expiring never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    IfNone,
    IfSome,
    IfLater,
    IfEarlier,
}

impl Condition {
    fn eat(args: &mut Args<'_>) -> Self {
        let words = [
            ("NX", Self::IfNone),
            ("XX", Self::IfSome),
            ("GT", Self::IfLater),
            ("LT", Self::IfEarlier),
        ];
        let found = words.into_iter().find(|(word, _)| args.eat(word));
        found.map_or(Self::Always, |(_, condition)| condition)
    }

    fn allows(self, current_ms: Option<u64>, at_ms: u64) -> bool {
        match self {
            Self::Always => true,
            Self::IfNone => current_ms.is_none(),
            Self::IfSome => current_ms.is_some(),
            Self::IfLater => current_ms.is_some_and(|current_ms| at_ms > current_ms),
            Self::IfEarlier => current_ms.is_none_or(|current_ms| at_ms < current_ms),
        }
    }
}

/// Lets fields expire at a time behind `base_ms`; one that has passed deletes them.
fn set_expiry(
    edit: &mut Edit<'_>,
    args: &mut Args<'_>,
    unit: TimeUnit,
    base_ms: u64,
    command: &'static str,
) -> CommandResult {
    let (key, time) = (args.next_bytes()?, args.next_bytes()?);
    let old = hash(edit.find(key)?)?;
    let at_ms = expires_at(time, unit, base_ms, command)?;
    let condition = Condition::eat(args);
    let fields = fields(args, "ERR Parameter `numFields` should be greater than 0")?;
    let Some(old) = old else { return Ok(no_fields(fields)) };
    let now_ms = edit.context().now_ms;
    let mut hash = edit.hash(key, Some(old));
    hash.expect_expiries()?;
    let mut answers = Vec::with_capacity(fields.len());
    for field in fields {
        let answer = match hash.get(field)? {
            None => NO_FIELD,
            Some(found) if !condition.allows(found.expires_ms, at_ms) => REFUSED,
            Some(_) if at_ms <= now_ms => {
                hash.remove(field)?;
                DELETED
            }
            Some(_) => {
                hash.set_field_expiry(field, Some(at_ms))?;
                DONE
            }
        };
        answers.push(answer);
    }
    hash.finish()?;
    if answers.contains(&DELETED) {
        edit.notify_shrunk(EventClasses::HASH, "hdel", key);
    } else if answers.contains(&DONE) {
        edit.notify(EventClasses::HASH, "hexpire", key);
    }
    Ok(Reply::array(answers))
}

/// The time that a call names, in Unix milliseconds.
fn expires_at(
    time: &[u8],
    unit: TimeUnit,
    base_ms: u64,
    command: &'static str,
) -> Result<u64, Error> {
    let time = parse_int(time).ok_or(Error::NotAnInteger)?;
    if time < 0 {
        return Err(Error::NegativeFieldExpire);
    }
    let time_ms = match unit {
        TimeUnit::Seconds => time.checked_mul(1000),
        TimeUnit::Milliseconds => Some(time),
    };
    let at_ms = time_ms.and_then(|time_ms| time_ms.checked_add_unsigned(base_ms));
    let at_ms = at_ms.filter(|at_ms| *at_ms <= FIELD_EXPIRY_MAX_MS);
    at_ms.and_then(|at_ms| u64::try_from(at_ms).ok()).ok_or(Error::InvalidExpire(command))
}

/// The fields behind `FIELDS` and their number; `no_count` is the error where that is none.
fn fields<'a>(args: &mut Args<'a>, no_count: &'static str) -> Result<&'a [Bytes], Error> {
    if !args.eat("FIELDS") {
        return Err(Error::NoFieldsArgument);
    }
    let count = args.peek().and_then(|word| parse_int(word)).filter(|count| *count > 0);
    let count = count.ok_or_else(|| Error::Text(no_count.to_owned()))?;
    args.skip(1);
    let fields = args.rest();
    let fits = usize::try_from(count).is_ok_and(|count| count == fields.len());
    if fits { Ok(fields) } else { Err(Error::WrongFieldCount) }
}

const NO_COUNT: &str = "ERR Number of fields must be a positive integer";

fn no_fields(fields: &[Bytes]) -> Reply {
    Reply::Array(vec![Reply::Integer(NO_FIELD); fields.len()])
}

fn hpersist(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let old = hash(edit.find(key)?)?;
    let fields = fields(args, NO_COUNT)?;
    let Some(old) = old else { return Ok(no_fields(fields)) };
    let mut hash = edit.hash(key, Some(old));
    let mut persist = |field: &Bytes| persist(&mut hash, field);
    let answers = fields.iter().map(&mut persist).collect::<Result<Vec<_>, Error>>()?;
    hash.finish()?;
    if answers.contains(&Reply::Integer(DONE)) {
        edit.notify(EventClasses::HASH, "hpersist", key);
    }
    Ok(Reply::Array(answers))
}

fn persist(hash: &mut HashEdit<'_, '_>, field: &Bytes) -> CommandResult {
    Ok(Reply::Integer(match hash.get(field)? {
        None => NO_FIELD,
        Some(found) if found.expires_ms.is_none() => NO_EXPIRY,
        Some(_) => {
            hash.set_field_expiry(field, None)?;
            DONE
        }
    }))
}

fn httl(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer_expiry(view, args, |at_ms, now_ms| seconds(at_ms - now_ms))
}

fn hpttl(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer_expiry(view, args, |at_ms, now_ms| at_ms - now_ms)
}

fn hexpiretime(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer_expiry(view, args, |at_ms, _| seconds(at_ms))
}

fn hpexpiretime(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    answer_expiry(view, args, |at_ms, _| at_ms)
}

/// Seconds, rounded up.
fn seconds(ms: u64) -> u64 {
    ms.div_ceil(1000)
}

/// `form` gets the expiry and the time; the expiry has not passed, else the field would not be seen.
fn answer_expiry(
    view: &View<'_>,
    args: &mut Args<'_>,
    form: impl Fn(u64, u64) -> u64,
) -> CommandResult {
    let key = args.next_bytes()?;
    let found = hash(view.find(key)?)?;
    let fields = fields(args, NO_COUNT)?;
    let Some(elements) = found.as_ref().and_then(|meta| view.elements(key, meta)) else {
        return Ok(no_fields(fields));
    };
    let now_ms = view.context().now_ms;
    let answer = |field: &Bytes| {
        Ok(match elements.get(field)?.map(|found| found.expires_ms) {
            None => Reply::Integer(NO_FIELD),
            Some(None) => Reply::Integer(NO_EXPIRY),
            Some(Some(at_ms)) => Reply::from(form(at_ms, now_ms)),
        })
    };
    Ok(Reply::Array(fields.iter().map(answer).collect::<Result<Vec<_>, Error>>()?))
}
