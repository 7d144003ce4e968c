//! The store's own threads at work beside many callers, on small files, so that journal, relocation and compaction are
//! always busy. Each caller is alone with its queue and knows what must be in it. `LEVERET_STORE_SEED=n` repeats the
//! callers' choices (not the threads' timing).

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use leveret_store::{Append, Lsn, Options, QueueId, QueueRef, Spill, Store, StoreError};
use support::{
    disk::{Crash, SimulatedDisk, Trouble},
    rig::body,
};

const CALLERS: u64 = 4;
const STEPS: usize = 20_000;

/// Where a caller has a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Memory,
    Disk,
}

struct Caller<'a> {
    store: &'a Store,
    queue: QueueRef,
    random: Rng,
    records: BTreeMap<u64, Record>,
    settled: Vec<(u64, Lsn)>,
    next_seq: u64,
    last: Lsn,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    place: Place,
    transient: bool,
    appended: Lsn,
}

/// What a caller knows in the end: what lives, and what it has settled.
struct Known {
    records: BTreeMap<u64, Record>,
    settled: Vec<(u64, Lsn)>,
}

fn options() -> Options {
    let mut options = Options::default();
    options.journal_file_bytes = 64 << 10;
    options.journal_files = 3;
    options.segment_bytes = 8 << 10;
    options.block_bytes = 600;
    options.relocate_bytes = 1 << 10;
    options.dead_bytes = 8 << 10;
    options.settle_delay = Duration::from_millis(1);
    options
}

impl Caller<'_> {
    fn step(&mut self) -> Result<(), StoreError> {
        match self.random.u8(0..10) {
            0..=3 => self.append(),
            4 => self.add_transients(),
            5..=6 => self.settle(),
            7 => self.spill(),
            8 => self.read(),
            _ => self.settle_most(),
        }
    }

    fn append(&mut self) -> Result<(), StoreError> {
        for _ in 0..self.random.usize(1..20) {
            let body = body(self.queue.id().0, self.next_seq);
            let append = Append { flags: 1, body: &[&body], targets: &[(self.queue, self.next_seq)] };
            self.last = self.store.append(&append)?;
            let record = Record { place: Place::Memory, transient: false, appended: self.last };
            self.records.insert(self.next_seq, record);
            self.next_seq += 1;
        }
        if self.random.u8(0..10) == 0 {
            self.store.wait(self.last)?;
        }
        Ok(())
    }

    fn add_transients(&mut self) -> Result<(), StoreError> {
        let first = self.next_seq;
        self.next_seq += self.random.u64(1..20);
        (first..self.next_seq).for_each(|seq| {
            self.records.insert(seq, Record { place: Place::Disk, transient: true, appended: Lsn(0) });
        });
        self.spill_these(&(first..self.next_seq).collect::<Vec<_>>())
    }

    fn spill_these(&self, seqs: &[u64]) -> Result<(), StoreError> {
        let bodies: Vec<_> = seqs.iter().map(|&seq| body(self.queue.id().0, seq)).collect();
        let spills: Vec<_> = seqs
            .iter()
            .zip(&bodies)
            .map(|(&seq, body)| Spill { seq, flags: 1, transient: self.records[&seq].transient, body })
            .collect();
        assert_eq!(self.store.spill(self.queue, &spills)?, Vec::<u64>::new());
        Ok(())
    }

    fn spill(&mut self) -> Result<(), StoreError> {
        let start = self.random.u64(1..=self.next_seq);
        let again = self.random.u8(0..4) == 0;
        let in_memory =
            self.records.range(start..).filter(|(_, record)| again || record.place == Place::Memory);
        let seqs: Vec<u64> = in_memory.map(|(seq, _)| *seq).take(self.random.usize(1..300)).collect();
        self.spill_these(&seqs)?;
        for seq in seqs {
            self.records.entry(seq).and_modify(|record| record.place = Place::Disk);
        }
        Ok(())
    }

    /// A broker settles what it has delivered, so what it has in memory, and durable records wherever they are.
    fn settle(&mut self) -> Result<(), StoreError> {
        let start = self.random.u64(1..=self.next_seq);
        let count = self.random.usize(1..80);
        let seqs: Vec<u64> = self.records.range(start..).map(|(seq, _)| *seq).take(count).collect();
        self.settle_these(&seqs)
    }

    fn settle_most(&mut self) -> Result<(), StoreError> {
        let chosen: Vec<u64> =
            self.records.keys().copied().filter(|_| self.random.u8(0..20) > 0).take(400).collect();
        self.settle_these(&chosen)
    }

    fn settle_these(&mut self, seqs: &[u64]) -> Result<(), StoreError> {
        self.last = self.last.max(self.store.settle(self.queue, seqs)?);
        for seq in seqs {
            self.records.remove(seq);
            self.settled.push((*seq, self.last));
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), StoreError> {
        let (queue, id) = (self.queue, self.queue.id().0);
        let from = self.random.u64(1..=self.next_seq);
        let mut wanted = self.records.range_mut(from..).filter(|(_, record)| record.place == Place::Disk);
        let mut next = Some(from);
        while let Some(seq) = next {
            let end = self.store.read(queue, seq..=u64::MAX - 1, 2_000, |record| {
                let (seq, known) = wanted.next().expect("no more than was spilled");
                assert_eq!((record.seq, record.transient), (*seq, known.transient), "queue {id}");
                assert_eq!(record.body, body(id, *seq));
            });
            next = end?.next;
        }
        let left: Vec<_> = wanted.map(|(seq, _)| seq).collect();
        assert!(left.is_empty(), "queue {id} did not find {left:?}");
        Ok(())
    }
}

/// Works until it is done or the disk dies.
fn work(store: &Store, id: u64, seed: u64) -> Known {
    let mut caller = Caller {
        store,
        queue: store.queue(QueueId(id)),
        random: Rng::with_seed(seed + id),
        records: BTreeMap::new(),
        settled: Vec::new(),
        next_seq: 1,
        last: Lsn::default(),
    };
    for _ in 0..STEPS {
        if caller.step().is_err() {
            break;
        }
    }
    // It fails when the disk has died.
    let _ = store.wait(caller.last);
    Known { records: caller.records, settled: caller.settled }
}

fn work_together(store: &Store, seed: u64) -> Vec<Known> {
    std::thread::scope(|scope| {
        let callers = (1..=CALLERS).map(|id| scope.spawn(move || work(store, id, seed)));
        let callers: Vec<_> = callers.collect();
        callers.into_iter().map(|caller| caller.join().expect("finds what it should")).collect()
    })
}

fn seed() -> u64 {
    let given = std::env::var("LEVERET_STORE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..1 << 48));
    println!("LEVERET_STORE_SEED={seed}");
    seed
}

/// Opens after a crash; what was committed must be there, what was settled and committed must not.
fn check(disk: SimulatedDisk, known: Vec<Known>, committed: Lsn) {
    let (store, recovery) = Store::open_on(Arc::new(disk), options(), |_| {}).expect("opens again");
    assert_eq!(recovery.damage, vec![]);
    for (id, known) in (1..=CALLERS).zip(known) {
        let mut found = BTreeSet::new();
        let visit = |record: leveret_store::StoredRecord<'_>| {
            assert_eq!(record.body, body(id, record.seq));
            found.insert(record.seq);
        };
        let end = store.read(store.queue(QueueId(id)), 1..=u64::MAX, usize::MAX, visit);
        assert_eq!(end.expect("reads").lost, 0);
        for (seq, record) in known.records {
            let must = !record.transient && record.appended <= committed;
            assert!(
                !must || found.contains(&seq),
                "queue {id} lost {seq}: {record:?}, committed {committed:?}"
            );
            assert!(!record.transient || !found.contains(&seq));
        }
        for (seq, settled) in known.settled {
            assert!(settled > committed || !found.contains(&seq), "queue {id} got {seq} back");
        }
    }
}

#[test]
fn callers_and_the_stores_threads_do_not_disturb_each_other() {
    let seed = seed();
    let disk = SimulatedDisk::default();
    let (store, _) = Store::open_on(Arc::new(disk.clone()), options(), |_| {}).expect("opens");
    let known = work_together(&store, seed);
    let (stats, committed) = (store.stats(), store.committed());
    assert!(store.error().is_none() && stats.manifests > 10 && stats.spilled_records > 1_000, "{stats:?}");
    drop(store);
    disk.restart(Crash::LoseAll, &mut Rng::with_seed(seed));
    check(disk, known, committed);
}

#[test]
fn a_crash_in_the_midst_of_it_loses_nothing_committed() {
    let mut random = Rng::with_seed(seed());
    for _ in 0..40 {
        let disk = SimulatedDisk::default();
        let (store, _) = Store::open_on(Arc::new(disk.clone()), options(), |_| {}).expect("opens");
        disk.arrange(random.u64(50..3_000), Trouble::Crash);
        let known = work_together(&store, random.u64(..1 << 48));
        let committed = store.committed();
        drop(store);
        disk.restart([Crash::KeepAll, Crash::LoseAll, Crash::Tear][random.usize(0..3)], &mut random);
        check(disk, known, committed);
    }
}
