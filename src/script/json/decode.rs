//! JSON to values.

use std::borrow::Cow;

use mlua::{IntoLua, Lua, Table, Value};

use super::super::arguments::Failure;
use super::super::number;
use super::{Invalid, NESTING_MAX, Options};

/// Reads `text`, which is one value.
pub(super) fn decode(
    lua: &Lua,
    text: &[u8],
    options: &Options,
    mark: &Table,
) -> Result<Value, Failure> {
    if matches!(text, [0, _, ..] | [_, 0, ..]) {
        return Err(Failure::said("JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut decoder = Decoder { lua, text, at: 0, options, mark };
    let token = decoder.next();
    let value = decoder.value(token, 0)?;
    let token = decoder.next();
    match token.kind {
        Kind::End => Ok(value),
        _ => Err(expected("the end", &token)),
    }
}

enum Kind<'t> {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    String(Cow<'t, [u8]>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

struct Token<'t> {
    kind: Kind<'t>,
    /// Offset of its first byte, or of what is wrong.
    at: usize,
}

fn expected(what: &str, token: &Token<'_>) -> Failure {
    let found = match token.kind {
        Kind::ObjectBegin => "T_OBJ_BEGIN",
        Kind::ObjectEnd => "T_OBJ_END",
        Kind::ArrayBegin => "T_ARR_BEGIN",
        Kind::ArrayEnd => "T_ARR_END",
        Kind::String(_) => "T_STRING",
        Kind::Number(_) => "T_NUMBER",
        Kind::Boolean(_) => "T_BOOLEAN",
        Kind::Null => "T_NULL",
        Kind::Colon => "T_COLON",
        Kind::Comma => "T_COMMA",
        Kind::End => "T_END",
        Kind::Error(what) => what,
    };
    Failure::said(format!("Expected {what} but found {found} at character {}", token.at + 1))
}

struct Decoder<'a, 't> {
    lua: &'a Lua,
    text: &'t [u8],
    at: usize,
    options: &'a Options,
    mark: &'a Table,
}

impl<'t> Decoder<'_, 't> {
    fn rest(&self) -> &'t [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn next(&mut self) -> Token<'t> {
        let blanks = self.rest().iter().take_while(|byte| b" \t\n\r".contains(byte)).count();
        self.at += blanks;
        let at = self.at;
        let rest = self.rest();
        let (kind, length) = match rest.first() {
            // A NUL byte is the end, as in a string of C.
            None | Some(0) => (Kind::End, 0),
            Some(b'{') => (Kind::ObjectBegin, 1),
            Some(b'}') => (Kind::ObjectEnd, 1),
            Some(b'[') => (Kind::ArrayBegin, 1),
            Some(b']') => (Kind::ArrayEnd, 1),
            Some(b':') => (Kind::Colon, 1),
            Some(b',') => (Kind::Comma, 1),
            Some(b'"') => return self.string(),
            Some(b'-' | b'0'..=b'9') => {
                if self.options.decode_invalid == Invalid::Refused && is_invalid_number(rest) {
                    (Kind::Error("invalid number"), 0)
                } else {
                    scan(rest)
                }
            }
            _ if rest.starts_with(b"true") => (Kind::Boolean(true), 4),
            _ if rest.starts_with(b"false") => (Kind::Boolean(false), 5),
            _ if rest.starts_with(b"null") => (Kind::Null, 4),
            _ if self.options.decode_invalid != Invalid::Refused && is_invalid_number(rest) => {
                scan(rest)
            }
            _ => (Kind::Error("invalid token"), 0),
        };
        self.at += length;
        Token { kind, at }
    }

    fn value(&mut self, token: Token<'t>, depth: i64) -> Result<Value, Failure> {
        match token.kind {
            Kind::String(text) => Ok(self.lua.create_string(&*text)?.into_lua(self.lua)?),
            Kind::Number(number) => Ok(Value::Number(number)),
            Kind::Boolean(value) => Ok(Value::Boolean(value)),
            Kind::Null => Ok(Value::NULL),
            Kind::ObjectBegin => self.object(depth + 1),
            Kind::ArrayBegin => self.array(depth + 1),
            _ => Err(expected("value", &token)),
        }
    }

    fn descend(&self, depth: i64) -> Result<(), Failure> {
        if depth > self.options.decode_depth.min(NESTING_MAX) {
            return Err(Failure::said(format!(
                "Found too many nested data structures ({depth}) at character {}",
                self.at
            )));
        }
        Ok(())
    }

    fn object(&mut self, depth: i64) -> Result<Value, Failure> {
        self.descend(depth)?;
        let table = self.lua.create_table()?;
        let mut token = self.next();
        if matches!(token.kind, Kind::ObjectEnd) {
            return Ok(Value::Table(table));
        }
        loop {
            let Kind::String(key) = &token.kind else {
                return Err(expected("object key string", &token));
            };
            let key = self.lua.create_string(&**key)?;
            token = self.next();
            if !matches!(token.kind, Kind::Colon) {
                return Err(expected("colon", &token));
            }
            token = self.next();
            let value = self.value(token, depth)?;
            table.raw_set(key, value)?;
            token = self.next();
            match token.kind {
                Kind::ObjectEnd => return Ok(Value::Table(table)),
                Kind::Comma => token = self.next(),
                _ => return Err(expected("comma or object end", &token)),
            }
        }
    }

    fn array(&mut self, depth: i64) -> Result<Value, Failure> {
        self.descend(depth)?;
        let table = self.lua.create_table()?;
        if self.options.mark_arrays {
            table.set_metatable(Some(self.mark.clone()))?;
        }
        let mut token = self.next();
        if matches!(token.kind, Kind::ArrayEnd) {
            return Ok(Value::Table(table));
        }
        for index in 1.. {
            let value = self.value(token, depth)?;
            table.raw_set(index, value)?;
            token = self.next();
            match token.kind {
                Kind::ArrayEnd => break,
                Kind::Comma => token = self.next(),
                _ => return Err(expected("comma or array end", &token)),
            }
        }
        Ok(Value::Table(table))
    }

    /// The string that starts here; without a copy where nothing in it is escaped.
    fn string(&mut self) -> Token<'t> {
        let start = self.at;
        let body = &self.text[start + 1..];
        let plain = body.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0));
        let plain = plain.unwrap_or(body.len());
        if body.get(plain) == Some(&b'"') {
            self.at = start + plain + 2;
            return Token { kind: Kind::String(Cow::Borrowed(&body[..plain])), at: start };
        }
        let mut text = body[..plain].to_vec();
        self.at = start + 1 + plain;
        loop {
            let rest = self.rest();
            let wrong = |at, what| Token { kind: Kind::Error(what), at };
            match rest {
                [] | [0, ..] => return wrong(self.at, "unexpected end of string"),
                [b'"', ..] => {
                    self.at += 1;
                    return Token { kind: Kind::String(Cow::Owned(text)), at: start };
                }
                [b'\\', b'u', ..] => match unicode(rest) {
                    Some((character, length)) => {
                        text.extend_from_slice(&utf8(character));
                        self.at += length;
                    }
                    None => return wrong(self.at, "invalid unicode escape code"),
                },
                [b'\\', escape, ..] if unescaped(*escape).is_some() => {
                    text.extend(unescaped(*escape));
                    self.at += 2;
                }
                [b'\\', ..] => return wrong(self.at, "invalid escape code"),
                [byte, ..] => {
                    text.push(*byte);
                    self.at += 1;
                }
            }
        }
    }
}

fn unescaped(escape: u8) -> Option<u8> {
    Some(match escape {
        b'"' | b'\\' | b'/' => escape,
        b'b' => 0x08,
        b't' => b'\t',
        b'n' => b'\n',
        b'f' => 0x0c,
        b'r' => b'\r',
        _ => return None,
    })
}

/// The code of a backslash, `u` and four digits.
fn code_unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
}

/// The character that `text` starts with the escape of, one or a pair, and how long that is.
fn unicode(text: &[u8]) -> Option<(u32, usize)> {
    match code_unit(text)? {
        high @ 0xd800..=0xdbff => {
            let low = code_unit(&text[6..]).filter(|low| (0xdc00..=0xdfff).contains(low))?;
            Some((0x1_0000 + ((high & 0x3ff) << 10 | low & 0x3ff), 12))
        }
        0xdc00..=0xdfff => None,
        code => Some((code, 6)),
    }
}

fn utf8(code: u32) -> Vec<u8> {
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).to_string().into_bytes()
}

fn scan(text: &[u8]) -> (Kind<'static>, usize) {
    match number::scan(text) {
        Some((value, length)) => (Kind::Number(value), length),
        None => (Kind::Error("invalid number"), 0),
    }
}

/// Whether a number is none of JSON: hexadecimal, infinite, none, with a leading zero or plus.
fn is_invalid_number(text: &[u8]) -> bool {
    let digits = match text {
        [b'+', ..] => return true,
        [b'-', rest @ ..] => rest,
        _ => text,
    };
    let starts =
        |word: &[u8]| digits.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    match digits {
        [b'0', next, ..] => next.eq_ignore_ascii_case(&b'x') || next.is_ascii_digit(),
        [b'0'..=b'9', ..] => false,
        _ => starts(b"inf") || starts(b"nan"),
    }
}
