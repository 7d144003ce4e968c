//! What came, held against what a case expects, and shown as a case file would write it.

use leveret_amqp::Value;

use super::client::Arrival;
use super::method::{Fields, Method};
use super::script::Content;
use super::value::{Names, Term, shown};

/// Flags that an expectation does not name are down; other fields that it does not name may be anything.
pub(super) fn fields_match(arrival: &Arrival, expected: &[(String, Term)], names: &mut Names) -> bool {
    arrival.fields.iter().all(|(name, value)| {
        match (expected.iter().find(|(field, _)| field == name), value) {
            (Some((_, term)), value) => term.matches(value, false, names),
            (None, Value::Bool(up)) => !up,
            (None, _) => true,
        }
    })
}

pub(super) fn content_matches(arrival: &Arrival, expected: &Content, names: &mut Names) -> bool {
    let Some((properties, body)) = &arrival.content else { return false };
    let body_matches = expected.body.matches(&Value::Text(body.clone()), false, names);
    let none_missing = expected.properties.iter().all(|(name, term)| {
        let found = properties.iter().find(|(property, _)| property == name);
        found.is_some_and(|(_, value)| term.matches(value, false, names))
    });
    let none_more = expected.more
        || properties
            .iter()
            .all(|(name, _)| expected.properties.iter().any(|(property, _)| property == name));
    body_matches && none_missing && none_more
}

pub(super) fn shown_arrival(arrival: &Arrival, names: &Names) -> String {
    let mut line = shown_method(arrival.method, &arrival.fields, names);
    if let Some((properties, body)) = &arrival.content {
        line += &shown_message(properties.iter().map(|(name, value)| (*name, value)), body, names);
    }
    line
}

pub(super) fn shown_method(method: &Method, fields: &Fields, names: &Names) -> String {
    let fields: Vec<_> = fields
        .iter()
        .filter(|(_, value)| *value != Value::Bool(false))
        .map(|(name, value)| match value {
            Value::Bool(true) => format!(" {name}"),
            value => format!(" {name}={}", shown(value, false, names)),
        })
        .collect();
    format!("{}{}", method.name, fields.concat())
}

pub(super) fn shown_message<'v>(
    properties: impl Iterator<Item = (&'v str, &'v Value)>,
    body: &[u8],
    names: &Names,
) -> String {
    let properties: Vec<_> =
        properties.map(|(name, value)| format!(" {name}={}", shown(value, false, names))).collect();
    let body = shown(&Value::Text(body.to_vec()), false, names);
    format!(" : {body}{}", properties.concat())
}
