//! The store's own threads at work beside many callers, on small files, so that journal, relocation and compaction are
//! always busy. Each caller is alone with its queue and knows what must be in it. `LEVERET_STORE_SEED=n` repeats the
//! callers' choices (not the threads' timing).

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use leveret_store::{Append, Lsn, Options, QueueId, QueueRef, Spill, Store};
use support::{
    disk::{Crash, SimulatedDisk},
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
    records: BTreeMap<u64, (Place, bool)>,
    next_seq: u64,
    last: Lsn,
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
    fn step(&mut self) {
        match self.random.u8(0..10) {
            0..=3 => self.append(),
            4 => self.add_transients(),
            5..=6 => self.settle(),
            7 => self.spill(),
            8 => self.read(),
            _ => self.settle_most(),
        }
    }

    fn append(&mut self) {
        for _ in 0..self.random.usize(1..20) {
            let body = body(self.queue.id().0, self.next_seq);
            let append = Append { flags: 1, body: &[&body], targets: &[(self.queue, self.next_seq)] };
            self.last = self.store.append(&append).expect("appends");
            self.records.insert(self.next_seq, (Place::Memory, false));
            self.next_seq += 1;
        }
        if self.random.u8(0..10) == 0 {
            self.store.wait(self.last).expect("commits");
        }
    }

    fn add_transients(&mut self) {
        let first = self.next_seq;
        self.next_seq += self.random.u64(1..20);
        (first..self.next_seq).for_each(|seq| {
            self.records.insert(seq, (Place::Disk, true));
        });
        self.spill_these(&(first..self.next_seq).collect::<Vec<_>>());
    }

    fn spill_these(&self, seqs: &[u64]) {
        let bodies: Vec<_> = seqs.iter().map(|&seq| body(self.queue.id().0, seq)).collect();
        let spills: Vec<_> = seqs
            .iter()
            .zip(&bodies)
            .map(|(&seq, body)| Spill { seq, flags: 1, transient: self.records[&seq].1, body })
            .collect();
        assert_eq!(self.store.spill(self.queue, &spills).expect("spills"), Vec::<u64>::new());
    }

    fn spill(&mut self) {
        let start = self.random.u64(1..=self.next_seq);
        let in_memory = self.records.range(start..).filter(|(_, (place, _))| *place == Place::Memory);
        let seqs: Vec<u64> = in_memory.map(|(seq, _)| *seq).take(self.random.usize(1..300)).collect();
        self.spill_these(&seqs);
        for seq in seqs {
            self.records.entry(seq).and_modify(|(place, _)| *place = Place::Disk);
        }
    }

    /// A broker settles what it has delivered, so what it has in memory, and durable records wherever they are.
    fn settle(&mut self) {
        let start = self.random.u64(1..=self.next_seq);
        let count = self.random.usize(1..80);
        let seqs: Vec<u64> = self.records.range(start..).map(|(seq, _)| *seq).take(count).collect();
        self.settle_these(&seqs);
    }

    fn settle_most(&mut self) {
        let chosen: Vec<u64> =
            self.records.keys().copied().filter(|_| self.random.u8(0..20) > 0).take(400).collect();
        self.settle_these(&chosen);
    }

    fn settle_these(&mut self, seqs: &[u64]) {
        self.last = self.last.max(self.store.settle(self.queue, seqs).expect("settles"));
        for seq in seqs {
            self.records.remove(seq);
        }
    }

    fn read(&mut self) {
        let (queue, id) = (self.queue, self.queue.id().0);
        let from = self.random.u64(1..=self.next_seq);
        let mut wanted = self.records.range_mut(from..).filter(|(_, (place, _))| *place == Place::Disk);
        let mut next = Some(from);
        while let Some(seq) = next {
            let end = self.store.read(queue, seq..=u64::MAX - 1, 2_000, |record| {
                let (seq, (place, transient)) = wanted.next().expect("no more than was spilled");
                assert_eq!((record.seq, record.transient), (*seq, *transient), "queue {id}");
                assert_eq!(record.body, body(id, *seq));
                *place = Place::Memory;
            });
            next = end.expect("reads").next;
        }
        let left: Vec<_> = wanted.map(|(seq, _)| seq).collect();
        assert!(left.is_empty(), "queue {id} did not find {left:?}");
    }
}

fn work(store: &Store, id: u64, seed: u64) -> BTreeMap<u64, (Place, bool)> {
    let random = Rng::with_seed(seed + id);
    let queue = store.queue(QueueId(id));
    let mut caller =
        Caller { store, queue, random, records: BTreeMap::new(), next_seq: 1, last: Lsn::default() };
    for _ in 0..STEPS {
        caller.step();
    }
    store.wait(caller.last).expect("commits");
    caller.records
}

#[test]
fn callers_and_the_stores_threads_do_not_disturb_each_other() {
    let seed = std::env::var("LEVERET_STORE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1 << 48));
    println!("LEVERET_STORE_SEED={seed}");
    let disk = SimulatedDisk::default();
    let (store, _) = Store::open_on(Arc::new(disk.clone()), options(), |_| {}).expect("opens");
    let left: Vec<_> = std::thread::scope(|scope| {
        let callers = (1..=CALLERS).map(|id| {
            let store = &store;
            scope.spawn(move || work(store, id, seed))
        });
        let callers: Vec<_> = callers.collect();
        callers.into_iter().map(|caller| caller.join().expect("finds what it should")).collect()
    });
    let stats = store.stats();
    assert!(stats.manifests > 10 && stats.spilled_records > 1_000, "{stats:?}");
    drop(store);
    disk.restart(Crash::LoseAll, &mut Rng::with_seed(seed));
    let (store, recovery) = Store::open_on(Arc::new(disk), options(), |_| {}).expect("opens again");
    assert_eq!(recovery.damage, vec![]);
    for (id, records) in (1..=CALLERS).zip(left) {
        let durable: Vec<u64> =
            records.into_iter().filter(|(_, (_, transient))| !transient).map(|(seq, _)| seq).collect();
        let mut found = Vec::new();
        let visit = |record: leveret_store::StoredRecord<'_>| found.push(record.seq);
        store.read(store.queue(QueueId(id)), 1..=u64::MAX, usize::MAX, visit).expect("reads");
        assert_eq!(found, durable, "queue {id}");
    }
}
