//! The table of all commands: lookup by name, dense ids for statistics, derived facts.

mod names;

use std::sync::OnceLock;

use smallvec::SmallVec;

use self::names::Names;
use super::acl::Categories;
use super::keyspec::{BeginSearch, FindKeys};
use super::{CommandSpec, FAMILIES, Flags, KeyFlags, KeySpec, Run, first_element};

/// A command or subcommand with what is derived from its entry.
#[derive(Debug)]
pub struct Command {
    /// Dense, from 0; stays the same while the process lives. Index of its statistics.
    pub id: u16,
    /// `get`, or `client|list`.
    pub full_name: &'static str,
    /// What was declared.
    pub spec: &'static CommandSpec,
    /// All flags, the derived ones included.
    pub flags: Flags,
    /// All ACL categories, the derived ones included.
    pub categories: Categories,
    /// The container, for a subcommand.
    pub parent: Option<u16>,
    /// Words of the name: 1, or 2 for a subcommand. Arguments start behind them.
    pub name_words: usize,
    /// The first word of a call that names an element of the collection at its key, see
    /// [`first_element`].
    pub element_at: Option<usize>,
    /// Ids of the subcommands.
    pub subcommands: Vec<u16>,
    /// No name leads to it any more.
    pub removed: bool,
    by_sub: Names,
}

/// Answer of [`lookup`].
#[derive(Debug, Clone, Copy)]
pub enum Lookup {
    /// The command; for a container with a known subcommand, the subcommand. Arity is not checked.
    Found(&'static Command),
    /// No such command.
    Unknown,
    /// The command has subcommands, but not this one.
    UnknownSubcommand(&'static Command),
}

struct Table {
    commands: Vec<Command>,
    by_name: Names,
    /// By the names that they have where nothing is renamed.
    by_own_name: Names,
}

static TABLE: OnceLock<Table> = OnceLock::new();

fn table() -> &'static Table {
    TABLE.get_or_init(Table::build)
}

/// Gives commands other names, one after the other, as `rename-command` has it: calls find them by the
/// new ones only, and those with an empty new name not at all. All else still knows them by their own.
///
/// # Errors
/// Where there is no such command, or the new name is taken; and where the table is in use already, so
/// this has to come before everything else.
pub fn rename(renames: &[(String, String)]) -> Result<(), String> {
    if renames.is_empty() {
        return Ok(());
    }
    let mut table = Table::build();
    for (old, new) in renames {
        table.rename(old, new).map_err(|why| format!("{why}: rename-command {old} {new:?}"))?;
    }
    TABLE.set(table).map_err(|_| "commands are in use and cannot be renamed any more".to_owned())
}

/// Finds a command by its first word and, where the call has one, its second. Any case.
#[must_use]
pub fn lookup(name: &[u8], sub: Option<&[u8]>) -> Lookup {
    lookup_in(&table().by_name, name, sub)
}

/// As [`lookup`], by the name that the command has where nothing is renamed: rules of users hold
/// whatever is renamed.
#[must_use]
pub fn lookup_own(name: &[u8], sub: Option<&[u8]>) -> Lookup {
    lookup_in(&table().by_own_name, name, sub)
}

fn lookup_in(names: &Names, name: &[u8], sub: Option<&[u8]>) -> Lookup {
    let Some(command) = find(names, name) else { return Lookup::Unknown };
    let Some(sub) = sub.filter(|_| !command.subcommands.is_empty()) else {
        return Lookup::Found(command);
    };
    find(&command.by_sub, sub).map_or(Lookup::UnknownSubcommand(command), Lookup::Found)
}

/// Every command and subcommand in the order of their ids.
#[must_use]
pub fn all() -> &'static [Command] {
    &table().commands
}

/// Those of [`all`] that can be called.
pub fn callable() -> impl Iterator<Item = &'static Command> {
    all().iter().filter(|command| !command.removed)
}

/// The commands that can be called, without their subcommands.
pub fn top_level() -> impl Iterator<Item = &'static Command> {
    callable().filter(|command| command.parent.is_none())
}

/// The command with this id.
#[must_use]
pub fn by_id(id: u16) -> Option<&'static Command> {
    all().get(usize::from(id))
}

fn find(names: &Names, name: &[u8]) -> Option<&'static Command> {
    names.get(name).and_then(by_id)
}

impl Table {
    fn build() -> Self {
        let mut table =
            Self { commands: Vec::new(), by_name: Names::default(), by_own_name: Names::default() };
        for spec in FAMILIES.iter().copied().flatten() {
            let id = table.add(spec, None);
            table.by_name.insert(spec.name, id);
            for sub in spec.subcommands {
                let sub_id = table.add(sub, Some(id));
                let parent = &mut table.commands[usize::from(id)];
                parent.subcommands.push(sub_id);
                parent.by_sub.insert(sub.name, sub_id);
            }
        }
        table.by_own_name = table.by_name.clone();
        table
    }

    fn add(&mut self, spec: &'static CommandSpec, parent: Option<u16>) -> u16 {
        let id = u16::try_from(self.commands.len()).expect("fewer than 65536 commands");
        let full_name = match parent.and_then(|parent| self.commands.get(usize::from(parent))) {
            // Once per process: the names live as long as the table.
            Some(parent) => &*format!("{}|{}", parent.spec.name, spec.name).leak(),
            None => spec.name,
        };
        let flags = derived_flags(spec);
        self.commands.push(Command {
            id,
            full_name,
            spec,
            flags,
            categories: Categories::of(spec, flags),
            parent,
            name_words: if parent.is_some() { 2 } else { 1 },
            element_at: first_element(spec.args),
            subcommands: Vec::new(),
            removed: false,
            by_sub: Names::default(),
        });
        id
    }

    fn rename(&mut self, old: &str, new: &str) -> Result<(), &'static str> {
        let id = self.by_name.remove(old).ok_or("No such command in rename-command")?;
        if new.is_empty() {
            self.commands
                .iter_mut()
                .filter(|command| command.id == id || command.parent == Some(id))
                .for_each(|command| command.removed = true);
            return Ok(());
        }
        if self.by_name.get(new.as_bytes()).is_some() {
            return Err("Target command name already exists");
        }
        self.by_name.insert(new, id);
        Ok(())
    }
}

impl Command {
    /// Whether the connection makes such a call where it is one of a transaction, which is committed
    /// before and goes on behind it.
    #[must_use]
    pub fn is_made_outside(&self) -> bool {
        matches!(self.spec.run, Run::Server(_)) || self.flags.has(Flags::PUSHES)
    }

    /// Whether its name alone leads to it, and to nothing else.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.name_words == 1 && self.subcommands.is_empty()
    }

    /// Whether a call of so many words is complete.
    #[must_use]
    pub fn accepts(&self, words: usize) -> bool {
        self.spec.arity.accepts(words)
    }

    /// Where the keys of a call stand, and what is done with each; `None` where the call is not
    /// well formed. `words` starts with the command's name.
    #[must_use]
    pub fn keys_of(&self, words: &[bytes::Bytes]) -> Option<SmallVec<[(usize, KeyFlags); 4]>> {
        let (keys, is_well_formed) = self.keys_found(words);
        is_well_formed.then_some(keys)
    }

    /// As [`Self::keys_of`], and of a call that is not well formed those that are found nevertheless;
    /// whether it is.
    #[must_use]
    pub fn keys_found(&self, words: &[bytes::Bytes]) -> (SmallVec<[(usize, KeyFlags); 4]>, bool) {
        let mut keys = SmallVec::<[(usize, KeyFlags); 4]>::new();
        let mut is_well_formed = true;
        for spec in self.spec.keys {
            let flags = self.spec.key_flags.map_or(spec.flags, |flags| flags(words));
            let found = spec.find(words, &mut |index| keys.push((index, flags)));
            is_well_formed &= found.is_ok();
        }
        let last = self.spec.last_key.and_then(|place| place(words)).zip(self.spec.keys.last());
        let is_new = |(index, _): &(usize, &KeySpec)| keys.iter().all(|(known, _)| known != index);
        if let Some((index, spec)) = last.filter(is_new) {
            keys.push((index, spec.flags));
        }
        (keys, is_well_formed)
    }

    /// The keys that a call reads, where the command only reads.
    #[must_use]
    pub fn keys_read<'w>(&self, words: &'w [bytes::Bytes]) -> SmallVec<[&'w bytes::Bytes; 4]> {
        let reads = self.flags.has(Flags::READONLY) && !self.flags.has(Flags::PUBSUB);
        if !reads || matches!(self.spec.run, Run::Program(_)) {
            return SmallVec::new();
        }
        let keys = self.keys_of(words).unwrap_or_default();
        keys.iter().filter_map(|(number, _)| words.get(*number)).collect()
    }

    /// Whether it is one of the `CLIENT` commands.
    #[must_use]
    pub fn is_about_client(&self) -> bool {
        self.full_name.starts_with("client|")
    }

    /// The words of a call as they may be shown to others.
    #[must_use]
    pub fn shown_words<'w>(
        &self,
        words: &'w [bytes::Bytes],
    ) -> std::borrow::Cow<'w, [bytes::Bytes]> {
        let Some(secrets) = self.spec.secrets else { return words.into() };
        let mut shown = words.to_vec();
        for word in shown.get_mut(secrets(words)).into_iter().flatten() {
            *word = bytes::Bytes::from_static(b"(redacted)");
        }
        shown.into()
    }

    /// First key, last key and step as in `COMMAND INFO`; zeros where the command names no key.
    #[must_use]
    pub fn legacy_range(&self) -> (i64, i64, i64) {
        legacy_range(self.spec.keys)
    }
}

fn derived_flags(spec: &CommandSpec) -> Flags {
    let mut flags = spec.flags;
    match spec.run {
        Run::Write(_) | Run::Blocking(_) if !flags.has(Flags::READONLY) => {
            flags = flags.or(Flags::WRITE)
        }
        Run::Read(_) | Run::ReadOrBlock(..) => flags = flags.or(Flags::READONLY),
        _ => {}
    }
    if is_movable(spec.keys) {
        flags = flags.or(Flags::MOVABLE_KEYS);
    }
    flags
}

/// Whether first, last and step do not tell where all the keys stand.
fn is_movable(keys: &[KeySpec]) -> bool {
    keys.iter().any(|key| {
        !matches!((key.begin, key.find), (BeginSearch::Index(_), FindKeys::Range { .. }))
            || key.flags.names().any(|flag| flag == "incomplete")
    })
}

/// The widest range that the index-and-range specs cover when they are joined, as Redis does it.
fn legacy_range(keys: &[KeySpec]) -> (i64, i64, i64) {
    let mut ranges = keys.iter().filter_map(|key| match (key.begin, key.find) {
        (BeginSearch::Index(first), FindKeys::Range { last, step, .. }) => {
            let first = i64::from(first);
            let last = i64::from(last);
            Some((first, if last >= 0 { first + last } else { last }, i64::from(step)))
        }
        _ => None,
    });
    let Some((mut first, mut last, step)) = ranges.next() else { return (0, 0, 0) };
    for (other_first, other_last, _) in ranges {
        if other_first == last + 1 || last < 0 {
            first = first.min(other_first);
            last = if last < 0 || other_last < 0 {
                last.min(other_last)
            } else {
                last.max(other_last)
            };
        }
    }
    (first, last, step)
}

#[cfg(test)]
mod tests;
