//! The queues of a migration, and how much is in them by what AMQP says: the management's figures lag behind.

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::Value;

use super::side::Side;
use crate::failure::Failure;
use crate::http_api::encoded;

/// A queue whose messages can be moved.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Movable {
    pub(super) name: String,
    /// Whether it goes with its last consumer, so that nobody must consume from it who wants it to stay.
    pub(super) goes_with_consumers: bool,
}

/// The queues of a virtual host whose messages can be moved: not those that belong to a connection, those that the broker
/// has named, which nobody can declare at the target, and no streams, which cannot be emptied.
pub(super) fn movable(side: &Side, vhost: &str) -> Result<Vec<Movable>, Failure> {
    let path = format!("/queues/{}?columns=name,exclusive,auto_delete,type,arguments", encoded(vhost));
    let queues = side.management.get(&path)?;
    Ok(queues.as_array().into_iter().flatten().filter_map(if_movable).collect())
}

fn if_movable(queue: &Value) -> Option<Movable> {
    let name = queue["name"].as_str()?;
    let is_stream = queue["type"] == "stream" || queue["arguments"]["x-queue-type"] == "stream";
    if is_stream || queue["exclusive"] == true || is_named_by_broker(name) {
        return None;
    }
    Some(Movable { name: name.into(), goes_with_consumers: queue["auto_delete"] == true })
}

/// Whether the name is one that clients cannot give.
pub(super) fn is_named_by_broker(name: &str) -> bool {
    name.starts_with("amq.")
}

/// Messages that are ready, now.
pub(super) async fn ready(channel: &Channel, queue: &str) -> lapin::Result<u32> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    Ok(channel.queue_declare(queue.into(), passive, FieldTable::default()).await?.message_count())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_queues_that_can_be_there_too_are_moved() {
        let of = |queue| if_movable(&queue).map(|queue| queue.goes_with_consumers);
        assert_eq!(of(json!({"name": "q", "exclusive": false, "auto_delete": false})), Some(false));
        assert_eq!(of(json!({"name": "q", "auto_delete": true, "type": "classic"})), Some(true));
        assert_eq!(of(json!({"name": "q", "exclusive": true})), None);
        assert_eq!(of(json!({"name": "q", "type": "stream"})), None);
        assert_eq!(of(json!({"name": "amq.gen-x"})), None);
    }
}
