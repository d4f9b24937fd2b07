//! Keyspace events as messages.

use bytes::Bytes;

use super::Message;
use crate::data::{Event, EventClasses};

/// The messages that tell of an event: to the channel of the key, then to that of the event, as far as
/// `classes` asks for them.
pub fn event_messages(
    event: &Event,
    classes: EventClasses,
) -> impl Iterator<Item = Message> + use<> {
    let Event { db, name, key } = event;
    let by_key = classes.has(EventClasses::BY_KEY).then(|| {
        let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
        message(channel, Bytes::from_static(name.as_bytes()))
    });
    let by_name = classes
        .has(EventClasses::BY_NAME)
        .then(|| message(format!("__keyevent@{db}__:{name}").into_bytes(), key.clone()));
    by_key.into_iter().chain(by_name)
}

fn message(channel: Vec<u8>, payload: Bytes) -> Message {
    Message { channel: channel.into(), payload, is_shard: false }
}
