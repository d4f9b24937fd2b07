//! Names of scripts.

use sha1::{Digest, Sha1};

/// SHA-1 of a script's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScriptId([u8; 20]);

impl ScriptId {
    /// Of the script `text`.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        Self(Sha1::digest(text).into())
    }

    /// Reads 40 hexadecimal digits of either case.
    #[must_use]
    pub fn parse(digits: &[u8]) -> Option<Self> {
        if digits.len() != 40 {
            return None;
        }
        let mut bytes = [0; 20];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let text = std::str::from_utf8(pair).ok()?;
            if !pair.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            *byte = u8::from_str_radix(text, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl std::fmt::Display for ScriptId {
    /// 40 hexadecimal digits, lower case.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// SHA-1 of `bytes` as 40 hexadecimal digits.
#[must_use]
pub fn sha1_hex(bytes: &[u8]) -> String {
    ScriptId::of(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_and_read() {
        let id = ScriptId::of(b"return 1");
        assert_eq!(id.to_string(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(ScriptId::parse(b"E0E1F9FABFC9D4800C877A703B823AC0578FF8DB"), Some(id));
        for wrong in ["", "x", "+0e1f9fabfc9d4800c877a703b823ac0578ff8db", &"0".repeat(41)] {
            assert_eq!(ScriptId::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
