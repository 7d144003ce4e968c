//! What a queue knows to have been published before outlives the broker, however it ends.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "a seed is given from outside")]

#[path = "support/delays.rs"]
mod delays;
#[allow(dead_code, reason = "the store's own tests use all of it")]
#[path = "../../leveret-store/tests/support/disk.rs"]
mod disk;
#[path = "support/house.rs"]
mod house;
#[path = "support/kept.rs"]
mod kept;
#[path = "support/on_disk.rs"]
mod on_disk;
#[path = "support/reader.rs"]
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use leveret_broker::{
    Consume, Effects, Group, Lsn, Message, Properties, Settlement, TableValue as Value, Time, route_of,
};

use delays::{Rows, bind, exchange, publish as publish_delayed};
use disk::{Crash, SimulatedDisk, Trouble};
use house::{House, me};
use kept::Kept;
use on_disk::{open, wait_until};
use reader::consume;

const PERSISTENT: u8 = 2;
const NOW: Time = Time(1_000_000_000);

fn deduplicating() -> (&'static str, Value) {
    ("x-message-deduplication", true.into())
}

/// Publishes a message whose text is its name.
fn publish(house: &mut House, name: &str, delivery_mode: u8) {
    let (message_id, delivery_mode) = (Some(name), Some(delivery_mode));
    house.publish("q", name, Properties { message_id, delivery_mode, ..Properties::default() });
}

fn publish_all(house: &mut House, names: &[&str]) {
    names.iter().for_each(|name| publish(house, name, PERSISTENT));
}

/// Closes the broker and opens it again.
fn reopen(kept: &Kept, house: House) -> House {
    let now = house.effects.now;
    house.close();
    let broker = kept.open(now);
    let vhost = broker.vhost("/").unwrap();
    House { broker, vhost, effects: Effects::at(now) }
}

#[test]
fn names_are_known_after_a_restart_as_far_as_the_window_goes() {
    let kept = Kept::new();
    let mut house = House::of(kept.open(NOW));
    house.declare_durable("q", [deduplicating(), ("x-cache-size", 3.into())]);
    publish_all(&mut house, &["a", "b", "c", "d"]);
    let mut house = reopen(&kept, house);
    publish_all(&mut house, &["b", "c", "d"]);
    assert_eq!(house.queue("q").stats().counts.duplicates, 3);
    // The oldest one goes for it, now as before.
    publish_all(&mut house, &["e", "b", "d"]);
    let mut house = reopen(&kept, house);
    publish_all(&mut house, &["d", "e", "b", "c"]);
    assert_eq!(house.texts("q"), ["a", "b", "c", "d", "e", "b", "c"]);
}

#[test]
fn names_are_forgotten_in_time_over_a_restart_too() {
    let kept = Kept::new();
    let mut house = House::of(kept.open(NOW));
    house.declare_durable("q", [deduplicating(), ("x-cache-ttl", 100.into())]);
    publish(&mut house, "x", PERSISTENT);
    house.wait_ms(99);
    let mut house = reopen(&kept, house);
    publish(&mut house, "x", PERSISTENT);
    assert_eq!(house.count("q"), 1);
    house.wait_ms(1);
    publish(&mut house, "x", PERSISTENT);
    assert_eq!(house.count("q"), 2);
    let mut house = reopen(&kept, house);
    publish(&mut house, "x", PERSISTENT);
    assert_eq!(house.count("q"), 2, "the second one is known");
}

#[test]
fn the_name_of_what_is_gone_after_a_restart_is_not_known() {
    let kept = Kept::new();
    let mut house = House::of(kept.open(NOW));
    house.declare_durable("q", [deduplicating()]);
    publish(&mut house, "x", 1);
    let mut house = reopen(&kept, house);
    publish(&mut house, "x", 1);
    assert_eq!(house.count("q"), 1);
}

#[test]
fn what_was_handed_to_a_consumer_at_once_is_known_too() {
    let kept = Kept::new();
    let mut house = House::of(kept.open(NOW));
    house.declare_durable("q", [deduplicating()]);
    let reader = consume(&mut house, "q", |it| Consume { no_ack: true, ..it });
    publish(&mut house, "x", PERSISTENT);
    assert!(house.effects.position.is_some(), "its confirm waits for its name");
    assert_eq!(reader.texts(), ["x"]);
    drop(reader);
    let mut house = reopen(&kept, house);
    publish(&mut house, "x", PERSISTENT);
    assert_eq!(house.count("q"), 0);
}

#[test]
fn names_go_with_their_queue() {
    let kept = Kept::new();
    let mut house = House::of(kept.open(NOW));
    house.declare_durable("q", [deduplicating()]);
    publish(&mut house, "x", PERSISTENT);
    house.delete("q");
    house.declare_durable("q", [deduplicating()]);
    let mut house = reopen(&kept, house);
    publish(&mut house, "x", PERSISTENT);
    assert_eq!(house.texts("q"), ["x"]);
}

/// A message that the queue has taken and the journal has not: a transaction's, before it is stored.
#[test]
fn a_delayed_duplicate_stays_held_until_the_first_one_is_in_the_journal() {
    let kept = Kept::new();
    let mut house = House::of(kept.open(NOW));
    house.declare_durable("q", [deduplicating()]);
    furnish_around(&mut house);
    publish_delayed(&mut house, "held", 10, PERSISTENT, Some("x"));
    let properties = Properties { message_id: Some("x"), delivery_mode: Some(2), ..Properties::default() };
    let (encoded, route) = (properties.encode(), route_of("", "q"));
    let message = Message {
        route: &route,
        properties: &encoded,
        body: b"first",
        persistent: true,
        expiration_ms: None,
        record: None,
    };
    let (routing, _) = house.vhost.route(("", "q"), &properties, &me()).unwrap();
    let mut group = Group::default();
    routing.route.publish_in(&mut group, &message, &mut house.effects);
    let (x, queue) = (exchange(&house), house.queue("q"));
    std::thread::scope(|scope| {
        let release = scope.spawn(|| house.broker.tick(&mut Effects::at(NOW.plus_ms(10))));
        wait_until("the release", || queue.stats().counts.duplicates == 1);
        // It goes no further, however long one waits.
        for _ in 0..20 {
            assert_eq!(x.totals().messages, 1);
            std::thread::sleep(Duration::from_millis(1));
        }
        group.store(&mut house.effects);
        release.join().unwrap();
    });
    assert_eq!(x.totals().messages, 0);
    drop((routing, queue, x, group));
    assert_eq!(house.texts("q"), ["first"]);
}

/// A delayed exchange before the queue that is there.
fn furnish_around(house: &mut House) {
    house.declare_durable("other", []);
    let arguments = leveret_broker::FieldTable::from_iter([("x-delayed-type", Value::from("fanout"))]);
    let options = leveret_broker::ExchangeOptions {
        kind: "x-delayed-message".into(),
        durable: true,
        arguments,
        ..Default::default()
    };
    house.vhost.declare_exchange("x", options, &me()).unwrap();
    bind(house, "q");
}

/// A broker whose disk dies again and again, and what its publisher knows.
struct Simulation {
    disk: SimulatedDisk,
    rows: Rows,
    random: Rng,
    /// Of each name, what to wait for before its message counts as kept.
    published: BTreeMap<u32, Lsn>,
    /// Those that a consumer has had.
    seen: BTreeSet<u32>,
    next: u32,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let (disk, rows) = (SimulatedDisk::default(), Rows::default());
        let mut house = open(&disk, &rows, NOW, &Arc::default());
        house.declare_durable("q", [deduplicating(), ("x-cache-size", 100_000.into())]);
        house.close();
        disk.restart(Crash::LoseAll, &mut Rng::with_seed(seed));
        let random = Rng::with_seed(seed);
        Self { disk, rows, random, published: BTreeMap::new(), seen: BTreeSet::new(), next: 0 }
    }

    /// Starts, publishes everything once more, works until the disk dies, and loses the power.
    fn round(&mut self) {
        let committed = Arc::default();
        let mut house = open(&self.disk, &self.rows, NOW, &committed);
        self.publish_again(&mut house);
        let last = self.published.values().max().map_or(0, |position| position.0);
        wait_until("a commit", || committed.load(Ordering::SeqCst) >= last);
        self.disk.arrange(self.random.u64(1..60), Trouble::Crash);
        for _ in 0..2000 {
            if self.disk.is_dead() {
                break;
            }
            self.step(&mut house, &committed);
        }
        drop(house);
        assert_eq!(Arc::strong_count(&committed), 1, "the store has stopped");
        let crash = [Crash::KeepAll, Crash::LoseAll, Crash::Tear][self.random.usize(..3)];
        self.disk.restart(crash, &mut self.random);
        let committed = Lsn(committed.load(Ordering::SeqCst));
        for position in self.published.values_mut() {
            *position = if *position <= committed { Lsn(0) } else { Lsn(u64::MAX) };
        }
    }

    fn step(&mut self, house: &mut House, committed: &AtomicU64) {
        match self.random.u8(..8) {
            0..=4 => {
                for _ in 0..self.random.usize(1..6) {
                    self.next += 1;
                    self.publish(house, self.next);
                }
            }
            5 | 6 => {
                let Some(fetched) = house.get("q") else { return };
                self.seen.insert(number(&fetched.body));
                house.settle("q", &fetched, Settlement::Acked);
            }
            _ => {
                let last = self.published.values().map(|position| position.0).max().unwrap_or(0);
                wait_until("a commit", || committed.load(Ordering::SeqCst) >= last || self.disk.is_dead());
            }
        }
    }

    fn publish(&mut self, house: &mut House, name: u32) {
        house.effects.position = None;
        publish(house, &name.to_string(), PERSISTENT);
        // A store that has failed confirms nothing.
        let failed = house.effects.failure.take().is_some();
        let position = house.effects.position.filter(|_| !failed);
        self.published.insert(name, position.unwrap_or(Lsn(u64::MAX)));
    }

    /// A publisher that was not confirmed publishes again, and one that was may do so by mistake: the second one adds
    /// nothing, and the first one's message is there, or was.
    fn publish_again(&mut self, house: &mut House) {
        let before = copies(house);
        for (name, position) in self.published.clone() {
            if position == Lsn(0) {
                publish(house, &name.to_string(), PERSISTENT);
            } else {
                self.publish(house, name);
            }
        }
        let after = copies(house);
        for (name, position) in &self.published {
            let count = |copies: &BTreeMap<u32, usize>| copies.get(name).copied().unwrap_or(0);
            if *position == Lsn(0) {
                assert_eq!(count(&after), count(&before), "{name} was confirmed");
            }
            assert!(count(&after) <= 1, "{name} is there twice");
            assert!(count(&after) > 0 || self.seen.contains(name), "{name} is lost");
        }
    }
}

/// How often each message is in the queue.
fn copies(house: &mut House) -> BTreeMap<u32, usize> {
    let fetched: Vec<_> = std::iter::from_fn(|| house.get("q")).collect();
    let mut copies = BTreeMap::new();
    for message in fetched {
        *copies.entry(number(&message.body)).or_default() += 1;
        house.settle("q", &message, Settlement::Requeued);
    }
    copies
}

fn number(body: &[u8]) -> u32 {
    str::from_utf8(body).unwrap().parse().unwrap()
}

/// `LEVERET_DEDUPLICATION_SEED=n` repeats a run's choices.
#[test]
fn what_was_confirmed_and_is_published_again_after_a_crash_is_a_duplicate() {
    let given = std::env::var("LEVERET_DEDUPLICATION_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..1 << 48));
    for seed in seed..seed + 6 {
        println!("LEVERET_DEDUPLICATION_SEED={seed}");
        let mut simulation = Simulation::new(seed);
        (0..12).for_each(|_| simulation.round());
    }
}
