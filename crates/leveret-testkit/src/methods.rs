//! Methods with every flag down: a case names what matters to it and takes the rest from here, as in
//! `queue::Declare { durable: true, ..declare_queue("q") }`.

use leveret_amqp::{FieldTable, Table, Value, basic, channel, connection, exchange, queue};

/// A field table. It is never freed: a test ends soon, and borrowed tables would make every case longer.
pub fn table<const N: usize>(pairs: [(&str, Value); N]) -> Table<'static> {
    let encoded: &'static [u8] = FieldTable::from_iter(pairs).encode().leak();
    Table::parse(encoded).expect("what was just encoded")
}

/// `queue.declare`.
#[must_use]
pub fn declare_queue(queue: &str) -> queue::Declare<'_> {
    queue::Declare {
        ticket: 0,
        queue,
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        no_wait: false,
        arguments: Table::default(),
    }
}

/// `queue.bind`.
#[must_use]
pub fn bind_queue<'a>(queue: &'a str, exchange: &'a str, routing_key: &'a str) -> queue::Bind<'a> {
    queue::Bind { ticket: 0, queue, exchange, routing_key, no_wait: false, arguments: Table::default() }
}

/// `queue.unbind`.
#[must_use]
pub fn unbind_queue<'a>(queue: &'a str, exchange: &'a str, routing_key: &'a str) -> queue::Unbind<'a> {
    queue::Unbind { ticket: 0, queue, exchange, routing_key, arguments: Table::default() }
}

/// `queue.purge`.
#[must_use]
pub fn purge(queue: &str) -> queue::Purge<'_> {
    queue::Purge { ticket: 0, queue, no_wait: false }
}

/// `queue.delete`.
#[must_use]
pub fn delete_queue(queue: &str) -> queue::Delete<'_> {
    queue::Delete { ticket: 0, queue, if_unused: false, if_empty: false, no_wait: false }
}

/// `exchange.declare`.
#[must_use]
pub fn declare_exchange<'a>(exchange: &'a str, kind: &'a str) -> exchange::Declare<'a> {
    exchange::Declare {
        ticket: 0,
        exchange,
        kind,
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        no_wait: false,
        arguments: Table::default(),
    }
}

/// `exchange.delete`.
#[must_use]
pub fn delete_exchange(exchange: &str) -> exchange::Delete<'_> {
    exchange::Delete { ticket: 0, exchange, if_unused: false, no_wait: false }
}

/// `exchange.bind`.
#[must_use]
pub fn bind_exchange<'a>(destination: &'a str, source: &'a str, routing_key: &'a str) -> exchange::Bind<'a> {
    exchange::Bind {
        ticket: 0,
        destination,
        source,
        routing_key,
        no_wait: false,
        arguments: Table::default(),
    }
}

/// `exchange.unbind`.
#[must_use]
pub fn unbind_exchange<'a>(
    destination: &'a str,
    source: &'a str,
    routing_key: &'a str,
) -> exchange::Unbind<'a> {
    exchange::Unbind {
        ticket: 0,
        destination,
        source,
        routing_key,
        no_wait: false,
        arguments: Table::default(),
    }
}

/// `basic.publish`.
#[must_use]
pub fn publish<'a>(exchange: &'a str, routing_key: &'a str) -> basic::Publish<'a> {
    basic::Publish { ticket: 0, exchange, routing_key, mandatory: false, immediate: false }
}

/// `basic.consume` with acknowledgements.
#[must_use]
pub fn consume<'a>(queue: &'a str, consumer_tag: &'a str) -> basic::Consume<'a> {
    basic::Consume {
        ticket: 0,
        queue,
        consumer_tag,
        no_local: false,
        no_ack: false,
        exclusive: false,
        no_wait: false,
        arguments: Table::default(),
    }
}

/// `basic.cancel`.
#[must_use]
pub fn cancel(consumer_tag: &str) -> basic::Cancel<'_> {
    basic::Cancel { consumer_tag, no_wait: false }
}

/// `basic.get` with acknowledgement.
#[must_use]
pub fn get(queue: &str) -> basic::Get<'_> {
    basic::Get { ticket: 0, queue, no_ack: false }
}

/// `basic.qos` for the consumers to come.
#[must_use]
pub fn qos(prefetch_count: u16) -> basic::Qos {
    basic::Qos { prefetch_size: 0, prefetch_count, global: false }
}

/// `basic.ack` of one delivery.
#[must_use]
pub fn ack(delivery_tag: u64) -> basic::Ack {
    basic::Ack { delivery_tag, multiple: false }
}

/// `basic.nack` of one delivery that is to be delivered again.
#[must_use]
pub fn nack(delivery_tag: u64) -> basic::Nack {
    basic::Nack { delivery_tag, multiple: false, requeue: true }
}

/// `basic.reject` of one delivery that is to be delivered again.
#[must_use]
pub fn reject(delivery_tag: u64) -> basic::Reject {
    basic::Reject { delivery_tag, requeue: true }
}

/// `connection.close`.
#[must_use]
pub fn close_connection() -> connection::Close<'static> {
    connection::Close { reply_code: 200, reply_text: "bye", class_id: 0, method_id: 0 }
}

/// `channel.close`.
#[must_use]
pub fn close_channel() -> channel::Close<'static> {
    channel::Close { reply_code: 200, reply_text: "bye", class_id: 0, method_id: 0 }
}

/// `channel.flow`.
#[must_use]
pub fn flow(active: bool) -> channel::Flow {
    channel::Flow { active }
}
