//! Exchanges: declaring, deleting, binding, and which messages reach which queues.

use leveret_amqp::{Properties, Table, Value, basic, exchange, queue};
use leveret_testkit::{
    Peer, TestBroker, bind_exchange, bind_queue, declare_exchange, declare_queue, delete_exchange,
    delete_queue, get, publish, purge, table, unbind_exchange, unbind_queue,
};
use rstest::rstest;

/// Declares queues, each bound to the exchange with a key of its own.
fn bound(peer: &mut Peer, exchange: &str, bindings: &[(&str, &str)]) {
    for (queue, key) in bindings {
        peer.ask::<queue::DeclareOk>(1, declare_queue(queue));
        peer.ask::<queue::BindOk>(1, bind_queue(queue, exchange, key));
    }
}

/// Declares an exchange and queues bound to it.
fn exchange_with(peer: &mut Peer, kind: &str, bindings: &[(&str, &str)]) {
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", kind));
    bound(peer, "x", bindings);
}

/// Publishes to `x` with a key, and says which of the queues have got it, once each; they are empty afterwards.
fn reached<'q>(peer: &mut Peer, key: &str, queues: &[&'q str]) -> Vec<&'q str> {
    reached_with(peer, publish("x", key), Table::default(), queues)
}

fn reached_with<'q>(
    peer: &mut Peer,
    method: basic::Publish<'_>,
    headers: Table<'_>,
    queues: &[&'q str],
) -> Vec<&'q str> {
    let properties = Properties { headers: Some(headers), ..Properties::default() };
    peer.publish(1, method, &properties, "m");
    let mut reached = Vec::new();
    for queue in queues {
        let count = peer.ask::<queue::PurgeOk>(1, purge(queue)).message_count;
        assert!(count <= 1, "{queue} has got {count} copies");
        reached.extend((count == 1).then_some(*queue));
    }
    reached
}

#[test]
fn a_direct_exchange_compares_keys() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    exchange_with(&mut peer, "direct", &[("a", "red"), ("b", "red"), ("c", "green"), ("d", "")]);
    let queues = ["a", "b", "c", "d"];
    assert_eq!(reached(&mut peer, "red", &queues), ["a", "b"]);
    assert_eq!(reached(&mut peer, "green", &queues), ["c"]);
    assert_eq!(reached(&mut peer, "", &queues), ["d"]);
    assert_eq!(reached(&mut peer, "blue", &queues), [""; 0]);
}

#[test]
fn a_fanout_exchange_looks_at_no_key() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    exchange_with(&mut peer, "fanout", &[("a", "red"), ("b", "")]);
    peer.ask::<queue::BindOk>(1, bind_queue("a", "x", "another"));
    assert_eq!(reached(&mut peer, "whatever", &["a", "b"]), ["a", "b"]);
}

#[rstest]
#[case("stock.usd.nyse", &["all", "nyse", "stock", "usd"])]
#[case("stock.eur.nyse", &["all", "nyse", "stock"])]
#[case("stock", &["all", "stock"])]
#[case("", &["all"])]
#[case("x.stock.usd", &["all"])]
#[case("usd.nyse", &["all", "nyse"])]
#[case("stock..nyse", &["all", "nyse", "stock"])]
fn a_topic_exchange_matches_words(#[case] key: &str, #[case] expected: &[&str]) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let bindings = [("all", "#"), ("nyse", "#.nyse"), ("stock", "stock.#"), ("usd", "*.usd.*")];
    exchange_with(&mut peer, "topic", &bindings);
    assert_eq!(reached(&mut peer, key, &bindings.map(|(queue, _)| queue)), expected);
}

#[rstest]
#[case::all(vec![("a", "1".into()), ("b", "2".into())], &["all", "any", "default"])]
#[case::none(vec![("c", "1".into())], &[])]
#[case::one(vec![("a", "1".into())], &["any"])]
#[case::another_value(vec![("a", "1".into()), ("b", "no".into())], &["any"])]
#[case::another_type(vec![("a", Value::I32(1)), ("b", Value::I32(2))], &[])]
#[case::more_than_wanted(
    vec![("a", "1".into()), ("b", "2".into()), ("c", "3".into())], &["all", "any", "default"]
)]
fn a_headers_exchange_matches_headers(#[case] headers: Vec<(&str, Value)>, #[case] expected: &[&str]) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "headers"));
    for (queue, matching) in [("all", Some("all")), ("any", Some("any")), ("default", None)] {
        let arguments = match matching {
            Some(matching) => table([("x-match", matching.into()), ("a", "1".into()), ("b", "2".into())]),
            None => table([("a", "1".into()), ("b", "2".into())]),
        };
        peer.ask::<queue::DeclareOk>(1, declare_queue(queue));
        peer.ask::<queue::BindOk>(1, queue::Bind { arguments, ..bind_queue(queue, "x", "ignored") });
    }
    let encoded = leveret_amqp::FieldTable::from_iter(headers).encode();
    let headers = Table::parse(&encoded).expect("just encoded");
    let queues = ["all", "any", "default"];
    assert_eq!(reached_with(&mut peer, publish("x", "key"), headers, &queues), expected);
}

#[rstest]
#[case("all", &[("x-a", "1"), ("b", "2")], true)]
#[case("all", &[("b", "2")], true)]
#[case("any", &[("x-a", "1")], false)]
#[case("all-with-x", &[("x-a", "1"), ("b", "2")], true)]
#[case("all-with-x", &[("b", "2")], false)]
#[case("any-with-x", &[("x-a", "1")], true)]
fn headers_that_begin_with_x_count_only_with_x(
    #[case] matching: &str,
    #[case] headers: &[(&str, &str)],
    #[case] matches: bool,
) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "headers"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    let arguments = table([("x-match", matching.into()), ("x-a", "1".into()), ("b", "2".into())]);
    peer.ask::<queue::BindOk>(1, queue::Bind { arguments, ..bind_queue("q", "x", "") });
    let encoded = leveret_amqp::FieldTable::from_iter(headers.iter().copied()).encode();
    let headers = Table::parse(&encoded).expect("just encoded");
    assert_eq!(reached_with(&mut peer, publish("x", ""), headers, &["q"]).len(), usize::from(matches));
}

/// Every header compared with every other would take longer than a peer has patience.
#[test]
fn a_message_with_very_many_headers_keeps_nobody_waiting() {
    let many = |prefix: char| -> leveret_amqp::FieldTable {
        (0..14_000).map(|number| (format!("{prefix}{number:05}"), Value::Void)).collect()
    };
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "headers"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    let mut any = many('a');
    any.set("x-match", "any".into());
    let encoded = any.encode();
    for key in ["1", "2", "3", "4"] {
        let arguments = Table::parse(&encoded).expect("just encoded");
        peer.ask::<queue::BindOk>(1, queue::Bind { arguments, ..bind_queue("q", "x", key) });
    }
    for (prefix, expected) in [('a', 1), ('b', 0)] {
        let encoded = many(prefix).encode();
        let headers = Table::parse(&encoded).expect("just encoded");
        assert_eq!(reached_with(&mut peer, publish("x", ""), headers, &["q"]).len(), expected);
    }
}

#[test]
fn a_void_header_in_a_binding_matches_any_value() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "headers"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    let arguments = table([("x-match", "all".into()), ("a", Value::Void)]);
    peer.ask::<queue::BindOk>(1, queue::Bind { arguments, ..bind_queue("q", "x", "") });
    for (headers, expected) in [
        (table([("a", Value::Bool(false))]), 1),
        (table([("a", "text".into())]), 1),
        (table([("b", "text".into())]), 0),
    ] {
        let reached = reached_with(&mut peer, publish("x", ""), headers, &["q"]);
        assert_eq!(reached.len(), expected, "{headers:?}");
    }
}

#[test]
fn an_unknown_x_match_is_refused() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "headers"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    let arguments = table([("x-match", "some".into())]);
    assert_eq!(peer.refused(1, queue::Bind { arguments, ..bind_queue("q", "x", "") }).0, 406);
}

#[test]
fn every_queue_is_bound_to_the_default_exchange_by_its_name() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.put("q", "hello");
    let fetched = peer.fetch(1, get("q")).expect("the message");
    assert_eq!((fetched.delivery.exchange.as_str(), fetched.delivery.routing_key.as_str()), ("", "q"));
}

#[rstest]
#[case("amq.direct", "direct")]
#[case("amq.fanout", "fanout")]
#[case("amq.topic", "topic")]
#[case("amq.headers", "headers")]
#[case("amq.match", "headers")]
fn predeclared_exchanges_are_there_and_durable(#[case] name: &str, #[case] kind: &str) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let same = exchange::Declare { durable: true, ..declare_exchange(name, kind) };
    peer.ask::<exchange::DeclareOk>(1, same);
    peer.ask::<exchange::DeclareOk>(1, exchange::Declare { passive: true, ..declare_exchange(name, "") });
    assert_eq!(peer.refused(1, delete_exchange(name)).0, 403);
}

#[test]
fn reserved_names_are_refused() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let (code, text) = peer.refused(1, declare_exchange("amq.mine", "direct"));
    assert_eq!(code, 403);
    assert_eq!(text, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'");
}

#[test]
fn nothing_can_be_done_to_the_default_exchange() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    let expected = (403, "ACCESS_REFUSED - operation not permitted on the default exchange".to_owned());
    assert_eq!(peer.refused(1, declare_exchange("", "direct")), expected);
    assert_eq!(peer.refused(1, delete_exchange("")), expected);
    assert_eq!(peer.refused(1, bind_queue("q", "", "key")), expected);
    assert_eq!(peer.refused(1, unbind_queue("q", "", "q")), expected);
    assert_eq!(peer.refused(1, bind_exchange("amq.direct", "", "key")), expected);
    assert_eq!(peer.refused(1, bind_exchange("", "amq.direct", "key")), expected);
}

#[test]
fn declaring_the_same_again_is_fine() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    for kind in ["direct", "fanout", "topic", "headers"] {
        peer.ask::<exchange::DeclareOk>(1, declare_exchange(kind, kind));
        peer.ask::<exchange::DeclareOk>(1, declare_exchange(kind, kind));
    }
}

#[rstest]
#[case::kind(
    declare_exchange("x", "topic"),
    "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'topic' but current is 'direct'"
)]
#[case::durable(
    exchange::Declare { durable: true, ..declare_exchange("x", "direct") },
    "inequivalent arg 'durable' for exchange 'x' in vhost '/': received 'true' but current is 'false'"
)]
#[case::auto_delete(
    exchange::Declare { auto_delete: true, ..declare_exchange("x", "direct") },
    "inequivalent arg 'auto_delete' for exchange 'x' in vhost '/': received 'true' but current is 'false'"
)]
#[case::internal(
    exchange::Declare { internal: true, ..declare_exchange("x", "direct") },
    "inequivalent arg 'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'"
)]
#[case::alternate(
    exchange::Declare {
        arguments: table([("alternate-exchange", "other".into())]),
        ..declare_exchange("x", "direct")
    },
    "inequivalent arg 'alternate-exchange' for exchange 'x' in vhost '/': received"
)]
fn declaring_with_other_properties_is_refused(#[case] declare: exchange::Declare<'_>, #[case] text: &str) {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "direct"));
    let (code, told) = peer.refused(1, declare);
    assert_eq!(code, 406);
    assert!(told.starts_with(&format!("PRECONDITION_FAILED - {text}")), "{told}");
}

#[test]
fn declaring_passively_asks_only_whether_it_is_there() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let passive = exchange::Declare { passive: true, ..declare_exchange("x", "topic") };
    let (code, text) = peer.refused(1, passive);
    assert_eq!((code, text.as_str()), (404, "NOT_FOUND - no exchange 'x' in vhost '/'"));
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "direct"));
    peer.ask::<exchange::DeclareOk>(1, passive);
}

#[test]
fn an_unknown_type_is_an_invalid_command() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let (code, text) = peer.broken_by(1, declare_exchange("x", "x-unheard-of"));
    assert_eq!((code, text.as_str()), (503, "COMMAND_INVALID - unknown exchange type 'x-unheard-of'"));
}

#[test]
fn publishing_to_an_exchange_that_is_not_there_closes_the_channel() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.publish(1, publish("absent", "key"), &Properties::default(), "m");
    let close = peer.expect_channel_close(1);
    assert_eq!((close.code, close.method), (404, (60, 40)));
    assert_eq!(close.text, "NOT_FOUND - no exchange 'absent' in vhost '/'");
}

#[test]
fn only_exchanges_publish_to_an_internal_exchange() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let internal = exchange::Declare { internal: true, ..declare_exchange("x", "fanout") };
    peer.ask::<exchange::DeclareOk>(1, internal);
    peer.publish(1, publish("x", "key"), &Properties::default(), "m");
    let close = peer.expect_channel_close(1);
    assert_eq!(close.code, 403);
    assert_eq!(close.text, "ACCESS_REFUSED - cannot publish to internal exchange 'x' in vhost '/'");

    peer.ask::<exchange::DeclareOk>(1, declare_exchange("front", "fanout"));
    peer.ask::<exchange::BindOk>(1, bind_exchange("x", "front", ""));
    bound(&mut peer, "x", &[("q", "")]);
    assert_eq!(reached_with(&mut peer, publish("front", ""), Table::default(), &["q"]), ["q"]);
}

#[test]
fn what_no_binding_matches_goes_to_the_alternate_exchange() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("second", "fanout"));
    for (name, alternate) in [("first", "second"), ("x", "first")] {
        let arguments = table([("alternate-exchange", alternate.into())]);
        let declare = exchange::Declare { arguments, ..declare_exchange(name, "direct") };
        peer.ask::<exchange::DeclareOk>(1, declare);
    }
    bound(&mut peer, "second", &[("rest", "")]);
    bound(&mut peer, "first", &[("green", "green")]);
    bound(&mut peer, "x", &[("red", "red")]);
    let queues = ["red", "green", "rest"];
    assert_eq!(reached(&mut peer, "red", &queues), ["red"]);
    assert_eq!(reached(&mut peer, "green", &queues), ["green"]);
    assert_eq!(reached(&mut peer, "blue", &queues), ["rest"]);
    let mandatory = basic::Publish { mandatory: true, ..publish("x", "blue") };
    assert_eq!(reached_with(&mut peer, mandatory, Table::default(), &queues), ["rest"]);
}

#[test]
fn an_alternate_exchange_that_is_not_there_or_is_in_a_circle_does_no_harm() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    for (name, alternate) in [("x", "y"), ("y", "x"), ("z", "absent")] {
        let arguments = table([("alternate-exchange", alternate.into())]);
        let declare = exchange::Declare { arguments, ..declare_exchange(name, "direct") };
        peer.ask::<exchange::DeclareOk>(1, declare);
    }
    for name in ["x", "z"] {
        let mandatory = basic::Publish { mandatory: true, ..publish(name, "key") };
        peer.publish(1, mandatory, &Properties::default(), "m");
        assert_eq!(peer.expect_return(1).reason, (312, "NO_ROUTE".into()));
    }
}

#[test]
fn messages_pass_from_exchange_to_exchange_once_each() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    exchange_with(&mut peer, "topic", &[("a", "one.*")]);
    for name in ["left", "right", "end"] {
        peer.ask::<exchange::DeclareOk>(1, declare_exchange(name, "fanout"));
    }
    for (source, destination, key) in
        [("x", "left", "one.#"), ("x", "right", "one.#"), ("left", "end", ""), ("right", "end", "")]
    {
        peer.ask::<exchange::BindOk>(1, bind_exchange(destination, source, key));
    }
    bound(&mut peer, "end", &[("b", "")]);
    assert_eq!(reached(&mut peer, "one.two", &["a", "b"]), ["a", "b"]);
    assert_eq!(reached(&mut peer, "one.two.three", &["a", "b"]), ["b"]);
    peer.ask::<exchange::UnbindOk>(1, unbind_exchange("left", "x", "one.#"));
    assert_eq!(reached(&mut peer, "one.two", &["a", "b"]), ["a", "b"]);
    peer.ask::<exchange::UnbindOk>(1, unbind_exchange("right", "x", "one.#"));
    assert_eq!(reached(&mut peer, "one.two", &["a", "b"]), ["a"]);
}

#[test]
fn a_circle_of_exchanges_delivers_once() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    exchange_with(&mut peer, "fanout", &[("a", "")]);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("y", "fanout"));
    bound(&mut peer, "y", &[("b", "")]);
    for (destination, source) in [("y", "x"), ("x", "y"), ("x", "x")] {
        peer.ask::<exchange::BindOk>(1, bind_exchange(destination, source, ""));
    }
    assert_eq!(reached(&mut peer, "key", &["a", "b"]), ["a", "b"]);
}

#[test]
fn binding_needs_both_ends() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "direct"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    let no_exchange = (404, "NOT_FOUND - no exchange 'absent' in vhost '/'".to_owned());
    let no_queue = (404, "NOT_FOUND - no queue 'absent' in vhost '/'".to_owned());
    assert_eq!(peer.refused(1, bind_queue("q", "absent", "key")), no_exchange);
    assert_eq!(peer.refused(1, bind_queue("absent", "x", "key")), no_queue);
    assert_eq!(peer.refused(1, bind_exchange("absent", "x", "key")), no_exchange);
    assert_eq!(peer.refused(1, bind_exchange("x", "absent", "key")), no_exchange);
}

#[test]
fn unbinding_what_is_not_bound_is_fine() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    exchange_with(&mut peer, "direct", &[("q", "key")]);
    peer.ask::<queue::UnbindOk>(1, unbind_queue("q", "x", "another"));
    peer.ask::<exchange::UnbindOk>(1, unbind_exchange("x", "x", "key"));
    assert_eq!(reached(&mut peer, "key", &["q"]), ["q"]);
    peer.ask::<queue::UnbindOk>(1, unbind_queue("q", "x", "key"));
    peer.ask::<queue::UnbindOk>(1, unbind_queue("q", "x", "key"));
    assert_eq!(reached(&mut peer, "key", &["q"]), [""; 0]);
}

#[test]
fn a_binding_is_known_by_its_arguments_too() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    exchange_with(&mut peer, "direct", &[("q", "key")]);
    let arguments = table([("n", Value::I32(1))]);
    peer.ask::<queue::BindOk>(1, queue::Bind { arguments, ..bind_queue("q", "x", "key") });
    peer.ask::<queue::UnbindOk>(1, unbind_queue("q", "x", "key"));
    assert_eq!(reached(&mut peer, "key", &["q"]), ["q"]);
    peer.ask::<queue::UnbindOk>(1, queue::Unbind { arguments, ..unbind_queue("q", "x", "key") });
    assert_eq!(reached(&mut peer, "key", &["q"]), [""; 0]);
}

#[test]
fn without_names_the_last_queue_is_bound_by_its_name() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "direct"));
    peer.ask::<queue::DeclareOk>(1, declare_queue("q"));
    peer.ask::<queue::BindOk>(1, bind_queue("", "x", ""));
    assert_eq!(reached(&mut peer, "q", &["q"]), ["q"]);
    peer.ask::<queue::BindOk>(1, bind_queue("", "x", "key"));
    assert_eq!(reached(&mut peer, "key", &["q"]), ["q"]);
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let auto_delete = exchange::Declare { auto_delete: true, ..declare_exchange("x", "direct") };
    let passive = exchange::Declare { passive: true, ..declare_exchange("x", "direct") };
    peer.ask::<exchange::DeclareOk>(1, auto_delete);
    bound(&mut peer, "x", &[("a", "key"), ("b", "key")]);
    peer.ask::<queue::UnbindOk>(1, unbind_queue("a", "x", "key"));
    peer.ask::<exchange::DeclareOk>(1, passive);
    peer.ask::<queue::DeleteOk>(1, delete_queue("b"));
    assert_eq!(peer.refused(1, passive).0, 404);
}

#[test]
fn an_auto_delete_exchange_goes_with_the_exchange_it_leads_to() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    let auto_delete = exchange::Declare { auto_delete: true, ..declare_exchange("x", "direct") };
    peer.ask::<exchange::DeclareOk>(1, auto_delete);
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("y", "direct"));
    peer.ask::<exchange::BindOk>(1, bind_exchange("y", "x", "key"));
    peer.ask::<exchange::DeleteOk>(1, delete_exchange("y"));
    let passive = exchange::Declare { passive: true, ..declare_exchange("x", "direct") };
    assert_eq!(peer.refused(1, passive).0, 404);
}

#[test]
fn an_exchange_in_use_is_not_deleted_if_unused() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    exchange_with(&mut peer, "direct", &[("q", "key")]);
    let if_unused = exchange::Delete { if_unused: true, ..delete_exchange("x") };
    let (code, text) = peer.refused(1, if_unused);
    assert_eq!((code, text.as_str()), (406, "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use"));
    peer.ask::<queue::UnbindOk>(1, unbind_queue("q", "x", "key"));
    peer.ask::<exchange::DeleteOk>(1, if_unused);
}

#[test]
fn deleting_what_is_not_there_is_fine() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.ask::<exchange::DeleteOk>(1, delete_exchange("absent"));
    peer.ask::<queue::DeleteOk>(1, delete_queue("absent"));
}

#[test]
fn a_deleted_exchange_takes_its_bindings_along() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    exchange_with(&mut peer, "direct", &[("q", "key")]);
    peer.ask::<exchange::DeleteOk>(1, delete_exchange("x"));
    peer.ask::<exchange::DeclareOk>(1, declare_exchange("x", "direct"));
    assert_eq!(reached(&mut peer, "key", &["q"]), [""; 0]);
}

#[test]
fn no_wait_is_not_answered() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    peer.send(1, exchange::Declare { no_wait: true, ..declare_exchange("x", "direct") });
    peer.send(1, queue::Declare { no_wait: true, ..declare_queue("q") });
    peer.send(1, queue::Bind { no_wait: true, ..bind_queue("q", "x", "key") });
    peer.send(1, exchange::Bind { no_wait: true, ..bind_exchange("amq.direct", "x", "key") });
    peer.publish(1, publish("x", "key"), &Properties::default(), "m");
    peer.send(1, exchange::Unbind { no_wait: true, ..unbind_exchange("amq.direct", "x", "key") });
    peer.expect_nothing(1);
    assert!(peer.fetch(1, get("q")).is_some());
    peer.send(1, queue::Purge { no_wait: true, ..purge("q") });
    peer.send(1, queue::Delete { no_wait: true, ..delete_queue("q") });
    peer.send(1, exchange::Delete { no_wait: true, ..delete_exchange("x") });
    peer.expect_nothing(1);
}

#[test]
fn routes_are_found_anew_when_bindings_change() {
    let broker = TestBroker::start();
    let mut peer = Peer::open(&broker);
    exchange_with(&mut peer, "direct", &[("a", "key"), ("b", "other")]);
    let mut other = Peer::open(&broker);
    for _ in 0..3 {
        assert_eq!(reached(&mut peer, "key", &["a", "b"]), ["a"]);
        other.ask::<queue::BindOk>(1, bind_queue("b", "x", "key"));
        assert_eq!(reached(&mut peer, "key", &["a", "b"]), ["a", "b"]);
        other.ask::<queue::UnbindOk>(1, unbind_queue("b", "x", "key"));
    }
    other.ask::<exchange::DeleteOk>(1, delete_exchange("x"));
    peer.publish(1, publish("x", "key"), &Properties::default(), "m");
    assert_eq!(peer.expect_channel_close(1).code, 404);
}
