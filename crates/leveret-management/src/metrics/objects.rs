//! Metrics of each queue, exchange and channel, by RabbitMQ's names: as many lines as there are objects, so only on request.

use std::sync::Arc;

use leveret_broker::{MessageTotals, Queue, QueueStats};

use super::text::Text;
use crate::App;
use crate::json::connection::channel_name;

type OfQueue = (&'static str, &'static str, &'static str, fn(&QueueStats) -> u64);

const OF_QUEUES: [OfQueue; 12] = [
    ("rabbitmq_queue_messages_ready", "gauge", "Messages ready to be delivered", |it| it.ready as u64),
    ("rabbitmq_queue_messages_unacked", "gauge", "Messages delivered and not acknowledged", |it| {
        it.unacked as u64
    }),
    ("rabbitmq_queue_messages", "gauge", "Both", |it| (it.ready + it.unacked) as u64),
    ("rabbitmq_queue_messages_ready_bytes", "gauge", "Bytes of ready messages", |it| it.ready_bytes),
    ("rabbitmq_queue_messages_unacked_bytes", "gauge", "Bytes of unacknowledged messages", |it| {
        it.unacked_bytes
    }),
    ("rabbitmq_queue_messages_persistent", "gauge", "Messages kept over a restart", |it| {
        it.persistent as u64
    }),
    ("rabbitmq_queue_messages_paged_out", "gauge", "Messages on the disk alone", |it| it.paged_out as u64),
    ("rabbitmq_queue_process_memory_bytes", "gauge", "Memory of waiting messages", |it| {
        it.memory_bytes as u64
    }),
    ("rabbitmq_queue_consumers", "gauge", "Consumers", |it| it.consumers as u64),
    ("rabbitmq_queue_messages_published_total", "counter", "Messages taken", |it| it.counts.published),
    ("rabbitmq_queue_messages_acked_total", "counter", "Messages acknowledged", |it| it.counts.acked),
    ("rabbitmq_queue_messages_redelivered_total", "counter", "Messages delivered again", |it| {
        it.counts.redelivered
    }),
];

pub(super) fn queues(app: &App, text: &mut Text) {
    let of_vhosts = app.node.broker().vhosts().into_iter().flat_map(|vhost| {
        let queues: Vec<Arc<Queue>> = vhost.queues();
        queues.into_iter().map(move |queue| (Arc::clone(&vhost.name), Arc::clone(&queue.name), queue.stats()))
    });
    let all: Vec<_> = of_vhosts.collect();
    for (name, kind, help, value) in OF_QUEUES {
        text.head(name, kind, help);
        for (vhost, queue, stats) in &all {
            text.sample(name, &[("vhost", vhost), ("queue", queue)], value(stats));
        }
    }
}

pub(super) fn exchanges(app: &App, text: &mut Text) {
    let vhosts = app.node.broker().vhosts();
    let all: Vec<_> =
        vhosts.iter().flat_map(|vhost| vhost.exchanges().into_iter().map(|it| (&vhost.name, it))).collect();
    let (published, routed) =
        ("rabbitmq_exchange_messages_published_in_total", "rabbitmq_exchange_messages_published_out_total");
    text.head(published, "counter", "Messages published to an exchange");
    for (vhost, exchange) in &all {
        text.sample(
            published,
            &[("vhost", vhost), ("exchange", &exchange.name)],
            exchange.counts.published_in(),
        );
    }
    text.head(routed, "counter", "Messages that queues got by an exchange");
    for (vhost, exchange) in &all {
        text.sample(
            routed,
            &[("vhost", vhost), ("exchange", &exchange.name)],
            exchange.counts.published_out(),
        );
    }
}

type OfChannel = (&'static str, &'static str, fn(&MessageTotals) -> u64);

const OF_CHANNELS: [OfChannel; 5] = [
    ("rabbitmq_channel_messages_published_total", "Messages published", |it| it.publish),
    ("rabbitmq_channel_messages_confirmed_total", "Messages confirmed", |it| it.confirm),
    ("rabbitmq_channel_messages_delivered_ack_total", "Messages delivered to be acknowledged", |it| {
        it.deliver
    }),
    ("rabbitmq_channel_messages_delivered_total", "Messages delivered without acknowledgement", |it| {
        it.deliver_no_ack
    }),
    ("rabbitmq_channel_messages_acked_total", "Messages acknowledged", |it| it.ack),
];

pub(super) fn channels(app: &App, text: &mut Text) {
    let connections = app.node.broker().connections.list();
    let all: Vec<_> = connections
        .iter()
        .flat_map(|connection| connection.channels().into_iter().map(move |channel| (connection, channel)))
        .map(|(connection, channel)| (channel_name(connection, &channel), channel))
        .collect();
    for (name, help, value) in OF_CHANNELS {
        text.head(name, "counter", help);
        for (channel_name, channel) in &all {
            text.sample(name, &[("channel", channel_name)], value(&channel.counts.totals()));
        }
    }
    let unacked = "rabbitmq_channel_messages_unacked";
    text.head(unacked, "gauge", "Messages delivered and not acknowledged");
    for (channel_name, channel) in &all {
        text.sample(unacked, &[("channel", channel_name)], channel.unacked.value());
    }
}
