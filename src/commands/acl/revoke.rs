//! Connections that end because of what their users have lost.

use std::sync::Arc;

use bytes::Bytes;

use super::selector::fits_channel;
use super::user::User;
use crate::commands::{Client, Kind, ServerState, Session};

/// The channels of a user, of all selectors together; `None` where it may use all.
fn channels_of(user: &User) -> Option<Vec<Bytes>> {
    if user.all_selectors().any(|selector| selector.has_all_channels()) {
        return None;
    }
    Some(user.all_selectors().flat_map(|selector| selector.channels().iter().cloned()).collect())
}

/// Whether a subscription is one of those that the channels of a user allow.
fn is_allowed(channels: &[Bytes], kind: Kind, name: &[u8]) -> bool {
    fits_channel(channels, name, kind == Kind::Pattern)
}

/// Ends the connections of `after` that listen to what it may not any more; `before` is the user
/// before the change. `session` is the one that has made it.
pub(super) fn channels(state: &ServerState, session: &mut Session, before: &User, after: &User) {
    let Some(allowed) = channels_of(after) else { return };
    if channels_of(before).is_some_and(|had| had.iter().all(|one| allowed.contains(one))) {
        return;
    }
    for kind in [Kind::Channel, Kind::Pattern, Kind::Shard] {
        let lost = state.pubsub.subscribers_where(kind, |name| !is_allowed(&allowed, kind, name));
        for client in lost {
            if client.is_user(after.name()) {
                end(session, &client);
            }
        }
    }
}

/// Ends the connections whose users are not there any more.
pub(super) fn users_gone(state: &ServerState, session: &mut Session) {
    let users = state.users.all();
    for client in state.clients.all() {
        if !users.contains_key(&client.user_name()) {
            end(session, &client);
        }
    }
}

/// The connection that has asked for it still gets its reply.
fn end(session: &mut Session, client: &Arc<Client>) {
    if client.id == session.client.id {
        session.close();
    } else {
        client.kill();
    }
}

impl Session {
    /// Closes the connection where its user has lost a channel while it has subscribed to it: who
    /// takes channels away does not see a subscription that comes behind.
    pub(in crate::commands) fn check_subscriptions(&mut self, state: &ServerState) {
        if !self.is_behind(&state.users) {
            return;
        }
        self.follow_users(&state.users);
        let Some(allowed) = channels_of(self.user()) else { return };
        let Some(pushes) = self.pushes.as_deref_mut() else { return };
        let kinds = [Kind::Channel, Kind::Pattern, Kind::Shard];
        let is_lost =
            |kind| pushes.names(kind).iter().any(|name| !is_allowed(&allowed, kind, name));
        if kinds.into_iter().any(is_lost) {
            self.close();
        }
    }
}
