//! Definitions from one management to the other, without what the target does not know or must not be told.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::queues::is_named_by_broker;
use super::side::Side;
use crate::failure::Failure;
use crate::http_api::encoded;

/// Copies definitions; returns what was left out or changed.
pub(super) fn copy(from: &Side, to: &Side) -> Result<Vec<String>, Failure> {
    let path = match &from.only_vhost {
        None => "/definitions".to_owned(),
        Some(vhost) => {
            to.management.put(&format!("/vhosts/{}", encoded(vhost)), &json!({}))?;
            format!("/definitions/{}", encoded(vhost))
        }
    };
    let mut definitions = from.management.get(&path)?;
    let notes = suit(&mut definitions, &to.overview()?, to.user());
    to.management.post(&path, &definitions)?;
    let mut notes: Vec<_> = notes.into_iter().collect();
    for vhost in from.vhosts()? {
        if to.enter(&vhost)? {
            notes.push(format!("{} may use virtual host {vhost} of the target from now on", to.user()));
        }
    }
    Ok(notes)
}

/// Makes definitions fit the broker that this is the overview of.
fn suit(definitions: &mut Value, overview: &Value, user: &str) -> BTreeSet<String> {
    let mut notes = BTreeSet::new();
    let is_leveret = overview["product_name"] == "Leveret";
    let types: Vec<&str> = overview["exchange_types"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["name"].as_str())
        .collect();
    let mut gone = Vec::new();
    retain(definitions, "exchanges", |exchange| {
        let kind = exchange["type"].as_str().unwrap_or_default();
        let is_known = types.contains(&kind);
        if !is_known {
            notes.insert(format!(
                "exchange {} is left out: the target knows no type {kind}",
                exchange["name"]
            ));
            gone.push((exchange["vhost"].clone(), exchange["name"].clone()));
        }
        is_known
    });
    retain(definitions, "queues", |queue| {
        let is_stream = queue["arguments"]["x-queue-type"] == "stream" && is_leveret;
        let reason = if is_stream {
            "Leveret has no streams"
        } else if queue["name"].as_str().is_some_and(is_named_by_broker) {
            "its broker has named it, and the target gives such names itself"
        } else {
            return true;
        };
        notes.insert(format!("queue {} is left out: {reason}", queue["name"]));
        gone.push((queue["vhost"].clone(), queue["name"].clone()));
        false
    });
    retain(definitions, "bindings", |binding| {
        let ends = [&binding["source"], &binding["destination"]];
        !gone.iter().any(|(vhost, name)| binding["vhost"] == *vhost && ends.contains(&name))
    });
    // Whoever migrates must not be locked out half-way.
    retain(definitions, "users", |one| one["name"] != user);
    retain(definitions, "permissions", |one| one["user"] != user);
    for one in definitions["users"].as_array_mut().into_iter().flatten() {
        if !is_leveret && one["hashing_algorithm"] == "argon2id" {
            notes.insert(format!(
                "user {} needs a new password: RabbitMQ cannot read Leveret's hashes",
                one["name"]
            ));
            one["password_hash"] = json!("");
            one["hashing_algorithm"] = json!("rabbit_password_hashing_sha256");
        }
    }
    notes
}

fn retain(definitions: &mut Value, kind: &str, keep: impl FnMut(&Value) -> bool) {
    if let Some(items) = definitions[kind].as_array_mut() {
        items.retain(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_target_does_not_know_is_left_out_with_its_bindings() {
        let mut definitions = json!({
            "users": [{"name": "me"}, {"name": "ann", "password_hash": "$argon2id$", "hashing_algorithm": "argon2id"}],
            "exchanges": [{"name": "x", "vhost": "/", "type": "direct"}, {"name": "later", "vhost": "/", "type": "x-delayed-message"}],
            "queues": [{"name": "q", "vhost": "/"}, {"name": "amq.gen-1", "vhost": "/"}],
            "bindings": [
                {"source": "x", "destination": "amq.gen-1", "vhost": "/"},
                {"source": "later", "destination": "q", "vhost": "/"},
                {"source": "x", "destination": "q", "vhost": "/"},
                {"source": "later", "destination": "q", "vhost": "other"},
            ],
        });
        let rabbitmq = json!({"product_name": "RabbitMQ", "exchange_types": [{"name": "direct"}]});
        let notes = suit(&mut definitions, &rabbitmq, "me");
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert_eq!(definitions["queues"], json!([{"name": "q", "vhost": "/"}]));
        assert_eq!(definitions["exchanges"].as_array().map(Vec::len), Some(1));
        assert_eq!(definitions["bindings"].as_array().map(Vec::len), Some(2));
        assert_eq!(
            definitions["users"],
            json!([{"name": "ann", "password_hash": "", "hashing_algorithm": "rabbit_password_hashing_sha256"}])
        );
    }
}
