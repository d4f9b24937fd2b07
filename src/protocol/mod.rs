//! Bytes to requests and replies to bytes: RESP2, RESP3, inline commands. Knows no command.
//!
//! [`RequestDecoder`] and [`ReplyEncoder`] are a tokio-util codec. Neither owns a buffer: between two
//! requests a connection may give its buffers back.

mod decoder;
mod encoder;
mod error;
mod list;
mod number;
mod reply;
mod request;
mod words;

pub use decoder::{Limits, RequestDecoder};
pub use encoder::ReplyEncoder;
pub use error::Error;
pub use list::{EncodedItems, ListKind};
pub use number::{format_double, format_plain_double, whole};
pub use reply::Reply;
pub use request::Request;
pub use words::{quote, quote_always, split_words};

/// Which version of the protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// RESP2, the default of a new connection.
    #[default]
    Resp2,
    /// RESP3, after `HELLO 3`.
    Resp3,
}
