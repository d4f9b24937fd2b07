//! The keys of a batch that begin with a prefix of somebody.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Cause, Delivery, Part, PlaceAmongReplies, Tracking, What};

/// What was modified in a batch, by prefix; both in order.
#[derive(Debug, Default)]
pub(crate) struct Broadcast(BTreeMap<Bytes, BTreeMap<Bytes, Cause>>);

impl Broadcast {
    /// Notes a key, and who has modified it last.
    pub(crate) fn note(&mut self, tracking: &Tracking, key: &Bytes, cause: Cause) {
        for prefix in tracking.prefixes.of(key) {
            self.0.entry(prefix).or_default().insert(key.clone(), cause);
        }
    }

    /// Who has to be told, each of all keys of a prefix at once; nothing is noted any more.
    pub(crate) fn take(&mut self, tracking: &Tracking) -> Option<Delivery> {
        if self.0.is_empty() {
            return None;
        }
        let mut delivery = Delivery::default();
        for (prefix, keys) in std::mem::take(&mut self.0) {
            let mut all = Vec::new();
            for client in tracking.prefixes.clients(&prefix) {
                let Some(tracker) = tracking.tracker(client) else { continue };
                let own = keys.values().filter(|cause| cause.client == client);
                let place = PlaceAmongReplies {
                    after: own.map(|cause| cause.reply).max().unwrap_or(0),
                    behind_group: true,
                };
                if tracker.options.noloop && place.after > 0 {
                    let others = keys.iter().filter(|(_, cause)| cause.client != client);
                    let what = What::keys(others.map(|(key, _)| key));
                    if !matches!(&what, What::Keys(keys) if keys.is_empty()) {
                        delivery.add(Part::new([(tracker, place)], what));
                    }
                } else {
                    all.push((tracker, place));
                }
            }
            delivery.add(Part::new(all, What::keys(keys.keys())));
        }
        Some(delivery)
    }
}
