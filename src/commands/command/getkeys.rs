//! `COMMAND GETKEYS` and `COMMAND GETKEYSANDFLAGS`.

use bytes::Bytes;

use crate::commands::table::{self, Lookup};
use crate::commands::{Args, CommandResult, Error, Flags, KeyFlags, ServerState, Session};
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
    if command.spec.keys.is_empty() {
        return Err(refuse("The command has no key arguments"));
    }
    if !command.accepts(words.len()) {
        return Err(refuse("Invalid number of arguments specified for command"));
    }
    let found = command.keys_of(words);
    match found {
        Some(keys) if !keys.is_empty() => Ok(keys
            .into_iter()
            .filter_map(|(index, flags)| Some((words.get(index)?.clone(), flags)))
            .collect()),
        _ if command.flags.has(Flags::NO_MANDATORY_KEYS) => Ok(Vec::new()),
        _ => Err(refuse("Invalid arguments specified for command")),
    }
}
