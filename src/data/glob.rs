//! Glob patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^a-z]`, and `\` before a literal byte.
//!
//! Bytes, not characters. A class that is not closed ends with the pattern; a range may be given
//! backwards; a backslash at the end stands for itself. Because every part but `*` takes exactly
//! one byte, only the last `*` ever has to be tried again, so a match costs at most the product of
//! both lengths.

use smallvec::SmallVec;

/// Stars of a pattern that are looked at; behind them nothing matches, as in Redis, where each costs
/// stack.
const STARS_MAX: usize = 1000;

/// Whether all of `text` matches `pattern`; `any_case` ignores the case of ASCII letters. As in Redis
/// an empty text matches nothing but an empty pattern.
#[must_use]
pub fn glob_matches(pattern: &[u8], text: &[u8], any_case: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut read) = (0, 0);
    // Behind the last star: where the pattern goes on, and where the text was then.
    let mut star: Option<(usize, usize)> = None;
    let mut stars = 0;
    loop {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return true;
            }
            // Those in a row are one.
            stars += usize::from(pattern.get(at) != Some(&b'*'));
            if stars > STARS_MAX {
                return false;
            }
            star = Some((at, read));
            continue;
        }
        let next = match text.get(read) {
            None => return pattern.get(at..).is_some_and(|rest| rest.iter().all(|b| *b == b'*')),
            Some(byte) => match_one(pattern, at, *byte, any_case),
        };
        if let Some(next) = next {
            (at, read) = (next, read + 1);
        } else if let Some((after, from)) = star {
            (at, read) = (after, from + 1);
            star = Some((after, from + 1));
        } else {
            return false;
        }
    }
}

/// The bytes that every match starts with, and whether they are all that matches.
#[must_use]
pub fn glob_prefix(pattern: &[u8]) -> (SmallVec<[u8; 32]>, bool) {
    let mut prefix = SmallVec::new();
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return (prefix, false),
            b'\\' => prefix.push(*bytes.next().unwrap_or(byte)),
            _ => prefix.push(*byte),
        }
    }
    (prefix, true)
}

/// Matches one byte with the part of the pattern at `at`; where the pattern goes on if it does.
fn match_one(pattern: &[u8], at: usize, byte: u8, any_case: bool) -> Option<usize> {
    let fold = |byte: u8| if any_case { byte.to_ascii_lowercase() } else { byte };
    match pattern.get(at..)? {
        [b'?', ..] => Some(at + 1),
        [b'[', rest @ ..] => {
            let (matched, len) = match_class(rest, fold(byte), &fold);
            matched.then_some(at + 1 + len)
        }
        [b'\\', literal, ..] => (fold(*literal) == fold(byte)).then_some(at + 2),
        [literal, ..] => (fold(*literal) == fold(byte)).then_some(at + 1),
        [] => None,
    }
}

/// Matches a class, given behind its opening bracket; the second value is its length.
fn match_class(class: &[u8], byte: u8, fold: &dyn Fn(u8) -> u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut matched = false;
    loop {
        match class.get(at..).unwrap_or_default() {
            [] => return (matched != negated, class.len()),
            [b'\\', literal, ..] => {
                matched |= fold(*literal) == byte;
                at += 2;
            }
            [b']', ..] => return (matched != negated, at + 1),
            [low, b'-', high, ..] => {
                let (low, high) = (fold(*low.min(high)), fold(*low.max(high)));
                matched |= (low..=high).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                matched |= fold(*literal) == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, text: &str, expected: bool) {
        let matched = glob_matches(pattern.as_bytes(), text.as_bytes(), false);
        assert_eq!(matched, expected, "{pattern} {text}");
    }

    #[test]
    fn literals_stars_and_classes() {
        for (pattern, text) in [
            ("", ""),
            ("abc", "abc"),
            ("*", "abc"),
            ("a*", "a"),
            ("a*c", "abbc"),
            ("a*c*", "abcbcb"),
            ("*a*b*c*", "xxaxxbxxcxx"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("[ab", "b"),
            ("[a-]x", "_"),
            ("[\\]]", "]"),
            ("\\*", "*"),
            ("a\\", "a\\"),
            ("[^]x", "ax"),
        ] {
            check(pattern, text, true);
        }
        for (pattern, text) in [
            ("", "a"),
            ("abc", "ab"),
            ("ab", "abc"),
            ("?", ""),
            ("*", ""),
            ("a*c", "abb"),
            ("h[^e]llo", "hello"),
            ("[]", "]"),
            ("\\*", "a"),
            ("ABC", "abc"),
        ] {
            check(pattern, text, false);
        }
        assert!(glob_matches(b"A[B-C]\\D*", b"abdefg", true));
    }

    #[test]
    fn many_stars_are_cheap() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!glob_matches(pattern.as_bytes(), &[b'a'; 10_000], false));
    }

    #[test]
    fn behind_a_thousand_stars_nothing_matches() {
        let text = vec![b'a'; 3000];
        for (stars, matches) in [(STARS_MAX, true), (STARS_MAX + 1, false)] {
            let pattern = "*?".repeat(stars);
            assert_eq!(glob_matches(pattern.as_bytes(), &text, false), matches, "{stars}");
            assert!(glob_matches((pattern.replace('?', "") + "a").as_bytes(), &text, false));
        }
        assert!(glob_matches(("*?".repeat(STARS_MAX) + "*").as_bytes(), &text, false));
    }

    /// Straight from the definition, exponential.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|skip| slow(rest, &text[skip..])),
            _ => text.split_first().is_some_and(|(byte, rest)| {
                match_one(pattern, 0, *byte, false).is_some_and(|next| slow(&pattern[next..], rest))
            }),
        }
    }

    proptest! {
        #[test]
        fn equals_the_definition(pattern in "[ab*?\\[\\]^\\\\-]{0,8}", text in "[ab\\]-]{0,8}") {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            let matched = glob_matches(pattern, text, false);
            prop_assert_eq!(matched, slow(pattern, text) && text.is_empty() == pattern.is_empty());
            let (prefix, whole) = glob_prefix(pattern);
            if matched {
                prop_assert!(text.starts_with(&prefix));
            }
            if whole {
                prop_assert_eq!(matched, prefix[..] == *text);
            }
        }
    }
}
