//! Replies to bytes.
//!
//! Simple strings, errors and the leaves that RESP3 adds go through the frames of `redis-protocol`.
//! Written directly, with that crate as the oracle of the tests, are:
//!
//! - integers: its frames measure one by a logarithm in floating point, which is a digit too much
//!   just below large powers of ten, and leaves a zero byte behind the frame;
//! - bulk strings: its frames fill their place with zeros before the bytes are copied;
//! - headers of arrays, maps and sets: its maps and sets are hashed and would lose order and
//!   repetitions, its RESP2 frames have no null array;
//! - errors that repeat bytes of a client: its frames hold text;
//! - doubles: Redis uses an exponent, its frames print all digits.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use redis_protocol::resp2::types::BorrowedFrame;
use redis_protocol::resp3::types::VerbatimStringFormat;
use redis_protocol::{resp2, resp3};
use tokio_util::codec::Encoder;

use super::{Error, ListKind, Reply, Version, format_double, format_plain_double};

const CRLF: &[u8] = b"\r\n";

/// Encodes replies for one version of the protocol.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplyEncoder {
    /// The version that the client speaks; `HELLO` changes it.
    pub version: Version,
}

impl ReplyEncoder {
    /// An encoder for `version`.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self { version }
    }

    /// Appends `reply` to `dst`.
    pub fn write(self, reply: &Reply, dst: &mut BytesMut) {
        match (self.version, reply) {
            (_, Reply::Silent) => {}
            (_, Reply::Encoded(pieces)) => pieces.iter().for_each(|piece| dst.put_slice(piece)),
            (_, Reply::Many(many)) => {
                self.write_header(many.kind, many.count, dst);
                many.pieces.iter().for_each(|piece| dst.put_slice(piece));
            }
            (version, Reply::Pushes(frames)) => {
                let kind = if version == Version::Resp2 { b'*' } else { b'>' };
                frames.iter().for_each(|items| self.write_all(kind, items, dst));
            }
            (_, Reply::Integer(value)) => put_integer(dst, *value),
            (_, Reply::Bulk(bytes)) => put_bulk(dst, bytes),
            (_, Reply::Simple(text)) if text == "OK" => dst.put_slice(b"+OK\r\n"),
            (_, Reply::Simple(text)) => {
                put_line(dst, &BorrowedFrame::SimpleString(one_line(text).as_bytes()));
            }
            (_, Reply::Error(text)) => put_line(dst, &BorrowedFrame::Error(&one_line(text))),
            (_, Reply::RawError(text)) => {
                let blank = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
                dst.put_u8(b'-');
                dst.extend(text.iter().map(blank));
                dst.put_slice(CRLF);
            }
            (_, Reply::Array(items)) => self.write_all(b'*', items, dst),
            (Version::Resp2, Reply::Null) => dst.put_slice(b"$-1\r\n"),
            (Version::Resp2, Reply::NullArray) => dst.put_slice(b"*-1\r\n"),
            (Version::Resp3, Reply::Null | Reply::NullArray) => dst.put_slice(b"_\r\n"),
            (Version::Resp2, Reply::Map(pairs) | Reply::Pairs(pairs)) => {
                put_header(dst, b'*', pairs.len() * 2);
                self.write_pairs(pairs, dst);
            }
            (Version::Resp3, Reply::Map(pairs) | Reply::Keyed(pairs)) => {
                put_header(dst, b'%', pairs.len());
                self.write_pairs(pairs, dst);
            }
            (Version::Resp3, Reply::Pairs(pairs)) | (Version::Resp2, Reply::Keyed(pairs)) => {
                put_header(dst, b'*', pairs.len());
                for pair in pairs {
                    put_header(dst, b'*', 2);
                    self.write_pairs(std::slice::from_ref(pair), dst);
                }
            }
            (Version::Resp2, Reply::Attribute(_, reply) | Reply::AfterPush(_, reply)) => {
                self.write(reply, dst);
            }
            (Version::Resp3, Reply::AfterPush(items, reply)) => {
                self.write_all(b'>', items, dst);
                self.write(reply, dst);
            }
            (Version::Resp3, Reply::Attribute(pairs, about)) => {
                put_header(dst, b'|', pairs.len());
                self.write_pairs(pairs, dst);
                self.write(about, dst);
            }
            (Version::Resp2, Reply::Set(items) | Reply::Push(items)) => {
                self.write_all(b'*', items, dst);
            }
            (Version::Resp3, Reply::Set(items)) => self.write_all(b'~', items, dst),
            (Version::Resp3, Reply::Push(items)) => self.write_all(b'>', items, dst),
            (Version::Resp2, Reply::Double(value)) => {
                put_bulk(dst, format_double(*value).as_bytes());
            }
            (Version::Resp3, Reply::Double(value)) => {
                dst.put_u8(b',');
                dst.put_slice(format_double(*value).as_bytes());
                dst.put_slice(CRLF);
            }
            (Version::Resp2, Reply::PlainDouble(value)) => {
                put_bulk(dst, format_plain_double(*value).as_bytes());
            }
            (Version::Resp3, Reply::PlainDouble(value)) => {
                dst.put_u8(b',');
                dst.put_slice(format_plain_double(*value).as_bytes());
                dst.put_slice(CRLF);
            }
            (Version::Resp2, Reply::Bool(value)) => put_integer(dst, i64::from(*value)),
            (Version::Resp2, Reply::BigNumber(bytes) | Reply::Verbatim(_, bytes)) => {
                put_bulk(dst, bytes);
            }
            (Version::Resp3, Reply::Bool(_) | Reply::BigNumber(_) | Reply::Verbatim(..)) => {
                put_resp3(dst, reply);
            }
        }
    }

    /// Appends what stands before the items of a reply; keys and values of a map count each.
    pub fn write_header(self, kind: ListKind, count: usize, dst: &mut BytesMut) {
        match (self.version, kind) {
            (Version::Resp3, ListKind::Set) => put_header(dst, b'~', count),
            (Version::Resp3, ListKind::Map) => put_header(dst, b'%', count / 2),
            (Version::Resp2, ListKind::Pairs) => put_header(dst, b'*', count * 2),
            (Version::Resp2, _) | (_, ListKind::Array | ListKind::Pairs) => {
                put_header(dst, b'*', count);
            }
        }
    }

    /// Appends an item of a reply of this kind.
    pub fn write_item(self, kind: ListKind, item: &Reply, dst: &mut BytesMut) {
        match (self.version, kind, item) {
            (Version::Resp2, ListKind::Pairs, Reply::Array(pair)) => {
                pair.iter().for_each(|part| self.write(part, dst));
            }
            _ => self.write(item, dst),
        }
    }

    /// Appends a bulk string, which is the same in both versions.
    pub fn write_bulk(string: &[u8], dst: &mut BytesMut) {
        put_bulk(dst, string);
    }

    /// Appends what stands before a bulk string of so many bytes.
    pub fn write_bulk_header(bytes: u64, dst: &mut BytesMut) {
        dst.put_u8(b'$');
        dst.put_slice(itoa::Buffer::new().format(bytes).as_bytes());
        dst.put_slice(CRLF);
    }

    fn write_all(self, kind: u8, items: &[Reply], dst: &mut BytesMut) {
        put_header(dst, kind, items.len());
        for item in items {
            self.write(item, dst);
        }
    }

    fn write_pairs(self, pairs: &[(Reply, Reply)], dst: &mut BytesMut) {
        for (key, value) in pairs {
            self.write(key, dst);
            self.write(value, dst);
        }
    }
}

impl Encoder<&Reply> for ReplyEncoder {
    type Error = Error;

    fn encode(&mut self, reply: &Reply, dst: &mut BytesMut) -> Result<(), Error> {
        self.write(reply, dst);
        Ok(())
    }
}

impl Encoder<Reply> for ReplyEncoder {
    type Error = Error;

    fn encode(&mut self, reply: Reply, dst: &mut BytesMut) -> Result<(), Error> {
        self.write(&reply, dst);
        Ok(())
    }
}

fn put_header(dst: &mut BytesMut, kind: u8, count: usize) {
    // Most are short: one check of the buffer instead of three.
    match u8::try_from(count) {
        Ok(count @ 0..10) => dst.put_slice(&[kind, b'0' + count, b'\r', b'\n']),
        Ok(count @ 10..100) => {
            dst.put_slice(&[kind, b'0' + count / 10, b'0' + count % 10, b'\r', b'\n']);
        }
        _ => {
            dst.put_u8(kind);
            dst.put_slice(itoa::Buffer::new().format(count).as_bytes());
            dst.put_slice(CRLF);
        }
    }
}

fn put_integer(dst: &mut BytesMut, value: i64) {
    dst.put_u8(b':');
    dst.put_slice(itoa::Buffer::new().format(value).as_bytes());
    dst.put_slice(CRLF);
}

fn put_bulk(dst: &mut BytesMut, bytes: &[u8]) {
    // One growth of the buffer at most: 20 digits, the mark and two ends of line.
    dst.reserve(bytes.len() + 25);
    put_header(dst, b'$', bytes.len());
    dst.put_slice(bytes);
    dst.put_slice(CRLF);
}

/// The text of a line: an end of line within it would end the reply.
fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(['\r', '\n']) {
        return Cow::Owned(text.replace(['\r', '\n'], " "));
    }
    Cow::Borrowed(text)
}

/// Simple strings and errors, which are the same in both versions.
fn put_line(dst: &mut BytesMut, frame: &resp2::types::BorrowedFrame<'_>) {
    resp2::encode::extend_encode_borrowed(dst, frame, false)
        .expect("the buffer was extended by the length of the frame");
}

/// The leaves that only RESP3 has.
fn put_resp3(dst: &mut BytesMut, reply: &Reply) {
    use resp3::types::BorrowedFrame;

    let attributes = None;
    let frame = match reply {
        Reply::Bool(data) => BorrowedFrame::Boolean { data: *data, attributes },
        Reply::BigNumber(data) => BorrowedFrame::BigNumber { data, attributes },
        Reply::Verbatim(format, data) => {
            let format = match *format {
                "mkd" => VerbatimStringFormat::Markdown,
                _ => VerbatimStringFormat::Text,
            };
            BorrowedFrame::VerbatimString { data, format, attributes }
        }
        _ => BorrowedFrame::Null,
    };
    resp3::encode::complete::extend_encode_borrowed(dst, &frame, false)
        .expect("the buffer was extended by the length of the frame");
}

#[cfg(test)]
mod tests;
