//! Messages: payload, properties, and field tables in both directions.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use leveret_broker::{FieldTable, Properties, Table, TableValue as AmqpValue, split_route};
use serde_json::{Map, Number, Value, json};

use crate::body::{Body, wrong};
use crate::error::Refusal;

/// Levels that a table may be nested.
const DEEPEST: u32 = 32;

/// A field table as an object.
pub(crate) fn table(table: &FieldTable) -> Value {
    Value::Object(table.0.iter().map(|(name, value)| (name.clone(), field(value))).collect())
}

fn field(value: &AmqpValue) -> Value {
    let float = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
    match value {
        AmqpValue::Void => Value::Null,
        AmqpValue::Bool(value) => Value::Bool(*value),
        AmqpValue::Text(text) | AmqpValue::Binary(text) => {
            Value::String(String::from_utf8_lossy(text).into_owned())
        }
        AmqpValue::F32(number) => float((*number).into()),
        AmqpValue::F64(number) => float(*number),
        AmqpValue::U64(number) | AmqpValue::Timestamp(number) => (*number).into(),
        AmqpValue::Decimal(scale, number) => float(f64::from(*number) / 10_f64.powi(i32::from(*scale))),
        AmqpValue::Array(values) => Value::Array(values.iter().map(field).collect()),
        AmqpValue::Table(nested) => table(nested),
        other => other.as_i64().map_or(Value::Null, Value::from),
    }
}

/// An object as a field table; `name` is what a refusal calls it.
pub(crate) fn to_table(name: &str, object: &Map<String, Value>) -> Result<FieldTable, Refusal> {
    to_table_within(name, object, DEEPEST)
}

fn to_table_within(name: &str, object: &Map<String, Value>, deepest: u32) -> Result<FieldTable, Refusal> {
    let pairs = object.iter().map(|(key, value)| {
        if key.len() > 255 {
            return Err(Refusal::bad(format!("{name}: a name is longer than 255 bytes")));
        }
        Ok((key.clone(), to_field(&format!("{name}.{key}"), value, deepest)?))
    });
    Ok(FieldTable(pairs.collect::<Result<_, Refusal>>()?))
}

fn to_field(name: &str, value: &Value, deepest: u32) -> Result<AmqpValue, Refusal> {
    let deeper = deepest.checked_sub(1).ok_or_else(|| Refusal::bad(format!("{name}: nested too deeply")))?;
    Ok(match value {
        Value::Null => AmqpValue::Void,
        Value::Bool(value) => AmqpValue::Bool(*value),
        Value::String(text) => AmqpValue::Text(text.clone().into_bytes()),
        Value::Array(items) => {
            AmqpValue::Array(items.iter().map(|item| to_field(name, item, deeper)).collect::<Result<_, _>>()?)
        }
        Value::Object(object) => AmqpValue::Table(to_table_within(name, object, deeper)?),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => AmqpValue::I64(number),
            (None, Some(float)) if number.is_f64() => AmqpValue::F64(float),
            _ => return Err(wrong(name, "a smaller number", value)),
        },
    })
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
