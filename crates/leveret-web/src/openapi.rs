//! The document that describes a system's API: what the system says of its own routes, with those that all have.

use serde_json::{Map, Value, json};

/// The whole document for a system whose own part is `own`: its `info` and its `paths`.
///
/// # Panics
/// The part is no JSON object, which is part of the program and is tested.
pub(crate) fn document(own: &str) -> String {
    let own: Map<String, Value> = serde_json::from_str(own).expect("the system's part is JSON");
    let mut whole: Value =
        serde_json::from_str(include_str!("openapi.json")).expect("the shared part is JSON");
    whole["openapi"] = json!("3.1.0");
    for (name, value) in own {
        match (&mut whole[name.as_str()], value) {
            (Value::Object(present), Value::Object(new)) => present.extend(new),
            (present, value) => *present = value,
        }
    }
    whole.to_string()
}
