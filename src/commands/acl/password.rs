//! Passwords, of which only the hash is kept.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::rule::RuleError;

/// Bytes of a hash; twice as many digits.
const HASH_BYTES: usize = 32;

/// The SHA-256 of a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PasswordHash([u8; HASH_BYTES]);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl PasswordHash {
    /// That of a password.
    pub(super) fn of(password: &[u8]) -> Self {
        Self(Sha256::digest(password).into())
    }

    /// From its digits, all of them in lower case.
    pub(super) fn parse(digits: &[u8]) -> Result<Self, RuleError> {
        let mut bytes = [0; HASH_BYTES];
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != HASH_BYTES || !rest.is_empty() {
            return Err(RuleError::BadHash);
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
    }

    /// Its digits.
    pub(super) fn digits(&self) -> String {
        let mut digits = String::with_capacity(2 * HASH_BYTES);
        for byte in self.0 {
            let _ = write!(digits, "{byte:02x}");
        }
        digits
    }

    /// Whether both are the same. Takes the same time wherever they differ.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

fn digit(digit: u8) -> Result<u8, RuleError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(RuleError::BadHash),
    }
}
