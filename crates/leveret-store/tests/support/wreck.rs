//! A directory as a store left it, something of which is then damaged, and what still has to hold: the next store opens, gives
//! back nothing that was never put in, and does not keep quiet about what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

use leveret_store::{HeldKey, Hold, QueueId, ShelfId, Storage, Store, StoreError, check_on, dump_on};

use super::disk::{Crash, SimulatedDisk};
use super::rig::{Rig, body, options};

const QUEUES: u64 = 3;
const SHELF: ShelfId = ShelfId(9);
/// The number of a record that was appended after the damage.
const NEW: u64 = 10_000;

/// What happens to a file.
#[derive(Clone, Debug)]
pub(crate) enum Blow {
    Overwrite { at: usize, with: Vec<u8> },
    Cut { len: usize },
    Delete,
}

/// How the directory was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The store had been closed.
    Closed,
    /// The process had died.
    Killed,
}

/// What can be read of a store: numbers by queue, and keys of what is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    records: BTreeSet<(u64, u64)>,
    held: BTreeSet<HeldKey>,
    /// How many records were said to be lost while it was read.
    lost: u64,
}

struct Scene {
    files: BTreeMap<String, Vec<u8>>,
    /// What there was after each commit.
    states: Vec<Found>,
}

static CLOSED: LazyLock<Scene> = LazyLock::new(|| Scene::of(Left::Closed));
static KILLED: LazyLock<Scene> = LazyLock::new(|| Scene::of(Left::Killed));

impl Left {
    fn scene(self) -> &'static Scene {
        match self {
            Self::Closed => &CLOSED,
            Self::Killed => &KILLED,
        }
    }

    /// The files that there are, by name.
    pub(crate) fn files(self) -> impl Iterator<Item = &'static str> {
        self.scene().files.keys().map(String::as_str)
    }
}

impl Scene {
    /// Queues in segments and in the journal, with holes, and a shelf in runs and in the journal.
    fn of(left: Left) -> Self {
        let mut options = options();
        options.held_bytes = 2 << 10;
        options.held_block_bytes = 512;
        let rig = Rig::on(SimulatedDisk::default(), options).expect("opens");
        let mut work = Work { rig, there: Found::default(), states: vec![] };
        work.records(1..=40);
        work.rig.spill(1, 1..=30);
        work.rig.spill(2, 1..=30);
        work.settle();
        work.held(1..=60);
        work.take(10);
        if left == Left::Closed {
            work.rig = work.rig.reopen();
        }
        work.records(41..=44);
        work.held(100..=101);
        work.leave(left)
    }

    fn disk(&self) -> SimulatedDisk {
        let disk = SimulatedDisk::default();
        for (name, contents) in &self.files {
            let file = disk.open(name, true).expect("no trouble was arranged");
            file.write_at(contents, 0).expect("no trouble was arranged");
        }
        disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
        disk
    }
}

/// A store at work, and what is in it.
struct Work {
    rig: Rig,
    there: Found,
    states: Vec<Found>,
}

impl Work {
    fn commit(&mut self) {
        self.rig.store().commit().expect("commits");
        self.states.push(self.there.clone());
    }

    fn records(&mut self, seqs: RangeInclusive<u64>) {
        for id in 1..=QUEUES {
            self.rig.fill(id, seqs.clone());
            self.there.records.extend(seqs.clone().map(|seq| (id, seq)));
            self.commit();
        }
    }

    /// Every seventh record goes.
    fn settle(&mut self) {
        for id in 1..=QUEUES {
            self.rig.settle(id, (1..=40).filter(|seq| seq % 7 == id));
        }
        self.there.records.retain(|(id, seq)| seq % 7 != *id);
        self.commit();
        self.rig.store().maintain().expect("keeps house");
    }

    fn held(&mut self, dues: RangeInclusive<u64>) {
        for due in dues {
            self.there.held.insert(hold(self.rig.store(), due));
            self.commit();
            if due % 20 == 0 {
                self.rig.store().maintain().expect("keeps house");
            }
        }
    }

    fn take(&mut self, count: usize) {
        let taken: Vec<HeldKey> = self.there.held.iter().copied().take(count).collect();
        let length = |key: &HeldKey| body(SHELF.0, key.due).len() as u64;
        let took =
            self.rig.store().batch(|batch| taken.iter().all(|key| batch.take(SHELF, *key, length(key))));
        assert!(took.expect("open"));
        self.there.held.retain(|key| !taken.contains(key));
        self.commit();
    }

    fn leave(mut self, left: Left) -> Scene {
        let store = self.rig.store.take().expect("open");
        if left == Left::Closed {
            store.close().expect("closes");
        } else {
            drop(store);
        }
        let disk = self.rig.disk;
        disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
        let files = disk.names().into_iter().map(|name| (name.clone(), disk.contents(&name)));
        Scene { files: files.collect(), states: self.states }
    }
}

fn hold(store: &Store, due: u64) -> HeldKey {
    let hold =
        Hold { shelf: SHELF, due, tag: due % 3, flags: 0, transient: false, body: &[&body(SHELF.0, due)] };
    store.batch(|batch| batch.hold(&hold)).expect("open").expect("there is room").0
}

/// Damages one of the files, and looks at what a store makes of it.
pub(crate) fn check(left: Left, file: usize, blows: &[Blow]) {
    let scene = left.scene();
    let disk = scene.disk();
    let Some(name) = left.files().nth(file % scene.files.len()) else { return };
    strike(&disk, name, blows);
    let is_damaged = !disk.names().iter().any(|it| it == name) || disk.contents(name) != scene.files[name];
    look_without_opening(&disk);
    let rig = match Rig::on(disk, options()) {
        Ok(rig) => rig,
        Err(StoreError::NewerFormat { .. }) if is_damaged => return,
        Err(error) => panic!("does not open: {error}"),
    };
    let found = read(rig.store());
    let is_named = found.lost > 0 || !rig.recovery.damage.is_empty() || rig.recovery.torn_tail.is_some();
    if !is_named {
        // Where the journal's end is gone, nothing tells that it was ever there. What is held is in manifests less often.
        let first = if name.starts_with("journal") { 0 } else { scene.states.len() - 1 };
        let is_one = scene.states[first..].iter().any(|state| state.records == found.records);
        assert!(is_one, "{name} {blows:?}: {:?}", found.records);
        let is_one = scene.states[first..].iter().any(|state| state.held == found.held);
        assert!(is_one, "{name} {blows:?}: {:?}", found.held);
    }
    assert!(is_damaged || !is_named, "{:?}", rig.recovery);
    go_on(rig, &found);
}

fn strike(disk: &SimulatedDisk, name: &str, blows: &[Blow]) {
    for blow in blows {
        let len = disk.contents(name).len();
        match blow {
            Blow::Overwrite { at, with } if len > 0 => {
                let at = at % len;
                let with = &with[..with.len().min(len - at)];
                disk.overwrite(name, at, with);
            }
            Blow::Cut { len: cut } if len > 0 => disk.cut(name, cut % len),
            Blow::Overwrite { .. } | Blow::Cut { .. } => {}
            Blow::Delete => return disk.delete(name),
        }
    }
}

/// What the commands for a stopped store do.
fn look_without_opening(disk: &SimulatedDisk) {
    let _report = check_on(disk);
    disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
    if let Ok(entries) = dump_on(Arc::new(disk.clone())) {
        // An entry that cannot be read is one too.
        let _count = entries.take(100_000).count();
    }
    disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
}

/// Reads everything, which must be something that was put in.
fn read(store: &Store) -> Found {
    let mut found = Found::default();
    for id in 1..=QUEUES {
        let visit = |record: leveret_store::StoredRecord<'_>| {
            assert_eq!(record.body, body(id, record.seq), "queue {id}, record {}", record.seq);
            assert!(found.records.insert((id, record.seq)), "queue {id}, record {} twice", record.seq);
        };
        let end = store.read(store.queue(QueueId(id)), 1..=u64::MAX, usize::MAX, visit).expect("reads");
        found.lost += end.lost;
    }
    let before = store.stats().lost_records;
    let page = store.held_page(SHELF, None, u64::MAX, usize::MAX, usize::MAX).expect("reads");
    for record in page.records {
        assert_eq!(record.body, body(SHELF.0, record.key.due), "{:?}", record.key);
        assert_eq!(record.tag, record.key.due % 3);
        assert!(found.held.insert(record.key), "{:?} twice", record.key);
    }
    found.lost += store.stats().lost_records - before;
    found
}

/// The store works on, and what was there is there after another end.
fn go_on(rig: Rig, found: &Found) {
    rig.append(1, NEW, &body(1, NEW)).expect("appends");
    let key = hold(rig.store(), NEW);
    rig.store().commit().expect("commits");
    rig.store().maintain().expect("keeps house");
    let rig = rig.restart(Crash::LoseAll);
    let again = read(rig.store());
    let records = found.records.iter().copied().chain([(1, NEW)]).collect();
    let held = found.held.iter().copied().chain([key]).collect();
    assert_eq!((again.records, again.held), (records, held));
}
