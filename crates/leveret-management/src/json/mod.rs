//! What the API shows, as JSON in RabbitMQ's shapes. A file for each kind of object; nothing else in the crate decides
//! how an object looks.

pub(crate) mod administration;
pub(crate) mod binding;
pub(crate) mod connection;
pub(crate) mod delayed;
pub(crate) mod exchange;
pub(crate) mod message;
pub(crate) mod overview;
pub(crate) mod queue;
pub(crate) mod rates;
pub(crate) mod vhost;

use leveret_broker::Time;
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

/// A moment as `2026-01-31T12:00:00.000+00:00`.
pub(crate) fn timestamp(at: Time) -> Value {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+00:00");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1000)
        .ok()
        .and_then(|at| at.format(format).ok())
        .map_or(Value::Null, Value::String)
}

/// A number of milliseconds since 1970.
pub(crate) fn milliseconds(at: Time) -> Value {
    (at.0 / 1000).into()
}
