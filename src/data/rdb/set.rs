//! Serialized sets.
//!
//! ```text
//! SET             members, then each as a string
//! SET_INTSET      an intset as a string
//! SET_LISTPACK    a listpack as a string; Redis 7.0 does not know it, so it is not written
//! ```

use super::sink::Sink;
use super::source::Source;
use super::types::{SET, SET_INTSET};
use super::word::Words;
use super::{Loaded, VERSION, ensure, intset, wanted};
use crate::data::{Layout, Meta, SetEdit, View, integers};
use crate::engine::Result;

/// Reads the value.
pub(super) fn load(kind: u8, source: &mut Source<'_>, mut set: SetEdit<'_, '_>) -> Loaded<Meta> {
    match kind {
        SET => {
            let count = source.len()?;
            for at in 0..count {
                let member = source.string()?;
                add(source, &mut set, (at == 0).then_some(count), &member)?;
            }
        }
        SET_INTSET => {
            let blob = source.string()?;
            let integers = wanted(intset::integers(&blob))?;
            let mut announced = Some(integers.len() as u64);
            for integer in integers {
                let member = itoa::Buffer::new().format(integer).to_owned();
                add(source, &mut set, announced.take(), member.as_bytes())?;
            }
        }
        _ => {
            let blob = source.string()?;
            let words = wanted(Words::of_listpack(&blob))?;
            let mut announced = Some(words.count());
            for word in words.iter() {
                add(source, &mut set, announced.take(), &word.text())?;
            }
        }
    }
    wanted(set.into_meta(None))
}

/// Adds a member, which is new; before the first of them `announced` says how many there are.
fn add(
    source: &mut Source<'_>,
    set: &mut SetEdit<'_, '_>,
    announced: Option<u64>,
    member: &[u8],
) -> Loaded<()> {
    source.charge(member.len())?;
    if let Some(count) = announced {
        set.expect(count, member)?;
    }
    ensure(set.add(member)?)
}

/// Writes type and value; answers the version that this takes.
pub(super) fn save(
    view: &View<'_>,
    key: &[u8],
    meta: &Meta,
    sink: &mut Sink,
) -> Result<Option<u16>> {
    let Some(elements) = view.elements(key, meta) else { return Ok(None) };
    if let Layout::Integers(list) = &elements.collection.layout {
        sink.u8(SET_INTSET);
        sink.blob(&intset::encode(&integers::iter(list).collect::<Vec<_>>()));
        return Ok(Some(VERSION));
    }
    sink.u8(SET);
    let (count, mut members) = (sink.count_later(), 0);
    for member in elements.walk() {
        sink.string(&member?.name);
        members += 1;
    }
    sink.count(count, members);
    Ok(Some(VERSION))
}
