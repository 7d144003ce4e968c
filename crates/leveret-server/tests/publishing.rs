//! Publishing: copies, returns, confirms, and what a message may say of itself.

use leveret_amqp::{Properties, Value, basic, confirm, exchange, queue};
use leveret_testkit::{
    Outcome, Peer, TestBroker, bind_queue, consume, declare_exchange, declare_queue, get, publish, purge,
    table,
};
use rstest::rstest;

fn mandatory<'a>(exchange: &'a str, key: &'a str) -> basic::Publish<'a> {
    basic::Publish { mandatory: true, ..publish(exchange, key) }
}

fn keys(keys: &[&str]) -> Value {
    Value::Array(keys.iter().map(|key| Value::from(*key)).collect())
}

/// Declares queues `a`, `b` and `c`.
fn three_queues(peer: &mut Peer) {
    for name in ["a", "b", "c"] {
        peer.ask::<queue::DeclareOk>(1, declare_queue(name));
    }
}

#[test]
fn properties_and_body_arrive_as_they_were_sent() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    let headers = table([
        ("void", Value::Void),
        ("text", "grün".into()),
        ("bytes", Value::Binary(vec![0, 255])),
        ("list", keys(&["a", "b"])),
        ("time", Value::Timestamp(1_700_000_000)),
        ("decimal", Value::Decimal(2, 314)),
    ]);
    let all = Properties {
        content_type: Some("text/plain"),
        content_encoding: Some("utf-8"),
        headers: Some(headers),
        delivery_mode: Some(2),
        priority: Some(7),
        correlation_id: Some("c-1"),
        reply_to: Some("answers"),
        expiration: Some("60000"),
        message_id: Some("m-1"),
        timestamp: Some(1_700_000_001),
        kind: Some("greeting"),
        user_id: Some("guest"),
        app_id: Some("tests"),
        cluster_id: Some("none"),
    };
    for properties in [all, Properties::default()] {
        for body in [&b""[..], b"\0\xCE\xFF", &[7; 300_000]] {
            peer.publish(1, publish("", "q"), &properties, body);
            let delivery = peer.expect_delivery(1);
            assert_eq!(delivery.properties(), properties);
            assert_eq!(delivery.body, body);
        }
    }
}

#[test]
fn copies_go_to_the_keys_in_cc_and_bcc_and_only_cc_is_seen() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    three_queues(&mut peer);
    let headers = table([("CC", keys(&["b"])), ("BCC", keys(&["c", "a"])), ("kept", "yes".into())]);
    let properties =
        Properties { headers: Some(headers), correlation_id: Some("c-1"), ..Properties::default() };
    peer.publish(1, publish("", "a"), &properties, "m");
    for name in ["a", "b", "c"] {
        let fetched = peer.fetch(1, get(name)).expect("a copy");
        assert_eq!(fetched.message_count, 0, "one copy each");
        let delivery = fetched.delivery;
        assert_eq!((delivery.routing_key.as_str(), delivery.text()), ("a", "m"));
        assert_eq!(delivery.header("CC"), Some(keys(&["b"])));
        assert_eq!(delivery.header("BCC"), None);
        assert_eq!(delivery.header("kept"), Some("yes".into()));
        assert_eq!(delivery.properties().correlation_id, Some("c-1"));
    }
}

#[test]
fn copies_go_through_exchanges_too() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    three_queues(&mut peer);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "topic"));
    peer.ask::<queue::BindOk>(1, bind_queue("a", "x", "one.*"));
    peer.ask::<queue::BindOk>(1, bind_queue("b", "x", "two.*"));
    let headers = table([("BCC", keys(&["two.x"]))]);
    let properties = Properties { headers: Some(headers), ..Properties::default() };
    peer.publish(1, mandatory("x", "nothing"), &properties, "m");
    assert!(peer.fetch(1, get("a")).is_none());
    assert!(peer.fetch(1, get("b")).is_some());
}

#[rstest]
#[case::text("CC", "b".into())]
#[case::number("BCC", Value::I32(1))]
fn copies_to_anything_but_a_list_are_refused(#[case] name: &str, #[case] value: Value) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let properties = Properties { headers: Some(table([(name, value)])), ..Properties::default() };
    peer.publish(1, publish("", "a"), &properties, "m");
    assert_eq!(peer.expect_channel_close(1).code, 406);
}

#[test]
fn a_mandatory_message_without_a_route_comes_back() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let headers = table([("n", Value::I32(1))]);
    let properties = Properties { message_id: Some("m-1"), headers: Some(headers), ..Properties::default() };
    for body in [&b""[..], b"body", &[1; 200_000]] {
        peer.publish(1, mandatory("amq.direct", "nowhere"), &properties, body);
        let returned = peer.expect_return(1);
        assert_eq!(returned.reason, (312, "NO_ROUTE".into()));
        assert_eq!(returned.delivery.exchange, "amq.direct");
        assert_eq!(returned.delivery.routing_key, "nowhere");
        assert_eq!(returned.delivery.properties(), properties);
        assert_eq!(returned.delivery.body, body);
    }
    peer.publish(1, publish("amq.direct", "nowhere"), &properties, "dropped");
    peer.expect_nothing(1);
}

#[test]
fn a_message_comes_back_before_it_is_confirmed() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.select_confirms(1);
    for tag in 1..=3 {
        peer.publish(1, mandatory("", "nowhere"), &Properties::default(), "m");
        peer.expect_return(1);
        peer.expect_confirms(1, tag, tag);
    }
}

#[test]
fn returns_and_confirms_of_a_burst_keep_their_order() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.select_confirms(1);
    for n in 1..=200 {
        let key = if n % 10 == 0 { "nowhere" } else { "q" };
        peer.publish(1, mandatory("", key), &Properties::default(), n.to_string());
    }
    let mut confirmed = 0;
    let mut returned = Vec::new();
    while confirmed < 200 {
        match peer.expect_outcome(1) {
            Outcome::Returned(message) => returned.push(message.delivery.text().to_owned()),
            Outcome::Acked(ack) => confirmed = ack.delivery_tag,
            Outcome::Nacked(nack) => panic!("{nack:?}"),
        }
        assert!(returned.len() as u64 >= confirmed / 10, "confirmed before it came back");
    }
    assert_eq!(returned, (1..=20).map(|n| (n * 10).to_string()).collect::<Vec<_>>());
    assert_eq!(peer.ask::<queue::PurgeOk>(1, purge("q")).message_count, 180);
}

#[test]
fn immediate_is_not_implemented() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let immediate = basic::Publish { immediate: true, ..publish("", "q") };
    peer.publish(1, immediate, &Properties::default(), "m");
    let close = peer.expect_connection_close();
    assert_eq!((close.code, close.text.as_str()), (540, "NOT_IMPLEMENTED - immediate=true"));
}

#[test]
fn nobody_publishes_in_anothers_name() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let as_other = Properties { user_id: Some("alice"), ..Properties::default() };
    peer.publish(1, publish("", "q"), &as_other, "m");
    let close = peer.expect_channel_close(1);
    assert_eq!(close.code, 406);
    assert_eq!(
        close.text,
        "PRECONDITION_FAILED - user_id property set to 'alice' but authenticated user was 'guest'"
    );
    let as_oneself = Properties { user_id: Some("guest"), ..Properties::default() };
    peer.publish(1, publish("", "q"), &as_oneself, "m");
    peer.expect_nothing(1);
}

#[rstest]
#[case("")]
#[case("soon")]
#[case("-1")]
#[case("1.5")]
#[case("3153600000001")]
fn an_expiration_that_is_no_number_of_milliseconds_is_refused(#[case] expiration: &str) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let properties = Properties { expiration: Some(expiration), ..Properties::default() };
    peer.publish(1, publish("", "q"), &properties, "m");
    let close = peer.expect_channel_close(1);
    assert_eq!(close.code, 406);
    assert!(close.text.starts_with("PRECONDITION_FAILED - invalid expiration"), "{}", close.text);
}

#[test]
fn a_message_beyond_the_largest_size_is_refused() {
    let broker = TestBroker::with(leveret_server::Config {
        max_message_bytes: 1000,
        ..leveret_server::Config::ephemeral()
    });
    let mut peer = Peer::open(&broker);
    peer.put("q", &"x".repeat(1000));
    peer.expect_nothing(1);
    peer.put("q", &"x".repeat(1001));
    let close = peer.expect_channel_close(1);
    assert_eq!(close.code, 406);
    assert_eq!(close.text, "PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000");
}

#[test]
fn every_publish_is_confirmed_once_and_in_order() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.put("q", "before confirms");
    peer.select_confirms(1);
    peer.select_confirms(1);
    for n in 1..=500 {
        let key = if n % 7 == 0 { "nowhere" } else { "q" };
        let delivery_mode = Some(if n % 2 == 0 { 2 } else { 1 });
        let properties = Properties { delivery_mode, ..Properties::default() };
        peer.publish(1, publish("", key), &properties, "m");
    }
    peer.expect_confirms(1, 1, 500);
    peer.expect_nothing(1);
}

#[test]
fn channels_count_their_confirms_each_for_itself() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.open_channel(2);
    peer.open_channel(3);
    peer.select_confirms(1);
    peer.select_confirms(2);
    for channel in [1, 2, 1, 3] {
        peer.publish(channel, publish("", "nowhere"), &Properties::default(), "m");
        if channel != 3 {
            let ack = peer.expect::<basic::Ack>(channel);
            assert!(ack.delivery_tag <= 2 && !ack.multiple);
        }
    }
    peer.expect_nothing(3);
}

#[test]
fn what_was_published_before_an_error_is_confirmed_before_the_close() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.select_confirms(1);
    peer.put("q", "one");
    peer.put("q", "two");
    peer.publish(1, publish("absent", "q"), &Properties::default(), "three");
    peer.expect_confirms(1, 1, 2);
    assert_eq!(peer.expect_channel_close(1).code, 404);
    assert_eq!(peer.ask::<queue::PurgeOk>(1, purge("q")).message_count, 2);
}

#[test]
fn confirms_can_be_asked_for_without_an_answer() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.send(1, confirm::Select { no_wait: true });
    peer.put("nowhere", "m");
    peer.expect_confirms(1, 1, 1);
}

#[test]
fn messages_of_a_channel_keep_their_order() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    for n in 0..1000 {
        // Different ways through the broker: small ones in runs, large ones shared, some with headers.
        let headers = (n % 3 == 0).then(|| table([("n", Value::I32(n))]));
        let body = format!("{n:0width$}", width = if n % 50 == 0 { 20_000 } else { 10 });
        peer.publish(1, publish("", "q"), &Properties { headers, ..Properties::default() }, body);
    }
    peer.ask::<basic::ConsumeOk>(1, basic::Consume { no_ack: true, ..consume("q", "tag") });
    for n in 0..1000 {
        assert_eq!(peer.expect_delivery(1).text().parse(), Ok(n));
    }
}
