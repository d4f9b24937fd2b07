//! `DEBUG PROTOCOL`: an example of each type of reply.

use crate::commands::{CommandResult, Error};
use crate::protocol::{Reply, Version};

#[expect(clippy::approx_constant, reason = "the example that Redis answers")]
pub(super) fn example(kind: &[u8], version: Version) -> CommandResult {
    let numbers = || (0..3).map(Reply::Integer);
    Ok(match kind.to_ascii_lowercase().as_slice() {
        b"string" => Reply::bulk("Hello World"),
        b"integer" => Reply::Integer(12345),
        b"double" => Reply::Double(3.141),
        b"null" => Reply::Null,
        b"array" => Reply::Array(numbers().collect()),
        b"set" => Reply::Set(numbers().collect()),
        b"map" => {
            let pair = |n: i64| (Reply::Integer(n), Reply::Bool(n == 1));
            Reply::Map((0..3).map(pair).collect())
        }
        b"attrib" => {
            let popularity = Reply::Array(vec![Reply::bulk("key:123"), Reply::Integer(90)]);
            Reply::Attribute(
                vec![(Reply::bulk("key-popularity"), popularity)],
                Box::new(Reply::bulk("Some real reply following the attribute")),
            )
        }
        b"push" if version == Version::Resp2 => {
            return Err(Error::Text("ERR RESP2 is not supported by this command".to_owned()));
        }
        b"push" => Reply::AfterPush(
            vec![Reply::bulk("server-cpu-usage"), Reply::Integer(42)],
            Box::new(Reply::bulk("Some real reply following the push reply")),
        ),
        b"verbatim" => Reply::Verbatim("txt", "This is a verbatim\nstring".into()),
        b"true" => Reply::Bool(true),
        b"false" => Reply::Bool(false),
        b"bignum" => Reply::BigNumber("1234567999999999999999999999999999999".into()),
        _ => {
            return Err(Error::Text(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
                    .to_owned(),
            ));
        }
    })
}
