//! Connections, channels and consumers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leveret_broker::{Channel, ChannelConsumer, ChannelMode, Connection, MessageTotals};
use serde_json::{Map, Value, json};

use super::message::table;
use super::{milliseconds, rates};
use crate::list::{Columns, Fields};
use crate::ranges::Ranges;
use crate::statistics::{Rated, Statistics, Traffic};

/// Bytes from clients and to them.
pub(crate) const TRAFFIC_FIGURES: &rates::Figures<Traffic> =
    &[("recv_oct", |it| it.0), ("send_oct", |it| it.1)];

/// A connection.
pub(crate) fn put(
    (statistics, ranges): (&Statistics, &Ranges),
    node: &str,
    connection: &Connection,
    fields: &mut Fields<'_>,
) {
    let options = &connection.options;
    fields.put("name", || connection.name.as_str());
    fields.put("node", || node);
    fields.put("vhost", || &*options.vhost);
    fields.put("user", || options.user.as_str());
    fields.put("user_who_performed_action", || options.user.as_str());
    fields.put("protocol", || "AMQP 0-9-1");
    fields.put("type", || "network");
    fields.put("state", || if connection.blocked.load(Ordering::Relaxed) { "blocked" } else { "running" });
    fields.put("channels", || connection.channel_count());
    fields.put("channel_max", || options.channel_max);
    fields.put("frame_max", || options.unit_max_bytes);
    fields.put("timeout", || options.heartbeat_s);
    fields.put("auth_mechanism", || options.mechanism.as_str());
    fields.put("client_properties", || table(&options.client_properties));
    if let Some(name) = provided_name(connection) {
        fields.put("user_provided_name", || name);
    }
    fields.put("connected_at", || milliseconds(options.connected_at));
    fields.put("host", || options.host.as_str());
    fields.put("port", || options.port);
    fields.put("peer_host", || options.peer_host.as_str());
    fields.put("peer_port", || options.peer_port);
    fields.put("ssl", || options.tls);
    for name in [
        "ssl_protocol",
        "ssl_key_exchange",
        "ssl_cipher",
        "ssl_hash",
        "peer_cert_subject",
        "peer_cert_issuer",
        "peer_cert_validity",
    ] {
        fields.put(name, || Value::Null);
    }
    fields.put("recv_cnt", || connection.received.value());
    fields.put("send_cnt", || connection.sent.value());
    fields.put("send_pend", || 0);
    if fields.want(TRAFFIC) {
        let mut traffic = traffic(statistics, connection);
        if let Some(range) = ranges.data {
            let moments = statistics.past_of_connection(connection.id, range);
            rates::put_samples(&mut traffic, TRAFFIC_FIGURES, &moments);
        }
        fields.put_all(traffic);
    }
}

/// The fields that tell [`TRAFFIC_FIGURES`].
pub(crate) const TRAFFIC: &[&str] = &["recv_oct", "recv_oct_details", "send_oct", "send_oct_details"];

fn traffic(statistics: &Statistics, connection: &Connection) -> Map<String, Value> {
    let (receiving, sending) = statistics.traffic(connection.id);
    let rated = |value: u64, rate| Rated { value: value.cast_signed(), rate };
    rates::object(&[
        ("recv_oct", rated(connection.received_bytes.value(), receiving)),
        ("send_oct", rated(connection.sent_bytes.value(), sending)),
    ])
}

fn provided_name(connection: &Connection) -> Option<String> {
    match connection.options.client_properties.find("connection_name")? {
        leveret_broker::TableValue::Text(name) => Some(String::from_utf8_lossy(name).into_owned()),
        _ => None,
    }
}

/// A channel and its connection.
pub(crate) type OnConnection = (Arc<Connection>, Arc<Channel>);

/// A channel's name, which RabbitMQ makes of its connection's and its number.
pub(crate) fn channel_name(connection: &Connection, channel: &Channel) -> String {
    format!("{} ({})", connection.name, channel.number)
}

/// A channel.
pub(crate) fn put_channel(
    (statistics, ranges): (&Statistics, &Ranges),
    node: &str,
    (connection, channel): &OnConnection,
    fields: &mut Fields<'_>,
) {
    let options = &connection.options;
    let mode = channel.mode();
    fields.put("name", || channel_name(connection, channel));
    fields.put("number", || channel.number);
    fields.put("node", || node);
    fields.put("vhost", || &*options.vhost);
    fields.put("user", || options.user.as_str());
    fields.put("user_who_performed_action", || options.user.as_str());
    fields.put("state", || "running");
    fields.put("confirm", || mode == ChannelMode::Confirm);
    fields.put("transactional", || mode == ChannelMode::Transaction);
    fields.put("consumer_count", || channel.consumer_count());
    fields.put("prefetch_count", || channel.prefetch.value());
    fields.put("global_prefetch_count", || channel.global_prefetch.value());
    fields.put("messages_unacknowledged", || channel.unacked.value());
    fields.put("messages_unconfirmed", || channel.unconfirmed.value());
    fields.put("messages_uncommitted", || channel.uncommitted.value());
    fields.put("acks_uncommitted", || channel.acks_uncommitted.value());
    fields.put("pending_raft_commands", || 0);
    fields.put(
        "connection_details",
        || json!({ "name": connection.name, "peer_host": options.peer_host, "peer_port": options.peer_port }),
    );
    let totals = channel.counts.totals();
    if totals != MessageTotals::default() {
        let samples = statistics.channel(connection.id, channel.number).unwrap_or([totals; 2]);
        fields.put("message_stats", || {
            let mut stats = message_stats(&samples[0], &samples[1], statistics.seconds());
            // The rates are of the last samples, the values are what holds now.
            stats.extend(totals_of(&totals));
            if let Some(range) = ranges.messages {
                let moments = statistics.past_of_channel(connection.id, channel.number, range);
                rates::put_samples(&mut stats, MESSAGE_FIGURES, &moments);
            }
            Value::Object(stats)
        });
    }
}

fn totals_of(totals: &MessageTotals) -> impl Iterator<Item = (String, Value)> {
    let stats = message_stats(totals, totals, 0.0).into_iter();
    stats.filter(|(_, value)| value.is_number())
}

/// What is done with messages.
pub(crate) const MESSAGE_FIGURES: &rates::Figures<MessageTotals> = &[
    ("ack", |it| it.ack),
    ("confirm", |it| it.confirm),
    ("deliver", |it| it.deliver),
    ("deliver_get", |it| it.deliver + it.deliver_no_ack + it.get + it.get_no_ack),
    ("deliver_no_ack", |it| it.deliver_no_ack),
    ("drop_unroutable", |it| it.drop_unroutable),
    ("get", |it| it.get),
    ("get_empty", |it| it.get_empty),
    ("get_no_ack", |it| it.get_no_ack),
    ("publish", |it| it.publish),
    ("redeliver", |it| it.redeliver),
    ("return_unroutable", |it| it.return_unroutable),
];

/// What has been done with messages, and how fast.
pub(crate) fn message_stats(now: &MessageTotals, before: &MessageTotals, seconds: f64) -> Map<String, Value> {
    let mut object = Map::new();
    for (name, of) in MESSAGE_FIGURES {
        rates::put(&mut object, name, Rated::counter(of(now), of(before), seconds));
    }
    object
}

/// A consumer, and the channel it is on.
pub(crate) struct OnChannel {
    pub(crate) connection: Arc<Connection>,
    pub(crate) channel: Arc<Channel>,
    pub(crate) consumer: ChannelConsumer,
}

/// A consumer.
pub(crate) fn put_consumer(node: &str, on: &OnChannel, fields: &mut Fields<'_>) {
    let OnChannel { connection, channel, consumer } = on;
    let options = &connection.options;
    fields.put("consumer_tag", || &*consumer.tag);
    fields.put("queue", || json!({ "name": &*consumer.queue.name, "vhost": &*options.vhost }));
    fields.put("ack_required", || !consumer.no_ack);
    fields.put("exclusive", || consumer.exclusive);
    fields.put("prefetch_count", || consumer.prefetch);
    fields.put("active", || is_active(consumer));
    fields.put("activity_status", || if is_active(consumer) { "up" } else { "waiting" });
    fields.put("arguments", || table(&consumer.arguments));
    // 0 where it may take as long as it likes.
    fields.put("consumer_timeout", || consumer.queue.rules().consumer_timeout_ms.unwrap_or(0));
    fields.put("channel_details", || {
        json!({
            "connection_name": connection.name,
            "name": channel_name(connection, channel),
            "node": node,
            "number": channel.number,
            "peer_host": options.peer_host,
            "peer_port": options.peer_port,
            "user": options.user,
        })
    });
}

/// Whether it may get deliveries: another one may be the single active consumer.
fn is_active(consumer: &ChannelConsumer) -> bool {
    consumer.queue.consumers().iter().any(|it| it.key == consumer.key && it.active)
}

/// Consumers as an array.
pub(crate) fn consumers(node: &str, consumers: &[OnChannel]) -> Value {
    let all = Columns::default();
    consumers.iter().map(|on| all.object(|fields| put_consumer(node, on, fields))).collect()
}
