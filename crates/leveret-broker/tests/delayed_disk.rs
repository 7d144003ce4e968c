//! Delayed messages on a simulated disk, which dies, cannot be read or does not keep up: what was confirmed is held or
//! in its queues, once, and comes when the disk is well again.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "the store's threads take real time, and a seed is given from outside"
)]

#[path = "support/delays.rs"]
mod delays;
#[allow(dead_code, reason = "the store's own tests use all of it")]
#[path = "../../leveret-store/tests/support/disk.rs"]
mod disk;
#[path = "support/house.rs"]
mod house;
#[path = "support/on_disk.rs"]
mod on_disk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use leveret_broker::{DelayedMessage, HeldId, Lsn, Settlement, Time};

use delays::{PERSISTENT, Rows, bind, exchange, furnish, hold, offer};
use disk::{Crash, SimulatedDisk, Trouble};
use house::House;
use on_disk::{open, wait_until};

const QUEUES: [&str; 2] = ["q", "other"];

fn furnished(disk: &SimulatedDisk, rows: &Rows) -> House {
    let mut house = open(disk, rows, Time(1_000_000_000), &Arc::default());
    furnish(&mut house);
    house
}

fn held(house: &House) -> Vec<DelayedMessage> {
    let (x, mut all) = (exchange(house), Vec::<DelayedMessage>::new());
    loop {
        let page = x.list(all.last().map(|message| message.id), Time::NEVER, 100).unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

#[test]
fn what_cannot_be_read_when_it_is_due_comes_later() {
    let (disk, rows) = (SimulatedDisk::default(), Rows::default());
    let mut house = furnished(&disk, &rows);
    let texts: Vec<_> = (0..200).map(|n| n.to_string()).collect();
    texts.iter().for_each(|text| hold(&mut house, text, 10));
    disk.make_unreadable(Some("held-"));
    let x = exchange(&house);
    wait_until("a run", || x.list(None, Time::NEVER, 1000).is_err());
    // Until then nothing is released anyway.
    wait_until("the disk", || !house.broker.is_store_congested());
    house.effects.now = house.effects.now.plus_ms(10);
    let next = house.broker.tick(&mut house.effects).unwrap();
    assert!(house.effects.failure.take().is_some(), "it is said");
    assert!(next > house.effects.now && next <= house.effects.now.plus_ms(5000));
    assert_eq!(house.count("q"), 0);
    hold(&mut house, "published meanwhile", 10);
    disk.make_unreadable(None);
    house.effects.now = next;
    house.wait_ms(20);
    assert_eq!(house.texts("q"), [texts, vec!["published meanwhile".into()]].concat());
}

#[test]
fn nothing_is_released_while_the_disk_does_not_keep_up() {
    let (disk, rows) = (SimulatedDisk::default(), Rows::default());
    let mut house = furnished(&disk, &rows);
    disk.pause(true);
    let mut count = 0;
    while !house.broker.is_store_congested() {
        hold(&mut house, "m", 10);
        count += 1;
    }
    house.effects.now = house.effects.now.plus_ms(10);
    let (next, released) = (house.broker.tick(&mut house.effects), house.count("q"));
    disk.pause(false);
    assert_eq!(released, 0);
    let next = next.expect("there is more to do");
    assert!(next > house.effects.now && next <= house.effects.now.plus_ms(100), "soon, not at once");
    wait_until("the disk", || !house.broker.is_store_congested());
    house.effects.now = next;
    wait_until("the release", || {
        house.wait_ms(10);
        house.count("q") == count
    });
}

#[test]
fn a_store_that_has_failed_releases_nothing_that_would_come_again() {
    let (disk, rows) = (SimulatedDisk::default(), Rows::default());
    drop(furnished(&disk, &rows));
    disk.restart(Crash::KeepAll, &mut Rng::with_seed(1));
    let committed = Arc::default();
    let mut house = open(&disk, &rows, Time(1_000_000_000), &committed);
    hold(&mut house, "kept", 10);
    let position = house.effects.position.expect("it is durable");
    wait_until("a commit", || committed.load(Ordering::SeqCst) >= position.0);
    disk.arrange(1, Trouble::Broken);
    wait_until("the failure", || !offer(&mut house, "not kept", 10, PERSISTENT, None));
    house.effects.now = house.effects.now.plus_ms(10);
    assert_eq!(house.broker.tick(&mut house.effects), None);
    assert!(house.effects.failure.take().is_some(), "it is said");
    let x = exchange(&house);
    let id = x.list(None, Time::NEVER, 1).unwrap()[0].id;
    assert!(house.vhost.release_held(&x, id, &mut house.effects).is_err());
    assert_eq!(house.count("q"), 0);
    drop((house, x));
    disk.restart(Crash::LoseAll, &mut Rng::with_seed(1));
    let mut house = open(&disk, &rows, Time(1_000_000_000), &Arc::default());
    house.wait_ms(10);
    assert_eq!(house.texts("q"), ["kept"]);
}

/// What is known of a message.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// What to wait for before it counts as kept.
    held: Lsn,
    /// As well for its being cancelled.
    cancelled: Option<Lsn>,
    /// The queues in which it was acknowledged.
    acked: [bool; 2],
}

struct Simulation {
    disk: SimulatedDisk,
    rows: Rows,
    random: Rng,
    now: Time,
    known: BTreeMap<u64, Known>,
    next: u64,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let (disk, rows) = (SimulatedDisk::default(), Rows::default());
        let mut house = furnished(&disk, &rows);
        house.declare_durable(QUEUES[1], []);
        bind(&house, QUEUES[1]);
        let now = house.effects.now;
        let House { broker, vhost, effects } = house;
        drop((vhost, effects));
        broker.close().unwrap();
        disk.restart(Crash::LoseAll, &mut Rng::with_seed(seed));
        Self { disk, rows, random: Rng::with_seed(seed), now, known: BTreeMap::new(), next: 1 }
    }

    /// Starts, looks, works until the disk dies, and loses the power.
    fn round(&mut self) {
        let committed = Arc::default();
        let mut house = open(&self.disk, &self.rows, self.now, &committed);
        self.take_stock(&mut house);
        self.disk.arrange(self.random.u64(1..150), Trouble::Crash);
        for _ in 0..2000 {
            if self.disk.is_dead() {
                break;
            }
            self.step(&mut house, &committed);
        }
        self.now = house.effects.now;
        drop(house);
        assert_eq!(Arc::strong_count(&committed), 1, "the store has stopped");
        let crash = [Crash::KeepAll, Crash::LoseAll, Crash::Tear][self.random.usize(..3)];
        self.disk.restart(crash, &mut self.random);
        self.forget_uncommitted(Lsn(committed.load(Ordering::SeqCst)));
    }

    /// What was not committed may be there or not, which is no matter from here on.
    fn forget_uncommitted(&mut self, committed: Lsn) {
        self.known.retain(|_, known| known.held <= committed);
        for known in self.known.values_mut() {
            known.held = Lsn(0);
            known.cancelled = known.cancelled.map(|at| if at <= committed { Lsn(0) } else { Lsn(u64::MAX) });
        }
    }

    fn step(&mut self, house: &mut House, committed: &AtomicU64) {
        match self.random.u8(..20) {
            0..=8 => self.publish(house),
            9..=12 => {
                house.effects.now = house.effects.now.plus_ms(self.random.u64(..4000));
                house.broker.tick(&mut house.effects);
            }
            13..=15 => self.acknowledge(house),
            16 => self.cancel(house),
            17 => self.reschedule(house),
            _ => {
                let last = self.known.values().map(|known| known.held.0).max().unwrap_or(0);
                wait_until("a commit", || committed.load(Ordering::SeqCst) >= last || self.disk.is_dead());
            }
        }
    }

    fn publish(&mut self, house: &mut House) {
        for _ in 0..self.random.usize(1..6) {
            let delay_ms = self.random.i64(1..10_000) * if self.random.u8(..4) == 0 { 1000 } else { 1 };
            house.effects.position = None;
            if offer(house, &self.next.to_string(), delay_ms, PERSISTENT, None) {
                let held = house.effects.position.expect("it is durable");
                self.known.insert(self.next, Known { held, ..Known::default() });
            }
            self.next += 1;
        }
    }

    /// The consumer has done with a few messages.
    fn acknowledge(&mut self, house: &mut House) {
        let which = self.random.usize(..2);
        for _ in 0..self.random.usize(1..8) {
            let Some(fetched) = house.get(QUEUES[which]) else { return };
            // One that was not confirmed is nobody's business.
            if let Some(known) = self.known.get_mut(&number(&fetched.body)) {
                assert!(!known.acked[which], "{known:?} came twice");
                assert!(known.cancelled.is_none(), "{known:?} came although cancelled");
                known.acked[which] = true;
            }
            house.settle(QUEUES[which], &fetched, Settlement::Acked);
        }
    }

    fn any_held(&mut self, house: &House) -> Option<DelayedMessage> {
        let page = exchange(house).list(None, Time::NEVER, 20).ok()?;
        let at = self.random.usize(..page.len().max(1));
        page.into_iter().nth(at)
    }

    fn cancel(&mut self, house: &mut House) {
        let Some(message) = self.any_held(house) else { return };
        house.effects.position = None;
        if let Ok(true) = exchange(house).cancel_one(message.id, &mut house.effects)
            && let Some(known) = self.known.get_mut(&number(&message.body))
        {
            known.cancelled = house.effects.position;
        }
    }

    fn reschedule(&mut self, house: &mut House) {
        let Some(DelayedMessage { id, .. }) = self.any_held(house) else { return };
        let due = house.effects.now.plus_ms(self.random.u64(..20_000));
        let _dead: Result<Option<HeldId>, _> =
            house.vhost.reschedule_held(&exchange(house), id, due, &mut house.effects);
    }

    /// Everything confirmed is held, or in each of its queues that it was not acknowledged in, once.
    fn take_stock(&mut self, house: &mut House) {
        let mut places = BTreeMap::<u64, [u32; 3]>::new();
        for message in held(house) {
            places.entry(number(&message.body)).or_default()[2] += 1;
        }
        for (which, queue) in QUEUES.iter().enumerate() {
            let fetched: Vec<_> = std::iter::from_fn(|| house.get(queue)).collect();
            for message in fetched {
                places.entry(number(&message.body)).or_default()[which] += 1;
                house.settle(queue, &message, Settlement::Requeued);
            }
        }
        for (number, place) in &places {
            let [first, second, held] = *place;
            assert!(first <= 1 && second <= 1 && held <= 1, "{number} is there twice: {place:?}");
            assert!(held == 0 || first + second == 0, "{number} is held and released: {place:?}");
        }
        for (number, known) in &mut self.known {
            let place = places.get(number).copied().unwrap_or_default();
            if let Some(at) = known.cancelled {
                assert!(at > Lsn(0) || place == [0; 3], "{number} was cancelled: {place:?}");
            }
            for which in 0..2 {
                let is_there = place[which] == 1 || place[2] == 1;
                let is_done = known.acked[which] || known.cancelled.is_some();
                assert!(is_there || is_done, "{number} is lost: {known:?} {place:?}");
                known.acked[which] &= !is_there;
            }
            known.cancelled = known.cancelled.filter(|_| place == [0; 3]).map(|_| Lsn(0));
        }
    }

    /// In the end all that is left comes, once.
    fn finish(mut self) {
        let mut house = open(&self.disk, &self.rows, self.now, &Arc::default());
        self.take_stock(&mut house);
        let end = house.effects.now.plus_ms(100_000_000);
        house.effects.now = end;
        wait_until("all that is due", || {
            house.broker.tick(&mut house.effects);
            exchange(&house).totals().messages == 0
        });
        self.take_stock(&mut house);
        assert!(held(&house).is_empty());
    }
}

fn number(body: &[u8]) -> u64 {
    str::from_utf8(body).unwrap().parse().unwrap()
}

/// `LEVERET_DELAY_SEED=n` repeats a run's choices, `LEVERET_DELAY_RUNS=n` makes more of them.
#[test]
fn what_is_confirmed_survives_every_crash_of_the_disk_once() {
    let setting = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seed = setting("LEVERET_DELAY_SEED").unwrap_or_else(|| fastrand::u64(..1 << 48));
    for seed in seed..seed + setting("LEVERET_DELAY_RUNS").unwrap_or(6) {
        println!("LEVERET_DELAY_SEED={seed}");
        let mut simulation = Simulation::new(seed);
        (0..12).for_each(|_| simulation.round());
        simulation.finish();
    }
}
