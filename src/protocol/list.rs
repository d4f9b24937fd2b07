//! Replies of many items, as they are made.

use bytes::{Bytes, BytesMut};

use super::{Reply, ReplyEncoder, Version};

/// Encoded items are gathered in pieces of about this size: none is moved to grow.
const PIECE_BYTES: usize = 256 << 10;

/// What a reply of many items is to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// [`Reply::Array`].
    Array,
    /// [`Reply::Set`].
    Set,
    /// [`Reply::Map`]: keys and values by turns.
    Map,
    /// [`Reply::Pairs`]: items are arrays of two.
    Pairs,
}

/// Many items that are already encoded. Each has to be the same in both versions of the protocol: bulk
/// strings, integers, and arrays of these. Not [`ListKind::Pairs`], which differ.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedItems {
    pub(super) kind: ListKind,
    /// Keys and values count each.
    pub(super) count: usize,
    pub(super) pieces: Vec<BytesMut>,
}

impl EncodedItems {
    /// No items yet.
    #[must_use]
    pub fn new(kind: ListKind) -> Self {
        Self { kind, count: 0, pieces: Vec::new() }
    }

    /// No items yet; about so many bytes are to come.
    #[must_use]
    pub fn with_capacity(kind: ListKind, bytes: usize) -> Self {
        let piece = BytesMut::with_capacity(bytes.min(PIECE_BYTES + PIECE_BYTES / 8));
        Self { kind, count: 0, pieces: vec![piece] }
    }

    /// Adds a bulk string; of a map a key, then its value.
    pub fn add_bulk(&mut self, string: &[u8]) {
        ReplyEncoder::write_bulk(string, self.piece());
        self.count += 1;
    }

    /// Where the next item goes.
    fn piece(&mut self) -> &mut BytesMut {
        if self.pieces.last().is_none_or(|piece| piece.len() >= PIECE_BYTES) {
            // The last item of a piece may reach beyond.
            self.pieces.push(BytesMut::with_capacity(PIECE_BYTES + PIECE_BYTES / 8));
        }
        let last = self.pieces.len() - 1;
        &mut self.pieces[last]
    }

    /// Bytes of the items.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(BytesMut::len).sum()
    }

    /// What the reply is to the client.
    #[must_use]
    pub fn kind(&self) -> ListKind {
        self.kind
    }

    /// How many items there are; of a map keys and values count each.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The items, made again of what they were encoded to.
    pub fn items(&self) -> impl Iterator<Item = Reply> + '_ {
        self.pieces.iter().flat_map(|piece| {
            let mut rest = &piece[..];
            std::iter::from_fn(move || decode(&mut rest))
        })
    }

    /// All of the reply in pieces, for a connection that speaks `version`.
    #[must_use]
    pub fn into_pieces(mut self, version: Version) -> Vec<BytesMut> {
        let mut header = BytesMut::new();
        ReplyEncoder::new(version).write_header(self.kind, self.count, &mut header);
        self.pieces.insert(0, header);
        self.pieces
    }
}

impl EncodedItems {
    /// Adds an item; of a map its key, then its value.
    pub fn add(&mut self, item: &Reply) {
        ReplyEncoder::new(Version::Resp2).write(item, self.piece());
        self.count += 1;
    }
}

/// Takes the item that `rest` starts with: a bulk string, an integer, or an array of these.
fn decode(rest: &mut &[u8]) -> Option<Reply> {
    let end = memchr::memchr(b'\n', rest)?;
    let (line, behind) = (rest.get(1..end - 1)?, rest.get(end + 1..)?);
    let kind = *rest.first()?;
    let number: i64 = std::str::from_utf8(line).ok()?.parse().ok()?;
    *rest = behind;
    match kind {
        b':' => Some(Reply::Integer(number)),
        b'$' => {
            let Ok(length) = usize::try_from(number) else { return Some(Reply::Null) };
            let bytes = Bytes::copy_from_slice(rest.get(..length)?);
            *rest = rest.get(length + 2..)?;
            Some(Reply::Bulk(bytes))
        }
        b'*' => {
            let Ok(count) = usize::try_from(number) else { return Some(Reply::NullArray) };
            (0..count).map(|_| decode(rest)).collect::<Option<_>>().map(Reply::Array)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: &Reply, version: Version) -> BytesMut {
        let mut bytes = BytesMut::new();
        ReplyEncoder::new(version).write(reply, &mut bytes);
        bytes
    }

    #[test]
    fn many_items_are_sent_as_few_are() {
        for count in [0, 2, 50_000] {
            let item = |number: usize| match number % 3 {
                0 => Reply::bulk(format!("item {number}")),
                1 => Reply::count(number),
                _ => Reply::array([Reply::bulk("a"), Reply::EMPTY]),
            };
            let items: Vec<Reply> = (0..count).map(item).collect();
            let pairs = items.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone()));
            let plain = [
                (ListKind::Array, Reply::Array(items.clone())),
                (ListKind::Set, Reply::Set(items.clone())),
                (ListKind::Map, Reply::Map(pairs.collect())),
            ];
            for (kind, plain) in plain {
                let mut many = EncodedItems::new(kind);
                items.iter().for_each(|item| many.add(item));
                assert!(many.items().eq(items.iter().cloned()));
                for version in [Version::Resp2, Version::Resp3] {
                    let expected = encoded(&plain, version);
                    assert_eq!(encoded(&Reply::Many(many.clone()), version), expected);
                    assert!(many.bytes() < expected.len());
                    assert_eq!(many.clone().into_pieces(version).concat(), expected);
                }
            }
        }
    }
}
