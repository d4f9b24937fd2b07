//! Serialized hashes.
//!
//! ```text
//! HASH                       fields, then each and its value as strings
//! HASH_ZIPMAP                a zipmap as a string
//! HASH_ZIPLIST               a ziplist as a string: fields and values in turn
//! HASH_LISTPACK              a listpack in the same way
//! HASH_METADATA              the earliest expiry; fields, then of each: its expiry, field and value as
//!                            strings. The expiry is a length: 0 for none, else what it is later than
//!                            the earliest, plus one
//! HASH_METADATA_PRE_GA       the same without the earliest expiry; each stands as it is
//! HASH_LISTPACK_EX           the earliest expiry; a listpack as a string: field, value and expiry (0
//!                            for none) in turn, those that expire first, soonest first
//! HASH_LISTPACK_EX_PRE_GA    the same without the earliest expiry
//! ```
//!
//! An expiry is in Unix milliseconds, of at most 48 bits. Fields whose expiry has passed are read like
//! the others and expire as they do. A hash none of whose fields expires is written without expiries.

use super::listpack::ListpackWriter;
use super::sink::Sink;
use super::source::Source;
use super::types::*;
use super::word::Words;
use super::zipmap::Zipmap;
use super::{Loaded, VERSION, VERSION_MAX, ensure, wanted};
use crate::data::{HashEdit, Layout, Meta, View};
use crate::engine::Result;

/// The latest expiry of a field.
const EXPIRY_MS_MAX: u64 = (1 << 48) - 2;

/// A hash that is being read.
struct Loading<'s, 'p, 'e, 'a> {
    source: &'s mut Source<'p>,
    hash: HashEdit<'e, 'a>,
    /// Fields that were read.
    fields: u64,
}

/// Reads the value.
pub(super) fn load(kind: u8, source: &mut Source<'_>, hash: HashEdit<'_, '_>) -> Loaded<Meta> {
    let mut loading = Loading { source, hash, fields: 0 };
    match kind {
        HASH => loading.strings()?,
        HASH_ZIPMAP => loading.zipmap()?,
        HASH_METADATA | HASH_METADATA_PRE_GA => loading.expiring_strings(kind)?,
        HASH_LISTPACK_EX | HASH_LISTPACK_EX_PRE_GA => loading.expiring_words(kind)?,
        _ => loading.words(kind)?,
    }
    let fields = loading.fields;
    let meta = wanted(loading.hash.into_meta(None)?)?;
    // Fewer where a field came twice.
    ensure(meta.collection().is_some_and(|collection| collection.count == fields))?;
    Ok(meta)
}

impl Loading<'_, '_, '_, '_> {
    fn strings(&mut self) -> Loaded<()> {
        let count = self.source.len()?;
        self.hash.expect(count)?;
        for _ in 0..count {
            let (field, value) = (self.source.string()?, self.source.string()?);
            self.set(&field, &value, None)?;
        }
        Ok(())
    }

    fn zipmap(&mut self) -> Loaded<()> {
        let blob = self.source.string()?;
        let zipmap = wanted(Zipmap::check(&blob))?;
        self.hash.expect(zipmap.count())?;
        for (field, value) in zipmap.pairs() {
            self.set(field, value, None)?;
        }
        Ok(())
    }

    fn words(&mut self, kind: u8) -> Loaded<()> {
        let blob = self.source.string()?;
        let words = match kind {
            HASH_ZIPLIST => Words::of_ziplist(&blob),
            _ => Words::of_listpack(&blob),
        };
        let words = wanted(words)?;
        ensure(words.count().is_multiple_of(2))?;
        self.hash.expect(words.count() / 2)?;
        let mut words = words.iter();
        while let (Some(field), Some(value)) = (words.next(), words.next()) {
            self.set(&field.text(), &value.text(), None)?;
        }
        Ok(())
    }

    fn expiring_strings(&mut self, kind: u8) -> Loaded<()> {
        let earliest_ms = match kind {
            HASH_METADATA => Some(wanted(self.source.time_ms()?)?),
            _ => None,
        };
        let count = self.source.len()?;
        self.hash.expect(count)?;
        self.hash.expect_expiries()?;
        for _ in 0..count {
            let expires_ms = match (self.source.len()?, earliest_ms) {
                (0, _) => None,
                (later, Some(earliest_ms)) => Some(wanted(earliest_ms.checked_add(later - 1))?),
                (expires_ms, None) => Some(expires_ms),
            };
            let (field, value) = (self.source.string()?, self.source.string()?);
            self.set(&field, &value, expires_ms)?;
        }
        Ok(())
    }

    fn expiring_words(&mut self, kind: u8) -> Loaded<()> {
        if kind == HASH_LISTPACK_EX {
            // The list tells it too.
            self.source.time_ms()?;
        }
        let blob = self.source.string()?;
        let words = wanted(Words::of_listpack(&blob))?;
        ensure(words.count().is_multiple_of(3))?;
        self.hash.expect(words.count() / 3)?;
        self.hash.expect_expiries()?;
        let mut words = words.iter();
        while let (Some(field), Some(value), Some(expires)) =
            (words.next(), words.next(), words.next())
        {
            let expires_ms = wanted(expires.integer().and_then(|at_ms| u64::try_from(at_ms).ok()))?;
            let expires_ms = (expires_ms != 0).then_some(expires_ms);
            self.set(&field.text(), &value.text(), expires_ms)?;
        }
        Ok(())
    }

    fn set(&mut self, field: &[u8], value: &[u8], expires_ms: Option<u64>) -> Loaded<()> {
        let fits = |at_ms| (1..=EXPIRY_MS_MAX).contains(&at_ms);
        ensure(expires_ms.is_none_or(fits))?;
        self.source.charge(field.len() + value.len())?;
        if expires_ms.is_some() {
            // The order of expiries has a record of its own for it.
            self.source.charge(field.len())?;
        }
        self.hash.set(field, value, expires_ms)?;
        self.fields += 1;
        Ok(())
    }
}

/// Writes type and value; answers the version that this takes, or that no field is left.
pub(super) fn save(
    view: &View<'_>,
    key: &[u8],
    meta: &Meta,
    sink: &mut Sink,
) -> Result<Option<u16>> {
    let Some(elements) = view.elements(key, meta) else { return Ok(None) };
    let earliest_ms = elements.collection.next_expiry_ms;
    let is_packed = !matches!(elements.collection.layout, Layout::Exploded { .. });
    let version = if earliest_ms.is_some() { VERSION_MAX } else { VERSION };
    sink.u8(match (is_packed, earliest_ms) {
        (true, None) => HASH_LISTPACK,
        (true, Some(_)) => HASH_LISTPACK_EX,
        (false, None) => HASH,
        (false, Some(_)) => HASH_METADATA,
    });
    if let Some(at_ms) = earliest_ms {
        sink.time_ms(at_ms);
    }
    let mut fields = 0_u64;
    if is_packed {
        let mut listpack = ListpackWriter::new();
        for field in elements.walk() {
            let field = field?;
            listpack.push(&field.name);
            listpack.push(&field.value);
            if earliest_ms.is_some() {
                let at_ms = i64::try_from(field.expires_ms.unwrap_or(0)).unwrap_or(i64::MAX);
                listpack.push_integer(at_ms);
            }
            fields += 1;
        }
        sink.blob(&listpack.finish());
    } else {
        let count = sink.count_later();
        for field in elements.walk() {
            let field = field?;
            if let Some(earliest_ms) = earliest_ms {
                let later = |at_ms: u64| at_ms.saturating_sub(earliest_ms) + 1;
                sink.len(field.expires_ms.map_or(0, later));
            }
            sink.string(&field.name);
            sink.string(&field.value);
            fields += 1;
        }
        sink.count(count, fields);
    }
    Ok((fields > 0).then_some(version))
}
