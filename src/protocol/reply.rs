//! What a command answers, before it is encoded for a protocol version.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::EncodedItems;

/// A reply. RESP3 types degrade for a RESP2 connection as Redis does it: map and set to array,
/// double and verbatim to bulk string, boolean to integer, push to array, null to `$-1`.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+OK`.
    Simple(Cow<'static, str>),
    /// `-ERR ...`: the text with its code, without the minus sign.
    Error(Cow<'static, str>),
    /// The same with bytes of the client in it that are no UTF-8.
    RawError(Bytes),
    /// `:1`.
    Integer(i64),
    /// `$3`.
    Bulk(Bytes),
    /// No value: `$-1`, in RESP3 `_`.
    Null,
    /// No array: `*-1`, in RESP3 `_`.
    NullArray,
    /// `*2`.
    Array(Vec<Reply>),
    /// `%1`; in RESP2 a flat array.
    Map(Vec<(Reply, Reply)>),
    /// `*1` of `*2`; in RESP2 a flat array.
    Pairs(Vec<(Reply, Reply)>),
    /// `%1`; in RESP2 `*1` of `*2`.
    Keyed(Vec<(Reply, Reply)>),
    /// `~1`; in RESP2 an array.
    Set(Vec<Reply>),
    /// `>1`; in RESP2 an array.
    Push(Vec<Reply>),
    /// `,1.5`; in RESP2 a bulk string.
    Double(f64),
    /// The same without an exponent, with 17 decimals at most.
    PlainDouble(f64),
    /// `#t`; in RESP2 `:1` or `:0`.
    Bool(bool),
    /// `(123`; in RESP2 a bulk string.
    BigNumber(Bytes),
    /// `=15` with format `txt` or `mkd`; in RESP2 a bulk string.
    Verbatim(&'static str, Bytes),
    /// `|1`, what is told about a reply, in front of it; in RESP2 the reply alone.
    Attribute(Vec<(Reply, Reply)>, Box<Reply>),
    /// `>1` and behind it the reply itself; in RESP2 the reply alone.
    AfterPush(Vec<Reply>, Box<Reply>),
    /// Any number of `>1`, one behind the other, each sent whatever `CLIENT REPLY` says; in RESP2
    /// arrays.
    Pushes(Vec<Vec<Reply>>),
    /// Nothing is sent.
    Silent,
    /// An array, a set or a map of many items.
    Many(EncodedItems),
    /// What [`super::ReplyEncoder`] has made of a reply, for the version of the connection; in pieces.
    Encoded(Vec<BytesMut>),
}

impl Reply {
    /// `+OK`.
    pub const OK: Self = Self::Simple(Cow::Borrowed("OK"));

    /// The empty array, `*0`.
    pub const EMPTY: Self = Self::Array(Vec::new());

    /// An error of this text, code first, which may be any bytes.
    #[must_use]
    pub fn error_of(text: Vec<u8>) -> Self {
        match String::from_utf8(text) {
            Ok(text) => Self::Error(text.into()),
            Err(raw) => Self::RawError(raw.into_bytes().into()),
        }
    }

    /// A bulk string from anything that becomes bytes without a copy.
    pub fn bulk(bytes: impl Into<Bytes>) -> Self {
        Self::Bulk(bytes.into())
    }

    /// A bulk string that copies `text`.
    #[must_use]
    pub fn bulk_from_str(text: &str) -> Self {
        Self::Bulk(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// A bulk string, or null where there is none.
    #[must_use]
    pub fn bulk_or_null(bytes: Option<Bytes>) -> Self {
        bytes.map_or(Self::Null, Self::Bulk)
    }

    /// `+text`.
    pub fn simple(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Simple(text.into())
    }

    /// `-text`; `text` starts with its code (`ERR ...`). Line ends in it are sent as blanks.
    pub fn error(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Error(text.into())
    }

    /// An error reply of anything whose `Display` is the text on the wire, code first.
    #[must_use]
    pub fn error_from(error: &dyn std::fmt::Display) -> Self {
        Self::Error(Cow::Owned(error.to_string()))
    }

    /// An array of anything that becomes a reply.
    pub fn array<T: Into<Self>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }

    /// A set of anything that becomes a reply.
    pub fn set<T: Into<Self>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::Set(items.into_iter().map(Into::into).collect())
    }

    /// A map of anything that becomes a reply, in this order.
    pub fn map<K: Into<Self>, V: Into<Self>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// A length or a count; one that does not fit is sent as the largest integer.
    #[must_use]
    pub fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    /// About how many bytes it holds.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Bulk(bytes) => bytes.len(),
            Self::Many(many) => many.bytes(),
            Self::Array(items) | Self::Set(items) => {
                items.iter().map(|item| item.weight() + size_of::<Self>()).sum()
            }
            Self::Map(pairs) | Self::Pairs(pairs) | Self::Keyed(pairs) => {
                let weight = |(key, value): &(Self, Self)| key.weight() + value.weight();
                pairs.iter().map(|pair| weight(pair) + 2 * size_of::<Self>()).sum()
            }
            _ => 0,
        }
    }

    /// Whether it is an error reply.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_) | Self::RawError(_))
    }
}

impl From<i64> for Reply {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u64> for Reply {
    /// Values above the largest signed integer are sent as that.
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Reply {
    /// `:1` or `:0` in both versions, as nearly every command of Redis answers a condition. The
    /// boolean of RESP3 is [`Reply::Bool`].
    fn from(value: bool) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl From<&'static str> for Reply {
    fn from(text: &'static str) -> Self {
        Self::Bulk(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Self::Bulk(Bytes::from(text))
    }
}

impl From<Bytes> for Reply {
    fn from(bytes: Bytes) -> Self {
        Self::Bulk(bytes)
    }
}

impl From<Vec<u8>> for Reply {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bulk(Bytes::from(bytes))
    }
}

impl From<Option<Bytes>> for Reply {
    fn from(bytes: Option<Bytes>) -> Self {
        Self::bulk_or_null(bytes)
    }
}
