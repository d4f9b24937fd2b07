//! ACL categories: their names, and how they follow from a command's entry.

use crate::commands::{CommandSpec, Flags, Group, Run};

/// An ACL category.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Category {
    /// `@keyspace`.
    Keyspace,
    /// `@read`. Derived.
    Read,
    /// `@write`. Derived.
    Write,
    /// `@set`. Derived from the group.
    Set,
    /// `@sortedset`. Derived from the group.
    SortedSet,
    /// `@list`. Derived from the group.
    List,
    /// `@hash`. Derived from the group.
    Hash,
    /// `@string`. Derived from the group.
    String,
    /// `@bitmap`. Derived from the group.
    Bitmap,
    /// `@hyperloglog`. Derived from the group.
    HyperLogLog,
    /// `@geo`. Derived from the group.
    Geo,
    /// `@stream`. Derived from the group.
    Stream,
    /// `@pubsub`. Derived.
    PubSub,
    /// `@admin`. Derived from the flag.
    Admin,
    /// `@fast`. Derived.
    Fast,
    /// `@slow`. Derived.
    Slow,
    /// `@blocking`. Derived.
    Blocking,
    /// `@dangerous`. Derived from the admin flag.
    Dangerous,
    /// `@connection`. Derived from the group.
    Connection,
    /// `@transaction`.
    Transaction,
    /// `@scripting`.
    Scripting,
}

impl Category {
    /// All, in the order of `ACL CAT` and `COMMAND INFO`.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Keyspace, "keyspace"),
        (Self::Read, "read"),
        (Self::Write, "write"),
        (Self::Set, "set"),
        (Self::SortedSet, "sortedset"),
        (Self::List, "list"),
        (Self::Hash, "hash"),
        (Self::String, "string"),
        (Self::Bitmap, "bitmap"),
        (Self::HyperLogLog, "hyperloglog"),
        (Self::Geo, "geo"),
        (Self::Stream, "stream"),
        (Self::PubSub, "pubsub"),
        (Self::Admin, "admin"),
        (Self::Fast, "fast"),
        (Self::Slow, "slow"),
        (Self::Blocking, "blocking"),
        (Self::Dangerous, "dangerous"),
        (Self::Connection, "connection"),
        (Self::Transaction, "transaction"),
        (Self::Scripting, "scripting"),
    ];

    /// The category of this name, in any case.
    #[must_use]
    pub fn by_name(name: &[u8]) -> Option<Self> {
        let is = |known: &&(Self, &str)| name.eq_ignore_ascii_case(known.1.as_bytes());
        Self::ALL.iter().find(is).map(|(category, _)| *category)
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// A set of categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Categories(u32);

impl Categories {
    /// The categories of a command: what its entry names, and what follows from its group and
    /// from `flags` (all of them, the derived ones included).
    #[must_use]
    pub fn of(spec: &CommandSpec, flags: Flags) -> Self {
        let mut bits = spec.acl.iter().fold(0, |bits, category| bits | category.bit());
        let mut add = |condition: bool, category: Category| {
            if condition {
                bits |= category.bit();
            }
        };
        let own = !matches!(spec.run, Run::Container);
        add(own && spec.group == Group::String, Category::String);
        add(own && spec.group == Group::Bitmap, Category::Bitmap);
        add(own && spec.group == Group::HyperLogLog, Category::HyperLogLog);
        add(own && spec.group == Group::Hash, Category::Hash);
        add(own && spec.group == Group::Set, Category::Set);
        add(own && spec.group == Group::Stream, Category::Stream);
        add(own && spec.group == Group::List, Category::List);
        add(own && spec.group == Group::SortedSet, Category::SortedSet);
        add(own && spec.group == Group::Geo, Category::Geo);
        add(own && spec.group == Group::Connection, Category::Connection);
        add(flags.has(Flags::WRITE), Category::Write);
        let is_script = spec.acl.contains(&Category::Scripting);
        // Who may read may not run scripts for that.
        add(flags.has(Flags::READONLY) && !is_script, Category::Read);
        add(flags.has(Flags::ADMIN), Category::Admin);
        add(flags.has(Flags::ADMIN), Category::Dangerous);
        add(flags.has(Flags::PUBSUB), Category::PubSub);
        add(flags.has(Flags::BLOCKING), Category::Blocking);
        add(flags.has(Flags::FAST), Category::Fast);
        add(!flags.has(Flags::FAST), Category::Slow);
        Self(bits)
    }

    /// Whether `category` is in the set.
    #[must_use]
    pub fn has(self, category: Category) -> bool {
        self.0 & category.bit() != 0
    }

    /// The names of the set, without `@`, in the order of `ACL CAT`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Category::ALL.iter().filter(move |(c, _)| self.has(*c)).map(|(_, name)| *name)
    }
}
