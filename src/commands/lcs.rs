//! `LCS`: the longest common subsequence of two strings.
//!
//! The lengths of the subsequences are computed row by row; what has to be kept of the table to
//! walk back through it is one bit per cell (which neighbour is longer), so the memory is a 32nd
//! of what the limit, which is Redis's, allows.

use bytes::Bytes;

use super::string::string;
use super::{Args, CommandResult, Error};
use crate::data::View;
use crate::env::Purpose;
use crate::protocol::Reply;

/// Bytes per cell by which the size of the table is judged.
const CELL_BYTES: u64 = 4;

/// A stretch that both strings have in common; both ends are inside.
struct Match {
    a: (usize, usize),
    b: (usize, usize),
}

impl Match {
    fn len(&self) -> usize {
        self.a.1 - self.a.0 + 1
    }
}

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: usize,
}

impl Options {
    fn parse(args: &mut Args<'_>) -> Result<Self, Error> {
        let mut options = Self::default();
        while !args.is_empty() {
            if args.eat("IDX") {
                options.idx = true;
            } else if args.eat("LEN") {
                options.len = true;
            } else if args.eat("WITHMATCHLEN") {
                options.with_match_len = true;
            } else if args.eat("MINMATCHLEN") {
                options.min_match_len = usize::try_from(args.next_int()?).unwrap_or(0);
            } else {
                return Err(Error::Syntax);
            }
        }
        if options.len && options.idx { Err(Error::LcsLenWithIdx) } else { Ok(options) }
    }
}

/// The handler.
pub(super) fn lcs(view: &View<'_>, args: &mut Args<'_>) -> CommandResult {
    let keys = [args.next_bytes()?, args.next_bytes()?];
    let mut strings = [Bytes::new(), Bytes::new()];
    let mut metas = Vec::with_capacity(2);
    for key in keys {
        metas.push(string(view.find(key)?).map_err(|_| Error::LcsNotStrings)?);
    }
    let options = Options::parse(args)?;
    let cells = metas
        .iter()
        .map(|meta| meta.as_ref().map_or(0, |meta| meta.string_len()) + 1)
        .try_fold(CELL_BYTES, u64::checked_mul);
    if cells.is_none_or(|bytes| bytes > view.context().string_bytes_max) {
        return Err(Error::LcsTooLarge);
    }
    let room = view.context().memory.room(Purpose::Working);
    let [a_len, b_len] = [0, 1].map(|at| match metas.get(at) {
        Some(Some(meta)) => usize::try_from(meta.string_len()).unwrap_or(usize::MAX),
        _ => 0,
    });
    let way_bytes = if options.len { 0 } else { a_len.saturating_mul(b_len) / 8 };
    room.take(way_bytes.saturating_add(a_len).saturating_add(b_len.saturating_mul(9)))?;
    for (string, meta) in strings.iter_mut().zip(&metas) {
        if let Some(meta) = meta {
            *string = view.string(meta)?;
        }
    }
    let [a, b] = &strings;
    let table = Table::new(a, b, !options.len);
    let len = Reply::Integer(i64::from(table.len));
    if options.len {
        return Ok(len);
    }
    let (text, matches) = table.walk(a, b);
    if !options.idx {
        return Ok(Reply::bulk(text));
    }
    let matches = matches
        .iter()
        .filter(|found| found.len() >= options.min_match_len)
        .map(|found| {
            let range = |(from, to): (usize, usize)| Reply::Array(vec![index(from), index(to)]);
            let mut entry = vec![range(found.a), range(found.b)];
            if options.with_match_len {
                entry.push(index(found.len()));
            }
            Reply::Array(entry)
        })
        .collect();
    Ok(Reply::Map(vec![(Reply::bulk("matches"), Reply::Array(matches)), (Reply::bulk("len"), len)]))
}

fn index(index: usize) -> Reply {
    Reply::Integer(i64::try_from(index).unwrap_or(i64::MAX))
}

/// Which way leads back through the table.
struct Table {
    len: u32,
    /// Bit `i × columns + j`: dropping the i-th byte of `a` leaves more in common than dropping
    /// the j-th of `b`.
    drop_a: Vec<u64>,
    columns: usize,
}

impl Table {
    fn new(a: &[u8], b: &[u8], with_way: bool) -> Self {
        let columns = b.len();
        let words = if with_way { (a.len() * columns).div_ceil(64) } else { 0 };
        let mut drop_a = vec![0_u64; words];
        let mut above = vec![0_u32; columns + 1];
        let mut row = above.clone();
        for (i, byte) in a.iter().enumerate() {
            for (j, other) in b.iter().enumerate() {
                row[j + 1] = if byte == other {
                    above[j] + 1
                } else {
                    if with_way && above[j + 1] > row[j] {
                        let bit = i * columns + j;
                        drop_a[bit / 64] |= 1 << (bit % 64);
                    }
                    above[j + 1].max(row[j])
                };
            }
            std::mem::swap(&mut above, &mut row);
        }
        Self { len: above[columns], drop_a, columns }
    }

    /// The subsequence, and the stretches it is made of, from the end of the strings on.
    fn walk(&self, a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Match>) {
        let mut text = Vec::with_capacity(self.len as usize);
        let mut matches = Vec::new();
        let mut open: Option<Match> = None;
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                i -= 1;
                j -= 1;
                text.push(a[i]);
                let found = open.get_or_insert(Match { a: (i, i), b: (j, j) });
                found.a.0 = i;
                found.b.0 = j;
            } else {
                matches.extend(open.take());
                let bit = (i - 1) * self.columns + (j - 1);
                if self.drop_a[bit / 64] >> (bit % 64) & 1 == 1 {
                    i -= 1;
                } else {
                    j -= 1;
                }
            }
        }
        matches.extend(open);
        text.reverse();
        (text, matches)
    }
}
