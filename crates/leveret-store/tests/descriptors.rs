//! File descriptors: few are enough, and when none is left nothing is lost by it.

mod support;

use leveret_store::{Spill, StoreError};
use support::{
    disk::Crash,
    rig::{Rig, body},
};

const QUEUES: u64 = 50;
/// Segments that may be open by the rig's options, and the journal's file.
const OPEN_FILES: usize = 2 + 1;

#[test]
fn many_queues_that_are_paged_out_keep_few_files_open() {
    let rig = Rig::new();
    for turn in 0..3 {
        for queue in 1..=QUEUES {
            let seqs = turn * 3 + 1..=turn * 3 + 3;
            let is_transient = queue % 2 == 0;
            if !is_transient {
                rig.fill(queue, seqs.clone());
            }
            rig.spill_as(queue, seqs, is_transient);
            assert!(rig.disk.open_files() <= OPEN_FILES, "{}", rig.disk.open_files());
        }
    }
    rig.store().maintain().expect("keeps house");
    (1..=QUEUES).for_each(|queue| assert_eq!(rig.seqs(queue), (1..=9).collect::<Vec<_>>()));
    let rig = rig.restart(Crash::LoseAll);
    let durable = (1..=QUEUES).filter(|queue| queue % 2 == 1);
    durable.for_each(|queue| assert_eq!(rig.seqs(queue), (1..=9).collect::<Vec<_>>()));
}

/// Spills without expecting that all is taken; returns what was not.
fn try_to_spill(rig: &Rig, queue: u64, seqs: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    let bodies: Vec<_> = seqs.map(|seq| (seq, body(queue, seq))).collect();
    let spills = bodies.iter().map(|(seq, body)| Spill { seq: *seq, flags: 0, transient: false, body });
    let spills: Vec<_> = spills.collect();
    rig.store().spill(rig.queue(queue), &spills).expect("the store stays open")
}

#[test]
fn what_finds_no_file_descriptor_is_refused_and_taken_later() {
    let rig = Rig::new();
    rig.fill(1, 1..=50);
    rig.fill(2, 1..=10);
    rig.spill(1, 1..=50);
    rig.disk.limit_descriptors(Some(0));
    assert_eq!(try_to_spill(&rig, 2, 1..=10), (1..=10).collect::<Vec<_>>());
    rig.disk.limit_descriptors(None);
    assert_eq!(try_to_spill(&rig, 2, 1..=10), Vec::<u64>::new());
    assert_eq!(rig.failures(), 0);
    assert_eq!(rig.seqs(2), (1..=10).collect::<Vec<_>>());
}

#[test]
fn a_segment_that_was_closed_waits_for_a_file_descriptor_too() {
    let rig = Rig::new();
    (1..=3).for_each(|queue| rig.fill(queue, 1..=6));
    (1..=3).for_each(|queue| rig.spill(queue, 1..=3));
    rig.disk.limit_descriptors(Some(0));
    assert_eq!(try_to_spill(&rig, 1, 1..=6), vec![4, 5, 6], "the first was closed for the others");
    assert_eq!(try_to_spill(&rig, 3, 1..=6), Vec::<u64>::new(), "the last is open");
    rig.disk.limit_descriptors(None);
    assert_eq!(try_to_spill(&rig, 1, 4..=6), Vec::<u64>::new());
    rig.store().maintain().expect("keeps house");
    assert_eq!(rig.restart(Crash::LoseAll).seqs(1), (1..=6).collect::<Vec<_>>());
}

#[test]
fn compaction_waits_for_file_descriptors_and_calls_no_segment_damaged() {
    let rig = Rig::new();
    rig.fill(1, 1..=200);
    rig.spill(1, 1..=200);
    let rig = rig.reopen();
    rig.settle(1, (1..=200).filter(|seq| seq % 50 != 0));
    rig.store().commit().expect("commits");
    let before = rig.store().stats().segments;
    // One is enough to write to, and not to read from as well.
    for most in [0, 1] {
        rig.disk.limit_descriptors(Some(rig.disk.open_files() + most));
        rig.store().maintain().expect("keeps house");
    }
    rig.disk.limit_descriptors(None);
    rig.store().maintain().expect("keeps house");
    assert!(rig.store().stats().segments < before, "{before} segments before");
    assert_eq!(rig.store().damage(), vec![]);
    assert_eq!(rig.seqs(1), vec![50, 100, 150, 200]);
}

#[test]
fn a_commit_waits_for_a_file_descriptor() {
    let rig = Rig::new();
    rig.append(1, 1, &body(1, 1)).expect("appends");
    rig.disk.limit_descriptors(Some(0));
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| rig.store().commit());
        while rig.disk.refused_descriptors() < 2 {
            std::thread::yield_now();
        }
        rig.disk.limit_descriptors(None);
        commit.join().expect("no panic")
    })
    .expect("commits");
    assert_eq!(rig.restart(Crash::LoseAll).seqs(1), vec![1]);
}

#[test]
fn what_cannot_be_read_for_want_of_a_file_descriptor_can_be_read_later() {
    let rig = Rig::new();
    (1..=3).for_each(|queue| rig.fill(queue, 1..=6));
    (1..=3).for_each(|queue| rig.spill(queue, 1..=6));
    rig.disk.limit_descriptors(Some(0));
    let read = rig.store().read(rig.queue(1), 1..=u64::MAX, usize::MAX, |_| ());
    assert!(matches!(read, Err(StoreError::Io { .. })), "{read:?}");
    rig.disk.limit_descriptors(None);
    assert_eq!(rig.seqs(1), (1..=6).collect::<Vec<_>>());
    assert_eq!(rig.failures(), 0);
}
