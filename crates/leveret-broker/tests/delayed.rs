//! Delayed messages on a clock of the test's own: when they come, what can be asked and done while they wait, and what a
//! restart with another time on the clock makes of them.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "support/delays.rs"]
mod delays;
#[path = "support/house.rs"]
mod house;

use std::path::Path;

use leveret_amqp::{FieldTable, Properties, Table, Value};
use leveret_broker::{
    Backing, Broker, DelayedExchange, Effects, HeldId, OpenStore, StoreOptions, Time, Users,
};

use delays::{PERSISTENT, Rows, bind, exchange, furnish, hold, publish};
use house::{House, me};

const SECOND: u64 = 1_000_000;
const TRANSIENT: u8 = 1;

fn furnished() -> House {
    let mut house = House::new();
    furnish(&mut house);
    house
}

fn open(directory: &Path, rows: &Rows, now: Time) -> House {
    let store = OpenStore::open(directory, StoreOptions::default(), |_| {}).unwrap();
    let backing = Backing::new(store, 1 << 20, Box::new(rows.clone()));
    let kept = rows.0.lock().clone();
    let broker = Broker::restored(Users::new(vec![]), backing, &kept, now);
    let vhost = broker.add_vhost("/").unwrap();
    House { broker, vhost, effects: Effects::at(now) }
}

/// Ends the broker and starts it again with this time on the clock.
fn restart(house: House, directory: &Path, rows: &Rows, now: Time) -> House {
    drop((house.vhost, house.effects));
    house.broker.close().unwrap();
    open(directory, rows, now)
}

fn bodies(exchange: &DelayedExchange, after: Option<HeldId>, limit: usize) -> (Vec<String>, Option<HeldId>) {
    let page = exchange.list(after, Time::NEVER, limit).unwrap();
    let last = page.last().map(|message| message.id);
    (page.into_iter().map(|message| String::from_utf8(message.body).unwrap()).collect(), last)
}

fn id_of(exchange: &DelayedExchange, body: &str) -> HeldId {
    let all = exchange.list(None, Time::NEVER, 1000).unwrap();
    all.iter().find(|message| message.body == body.as_bytes()).unwrap().id
}

#[test]
fn messages_come_when_they_are_due_and_not_a_microsecond_earlier() {
    let mut house = furnished();
    let begin = house.effects.now;
    for (body, ms) in [("b", 20), ("a", 10), ("c", 20), ("d", 30)] {
        hold(&mut house, body, ms);
    }
    house.effects.now = Time(begin.plus_ms(10).0 - 1);
    assert_eq!(house.broker.tick(&mut house.effects), Some(begin.plus_ms(10)));
    assert_eq!(house.count("q"), 0);
    house.effects.now = begin.plus_ms(20);
    assert_eq!(house.broker.tick(&mut house.effects), Some(begin.plus_ms(30)));
    assert_eq!(house.texts("q"), ["a", "b", "c"], "by due time, then in the order of publishing");
    let totals = exchange(&house).totals();
    assert_eq!((totals.messages, totals.held_count, totals.released_count), (1, 4, 3));
}

#[test]
fn what_waits_can_be_counted_listed_and_looked_at() {
    let mut house = furnished();
    let begin = house.effects.now;
    for n in 0..250_i64 {
        let id = (n % 2 == 0).then(|| format!("id-{}", n % 10));
        publish(&mut house, &n.to_string(), 60_000 * (250 - n), PERSISTENT, id.as_deref());
    }
    let x = exchange(&house);
    let totals = x.totals();
    assert_eq!((totals.messages, totals.next_due), (250, Some(begin.plus_ms(60_000))));
    let cells = x.histogram(Time(0), Time::NEVER);
    assert_eq!(cells.iter().map(|cell| cell.messages).sum::<u64>(), 250);
    assert_eq!(cells.iter().map(|cell| cell.bytes).sum::<u64>(), totals.bytes);
    assert!(cells.iter().all(|cell| cell.messages == 1 && cell.to.0 - cell.from.0 == 60 * SECOND));
    let early = x.histogram(begin, begin.plus_ms(10 * 60_000));
    assert!((9..=11).contains(&early.len()), "{}", early.len());

    let (first, after) = bodies(&x, None, 100);
    let (second, after) = bodies(&x, after, 100);
    let (third, _) = bodies(&x, after, 100);
    let all = [first, second, third].concat();
    assert!(all.iter().map(String::as_str).eq((0..250).rev().map(|n| n.to_string()).collect::<Vec<_>>()));

    let named = x.list_by_message_id("id-4", None, 100).unwrap();
    assert_eq!(named.len(), 25);
    assert!(named.iter().all(|message| message.message_id() == Some("id-4") && !message.durable));
    assert_eq!(x.list_by_message_id("id-4", Some(named[4].id), 3).unwrap(), named[5..8]);
    assert!(x.list_by_message_id("id-5", None, 100).unwrap().is_empty());

    let id: HeldId = named[0].id.to_string().parse().unwrap();
    assert_eq!(x.get(id).unwrap().unwrap(), named[0]);
    assert!("nonsense".parse::<HeldId>().is_err());
    assert!(x.get("1-1".parse().unwrap()).unwrap().is_none());
}

#[test]
fn what_is_cancelled_never_comes() {
    let mut house = furnished();
    for n in 0..10_i64 {
        publish(&mut house, &n.to_string(), 10 + n, PERSISTENT, Some(if n < 3 { "low" } else { "high" }));
    }
    let (x, begin) = (exchange(&house), house.effects.now);
    let nine = id_of(&x, "9");
    assert!(x.cancel_one(nine, &mut house.effects).unwrap());
    assert!(!x.cancel_one(nine, &mut house.effects).unwrap(), "once");
    assert_eq!(x.cancel_by_message_id("low", &mut house.effects).unwrap(), 3);
    let span = (begin.plus_ms(14), begin.plus_ms(17));
    let odd = |message: &leveret_broker::DelayedMessage| message.body[0] % 2 == 1;
    assert_eq!(x.cancel_where(span, odd, &mut house.effects).unwrap(), 2);
    house.wait_ms(100);
    assert_eq!(house.texts("q"), ["3", "4", "6", "8"]);
    assert_eq!((x.totals().messages, x.totals().cancelled_count), (0, 6));

    hold(&mut house, "purged", 10);
    hold(&mut house, "purged", 20);
    assert_eq!(x.purge(&mut house.effects).unwrap(), 2);
    hold(&mut house, "after", 30);
    house.wait_ms(100);
    assert_eq!(house.texts("q"), ["after"]);
}

#[test]
fn many_of_one_id_are_cancelled_and_the_others_come() {
    let mut house = furnished();
    for n in 0..5000_i64 {
        publish(&mut house, &n.to_string(), 10, PERSISTENT, Some(if n % 2 == 0 { "even" } else { "odd" }));
    }
    assert_eq!(exchange(&house).cancel_by_message_id("even", &mut house.effects).unwrap(), 2500);
    house.wait_ms(100);
    assert!(house.texts("q").into_iter().eq((0..2500).map(|n| (2 * n + 1).to_string())));
}

#[test]
fn a_message_can_be_put_off_brought_forward_and_released_at_once() {
    let mut house = furnished();
    for (body, ms) in [("a", 10), ("b", 20), ("c", 30)] {
        hold(&mut house, body, ms);
    }
    let (x, begin) = (exchange(&house), house.effects.now);
    let (a, b, c) = (id_of(&x, "a"), id_of(&x, "b"), id_of(&x, "c"));
    let later = house.vhost.reschedule_held(&x, a, begin.plus_ms(40), &mut house.effects).unwrap().unwrap();
    assert_eq!(later.due(), begin.plus_ms(40));
    assert!(x.get(a).unwrap().is_none());
    house.vhost.reschedule_held(&x, c, begin.plus_ms(5), &mut house.effects).unwrap().unwrap();
    assert!(house.vhost.release_held(&x, b, &mut house.effects).unwrap());
    assert!(!house.vhost.release_held(&x, b, &mut house.effects).unwrap());
    assert_eq!(house.texts("q"), ["b"]);
    house.wait_ms(39);
    assert_eq!(house.texts("q"), ["c"]);
    house.wait_ms(1);
    assert_eq!(house.texts("q"), ["a"]);
}

#[test]
fn much_that_is_due_at_once_is_released_bit_by_bit_and_limits_hold() {
    let mut house = furnished();
    house.declare("short", [("x-max-length", Value::I32(10))]);
    bind(&house, "short");
    (0..2500).for_each(|n| hold(&mut house, &n.to_string(), 10));
    house.effects.now = house.effects.now.plus_ms(3_600_000);
    for released in [1000, 2000] {
        let next = house.broker.tick(&mut house.effects);
        assert!(next.is_some_and(|next| next <= house.effects.now), "there is more");
        assert_eq!(house.count("q"), released);
    }
    assert_eq!(house.broker.tick(&mut house.effects), None);
    assert!(house.texts("q").into_iter().eq((0..2500).map(|n| n.to_string())));
    assert_eq!(house.count("short"), 10);
}

#[test]
fn deleting_the_exchange_says_how_many_messages_went_with_it() {
    let mut house = furnished();
    (0..3).for_each(|_| hold(&mut house, "m", 10));
    assert_eq!(house.vhost.delete_exchange("x", false, &me()), Ok(3));
    house.wait_ms(100);
    assert_eq!(house.count("q"), 0);
    assert!(
        house.vhost.delayed_exchange("x").is_err() && house.vhost.delayed_exchange("amq.direct").is_err()
    );
}

#[test]
fn dead_letters_are_held_too() {
    let mut house = furnished();
    let to_x = [("x-dead-letter-exchange", Value::from("x")), ("x-message-ttl", Value::I32(5))];
    house.declare("work", to_x);
    let headers = FieldTable::from_iter([("x-delay", Value::I32(50))]).encode();
    let headers = Some(Table::parse(&headers).unwrap());
    house.publish("work", "m", Properties { headers, ..Properties::default() });
    house.wait_ms(54);
    assert_eq!((house.count("work"), house.count("q"), exchange(&house).totals().messages), (0, 0, 1));
    house.wait_ms(1);
    assert_eq!(house.texts("q"), ["m"]);
}

#[test]
fn a_restart_goes_by_the_clock_on_the_wall() {
    let (directory, rows) = (tempfile::tempdir().unwrap(), Rows::default());
    let begin = Time(1000 * SECOND);
    let mut house = open(directory.path(), &rows, begin);
    furnish(&mut house);
    for (body, seconds) in [("b", 20), ("a", 10), ("c", 30), ("d", 3600)] {
        hold(&mut house, body, seconds * 1000);
    }
    publish(&mut house, "forgotten", 15_000, TRANSIENT, None);
    // Down for 25 seconds.
    let mut house = restart(house, directory.path(), &rows, begin.plus_ms(25_000));
    assert_eq!(exchange(&house).totals().messages, 4);
    house.broker.tick(&mut house.effects);
    assert_eq!(house.texts("q"), ["a", "b"], "what came due meanwhile, in due order");
    house.wait_ms(5000);
    assert_eq!(house.texts("q"), ["c"]);
}

#[test]
fn a_clock_that_was_set_back_brings_nothing_twice() {
    let (directory, rows) = (tempfile::tempdir().unwrap(), Rows::default());
    let begin = Time(1000 * SECOND);
    let mut house = open(directory.path(), &rows, begin);
    furnish(&mut house);
    hold(&mut house, "a", 10_000);
    hold(&mut house, "b", 20_000);
    house.wait_ms(10_000);
    let fetched = house.get("q").unwrap();
    house.settle("q", &fetched, leveret_broker::Settlement::Acked);
    // Half a minute back.
    let mut house = restart(house, directory.path(), &rows, Time(begin.0 - 20 * SECOND));
    house.wait_ms(39_999);
    assert_eq!(house.count("q"), 0, "a is done with, b is not due");
    house.wait_ms(1);
    assert_eq!(house.texts("q"), ["b"]);
    assert_eq!(exchange(&house).totals().messages, 0);
}

#[test]
fn a_clock_that_jumps_forward_releases() {
    let mut house = furnished();
    hold(&mut house, "a", 365 * 86_400_000);
    house.effects.now = house.effects.now.plus_ms(366 * 86_400_000);
    house.broker.tick(&mut house.effects);
    assert_eq!(house.texts("q"), ["a"]);
}
