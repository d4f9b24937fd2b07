//! `siltdb check`: reads everything in a data directory and proves that it fits together.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::commands::memory_budget;
use crate::config::Settings;
use crate::data::{self, Verified};
use crate::engine::{Engine, Error, Options, ReadMode};
use crate::env::{RealFs, SystemClock};

/// What a check has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckOutcome {
    /// Everything is as it was written.
    Sound,
    /// Something is not; each damage was named.
    Damaged,
    /// The data could not be looked at.
    NotOpened,
}

/// Checks the data directory of the settings: tables by their checksums, the manifest, the log,
/// then the records of each database. Writes to `out` what there is, and each damage on a line of
/// its own; to standard error why nothing could be looked at. Takes the lock of the directory
/// meanwhile, and changes nothing in it.
///
/// # Errors
/// Where `out` cannot be written.
pub fn check(settings: &Settings, out: &mut dyn Write) -> io::Result<CheckOutcome> {
    let dir = Path::new(&settings.dir);
    match check_open(settings, dir, out)? {
        Ok(outcome) => Ok(outcome),
        Err(error @ Error::Corruption { .. }) => {
            damage(out, &error)?;
            Ok(CheckOutcome::Damaged)
        }
        Err(error) => {
            writeln!(io::stderr(), "siltdb: {error}")?;
            Ok(CheckOutcome::NotOpened)
        }
    }
}

type Checked = Result<CheckOutcome, Error>;

fn check_open(settings: &Settings, dir: &Path, out: &mut dyn Write) -> io::Result<Checked> {
    let engine = match open(settings, dir) {
        Ok(engine) => engine,
        Err(error) => return Ok(Err(error)),
    };
    let stats = engine.stats();
    writeln!(out, "{}: {} transactions in the log", dir.display(), stats.recovered_transactions)?;
    if stats.recovered_torn_bytes > 0 {
        let bytes = stats.recovered_torn_bytes;
        writeln!(
            out,
            "the log ended in unfinished records of {bytes} bytes, which a start cuts off"
        )?;
    }
    let (mut damages, mut written) = (0_u64, Ok(()));
    let tables = engine.check_tables(&mut |error| {
        damages += 1;
        written = std::mem::replace(&mut written, Ok(())).and(damage(out, &error));
    });
    written?;
    writeln!(out, "{} tables, {} bytes", tables.count, tables.bytes)?;
    if damages > 0 {
        writeln!(out, "{damages} damages in tables; the keys were not looked at")?;
        return Ok(Ok(CheckOutcome::Damaged));
    }
    let mut written = Ok(());
    let view = engine.snapshot(ReadMode::Blocking);
    let verified = data::verify(&view, &mut |found| {
        damages += 1;
        written = std::mem::replace(&mut written, Ok(())).and(damage(out, &found));
    });
    written?;
    match verified {
        Ok(verified) => summary(&verified, out)?,
        Err(error) => return Ok(Err(error)),
    }
    engine.close();
    if damages > 0 {
        writeln!(out, "{damages} damages")?;
        return Ok(Ok(CheckOutcome::Damaged));
    }
    writeln!(out, "sound")?;
    Ok(Ok(CheckOutcome::Sound))
}

/// Opens what is there to be read only.
fn open(settings: &Settings, dir: &Path) -> Result<Engine, Error> {
    let fs = RealFs::shared();
    let names = fs.list(dir).map_err(Error::io("list", dir))?;
    if names.is_empty() {
        let what = "it is empty; --dir names the directory to check".to_owned();
        return Err(Error::Directory { path: dir.to_owned(), what });
    }
    if !names.iter().any(|name| name == "CURRENT") {
        let what = "there is no data here: it has no file CURRENT".to_owned();
        return Err(Error::Directory { path: dir.to_owned(), what });
    }
    let options = Options {
        kind_at: data::KIND_AT,
        share_at: data::SHARE_AT,
        ..Options::for_budget(dir, memory_budget(settings))
    };
    let clock = Arc::new(SystemClock::default());
    Engine::open_to_read(fs, clock, options, Arc::new(data::RecordFilter))
}

fn damage(out: &mut dyn Write, what: &dyn std::fmt::Display) -> io::Result<()> {
    writeln!(out, "DAMAGED: {what}")
}

fn summary(verified: &Verified, out: &mut dyn Write) -> io::Result<()> {
    for database in &verified.databases {
        let keys: u64 = database.types.iter().map(|(_, totals)| totals.keys).sum();
        writeln!(out, "database {}: {keys} keys, {} expire", database.db, database.expires)?;
        writeln!(out, "  {:<8} {:>12} {:>14} {:>16}", "type", "keys", "elements", "bytes")?;
        for (name, totals) in &database.types {
            let data::Totals { keys, elements, bytes } = totals;
            writeln!(out, "  {name:<8} {keys:>12} {elements:>14} {bytes:>16}")?;
        }
    }
    let data::Garbage { records, bytes } = verified.garbage;
    writeln!(out, "{records} records of {bytes} bytes are left for compaction to drop")
}
