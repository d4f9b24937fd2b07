//! Integers as Redis reads them.

/// A signed 64-bit integer in Redis's strict form: optional minus, no blanks, no plus, no leading
/// zeros (`string2ll` of Redis).
#[must_use]
pub fn parse_int(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let canonical = match digits {
        [b'0'] => bytes.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
/// A floating point number as `strtod` reads it, where it takes all of `bytes`: decimal or
/// hexadecimal, or an infinity; no blanks, nothing that is not a number, nothing too large or too
/// small to be told from infinity or zero.
#[must_use]
pub fn parse_double(bytes: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if let Some(digits) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return Some(sign * parse_hexadecimal(digits)?);
    }
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number: f64 = digits.parse().ok().filter(|number: &f64| !number.is_nan())?;
    let is_word = digits.starts_with(['i', 'I']);
    let mantissa = digits.split(['e', 'E']).next()?;
    let is_zero = !mantissa.contains(|c: char| ('1'..='9').contains(&c));
    let is_exact = is_word || number.is_finite() && (number != 0.0 || is_zero);
    is_exact.then_some(sign * number)
}

/// Digits to the base of 16, a point among them, and a power of two.
fn parse_hexadecimal(digits: &str) -> Option<f64> {
    let (mantissa, power) = match digits.split_once(['p', 'P']) {
        Some((mantissa, power)) => (mantissa, power.parse::<i32>().ok()?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (mut number, mut exponent) = (0.0_f64, power);
    for digit in whole.chars().chain(fraction.chars()) {
        number = number * 16.0 + f64::from(digit.to_digit(16)?);
    }
    exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?.checked_mul(4)?)?;
    let number = number * f64::from(exponent).exp2();
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::parse_double;

    #[test]
    fn doubles_are_read_as_strtod_reads_them() {
        for (text, number) in [
            ("0", 0.0),
            ("-0", -0.0),
            ("+1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("0e-999", 0.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0x1F", 31.0),
            ("-0x1.8p1", -3.0),
        ] {
            assert_eq!(parse_double(text.as_bytes()).map(f64::to_bits), Some(number.to_bits()));
        }
        for text in
            ["", "-", "--1", "+-1", " 1", "1 ", "nan", "-nan", "1e999", "1e-999", "0x", "1x", "e5"]
        {
            assert_eq!(parse_double(text.as_bytes()), None, "{text}");
        }
    }
}
