//! One user: its passwords, and what it may do.

use std::sync::Arc;

use bytes::Bytes;

use super::password::PasswordHash;
use super::rule::{RuleError, joined};
use super::selector::Selector;
use crate::protocol::split_words;

/// The name of the user of connections that have not said who they are.
pub(super) const DEFAULT: &[u8] = b"default";

/// A user. Never changes once it is shared: a change makes another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub(super) name: Bytes,
    pub(super) is_on: bool,
    pub(super) needs_no_password: bool,
    sanitizes: bool,
    pub(super) passwords: Vec<PasswordHash>,
    pub(super) root: Selector,
    pub(super) selectors: Vec<Selector>,
    /// Whether everything is allowed, so that nothing has to be looked at.
    is_unrestricted: bool,
}

impl User {
    /// A new user, who is off and may do nothing; `all_channels` is `acl-pubsub-default`.
    pub(super) fn new(name: &[u8], all_channels: bool) -> Self {
        Self {
            name: Bytes::copy_from_slice(name),
            is_on: false,
            needs_no_password: false,
            sanitizes: true,
            passwords: Vec::new(),
            root: Selector::new(all_channels),
            selectors: Vec::new(),
            is_unrestricted: false,
        }
    }

    /// The user `default` of a server without settings: on, without password, may do everything.
    pub(super) fn default_user() -> Self {
        let mut user = Self::new(DEFAULT, true);
        user.is_on = true;
        user.needs_no_password = true;
        user.root.set_all_keys(true);
        user.root.commands.start(true);
        user.settle();
        user
    }

    /// One who may do nothing, in place of one who is gone.
    pub(crate) fn without_rights(name: &[u8]) -> Self {
        Self::new(name, false)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &Bytes {
        &self.name
    }

    /// Whether every call is allowed.
    #[must_use]
    pub fn is_unrestricted(&self) -> bool {
        self.is_unrestricted
    }

    /// Whether connections are this user without a word.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_on && self.needs_no_password
    }

    /// Whether any password will do.
    #[must_use]
    pub fn needs_no_password(&self) -> bool {
        self.needs_no_password
    }

    /// Whether somebody with this password is this user.
    #[must_use]
    pub fn accepts(&self, password: &[u8]) -> bool {
        if !self.is_on || self.needs_no_password {
            return self.is_on;
        }
        let given = PasswordHash::of(password);
        // Looks at all of them: the time does not tell which one was near.
        self.passwords.iter().fold(false, |found, known| found | known.equals(&given))
    }

    /// `requirepass`: one password, or none that is needed where it is empty.
    pub(super) fn set_password(&mut self, password: &[u8]) {
        self.passwords.clear();
        self.needs_no_password = password.is_empty();
        if !password.is_empty() {
            self.passwords.push(PasswordHash::of(password));
        }
    }

    /// The same user after these rules; `all_channels` is `acl-pubsub-default`.
    ///
    /// # Errors
    /// The text that `ACL SETUSER` answers.
    pub(super) fn with_rules<'a>(
        &self,
        words: impl IntoIterator<Item = &'a [u8]>,
        all_channels: bool,
    ) -> Result<Self, Vec<u8>> {
        let rules = joined(words).map_err(|word| {
            let parts: [&[u8]; 3] =
                [b"Unmatched parenthesis in acl selector starting at '", &word, b"'."];
            parts.concat()
        })?;
        let mut user = self.clone();
        for rule in &rules {
            user.apply(rule, all_channels).map_err(|error| {
                let error = format!("': {error}");
                [b"Error in ACL SETUSER modifier '", &rule[..], error.as_bytes()].concat()
            })?;
        }
        user.settle();
        Ok(user)
    }

    /// Carries out one rule; [`Self::settle`] follows the last.
    ///
    /// # Errors
    /// Where it cannot be; then nothing has changed.
    pub(super) fn apply(&mut self, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
        match rule {
            [] => return Ok(()),
            [b'>', password @ ..] => self.add_password(PasswordHash::of(password)),
            [b'#', digits @ ..] => self.add_password(PasswordHash::parse(digits)?),
            [b'<', password @ ..] => return self.remove_password(PasswordHash::of(password)),
            [b'!', digits @ ..] => return self.remove_password(PasswordHash::parse(digits)?),
            [b'(', rules @ .., b')'] => {
                let mut selector = Selector::new(all_channels);
                for rule in split_words(rules).ok_or(RuleError::Syntax)? {
                    selector.apply(&rule)?;
                }
                self.selectors.push(selector);
            }
            rule => return self.apply_word(rule, all_channels),
        }
        Ok(())
    }

    fn apply_word(&mut self, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"on" => self.is_on = true,
            b"off" => self.is_on = false,
            b"nopass" => self.set_password(b""),
            b"resetpass" => self.reset_passwords(),
            b"sanitize-payload" => self.sanitizes = true,
            b"skip-sanitize-payload" => self.sanitizes = false,
            b"clearselectors" => self.selectors.clear(),
            b"reset" => self.reset(all_channels),
            _ => return self.root.apply(rule),
        }
        Ok(())
    }

    fn reset_passwords(&mut self) {
        self.passwords.clear();
        self.needs_no_password = false;
    }

    fn reset(&mut self, all_channels: bool) {
        *self = Self { name: self.name.clone(), ..Self::new(b"", all_channels) };
    }

    fn add_password(&mut self, hash: PasswordHash) {
        if !self.passwords.iter().any(|known| known.equals(&hash)) {
            self.passwords.push(hash);
        }
        self.needs_no_password = false;
    }

    fn remove_password(&mut self, hash: PasswordHash) -> Result<(), RuleError> {
        let before = self.passwords.len();
        self.passwords.retain(|known| !known.equals(&hash));
        if self.passwords.len() < before { Ok(()) } else { Err(RuleError::NoSuchPassword) }
    }

    /// Works out whether everything is allowed; behind every change.
    pub(super) fn settle(&mut self) {
        let is_unrestricted = self.all_selectors().any(Selector::allows_everything);
        self.is_unrestricted = is_unrestricted;
    }

    /// The permissions of the user itself, then its selectors.
    pub(super) fn all_selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// The words of its flags.
    pub(super) fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.is_on { "on" } else { "off" }];
        if self.needs_no_password {
            flags.push("nopass");
        }
        flags.push(if self.sanitizes { "sanitize-payload" } else { "skip-sanitize-payload" });
        flags
    }

    /// The line of `ACL LIST`: rules that make this user of a new one.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        let mut line = [b"user ", &self.name[..], b" "].concat();
        for flag in self.flags() {
            line.extend_from_slice(flag.as_bytes());
            line.push(b' ');
        }
        for password in &self.passwords {
            line.push(b'#');
            line.extend_from_slice(password.digits().as_bytes());
            line.push(b' ');
        }
        self.root.describe(&mut line);
        for selector in &self.selectors {
            line.extend_from_slice(b" (");
            selector.describe(&mut line);
            line.push(b')');
        }
        line
    }

    /// The same user, shared.
    pub(super) fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}
