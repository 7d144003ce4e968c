//! What the server tells of connections and channels, and their closing by force.

use std::sync::Arc;
use std::time::Instant;

use leveret_amqp::{basic, queue};
use leveret_broker::{ChannelMode, Connection, MessageTotals};
use leveret_server::Config;
use leveret_testkit::{
    PATIENCE, Peer, TestBroker, ack, consume, declare_queue, delete_queue, get, publish, qos,
};

fn only_connection(broker: &TestBroker) -> Arc<Connection> {
    let mut all = broker.handle().broker().connections.list();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Waits for what the server's task does after it has answered.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_channel_counts_what_it_does() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.select_confirms(1);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.put("q", "one");
    peer.put("q", "two");
    peer.publish(1, publish("", "nowhere"), &leveret_amqp::Properties::default(), b"lost");
    peer.expect_confirms(1, 1, 3);
    assert!(peer.fetch(1, get("q")).is_some());
    peer.ask::<basic::QosOk>(1, qos(7));
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    let delivery = peer.expect_delivery(1);
    peer.send(1, ack(delivery.tag));

    let connection = only_connection(&broker);
    let channel = connection.channels().remove(0);
    let expected = MessageTotals {
        publish: 3,
        confirm: 3,
        drop_unroutable: 1,
        deliver: 1,
        get: 1,
        ack: 1,
        ..MessageTotals::default()
    };
    eventually("the acknowledgement is counted", || channel.counts.totals() == expected);
    assert_eq!((channel.mode(), channel.prefetch.value()), (ChannelMode::Confirm, 7));
    assert_eq!((channel.unacked.value(), channel.unconfirmed.value()), (1, 0));
    let consumer = channel.consumers().remove(0);
    assert_eq!((&*consumer.tag, &*consumer.queue.name, consumer.prefetch), ("tag", "q", 7));
    assert!(connection.received_bytes.value() > 0 && connection.sent_bytes.value() > 0);
    assert_eq!((connection.options.user.as_str(), &*connection.options.vhost), ("guest", "/"));
}

#[test]
fn what_is_closed_leaves_the_list_and_its_counts_stay() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.put("q", "one");
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.expect_delivery(1);
    peer.send(1, delete_queue("q"));
    peer.expect::<basic::Cancel<'_>>(1);
    peer.expect::<queue::DeleteOk>(1);
    assert_eq!(only_connection(&broker).channels()[0].consumer_count(), 0);
    peer.close();
    let handle = broker.handle();
    let connections = &handle.broker().connections;
    eventually("the connection is gone", || connections.count() == 0);
    let churn = connections.churn();
    assert_eq!((churn.connections_opened, churn.connections_closed), (1, 1));
    assert_eq!((churn.channels_opened, churn.channels_closed), (1, 1));
    let totals = connections.totals()["/"];
    assert_eq!((totals.publish, totals.deliver), (1, 1));
}

#[test]
fn a_channel_lets_go_of_queues_that_it_has_fetched_from() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let vhost = broker.handle().broker().vhost("/").unwrap();
    let mut queues = Vec::new();
    for n in 0..100 {
        let name = format!("q{n}");
        peer.ask::<queue::DeclareOk>(1, declare_queue(&name));
        queues.push(Arc::downgrade(&vhost.find_queue(&name).unwrap()));
        peer.put(&name, "m");
        let fetched = peer.fetch(1, basic::Get { no_ack: n % 2 == 0, ..get(&name) }).unwrap();
        if n % 2 == 1 {
            peer.send(1, ack(fetched.delivery.tag));
        }
        peer.ask::<queue::DeleteOk>(1, delete_queue(&name));
    }
    let left = queues.iter().filter(|queue| queue.upgrade().is_some()).count();
    assert!(left < 50, "{left} queues are deleted and not gone");
}

#[test]
fn a_connection_can_be_closed_by_force() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    only_connection(&broker).close("Closed via management plugin");
    let close = peer.expect_connection_close();
    assert_eq!((close.code, close.text.as_str()), (320, "CONNECTION_FORCED - Closed via management plugin"));
}

#[test]
fn so_can_one_that_does_not_read_what_it_asks_for() {
    let broker = TestBroker::with(Config { shutdown_timeout_ms: 10, heartbeat_s: 0, ..Config::ephemeral() });
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    // More than the sockets' buffers hold.
    const COUNT: u32 = 20;
    for _ in 0..COUNT {
        peer.publish(1, publish("", "q"), &leveret_amqp::Properties::default(), vec![0; 2 << 20]);
    }
    for _ in 0..COUNT {
        peer.send(1, get("q"));
    }
    let connection = only_connection(&broker);
    let sent = |connection: &Connection| connection.sent_bytes.value();
    eventually("it has begun to send", || sent(&connection) > 4 << 20);
    connection.close("Closed via management plugin");
    let handle = broker.handle();
    eventually("the connection is gone", || handle.broker().connections.count() == 0);
    drop(peer);
}
