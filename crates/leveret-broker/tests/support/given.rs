//! Definitions as somebody gives them.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

use leveret_broker::{Broker, Definitions, Effects, Users};
use serde_json::{Value, json};

/// What is right, with something of everything.
pub fn definitions() -> Value {
    json!({
        "rabbit_version": "3.13.7",
        "users": [{"name": "u", "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ["management"], "limits": {"max-channels": 3}}],
        "vhosts": [{"name": "/", "metadata": {"description": "", "tags": [], "default_queue_type": "quorum"}}],
        "permissions": [{"user": "u", "vhost": "/", "configure": ".*", "write": "^a", "read": ""}],
        "topic_permissions": [{"user": "u", "vhost": "/", "exchange": "x", "write": "{username}.*", "read": "a|b"}],
        "parameters": [{"vhost": "/", "component": "vhost-limits", "name": "limits", "value": {"max-queues": 100}}],
        "global_parameters": [{"name": "cluster_name", "value": "c"}],
        "policies": [{"vhost": "/", "name": "p", "pattern": "^q", "apply-to": "queues", "priority": 1, "definition": {"max-length": 5, "overflow": "reject-publish"}}],
        "queues": [{"name": "q", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {"x-message-ttl": 5, "x-queue-type": "classic"}}],
        "exchanges": [{"name": "x", "vhost": "/", "type": "x-delayed-message", "durable": true, "auto_delete": false, "internal": false, "arguments": {"x-delayed-type": "headers", "alternate-exchange": "amq.fanout"}}],
        "bindings": [{"source": "x", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "k", "arguments": {"x-match": "any", "a": [1, {"b": null}]}}],
    })
}

/// Whatever they say, they are taken or refused; what was taken can be given back and taken again.
pub fn check(json: Value) {
    let _ = Definitions::from_vhost_json(json.clone(), "/");
    let broker = Broker::new(Users::new(vec![]));
    if let Ok(definitions) = Definitions::from_json(json)
        && broker.import(&definitions, &mut Effects::default()).is_ok()
    {
        let exported = broker.definitions().to_json();
        let again = Definitions::from_json(exported.clone()).unwrap();
        broker.import(&again, &mut Effects::default()).unwrap();
        assert_eq!(broker.definitions().to_json(), exported);
    }
}

/// Puts another value in the place that so many steps lead to, each the number of what is next.
pub fn replace(json: &mut Value, steps: &[usize], other: Value) {
    let step = |len: usize| steps.first().filter(|_| len > 0).map(|step| step % len);
    let next = match json {
        Value::Array(items) => step(items.len()).and_then(|at| items.get_mut(at)),
        Value::Object(fields) => step(fields.len()).and_then(|at| fields.values_mut().nth(at)),
        _ => None,
    };
    match next {
        Some(next) => replace(next, &steps[1..], other),
        None => *json = other,
    }
}
