//! The format on the disk stays readable: directories written by earlier versions are kept in `tests/fixtures` and opened
//! here. With `LEVERET_WRITE_FIXTURE=1` the fixture of the current version is written anew; do that only together with a
//! new version number.

mod support;

use std::{fmt::Write as _, fs, path::PathBuf};

use leveret_store::{Append, Drive, DumpEntry, HeldRecord, Options, QueueId, ShelfId, Spill, Store, dump};
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
        DumpEntry::Mark { file, offset, queue, marks } => {
            format!("{file} {offset}: mark {} {marks:?}", queue.0)
        }
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
fn version_3_is_read_as_it_was_written() {
    is_read_as_it_was_written("v3");
}

#[test]
fn version_3_is_recovered() {
    let directory = copy("v3");
    let (store, recovery) = Store::open(directory.path(), options(), |_| {}).expect("opens");
    assert_eq!((recovery.damage, recovery.clean), (vec![], false));
    let mut marks = Vec::new();
    let end = store.read(store.queue(QueueId(1)), 1..=u64::MAX, usize::MAX, |record| {
        assert_eq!(record.body, body(1, record.seq));
        marks.push((record.seq, record.mark));
    });
    assert_eq!(end.expect("reads").lost, 0);
    assert_eq!(marks, [(1, 1), (2, 20), (4, 0), (5, 5), (6, 7)]);
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
fn write_version_3() {
    if std::env::var_os("LEVERET_WRITE_FIXTURE").is_none() {
        return;
    }
    let directory = fixture("v3");
    fs::create_dir_all(&directory).expect("a directory");
    let (store, _) = Store::open(&directory, options(), |_| {}).expect("opens");
    let queue = store.queue(QueueId(1));
    let append = |seq: u64| {
        let append = Append { flags: 0x0102, body: &[&body(1, seq)], targets: &[(queue, seq)] };
        store.append(&append).expect("appends");
    };
    let mark = |seq: u64, mark: u64| {
        store.mark(queue, seq, mark).expect("open");
    };
    (1..=5).for_each(append);
    store.commit().expect("commits");
    let bodies: Vec<_> = (1..=3).map(|seq| body(1, seq)).collect();
    let spills: Vec<_> = (1..=3)
        .zip(&bodies)
        .map(|(seq, body)| Spill { seq, flags: 0x0102, transient: false, body })
        .collect();
    assert_eq!(store.spill(queue, &spills).expect("spills"), Vec::<u64>::new());
    (1..=3).for_each(|seq| mark(seq, seq));
    mark(5, 5);
    store.commit().expect("commits");
    drop(store);
    // This puts the marks into a manifest. What follows stands only in the journal.
    let (store, _) = Store::open(&directory, options(), |_| {}).expect("opens");
    let queue = store.queue(QueueId(1));
    let append = Append { flags: 0x0102, body: &[&body(1, 6)], targets: &[(queue, 6)] };
    store.append(&append).expect("appends");
    for (seq, mark) in [(2, 2), (2, 20), (6, 7)] {
        store.mark(queue, seq, mark).expect("open");
    }
    store.settle(queue, &[3]).expect("settles");
    store.commit().expect("commits");
    drop(store);
    let lines = dump(&directory).expect("dumps").map(|entry| summary(entry.expect("reads")) + "\n");
    fs::write(directory.join("dump.txt"), lines.collect::<String>()).expect("writes");
}
