//! Consuming: consumers, `basic.get`, prefetch, and what becomes of deliveries.

use leveret_amqp::{ContentHeader, Properties, basic, channel, queue, write_body_frames, write_method};
use leveret_testkit::{
    Delivery, Peer, TestBroker, ack, cancel, close_channel, consume, declare_queue, delete_queue, flow, get,
    nack, publish, purge, qos, reject, table,
};
use rstest::rstest;

/// A broker, and a peer with a queue `q` that holds these messages.
fn queue_of<const N: usize>(texts: [&str; N]) -> (TestBroker, Peer) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    for text in texts {
        peer.put("q", text);
    }
    (broker, peer)
}

/// Consumes from `q` and takes the deliveries that come at once.
fn consume_texts<const N: usize>(peer: &mut Peer, texts: [&str; N]) {
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.expect_texts(1, texts);
}

fn ready(peer: &mut Peer) -> u32 {
    let passive = queue::Declare { passive: true, ..declare_queue("q") };
    peer.ask::<queue::DeclareOk>(1, passive).message_count
}

fn unknown_tag(tag: u64) -> (u16, String) {
    (406, format!("PRECONDITION_FAILED - unknown delivery tag {tag}"))
}

#[test]
fn the_answer_comes_before_the_first_delivery() {
    let (_broker, mut peer) = queue_of(["one", "two"]);
    let answer = peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    assert_eq!(answer.consumer_tag, "tag");
    let delivery = peer.expect_delivery(1);
    let expected = Delivery {
        consumer_tag: "tag".into(),
        tag: 1,
        redelivered: false,
        exchange: String::new(),
        routing_key: "q".into(),
        encoded_properties: Properties::default().encode(),
        body: b"one".into(),
    };
    assert_eq!(delivery, expected);
    assert_eq!(peer.expect_delivery(1).tag, 2);
}

#[test]
fn the_server_names_a_consumer_that_has_no_tag() {
    let (_broker, mut peer) = queue_of([]);
    let first = peer.ask::<basic::ConsumeOk>(1, consume("q", "")).consumer_tag.to_owned();
    let second = peer.ask::<basic::ConsumeOk>(1, consume("q", "")).consumer_tag.to_owned();
    assert!(first.starts_with("amq.ctag-"), "{first}");
    assert_ne!(first, second);
    assert_eq!(peer.ask::<basic::CancelOk>(1, cancel(&first)).consumer_tag, first);
}

#[test]
fn a_tag_is_taken_on_its_channel_only() {
    let (_broker, mut peer) = queue_of([]);
    peer.open_channel(2);
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    peer.ask::<basic::ConsumeOk>(2, consume("q", "tag"));
    let (code, text) = peer.broken_by(1, consume("q", "tag"));
    assert_eq!((code, text.as_str()), (530, "NOT_ALLOWED - attempt to reuse consumer tag 'tag'"));
}

#[test]
fn consuming_from_a_queue_that_is_not_there_closes_the_channel() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let absent = (404, "NOT_FOUND - no queue 'absent' in vhost '/'".to_owned());
    assert_eq!(peer.refused(1, consume("absent", "tag")), absent);
    assert_eq!(peer.refused(1, get("absent")), absent);
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let (broker, mut peer) = queue_of([]);
    let mut other = Peer::open(&broker);
    let exclusive = basic::Consume { exclusive: true, ..consume("q", "exclusive") };
    peer.ask::<basic::ConsumeOk>(1, consume("q", "first"));
    assert_eq!(other.refused(1, exclusive).0, 403);
    peer.ask::<basic::CancelOk>(1, cancel("first"));
    other.ask::<basic::ConsumeOk>(1, exclusive);
    let (code, text) = peer.refused(1, consume("q", "tag"));
    assert_eq!(code, 403);
    assert!(text.starts_with("ACCESS_REFUSED - queue 'q'") && text.ends_with("in exclusive use"), "{text}");
    assert!(peer.fetch(1, get("q")).is_none());
    other.ask::<basic::CancelOk>(1, cancel("exclusive"));
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
}

#[test]
fn consuming_without_an_answer_delivers_all_the_same() {
    let (_broker, mut peer) = queue_of(["one"]);
    peer.send(1, basic::Consume { no_wait: true, ..consume("q", "tag") });
    assert_eq!(peer.expect_delivery(1).consumer_tag, "tag");
    peer.send(1, basic::Cancel { no_wait: true, ..cancel("tag") });
    peer.put("q", "two");
    peer.expect_nothing(1);
    assert_eq!(ready(&mut peer), 1);
}

#[test]
fn cancelling_ends_deliveries_and_leaves_what_is_out() {
    let (_broker, mut peer) = queue_of(["one", "two"]);
    consume_texts(&mut peer, ["one", "two"]);
    peer.ask::<basic::CancelOk>(1, cancel("tag"));
    peer.put("q", "three");
    peer.expect_nothing(1);
    peer.send(1, ack(1));
    peer.send(1, nack(2));
    assert_eq!(ready(&mut peer), 2);
    peer.ask::<basic::CancelOk>(1, cancel("unheard of"));
}

#[test]
fn no_ack_counts_as_acknowledged_when_delivered() {
    let (_broker, mut peer) = queue_of(["one", "two"]);
    peer.ask::<basic::QosOk>(1, qos(1));
    peer.ask::<basic::ConsumeOk>(1, basic::Consume { no_ack: true, no_local: true, ..consume("q", "tag") });
    peer.expect_texts(1, ["one", "two"]);
    assert_eq!(peer.refused(1, ack(1)), unknown_tag(1));
    assert_eq!(ready(&mut peer), 0);
}

#[test]
fn get_tells_how_many_are_left() {
    let (_broker, mut peer) = queue_of(["one", "two", "three"]);
    for (n, text) in ["one", "two", "three"].into_iter().enumerate() {
        let fetched = peer.fetch(1, get("q")).expect("a message");
        assert_eq!((fetched.delivery.text(), fetched.message_count as usize), (text, 2 - n));
        assert_eq!((fetched.delivery.tag as usize, fetched.delivery.redelivered), (n + 1, false));
    }
    assert!(peer.fetch(1, get("q")).is_none());
    peer.send(1, basic::Ack { delivery_tag: 2, multiple: true });
    peer.send(1, nack(3));
    let no_ack = basic::Get { no_ack: true, ..get("q") };
    let again = peer.fetch(1, no_ack).expect("the third").delivery;
    assert!(again.redelivered && again.text() == "three");
    assert_eq!(peer.refused(1, ack(again.tag)), unknown_tag(again.tag));
}

#[test]
fn prefetch_is_each_consumers_own() {
    let (_broker, mut peer) = queue_of(["1", "2", "3", "4", "5", "6", "7"]);
    peer.ask::<basic::QosOk>(1, qos(2));
    peer.ask::<basic::ConsumeOk>(1, consume("q", "a"));
    peer.expect_texts(1, ["1", "2"]);
    peer.ask::<basic::QosOk>(1, qos(3));
    peer.ask::<basic::ConsumeOk>(1, consume("q", "b"));
    peer.expect_texts(1, ["3", "4", "5"]);
    peer.expect_nothing(1);
    peer.send(1, ack(1));
    let next = peer.expect_delivery(1);
    assert_eq!((next.consumer_tag.as_str(), next.text()), ("a", "6"));
    peer.expect_nothing(1);
}

#[test]
fn global_prefetch_is_shared_by_the_channel() {
    let (_broker, mut peer) = queue_of(["1", "2", "3", "4", "5"]);
    peer.open_channel(2);
    peer.ask::<basic::QosOk>(1, basic::Qos { global: true, ..qos(3) });
    peer.ask::<basic::ConsumeOk>(1, consume("q", "a"));
    peer.expect_texts(1, ["1", "2", "3"]);
    peer.ask::<basic::ConsumeOk>(1, consume("q", "b"));
    peer.expect_nothing(1);
    peer.send(1, basic::Ack { delivery_tag: 2, multiple: true });
    peer.expect_texts(1, ["4", "5"]);
    peer.put("q", "6");
    peer.expect_nothing(1);
    peer.ask::<basic::QosOk>(1, basic::Qos { global: true, ..qos(0) });
    peer.expect_texts(1, ["6"]);
}

#[test]
fn what_was_fetched_does_not_count_for_the_global_prefetch() {
    let (_broker, mut peer) = queue_of(["1", "2", "3"]);
    peer.ask::<basic::QosOk>(1, basic::Qos { global: true, ..qos(1) });
    peer.fetch(1, get("q")).expect("a message");
    consume_texts(&mut peer, ["2"]);
    peer.expect_nothing(1);
    peer.send(1, ack(1));
    peer.expect_nothing(1);
    peer.send(1, ack(2));
    peer.expect_texts(1, ["3"]);
}

#[test]
fn prefetch_by_size_is_not_implemented() {
    let (_broker, mut peer) = queue_of([]);
    let (code, text) = peer.broken_by(1, basic::Qos { prefetch_size: 10, ..qos(0) });
    assert_eq!((code, text.as_str()), (540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)"));
}

#[test]
fn what_is_rejected_before_a_publish_is_before_it_also_where_both_come_at_once() {
    let (_broker, mut peer) = queue_of([]);
    let arguments = table([("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "q".into())]);
    peer.ask::<queue::DeclareOk>(1, queue::Declare { arguments, ..declare_queue("first") });
    peer.put("first", "rejected before");
    let tag = peer.fetch(1, get("first")).expect("a message").delivery.tag;
    let mut both = Vec::new();
    write_method(1, basic::Reject { delivery_tag: tag, requeue: false }, &mut both);
    write_method(1, publish("", "q"), &mut both);
    let header = ContentHeader { body_size: 9, properties: &Properties::default().encode() };
    header.write_frame(1, &mut both);
    write_body_frames(1, b"published", 0, &mut both);
    peer.send_bytes(&both);
    consume_texts(&mut peer, ["rejected before", "published"]);
}

#[test]
fn tag_0_with_multiple_means_all() {
    let (_broker, mut peer) = queue_of(["1", "2", "3"]);
    consume_texts(&mut peer, ["1", "2", "3"]);
    peer.send(1, basic::Ack { delivery_tag: 0, multiple: true });
    assert_eq!(peer.refused(1, ack(3)), unknown_tag(3));
    assert_eq!(ready(&mut peer), 0);
    assert_eq!(peer.refused(1, ack(0)), unknown_tag(0));
}

#[test]
fn multiple_means_all_up_to_the_tag() {
    let (_broker, mut peer) = queue_of(["1", "2", "3", "4"]);
    consume_texts(&mut peer, ["1", "2", "3", "4"]);
    peer.send(1, ack(2));
    peer.send(1, basic::Ack { delivery_tag: 3, multiple: true });
    peer.ask::<channel::CloseOk>(1, close_channel());
    peer.open_channel(1);
    let left = peer.fetch(1, get("q")).expect("the fourth");
    assert_eq!((left.delivery.text(), left.message_count), ("4", 0));
}

#[rstest]
#[case::ack(ack(9).into())]
#[case::ack_multiple(basic::Ack { delivery_tag: 9, multiple: true }.into())]
#[case::nack(nack(9).into())]
#[case::reject(reject(9).into())]
#[case::settled_before(ack(1).into())]
fn a_tag_that_is_unknown_or_settled_is_refused(#[case] method: leveret_amqp::Method<'static>) {
    let (_broker, mut peer) = queue_of(["1", "2"]);
    consume_texts(&mut peer, ["1", "2"]);
    peer.send(1, ack(1));
    let tag = match method {
        leveret_amqp::Method::Basic(basic::Method::Ack(it)) => it.delivery_tag,
        _ => 9,
    };
    assert_eq!(peer.refused(1, method), unknown_tag(tag));
    assert_eq!(ready(&mut peer), 1, "the close gives back what was out");
}

#[test]
fn a_tag_is_known_on_its_channel_only() {
    let (_broker, mut peer) = queue_of(["1"]);
    peer.open_channel(2);
    consume_texts(&mut peer, ["1"]);
    assert_eq!(peer.refused(2, ack(1)), unknown_tag(1));
}

#[test]
fn what_is_given_back_stands_where_it_stood_and_is_marked() {
    let (_broker, mut peer) = queue_of(["1", "2", "3", "4", "5"]);
    for _ in 0..4 {
        peer.fetch(1, get("q")).expect("a message");
    }
    peer.send(1, reject(3));
    peer.send(1, nack(1));
    peer.send(1, ack(2));
    peer.send(1, basic::Nack { delivery_tag: 0, multiple: true, requeue: true });
    for (text, redelivered) in [("1", true), ("3", true), ("4", true), ("5", false)] {
        let delivery = peer.fetch(1, get("q")).expect("a message").delivery;
        assert_eq!((delivery.text(), delivery.redelivered), (text, redelivered));
    }
}

#[test]
fn what_is_rejected_without_requeue_is_gone() {
    let (_broker, mut peer) = queue_of(["1", "2", "3", "4"]);
    consume_texts(&mut peer, ["1", "2", "3", "4"]);
    peer.send(1, basic::Reject { delivery_tag: 2, requeue: false });
    peer.send(1, basic::Nack { delivery_tag: 3, multiple: true, requeue: false });
    peer.ask::<basic::CancelOk>(1, cancel("tag"));
    peer.send(1, nack(4));
    assert_eq!(peer.fetch(1, get("q")).expect("the fourth").delivery.text(), "4");
    assert_eq!(ready(&mut peer), 0);
}

#[test]
fn what_is_requeued_comes_to_the_same_consumer_again_where_it_is_alone() {
    let (_broker, mut peer) = queue_of(["1", "2"]);
    consume_texts(&mut peer, ["1", "2"]);
    peer.send(1, nack(1));
    let again = peer.expect_delivery(1);
    assert_eq!((again.text(), again.redelivered, again.tag), ("1", true, 3));
}

#[test]
fn recover_delivers_again_what_is_out() {
    let (_broker, mut peer) = queue_of(["1", "2", "3"]);
    consume_texts(&mut peer, ["1", "2", "3"]);
    peer.send(1, ack(2));
    peer.ask::<basic::CancelOk>(1, cancel("tag"));
    peer.ask::<basic::RecoverOk>(1, basic::Recover { requeue: true });
    peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    for (text, tag) in [("1", 4), ("3", 5)] {
        let again = peer.expect_delivery(1);
        assert_eq!((again.text(), again.redelivered, again.tag), (text, true, tag));
    }
    peer.send(1, basic::RecoverAsync { requeue: true });
    peer.expect_texts(1, ["1", "3"]);
    peer.expect_nothing(1);
}

#[test]
fn recover_without_requeue_is_not_implemented() {
    let (_broker, mut peer) = queue_of([]);
    let (code, text) = peer.broken_by(1, basic::Recover { requeue: false });
    assert_eq!((code, text.as_str()), (540, "NOT_IMPLEMENTED - requeue=false"));
}

#[rstest]
#[case::channel_closed(0)]
#[case::channel_error(1)]
#[case::connection_closed(2)]
#[case::connection_error(3)]
#[case::vanished(4)]
fn what_was_out_goes_back_to_its_place_however_the_channel_ends(#[case] way: u8) {
    let (broker, mut peer) = queue_of(["1", "2", "3", "4"]);
    let mut other = Peer::open(&broker);
    peer.ask::<basic::QosOk>(1, qos(3));
    consume_texts(&mut peer, ["1", "2", "3"]);
    peer.send(1, ack(2));
    peer.expect_texts(1, ["4"]);
    let mut keep = None;
    match way {
        0 => {
            peer.ask::<channel::CloseOk>(1, close_channel());
            keep = Some(peer);
        }
        1 => {
            peer.refused(1, purge("absent"));
            keep = Some(peer);
        }
        2 => peer.close(),
        3 => {
            peer.broken_by(1, basic::Recover { requeue: false });
        }
        _ => peer.vanish(),
    }
    other.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    for text in ["1", "3", "4"] {
        let delivery = other.expect_delivery(1);
        assert_eq!((delivery.text(), delivery.redelivered), (text, true));
    }
    other.expect_nothing(1);
    drop(keep);
}

#[test]
fn consumers_take_turns() {
    let (broker, mut peer) = queue_of([]);
    let mut consumers: Vec<Peer> = (0..3).map(|_| Peer::open(&broker)).collect();
    for consumer in &mut consumers {
        consumer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
    }
    peer.select_confirms(1);
    for n in 0..9 {
        peer.put("q", &n.to_string());
        peer.expect_confirms(1, n + 1, n + 1);
    }
    for (first, consumer) in consumers.iter_mut().enumerate() {
        for round in 0..3 {
            assert_eq!(consumer.expect_delivery(1).text(), (first + 3 * round).to_string());
        }
    }
}

#[test]
fn a_consumer_without_credit_is_passed_over() {
    let (broker, mut peer) = queue_of([]);
    let mut slow = Peer::open(&broker);
    let mut fast = Peer::open(&broker);
    slow.ask::<basic::QosOk>(1, qos(1));
    slow.ask::<basic::ConsumeOk>(1, consume("q", "slow"));
    fast.ask::<basic::ConsumeOk>(1, consume("q", "fast"));
    for n in 0..6 {
        peer.put("q", &n.to_string());
    }
    peer.expect_nothing(1);
    slow.expect_texts(1, ["0"]);
    fast.expect_texts(1, ["1", "2", "3", "4", "5"]);
    slow.expect_nothing(1);
}

#[test]
fn flow_stops_deliveries_on_its_channel() {
    let (_broker, mut peer) = queue_of([]);
    peer.open_channel(2);
    peer.ask::<basic::ConsumeOk>(1, consume("q", "one"));
    assert!(!peer.ask::<channel::FlowOk>(1, flow(false)).active);
    peer.put("q", "1");
    peer.expect_nothing(2);
    assert!(peer.ask::<channel::FlowOk>(1, flow(true)).active);
    peer.expect_texts(1, ["1"]);
}

#[test]
fn replies_come_directly_to_the_channel_that_asks() {
    let (broker, mut server) = queue_of([]);
    let mut client = Peer::open(&broker);
    server.ask::<basic::ConsumeOk>(1, basic::Consume { no_ack: true, ..consume("q", "tag") });
    let reply_to = "amq.rabbitmq.reply-to";
    client.ask::<basic::ConsumeOk>(1, basic::Consume { no_ack: true, ..consume(reply_to, "replies") });
    let asking = Properties {
        reply_to: Some(reply_to),
        correlation_id: Some("c-1"),
        headers: Some(leveret_testkit::table([("kept", "yes".into())])),
        ..Properties::default()
    };
    client.publish(1, publish("", "q"), &asking, "question");
    let question = server.expect_delivery(1);
    assert_eq!(question.header("kept"), Some("yes".into()));
    let address = question.properties().reply_to.expect("an address").to_owned();
    assert!(address.starts_with("amq.rabbitmq.reply-to."), "{address}");
    let answer = Properties { correlation_id: Some("c-1"), ..Properties::default() };
    let mandatory = basic::Publish { mandatory: true, ..publish("", &address) };
    server.publish(1, mandatory, &answer, "answer");
    let reply = client.expect_delivery(1);
    assert_eq!((reply.text(), reply.properties().correlation_id), ("answer", Some("c-1")));

    // Without the one who asked there is no way any more.
    client.ask::<channel::CloseOk>(1, close_channel());
    server.publish(1, mandatory, &answer, "too late");
    assert_eq!(server.expect_return(1).delivery.text(), "too late");
}

#[test]
fn direct_replies_have_their_rules() {
    let (_broker, mut peer) = queue_of([]);
    let reply_to = "amq.rabbitmq.reply-to";
    let asking = Properties { reply_to: Some(reply_to), ..Properties::default() };
    peer.publish(1, publish("", "q"), &asking, "too early");
    let close = peer.expect_channel_close(1);
    let text = "PRECONDITION_FAILED - fast reply consumer does not exist";
    assert_eq!((close.code, close.text.as_str()), (406, text));
    let text = "PRECONDITION_FAILED - reply consumer cannot acknowledge";
    assert_eq!(peer.refused(1, consume(reply_to, "tag")), (406, text.into()));
    let replies = |tag| basic::Consume { no_ack: true, ..consume(reply_to, tag) };
    peer.ask::<basic::ConsumeOk>(1, replies("one"));
    let text = "PRECONDITION_FAILED - reply consumer already set";
    assert_eq!(peer.refused(1, replies("two")), (406, text.into()));
    peer.ask::<basic::ConsumeOk>(1, replies("one"));
}

#[test]
fn deliveries_of_two_queues_share_a_channels_tags() {
    let (_broker, mut peer) = queue_of(["1", "2"]);
    peer.ask::<queue::DeclareOk>(1, declare_queue("other"));
    peer.put("other", "3");
    consume_texts(&mut peer, ["1", "2"]);
    peer.ask::<basic::ConsumeOk>(1, consume("other", "another"));
    assert_eq!(peer.expect_delivery(1).tag, 3);
    peer.send(1, basic::Nack { delivery_tag: 3, multiple: true, requeue: true });
    let mut again: Vec<String> = (0..3).map(|_| peer.expect_delivery(1).text().to_owned()).collect();
    again.sort();
    assert_eq!(again, ["1", "2", "3"]);
}

#[test]
fn a_queue_deleted_under_its_consumer_can_be_made_and_consumed_again() {
    let (_broker, mut peer) = queue_of(["1"]);
    for _ in 0..20 {
        peer.ask::<basic::ConsumeOk>(1, consume("q", "tag"));
        peer.expect_texts(1, ["1"]);
        peer.ask::<basic::CancelOk>(1, cancel("tag"));
        peer.ask::<queue::DeleteOk>(1, delete_queue("q"));
        peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
        peer.put("q", "1");
    }
}

#[test]
fn a_client_that_publishes_much_before_it_reads_is_served() {
    let (_broker, mut peer) = queue_of([]);
    peer.ask::<basic::ConsumeOk>(1, basic::Consume { no_ack: true, ..consume("q", "tag") });
    let body = "x".repeat(1 << 20);
    for _ in 0..24 {
        peer.put("q", &body);
    }
    for _ in 0..24 {
        assert_eq!(peer.expect_delivery(1).body.len(), body.len());
    }
}
