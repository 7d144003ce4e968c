//! Who gets a message: priorities among consumers, the single active one, those that hold a message for too long, and
//! messages that come back too often.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/house.rs"]
mod house;
#[path = "support/reader.rs"]
mod reader;

use std::sync::Arc;

use leveret_amqp::{Properties, Value};
use leveret_broker::{Consume, Holder, Settlement};

use house::House;
use reader::{Reader, consume};

fn single() -> (&'static str, Value) {
    ("x-single-active-consumer", true.into())
}

#[test]
fn the_highest_priority_is_served_first_and_equals_in_turn() {
    let mut house = House::new();
    house.declare("q", []);
    let low = consume(&mut house, "q", |it| Consume { priority: -1, ..it });
    let [first, second] =
        [1, 1].map(|priority| consume(&mut house, "q", |it| Consume { priority, prefetch: 2, ..it }));
    (0..6).for_each(|n| assert!(house.put("q", &n.to_string())));
    assert_eq!(first.texts(), ["0", "2"]);
    assert_eq!(second.texts(), ["1", "3"]);
    assert_eq!(low.texts(), ["4", "5"]);
    first.settle_all(&mut house, Settlement::Acked);
    house.put("q", "6");
    assert_eq!(first.texts(), ["6"]);
}

#[test]
fn one_consumer_is_active_and_the_next_takes_over() {
    let mut house = House::new();
    house.declare("q", [single()]);
    let first = consume(&mut house, "q", |it| it);
    let second = consume(&mut house, "q", |it| it);
    let third = consume(&mut house, "q", |it| Consume { priority: 5, ..it });
    house.put("q", "a");
    assert_eq!((first.texts(), second.texts()), (vec!["a".into()], vec![]));
    let active: Vec<bool> = house.queue("q").consumers().iter().map(|it| it.active).collect();
    assert_eq!(active, [true, false, false]);

    first.cancel(&mut house);
    house.put("q", "b");
    assert_eq!(third.texts(), ["b"], "the higher priority takes over");
    third.cancel(&mut house);
    house.put("q", "c");
    assert_eq!(second.texts(), ["c"]);
}

#[test]
fn what_waits_goes_to_whoever_takes_over() {
    let mut house = House::new();
    house.declare("q", [single()]);
    let first = consume(&mut house, "q", |it| Consume { prefetch: 1, ..it });
    let second = consume(&mut house, "q", |it| it);
    for text in ["a", "b", "c"] {
        house.put("q", text);
    }
    assert_eq!(first.texts(), ["a"]);
    first.cancel(&mut house);
    assert_eq!(second.texts(), ["b", "c"]);
    first.settle_all(&mut house, Settlement::Requeued);
    assert_eq!(second.texts(), ["a"]);
}

#[test]
fn what_somebody_held_who_leaves_is_before_what_waits() {
    let mut house = House::new();
    house.declare("q", [single()]);
    let first = consume(&mut house, "q", |it| Consume { prefetch: 2, ..it });
    let second = consume(&mut house, "q", |it| Consume { prefetch: 3, ..it });
    for text in ["a", "b", "c", "d"] {
        house.put("q", text);
    }
    assert_eq!(first.texts(), ["a", "b"]);
    first.leave(&mut house);
    assert_eq!(second.texts(), ["a", "b", "c"]);
}

#[test]
fn a_queue_with_a_single_active_consumer_is_not_for_exclusive_ones() {
    let mut house = House::new();
    house.declare("q", [single()]);
    let exclusive = Consume { exclusive: true, ..Reader::new().consume() };
    assert!(house.queue("q").consume(exclusive).is_err());
}

#[test]
fn a_message_comes_back_so_often_and_no_more() {
    let mut house = House::new();
    house.declare("dead", []);
    house.declare_durable(
        "q",
        [
            ("x-queue-type", "quorum".into()),
            ("x-delivery-limit", 2.into()),
            ("x-dead-letter-exchange", "".into()),
            ("x-dead-letter-routing-key", "dead".into()),
        ],
    );
    house.put("q", "m");
    for returns in 0..3 {
        let fetched = house.get("q").unwrap();
        let properties = Properties::parse(&fetched.properties).unwrap();
        let counted = properties.headers.and_then(|headers| headers.find("x-delivery-count")?.as_i64());
        assert_eq!(counted, (returns > 0).then_some(returns));
        assert_eq!(fetched.redelivered, returns > 0);
        house.settle("q", &fetched, Settlement::Requeued);
    }
    assert_eq!(house.queue("q").stats().counts.over_delivery_limit, 1);
    let dead = house.get("dead").unwrap();
    let properties = Properties::parse(&dead.properties).unwrap();
    let reason = properties.headers.unwrap().find("x-first-death-reason").unwrap().as_str();
    assert_eq!(reason, Some("delivery_limit"));
}

#[test]
fn quorum_queues_count_to_twenty_unless_they_are_told_otherwise() {
    let mut house = House::new();
    for (limit, times) in [(None, 21), (Some(-1), 100)] {
        let limit = limit.map(|limit| ("x-delivery-limit", Value::I64(limit)));
        house.declare_durable("q", limit.into_iter().chain([("x-queue-type", "quorum".into())]));
        house.put("q", "m");
        let mut delivered = 0;
        while delivered < 100
            && let Some(fetched) = house.get("q")
        {
            house.settle("q", &fetched, Settlement::Requeued);
            delivered += 1;
        }
        assert_eq!(delivered, times);
        house.delete("q");
    }
}

#[test]
fn a_message_that_was_only_looked_at_has_not_come_back() {
    let mut house = House::new();
    house.declare_durable("q", [("x-queue-type", "quorum".into()), ("x-delivery-limit", 1.into())]);
    house.put("q", "m");
    for _ in 0..10 {
        let fetched = house.get("q").unwrap();
        house.settle("q", &fetched, Settlement::PutBack);
    }
    assert_eq!(house.texts("q"), ["m"]);
}

#[test]
fn a_consumer_that_holds_a_message_for_too_long_is_told_once() {
    let mut house = House::new();
    house.declare("q", [("x-consumer-timeout", 1000.into())]);
    let reader = consume(&mut house, "q", |it| it);
    house.put("q", "held");
    house.wait_ms(600);
    house.put("q", "in time");
    assert_eq!(reader.texts().len(), 2);
    reader.settle_last(&mut house, Settlement::Acked);
    house.wait_ms(399);
    assert_eq!(reader.overdue(), 0);
    house.wait_ms(1);
    assert_eq!(reader.overdue(), 1);
    house.wait_ms(5000);
    assert_eq!(reader.overdue(), 1);
}

#[test]
fn what_came_back_begins_its_time_anew() {
    let mut house = House::new();
    house.declare("q", [("x-consumer-timeout", 1000.into())]);
    let reader = consume(&mut house, "q", |it| it);
    house.put("q", "m");
    house.wait_ms(900);
    reader.settle_all(&mut house, Settlement::Requeued);
    house.wait_ms(999);
    assert_eq!(reader.overdue(), 0);
    house.wait_ms(1);
    assert_eq!(reader.overdue(), 1);
}

#[test]
fn a_consumer_that_is_cancelled_has_its_time_for_what_it_holds() {
    let mut house = House::new();
    house.declare("q", [("x-consumer-timeout", 1000.into())]);
    let reader = consume(&mut house, "q", |it| it);
    house.put("q", "m");
    reader.cancel(&mut house);
    house.wait_ms(1000);
    assert_eq!(reader.overdue(), 1);
}

#[test]
fn what_was_fetched_is_not_held_for_ever_either() {
    let mut house = House::new();
    house.declare("q", [("x-consumer-timeout", 1000.into())]);
    let holder = Reader::new();
    for text in ["settled", "held"] {
        house.put("q", text);
    }
    let get = |house: &mut House| {
        house.queue("q").get(false, Some(&(holder.clone() as Arc<dyn Holder>)), &mut house.effects).unwrap()
    };
    let settled = get(&mut house);
    get(&mut house);
    house.settle("q", &settled, Settlement::Acked);
    house.wait_ms(999);
    assert_eq!(holder.overdue(), 0);
    house.wait_ms(1);
    assert_eq!(holder.overdue(), 1);
}

#[test]
fn a_policy_may_set_the_timeout() {
    let mut house = House::new();
    house.declare("q", []);
    house.set_policy("q", [("consumer-timeout", 10.into())]);
    let reader = consume(&mut house, "q", |it| it);
    house.put("q", "m");
    house.set_policy("q", []);
    house.wait_ms(100);
    assert_eq!(reader.overdue(), 0);
}
