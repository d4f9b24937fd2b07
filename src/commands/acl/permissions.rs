//! Which commands a selector allows.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::category::Category;
use super::rule::{RuleError, has_blanks};
use crate::commands::command::by_own_full_name;
use crate::commands::table::{self, Command};

/// The allowed commands, and the rules that have led there, in their order. A rule that a later one
/// makes void is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Permissions {
    /// A bit per id of a command or a subcommand.
    allowed: Vec<u64>,
    /// Whether the rules start from all commands, those of later versions included.
    starts_with_all: bool,
    /// First arguments with which a command is allowed that is not allowed itself, by its id.
    first_args: BTreeMap<u16, Vec<Box<[u8]>>>,
    /// Whether something is added, and its name in lower case.
    rules: Vec<(bool, Box<[u8]>)>,
}

impl Permissions {
    /// No command.
    pub(super) fn none() -> Self {
        let words = table::all().len().div_ceil(64);
        Self {
            allowed: vec![0; words],
            starts_with_all: false,
            first_args: BTreeMap::new(),
            rules: Vec::new(),
        }
    }

    /// `+@all` and `-@all`: starts anew.
    pub(super) fn start(&mut self, with_all: bool) {
        self.allowed.fill(if with_all { u64::MAX } else { 0 });
        self.starts_with_all = with_all;
        self.first_args.clear();
        self.rules.clear();
    }

    /// Carries out a rule that starts with `+` or `-`.
    ///
    /// # Errors
    /// Where it names no command or category; then nothing has changed.
    pub(super) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let (adds, name) = match rule {
            [b'+', name @ ..] => (true, name),
            [b'-', name @ ..] => (false, name),
            _ => return Err(RuleError::Syntax),
        };
        match name {
            [b'@', category @ ..] => self.apply_category(adds, category),
            name if adds && name.contains(&b'|') => self.add_part(name),
            name => {
                let command = by_own_full_name(name).ok_or(RuleError::Unknown)?;
                self.set(command, adds);
                self.note(adds, command.full_name.as_bytes());
                Ok(())
            }
        }
    }

    fn apply_category(&mut self, adds: bool, name: &[u8]) -> Result<(), RuleError> {
        if name.eq_ignore_ascii_case(b"all") {
            self.start(adds);
            return Ok(());
        }
        let category = Category::by_name(name).ok_or(RuleError::Unknown)?;
        // A container that is in the category has all its subcommands with it.
        for command in table::all().iter().filter(|command| command.categories.has(category)) {
            self.set(command, adds);
        }
        self.note(adds, &[b"@", name].concat());
        Ok(())
    }

    /// `+command|part`: a subcommand, or a first argument of a command that has none.
    fn add_part(&mut self, name: &[u8]) -> Result<(), RuleError> {
        let bar = name.iter().rposition(|byte| *byte == b'|').ok_or(RuleError::Unknown)?;
        let (first, part) = (&name[..bar], &name[bar + 1..]);
        let command = by_own_full_name(first).ok_or(RuleError::Unknown)?;
        if command.parent.is_some() {
            return Err(RuleError::ArgumentOfSubcommand);
        }
        if part.is_empty() || has_blanks(part) {
            return Err(RuleError::Syntax);
        }
        if command.subcommands.is_empty() {
            let parts = self.first_args.entry(command.id).or_default();
            if !parts.iter().any(|known| known.eq_ignore_ascii_case(part)) {
                parts.push(part.into());
            }
        } else {
            self.set(by_own_full_name(name).ok_or(RuleError::Unknown)?, true);
        }
        self.note(true, name);
        Ok(())
    }

    /// Allows or forbids a command with all its subcommands.
    fn set(&mut self, command: &Command, allow: bool) {
        self.first_args.remove(&command.id);
        for id in std::iter::once(command.id).chain(command.subcommands.iter().copied()) {
            let (word, bit) = place(id);
            if let Some(bits) = self.allowed.get_mut(word) {
                *bits = if allow { *bits | bit } else { *bits & !bit };
            }
        }
    }

    /// Keeps a rule, which makes earlier ones of the same name or of its parts void.
    fn note(&mut self, adds: bool, name: &[u8]) {
        let name = name.to_ascii_lowercase();
        self.rules.retain(|(_, known)| match known.strip_prefix(&name[..]) {
            Some(rest) => !(rest.is_empty() || rest.starts_with(b"|")),
            None => true,
        });
        self.rules.push((adds, name.into()));
    }

    /// Whether the call of these words is allowed.
    pub(super) fn allow(&self, command: &Command, words: &[Bytes]) -> bool {
        let (word, bit) = place(command.id);
        if self.allowed.get(word).is_some_and(|bits| bits & bit != 0) {
            return true;
        }
        let Some(first) = words.get(1) else { return false };
        let parts = self.first_args.get(&command.id);
        parts.is_some_and(|parts| parts.iter().any(|part| first.eq_ignore_ascii_case(part)))
    }

    /// Whether every command is allowed.
    pub(super) fn allow_all(&self) -> bool {
        let allowed = |command: &Command| {
            let (word, bit) = place(command.id);
            self.allowed.get(word).is_some_and(|bits| bits & bit != 0)
        };
        table::all().iter().all(allowed)
    }

    /// Writes the rules that lead here.
    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.starts_with_all { b"+@all" } else { b"-@all" });
        for (adds, name) in &self.rules {
            out.extend_from_slice(if *adds { b" +" } else { b" -" });
            out.extend_from_slice(name);
        }
    }
}

/// The word and the bit of an id.
fn place(id: u16) -> (usize, u64) {
    (usize::from(id) / 64, 1 << (id % 64))
}
