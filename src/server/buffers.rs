//! Read and reply buffers, pooled per thread, so that only connections that have bytes to hold have any.
//!
//! What was read stands in the buffer that it was read into until the last of its requests is done. A
//! connection that waits gives back the rest of its buffer, and the next one reads into that: what
//! thousands of small requests hold while they wait is their own size.

use std::cell::RefCell;

use bytes::BytesMut;

/// Bytes that one read may bring. Replies of an ordinary pipeline fit.
const BYTES: usize = 16 << 10;
/// A rest of a buffer with less room is not read into.
pub(crate) const ROOM_MIN: usize = 8 << 10;
/// Buffers that have grown beyond this are not kept.
pub(crate) const KEPT_BYTES_MAX: usize = 64 << 10;
/// Buffers kept per thread.
const KEPT_MAX: usize = 128;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Takes an empty buffer with [`ROOM_MIN`] at least.
pub(crate) fn take() -> BytesMut {
    let mut buffer = POOL.with(|pool| pool.borrow_mut().pop()).unwrap_or_default();
    if buffer.capacity() < ROOM_MIN {
        buffer.reserve(BYTES);
    }
    buffer
}

/// Gives a buffer back, which must be empty.
pub(crate) fn put(buffer: BytesMut) {
    debug_assert!(buffer.is_empty(), "given back while in use");
    if buffer.capacity() == 0 || buffer.capacity() > KEPT_BYTES_MAX {
        return;
    }
    POOL.with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < KEPT_MAX {
            pool.push(buffer);
        }
    });
}
