//! Sparse registers: runs of equal ones, which fill all of them.
//!
//! ```text
//! 00llllll           l + 1 registers (up to 64) of 0
//! 01llllll llllllll  l + 1 registers (up to 16,384) of 0
//! 1vvvvvll           l + 1 registers (up to 4) of v + 1 (up to 32)
//! ```
//!
//! Which of the ways to write the same registers is taken follows Redis: a register splits the run
//! that it is in, and of the five runs behind that, neighbours of one value are joined.

use smallvec::SmallVec;

use super::{Corrupted, REGISTERS};

/// All registers are 0.
pub(super) const EMPTY: [u8; 2] = [0x7f, 0xff];

const VALUE_MAX: u8 = 32;
const VALUE_RUN_MAX: usize = 4;
const ZERO_RUN_MAX: usize = 64;
/// Runs that are looked at for neighbours to join.
const JOIN_RUNS: usize = 5;

/// A run of equal registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The value of each register.
    pub value: u8,
    /// How many registers.
    pub len: usize,
    /// Whether it is written as a long run of zeros.
    pub is_long: bool,
}

/// What [`raise`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raised {
    /// The register was not lower.
    Not,
    Yes,
    /// Nothing: this value cannot be written, or the string would become too long.
    TooLong,
    /// Nothing: the runs end before the register.
    Corrupted,
}

impl Run {
    /// The run at the start of `bytes`, and how many of them it takes.
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let first = *bytes.first()?;
        let low = usize::from(first & 0x3f);
        Some(match first >> 6 {
            0 => (Self { value: 0, len: low + 1, is_long: false }, 1),
            1 => {
                let len = (low << 8 | usize::from(*bytes.get(1)?)) + 1;
                (Self { value: 0, len, is_long: true }, 2)
            }
            _ => {
                let value = (first >> 2 & 0x1f) + 1;
                (Self { value, len: usize::from(first & 3) + 1, is_long: false }, 1)
            }
        })
    }

    /// Appends a run of so many registers, if there are any.
    fn write(value: u8, len: usize, to: &mut SmallVec<[u8; 8]>) {
        let Some(more) = len.checked_sub(1) else { return };
        let [low, high, ..] = more.to_le_bytes();
        match value.checked_sub(1) {
            Some(value) => to.push(0x80 | value << 2 | low),
            None if len > ZERO_RUN_MAX => to.extend([0x40 | high, low]),
            None => to.push(low),
        }
    }
}

/// The runs in `bytes`; an error where they do not fill all registers exactly.
pub(super) fn runs(bytes: &[u8]) -> impl Iterator<Item = Result<Run, Corrupted>> + '_ {
    let (mut rest, mut left, mut failed) = (bytes, REGISTERS, false);
    std::iter::from_fn(move || {
        if failed || rest.is_empty() && left == 0 {
            return None;
        }
        let run = Run::read(rest).filter(|(run, _)| run.len <= left);
        Some(match run {
            Some((run, width)) => {
                rest = &rest[width..];
                left -= run.len;
                Ok(run)
            }
            None => {
                failed = true;
                Err(Corrupted)
            }
        })
    })
}

/// Raises a register of the runs that `string` has behind its first `header_len` bytes.
pub(super) fn raise(
    string: &mut Vec<u8>,
    header_len: usize,
    register: usize,
    value: u8,
    bytes_max: usize,
) -> Raised {
    if value > VALUE_MAX {
        return Raised::TooLong;
    }
    let Some(place) = find(string, header_len, register) else { return Raised::Corrupted };
    let Place { run, width, at, first, before } = place;
    if run.value >= value {
        return Raised::Not;
    }
    let mut split = SmallVec::<[u8; 8]>::new();
    Run::write(run.value, register - first, &mut split);
    Run::write(value, 1, &mut split);
    Run::write(run.value, first + run.len - 1 - register, &mut split);
    if split.len() > width && string.len() + split.len() - width > bytes_max {
        return Raised::TooLong;
    }
    string.splice(at..at + width, split);
    join(string, before.unwrap_or(header_len));
    Raised::Yes
}

/// The run that holds a register.
struct Place {
    run: Run,
    /// How many bytes it takes.
    width: usize,
    /// Where in the string it is.
    at: usize,
    /// Its first register.
    first: usize,
    /// Where the run before it is.
    before: Option<usize>,
}

fn find(string: &[u8], header_len: usize, register: usize) -> Option<Place> {
    let (mut at, mut first, mut before) = (header_len, 0, None);
    loop {
        let (run, width) = Run::read(string.get(at..)?)?;
        if register < first + run.len {
            return Some(Place { run, width, at, first, before });
        }
        before = Some(at);
        at += width;
        first += run.len;
    }
}

/// Joins neighbours of one value among the runs from `at` on, where one run can hold them.
fn join(string: &mut Vec<u8>, mut at: usize) {
    for _ in 0..JOIN_RUNS {
        let Some((run, width)) = string.get(at..).and_then(Run::read) else { return };
        let next = string.get(at + width..).and_then(Run::read);
        match next {
            Some((next, 1))
                if run.value > 0
                    && next.value == run.value
                    && run.len + next.len <= VALUE_RUN_MAX =>
            {
                let mut joined = SmallVec::<[u8; 8]>::new();
                Run::write(run.value, run.len + next.len, &mut joined);
                string.splice(at..at + 2, joined);
            }
            _ => at += width,
        }
    }
}
