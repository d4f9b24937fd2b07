//! Floating point with 64 bits of mantissa, as the 80-bit type that Redis computes
//! `INCRBYFLOAT` in, so that the digits of the answer are the same on every machine.
//!
//! Parsing and adding round to nearest, ties to even; printing has 17 digits behind the point at
//! most. Exponents below the smallest normal one are kept (they print as 0 anyway).

/// Longest text of a number in bytes.
const TEXT_BYTES_MAX: usize = 5 * 1024;
/// A value at or above 2 to this power is infinite.
const EXPONENT_MAX: i32 = 16_384;
/// Decimal places that are printed.
const PLACES: u32 = 17;

/// `mantissa × 2^exponent`, with the top bit of the mantissa set unless it is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

impl Extended {
    const ZERO: Self = Self { negative: false, mantissa: 0, exponent: 0 };
    const INFINITE: i32 = i32::MAX;

    /// Reads a decimal or hexadecimal (`0x1.8p3`) number with an optional sign, point and exponent,
    /// or an infinity. `None` for anything else, and for what is too large or too small for the type.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_BYTES_MAX {
            return None;
        }
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        if digits.eq_ignore_ascii_case(b"inf") || digits.eq_ignore_ascii_case(b"infinity") {
            return Some(Self { negative, mantissa: 1 << 63, exponent: Self::INFINITE });
        }
        let magnitude = match digits {
            [b'0', b'x' | b'X', digits @ ..] => {
                let (value, places, exponent) = parse_digits(digits, 16, b'p')?;
                Self::from_binary(&value, exponent - 4 * places)?
            }
            digits => {
                let (value, places, exponent) = parse_digits(digits, 10, b'e')?;
                Self::from_decimal(value, exponent - places)?
            }
        };
        Some(Self { negative: negative && magnitude.mantissa != 0, ..magnitude })
    }

    /// `value × 2^exponent`; `None` where that is infinite or too small.
    fn from_binary(value: &Big, exponent: i32) -> Option<Self> {
        if value.bits() == 0 {
            return Some(Self::ZERO);
        }
        let (mantissa, shift) = value.round(false);
        Self { negative: false, mantissa, exponent: exponent + shift }.in_range()
    }

    /// The value, unless it is infinite, or so small that the type rounds it to zero.
    fn in_range(self) -> Option<Self> {
        /// Half of the smallest number of the type is 2 to this power.
        const HALF_OF_LEAST: i32 = -16_446;

        let power = self.exponent + 63;
        let underflows =
            power < HALF_OF_LEAST || power == HALF_OF_LEAST && self.mantissa == 1 << 63;
        (!self.is_infinite() && !underflows).then_some(self)
    }

    /// `value × 10^exponent`; `None` where that is infinite or too small.
    fn from_decimal(mut value: Big, exponent: i32) -> Option<Self> {
        if value.bits() == 0 {
            return Some(Self::ZERO);
        }
        let mut sticky = false;
        let mut shift = 0;
        if exponent >= 0 {
            // Far beyond the range: no need to multiply it out.
            if exponent > 5_000 {
                return None;
            }
            for power in decimal_steps(exponent.unsigned_abs()) {
                value.multiply_add(power, 0);
            }
        } else {
            if exponent < -20_000 {
                return None;
            }
            let places = exponent.unsigned_abs();
            // 10^places has less than 10/3 places + 1 bits; keep 70 of the quotient.
            shift = (places * 10 / 3 + 72).saturating_sub(value.bits());
            value.shift_left(shift);
            for power in decimal_steps(places) {
                sticky |= value.divide(power) != 0;
            }
        }
        let (mantissa, exponent) = value.round(sticky);
        let exponent = exponent - i32::try_from(shift).ok()?;
        Self { negative: false, mantissa, exponent }.in_range()
    }

    /// Whether the value is an infinity.
    #[must_use]
    pub fn is_infinite(self) -> bool {
        self.mantissa != 0 && self.exponent >= EXPONENT_MAX - 63
    }

    /// Whether the value is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.negative && self.mantissa != 0
    }

    /// The value times `factor`, rounded up to a whole number; `None` where that does not fit.
    #[must_use]
    pub fn scaled_up(self, factor: u64) -> Option<i128> {
        let scaled = u128::from(self.mantissa) * u128::from(factor);
        let shift = self.exponent.unsigned_abs();
        let (whole, rest) = match self.exponent {
            0.. if scaled == 0 || shift < scaled.leading_zeros() => {
                (scaled.checked_shl(shift).unwrap_or(0), 0)
            }
            0.. => return None,
            _ if shift < 128 => (scaled >> shift, scaled & ((1 << shift) - 1)),
            _ => (0, scaled),
        };
        let whole = i128::try_from(whole).ok()?;
        if self.negative { Some(-whole) } else { whole.checked_add(i128::from(rest != 0)) }
    }

    /// The sum; `None` where it is infinite or not a number.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.is_infinite() || other.is_infinite() {
            return None;
        }
        if self.mantissa == 0 || other.mantissa == 0 {
            return Some(if self.mantissa == 0 { other } else { self });
        }
        let larger_first = (self.exponent, self.mantissa) >= (other.exponent, other.mantissa);
        let (large, small) = if larger_first { (self, other) } else { (other, self) };
        let distance = large.exponent.abs_diff(small.exponent);
        let high = u128::from(large.mantissa) << 63;
        let low = shift_right_sticky(u128::from(small.mantissa) << 63, distance);
        let sum = if large.negative == small.negative { high + low } else { high - low };
        if sum == 0 {
            return Some(Self::ZERO);
        }
        let (mantissa, exponent) = Big::from(sum).round(false);
        let exponent = exponent + large.exponent - 63;
        let value = Self { negative: large.negative, mantissa, exponent };
        (!value.is_infinite()).then_some(value)
    }

    /// The number in decimal with at most 17 places, without an exponent and without zeros at the
    /// end. The value must be finite.
    #[must_use]
    pub fn to_text(self) -> String {
        let sign = if self.negative { "-" } else { "" };
        if self.exponent >= 0 && self.mantissa != 0 {
            let mut whole = Big::from(u128::from(self.mantissa));
            whole.shift_left(self.exponent.unsigned_abs());
            return format!("{sign}{}", whole.to_decimal());
        }
        let places = self.exponent.unsigned_abs();
        let (whole, fraction) = match places {
            0 => (0, 0),
            1..64 => (self.mantissa >> places, self.mantissa & ((1 << places) - 1)),
            64..128 => (0, self.mantissa),
            // Below 2^-64, which rounds to zero.
            _ => (0, 0),
        };
        let one = 10_u128.pow(PLACES);
        let scaled = u128::from(fraction) * one;
        let (mut digits, rest) = match places {
            1..128 => (scaled >> places, scaled & ((1 << places) - 1)),
            _ => (0, 0),
        };
        let half = 1_u128 << places.clamp(1, 127).saturating_sub(1);
        if rest > half || rest == half && digits % 2 == 1 {
            digits += 1;
        }
        let whole = u128::from(whole) + digits / one;
        let text = format!("{whole}.{:017}", digits % one);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        if text == "0" { text.to_owned() } else { format!("{sign}{text}") }
    }
}

/// The digits of a number to base `base` as a whole number, how many of them stand behind the point,
/// and the exponent behind the letter `mark`.
fn parse_digits(text: &[u8], base: u32, mark: u8) -> Option<(Big, i32, i32)> {
    let exponent_at = text.iter().position(|byte| byte.eq_ignore_ascii_case(&mark));
    let (number, exponent) = match exponent_at {
        Some(at) => (text.get(..at)?, parse_exponent(text.get(at + 1..)?)?),
        None => (text, 0),
    };
    let point = number.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (number.get(..at)?, number.get(at + 1..)?),
        None => (number, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = Big::default();
    for byte in whole.iter().chain(fraction) {
        value.multiply_add(base, char::from(*byte).to_digit(base)?);
    }
    Some((value, i32::try_from(fraction.len()).ok()?, exponent))
}

fn parse_exponent(text: &[u8]) -> Option<i32> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value = 0_i32;
    for byte in digits {
        let digit = byte.is_ascii_digit().then(|| i32::from(byte - b'0'))?;
        value = (value * 10 + digit).min(1_000_000);
    }
    Some(if negative { -value } else { value })
}

/// Powers of ten whose product is `10^places`.
fn decimal_steps(places: u32) -> impl Iterator<Item = u32> {
    let whole = std::iter::repeat_n(1_000_000_000, (places / 9) as usize);
    whole.chain(Some(10_u32.pow(places % 9)))
}

/// Shifts to the right; a bit that is lost leaves its trace in the lowest one.
fn shift_right_sticky(value: u128, distance: u32) -> u128 {
    match value.checked_shr(distance) {
        Some(shifted) if shifted << distance == value => shifted,
        Some(shifted) => shifted | 1,
        None => u128::from(value != 0),
    }
}

/// A natural number of any size: 32-bit digits, lowest first, no zero on top.
#[derive(Debug, Clone, Default)]
struct Big(Vec<u32>);

impl From<u128> for Big {
    fn from(value: u128) -> Self {
        let mut big = Self((0..4).map(|n| low_half(shifted_down(value, n * 32))).collect());
        big.trim();
        big
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are what is asked for")]
fn low_half(value: u64) -> u32 {
    value as u32
}

#[expect(clippy::cast_possible_truncation, reason = "the low 64 bits are what is asked for")]
fn shifted_down(value: u128, bits: u32) -> u64 {
    (value >> bits) as u64
}

impl Big {
    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn bits(&self) -> u32 {
        let count = u32::try_from(self.0.len()).expect("numbers here have at most 2,000 digits");
        self.0.last().map_or(0, |top| count * 32 - top.leading_zeros())
    }

    fn bit(&self, index: u32) -> bool {
        self.0.get((index / 32) as usize).is_some_and(|digit| digit >> (index % 32) & 1 == 1)
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for digit in &mut self.0 {
            carry += u64::from(*digit) * u64::from(factor);
            *digit = low_half(carry);
            carry >>= 32;
        }
        if carry != 0 {
            self.0.push(low_half(carry));
        }
    }

    /// Divides in place; answers the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let divisor = u64::from(divisor);
        let mut rest = 0;
        for digit in self.0.iter_mut().rev() {
            let value = rest << 32 | u64::from(*digit);
            *digit = low_half(value / divisor);
            rest = value % divisor;
        }
        self.trim();
        low_half(rest)
    }

    fn shift_left(&mut self, bits: u32) {
        self.multiply_add(1 << (bits % 32), 0);
        self.0.splice(..0, std::iter::repeat_n(0, (bits / 32) as usize));
    }

    /// The number as 64 bits with the top one set, and their exponent; `sticky` says that a little
    /// is missing from the number. Zero stays zero.
    fn round(&self, sticky: bool) -> (u64, i32) {
        let bits = self.bits();
        if bits == 0 {
            return (0, 0);
        }
        let top = (0..64)
            .fold(0, |top, place| top << 1 | u64::from(bits > place && self.bit(bits - 1 - place)));
        let exponent = i32::try_from(bits).expect("numbers here are short") - 64;
        if exponent <= 0 {
            return (top, exponent);
        }
        let half = bits - 65;
        let below_half = sticky || (0..half).any(|index| self.bit(index));
        if self.bit(half) && (below_half || top % 2 == 1) {
            return top.checked_add(1).map_or((1 << 63, exponent + 1), |top| (top, exponent));
        }
        (top, exponent)
    }

    fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut groups = Vec::new();
        while !rest.0.is_empty() {
            groups.push(rest.divide(1_000_000_000));
        }
        let top = groups.pop().unwrap_or(0);
        groups.iter().rev().fold(top.to_string(), |text, group| format!("{text}{group:09}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(a: &str, b: &str) -> String {
        let parse = |text: &str| Extended::parse(text.as_bytes()).unwrap();
        parse(a).checked_add(parse(b)).unwrap().to_text()
    }

    #[test]
    fn sums_have_the_digits_of_the_80_bit_type() {
        for (a, b, expected) in [
            ("10.5", "0.1", "10.6"),
            ("5.0e3", "200", "5200"),
            ("5.0e3", "2.0e2", "5200"),
            ("3.0", "1.0", "4"),
            ("3", "1.1", "4.1"),
            ("1", "-1.1", "-0.1"),
            ("1.5", "1", "2.5"),
            ("17179869184", "1.5", "17179869185.5"),
            ("17179869184", "17179869184", "34359738368"),
            ("0.024390243902439025", "-0.024390243902439025", "0"),
            ("0", "1e-18", "0"),
            ("-0.0", "0", "0"),
            ("100000000000000000", "0.1", "100000000000000000.1015625"),
            ("1e30", "1", "1000000000000000000024696061952"),
            ("0", "-.5", "-0.5"),
            ("5.", "+1", "6"),
            ("0.1", "0.2", "0.3"),
            ("1e-4000", "1", "1"),
            ("0x1A", "0", "26"),
            ("-0X.8", "0x1p3", "7.5"),
            ("0x1.8P+1", "0x0p9", "3"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
        let long = sum("1e4000", "0");
        assert!(long.starts_with("9999999999999999999965463873099623784932"), "{}", &long[..40]);
        assert!(long.ends_with("9901340672") && long.len() == 4000);
    }

    #[test]
    fn what_is_no_number() {
        for bad in [
            "", "-", ".", "e5", "1e", "1e+", " 1", "1 ", "nan", "0x", "0x.", "0x1p", "0xg",
            "1.2.3", "--1", "1e5000",
        ] {
            assert_eq!(Extended::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Extended::parse(b"1\0"), None);
        assert_eq!(Extended::parse(&[b'1'; TEXT_BYTES_MAX]), None);
        assert_eq!(Extended::parse(b"1e-99999999999"), None);
        let infinite = Extended::parse(b"-Inf").unwrap();
        assert!(infinite.is_infinite());
        assert_eq!(infinite.checked_add(Extended::ZERO), None);
        let large = Extended::parse(b"1e4932").unwrap();
        assert_eq!(large.checked_add(large), None);
    }

    proptest! {
        #[test]
        fn integers_add_exactly(a in -(1_i64 << 62)..1 << 62, b in -(1_i64 << 62)..1 << 62) {
            prop_assert_eq!(sum(&a.to_string(), &b.to_string()), (a + b).to_string());
        }

        #[test]
        fn short_decimals_add_exactly(a in -1500_i64..1500, b in -1500_i64..1500) {
            let text = |cents: i64| {
                let sign = if cents < 0 { "-" } else { "" };
                let text = format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
                text
            };
            let expected = text(a + b);
            let expected = expected.trim_end_matches('0').trim_end_matches('.');
            let expected = if expected == "-0" { "0" } else { expected };
            prop_assert_eq!(sum(&text(a), &text(b)), expected);
        }
    }
}
