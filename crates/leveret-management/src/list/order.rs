//! The order of lists by what stands in a column.

use std::cmp::Ordering;
use std::ops::Range;

use serde_json::Value;

/// The items of that range of the sorted list, without sorting the others. Equal ones keep their order, so that all pages
/// together are the list.
pub(crate) fn cut<T>(items: Vec<T>, range: Range<usize>, order: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let order = |a: &(usize, T), b: &(usize, T)| order(&a.1, &b.1).then(a.0.cmp(&b.0));
    let mut items: Vec<_> = items.into_iter().enumerate().collect();
    if range.end < items.len() {
        items.select_nth_unstable_by(range.end, &order);
        items.truncate(range.end);
    }
    if range.start > 0 && range.start < items.len() {
        items.select_nth_unstable_by(range.start, &order);
    }
    items.drain(..range.start.min(items.len()));
    items.sort_unstable_by(order);
    items.into_iter().map(|(_, item)| item).collect()
}

/// Numbers before texts, nothing before both.
pub(super) fn compare(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        _ => 4,
    };
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}
