//! Bitmaps: replies that redis-server gives, and random calls against a vector of bits.

use bytes::Bytes;
use proptest::prelude::*;

use super::Harness;
use super::store::Store;

const INTEGER: &str = "-ERR value is not an integer or out of range";
const OFFSET: &str = "-ERR bit offset is not an integer or out of range";
const BIT: &str = "-ERR bit is not an integer or out of range";

#[test]
fn single_bits() {
    Harness::new().script(
        r#"
        SETBIT k 7 1 -> 0
        GET k -> "\x01"
        SETBIT k 7 0 -> 1
        SETBIT k 0 1 -> 0
        GETBIT k 0 -> 1
        GETBIT k 1 -> 0
        GETBIT k 100 -> 0
        GETBIT no 5 -> 0
        EXISTS no -> 0
        SETBIT k 23 0 -> 0
        STRLEN k -> 3
        SETBIT new 0 0 -> 0
        GET new -> "\x00"
        SET n 1 -> +OK
        OBJECT ENCODING n -> "int"
        GETBIT n 3 -> 1
        SETBIT n 6 1 -> 0
        GET n -> "3"
        OBJECT ENCODING n -> "raw"
        SET n 1 -> +OK
        SETBIT n 0 0 -> 0
        OBJECT ENCODING n -> "int"
        SET t v EX 100 -> +OK
        SETBIT t 100 1 -> 0
        TTL t -> 100
        "#,
    );
    let mut server = Harness::new();
    for (call, expected) in [
        ("SETBIT k -1 0", OFFSET),
        ("SETBIT k x 2", OFFSET),
        ("SETBIT k #1 1", OFFSET),
        ("SETBIT k 4294967296 1", OFFSET),
        ("SETBIT k 4294967295 2", BIT),
        ("SETBIT k 1 2", BIT),
        ("SETBIT k 1 -1", BIT),
        ("SETBIT k 1 01", BIT),
        ("GETBIT k -1", OFFSET),
        ("GETBIT k 4294967296", OFFSET),
        ("GETBIT k 4294967295", "0"),
    ] {
        assert_eq!(server.run(call), expected, "{call}");
    }
}

/// What is stored of a long string may end within its last byte before the range.
#[test]
fn zeros_that_are_not_stored_are_found_where_the_range_begins() {
    Harness::new().script(
        "BITFIELD k SET u51 22 0 -> [0]
        SETRANGE k 16384 a -> 16385
        BITPOS k 0 81 81 BIT -> 81
        BITPOS k 0 81 90 BIT -> 81
        BITPOS k 0 80 81 BIT -> 80
        BITPOS k 1 81 -1 BIT -> 131073",
    );
}

#[test]
fn counts_and_places() {
    let mut server = Harness::new();
    server.script("SET k foobar\nSETRANGE zero 2 \0 -> 3");
    for (call, expected) in [
        ("BITCOUNT k", "26"),
        ("BITCOUNT k 0 0", "4"),
        ("BITCOUNT k 1 1", "6"),
        ("BITCOUNT k 1 1 byte", "6"),
        ("BITCOUNT k 5 30 BIT", "17"),
        ("BITCOUNT k 0 -1 BIT", "26"),
        ("BITCOUNT k -2 -3", "0"),
        ("BITCOUNT k -100 -90", "4"),
        ("BITCOUNT k 9 10", "0"),
        ("BITCOUNT k -9223372036854775808 9223372036854775807", "26"),
        ("BITCOUNT no", "0"),
        ("BITCOUNT no 1 x", INTEGER),
        ("BITCOUNT no 1 2 X", "-ERR syntax error"),
        ("BITCOUNT k 1", "-ERR syntax error"),
        ("BITCOUNT k 1 2 BIT 3", "-ERR syntax error"),
        ("BITCOUNT k 1 x BITS", INTEGER),
        ("BITPOS k 1", "1"),
        ("BITPOS k 0", "0"),
        ("BITPOS k 1 2", "17"),
        ("BITPOS k 1 2 2 BYTE", "17"),
        ("BITPOS k 0 9 10 BIT", "-1"),
        ("BITPOS k 1 8 12 BIT", "9"),
        ("BITPOS k 1 100", "-1"),
        ("BITPOS k 0 100", "-1"),
        ("BITPOS k 1 -1", "41"),
        ("BITPOS no 0", "0"),
        ("BITPOS no 1", "-1"),
        ("BITPOS no 0 5 -1 BIT", "0"),
        ("BITPOS zero 1", "-1"),
        ("BITPOS k 2", "-ERR The bit argument must be 1 or 0."),
        ("BITPOS k x", INTEGER),
        ("BITPOS k 1 x", INTEGER),
        ("BITPOS k 1 1 x", INTEGER),
        ("BITPOS k 1 1 x y", "-ERR syntax error"),
        ("BITPOS k 1 x 1 y", INTEGER),
        ("BITPOS k 1 1 2 BIT 3", "-ERR syntax error"),
    ] {
        assert_eq!(server.run(call), expected, "{call}");
    }
    server.run_words(&[b"SET".as_slice(), b"f", &[255; 3]].map(Bytes::copy_from_slice));
    server.script(
        r#"
        BITPOS f 0 -> 24
        BITPOS f 0 1 -> 24
        BITPOS f 0 0 -1 -> -1
        BITPOS f 0 0 -1 BIT -> -1
        BITPOS f 0 3 -> -1
        "#,
    );
}

#[test]
fn operations_between_strings() {
    Harness::new().script(
        r#"
        SET a abc -> +OK
        SET b A -> +OK
        BITOP AND d a b -> 3
        GET d -> "A\x00\x00"
        BITOP or d a b -> 3
        GET d -> "abc"
        OBJECT ENCODING d -> "raw"
        BITOP XOR d a b no -> 3
        GET d -> " bc"
        BITOP NOT d b -> 1
        GET d -> "\xbe"
        BITOP NOT a a -> 3
        GET a -> "\x9e\x9d\x9c"
        BITOP AND d a no -> 3
        GET d -> "\x00\x00\x00"
        EXPIRE d 100 -> 1
        BITOP XOR d b -> 1
        TTL d -> -1
        BITOP AND d no -> 0
        EXISTS d -> 0
        BITOP AND d no none -> 0
        BITOP NOT d a b -> -ERR BITOP NOT must be called with a single source key.
        BITOP NAND d a b -> -ERR syntax error
        "#,
    );
}

#[test]
fn fields() {
    let mut server = Harness::new();
    server.script(
        r#"
        BITFIELD no -> []
        BITFIELD no GET u8 0 -> [0]
        EXISTS no -> 0
        BITFIELD k SET i8 0 -100 GET i8 0 SET u8 0 1 -> [0 -100 156]
        BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1 -> [1 1]
        BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1 -> [2 2]
        BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1 -> [3 3]
        BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1 -> [0 3]
        BITFIELD k OVERFLOW FAIL INCRBY u2 102 1 GET u2 102 -> [nil 3]
        BITFIELD f SET u8 #0 65 SET u8 #1 66 SET u8 #2 67 -> [0 0 0]
        GET f -> "ABC"
        BITFIELD f GET u8 #1 GET u4 #1 GET i64 0 GET u63 1 -> [66 1 4702394628207280128 4702394628207280128]
        BITFIELD_RO f GET u8 #2 GET i5 3 -> [67 1]
        BITFIELD_RO f -> []
        BITFIELD w OVERFLOW FAIL SET u1 9 5 -> [nil]
        GET w -> "\x00\x00"
        BITFIELD u OVERFLOW SAT SET u8 0 -1 -> [0]
        GET u -> "\xff"
        BITFIELD m SET i64 0 9223372036854775807 INCRBY i64 0 1 -> [0 -9223372036854775808]
        BITFIELD m SET u63 1 9223372036854775807 INCRBY u63 1 1 -> [0 0]
        "#,
    );
    let kind = "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not \
                supported but i64 is.";
    let only = "-ERR BITFIELD_RO only supports the GET subcommand";
    for (call, expected) in [
        ("BITFIELD k GET u64 0", kind),
        ("BITFIELD k GET i65 x", kind),
        ("BITFIELD k GET U8 0", kind),
        ("BITFIELD k GET u8", "-ERR syntax error"),
        ("BITFIELD k SET u8 0", "-ERR syntax error"),
        ("BITFIELD k OVERFLOW", "-ERR syntax error"),
        ("BITFIELD k NO u8 0", "-ERR syntax error"),
        ("BITFIELD k OVERFLOW x", "-ERR Invalid OVERFLOW type specified"),
        ("BITFIELD k SET u8 0 x", INTEGER),
        ("BITFIELD k SET u8 -1 1", OFFSET),
        ("BITFIELD k SET u8 ## 1", OFFSET),
        ("BITFIELD k SET u8 # 1", OFFSET),
        ("BITFIELD k SET u8 #536870912 1", OFFSET),
        ("BITFIELD k GET u8 #9223372036854775807", OFFSET),
        ("BITFIELD k GET u8 4294967295", "[0]"),
        ("BITFIELD_RO k SET u8 0 1", only),
        ("BITFIELD_RO k GET u8 0 INCRBY u8 0 1", only),
        ("BITFIELD_RO k SET u8 0 x", INTEGER),
    ] {
        assert_eq!(server.run(call), expected, "{call}");
    }
}

#[test]
fn a_bit_of_a_long_string_writes_one_chunk() {
    let mut server = Harness::new();
    let long = Bytes::from(vec![1; 1 << 20]);
    server.run_words(&[Bytes::from("SET"), Bytes::from("k"), long]);
    let words = ["SETBIT", "k", "4000000", "1"].map(Bytes::from);
    server.call(&words).unwrap();
    assert!(server.last_write_bytes < 20_000, "{}", server.last_write_bytes);
    assert_eq!(server.run("BITCOUNT k"), ((1 << 20) + 1).to_string());
}

#[test]
fn zeros_at_the_end_of_a_long_string_are_not_stored() {
    let mut server = Harness::new();
    server.script(
        "SETBIT k 80000000 1 -> 0
         BITCOUNT k -> 1
         BITPOS k 1 -> 80000000
         BITPOS k 0 -> 0
         BITPOS k 0 9999999 -1 -> 79999992
         BITPOS k 1 0 9999999 -> -1
         BITOP OR d k k -> 10000001
         BITPOS d 1 -> 80000000",
    );
    assert!(server.store.len() < 10);
    server.script("BITOP NOT d k -> 10000001\nBITPOS d 0 -> 80000000\nBITCOUNT d -> 80000007");
}

#[derive(Debug, Clone)]
enum Op {
    SetBit { key: u8, at: usize, bit: bool },
    GetBit { key: u8, at: usize },
    Count { key: u8, a: i64, b: i64, bits: bool },
    Find { key: u8, bit: bool, a: i64, b: Option<i64>, bits: bool },
    Combine { what: usize, to: u8, from: Vec<u8> },
    Field { key: u8, at: usize, signed: bool, bits: u32, value: i64, adds: bool, overflow: usize },
    Fill { key: u8, len: usize, byte: u8 },
    SetRange { key: u8, at: usize, len: usize, byte: u8 },
}

/// Strings of up to `len` bytes.
fn op(len: usize) -> impl Strategy<Value = Op> {
    let key = 0..3_u8;
    let end = i64::try_from(len).unwrap() * 9;
    let at = prop_oneof![0..len * 8, 0..200_usize];
    let index = prop_oneof![-end..end, -100..100_i64];
    let byte = prop_oneof![Just(0_u8), Just(255), any::<u8>()];
    let value = prop_oneof![any::<i64>(), -300..300_i64];
    prop_oneof![
        3 => (key.clone(), at.clone(), any::<bool>())
            .prop_map(|(key, at, bit)| Op::SetBit { key, at, bit }),
        1 => (key.clone(), at.clone()).prop_map(|(key, at)| Op::GetBit { key, at }),
        2 => (key.clone(), index.clone(), index.clone(), any::<bool>())
            .prop_map(|(key, a, b, bits)| Op::Count { key, a, b, bits }),
        3 => (key.clone(), any::<bool>(), index.clone(), prop::option::of(index), any::<bool>())
            .prop_map(|(key, bit, a, b, bits)| Op::Find { key, bit, a, b, bits }),
        1 => (0..4_usize, key.clone(), prop::collection::vec(key.clone(), 1..4))
            .prop_map(|(what, to, from)| Op::Combine { what, to, from }),
        3 => (key.clone(), at.clone(), any::<bool>(), 1..64_u32, value, any::<bool>(), 0..3_usize)
            .prop_map(|(key, at, signed, bits, value, adds, overflow)| {
                Op::Field { key, at, signed, bits, value, adds, overflow }
            }),
        1 => (key.clone(), 0..len, byte.clone())
            .prop_map(|(key, len, byte)| Op::Fill { key, len, byte }),
        2 => (key, 0..len, 1..100_usize, byte)
            .prop_map(|(key, at, len, byte)| Op::SetRange { key, at, len, byte }),
    ]
}

/// The server and the strings that it shall hold.
struct Pair {
    server: Harness,
    strings: [Vec<u8>; 3],
}

fn bit_of(bytes: &[u8], at: usize) -> bool {
    bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

fn set_bit(bytes: &mut Vec<u8>, at: usize, bit: bool) {
    bytes.resize(bytes.len().max(at / 8 + 1), 0);
    let mask = 128 >> (at % 8);
    bytes[at / 8] = if bit { bytes[at / 8] | mask } else { bytes[at / 8] & !mask };
}

impl Pair {
    fn string(&self, key: u8) -> &[u8] {
        &self.strings[usize::from(key)]
    }

    /// The bits of a range, as both commands understand it.
    fn range(&self, key: u8, a: i64, b: i64, bits: bool) -> std::ops::Range<usize> {
        let unit = if bits { 1 } else { 8 };
        let len = i64::try_from(self.string(key).len()).unwrap() * 8 / unit;
        let index = |index: i64| if index < 0 { (len + index).max(0) } else { index };
        let (start, end) = (index(a) * unit, (index(b).min(len - 1) + 1) * unit);
        let place = |bit: i64| usize::try_from(bit).unwrap_or(0);
        place(start)..place(end).max(place(start))
    }

    fn apply(&mut self, op: Op) {
        let unit = |bits: bool| if bits { "BIT" } else { "BYTE" };
        match op {
            Op::SetBit { key, at, bit } => {
                let answer = self.server.run(&format!("SETBIT {key} {at} {}", u8::from(bit)));
                let string = &mut self.strings[usize::from(key)];
                assert_eq!(answer, u8::from(bit_of(string, at)).to_string());
                set_bit(string, at, bit);
            }
            Op::GetBit { key, at } => {
                let answer = self.server.run(&format!("GETBIT {key} {at}"));
                assert_eq!(answer, u8::from(bit_of(self.string(key), at)).to_string());
            }
            Op::Count { key, a, b, bits } => {
                let answer = self.server.run(&format!("BITCOUNT {key} {a} {b} {}", unit(bits)));
                let mut range = self.range(key, a, b, bits);
                if a < 0 && b < 0 && a > b {
                    range = 0..0;
                }
                let count = range.filter(|at| bit_of(self.string(key), *at)).count();
                assert_eq!(answer, count.to_string(), "BITCOUNT {key} {a} {b} {bits}");
            }
            Op::Find { key, bit, a, b, bits } => {
                let number = u8::from(bit);
                let (call, range) = match b {
                    Some(b) => {
                        let call = format!("BITPOS {key} {number} {a} {b} {}", unit(bits));
                        (call, self.range(key, a, b, bits))
                    }
                    None => (format!("BITPOS {key} {number} {a}"), self.range(key, a, -1, false)),
                };
                let answer = self.server.run(&call);
                let missing = self.server.run(&format!("EXISTS {key}")) == "0";
                let string = self.string(key);
                let found = range.clone().find(|at| bit_of(string, *at) == bit);
                let expected = match found {
                    _ if missing => if bit { -1 } else { 0 }.to_string(),
                    Some(at) => at.to_string(),
                    None if !bit && b.is_none() && !range.is_empty() => {
                        (string.len() * 8).to_string()
                    }
                    None => "-1".to_owned(),
                };
                assert_eq!(answer, expected, "{call}");
            }
            Op::Combine { what, to, from } => self.combine(what, to, &from),
            Op::Field { key, at, signed, bits, value, adds, overflow } => {
                let kind = format!("{}{bits}", if signed { 'i' } else { 'u' });
                let overflow = ["WRAP", "SAT", "FAIL"][overflow];
                let verb = if adds { "INCRBY" } else { "SET" };
                let call = format!(
                    "BITFIELD {key} OVERFLOW {overflow} {verb} {kind} {at} {value} GET {kind} {at}"
                );
                let answer = self.server.run(&call);
                let expected = self.field(key, at, signed, bits, value, adds, overflow);
                assert_eq!(answer, expected, "{call}");
            }
            Op::Fill { key, len, byte } => {
                let value = vec![byte; len];
                let words = [b"SET".as_slice(), &[b'0' + key], &value];
                self.server.run_words(&words.map(Bytes::copy_from_slice));
                self.strings[usize::from(key)] = value;
            }
            Op::SetRange { key, at, len, byte } => {
                let value = vec![byte; len];
                let place = at.to_string();
                let words = [b"SETRANGE".as_slice(), &[b'0' + key], place.as_bytes(), &value];
                self.server.run_words(&words.map(Bytes::copy_from_slice));
                let string = &mut self.strings[usize::from(key)];
                string.resize(string.len().max(at + len), 0);
                string[at..at + len].fill(byte);
            }
        }
    }

    fn combine(&mut self, what: usize, to: u8, from: &[u8]) {
        let name = ["AND", "OR", "XOR", "NOT"][what];
        let from = if name == "NOT" { &from[..1] } else { from };
        let keys: Vec<String> = from.iter().map(u8::to_string).collect();
        let answer = self.server.run(&format!("BITOP {name} {to} {}", keys.join(" ")));
        let len = from.iter().map(|key| self.string(*key).len()).max().unwrap();
        let result: Vec<u8> = (0..len)
            .map(|at| {
                let mut bytes =
                    from.iter().map(|key| self.string(*key).get(at).copied().unwrap_or(0));
                let first = bytes.next().unwrap();
                match name {
                    "AND" => bytes.fold(first, |a, b| a & b),
                    "OR" => bytes.fold(first, |a, b| a | b),
                    "XOR" => bytes.fold(first, |a, b| a ^ b),
                    _ => !first,
                }
            })
            .collect();
        assert_eq!(answer, len.to_string());
        self.strings[usize::from(to)] = result;
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one operation")]
    fn field(
        &mut self,
        key: u8,
        at: usize,
        signed: bool,
        bits: u32,
        value: i64,
        adds: bool,
        overflow: &str,
    ) -> String {
        let string = &mut self.strings[usize::from(key)];
        let width = usize::try_from(bits).unwrap();
        let read = |string: &[u8]| {
            let raw: i128 =
                (at..at + width).fold(0, |sum, bit| sum << 1 | i128::from(bit_of(string, bit)));
            if signed && raw >> (bits - 1) == 1 { raw - (1 << bits) } else { raw }
        };
        let before = read(string);
        let (min, max) = match signed {
            true => (-(1_i128 << (bits - 1)), (1_i128 << (bits - 1)) - 1),
            false => (0, (1_i128 << bits) - 1),
        };
        let wanted = match (adds, signed) {
            (true, _) => before + i128::from(value),
            (false, true) => i128::from(value),
            (false, false) => i128::from(value as u64),
        };
        let after = match overflow {
            _ if (min..=max).contains(&wanted) => Some(wanted),
            "WRAP" => Some((wanted - min).rem_euclid(1 << bits) + min),
            // As in Redis: the distance is computed with 64 bits.
            "SAT" if !adds && signed && max - wanted > i128::from(i64::MAX) => Some(max),
            "SAT" => Some(wanted.clamp(min, max)),
            _ => None,
        };
        set_bit(string, at + width - 1, bit_of(string, at + width - 1));
        if let Some(after) = after {
            for (bit, shift) in (at..at + width).zip((0..bits).rev()) {
                set_bit(string, bit, after >> shift & 1 == 1);
            }
        }
        let answer = match after {
            None => "nil".to_owned(),
            Some(after) => if adds { after } else { before }.to_string(),
        };
        format!("[{answer} {}]", read(string))
    }

    fn check(&mut self) {
        self.server.store.check();
        for key in 0..3 {
            let answer = self.server.run(&format!("GET {key}"));
            let string = self.string(key);
            let shown = format!("\"{}\"", string.escape_ascii());
            assert!(answer == shown || answer == "nil" && string.is_empty(), "string {key}");
        }
    }
}

fn compare(server: Harness, ops: Vec<Op>) {
    let mut pair = Pair { server, strings: Default::default() };
    for op in ops {
        pair.apply(op);
    }
    pair.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn short_strings_are_bits(ops in prop::collection::vec(op(40), 1..60)) {
        compare(Harness::new(), ops);
    }

    #[test]
    fn long_strings_are_bits(ops in prop::collection::vec(op(150_000), 1..12)) {
        compare(Harness::new(), ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn long_strings_on_disk_are_bits(ops in prop::collection::vec(op(150_000), 1..20)) {
        compare(Harness::over(Store::disk()), ops);
    }
}
