//! All users of the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use parking_lot::Mutex;

use super::file;
use super::rule::has_blanks;
use super::user::{DEFAULT, User};
use crate::config::Settings;
use crate::env::Fs;
use crate::protocol::quote;

/// Users by name.
pub(super) type UserMap = BTreeMap<Bytes, Arc<User>>;

/// The users. Readers take them without a lock; each change makes a new map and then a new version.
#[derive(Debug)]
pub struct Users {
    all: ArcSwap<UserMap>,
    version: AtomicU64,
    /// Held from the look at the users before a change until the change is published.
    changing: Mutex<()>,
    /// Held while the file is written: two would share one that is not whole yet.
    saving: Mutex<()>,
}

/// A user as it was, where it was there, and as it is.
type Changed = (Option<Arc<User>>, Arc<User>);

impl Users {
    /// The default user alone, with this password or without one where it is empty.
    #[must_use]
    pub fn with_password(password: &str) -> Self {
        let mut user = User::default_user();
        user.set_password(password.as_bytes());
        Self::of(UserMap::from([(Bytes::from_static(DEFAULT), user.shared())]))
    }

    fn of(all: UserMap) -> Self {
        Self {
            all: ArcSwap::from_pointee(all),
            version: AtomicU64::new(0),
            changing: Mutex::new(()),
            saving: Mutex::new(()),
        }
    }

    /// The users that the settings ask for: `user` lines, or those of `aclfile`.
    ///
    /// # Errors
    /// What is wrong with a rule or the file.
    pub fn configured(settings: &Settings, fs: &dyn Fs) -> Result<Self, String> {
        let all_channels = settings.acl_pubsub_all_channels;
        if !settings.aclfile.is_empty() {
            if !settings.users.is_empty() {
                return Err("users are defined in the configuration and in an ACL file \
                            (aclfile); that invites mistakes, so only one of both may be used"
                    .to_owned());
            }
            return file::load(fs, settings, all_channels).map(Self::of);
        }
        let mut all = UserMap::clone(&Self::with_password(&settings.requirepass).all.load());
        for words in &settings.users {
            let [name, rules @ ..] = words.as_slice() else { continue };
            let shown = String::from_utf8_lossy(name);
            if has_blanks(name) {
                return Err(format!("spaces are not allowed in the name of a user: '{shown}'"));
            }
            let user = User::new(name, all_channels)
                .with_rules(rules.iter().map(|rule| &rule[..]), all_channels)
                .map_err(|why| format!("user '{shown}': {}", String::from_utf8_lossy(&why)))?;
            if !user.is_on {
                tracing::info!(user = %shown, "the user is off: there is no 'on' among its rules");
            }
            all.insert(user.name().clone(), user.shared());
        }
        Ok(Self::of(all))
    }

    /// The users at present.
    pub(super) fn all(&self) -> Guard<Arc<UserMap>> {
        self.all.load()
    }

    /// Grows with each change; read before the users, so that no change is missed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The user of this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<Arc<User>> {
        self.all.load().get(name).map(Arc::clone)
    }

    /// Who a connection is that has not said so.
    #[must_use]
    pub fn default_user(&self) -> Arc<User> {
        // There always is one; without it nobody may do anything.
        self.get(DEFAULT).unwrap_or_else(|| User::new(DEFAULT, false).shared())
    }

    /// Whether connections need not say who they are.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.default_user().is_open()
    }

    /// Each user as a line of a configuration file.
    #[must_use]
    pub fn config_lines(&self) -> Vec<String> {
        let line = |user: &Arc<User>| {
            let line = user.line();
            let rules = line.split(|byte| *byte == b' ').skip(2).map(quote);
            let rules: Vec<String> = rules.collect();
            format!("user {} {}", quote(user.name()), rules.join(" "))
        };
        self.all.load().values().map(line).collect()
    }

    fn change<T, E>(&self, change: impl FnOnce(&mut UserMap) -> Result<T, E>) -> Result<T, E> {
        let _changing = self.changing.lock();
        let mut all = UserMap::clone(&self.all.load());
        let changed = change(&mut all)?;
        self.all.store(Arc::new(all));
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok(changed)
    }

    /// Makes a user or changes one; how it was before, where it was there.
    ///
    /// # Errors
    /// The text that `ACL SETUSER` answers; then nothing has changed.
    pub(super) fn set(
        &self,
        name: &[u8],
        rules: &[Bytes],
        all_channels: bool,
    ) -> Result<Changed, Vec<u8>> {
        if has_blanks(name) {
            return Err(b"Usernames can't contain spaces or null characters".to_vec());
        }
        self.change(|all| {
            let before = all.get(name).map(Arc::clone);
            let user = match &before {
                Some(user) => User::clone(user),
                None => User::new(name, all_channels),
            };
            let user = user.with_rules(rules.iter().map(|rule| &rule[..]), all_channels)?;
            let user = user.shared();
            all.insert(user.name().clone(), Arc::clone(&user));
            Ok((before, user))
        })
    }

    /// Deletes users; how many of these there were. The default one stays.
    pub(super) fn delete(&self, names: &[Bytes]) -> usize {
        let delete = |all: &mut UserMap| {
            let names = names.iter().filter(|name| name[..] != *DEFAULT);
            Ok::<_, std::convert::Infallible>(names.filter_map(|name| all.remove(name)).count())
        };
        let Ok(deleted) = self.change(delete);
        deleted
    }

    /// Takes all users from a file in place of those there are, which it answers.
    ///
    /// # Errors
    /// What is wrong with the file; then nothing has changed.
    pub(super) fn load(&self, fs: &dyn Fs, settings: &Settings) -> Result<Arc<UserMap>, String> {
        let before = self.all.load_full();
        let loaded = file::load(fs, settings, settings.acl_pubsub_all_channels)?;
        let Ok(()) = self.change(|all| {
            *all = loaded;
            Ok::<_, std::convert::Infallible>(())
        });
        Ok(before)
    }

    /// Writes all users to a file.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub(super) fn save(&self, fs: &dyn Fs, settings: &Settings) -> std::io::Result<()> {
        let _saving = self.saving.lock();
        file::save(fs, &settings.in_dir(&settings.aclfile), &self.all.load_full())
    }

    /// `requirepass`: the password of the default user; none is needed where it is empty.
    pub fn set_password(&self, password: &str) {
        let Ok(()) = self.change(|all| {
            let default = all.get(DEFAULT).map(|user| User::clone(user));
            let mut user = default.unwrap_or_else(User::default_user);
            user.set_password(password.as_bytes());
            user.settle();
            all.insert(user.name().clone(), user.shared());
            Ok::<_, std::convert::Infallible>(())
        });
    }
}
