//! Commands, keys and channels that are allowed together.

use bytes::Bytes;

use super::permissions::Permissions;
use super::rule::{RuleError, has_blanks};
use crate::commands::KeyFlags;
use crate::data::glob_matches;

/// What may be done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) reads: bool,
    pub(super) writes: bool,
}

impl Access {
    const ALL: Self = Self { reads: true, writes: true };

    /// What a call does with a key of these flags.
    pub(super) fn of(flags: KeyFlags) -> Self {
        Self { reads: flags.is_read(), writes: flags.is_written() }
    }

    fn covers(self, other: Self) -> bool {
        (self.reads || !other.reads) && (self.writes || !other.writes)
    }

    /// The mark in front of a pattern.
    fn mark(self) -> &'static [u8] {
        match (self.reads, self.writes) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct KeyPattern {
    pattern: Bytes,
    access: Access,
}

/// A set of permissions; a call has to fit into one of those of its user as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selector {
    pub(super) commands: Permissions,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Bytes>,
}

impl Selector {
    /// One that allows nothing, but for all channels where `all_channels` says so
    /// (`acl-pubsub-default`).
    pub(super) fn new(all_channels: bool) -> Self {
        Self {
            commands: Permissions::none(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
        }
    }

    /// Carries out a rule.
    ///
    /// # Errors
    /// Where it cannot be; then nothing has changed.
    pub(super) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => self.set_all_keys(true),
            b"resetkeys" => self.set_all_keys(false),
            b"allchannels" | b"&*" => self.set_all_channels(true),
            b"resetchannels" => self.set_all_channels(false),
            b"allcommands" => self.commands.start(true),
            b"nocommands" => self.commands.start(false),
            _ => return self.apply_marked(rule),
        }
        Ok(())
    }

    fn apply_marked(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule {
            [b'~', pattern @ ..] => self.add_keys(pattern, Access::ALL),
            [b'%', rest @ ..] => {
                if self.all_keys {
                    return Err(RuleError::AllKeys);
                }
                // As in Redis: without a tilde it is the empty pattern, which no key matches.
                let tilde = rest.iter().position(|byte| *byte == b'~').unwrap_or(rest.len());
                let access = parse_access(&rest[..tilde]).ok_or(RuleError::Syntax)?;
                self.add_keys(rest.get(tilde + 1..).unwrap_or_default(), access)
            }
            [b'&', pattern @ ..] => self.add_channels(pattern),
            rule => self.commands.apply(rule),
        }
    }

    pub(super) fn set_all_keys(&mut self, all: bool) {
        self.all_keys = all;
        self.keys.clear();
    }

    pub(super) fn set_all_channels(&mut self, all: bool) {
        self.all_channels = all;
        self.channels.clear();
    }

    fn add_keys(&mut self, pattern: &[u8], access: Access) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AllKeys);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.access.reads |= access.reads;
                known.access.writes |= access.writes;
            }
            None => {
                let pattern = Bytes::copy_from_slice(pattern);
                self.keys.push(KeyPattern { pattern, access });
            }
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AllChannels);
        }
        if has_blanks(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(Bytes::copy_from_slice(pattern));
        }
        Ok(())
    }

    /// Whether all keys are allowed, whatever is done with them.
    pub(super) fn has_all_keys(&self) -> bool {
        self.all_keys
    }

    /// Whether all channels are allowed.
    pub(super) fn has_all_channels(&self) -> bool {
        self.all_channels
    }

    /// The patterns of channels.
    pub(super) fn channels(&self) -> &[Bytes] {
        &self.channels
    }

    /// Whether everything is allowed.
    pub(super) fn allows_everything(&self) -> bool {
        self.all_keys && self.all_channels && self.commands.allow_all()
    }

    /// Whether this may be done with a key.
    pub(super) fn allows_key(&self, key: &[u8], access: Access) -> bool {
        let fits = |known: &KeyPattern| {
            known.access.covers(access) && glob_matches(&known.pattern, key, false)
        };
        self.all_keys || self.keys.iter().any(fits)
    }

    /// Whether every key may be read.
    pub(super) fn reads_all_keys(&self) -> bool {
        let is_all = |known: &KeyPattern| known.access.reads && known.pattern == b"*"[..];
        self.all_keys || self.keys.iter().any(is_all)
    }

    /// Whether a channel is allowed; a pattern of channels only as it is written.
    pub(super) fn allows_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels || fits_channel(&self.channels, channel, is_pattern)
    }

    /// Writes the keys that are allowed, separated by blanks.
    pub(super) fn describe_keys(&self, out: &mut Vec<u8>) {
        if self.all_keys {
            return out.extend_from_slice(b"~*");
        }
        for (number, KeyPattern { pattern, access }) in self.keys.iter().enumerate() {
            if number > 0 {
                out.push(b' ');
            }
            // Plain, it would be read as the word for all keys, behind which no pattern may come.
            let is_all = *access == Access::ALL && pattern == &b"*"[..];
            out.extend_from_slice(if is_all { b"%RW~" } else { access.mark() });
            out.extend_from_slice(pattern);
        }
    }

    /// Writes the channels that are allowed, separated by blanks.
    pub(super) fn describe_channels(&self, out: &mut Vec<u8>) {
        if self.all_channels {
            return out.extend_from_slice(b"&*");
        }
        for (number, pattern) in self.channels.iter().enumerate() {
            out.extend_from_slice(if number > 0 { b" &" } else { b"&" });
            out.extend_from_slice(pattern);
        }
    }

    /// Writes rules that lead here.
    pub(super) fn describe(&self, out: &mut Vec<u8>) {
        if self.all_keys || !self.keys.is_empty() {
            self.describe_keys(out);
            out.push(b' ');
        }
        if !self.all_channels {
            out.extend_from_slice(b"resetchannels ");
        }
        if self.all_channels || !self.channels.is_empty() {
            self.describe_channels(out);
            out.push(b' ');
        }
        self.commands.describe(out);
    }
}

/// Whether one of these patterns allows a channel, or is this very pattern of channels.
pub(super) fn fits_channel(allowed: &[Bytes], channel: &[u8], is_pattern: bool) -> bool {
    allowed.iter().any(|pattern| {
        if is_pattern { pattern == channel } else { glob_matches(pattern, channel, false) }
    })
}

/// `R`, `W` or both, in any case, each once.
fn parse_access(letters: &[u8]) -> Option<Access> {
    let mut access = Access { reads: false, writes: false };
    for letter in letters {
        let flag = match letter.to_ascii_uppercase() {
            b'R' => &mut access.reads,
            b'W' => &mut access.writes,
            _ => return None,
        };
        if std::mem::replace(flag, true) {
            return None;
        }
    }
    (access.reads || access.writes).then_some(access)
}
