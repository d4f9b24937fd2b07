//! Values to JSON.

use mlua::{Table, Value};

use super::super::arguments::{Failure, number_of, type_name};
use super::super::number::format_general;
use super::{Invalid, NESTING_MAX, Options, index};

/// Largest output, in bytes: tables that name one another many times would fill the memory.
const BYTES_MAX: usize = 512 << 20;

/// What a table becomes.
enum Shape {
    /// So many elements, some of them nil perhaps.
    Array(i64),
    Object,
}

/// The text of `value`.
pub(super) fn encode(value: &Value, options: &Options, mark: &Table) -> Result<Vec<u8>, Failure> {
    let mut encoder = Encoder { options, mark, text: Vec::new() };
    encoder.value(value, 0)?;
    Ok(encoder.text)
}

struct Encoder<'a> {
    options: &'a Options,
    mark: &'a Table,
    text: Vec<u8>,
}

fn refused(value: &Value, why: &str) -> Failure {
    Failure::said(format!("Cannot serialise {}: {why}", type_name(value)))
}

impl Encoder<'_> {
    fn value(&mut self, value: &Value, depth: i64) -> Result<(), Failure> {
        if self.text.len() > BYTES_MAX {
            return Err(Failure::said("not enough memory"));
        }
        match value {
            Value::Nil => self.text.extend_from_slice(b"null"),
            null if null.is_null() => self.text.extend_from_slice(b"null"),
            Value::Boolean(true) => self.text.extend_from_slice(b"true"),
            Value::Boolean(false) => self.text.extend_from_slice(b"false"),
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Table(table) => self.table(table, depth + 1)?,
            value => match number_of(value) {
                Some(number) => self.number(number, value)?,
                None => return Err(refused(value, "type not supported")),
            },
        }
        Ok(())
    }

    fn number(&mut self, number: f64, value: &Value) -> Result<(), Failure> {
        if !number.is_finite() {
            match self.options.encode_invalid {
                Invalid::Refused => return Err(refused(value, "must not be NaN or Inf")),
                Invalid::Null => {
                    self.text.extend_from_slice(b"null");
                    return Ok(());
                }
                Invalid::Plain if number.is_nan() => {
                    self.text.extend_from_slice(b"nan");
                    return Ok(());
                }
                Invalid::Plain => {}
            }
        }
        let precision = usize::try_from(self.options.precision).unwrap_or(1);
        self.text.extend_from_slice(format_general(number, precision).as_bytes());
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.text.push(b'"');
        for &byte in text {
            let escaped: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'/' => b"\\/",
                0x08 => b"\\b",
                b'\t' => b"\\t",
                b'\n' => b"\\n",
                0x0c => b"\\f",
                b'\r' => b"\\r",
                0..=0x1f | 0x7f => {
                    self.text.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                    continue;
                }
                _ => {
                    self.text.push(byte);
                    continue;
                }
            };
            self.text.extend_from_slice(escaped);
        }
        self.text.push(b'"');
    }

    fn table(&mut self, table: &Table, depth: i64) -> Result<(), Failure> {
        if depth > self.options.encode_depth.min(NESTING_MAX) {
            return Err(Failure::said(format!("Cannot serialise, excessive nesting ({depth})")));
        }
        match self.shape(table)? {
            Shape::Array(length) => {
                self.text.push(b'[');
                for index in 1..=length {
                    if index > 1 {
                        self.text.push(b',');
                    }
                    self.value(&table.raw_get(index)?, depth)?;
                }
                self.text.push(b']');
            }
            Shape::Object => self.object(table, depth)?,
        }
        Ok(())
    }

    fn object(&mut self, table: &Table, depth: i64) -> Result<(), Failure> {
        self.text.push(b'{');
        let mut first = true;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !std::mem::take(&mut first) {
                self.text.push(b',');
            }
            match &key {
                Value::String(text) => self.string(&text.as_bytes()),
                key => {
                    let why = "table key must be a number or string";
                    let number = number_of(key).ok_or_else(|| refused(key, why))?;
                    self.text.push(b'"');
                    self.number(number, key)?;
                    self.text.push(b'"');
                }
            }
            self.text.push(b':');
            self.value(&value, depth)?;
        }
        self.text.push(b'}');
        Ok(())
    }

    fn shape(&self, table: &Table) -> Result<Shape, Failure> {
        let marked = table.metatable().is_some_and(|metatable| metatable == *self.mark);
        let (mut largest, mut items) = (0, 0);
        for pair in table.pairs::<Value, Value>() {
            let (key, _) = pair?;
            match index(&key).filter(|index| *index >= 1) {
                Some(index) => largest = largest.max(index),
                None => return Ok(Shape::Object),
            }
            items += 1;
        }
        let Options { sparse_ratio, sparse_safe, sparse_to_object, .. } = *self.options;
        if sparse_ratio > 0 && largest > items * sparse_ratio && largest > sparse_safe {
            if sparse_to_object {
                return Ok(Shape::Object);
            }
            return Err(Failure::said("Cannot serialise table: excessively sparse array"));
        }
        Ok(if largest > 0 || marked { Shape::Array(largest) } else { Shape::Object })
    }
}
