//! What the API shows, as JSON in RabbitMQ's shapes. A file for each kind of object; nothing else in the crate decides
//! how an object looks.

pub(crate) mod administration;
pub(crate) mod binding;
pub(crate) mod connection;
pub(crate) mod exchange;
pub(crate) mod message;
pub(crate) mod overview;
pub(crate) mod queue;
pub(crate) mod rates;

use leveret_broker::Time;
use serde_json::Value;

/// A number of milliseconds since 1970.
pub(crate) fn milliseconds(at: Time) -> Value {
    (at.0 / 1000).into()
}
