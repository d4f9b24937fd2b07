//! The arguments of a command, as a tree: documentation for `COMMAND DOCS` and the source of
//! generated calls in tests.

/// Kind of an argument, as in `COMMAND DOCS`.
#[derive(Debug, Clone, Copy)]
pub enum ArgKind {
    /// `string`.
    String,
    /// `integer`.
    Integer,
    /// `double`.
    Double,
    /// `key`.
    Key,
    /// `pattern`.
    Pattern,
    /// `unix-time`.
    UnixTime,
    /// `pure-token`.
    PureToken,
    /// One of the arguments below.
    OneOf(&'static [Arg]),
    /// All of the arguments below, in order.
    Block(&'static [Arg]),
}

impl ArgKind {
    /// The word in `COMMAND DOCS`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf(_) => "oneof",
            Self::Block(_) => "block",
        }
    }

    /// The arguments below a `oneof` or a block.
    #[must_use]
    pub const fn children(self) -> &'static [Arg] {
        match self {
            Self::OneOf(args) | Self::Block(args) => args,
            _ => &[],
        }
    }
}

/// An argument of a command.
#[derive(Debug, Clone, Copy)]
pub struct Arg {
    /// Its name.
    pub name: &'static str,
    /// What is shown in its place, where that is not its name.
    pub display: Option<&'static str>,
    /// Its kind.
    pub kind: ArgKind,
    /// The word before it, or itself for a pure token.
    pub token: Option<&'static str>,
    /// May be left out.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// Its token is repeated with it.
    pub multiple_token: bool,
    /// Index of its key spec.
    pub key_spec: Option<u8>,
    /// Since which Redis version, where later than the command.
    pub since: Option<&'static str>,
    /// Deprecated since this Redis version.
    pub deprecated_since: Option<&'static str>,
}

impl Arg {
    const fn new(name: &'static str, kind: ArgKind) -> Self {
        Self {
            name,
            display: None,
            kind,
            token: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            key_spec: None,
            since: None,
            deprecated_since: None,
        }
    }

    /// A key of the first key spec; another one by [`Self::key_spec`].
    #[must_use]
    pub const fn key(name: &'static str) -> Self {
        Self::new(name, ArgKind::Key).key_spec(0)
    }

    /// Any bytes.
    #[must_use]
    pub const fn string(name: &'static str) -> Self {
        Self::new(name, ArgKind::String)
    }

    /// A 64-bit integer.
    #[must_use]
    pub const fn integer(name: &'static str) -> Self {
        Self::new(name, ArgKind::Integer)
    }

    /// A floating point number.
    #[must_use]
    pub const fn double(name: &'static str) -> Self {
        Self::new(name, ArgKind::Double)
    }

    /// A glob pattern.
    #[must_use]
    pub const fn pattern(name: &'static str) -> Self {
        Self::new(name, ArgKind::Pattern)
    }

    /// A Unix time.
    #[must_use]
    pub const fn unix_time(name: &'static str) -> Self {
        Self::new(name, ArgKind::UnixTime)
    }

    /// A fixed word without a value, such as `NX`.
    #[must_use]
    pub const fn token(name: &'static str, token: &'static str) -> Self {
        Self::new(name, ArgKind::PureToken).with_token(token)
    }

    /// One of `args`.
    #[must_use]
    pub const fn one_of(name: &'static str, args: &'static [Arg]) -> Self {
        Self::new(name, ArgKind::OneOf(args))
    }

    /// All of `args`, in order.
    #[must_use]
    pub const fn block(name: &'static str, args: &'static [Arg]) -> Self {
        Self::new(name, ArgKind::Block(args))
    }

    /// The word that stands before it, such as `EX`.
    #[must_use]
    pub const fn with_token(mut self, token: &'static str) -> Self {
        self.token = Some(token);
        self
    }

    /// What is shown in its place.
    #[must_use]
    pub const fn display(mut self, text: &'static str) -> Self {
        self.display = Some(text);
        self
    }

    /// May be left out.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// May be repeated.
    #[must_use]
    pub const fn multiple(mut self) -> Self {
        self.multiple = true;
        self
    }

    /// May be repeated, its token with it.
    #[must_use]
    pub const fn multiple_token(mut self) -> Self {
        self.multiple = true;
        self.multiple_token = true;
        self
    }

    /// Index of the key spec it belongs to.
    #[must_use]
    pub const fn key_spec(mut self, index: u8) -> Self {
        self.key_spec = Some(index);
        self
    }

    /// Since which Redis version, where later than the command.
    #[must_use]
    pub const fn since(mut self, version: &'static str) -> Self {
        self.since = Some(version);
        self
    }

    /// Deprecated since this Redis version.
    #[must_use]
    pub const fn deprecated_since(mut self, version: &'static str) -> Self {
        self.deprecated_since = Some(version);
        self
    }
}

/// What the names of elements are called in calls that take them.
const ELEMENT_NAMES: [&str; 2] = ["field", "member"];

/// Which word of a call is the first that names an element of the collection at its only key, where
/// what may be left out is. The name of the call is word 0. `None` where no word does, or where it
/// stands in no one place.
#[must_use]
pub fn first_element(args: &[Arg]) -> Option<usize> {
    let (key, args) = args.split_first()?;
    matches!(key.kind, ArgKind::Key if !key.multiple).then(|| element_behind(args, 2))?.ok()
}

/// The same among the words from `word` on, or the word behind those of `args`, if that is known.
fn element_behind(args: &[Arg], mut word: usize) -> Result<usize, Option<usize>> {
    for arg in args.iter().filter(|arg| !arg.optional) {
        word = match arg.kind {
            _ if arg.token.is_some() => return Err(None),
            ArgKind::String if ELEMENT_NAMES.contains(&arg.name) => return Ok(word),
            ArgKind::Key | ArgKind::OneOf(_) | ArgKind::PureToken => return Err(None),
            ArgKind::Block(args) => match element_behind(args, word) {
                Err(Some(behind)) => behind,
                found => return found,
            },
            _ => word + 1,
        };
        if arg.multiple {
            return Err(None);
        }
    }
    Err(Some(word))
}
