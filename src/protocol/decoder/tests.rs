//! Requests as clients send them, split anywhere, and what is refused.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use redis_protocol::resp2::encode::extend_encode;
use redis_protocol::resp2::types::BytesFrame;
use tokio_util::codec::Decoder;

use super::{Limits, RequestDecoder};
use crate::protocol::Request;

/// Decodes all of `input`, which arrives in pieces of `step` bytes.
fn decode_in_steps(
    decoder: &mut RequestDecoder,
    input: &[u8],
    step: usize,
) -> Result<Vec<Request>, String> {
    let mut buffer = BytesMut::new();
    let mut requests = Vec::new();
    for piece in input.chunks(step.max(1)) {
        buffer.extend_from_slice(piece);
        while let Some(request) = decoder.decode(&mut buffer).map_err(|e| e.to_string())? {
            requests.push(request);
        }
    }
    Ok(requests)
}

fn words(requests: &[Request]) -> Vec<Vec<&[u8]>> {
    requests.iter().map(|request| request.args.iter().map(|arg| &arg[..]).collect()).collect()
}

/// Decodes `input` whole and byte by byte; both must give `expected`.
fn check(input: &str, expected: &[&[&str]]) {
    for step in [usize::MAX, 1, 2, 3] {
        let requests =
            decode_in_steps(&mut RequestDecoder::default(), input.as_bytes(), step).expect(input);
        let expected: Vec<Vec<&[u8]>> = expected
            .iter()
            .map(|words| words.iter().map(|word| word.as_bytes()).collect())
            .collect();
        assert_eq!(words(&requests), expected, "{input:?} in steps of {step}");
    }
}

fn refuse_with(limits: Limits, input: &[u8], text: &str) {
    for step in [usize::MAX, 1000, 1] {
        let error = decode_in_steps(&mut RequestDecoder::new(limits), input, step).unwrap_err();
        assert_eq!(error, format!("ERR Protocol error: {text}"), "in steps of {step}");
    }
}

fn refuse(input: &[u8], text: &str) {
    refuse_with(Limits::default(), input, text);
}

#[test]
fn arrays() {
    check("*1\r\n$4\r\nPING\r\n", &[&["PING"]]);
    check("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\n\r\n\r\n", &[&["SET", "k", "\r\n\r\n"]]);
    check("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n", &[&["ECHO", ""], &["PING"]]);
    check("*0\r\n*-1\r\n*1\r\n$1\r\na\r\n*0\r\n", &[&["a"]]);
}

#[test]
fn inline_commands() {
    check("PING\r\n", &[&["PING"]]);
    check(
        "\r\n\n  \r\nSET k \"a b\\x41\" 'c d'\nPING\r\n",
        &[&["SET", "k", "a bA", "c d"], &["PING"]],
    );
    check("GET a\r\n*1\r\n$4\r\nPING\r\nGET b\n", &[&["GET", "a"], &["PING"], &["GET", "b"]]);
    check("PING", &[]);
    check("PING\n\0PING\r\nPING\r\n", &[&["PING"]]);
}

#[test]
fn wire_lengths_add_up() {
    let input = b"*1\r\n$4\r\nPING\r\nPING\r\n";
    let requests = decode_in_steps(&mut RequestDecoder::default(), input, 5).expect("decodes");
    let lengths: Vec<usize> = requests.iter().map(|request| request.wire_len).collect();
    assert_eq!(lengths, [14, 6]);
}

#[test]
fn mistakes() {
    refuse(b"SET k \"abc\r\n", "unbalanced quotes in request");
    refuse(&[b'a'; 70_000], "too big inline request");
    refuse(&[b"*".as_slice(), &[b'1'; 70_000]].concat(), "too big mbulk count string");
    refuse(&[b"*1\r\n$".as_slice(), &[b'1'; 70_000]].concat(), "too big bulk count string");
    for count in ["abc", "3000000000", "2147483648", "", "01", "1 ", "99999999999999999999"] {
        refuse(format!("*{count}\r\n").as_bytes(), "invalid multibulk length");
    }
    refuse(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'");
    refuse(b"*1\r\n\r\n", "expected '$', got ' '");
    for length in ["abc", "-10", "-1", "2000000000", "536870913", "", "+1"] {
        refuse(format!("*1\r\n${length}\r\n").as_bytes(), "invalid bulk length");
    }
}

#[test]
fn a_long_line_that_arrived_as_a_whole_is_taken() {
    let line = [b"ECHO ".as_slice(), &[b'a'; 70_000], b"\r\n"].concat();
    let requests = decode_in_steps(&mut RequestDecoder::default(), &line, line.len());
    assert_eq!(requests.expect("decodes")[0].args[1].len(), 70_000);
}

#[test]
fn limits_before_authentication() {
    let limits = Limits { authenticated: false, ..Limits::default() };
    refuse_with(limits, b"*11\r\n", "unauthenticated multibulk length");
    refuse_with(limits, b"*1\r\n$16385\r\n", "unauthenticated bulk length");
    let mut decoder = RequestDecoder::new(limits);
    assert_eq!(decode_in_steps(&mut decoder, b"*10\r\n$16384\r\n", 3), Ok(vec![]));
    let mut decoder = RequestDecoder::new(limits);
    decoder.limits_mut().authenticated = true;
    assert_eq!(decode_in_steps(&mut decoder, b"*11\r\n$16385\r\n", 3), Ok(vec![]));
}

#[test]
fn the_longest_argument_can_be_set() {
    let limits = Limits { bulk_bytes_max: 1 << 20, ..Limits::default() };
    refuse_with(limits, b"*1\r\n$1048577\r\n", "invalid bulk length");
    let mut decoder = RequestDecoder::new(limits);
    assert_eq!(decode_in_steps(&mut decoder, b"*1\r\n$1048576\r\n", 3), Ok(vec![]));
}

#[test]
fn lengths_of_every_size() {
    for length in [0, 1, 9, 10, 99, 100, 999, 1000, 70_000] {
        let arg = "x".repeat(length);
        check(&format!("*2\r\n$3\r\nGET\r\n${length}\r\n{arg}\r\n"), &[&["GET", &arg]]);
    }
    for length in ["00", "01", "001", "1x", "x1", "12x", "-5", "x"] {
        refuse(format!("*1\r\n${length}\r\nabc\r\n").as_bytes(), "invalid bulk length");
    }
    let limits = Limits { bulk_bytes_max: 5, ..Limits::default() };
    refuse_with(limits, b"*1\r\n$6\r\n", "invalid bulk length");
}

#[test]
fn announced_lengths_allocate_nothing() {
    let mut decoder = RequestDecoder::default();
    let mut buffer = BytesMut::from(&b"*2147483647\r\n$536870912\r\nabc"[..]);
    let capacity = buffer.capacity();
    assert!(decoder.decode(&mut buffer).expect("partial").is_none());
    assert_eq!(buffer.capacity(), capacity);
    assert_eq!(decoder.held_bytes(buffer.len()), buffer.len());
    assert_eq!(decoder.room_wanted(buffer.len()), 16 * 1024);
    assert_eq!(decoder.room_wanted(1 << 20), 1 << 20);
    // A little behind the doubling is taken at once.
    let half = 268_435_456;
    let rest = 536_870_912 + 27 - half;
    assert_eq!(decoder.room_wanted(half), rest);
}

#[test]
fn room_ends_with_the_argument() {
    let mut decoder = RequestDecoder::default();
    let mut buffer = BytesMut::from(&b"*1\r\n$10\r\nabc"[..]);
    assert!(decoder.decode(&mut buffer).expect("partial").is_none());
    assert_eq!(decoder.room_wanted(buffer.len()), 9);
    buffer.extend_from_slice(b"defghij\r\n");
    assert!(decoder.decode(&mut buffer).expect("whole").is_some());
    assert_eq!(decoder.room_wanted(0), 16 * 1024);
    assert_eq!(decoder.held_bytes(0), 0);
}

#[test]
fn arguments_share_the_read_buffer() {
    let mut buffer = BytesMut::from(&b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n"[..]);
    let start = buffer.as_ptr() as usize;
    let request = RequestDecoder::default().decode(&mut buffer).expect("whole").expect("request");
    assert_eq!(request.args[1].as_ptr() as usize, start + 17);
}

#[test]
fn a_long_argument_is_looked_at_once() {
    // 8 MB in steps of 100 bytes: quadratic work would take minutes.
    let mut input = b"*2\r\n$4\r\nECHO\r\n$8388608\r\n".to_vec();
    input.resize(input.len() + 8_388_608, b'\r');
    input.extend_from_slice(b"\r\n");
    let requests = decode_in_steps(&mut RequestDecoder::default(), &input, 100).expect("decodes");
    assert_eq!(requests[0].args[1].len(), 8_388_608);
}

#[test]
fn the_end_of_the_stream_drops_an_unfinished_request() {
    let mut decoder = RequestDecoder::default();
    let mut buffer = BytesMut::from(&b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI"[..]);
    assert!(decoder.decode_eof(&mut buffer).expect("whole").is_some());
    assert!(decoder.decode_eof(&mut buffer).expect("dropped").is_none());
    assert!(buffer.is_empty());
}

proptest! {
    #[test]
    fn what_the_oracle_encodes_decodes_to_the_same(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..8), 1..5),
        cuts in prop::collection::vec(1_usize..40, 1..20),
    ) {
        let mut input = BytesMut::new();
        for request in &requests {
            let items = request.iter().map(|arg| BytesFrame::BulkString(Bytes::from(arg.clone())));
            extend_encode(&mut input, &BytesFrame::Array(items.collect()), false).expect("fits");
        }
        let mut decoder = RequestDecoder::default();
        let mut buffer = BytesMut::new();
        let mut decoded = Vec::new();
        let mut rest = &input[..];
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            buffer.extend_from_slice(piece);
            while let Some(request) = decoder.decode(&mut buffer).expect("valid") {
                decoded.push(request.args.iter().map(|arg| arg.to_vec()).collect::<Vec<_>>());
            }
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(decoded, requests);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn any_bytes_decode_without_panic_however_they_are_split(
        input in prop::collection::vec(
            prop_oneof![any::<u8>(), Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), b'0'..=b'9'], 0..200),
        step in 1_usize..20,
    ) {
        let whole = decode_in_steps(&mut RequestDecoder::default(), &input, usize::MAX);
        let split = decode_in_steps(&mut RequestDecoder::default(), &input, step);
        match (whole, split) {
            (Ok(whole), Ok(split)) => prop_assert_eq!(whole, split),
            (Err(whole), Err(split)) => prop_assert_eq!(whole, split),
            (whole, split) => prop_assert!(false, "{whole:?} and {split:?}"),
        }
    }
}

#[test]
fn a_request_that_is_given_up_is_dropped_to_its_end() {
    let long = "x".repeat(1000);
    let rest = format!("{long}\r\n$3\r\nend\r\n$0\r\n\r\n");
    for step in [1, 7, 2000] {
        let mut decoder = RequestDecoder::default();
        let mut src = BytesMut::from("*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1010\r\n0123456789");
        assert!(matches!(decoder.decode(&mut src), Ok(None)));
        assert_eq!(decoder.missing(src.len()), 1002);
        decoder.give_up(&mut src);
        let wire = format!("{rest}*1\r\n$4\r\nPING\r\n");
        for part in wire.as_bytes().chunks(step) {
            src.extend_from_slice(part);
            assert!(!decoder.gives_up() || src.len() <= step + 10, "nothing is kept");
            if decoder.gives_up() {
                let is_over = decoder.discard(&mut src).expect("sound");
                assert_eq!(is_over, !decoder.gives_up());
            }
        }
        let request = decoder.decode(&mut src).expect("sound").expect("whole");
        assert_eq!(request.args[..], [&b"PING"[..]]);
        assert!(src.is_empty() && decoder.missing(0) == 0);
    }
}

#[test]
fn a_request_is_given_up_between_two_arguments() {
    for there in ["", "$", "$10", "$10\r", "$10\r\n"] {
        let mut decoder = RequestDecoder::default();
        let mut src = BytesMut::from(&b"*4\r\n$4\r\nMSET\r\n$1\r\nk\r\n"[..]);
        src.extend_from_slice(there.as_bytes());
        assert!(matches!(decoder.decode(&mut src), Ok(None)));
        decoder.give_up(&mut src);
        assert!(decoder.gives_up() && src.len() <= there.len(), "{there:?}");
        let rest = &"$10\r\n0123456789\r\n$1\r\nl\r\n*1\r\n$4\r\nPING\r\n"[there.len()..];
        src.extend_from_slice(rest.as_bytes());
        assert!(decoder.discard(&mut src).expect("sound"));
        let request = decoder.decode(&mut src).expect("sound").expect("whole");
        assert_eq!(request.args[..], [&b"PING"[..]]);
    }
}
