//! Exchanges of type `x-delayed-message`: what they hold, for how long, and what comes out.

use std::time::{Duration, Instant};

use leveret_amqp::{Properties, Table, Value, basic, exchange, queue, tx};
use leveret_testkit::{
    Peer, TestBroker, bind_exchange, bind_queue, consume, declare_exchange, declare_queue, delete_exchange,
    get, publish, table, unbind_queue,
};
use rstest::rstest;

/// Late by less than this: what is due so much later comes later, however slow the machine is.
const LATEST_MS: i32 = 400;

fn delayed<'a>(name: &'a str, kind: &str) -> exchange::Declare<'a> {
    let arguments = table([("x-delayed-type", kind.into())]);
    exchange::Declare { arguments, ..declare_exchange(name, "x-delayed-message") }
}

/// A peer with a delayed exchange `x`, and a queue `q` bound to it by `key` from which it consumes.
fn consumer(broker: &TestBroker) -> Peer {
    let mut peer = Peer::open(broker);
    peer.ask::<exchange::DeclareOk>(1, delayed("x", "direct"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.ask::<queue::BindOk>(1, bind_queue("q", "x", "key"));
    peer.ask::<basic::ConsumeOk>(1, basic::Consume { no_ack: true, ..consume("q", "tag") });
    peer
}

fn delay(value: impl Into<Value>) -> Properties<'static> {
    Properties { headers: Some(table([("x-delay", value.into())])), ..Properties::default() }
}

fn mandatory<'a>(exchange: &'a str, key: &'a str) -> basic::Publish<'a> {
    basic::Publish { mandatory: true, ..publish(exchange, key) }
}

#[rstest]
#[case(Value::I8(120), Value::I8(-120))]
#[case(Value::U8(120), Value::I16(-120))]
#[case(Value::I16(120), Value::I16(-120))]
#[case(Value::U16(120), Value::I32(-120))]
#[case(Value::I32(120), Value::I32(-120))]
#[case(Value::U32(120), Value::I64(-120))]
#[case(Value::I64(120), Value::I64(-120))]
#[case(Value::U64(120), Value::I64(-120))]
#[case(Value::F32(120.9), Value::F32(-120.9))]
#[case(Value::F64(120.9), Value::F64(-120.9))]
#[case("120".into(), "-120".into())]
fn a_message_is_held_for_its_delay_which_is_negated_then(#[case] sent: Value, #[case] seen: Value) {
    let broker = TestBroker::start();
    let mut peer = consumer(&broker);
    let start = Instant::now();
    peer.publish(1, publish("x", "key"), &delay(sent), "late");
    peer.publish(1, publish("x", "key"), &delay(120 + LATEST_MS), "too late");
    let delivery = peer.expect_delivery(1);
    let after = start.elapsed();
    assert!(after >= Duration::from_millis(120), "early: after {after:?}");
    assert_eq!(delivery.header("x-delay"), Some(seen));
    assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), ("x", "key"));
    assert_eq!(delivery.text(), "late");
}

#[rstest]
#[case(Value::I32(0))]
#[case(Value::I32(-1000))]
#[case(Value::F64(0.9))]
#[case(Value::F64(f64::NAN))]
#[case("soon".into())]
#[case("".into())]
#[case("-5".into())]
#[case(Value::Bool(true))]
#[case(Value::Void)]
fn what_is_no_delay_is_routed_at_once_and_left_as_it_is(#[case] sent: Value) {
    let broker = TestBroker::start();
    let mut peer = consumer(&broker);
    let properties = delay(sent);
    peer.publish(1, publish("x", "key"), &properties, "at once");
    peer.expect_nothing_but_delivery(1, |delivery| {
        assert_eq!(delivery.encoded_properties, properties.encode());
    });
}

#[test]
fn without_a_delay_a_message_passes_at_once() {
    let broker = TestBroker::start();
    let mut peer = consumer(&broker);
    peer.publish(1, publish("x", "key"), &Properties::default(), "at once");
    peer.expect_nothing_but_delivery(1, |delivery| assert_eq!(delivery.text(), "at once"));
}

#[rstest]
#[case(Value::I64(1 << 62))]
#[case(Value::I64(i64::MAX))]
#[case(Value::U64(u64::MAX))]
#[case(Value::U32(u32::MAX))]
#[case(Value::F64(1e300))]
#[case("9223372036854775807".into())]
fn a_delay_of_ages_is_taken_and_holds_up_nothing(#[case] sent: Value) {
    let broker = TestBroker::start();
    let mut peer = consumer(&broker);
    peer.select_confirms(1);
    peer.publish(1, publish("x", "key"), &delay(sent), "in ages");
    peer.expect_confirms(1, 1, 1);
    peer.publish(1, publish("x", "key"), &delay(300), "soon");
    peer.expect_confirms(1, 2, 2);
    assert_eq!(peer.expect_delivery(1).text(), "soon");
    peer.expect_nothing(1);
}

#[test]
fn messages_come_by_due_time_and_then_in_the_order_of_publishing() {
    let broker = TestBroker::start();
    let mut peer = consumer(&broker);
    let delays = [200, 150, 50, 150, 50, 100, 200, 50];
    // In a transaction, so that all delays begin at its commit.
    peer.ask::<tx::SelectOk>(1, tx::Select {});
    for (n, ms) in delays.iter().enumerate() {
        peer.publish(1, publish("x", "key"), &delay(*ms), format!("{ms} {n}"));
    }
    peer.ask::<tx::CommitOk>(1, tx::Commit {});
    peer.expect_texts(1, ["50 2", "50 4", "50 7", "100 5", "150 1", "150 3", "200 0", "200 6"]);
}

#[test]
fn a_thousand_due_at_once_keep_their_order() {
    let broker = TestBroker::start();
    let mut peer = consumer(&broker);
    for n in 0..1000 {
        peer.publish(1, publish("x", "key"), &delay(50), n.to_string());
    }
    for n in 0..1000 {
        assert_eq!(peer.expect_delivery(1).text(), n.to_string());
    }
}

#[rstest]
#[case::direct("direct", "key", true)]
#[case::other_key("direct", "other", false)]
#[case::fanout("fanout", "other", true)]
#[case::topic("topic", "key", true)]
fn it_routes_as_the_type_it_is_over(#[case] kind: &str, #[case] key: &str, #[case] arrives: bool) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, delayed("x", kind));
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.ask::<queue::BindOk>(1, bind_queue("q", "x", "key"));
    peer.ask::<basic::ConsumeOk>(1, basic::Consume { no_ack: true, ..consume("q", "tag") });
    peer.publish(1, publish("x", key), &delay(20), "by route");
    peer.publish(1, publish("x", "key"), &delay(60), "end");
    if arrives {
        assert_eq!(peer.expect_delivery(1).text(), "by route");
    }
    assert_eq!(peer.expect_delivery(1).text(), "end");
}

#[test]
fn over_headers_it_looks_at_headers() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, delayed("x", "headers"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    let arguments = table([("x-match", "all".into()), ("to", "q".into())]);
    peer.ask::<queue::BindOk>(1, queue::Bind { arguments, ..bind_queue("q", "x", "") });
    peer.ask::<basic::ConsumeOk>(1, basic::Consume { no_ack: true, ..consume("q", "tag") });
    for (to, ms) in [("elsewhere", 10), ("q", 40)] {
        let headers = table([("x-delay", Value::I32(ms)), ("to", to.into())]);
        peer.publish(
            1,
            publish("x", ""),
            &Properties { headers: Some(headers), ..Properties::default() },
            to,
        );
    }
    assert_eq!(peer.expect_delivery(1).text(), "q");
}

#[rstest]
#[case::missing(Table::default())]
#[case::unknown(table([("x-delayed-type", "x-unheard-of".into())]))]
#[case::itself_delayed(table([("x-delayed-type", "x-delayed-message".into())]))]
#[case::no_text(table([("x-delayed-type", Value::I32(1))]))]
fn the_type_below_must_be_known(#[case] arguments: Table<'static>) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let declare = exchange::Declare { arguments, ..declare_exchange("x", "x-delayed-message") };
    let (code, text) = peer.refused(1, declare);
    assert_eq!(code, 406);
    assert!(text.contains("x-delayed-type"), "{text}");
}

#[test]
fn declaring_another_type_below_is_refused() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, delayed("x", "direct"));
    peer.ask::<exchange::DeclareOk>(1, delayed("x", "direct"));
    let (code, text) = peer.refused(1, delayed("x", "topic"));
    assert_eq!(code, 406);
    assert!(text.contains("inequivalent arg 'x-delayed-type' for exchange 'x' in vhost '/'"), "{text}");
}

#[test]
fn mandatory_is_judged_when_publishing() {
    let broker = TestBroker::start();
    let mut peer = consumer(&broker);
    peer.select_confirms(1);
    peer.publish(1, mandatory("x", "nowhere"), &delay(20), "comes back");
    let returned = peer.expect_return(1);
    assert_eq!((returned.reason.0, returned.delivery.text()), (312, "comes back"));
    assert_eq!(returned.delivery.header("x-delay"), Some(Value::I32(20)), "as it was sent");
    peer.expect_confirms(1, 1, 1);
    peer.publish(1, mandatory("x", "key"), &delay(300), "has a route");
    peer.expect_confirms(1, 2, 2);
    assert_eq!(peer.expect_delivery(1).text(), "has a route");
}

#[test]
fn without_a_route_the_alternate_exchange_has_it_at_once() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("rest", "fanout"));
    let arguments = table([("x-delayed-type", "direct".into()), ("alternate-exchange", "rest".into())]);
    let declare = exchange::Declare { arguments, ..declare_exchange("x", "x-delayed-message") };
    peer.ask::<exchange::DeclareOk>(1, declare);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.ask::<queue::BindOk>(1, bind_queue("q", "rest", ""));
    peer.publish(1, mandatory("x", "nowhere"), &delay(60_000), "m");
    let fetched = peer.fetch(1, get("q")).expect("the message, without delay");
    assert_eq!(fetched.delivery.header("x-delay"), Some(Value::I32(60_000)));
}

#[test]
fn a_message_whose_route_is_gone_goes_to_the_alternate_exchange_or_is_dropped() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("rest", "fanout"));
    let arguments = table([("x-delayed-type", "direct".into()), ("alternate-exchange", "rest".into())]);
    let declare = exchange::Declare { arguments, ..declare_exchange("with", "x-delayed-message") };
    peer.ask::<exchange::DeclareOk>(1, declare);
    peer.ask::<exchange::DeclareOk>(1, delayed("without", "direct"));
    for name in ["q", "rest"] {
        peer.ask::<queue::DeclareOk>(1, declare_queue(name));
    }
    peer.ask::<queue::BindOk>(1, bind_queue("rest", "rest", ""));
    for exchange in ["with", "without"] {
        peer.ask::<queue::BindOk>(1, bind_queue("q", exchange, "key"));
        peer.publish(1, publish(exchange, "key"), &delay(1000), exchange);
        peer.ask::<queue::UnbindOk>(1, unbind_queue("q", exchange, "key"));
    }
    peer.ask::<basic::ConsumeOk>(1, basic::Consume { no_ack: true, ..consume("rest", "tag") });
    assert_eq!(peer.expect_delivery(1).text(), "with");
    assert!(peer.fetch(1, get("q")).is_none());
}

#[test]
fn copies_priority_and_properties_are_kept() {
    let broker = TestBroker::start();
    let mut peer = consumer(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("copy"));
    peer.ask::<queue::BindOk>(1, bind_queue("copy", "x", "copy"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("blind"));
    peer.ask::<queue::BindOk>(1, bind_queue("blind", "x", "blind"));
    let list = |key: &str| Value::Array(vec![key.into()]);
    let headers = table([("CC", list("copy")), ("BCC", list("blind")), ("x-delay", Value::I32(30))]);
    let properties = Properties {
        headers: Some(headers),
        priority: Some(5),
        message_id: Some("m-1"),
        delivery_mode: Some(2),
        ..Properties::default()
    };
    peer.publish(1, publish("x", "key"), &properties, "m");
    let first = peer.expect_delivery(1);
    let others = ["copy", "blind"].map(|name| peer.fetch(1, get(name)).expect("a copy").delivery);
    for delivery in [&first, &others[0], &others[1]] {
        assert_eq!(delivery.properties().priority, Some(5));
        assert_eq!(delivery.properties().message_id, Some("m-1"));
        assert_eq!(delivery.properties().delivery_mode, Some(2));
        assert_eq!(delivery.header("CC"), Some(list("copy")));
        assert_eq!(delivery.header("BCC"), None);
        assert_eq!(delivery.header("x-delay"), Some(Value::I32(-30)));
    }
}

#[test]
fn a_message_is_held_behind_another_exchange_too_but_once_only() {
    let broker = TestBroker::start();
    let mut peer = consumer(&broker);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("front", "fanout"));
    peer.ask::<exchange::DeclareOk>(1, delayed("second", "direct"));
    peer.ask::<exchange::BindOk>(1, bind_exchange("second", "front", ""));
    peer.ask::<exchange::BindOk>(1, bind_exchange("x", "second", "key"));
    peer.ask::<tx::SelectOk>(1, tx::Select {});
    let start = Instant::now();
    peer.publish(1, publish("front", "key"), &delay(600), "m");
    peer.publish(1, publish("x", "key"), &delay(1190), "twice");
    peer.ask::<tx::CommitOk>(1, tx::Commit {});
    let delivery = peer.expect_delivery(1);
    let after = start.elapsed();
    assert!(after >= Duration::from_millis(600), "after {after:?}");
    assert_eq!(delivery.text(), "m", "it was held twice");
    assert_eq!(delivery.exchange, "front");
}

#[test]
fn deleting_the_exchange_drops_what_it_holds() {
    let broker = TestBroker::start();
    let mut peer = consumer(&broker);
    for _ in 0..3 {
        peer.publish(1, publish("x", "key"), &delay(1000), "dropped");
    }
    peer.ask::<exchange::DeleteOk>(1, delete_exchange("x"));
    peer.ask::<exchange::DeclareOk>(1, delayed("x", "direct"));
    peer.ask::<queue::BindOk>(1, bind_queue("q", "x", "key"));
    peer.publish(1, publish("x", "key"), &delay(1040), "kept");
    assert_eq!(peer.expect_delivery(1).text(), "kept");
    peer.expect_nothing(1);
}

#[test]
fn an_internal_delayed_exchange_takes_nothing_from_clients() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, exchange::Declare { internal: true, ..delayed("x", "direct") });
    peer.publish(1, publish("x", "key"), &delay(10), "m");
    assert_eq!(peer.expect_channel_close(1).code, 403);
}

#[test]
fn a_delayed_message_outlives_the_connection_that_published_it() {
    let broker = TestBroker::start();
    let mut peer = consumer(&broker);
    let mut publisher = Peer::open(&broker);
    publisher.select_confirms(1);
    publisher.publish(1, publish("x", "key"), &delay(50), "m");
    publisher.expect_confirms(1, 1, 1);
    publisher.vanish();
    assert_eq!(peer.expect_delivery(1).text(), "m");
}
