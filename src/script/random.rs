//! The generator behind `math.random`: linear congruences of 48 bits, of which the upper 31 count.
//! A seed leads to the same numbers on every machine, and to those that Redis makes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlua::{Lua, Table};

use super::arguments::{Arguments, Failure, Native, native, one};

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
/// Low bits of the state behind a seed.
const SEEDED_LOW: u64 = 0x330E;
/// Numbers are taken modulo this, so that their ratio stays below 1.
const RANGE: u64 = 0x7FFF_FFFF;

/// The state of one machine.
#[derive(Debug)]
struct Generator(AtomicU64);

impl Generator {
    fn seed(&self, seed: i64) {
        // As C converts to an int of 32 bits.
        let low = u64::from_le_bytes(seed.to_le_bytes()) & 0xFFFF_FFFF;
        self.0.store(low << 16 | SEEDED_LOW, Ordering::Relaxed);
    }

    /// In [0, 1).
    fn next(&self) -> f64 {
        let state = self.0.load(Ordering::Relaxed);
        let state = state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & MASK;
        self.0.store(state, Ordering::Relaxed);
        let number = (state >> 17) % RANGE;
        number as f64 / RANGE as f64
    }
}

/// `random` and `randomseed`, seeded by chance.
pub(super) fn natives(lua: &Lua) -> mlua::Result<Table> {
    let generator = Arc::new(Generator(AtomicU64::new(0)));
    generator.seed(i64::from(fastrand::i32(..)));
    let functions = lua.create_table()?;
    let seeded = Arc::clone(&generator);
    functions
        .set("random", native(lua, "random", move |arguments| random(&generator, &arguments))?)?;
    functions.set(
        "randomseed",
        native(lua, "randomseed", move |arguments| {
            seeded.seed(arguments.integer(1)?);
            Ok(mlua::MultiValue::new())
        })?,
    )?;
    Ok(functions)
}

fn random(generator: &Generator, arguments: &Arguments<'_>) -> Native {
    let random = generator.next();
    let empty = |number| arguments.refuse(number, "interval is empty");
    let number = match arguments.count() {
        0 => random,
        1 => {
            let upper = arguments.integer(1)?;
            if upper < 1 {
                return Err(empty(1));
            }
            (random * upper as f64).floor() + 1.0
        }
        2 => {
            let (lower, upper) = (arguments.integer(1)?, arguments.integer(2)?);
            if lower > upper {
                return Err(empty(2));
            }
            (random * (upper as f64 - lower as f64 + 1.0)).floor() + lower as f64
        }
        _ => return Err(Failure::said("wrong number of arguments")),
    };
    one(arguments.lua, number)
}
