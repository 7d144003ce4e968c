//! Queues.

use std::cell::OnceCell;
use std::sync::Arc;

use leveret_broker::{
    Applied, ConsumerKey, Policy, Queue, QueueCounts, QueueRules, QueueStats, TableValue, Vhost,
};
use rustc_hash::FxHashMap;
use serde_json::{Map, Value};

use super::message::table;
use super::rates;
use crate::App;
use crate::list::{Columns, Fields, at};
use crate::ranges::Ranges;
use crate::statistics::{QueueSample, Rated, Share};

/// A queue, and what is to be told of it.
pub(crate) struct Listed {
    pub(crate) vhost: Arc<Vhost>,
    pub(crate) queue: Arc<Queue>,
}

/// What tells busy queues from others, in a column.
#[derive(Clone, Copy)]
pub(crate) enum Busyness {
    /// What it adds to the totals; nothing at rest.
    Share(fn(&Share) -> u64),
    /// How much changes in it; nothing at rest.
    Rate,
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

/// Queues as one request shows them.
pub(crate) struct Shown {
    app: App,
    detail: Detail,
    ranges: Ranges,
    /// The tags of all consumers, which their channels know: looked up once, and only where a queue shows one.
    tags: OnceCell<Tags>,
}

/// Tags by the address of the queue and what the consumer is to it.
type Tags = FxHashMap<(usize, ConsumerKey), Arc<str>>;

impl Shown {
    pub(crate) fn new(app: &App, detail: Detail, ranges: Ranges) -> Self {
        Self { app: app.clone(), detail, ranges, tags: OnceCell::new() }
    }

    /// A queue.
    pub(crate) fn put(&self, listed: &Listed, fields: &mut Fields<'_>) {
        let Listed { vhost, queue } = listed;
        let (app, detail) = (&self.app, self.detail);
        let options = &queue.options;
        fields.put("name", || &*queue.name);
        fields.put("vhost", || &*vhost.name);
        fields.put("node", || app.node.name());
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
            fields.put_all(self.messages(listed));
        }
        if let Some(policy) = queue.applied().policy.filter(|_| detail == Detail::Totals) {
            fields.put("policy", || policy.name.as_str());
        }
        if detail == Detail::Full {
            put_details(self, listed, fields);
        }
    }

    /// What a queue is sorted by in a column.
    pub(crate) fn sort_value(&self, listed: &Listed, path: &str) -> Value {
        if path == "name" {
            return (&*listed.queue.name).into();
        }
        let object = Columns::one(path).object(|fields| self.put(listed, fields));
        at(&object, path).cloned().unwrap_or_default()
    }

    /// What of a queue a column shows that all queues but busy ones have the same in; `None` for other columns.
    pub(crate) fn busyness(&self, path: &str) -> Option<Busyness> {
        match path {
            "state" if self.detail != Detail::Declared => Some(Busyness::Share(|_| 0)),
            "messages" if self.detail != Detail::Declared => {
                Some(Busyness::Share(|share| share.ready + share.unacked))
            }
            "messages_ready" if self.detail != Detail::Declared => Some(Busyness::Share(|share| share.ready)),
            "messages_unacknowledged" if self.detail != Detail::Declared => {
                Some(Busyness::Share(|share| share.unacked))
            }
            "message_bytes" if self.detail == Detail::Full => Some(Busyness::Share(|share| share.bytes)),
            "consumers" if self.detail == Detail::Full => Some(Busyness::Share(|share| share.consumers)),
            _ if path.starts_with("message_stats.") && path.ends_with("_details.rate") => {
                (self.detail == Detail::Full).then_some(Busyness::Rate)
            }
            _ => None,
        }
    }

    /// How many messages it has.
    fn messages(&self, Listed { vhost, queue }: &Listed) -> Map<String, Value> {
        let (statistics, now) = (&self.app.statistics, QueueSample::of(&queue.stats(), self.app.node.now()));
        if self.detail == Detail::Totals {
            let plain = LENGTH_FIGURES.iter().map(|(name, of)| ((*name).to_owned(), of(&now).into()));
            return plain.collect();
        }
        let samples = statistics.queue(&vhost.name, &queue.name);
        let mut object = rated(LENGTH_FIGURES, Rated::gauge, &now, samples);
        if let Some(range) = self.ranges.lengths {
            let moments = statistics.past_of_queue(&vhost.name, &queue.name, range);
            rates::put_samples(&mut object, LENGTH_FIGURES, &moments);
        }
        object
    }

    /// What has happened to its messages.
    fn message_stats(&self, vhost: &Vhost, queue: &Queue, now: &QueueSample) -> Map<String, Value> {
        let statistics = &self.app.statistics;
        let samples = statistics.queue(&vhost.name, &queue.name);
        let mut object = rated(MESSAGE_FIGURES, Rated::counter, now, samples);
        if let Some(range) = self.ranges.messages {
            let moments = statistics.past_of_queue(&vhost.name, &queue.name, range);
            rates::put_samples(&mut object, MESSAGE_FIGURES, &moments);
        }
        object
    }

    /// The tag of a consumer.
    fn tag(&self, queue: &Arc<Queue>, key: ConsumerKey) -> Value {
        let tags = self.tags.get_or_init(|| tags(&self.app));
        tags.get(&(address(queue), key)).map_or(Value::Null, |tag| (&**tag).into())
    }
}

fn address(queue: &Arc<Queue>) -> usize {
    Arc::as_ptr(queue).addr()
}

fn tags(app: &App) -> Tags {
    let connections = app.node.broker().connections.list();
    let channels = connections.iter().flat_map(|connection| connection.channels());
    let consumers = channels.flat_map(|channel| channel.consumers());
    consumers.map(|it| ((address(&it.queue), it.key), it.tag)).collect()
}

fn put_details(shown: &Shown, Listed { vhost, queue }: &Listed, fields: &mut Fields<'_>) {
    if fields.want(&["policy", "operator_policy", "effective_policy_definition"]) {
        fields.put_all(policies(&queue.applied(), &queue.rules()));
    }
    if fields.want(&STATS_FIELDS) {
        put_stats(&queue.stats(), fields);
    }
    if fields.want(&["exclusive_consumer_tag", "single_active_consumer_tag"]) {
        let consumers = queue.consumers();
        let exclusive = consumers.iter().find(|consumer| consumer.exclusive);
        let single = consumers.iter().find(|it| it.active && queue.rules().single_active_consumer);
        fields.put("exclusive_consumer_tag", || exclusive.map_or(Value::Null, |it| shown.tag(queue, it.key)));
        fields
            .put("single_active_consumer_tag", || single.map_or(Value::Null, |it| shown.tag(queue, it.key)));
    }
    fields.put("consumer_capacity", || {
        let stats = queue.stats();
        // The part of its consumers that could take a message now.
        if stats.consumers == 0 { 0.0 } else { stats.consumers_with_room as f64 / stats.consumers as f64 }
    });
    if fields.want(&["message_stats"]) {
        let now = QueueSample::of(&queue.stats(), shown.app.node.now());
        if now.counts != QueueCounts::default() {
            fields.put("message_stats", || Value::Object(shown.message_stats(vhost, queue, &now)));
        }
    }
}

const STATS_FIELDS: [&str; 15] = [
    "consumers",
    "memory",
    "message_bytes",
    "message_bytes_ready",
    "message_bytes_unacknowledged",
    "message_bytes_persistent",
    "message_bytes_paged_out",
    "message_bytes_ram",
    "messages_persistent",
    "messages_paged_out",
    "messages_ram",
    "messages_ready_ram",
    "messages_unacknowledged_ram",
    "head_message_timestamp",
    "idle_since",
];

fn put_stats(stats: &QueueStats, fields: &mut Fields<'_>) {
    fields.put("consumers", || stats.consumers);
    fields.put("memory", || stats.memory_bytes);
    fields.put("message_bytes", || stats.ready_bytes + stats.unacked_bytes);
    fields.put("message_bytes_ready", || stats.ready_bytes);
    fields.put("message_bytes_unacknowledged", || stats.unacked_bytes);
    fields.put("message_bytes_persistent", || stats.persistent_bytes);
    fields.put("message_bytes_paged_out", || stats.paged_out_bytes);
    fields.put("message_bytes_ram", || {
        (stats.ready_bytes + stats.unacked_bytes).saturating_sub(stats.paged_out_bytes)
    });
    fields.put("messages_persistent", || stats.persistent);
    fields.put("messages_paged_out", || stats.paged_out);
    fields.put("messages_ram", || (stats.ready + stats.unacked).saturating_sub(stats.paged_out));
    fields.put("messages_ready_ram", || stats.ready.saturating_sub(stats.paged_out));
    fields.put("messages_unacknowledged_ram", || stats.unacked);
    fields.put("head_message_timestamp", || stats.head_published.map(|at| at.0 / 1_000_000));
    fields.put("idle_since", || super::timestamp(stats.idle_since));
}

/// What happens to its messages.
const MESSAGE_FIGURES: &rates::Figures<QueueSample> = &[
    ("publish", |it| it.counts.published),
    ("deliver", |it| it.counts.delivered),
    ("deliver_no_ack", |it| it.counts.delivered_no_ack),
    ("deliver_get", |it| {
        it.counts.delivered + it.counts.delivered_no_ack + it.counts.got + it.counts.got_no_ack
    }),
    ("get", |it| it.counts.got),
    ("get_no_ack", |it| it.counts.got_no_ack),
    ("redeliver", |it| it.counts.redelivered),
    ("ack", |it| it.counts.acked),
    // What RabbitMQ does not tell of a queue.
    ("requeue", |it| it.counts.requeued),
    ("reject", |it| it.counts.rejected),
    ("expire", |it| it.counts.expired),
    ("drop", |it| it.counts.dropped),
    ("refuse", |it| it.counts.refused),
    ("duplicate", |it| it.counts.duplicates),
    ("over_delivery_limit", |it| it.counts.over_delivery_limit),
];

/// How many it has.
const LENGTH_FIGURES: &rates::Figures<QueueSample> = &[
    ("messages", |it| it.ready + it.unacked),
    ("messages_ready", |it| it.ready),
    ("messages_unacknowledged", |it| it.unacked),
];

/// Figures as they are now; the rates are of the last two samples.
fn rated(
    figures: &rates::Figures<QueueSample>,
    rate: fn(u64, u64, f64) -> Rated,
    now: &QueueSample,
    samples: Option<[QueueSample; 2]>,
) -> Map<String, Value> {
    let [last, before] = samples.unwrap_or([*now; 2]);
    let seconds = last.at.0.saturating_sub(before.at.0) as f64 / 1e6;
    let mut object = Map::new();
    for (name, of) in figures {
        let changes = rate(of(&last), of(&before), seconds);
        rates::put(&mut object, name, Rated { value: of(now).cast_signed(), ..changes });
    }
    object
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

/// Its type as declared.
pub(crate) fn kind(queue: &Queue) -> String {
    match queue.options.arguments.find("x-queue-type") {
        Some(TableValue::Text(kind)) => String::from_utf8_lossy(kind).into_owned(),
        _ => "classic".into(),
    }
}
