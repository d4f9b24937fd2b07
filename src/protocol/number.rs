//! Floating point numbers as Redis prints them.

/// `value` as an integer, where it is one of at most 2 to the power of 62 either way: those print with
/// all their digits. The sign of zero is lost.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
pub fn whole(value: f64) -> Option<i64> {
    const WHOLE_MAX: f64 = (i64::MAX / 2) as f64;

    (value.abs() <= WHOLE_MAX && value.fract() == 0.0).then_some(value as i64)
}

/// A text that reads back as `value`: all digits of whole numbers up to 2 to the power of 62, else the
/// shortest one, with an exponent only for very large and very small numbers (`1e+20`, `1e-7`), and
/// `inf`, `-inf`, `nan`.
#[must_use]
pub fn format_double(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    match whole(value) {
        Some(0) if value.is_sign_negative() => return "-0".to_owned(),
        Some(integer) => return integer.to_string(),
        None => {}
    }
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.replace('.', "");
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", lay_out(&digits, exponent))
}

/// `value` without an exponent, with 17 decimals at most and no zeros at the end. For finite numbers.
#[must_use]
pub fn format_plain_double(value: f64) -> String {
    let text = format!("{value:.17}");
    let trimmed = text.trim_end_matches('0').trim_end_matches('.');
    if trimmed == "-0" { "0".to_owned() } else { trimmed.to_owned() }
}

/// Lays `digits` out as `d.ddd` times ten to the power of `exponent`.
fn lay_out(digits: &str, exponent: i32) -> String {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    // Power of ten of the last digit.
    let last = exponent - (count - 1);
    if last >= 0 && exponent.abs() < count + 7 {
        let zeros = usize::try_from(last).unwrap_or(0);
        return format!("{digits}{}", "0".repeat(zeros));
    }
    if last < 0 && (last > -7 || exponent.abs() < 4) {
        return match usize::try_from(exponent) {
            Ok(whole) => format!("{}.{}", &digits[..=whole], &digits[whole + 1..]),
            Err(_) => {
                let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
                format!("0.{}{digits}", "0".repeat(zeros))
            }
        };
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{format_double, format_plain_double};

    #[test]
    fn plain_ones_print_as_redis_prints_coordinates() {
        for (value, text) in [
            (13.361_389_338_970_184, "13.36138933897018433"),
            (-0.1, "-0.10000000000000001"),
            (10.0, "10"),
            (-0.0, "0"),
            (0.5, "0.5"),
        ] {
            assert_eq!(format_plain_double(value), text);
        }
    }

    #[test]
    fn prints_as_redis_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (1.5, "1.5"),
            (0.1, "0.1"),
            (3.0e15, "3000000000000000"),
            (1e18, "1000000000000000000"),
            (291_709_823_336_425_920.0, "291709823336425920"),
            (-291_709_823_336_425_920.0, "-291709823336425920"),
            (9_007_199_254_740_994.0, "9007199254740994"),
            (4_611_686_018_427_387_904.0, "4611686018427387904"),
            (-4_611_686_018_427_387_904.0, "-4611686018427387904"),
            (4_611_686_018_427_388_928.0, "4611686018427389000"),
            (9_223_372_036_854_775_807.0, "9223372036854776000"),
            (1e20, "1e+20"),
            (1.5e300, "1.5e+300"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1e-5, "0.00001"),
            (0.000_001, "0.000001"),
            (1e-7, "1e-7"),
            (1.25e-10, "1.25e-10"),
            (0.012_345_678_9, "0.0123456789"),
            (0.000_123_456_78, "1.2345678e-4"),
            (-0.001_234_5, "-0.0012345"),
            (2.220_446_049_250_313e-5, "2.220446049250313e-5"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(format_double(value), text);
        }
    }

    proptest! {
        #[test]
        fn reads_back(value in any::<f64>()) {
            let back: f64 = format_double(value).parse().expect("a number");
            prop_assert_eq!(back.to_bits(), value.to_bits());
        }
    }
}
