//! Queues.

use std::sync::Arc;

use leveret_broker::{Applied, Policy, Queue, QueueRules, TableValue, Vhost};
use serde_json::{Map, Value};

use super::message::table;
use super::rates;
use crate::App;
use crate::list::Fields;
use crate::statistics::{QueueSample, Rated};

/// A queue, and what is to be told of it.
pub(crate) struct Listed {
    pub(crate) vhost: Arc<Vhost>,
    pub(crate) queue: Arc<Queue>,
}

/// How much is told of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What it is declared with.
    Declared,
    /// And how many messages it has.
    Totals,
    /// And everything else.
    Full,
}

const MESSAGE_FIELDS: [&str; 6] = [
    "messages",
    "messages_details",
    "messages_ready",
    "messages_ready_details",
    "messages_unacknowledged",
    "messages_unacknowledged_details",
];

pub(crate) fn put(app: &App, node: &str, listed: &Listed, detail: Detail, fields: &mut Fields<'_>) {
    let Listed { vhost, queue } = listed;
    let options = &queue.options;
    fields.put("name", || &*queue.name);
    fields.put("vhost", || &*vhost.name);
    fields.put("node", || node);
    fields.put("type", || kind(queue));
    fields.put("durable", || options.durable);
    fields.put("auto_delete", || options.auto_delete);
    fields.put("exclusive", || options.exclusive.is_some());
    fields.put("arguments", || table(&options.arguments));
    if detail == Detail::Declared {
        return;
    }
    fields.put("state", || "running");
    if fields.want(&MESSAGE_FIELDS) {
        fields.put_all(messages(app, listed, detail));
    }
    if detail == Detail::Full {
        put_details(app, listed, fields);
    }
}

fn put_details(app: &App, Listed { vhost, queue }: &Listed, fields: &mut Fields<'_>) {
    fields.put("consumers", || queue.consumer_count());
    fields.put("exclusive_consumer_tag", || Value::Null);
    fields.put("single_active_consumer_tag", || Value::Null);
    if fields.want(&["policy", "operator_policy", "effective_policy_definition"]) {
        fields.put_all(policies(&queue.applied(), &queue.rules()));
    }
    let sampled = app.statistics.queue(&vhost.name, &queue.name);
    if let Some((now, before, seconds)) = sampled
        && now.delivered > 0
    {
        fields.put("message_stats", || {
            Value::Object(rates::object(&[(
                "deliver_get",
                Rated::counter(now.delivered, before.delivered, seconds),
            )]))
        });
    }
}

/// The policies in force, and what they come to.
fn policies(applied: &Applied, rules: &QueueRules) -> Map<String, Value> {
    let name =
        |policy: &Option<Arc<Policy>>| policy.as_ref().map_or(Value::Null, |it| it.name.as_str().into());
    let mut effective = Map::new();
    for policy in [&applied.policy, &applied.operator].into_iter().flatten() {
        effective.extend(policy.definition.clone());
    }
    // Where both speak, the lower limit counts.
    for (key, limit) in [
        ("message-ttl", rules.message_ttl_ms),
        ("expires", rules.expires_ms),
        ("max-length", rules.max_length),
        ("max-length-bytes", rules.max_length_bytes),
    ] {
        if let (Some(value), Some(limit)) = (effective.get_mut(key), limit) {
            *value = limit.into();
        }
    }
    Map::from_iter([
        ("policy".to_owned(), name(&applied.policy)),
        ("operator_policy".to_owned(), name(&applied.operator)),
        ("effective_policy_definition".to_owned(), Value::Object(effective)),
    ])
}

fn messages(app: &App, Listed { vhost, queue }: &Listed, detail: Detail) -> Map<String, Value> {
    let now = QueueSample::take(queue, app.node.now());
    let mut object = Map::new();
    let total = now.ready + now.unacked;
    if detail == Detail::Totals {
        object.insert("messages".into(), total.into());
        object.insert("messages_ready".into(), now.ready.into());
        object.insert("messages_unacknowledged".into(), now.unacked.into());
        return object;
    }
    let sampled = app.statistics.queue(&vhost.name, &queue.name);
    let (last, before, seconds) = sampled.unwrap_or((now, now, 0.0));
    let rated = |value: u64, last: u64, before: u64| Rated {
        value: value.cast_signed(),
        ..Rated::gauge(last, before, seconds)
    };
    let last_total = (last.ready + last.unacked, before.ready + before.unacked);
    rates::put(&mut object, "messages", rated(total, last_total.0, last_total.1));
    rates::put(&mut object, "messages_ready", rated(now.ready, last.ready, before.ready));
    rates::put(&mut object, "messages_unacknowledged", rated(now.unacked, last.unacked, before.unacked));
    object
}

/// Its type as declared.
pub(crate) fn kind(queue: &Queue) -> String {
    match queue.options.arguments.find("x-queue-type") {
        Some(TableValue::Text(kind)) => String::from_utf8_lossy(kind).into_owned(),
        _ => "classic".into(),
    }
}
