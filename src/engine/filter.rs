//! What the layer above tells the engine about its records.

use bytes::Bytes;

use super::{Read, Result};

/// Knowledge about records that the engine itself does not have.
pub trait Filter: Send + Sync + std::fmt::Debug {
    /// When the record expires, in Unix milliseconds; feeds the properties of tables.
    fn expires_at_ms(&self, key: &[u8], value: &[u8]) -> Option<u64>;

    /// A judge of dead records for one compaction, or for the rest of it. `view` is a blocking snapshot
    /// taken after the inputs of the compaction were chosen.
    fn judge(&self, view: Box<dyn Read + Send>) -> Box<dyn Judge>;
}

/// Says which records of one compaction are dead. Asked in key order.
pub trait Judge: Send {
    /// Whether this record, and every older record of the same key, can never be read again. Where the
    /// value is not known it is empty; then `false` is always right.
    fn is_dead(&mut self, key: &Bytes, value: &[u8]) -> Result<bool>;
}

/// Knows nothing and keeps everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepAll;

impl Filter for KeepAll {
    fn expires_at_ms(&self, _key: &[u8], _value: &[u8]) -> Option<u64> {
        None
    }

    fn judge(&self, _view: Box<dyn Read + Send>) -> Box<dyn Judge> {
        Box::new(Self)
    }
}

impl Judge for KeepAll {
    fn is_dead(&mut self, _key: &Bytes, _value: &[u8]) -> Result<bool> {
        Ok(false)
    }
}
