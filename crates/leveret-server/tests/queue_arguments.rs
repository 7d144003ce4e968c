//! What the `x-` arguments of queues and consumers do on the wire, and which of them are refused.

use leveret_amqp::{Properties, Value, ValueRef, basic, connection, queue};
use leveret_testkit::{
    Peer, TestBroker, ack, cancel, close_connection, consume, declare_queue, delete_queue, get, nack,
    publish, qos, table,
};
use rstest::rstest;

fn with<const N: usize>(arguments: [(&str, Value); N]) -> queue::Declare<'static> {
    queue::Declare { arguments: table(arguments), ..declare_queue("q") }
}

fn durable<const N: usize>(arguments: [(&str, Value); N]) -> queue::Declare<'static> {
    queue::Declare { durable: true, ..with(arguments) }
}

/// A peer with a queue `q` declared so.
fn queue_with(declare: queue::Declare<'_>) -> (TestBroker, Peer) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare);
    (broker, peer)
}

fn quorum() -> (&'static str, Value) {
    ("x-queue-type", "quorum".into())
}

#[rstest]
#[case::type_of_ttl("x-message-ttl", "soon".into())]
#[case::negative_ttl("x-message-ttl", (-1).into())]
#[case::endless_ttl("x-message-ttl", Value::I64(i64::MAX))]
#[case::no_time_unused("x-expires", 0.into())]
#[case::negative_length("x-max-length", (-1).into())]
#[case::negative_bytes("x-max-length-bytes", (-1).into())]
#[case::unknown_overflow("x-overflow", "drop-tail".into())]
#[case::type_of_exchange("x-dead-letter-exchange", 1.into())]
#[case::key_without_exchange("x-dead-letter-routing-key", "key".into())]
#[case::negative_priority("x-max-priority", (-1).into())]
#[case::too_many_priorities("x-max-priority", 256.into())]
#[case::type_of_priority("x-max-priority", "high".into())]
#[case::type_of_single("x-single-active-consumer", 1.into())]
#[case::unknown_mode("x-queue-mode", "eager".into())]
#[case::unknown_version("x-queue-version", 3.into())]
#[case::unknown_type("x-queue-type", "ring".into())]
#[case::streams("x-queue-type", "stream".into())]
#[case::limit_of_classic("x-delivery-limit", 3.into())]
#[case::strategy_of_classic("x-dead-letter-strategy", "at-least-once".into())]
#[case::type_of_timeout("x-consumer-timeout", "never".into())]
#[case::type_of_deduplication("x-message-deduplication", "yes".into())]
fn a_wrong_argument_is_refused_by_name_and_leaves_nothing(#[case] name: &str, #[case] value: Value) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let (code, text) = peer.refused(1, with([(name, value)]));
    assert_eq!(code, 406);
    assert!(text.contains(name), "{text}");
    let passive = queue::Declare { passive: true, ..declare_queue("q") };
    assert_eq!(peer.refused(1, passive).0, 404);
}

#[rstest]
#[case::not_durable(with([quorum()]), "non-durable")]
#[case::auto_delete(queue::Declare { auto_delete: true, ..durable([quorum()]) }, "auto-delete")]
#[case::exclusive(queue::Declare { exclusive: true, ..durable([quorum()]) }, "exclusive-owner")]
#[case::priorities(durable([quorum(), ("x-max-priority", 5.into())]), "x-max-priority")]
#[case::mode(durable([quorum(), ("x-queue-mode", "lazy".into())]), "x-queue-mode")]
fn quorum_queues_are_not_for_everything(#[case] declare: queue::Declare<'_>, #[case] named: &str) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let (code, text) = peer.refused(1, declare);
    assert_eq!(code, 406);
    assert!(text.contains(named), "{text}");
}

#[rstest]
#[case::lazy(with([("x-queue-mode", "lazy".into())]))]
#[case::version(with([("x-queue-version", 2.into())]))]
#[case::classic(with([("x-queue-type", "classic".into())]))]
#[case::no_priorities(with([("x-max-priority", 0.into())]))]
#[case::unknown(with([("x-anything", 3.into())]))]
fn some_arguments_are_taken_and_change_nothing(#[case] declare: queue::Declare<'_>) {
    let (_broker, mut peer) = queue_with(declare);
    peer.put("q", "one");
    assert_eq!(peer.fetch(1, get("q")).map(|it| it.delivery.text().to_owned()).as_deref(), Some("one"));
}

#[test]
fn a_classic_queue_need_not_say_so_again_and_another_type_is_refused() {
    let (_broker, mut peer) = queue_with(durable([("x-queue-type", "classic".into())]));
    peer.ask::<queue::DeclareOk>(1, durable([]));
    let (code, text) = peer.refused(1, durable([quorum()]));
    assert_eq!(code, 406);
    assert!(text.contains("x-queue-type"), "{text}");
}

fn put_with_priority(peer: &mut Peer, text: &str, priority: u8) {
    let properties = Properties { priority: Some(priority), ..Properties::default() };
    peer.publish(1, publish("", "q"), &properties, text.as_bytes());
}

#[test]
fn higher_priorities_come_first() {
    let (_broker, mut peer) = queue_with(with([("x-max-priority", 9.into())]));
    for (text, priority) in [("low", 1), ("high", 9), ("higher than there is", 200), ("middle", 5)] {
        put_with_priority(&mut peer, text, priority);
    }
    peer.put("q", "none");
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.expect_texts(1, ["high", "higher than there is", "middle", "low", "none"]);
}

#[test]
fn one_consumer_at_a_time_is_served_and_another_takes_over() {
    let (broker, mut first) = queue_with(with([("x-single-active-consumer", true.into())]));
    let mut second = Peer::open(&broker);
    first.ask::<basic::ConsumeOk>(1, consume("q", "first"));
    second.ask::<basic::ConsumeOk>(1, consume("q", "second"));
    first.put("q", "one");
    first.put("q", "two");
    first.expect_texts(1, ["one", "two"]);
    first.vanish();
    // What the first one held comes back, flagged.
    second.expect_texts(1, ["one", "two"]);
}

#[test]
fn a_single_active_consumer_cannot_be_exclusive() {
    let (_broker, mut peer) = queue_with(with([("x-single-active-consumer", true.into())]));
    assert_eq!(peer.refused(1, basic::Consume { exclusive: true, ..consume("q", "tag") }).0, 403);
}

#[rstest]
#[case::byte(Value::I8(-3))]
#[case::long(Value::I64(-3))]
fn consumers_of_higher_priority_are_served_while_they_take(#[case] lower: Value) {
    let (_broker, mut peer) = queue_with(with([]));
    peer.open_channel(2);
    let low = basic::Consume { arguments: table([("x-priority", lower)]), ..consume("q", "low") };
    peer.ask::<basic::ConsumeOk>(1, low);
    peer.ask::<basic::QosOk>(2, qos(1));
    peer.ask::<basic::ConsumeOk>(2, consume("q", "plain"));
    for text in ["one", "two", "three"] {
        peer.put("q", text);
    }
    assert_eq!(peer.expect_delivery(2).text(), "one");
    peer.expect_texts(1, ["two", "three"]);
    peer.send(2, ack(1));
    peer.ask::<basic::QosOk>(2, qos(1));
    peer.put("q", "four");
    assert_eq!(peer.expect_delivery(2).text(), "four");
}

#[test]
fn a_consumer_priority_is_a_number() {
    let (_broker, mut peer) = queue_with(with([]));
    let arguments = table([("x-priority", "high".into())]);
    let (code, text) = peer.refused(1, basic::Consume { arguments, ..consume("q", "tag") });
    assert_eq!(code, 406);
    assert!(text.contains("x-priority"), "{text}");
}

#[test]
fn a_message_that_comes_back_too_often_is_a_dead_letter() {
    let (_broker, mut peer) = queue_with(durable([
        quorum(),
        ("x-delivery-limit", 1.into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", "dead".into()),
    ]));
    peer.ask::<queue::DeclareOk>(1, declare_queue("dead"));
    peer.ask::<basic::ConsumeOk>(1, consume("dead", "dead"));
    peer.put("q", "m");
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    assert!(!peer.expect_delivery(1).redelivered);
    peer.send(1, basic::Nack { requeue: true, ..nack(1) });
    let again = peer.expect_delivery(1);
    let count = again.properties().headers.and_then(|headers| headers.find("x-delivery-count"));
    assert_eq!(count, Some(ValueRef::I64(1)));
    peer.send(1, basic::Nack { requeue: true, ..nack(2) });
    let dead = peer.expect_delivery(1);
    assert_eq!(dead.consumer_tag, "dead");
    let reason = dead.properties().headers.and_then(|headers| headers.find("x-first-death-reason")?.as_str());
    assert_eq!(reason, Some("delivery_limit"));
}

#[test]
fn whoever_holds_a_message_for_too_long_loses_its_channel() {
    let (_broker, mut peer) = queue_with(with([("x-consumer-timeout", 50.into())]));
    peer.open_channel(2);
    peer.put("q", "m");
    peer.ask::<basic::ConsumeOk>(2, consume("q", "tag"));
    assert_eq!(peer.expect_delivery(2).text(), "m");
    let close = peer.expect_channel_close(2);
    assert_eq!(close.code, 406);
    assert_eq!(
        close.text,
        "PRECONDITION_FAILED - delivery acknowledgement on channel 2 timed out. Timeout value used: 50 ms. This \
         timeout value can be configured, see consumers doc guide to learn more"
    );
    let again = peer.fetch(1, get("q")).expect("it came back");
    assert!(again.delivery.redelivered);
}

#[test]
fn a_queue_with_a_timeout_keeps_no_socket_open() {
    let (broker, mut peer) = queue_with(with([("x-consumer-timeout", 600_000.into())]));
    let mut fetches = Peer::open(&broker);
    let mut consumes = Peer::open(&broker);
    for text in ["held", "fetched", "delivered"] {
        peer.put("q", text);
    }
    let _held = peer.fetch(1, get("q")).expect("a message");
    let fetched = fetches.fetch(1, get("q")).expect("a message").delivery.tag;
    consumes.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    let delivered = consumes.expect_delivery(1).tag;
    for (mut peer, tag) in [(fetches, fetched), (consumes, delivered)] {
        peer.send(1, ack(tag));
        peer.ask::<connection::CloseOk>(0, close_connection());
        peer.expect_end();
    }
}

#[test]
fn a_duplicate_is_confirmed_and_dropped() {
    let (_broker, mut peer) = queue_with(with([("x-message-deduplication", true.into())]));
    peer.select_confirms(1);
    let properties = Properties { message_id: Some("order 17"), ..Properties::default() };
    for text in ["first", "again"] {
        peer.publish(1, publish("", "q"), &properties, text.as_bytes());
    }
    peer.expect_confirms(1, 1, 2);
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.expect_texts(1, ["first"]);
}

#[test]
fn a_dead_letter_says_what_has_become_of_it() {
    let (_broker, mut peer) = queue_with(with([
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", "dead".into()),
    ]));
    peer.ask::<queue::DeclareOk>(1, declare_queue("dead"));
    let headers = table([("z", 1.into()), ("CC", Value::Array(vec!["copy".into()])), ("a", "b".into())]);
    let properties =
        Properties { expiration: Some("60000"), headers: Some(headers), ..Properties::default() };
    peer.publish(1, publish("", "q"), &properties, b"m");
    let fetched = peer.fetch(1, get("q")).expect("a message");
    peer.send(1, basic::Nack { requeue: false, ..nack(fetched.delivery.tag) });
    let dead = peer.fetch(1, get("dead")).expect("a dead letter");
    let properties = dead.delivery.properties();
    assert_eq!(properties.expiration, None, "it must not expire again");
    let headers = properties.headers.unwrap_or_default();
    let names: Vec<&[u8]> = headers.iter().map(|(name, _)| name).collect();
    assert!(names.is_sorted(), "{headers:?}");
    assert_eq!(headers.find("CC"), None, "it was given a key of its own");
    let Some(ValueRef::Table(death)) = headers.find("x-death").and_then(|deaths| deaths.items().next())
    else {
        panic!("no x-death in {headers:?}");
    };
    let names: Vec<&[u8]> = death.iter().map(|(name, _)| name).collect();
    let expected: [&[u8]; 7] =
        [b"count", b"reason", b"queue", b"time", b"exchange", b"routing-keys", b"original-expiration"];
    assert_eq!(names, expected);
    assert_eq!(death.find("original-expiration").and_then(ValueRef::as_str), Some("60000"));
}

#[test]
fn a_reply_address_ends_with_its_consumer_and_may_be_asked_for_again() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let reply_to = "amq.rabbitmq.reply-to";
    let replies = |tag| basic::Consume { no_ack: true, ..consume(reply_to, tag) };
    let there = queue::Declare { passive: true, ..declare_queue(reply_to) };
    assert_eq!(peer.ask::<queue::DeclareOk>(1, there).queue, reply_to);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));

    let address = |peer: &mut Peer, tag| {
        peer.ask::<basic::ConsumeOk>(1, replies(tag));
        let properties = Properties { reply_to: Some(reply_to), ..Properties::default() };
        peer.publish(1, publish("", "q"), &properties, b"question");
        let question = peer.fetch(1, get("q")).expect("the question");
        question.delivery.properties().reply_to.expect("an address").to_owned()
    };
    let first = address(&mut peer, "first");
    peer.ask::<basic::CancelOk>(1, cancel("first"));
    let second = address(&mut peer, "second");
    assert_ne!(first, second);

    let mandatory = |to| basic::Publish { mandatory: true, ..publish("", to) };
    peer.publish(1, mandatory(&first), &Properties::default(), b"too late");
    assert_eq!(peer.expect_return(1).delivery.text(), "too late");
    peer.publish(1, mandatory(&second), &Properties::default(), b"answer");
    assert_eq!(peer.expect_delivery(1).text(), "answer");
}

#[test]
fn a_channel_that_outlives_many_queues_goes_on() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("kept"));
    peer.put("kept", "held");
    peer.ask::<basic::ConsumeOk>(1, consume("kept", "kept"));
    let held = peer.expect_delivery(1).tag;
    for n in 0..200 {
        let name = format!("q-{n}");
        peer.ask::<queue::DeclareOk>(1, declare_queue(&name));
        peer.put(&name, "m");
        peer.ask::<basic::ConsumeOk>(1, consume(&name, &name));
        let tag = peer.expect_delivery(1).tag;
        if n % 2 == 0 {
            peer.send(1, ack(tag));
        }
        peer.send(1, delete_queue(&name));
        assert_eq!(peer.expect::<basic::Cancel<'_>>(1).consumer_tag, name);
        peer.expect::<queue::DeleteOk>(1);
    }
    peer.send(1, basic::Nack { requeue: true, ..nack(held) });
    let again = peer.expect_delivery(1);
    assert_eq!((again.consumer_tag.as_str(), again.redelivered), ("kept", true));
}
