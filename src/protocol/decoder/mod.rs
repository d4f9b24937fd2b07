//! Bytes to requests.
//!
//! A request is an array of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`) or an inline command
//! (`GET k\r\n`). The array is decoded directly, without a frame in between; its arguments are
//! slices of the read buffer.
//!
//! The bytes of an unfinished request stay in the caller's buffer, the decoder remembers how far it
//! has read: each byte is looked at once, however the request was split. Nothing is allocated for an
//! announced length or count, only for bytes that are there.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use smallvec::SmallVec;
use tokio_util::codec::Decoder;

use super::{Error, Request, split_words};

/// What Redis takes: its count is a 32-bit integer. What arrives is held against
/// `client-query-buffer-limit`, what is announced costs nothing.
const ARGS_MAX: usize = i32::MAX as usize;
/// Arguments that a client may send in one request before it has authenticated.
const UNAUTHENTICATED_ARGS_MAX: usize = 10;
/// Bytes of an argument that a client may send before it has authenticated.
const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;
/// Room to offer to the socket where nothing more precise is known.
const READ_BYTES: usize = 16 * 1024;

/// Limits of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an inline command, or of a line that announces a count or a length, that may arrive
    /// without the end of the line.
    pub line_bytes_max: usize,
    /// Most arguments, the name included.
    pub args_max: usize,
    /// Longest argument (`proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// Until the client has authenticated much smaller limits hold.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes_max: 64 * 1024,
            args_max: ARGS_MAX,
            bulk_bytes_max: 512 * 1024 * 1024,
            authenticated: true,
        }
    }
}

/// Decodes requests. Holds no bytes of them: those of an unfinished request stay at the front of the
/// buffer, which the caller must then keep as it is and only append to.
///
/// While [`Limits::authenticated`] is false, decode and run one request at a time: the request behind
/// an `AUTH` must not be measured by the limits from before it.
#[derive(Debug, Default)]
pub struct RequestDecoder {
    limits: Limits,
    /// Bytes of the unfinished request that need not be looked at again.
    parsed: usize,
    /// No end of line is before this offset; at least `parsed`.
    scanned: usize,
    /// Arguments still to come, the current one included; 0 between two requests.
    args_left: usize,
    /// Length of the current argument, once its `$` line has been read.
    bulk_len: Option<usize>,
    /// Bytes of the current argument that are to be dropped, where the request is given up.
    dropping: Option<usize>,
    /// Offset and length of each argument read so far.
    args: SmallVec<[(usize, usize); 4]>,
}

impl RequestDecoder {
    /// A decoder with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The limits, to be changed when the client authenticates or a setting changes. They hold from
    /// the next line on.
    pub fn limits_mut(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// How many bytes of room the buffer should have before the next read from the socket, when it
    /// holds `buffered` bytes. Follows a long argument geometrically: never more than what has
    /// arrived, but for a quarter where that is the rest of it, and never beyond its end.
    #[must_use]
    pub fn room_wanted(&self, buffered: usize) -> usize {
        match self.bulk_len {
            Some(len) => {
                let missing = (self.parsed + len + 2).saturating_sub(buffered);
                let step = buffered.max(READ_BYTES);
                // A little that is left over would have the buffer grow once more.
                if missing <= step + step / 4 { missing.max(1) } else { step }
            }
            None => READ_BYTES,
        }
    }

    /// Bytes of the current argument that have not arrived, when the buffer holds `buffered` bytes; 0
    /// between two arguments.
    #[must_use]
    pub fn missing(&self, buffered: usize) -> usize {
        self.bulk_len.map_or(0, |length| (self.parsed + length + 2).saturating_sub(buffered))
    }

    /// Which argument of the unfinished request arrives: how many are to come, that one included.
    #[must_use]
    pub fn args_left(&self) -> usize {
        self.args_left
    }

    /// Gives the unfinished request up, some of whose arguments are missing: what has come of it goes, and
    /// [`Self::discard`] drops the rest of it as it comes.
    pub fn give_up(&mut self, src: &mut BytesMut) {
        debug_assert!(self.args_left > 0, "no request is unfinished");
        self.skip_parsed(src);
        self.args = SmallVec::new();
        self.dropping = Some(self.bulk_len.take().map_or(0, |length| length + 2));
    }

    /// Whether a request was given up, of which the end has not come.
    #[must_use]
    pub fn gives_up(&self) -> bool {
        self.dropping.is_some()
    }

    /// Drops what has come of the request that was given up; whether that was the rest of it, behind
    /// which the next one starts.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn discard(&mut self, src: &mut BytesMut) -> Result<bool, Error> {
        while let Some(left) = self.dropping {
            let dropped = left.min(src.len());
            src.advance(dropped);
            self.dropping = Some(left - dropped);
            if dropped < left {
                return Ok(false);
            }
            self.args_left -= usize::from(left > 0);
            if self.args_left == 0 {
                self.dropping = None;
            } else if let Some(length) = self.length(src)? {
                self.skip_parsed(src);
                self.dropping = Some(length + 2);
            } else {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Bytes that the unfinished request occupies, when the buffer holds `buffered` of them after
    /// [`Decoder::decode`] answered `None`; held against `client-query-buffer-limit`.
    #[must_use]
    pub fn held_bytes(&self, buffered: usize) -> usize {
        let spilled = if self.args.spilled() { self.args.capacity() } else { 0 };
        buffered + spilled * size_of::<(usize, usize)>()
    }

    /// The line that starts at `parsed`, up to `end` (exclusive), and moves behind it by `skip` more
    /// bytes. `None` where its end has not arrived; then `too_long` if it may not be longer.
    fn line(
        &mut self,
        src: &BytesMut,
        end: u8,
        skip: usize,
        too_long: Error,
    ) -> Result<Option<(usize, usize)>, Error> {
        let start = self.parsed;
        let from = self.scanned.max(start);
        let found = src.get(from..).and_then(|rest| memchr(end, rest)).map(|at| from + at);
        self.scanned = found.unwrap_or(src.len());
        // As in Redis only a line without an end is too long: one that arrived as a whole is taken.
        if found.is_none() && src.len() - start > self.limits.line_bytes_max {
            return Err(too_long);
        }
        match found {
            Some(at) if at + skip <= src.len() => {
                self.parsed = at + skip;
                Ok(Some((start, at)))
            }
            _ => Ok(None),
        }
    }

    /// Forgets the unfinished request and drops its bytes.
    fn skip_parsed(&mut self, src: &mut BytesMut) {
        src.advance(self.parsed);
        self.parsed = 0;
        self.scanned = 0;
    }

    fn decode_inline(&mut self, src: &mut BytesMut) -> Result<Option<Request>, Error> {
        let Some((start, end)) = self.line(src, b'\n', 1, Error::TooBigInline)? else {
            return Ok(None);
        };
        let line = src.get(start..end).unwrap_or_default();
        if memchr(0, line).is_some() {
            // As in Redis no end of a line is found behind a zero byte.
            self.parsed = start;
            self.scanned = src.len();
            let is_too_long = src.len() - start > self.limits.line_bytes_max;
            return if is_too_long { Err(Error::TooBigInline) } else { Ok(None) };
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let words = split_words(line).ok_or(Error::UnbalancedQuotes)?;
        if words.first().is_some_and(|word| is_http(word)) {
            return Err(Error::CrossProtocol);
        }
        let request =
            Request { args: words.into_iter().map(Bytes::from).collect(), wire_len: self.parsed };
        self.skip_parsed(src);
        Ok(Some(request))
    }

    /// Reads `*n`. `None` where it has not arrived.
    fn count(&mut self, src: &BytesMut) -> Result<Option<usize>, Error> {
        let Some((start, end)) = self.line(src, b'\r', 2, Error::TooBigMultibulkCount)? else {
            return Ok(None);
        };
        let count = number(src, start + 1, end).ok_or(Error::InvalidMultibulkLength)?;
        // Zero and negative counts are an empty request.
        let count = usize::try_from(count).unwrap_or(0);
        if count > self.limits.args_max {
            return Err(Error::InvalidMultibulkLength);
        }
        if count > UNAUTHENTICATED_ARGS_MAX && !self.limits.authenticated {
            return Err(Error::UnauthenticatedMultibulkLength);
        }
        Ok(Some(count))
    }

    /// Reads `$n`. `None` where it has not arrived.
    fn length(&mut self, src: &BytesMut) -> Result<Option<usize>, Error> {
        match short_length(src.get(self.parsed..).unwrap_or_default()) {
            Some((length, line_len)) if length <= self.limits.bulk_bytes_max => {
                self.parsed += line_len;
                return Ok(Some(length));
            }
            _ => {}
        }
        let first = self.parsed;
        let Some((start, end)) = self.line(src, b'\r', 2, Error::TooBigBulkCount)? else {
            return Ok(None);
        };
        match src.get(first) {
            Some(b'$') => {}
            Some(other) => return Err(Error::ExpectedDollar(*other)),
            None => return Ok(None),
        }
        let length = number(src, start + 1, end)
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| *length <= self.limits.bulk_bytes_max)
            .ok_or(Error::InvalidBulkLength)?;
        if length > UNAUTHENTICATED_BULK_BYTES_MAX && !self.limits.authenticated {
            return Err(Error::UnauthenticatedBulkLength);
        }
        Ok(Some(length))
    }

    /// Reads the arguments that are there. Whether all of them are.
    fn read_args(&mut self, src: &BytesMut) -> Result<bool, Error> {
        while self.args_left > 0 {
            let length = match self.bulk_len {
                Some(length) => length,
                None => match self.length(src)? {
                    Some(length) => length,
                    None => return Ok(false),
                },
            };
            if src.len() - self.parsed < length + 2 {
                self.bulk_len = Some(length);
                return Ok(false);
            }
            self.args.push((self.parsed, length));
            self.parsed += length + 2;
            self.bulk_len = None;
            self.args_left -= 1;
        }
        Ok(true)
    }

    /// Takes the complete request out of the buffer.
    fn finish(&mut self, src: &mut BytesMut) -> Request {
        let wire_len = self.parsed;
        let mut whole = src.split_to(wire_len).freeze();
        let spans = std::mem::take(&mut self.args);
        let mut args = SmallVec::with_capacity(spans.len());
        if let Some(((last, length), others)) = spans.split_last() {
            for (at, length) in others {
                args.push(whole.slice(*at..*at + *length));
            }
            // The last one takes the handle over: one count less to raise and lower.
            whole.advance(*last);
            whole.truncate(*length);
            args.push(whole);
        }
        self.parsed = 0;
        self.scanned = 0;
        Request { args, wire_len }
    }
}

impl Decoder for RequestDecoder {
    type Item = Request;
    type Error = Error;

    /// The next request, or `None` until more bytes are appended to `src`. Empty requests are
    /// skipped. After an error the connection must be closed.
    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Request>, Error> {
        loop {
            if self.args_left == 0 {
                match src.first() {
                    None => return Ok(None),
                    Some(b'*') => match self.count(src)? {
                        None => return Ok(None),
                        Some(0) => {
                            self.skip_parsed(src);
                            continue;
                        }
                        Some(count) => self.args_left = count,
                    },
                    Some(_) => match self.decode_inline(src)? {
                        Some(request) if request.args.is_empty() => continue,
                        other => return Ok(other),
                    },
                }
            }
            return Ok(if self.read_args(src)? { Some(self.finish(src)) } else { None });
        }
    }

    /// At the end of the stream an unfinished request is dropped: its client is gone.
    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Request>, Error> {
        let request = self.decode(src)?;
        if request.is_none() {
            src.clear();
            *self = Self::new(self.limits);
        }
        Ok(request)
    }
}

/// The length in a line like `$5\r\n` of one to three digits, and how long the line is. Nearly every
/// line is such a one; all others, and all mistakes, are left to the general way.
fn short_length(rest: &[u8]) -> Option<(usize, usize)> {
    let digit = |byte: &u8| usize::from(byte.wrapping_sub(b'0'));
    let (length, line_len) = match rest {
        [b'$', a, b'\r', _, ..] => (digit(a), 4),
        [b'$', a, b, b'\r', _, ..] if *a != b'0' && digit(b) < 10 => (digit(a) * 10 + digit(b), 5),
        [b'$', a, b, c, b'\r', _, ..] if *a != b'0' && digit(b) < 10 && digit(c) < 10 => {
            (digit(a) * 100 + digit(b) * 10 + digit(c), 6)
        }
        _ => return None,
    };
    rest.get(1).is_some_and(u8::is_ascii_digit).then_some((length, line_len))
}

/// A signed number in Redis's strict form (no blanks, no plus, no leading zeros).
fn number(src: &BytesMut, start: usize, end: usize) -> Option<i64> {
    let text = src.get(start..end)?;
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits == b"0" && !negative {
        return Some(0);
    }
    // 18 digits cannot overflow, and no limit is that long.
    if digits.is_empty() || digits.len() > 18 || digits.starts_with(b"0") {
        return None;
    }
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -value } else { value })
}

/// Whether an inline command is a line of an HTTP request, which a web page can make a browser send:
/// the lines behind it may be commands that the user never meant.
fn is_http(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:")
}

#[cfg(test)]
mod tests;
