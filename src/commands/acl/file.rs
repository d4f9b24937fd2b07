//! Users as lines of a file: `user <name> <rules>`. There are no comments and no quotes: the file is
//! written by `ACL SAVE`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::rule::{RuleError, has_blanks, joined};
use super::user::{DEFAULT, User};
use super::users::UserMap;
use crate::config::Settings;
use crate::env::Fs;

/// Reads users from a file; the default one is as at first where the file does not name it.
///
/// # Errors
/// A text that names every line with something wrong in it. Passwords are not part of it.
pub(super) fn load(
    fs: &dyn Fs,
    settings: &Settings,
    all_channels: bool,
) -> Result<UserMap, String> {
    let shown = &settings.aclfile;
    let text = fs.read(&settings.in_dir(shown)).map_err(|error| {
        format!("Error loading ACLs, opening file '{shown}': {}", plain(&error))
    })?;
    parse(&text, shown, all_channels)
}

/// What the system says, without the number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn parse(text: &[u8], path: &str, all_channels: bool) -> Result<UserMap, String> {
    let mut users = UserMap::new();
    let mut errors = String::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [b"user", name, rules @ ..] = words.as_slice() else {
            errors.push_str(&format!(
                "{path}:{number} should start with user keyword followed by the username. "
            ));
            continue;
        };
        let shown = String::from_utf8_lossy(name);
        if has_blanks(name) {
            errors.push_str(&format!(
                "'{path}:{number}: username '{shown}' contains invalid characters. "
            ));
        } else if users.contains_key(*name) {
            errors.push_str(&format!("WARNING: Duplicate user '{shown}' found on line {number}. "));
        } else {
            let user = user_of(name, rules, &format!("{path}:{number}"), all_channels, &mut errors);
            users.insert(user.name().clone(), Arc::new(user));
        }
    }
    if errors.is_empty() {
        users.entry(DEFAULT.into()).or_insert_with(|| User::default_user().shared());
        return Ok(users);
    }
    errors.push_str(
        "WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
    );
    Err(errors)
}

/// The user of a line; adds what is wrong with it to `errors`: each name that is not known, and the
/// first of all else.
fn user_of(
    name: &[u8],
    rules: &[&[u8]],
    place: &str,
    all_channels: bool,
    errors: &mut String,
) -> User {
    let mut user = User::new(name, all_channels);
    let Ok(rules) = joined(rules.iter().copied()) else {
        errors.push_str(&format!("{place}: Unmatched parenthesis in selector definition."));
        return user;
    };
    let mut is_wrong = false;
    for rule in rules {
        let rule = rule.trim_ascii();
        match user.apply(rule, all_channels) {
            Ok(()) => {}
            Err(error @ RuleError::Unknown) => {
                let rule = String::from_utf8_lossy(rule);
                errors
                    .push_str(&format!("{place}: Error in applying operation '{rule}': {error}. "));
            }
            Err(error) => {
                if !is_wrong {
                    errors.push_str(&format!("{place}: {error}. "));
                }
                is_wrong = true;
            }
        }
    }
    user.settle();
    user
}

/// Writes users to a file in place of what it held. After a crash it holds the old users or the new
/// ones; once this returns, the new ones.
///
/// # Errors
/// Where the file system refuses; then the file is as before.
pub(super) fn save(fs: &dyn Fs, path: &Path, users: &UserMap) -> io::Result<()> {
    let mut text = Vec::new();
    for user in users.values() {
        text.extend_from_slice(&user.line());
        text.push(b'\n');
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let written = replace(fs, &temporary, path, &text);
    if written.is_err() {
        // It may never have been there.
        drop(fs.remove(&temporary));
    }
    written
}

fn replace(fs: &dyn Fs, temporary: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    match fs.remove(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = fs.create(temporary)?;
    file.write_at(0, text)?;
    file.sync_data()?;
    fs.rename(temporary, path)?;
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    fs.sync_dir(directory.unwrap_or(Path::new(".")))
}
