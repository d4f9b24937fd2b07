//! Serialized lists.
//!
//! ```text
//! LIST                elements, then each as a string
//! LIST_ZIPLIST        a ziplist as a string
//! LIST_QUICKLIST      ziplists, then each as a string
//! LIST_QUICKLIST_2    nodes, then each: 1 and an element, or 2 and a listpack, as strings
//! ```

use bytes::Bytes;

use super::listpack::ListpackWriter;
use super::sink::Sink;
use super::source::Source;
use super::types::{LIST, LIST_QUICKLIST, LIST_QUICKLIST_2};
use super::word::Words;
use super::{Loaded, RestoreError, VERSION, wanted};
use crate::data::list::{Limit, element_bytes};
use crate::data::{End, ListEdit, Meta, View};
use crate::engine::Result;

/// Node that is one element.
const PLAIN: u64 = 1;
/// Node that is a listpack.
const PACKED: u64 = 2;

/// Reads the value.
pub(super) fn load(kind: u8, source: &mut Source<'_>, mut list: ListEdit<'_, '_>) -> Loaded<Meta> {
    match kind {
        LIST => {
            for _ in 0..source.len()? {
                let element = source.string()?;
                push(source, &mut list, &element)?;
            }
        }
        LIST_QUICKLIST => {
            for _ in 0..source.len()? {
                load_ziplist(source, &mut list)?;
            }
        }
        LIST_QUICKLIST_2 => {
            for _ in 0..source.len()? {
                load_node(source, &mut list)?;
            }
        }
        _ => load_ziplist(source, &mut list)?,
    }
    wanted(list.into_meta())
}

fn load_node(source: &mut Source<'_>, list: &mut ListEdit<'_, '_>) -> Loaded<()> {
    let container = source.len()?;
    let node = source.string()?;
    match container {
        PLAIN => push(source, list, &node),
        PACKED => push_words(source, list, Words::of_listpack(&node)),
        _ => Err(RestoreError::Malformed),
    }
}

fn load_ziplist(source: &mut Source<'_>, list: &mut ListEdit<'_, '_>) -> Loaded<()> {
    let node = source.string()?;
    push_words(source, list, Words::of_ziplist(&node))
}

fn push_words(
    source: &mut Source<'_>,
    list: &mut ListEdit<'_, '_>,
    words: Option<Words<'_>>,
) -> Loaded<()> {
    for word in wanted(words)?.iter() {
        push(source, list, &word.text())?;
    }
    Ok(())
}

fn push(source: &mut Source<'_>, list: &mut ListEdit<'_, '_>, element: &[u8]) -> Loaded<()> {
    source.charge(element.len())?;
    // Not a part of the payload, which would stay in memory with it.
    let element = Bytes::copy_from_slice(element);
    list.push(End::Tail, std::iter::once(&element))?;
    Ok(())
}

/// Writes type and value; answers the version that this takes.
pub(super) fn save(view: &View<'_>, meta: &Meta, sink: &mut Sink) -> Result<Option<u16>> {
    let Some(list) = view.list(meta) else { return Ok(None) };
    sink.u8(LIST_QUICKLIST_2);
    let count = sink.count_later();
    let limit = Limit(view.context().packing.list_size);
    let mut nodes = Nodes { sink, limit, node: ListpackWriter::new(), bytes: 0, nodes: 0 };
    for element in list.walk_all() {
        nodes.push(&element?);
    }
    nodes.close();
    let written = nodes.nodes;
    sink.count(count, written);
    Ok(Some(VERSION))
}

/// The nodes of a list, while they are written.
struct Nodes<'s> {
    sink: &'s mut Sink,
    limit: Limit,
    node: ListpackWriter,
    /// What the elements of the node take there.
    bytes: u64,
    /// Nodes that were written.
    nodes: u64,
}

impl Nodes<'_> {
    fn push(&mut self, element: &[u8]) {
        let bytes = element_bytes(element);
        if self.limit.is_exceeded(self.bytes + bytes, self.node.count() + 1) {
            self.close();
        }
        if self.limit.is_exceeded(bytes, 1) {
            self.sink.len(PLAIN);
            self.sink.blob(element);
            self.nodes += 1;
            return;
        }
        self.node.push(element);
        self.bytes += bytes;
    }

    /// Writes the node that was gathered, if there is one.
    fn close(&mut self) {
        if self.node.count() == 0 {
            return;
        }
        let node = std::mem::replace(&mut self.node, ListpackWriter::new());
        self.sink.len(PACKED);
        self.sink.blob(&node.finish());
        self.bytes = 0;
        self.nodes += 1;
    }
}
