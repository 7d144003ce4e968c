//! The format on the disk stays readable: directories written by earlier versions are kept in `tests/fixtures` and opened
//! here. With `LEVERET_WRITE_FIXTURE=1` the fixture of the current version is written anew; do that only together with a
//! new version number.

mod support;

use std::{fmt::Write as _, fs, path::PathBuf};

use leveret_store::{Drive, DumpEntry, HeldKey, HeldRecord, Hold, Options, QueueId, ShelfId, Store, dump};
use support::rig::body;

fn fixture(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version)
}

fn options() -> Options {
    let mut options = support::rig::options();
    options.drive = Drive::Manual;
    options.journal_file_bytes = 16 << 10;
    options
}

/// A copy, since opening changes a directory.
fn copy(version: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(fixture(version)).expect("the fixture is there") {
        let entry = entry.expect("reads");
        fs::copy(entry.path(), directory.path().join(entry.file_name())).expect("copies");
    }
    directory
}

fn summary(entry: DumpEntry) -> String {
    match entry {
        DumpEntry::Append { file, offset, flags, targets, body } => {
            let targets: Vec<_> = targets.into_iter().map(|(queue, seq)| (queue.0, seq)).collect();
            format!("{file} {offset}: append {flags:#06x} {targets:?} {} bytes", body.len())
        }
        DumpEntry::Settle { file, offset, queue, ranges } => {
            format!("{file} {offset}: settle {} {ranges:?}", queue.0)
        }
        DumpEntry::Purge { file, offset, queue, up_to, keep } => {
            format!("{file} {offset}: purge {} up to {up_to} but {keep:?}", queue.0)
        }
        DumpEntry::Delete { file, offset, queue } => format!("{file} {offset}: delete {}", queue.0),
        DumpEntry::Record { file, offset, queue, seq, flags, body } => {
            format!("{file} {offset}: record {} {seq} {flags:#06x} {} bytes", queue.0, body.len())
        }
        DumpEntry::Hold { file, offset, shelf, key, flags, body } => {
            format!("{file} {offset}: hold {} {key:?} {flags:#06x} {} bytes", shelf.0, body.len())
        }
        DumpEntry::Take { file, offset, shelf, taken } => {
            format!("{file} {offset}: take {} {taken:?}", shelf.0)
        }
        DumpEntry::Clear { file, offset, shelf } => format!("{file} {offset}: clear {}", shelf.0),
        DumpEntry::Held { file, offset, shelf, key, flags, body } => {
            format!("{file} {offset}: held {} {key:?} {flags:#06x} {} bytes", shelf.0, body.len())
        }
        other => format!("{other:?}"),
    }
}

fn is_read_as_it_was_written(version: &str) {
    let directory = copy(version);
    let entries = dump(directory.path()).expect("dumps");
    let mut found = String::new();
    for entry in entries {
        writeln!(found, "{}", summary(entry.expect("reads"))).expect("writes");
    }
    let expected = fs::read_to_string(fixture(version).join("dump.txt")).expect("the fixture's dump");
    assert_eq!(found, expected);
}

#[test]
fn version_1_is_read_as_it_was_written() {
    is_read_as_it_was_written("v1");
}

#[test]
fn version_2_is_read_as_it_was_written() {
    is_read_as_it_was_written("v2");
}

#[test]
fn version_2_is_recovered() {
    let directory = copy("v2");
    let (store, recovery) = Store::open(directory.path(), options(), |_| {}).expect("opens");
    assert_eq!((recovery.damage, recovery.clean), (vec![], false));
    let held = |shelf: u64| {
        let page = store.held_page(ShelfId(shelf), None, u64::MAX, usize::MAX, usize::MAX).expect("reads");
        let fits = |it: &HeldRecord| (it.flags, &it.body) == (0x0201, &body(shelf, it.key.number));
        assert!(page.records.iter().all(fits));
        page.records.into_iter().map(|record| (record.key.due, record.key.number)).collect::<Vec<_>>()
    };
    assert_eq!(held(1), [(920, 8), (940, 6), (950, 5), (970, 3), (980, 2), (990, 1), (9000, 11)]);
    assert_eq!((held(2), held(3)), (vec![], vec![]));
    assert_eq!(store.shelf_totals(ShelfId(1)).count, 7);
    let named = store.held_by_tag(ShelfId(1), 2, None, 9).expect("reads");
    assert_eq!(named.iter().map(|key| key.number).collect::<Vec<_>>(), [8, 5, 2, 11]);
}

#[test]
fn version_1_is_recovered() {
    let directory = copy("v1");
    let (store, recovery) = Store::open(directory.path(), options(), |_| {}).expect("opens");
    assert_eq!((recovery.damage, recovery.clean), (vec![], false));
    let read = |id: u64| {
        let mut seqs = Vec::new();
        let end = store.read(store.queue(QueueId(id)), 1..=u64::MAX, usize::MAX, |record| {
            assert_eq!((record.flags, record.body), (0x0102, &body(1, record.seq)[..]));
            seqs.push(record.seq);
        });
        assert_eq!(end.expect("reads").lost, 0);
        seqs
    };
    assert_eq!(read(1), [4, 5, 6, 7, 8, 10, 11, 12]);
    assert_eq!(read(2), [2, 11, 12]);
    assert_eq!(read(3), Vec::<u64>::new());
}

#[test]
fn write_version_2() {
    if std::env::var_os("LEVERET_WRITE_FIXTURE").is_none() {
        return;
    }
    let directory = fixture("v2");
    fs::create_dir_all(&directory).expect("a directory");
    let mut options = options();
    options.held_bytes = 1;
    let (store, _) = Store::open(&directory, options.clone(), |_| {}).expect("opens");
    let hold = |shelf: u64, due: u64, number: u64| {
        let (body, shelf) = (body(shelf, number), ShelfId(shelf));
        let hold = Hold { shelf, due, tag: number % 3, flags: 0x0201, transient: false, body: &[&body] };
        store.batch(|batch| batch.hold(&hold)).expect("open").expect("holds");
    };
    let take = |due: u64, number: u64| {
        let size = body(1, number).len() as u64;
        assert!(store.batch(|batch| batch.take(ShelfId(1), HeldKey { due, number }, size)).expect("open"));
    };
    (1..=10).for_each(|number| hold(1, 1000 - number * 10, number));
    (1..=3).for_each(|number| hold(2, number, number));
    hold(3, 5, 1);
    store.maintain().expect("a run");
    take(900, 10);
    store.maintain().expect("keeps house");
    // What follows stands only in the journal.
    take(910, 9);
    take(960, 4);
    take(930, 7);
    hold(1, 9000, 11);
    store.batch(|batch| batch.clear_shelf(ShelfId(2))).expect("open");
    store.delete_shelf(ShelfId(3)).expect("open");
    store.commit().expect("commits");
    drop(store);
    let lines = dump(&directory).expect("dumps").map(|entry| summary(entry.expect("reads")) + "\n");
    fs::write(directory.join("dump.txt"), lines.collect::<String>()).expect("writes");
}
