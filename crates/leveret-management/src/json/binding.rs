//! Bindings, and the key that names one in a path.

use std::hash::{Hash, Hasher};

use leveret_broker::KeptBinding;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustc_hash::FxHasher;

use super::message::table;
use crate::list::Fields;

/// What RabbitMQ leaves as it is in a properties key.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A binding of that virtual host.
pub(crate) fn put(vhost: &str, binding: &KeptBinding, fields: &mut Fields<'_>) {
    fields.put("source", || &*binding.source);
    fields.put("vhost", || vhost);
    fields.put("destination", || &*binding.destination);
    fields.put("destination_type", || if binding.to_queue { "queue" } else { "exchange" });
    fields.put("routing_key", || &*binding.key);
    fields.put("arguments", || table(&binding.arguments));
    fields.put("properties_key", || properties_key(binding));
}

/// Names a binding among those with the same ends: its routing key, and where it has arguments a hash of them.
pub(crate) fn properties_key(binding: &KeptBinding) -> String {
    let key = utf8_percent_encode(&binding.key, ENCODED).to_string();
    if binding.arguments.0.is_empty() {
        return if key.is_empty() { "~".into() } else { key };
    }
    let mut hasher = FxHasher::default();
    binding.arguments.encode().hash(&mut hasher);
    format!("{key}~{:x}", hasher.finish())
}
