//! Shelves on a disk in trouble: runs that are damaged or cannot be read, merges that fail, and threads that hold and
//! release while the disk dies, breaks or fills up.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use leveret_store::{
    Append, CommitEvent, Drive, DumpEntry, HeldKey, Hold, Lsn, Options, QueueId, ShelfId, Store, StoreError,
};
use parking_lot::Mutex;
use support::{
    disk::{Crash, SimulatedDisk, Trouble},
    rig::{Rig, options},
};

const SHELF: ShelfId = ShelfId(1);
const QUEUE: u64 = 7;
const RECORDS: u64 = 100;

fn small() -> Options {
    let mut options = options();
    options.held_bytes = 6 << 10;
    options.held_block_bytes = 512;
    options.dead_bytes = 4 << 10;
    options
}

fn hold(store: &Store, due: u64, body: &[u8]) -> Result<(HeldKey, Option<Lsn>), StoreError> {
    let hold = Hold { shelf: SHELF, due, tag: due % 5, flags: 0, transient: false, body: &[body] };
    store.batch(|batch| batch.hold(&hold))?
}

fn body(number: u64) -> Vec<u8> {
    format!("record {number:>60}").into_bytes()
}

/// What is held, by number.
fn held(store: &Store) -> BTreeMap<u64, Vec<u8>> {
    let page = store.held_page(SHELF, None, u64::MAX, usize::MAX, usize::MAX).expect("reads");
    page.records.into_iter().map(|record| (record.key.number, record.body)).collect()
}

fn all() -> BTreeMap<u64, Vec<u8>> {
    (1..=RECORDS).map(|number| (number, body(number))).collect()
}

/// A store all of whose records lie in two runs, stopped.
fn stopped_with_runs() -> Rig {
    let rig = Rig::on(SimulatedDisk::default(), small()).expect("opens");
    for number in 1..=RECORDS {
        hold(rig.store(), number * 10, &body(number)).expect("holds");
        if number == RECORDS / 2 {
            rig.store().maintain().expect("keeps house");
        }
    }
    let mut rig = rig.reopen();
    assert_eq!(held(rig.store()), all());
    stop(&mut rig);
    rig
}

fn stop(rig: &mut Rig) {
    rig.store = None;
    rig.disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
}

fn take_all(rig: &Rig) {
    let page = rig.store().due(SHELF, u64::MAX, usize::MAX, usize::MAX).expect("reads");
    let done = rig.store().batch(|batch| {
        page.records.iter().all(|record| batch.take(SHELF, record.key, record.body.len() as u64))
    });
    assert!(done.expect("open"));
}

#[test]
fn a_run_that_cannot_be_read_at_one_start_is_there_at_the_next() {
    let rig = stopped_with_runs();
    rig.disk.make_unreadable(Some("held-"));
    let error = Rig::on(rig.disk.clone(), small()).err().expect("does not open");
    assert!(matches!(error, StoreError::Io { action: "read", .. }), "{error}");
    rig.disk.make_unreadable(None);
    rig.disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
    let rig = Rig::on(rig.disk, small()).expect("opens");
    assert_eq!((held(rig.store()), rig.recovery.damage.len()), (all(), 0));
}

/// Records that were found to be lost at the start.
fn lost(rig: &Rig) -> u64 {
    let lost = rig.recovery.damage.iter().filter_map(|damage| damage.lost_records).sum();
    assert_eq!(rig.store().stats().lost_records, lost);
    lost
}

#[test]
fn a_missing_run_is_reported_and_the_rest_is_there() {
    let rig = stopped_with_runs();
    rig.disk.delete(&rig.file("held-"));
    let rig = Rig::on(rig.disk, small()).expect("opens");
    let lost = lost(&rig);
    assert_eq!((lost, held(rig.store()).len() as u64), (RECORDS / 2, RECORDS / 2));
    assert_eq!(rig.store().shelf_totals(SHELF).count, RECORDS - lost);
}

/// Where the second block of a run begins.
fn second_block(run: &[u8]) -> usize {
    32 + 32 + u32::from_le_bytes(run[32 + 8..32 + 12].try_into().expect("four")) as usize
}

#[test]
fn without_its_index_a_damaged_run_loses_the_damaged_block_alone_and_is_set_aside() {
    // In the mark at its beginning, in its length, in its records.
    for place in [0, 8, 40] {
        let rig = stopped_with_runs();
        let name = rig.file("held-");
        let bytes = rig.disk.contents(&name);
        rig.disk.overwrite(&name, bytes.len() - 4, &[0xee; 4]);
        rig.disk.overwrite(&name, second_block(&bytes) + place, &[0xee; 2]);
        let rig = Rig::on(rig.disk, small()).expect("opens");
        let lost = lost(&rig);
        assert!((1..10).contains(&lost), "{:?}", rig.recovery.damage);
        let found = held(rig.store());
        assert_eq!(found.len() as u64, RECORDS - lost);
        assert!(found.iter().all(|(number, found)| *found == body(*number)));
        assert_eq!(rig.store().shelf_totals(SHELF).count, RECORDS - lost);
        take_all(&rig);
        let rig = rig.reopen();
        assert!(held(rig.store()).is_empty());
        assert!(rig.disk.names().contains(&format!("damaged-{name}")), "{:?}", rig.disk.names());
    }
}

#[test]
fn a_dump_shows_what_lies_behind_a_damaged_block() {
    for place in [0, 8, 40] {
        let rig = stopped_with_runs();
        let name = rig.file("held-");
        rig.disk.overwrite(&name, second_block(&rig.disk.contents(&name)) + place, &[0xee; 2]);
        let entries = leveret_store::dump_on(Arc::new(rig.disk)).expect("dumps");
        let entries: Vec<DumpEntry> = entries.collect::<Result<_, _>>().expect("reads");
        let last =
            entries.iter().rev().find(|entry| matches!(entry, DumpEntry::Held { file, .. } if *file == name));
        let Some(DumpEntry::Held { key, .. }) = last else { panic!("nothing of {name} in {entries:?}") };
        assert_eq!(key.number % (RECORDS / 2), 0, "the last record of the run");
        assert!(
            entries.iter().any(|entry| matches!(entry, DumpEntry::Unreadable { file, .. } if *file == name))
        );
    }
}

#[test]
fn a_block_found_damaged_while_running_is_reported_once_and_the_run_set_aside() {
    let mut rig = stopped_with_runs();
    let name = rig.file("held-");
    rig = Rig::on(rig.disk, small()).expect("opens");
    rig.disk.overwrite(&name, second_block(&rig.disk.contents(&name)) + 40, &[0xee; 2]);
    let (found, again) = (held(rig.store()), held(rig.store()));
    assert!(found.len() < RECORDS as usize && found == again);
    let [damage] = &rig.store().damage()[..] else { panic!("{:?}", rig.store().damage()) };
    assert_eq!(damage.lost_records, Some(RECORDS - found.len() as u64));
    assert_eq!(rig.store().shelf_totals(SHELF).count, found.len() as u64);
    take_all(&rig);
    assert_eq!(rig.store().shelf_totals(SHELF).count, 0);
    rig.store().maintain().expect("keeps house");
    assert!(rig.disk.names().contains(&format!("damaged-{name}")), "{:?}", rig.disk.names());
}

#[test]
fn a_newer_run_is_refused() {
    let rig = stopped_with_runs();
    let name = rig.file("held-");
    let mut header = rig.disk.contents(&name)[..32].to_vec();
    header[4] = 9;
    let checksum = crc32fast::hash(&header[..28]).to_le_bytes();
    header[28..].copy_from_slice(&checksum);
    rig.disk.overwrite(&name, 0, &header);
    let error = Rig::on(rig.disk, small()).err().expect("is refused");
    assert!(matches!(error, StoreError::NewerFormat { found: 9, .. }), "{error}");
}

/// A store that will merge when house is kept: of each of its runs little lives.
fn about_to_merge() -> (Rig, BTreeMap<u64, Vec<u8>>) {
    let rig = Rig::on(SimulatedDisk::default(), small()).expect("opens");
    let mut living = BTreeMap::new();
    for number in 1..=400 {
        let (key, _) = hold(rig.store(), number, &body(number)).expect("holds");
        if number % 10 == 0 {
            living.insert(key.number, body(number));
        }
        if number % 40 == 0 {
            rig.store().maintain().expect("keeps house");
        }
    }
    rig.store().commit().expect("commits");
    let page = rig.store().held_page(SHELF, None, u64::MAX, usize::MAX, usize::MAX).expect("reads");
    let sparse = page.records.iter().filter(|record| !living.contains_key(&record.key.number));
    let done = rig.store().batch(|batch| {
        sparse.for_each(|record| assert!(batch.take(SHELF, record.key, record.body.len() as u64)));
    });
    done.expect("open");
    rig.store().commit().expect("commits");
    (rig, living)
}

#[test]
fn a_merge_that_fails_leaves_everything_as_it_was_and_the_store_open() {
    let mut survived = 0;
    for call in 1..20 {
        let (rig, living) = about_to_merge();
        let runs = rig.disk.names().into_iter().filter(|name| name.starts_with("held-"));
        let runs: Vec<_> = runs.collect();
        rig.disk.arrange(call, Trouble::Full);
        let kept = rig.store().maintain();
        assert_eq!(held(rig.store()), living, "trouble at call {call}");
        let now = rig.disk.names().into_iter().filter(|name| name.starts_with("held-"));
        survived += u32::from(kept.is_ok() && runs.into_iter().eq(now));
        let rig = rig.restart(Crash::LoseAll);
        assert_eq!(held(rig.store()), living, "trouble at call {call}, and a restart");
        rig.store().maintain().expect("keeps house");
        assert_eq!(held(rig.store()), living, "trouble at call {call}, and merged");
    }
    assert!(survived > 0, "no merge failed alone, with nothing left of it");
}

#[test]
fn a_merge_that_cannot_read_leaves_everything_as_it_was_and_the_store_open() {
    let (rig, living) = about_to_merge();
    rig.disk.make_unreadable(Some("held-"));
    rig.store().maintain().expect("keeps house");
    rig.disk.make_unreadable(None);
    assert_eq!(held(rig.store()), living);
    let (key, _) = hold(rig.store(), 1, b"the store is open").expect("holds");
    rig.store().commit().expect("commits");
    assert!(held(rig.restart(Crash::LoseAll).store()).contains_key(&key.number));
}

/// What threads have held: the number in its body, and the position to wait for.
type Log = Mutex<Vec<(u64, Lsn)>>;

/// Threads hold and release until the disk is in trouble. What was committed is on its shelf or in its queue then,
/// once.
fn run(seed: u64, trouble: Trouble) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (disk, log, committed) = (SimulatedDisk::default(), Log::default(), Arc::new(AtomicU64::new(0)));
    let mut options = small();
    options.drive = Drive::Threads;
    let told = Arc::clone(&committed);
    let listener = move |event| {
        if let CommitEvent::Committed(Lsn(position)) = event {
            told.fetch_max(position, Ordering::SeqCst);
        }
    };
    let (store, _) = Store::open_on(Arc::new(disk.clone()), options.clone(), listener).expect("opens");
    disk.arrange(random.u64(20..300), trouble);
    thread::scope(|scope| {
        for holder in 0..3_u64 {
            let (store, log, mut random) = (&store, &log, random.fork());
            scope.spawn(move || {
                for number in (holder << 32).. {
                    let held = hold(store, random.u64(..1000), &number.to_le_bytes());
                    let Ok((_, position)) = held else { return };
                    let position = position.expect("durable");
                    log.lock().push((number, position));
                    if random.u8(..8) == 0 && store.wait(position).is_err() {
                        return;
                    }
                }
            });
        }
        scope.spawn(|| release(&store));
    });
    assert!(store.error().is_some() && disk.was_troubled());
    drop(store);
    let committed = committed.load(Ordering::SeqCst);
    disk.restart([Crash::KeepAll, Crash::LoseAll, Crash::Tear][random.usize(..3)], &mut random);
    options.drive = Drive::Manual;
    let rig = Rig::on(disk, options).expect("opens");
    assert_eq!(rig.recovery.damage, []);
    let number = |body: &[u8]| u64::from_le_bytes(body.try_into().expect("eight bytes"));
    let held: Vec<u64> = held(rig.store()).values().map(|body| number(body)).collect();
    let released: Vec<u64> = rig.read(QUEUE).iter().map(|(_, body, _)| number(body)).collect();
    let there: BTreeSet<u64> = held.iter().chain(&released).copied().collect();
    assert_eq!(there.len(), held.len() + released.len(), "one is held and released, or twice");
    let wanted = log.lock().iter().filter(|(_, position)| position.0 <= committed).map(|it| it.0).collect();
    let lost: Vec<&u64> = BTreeSet::difference(&wanted, &there).collect();
    assert!(lost.is_empty(), "committed and lost: {lost:?}");
}

/// What is due goes into the queue and off the shelf, in one group, until the store fails.
fn release(store: &Store) {
    let (queue, mut seq) = (store.queue(QueueId(QUEUE)), 0);
    loop {
        let Ok(page) = store.due(SHELF, 700, 20, usize::MAX) else { return };
        let done = store.batch(|batch| {
            for record in &page.records {
                seq += 1;
                let append = Append { flags: 0, body: &[&record.body], targets: &[(queue, seq)] };
                batch.append(&append).expect("room");
                assert!(batch.take(SHELF, record.key, record.body.len() as u64));
            }
        });
        if done.is_err() {
            return;
        }
        thread::yield_now();
    }
}

#[test]
fn threads_hold_and_release_while_the_disk_dies_breaks_or_fills_up() {
    let first = fastrand::u64(..1 << 48);
    for seed in first..first + 15 {
        for trouble in [Trouble::Crash, Trouble::Broken, Trouble::Full] {
            let done = std::panic::catch_unwind(|| run(seed, trouble));
            done.unwrap_or_else(|_| panic!("seed {seed}, {trouble:?}"));
        }
    }
}
