//! `PFSELFTEST`: whether registers keep what they are given and estimates are as good as they have
//! to be.

use std::sync::Arc;

use bytes::Bytes;

use crate::commands::spec::ServerFuture;
use crate::commands::{CommandResult, Error, ServerState, Session};
use crate::data::{HyperLogLog, REGISTERS, Registers};
use crate::engine;
use crate::protocol::Reply;

/// Rounds of random values for all registers.
const ROUNDS: usize = 20;
/// Greatest value of a register.
const VALUE_MAX: u8 = 51;
/// Elements that are counted.
const ELEMENTS: u64 = 100_000;
/// Standard errors that an estimate may be away from the truth.
const ERRORS_MAX: f64 = 6.0;
/// Up to so many elements both kinds of registers are compared each time, and at each power of ten.
const COMPARED_UP_TO: u64 = 100;
/// Longest sparse registers: they have become dense where a thousand elements are passed.
const SPARSE_BYTES_MAX: u64 = 3000;

/// The handler; the work is done on the blocking pool.
pub(super) fn pfselftest<'a>(
    _: &'a mut Session,
    _: &'a Arc<ServerState>,
    _: &'a [Bytes],
) -> ServerFuture<'a> {
    Box::pin(async move {
        let checked = tokio::task::spawn_blocking(|| registers().and_then(|()| estimates()));
        checked.await.map_err(|_| Error::Engine(engine::Error::Closed))??;
        CommandResult::Ok(Reply::OK)
    })
}

/// Gives all dense registers random values, and compares with a plain array.
fn registers() -> Result<(), Error> {
    let mut random = fastrand::Rng::new();
    for _ in 0..ROUNDS {
        let mut sketch = HyperLogLog::default();
        sketch.densify().map_err(|_| failed("the empty one is corrupted"))?;
        let mut plain = [0_u8; REGISTERS];
        for (register, known) in plain.iter_mut().enumerate() {
            *known = random.u8(1..=VALUE_MAX);
            let raised = sketch.raise(register, *known, 0);
            if raised != Ok(true) {
                return Err(failed(format!("register {register} is not raised to {known}")));
            }
        }
        let mut union = Registers::default();
        union.join(&sketch).map_err(|_| failed("dense registers are corrupted"))?;
        let mut pairs = union.values().iter().zip(&plain).enumerate();
        if let Some((register, (found, known))) = pairs.find(|(_, (found, known))| found != known) {
            return Err(failed(format!("register {register} is {found} instead of {known}")));
        }
    }
    Ok(())
}

/// Counts elements in sparse and in dense registers, and compares with the truth.
fn estimates() -> Result<(), Error> {
    let corrupted = |_| failed("registers are corrupted");
    let seed = fastrand::u64(..);
    let standard_error = 1.04 / (REGISTERS as f64).sqrt();
    let (mut sparse, mut dense) = (HyperLogLog::default(), HyperLogLog::default());
    dense.densify().map_err(corrupted)?;
    let mut checkpoint = 1;
    for count in 1..=ELEMENTS {
        let element = (seed ^ count).to_le_bytes();
        sparse.add(&element, SPARSE_BYTES_MAX).map_err(corrupted)?;
        dense.add(&element, 0).map_err(corrupted)?;
        if count != checkpoint && count > COMPARED_UP_TO {
            continue;
        }
        let found = dense.estimate().map_err(corrupted)?;
        if sparse.estimate().map_err(corrupted)? != found {
            return Err(failed(format!("sparse and dense registers differ at {count} elements")));
        }
        if count == checkpoint {
            checkpoint *= 10;
            let away = found.abs_diff(count) as f64;
            // A few elements more or less are a matter of chance.
            if away > (ERRORS_MAX * standard_error * count as f64).max(1.0) {
                return Err(failed(format!("{found} instead of {count} elements")));
            }
        }
    }
    Ok(())
}

fn failed(why: impl std::fmt::Display) -> Error {
    Error::Text(format!("TESTFAILED {why}"))
}
