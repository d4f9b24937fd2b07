//! `COMMAND GETKEYS` and `COMMAND GETKEYSANDFLAGS`.

use bytes::Bytes;

use crate::commands::table::{self, Lookup};
use crate::commands::{
    Args, CommandResult, CommandSpec, Error, FindKeys, Flags, KeyFlags, KeySpec, ServerState,
    Session,
};
use crate::protocol::Reply;

pub(super) fn keys(_: &mut Session, _: &ServerState, args: &mut Args<'_>) -> CommandResult {
    let words = args.rest();
    let found = find(words)?;
    Ok(Reply::Array(found.into_iter().map(|(key, _)| Reply::Bulk(key)).collect()))
}

pub(super) fn keys_and_flags(
    _: &mut Session,
    _: &ServerState,
    args: &mut Args<'_>,
) -> CommandResult {
    let entry = |(key, flags): (Bytes, KeyFlags)| {
        Reply::Array(vec![Reply::Bulk(key), super::flag_set(flags.names())])
    };
    Ok(Reply::Array(find(args.rest())?.into_iter().map(entry).collect()))
}

/// The keys of the call `words`, and what it does with each.
fn find(words: &[Bytes]) -> Result<Vec<(Bytes, KeyFlags)>, Error> {
    let refuse = |why: &str| Error::Text(format!("ERR {why}"));
    let command =
        words.split_first().map(|(name, rest)| table::lookup(name, rest.first().map(|s| &s[..])));
    let Some(Lookup::Found(command)) = command else {
        return Err(refuse("Invalid command specified"));
    };
    if command.spec.keys.iter().all(|spec| spec.flags.is_not_key()) {
        return Err(refuse("The command has no key arguments"));
    }
    if !command.accepts(words.len()) {
        return Err(refuse("Invalid number of arguments specified for command"));
    }
    let needs_keys = !command.flags.has(Flags::NO_MANDATORY_KEYS);
    match command.keys_of(words) {
        Some(keys) if !(keys.is_empty() || needs_keys && counts_none(command.spec, words)) => {
            Ok(keys
                .into_iter()
                .filter_map(|(index, flags)| Some((words.get(index)?.clone(), flags)))
                .collect())
        }
        _ if !needs_keys => Ok(Vec::new()),
        _ => Err(refuse("Invalid arguments specified for command")),
    }
}

/// Whether a number of keys in the call is 0.
fn counts_none(command: &CommandSpec, words: &[Bytes]) -> bool {
    let is_none = |spec: &KeySpec| {
        let mut found = false;
        let is_well_formed = spec.find(words, &mut |_| found = true).is_ok();
        matches!(spec.find, FindKeys::KeyNum { .. }) && is_well_formed && !found
    };
    command.keys.iter().any(is_none)
}
