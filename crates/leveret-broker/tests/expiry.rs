//! Messages that have expired reach nobody, however many they are and whoever asks, and what stands behind them does.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/house.rs"]
mod house;
#[path = "support/reader.rs"]
mod reader;

use leveret_amqp::{Properties, Value};
use leveret_broker::{Consume, Settlement};

use house::House;
use reader::consume;

/// More than are let go of in one go, twice.
const MANY: usize = 2500;

/// A queue `q` that begins with the message `head`, goes on with many that have expired, and ends with `tail`.
fn expired_in_between(arguments: impl IntoIterator<Item = (&'static str, Value)>) -> House {
    let mut house = House::new();
    house.declare_durable("q", arguments);
    house.put("q", "head");
    for _ in 0..MANY {
        house.publish("q", "late", Properties { expiration: Some("1"), ..Properties::default() });
    }
    house.put("q", "tail");
    house.wait_ms(10);
    assert_eq!(house.count("q"), MANY + 2, "they expire behind their head");
    house
}

/// Dead letters for whom there is nobody.
fn to_nobody(strategy: &'static str) -> [(&'static str, Value); 3] {
    [
        ("x-queue-type", "quorum".into()),
        ("x-dead-letter-exchange", "nobody".into()),
        ("x-dead-letter-strategy", strategy.into()),
    ]
}

fn get(house: &mut House) -> Option<String> {
    let queue = house.queue("q");
    let fetched = house.vhost.get(&queue, true, None, &mut house.effects);
    house.vhost.carry_out(&mut house.effects);
    fetched.map(|it| String::from_utf8(it.body).unwrap())
}

#[test]
fn a_consumer_gets_none_of_many() {
    let mut house = expired_in_between([]);
    let reader = consume(&mut house, "q", |it| it);
    house.wait_ms(0);
    assert_eq!(reader.texts(), ["head", "tail"]);
    assert_eq!(house.queue("q").stats().counts.expired, MANY as u64);
}

#[test]
fn consumers_that_take_turns_get_none_of_many() {
    let mut house = expired_in_between([]);
    let readers = [(); 2].map(|()| consume(&mut house, "q", |it| Consume { prefetch: 1, ..it }));
    house.wait_ms(0);
    assert_eq!(readers.map(|reader| reader.texts()), [["head"], ["tail"]]);
}

#[test]
fn a_consumer_that_goes_on_by_itself_gets_none() {
    let mut house = expired_in_between([]);
    let reader = consume(&mut house, "q", |it| Consume { prefetch: 1, ..it });
    assert_eq!(reader.texts(), ["head"]);
    // Whose socket has drained does not know the time.
    let now = std::mem::take(&mut house.effects.now);
    reader.settle_all(&mut house, Settlement::Acked);
    assert_eq!(reader.texts(), [""; 0]);
    house.effects.now = now;
    house.wait_ms(0);
    assert_eq!(reader.texts(), ["tail"]);
}

#[test]
fn what_has_not_expired_reaches_a_consumer_that_goes_on_by_itself() {
    let mut house = House::new();
    house.declare("q", [("x-message-ttl", 1000.into())]);
    let reader = consume(&mut house, "q", |it| Consume { prefetch: 1, ..it });
    house.put("q", "one");
    house.put("q", "two");
    assert_eq!(reader.texts(), ["one"]);
    let now = std::mem::take(&mut house.effects.now);
    reader.settle_all(&mut house, Settlement::Acked);
    house.effects.now = now;
    house.wait_ms(0);
    assert_eq!(reader.texts(), ["two"]);
}

#[test]
fn whoever_fetches_gets_none_of_many() {
    let mut house = expired_in_between([]);
    assert_eq!(get(&mut house).as_deref(), Some("head"));
    assert_eq!(get(&mut house).as_deref(), Some("tail"));
    assert_eq!(get(&mut house), None);
}

#[test]
fn nothing_fetches_what_is_all_expired() {
    let mut house = House::new();
    house.declare("q", [("x-message-ttl", 1.into())]);
    (0..MANY).for_each(|_| assert!(house.put("q", "late")));
    house.effects.now = house.effects.now.plus_ms(10);
    assert!(house.get("q").is_none(), "not even before the first tick");
    assert_eq!(get(&mut house), None);
}

#[test]
fn dead_letters_that_nobody_takes_do_not_stand_in_the_way() {
    let mut house = expired_in_between(to_nobody("at-least-once"));
    let reader = consume(&mut house, "q", |it| it);
    house.wait_ms(0);
    assert_eq!(reader.texts(), ["head", "tail"]);
    assert_eq!(house.queue("q").stats().undelivered, MANY);
}

#[test]
fn nor_in_the_way_of_whoever_fetches() {
    let mut house = expired_in_between(to_nobody("at-least-once"));
    assert_eq!(get(&mut house).as_deref(), Some("head"));
    assert_eq!(get(&mut house).as_deref(), Some("tail"));
    assert_eq!(house.queue("q").stats().undelivered, MANY);
}
