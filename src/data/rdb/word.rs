//! An element of a ziplist or a listpack: bytes, or the integer whose text they would be.

use std::borrow::Cow;

use super::listpack::Listpack;
use super::ziplist::Ziplist;

/// An element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word<'a> {
    Bytes(&'a [u8]),
    Integer(i64),
}

impl<'a> Word<'a> {
    /// The bytes that it stands for.
    pub(super) fn text(self) -> Cow<'a, [u8]> {
        match self {
            Self::Bytes(bytes) => Cow::Borrowed(bytes),
            Self::Integer(integer) => {
                Cow::Owned(itoa::Buffer::new().format(integer).as_bytes().to_vec())
            }
        }
    }

    /// The integer, where it is kept as one.
    pub(super) fn integer(self) -> Option<i64> {
        match self {
            Self::Bytes(_) => None,
            Self::Integer(integer) => Some(integer),
        }
    }
}

/// Elements in a row, whose encoding was checked.
pub(super) enum Words<'a> {
    Ziplist(Ziplist<'a>),
    Listpack(Listpack<'a>),
}

impl<'a> Words<'a> {
    /// Checks all of a ziplist.
    pub(super) fn of_ziplist(blob: &'a [u8]) -> Option<Self> {
        Ziplist::check(blob).map(Self::Ziplist)
    }

    /// Checks all of a listpack.
    pub(super) fn of_listpack(blob: &'a [u8]) -> Option<Self> {
        Listpack::check(blob).map(Self::Listpack)
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Ziplist(list) => list.count(),
            Self::Listpack(list) => list.count(),
        }
    }

    /// The elements.
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = Word<'a>> + 'a> {
        match self {
            Self::Ziplist(list) => Box::new(list.iter()),
            Self::Listpack(list) => Box::new(list.iter()),
        }
    }
}
