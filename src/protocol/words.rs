//! Words with quotes, as inline commands and configuration files write them.
//!
//! Words are separated by white space. `"..."` knows `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a`, and a
//! backslash before any other byte means that byte; `'...'` knows only `\'`. A closing quote must
//! be followed by white space or the end.

/// Splits `line` into words. `None` where quotes do not balance.
#[must_use]
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = skip_blanks(line);
    while !rest.is_empty() {
        let (word, after) = next_word(rest)?;
        words.push(word);
        rest = skip_blanks(after);
    }
    Some(words)
}

/// Writes `word` so that [`split_words`] reads it back as one word; plain where that is possible.
#[must_use]
pub fn quote(word: &[u8]) -> String {
    let plain = !word.is_empty()
        && word.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\'));
    if plain {
        return word.iter().copied().map(char::from).collect();
    }
    quote_always(word)
}

/// As [`quote`], but never plain.
#[must_use]
pub fn quote_always(word: &[u8]) -> String {
    let mut out = String::with_capacity(word.len() + 2);
    out.push('"');
    for &byte in word {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x07 => out.push_str("\\a"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                out.push_str("\\x");
                for nibble in [byte >> 4, byte & 15] {
                    out.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
                }
            }
        }
    }
    out.push('"');
    out
}

/// White space as C's `isspace`: the form feed and the vertical tab count too.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn skip_blanks(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|&byte| !is_blank(byte)).unwrap_or(line.len());
    line.get(start..).unwrap_or_default()
}

/// The word that `rest` starts with, and what follows it. A NUL byte outside quotes ends the line.
fn next_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Some((word, rest)),
            [0, ..] => return Some((word, &[])),
            [byte, ..] if is_blank(*byte) => return Some((word, rest)),
            [b'"', after @ ..] => return end_of_quotes(word, double_quoted, after),
            [b'\'', after @ ..] => return end_of_quotes(word, single_quoted, after),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// Reads a quoted part up to its closing quote; it must be the end of the word.
fn end_of_quotes<'a>(
    mut word: Vec<u8>,
    read: fn(&mut Vec<u8>, &'a [u8]) -> Option<&'a [u8]>,
    rest: &'a [u8],
) -> Option<(Vec<u8>, &'a [u8])> {
    let after = read(&mut word, rest)?;
    match after {
        [] => Some((word, after)),
        [byte, ..] if is_blank(*byte) => Some((word, after)),
        _ => None,
    }
}

fn double_quoted<'a>(word: &mut Vec<u8>, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex_value(*high) << 4 | hex_value(*low));
                rest = after;
            }
            [b'\\', byte, after @ ..] => {
                word.push(match byte {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn single_quoted<'a>(word: &mut Vec<u8>, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] => return None,
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [b'\'', after @ ..] => return Some(after),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.saturating_sub(b'A') + 10,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{quote, split_words};

    fn check(line: &str, words: Option<&[&str]>) {
        let expected =
            words.map(|words| words.iter().map(|word| word.as_bytes().to_vec()).collect());
        assert_eq!(split_words(line.as_bytes()), expected, "{line:?}");
    }

    #[test]
    fn words_and_quotes() {
        check("", Some(&[]));
        check("  set  a\tb\r", Some(&["set", "a", "b"]));
        check(r#"set "a b" 'c d'"#, Some(&["set", "a b", "c d"]));
        check(r#""\x41\n\r\t\b\a\q\"""#, Some(&["A\n\r\t\x08\x07q\""]));
        check(r#""\xzz""#, Some(&["xzz"]));
        check(r"'it\'s \n'", Some(&[r"it's \n"]));
        check(r#""""#, Some(&[""]));
        check(r#"ab"cd" e"#, Some(&["abcd", "e"]));
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#""abc"#, r#""abc\""#, "'abc", r#""a"b"#, "'a'b", r#"set k """x"#] {
            check(line, None);
        }
    }

    proptest! {
        #[test]
        fn quoted_words_read_back(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6)) {
            let line: Vec<String> = words.iter().map(|word| quote(word)).collect();
            prop_assert_eq!(split_words(line.join(" ").as_bytes()), Some(words));
        }

        #[test]
        fn any_bytes_are_split_without_panic(line in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = split_words(&line);
        }
    }
}
