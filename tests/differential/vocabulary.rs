//! The values that stand for the names in patterns: mostly sensible, now and then not.

use std::time::{SystemTime, UNIX_EPOCH};

/// What no number should look like, and numbers at the edges.
const ODD_NUMBERS: &[&str] = &[
    "",
    " ",
    " 1",
    "1 ",
    "+1",
    "01",
    "-0",
    "1.0",
    "1e2",
    "0x10",
    "abc",
    "nan",
    "inf",
    "-inf",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999",
];

/// What stands where something else is wanted.
pub(crate) const ODD_WORDS: &[&[u8]] = &[
    b"",
    b"abc",
    b"-1",
    b"0",
    b"1",
    b"1.5",
    b"nan",
    b"inf",
    b"(1",
    b"[a",
    b"\x00\xff\r\n",
    b"COUNT",
    b"LIMIT",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"99999999999999999999",
    b"WITHSCORES",
    b"NX",
    b"GET",
];

/// HyperLogLogs, and sorted sets with one score: only their own commands name them, as others would
/// make of them what Redis promises nothing about.
pub(crate) const ALONE: &[&str] = &["hll", "same"];

/// Kinds of keys; each has names of its own.
pub(crate) const KINDS: &[&str] =
    &["str", "num", "bit", "hash", "set", "zset", "geo", "list", "stream"];

/// Makes values up.
pub(crate) struct Vocabulary {
    pub(crate) random: fastrand::Rng,
    /// The newest stream id that was given out.
    last_id: u64,
    /// Keys that were named behind their number.
    keys: usize,
    /// Whether a value was given out that ends by itself within milliseconds.
    pub(crate) short_lived: bool,
}

impl Vocabulary {
    pub(crate) fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { random, last_id: 0, keys: 0, short_lived: false }
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: u32) -> bool {
        self.random.u32(..n) == 0
    }

    fn pick(&mut self, from: &[&str]) -> Vec<u8> {
        from[self.random.usize(..from.len())].into()
    }

    fn between(&mut self, low: i64, high: i64) -> Vec<u8> {
        self.random.i64(low..=high).to_string().into()
    }

    /// A number, sometimes an odd one.
    fn number(&mut self, low: i64, high: i64, odd: u32) -> Vec<u8> {
        if self.once_in(odd) { self.pick(ODD_NUMBERS) } else { self.between(low, high) }
    }

    fn key(&mut self, kind: &str) -> Vec<u8> {
        if ALONE.contains(&kind) {
            return format!("{kind}:{}", self.random.u8(..4)).into();
        }
        let kind = if kind == "any" || self.once_in(25) {
            KINDS[self.random.usize(..KINDS.len())]
        } else {
            kind
        };
        match self.random.u32(..40) {
            0 => [kind.as_bytes(), b":\x00\xff\r\n"].concat(),
            n => format!("{kind}:{}", n % 6).into(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.u32(..30) {
            0 => Vec::new(),
            1 => b"\x00\xff\r\n\x80".to_vec(),
            2 => self.pick(ODD_NUMBERS),
            3 | 4 => vec![self.random.u8(b'a'..=b'z'); self.random.usize(0..100)],
            5 if self.once_in(12) => vec![b'x'; self.random.usize(1000..70_000)],
            6..12 => self.between(-5, 100),
            12 | 13 => format!("{}.{}", self.random.i32(-9..10), self.random.u32(..1000)).into(),
            _ => self.pick(&["a", "b", "c", "foo", "bar", "hello world", "mnopq", "1", "2", "3"]),
        }
    }

    /// The name of a field or a member: few, so that they meet.
    fn element(&mut self) -> Vec<u8> {
        match self.random.u32(..40) {
            0 => Vec::new(),
            1 => b"\x00\xff\r\n".to_vec(),
            2 => format!("a-name-that-is-longer-than-the-limit-{}", self.random.u8(..4)).into(),
            3 => self.pick(ODD_NUMBERS),
            4..16 => self.between(0, 20),
            _ => format!("{}", char::from(self.random.u8(b'a'..=b'p'))).into(),
        }
    }

    fn float(&mut self) -> Vec<u8> {
        match self.random.u32(..24) {
            0 => self.pick(ODD_NUMBERS),
            1 => self.pick(&["inf", "-inf", "+inf", "nan", "1e400", "1e-400", "1e308", "-1e308"]),
            2 => self.pick(&["5e-324", "0.1", "-0", "1e17", "123456789012345678", "3.0e3", "."]),
            3..9 => format!("{}.{}", self.random.i32(-9..10), self.random.u32(..1000)).into(),
            _ => self.between(-3, 12),
        }
    }

    fn id(&mut self) -> Vec<u8> {
        let near = self.random.u64(self.last_id.saturating_sub(12)..=self.last_id + 1);
        match self.random.u32(..24) {
            0 => self.pick(&["abc", "1-abc", "", "1-2-3", "-1", "1-", "18446744073709551616"]),
            1 => b"18446744073709551615-18446744073709551615".to_vec(),
            2 => b"0-0".to_vec(),
            3 => b"0".to_vec(),
            4 => self.pick(&["$", ">", "-", "+", "(1"]),
            5..9 => near.to_string().into(),
            _ => format!("{near}-{}", self.random.u64(..3)).into(),
        }
    }

    fn new_id(&mut self) -> Vec<u8> {
        if self.once_in(12) {
            return self.id();
        }
        self.last_id += self.random.u64(..3);
        match self.random.u32(..4) {
            0 => format!("{}-*", self.last_id + 1),
            _ => {
                self.last_id += 1;
                format!("{}-{}", self.last_id, self.random.u64(..3))
            }
        }
        .into()
    }

    fn now_ms() -> u64 {
        #[expect(clippy::disallowed_methods, reason = "the two servers live in real time")]
        let now = SystemTime::now();
        let since = now.duration_since(UNIX_EPOCH).expect("after 1970");
        u64::try_from(since.as_millis()).expect("before the end of time")
    }

    /// A time, in units of so many per second: far away, past, or odd; `from` is added.
    fn time(&mut self, per_second: u64, from: u64) -> Vec<u8> {
        match self.random.u32(..20) {
            0 => self.pick(ODD_NUMBERS),
            1 => self.between(-10, 0),
            2 if from == 0 && per_second == 1000 => {
                self.short_lived = true;
                b"1".to_vec()
            }
            3 if from != 0 => self.between(0, 1000),
            4 => self.pick(&["9223372036854775", "-9223372036854775", "9223372036854776"]),
            _ => {
                let far = self.random.u64(1..50) * 1000 * per_second;
                (from / 1000 * per_second + far).to_string().into()
            }
        }
    }

    fn bound(&mut self) -> Vec<u8> {
        match self.random.u32(..12) {
            0 => self.pick(&["(", "(abc", "[1", "nan", "(nan", "(inf", "(-inf"]),
            1 => b"-inf".to_vec(),
            2 => b"+inf".to_vec(),
            3..5 => [b"(".to_vec(), self.float()].concat(),
            _ => self.float(),
        }
    }

    fn lex(&mut self) -> Vec<u8> {
        match self.random.u32(..12) {
            0 => self.pick(&["", "a", "(", "[", "--", "+x"]),
            1 | 2 => b"-".to_vec(),
            3 | 4 => b"+".to_vec(),
            n => [if n % 2 == 0 { b"[".to_vec() } else { b"(".to_vec() }, self.element()].concat(),
        }
    }

    fn pattern(&mut self) -> Vec<u8> {
        self.pick(&[
            "*",
            "",
            "?",
            "a*",
            "[a-e]",
            "[^a-e]*",
            "h?sh:*",
            "str:[0-3]",
            "*:1",
            "\\*",
            "[a",
            "**",
            "*[0-5]",
            "set:?",
            "[e-a]",
            "a\\",
            "[]",
            "[^]",
            "[a-]",
            "*a*b*",
        ])
    }

    /// A number of keys and the keys.
    fn numbered(&mut self, kind: &str) -> Vec<Vec<u8>> {
        self.keys = self.random.usize(1..4);
        let mut words: Vec<Vec<u8>> = vec![self.keys.to_string().into()];
        words.extend((0..self.keys).map(|_| self.key(kind)));
        if self.once_in(20) {
            words[0] = self.number(-1, 4, 3);
        }
        words
    }

    /// A number of fields and the fields.
    fn fields(&mut self) -> Vec<Vec<u8>> {
        let count = self.random.usize(1..4);
        let mut words: Vec<Vec<u8>> = vec![count.to_string().into()];
        words.extend((0..count).map(|_| self.element()));
        if self.once_in(20) {
            words[0] = self.number(-1, 4, 3);
        }
        words
    }

    fn streams(&mut self) -> Vec<Vec<u8>> {
        let count = self.random.usize(1..3);
        let mut words: Vec<Vec<u8>> = (0..count).map(|_| self.key("stream")).collect();
        words.extend((0..count).map(|_| self.id()));
        words
    }

    /// As `streams`, for a group: new entries for the most part.
    fn group_streams(&mut self) -> Vec<Vec<u8>> {
        let mut words = self.streams();
        let count = words.len() / 2;
        for id in &mut words[count..] {
            if self.random.u8(..4) > 0 {
                *id = b">".to_vec();
            }
        }
        words
    }

    /// The words that a name stands for.
    pub(crate) fn words(&mut self, name: &str) -> Vec<Vec<u8>> {
        if let Some(kind) = name.strip_prefix('#') {
            return self.numbered(kind);
        }
        match name {
            "streams" => self.streams(),
            "group_streams" => self.group_streams(),
            "fields" => self.fields(),
            "weights" => {
                let count = if self.once_in(10) { self.random.usize(..4) } else { self.keys };
                (0..count).map(|_| self.float()).collect()
            }
            _ => vec![self.word(name)],
        }
    }

    fn word(&mut self, name: &str) -> Vec<u8> {
        if name == "any" || KINDS.contains(&name) || ALONE.contains(&name) {
            return self.key(name);
        }
        match name {
            "value" => self.value(),
            "element" => self.element(),
            "int" => self.number(-5, 30, 8),
            "index" => self.number(-12, 12, 20),
            "count" => self.number(-2, 8, 16),
            // A large negative one would be answered by that many elements.
            "some" if self.once_in(12) => {
                self.pick(&["9223372036854775807", "-9223372036854775808", "x", "", "1.5"])
            }
            "some" => self.between(-8, 8),
            // Of the smallest number the versions of Redis make different things.
            "signed" if self.once_in(12) => {
                self.pick(&["9223372036854775807", "-9223372036854775807", "x", "", "1.5"])
            }
            "signed" => self.between(-8, 8),
            "positive" => self.between(1, 8),
            "offset" if self.once_in(12) => {
                self.pick(&["-1", "536870912", "9223372036854775807", "x", "70000", ""])
            }
            "offset" => self.between(0, 60),
            "bit_offset" if self.once_in(12) => {
                self.pick(&["-1", "4294967296", "9223372036854775807", "x", "100000", "#1"])
            }
            "bit_offset" => self.between(0, 200),
            "flag" => self.number(0, 1, 12),
            "float" | "score" => self.float(),
            "bound" => self.bound(),
            "lex" => self.lex(),
            "pattern" => self.pattern(),
            "id" => self.id(),
            "low" if self.once_in(3) => self.id(),
            "low" => b"-".to_vec(),
            "high" if self.once_in(3) => self.id(),
            "high" => b"+".to_vec(),
            "new_id" => self.new_id(),
            "group" => self.pick(&["g1", "g1", "g2", "g3", ""]),
            "consumer" => self.pick(&["alice", "bob", "carol", ""]),
            "seconds" => self.time(1, 0),
            "ms" => self.time(1000, 0),
            // A field that ends within milliseconds is counted by Redis until it is deleted.
            "field_ms" => [self.number(-1, 50, 8), b"000".to_vec()].concat(),
            "at_seconds" => self.time(1, Self::now_ms()),
            "at_ms" => self.time(1000, Self::now_ms()),
            "timeout" => {
                self.pick(&["0.01", "0.01", "0.005", "1e-2", "-1", "abc", "", "nan", "inf"])
            }
            "block_ms" => self.pick(&["5", "10", "-1", "abc", "1.5"]),
            "db" => self.pick(&["0", "1", "0", "1", "16", "-1", "abc", "65536", "1.0"]),
            "longitude" => {
                self.pick(&["13.361389", "15.087269", "2.35", "-180", "180", "181", "x"])
            }
            "latitude" => {
                self.pick(&["38.115556", "37.502669", "48.85", "-85", "85.05112878", "86"])
            }
            "radius" => self.pick(&["100", "200", "0", "1000", "20000", "-1", "x", "1e5", "nan"]),
            "unit" => self.pick(&["m", "km", "KM", "mi", "ft", "x"]),
            "bit_type" => self.pick(&[
                "u8", "i8", "u4", "i16", "u63", "i64", "u1", "i5", "u64", "i65", "u0", "x",
            ]),
            "by" => {
                self.pick(&["str:*", "hash:*->a", "num:*", "nokey", "*", "num:*->", "hash:*->"])
            }
            "get" => self.pick(&["#", "str:*", "num:*", "hash:*->b", "nokey", "*"]),
            _ => panic!("no values have the name {name}"),
        }
    }
}
