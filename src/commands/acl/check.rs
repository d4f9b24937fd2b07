//! Whether a user may make a call.

use std::cell::OnceCell;

use bytes::Bytes;
use smallvec::SmallVec;

use super::denial::Reason;
use super::selector::{Access, Selector};
use super::user::User;
use crate::commands::table::Command;
use crate::commands::{Channels, Flags, KeyFlags};

/// Why a user may not make a call: of all its selectors, what the one that went furthest met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    pub(super) reason: Reason,
    /// The word of the call that is not allowed; 0 where it is the command.
    at: usize,
}

impl Denied {
    /// What is not allowed: the command, the key or the channel.
    pub(crate) fn object(self, command: &Command, words: &[Bytes]) -> Bytes {
        match self.reason {
            Reason::Key | Reason::Channel => words.get(self.at).cloned().unwrap_or_default(),
            Reason::Command | Reason::Auth => Bytes::from_static(command.full_name.as_bytes()),
        }
    }

    /// The text for the client, without its code.
    pub(crate) fn text(self, user: &User, command: &Command) -> Vec<u8> {
        match self.reason {
            Reason::Key => b"No permissions to access a key".to_vec(),
            Reason::Channel => b"No permissions to access a channel".to_vec(),
            Reason::Command | Reason::Auth => {
                let name = command.full_name.as_bytes();
                let what = [b" has no permissions to run the '", name, b"' command"].concat();
                [b"User ", &user.name[..], &what].concat()
            }
        }
    }

    /// The text that names what is not allowed, for `ACL DRYRUN`.
    pub(super) fn full_text(self, user: &User, command: &Command, words: &[Bytes]) -> Vec<u8> {
        let what = match self.reason {
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Command | Reason::Auth => return self.text(user, command),
        };
        let mut text = [b"User ", &user.name[..]].concat();
        text.extend_from_slice(b" has no permissions to access the '");
        text.extend_from_slice(&self.object(command, words));
        text.extend_from_slice(format!("' {what}").as_bytes());
        text
    }

    /// Why `EXEC` does not make a call that could be queued before.
    pub(crate) const fn text_at_exec(self) -> &'static str {
        match self.reason {
            Reason::Command => "no permission to execute the command or subcommand",
            Reason::Key => "no permission to touch the specified keys",
            Reason::Channel => "no permission to access one of the channels used as arguments",
            Reason::Auth => "no permission",
        }
    }
}

type Keys = SmallVec<[(usize, KeyFlags); 4]>;

/// A call that is looked at; its keys are found once for all selectors.
struct Call<'a> {
    command: &'a Command,
    words: &'a [Bytes],
    keys: OnceCell<Keys>,
}

impl Call<'_> {
    /// The keys. `PFMERGE` without a source is not what its key specs expect, but it stores: so a call
    /// that is not well formed is asked for the keys that are clear.
    fn keys(&self) -> &Keys {
        self.keys.get_or_init(|| {
            let mut keys = self.command.keys_found(self.words).0;
            keys.retain(|(_, flags)| !flags.is_not_key());
            keys
        })
    }

    /// The channels, with their places, and whether they are patterns.
    fn channels(&self) -> (impl Iterator<Item = (usize, &Bytes)>, bool) {
        let channels = self.command.spec.channels;
        let count = match channels {
            None => 0,
            Some(Channels::First) => 1,
            Some(Channels::All | Channels::Patterns) => usize::MAX,
        };
        let words = self.words.iter().enumerate().skip(self.command.name_words).take(count);
        (words, channels == Some(Channels::Patterns))
    }
}

impl User {
    /// Whether the user may make the call of these words.
    ///
    /// # Errors
    /// Where it may not.
    pub(crate) fn check(&self, command: &Command, words: &[Bytes]) -> Result<(), Denied> {
        if self.is_unrestricted() {
            return Ok(());
        }
        let call = Call { command, words, keys: OnceCell::new() };
        let mut worst = Denied { reason: Reason::Command, at: 0 };
        for selector in self.all_selectors() {
            match selector.check(&call) {
                Ok(()) => return Ok(()),
                Err(denied) => worst = worst.max(denied),
            }
        }
        Err(worst)
    }

    /// Whether the user may make the call though it leads to keys that it does not name; the error
    /// text where not.
    pub(crate) fn check_followed(&self, command: &Command, words: &[Bytes]) -> Result<(), String> {
        let Some(follows) = command.spec.follows.filter(|_| !self.is_unrestricted()) else {
            return Ok(());
        };
        let Some(option) = follows(words) else { return Ok(()) };
        let call = Call { command, words, keys: OnceCell::new() };
        let mut selectors = self.all_selectors();
        if selectors.any(|selector| selector.reads_all_keys() && selector.check(&call).is_ok()) {
            return Ok(());
        }
        Err(format!("ERR {option} option of SORT denied due to insufficient ACL permissions."))
    }
}

impl Selector {
    fn check(&self, call: &Call<'_>) -> Result<(), Denied> {
        let Call { command, words, .. } = call;
        let denied = |reason, at| Err(Denied { reason, at });
        if !command.flags.has(Flags::NO_AUTH) && !self.commands.allow(command, words) {
            return denied(Reason::Command, 0);
        }
        if !self.has_all_keys() {
            for (at, flags) in call.keys() {
                let key = words.get(*at).map(|key| &key[..]).unwrap_or_default();
                if !self.allows_key(key, Access::of(*flags)) {
                    return denied(Reason::Key, *at);
                }
            }
        }
        if !self.has_all_channels() {
            let (channels, are_patterns) = call.channels();
            for (at, channel) in channels {
                if !self.allows_channel(channel, are_patterns) {
                    return denied(Reason::Channel, at);
                }
            }
        }
        Ok(())
    }
}
