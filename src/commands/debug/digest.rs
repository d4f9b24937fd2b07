//! `DEBUG DIGEST`: a signature of data that does not depend on the order of keys.
//!
//! Same scheme as Redis, so that the two can be compared: the digest of a key mixes its name, its
//! type and its value, and those of all keys are joined by exclusive or.

use std::ops::Bound;

use bytes::Bytes;
use sha1::{Digest as _, Sha1};

use crate::commands::{CommandResult, Error, ServerState};
use crate::data::{Element, KeyType, Meta, StreamEntry, StreamId, View};
use crate::engine::{Direction, Snapshot};
use crate::protocol::{Reply, format_double};

type Digest = [u8; 20];

/// The digest of all databases.
pub(super) fn all(snapshot: &Snapshot, state: &ServerState) -> CommandResult {
    let mut digest = Digest::default();
    for db in 0..state.config.load().databases {
        let view = View::new(snapshot, state.context(db, false))?;
        if view.key_count() == 0 {
            continue;
        }
        mix(&mut digest, &u32::from(db).to_be_bytes());
        for entry in view.walk(Bound::Unbounded, Bound::Unbounded, Direction::Forward) {
            let (key, Some(meta)) = entry? else { continue };
            let mut of_key = Digest::default();
            mix(&mut of_key, &key);
            mix_value(&mut of_key, &view, &key, &meta)?;
            join(&mut digest, &of_key);
        }
    }
    Ok(Reply::Simple(hex(&digest).into()))
}

/// The digests of single values; zeros where there is no key.
pub(super) fn values(view: &View<'_>, keys: &[Bytes]) -> CommandResult {
    let mut digests = Vec::with_capacity(keys.len());
    for key in keys {
        let mut digest = Digest::default();
        if let Some(meta) = view.inspect(key)? {
            mix_value(&mut digest, view, key, &meta)?;
        }
        digests.push(Reply::Simple(hex(&digest).into()));
    }
    Ok(Reply::Array(digests))
}

fn mix_value(digest: &mut Digest, view: &View<'_>, key: &[u8], meta: &Meta) -> Result<(), Error> {
    mix(digest, &type_number(meta.kind).to_be_bytes());
    match (view.elements(key, meta), view.list(meta)) {
        (None, None) if meta.stream().is_some() => mix_stream(digest, view, meta)?,
        (None, None) => mix(digest, &view.string(meta)?),
        (None, Some(list)) => {
            for element in list.walk_all() {
                mix(digest, &element?);
            }
        }
        (Some(elements), _) => {
            for element in elements.walk() {
                join_element(digest, meta.kind, &element?)?;
            }
        }
    }
    if meta.expires_ms.is_some() {
        join(digest, b"!!expire!!");
    }
    Ok(())
}

/// The number of a type in Redis, where modules come before streams.
fn type_number(kind: KeyType) -> u32 {
    match kind {
        KeyType::Stream => 6,
        kind => kind as u32,
    }
}

fn mix_stream(digest: &mut Digest, view: &View<'_>, meta: &Meta) -> Result<(), Error> {
    let Some(stream) = meta.stream() else { return Ok(()) };
    let all = view.entries(stream).range(StreamId::MIN, StreamId::MAX, Direction::Forward);
    for entry in all {
        let StreamEntry { id, fields } = entry?;
        mix(digest, format!("{}.{}", id.ms, id.seq).as_bytes());
        for word in &fields {
            mix(digest, word);
        }
    }
    Ok(())
}

/// Joins an element in a way that does not depend on the order of elements.
fn join_element(digest: &mut Digest, kind: KeyType, element: &Element) -> Result<(), Error> {
    let mut of_field = Digest::default();
    match kind {
        KeyType::Hash => {
            mix(&mut of_field, &element.name);
            mix(&mut of_field, &element.value);
        }
        KeyType::ZSet => {
            mix(&mut of_field, &element.name);
            mix(&mut of_field, format_17_digits(element.score()?).as_bytes());
        }
        _ => {
            join(digest, &element.name);
            return Ok(());
        }
    }
    if element.expires_ms.is_some() {
        join(&mut of_field, b"!!hexpire!!");
    }
    join(digest, &of_field);
    Ok(())
}

/// A number as `%.17g` of C prints it.
fn format_17_digits(number: f64) -> String {
    const DIGITS: i32 = 17;
    if !number.is_finite() {
        return format_double(number);
    }
    let scientific = format!("{number:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if !(-4..DIGITS).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(DIGITS - 1 - exponent).unwrap_or(0);
    trimmed(&format!("{number:.decimals$}"))
}

/// Joins `bytes` in a way that depends on the order.
fn mix(digest: &mut Digest, bytes: &[u8]) {
    join(digest, bytes);
    *digest = Sha1::digest(*digest).into();
}

/// Joins `bytes` in a way that does not depend on the order.
fn join(digest: &mut Digest, bytes: &[u8]) {
    let hash: Digest = Sha1::digest(bytes).into();
    for (byte, other) in digest.iter_mut().zip(hash) {
        *byte ^= other;
    }
}

fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Redis 7.0 answers for `XADD s 1-1 a 1`.
    #[test]
    fn a_stream_equals_redis() {
        let mut digest = Digest::default();
        mix(&mut digest, &type_number(KeyType::Stream).to_be_bytes());
        for word in ["1.1", "a", "1"] {
            mix(&mut digest, word.as_bytes());
        }
        assert_eq!(hex(&digest), "e63bcb852a375e66ef47d37f2575bc03f71e7ecd");
    }

    #[test]
    fn prints_as_c_does() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (0.1, "0.10000000000000001"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.25e-5, "1.2500000000000001e-05"),
            (0.000_25, "0.00025000000000000001"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(format_17_digits(number), text);
        }
    }

    /// What Redis 7.0 answers for `SET a 1` and `SET b hello EX 1000`.
    #[test]
    fn equals_redis() {
        let value = |text: &[u8], expires: bool| {
            let mut digest = Digest::default();
            mix(&mut digest, &0u32.to_be_bytes());
            mix(&mut digest, text);
            if expires {
                join(&mut digest, b"!!expire!!");
            }
            hex(&digest)
        };
        assert_eq!(value(b"1", false), "b4fc66738120fba0b5aa500ab5c2bf89cea1c5da");
        assert_eq!(value(b"hello", true), "d037c4eb8a8b36b602fbced4000daeab0714c1e3");
    }
}
