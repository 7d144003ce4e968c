//! Whatever comes from outside, headers, definitions or records of a damaged store: it is taken or refused, and nothing
//! panics. Begins with what is right, since what is wrong in one place only gets furthest.
#![allow(clippy::unwrap_used)]

#[path = "support/given.rs"]
mod given;
#[path = "support/house.rs"]
mod house;

use leveret_amqp::{FieldTable, Properties, Table, Value as Field};
use leveret_broker::{
    Broker, Definitions, Effects, FirstUser, PlainDelay, Settlement, Users, properties_without_bcc, stored,
};
use proptest::prelude::*;
use serde_json::Value;

use house::House;

/// Names that something asks for, and one that nothing does.
const NAMES: [&str; 14] = [
    "CC",
    "BCC",
    "x-death",
    "x-delay",
    "x-delivery-count",
    "x-deduplication-header",
    "x-cache-ttl",
    "x-first-death-reason",
    "x-last-death-queue",
    "queue",
    "reason",
    "count",
    "routing-keys",
    "mine",
];

fn field() -> impl Strategy<Value = Field> {
    let leaf = prop_oneof![
        Just(Field::Void),
        any::<bool>().prop_map(Field::Bool),
        any::<i64>().prop_map(Field::I64),
        any::<u64>().prop_map(Field::U64),
        any::<f64>().prop_map(Field::F64),
        any::<u64>().prop_map(Field::Timestamp),
        any::<Vec<u8>>().prop_map(Field::Binary),
        prop::sample::select(vec!["q", "dead", "rejected", "expired", "1500", "-1", ""])
            .prop_map(Field::from),
        any::<Vec<u8>>().prop_map(Field::Text),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Field::Array),
            headers_of(inner).prop_map(Field::Table),
        ]
    })
}

fn headers_of(field: impl Strategy<Value = Field>) -> impl Strategy<Value = FieldTable> {
    let name = prop::sample::select(NAMES.to_vec()).prop_map(String::from);
    prop::collection::vec((name, field), 0..5).prop_map(FieldTable)
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["(", "quorum", "amq.x", "x-delayed-message", "nowhere"])
            .prop_map(Value::from),
        "n{250,260}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z_-]{1,8}", inner, 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_headers_are_taken_or_refused(headers in headers_of(field()), expiration in any::<bool>()) {
        let encoded = headers.encode();
        let properties = Properties {
            headers: Some(Table::parse(&encoded).unwrap()),
            expiration: expiration.then_some("0"),
            message_id: Some("m"),
            ..Properties::default()
        };
        let mut house = House::new();
        let dead_to = |queue: &str| [("x-dead-letter-exchange", Field::from("")), ("x-dead-letter-routing-key", queue.into())];
        house.declare("dead", dead_to("q"));
        house.declare("q", dead_to("dead").into_iter().chain([("x-message-deduplication", true.into())]));
        house.declare_durable("quorum", [("x-queue-type", "quorum".into())]);
        let _ = properties_without_bcc(&properties);
        let _ = PlainDelay::of(&properties.encode());
        for queue in ["q", "quorum", "dead"] {
            let client = house::me();
            if house.vhost.route(("", queue), &properties, &client).is_ok() {
                house.publish(queue, "m", properties);
            }
            for settlement in [Settlement::Requeued, Settlement::Rejected] {
                if let Some(fetched) = house.get(queue) {
                    house.settle(queue, &fetched, settlement);
                }
            }
        }
        house.wait_ms(5);
    }

    #[test]
    fn any_definitions_are_taken_or_refused(
        steps in prop::collection::vec(0..64usize, 1..6),
        other in anything(),
    ) {
        let mut json = given::definitions();
        given::replace(&mut json, &steps, other);
        given::check(json);
    }

    #[test]
    fn any_record_is_a_message_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200), len in 0u32..40) {
        let _ = stored::message_of(&bytes);
        let near = [&len.to_le_bytes()[..], &[0; 8], b"\x01x\x03key", &bytes].concat();
        let _ = stored::message_of(&near);
    }
}

#[test]
fn the_definitions_that_are_changed_are_right() {
    let broker = Broker::new(Users::new(vec![]));
    broker.begin(&FirstUser { name: "guest", password: "guest", vhost: "/" }, "test").unwrap();
    let definitions = Definitions::from_json(given::definitions()).unwrap();
    broker.import(&definitions, &mut Effects::default()).unwrap();
    assert!(broker.vhost("/").unwrap().find_queue("q").is_some());
}
