//! What queues do with messages beside handing them on in turn: priorities, duplicates, dead letters that nobody takes, and
//! what can be seen from outside.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/house.rs"]
mod house;
#[path = "support/kept.rs"]
mod kept;
#[path = "support/reader.rs"]
mod reader;

use leveret_amqp::{FieldTable, Properties, Table, Value};
use leveret_broker::{Effects, Group, Message, Settlement, Time, route_of};

use house::{House, me};
use kept::Kept;
use reader::consume;

fn with_priority(priority: u8) -> Properties<'static> {
    Properties { priority: Some(priority), ..Properties::default() }
}

#[test]
fn messages_of_higher_priority_are_first_and_equals_stay_in_order() {
    let mut house = House::new();
    house.declare("q", [("x-max-priority", 5.into())]);
    for (text, priority) in [("a", 1), ("b", 3), ("c", 1), ("d", 200), ("e", 5)] {
        house.publish("q", text, with_priority(priority));
    }
    house.put("q", "f");
    let peeked: Vec<_> = house.queue("q").peek(1, 3, 1).into_iter().map(|it| it.body).collect();
    assert_eq!(peeked, [b"e", b"b", b"a"]);
    assert_eq!(house.texts("q"), ["d", "e", "b", "a", "c", "f"]);
}

#[test]
fn what_came_back_stands_first_among_its_equals() {
    let mut house = House::new();
    house.declare("q", [("x-max-priority", 5.into())]);
    house.publish("q", "low", with_priority(1));
    let low = house.get("q").unwrap();
    house.publish("q", "low too", with_priority(1));
    house.publish("q", "high", with_priority(2));
    house.settle("q", &low, Settlement::Requeued);
    assert_eq!(house.texts("q"), ["high", "low", "low too"]);
}

#[test]
fn a_full_queue_with_priorities_lets_its_head_go_as_any_other() {
    let mut house = House::new();
    house.declare("q", [("x-max-priority", 5.into()), ("x-max-length", 2.into())]);
    for (text, priority) in [("a", 1), ("b", 5), ("c", 1)] {
        house.publish("q", text, with_priority(priority));
    }
    assert_eq!(house.texts("q"), ["a", "c"]);
}

#[test]
fn a_purge_empties_all_priorities() {
    let mut house = House::new();
    house.declare("q", [("x-max-priority", 5.into())]);
    (0..6).for_each(|priority| assert!(house.publish("q", "m", with_priority(priority))));
    assert_eq!(house.queue("q").purge(), 6);
    assert_eq!(house.count("q"), 0);
}

fn named(name: &str) -> FieldTable {
    FieldTable::from_iter([("x-deduplication-header", name)])
}

#[test]
fn what_was_published_before_is_not_taken_again() {
    let mut house = House::new();
    house.declare("q", [("x-message-deduplication", true.into()), ("x-cache-size", 2.into())]);
    let mut publish = |name: &str| {
        let headers = named(name).encode();
        let headers = Some(Table::parse(&headers).unwrap());
        assert!(house.publish("q", name, Properties { headers, ..Properties::default() }));
    };
    // The third name drops the first one out of the window.
    ["a", "a", "b", "a", "c", "a", "c"].into_iter().for_each(&mut publish);
    assert_eq!(house.queue("q").stats().counts.duplicates, 3);
    assert_eq!(house.texts("q"), ["a", "b", "c", "a"]);
}

#[test]
fn a_message_id_is_a_name_too_and_names_are_forgotten_in_time() {
    let mut house = House::new();
    house.declare("q", [("x-message-deduplication", true.into()), ("x-cache-ttl", 100.into())]);
    let id = |id| Properties { message_id: Some(id), ..Properties::default() };
    house.publish("q", "1", id("x"));
    house.wait_ms(99);
    house.publish("q", "2", id("x"));
    house.wait_ms(1);
    house.publish("q", "3", id("x"));
    house.put("q", "nameless");
    house.put("q", "nameless");
    assert_eq!(house.texts("q"), ["1", "3", "nameless", "nameless"]);
}

#[test]
fn a_publisher_that_was_refused_may_try_again() {
    let mut house = House::new();
    let arguments = [
        ("x-message-deduplication", true.into()),
        ("x-max-length", 1.into()),
        ("x-overflow", "reject-publish".into()),
    ];
    house.declare("q", arguments);
    let id = |id| Properties { message_id: Some(id), ..Properties::default() };
    assert!(house.publish("q", "1", id("1")));
    assert!(!house.publish("q", "2", id("2")));
    assert_eq!(house.texts("q"), ["1"]);
    assert!(house.publish("q", "2", id("2")));
    assert_eq!(house.texts("q"), ["2"]);
}

#[test]
fn a_duplicate_is_confirmed_when_the_first_one_is() {
    let kept = Kept::new();
    let mut house = House::of(kept.open(Time(1_000_000_000)));
    house.declare_durable("q", [("x-message-deduplication", true.into())]);
    let persistent = Properties { message_id: Some("x"), delivery_mode: Some(2), ..Properties::default() };
    house.publish("q", "1", persistent);
    let first = house.effects.position.take().expect("the message is stored");
    house.publish("q", "1", persistent);
    assert!(house.effects.position.take().is_some_and(|position| position >= first));
    assert_eq!(house.count("q"), 1);
}

/// A message that the queue has taken and the journal has not: a transaction's, before it is stored.
#[test]
fn a_duplicate_of_what_is_on_its_way_to_the_journal_waits_for_it() {
    let kept = Kept::new();
    let mut house = House::of(kept.open(Time(1_000_000_000)));
    house.declare_durable("q", [("x-message-deduplication", true.into())]);
    let persistent = Properties { message_id: Some("x"), delivery_mode: Some(2), ..Properties::default() };
    let encoded = persistent.encode();
    let route = route_of("", "q");
    let message = Message {
        route: &route,
        properties: &encoded,
        body: b"1",
        persistent: true,
        expiration_ms: None,
        record: None,
    };
    let (routing, _) = house.vhost.route(("", "q"), &persistent, &me()).unwrap();
    let mut group = Group::default();
    routing.route.publish_in(&mut group, &message, &mut house.effects);
    let duplicate = std::thread::scope(|scope| {
        let duplicate = scope.spawn(|| {
            let mut effects = Effects::at(Time(1_000_000_000));
            routing.route.publish(&[message], &mut effects);
            effects.position.take()
        });
        while house.queue("q").stats().counts.duplicates == 0 {
            std::thread::yield_now();
        }
        group.store(&mut house.effects);
        duplicate.join().unwrap()
    });
    let first = house.effects.position.take().expect("the message is stored");
    assert!(duplicate >= Some(first), "{duplicate:?} is before {first:?}");
    assert_eq!(house.count("q"), 1);
}

#[test]
fn what_comes_back_as_a_dead_letter_is_no_duplicate() {
    let mut house = House::new();
    let dead_to =
        |queue: &str| [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", queue.into())];
    house.declare("q", dead_to("wait").into_iter().chain([("x-message-deduplication", true.into())]));
    house.declare("wait", dead_to("q").into_iter().chain([("x-message-ttl", 10.into())]));
    house.publish("q", "1", Properties { message_id: Some("x"), ..Properties::default() });
    let failed = house.get("q").unwrap();
    house.settle("q", &failed, Settlement::Rejected);
    house.wait_ms(10);
    assert_eq!(house.texts("q"), ["1"]);
    house.publish("q", "2", Properties { message_id: Some("x"), ..Properties::default() });
    assert_eq!(house.count("q"), 0, "its publisher has published it before");
}

#[test]
fn a_message_without_time_to_wait_reaches_a_consumer_that_is_there() {
    let mut house = House::new();
    house.declare("q", [("x-message-ttl", 0.into())]);
    house.put("q", "nobody");
    assert_eq!(house.count("q"), 0);
    let reader = consume(&mut house, "q", |it| it);
    house.put("q", "somebody");
    assert_eq!(reader.texts(), ["somebody"]);
}

#[test]
fn a_full_queue_refuses_whoever_waits() {
    let mut house = House::new();
    house.declare("q", [("x-max-length", 0.into()), ("x-overflow", "reject-publish".into())]);
    let reader = consume(&mut house, "q", |it| leveret_broker::Consume { no_ack: true, ..it });
    assert!(!house.put("q", "m"));
    assert!(reader.texts().is_empty());
}

/// A queue that is full when the broker ends is full when it starts again.
fn bytes_of_the_last_run_count_for_the_limit(overflow: &str, body_bytes: usize) {
    const COUNT: usize = 2000;
    let kept = Kept::new();
    for run in 0..3 {
        let mut house = House::of(kept.open(Time(1_000_000_000 + run)));
        let limit = i32::try_from(COUNT * body_bytes).unwrap();
        house.declare_durable("q", [("x-max-length-bytes", limit.into()), ("x-overflow", overflow.into())]);
        let persistent = Properties { delivery_mode: Some(2), ..Properties::default() };
        for _ in 0..COUNT + 500 {
            house.publish("q", &"m".repeat(body_bytes), persistent);
        }
        assert_eq!(house.count("q"), COUNT, "{overflow}, bodies of {body_bytes} bytes, after {run} restarts");
        house.close();
    }
}

#[test]
fn a_queue_that_was_full_refuses_after_a_restart_too() {
    bytes_of_the_last_run_count_for_the_limit("reject-publish", 1000);
    bytes_of_the_last_run_count_for_the_limit("reject-publish", 1);
}

#[test]
fn a_queue_that_was_full_lets_the_oldest_go_after_a_restart_too() {
    bytes_of_the_last_run_count_for_the_limit("drop-head", 1000);
    bytes_of_the_last_run_count_for_the_limit("drop-head", 1);
}

fn at_least_once() -> [(&'static str, Value); 5] {
    [
        ("x-queue-type", "quorum".into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", "dead".into()),
        ("x-dead-letter-strategy", "at-least-once".into()),
        ("x-message-ttl", 10.into()),
    ]
}

#[test]
fn a_dead_letter_that_nobody_takes_waits_for_somebody() {
    let mut house = House::new();
    house.declare_durable("q", at_least_once());
    house.put("q", "m");
    house.wait_ms(5000);
    assert_eq!(house.queue("q").stats().undelivered, 1);
    house.declare("dead", [("x-max-length", 0.into()), ("x-overflow", "reject-publish".into())]);
    house.wait_ms(5000);
    assert_eq!(house.queue("q").stats().undelivered, 1, "the target is full");
    house.delete("dead");
    house.declare("dead", []);
    house.wait_ms(1000);
    assert_eq!(house.queue("q").stats().undelivered, 0);
    assert_eq!(house.texts("dead"), ["m"]);
}

#[test]
fn dead_letters_that_go_on_coming_do_not_put_off_those_that_wait() {
    let mut house = House::new();
    house.declare_durable("q", at_least_once());
    house.put("q", "small");
    house.wait_ms(100);
    house.declare("dead", [("x-max-length-bytes", 10.into()), ("x-overflow", "reject-publish".into())]);
    for _ in 0..5 {
        house.put("q", "too large for the target");
        house.wait_ms(400);
    }
    assert_eq!(house.texts("dead"), ["small"]);
    assert_eq!(house.queue("q").stats().undelivered, 5);
}

#[test]
fn of_several_targets_only_those_that_refused_are_sent_it_again() {
    const COUNT: usize = 3000;
    let mut house = House::of(Kept::new().open(Time(1_000_000_000)));
    let [kind, _, key, strategy, _] = at_least_once();
    house.declare_durable("q", [kind, ("x-dead-letter-exchange", "amq.fanout".into()), key, strategy]);
    house.declare("healthy", []);
    house.declare("full", [("x-max-length", 0.into()), ("x-overflow", "reject-publish".into())]);
    ["healthy", "full"].into_iter().for_each(|queue| house.bind("amq.fanout", queue));
    for n in 0..COUNT {
        house.put("q", &n.to_string());
        reject(&mut house, "q");
    }
    house.wait_ms(5000);
    assert_eq!((house.count("healthy"), house.queue("q").stats().undelivered), (COUNT, COUNT));
    house.delete("full");
    house.declare("full", []);
    house.bind("amq.fanout", "full");
    house.wait_ms(5000);
    assert_eq!((house.count("healthy"), house.count("full")), (COUNT, COUNT));
    assert_eq!(house.queue("q").stats().undelivered, 0);
}

#[test]
fn a_queue_keeps_a_bounded_number_of_dead_letters_and_the_rest_in_its_row() {
    let mut house = House::new();
    house.declare_durable("q", at_least_once());
    for n in 0..5000 {
        house.put("q", &n.to_string());
    }
    house.wait_ms(10_000);
    let undelivered = house.queue("q").stats().undelivered;
    assert!((1000..=3000).contains(&undelivered), "{undelivered}");
    assert_eq!(house.count("q"), 5000 - undelivered);
    assert!(house.get("q").is_none(), "what is left has expired too");
    house.declare("dead", []);
    house.wait_ms(2000);
    assert_eq!((house.count("q"), house.count("dead")), (0, 5000));
}

/// A quorum queue that sends what is rejected to the queue `dead`.
fn rejecting() -> [(&'static str, Value); 4] {
    let [kind, exchange, key, strategy, _] = at_least_once();
    [kind, exchange, key, strategy]
}

fn reject(house: &mut House, queue: &str) {
    let fetched = house.get(queue).expect("a message");
    house.settle(queue, &fetched, Settlement::Rejected);
}

#[test]
fn any_number_of_rejected_messages_waits_for_a_target_in_bounded_memory() {
    const COUNT: usize = 10_000;
    let kept = Kept::new();
    let mut house = House::of(kept.open(Time(1_000_000_000)));
    house.declare_durable("q", rejecting());
    let text = |n: usize| format!("{n:01000}");
    for n in 0..COUNT {
        house.put("q", &text(n));
        reject(&mut house, "q");
    }
    let stats = house.queue("q").stats();
    assert_eq!((stats.ready, stats.undelivered), (0, COUNT));
    assert!(stats.memory_bytes < 3_000_000, "{} bytes", stats.memory_bytes);
    house.wait_ms(5000);
    house.put("q", "purged");
    assert_eq!((house.queue("q").purge(), house.queue("q").stats().undelivered), (1, COUNT));
    house.close();

    // They are ready again after a restart. Now some are in journal and segments, and marked redelivered.
    let mut house = House::of(kept.open(Time(2_000_000_000)));
    assert_eq!(house.count("q"), COUNT);
    (0..COUNT).for_each(|_| reject(&mut house, "q"));
    assert!(house.queue("q").stats().memory_bytes < 3_000_000);
    house.declare("dead", []);
    house.wait_ms(2000);
    assert_eq!(house.queue("q").stats().undelivered, 0);
    let first = house.get("dead").unwrap();
    let properties = Properties::parse(&first.properties).unwrap();
    let reason = properties.headers.unwrap().to_owned().find("x-first-death-reason").cloned();
    assert_eq!(reason, Some("rejected".into()));
    house.settle("dead", &first, Settlement::Requeued);
    let mut texts = house.texts("dead");
    texts.sort_unstable();
    assert!(texts.into_iter().eq((0..COUNT).map(text)), "each of them, once");
    house.close();
    assert_eq!(House::of(kept.open(Time(3_000_000_000))).count("q"), 0);
}

#[test]
fn transient_dead_letters_and_those_of_priorities_are_paged_out_too() {
    const COUNT: usize = 5000;
    let kept = Kept::new();
    let mut house = House::of(kept.open(Time(1_000_000_000)));
    house.declare("q", [("x-max-priority", 3.into())]);
    let policy = [
        ("dead-letter-exchange", Value::from("")),
        ("dead-letter-routing-key", "dead".into()),
        ("dead-letter-strategy", "at-least-once".into()),
    ];
    house.set_policy("q", policy);
    for n in 0..COUNT {
        house.publish("q", &format!("{n:01000}"), with_priority(n as u8 % 4));
        reject(&mut house, "q");
    }
    let stats = house.queue("q").stats();
    assert!(stats.undelivered == COUNT && stats.memory_bytes < 3_000_000, "{stats:?}");
    house.declare("dead", []);
    house.wait_ms(2000);
    assert_eq!((house.queue("q").stats().undelivered, house.count("dead")), (0, COUNT));
}

#[test]
fn dead_letters_that_wait_take_room_in_a_queue_that_refuses() {
    let mut house = House::new();
    let limit = [("x-max-length", 2.into()), ("x-overflow", "reject-publish".into())];
    house.declare_durable("q", rejecting().into_iter().chain(limit));
    for _ in 0..2 {
        assert!(house.put("q", "m"));
        reject(&mut house, "q");
    }
    assert!(!house.put("q", "refused"));
    house.declare("dead", []);
    house.wait_ms(1000);
    assert!(house.put("q", "m"));
}

#[test]
fn what_a_full_queue_refuses_is_not_kept_for_a_target() {
    let mut house = House::new();
    house.declare("q", []);
    let policy = [
        ("dead-letter-exchange", Value::from("nowhere")),
        ("dead-letter-strategy", "at-least-once".into()),
        ("max-length", 0.into()),
        ("overflow", "reject-publish-dlx".into()),
    ];
    house.set_policy("q", policy);
    assert!(!house.put("q", "m"));
    assert_eq!(house.queue("q").stats().undelivered, 0);
}

#[test]
fn dead_letters_that_wait_go_where_the_rules_of_the_moment_say() {
    let mut house = House::new();
    house.declare_durable("q", [("x-queue-type", "quorum".into())]);
    let policy = |key: &'static str| {
        [
            ("dead-letter-exchange", Value::from("")),
            ("dead-letter-routing-key", key.into()),
            ("dead-letter-strategy", "at-least-once".into()),
            ("message-ttl", 10.into()),
        ]
    };
    house.set_policy("q", policy("nobody"));
    house.put("q", "m");
    house.wait_ms(100);
    assert_eq!(house.queue("q").stats().undelivered, 1);
    house.declare("dead", []);
    house.set_policy("q", policy("dead"));
    house.wait_ms(1000);
    assert_eq!(house.texts("dead"), ["m"]);
}

#[test]
fn a_policy_that_cannot_be_written_down_is_in_force_until_it_can() {
    let kept = Kept::new();
    let mut house = House::of(kept.open(Time(1_000_000_000)));
    house.declare_durable("q", []);
    kept.set_full(true);
    let value = serde_json::json!({"pattern": "", "definition": {"max-length": 7}});
    let set = house.vhost.set_parameter("policy", "p", value, &mut house.effects);
    assert_eq!(set.unwrap_err().text, "disk full");
    assert_eq!(house.queue("q").rules().max_length, Some(7));
    kept.set_full(false);
    house.vhost.commit().unwrap();
    house.close();
    let house = House::of(kept.open(Time(1_000_000_000)));
    assert_eq!(house.queue("q").rules().max_length, Some(7));
}

#[test]
fn a_purge_leaves_the_dead_letters_that_wait_for_somebody() {
    let kept = Kept::new();
    let mut house = House::of(kept.open(Time(1_000_000_000)));
    house.declare_durable("q", at_least_once());
    house.put("q", "dead");
    house.wait_ms(20);
    assert_eq!(house.queue("q").stats().undelivered, 1);
    house.put("q", "purged");
    assert_eq!(house.queue("q").purge(), 1);
    house.close();
    let mut house = House::of(kept.open(Time(1_000_000_000)));
    house.declare("dead", []);
    house.wait_ms(20);
    assert_eq!(house.texts("dead"), ["dead"]);
}

#[test]
fn a_queue_that_is_deleted_says_so_to_whoever_has_found_it_before() {
    let mut house = House::new();
    house.declare("q", []);
    let properties = Properties::default();
    let (found, _) = house.vhost.route(("", "q"), &properties, &house::me()).unwrap();
    house.delete("q");
    let (route, properties) = (route_of("", "q"), properties.encode());
    let message = Message {
        route: &route,
        properties: &properties,
        body: b"late",
        persistent: false,
        expiration_ms: None,
        record: None,
    };
    found.route.publish(&[message], &mut house.effects);
    assert!(house.effects.gone);
}

#[test]
fn nothing_is_due_of_a_queue_that_is_deleted() {
    let mut house = House::new();
    house.declare("q", [("x-expires", 3_600_000.into()), ("x-message-ttl", 3_600_000.into())]);
    house.put("q", "m");
    let queue = house.queue("q");
    let fetched = house.get("q").unwrap();
    assert!(house.broker.tick(&mut house.effects).is_some());
    house.delete("q");
    assert_eq!(house.broker.tick(&mut house.effects), None);
    queue.settle(&[fetched.receipt.unwrap()], Settlement::Requeued, &mut house.effects);
    assert_eq!(house.broker.tick(&mut house.effects), None, "and what comes late changes nothing");
}

#[test]
fn a_group_is_stored_at_once_when_all_its_messages_are_with_their_queues() {
    let kept = Kept::new();
    let mut house = House::of(kept.open(Time(1_000_000_000)));
    house.declare_durable("one", []);
    house.declare_durable("two", []);
    let mut group = Group::default();
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let encoded = properties.encode();
    for queue in ["one", "two", "one"] {
        let (found, _) = house.vhost.route(("", queue), &properties, &house::me()).unwrap();
        let message = Message {
            route: &route_of("", queue),
            properties: &encoded,
            body: queue.as_bytes(),
            persistent: true,
            expiration_ms: None,
            record: None,
        };
        found.route.publish_in(&mut group, &message, &mut house.effects);
    }
    assert_eq!((house.count("one"), house.count("two")), (2, 1));
    assert_eq!(house.effects.position, None, "nothing is stored yet");
    group.store(&mut house.effects);
    assert!(house.effects.position.is_some());
    drop(group);
    house.close();
    let mut house = House::of(kept.open(Time(1_000_000_000)));
    assert_eq!((house.texts("one"), house.texts("two")), (vec!["one".into(); 2], vec!["two".into()]));
}

#[test]
fn what_a_queue_is_can_be_seen() {
    let mut house = House::new();
    house.declare("q", []);
    let start = house.effects.now;
    for text in ["one", "two", "three"] {
        house.wait_ms(10);
        house.put("q", text);
    }
    let first = house.get("q").unwrap();
    let second = house.get("q").unwrap();
    house.settle("q", &first, Settlement::Acked);
    house.settle("q", &second, Settlement::Requeued);
    let _third = house.get("q").unwrap();
    let stats = house.queue("q").stats();
    assert_eq!((stats.ready, stats.ready_bytes, stats.unacked, stats.unacked_bytes), (1, 5, 1, 3));
    let counts = stats.counts;
    assert_eq!(
        (counts.published, counts.got, counts.redelivered, counts.acked, counts.requeued),
        (3, 3, 1, 1, 1)
    );
    assert_eq!(stats.idle_since, start.plus_ms(30));
    assert_eq!(stats.head_published, Some(start.plus_ms(30)));
    let [three] = house.queue("q").peek(0, 10, 2).try_into().unwrap();
    assert_eq!((three.body.as_slice(), three.body_bytes, three.expires), (b"th".as_slice(), 5, Time::NEVER));
    assert_eq!(house.count("q"), 1);
}
