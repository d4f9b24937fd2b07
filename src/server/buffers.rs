//! Read and reply buffers, pooled per thread, so that only connections that are talking hold any.

use std::cell::RefCell;

use bytes::BytesMut;

/// Bytes that one read may bring.
const INPUT_BYTES: usize = 16 << 10;
/// Replies of an ordinary pipeline fit.
const OUTPUT_BYTES: usize = 16 << 10;
/// Buffers that have grown beyond this are not kept.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// Pairs kept per thread.
const KEPT_MAX: usize = 64;

/// A read buffer and a reply buffer, both empty.
#[derive(Debug)]
pub(crate) struct Buffers {
    /// Takes what is read.
    pub(crate) input: BytesMut,
    /// Takes encoded replies.
    pub(crate) output: BytesMut,
}

thread_local! {
    static POOL: RefCell<Vec<Buffers>> = const { RefCell::new(Vec::new()) };
}

/// Takes a pair with room.
pub(crate) fn take() -> Buffers {
    let mut buffers = POOL
        .with(|pool| pool.borrow_mut().pop())
        .unwrap_or_else(|| Buffers { input: BytesMut::new(), output: BytesMut::new() });
    buffers.input.reserve(INPUT_BYTES);
    buffers.output.reserve(OUTPUT_BYTES);
    buffers
}

/// Gives a pair back; both buffers must be empty.
pub(crate) fn put(buffers: Buffers) {
    debug_assert!(buffers.input.is_empty() && buffers.output.is_empty(), "given back while in use");
    let kept =
        buffers.input.capacity() <= KEPT_BYTES_MAX && buffers.output.capacity() <= KEPT_BYTES_MAX;
    if kept {
        POOL.with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT_MAX {
                pool.push(buffers);
            }
        });
    }
}
