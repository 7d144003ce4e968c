//! Shelves on a disk in trouble: runs that are damaged or cannot be read.

mod support;

use std::collections::BTreeMap;

use leveret_store::{HeldKey, Hold, Lsn, Options, ShelfId, Store, StoreError};
use support::{
    disk::{Crash, SimulatedDisk},
    rig::{Rig, options},
};

const SHELF: ShelfId = ShelfId(1);
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

#[test]
fn a_missing_run_is_reported_and_the_rest_is_there() {
    let rig = stopped_with_runs();
    rig.disk.delete(&rig.file("held-"));
    let rig = Rig::on(rig.disk, small()).expect("opens");
    let lost: u64 = rig.recovery.damage.iter().filter_map(|damage| damage.lost_records).sum();
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
        let lost: u64 = rig.recovery.damage.iter().filter_map(|damage| damage.lost_records).sum();
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
