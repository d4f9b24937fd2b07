//! The estimate, from how many registers have which value: Otmar Ertl, "New cardinality estimation
//! algorithms for HyperLogLog sketches" (2017), algorithm 6, with its functions sigma and tau.

use super::{REGISTER_BITS, REGISTERS};

/// Bits of a hash that do not choose the register.
const REST_BITS: usize = (u64::BITS - REGISTER_BITS) as usize;
/// Six bits are a value.
const VALUES: usize = 64;
/// 1 / (2 ln 2): the constant of the estimator for many registers.
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// How many registers have each value.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: [u32; VALUES],
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; VALUES] }
    }
}

impl Histogram {
    /// Counts `len` registers of this value.
    pub(super) fn add(&mut self, value: u8, len: usize) {
        if let Some(count) = self.counts.get_mut(usize::from(value)) {
            *count += u32::try_from(len).unwrap_or(u32::MAX);
        }
    }

    fn of(&self, value: usize) -> f64 {
        f64::from(self.counts[value])
    }
}

/// How many different elements there were.
pub(super) fn estimate(histogram: &Histogram) -> u64 {
    let registers = REGISTERS as f64;
    let mut z = registers * tau((registers - histogram.of(REST_BITS + 1)) / registers);
    for value in (1..=REST_BITS).rev() {
        z = (z + histogram.of(value)) * 0.5;
    }
    z += registers * sigma(histogram.of(0) / registers);
    let estimate = (ALPHA * registers * registers / z).round();
    // A cast cuts at the limits of the type; the estimate is never negative.
    #[expect(clippy::cast_possible_truncation, reason = "cut at the limits, as is meant")]
    let number = estimate as i64;
    number.unsigned_abs()
}

/// `x` + the sum over k of x^(2^k) 2^(k-1), from k = 1 on.
fn sigma(x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut weight, mut sum) = (x, 1.0, x);
    loop {
        power *= power;
        let before = sum;
        sum += power * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// A third of 1 - `x` - the sum over k of (1 - x^(2^-k))^2 2^-k, from k = 1 on.
fn tau(x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut root, mut weight, mut sum) = (x, 1.0, 1.0 - x);
    loop {
        root = root.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - root).powi(2) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}
