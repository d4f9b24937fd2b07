//! Where keys stand in a call, and what is done with them.

/// Flags of a key spec, as in `COMMAND INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyFlags(u16);

impl KeyFlags {
    /// Names in the order of the bits.
    pub const NAMES: &'static [&'static str] = &[
        "RO",
        "RW",
        "OW",
        "RM",
        "access",
        "update",
        "insert",
        "delete",
        "not_key",
        "incomplete",
        "variable_flags",
    ];

    /// Whether what a key holds is answered, copied or compared.
    #[must_use]
    pub const fn is_read(self) -> bool {
        self.0 & KeySpec::ACCESS != 0
    }

    /// Whether a key is changed.
    #[must_use]
    pub const fn is_written(self) -> bool {
        self.0 & (KeySpec::UPDATE | KeySpec::INSERT | KeySpec::DELETE) != 0
    }

    /// Whether it is no key, though routed like one.
    #[must_use]
    pub const fn is_not_key(self) -> bool {
        self.0 & KeySpec::NOT_KEY != 0
    }

    /// The names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .iter()
            .enumerate()
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| *name)
    }
}

/// How the first key of a spec is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginSearch {
    /// At this word (0 is the command's name).
    Index(u8),
    /// Behind this word, looked for from `start` on (negative: from the end backwards).
    Keyword {
        /// The word, in any case.
        keyword: &'static str,
        /// Where the search starts.
        start: i8,
        /// Words that may stand before the keyword, each with how many arguments it takes: none of
        /// these is the keyword, whatever it says.
        options: &'static [(&'static str, usize)],
    },
    /// Cannot be told.
    Unknown,
}

/// How further keys are found from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindKeys {
    /// A range of words.
    Range {
        /// Last key relative to the first; -1 is the last word of the call, -2 the one before.
        last: i8,
        /// Words from one key to the next.
        step: u8,
        /// Where `last` is -1: stop after the n-th part of the words (0 and 1: no limit).
        limit: u8,
    },
    /// A word holds the number of keys.
    KeyNum {
        /// Where the number stands, relative to the begin.
        index: u8,
        /// Where the first key stands, relative to the begin.
        first: u8,
        /// Words from one key to the next.
        step: u8,
    },
    /// Cannot be told.
    Unknown,
}

/// Where keys stand in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// What is done with the keys.
    pub flags: KeyFlags,
    /// How the first key is found.
    pub begin: BeginSearch,
    /// How the others are found.
    pub find: FindKeys,
}

impl KeySpec {
    const ACCESS: u16 = 1 << 4;
    const UPDATE: u16 = 1 << 5;
    const INSERT: u16 = 1 << 6;
    const DELETE: u16 = 1 << 7;
    const NOT_KEY: u16 = 1 << 8;

    const fn new(begin: BeginSearch, find: FindKeys) -> Self {
        Self { flags: KeyFlags(0), begin, find }
    }

    /// One key at word `index`.
    #[must_use]
    pub const fn one(index: u8) -> Self {
        Self::range(index, 0, 1)
    }

    /// Keys from word `index` to `last` (relative to `index`; -1: the last word), every `step`.
    #[must_use]
    pub const fn range(index: u8, last: i8, step: u8) -> Self {
        Self::new(BeginSearch::Index(index), FindKeys::Range { last, step, limit: 0 })
    }

    /// Word `index` holds the number of keys, which follow it.
    #[must_use]
    pub const fn keynum(index: u8) -> Self {
        Self::new(BeginSearch::Index(index), FindKeys::KeyNum { index: 0, first: 1, step: 1 })
    }

    /// Keys behind `keyword`, looked for from word `start` on; `last`, `step` and `limit` as in
    /// [`FindKeys::Range`].
    #[must_use]
    pub const fn keyword(keyword: &'static str, start: i8, last: i8, step: u8, limit: u8) -> Self {
        let begin = BeginSearch::Keyword { keyword, start, options: &[] };
        Self::new(begin, FindKeys::Range { last, step, limit })
    }

    /// The keyword may stand behind options, whose arguments are not looked at.
    #[must_use]
    pub const fn behind(mut self, options: &'static [(&'static str, usize)]) -> Self {
        if let BeginSearch::Keyword { keyword, start, .. } = self.begin {
            self.begin = BeginSearch::Keyword { keyword, start, options };
        }
        self
    }

    /// Keys that no rule finds.
    #[must_use]
    pub const fn unknown() -> Self {
        Self::new(BeginSearch::Unknown, FindKeys::Unknown)
    }

    const fn with(mut self, bit: u16) -> Self {
        self.flags = KeyFlags(self.flags.0 | 1 << bit);
        self
    }

    /// The key is read.
    #[must_use]
    pub const fn ro(self) -> Self {
        self.with(0)
    }

    /// The key is read and changed.
    #[must_use]
    pub const fn rw(self) -> Self {
        self.with(1)
    }

    /// The key is overwritten, whatever it held.
    #[must_use]
    pub const fn ow(self) -> Self {
        self.with(2)
    }

    /// The key is removed.
    #[must_use]
    pub const fn rm(self) -> Self {
        self.with(3)
    }

    /// The value is answered, copied or compared.
    #[must_use]
    pub const fn access(self) -> Self {
        self.with(4)
    }

    /// The value is changed in a way that depends on what it was.
    #[must_use]
    pub const fn update(self) -> Self {
        self.with(5)
    }

    /// Something is added.
    #[must_use]
    pub const fn insert(self) -> Self {
        self.with(6)
    }

    /// Something is deleted.
    #[must_use]
    pub const fn delete(self) -> Self {
        self.with(7)
    }

    /// Not a key, though routed like one.
    #[must_use]
    pub const fn not_key(self) -> Self {
        self.with(8)
    }

    /// Does not find all keys.
    #[must_use]
    pub const fn incomplete(self) -> Self {
        self.with(9)
    }

    /// What is done with the keys depends on the arguments.
    #[must_use]
    pub const fn variable_flags(self) -> Self {
        self.with(10)
    }

    /// Calls `found` with the index of each key of this spec in a call of `words`; an error where
    /// the call is not well formed.
    pub(crate) fn find(
        &self,
        words: &[bytes::Bytes],
        found: &mut dyn FnMut(usize),
    ) -> Result<(), Malformed> {
        let Some(begin) = self.begin_at(words)? else { return Ok(()) };
        let end_of_call = words.len() - 1;
        let (first, last, step) = match self.find {
            FindKeys::Range { last, step, limit } => {
                let last = match last {
                    0.. => begin + usize::from(last.unsigned_abs()),
                    -1 if limit > 1 => {
                        begin + ((end_of_call + 1).saturating_sub(begin)) / usize::from(limit) - 1
                    }
                    _ => (end_of_call + 1)
                        .checked_sub(usize::from(last.unsigned_abs()))
                        .ok_or(Malformed)?,
                };
                (begin, last, step)
            }
            FindKeys::KeyNum { index, first, step } => {
                let word = words.get(begin + usize::from(index)).ok_or(Malformed)?;
                let count = crate::data::parse_int(word)
                    .and_then(|count| usize::try_from(count).ok())
                    .filter(|count| *count <= words.len())
                    .ok_or(Malformed)?;
                let first = begin + usize::from(first);
                if count == 0 {
                    return Ok(());
                }
                (first, first + (count - 1) * usize::from(step.max(1)), step)
            }
            FindKeys::Unknown => return Ok(()),
        };
        if last > end_of_call || last < first {
            return Err(Malformed);
        }
        (first..=last).step_by(usize::from(step.max(1))).for_each(found);
        Ok(())
    }

    fn begin_at(&self, words: &[bytes::Bytes]) -> Result<Option<usize>, Malformed> {
        match self.begin {
            BeginSearch::Unknown => Ok(None),
            BeginSearch::Index(index) if usize::from(index) < words.len() => {
                Ok(Some(usize::from(index)))
            }
            BeginSearch::Index(_) => Err(Malformed),
            BeginSearch::Keyword { keyword, start, options } => {
                let is_keyword = |index: &usize| {
                    words.get(*index).is_some_and(|w| w.eq_ignore_ascii_case(keyword.as_bytes()))
                };
                let distance = match options {
                    [] => usize::from(start.unsigned_abs()),
                    _ => behind_options(options, words),
                };
                // The keyword cannot be the last word: its key follows.
                let behind = if start >= 0 {
                    (distance..words.len().saturating_sub(1)).find(is_keyword)
                } else {
                    (1..=words.len().saturating_sub(distance)).rev().find(is_keyword)
                };
                Ok(behind.map(|index| index + 1).filter(|index| *index < words.len()))
            }
        }
    }
}

/// The first word behind the command's name that is neither one of these options nor an argument of
/// one.
fn behind_options(options: &[(&str, usize)], words: &[bytes::Bytes]) -> usize {
    let mut at = 1;
    while let Some(word) = words.get(at) {
        let is_named = |(name, _): &&(&str, usize)| word.eq_ignore_ascii_case(name.as_bytes());
        match options.iter().find(is_named) {
            Some((_, arguments)) => at += 1 + arguments,
            None => break,
        }
    }
    at
}

/// The call does not have the shape that its key specs expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;
