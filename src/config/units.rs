//! Numbers, sizes and switches as a redis.conf writes them.

/// `yes` or `no`, in any case.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("yes") {
        Some(true)
    } else if text.eq_ignore_ascii_case("no") {
        Some(false)
    } else {
        None
    }
}

/// `yes` or `no`.
pub(super) fn print_bool(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

/// A signed decimal number: no blanks, no plus, no leading zeros.
pub(super) fn parse_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let padded = digits.len() > 1 && digits.starts_with('0');
    if padded || text == "-0" || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A number of bytes: `1k` is 1000 and `1kb` is 1024, likewise `m`, `mb`, `g`, `gb`; any case.
pub(crate) fn parse_memory(text: &str) -> Option<u64> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1000 * 1000,
        "mb" => 1 << 20,
        "g" => 1000 * 1000 * 1000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// A number of bytes in the largest unit that leaves no rest.
pub(super) fn print_memory(bytes: u64) -> String {
    let units = [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")];
    match units.into_iter().find(|(unit, _)| bytes != 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_bool, parse_integer, parse_memory, print_memory};

    #[test]
    fn sizes_are_written_in_their_largest_unit() {
        for (bytes, text) in [
            (0, "0"),
            (1000, "1000"),
            (1024, "1kb"),
            (1 << 20, "1mb"),
            (3 << 29, "1536mb"),
            (2 << 30, "2gb"),
            (2 << 40, "2048gb"),
            (u64::MAX, "18446744073709551615"),
        ] {
            assert_eq!(print_memory(bytes), text);
            assert_eq!(parse_memory(text), Some(bytes));
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("17b", Some(17)),
            ("1k", Some(1000)),
            ("1kb", Some(1024)),
            ("100MB", Some(100 << 20)),
            ("1g", Some(1_000_000_000)),
            ("1Gb", Some(1 << 30)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("99999999999gb", None),
            ("-1", None),
            ("1tb", None),
            ("mb", None),
            ("", None),
            ("1 mb", None),
        ] {
            assert_eq!(parse_memory(text), bytes, "{text}");
        }
    }

    #[test]
    fn integers_and_switches() {
        assert_eq!(parse_integer("-5"), Some(-5));
        assert_eq!(parse_integer("0"), Some(0));
        for text in ["", "-", "-0", "01", "+1", "1 ", "1.5", "9223372036854775808"] {
            assert_eq!(parse_integer(text), None, "{text}");
        }
        assert_eq!(parse_bool("YES"), Some(true));
        assert_eq!(parse_bool("no"), Some(false));
        assert_eq!(parse_bool("1"), None);
    }
}
