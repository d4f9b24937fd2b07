//! Numbers as C prints and reads them.

/// `value` as `%.{precision}g` prints it; `precision` is 1 at least.
pub(super) fn format_general(value: f64, precision: usize) -> String {
    if value.is_nan() {
        return if value.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:.*e}", precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let whole_max = i32::try_from(precision).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= whole_max {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.abs());
    }
    let decimals = usize::try_from(whole_max - 1 - exponent).unwrap_or(0);
    without_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Reads the longest number that `text` starts with as `strtod` does, but for leading blanks: decimal,
/// hexadecimal, infinite or none; with its length. `None` where it starts with none.
pub(super) fn scan(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let rest = &text[start..];
    let (value, length) = infinite(rest).or_else(|| hexadecimal(rest)).or_else(|| decimal(rest))?;
    Some((if negative { -value } else { value }, start + length))
}

fn infinite(text: &[u8]) -> Option<(f64, usize)> {
    let starts = |word: &str| {
        text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
    };
    [("infinity", f64::INFINITY), ("inf", f64::INFINITY), ("nan", f64::NAN)]
        .into_iter()
        .find(|(word, _)| starts(word))
        .map(|(word, value)| (value, word.len()))
}

fn digits(text: &[u8], is_digit: fn(&u8) -> bool) -> usize {
    text.iter().take_while(|byte| is_digit(byte)).count()
}

/// How long the exponent is that `text` starts with: a letter, a sign perhaps, digits; 0 where there
/// is none.
fn exponent(text: &[u8], letter: u8) -> usize {
    if !text.first().is_some_and(|first| first.eq_ignore_ascii_case(&letter)) {
        return 0;
    }
    let sign = usize::from(matches!(text.get(1), Some(b'-' | b'+')));
    match digits(&text[1 + sign..], u8::is_ascii_digit) {
        0 => 0,
        count => 1 + sign + count,
    }
}

/// How many bytes of `text` are digits with at most one point among them; 0 where there is no digit.
fn mantissa(text: &[u8], is_digit: fn(&u8) -> bool) -> usize {
    let whole = digits(text, is_digit);
    if text.get(whole) != Some(&b'.') {
        return whole;
    }
    let fraction = digits(&text[whole + 1..], is_digit);
    if whole + fraction == 0 { 0 } else { whole + 1 + fraction }
}

fn decimal(text: &[u8]) -> Option<(f64, usize)> {
    let mut length = mantissa(text, u8::is_ascii_digit);
    if length == 0 {
        return None;
    }
    length += exponent(&text[length..], b'e');
    let value = std::str::from_utf8(&text[..length]).ok()?.parse().ok()?;
    Some((value, length))
}

fn hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    let rest = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X"))?;
    let length = mantissa(rest, u8::is_ascii_hexdigit);
    if length == 0 {
        return None;
    }
    let mut value = 0.0;
    let mut scale = 0_i32;
    let mut behind_point = false;
    for byte in &rest[..length] {
        match char::from(*byte).to_digit(16) {
            Some(digit) => {
                value = value * 16.0 + f64::from(digit);
                scale -= if behind_point { 4 } else { 0 };
            }
            None => behind_point = true,
        }
    }
    let power = exponent(&rest[length..], b'p');
    if power > 0 {
        let text = std::str::from_utf8(&rest[length + 1..length + power]).ok()?;
        scale = scale.saturating_add(text.trim_start_matches('+').parse().unwrap_or(i32::MAX));
    }
    Some((value * f64::from(scale).exp2(), 2 + length + power))
}

#[cfg(test)]
mod tests {
    use super::{format_general, scan};

    #[test]
    fn general_format() {
        for (value, precision, text) in [
            (0.0, 14, "0"),
            (-0.0, 14, "-0"),
            (1.5, 14, "1.5"),
            (1.0 / 3.0, 14, "0.33333333333333"),
            (123_456_789_012_345.0, 14, "1.2345678901234e+14"),
            (1e100, 14, "1e+100"),
            (1e-5, 14, "1e-05"),
            (0.0001, 14, "0.0001"),
            (12345.0, 3, "1.23e+04"),
            (99.99, 1, "1e+02"),
            (9.5, 1, "1e+01"),
            (f64::INFINITY, 3, "inf"),
        ] {
            assert_eq!(format_general(value, precision), text);
        }
    }

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        for (text, found) in [
            ("1", Some((1.0, 1))),
            ("1.", Some((1.0, 2))),
            (".5x", Some((0.5, 2))),
            (".", None),
            ("1e", Some((1.0, 1))),
            ("1e+", Some((1.0, 1))),
            ("1e+2", Some((100.0, 4))),
            ("-0x10", Some((-16.0, 5))),
            ("0x1.8p1", Some((3.0, 7))),
            ("0x", Some((0.0, 1))),
            ("+Infinity!", Some((f64::INFINITY, 9))),
            ("infi", Some((f64::INFINITY, 3))),
            ("1e999", Some((f64::INFINITY, 5))),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(scan(text.as_bytes()), found, "{text}");
        }
    }
}
