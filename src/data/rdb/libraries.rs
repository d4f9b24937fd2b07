//! Libraries of functions: the payloads of `FUNCTION DUMP`. Each library is a byte that says so, and
//! its code as a string.

use bytes::Bytes;

use super::sink::Sink;
use super::source::Source;
use super::{DumpPayload, VERSION, sealed};

/// The byte before each library.
const LIBRARY: u8 = 245;

/// The payload of libraries with these codes.
#[must_use]
pub fn dump_libraries<'c>(codes: impl IntoIterator<Item = &'c [u8]>) -> Bytes {
    let mut sink = Sink::default();
    for code in codes {
        sink.u8(LIBRARY);
        sink.string(code);
    }
    sealed(sink, VERSION)
}

impl DumpPayload {
    /// The codes of a payload of libraries, none of which is longer than `code_bytes_max`; `None` where
    /// it is none.
    #[must_use]
    pub fn libraries(&self, code_bytes_max: u64) -> Option<Vec<Bytes>> {
        let mut source = Source::new(&self.body, code_bytes_max);
        let mut codes = Vec::new();
        while !source.is_at_end() {
            if source.u8().ok()? != LIBRARY {
                return None;
            }
            codes.push(source.shared_string().ok()?);
        }
        Some(codes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_of_libraries() {
        let codes: [&[u8]; 3] = [b"#!lua name=a\n", b"", &[b'x'; 20_000]];
        let payload = dump_libraries(codes);
        let opened = DumpPayload::open(&payload).expect("a payload");
        assert_eq!(opened.libraries(1 << 20).expect("libraries"), codes);
        let none = DumpPayload::open(&dump_libraries([])).expect("a payload");
        assert_eq!(none.libraries(0), Some(Vec::new()));
        // As redis-server 7.0 writes it, compressed.
        let dumped: &[u8] = b"\xf5\xc3@A@d\x1f#!lua name=x\nredis.register_func\x08tion(\"x\",\xe0\
            \x00\x0c\x06) end) \xe0\x10+\x00X\xe0\x06+\x01d)";
        let body = DumpPayload { body: Bytes::from_static(dumped) };
        let code = "#!lua name=x\nredis.register_function(\"x\",function() end) \
                    redis.register_function(\"X\",function() end)";
        assert_eq!(body.libraries(1 << 20), Some(vec![Bytes::from(code)]));
        for wrong in [&b"\xf6\x01a"[..], b"\xf5", b"\xf5\x02a"] {
            let body = DumpPayload { body: Bytes::from_static(wrong) };
            assert_eq!(body.libraries(1 << 20), None);
        }
    }
}
