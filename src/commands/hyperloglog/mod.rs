//! Commands on HyperLogLogs.
//!
//! `PFCOUNT` of one key keeps the estimate in the string, as Redis does, so it is a write here; where
//! the kept estimate still holds, nothing is written.

mod check;

use self::check::pfselftest;
use super::string::string;
use super::{Arg, Args, Arity, CommandResult, CommandSpec, Error, Flags, Group, KeySpec, Run};
use crate::data::{
    Corrupted, Edit, EventClasses, HYPERLOGLOG_BYTES_MAX, HyperLogLog, Meta, Registers, StringForm,
};
use crate::protocol::Reply;

/// The family's table.
pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new("pfadd", Arity::AtLeast(2), Run::Write(pfadd))
        .group(Group::HyperLogLog)
        .since("2.8.9")
        .complexity("O(1) for each element")
        .summary("Adds elements to a HyperLogLog; makes the key if needed.")
        .flags(Flags::DENYOOM.or(Flags::FAST))
        .keys(&[KeySpec::one(1).rw().insert()])
        .args(&[Arg::key("key"), Arg::string("element").optional().multiple()]),
    CommandSpec::new("pfcount", Arity::AtLeast(2), Run::Write(pfcount))
        .group(Group::HyperLogLog)
        .since("2.8.9")
        .complexity("O(N) in the number of keys")
        .summary("Estimates how many different elements were added to HyperLogLogs.")
        .differs("While writes are refused, because the log cannot be written, so is this.")
        .flags(Flags::READONLY.or(Flags::MAY_REPLICATE))
        .keys(&[KeySpec::range(1, -1, 1).rw().access()])
        .args(&[Arg::key("key").multiple()]),
    CommandSpec::new("pfmerge", Arity::AtLeast(2), Run::Write(pfmerge))
        .group(Group::HyperLogLog)
        .since("2.8.9")
        .complexity("O(N) in the number of keys")
        .summary("Joins HyperLogLogs into one.")
        .flags(Flags::DENYOOM)
        .keys(&[KeySpec::one(1).rw().access().insert(), KeySpec::range(2, -1, 1).ro().access()])
        .args(&[Arg::key("destkey"), Arg::key("sourcekey").key_spec(1).optional().multiple()]),
    CommandSpec::new("pfdebug", Arity::Exactly(3), Run::Write(pfdebug))
        .group(Group::HyperLogLog)
        .since("2.8.9")
        .complexity("O(N) in the number of registers")
        .summary("Looks into a HyperLogLog, for tests.")
        .flags(Flags::DENYOOM.or(Flags::ADMIN))
        .keys(&[KeySpec::one(2).rw().access()])
        .args(&[Arg::string("subcommand"), Arg::key("key")]),
    CommandSpec::new("pfselftest", Arity::Exactly(1), Run::Server(pfselftest))
        .group(Group::HyperLogLog)
        .since("2.8.9")
        .complexity("Depends on the tests.")
        .summary("Checks the registers and the estimates of HyperLogLogs.")
        .flags(Flags::ADMIN),
];

fn pfadd(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let key = args.next_bytes()?;
    let sparse_bytes_max = edit.context().hll_sparse_bytes_max;
    let old = edit.find(key)?;
    let mut sketch = load(edit, old.as_ref())?.unwrap_or_default();
    let mut changes = u64::from(old.is_none());
    for element in args.rest() {
        changes += u64::from(sketch.add(element, sparse_bytes_max).map_err(corrupted)?);
    }
    if changes == 0 {
        return Ok(Reply::Integer(0));
    }
    sketch.forget_estimate();
    store(edit, key, old.as_ref(), sketch, changes);
    edit.notify(EventClasses::STRING, "pfadd", key);
    Ok(Reply::Integer(1))
}

fn pfcount(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    if let [key] = args.rest() {
        return count_one(edit, key);
    }
    let mut union = Registers::default();
    for key in args.rest() {
        let found = edit.find_for_answer(key)?;
        if let Some(sketch) = load(edit, found.as_ref())? {
            union.join(&sketch).map_err(corrupted)?;
        }
    }
    Ok(number(union.estimate()))
}

fn count_one(edit: &mut Edit<'_>, key: &[u8]) -> CommandResult {
    let old = edit.find_for_answer(key)?;
    let Some(mut sketch) = load(edit, old.as_ref())? else { return Ok(Reply::Integer(0)) };
    if let Some(kept) = sketch.kept_estimate() {
        return Ok(number(kept));
    }
    let estimate = sketch.estimate().map_err(corrupted)?;
    store(edit, key, old.as_ref(), sketch, 1);
    Ok(number(estimate))
}

fn pfmerge(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let mut union = Registers::default();
    let mut dense = false;
    for key in args.rest() {
        let found = edit.find_for_answer(key)?;
        if let Some(sketch) = load(edit, found.as_ref())? {
            dense |= !sketch.is_sparse();
            union.join(&sketch).map_err(corrupted)?;
        }
    }
    let destination = args.next_bytes()?;
    let old = edit.find(destination)?;
    let mut sketch = load(edit, old.as_ref())?.unwrap_or_default();
    if dense {
        sketch.densify().map_err(corrupted)?;
    }
    let sparse_bytes_max = edit.context().hll_sparse_bytes_max;
    sketch.raise_all(&union, sparse_bytes_max).map_err(corrupted)?;
    sketch.forget_estimate();
    store(edit, destination, old.as_ref(), sketch, 1);
    edit.notify(EventClasses::STRING, "pfadd", destination);
    Ok(Reply::OK)
}

fn pfdebug(edit: &mut Edit<'_>, args: &mut Args<'_>) -> CommandResult {
    let (name, key) = (args.next_bytes()?, args.next_bytes()?);
    let old = edit.find(key)?;
    let Some(mut sketch) = load(edit, old.as_ref())? else {
        return Err(Error::Text("ERR The specified key does not exist".to_owned()));
    };
    match name.to_ascii_lowercase().as_slice() {
        b"getreg" => {
            let mut union = Registers::default();
            union.join(&sketch).map_err(corrupted)?;
            if sketch.densify().map_err(corrupted)? {
                store(edit, key, old.as_ref(), sketch, 1);
            }
            let values = union.values().iter().map(|value| Reply::Integer((*value).into()));
            Ok(Reply::Array(values.collect()))
        }
        b"decode" => decode(&sketch),
        b"encoding" => {
            Ok(Reply::Simple(if sketch.is_sparse() { "sparse" } else { "dense" }.into()))
        }
        b"todense" => {
            let was_sparse = sketch.densify().map_err(corrupted)?;
            if was_sparse {
                store(edit, key, old.as_ref(), sketch, 1);
            }
            Ok(Reply::Integer(was_sparse.into()))
        }
        _ => Err(Error::quoting("ERR Unknown PFDEBUG subcommand '{}'", &[name])),
    }
}

/// The runs of sparse registers as a text.
fn decode(sketch: &HyperLogLog) -> CommandResult {
    if !sketch.is_sparse() {
        return Err(Error::Text("ERR HLL encoding is not sparse".to_owned()));
    }
    let mut words = Vec::new();
    for run in sketch.runs() {
        let run = run.map_err(corrupted)?;
        words.push(match (run.value, run.is_long) {
            (0, false) => format!("z:{}", run.len),
            (0, true) => format!("Z:{}", run.len),
            (value, _) => format!("v:{value},{}", run.len),
        });
    }
    Ok(Reply::Bulk(words.join(" ").into()))
}

/// What [`Edit::find`] has found, if it is a HyperLogLog.
fn load(edit: &Edit<'_>, found: Option<&Meta>) -> Result<Option<HyperLogLog>, Error> {
    let Some(meta) = string(found.cloned())? else { return Ok(None) };
    let bytes = edit.string_range(&meta, 0, HYPERLOGLOG_BYTES_MAX as u64 + 1)?;
    match HyperLogLog::from_bytes(&bytes) {
        Some(sketch) => Ok(Some(sketch)),
        None => {
            let text = "WRONGTYPE Key is not a valid HyperLogLog string value.";
            Err(Error::Text(text.to_owned()))
        }
    }
}

fn store(edit: &mut Edit<'_>, key: &[u8], old: Option<&Meta>, sketch: HyperLogLog, changes: u64) {
    let expires_ms = old.and_then(|meta| meta.expires_ms);
    edit.set_string_as(StringForm::Raw, key, old, sketch.into_bytes(), expires_ms);
    edit.count_changes(changes.saturating_sub(1));
}

fn corrupted(_: Corrupted) -> Error {
    Error::Text("INVALIDOBJ Corrupted HLL object detected".to_owned())
}

fn number(estimate: u64) -> Reply {
    Reply::Integer(i64::try_from(estimate).unwrap_or(i64::MAX))
}
