//! The settings that a running server shares.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::glob::{is_pattern, matches};
use super::kind::{Setting, Source};
use super::table::{find, settings};
use super::{ConfigError, LoadError, Settings, rewrite};
use crate::env::Fs;

/// The server's refusal of a changed setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Veto {
    /// Name of the setting.
    pub name: &'static str,
    /// Why, as the client will read it (`Unable to listen on this port`).
    pub why: String,
}

/// Carries out changed settings: gets the old values, the new ones, and the names of those that were
/// set. With an error nothing changes; the hook itself undoes what it has done until then.
pub type ApplyHook =
    Box<dyn Fn(&Settings, &Settings, &[&'static str]) -> Result<(), Veto> + Send + Sync>;

/// All settings. Readers take the present values without a lock; changes are made one after the
/// other and become visible as a whole.
#[derive(Default)]
pub struct Config {
    current: ArcSwap<Settings>,
    /// Held by `set` and `rewrite` from the first look at the old values to the publication.
    changing: Mutex<()>,
    file: Option<PathBuf>,
    hook: OnceLock<ApplyHook>,
}

impl Config {
    /// Shares `settings`, which came from `file` if there is one (an absolute path).
    #[must_use]
    pub fn new(settings: Settings, file: Option<PathBuf>) -> Self {
        Self { current: ArcSwap::from_pointee(settings), file, ..Self::default() }
    }

    /// The present values. Keep the guard for a moment only: load again for later ones.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Settings>> {
        self.current.load()
    }

    /// The present values, to be kept.
    #[must_use]
    pub fn load_full(&self) -> Arc<Settings> {
        self.current.load_full()
    }

    /// The configuration file that `CONFIG REWRITE` writes (`config_file` of `INFO`).
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Sets the hook that carries out changed settings. Only the first call counts; it must come
    /// before the first client does.
    pub fn on_change(&self, hook: ApplyHook) {
        let _ = self.hook.set(hook);
    }

    /// `CONFIG GET`: names and values of all settings that match one of `patterns`, each once, in
    /// the order of their names. A name that was written with other cases comes back in lower case.
    #[must_use]
    pub fn get_matching(&self, patterns: &[&[u8]]) -> Vec<(&'static str, String)> {
        let values = self.current.load();
        let mut found: Vec<(&'static str, String)> = Vec::new();
        for setting in settings() {
            for name in [Some(setting.name), setting.alias].into_iter().flatten() {
                if patterns.iter().any(|pattern| is_asked(setting, name, pattern)) {
                    found.push((name, setting.print(&values)));
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// `CONFIG SET`: checks and changes all of `pairs` (name, value), or none of them.
    pub fn set(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), ConfigError> {
        let _changing = self.changing.lock();
        let old = self.current.load_full();
        let mut new = Settings::clone(&old);
        let mut names: Vec<&'static str> = Vec::with_capacity(pairs.len());
        let mut chosen = Vec::with_capacity(pairs.len());
        // As in Redis, the first wrong name is reported before any wrong value.
        for (name, value) in pairs {
            let text = String::from_utf8_lossy(name);
            let Some(setting) = find(&text) else {
                return Err(ConfigError::Unknown(name.to_vec()));
            };
            let name = setting.name_as(&text);
            if setting.immutable {
                let what = if setting.protected { "protected" } else { "immutable" };
                return Err(refused(name, &format!("can't set {what} config")));
            }
            if names.contains(&setting.name) {
                return Err(refused(name, "duplicate parameter"));
            }
            names.push(setting.name);
            chosen.push((setting, name, *value));
        }
        for (setting, name, value) in chosen {
            let value = std::str::from_utf8(value)
                .map_err(|_| refused(name, "argument must be UTF-8 text"))?;
            setting
                .apply(&mut new, &[value], Source::Command)
                .map_err(|why| refused(name, &why))?;
        }
        if let Some(hook) = self.hook.get() {
            hook(&old, &new, &names).map_err(|veto| refused(veto.name, &veto.why))?;
        }
        self.current.store(Arc::new(new));
        Ok(())
    }

    /// `CONFIG REWRITE`: writes the present values to the file, keeping its comments and its order.
    /// `users` are the lines of the users that it shall have. Durable when it returns; a crash leaves the
    /// old file or the new one.
    pub fn rewrite(&self, fs: &dyn Fs, users: &[String]) -> Result<(), ConfigError> {
        let _changing = self.changing.lock();
        let file = self.file.as_deref().ok_or(ConfigError::NoFile)?;
        rewrite::rewrite(fs, file, &self.current.load(), users)
            .map_err(|error: LoadError| ConfigError::Rewrite(error.to_string()))
    }
}

impl std::fmt::Debug for Config {
    /// Without the values: they hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("file", &self.file).finish_non_exhaustive()
    }
}

fn refused(name: &str, why: &str) -> ConfigError {
    ConfigError::Refused { name: name.to_owned(), why: why.to_owned() }
}

/// Hidden settings are shown to those who know their names only.
fn is_asked(setting: &Setting, name: &str, pattern: &[u8]) -> bool {
    if setting.hidden && is_pattern(&String::from_utf8_lossy(pattern)) {
        return false;
    }
    matches(pattern, name.as_bytes())
}

#[cfg(test)]
mod tests;
