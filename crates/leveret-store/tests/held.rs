//! Shelves against a plain model, on a disk that crashes: what was committed stays, a group counts whole or not at all,
//! and everything that can be asked about a shelf agrees. `LEVERET_STORE_SEED=n` repeats one schedule,
//! `LEVERET_STORE_SCHEDULES=n` runs more of them.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use leveret_store::{Append, HeldKey, Hold, Options, QueueId, ShelfId, Store};
use support::{
    disk::{Crash, SimulatedDisk, Trouble},
    rig::{Rig, options},
};

const SCHEDULES: u64 = 60;
const ROUNDS: u64 = 12;
const SHELVES: u64 = 3;
const QUEUE: QueueId = QueueId(77);

/// What a record is: tag, flags, body, and whether a restart forgets it.
type Record = (u64, u16, Vec<u8>, bool);

#[derive(Clone, Default, PartialEq, Debug)]
struct Model {
    held: BTreeMap<(ShelfId, HeldKey), Record>,
    /// Numbers in the queue into which records are released.
    released: BTreeSet<u64>,
}

impl Model {
    fn durable(&self) -> Self {
        let held = self.held.iter().filter(|(_, record)| !record.3);
        let held = held.map(|(place, record)| (*place, record.clone())).collect();
        Self { held, released: self.released.clone() }
    }

    fn on(&self, shelf: ShelfId) -> impl Iterator<Item = (HeldKey, &Record)> {
        let all = self.held.iter().filter(move |((other, _), _)| *other == shelf);
        all.map(|((_, key), record)| (*key, record))
    }
}

struct Schedule {
    rig: Rig,
    random: fastrand::Rng,
    model: Model,
    /// The model after each batch that is not known to be committed, oldest first.
    possible: Vec<Model>,
    next_release: u64,
}

fn small() -> Options {
    let mut options = options();
    options.held_bytes = 6 << 10;
    options.held_block_bytes = 512;
    options.held_cell = 10;
    options
}

fn everything(store: &Store, shelf: ShelfId) -> Vec<(HeldKey, Record)> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.held_page(shelf, after, u64::MAX, 7, 500).expect("reads");
        let Some(last) = page.records.last() else { return all };
        after = Some(last.key);
        all.extend(page.records.into_iter().map(|it| (it.key, (it.tag, it.flags, it.body, it.transient))));
    }
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let rig = Rig::on(SimulatedDisk::default(), small()).expect("opens");
        let random = fastrand::Rng::with_seed(seed);
        let model = Model::default();
        Self { rig, random, possible: vec![model.clone()], model, next_release: 1 }
    }

    fn shelf(&mut self) -> ShelfId {
        ShelfId(1 + self.random.u64(..SHELVES))
    }

    fn any_of(&mut self, shelf: ShelfId) -> Option<(HeldKey, Record)> {
        let all: Vec<_> = self.model.on(shelf).collect();
        let (key, record) = all.get(self.random.usize(..all.len().max(1)))?;
        Some((*key, (*record).clone()))
    }

    /// Work until the disk dies, then a restart.
    fn round(&mut self) {
        let calls = self.random.u64(1..60);
        self.rig.disk.arrange(calls, Trouble::Crash);
        while !self.rig.disk.is_dead() {
            if !self.step() {
                break;
            }
        }
        let crash = [Crash::KeepAll, Crash::LoseAll, Crash::Tear][self.random.usize(..3)];
        self.rig.store = None;
        self.rig.disk.restart(crash, &mut self.random);
        let (disk, options) = (self.rig.disk.clone(), self.rig.options.clone());
        self.rig = Rig::on(disk, options).expect("opens");
        self.find_state();
        self.check();
    }

    /// Which of the states that may be there is.
    fn find_state(&mut self) {
        let store = self.rig.store();
        let mut found = Model::default();
        for shelf in (1..=SHELVES).map(ShelfId) {
            found
                .held
                .extend(everything(store, shelf).into_iter().map(|(key, record)| ((shelf, key), record)));
        }
        found.released = self.rig.read(QUEUE.0).into_iter().map(|(seq, ..)| seq).collect();
        let durable: Vec<_> = self.possible.iter().map(Model::durable).collect();
        assert!(durable.contains(&found), "none of {} states:\n{found:?}\n{:?}", durable.len(), durable[0]);
        // Bodies of what was read from the journal are handed over once: the queue is begun anew.
        self.rig.store().purge(self.rig.queue(QUEUE.0), self.next_release, &[]).expect("purges");
        self.next_release += 1;
        self.model = Model { held: found.held, released: BTreeSet::new() };
        self.rig.store().commit().expect("commits");
        self.possible = vec![self.model.clone()];
    }

    /// False when the store has failed.
    fn step(&mut self) -> bool {
        let before = self.model.clone();
        let done = match self.random.u32(..100) {
            0..=44 => self.hold(),
            45..=59 => self.release(),
            60..=66 => self.cancel(),
            67..=72 => self.reschedule(),
            73 => self.clear(),
            74..=87 => {
                let done = self.rig.store().commit().is_ok();
                if done {
                    self.possible = vec![self.model.clone()];
                }
                return done;
            }
            88..=94 => return self.rig.store().maintain().is_ok(),
            _ => {
                if !self.rig.disk.is_dead() && self.rig.store().error().is_none() {
                    self.check();
                }
                return self.rig.store().error().is_none();
            }
        };
        if !done {
            self.model = before;
            return false;
        }
        self.possible.push(self.model.clone());
        true
    }

    fn hold(&mut self) -> bool {
        let count = self.random.usize(1..6);
        let mut records = Vec::new();
        for _ in 0..count {
            let due = if self.random.bool() { self.random.u64(..1 << 40) } else { self.random.u64(..1000) };
            let tag = if self.random.bool() { self.random.u64(..20) } else { 0 };
            let body = vec![self.random.u8(..); self.random.usize(..120)];
            records.push((self.shelf(), due, (tag, self.random.u16(..), body, self.random.u8(..8) == 0)));
        }
        let model = &mut self.model;
        let done = self.rig.store().batch(|batch| {
            for (shelf, due, (tag, flags, body, transient)) in records {
                let hold = Hold { shelf, due, tag, flags, transient, body: &[&body] };
                let (key, position) = batch.hold(&hold).expect("room");
                assert_eq!((key.due, position.is_some()), (due, !transient));
                assert!(model.held.insert((shelf, key), (tag, flags, body, transient)).is_none());
            }
        });
        done.is_ok()
    }

    /// What is due goes into the queue, in order, and off the shelf, in one group.
    fn release(&mut self) -> bool {
        let (shelf, count) = (self.shelf(), self.random.usize(1..20));
        let until = if self.random.bool() { u64::MAX } else { self.random.u64(..1500) };
        let Ok(page) = self.rig.store().due(shelf, until, count, 1000) else { return false };
        let expected: Vec<_> = self.model.on(shelf).filter(|(key, _)| key.due <= until).collect();
        let keys: Vec<_> = page.records.iter().map(|record| record.key).collect();
        assert!(
            keys.iter().eq(expected.iter().take(keys.len()).map(|(key, _)| key)),
            "in order, none left out"
        );
        assert!(!keys.is_empty() || expected.is_empty());
        let queue = self.rig.queue(QUEUE.0);
        let (model, next) = (&mut self.model, &mut self.next_release);
        let done = self.rig.store().batch(|batch| {
            for record in page.records {
                assert!(batch.take(shelf, record.key, record.body.len() as u64));
                let (seq, body) = (*next, [&record.body[..]]);
                let append = Append { flags: record.flags, body: &body, targets: &[(queue, seq)] };
                batch.append(&append).expect("room");
                *next += 1;
                model.released.insert(seq);
                model.held.remove(&(shelf, record.key));
            }
        });
        done.is_ok()
    }

    fn cancel(&mut self) -> bool {
        let shelf = self.shelf();
        let Some((key, record)) = self.any_of(shelf) else { return true };
        let again = self.rig.store().batch(|batch| {
            assert!(batch.take(shelf, key, record.2.len() as u64));
            batch.take(shelf, key, record.2.len() as u64)
        });
        self.model.held.remove(&(shelf, key));
        assert_ne!(again.as_ref().ok(), Some(&true), "taken twice");
        again.is_ok()
    }

    fn reschedule(&mut self) -> bool {
        let shelf = self.shelf();
        let Some((key, (tag, flags, body, transient))) = self.any_of(shelf) else { return true };
        let due = self.random.u64(..2000);
        let moved = self.rig.store().batch(|batch| {
            assert!(batch.take(shelf, key, body.len() as u64));
            let hold = Hold { shelf, due, tag, flags, transient, body: &[&body] };
            batch.hold(&hold).expect("room").0
        });
        self.model.held.remove(&(shelf, key));
        let Ok(new_key) = moved else { return false };
        self.model.held.insert((shelf, new_key), (tag, flags, body, transient));
        true
    }

    fn clear(&mut self) -> bool {
        let shelf = self.shelf();
        let count = self.model.on(shelf).count() as u64;
        let cleared = self.rig.store().batch(|batch| batch.clear_shelf(shelf));
        self.model.held.retain(|(other, _), _| *other != shelf);
        assert!(cleared.as_ref().map_or(true, |cleared| *cleared == count));
        cleared.is_ok()
    }

    /// Everything that can be asked.
    fn check(&mut self) {
        let store = self.rig.store();
        for shelf in (1..=SHELVES).map(ShelfId) {
            let expected: Vec<_> = self.model.on(shelf).map(|(key, it)| (key, it.clone())).collect();
            assert_eq!(everything(store, shelf), expected);
            let bytes = expected.iter().map(|(_, record)| record.2.len() as u64).sum::<u64>();
            let totals = store.shelf_totals(shelf);
            assert_eq!((totals.count, totals.bytes), (expected.len() as u64, bytes));
            let cells = store.shelf_cells(shelf, 0, u64::MAX);
            assert_eq!(cells.iter().map(|cell| cell.count).sum::<u64>(), expected.len() as u64);
            let first = expected.first().map(|(key, _)| key.due);
            assert!(store.next_due(shelf).is_none_or(|next| first.is_none_or(|first| next <= first)));
            for (key, record) in expected.iter().take(5) {
                let found = store.held_record(shelf, *key).expect("reads").expect("it is there");
                assert_eq!(
                    (found.tag, found.flags, &found.body, found.transient),
                    (record.0, record.1, &record.2, record.3)
                );
            }
            for tag in 1..20 {
                let found = store.held_by_tag(shelf, tag, None, usize::MAX).expect("reads");
                let wanted: Vec<_> =
                    expected.iter().filter(|(_, it)| it.0 == tag).map(|(key, _)| *key).collect();
                assert_eq!(found, wanted);
            }
        }
    }
}

fn run(seed: u64) -> u64 {
    let mut schedule = Schedule::new(seed);
    for _ in 0..ROUNDS {
        schedule.round();
    }
    ROUNDS
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn shelves_survive_crashes_whole() {
    if let Some(seed) = number("LEVERET_STORE_SEED") {
        run(seed);
        return;
    }
    let first = fastrand::u64(..1 << 48);
    let schedules = number("LEVERET_STORE_SCHEDULES").unwrap_or(SCHEDULES);
    for seed in first..first + schedules {
        let done = std::panic::catch_unwind(|| run(seed));
        done.unwrap_or_else(|_| panic!("repeat with LEVERET_STORE_SEED={seed}"));
    }
}

#[test]
fn those_of_one_tag_are_found_however_many_they_are() {
    let mut options = small();
    (options.held_bytes, options.held_block_bytes) = (64 << 10, 4 << 10);
    let rig = Rig::on(SimulatedDisk::default(), options).expect("opens");
    let (shelf, store) = (ShelfId(1), rig.store());
    let mut wanted = Vec::new();
    for due in 0..4500 {
        let tag = 1 + due % 2;
        let hold = Hold { shelf, due, tag, flags: 0, transient: false, body: &[b"body"] };
        let (key, _) = store.batch(|batch| batch.hold(&hold)).expect("open").expect("room");
        // Two of three of the first are gone when they are looked for.
        match (tag, due % 3) {
            (1, 1..) if due < 3000 => assert!(store.batch(|batch| batch.take(shelf, key, 4)).expect("open")),
            (1, _) => wanted.push(key),
            _ => {}
        }
        if due % 2000 == 1999 {
            store.maintain().expect("keeps house");
        }
    }
    let (mut found, mut after) = (Vec::new(), None);
    while let Some(last) = {
        let page = store.held_by_tag(shelf, 1, after, 700).expect("reads");
        assert!(page.len() <= 700);
        found.extend_from_slice(&page);
        page.last().copied()
    } {
        after = Some(last);
    }
    assert_eq!(found, wanted);
}
