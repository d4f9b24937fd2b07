//! Keys and elements chosen at random, and what a few of them tell about all.

use std::ops::Bound;

use bytes::Bytes;
use smallvec::SmallVec;

use super::scan::prefix_end;
use super::{Args, Error};
use crate::data::{Element, Elements, Meta, View};
use crate::engine::{self, Direction};
use crate::env::Room;

/// In a database of at most so many keys all are looked at.
pub(super) const FEW_KEYS: u64 = 64;
/// Of at most so many expiries the mean is exact: a quarter of what a resident view may walk.
const FEW_EXPIRIES: u64 = 512;
/// Elements that may be answered more than once, at most: the reply is made in memory.
const REPEATED_MAX: u64 = 1 << 18;
/// What documents say of [`REPEATED_MAX`].
pub(super) const REPEATED_AT_MOST: &str = "At most 262144 elements for a negative count.";
/// Expiries that the mean of more of them is told from.
const SAMPLES: usize = 32;

/// How many elements a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// So many different ones.
    Distinct(u64),
    /// So many, whether or not one comes again.
    Repeated(u64),
}

impl Count {
    /// Reads the next word: a negative number allows repetitions.
    pub(super) fn parse(args: &mut Args<'_>) -> std::result::Result<Self, Error> {
        match args.next_int()? {
            i64::MIN => Err(Error::Text(
                "ERR value is out of range, value must between -9223372036854775807 and \
                 9223372036854775807"
                    .to_owned(),
            )),
            count @ ..0 => Ok(Self::Repeated(count.unsigned_abs())),
            count => Ok(Self::Distinct(count.unsigned_abs())),
        }
    }

    /// Fails where twice as many would be no count any more.
    pub(super) fn check_twice(self) -> std::result::Result<(), Error> {
        let (Self::Distinct(count) | Self::Repeated(count)) = self;
        if count > i64::MAX.unsigned_abs() / 2 {
            return Err(Error::Text("ERR value is out of range".to_owned()));
        }
        Ok(())
    }

    /// So many elements.
    pub(super) fn pick(
        self,
        elements: &Elements<'_>,
        room: &Room<'_>,
    ) -> std::result::Result<Vec<Element>, Error> {
        match self {
            Self::Distinct(count) => Ok(elements.pick_distinct(count, room)?),
            Self::Repeated(count) if count > REPEATED_MAX => Err(Error::Text(format!(
                "ERR value is out of range, at most {REPEATED_MAX} elements are answered"
            ))),
            Self::Repeated(count) => Ok(elements.pick_repeated(count, room)?),
        }
    }
}

/// A key and what is known of it; `None` for one that has expired.
pub(super) type Entry = (Bytes, Option<Meta>);

type Result<T> = engine::Result<T>;
type Found<T> = Result<Option<(Bytes, T)>>;

/// Entries in the order of their bytes, of which the ends of any range can be found.
struct Ordered<'a, T> {
    /// The first entry at or behind these bytes.
    first: &'a dyn Fn(&[u8]) -> Found<T>,
    /// The last entry before these bytes, or of all.
    last: &'a dyn Fn(Option<&[u8]>) -> Found<T>,
}

/// A key found by choosing byte after byte between the smallest and the largest that are there;
/// `None` in an empty database.
pub(super) fn entry(view: &View<'_>) -> Result<Option<Entry>> {
    let first = |start: &[u8]| {
        view.walk(Bound::Included(start), Bound::Unbounded, Direction::Forward).next().transpose()
    };
    let last = |end: Option<&[u8]>| {
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        view.walk(Bound::Unbounded, end, Direction::Reverse).next().transpose()
    };
    let picked = pick(&Ordered { first: &first, last: &last }, false)?;
    Ok(picked.map(|(entry, _)| entry))
}

/// An entry found by choosing byte after byte, and how likely it was to be found; that is looked for
/// only if it is `weighed`.
fn pick<T>(entries: &Ordered<'_, T>, weighed: bool) -> Result<Option<((Bytes, T), f64)>> {
    let (first, last) = (entries.first, entries.last);
    let (Some(mut low), Some(mut high)) = (first(b"")?, last(None)?) else { return Ok(None) };
    let mut chance = 1.0;
    while low.0 < high.0 {
        let common = low.0.iter().zip(&high.0).take_while(|(a, b)| a == b).count();
        // The smaller key may end here, where the larger one goes on: that is a choice too.
        let byte_of = |key: &Bytes| key.get(common).map_or(-1, |byte| i16::from(*byte));
        let (from, to) = (byte_of(&low.0), byte_of(&high.0));
        let choices = f64::from(to - from + 1);
        let picked = fastrand::i16(from..=to);
        let Ok(byte) = u8::try_from(picked) else { return Ok(Some((low, chance / choices))) };
        if picked != from {
            let mut start: SmallVec<[u8; 64]> = high.0.slice(..common)[..].into();
            start.push(byte);
            let Some(found) = first(&start)? else { return Ok(None) };
            low = found;
        }
        let branch = low.0.slice(..(common + 1).min(low.0.len()));
        if weighed {
            // A choice within a gap leads to the branch behind it.
            let taken = byte_of(&low.0);
            let before = match last(Some(&branch))? {
                Some((key, _)) if taken != from => byte_of(&key),
                _ => from - 1,
            };
            chance *= f64::from(taken - before) / choices;
        }
        let Some(found) = last(prefix_end(&branch).as_deref())? else { return Ok(None) };
        high = found;
    }
    Ok(Some((low, chance)))
}

/// The share of the keys with an expiry whose time has come, from 0 to 1, told from some of them.
pub(super) fn overdue_share(view: &View<'_>) -> Result<f64> {
    let (mut overdue, mut weights) = (0.0, 0.0);
    let due = view.context().now_ms.saturating_add(1).to_be_bytes();
    let walk = |start: &[u8], end: Option<&[u8]>, direction| {
        let found = view.walk_expiries(start, end, direction).next().transpose()?;
        Ok(found.map(|place| (place, ())))
    };
    let first = |start: &[u8]| walk(start, None, Direction::Forward);
    let last = |end: Option<&[u8]>| walk(b"", end, Direction::Reverse);
    for _ in 0..SAMPLES {
        let Some(((place, ()), chance)) = pick(&Ordered { first: &first, last: &last }, true)?
        else {
            break;
        };
        if *place < due[..] {
            overdue += 1.0 / chance;
        }
        weights += 1.0 / chance;
    }
    Ok(if weights > 0.0 { overdue / weights } else { 0.0 })
}

/// The mean time in milliseconds that keys with an expiry have left: of all where they are few, else
/// told from some of them, of which each counts the more the less likely it was to be picked: right
/// but for some per cent, or tens of them where times differ by orders of magnitude. 0 where there
/// are none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a mean of times that are not negative; a longer one is cut"
)]
pub(super) fn average_ttl_ms(view: &View<'_>) -> Result<u64> {
    let now_ms = view.context().now_ms;
    let floor = now_ms.saturating_add(1).to_be_bytes();
    let left_ms = |place: &Bytes| {
        let at_ms = place.first_chunk::<8>().map_or(now_ms, |bytes| u64::from_be_bytes(*bytes));
        at_ms.saturating_sub(now_ms) as f64
    };
    let (mut sum_ms, mut weights) = (0.0, 0.0);
    if view.expiring_count() <= FEW_EXPIRIES {
        for place in view.walk_expiries(&floor, None, Direction::Forward) {
            sum_ms += left_ms(&place?);
            weights += 1.0;
        }
    } else {
        let first = |start: &[u8]| {
            let start = start.max(&floor[..]);
            let found = view.walk_expiries(start, None, Direction::Forward).next().transpose()?;
            Ok(found.map(|place| (place, ())))
        };
        let last = |end: Option<&[u8]>| {
            let found = view.walk_expiries(&floor, end, Direction::Reverse).next().transpose()?;
            Ok(found.map(|place| (place, ())))
        };
        for _ in 0..SAMPLES {
            match pick(&Ordered { first: &first, last: &last }, true) {
                Ok(Some(((place, ()), chance))) => {
                    sum_ms += left_ms(&place) / chance;
                    weights += 1.0 / chance;
                }
                Ok(None) => {}
                // A resident view has its end: those that it has found by then tell as much.
                Err(engine::Error::WouldBlock) if weights > 0.0 => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(if weights > 0.0 { (sum_ms / weights).round() as u64 } else { 0 })
}
