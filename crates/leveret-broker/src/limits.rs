//! Limits of users and virtual hosts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;

/// What a user may have at once. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct UserLimits {
    /// Connections.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "limit")]
    pub max_connections: Option<u64>,
    /// Channels on all of them.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "limit")]
    pub max_channels: Option<u64>,
}

/// What a virtual host may have at once. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct VhostLimits {
    /// Connections.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "limit")]
    pub max_connections: Option<u64>,
    /// Queues.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "limit")]
    pub max_queues: Option<u64>,
}

/// As in RabbitMQ a negative number is no limit.
fn limit<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(u64::try_from(i64::deserialize(deserializer)?).ok())
}

fn checked(value: &Value, known: &[&str]) -> Result<(), Error> {
    let limits: &Map<String, Value> =
        value.as_object().ok_or_else(|| Error::precondition("limits: expected an object"))?;
    for (name, limit) in limits {
        if !known.contains(&name.as_str()) {
            return Err(Error::precondition(format!("limit '{name}' is none of {}", known.join(", "))));
        }
        if !limit.is_i64() && !limit.is_u64() {
            return Err(Error::precondition(format!("limit '{name}': expected an integer")));
        }
    }
    Ok(())
}

impl UserLimits {
    /// From RabbitMQ's shape, `{"max-connections": 10}`.
    ///
    /// # Errors
    /// `PreconditionFailed`, naming the limit that is unknown or no integer.
    pub fn from_json(value: &Value) -> Result<Self, Error> {
        checked(value, &["max-connections", "max-channels"])?;
        serde_json::from_value(value.clone()).map_err(|error| Error::precondition(error.to_string()))
    }
}

impl VhostLimits {
    /// From RabbitMQ's shape, `{"max-queues": 10}`.
    ///
    /// # Errors
    /// `PreconditionFailed`, naming the limit that is unknown or no integer.
    pub fn from_json(value: &Value) -> Result<Self, Error> {
        checked(value, &["max-connections", "max-queues"])?;
        serde_json::from_value(value.clone()).map_err(|error| Error::precondition(error.to_string()))
    }
}
