//! Exchanges of type `x-consistent-hash`: who gets what, and what moves when bindings do.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_amqp::{FieldTable, Properties, Table};
use leveret_broker::{
    BindingName, Broker, Client, Effects, ErrorKind, ExchangeOptions, QueueOptions, Users, Vhost,
};

struct House {
    vhost: Arc<Vhost>,
    arguments: FieldTable,
    _broker: Broker,
}

impl House {
    /// An exchange `x` with these arguments, and queues bound to it with these weights.
    fn new<const N: usize>(arguments: FieldTable, weights: [(&str, &str); N]) -> Self {
        let broker = Broker::new(Users::new(vec![]));
        let house =
            Self { vhost: broker.add_vhost("/").unwrap(), arguments: FieldTable::default(), _broker: broker };
        house.vhost.declare_exchange("x", options(arguments), &Client::broker()).unwrap();
        for (queue, weight) in weights {
            let effects = &mut Effects::default();
            house.vhost.declare_queue(queue, QueueOptions::default(), &Client::broker(), effects).unwrap();
            house.vhost.bind(house.binding(queue, weight), &Client::broker()).unwrap();
        }
        house
    }

    fn binding<'a>(&'a self, queue: &'a str, key: &'a str) -> BindingName<'a> {
        BindingName { source: "x", destination: queue, to_queue: true, key, arguments: &self.arguments }
    }

    /// The queue that gets the message.
    fn chosen(&self, key: &str, properties: &Properties<'_>) -> String {
        let (routing, _) = self.vhost.route(("x", key), properties, &Client::broker()).unwrap();
        let [queue] = routing.route.queues.as_slice() else {
            panic!("{} queues", routing.route.queues.len())
        };
        queue.name.to_string()
    }

    fn by_key(&self) -> Vec<String> {
        (0..10_000).map(|n| self.chosen(&format!("key-{n}"), &Properties::default())).collect()
    }
}

fn options(arguments: FieldTable) -> ExchangeOptions {
    ExchangeOptions { kind: "x-consistent-hash".into(), arguments, ..ExchangeOptions::default() }
}

fn counts(chosen: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for queue in chosen {
        *counts.entry(queue.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn each_message_goes_to_one_queue_by_weight() {
    let house = House::new(FieldTable::default(), [("a", "100"), ("b", "100"), ("c", "200")]);
    let chosen = house.by_key();
    let counts = counts(&chosen);
    assert!((1_500..3_500).contains(&counts["a"]), "{counts:?}");
    assert!((1_500..3_500).contains(&counts["b"]), "{counts:?}");
    assert!((4_000..6_000).contains(&counts["c"]), "{counts:?}");
    assert_eq!(house.by_key(), chosen, "a key goes where it went");
}

#[test]
fn a_binding_that_goes_moves_only_what_it_had() {
    let house = House::new(FieldTable::default(), [("a", "50"), ("b", "50"), ("c", "50")]);
    let before = house.by_key();
    house.vhost.unbind(house.binding("b", "50"), &Client::broker()).unwrap();
    let without = house.by_key();
    for (before, after) in before.iter().zip(&without) {
        assert!(after != "b" && (before == "b" || before == after));
    }
    house.vhost.bind(house.binding("b", "50"), &Client::broker()).unwrap();
    assert_eq!(house.by_key(), before);
}

#[test]
fn a_header_or_a_property_may_be_hashed_instead() {
    let by_header = House::new(FieldTable::from_iter([("hash-header", "order")]), [("a", "10"), ("b", "10")]);
    let by_property =
        House::new(FieldTable::from_iter([("hash-property", "message_id")]), [("a", "10"), ("b", "10")]);
    let (mut headers_chose, mut ids_chose) = (Vec::new(), Vec::new());
    for n in 0..100 {
        let id = format!("id-{n}");
        let table = FieldTable::from_iter([("order", id.as_str())]).encode();
        let headers = Some(Table::parse(&table).unwrap());
        let with_header = Properties { headers, ..Properties::default() };
        let with_id = Properties { message_id: Some(&id), ..Properties::default() };
        headers_chose.push(by_header.chosen("same", &with_header));
        assert_eq!(headers_chose.last(), Some(&by_header.chosen("other", &with_header)));
        ids_chose.push(by_property.chosen("same", &with_id));
    }
    assert!(counts(&headers_chose).len() == 2 && counts(&ids_chose).len() == 2);
}

#[test]
fn wrong_arguments_and_weights_are_refused() {
    let house = House::new(FieldTable::default(), [("a", "1")]);
    let refusal =
        |arguments| house.vhost.declare_exchange("y", options(arguments), &Client::broker()).unwrap_err();
    let both = FieldTable::from_iter([("hash-header", "h"), ("hash-property", "message_id")]);
    assert_eq!(refusal(both).text, "hash-header and hash-property are mutually exclusive");
    let unknown = FieldTable::from_iter([("hash-property", "reply_to")]);
    assert_eq!(refusal(unknown).text, "Unsupported property: reply_to");
    for (weight, text) in [
        ("heavy", "must be an integer"),
        ("0", "greater than 0"),
        ("-1", "greater than 0"),
        ("9999999", "100000"),
    ] {
        let refused = house.vhost.bind(house.binding("a", weight), &Client::broker()).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::PreconditionFailed);
        assert!(refused.text.contains(text), "{refused}");
    }
}
