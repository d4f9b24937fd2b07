//! `DEBUG POPULATE`: many keys by one call, in short transactions, so that the writes of others get
//! their turn between them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::on_snapshot;
use crate::commands::{Change, CommandResult, Control, Error, ServerState};
use crate::data::{Edit, View, parse_int};
use crate::engine::{self, ReadMode};
use crate::protocol::Reply;

/// Keys of one transaction at most.
const CHUNK_KEYS_MAX: u64 = 500;
/// Bytes of the values of one transaction at most, unless a single value is larger.
const CHUNK_BYTES_MAX: u64 = 1 << 20;
/// Times that a chunk is warmed before the writer itself may wait on the disk for it.
const WARMINGS_MAX: u32 = 3;

/// What the keys are to be.
#[derive(Debug, Clone)]
struct Filling {
    prefix: Bytes,
    /// Bytes of each value; 0 for as long as its text.
    size: usize,
}

impl Filling {
    fn key(&self, number: u64) -> Vec<u8> {
        [&self.prefix[..], format!(":{number}").as_bytes()].concat()
    }

    fn value(&self, number: u64) -> Bytes {
        let mut value = format!("value:{number}").into_bytes();
        if self.size > 0 {
            value.resize(self.size, 0);
        }
        value.into()
    }

    /// Makes those of the keys that do not exist.
    fn fill(&self, edit: &mut Edit<'_>, numbers: Range<u64>) -> engine::Result<()> {
        for number in numbers {
            let key = self.key(number);
            if edit.find(&key)?.is_none() {
                edit.set_string(&key, None, self.value(number), None);
            }
        }
        Ok(())
    }
}

/// `count [prefix [size]]`: keys `prefix:0` and so on, with values `value:0`; those that exist stay.
pub(super) async fn populate(state: &Arc<ServerState>, db: u16, words: &[Bytes]) -> CommandResult {
    let positive = |word: Option<&Bytes>| match word {
        Some(word) => parse_int(word).and_then(|n| u64::try_from(n).ok()).ok_or_else(not_positive),
        None => Ok(0),
    };
    let count = positive(words.first())?;
    let size = positive(words.get(2))?;
    if size > state.config.load().proto_max_bulk_len {
        return Err(Error::StringTooLong);
    }
    let prefix = words.get(1).cloned().unwrap_or_else(|| Bytes::from_static(b"key"));
    let filling =
        Filling { prefix, size: usize::try_from(size).map_err(|_| Error::StringTooLong)? };
    let step = (CHUNK_BYTES_MAX / size.max(1)).clamp(1, CHUNK_KEYS_MAX);
    let mut next = 0;
    while next < count {
        let end = next.saturating_add(step).min(count);
        send(state, db, &filling, next..end).await?;
        next = end;
    }
    Ok(Reply::OK)
}

fn not_positive() -> Error {
    Error::Text("ERR value is out of range, must be positive".to_owned())
}

/// Has the writer run one chunk, warming what it would wait for.
async fn send(
    state: &Arc<ServerState>,
    db: u16,
    filling: &Filling,
    numbers: Range<u64>,
) -> Result<(), Error> {
    let mut warmings = 0;
    loop {
        // The writer takes this even where it takes no writes.
        state.engine()?.writable().await;
        let mode = if warmings < WARMINGS_MAX { ReadMode::Resident } else { ReadMode::Blocking };
        let (run, these) = (filling.clone(), numbers.clone());
        let run = Arc::new(move |edit: &mut Edit<'_>| run.fill(edit, these.clone()));
        match state.ask(|done| Control::Change(Change { db, mode, run }, done)).await {
            Err(engine::Error::WouldBlock) => {
                warmings += 1;
                warm(state, db, filling.clone(), numbers.clone()).await?;
            }
            result => return Ok(result?),
        }
    }
}

async fn warm(
    state: &Arc<ServerState>,
    db: u16,
    filling: Filling,
    numbers: Range<u64>,
) -> Result<(), Error> {
    on_snapshot(state, move |snapshot, state| {
        let view = View::new(snapshot, state.context(db, false))?;
        for number in numbers {
            view.inspect(&filling.key(number))?;
        }
        Ok(Reply::OK)
    })
    .await
    .map(drop)
}
