//! Integers of 1 to 64 bits, and what becomes of a number that does not fit into one.

/// Type of an integer that is kept in some bits of a string: `i1` to `i64`, `u1` to `u63`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldType {
    signed: bool,
    bits: u32,
}

/// What becomes of a number that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// Its low bits are taken.
    #[default]
    Wrap,
    /// The nearest number that fits is taken.
    Saturate,
    /// Nothing is done.
    Fail,
}

impl FieldType {
    /// Reads `i8` or `u63`; the letter is lower case.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (signed, bits) = match text.split_first()? {
            (b'i', bits) => (true, bits),
            (b'u', bits) => (false, bits),
            _ => return None,
        };
        let bits = u32::try_from(super::parse_int(bits)?).ok()?;
        let max = if signed { 64 } else { 63 };
        (1..=max).contains(&bits).then_some(Self { signed, bits })
    }

    /// Its width in bits.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// The number that these bits are.
    #[must_use]
    pub fn number(self, bits: u64) -> i64 {
        let unused = 64 - self.bits;
        if self.signed {
            ((bits << unused) as i64) >> unused
        } else {
            // At most 63 bits.
            ((bits << unused) >> unused) as i64
        }
    }

    /// What is stored where the field shall become `value`; `None` where that fails. A negative
    /// number is above all others for an unsigned field, as in Redis; one whose distance to the
    /// greatest number of a signed field takes more than 63 bits saturates there, as in Redis too.
    #[must_use]
    pub fn set(self, value: i64, overflow: Overflow) -> Option<i64> {
        if !self.signed {
            return self.fit((value as u64).into(), overflow);
        }
        let max = i64::MAX >> (64 - self.bits);
        if overflow == Overflow::Saturate && self.bits < 64 && max.checked_sub(value).is_none() {
            return Some(max);
        }
        self.fit(value.into(), overflow)
    }

    /// What is stored where `increment` is added to `value`, a number of this type; `None` where
    /// that fails.
    #[must_use]
    pub fn add(self, value: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        self.fit(i128::from(value) + i128::from(increment), overflow)
    }

    fn fit(self, exact: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = if self.signed {
            (-1_i128 << (self.bits - 1), (1_i128 << (self.bits - 1)) - 1)
        } else {
            (0, (1_i128 << self.bits) - 1)
        };
        if let Ok(value) = i64::try_from(exact)
            && (min..=max).contains(&exact)
        {
            return Some(value);
        }
        match overflow {
            Overflow::Wrap => {
                let low = exact.rem_euclid(1_i128 << 64);
                u64::try_from(low).ok().map(|bits| self.number(bits))
            }
            Overflow::Saturate => i64::try_from(exact.clamp(min, max)).ok(),
            Overflow::Fail => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(text: &str) -> FieldType {
        FieldType::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn types_have_limits() {
        for good in ["i1", "i64", "u1", "u63"] {
            assert!(FieldType::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in ["", "i", "u", "i0", "i65", "u0", "u64", "I8", "x8", "i08", "i-8", "i8 ", "8"] {
            assert!(FieldType::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    /// Answers that redis-server 7.0.15 gives.
    #[test]
    fn numbers_at_the_limits() {
        use Overflow::{Fail, Saturate, Wrap};
        assert_eq!(field("i64").add(i64::MAX, 1, Wrap), Some(i64::MIN));
        assert_eq!(field("i64").add(i64::MAX, i64::MAX, Saturate), Some(i64::MAX));
        assert_eq!(field("i64").add(i64::MIN, -1, Fail), None);
        assert_eq!(field("u63").add(i64::MAX, 1, Wrap), Some(0));
        assert_eq!(field("u63").add(i64::MAX, 1, Saturate), Some(i64::MAX));
        assert_eq!(field("u63").add(0, i64::MIN, Saturate), Some(0));
        assert_eq!(field("u8").set(-1, Saturate), Some(255));
        assert_eq!(field("u8").set(-1, Wrap), Some(255));
        assert_eq!(field("u8").set(-1, Fail), None);
        assert_eq!(field("i8").set(255, Wrap), Some(-1));
        assert_eq!(field("i8").set(-129, Saturate), Some(-128));
        assert_eq!(field("i32").set(i64::MIN, Saturate), Some(i64::from(i32::MAX)));
        assert_eq!(field("i32").set(i64::MIN + (1 << 31), Saturate), Some(i64::from(i32::MIN)));
        assert_eq!(field("i64").set(i64::MIN, Saturate), Some(i64::MIN));
        assert_eq!(field("i1").set(1, Wrap), Some(-1));
        assert_eq!(field("i1").set(1, Saturate), Some(0));
    }

    proptest! {
        #[test]
        fn wrapping_is_arithmetic_modulo_a_power_of_two(
            signed: bool, bits in 1_u32..=63, value: i64, increment: i64,
        ) {
            let kind = FieldType { signed, bits };
            let range = 1_i128 << bits;
            let min = if signed { -range / 2 } else { 0 };
            let modulo = |exact: i128| (exact - min).rem_euclid(range) + min;
            let value = kind.number(value as u64);
            prop_assert_eq!(i128::from(value), modulo(value.into()));
            let exact = i128::from(value) + i128::from(increment);
            let fits = exact == modulo(exact);
            let wrapped = kind.add(value, increment, Overflow::Wrap).map(i128::from);
            prop_assert_eq!(wrapped, Some(modulo(exact)));
            let failed = kind.add(value, increment, Overflow::Fail).map(i128::from);
            prop_assert_eq!(failed, fits.then_some(exact));
            let limit = if exact < min { min } else { min + range - 1 };
            let saturated = kind.add(value, increment, Overflow::Saturate).map(i128::from);
            prop_assert_eq!(saturated, Some(if fits { exact } else { limit }));
        }
    }
}
