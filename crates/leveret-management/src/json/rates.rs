//! Counters with their rates: `publish` and `publish_details`.

use serde_json::{Map, Value, json};

use crate::statistics::Rated;

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

/// Values and how fast they change, as an object.
pub(crate) fn object(rated: &[(&str, Rated)]) -> Map<String, Value> {
    let mut object = Map::new();
    rated.iter().for_each(|(name, rated)| put(&mut object, name, *rated));
    object
}
