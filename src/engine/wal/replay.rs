//! Reading the log back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memmem;

use super::record::{ALIGN, CRC_BYTES, HEADER_BYTES, Header, SEGMENT_OFFSET};
use super::segments::{parse_segment_name, segment_path};
use super::{LogPosition, LogStart};
use crate::engine::coding::put_u64;
use crate::engine::{Error, Result};
use crate::env::{File, Fs};

/// A file of this name in the data directory accepts that the log lost records, once.
pub const ACCEPT_LOSS: &str = "ACCEPT-LOG-LOSS";

/// What helps where there is a backup.
const REMEDY: &str = "put back what is missing, or restore the data directory from a backup";

/// How much of a segment is read at a time.
const WINDOW_BYTES: u64 = 256 << 10;

/// What is known of the log before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The oldest segment that is needed; what is in older ones is in tables.
    pub from_segment: u64,
    /// The log was durable up to here. Says nothing where it lies before `from_segment`.
    pub mark: LogPosition,
    /// Whether to cut the log where records are missing that were durable, rather than fail.
    pub accept_loss: bool,
}

/// What a replay found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Records applied.
    pub records: u64,
    /// Bytes of payload applied.
    pub bytes: u64,
    /// The unfinished end, where there was one.
    pub torn: Option<TornTail>,
    /// Where the next log continues.
    pub next: LogStart,
}

impl Replay {
    /// End of the last record, durable; the default where there is no record.
    #[must_use]
    pub fn end(&self) -> LogPosition {
        self.next.previous
    }
}

/// An unfinished end of the log. It was never known to be durable, unless a loss was accepted. [`replay`]
/// cuts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment that it begins in.
    pub path: PathBuf,
    /// Where it begins.
    pub offset: u64,
    /// Bytes of records behind it that could be recognised, in this segment and later ones.
    pub bytes_lost: u64,
    /// Whether records that were durable are among them, a loss that was accepted.
    pub is_accepted_loss: bool,
}

/// Calls `apply(segment, payload)` for every record from segment `from_segment` on, in order, then
/// cuts an unfinished end. What was applied is durable on return, whether or not it was before.
///
/// Fails with [`Error::Corruption`] where a record is missing that was known to be durable, unless
/// that is accepted; by then those before it have been applied, and the log is as it was. An error of
/// `apply` ends the replay and is handed on.
pub fn replay(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    expected: Expected,
    apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<Replay> {
    let walk = walk(&**fs, dir, expected, apply)?;
    for end in &walk.ends {
        SegmentReader::open(&**fs, dir, end.segment)?.make_durable(walk.durable, *end)?;
    }
    if let Some(torn) = &walk.found.torn {
        cut(&**fs, dir, &walk.ends, walk.stop, torn)?;
    }
    // A killed process may have left names, too, that are not durable.
    fs.sync_dir(dir).map_err(Error::io("sync", dir))?;
    Ok(walk.found)
}

/// As [`replay`], but changes nothing: an unfinished end is told and stays.
pub fn look(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    expected: Expected,
    apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<Replay> {
    walk(&**fs, dir, expected, apply).map(|walk| walk.found)
}

/// A log that was read.
struct Walk {
    found: Replay,
    /// Where the records end that continue the log, in each segment.
    ends: Vec<LogPosition>,
    /// What the last record calls durable.
    durable: LogPosition,
    /// Where the log ends.
    stop: LogPosition,
}

fn walk(
    fs: &dyn Fs,
    dir: &Path,
    expected: Expected,
    apply: &mut dyn FnMut(u64, &[u8]) -> Result<()>,
) -> Result<Walk> {
    let from_segment = expected.from_segment.max(LogStart::default().segment);
    let ids = list_segments(fs, dir, from_segment)?;
    let next_segment = ids.last().map_or(from_segment, |last| last + 1);
    // Where a loss is accepted, the number of a lost segment is not used again.
    let next_segment = next_segment.max(expected.mark.segment + 1);
    let mut end = None;
    let mut durable = LogPosition::default();
    let mut ends = Vec::with_capacity(ids.len());
    let (mut records, mut bytes) = (0, 0);
    let mut record = Vec::new();
    for &id in &ids {
        let mut reader = SegmentReader::open(fs, dir, id)?;
        let mut offset = 0;
        while let Some(header) = reader.header(offset)? {
            let continues = match end {
                Some(end) => header.previous == end,
                None => header.previous.segment < from_segment,
            };
            if !continues || !reader.is_whole(&header, &mut record)? {
                break;
            }
            let payload = payload_of(&record, &header);
            apply(id, payload)?;
            records += 1;
            bytes += payload.len() as u64;
            offset += header.size();
            end = Some(LogPosition { segment: id, offset });
            durable = header.durable;
        }
        ends.push(LogPosition { segment: id, offset });
    }
    let stop = end.unwrap_or(LogPosition { segment: from_segment, offset: 0 });
    let torn = torn_tail(fs, dir, &ids, stop, expected)?;
    let next = LogStart { segment: next_segment, previous: end.unwrap_or_default() };
    Ok(Walk { found: Replay { records, bytes, torn, next }, ends, durable, stop })
}

/// What lies behind `stop`, where the log ends, if anything does. Fails where that proves that
/// records are missing, unless it is accepted.
fn torn_tail(
    fs: &dyn Fs,
    dir: &Path,
    ids: &[u64],
    stop: LogPosition,
    expected: Expected,
) -> Result<Option<TornTail>> {
    let rest = inspect_rest(fs, dir, ids, stop)?;
    let is_needed = |mark: &LogPosition| mark.segment >= expected.from_segment && *mark > stop;
    let damage = match (rest.proof, Some(expected.mark).filter(is_needed)) {
        (Some(proof), _) => Some(unreadable(dir, stop, &proof)),
        (None, Some(mark)) => Some(missing(fs, dir, stop, mark)?),
        (None, None) => None,
    };
    let is_accepted_loss = damage.is_some();
    if let Some(error) = damage {
        if !expected.accept_loss {
            return Err(with_remedy(error, REMEDY, dir));
        }
        tracing::warn!(%error, "accepted: the log goes on without these records and all later ones");
    }
    let path = segment_path(dir, stop.segment);
    let torn = TornTail { path, offset: stop.offset, bytes_lost: rest.bytes, is_accepted_loss };
    Ok((rest.bytes > 0).then_some(torn))
}

fn list_segments(fs: &dyn Fs, dir: &Path, from_segment: u64) -> Result<Vec<u64>> {
    let names = fs.list(dir).map_err(Error::io("list", dir))?;
    let ids = names.iter().filter_map(|name| parse_segment_name(name));
    let mut ids: Vec<u64> = ids.filter(|&id| id >= from_segment).collect();
    ids.sort_unstable();
    Ok(ids)
}

fn payload_of<'a>(record: &'a [u8], header: &Header) -> &'a [u8] {
    let end = HEADER_BYTES + header.len as usize;
    record.get(HEADER_BYTES..end).unwrap_or_default()
}

/// Looks at all that lies behind the last record that continues the log: nothing, a tail that was
/// not finished, or proof that records are missing.
fn inspect_rest(fs: &dyn Fs, dir: &Path, ids: &[u64], stop: LogPosition) -> Result<Rest> {
    let mut rest = Rest::default();
    for &id in ids.iter().filter(|&&id| id >= stop.segment) {
        let mut reader = SegmentReader::open(fs, dir, id)?;
        let start = if id == stop.segment { stop.offset } else { 0 };
        let leftover = reader.inspect(start)?;
        if leftover.durable > stop && rest.proof.is_none() {
            rest.proof = Some(reader.path);
        }
        rest.bytes += leftover.end.map_or(0, |end| end - start);
    }
    Ok(rest)
}

fn unreadable(dir: &Path, stop: LogPosition, proof: &Path) -> Error {
    Error::Corruption {
        path: segment_path(dir, stop.segment),
        offset: stop.offset,
        what: format!(
            "the record here, or in the next segment, cannot be read, though {} proves that it \
             was safely written",
            proof.display(),
        ),
    }
}

/// The log ends at `stop`, though it was durable up to `mark`.
fn missing(fs: &dyn Fs, dir: &Path, stop: LogPosition, mark: LogPosition) -> Result<Error> {
    let path = segment_path(dir, mark.segment);
    let size = match fs.file_bytes(&path) {
        Ok(size) => Some(size),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("measure", &path)(error)),
    };
    let (path, offset, found) = match size {
        None => (path, 0, "this log segment is missing".to_owned()),
        Some(size) if size < mark.offset => {
            (path, size, format!("this log segment ends here, after {size} bytes"))
        }
        Some(_) => {
            let path = segment_path(dir, stop.segment);
            (path, stop.offset, "the log ends here".to_owned())
        }
    };
    let what = format!(
        "{found}, though {} was safely written up to offset {}: it was removed, cut or overwritten \
         from outside",
        segment_path(dir, mark.segment).display(),
        mark.offset,
    );
    Ok(Error::Corruption { path, offset, what })
}

/// The damage, with what can be done about it: the remedy, or, without a backup, to accept the loss.
pub(in crate::engine) fn with_remedy(error: Error, remedy: &str, dir: &Path) -> Error {
    let Error::Corruption { path, offset, what } = error else { return error };
    let what = format!(
        "{what}; {remedy}. To go on without the writes that are missing here and all later ones, \
         make an empty file {} and start again",
        dir.join(ACCEPT_LOSS).display()
    );
    Error::Corruption { path, offset, what }
}

/// Removes what lies behind `stop` in the segments of `ends`, so that no later replay can meet it.
fn cut(
    fs: &dyn Fs,
    dir: &Path,
    ends: &[LogPosition],
    stop: LogPosition,
    torn: &TornTail,
) -> Result<()> {
    for end in ends.iter().filter(|end| end.segment > stop.segment) {
        let path = segment_path(dir, end.segment);
        fs.remove(&path).map_err(Error::io("remove", &path))?;
    }
    if ends.iter().any(|end| end.segment == stop.segment) {
        let file = fs.open(&torn.path).map_err(Error::io("open", &torn.path))?;
        file.set_len(stop.offset).map_err(Error::io("cut", &torn.path))?;
        file.sync_data().map_err(Error::io("sync", &torn.path))?;
    }
    Ok(())
}

/// What was found behind the end of the log.
#[derive(Debug, Default)]
struct Rest {
    /// Bytes of records that could be recognised.
    bytes: u64,
    /// The first segment with a whole record that proves that records are missing.
    proof: Option<PathBuf>,
}

/// What was found behind the end of the log in one segment.
#[derive(Debug, Default)]
struct Leftover {
    /// The latest place that a whole record calls durable.
    durable: LogPosition,
    /// End of the last record, whole or not, that could be recognised.
    end: Option<u64>,
}

/// Reads one segment through a window.
struct SegmentReader {
    id: u64,
    path: PathBuf,
    file: Arc<dyn File>,
    len: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl SegmentReader {
    fn open(fs: &dyn Fs, dir: &Path, id: u64) -> Result<Self> {
        let path = segment_path(dir, id);
        let file = fs.open(&path).map_err(Error::io("open", &path))?;
        let len = file.len().map_err(Error::io("measure", &path))?;
        Ok(Self { id, path, file, len, window: Vec::new(), window_start: 0 })
    }

    /// At least `need` bytes, which the file has, from `start` on; at most a window.
    fn bytes(&mut self, start: u64, need: u64) -> Result<&[u8]> {
        let window_end = self.window_start + self.window.len() as u64;
        if start < self.window_start || start + need > window_end {
            self.window.resize(to_usize(WINDOW_BYTES.min(self.len - start)), 0);
            self.window_start = start;
            let read = self.file.read_at(start, &mut self.window);
            read.map_err(Error::io("read", &self.path))?;
        }
        Ok(self.window.get(to_usize(start - self.window_start)..).unwrap_or_default())
    }

    /// The header at `offset`, if it is of this place and its record ends within the file.
    fn header(&mut self, offset: u64) -> Result<Option<Header>> {
        let end = offset + HEADER_BYTES as u64;
        if end > self.len {
            return Ok(None);
        }
        let position = LogPosition { segment: self.id, offset };
        let header = Header::decode_of(position, self.bytes(offset, HEADER_BYTES as u64)?);
        Ok(header.filter(|header| end + u64::from(header.len) <= self.len))
    }

    /// Whether the record of `header` is as it was written. Leaves its bytes in `record`.
    fn is_whole(&mut self, header: &Header, record: &mut Vec<u8>) -> Result<bool> {
        let start = header.position.offset;
        // The header was checked against the length of the file: no more than that is allocated.
        let size = HEADER_BYTES as u64 + u64::from(header.len);
        record.clear();
        if size <= WINDOW_BYTES {
            let bytes = self.bytes(start, size)?;
            record.extend_from_slice(bytes.get(..to_usize(size)).unwrap_or_default());
        } else {
            record.resize(to_usize(size), 0);
            self.file.read_at(start, record).map_err(Error::io("read", &self.path))?;
        }
        Ok(record.get(CRC_BYTES..).is_some_and(|bytes| crc32fast::hash(bytes) == header.crc))
    }

    /// Makes durable what lies between `durable` and `end`, as far as it is in this segment. It is
    /// written again first: if a sync has failed in an earlier life of the log, the system may take
    /// what it has in memory for written, so that a sync alone would do nothing.
    fn make_durable(&mut self, durable: LogPosition, end: LogPosition) -> Result<()> {
        if end.offset == 0 || end <= durable {
            return Ok(());
        }
        let mut offset = if durable.segment == end.segment { durable.offset } else { 0 };
        let stop = end.offset.min(self.len);
        while offset < stop {
            let part_bytes = WINDOW_BYTES.min(stop - offset);
            let part = self.bytes(offset, part_bytes)?;
            let part = part.get(..to_usize(part_bytes)).unwrap_or_default().to_vec();
            self.file.write_at(offset, &part).map_err(Error::io("write", &self.path))?;
            offset += part_bytes;
        }
        self.file.sync_data().map_err(Error::io("sync", &self.path))
    }

    /// Looks for records of this segment from `start` on, at every place where one may begin.
    fn inspect(&mut self, start: u64) -> Result<Leftover> {
        let mut found = Leftover::default();
        // Payloads are the clients' bytes and may look like headers; this bounds the work.
        let mut checked_bytes_left = 4 * self.len;
        let mut record = Vec::new();
        let mut offset = start;
        while let Some(place) = self.find_own_id(offset)? {
            offset = place;
            let Some(header) = self.header(offset)? else {
                offset += ALIGN;
                continue;
            };
            let size = header.size();
            found.end = found.end.max(Some(offset + size));
            if checked_bytes_left >= size && self.is_whole(&header, &mut record)? {
                found.durable = found.durable.max(header.durable);
                offset += size;
            } else {
                checked_bytes_left = checked_bytes_left.saturating_sub(size);
                offset += ALIGN;
            }
        }
        Ok(found)
    }

    /// The next place from `start` on where a record may begin and the number of this segment
    /// stands where its header would have it.
    fn find_own_id(&mut self, start: u64) -> Result<Option<u64>> {
        let mut id = Vec::new();
        put_u64(&mut id, self.id);
        let finder = memmem::Finder::new(&id);
        let mut at = start + SEGMENT_OFFSET;
        while at + id.len() as u64 <= self.len {
            let bytes = self.bytes(at, id.len() as u64)?;
            match finder.find(bytes) {
                Some(found) => {
                    at += found as u64;
                    if at.is_multiple_of(ALIGN) {
                        return Ok(Some(at - SEGMENT_OFFSET));
                    }
                    at += 1;
                }
                // An id may begin in this window and end in the next.
                None => at += (bytes.len() + 1 - id.len()) as u64,
            }
        }
        Ok(None)
    }
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("no more than a file that fits in memory")
}
