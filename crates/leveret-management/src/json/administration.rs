//! Users, permissions, policies, parameters and limits. The core writes most of them as RabbitMQ does; here is what it does
//! not.

use std::sync::Arc;

use leveret_broker::Policy;
use serde::Serialize;
use serde_json::Value;

use crate::list::Fields;

/// All fields of something that serialises to an object.
pub(crate) fn put(item: &impl Serialize, fields: &mut Fields<'_>) {
    if let Ok(Value::Object(object)) = serde_json::to_value(item) {
        fields.put_all(object);
    }
}

/// A policy of that virtual host.
pub(crate) fn put_policy(vhost: &str, policy: &Arc<Policy>, fields: &mut Fields<'_>) {
    fields.put("vhost", || vhost);
    fields.put("name", || policy.name.as_str());
    if let Value::Object(object) = policy.to_json() {
        fields.put_all(object);
    }
}

/// The limits of a virtual host or a user, whichever `of` says.
pub(crate) fn put_limits((of, name): (&str, &str), limits: &impl Serialize, fields: &mut Fields<'_>) {
    fields.put(of, || name);
    fields.put("value", || serde_json::to_value(limits).unwrap_or_default());
}

/// Limits as the core reads them, with one of them set to another value, or cleared.
pub(crate) fn edited(limits: &impl Serialize, name: &str, value: Option<Value>) -> Value {
    let mut object = serde_json::to_value(limits).unwrap_or_default();
    if let Value::Object(fields) = &mut object {
        fields.remove(name);
        fields.extend(value.map(|value| (name.to_owned(), value)));
    }
    object
}
