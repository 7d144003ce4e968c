//! The format on the disk stays readable: directories written by earlier versions are kept in `tests/fixtures` and opened
//! here. With `LEVERET_WRITE_FIXTURE=1` the fixture of the current version is written anew; do that only together with a
//! new version number.

mod support;

use std::{fmt::Write as _, fs, path::PathBuf};

use leveret_store::{Append, Drive, DumpEntry, Options, QueueId, Spill, Store, dump};
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
        other => format!("{other:?}"),
    }
}

#[test]
fn version_1_is_read_as_it_was_written() {
    let directory = copy("v1");
    let entries = dump(directory.path()).expect("dumps");
    let mut found = String::new();
    for entry in entries {
        writeln!(found, "{}", summary(entry.expect("reads"))).expect("writes");
    }
    let expected = fs::read_to_string(fixture("v1").join("dump.txt")).expect("the fixture's dump");
    assert_eq!(found, expected);
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
fn write_version_1() {
    if std::env::var_os("LEVERET_WRITE_FIXTURE").is_none() {
        return;
    }
    let directory = fixture("v1");
    fs::create_dir_all(&directory).expect("a directory");
    let (store, _) = Store::open(&directory, options(), |_| {}).expect("opens");
    let [one, two, three] = [1, 2, 3].map(|id| store.queue(QueueId(id)));
    let append = |seq: u64| {
        let (body, targets) = (body(1, seq), [(one, seq), (two, seq), (three, seq)]);
        store.append(&Append { flags: 0x0102, body: &[&body], targets: &targets }).expect("appends");
    };
    (1..=10).for_each(append);
    store.commit().expect("commits");
    let bodies: Vec<_> = (1..=8).map(|seq| body(1, seq)).collect();
    let spill = |seq: u64| Spill { seq, flags: 0x0102, transient: false, body: &bodies[seq as usize - 1] };
    store.spill(one, &(1..=8).map(spill).collect::<Vec<_>>()).expect("spills");
    store.settle(one, &[1, 3]).expect("settles");
    store.close().expect("closes");
    // What follows stands only in the journal.
    let (store, _) = Store::open(&directory, options(), |_| {}).expect("opens");
    let append = |seq: u64| {
        let (body, targets) = (body(1, seq), [(one, seq), (two, seq), (three, seq)]);
        store.append(&Append { flags: 0x0102, body: &[&body], targets: &targets }).expect("appends");
    };
    (11..=12).for_each(append);
    store.settle(one, &[2, 9]).expect("settles");
    store.purge(two, 10, &[2]).expect("purges");
    store.commit().expect("commits");
    store.delete_queue(three).expect("deletes");
    store.commit().expect("commits");
    drop(store);
    let lines = dump(&directory).expect("dumps").map(|entry| summary(entry.expect("reads")) + "\n");
    fs::write(directory.join("dump.txt"), lines.collect::<String>()).expect("writes");
}
