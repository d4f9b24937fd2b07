//! How a call answers: where its reply goes while it is made, and how large it may become on the way.

use bytes::{BufMut, Bytes, BytesMut};

use super::{CommandResult, Error};
use crate::data::{Body, Meta, View};
use crate::engine;
use crate::env::{MemoryAccount, Purpose, Room, UNBOUNDED_MEMORY};
use crate::protocol::{EncodedItems, ListKind, Reply, ReplyEncoder, Version};

/// Bytes of a reply that is made in place, where others wait for its end.
const IN_PLACE_BYTES: usize = 512 << 10;
/// A reply of more items or bytes is sent while it is made, or encoded while it is gathered: an item
/// takes many times its bytes as a [`Reply`].
const ITEMS_MAX: usize = 16 << 10;
const BYTES_MAX: usize = 1 << 20;
/// A longer string is not read as a whole where it can be sent in parts.
const STRING_BYTES_MAX: u64 = 256 << 10;
/// Bytes of the parts in which a long string is read: four records.
const STRING_PART_BYTES: u64 = 64 << 10;
/// What stands around a string in a reply, in bytes, about.
const BULK_OVERHEAD: usize = 8;
/// What is made is handed out in pieces of about this size.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// Takes a reply in pieces while it is made.
pub trait Outlet: Sync {
    /// Takes the next piece, and leaves an empty buffer; waits until there is place for it.
    ///
    /// # Errors
    /// Where nobody wants it any more.
    fn send(&self, piece: &mut BytesMut) -> Result<(), Error>;
}

/// Where the reply of a call goes.
#[derive(Clone, Copy)]
enum Way<'a> {
    /// Made where others wait for it. One that becomes large ends as a read does that would wait, or
    /// as a measured one.
    InPlace,
    /// Made in memory, within the room of a command.
    Gathered,
    /// Made in memory while it is small. Of a larger one only its length is found out:
    /// [`Error::TooLong`].
    Measured,
    /// Handed out in pieces. There are so many items in it.
    Sent(&'a dyn Outlet, usize),
}

/// How a call answers.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    way: Way<'a>,
    memory: &'a MemoryAccount,
    version: Version,
}

impl<'a> Answer<'a> {
    /// In memory, whatever it takes.
    pub(super) const UNBOUNDED: Answer<'static> =
        Answer { way: Way::Gathered, memory: &UNBOUNDED_MEMORY, version: Version::Resp2 };

    /// In place: a large reply fails with `WouldBlock`, or with [`Error::TooLong`].
    pub(crate) fn in_place(memory: &'a MemoryAccount) -> Self {
        Self { way: Way::InPlace, memory, version: Version::Resp2 }
    }

    /// In memory, within the room of a command.
    pub(crate) fn gathered(memory: &'a MemoryAccount) -> Self {
        Self { way: Way::Gathered, memory, version: Version::Resp2 }
    }

    /// In memory while it is small; of a larger one it is found out how many items it has.
    pub(crate) fn measured(memory: &'a MemoryAccount) -> Self {
        Self { way: Way::Measured, memory, version: Version::Resp2 }
    }

    /// Sent while it is made, to a client that speaks `version`. `count` is what [`Self::measured`]
    /// has found out in the same view.
    pub(crate) fn sent(
        outlet: &'a dyn Outlet,
        count: usize,
        memory: &'a MemoryAccount,
        version: Version,
    ) -> Self {
        Self { way: Way::Sent(outlet, count), memory, version }
    }

    /// Whether others wait while it is made.
    pub(super) fn is_in_place(self) -> bool {
        matches!(self.way, Way::InPlace)
    }

    /// A reply of items, of which nobody knows yet how many there are.
    pub(super) fn list(self, kind: ListKind) -> ReplyList<'a> {
        ReplyList {
            answer: self,
            kind,
            room: self.memory.room(Purpose::Reply),
            count: 0,
            is_counted: false,
            items: Vec::new(),
            encoded: None,
            piece: BytesMut::new(),
            is_begun: false,
        }
    }

    /// A reply of `count` items; of a map keys and values count each.
    ///
    /// # Errors
    /// Where so many cannot be answered this way.
    pub(super) fn list_of(self, kind: ListKind, count: u64) -> Result<ReplyList<'a>, Error> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > ITEMS_MAX && matches!(self.way, Way::InPlace | Way::Measured) {
            return Err(Error::TooLong(count));
        }
        Ok(ReplyList { is_counted: true, count, ..self.list(kind) })
    }

    /// As [`Self::string`], for all of a string, which is at hand where its metadata record holds it.
    pub(super) fn whole_string(self, view: &View<'_>, meta: Meta) -> CommandResult {
        match meta.body {
            Body::Inline(value) if value.len() as u64 <= STRING_BYTES_MAX => Ok(Reply::Bulk(value)),
            _ => self.string(view, &meta, 0, meta.string_len()),
        }
    }

    /// Bytes `start..end` of a string, which lie within it.
    ///
    /// # Errors
    /// As the read, and where so much cannot be answered this way.
    pub(super) fn string(
        self,
        view: &View<'_>,
        meta: &Meta,
        start: u64,
        end: u64,
    ) -> CommandResult {
        let bytes = end.saturating_sub(start);
        if bytes <= STRING_BYTES_MAX {
            return Ok(Reply::Bulk(view.string_range(meta, start, end)?));
        }
        match self.way {
            Way::InPlace | Way::Measured => Err(Error::TooLong(1)),
            Way::Gathered => {
                let room = self.memory.room(Purpose::Reply);
                room.take(usize::try_from(bytes).unwrap_or(usize::MAX))?;
                Ok(Reply::Bulk(view.string_range(meta, start, end)?))
            }
            Way::Sent(outlet, _) => {
                let mut piece = BytesMut::with_capacity(2 * PIECE_BYTES);
                send_string(outlet, &mut piece, view, meta, start..end)?;
                outlet.send(&mut piece)?;
                Ok(Reply::Silent)
            }
        }
    }
}

/// Sends a part of a string, but for what is left in `piece` in the end.
fn send_string(
    outlet: &dyn Outlet,
    piece: &mut BytesMut,
    view: &View<'_>,
    meta: &Meta,
    range: std::ops::Range<u64>,
) -> Result<(), Error> {
    ReplyEncoder::write_bulk_header(range.end - range.start, piece);
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + STRING_PART_BYTES);
        let part = view.string_range(meta, at, end)?;
        piece.put_slice(&part);
        at = end;
        if piece.len() >= PIECE_BYTES {
            outlet.send(piece)?;
        }
    }
    piece.put_slice(b"\r\n");
    Ok(())
}

fn would_block() -> Error {
    Error::Engine(engine::Error::WouldBlock)
}

/// Collects the items of a reply. Each has to be the same in both versions of the protocol: bulk
/// strings, integers, and arrays of these; of [`ListKind::Pairs`] a pair is an item.
pub(super) struct ReplyList<'a> {
    answer: Answer<'a>,
    kind: ListKind,
    room: Room<'a>,
    /// How many items there are: in the end where that is counted, else so far.
    count: usize,
    is_counted: bool,
    items: Vec<Reply>,
    /// What has been encoded so far.
    encoded: Option<EncodedItems>,
    /// What is to be sent next.
    piece: BytesMut,
    /// Whether the header of what is sent is written.
    is_begun: bool,
}

impl ReplyList<'_> {
    /// Adds an item; of a map its key, then its value.
    ///
    /// # Errors
    /// Where the reply becomes too large for its way, or nobody wants it any more.
    pub(super) fn push(&mut self, item: Reply) -> Result<(), Error> {
        if !self.is_counted {
            self.count += 1;
        }
        match self.answer.way {
            Way::Sent(outlet, count) => self.send(outlet, count, &item),
            Way::Measured if self.is_beyond(&item) => {
                self.items = Vec::new();
                self.encoded = None;
                if self.is_counted { Err(Error::TooLong(self.count)) } else { Ok(()) }
            }
            Way::Measured => self.gather(item),
            Way::InPlace if self.room.held() + item.weight() > IN_PLACE_BYTES => Err(would_block()),
            Way::InPlace => self.gather(item),
            Way::Gathered => {
                self.gather(item)?;
                // Scores are encoded by the version, which is not known here.
                if self.items.len() > ITEMS_MAX && self.kind != ListKind::Pairs {
                    self.encode()?;
                }
                Ok(())
            }
        }
    }

    /// Adds the strings that `walk` hands out. A string is encoded at once where that is as good.
    ///
    /// # Errors
    /// As [`Self::push`], and as the walk.
    pub(super) fn fill(
        &mut self,
        walk: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool) -> engine::Result<()>,
    ) -> Result<(), Error> {
        let mut pushed = Ok(());
        walk(&mut |string| {
            pushed = self.push_bytes(string);
            pushed.is_ok()
        })?;
        pushed
    }

    fn push_bytes(&mut self, string: &[u8]) -> Result<(), Error> {
        if let Way::Sent(outlet, count) = self.answer.way {
            self.begin(count);
            ReplyEncoder::write_bulk(string, &mut self.piece);
            return self.send_piece(outlet);
        }
        let is_light =
            self.gathered() < ITEMS_MAX && self.room.held() + string.len() <= BYTES_MAX / 2;
        let is_dropped = !self.is_counted && self.count > self.gathered();
        if !is_light || is_dropped || self.kind == ListKind::Pairs || !self.items.is_empty() {
            return self.push(Reply::Bulk(Bytes::copy_from_slice(string)));
        }
        if !self.is_counted {
            self.count += 1;
        }
        self.room.take(string.len() + BULK_OVERHEAD)?;
        let (kind, expected) = (self.kind, if self.is_counted { self.count } else { 0 });
        let expected = expected.saturating_mul(string.len() + BULK_OVERHEAD);
        let encoded =
            self.encoded.get_or_insert_with(|| EncodedItems::with_capacity(kind, expected));
        encoded.add_bulk(string);
        Ok(())
    }

    /// Items so far.
    fn gathered(&self) -> usize {
        self.items.len() + self.encoded.as_ref().map_or(0, EncodedItems::count)
    }

    /// Adds a member and its score to a list of pairs.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(super) fn push_pair(&mut self, member: Bytes, score: f64) -> Result<(), Error> {
        self.push(Reply::Array(vec![Reply::Bulk(member), Reply::Double(score)]))
    }

    /// Adds a string.
    ///
    /// # Errors
    /// As [`Self::push`], and as the read.
    pub(super) fn push_string(&mut self, view: &View<'_>, meta: &Meta) -> Result<(), Error> {
        let bytes = meta.string_len();
        if bytes <= STRING_BYTES_MAX {
            return self.push(Reply::Bulk(view.string(meta)?));
        }
        match self.answer.way {
            Way::InPlace | Way::Measured if self.is_counted => Err(Error::TooLong(self.count)),
            Way::InPlace => Err(would_block()),
            Way::Sent(outlet, count) => {
                self.begin(count);
                send_string(outlet, &mut self.piece, view, meta, 0..bytes)
            }
            Way::Measured | Way::Gathered => {
                // Before it is read.
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                self.room.take(bytes)?;
                let value = view.string(meta)?;
                self.room.give_back(bytes);
                self.push(Reply::Bulk(value))
            }
        }
    }

    /// The reply; of one that was sent, nothing is left.
    ///
    /// # Errors
    /// Where the reply is too long for its way.
    pub(super) fn finish(mut self) -> CommandResult {
        match self.answer.way {
            Way::Sent(outlet, count) => {
                self.begin(count);
                outlet.send(&mut self.piece)?;
                return Ok(Reply::Silent);
            }
            Way::Measured if !self.is_counted && self.count > self.gathered() => {
                return Err(Error::TooLong(self.count));
            }
            _ => {}
        }
        if self.encoded.is_some() {
            self.encode()?;
        }
        if let Some(encoded) = self.encoded {
            return Ok(Reply::Many(encoded));
        }
        Ok(match self.kind {
            ListKind::Array => Reply::Array(self.items),
            ListKind::Set => Reply::Set(self.items),
            ListKind::Map => {
                let mut items = self.items.into_iter();
                let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
                Reply::Map(pairs.collect())
            }
            ListKind::Pairs => Reply::Pairs(self.items.into_iter().filter_map(as_pair).collect()),
        })
    }

    fn gather(&mut self, item: Reply) -> Result<(), Error> {
        self.room.take(item.weight() + size_of::<Reply>())?;
        self.items.push(item);
        Ok(())
    }

    /// Whether the reply is too large to be gathered with this item, or was so before.
    fn is_beyond(&self, item: &Reply) -> bool {
        let is_dropped = !self.is_counted && self.count > self.gathered() + 1;
        is_dropped || self.gathered() >= ITEMS_MAX || self.room.held() + item.weight() > BYTES_MAX
    }

    /// Encodes the items that were gathered.
    fn encode(&mut self) -> Result<(), Error> {
        let encoded = self.encoded.get_or_insert_with(|| EncodedItems::new(self.kind));
        let before = encoded.bytes();
        let mut given_back = 0;
        for item in self.items.drain(..) {
            given_back += item.weight() + size_of::<Reply>();
            encoded.add(&item);
        }
        self.room.give_back(given_back);
        Ok(self.room.take(encoded.bytes() - before)?)
    }

    /// Starts the reply that is sent, if this was not done.
    fn begin(&mut self, count: usize) {
        if !self.is_begun {
            self.is_begun = true;
            self.piece.reserve(PIECE_BYTES + PIECE_BYTES / 8);
            ReplyEncoder::new(self.answer.version).write_header(self.kind, count, &mut self.piece);
        }
    }

    fn send(&mut self, outlet: &dyn Outlet, count: usize, item: &Reply) -> Result<(), Error> {
        self.begin(count);
        let encoder = ReplyEncoder::new(self.answer.version);
        encoder.write_item(self.kind, item, &mut self.piece);
        self.send_piece(outlet)
    }

    /// Hands out what is to be sent, if that is enough.
    fn send_piece(&mut self, outlet: &dyn Outlet) -> Result<(), Error> {
        if self.piece.len() >= PIECE_BYTES {
            outlet.send(&mut self.piece)?;
            // What one large item has taken is not kept for the others.
            if self.piece.capacity() > 2 * PIECE_BYTES {
                self.piece = BytesMut::new();
            }
            self.piece.reserve(PIECE_BYTES + PIECE_BYTES / 8);
        }
        Ok(())
    }
}

fn as_pair(item: Reply) -> Option<(Reply, Reply)> {
    let Reply::Array(items) = item else { return None };
    let mut items = items.into_iter();
    Some((items.next()?, items.next()?))
}

#[cfg(test)]
mod tests;
