//! The queues of a migration, and how much is in them by what AMQP says: the management's figures lag behind.

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::Value;

use super::side::Side;
use crate::failure::Failure;
use crate::http_api::encoded;

/// The queues of a virtual host whose messages can be moved: not those that belong to a connection, and no streams, which
/// cannot be emptied.
pub(super) fn movable(side: &Side, vhost: &str) -> Result<Vec<String>, Failure> {
    let path = format!("/queues/{}?columns=name,exclusive,type,arguments", encoded(vhost));
    let queues = side.management.get(&path)?;
    Ok(queues.as_array().into_iter().flatten().filter_map(name_if_movable).collect())
}

fn name_if_movable(queue: &Value) -> Option<String> {
    let is_stream = queue["type"] == "stream" || queue["arguments"]["x-queue-type"] == "stream";
    let is_exclusive = queue["exclusive"] == true;
    (!is_stream && !is_exclusive).then(|| queue["name"].as_str().map(str::to_owned)).flatten()
}

/// Messages that are ready, now.
pub(super) async fn ready(channel: &Channel, queue: &str) -> lapin::Result<u32> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    Ok(channel.queue_declare(queue.into(), passive, FieldTable::default()).await?.message_count())
}
