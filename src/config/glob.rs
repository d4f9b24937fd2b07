//! Patterns of `CONFIG GET` and `include`.

/// Whether `name` matches `pattern` (`*`, `?`, `[a-z]`, `[^a]`, `\` before a byte meant as it is),
/// without regard to case. Backtracks to the last `*` only, so the time is at most the product of
/// the lengths.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at + 1, in_name));
            at += 1;
            continue;
        }
        match (one(pattern.get(at..).unwrap_or_default(), name.get(in_name)), star) {
            (Some(0), _) => return true,
            (Some(length), _) => {
                at += length;
                in_name += 1;
            }
            (None, Some((after, from))) if from < name.len() => {
                star = Some((after, from + 1));
                at = after;
                in_name = from + 1;
            }
            (None, _) => return false,
        }
    }
}

/// Whether `text` has bytes with a meaning in patterns.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Length of the pattern's first element if it matches `byte`; 0 where both are at their end.
fn one(pattern: &[u8], byte: Option<&u8>) -> Option<usize> {
    let lower = |byte: u8| byte.to_ascii_lowercase();
    match (pattern, byte) {
        ([], None) => Some(0),
        ([], Some(_)) | (_, None) => None,
        ([b'?', ..], Some(_)) => Some(1),
        ([b'\\', escaped, ..], Some(byte)) => (lower(*escaped) == lower(*byte)).then_some(2),
        ([b'[', class @ ..], Some(byte)) => {
            let (length, found) = one_of(class, lower(*byte));
            found.then_some(length + 1)
        }
        ([first, ..], Some(byte)) => (lower(*first) == lower(*byte)).then_some(1),
    }
}

/// Reads a class behind its `[`: its length with the `]`, and whether it has `byte`.
fn one_of(class: &[u8], byte: u8) -> (usize, bool) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match class.get(at..).unwrap_or_default() {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                found |= escaped.to_ascii_lowercase() == byte;
                at += 2;
            }
            [from, b'-', to, ..] if *to != b']' => {
                let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                at += 3;
            }
            [single, ..] => {
                found |= single.to_ascii_lowercase() == byte;
                at += 1;
            }
        }
    }
    (at, found != negated)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*", "port", true),
            ("*", "", true),
            ("", "", true),
            ("", "port", false),
            ("PORT", "port", true),
            ("max*", "maxmemory", true),
            ("*max*y", "maxmemory-policy", true),
            ("*of", "replicaof", true),
            ("*of", "port", false),
            ("p?rt", "port", true),
            ("p?rt", "prt", false),
            ("[o-q]ort", "port", true),
            ("[^p]ort", "port", false),
            ("[p", "p", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
