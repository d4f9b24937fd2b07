//! What a setting is: its kind says how it is read, checked and printed.

use super::units::{parse_bool, parse_integer, parse_memory, print_bool, print_memory};
use super::{MemoryShare, Settings};

/// Shape of a value that is only kept.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// `yes` or `no`.
    Switch,
    /// A number between two bounds, both included.
    Integer(i64, i64),
    /// A size in bytes between two bounds, both included.
    Memory(u64, u64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Any text.
    Text,
    /// A text with variables in braces.
    Template,
    /// Any words; several in a file, one text in `CONFIG SET`.
    Words,
    /// Some of these words.
    Choices(&'static [&'static str]),
    /// So many whole numbers between two bounds, both included.
    Integers(usize, i64, i64),
}

/// How a setting is read, checked, printed, and where its value is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `yes` or `no`.
    Switch {
        /// Reads it.
        get: fn(&Settings) -> bool,
        /// Changes it.
        set: fn(&mut Settings, bool),
    },
    /// A number.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
        /// Reads it.
        get: fn(&Settings) -> i64,
        /// Changes it; called with values within the bounds only.
        set: fn(&mut Settings, i64),
    },
    /// A file mode, written in octal.
    Mode {
        /// Reads it.
        get: fn(&Settings) -> u32,
        /// Changes it.
        set: fn(&mut Settings, u32),
    },
    /// A size in bytes.
    Memory {
        /// Least value.
        min: u64,
        /// Greatest value.
        max: u64,
        /// Reads it.
        get: fn(&Settings) -> u64,
        /// Changes it; called with values within the bounds only.
        set: fn(&mut Settings, u64),
    },
    /// A size in bytes, or a percentage of the memory budget.
    MemoryOrPercent {
        /// Reads it.
        get: fn(&Settings) -> MemoryShare,
        /// Changes it.
        set: fn(&mut Settings, MemoryShare),
    },
    /// One of a few words.
    Choice {
        /// The words.
        names: &'static [&'static str],
        /// Index of the present one.
        get: fn(&Settings) -> usize,
        /// Changes it; called with an index of `names` only.
        set: fn(&mut Settings, usize),
    },
    /// Any text.
    Text {
        /// Reads it.
        get: fn(&Settings) -> &str,
        /// Changes it.
        set: fn(&mut Settings, String),
    },
    /// Several words with a meaning of their own.
    Words {
        /// All of them in one line, as `CONFIG GET` shows them.
        get: fn(&Settings) -> String,
        /// Checks and changes it. The error says what is wrong.
        set: fn(&mut Settings, &[&str], Source) -> Result<(), String>,
    },
    /// Known to Redis, without use here: checked, kept and shown, nothing more.
    Kept(Shape),
    /// Known to Redis, and only the default is possible here; the text says why.
    Only(&'static str),
    /// A switch that is always on; the text says why. A file may switch it off without effect, since
    /// those of Redis do, but `CONFIG SET` may not.
    On(&'static str),
}

/// Who sets a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A line of a file or an option of the command line; lines of some settings add up.
    Line,
    /// `CONFIG SET`: the value as a whole.
    Command,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Lower case.
    pub name: &'static str,
    /// An older name for the same setting.
    pub alias: Option<&'static str>,
    /// How it is read, checked and printed.
    pub kind: Kind,
    /// As a file would write it.
    pub default: &'static str,
    /// `CONFIG SET` is refused.
    pub immutable: bool,
    /// The refusal says that it is protected, as Redis calls what only a file may lead elsewhere.
    pub protected: bool,
    /// Not shown by `CONFIG GET` with a pattern.
    pub hidden: bool,
    /// One sentence: what it does, or why it does nothing here.
    pub docs: &'static str,
}

impl Setting {
    /// A setting that `CONFIG SET` may change.
    pub(super) const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        docs: &'static str,
    ) -> Self {
        Self {
            name,
            alias: None,
            kind,
            default,
            immutable: false,
            protected: false,
            hidden: false,
            docs,
        }
    }

    /// A setting that is only kept.
    pub(super) const fn kept(
        name: &'static str,
        shape: Shape,
        default: &'static str,
        docs: &'static str,
    ) -> Self {
        Self::new(name, Kind::Kept(shape), default, docs)
    }

    /// With an older name.
    pub(super) const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    /// Not to be changed while the server runs.
    pub(super) const fn immutable(mut self) -> Self {
        self.immutable = true;
        self
    }

    /// Not to be changed while the server runs, and called protected.
    pub(super) const fn protected(mut self) -> Self {
        self.protected = true;
        self.immutable()
    }

    /// Not shown by patterns.
    pub(super) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Whether a line may have several words.
    #[must_use]
    pub const fn takes_words(&self) -> bool {
        matches!(
            self.kind,
            Kind::Words { .. } | Kind::Kept(Shape::Words | Shape::Choices(_) | Shape::Integers(..))
        )
    }

    /// The name among its two that `name` is, in any case.
    pub(super) fn name_as(&self, name: &str) -> &'static str {
        self.alias.filter(|alias| alias.eq_ignore_ascii_case(name)).unwrap_or(self.name)
    }

    /// Whether `name` is its name or its older name, in any case.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
            || self.alias.is_some_and(|alias| alias.eq_ignore_ascii_case(name))
    }

    /// The value as `CONFIG GET` shows it.
    #[must_use]
    pub fn print(&self, settings: &Settings) -> String {
        match self.kind {
            Kind::Switch { get, .. } => print_bool(get(settings)),
            Kind::Integer { get, .. } => get(settings).to_string(),
            Kind::Mode { get, .. } => format!("{:o}", get(settings)),
            Kind::Memory { get, .. } => get(settings).to_string(),
            Kind::MemoryOrPercent { get, .. } => match get(settings) {
                MemoryShare::Bytes(bytes) => bytes.to_string(),
                MemoryShare::Percent(percent) => format!("{percent}%"),
            },
            Kind::Choice { names, get, .. } => {
                names.get(get(settings)).copied().unwrap_or_default().to_owned()
            }
            Kind::Text { get, .. } => get(settings).to_owned(),
            Kind::Words { get, .. } => get(settings),
            Kind::Kept(_) => settings.kept.get(self.name).cloned().unwrap_or_default(),
            Kind::Only(_) | Kind::On(_) => self.default.to_owned(),
        }
    }

    /// The value as `CONFIG REWRITE` writes it: sizes in the largest unit without a rest.
    pub(super) fn print_line(&self, settings: &Settings) -> String {
        let share = |share| match share {
            MemoryShare::Bytes(bytes) => Some(bytes),
            MemoryShare::Percent(_) => None,
        };
        let bytes = match self.kind {
            Kind::Memory { get, .. } => Some(get(settings)),
            Kind::MemoryOrPercent { get, .. } => share(get(settings)),
            Kind::Kept(Shape::Memory(..)) => self.print(settings).parse().ok(),
            _ => None,
        };
        bytes.map_or_else(|| self.print(settings), print_memory)
    }

    /// Checks the words of a line, or the one text of `CONFIG SET`, and changes the value. The error says what is wrong, in the words
    /// of `CONFIG SET`.
    pub fn apply(
        &self,
        settings: &mut Settings,
        words: &[&str],
        source: Source,
    ) -> Result<(), String> {
        // One text of several words counts as those words: `CONFIG SET` has it so, and `--save "900 1"`.
        let split: Vec<&str>;
        let words = match words {
            [text] if self.takes_words() => {
                split = text.split(' ').filter(|word| !word.is_empty()).collect();
                split.as_slice()
            }
            words => words,
        };
        match self.kind {
            Kind::Words { set, .. } => return set(settings, words, source),
            Kind::Kept(shape @ (Shape::Words | Shape::Choices(_) | Shape::Integers(..))) => {
                if matches!(shape, Shape::Integers(count, ..) if count != words.len()) {
                    return Err(WRONG_COUNT.to_owned());
                }
                if matches!(shape, Shape::Choices(_)) && words.is_empty() {
                    shape.check("")?;
                }
                for word in words {
                    shape.check(word)?;
                }
                settings.kept.insert(self.name, words.join(" "));
                return Ok(());
            }
            _ => {}
        }
        let [word] = words else {
            return Err(WRONG_COUNT.to_owned());
        };
        match self.kind {
            Kind::Switch { set, .. } => set(settings, switch(word)?),
            Kind::Integer { min, max, set, .. } => set(settings, integer(word, min, max)?),
            Kind::Mode { set, .. } => set(settings, mode(word)?),
            Kind::Memory { min, max, set, .. } => set(settings, memory(word, min, max)?),
            Kind::MemoryOrPercent { set, .. } => set(settings, memory_share(word)?),
            Kind::Choice { names, set, .. } => set(settings, choice(word, names)?),
            Kind::Text { set, .. } => set(settings, (*word).to_owned()),
            Kind::Kept(shape) => {
                settings.kept.insert(self.name, shape.check(word)?);
            }
            Kind::Only(why) => {
                if !word.eq_ignore_ascii_case(self.default) {
                    return Err(why.to_owned());
                }
            }
            Kind::On(why) => {
                if !switch(word)? && source == Source::Command {
                    return Err(why.to_owned());
                }
            }
            Kind::Words { .. } => {}
        }
        Ok(())
    }
}

impl Shape {
    /// The value as it is shown, if it has this shape.
    fn check(self, word: &str) -> Result<String, String> {
        Ok(match self {
            Self::Switch => print_bool(switch(word)?),
            Self::Integer(min, max) => integer(word, min, max)?.to_string(),
            Self::Memory(min, max) => memory(word, min, max)?.to_string(),
            Self::Choice(names) | Self::Choices(names) => {
                names.get(choice(word, names)?).copied().unwrap_or_default().to_owned()
            }
            Self::Text | Self::Words => word.to_owned(),
            Self::Template if is_title(word) => word.to_owned(),
            Self::Template => {
                return Err("template format is invalid or contains unknown variables".to_owned());
            }
            Self::Integers(_, min, max) => match parse_integer(word) {
                Some(value) if (min..=max).contains(&value) => value.to_string(),
                _ => {
                    return Err(format!(
                        "Invalid oom-score-adj-values, elements must be between {min} and {max}."
                    ));
                }
            },
        })
    }
}

/// Whether a text names known variables only, each in braces that close, and may come to more than
/// blanks; `{{` is a brace.
fn is_title(text: &str) -> bool {
    /// Those that may be empty, and those that never are.
    const EMPTY: [&str; 2] = ["title", "server-mode"];
    const FILLED: [&str; 5] = ["listen-addr", "config-file", "port", "tls-port", "unixsocket"];

    let (mut rest, mut is_filled) = (text, false);
    while let Some((before, behind)) = rest.split_once('{') {
        is_filled |= !before.trim_matches(' ').is_empty();
        if let Some(behind) = behind.strip_prefix('{') {
            (rest, is_filled) = (behind, true);
            continue;
        }
        let Some((name, behind)) = behind.split_once('}') else { return false };
        if !EMPTY.contains(&name) && !FILLED.contains(&name) {
            return false;
        }
        (rest, is_filled) = (behind, is_filled || FILLED.contains(&name));
    }
    is_filled || !rest.trim_matches(' ').is_empty()
}

pub(super) const WRONG_COUNT: &str = "wrong number of arguments";
const NOT_MEMORY_OR_PERCENT: &str = "argument must be a memory or percent value";

fn switch(word: &str) -> Result<bool, String> {
    parse_bool(word).ok_or_else(|| "argument must be 'yes' or 'no'".to_owned())
}

fn integer(word: &str, min: i64, max: i64) -> Result<i64, String> {
    let value = parse_integer(word).ok_or("argument couldn't be parsed into an integer")?;
    within(value, min, max)
}

fn memory(word: &str, min: u64, max: u64) -> Result<u64, String> {
    within(parse_memory(word).ok_or("argument must be a memory value")?, min, max)
}

fn memory_share(word: &str) -> Result<MemoryShare, String> {
    let Some(percent) = word.strip_suffix('%') else {
        return Ok(MemoryShare::Bytes(parse_memory(word).ok_or(NOT_MEMORY_OR_PERCENT)?));
    };
    match parse_integer(percent) {
        Some(101..) => Err("percentage argument must be less or equal to 100".to_owned()),
        percent => {
            let percent = percent.and_then(|percent| u8::try_from(percent).ok());
            Ok(MemoryShare::Percent(percent.ok_or(NOT_MEMORY_OR_PERCENT)?))
        }
    }
}

fn mode(word: &str) -> Result<u32, String> {
    let value = u32::from_str_radix(word, 8)
        .map_err(|_| "argument couldn't be parsed as an octal number".to_owned())?;
    within(value, 0, 0o777)
}

fn within<T: PartialOrd + std::fmt::Display>(value: T, min: T, max: T) -> Result<T, String> {
    if value < min || value > max {
        return Err(format!("argument must be between {min} and {max} inclusive"));
    }
    Ok(value)
}

fn choice(word: &str, names: &[&str]) -> Result<usize, String> {
    names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(word))
        .ok_or_else(|| format!("argument(s) must be one of the following: {}", names.join(", ")))
}
