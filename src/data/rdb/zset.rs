//! Serialized sorted sets.
//!
//! ```text
//! ZSET             members, then each as a string with its score: the length of a decimal text in one
//!                  byte and that; 253 for no number, 254 and 255 for the infinities
//! ZSET_2           members, then each as a string with its score in eight bytes
//! ZSET_ZIPLIST     a ziplist as a string: members and scores in turn, in the order of the scores
//! ZSET_LISTPACK    a listpack in the same way
//! ```

use super::listpack::ListpackWriter;
use super::sink::Sink;
use super::source::Source;
use super::types::{ZSET, ZSET_2, ZSET_LISTPACK, ZSET_ZIPLIST};
use super::word::{Word, Words};
use super::{Loaded, RestoreError, VERSION, ensure, wanted};
use crate::data::{Meta, Scored, SortedSet, Span, View, ZSetEdit, parse_double};
use crate::engine::{Direction, Result};

/// Scores between these are written without an exponent.
const SMALL: f64 = 1e-5;
const LARGE: f64 = 1e15;

/// Reads the value.
pub(super) fn load(kind: u8, source: &mut Source<'_>, mut zset: ZSetEdit<'_, '_>) -> Loaded<Meta> {
    match kind {
        ZSET | ZSET_2 => {
            let count = source.len()?;
            zset.expect(count, 0)?;
            for _ in 0..count {
                let member = source.string()?;
                let score = if kind == ZSET { decimal(source)? } else { source.f64()? };
                add(source, &mut zset, &member, score)?;
            }
        }
        _ => {
            let blob = source.string()?;
            let words = match kind {
                ZSET_ZIPLIST => Words::of_ziplist(&blob),
                _ => Words::of_listpack(&blob),
            };
            load_words(source, &mut zset, &wanted(words)?)?;
        }
    }
    wanted(zset.into_meta(None)?)
}

/// A score as a decimal text.
fn decimal(source: &mut Source<'_>) -> Loaded<f64> {
    match source.u8()? {
        253 => Err(RestoreError::Malformed),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        len => wanted(parse_double(source.take(len.into())?)),
    }
}

fn load_words(
    source: &mut Source<'_>,
    zset: &mut ZSetEdit<'_, '_>,
    words: &Words<'_>,
) -> Loaded<()> {
    ensure(words.count().is_multiple_of(2))?;
    zset.expect(words.count() / 2, 0)?;
    let mut last: Option<(f64, Vec<u8>)> = None;
    let mut words = words.iter();
    while let (Some(member), Some(score)) = (words.next(), words.next()) {
        let (member, score) = (member.text(), wanted(parse_score(score))?);
        if let Some((last_score, last_member)) = &last {
            let is_behind =
                score > *last_score || score == *last_score && member[..] > last_member[..];
            ensure(is_behind)?;
        }
        add(source, zset, &member, score)?;
        last = Some((score, member.into_owned()));
    }
    Ok(())
}

fn parse_score(word: Word<'_>) -> Option<f64> {
    parse_double(&word.text())
}

fn add(
    source: &mut Source<'_>,
    zset: &mut ZSetEdit<'_, '_>,
    member: &[u8],
    score: f64,
) -> Loaded<()> {
    // Twice: there is a record for the order too.
    source.charge(member.len())?;
    source.charge(member.len())?;
    ensure(!score.is_nan() && zset.score(member)?.is_none())?;
    zset.put(member, None, score)?;
    Ok(())
}

/// Writes type and value; answers the version that this takes.
pub(super) fn save(
    view: &View<'_>,
    key: &[u8],
    meta: &Meta,
    sink: &mut Sink,
) -> Result<Option<u16>> {
    let Some(elements) = view.elements(key, meta) else { return Ok(None) };
    let sorted = SortedSet::new(elements);
    if elements.is_inline() {
        let mut listpack = ListpackWriter::new();
        for found in sorted.walk(&Span::ALL, Direction::Forward)? {
            let (member, score): Scored = found?;
            listpack.push(&member);
            listpack.push(score_text(score).as_bytes());
        }
        sink.u8(ZSET_LISTPACK);
        sink.blob(&listpack.finish());
        return Ok(Some(VERSION));
    }
    sink.u8(ZSET_2);
    let (count, mut members) = (sink.count_later(), 0);
    // From the last on, as Redis writes them: so each one it reads comes first.
    for found in sorted.walk(&Span::ALL, Direction::Reverse)? {
        let (member, score): Scored = found?;
        sink.string(&member);
        sink.f64(score);
        members += 1;
    }
    sink.count(count, members);
    Ok(Some(VERSION))
}

/// A short text that reads as this score.
fn score_text(score: f64) -> String {
    let is_plain = score == 0.0 || (SMALL..LARGE).contains(&score.abs());
    if is_plain { format!("{score}") } else { format!("{score:e}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_score_is_read_as_written(score in any::<f64>().prop_filter("", |s| !s.is_nan())) {
            for score in [score, score.trunc()] {
                let text = score_text(score);
                prop_assert!(text.len() < 40, "{}", text);
                prop_assert_eq!(parse_double(text.as_bytes()), Some(score));
            }
        }
    }

    #[test]
    fn whole_scores_are_digits() {
        assert_eq!(score_text(-5.0), "-5");
        assert_eq!(score_text(0.0), "0");
        assert_eq!(score_text(f64::INFINITY), "inf");
        assert_eq!(score_text(0.25), "0.25");
        assert_eq!(score_text(1e20), "1e20");
    }
}
