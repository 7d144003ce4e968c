//! A queue's rules: what its arguments, a policy and an operator policy make together, and what becomes of the messages
//! that wait when they change.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/house.rs"]
mod house;

use leveret_amqp::{FieldTable, Value};
use leveret_broker::{Overflow, QueueRules, check_operator_policy, check_policy};

use house::House;

fn table(pairs: impl IntoIterator<Item = (&'static str, Value)>) -> FieldTable {
    FieldTable::from_iter(pairs)
}

fn number(n: i64) -> Value {
    Value::I64(n)
}

fn none() -> FieldTable {
    FieldTable::default()
}

#[test]
fn of_numbers_the_lowest_counts() {
    let merged = |argument: i64, policy: i64, operator: i64| {
        let arguments = table([("x-max-length", number(argument))]);
        let (policy, operator) =
            (table([("max-length", number(policy))]), table([("max-length", number(operator))]));
        QueueRules::effective(&arguments, &policy, &operator, "queue 'q'").unwrap().max_length
    };
    assert_eq!(merged(1, 2, 3), Some(1));
    assert_eq!(merged(3, 1, 2), Some(1));
    assert_eq!(merged(3, 2, 1), Some(1));
}

#[test]
fn of_names_the_argument_counts_then_the_operator_then_the_policy() {
    let policy = table([("overflow", "reject-publish".into()), ("dead-letter-exchange", "policy".into())]);
    let operator = table([("overflow", "drop-head".into())]);
    let arguments = table([("x-dead-letter-exchange", "argument".into())]);
    let rules = QueueRules::effective(&arguments, &policy, &operator, "queue 'q'").unwrap();
    assert_eq!(rules.dead_letter_exchange.as_deref(), Some("argument"));
    assert_eq!(rules.overflow, Overflow::DropHead);
    let rules = QueueRules::effective(&none(), &policy, &none(), "queue 'q'").unwrap();
    assert_eq!(rules.dead_letter_exchange.as_deref(), Some("policy"));
    assert_eq!(rules.overflow, Overflow::RejectPublish);
}

#[test]
fn a_wrong_policy_names_its_key() {
    for (key, value) in [
        ("max-length", number(-1)),
        ("max-length", "3".into()),
        ("message-ttl", number(-1)),
        ("expires", number(0)),
        ("overflow", "drop".into()),
        ("dead-letter-exchange", number(1)),
        ("queue-mode", "eager".into()),
        ("max-priority", number(3)),
        ("x-max-length", number(3)),
    ] {
        let wrong = check_policy(&table([(key, value)])).expect_err(key);
        assert!(wrong.contains(key), "{wrong}");
    }
    assert!(check_policy(&none()).is_err());
    let right = [("max-length", number(1)), ("alternate-exchange", "ae".into()), ("ha-mode", "all".into())];
    assert_eq!(check_policy(&table(right)), Ok(()));
    assert!(check_operator_policy(&table([("dead-letter-exchange", "dlx".into())])).is_err());
    assert_eq!(check_operator_policy(&table([("max-length", number(1))])), Ok(()));
}

#[test]
fn a_lower_limit_lets_the_oldest_go_at_once() {
    let mut house = House::new();
    house.declare("q", []);
    (0..3000).for_each(|n| assert!(house.put("q", &n.to_string())));
    house.set_policy("q", [("max-length", number(2))]);
    house.wait_ms(0);
    assert_eq!(house.texts("q"), ["2998", "2999"]);
}

#[test]
fn full_queues_refuse_from_then_on() {
    let mut house = House::new();
    house.declare("q", []);
    assert!(house.put("q", "one") && house.put("q", "two"));
    house.set_policy("q", [("max-length", number(2)), ("overflow", "reject-publish".into())]);
    assert!(!house.put("q", "three"));
    house.set_policy("q", []);
    assert!(house.put("q", "three"));
    assert_eq!(house.texts("q"), ["one", "two", "three"]);
}

#[test]
fn a_time_to_live_counts_for_what_waits_already() {
    let mut house = House::new();
    house.declare("q", []);
    house.put("q", "early");
    house.wait_ms(50);
    house.put("q", "late");
    house.set_policy("q", [("message-ttl", number(80))]);
    house.wait_ms(30);
    assert_eq!(house.count("q"), 1);
    house.set_policy("q", []);
    house.wait_ms(1000);
    assert_eq!(house.texts("q"), ["late"]);
}

#[test]
fn dead_letters_go_where_the_new_rules_say() {
    let mut house = House::new();
    house.declare("q", []);
    house.declare("dead", []);
    house.put("q", "one");
    let target = [("dead-letter-exchange", "".into()), ("dead-letter-routing-key", "dead".into())];
    house.set_policy("q", target.into_iter().chain([("message-ttl", number(5))]));
    house.wait_ms(5);
    assert_eq!(house.texts("dead"), ["one"]);
}

#[test]
fn an_unused_queue_goes_by_the_new_time() {
    let mut house = House::new();
    house.declare("q", []);
    house.wait_ms(1000);
    house.set_policy("q", [("expires", number(100))]);
    house.wait_ms(99);
    assert!(house.is_there("q"));
    house.wait_ms(1);
    assert!(!house.is_there("q"));
}
