//! How large Redis would find a list in one listpack, and up to where it keeps one there.

use crate::data::parse_int;

/// What a listpack has besides its elements, in bytes.
const FRAME_BYTES: u64 = 7;
/// Bytes of a listpack that is limited by the number of its elements.
const COUNTED_BYTES_MAX: u64 = 8192;
/// What an element takes at most besides its bytes: in a listpack more than in a packed list.
const ELEMENT_SURPLUS: u64 = 8;

/// Bytes of an element in a listpack.
pub(in crate::data) fn element_bytes(element: &[u8]) -> u64 {
    let len = element.len() as u64;
    let encoded = match parse_int(element) {
        Some(0..=127) => 1,
        Some(-4096..=4095) => 2,
        Some(-32_768..=32_767) => 3,
        Some(-8_388_608..=8_388_607) => 4,
        Some(-2_147_483_648..=2_147_483_647) => 5,
        Some(_) => 9,
        None if len < 64 => 1 + len,
        None if len < 4096 => 2 + len,
        None => 5 + len,
    };
    let back_len = match encoded {
        0..=127 => 1,
        128..=16_382 => 2,
        16_383..=2_097_150 => 3,
        2_097_151..=268_435_454 => 4,
        _ => 5,
    };
    encoded + back_len
}

/// Up to where a list is one listpack: `list-max-listpack-size`. From 1 on so many elements, negative
/// so many bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::data) struct Limit(pub(in crate::data) i32);

impl Limit {
    /// Bytes and elements at most.
    fn parts(self) -> (u64, u64) {
        match self.0 {
            -1 => (4096, u64::MAX),
            -2 => (8192, u64::MAX),
            -3 => (16_384, u64::MAX),
            -4 => (32_768, u64::MAX),
            ..=-5 => (65_536, u64::MAX),
            count => (COUNTED_BYTES_MAX, u64::from(count.unsigned_abs()).max(1)),
        }
    }

    /// Whether so many elements that take so many bytes in a listpack are too much.
    pub(in crate::data) fn is_exceeded(self, element_bytes: u64, count: u64) -> bool {
        let (bytes_max, count_max) = self.parts();
        FRAME_BYTES.saturating_add(element_bytes) > bytes_max || count > count_max
    }

    /// Whether a packed list of so many bytes is small enough without a closer look.
    pub(in crate::data) fn surely_holds(self, packed_bytes: u64, count: u64) -> bool {
        !self.is_exceeded(packed_bytes.saturating_add(count * ELEMENT_SURPLUS), count)
    }

    /// Whether a list of element records is so small that it becomes one record again: half of what
    /// one may hold, so that a list around the limit is not turned over and over.
    pub(in crate::data) fn takes_back(self, element_bytes: u64, count: u64) -> bool {
        let (bytes_max, count_max) = self.parts();
        FRAME_BYTES.saturating_add(element_bytes) <= bytes_max / 2 && count <= count_max / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `lpEncodeGetType` and `lpEncodeBacklen` make of these.
    #[test]
    fn elements_are_as_large_as_in_redis() {
        for (element, bytes) in [
            ("", 2),
            ("0", 2),
            ("127", 2),
            ("128", 3),
            ("-1", 3),
            ("4095", 3),
            ("4096", 4),
            ("-32769", 5),
            ("8388608", 6),
            ("2147483648", 10),
            ("01", 4),
            ("a", 3),
        ] {
            assert_eq!(element_bytes(element.as_bytes()), bytes, "{element}");
        }
        for (len, bytes) in [(63, 65), (64, 67), (125, 128), (126, 130), (4095, 4099), (4096, 4103)]
        {
            assert_eq!(element_bytes(&vec![b'x'; len]), bytes, "{len}");
        }
    }

    #[test]
    fn limits_are_bytes_or_elements() {
        assert!(!Limit(-2).is_exceeded(8185, 1 << 40));
        assert!(Limit(-2).is_exceeded(8186, 1));
        assert!(Limit(-1).is_exceeded(4090, 1));
        assert!(!Limit(i32::MIN).is_exceeded(65_529, 1));
        assert!(!Limit(3).is_exceeded(100, 3));
        assert!(Limit(3).is_exceeded(100, 4));
        assert!(Limit(3).is_exceeded(8186, 1));
        assert!(!Limit(0).is_exceeded(1, 1));
        assert!(Limit(0).is_exceeded(1, 2));
        assert!(Limit(4).takes_back(100, 2) && !Limit(4).takes_back(100, 3));
        assert!(Limit(-2).takes_back(4089, 9) && !Limit(-2).takes_back(4090, 9));
        assert!(!Limit(1).takes_back(2, 1), "one element or none");
    }

    #[test]
    fn what_surely_fits_fits() {
        for len in 0..9000 {
            let element = vec![b'x'; len];
            let mut packed = Vec::new();
            crate::engine::coding::put_slice(&mut packed, &element);
            let packed_bytes = packed.len() as u64;
            assert!(element_bytes(&element) <= packed_bytes + ELEMENT_SURPLUS, "{len}");
        }
    }
}
