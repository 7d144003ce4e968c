//! Expiry, limits and dead letters of queues in a virtual host, on a clock of the test's own.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/house.rs"]
mod house;

use leveret_amqp::{FieldTable, Properties, Table, Value};
use leveret_broker::{Fetched, QueueOptions, Settlement, split_route};

use house::{House, ME, me};

fn ttl(ms: i32) -> (&'static str, Value) {
    ("x-message-ttl", ms.into())
}

fn dead_to(exchange: &str) -> (&'static str, Value) {
    ("x-dead-letter-exchange", exchange.into())
}

fn dead_key(key: &str) -> (&'static str, Value) {
    ("x-dead-letter-routing-key", key.into())
}

fn headers(fetched: &Fetched) -> FieldTable {
    let properties = Properties::parse(&fetched.properties).unwrap();
    properties.headers.map(|headers| headers.to_owned()).unwrap_or_default()
}

fn deaths(fetched: &Fetched) -> Vec<FieldTable> {
    let Some(Value::Array(deaths)) = headers(fetched).find("x-death").cloned() else { return vec![] };
    deaths
        .into_iter()
        .map(|death| match death {
            Value::Table(death) => death,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_message_is_gone_when_it_has_waited_its_time_and_not_before() {
    let mut house = House::new();
    house.declare("q", [ttl(100)]);
    house.put("q", "a");
    house.wait_ms(99);
    assert_eq!(house.count("q"), 1);
    house.put("q", "b");
    house.wait_ms(1);
    assert_eq!(house.count("q"), 1);
    assert_eq!(house.texts("q"), ["b"]);
}

#[test]
fn the_shorter_of_both_times_counts_and_expiry_goes_from_the_head() {
    let mut house = House::new();
    house.declare("q", [ttl(1000)]);
    house.put("q", "long");
    house.publish("q", "short", Properties { expiration: Some("10"), ..Properties::default() });
    house.wait_ms(500);
    assert_eq!(house.count("q"), 2, "what stands behind a message that lives waits for it");
    assert_eq!(house.texts("q"), ["long"]);
}

#[test]
fn an_expired_message_goes_to_the_dead_letter_exchange_with_its_story() {
    let mut house = House::new();
    house.declare("q", [dead_to(""), dead_key("dead")]);
    house.declare("dead", []);
    let properties = Properties { expiration: Some("50"), message_id: Some("m"), ..Properties::default() };
    house.publish("q", "a", properties);
    house.wait_ms(50);
    assert_eq!(house.count("q"), 0);
    let dead = house.get("dead").expect("the dead letter");
    assert_eq!(split_route(&dead.route), ("", "dead"));
    let properties = Properties::parse(&dead.properties).unwrap();
    assert_eq!((properties.expiration, properties.message_id), (None, Some("m")));
    let story = deaths(&dead);
    let expected = FieldTable::from_iter([
        ("count", Value::I64(1)),
        ("reason", "expired".into()),
        ("queue", "q".into()),
        ("time", Value::Timestamp(1000)),
        ("exchange", "".into()),
        ("routing-keys", Value::Array(vec!["q".into()])),
        ("original-expiration", "50".into()),
    ]);
    assert_eq!(story, [expected]);
    for end in ["first", "last"] {
        assert_eq!(headers(&dead).find(&format!("x-{end}-death-reason")), Some(&"expired".into()));
        assert_eq!(headers(&dead).find(&format!("x-{end}-death-queue")), Some(&"q".into()));
    }
}

#[test]
fn a_rejected_message_goes_there_too_and_repetitions_are_counted() {
    let mut house = House::new();
    house.declare("work", [dead_to(""), dead_key("wait")]);
    house.declare("wait", [ttl(10), dead_to(""), dead_key("work")]);
    house.put("work", "a");
    for _ in 0..3 {
        let fetched = house.get("work").expect("back at work");
        let queue = house.vhost.queue("work", ME).unwrap();
        queue.settle(&[fetched.receipt.unwrap()], Settlement::Rejected, &mut house.effects);
        house.vhost.carry_out(&mut house.effects);
        house.wait_ms(10);
    }
    let back = house.get("work").unwrap();
    let story: Vec<_> = deaths(&back)
        .into_iter()
        .map(|death| (death.find("queue").cloned().unwrap(), death.find("count").cloned().unwrap()))
        .collect();
    assert_eq!(story, [("wait".into(), Value::I64(3)), ("work".into(), Value::I64(3))]);
    assert_eq!(headers(&back).find("x-first-death-queue"), Some(&"work".into()));
    assert_eq!(headers(&back).find("x-last-death-queue"), Some(&"wait".into()));
}

#[test]
fn a_cycle_that_nobody_rejects_in_ends() {
    let mut house = House::new();
    house.declare("a", [ttl(10), dead_to(""), dead_key("b")]);
    house.declare("b", [ttl(10), dead_to(""), dead_key("a")]);
    house.put("a", "round");
    house.wait_ms(10);
    assert_eq!(house.count("b"), 1);
    house.wait_ms(10);
    assert_eq!((house.count("a"), house.count("b")), (0, 0));
}

#[test]
fn a_full_queue_lets_the_oldest_go() {
    let mut house = House::new();
    house.declare("q", [("x-max-length", 2.into()), dead_to(""), dead_key("dead")]);
    house.declare("dead", []);
    for body in ["a", "b", "c", "d"] {
        assert!(house.put("q", body));
    }
    assert_eq!(house.texts("q"), ["c", "d"]);
    let dead = house.get("dead").unwrap();
    assert_eq!((dead.body.as_slice(), deaths(&dead)[0].find("reason")), (&b"a"[..], Some(&"maxlen".into())));
    house.declare("bytes", [("x-max-length-bytes", 5.into())]);
    for body in ["aaa", "bb", "c"] {
        house.put("bytes", body);
    }
    assert_eq!(house.texts("bytes"), ["bb", "c"]);
}

#[test]
fn or_it_takes_no_new_ones() {
    let mut house = House::new();
    house.declare("q", [("x-max-length", 1.into()), ("x-overflow", "reject-publish".into())]);
    assert!(house.put("q", "a"));
    assert!(!house.put("q", "b"));
    assert_eq!(house.texts("q"), ["a"]);
    let overflow = ("x-overflow", Value::from("reject-publish-dlx"));
    house.declare("r", [("x-max-length", 0.into()), overflow, dead_to(""), dead_key("dead")]);
    house.declare("dead", []);
    assert!(!house.put("r", "c"));
    assert_eq!(house.texts("dead"), ["c"]);
}

#[test]
fn a_queue_that_nobody_uses_goes() {
    let mut house = House::new();
    house.declare("q", [("x-expires", 100.into())]);
    house.wait_ms(60);
    house.get("q");
    house.wait_ms(60);
    assert!(house.vhost.declared_queue("q", ME, &mut house.effects).is_ok(), "it was fetched from");
    house.wait_ms(60);
    assert!(house.vhost.queue("q", ME).is_ok(), "it was declared passively");
    house.wait_ms(40);
    assert!(house.vhost.queue("q", ME).is_err());
}

#[test]
fn a_missing_dead_letter_exchange_loses_the_message_and_nothing_else() {
    let mut house = House::new();
    house.declare("q", [ttl(10), dead_to("nowhere")]);
    house.put("q", "a");
    house.wait_ms(10);
    assert_eq!(house.count("q"), 0);
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    let mut house = House::new();
    for (name, value) in [
        ("x-message-ttl", Value::from("soon")),
        ("x-message-ttl", Value::I32(-1)),
        ("x-expires", Value::I32(0)),
        ("x-max-length", Value::I64(-5)),
        ("x-max-length-bytes", Value::Bool(true)),
        ("x-overflow", "spill".into()),
        ("x-dead-letter-exchange", Value::I32(1)),
        ("x-dead-letter-routing-key", "alone".into()),
    ] {
        let text = house.refusal([(name, value)]);
        assert!(text.contains(&format!("'{name}'")), "{text}");
    }
    house.declare("q", [ttl(5)]);
    let options = QueueOptions { arguments: FieldTable::from_iter([ttl(6)]), ..QueueOptions::default() };
    let refused = house.vhost.declare_queue("q", options, &me(), &mut house.effects).err().unwrap();
    assert!(refused.text.contains("'x-message-ttl'"), "{}", refused.text);
    // The type of the integer does not matter.
    house.declare("q", [("x-message-ttl", Value::I64(5))]);
}

#[test]
fn the_headers_stay_readable() {
    let mut house = House::new();
    let own = FieldTable::from_iter([("CC", Value::Array(vec!["copy".into()])), ("mine", 7.into())]).encode();
    let properties = Properties { headers: Some(Table::parse(&own).unwrap()), ..Properties::default() };
    house.declare("q", [ttl(1), dead_to(""), dead_key("dead")]);
    house.declare("dead", []);
    house.publish("q", "a", properties);
    house.wait_ms(1);
    let dead = house.get("dead").unwrap();
    assert_eq!(headers(&dead).find("mine"), Some(&7.into()));
    assert_eq!(headers(&dead).find("CC"), None, "a dead-letter routing key replaces the copies' keys");
    let keys = Value::Array(vec!["q".into(), "copy".into()]);
    assert_eq!(deaths(&dead)[0].find("routing-keys"), Some(&keys));
}

#[test]
fn many_ticks_that_were_set_leave_one() {
    let mut house = House::new();
    house.declare("q", [ttl(100), ("x-expires", 3_600_000.into())]);
    for _ in 0..1000 {
        house.put("q", "a");
        house.wait_ms(150);
    }
    // What is left is the queue's own end: the next thing due is an hour after its last use.
    let due = house.broker.tick(&mut house.effects).expect("the queue is still there");
    assert!(due > house.effects.now.plus_ms(3_000_000), "{due:?}");
    assert_eq!(house.count("q"), 0);
}

#[test]
fn what_becomes_the_head_by_an_acknowledgement_expires_too() {
    let mut house = House::new();
    house.declare("q", []);
    house.put("q", "held");
    let held = house.get("q").unwrap();
    house.put("q", "for ever");
    let properties = Properties { expiration: Some("50"), ..Properties::default() };
    house.publish("q", "short", properties);
    let first = house.get("q").unwrap();
    assert_eq!(first.body, b"for ever");
    let queue = house.vhost.queue("q", ME).unwrap();
    queue.settle(&[held.receipt.unwrap()], Settlement::Acked, &mut house.effects);
    house.wait_ms(60);
    assert_eq!(house.count("q"), 0);
}

#[test]
fn any_number_of_messages_expires() {
    let mut house = House::new();
    house.declare("q", [ttl(100), dead_to(""), dead_key("dead")]);
    house.declare("dead", []);
    for _ in 0..10_000 {
        house.put("q", "a");
    }
    house.wait_ms(100);
    assert_eq!((house.count("q"), house.count("dead")), (0, 10_000));
}
