//! What the store promises when nothing goes wrong: commits, voids, backlogs, space, restarts in order.

mod support;

use std::time::Duration;

use leveret_store::{Append, Durability, Options, QueueId, Spill, Store};
use support::{
    disk::{Crash, SimulatedDisk},
    rig::Rig,
};

#[test]
fn a_position_is_committed_after_the_sync_and_told_once() {
    let rig = Rig::new();
    let before = (rig.committed_events(), rig.store().syncs().count);
    let position = rig.append(1, 1, b"a").expect("appends");
    assert!(rig.store().committed() < position);
    rig.store().commit().expect("commits");
    assert_eq!(rig.store().committed(), position);
    assert_eq!(rig.committed_events()[before.0.len()..], [position]);
    assert_eq!(rig.store().syncs().count, before.1 + 1);
    assert_eq!(rig.store().stats().syncs, rig.store().syncs());
}

#[test]
fn what_is_settled_before_it_was_written_is_never_written() {
    let rig = Rig::new();
    let groups = rig.store().stats().groups;
    let position = rig.append(1, 1, b"short-lived").expect("appends");
    rig.settle(1, [1]);
    rig.store().commit().expect("commits");
    assert!(rig.store().committed() >= position, "those who wait for it are told");
    assert_eq!(rig.store().stats().groups, groups, "no group was written");
    assert_eq!(rig.restart(Crash::KeepAll).seqs(1), Vec::<u64>::new());
}

#[test]
fn voids_leave_the_rest_of_their_group_alone() {
    let rig = Rig::new();
    for seq in 1..=9 {
        rig.append(1, seq, &support::rig::body(1, seq)).expect("appends");
    }
    rig.settle(1, [2, 5, 9]);
    rig.store().commit().expect("commits");
    assert_eq!(rig.restart(Crash::LoseAll).seqs(1), [1, 3, 4, 6, 7, 8]);
}

#[test]
fn a_fanout_is_stored_once_and_settled_queue_by_queue() {
    let rig = Rig::new();
    let body = vec![5; 20_000];
    let targets: Vec<_> = (1..=100).map(|id| (rig.queue(id), 7)).collect();
    rig.store().append(&Append { flags: 3, body: &[&body], targets: &targets }).expect("appends");
    rig.settle(50, [7]);
    rig.store().commit().expect("commits");
    assert!(rig.store().stats().journal_written_bytes < 30_000);
    rig.settle(51, [7]);
    rig.store().commit().expect("commits");
    let rig = rig.restart(Crash::LoseAll);
    for id in 1..=100 {
        let expected = usize::from(id != 50 && id != 51);
        assert_eq!(rig.read(id).len(), expected, "queue {id}");
    }
}

#[test]
fn a_settle_may_come_before_its_append() {
    let rig = Rig::new();
    rig.settle(1, [1]);
    rig.store().commit().expect("commits");
    rig.fill(1, 1..=2);
    assert_eq!(rig.restart(Crash::LoseAll).seqs(1), [2]);
}

#[test]
fn after_an_orderly_end_only_what_was_delivered_is_marked() {
    let rig = Rig::new();
    rig.fill(1, 1..=4);
    rig.store().note_delivered(rig.queue(1), 2);
    let rig = rig.reopen();
    assert!(rig.recovery.clean);
    let marks: Vec<bool> = rig.read(1).into_iter().map(|(.., redelivered)| redelivered).collect();
    assert_eq!(marks, [true, true, false, false]);
    let rig = rig.restart(Crash::KeepAll);
    assert!(!rig.recovery.clean && rig.read(1).iter().all(|(.., redelivered)| *redelivered));
}

#[test]
fn recovery_tells_what_waits() {
    let rig = Rig::new();
    rig.fill(1, 1..=50);
    rig.fill(2, 1..=3);
    rig.spill(1, 1..=40);
    rig.settle(1, 1..=10);
    rig.store().commit().expect("commits");
    let rig = rig.restart(Crash::LoseAll);
    let mut found: Vec<_> = rig
        .recovery
        .queues
        .iter()
        .map(|found| (found.queue.id().0, found.records, found.first, found.max_seq))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(1, 40, Some(11), 50), (2, 3, Some(1), 3)]);
    assert_eq!(rig.seqs(1), (11..=50).collect::<Vec<_>>());
}

#[test]
fn numbers_used_up_are_remembered_by_an_empty_queue() {
    let rig = Rig::new();
    rig.fill(1, 1..=30);
    rig.settle(1, 1..=30);
    let rig = rig.reopen().reopen();
    assert_eq!((rig.recovery.queues[0].records, rig.recovery.queues[0].max_seq), (0, 30));
}

#[test]
fn what_the_store_moves_by_itself_is_not_read_by_a_caller_who_has_it() {
    let rig = Rig::new();
    rig.fill(1, 1..=600);
    rig.spill(1, 1..=9);
    for seq in 1..1200 {
        rig.append(2, seq, &[1; 300]).expect("appends");
        rig.store().commit().expect("commits");
        rig.store().maintain().expect("maintains");
    }
    assert!(rig.store().stats().segment_records >= 600, "both queues had to leave the journal");
    assert_eq!(rig.seqs(1), (1..=9).collect::<Vec<_>>());
    rig.spill(1, 590..=600);
    assert_eq!(rig.seqs(1), (1..=9).chain(590..=600).collect::<Vec<_>>());
    assert_eq!(rig.restart(Crash::LoseAll).seqs(1), (1..=600).collect::<Vec<_>>());
}

#[test]
fn transient_records_wait_in_files_but_not_over_a_restart() {
    let rig = Rig::new();
    rig.fill(1, 1..=2);
    rig.spill(1, 1..=2);
    rig.spill_as(1, 3..=400, true);
    rig.spill_as(1, 401..=402, true);
    assert_eq!(rig.seqs(1), (1..=402).collect::<Vec<_>>());
    rig.settle(1, 3..=390);
    rig.spill(1, 1..=2);
    rig.spill_as(1, 391..=402, true);
    assert_eq!(rig.seqs(1).len(), 14);
    rig.store().maintain().expect("maintains");
    let rig = rig.restart(Crash::KeepAll);
    assert_eq!(rig.seqs(1), [1, 2]);
    assert!(!rig.disk.names().iter().any(|name| name.starts_with("transient")));
}

#[test]
fn durable_and_transient_records_are_read_in_one_order() {
    let rig = Rig::new();
    let queue = rig.queue(1);
    for start in (1..200).step_by(10) {
        rig.fill(1, start..=start + 4);
        let bodies: Vec<_> = (start..start + 10).map(|seq| support::rig::body(1, seq)).collect();
        let spill = |index: u64| Spill {
            seq: start + index,
            flags: 0,
            transient: index > 4,
            body: &bodies[index as usize],
        };
        let spills: Vec<_> = (0..10).map(spill).collect();
        rig.store().spill(queue, &spills).expect("spills");
    }
    let mut piecewise = Vec::new();
    let mut next = Some(1);
    while let Some(from) = next {
        let end = rig.store().read(queue, from..=200, 500, |record| piecewise.push(record.seq));
        next = end.expect("reads").next;
    }
    assert_eq!(piecewise, (1..=200).collect::<Vec<_>>());
}

#[test]
fn a_persistent_record_is_not_spilled_before_it_is_appended() {
    let rig = Rig::new();
    let spill = Spill { seq: 1, flags: 0, transient: false, body: b"x" };
    assert_eq!(rig.store().spill(rig.queue(1), &[spill]).expect("answers"), [1]);
}

#[test]
fn space_comes_back_as_records_are_settled() {
    let rig = Rig::new();
    for round in 0..40 {
        let first = round * 100 + 1;
        rig.fill(1, first..=first + 99);
        rig.spill(1, first..=first + 99);
        rig.store().maintain().expect("maintains");
    }
    let full = rig.disk.size_bytes();
    rig.settle(1, 1..=4000);
    rig.store().commit().expect("commits");
    rig.store().maintain().expect("maintains");
    assert!(rig.store().stats().segments <= 1, "{:?}", rig.store().stats());
    assert!(rig.disk.size_bytes() < full / 2, "{} of {full}", rig.disk.size_bytes());
}

#[test]
fn a_few_old_records_do_not_hold_their_segments() {
    let rig = Rig::new();
    for first in (1..4000).step_by(100) {
        rig.fill(1, first..=first + 99);
        rig.spill(1, first..=first + 99);
    }
    rig.store().commit().expect("commits");
    rig.store().maintain().expect("maintains");
    let full = rig.store().stats().segment_bytes;
    rig.settle(1, (1..=4000).filter(|seq| seq % 50 != 0));
    rig.store().commit().expect("commits");
    for _ in 0..3 {
        rig.store().maintain().expect("maintains");
    }
    let stats = rig.store().stats();
    assert!(stats.segment_bytes * 5 < full, "{stats:?}, before {full}");
    let left: Vec<u64> = (1..=80).map(|index| index * 50).collect();
    assert_eq!(rig.seqs(1), left);
    assert_eq!(rig.restart(Crash::LoseAll).seqs(1), left);
}

#[test]
fn a_busy_journal_stays_short_though_a_record_in_it_is_old() {
    let rig = Rig::new();
    rig.fill(1, 1..=1);
    for seq in 1..3000 {
        rig.append(2, seq, &[1; 300]).expect("appends");
        rig.settle(2, [seq.saturating_sub(1)].into_iter().filter(|&seq| seq > 0));
        if seq % 3 == 0 {
            rig.store().commit().expect("commits");
            rig.store().maintain().expect("maintains");
        }
    }
    assert!(rig.store().stats().journal_bytes < 6 * rig.options.journal_file_bytes);
    assert_eq!(rig.store().stats().segments, 0, "a short row does not become a file");
    let rig = rig.restart(Crash::LoseAll);
    assert_eq!(rig.seqs(1), [1]);
}

#[test]
fn purge_keeps_what_it_is_told_to_keep() {
    let rig = Rig::new();
    rig.fill(1, 1..=100);
    rig.spill(1, 1..=60);
    rig.store().purge(rig.queue(1), 90, &[7, 70]).expect("purges");
    rig.store().commit().expect("commits");
    let rig = rig.restart(Crash::LoseAll);
    assert_eq!(rig.seqs(1), [7, 70, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100]);
}

#[test]
fn without_syncs_the_end_of_the_process_is_survived_but_not_of_the_machine() {
    let mut options = support::rig::options();
    options.durability = Durability::Os;
    for (crash, left) in [(Crash::KeepAll, 3), (Crash::LoseAll, 0)] {
        let rig = Rig::on(SimulatedDisk::default(), options.clone()).expect("opens");
        rig.fill(1, 1..=3);
        assert_eq!(rig.restart(crash).seqs(1).len(), left);
    }
}

#[test]
fn a_batch_survives_as_a_whole() {
    let rig = Rig::new();
    rig.fill(1, 1..=1);
    let [one, two] = [rig.queue(1), rig.queue(2)];
    let moved = |rig: &Rig| {
        let append = Append { flags: 0, body: &[b"moved"], targets: &[(two, 1)] };
        let done = rig.store().batch(|batch| {
            batch.settle(one, &[1]);
            batch.append(&append)
        });
        done.expect("open").expect("fits");
    };
    moved(&rig);
    let rig = rig.restart(Crash::LoseAll);
    assert_eq!((rig.read(1).len(), rig.read(2).len()), (1, 0), "it was not committed");
    moved(&rig);
    rig.store().commit().expect("commits");
    let rig = rig.restart(Crash::LoseAll);
    assert_eq!((rig.read(1).len(), rig.read(2).len()), (0, 1));
}

#[test]
fn congestion_is_told_and_passes() {
    let rig = Rig::new();
    let body = vec![1; 33 << 20];
    for seq in 1..=2 {
        assert!(!rig.store().is_congested());
        rig.append(1, seq, &body).expect("appends");
    }
    assert!(rig.store().is_congested());
    rig.store().commit().expect("commits");
    assert!(!rig.store().is_congested());
}

#[test]
fn a_deleted_queue_is_gone_and_its_handle_means_nothing() {
    let rig = Rig::new();
    rig.fill(1, 1..=100);
    rig.spill(1, 1..=100);
    let queue = rig.queue(1);
    rig.store().delete_queue(queue).expect("deletes");
    rig.store().append(&Append { flags: 0, body: &[b"x"], targets: &[(queue, 101)] }).expect("is ignored");
    rig.store().commit().expect("commits");
    let rig = rig.restart(Crash::LoseAll);
    assert!(rig.recovery.queues.is_empty());
    assert!(!rig.disk.names().iter().any(|name| name.starts_with("segment")));
}

#[test]
fn a_record_longer_than_everything_fits() {
    let rig = Rig::new();
    let body: Vec<u8> = (0..400_000_u32).map(|index| index as u8).collect();
    rig.append(1, 1, &body).expect("appends");
    rig.store().commit().expect("commits");
    rig.fill(1, 2..=2);
    let rig = rig.restart(Crash::LoseAll);
    let seen = rig.read(1);
    assert_eq!((seen.len(), &seen[0].1), (2, &body));
}

#[test]
fn the_stores_own_threads_commit_and_keep_house() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut options = Options::default();
    options.journal_file_bytes = 256 << 10;
    options.segment_bytes = 64 << 10;
    let (sender, committed) = std::sync::mpsc::channel();
    let open = |options: &Options| {
        let sender = sender.clone();
        Store::open(directory.path(), options.clone(), move |event| drop(sender.send(event))).expect("opens")
    };
    let (store, _) = open(&options);
    let queue = store.queue(QueueId(1));
    for seq in 1..=20_000 {
        let position = store.append(&Append { flags: 0, body: &[&[3; 200]], targets: &[(queue, seq)] });
        if seq % 1000 == 0 {
            store.wait(position.expect("appends")).expect("commits");
            let settled: Vec<u64> = (seq - 999..seq - 10).collect();
            store.settle(queue, &settled).expect("settles");
        }
    }
    assert!(committed.recv_timeout(Duration::from_secs(5)).is_ok());
    drop(store);
    let (store, recovery) = open(&options);
    assert!(!recovery.clean);
    let mut count = 0;
    store.read(queue_of(&store), 1..=u64::MAX, usize::MAX, |_| count += 1).expect("reads");
    assert!((220..=220 + 990).contains(&count), "{count} records, the last settles may be lost");
    store.close().expect("closes");
}

fn queue_of(store: &Store) -> leveret_store::QueueRef {
    store.queue(QueueId(1))
}

#[test]
fn a_mark_is_with_its_record_for_as_long_as_that_lives() {
    let rig = Rig::new();
    rig.fill(1, 1..=500);
    for seq in 1..=500 {
        rig.store().mark(rig.queue(1), seq, 1).expect("open");
        rig.store().mark(rig.queue(1), seq, seq * 10).expect("open");
    }
    let rig = rig.reopen();
    assert!(manifest_bytes(&rig) > 500 * 16);
    let mut marks = Vec::new();
    let visit = |record: leveret_store::StoredRecord<'_>| marks.push((record.seq, record.mark));
    rig.store().read(rig.queue(1), 1..=u64::MAX, usize::MAX, visit).expect("reads");
    assert!(marks.into_iter().eq((1..=500).map(|seq| (seq, seq * 10))));
    rig.settle(1, 1..=500);
    assert!(manifest_bytes(&rig.reopen()) < 500);
}

/// The length of the newest manifest's body.
fn manifest_bytes(rig: &Rig) -> u32 {
    let bodies = ["manifest-a", "manifest-b"].map(|name| {
        let manifest = rig.disk.contents(name);
        let (length, rest) = manifest[12..].split_first_chunk::<4>().expect("a header");
        let number = rest.first_chunk::<8>().expect("a header");
        (u64::from_le_bytes(*number), u32::from_le_bytes(*length))
    });
    bodies.into_iter().max().expect("there are two").1
}
