//! What can be wrong with a rule, and selectors that stand in several words.

use bytes::Bytes;

/// What is wrong with a rule; its `Display` is Redis's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleError {
    /// Not a rule, or a pattern with blanks in it.
    Syntax,
    /// No such command or category.
    Unknown,
    /// A key pattern where all keys are allowed.
    AllKeys,
    /// A channel pattern where all channels are allowed.
    AllChannels,
    /// A password that the user does not have.
    NoSuchPassword,
    /// Not the hash of a password.
    BadHash,
    /// A first argument of a subcommand.
    ArgumentOfSubcommand,
}

impl std::fmt::Display for RuleError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Syntax => "Syntax error",
            Self::Unknown => "Unknown command or category name in ACL",
            Self::AllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and \
                 does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            Self::AllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and \
                 does not have any effect. Try 'resetchannels' to start with an empty list of \
                 channels"
            }
            Self::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            Self::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase \
                 hexadecimal characters"
            }
            Self::ArgumentOfSubcommand => "Allowing first-arg of a subcommand is not supported",
        })
    }
}

/// Whether a name or a pattern has white space or a zero byte in it, which no file of users can hold.
pub(super) fn has_blanks(text: &[u8]) -> bool {
    text.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0x0b | 0))
}

/// The rules with each selector as one of them: the words from one that begins with `(` up to one
/// that ends with `)`, joined by blanks. An error is the word whose bracket is not closed.
pub(super) fn joined<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Bytes>, Bytes> {
    let mut rules = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for word in words {
        match &mut open {
            None if word.starts_with(b"(") && !word.ends_with(b")") => {
                open = Some((word, word.to_vec()));
            }
            None => rules.push(Bytes::copy_from_slice(word)),
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if word.ends_with(b")") {
                    rules.push(std::mem::take(selector).into());
                    open = None;
                }
            }
        }
    }
    match open {
        Some((first, _)) => Err(Bytes::copy_from_slice(first)),
        None => Ok(rules),
    }
}
