//! When two replies are the same.

use super::exceptions::{is_changed, is_changed_field};
use super::generator::Step;
use super::value::Value;

/// Whether SiltDB's reply is as good as that of Redis.
pub(crate) fn same(step: &Step, redis: &Value, siltdb: &Value) -> bool {
    let check = &step.check;
    let normal = |value: &Value| {
        let mut value = value.clone();
        if check.info {
            value = without_changed_fields(value);
        }
        if check.floats {
            value = by_value(value);
        }
        if let Some(at) = check.blank {
            blank(&mut value, at);
        }
        if check.shape {
            shape(&mut value);
        }
        if let Some(of) = check.sorted {
            sort(&mut value, of);
        }
        value
    };
    let (a, b) = (normal(redis), normal(siltdb));
    close(&a, &b, check.near) || is_changed(step, redis, siltdb)
}

fn close(a: &Value, b: &Value, near: i64) -> bool {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.abs_diff(*b) <= near.unsigned_abs(),
        (Value::Array(a), Value::Array(b)) if near > 0 && a.len() == b.len() => {
            a.iter().zip(b).all(|(a, b)| close(a, b, near))
        }
        _ => a == b,
    }
}

/// Numbers in any notation as the shortest one. Minus zero is zero: a listpack does not know it,
/// and 7.2 puts a sorted set into a listpack or not by another rule.
fn by_value(value: Value) -> Value {
    let number = |text: &[u8]| str::from_utf8(text).ok()?.parse::<f64>().ok().map(|n| n + 0.0);
    let all = |items: Vec<Value>| items.into_iter().map(by_value).collect();
    match value {
        Value::Bulk(text) => {
            let shortest = number(&text).map(|number| format!("{number:?}").into_bytes());
            Value::Bulk(shortest.unwrap_or(text))
        }
        Value::Double(text) => {
            let shortest = number(text.as_bytes()).map(|number| format!("{number:?}"));
            Value::Double(shortest.unwrap_or(text))
        }
        Value::Array(items) => Value::Array(all(items)),
        Value::Set(items) => Value::Set(all(items)),
        Value::Map(pairs) => Value::Map(
            pairs.into_iter().map(|(key, value)| (by_value(key), by_value(value))).collect(),
        ),
        other => other,
    }
}

fn children(value: &mut Value) -> Vec<&mut Value> {
    match value {
        Value::Array(items) | Value::Set(items) | Value::Push(items) => items.iter_mut().collect(),
        Value::Map(pairs) => pairs.iter_mut().flat_map(|(key, value)| [key, value]).collect(),
        _ => Vec::new(),
    }
}

/// Puts nothing in the place of the `at`-th element of each inner array.
fn blank(value: &mut Value, at: usize) {
    for child in children(value) {
        if let Value::Array(items) = child
            && let Some(item) = items.get_mut(at)
        {
            *item = Value::Null;
        }
    }
}

/// Takes the contents of strings and doubles away.
fn shape(value: &mut Value) {
    match value {
        Value::Bulk(bytes) => bytes.clear(),
        Value::Double(text) => text.clear(),
        other => children(other).into_iter().for_each(shape),
    }
}

fn sort(value: &mut Value, of: usize) {
    match value {
        Value::Array(items) if items.len().is_multiple_of(of) => {
            let mut parts: Vec<Vec<Value>> = items.chunks(of).map(<[Value]>::to_vec).collect();
            parts.sort();
            *items = parts.concat();
        }
        Value::Set(items) => items.sort(),
        Value::Map(pairs) => pairs.sort(),
        _ => {}
    }
}

/// Field names with values become maps in RESP2 too, without the fields that differ for a reason.
fn without_changed_fields(value: Value) -> Value {
    let is_changed = |key: &Value| {
        let Value::Bulk(name) = key else { return false };
        is_changed_field(name)
    };
    match value {
        Value::Map(pairs) => Value::Map(
            pairs
                .into_iter()
                .filter(|(key, _)| !is_changed(key))
                .map(|(key, value)| (key, without_changed_fields(value)))
                .collect(),
        ),
        Value::Array(items) => {
            let is_time = |item: &Value| matches!(item, Value::Integer(ms) if *ms > 1 << 40);
            let mut kept = Vec::new();
            let mut items = items.into_iter();
            while let Some(item) = items.next() {
                if is_changed(&item) {
                    items.next();
                } else if !is_time(&item) {
                    kept.push(without_changed_fields(item));
                }
            }
            Value::Array(kept)
        }
        other => other,
    }
}
