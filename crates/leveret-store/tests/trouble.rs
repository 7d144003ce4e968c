//! Every way in which a disk or a neighbour can be in the way, and what the store says then.

mod support;

use std::sync::Arc;

use leveret_store::{Append, Damage, Hold, Options, QueueId, ShelfId, Store, StoreError, check_on};
use support::{
    disk::{Crash, SimulatedDisk, Trouble},
    rig::{Rig, options},
};

#[test]
fn a_second_opener_is_told_that_the_directory_is_in_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(directory.path(), Options::default(), |_| {}).expect("opens");
    let second = Store::open(directory.path(), Options::default(), |_| {});
    let error = second.err().expect("is refused");
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(matches!(leveret_store::check(directory.path()), Err(StoreError::InUse { .. })));
    drop(store);
    Store::open(directory.path(), Options::default(), |_| {}).expect("opens");
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let disk = SimulatedDisk::default();
    disk.refuse_lock(std::io::ErrorKind::ReadOnlyFilesystem);
    let error = Rig::on(disk, options()).err().expect("is refused");
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    assert!(error.to_string().contains("simulated"), "{error}");
}

#[test]
fn a_newer_manifest_is_refused_and_nothing_changes() {
    let rig = Rig::new();
    rig.fill(1, 1..=3);
    let mut rig = rig.reopen();
    rig.store = None;
    rig.disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
    let newer = rig.disk.contents("manifest-a")[8] + 1;
    for name in ["manifest-a", "manifest-b"] {
        let mut bytes = rig.disk.contents(name);
        bytes[8] = newer;
        let length = 64 + u32::from_le_bytes(bytes[12..16].try_into().expect("four")) as usize;
        let checksum = crc32fast::hash(&bytes[8..length]).to_le_bytes();
        bytes[4..8].copy_from_slice(&checksum);
        rig.disk.overwrite(name, 0, &bytes);
    }
    let before: Vec<_> = rig.disk.names().into_iter().map(|name| (rig.disk.contents(&name), name)).collect();
    let error = Rig::on(rig.disk.clone(), options()).err().expect("is refused");
    let StoreError::NewerFormat { found, supported, .. } = error else { panic!("{error}") };
    assert_eq!((found, supported), (newer.into(), (newer - 1).into()));
    let after: Vec<_> = rig.disk.names().into_iter().map(|name| (rig.disk.contents(&name), name)).collect();
    assert_eq!(before, after);
}

#[test]
fn a_newer_group_is_refused() {
    let mut rig = Rig::new();
    rig.fill(1, 1..=3);
    let name = rig.file("journal");
    rig.store = None;
    rig.disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
    let mut header = rig.disk.contents(&name)[..64].to_vec();
    header[4] = 9;
    let checksum = crc32fast::hash(&header[..60]).to_le_bytes();
    header[60..].copy_from_slice(&checksum);
    rig.disk.overwrite(&name, 0, &header);
    let error = Rig::on(rig.disk, options()).err().expect("is refused");
    assert!(matches!(error, StoreError::NewerFormat { found: 9, .. }), "{error}");
}

/// After trouble nothing is committed any more, the first error stays, and reads go on.
fn fails_closed(trouble: Trouble, is_expected: impl Fn(&StoreError) -> bool) {
    let rig = Rig::new();
    rig.fill(1, 1..=50);
    rig.spill(1, 1..=50);
    let committed = rig.store().committed();
    let position = rig.append(1, 51, b"never safe").expect("is only memory");
    rig.disk.arrange(1, trouble);
    let error = rig.store().commit().expect_err("fails");
    assert!(is_expected(&error), "{error}");
    let told = rig.committed_events().len();
    for _ in 0..3 {
        assert!(rig.store().commit().is_err());
        assert!(rig.store().wait(position).is_err());
        let again = rig.append(1, 52, b"x").expect_err("closed");
        assert_eq!(again.to_string(), error.to_string());
    }
    assert!(rig.store().settle(rig.queue(1), &[1]).is_err());
    assert!(rig.store().maintain().is_err());
    assert_eq!(rig.store().committed(), committed);
    assert_eq!(rig.committed_events().len(), told, "nothing more is told as committed");
    assert_eq!(rig.failures(), 1, "the failure is told once");
    assert_eq!(rig.store().error().map(|kept| kept.to_string()), Some(error.to_string()));
    assert_eq!(rig.seqs(1), (1..=50).collect::<Vec<_>>(), "reads go on");
    assert_eq!(rig.restart(Crash::LoseAll).seqs(1), (1..=50).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_closes_the_store() {
    fails_closed(Trouble::Full, StoreError::is_disk_full);
}

#[test]
fn a_broken_disk_closes_the_store() {
    fails_closed(Trouble::Broken, |error| matches!(error, StoreError::Io { .. }));
}

#[test]
fn an_error_that_goes_away_closes_the_store_all_the_same() {
    for call in 1..=2 {
        let rig = Rig::new();
        rig.fill(1, 1..=1);
        let position = rig.append(1, 2, b"x").expect("appends");
        rig.disk.arrange(call, Trouble::Hiccup);
        assert!(rig.store().commit().is_err(), "call {call}, 1 writes and 2 syncs");
        assert!(rig.store().commit().is_err() && rig.store().wait(position).is_err());
    }
}

#[test]
fn trouble_while_spilling_and_keeping_house_closes_the_store() {
    for call in 1..40 {
        let rig = Rig::new();
        rig.fill(1, 1..=200);
        rig.disk.arrange(call, Trouble::Hiccup);
        let bodies: Vec<_> = (1..=200).map(|seq| support::rig::body(1, seq)).collect();
        let spills: Vec<_> = (1..=200)
            .map(|seq| leveret_store::Spill {
                seq,
                flags: 0,
                transient: false,
                body: &bodies[seq as usize - 1],
            })
            .collect();
        let spilled = rig.store().spill(rig.queue(1), &spills);
        let kept = rig.store().maintain();
        let failed = spilled.is_err() || kept.is_err();
        assert_eq!(failed, rig.store().error().is_some());
        assert_eq!(
            rig.restart(Crash::LoseAll).seqs(1),
            (1..=200).collect::<Vec<_>>(),
            "trouble at call {call}"
        );
    }
}

#[test]
fn a_torn_tail_is_cut_and_told() {
    let mut rig = Rig::new();
    rig.fill(1, 1..=3);
    let name = rig.file("journal");
    rig.fill(1, 4..=40);
    rig.store = None;
    rig.disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
    rig.disk.overwrite(&name, 4096 + 2000, &[0xee; 64]);
    let rig = Rig::on(rig.disk, options()).expect("opens");
    assert_eq!(rig.recovery.torn_tail, Some((name, 4096)));
    assert_eq!(rig.recovery.damage, []);
    assert_eq!(rig.seqs(1), [1, 2, 3]);
}

#[test]
fn damage_inside_the_journal_is_named_and_costs_its_group_alone() {
    let mut rig = Rig::new();
    for id in 1..=3 {
        rig.fill(id, 1..=3);
    }
    let name = rig.file("journal");
    rig.store = None;
    rig.disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
    rig.disk.overwrite(&name, 4096 + 100, &[0xee]);
    let rig = Rig::on(rig.disk, options()).expect("opens");
    let [Damage { file, offset: 4096, .. }] = &rig.recovery.damage[..] else { panic!("{:?}", rig.recovery) };
    assert_eq!(*file, name);
    assert_eq!((rig.seqs(1).len(), rig.seqs(2).len(), rig.seqs(3).len()), (3, 0, 3));
    assert!(rig.disk.names().contains(&format!("damaged-{name}")), "{:?}", rig.disk.names());
    assert_eq!(rig.store().stats().damaged_places, 1);
    // The next start finds nothing wrong any more.
    assert_eq!(rig.restart(Crash::LoseAll).recovery.damage, []);
}

#[test]
fn damage_to_what_the_manifest_counts_on_is_counted_as_lost() {
    let rig = Rig::new();
    rig.fill(1, 1..=3);
    rig.fill(2, 1..=3);
    let name = rig.file("journal");
    let mut rig = rig;
    rig.store.take().expect("open").close().expect("closes");
    rig.disk.restart(Crash::LoseAll, &mut fastrand::Rng::with_seed(1));
    rig.disk.overwrite(&name, 100, &[0xee]);
    let rig = Rig::on(rig.disk, options()).expect("opens");
    let lost = rig.recovery.damage.iter().filter(|damage| damage.queue == Some(QueueId(1)));
    assert_eq!(lost.filter_map(|damage| damage.lost_records).sum::<u64>(), 3, "{:?}", rig.recovery.damage);
    assert_eq!((rig.seqs(1), rig.seqs(2)), (vec![], vec![1, 2, 3]));
    assert_eq!(rig.store().stats().lost_records, 3);
}

#[test]
fn a_missing_journal_file_is_reported() {
    let mut rig = Rig::new();
    for first in (1..2000).step_by(100) {
        rig.fill(1, first..=first + 99);
    }
    let names: Vec<String> =
        rig.disk.names().into_iter().filter(|name| name.starts_with("journal")).collect();
    assert!(names.len() > 2, "{names:?}");
    rig.store = None;
    rig.disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
    rig.disk.delete(&names[1]);
    let rig = Rig::on(rig.disk, options()).expect("opens");
    assert!(!rig.recovery.damage.is_empty());
    let seqs = rig.seqs(1);
    assert!(!seqs.is_empty() && seqs.len() < 2000, "{}", seqs.len());
}

#[test]
fn a_missing_last_journal_file_costs_what_the_manifest_counts_on_there() {
    let rig = Rig::new();
    rig.fill(1, 1..=3);
    let mut rig = rig.reopen();
    rig.store.take().expect("open").close().expect("closes");
    rig.disk.restart(Crash::LoseAll, &mut fastrand::Rng::with_seed(1));
    rig.disk.names().iter().filter(|name| name.starts_with("journal")).for_each(|name| rig.disk.delete(name));
    let rig = Rig::on(rig.disk, options()).expect("opens");
    let lost = rig.recovery.damage.iter().filter(|damage| damage.queue == Some(QueueId(1)));
    assert_eq!(lost.filter_map(|damage| damage.lost_records).sum::<u64>(), 3, "{:?}", rig.recovery.damage);
    assert_eq!(rig.recovery.queues.iter().map(|queue| queue.records).sum::<u64>(), 0);
    assert_eq!(rig.seqs(1), []);
}

fn with_segments() -> Rig {
    let rig = Rig::new();
    rig.fill(1, 1..=50);
    rig.fill(2, 1..=50);
    rig.spill(1, 1..=50);
    rig.spill(2, 1..=50);
    rig.reopen()
}

#[test]
fn a_bad_block_costs_its_own_records_and_is_set_aside() {
    let rig = with_segments();
    let name = rig.file("segment-0000000000000001");
    rig.disk.overwrite(&name, 32 + 40, &[0xee]);
    let mut seen = Vec::new();
    let end = rig.store().read(rig.queue(1), 1..=u64::MAX, usize::MAX, |record| seen.push(record.seq));
    let end = end.expect("reads");
    assert!(end.lost > 0 && end.lost < 20, "{end:?}");
    assert_eq!(seen, (end.lost + 1..=50).collect::<Vec<_>>());
    let damage = rig.store().damage();
    assert_eq!((damage[0].file.as_str(), damage[0].offset, damage[0].queue), (&*name, 32, Some(QueueId(1))));
    assert_eq!(damage[0].lost_records, Some(end.lost));
    assert_eq!(rig.seqs(2).len(), 50, "other queues do not notice");
    rig.settle(1, seen);
    let Rig { store, disk, .. } = rig;
    store.expect("open").close().expect("closes");
    assert!(disk.names().contains(&format!("damaged-{name}")), "{:?}", disk.names());
}

#[test]
fn a_bad_block_in_the_middle_is_passed() {
    let rig = with_segments();
    let name = rig.file("segment-0000000000000001");
    let length = u32::from_le_bytes(rig.disk.contents(&name)[40..44].try_into().expect("four")) as usize;
    rig.disk.overwrite(&name, 32 + 32 + length + 50, &[0xee]);
    let (mut seen, mut lost) = (0, 0);
    for range in [30..=50, 12..=29, 1..=11] {
        let end = rig.store().read(rig.queue(1), range, usize::MAX, |_| seen += 1);
        lost += end.expect("reads").lost;
    }
    assert!(lost > 0 && seen + lost == 50, "{seen} seen, {lost} lost");
    let places = rig.store().damage();
    assert!(places.iter().all(|damage| damage.offset == places[0].offset), "{places:?}");
}

#[test]
fn a_short_segment_costs_its_end() {
    let rig = with_segments();
    let name = rig.file("segment-0000000000000001");
    rig.disk.cut(&name, 1500);
    let mut seen = Vec::new();
    let end = rig.store().read(rig.queue(1), 1..=u64::MAX, usize::MAX, |record| seen.push(record.seq));
    assert_eq!(end.expect("reads").lost + seen.len() as u64, 50);
    assert!(!seen.is_empty() && seen.len() < 50);
}

#[test]
fn a_missing_segment_is_reported_at_the_start() {
    let mut rig = with_segments();
    let name = rig.file("segment-0000000000000001");
    rig.store = None;
    rig.disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
    rig.disk.delete(&name);
    let rig = Rig::on(rig.disk, options()).expect("opens");
    let [damage] = &rig.recovery.damage[..] else { panic!("{:?}", rig.recovery.damage) };
    assert_eq!((damage.file.as_str(), damage.queue), (&*name, Some(QueueId(1))));
    assert_eq!(rig.seqs(2).len(), 50);
}

#[test]
fn without_a_manifest_everything_readable_is_taken() {
    let mut rig = with_segments();
    rig.fill(1, 51..=60);
    rig.store = None;
    rig.disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
    for name in ["manifest-a", "manifest-b"] {
        rig.disk.overwrite(name, 70, &[0xee; 8]);
    }
    let rig = Rig::on(rig.disk, options()).expect("opens");
    assert!(!rig.recovery.damage.is_empty());
    assert_eq!(rig.seqs(1), (1..=60).collect::<Vec<_>>());
    assert_eq!(rig.seqs(2), (1..=50).collect::<Vec<_>>());
}

#[test]
fn a_check_finds_damage_and_changes_nothing() {
    let mut rig = with_segments();
    rig.fill(3, 1..=5);
    let name = rig.file("segment-0000000000000001");
    rig.store = None;
    rig.disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
    let healthy = check_on(&rig.disk).expect("checks");
    assert_eq!((healthy.queues, healthy.live_records, healthy.damage.len()), (3, 105, 0), "{healthy:?}");
    rig.disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
    rig.disk.overwrite(&name, 32 + 40, &[0xee]);
    let before: Vec<_> = rig.disk.names().into_iter().map(|name| (rig.disk.contents(&name), name)).collect();
    let report = check_on(&rig.disk).expect("checks");
    assert!(report.damage.iter().any(|damage| damage.file == name && damage.offset == 32), "{report:?}");
    assert!(report.live_records < 105);
    let after: Vec<_> = rig.disk.names().into_iter().map(|name| (rig.disk.contents(&name), name)).collect();
    assert_eq!(before, after);
}

#[test]
fn a_dump_shows_records_and_settles() {
    let mut rig = with_segments();
    rig.fill(3, 1..=1);
    rig.settle(1, [4, 5]);
    rig.store().commit().expect("commits");
    rig.store = None;
    rig.disk.restart(Crash::KeepAll, &mut fastrand::Rng::with_seed(1));
    let entries = leveret_store::dump_on(Arc::new(rig.disk)).expect("dumps");
    let lines: Vec<String> = entries.map(|entry| format!("{:?}", entry.expect("reads"))).collect();
    let count = |word: &str| lines.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("Record"), count("Unreadable")), (100, 0));
    assert!(count("Append") >= 1 && count("Settle") >= 1, "{lines:?}");
}

#[test]
fn a_closed_store_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, _) = Store::open(directory.path(), Options::default(), |_| {}).expect("opens");
    let queue = store.queue(QueueId(1));
    let too_large = vec![0; 2 << 20];
    let parts = vec![&too_large[..]; 600];
    let refused = store.append(&Append { flags: 0, body: &parts, targets: &[(queue, 1)] });
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    assert!(store.error().is_none(), "a record that is too large closes nothing");
    store.close().expect("closes");
}

#[test]
fn nobody_waits_for_a_store_that_has_failed() {
    let mut options = options();
    options.held_bytes = 1 << 10;
    let rig = Rig::on(SimulatedDisk::default(), options).expect("opens");
    let (shelf, body) = (ShelfId(1), vec![7; 8 << 10]);
    let hold = Hold { shelf, due: 1, tag: 0, flags: 0, transient: false, body: &[&body] };
    rig.store().batch(|batch| batch.hold(&hold).map(drop)).expect("is open").expect("is only memory");
    assert!(rig.store().is_congested(), "so much has to be written first");
    rig.disk.arrange(1, Trouble::Broken);
    rig.store().commit().expect_err("fails");
    assert!(!rig.store().is_congested());
}
