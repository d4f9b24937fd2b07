//! A command that a family can send, and how its replies are compared.

/// How two replies are compared.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Check {
    /// Redis promises no order: parts of so many elements are sorted first.
    pub(crate) sorted: Option<usize>,
    /// Numbers are compared by value: Redis 7.0 and 8.0 print other digits than 7.4.
    pub(crate) floats: bool,
    /// The answer is random: types and numbers of elements only.
    pub(crate) shape: bool,
    /// Integers may differ by so much, since time goes on.
    pub(crate) near: i64,
    /// The element at this place of inner arrays is a time.
    pub(crate) blank: Option<usize>,
    /// Fields that tell time, memory or what only 7.4 knows do not count.
    pub(crate) info: bool,
    /// The call is repeated with the cursor that it answers, to the end, and all elements are
    /// compared. The number is the place of the cursor among the words.
    pub(crate) cursor: Option<usize>,
    /// What it leaves differs: the key is deleted behind it.
    pub(crate) deletes: bool,
    /// Not in a pipeline: where only one of the two refuses it, for a reason, the key that it names
    /// first and the one that it names last are deleted behind it.
    pub(crate) alone: bool,
    /// Never distorted: it could block or take very long.
    pub(crate) fixed: bool,
}

/// A command, or a way to use it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    /// How often it is chosen, compared with the others of its family.
    pub(crate) weight: u32,
    /// See `pattern.rs`.
    pub(crate) pattern: &'static str,
    /// How replies are compared.
    pub(crate) check: Check,
}

/// A command whose replies are the same.
pub(crate) const fn rule(weight: u32, pattern: &'static str) -> Rule {
    let check = Check {
        sorted: None,
        floats: false,
        shape: false,
        near: 0,
        blank: None,
        info: false,
        cursor: None,
        deletes: false,
        alone: false,
        fixed: false,
    };
    Rule { weight, pattern, check }
}

impl Rule {
    const fn with(self, check: Check) -> Self {
        Self { check, ..self }
    }

    pub(crate) const fn sorted(self, of: usize) -> Self {
        self.with(Check { sorted: Some(of), ..self.check })
    }

    pub(crate) const fn floats(self) -> Self {
        self.with(Check { floats: true, ..self.check })
    }

    pub(crate) const fn shape(self) -> Self {
        self.with(Check { shape: true, ..self.check })
    }

    pub(crate) const fn near(self, by: i64) -> Self {
        self.with(Check { near: by, ..self.check })
    }

    pub(crate) const fn blank(self, at: usize) -> Self {
        self.with(Check { blank: Some(at), ..self.check })
    }

    pub(crate) const fn info(self) -> Self {
        self.with(Check { info: true, ..self.check })
    }

    pub(crate) const fn iterated(self, cursor: usize) -> Self {
        self.with(Check { cursor: Some(cursor), fixed: true, ..self.check })
    }

    pub(crate) const fn deletes(self) -> Self {
        self.with(Check { deletes: true, fixed: true, ..self.check })
    }

    pub(crate) const fn alone(self) -> Self {
        self.with(Check { alone: true, fixed: true, ..self.check })
    }

    pub(crate) const fn fixed(self) -> Self {
        self.with(Check { fixed: true, ..self.check })
    }
}
