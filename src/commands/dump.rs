//! `DUMP` and `RESTORE`: a value as bytes, in the format of Redis.

use bytes::Bytes;

use super::acl::Category;
use super::{
    Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Prepare, Run,
    memory,
};
use crate::data::{DumpPayload, Edit, EventClasses, RestoreError, ValueAhead, View};
use crate::env::Purpose;
use crate::protocol::Reply;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("dump", Arity::Exactly(2), Run::Read(dump))
        .since("2.6.0")
        .complexity("O(N) in the size of the value")
        .summary("Answers the value of a key as bytes that `RESTORE` takes.")
        .tips(&["nondeterministic_output"])
        .differs(
            "In the format of Redis 7.0, but for a hash whose fields expire, which is in that of \
             7.4; nothing is compressed. When a consumer was active last is not in it. Made in \
             memory.",
        )
        .acl(&[Category::Keyspace])
        .keys(&[KeySpec::one(1).ro().access()])
        .args(&[Arg::key("key")]),
    restoring("restore").since("2.6.0"),
    restoring("restore-asking").group(Group::Server).since("3.0.0").flags(Flags::ASKING),
];

/// Where the payload stands in a call.
const PAYLOAD_AT: usize = 3;
/// A payload of so many bytes is read beside the connection, not while everybody waits.
const LARGE_BYTES: usize = 64 << 10;

const RESTORED: &[KeySpec] = &[KeySpec::one(1).ow().update()];
const RESTORE_ARGS: &[Arg] = &[
    Arg::key("key"),
    Arg::integer("ttl"),
    Arg::string("serialized-value"),
    Arg::token("replace", "REPLACE").optional().since("3.0.0"),
    Arg::token("absttl", "ABSTTL").optional().since("5.0.0"),
    Arg::integer("seconds").with_token("IDLETIME").optional().since("5.0.0"),
    Arg::integer("frequency").with_token("FREQ").optional().since("5.0.0"),
];

const RESTORE_HISTORY: &[(&str, &str)] = &[
    ("3.0.0", "Added the `REPLACE` modifier."),
    ("5.0.0", "Added the `ABSTTL` modifier."),
    ("5.0.0", "Added the `IDLETIME` and `FREQ` options."),
];

const fn restoring(name: &'static str) -> CommandSpec {
    CommandSpec::new(name, Arity::AtLeast(4), Run::Write(restore))
        .complexity("O(N) in the size of the value, O(N*log(N)) for a sorted set")
        .summary("Makes a key of what `DUMP` answered.")
        .history(RESTORE_HISTORY)
        .differs(
            "Every payload is checked in full. A value takes at most what one command may hold, and no values of \
             modules are read.",
        )
        .flags(Flags::DENYOOM)
        .acl(&[Category::Keyspace, Category::Dangerous])
        .keys(RESTORED)
        .args(RESTORE_ARGS)
        .prepare(Prepare { is_worth: is_large, run: read_ahead })
}

fn dump(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let Some(meta) = view.find(key)? else { return Ok(Reply::Null) };
    // Told from some elements, before all are read.
    let bytes = memory::value_bytes(view, key, &meta, memory::SAMPLES)?;
    let room = view.context().memory.room(Purpose::Reply);
    room.take(usize::try_from(bytes).unwrap_or(usize::MAX))?;
    Ok(view.dump(key, &meta)?.map_or(Reply::Null, Reply::Bulk))
}

/// What a call of `RESTORE` says besides key, time and payload.
#[derive(Debug, Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl Options {
    fn parse(args: &mut Args<'_>) -> Result<Self, Error> {
        let mut options = Self::default();
        while !args.is_empty() {
            if args.eat("REPLACE") {
                options.replace = true;
            } else if args.eat("ABSTTL") {
                options.absolute = true;
            } else if args.len() >= 2 && options.frequency.is_none() && args.eat("IDLETIME") {
                let seconds = u64::try_from(args.next_int()?);
                options.idle_seconds = Some(seconds.map_err(|_| {
                    Error::Text("ERR Invalid IDLETIME value, must be >= 0".to_owned())
                })?);
            } else if args.len() >= 2 && options.idle_seconds.is_none() && args.eat("FREQ") {
                let frequency = u8::try_from(args.next_int()?);
                options.frequency = Some(frequency.map_err(|_| {
                    Error::Text("ERR Invalid FREQ value, must be >= 0 and <= 255".to_owned())
                })?);
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }
}

fn opened(payload: &Bytes) -> Result<DumpPayload, Error> {
    DumpPayload::open(payload)
        .ok_or_else(|| Error::Text("ERR DUMP payload version or checksum are wrong".to_owned()))
}

fn refused(error: RestoreError) -> Error {
    match error {
        RestoreError::Malformed => Error::Text("ERR Bad data format".to_owned()),
        RestoreError::Engine(error) => error.into(),
    }
}

/// Whether a payload is so large that it is read ahead.
fn is_large(words: &[Bytes]) -> bool {
    words.get(PAYLOAD_AT).is_some_and(|payload| payload.len() >= LARGE_BYTES)
}

/// Reads the payload of a call.
fn read_ahead(
    edit: Edit<'_>,
    args: &mut Args<'_>,
    first: u64,
) -> Option<Result<ValueAhead, Error>> {
    let (key, payload) = (args.all().get(1)?, args.all().get(PAYLOAD_AT)?);
    let read = |payload| edit.read_ahead(key, &payload, first).map_err(refused);
    opened(payload).and_then(read).transpose()
}

fn restore(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (key, ttl, payload) = (args.next_bytes()?, args.next_bytes()?, args.next_bytes()?);
    let options = Options::parse(args)?;
    let old = edit.find(key)?;
    if !options.replace && old.is_some() {
        return Err(Error::Text("BUSYKEY Target key name already exists.".to_owned()));
    }
    let ttl = crate::data::parse_int(ttl).ok_or(Error::NotAnInteger)?;
    let ttl = u64::try_from(ttl)
        .map_err(|_| Error::Text("ERR Invalid TTL value, must be >= 0".to_owned()))?;
    let now_ms = edit.context().now_ms;
    let expires_ms = (ttl > 0).then(|| {
        let at_ms = if options.absolute { ttl } else { now_ms.saturating_add(ttl) };
        at_ms.min(i64::MAX.cast_unsigned())
    });
    let ahead = match args.take_prepared() {
        Some(value) => edit.restore_ahead(key, old.as_ref(), value?, expires_ms)?,
        None => false,
    };
    if !ahead {
        let payload = opened(payload)?;
        edit.restore(key, old.as_ref(), &payload, expires_ms).map_err(refused)?;
    }
    if expires_ms.is_none_or(|at_ms| at_ms > now_ms) {
        note_use(edit, key, &options);
        edit.notify(EventClasses::GENERIC, "restore", key);
    } else if old.is_some() {
        edit.notify(EventClasses::GENERIC, "del", key);
    }
    Ok(Reply::OK)
}

/// Each of the two options counts under the policies that look at it.
fn note_use(edit: &Edit<'_>, key: &[u8], options: &Options) {
    let prefers_frequency = edit.context().access.prefers_frequency();
    if let Some(seconds) = options.idle_seconds.filter(|_| !prefers_frequency) {
        edit.set_idle(key, seconds);
    }
    if let Some(frequency) = options.frequency.filter(|_| prefers_frequency) {
        edit.set_frequency(key, frequency);
    }
}
