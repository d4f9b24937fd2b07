//! HyperLogLogs: strings that estimate how many different elements were added to them.
//!
//! An element is hashed; 14 bits of the hash choose one of 16,384 registers, which keeps the
//! longest run of zeros that the other 50 bits have begun with, plus one. The string is, byte for
//! byte, what Redis makes of the same calls:
//!
//! | offset | size | meaning |
//! |---|---|---|
//! | 0 | 4 | `HYLL` |
//! | 4 | 1 | 0 for dense, 1 for sparse registers |
//! | 5 | 3 | zeros |
//! | 8 | 8 | the last estimate, little-endian; the highest bit says that it is out of date |
//! | 16 | | registers, see `dense` and `sparse` |
//!
//! A string with another header or, where dense, another length is none. What stands behind the
//! header of a sparse one is checked when it is used: [`Corrupted`].

mod dense;
mod estimate;
mod hash;
mod sparse;

use bytes::Bytes;

use self::estimate::{Histogram, estimate};
use self::hash::{Rank, rank_of};
pub use self::sparse::Run;

/// Number of registers.
pub const REGISTERS: usize = 1 << REGISTER_BITS;
/// Longest string in bytes that can be one: sparse registers, a run of two bytes for each.
pub const HYPERLOGLOG_BYTES_MAX: usize = HEADER_LEN + 2 * REGISTERS;

const REGISTER_BITS: u32 = 14;
const MAGIC: &[u8; 4] = b"HYLL";
const HEADER_LEN: usize = 16;
const ENCODING_AT: usize = 4;
const ESTIMATE_AT: usize = 8;
const STALE: u64 = 1 << 63;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

/// The registers are not what any addition could have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupted;

/// A HyperLogLog in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HyperLogLog {
    bytes: Vec<u8>,
}

impl Default for HyperLogLog {
    /// An empty one, sparse.
    fn default() -> Self {
        let mut bytes = header(SPARSE);
        bytes.extend_from_slice(&sparse::EMPTY);
        Self { bytes }
    }
}

impl HyperLogLog {
    /// Takes a string; `None` where that is no HyperLogLog. Of a longer one than
    /// [`HYPERLOGLOG_BYTES_MAX`] only that and a byte more is needed, to see that it is corrupted.
    #[must_use]
    pub fn from_bytes(string: &[u8]) -> Option<Self> {
        let is_one = string.len() >= HEADER_LEN
            && string.starts_with(MAGIC)
            && match string[ENCODING_AT] {
                DENSE => string.len() == HEADER_LEN + dense::LEN,
                SPARSE => true,
                _ => false,
            };
        is_one.then(|| Self { bytes: string.to_vec() })
    }

    /// The string.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }

    /// Whether its registers are sparse.
    #[must_use]
    pub fn is_sparse(&self) -> bool {
        self.bytes[ENCODING_AT] == SPARSE
    }

    /// Adds an element; answers whether that changed a register. Sparse registers become dense
    /// where the string would grow beyond `sparse_bytes_max`.
    pub fn add(&mut self, element: &[u8], sparse_bytes_max: u64) -> Result<bool, Corrupted> {
        let Rank { register, value } = rank_of(element);
        self.raise(register, value, sparse_bytes_max)
    }

    /// Raises a register to `value` (1 to 51), as [`Self::add`] does.
    pub fn raise(
        &mut self,
        register: usize,
        value: u8,
        sparse_bytes_max: u64,
    ) -> Result<bool, Corrupted> {
        if self.is_sparse() {
            let bytes_max = usize::try_from(sparse_bytes_max).unwrap_or(usize::MAX);
            self.check_len()?;
            match sparse::raise(&mut self.bytes, HEADER_LEN, register, value, bytes_max) {
                sparse::Raised::Not => return Ok(false),
                sparse::Raised::Yes => return Ok(true),
                sparse::Raised::Corrupted => return Err(Corrupted),
                sparse::Raised::TooLong => self.make_dense()?,
            }
        }
        Ok(dense::raise(&mut self.bytes[HEADER_LEN..], register, value))
    }

    /// Raises all registers to at least those of `union`.
    pub fn raise_all(&mut self, union: &Registers, sparse_bytes_max: u64) -> Result<(), Corrupted> {
        for (register, value) in union.values.iter().enumerate() {
            if *value > 0 {
                self.raise(register, *value, sparse_bytes_max)?;
            }
        }
        Ok(())
    }

    /// Makes its registers dense; answers whether they were not.
    pub fn densify(&mut self) -> Result<bool, Corrupted> {
        let was_sparse = self.is_sparse();
        if was_sparse {
            self.make_dense()?;
        }
        Ok(was_sparse)
    }

    fn make_dense(&mut self) -> Result<(), Corrupted> {
        let mut union = Registers::default();
        union.join(self)?;
        self.bytes.truncate(HEADER_LEN);
        self.bytes[ENCODING_AT] = DENSE;
        self.bytes.resize(HEADER_LEN + dense::LEN, 0);
        for (register, value) in union.values.iter().enumerate() {
            dense::raise(&mut self.bytes[HEADER_LEN..], register, *value);
        }
        Ok(())
    }

    /// The last estimate, where it still holds.
    #[must_use]
    pub fn kept_estimate(&self) -> Option<u64> {
        let kept = self.kept();
        (kept & STALE == 0).then_some(kept)
    }

    /// Says that the kept estimate is out of date.
    pub fn forget_estimate(&mut self) {
        self.keep(self.kept() | STALE);
    }

    /// Estimates anew and keeps that.
    pub fn estimate(&mut self) -> Result<u64, Corrupted> {
        let mut histogram = Histogram::default();
        if self.is_sparse() {
            for run in self.runs() {
                let run = run?;
                histogram.add(run.value, run.len);
            }
        } else {
            dense::values(&self.bytes[HEADER_LEN..]).for_each(|value| histogram.add(value, 1));
        }
        let number = estimate(&histogram);
        self.keep(number);
        Ok(number)
    }

    /// The runs of sparse registers, which fill all registers or end with an error.
    pub fn runs(&self) -> impl Iterator<Item = Result<Run, Corrupted>> + '_ {
        sparse::runs(&self.bytes[HEADER_LEN..])
    }

    fn check_len(&self) -> Result<(), Corrupted> {
        if self.bytes.len() > HYPERLOGLOG_BYTES_MAX { Err(Corrupted) } else { Ok(()) }
    }

    fn kept(&self) -> u64 {
        let bytes = self.bytes[ESTIMATE_AT..].first_chunk().expect("the header is checked");
        u64::from_le_bytes(*bytes)
    }

    fn keep(&mut self, number: u64) {
        self.bytes[ESTIMATE_AT..HEADER_LEN].copy_from_slice(&number.to_le_bytes());
    }
}

/// The registers of a union.
#[derive(Debug, Clone)]
pub struct Registers {
    values: Box<[u8; REGISTERS]>,
}

impl Default for Registers {
    fn default() -> Self {
        Self { values: Box::new([0; REGISTERS]) }
    }
}

impl Registers {
    /// Joins the registers of `other`.
    pub fn join(&mut self, other: &HyperLogLog) -> Result<(), Corrupted> {
        if other.is_sparse() {
            let mut rest = &mut self.values[..];
            for run in other.runs() {
                let run = run?;
                let (values, behind) = rest.split_at_mut_checked(run.len).ok_or(Corrupted)?;
                values.iter_mut().for_each(|value| *value = run.value.max(*value));
                rest = behind;
            }
        } else {
            let values = dense::values(&other.bytes[HEADER_LEN..]);
            self.values.iter_mut().zip(values).for_each(|(to, from)| *to = from.max(*to));
        }
        Ok(())
    }

    /// The value of each register.
    #[must_use]
    pub fn values(&self) -> &[u8] {
        &self.values[..]
    }

    /// The estimate for the union.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        let mut histogram = Histogram::default();
        self.values.iter().for_each(|value| histogram.add(*value, 1));
        estimate(&histogram)
    }
}

fn header(encoding: u8) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING_AT] = encoding;
    bytes
}

#[cfg(test)]
mod tests;
