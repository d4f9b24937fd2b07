//! A request: the command's name and its arguments.

use bytes::Bytes;
use smallvec::SmallVec;

/// A decoded request: at least the name. Arguments share the read buffer they came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Name first, as sent (any case).
    pub args: SmallVec<[Bytes; 4]>,
    /// Size on the wire in bytes.
    pub wire_len: usize,
}
