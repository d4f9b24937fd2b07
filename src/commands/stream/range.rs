//! `XLEN`, `XRANGE` and `XREVRANGE`.

use super::{Args, CommandResult, Error, Reply, View, entry_reply, id, stream};
use crate::data::Meta;
use crate::engine::Direction;
use crate::protocol::ListKind;

pub(super) fn xlen(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let found = stream(view.find(args.next_bytes()?)?)?;
    Ok(Reply::from(found.as_ref().and_then(Meta::stream).map_or(0, |stream| stream.length)))
}

pub(super) fn xrange(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    range(view, args, Direction::Forward)
}

pub(super) fn xrevrange(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    range(view, args, Direction::Reverse)
}

fn range(view: &View<'_>, args: &mut Args<'_>, direction: Direction) -> CommandResult {
    let key = args.next_bytes()?;
    let (first, second) = (args.next_bytes()?, args.next_bytes()?);
    let (from, to) = match direction {
        Direction::Forward => (first, second),
        Direction::Reverse => (second, first),
    };
    let (from, to) = (id::start(from)?, id::end(to)?);
    let mut count = usize::MAX;
    while !args.is_empty() {
        if args.len() < 2 || !args.eat("COUNT") {
            return Err(Error::Syntax);
        }
        // Below zero it means none.
        count = usize::try_from(args.next_int()?).unwrap_or(0);
    }
    let found = stream(view.find(key)?)?;
    let Some(stream) = found.as_ref().and_then(Meta::stream) else { return Ok(Reply::EMPTY) };
    if count == 0 {
        return Ok(Reply::NullArray);
    }
    let entries = view.entries(stream).range(from, to, direction).take(count);
    let mut replies = args.answer().list(ListKind::Array);
    for entry in entries {
        replies.push(entry_reply(entry?))?;
    }
    replies.finish()
}
