//! A refusal on its way to the log.

use bytes::Bytes;

use super::{Denied, User};
use crate::commands::table::Command;
use crate::commands::{Client, ServerState, client};

/// Bytes of a name that the log keeps at most.
const KEPT_BYTES_MAX: usize = 1024;

/// What was refused. In the order in which the check of a call meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// A command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
    /// A user and its password.
    Auth,
}

impl Reason {
    /// The word in `ACL LOG`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
            Self::Auth => "auth",
        }
    }
}

/// Where a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// On its own.
    Toplevel,
    /// As one of a transaction.
    Multi,
    /// As one of a script.
    Lua,
}

impl Context {
    /// The word in `ACL LOG`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Toplevel => "toplevel",
            Self::Multi => "multi",
            Self::Lua => "lua",
        }
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(super) reason: Reason,
    pub(super) context: Context,
    /// The command, key or channel.
    pub(super) object: Bytes,
    pub(super) user: Bytes,
}

impl Denial {
    /// A call that `user` may not make.
    pub(crate) fn of(
        denied: Denied,
        context: Context,
        user: &User,
        command: &Command,
        words: &[Bytes],
    ) -> Self {
        let object = kept(&denied.object(command, words));
        Self { reason: denied.reason, context, object, user: kept(user.name()) }
    }

    /// A password that is not that of `user`, or nobody's of that name; `command` as it was written.
    pub(crate) fn of_password(context: Context, user: &[u8], command: &[u8]) -> Self {
        Self { reason: Reason::Auth, context, object: kept(command), user: kept(user) }
    }
}

/// A copy of the beginning, which does not keep the buffer of the call.
fn kept(text: &[u8]) -> Bytes {
    Bytes::copy_from_slice(text.get(..KEPT_BYTES_MAX).unwrap_or(text))
}

impl ServerState {
    /// Counts a refusal that `client` has met so many times, and puts it into the log.
    pub(crate) fn note_denial(&self, client: &Client, denial: &Denial, times: u64) {
        let counter = match denial.reason {
            Reason::Command => &self.metrics.commands_denied,
            Reason::Key => &self.metrics.keys_denied,
            Reason::Channel => &self.metrics.channels_denied,
            Reason::Auth => &self.metrics.auth_denied,
        };
        counter.add(times);
        let now_ms = self.clock.unix_ms();
        let mut info = Vec::new();
        client::describe(&mut info, client, now_ms);
        info.truncate(info.trim_ascii_end().len());
        let most = self.config.load().acllog_max_len;
        self.acl_log.add(denial, times, info.into(), now_ms, most);
    }
}
