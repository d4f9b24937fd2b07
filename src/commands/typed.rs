//! What commands on collections share.

use super::Error;
use crate::data::{Element, KeyType, Meta};
use crate::protocol::Reply;

/// What was found, if it is of this type or nothing.
pub(super) fn of_type(found: Option<Meta>, kind: KeyType) -> Result<Option<Meta>, Error> {
    match found {
        Some(meta) if meta.kind != kind => Err(Error::WrongType),
        found => Ok(found),
    }
}

/// Names and values in turn, or the names alone.
pub(super) fn field_values(elements: Vec<Element>, no_values: bool) -> Vec<Reply> {
    let mut replies = Vec::with_capacity(elements.len() * if no_values { 1 } else { 2 });
    for Element { name, value, .. } in elements {
        replies.push(Reply::Bulk(name));
        if !no_values {
            replies.push(Reply::Bulk(value));
        }
    }
    replies
}
