//! Messages: payload, properties, and field tables in both directions.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use leveret_broker::{FieldTable, Properties, Table, split_route, table_from_json, table_to_json};
use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::error::Refusal;

/// A field table as an object.
pub(crate) fn table(table: &FieldTable) -> Value {
    Value::Object(table_to_json(table))
}

/// An object as a field table; `name` is what a refusal calls it.
pub(crate) fn to_table(name: &str, object: &Map<String, Value>) -> Result<FieldTable, Refusal> {
    table_from_json(object).map_err(|error| Refusal::bad(format!("{name}: {}", error.text)))
}

/// Properties as an object.
pub(crate) fn properties(encoded: &[u8]) -> Value {
    let properties = Properties::parse(encoded).unwrap_or_default();
    let mut object = Map::new();
    let texts = [
        ("content_type", properties.content_type),
        ("content_encoding", properties.content_encoding),
        ("correlation_id", properties.correlation_id),
        ("reply_to", properties.reply_to),
        ("expiration", properties.expiration),
        ("message_id", properties.message_id),
        ("type", properties.kind),
        ("user_id", properties.user_id),
        ("app_id", properties.app_id),
        ("cluster_id", properties.cluster_id),
    ];
    for (name, text) in texts {
        object.extend(text.map(|text| (name.to_owned(), text.into())));
    }
    object.extend(properties.delivery_mode.map(|mode| ("delivery_mode".into(), mode.into())));
    object.extend(properties.priority.map(|priority| ("priority".into(), priority.into())));
    object.extend(properties.timestamp.map(|timestamp| ("timestamp".into(), timestamp.into())));
    object.extend(properties.headers.map(|headers| ("headers".into(), table(&headers.to_owned()))));
    Value::Object(object)
}

/// An object as properties, encoded.
pub(crate) fn to_properties(object: Map<String, Value>) -> Result<Vec<u8>, Refusal> {
    let object = Body(object);
    let small = |name: &str| match object.number(name)? {
        None => Ok(None),
        Some(number) => u8::try_from(number)
            .map(Some)
            .map_err(|_| Refusal::bad(format!("{name}: expected 0 to 255, found {number}"))),
    };
    let short = |name: &str| match object.text(name)? {
        Some(text) if text.len() > 255 => Err(Refusal::bad(format!("{name}: longer than 255 bytes"))),
        text => Ok(text),
    };
    let expiration = match object.value("expiration") {
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => short("expiration")?.map(Into::into),
    };
    let timestamp = match object.number("timestamp")? {
        None => None,
        Some(number) => {
            Some(u64::try_from(number).map_err(|_| Refusal::bad("timestamp: expected 0 or more"))?)
        }
    };
    let headers = match object.value("headers") {
        None => None,
        Some(_) => Some(to_table("headers", &object.object("headers")?)?.encode()),
    };
    let headers = match &headers {
        None => None,
        Some(encoded) => {
            Some(Table::parse(encoded).map_err(|error| Refusal::bad(format!("headers: {error}")))?)
        }
    };
    Ok(Properties {
        content_type: short("content_type")?,
        content_encoding: short("content_encoding")?,
        headers,
        delivery_mode: small("delivery_mode")?,
        priority: small("priority")?,
        correlation_id: short("correlation_id")?,
        reply_to: short("reply_to")?,
        expiration: expiration.as_deref(),
        message_id: short("message_id")?,
        timestamp,
        kind: short("type")?,
        user_id: short("user_id")?,
        app_id: short("app_id")?,
        cluster_id: short("cluster_id")?,
    }
    .encode())
}

/// How payloads are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As text where it is UTF-8, else in base64.
    Auto,
    /// In base64.
    Base64,
}

/// A message: where it was published, properties and payload, of that at most `truncate` bytes.
pub(crate) fn message(
    (route, encoded_properties, body): (&[u8], &[u8], &[u8]),
    encoding: Encoding,
    truncate: Option<usize>,
) -> Map<String, Value> {
    let (exchange, routing_key) = split_route(route);
    let shown = &body[..body.len().min(truncate.unwrap_or(usize::MAX))];
    let (payload, payload_encoding) = match std::str::from_utf8(shown) {
        Ok(text) if encoding == Encoding::Auto => (text.to_owned(), "string"),
        _ => (BASE64_STANDARD.encode(shown), "base64"),
    };
    let object = json!({
        "exchange": exchange,
        "routing_key": routing_key,
        "properties": properties(encoded_properties),
        "payload": payload,
        "payload_bytes": body.len(),
        "payload_encoding": payload_encoding,
    });
    if let Value::Object(object) = object { object } else { Map::new() }
}

/// The payload that a request gives.
pub(crate) fn to_payload(body: &Body) -> Result<Vec<u8>, Refusal> {
    let payload = body.required_text("payload")?;
    match body.required_text("payload_encoding")? {
        "string" => Ok(payload.as_bytes().to_vec()),
        "base64" => BASE64_STANDARD
            .decode(payload)
            .map_err(|error| Refusal::bad(format!("payload: not base64: {error}"))),
        other => Err(Refusal::bad(format!("payload_encoding: expected string or base64, found {other}"))),
    }
}
