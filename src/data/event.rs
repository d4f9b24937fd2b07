//! What a transaction tells those who listen to keys: keyspace events.

use bytes::Bytes;

use super::Edit;

/// Classes of keyspace events, and whether they are told by key or by name; letters as in
/// `notify-keyspace-events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventClasses(u16);

impl EventClasses {
    /// None.
    pub const NONE: Self = Self(0);
    /// Told to the channel of the key (`K`).
    pub const BY_KEY: Self = Self(1);
    /// Told to the channel of the event (`E`).
    pub const BY_NAME: Self = Self(1 << 1);
    /// Of keys of any type (`g`).
    pub const GENERIC: Self = Self(1 << 2);
    /// Of strings (`$`).
    pub const STRING: Self = Self(1 << 3);
    /// Of lists (`l`).
    pub const LIST: Self = Self(1 << 4);
    /// Of sets (`s`).
    pub const SET: Self = Self(1 << 5);
    /// Of hashes (`h`).
    pub const HASH: Self = Self(1 << 6);
    /// Of sorted sets (`z`).
    pub const ZSET: Self = Self(1 << 7);
    /// Keys that have expired are gone (`x`).
    pub const EXPIRED: Self = Self(1 << 8);
    /// Of streams (`t`).
    pub const STREAM: Self = Self(1 << 9);
    /// A key was looked up and not found (`m`).
    pub const MISS: Self = Self(1 << 10);
    /// There is a new key (`n`).
    pub const NEW: Self = Self(1 << 11);
    /// Anything that is modified is noted, for those who keep copies: [`super::Modified`]. No letter.
    pub const MODIFIED: Self = Self(1 << 12);

    /// What `A` stands for, as far as there is anything to tell.
    const ALL: &'static [Self] = &[
        Self::GENERIC,
        Self::STRING,
        Self::LIST,
        Self::SET,
        Self::HASH,
        Self::ZSET,
        Self::EXPIRED,
        Self::STREAM,
    ];

    /// The classes that the letters name. None where nothing says how they are told.
    #[must_use]
    pub fn parse(letters: &str) -> Self {
        let mut classes = Self::NONE;
        for letter in letters.chars() {
            classes = match letter {
                'A' => Self::ALL.iter().fold(classes, |classes, class| classes.or(*class)),
                'K' => classes.or(Self::BY_KEY),
                'E' => classes.or(Self::BY_NAME),
                'g' => classes.or(Self::GENERIC),
                '$' => classes.or(Self::STRING),
                'l' => classes.or(Self::LIST),
                's' => classes.or(Self::SET),
                'h' => classes.or(Self::HASH),
                'z' => classes.or(Self::ZSET),
                'x' => classes.or(Self::EXPIRED),
                't' => classes.or(Self::STREAM),
                'm' => classes.or(Self::MISS),
                'n' => classes.or(Self::NEW),
                // Evictions and modules, of which there are none.
                _ => classes,
            };
        }
        let is_told = classes.has(Self::BY_KEY) || classes.has(Self::BY_NAME);
        if is_told { classes } else { Self::NONE }
    }

    /// The classes of both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is among them.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Something that has happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The database of the key.
    pub db: u16,
    /// What has happened.
    pub name: &'static str,
    /// The key.
    pub key: Bytes,
}

impl Event {
    pub(super) fn new(db: u16, name: &'static str, key: &[u8]) -> Self {
        Self { db, name, key: Bytes::copy_from_slice(key) }
    }
}

impl Edit<'_> {
    /// Notes an event of the selected database, where somebody wants to know of its class.
    pub fn notify(&mut self, class: EventClasses, name: &'static str, key: &[u8]) {
        if self.context.events.has(class) {
            self.events.push(Event::new(self.context.db, name, key));
        }
    }

    /// As [`Self::notify`], of another database.
    pub fn notify_in(&mut self, db: u16, class: EventClasses, name: &'static str, key: &[u8]) {
        if self.context.events.has(class) {
            self.events.push(Event::new(db, name, key));
        }
    }

    /// Notes that something was taken from the value at `key`, and that the key is gone, if it is:
    /// what has changed last since [`Self::find`] is this key.
    pub fn notify_shrunk(&mut self, class: EventClasses, name: &'static str, key: &[u8]) {
        self.notify(class, name, key);
        self.notify_gone(key);
    }

    /// Notes that a result was stored at `key`, or that `key` is gone because the result is empty.
    pub fn notify_stored(
        &mut self,
        class: EventClasses,
        name: &'static str,
        key: &[u8],
        is_empty: bool,
    ) {
        if is_empty {
            self.notify_gone(key);
        } else {
            self.notify(class, name, key);
        }
    }

    fn notify_gone(&mut self, key: &[u8]) {
        if self.gone {
            self.notify(EventClasses::GENERIC, "del", key);
        }
    }

    /// Hands out the events that were noted, in their order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_name_classes() {
        assert_eq!(EventClasses::parse(""), EventClasses::NONE);
        assert_eq!(EventClasses::parse("Ag"), EventClasses::NONE, "told to nobody");
        let classes = EventClasses::parse("EA");
        assert!(classes.has(EventClasses::BY_NAME) && !classes.has(EventClasses::BY_KEY));
        assert!(EventClasses::ALL.iter().all(|class| classes.has(*class)));
        assert!(!classes.has(EventClasses::NEW) && !classes.has(EventClasses::MISS));
        let classes = EventClasses::parse("K$mn");
        assert!(classes.has(EventClasses::NEW) && classes.has(EventClasses::MISS));
        assert!(classes.has(EventClasses::STRING) && !classes.has(EventClasses::GENERIC));
    }
}
