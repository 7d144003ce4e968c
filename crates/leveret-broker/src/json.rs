//! Field tables as JSON, the way RabbitMQ's definitions and HTTP API show them; and reading JSON so
//! that what is wrong in it has a name.

use leveret_amqp::{FieldTable, Value};
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value as Json};

use crate::Error;

/// Levels that a value may be nested.
const DEEPEST: u32 = 64;

/// A value of that kind, or where in the JSON there is something wrong, and what.
pub(crate) fn parsed<T: DeserializeOwned>(json: Json) -> Result<T, String> {
    serde_path_to_error::deserialize(json).map_err(|error| match error.path().iter().next() {
        None => error.inner().to_string(),
        Some(_) => error.to_string(),
    })
}

/// The table as a JSON object.
#[must_use]
pub fn table_to_json(table: &FieldTable) -> Map<String, Json> {
    table.0.iter().map(|(name, value)| (name.clone(), value_to_json(value))).collect()
}

/// The value as JSON. Text that is no UTF-8 loses what is none.
#[must_use]
pub fn value_to_json(value: &Value) -> Json {
    match value {
        Value::Void => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Text(text) => Json::String(String::from_utf8_lossy(text).into_owned()),
        Value::Binary(bytes) => Json::String(String::from_utf8_lossy(bytes).into_owned()),
        Value::F32(number) => float(f64::from(*number)),
        Value::F64(number) => float(*number),
        Value::U64(number) | Value::Timestamp(number) => Json::from(*number),
        Value::Decimal(scale, number) => float(f64::from(*number) / 10_f64.powi(i32::from(*scale))),
        Value::Array(values) => Json::Array(values.iter().map(value_to_json).collect()),
        Value::Table(table) => Json::Object(table_to_json(table)),
        other => other.as_i64().map_or(Json::Null, Json::from),
    }
}

fn float(number: f64) -> Json {
    Number::from_f64(number).map_or(Json::Null, Json::Number)
}

/// The object as a field table.
///
/// # Errors
/// `PreconditionFailed` for a number that no field can hold, and for nesting without end.
pub fn table_from_json(object: &Map<String, Json>) -> Result<FieldTable, Error> {
    table(object, DEEPEST)
}

fn table(object: &Map<String, Json>, deepest: u32) -> Result<FieldTable, Error> {
    let fields = object.iter().map(|(name, json)| {
        if name.len() > 255 {
            return Err(Error::precondition("the name of an argument is longer than 255 bytes"));
        }
        Ok((name.clone(), value(json, deepest)?))
    });
    Ok(FieldTable(fields.collect::<Result<_, Error>>()?))
}

fn value(json: &Json, deepest: u32) -> Result<Value, Error> {
    let deeper =
        deepest.checked_sub(1).ok_or_else(|| Error::precondition("arguments are nested too deeply"))?;
    Ok(match json {
        Json::Null => Value::Void,
        Json::Bool(value) => Value::Bool(*value),
        Json::String(text) => Value::Text(text.clone().into_bytes()),
        Json::Array(values) => {
            Value::Array(values.iter().map(|it| value(it, deeper)).collect::<Result<_, Error>>()?)
        }
        Json::Object(object) => Value::Table(table(object, deeper)?),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::I64(number),
            (None, Some(float)) if number.is_f64() => Value::F64(float),
            _ => return Err(Error::precondition(format!("{number} is too large"))),
        },
    })
}
