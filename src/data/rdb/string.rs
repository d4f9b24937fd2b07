//! Serialized strings: the value as a string.

use super::sink::Sink;
use super::source::Source;
use super::{Loaded, VERSION, types};
use crate::data::{Edit, Meta, StringForm, View};
use crate::engine::Result;

/// Bytes of a long string that are read at once.
const STEP_BYTES: u64 = 1 << 20;

/// Reads the value.
pub(super) fn load(source: &mut Source<'_>, edit: &mut Edit<'_>) -> Loaded<Meta> {
    let value = source.shared_string()?;
    Ok(edit.new_string(StringForm::Natural, value, None))
}

/// Writes type and value; answers the version that this takes.
pub(super) fn save(view: &View<'_>, meta: &Meta, sink: &mut Sink) -> Result<Option<u16>> {
    sink.u8(types::STRING);
    let len = meta.string_len();
    if len <= STEP_BYTES {
        sink.string(&view.string(meta)?);
        return Ok(Some(VERSION));
    }
    sink.len(len);
    let mut at = 0;
    while at < len {
        sink.bytes(&view.string_range(meta, at, at + STEP_BYTES)?);
        at += STEP_BYTES;
    }
    Ok(Some(VERSION))
}
