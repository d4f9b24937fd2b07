//! Replies against the bytes that Redis sends, and against `redis-protocol` as the oracle.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use redis_protocol::resp2::decode::decode_bytes as decode2;
use redis_protocol::resp2::types::BytesFrame as Frame2;
use redis_protocol::resp3::decode::complete::decode_bytes as decode3;
use redis_protocol::resp3::types::{BytesFrame as Frame3, VerbatimStringFormat};

use super::ReplyEncoder;
use crate::protocol::{Reply, Version};

fn encode(version: Version, reply: &Reply) -> Bytes {
    let mut out = BytesMut::new();
    ReplyEncoder::new(version).write(reply, &mut out);
    out.freeze()
}

fn check(reply: &Reply, resp2: &str, resp3: &str) {
    for (version, expected) in [(Version::Resp2, resp2), (Version::Resp3, resp3)] {
        let encoded = encode(version, reply);
        assert_eq!(String::from_utf8_lossy(&encoded), expected, "{reply:?} in {version:?}");
    }
}

fn same(reply: &Reply, both: &str) {
    check(reply, both, both);
}

#[test]
fn leaves() {
    same(&Reply::OK, "+OK\r\n");
    same(&Reply::simple("PONG"), "+PONG\r\n");
    same(&Reply::error("ERR syntax error"), "-ERR syntax error\r\n");
    same(&Reply::Integer(-42), ":-42\r\n");
    same(&Reply::bulk("a\r\nb"), "$4\r\na\r\nb\r\n");
    same(&Reply::bulk(""), "$0\r\n\r\n");
    same(&Reply::Silent, "");
    same(&Reply::Encoded(vec![":1".into(), "\r\n".into()]), ":1\r\n");
    check(&Reply::Null, "$-1\r\n", "_\r\n");
    check(&Reply::NullArray, "*-1\r\n", "_\r\n");
    check(&Reply::Bool(true), ":1\r\n", "#t\r\n");
    check(&Reply::Bool(false), ":0\r\n", "#f\r\n");
    check(&Reply::PlainDouble(1e-8), "$10\r\n0.00000001\r\n", ",0.00000001\r\n");
    check(&Reply::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
    check(&Reply::Double(1e20), "$5\r\n1e+20\r\n", ",1e+20\r\n");
    check(&Reply::Double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
    check(&Reply::Double(f64::NAN), "$3\r\nnan\r\n", ",nan\r\n");
    check(&Reply::BigNumber("123".into()), "$3\r\n123\r\n", "(123\r\n");
    check(&Reply::Verbatim("txt", "hi".into()), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
    check(&Reply::Verbatim("mkd", "".into()), "$0\r\n\r\n", "=4\r\nmkd:\r\n");
}

#[test]
fn attributes_go_in_front_of_the_reply() {
    let about = vec![(Reply::bulk("k"), Reply::Integer(9))];
    let reply = Reply::Attribute(about, Box::new(Reply::bulk("v")));
    check(&reply, "$1\r\nv\r\n", "|1\r\n$1\r\nk\r\n:9\r\n$1\r\nv\r\n");
}

#[test]
fn texts_stay_on_their_line() {
    same(&Reply::error("ERR a\r\nb\nc".to_owned()), "-ERR a  b c\r\n");
    same(&Reply::simple("a\nb"), "+a b\r\n");
    same(&Reply::error(""), "-\r\n");
}

#[test]
fn integers_have_no_byte_too_many() {
    for power in 0..19 {
        let ten = 10_i64.pow(power);
        for value in [ten, ten - 1, ten + 1, -ten, 1 - ten] {
            same(&Reply::Integer(value), &format!(":{value}\r\n"));
        }
    }
    same(&Reply::Integer(i64::MIN), ":-9223372036854775808\r\n");
    same(&Reply::Integer(i64::MAX), ":9223372036854775807\r\n");
}

#[test]
fn aggregates() {
    same(&Reply::EMPTY, "*0\r\n");
    check(
        &Reply::Array(vec![Reply::Null, Reply::NullArray, Reply::Integer(1)]),
        "*3\r\n$-1\r\n*-1\r\n:1\r\n",
        "*3\r\n_\r\n_\r\n:1\r\n",
    );
    check(
        &Reply::map([("b", Reply::set([2_i64, 1])), ("a", Reply::map([("x", Reply::Bool(true))]))]),
        "*4\r\n$1\r\nb\r\n*2\r\n:2\r\n:1\r\n$1\r\na\r\n*2\r\n$1\r\nx\r\n:1\r\n",
        "%2\r\n$1\r\nb\r\n~2\r\n:2\r\n:1\r\n$1\r\na\r\n%1\r\n$1\r\nx\r\n#t\r\n",
    );
    check(
        &Reply::Pairs(vec![(Reply::from("a"), Reply::Integer(1))]),
        "*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*2\r\n$1\r\na\r\n:1\r\n",
    );
    check(
        &Reply::Keyed(vec![(Reply::from("a"), Reply::Integer(1))]),
        "*1\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "%1\r\n$1\r\na\r\n:1\r\n",
    );
    check(
        &Reply::Push(vec![Reply::from("pmessage")]),
        "*1\r\n$8\r\npmessage\r\n",
        ">1\r\n$8\r\npmessage\r\n",
    );
}

#[test]
fn errors_repeat_any_bytes_in_one_line() {
    for version in [Version::Resp2, Version::Resp3] {
        let mut encoded = BytesMut::new();
        let reply = Reply::RawError(Bytes::from_static(b"ERR no \xff\r\n\xfe"));
        ReplyEncoder::new(version).write(&reply, &mut encoded);
        assert_eq!(&encoded[..], b"-ERR no \xff  \xfe\r\n");
    }
}

/// Replies whose frames keep order and repetitions.
fn reply() -> impl Strategy<Value = Reply> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let leaf = prop_oneof![
        "[ -~]{0,20}".prop_map(|text| Reply::Simple(text.into())),
        "[ -~]{0,20}".prop_map(|text| Reply::Error(text.into())),
        any::<i64>().prop_map(Reply::Integer),
        bytes.clone().prop_map(Reply::Bulk),
        bytes.prop_map(|text| Reply::Verbatim("txt", text)),
        "[0-9]{1,30}".prop_map(|digits| Reply::BigNumber(digits.into())),
        any::<bool>().prop_map(Reply::Bool),
        any::<f64>().prop_map(Reply::Double),
        Just(Reply::Null),
    ];
    leaf.prop_recursive(3, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Reply::Array),
            prop::collection::vec(inner.clone(), 0..6).prop_map(Reply::Set),
            prop::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Reply::Map),
            prop::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Reply::Pairs),
            prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Reply::Keyed),
        ]
    })
}

fn frame2(reply: &Reply) -> Frame2 {
    match reply {
        Reply::Simple(text) => Frame2::SimpleString(text.to_string().into()),
        Reply::Error(text) => Frame2::Error(text.to_string().into()),
        Reply::Integer(value) => Frame2::Integer(*value),
        Reply::Bulk(bytes) | Reply::BigNumber(bytes) | Reply::Verbatim(_, bytes) => {
            Frame2::BulkString(bytes.clone())
        }
        Reply::Bool(value) => Frame2::Integer(i64::from(*value)),
        Reply::Double(value) => Frame2::BulkString(crate::protocol::format_double(*value).into()),
        Reply::PlainDouble(value) => {
            Frame2::BulkString(crate::protocol::format_plain_double(*value).into())
        }
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
            Frame2::Array(items.iter().map(frame2).collect())
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            Frame2::Array(pairs.iter().flat_map(|(k, v)| [frame2(k), frame2(v)]).collect())
        }
        Reply::Keyed(pairs) => {
            let pair =
                |(key, value): &(Reply, Reply)| Frame2::Array(vec![frame2(key), frame2(value)]);
            Frame2::Array(pairs.iter().map(pair).collect())
        }
        Reply::Attribute(_, reply) | Reply::AfterPush(_, reply) => frame2(reply),
        Reply::Null | Reply::NullArray | Reply::Silent => Frame2::Null,
        Reply::Encoded(_) | Reply::Many(_) | Reply::RawError(_) => {
            unreachable!("nothing made them")
        }
        Reply::Pushes(_) => unreachable!("several frames, which are tested by themselves"),
    }
}

/// Arrays and leaves; sets and maps of the oracle are hashed, so they are compared as RESP2 only.
fn frame3(reply: &Reply) -> Option<Frame3> {
    let attributes = None;
    Some(match reply {
        Reply::Simple(text) => Frame3::SimpleString { data: text.to_string().into(), attributes },
        Reply::Error(text) => Frame3::SimpleError { data: text.to_string().into(), attributes },
        Reply::Integer(data) => Frame3::Number { data: *data, attributes },
        Reply::Bulk(data) => Frame3::BlobString { data: data.clone(), attributes },
        Reply::BigNumber(data) => Frame3::BigNumber { data: data.clone(), attributes },
        Reply::Verbatim(_, data) => Frame3::VerbatimString {
            data: data.clone(),
            format: VerbatimStringFormat::Text,
            attributes,
        },
        Reply::Bool(data) => Frame3::Boolean { data: *data, attributes },
        Reply::Double(data) => Frame3::Double { data: *data, attributes },
        Reply::Array(items) => {
            Frame3::Array { data: items.iter().map(frame3).collect::<Option<_>>()?, attributes }
        }
        Reply::Pairs(pairs) => {
            let pair = |(a, b): &(Reply, Reply)| {
                let data = vec![frame3(a)?, frame3(b)?];
                Some(Frame3::Array { data, attributes: None })
            };
            Frame3::Array { data: pairs.iter().map(pair).collect::<Option<_>>()?, attributes }
        }
        Reply::Null => Frame3::Null,
        _ => return None,
    })
}

proptest! {
    #[test]
    fn the_oracle_reads_the_same_resp2(reply in reply()) {
        let encoded = encode(Version::Resp2, &reply);
        let (frame, length) = decode2(&encoded).expect("decodes").expect("complete");
        prop_assert_eq!(length, encoded.len());
        prop_assert_eq!(frame, frame2(&reply));
    }

    #[test]
    fn the_oracle_reads_the_same_resp3(reply in reply()) {
        let encoded = encode(Version::Resp3, &reply);
        if let Some(expected) = frame3(&reply) {
            let (frame, length) = decode3(&encoded).expect("decodes").expect("complete");
            prop_assert_eq!(length, encoded.len());
            prop_assert_eq!(frame, expected);
        }
    }
}
