//! Queues: declaring, deleting, purging, and to whom they belong.

use std::time::Instant;

use leveret_amqp::{basic, channel, connection, queue};
use leveret_testkit::{
    Login, PATIENCE, Peer, TestBroker, ack, bind_queue, cancel, close_channel, close_connection, consume,
    declare_queue, delete_queue, get, purge, unbind_queue,
};
use rstest::rstest;

fn exclusive(name: &str) -> queue::Declare<'_> {
    queue::Declare { exclusive: true, ..declare_queue(name) }
}

fn auto_delete(name: &str) -> queue::Declare<'_> {
    queue::Declare { auto_delete: true, ..declare_queue(name) }
}

fn passive(name: &str) -> queue::Declare<'_> {
    queue::Declare { passive: true, ..declare_queue(name) }
}

fn locked(name: &str) -> (u16, String) {
    let text = format!(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{name}' in vhost '/'. It could be \
         originally declared on another connection or the exclusive property value does not match that of the \
         original declaration."
    );
    (405, text)
}

fn absent(name: &str) -> (u16, String) {
    (404, format!("NOT_FOUND - no queue '{name}' in vhost '/'"))
}

#[test]
fn when_a_close_is_answered_the_connections_queues_are_gone() {
    let broker = TestBroker::start();
    for _ in 0..50 {
        let (mut owner, mut heir) = (Peer::open(&broker), Peer::open(&broker));
        owner.ask::<queue::DeclareOk>(1, exclusive("q"));
        for channel in 2..100 {
            owner.open_channel(channel);
        }
        owner.ask::<connection::CloseOk>(0, close_connection());
        heir.ask::<queue::DeclareOk>(1, exclusive("q"));
        heir.ask::<queue::DeleteOk>(1, delete_queue("q"));
    }
}

#[test]
fn a_declaration_is_answered_with_name_messages_and_consumers() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let fresh = peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    assert_eq!(fresh, queue::DeclareOk { queue: "q", message_count: 0, consumer_count: 0 });
    for text in ["one", "two", "three"] {
        peer.put("q", text);
    }
    peer.ask::<basic::QosOk>(1, leveret_testkit::qos(1));
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.expect_delivery(1);
    let counted = queue::DeclareOk { queue: "q", message_count: 2, consumer_count: 1 };
    assert_eq!(peer.ask::<queue::DeclareOk>(1, declare_queue("q")), counted);
    assert_eq!(peer.ask::<queue::DeclareOk>(1, passive("q")), counted);
}

#[rstest]
#[case::durable(queue::Declare { durable: true, ..declare_queue("q") }, "durable")]
#[case::auto_delete(queue::Declare { auto_delete: true, ..declare_queue("q") }, "auto_delete")]
fn declaring_with_other_properties_is_refused(#[case] declare: queue::Declare<'_>, #[case] argument: &str) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    let text = format!(
        "PRECONDITION_FAILED - inequivalent arg '{argument}' for queue 'q' in vhost '/': received 'true' but \
         current is 'false'"
    );
    assert_eq!(peer.refused(1, declare), (406, text));
}

#[test]
fn reserved_names_are_refused() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let text = "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'".to_owned();
    assert_eq!(peer.refused(1, declare_queue("amq.mine")), (403, text));
}

#[test]
fn the_server_names_a_queue_that_has_no_name() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let first = peer.ask::<queue::DeclareOk>(1, declare_queue("")).queue.to_owned();
    let second = peer.ask::<queue::DeclareOk>(1, declare_queue("")).queue.to_owned();
    assert!(first.starts_with("amq.gen-") && second.starts_with("amq.gen-"), "{first} {second}");
    assert_ne!(first, second);
    peer.ask::<queue::DeclareOk>(1, passive(&first));
    peer.put(&second, "m");
    assert_eq!(peer.ask::<queue::DeleteOk>(1, delete_queue(&second)).message_count, 1);
}

#[test]
fn an_empty_name_means_the_queue_declared_last() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.open_channel(2);
    for name in ["first", "last"] {
        peer.ask::<queue::DeclareOk>(1, declare_queue(name));
    }
    peer.put("last", "one");
    peer.put("last", "two");
    assert_eq!(peer.fetch(1, get("")).map(|fetched| fetched.message_count), Some(1));
    assert_eq!(peer.ask::<queue::PurgeOk>(1, purge("")).message_count, 1);
    peer.ask::<queue::BindOk>(1, bind_queue("", "amq.direct", "key"));
    peer.ask::<queue::UnbindOk>(1, unbind_queue("", "amq.direct", "key"));
    peer.ask::<queue::DeleteOk>(1, delete_queue(""));
    assert_eq!(peer.refused(1, passive("last")), absent("last"));
    let (code, text) = peer.refused(2, purge(""));
    assert_eq!((code, text.as_str()), (404, "NOT_FOUND - no previously declared queue"));
}

#[test]
fn declaring_passively_asks_only_whether_it_is_there() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    assert_eq!(peer.refused(1, passive("q")), absent("q"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.ask::<queue::DeclareOk>(1, queue::Declare { durable: true, ..passive("q") });
}

#[test]
fn an_exclusive_queue_is_its_connections_alone() {
    let broker = TestBroker::start();
    let mut owner = Peer::open(&broker);
    let mut other = Peer::open(&broker);
    owner.ask::<queue::DeclareOk>(1, exclusive("q"));
    owner.open_channel(2);
    owner.ask::<queue::DeclareOk>(2, exclusive("q"));
    assert_eq!(other.refused(1, declare_queue("q")), locked("q"));
    assert_eq!(other.refused(1, exclusive("q")), locked("q"));
    assert_eq!(other.refused(1, passive("q")), locked("q"));
    assert_eq!(other.refused(1, consume("q", "tag")), locked("q"));
    assert_eq!(other.refused(1, get("q")), locked("q"));
    assert_eq!(other.refused(1, purge("q")), locked("q"));
    assert_eq!(other.refused(1, delete_queue("q")), locked("q"));
    assert_eq!(other.refused(1, bind_queue("q", "amq.direct", "key")), locked("q"));
    other.put("q", "anybody may publish to it");
    other.expect_nothing(1);
    assert!(owner.fetch(1, get("q")).is_some());
}

/// Asks again and again, since nobody tells when the broker has noticed that a peer is gone.
fn is_gone_soon(peer: &mut Peer, name: &str) -> bool {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        peer.send(1, passive(name));
        if peer.expect_or_close::<queue::DeclareOk>(1).is_err_and(|close| close.code == 404) {
            return true;
        }
    }
    false
}

#[rstest]
#[case::closed(true)]
#[case::vanished(false)]
fn an_exclusive_queue_goes_with_its_connection(#[case] politely: bool) {
    let broker = TestBroker::start();
    let mut owner = Peer::open(&broker);
    let mut other = Peer::open(&broker);
    owner.ask::<queue::DeclareOk>(1, exclusive("q"));
    owner.ask::<channel::CloseOk>(1, close_channel());
    assert_eq!(other.refused(1, passive("q")), locked("q"), "the channel's end does not matter");
    if politely {
        owner.close();
    } else {
        owner.vanish();
    }
    assert!(is_gone_soon(&mut other, "q"));
    other.ask::<queue::DeclareOk>(1, exclusive("q"));
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, auto_delete("q"));
    peer.ask::<queue::DeclareOk>(1, passive("q"));
    for tag in ["one", "two"] {
        peer.ask::<basic::ConsumeOk>(1, consume("q", tag));
    }
    peer.ask::<basic::CancelOk>(1, cancel("one"));
    peer.ask::<queue::DeclareOk>(1, passive("q"));
    peer.ask::<basic::CancelOk>(1, cancel("two"));
    assert_eq!(peer.refused(1, passive("q")), absent("q"));
}

#[rstest]
#[case::channel(true)]
#[case::connection(false)]
fn an_auto_delete_queue_goes_when_its_consumers_are_closed(#[case] channel_only: bool) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let mut other = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, auto_delete("q"));
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    if channel_only {
        peer.ask::<channel::CloseOk>(1, close_channel());
        assert_eq!(other.refused(1, passive("q")), absent("q"));
    } else {
        peer.vanish();
        assert!(is_gone_soon(&mut other, "q"));
    }
}

#[test]
fn a_queue_in_use_is_not_deleted_if_unused() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.open_channel(2);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.ask::<basic::ConsumeOk>(2, consume("q", "tag"));
    let if_unused = queue::Delete { if_unused: true, ..delete_queue("q") };
    let text = "PRECONDITION_FAILED - queue 'q' in vhost '/' in use".to_owned();
    assert_eq!(peer.refused(1, if_unused), (406, text));
    peer.ask::<basic::CancelOk>(2, cancel("tag"));
    peer.ask::<queue::DeleteOk>(1, if_unused);
}

#[test]
fn a_queue_with_messages_is_not_deleted_if_empty() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.put("q", "m");
    let if_empty = queue::Delete { if_empty: true, ..delete_queue("q") };
    let text = "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty".to_owned();
    assert_eq!(peer.refused(1, if_empty), (406, text));
    peer.ask::<queue::PurgeOk>(1, purge("q"));
    assert_eq!(peer.ask::<queue::DeleteOk>(1, if_empty).message_count, 0);
}

#[test]
fn purging_and_deleting_count_what_is_ready() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    for text in ["one", "two", "three"] {
        peer.put("q", text);
    }
    let unacked = peer.fetch(1, get("q")).expect("a message").delivery.tag;
    assert_eq!(peer.ask::<queue::PurgeOk>(1, purge("q")).message_count, 2);
    assert_eq!(peer.ask::<queue::PurgeOk>(1, purge("q")).message_count, 0);
    peer.send(1, leveret_testkit::nack(unacked));
    assert_eq!(peer.ask::<queue::DeclareOk>(1, passive("q")).message_count, 1, "what is out stays");
    peer.put("q", "four");
    assert_eq!(peer.ask::<queue::DeleteOk>(1, delete_queue("q")).message_count, 2);
    assert_eq!(peer.refused(1, purge("q")), absent("q"));
}

#[test]
fn acknowledging_what_a_deleted_queue_delivered_is_fine() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.put("q", "m");
    peer.put("q", "m");
    let tags = [1, 2].map(|_| peer.fetch(1, get("q")).expect("a message").delivery.tag);
    peer.ask::<queue::DeleteOk>(1, delete_queue("q"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.put("q", "new");
    peer.send(1, ack(tags[0]));
    peer.send(1, leveret_testkit::nack(tags[1]));
    peer.expect_nothing(1);
    assert_eq!(peer.fetch(1, get("q")).expect("the new one").delivery.text(), "new");
    assert!(peer.fetch(1, get("q")).is_none());
}

#[test]
fn a_consumer_is_told_when_its_queue_goes_if_it_can_be() {
    let broker = TestBroker::start();
    let mut told = Peer::open(&broker);
    let mut not_told = Peer::open_as(&broker, &Login { capabilities: &[], ..Login::default() });
    told.ask::<queue::DeclareOk>(1, declare_queue("q"));
    told.ask::<basic::ConsumeOk>(1, consume("q", "a"));
    told.ask::<basic::ConsumeOk>(1, consume("q", "b"));
    not_told.ask::<basic::ConsumeOk>(1, consume("q", "c"));
    Peer::open(&broker).ask::<queue::DeleteOk>(1, delete_queue("q"));
    let mut tags = [(); 2].map(|()| {
        let cancelled = told.expect::<basic::Cancel>(1);
        assert!(cancelled.no_wait);
        cancelled.consumer_tag.to_owned()
    });
    tags.sort();
    assert_eq!(tags, ["a", "b"]);
    // Its tag is free again.
    told.ask::<queue::DeclareOk>(1, declare_queue("q"));
    told.ask::<basic::ConsumeOk>(1, consume("q", "a"));
    not_told.expect_nothing(1);
}
