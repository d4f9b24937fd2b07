//! A cursor over a command's arguments.

use bytes::Bytes;

use super::{Answer, Error, Prepared};
use crate::data::ValueAhead;

/// The arguments of one call, read from left to right. Index 0 is the command's name.
pub struct Args<'a> {
    all: &'a [Bytes],
    next: usize,
    answer: Answer<'a>,
    prepared: Option<&'a Prepared>,
}

impl<'a> Args<'a> {
    /// A cursor behind the first `skip` words (the name; for a subcommand both names).
    #[must_use]
    pub fn new(all: &'a [Bytes], skip: usize) -> Self {
        Self { all, next: skip, answer: Answer::UNBOUNDED, prepared: None }
    }

    /// The same for a call that answers so.
    #[must_use]
    pub fn answering(self, answer: Answer<'a>) -> Self {
        Self { answer, ..self }
    }

    /// The same for a call for which this was done before.
    #[must_use]
    pub fn prepared(self, prepared: Option<&'a Prepared>) -> Self {
        Self { prepared, ..self }
    }

    /// Takes what was done for the call before its transaction, which is used once.
    pub(super) fn take_prepared(&self) -> Option<Result<ValueAhead, Error>> {
        self.prepared?.take()
    }

    /// How the call answers.
    #[must_use]
    pub fn answer(&self) -> Answer<'a> {
        self.answer
    }

    /// All words, the name included.
    #[must_use]
    pub fn all(&self) -> &'a [Bytes] {
        self.all
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [Bytes] {
        self.all.get(self.next..).unwrap_or_default()
    }

    /// The next word, or a syntax error at the end.
    pub fn next_bytes(&mut self) -> Result<&'a Bytes, Error> {
        let Some(word) = self.all.get(self.next) else { return Err(Error::Syntax) };
        self.next += 1;
        Ok(word)
    }

    /// The next word without reading it.
    #[must_use]
    pub fn peek(&self) -> Option<&'a Bytes> {
        self.all.get(self.next)
    }

    /// Passes over so many words.
    pub fn skip(&mut self, words: usize) {
        self.next = self.next.saturating_add(words);
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next >= self.all.len()
    }

    /// How many words are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len().saturating_sub(self.next)
    }

    /// Reads the next word if it is `token` in any case.
    pub fn eat(&mut self, token: &str) -> bool {
        let found = self.peek().is_some_and(|word| word.eq_ignore_ascii_case(token.as_bytes()));
        if found {
            self.next += 1;
        }
        found
    }

    /// The next word as a signed 64-bit integer in Redis's strict form (no blanks, no plus, no
    /// leading zeros).
    pub fn next_int(&mut self) -> Result<i64, Error> {
        crate::data::parse_int(self.next_bytes()?).ok_or(Error::NotAnInteger)
    }

    /// The next word as a signed 32-bit integer.
    pub fn next_int_32(&mut self) -> Result<i32, Error> {
        i32::try_from(self.next_int()?).map_err(|_| Error::Not32Bits)
    }

    /// A syntax error where words are left.
    pub fn finish(&self) -> Result<(), Error> {
        if self.is_empty() { Ok(()) } else { Err(Error::Syntax) }
    }
}

impl std::fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Args").field("all", &self.all).field("next", &self.next).finish()
    }
}
