//! Configuration files in the syntax of redis.conf.
//!
//! A line is a name and its words, with quotes as [`split_words`] reads them; `#` starts a comment
//! line. `include` reads another file in place; a relative path starts at the working directory, as
//! in Redis, and its last part may be a pattern. Later lines win over earlier ones.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::glob::{is_pattern, matches};
use super::kind::{Kind, Setting, Source};
use super::table::{FORGOTTEN, REFUSED_DIRECTIVES, RENAME_COMMAND, find, has_effect, meant_by};
use super::{LoadError, Settings};
use crate::env::Fs;
use crate::protocol::split_words;

/// How deep files may include each other.
const DEPTH_MAX: usize = 16;
/// Longest configuration file in bytes.
const FILE_BYTES_MAX: usize = 16 << 20;

/// Settings while they are gathered from lines.
pub(super) struct Loader<'a> {
    /// What the lines so far make of the defaults.
    pub(super) settings: Settings,
    /// Settings that were given and have no effect.
    pub(super) without_effect: Vec<&'static str>,
    fs: &'a dyn Fs,
    depth: usize,
}

impl<'a> Loader<'a> {
    /// Starts at the defaults.
    pub(super) fn new(fs: &'a dyn Fs) -> Self {
        Self { settings: Settings::default(), without_effect: Vec::new(), fs, depth: 0 }
    }

    /// Reads a file.
    pub(super) fn file(&mut self, path: &Path) -> Result<(), LoadError> {
        let whole = |why: String| LoadError {
            file: Some(path.to_owned()),
            line: 0,
            text: String::new(),
            why,
        };
        let text = self.fs.read(path).map_err(|error| whole(format!("cannot be read: {error}")))?;
        if text.len() > FILE_BYTES_MAX {
            return Err(whole(format!("is longer than {FILE_BYTES_MAX} bytes")));
        }
        self.text(&text, path)
    }

    /// Reads the text of a file; `path` is for messages.
    pub(super) fn text(&mut self, text: &[u8], path: &Path) -> Result<(), LoadError> {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            self.line(line).map_err(|why| LoadError {
                file: Some(path.to_owned()),
                line: index + 1,
                text: shown(line),
                why,
            })?;
        }
        Ok(())
    }

    /// Reads one line. The error says what is wrong with it.
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if let Some(words) = user_words(line)? {
            return self.user(words);
        }
        let Some(words) = words_of(line)? else {
            return Ok(());
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [name, words @ ..] => self.directive(name, words),
            [] => Ok(()),
        }
    }

    /// Carries out what starts a line: `include`, what Redis reads and forgets, or a setting. The
    /// error says what is wrong.
    pub(super) fn directive(&mut self, name: &str, words: &[&str]) -> Result<(), String> {
        if let ([pattern], true) = (words, name.eq_ignore_ascii_case("include")) {
            return self.include(pattern);
        }
        let Some(forgotten) = FORGOTTEN.iter().find(|known| known.eq_ignore_ascii_case(name))
        else {
            return self.set(name, words);
        };
        if words.len() != 1 {
            return Err(format!("{forgotten}: wrong number of arguments"));
        }
        self.note(forgotten);
        Ok(())
    }

    /// Sets one setting as a line would. The error says what is wrong.
    pub(super) fn set(&mut self, name: &str, words: &[&str]) -> Result<(), String> {
        if let Some((_, why)) =
            REFUSED_DIRECTIVES.iter().find(|(refused, _)| refused.eq_ignore_ascii_case(name))
        {
            return Err(format!("'{name}' cannot be used: {why}"));
        }
        if name.eq_ignore_ascii_case(RENAME_COMMAND) {
            let [old, new] = words else {
                return Err(format!("{RENAME_COMMAND}: wrong number of arguments"));
            };
            let rename = ((*old).to_owned(), (*new).to_owned());
            self.settings.renamed_commands.push(rename);
            return Ok(());
        }
        let setting = find(name).ok_or_else(|| {
            let tip = meant_by(name).map(|known| format!("; is '{known}' meant?"));
            let why = format!("there is no setting '{name}', neither in Redis 7.4 nor in SiltDB");
            why + &tip.unwrap_or_default()
        })?;
        // Those that take a list take an empty one: `save` is `save ""`.
        if words.is_empty() && !matches!(setting.kind, Kind::Words { .. }) {
            return Err(format!("{}: wrong number of arguments", setting.name));
        }
        setting
            .apply(&mut self.settings, words, Source::Line)
            .map_err(|why| format!("{}: {why}", setting.name))?;
        if ignores(setting, words) {
            self.note(setting.name);
        }
        Ok(())
    }

    /// Notes that a setting has no effect.
    fn note(&mut self, name: &'static str) {
        if !self.without_effect.contains(&name) {
            self.without_effect.push(name);
        }
    }

    /// Adds a user: its name, and its rules, which are looked at when the server starts.
    pub(super) fn user(&mut self, words: Vec<Vec<u8>>) -> Result<(), String> {
        let Some(name) = words.first() else {
            return Err("user: wrong number of arguments".to_owned());
        };
        let users = &mut self.settings.users;
        if users.iter().any(|known| known.first() == Some(name)) {
            return Err(
                "Duplicate user found. A user can only be defined once in config files".to_owned()
            );
        }
        users.push(words);
        Ok(())
    }

    fn include(&mut self, pattern: &str) -> Result<(), String> {
        if self.depth == DEPTH_MAX {
            return Err(format!("files include each other more than {DEPTH_MAX} deep"));
        }
        self.depth += 1;
        for path in self.included(Path::new(pattern))? {
            // The message of the inner file says more than that of this line could.
            self.file(&path).map_err(|error| error.to_string())?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// The files that `pattern` names, in the order of their names; none is fine for a pattern,
    /// as is a directory that is not there.
    fn included(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let dir = pattern.parent().unwrap_or(Path::new(""));
        if is_pattern(&dir.to_string_lossy()) {
            return Err("only the last part of an included path may be a pattern".to_owned());
        }
        if !is_pattern(name) {
            return Ok(vec![pattern.to_owned()]);
        }
        let listed = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let mut names = match self.fs.list(listed) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            listing => listing
                .map_err(|error| format!("{} cannot be listed: {error}", listed.display()))?,
        };
        names.retain(|entry| matches(name.as_bytes(), entry.as_bytes()));
        // As in a shell, a pattern does not find hidden files.
        names.retain(|entry| !entry.starts_with('.') || name.starts_with('.'));
        names.sort_unstable();
        Ok(names.into_iter().map(|entry| dir.join(entry)).collect())
    }
}

/// The words of a line; `None` for a comment or an empty line. The error says what is wrong.
pub(super) fn words_of(line: &[u8]) -> Result<Option<Vec<String>>, String> {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let words = split_words(line).ok_or("unbalanced quotes")?;
    let words = words.into_iter().map(String::from_utf8).collect::<Result<Vec<_>, _>>();
    Ok(Some(words.map_err(|_| "not UTF-8 text")?).filter(|words| !words.is_empty()))
}

/// The words behind `user`, if that is what the line starts with. Any bytes may be part of them.
pub(super) fn user_words(line: &[u8]) -> Result<Option<Vec<Vec<u8>>>, String> {
    let line = line.trim_ascii();
    let name = line.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    if !name.eq_ignore_ascii_case(b"user") {
        return Ok(None);
    }
    let mut words = split_words(line).ok_or("unbalanced quotes")?;
    words.remove(0);
    Ok(Some(words))
}

/// Whether a line with these words changes nothing.
fn ignores(setting: &Setting, words: &[&str]) -> bool {
    let switched_off = matches!(setting.kind, Kind::On(_))
        && words.iter().any(|word| !word.eq_ignore_ascii_case(setting.default));
    switched_off || !has_effect(setting)
}

/// A line for a message: not the value where it is a secret.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line.trim_ascii());
    let name = text.split_whitespace().next().unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    if lower.contains("pass") || lower.contains("auth") || lower == "user" {
        return format!("{name} ...");
    }
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests;
