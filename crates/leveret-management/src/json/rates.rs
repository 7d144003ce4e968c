//! Counters with their rates: `publish` and `publish_details`.

use serde_json::{Map, Value, json};

use crate::statistics::Rated;

/// What is told of something, and how to find it.
pub(crate) type Figures<S> = [(&'static str, fn(&S) -> u64)];

/// Rounded as RabbitMQ does, so that a rate reads well.
fn rounded(rate: f64) -> f64 {
    (rate * 100.0).round() / 100.0
}

/// Adds a value and how fast it changes.
pub(crate) fn put(object: &mut Map<String, Value>, name: &str, rated: Rated) {
    object.insert(name.into(), rated.value.into());
    object.insert(format!("{name}_details"), json!({ "rate": rounded(rated.rate) }));
}

/// Adds what something has taken on average lately. It has no rate, but clients look for one beside every figure.
pub(crate) fn put_average(object: &mut Map<String, Value>, name: &str, value: f64) {
    object.insert(name.into(), value.into());
    object.insert(format!("{name}_details"), json!({ "rate": 0.0 }));
}

/// Adds to the details of figures how they were at moments of the past, the newest first, and RabbitMQ's averages.
pub(crate) fn put_samples<S>(object: &mut Map<String, Value>, figures: &Figures<S>, moments: &[(u64, S)]) {
    for (name, of) in figures {
        let Some(Value::Object(details)) = object.get_mut(&format!("{name}_details")) else { continue };
        let samples = moments.iter().map(|(at_ms, it)| json!({ "sample": of(it), "timestamp": at_ms }));
        details.insert("samples".into(), samples.collect());
        details.insert("avg".into(), average(moments.iter().map(|(_, it)| of(it))).into());
        details.insert("avg_rate".into(), slope(moments, *of).into());
    }
}

fn average(values: impl ExactSizeIterator<Item = u64>) -> f64 {
    let count = values.len().max(1);
    values.map(|value| value as f64).sum::<f64>() / count as f64
}

/// How much it has changed in a second.
fn slope<S>(moments: &[(u64, S)], of: fn(&S) -> u64) -> f64 {
    let ([(end_ms, end), ..], [.., (begin_ms, begin)]) = (moments, moments) else { return 0.0 };
    let seconds = end_ms.saturating_sub(*begin_ms) as f64 / 1000.0;
    if seconds > 0.0 { (of(end) as f64 - of(begin) as f64) / seconds } else { 0.0 }
}

/// Values and how fast they change, as an object.
pub(crate) fn object(rated: &[(&str, Rated)]) -> Map<String, Value> {
    let mut object = Map::new();
    rated.iter().for_each(|(name, rated)| put(&mut object, name, *rated));
    object
}
