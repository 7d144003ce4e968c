//! A random schedule of operations on a store over a simulated disk, with a plain model of what must, may and must not be
//! there after a crash.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use fastrand::Rng;
use leveret_store::{Append, CommitEvent, Drive, Lsn, Options, QueueId, QueueRef, Spill, Store, StoreError};

use super::disk::{Crash, SimulatedDisk, Trouble};

const QUEUES: u64 = 4;

/// A record as the model sees it.
#[derive(Debug, Clone)]
struct Record {
    flags: u16,
    body: Vec<u8>,
    transient: bool,
    /// Position of its append.
    appended: u64,
    /// Position of its settle.
    settled: Option<u64>,
    /// The marks that it may have, with their positions; the last one counts.
    marks: Vec<(u64, u64)>,
    /// In a segment: a read must find it.
    spilled: bool,
    /// The record whose settle stands in one group with this one's append.
    moved_from: Option<(u64, u64)>,
}

#[derive(Default)]
struct QueueModel {
    records: BTreeMap<u64, Record>,
    next_seq: u64,
    deleted: Option<u64>,
}

/// One disk, one model, many crashes.
pub(crate) struct Schedule {
    disk: SimulatedDisk,
    random: Rng,
    queues: BTreeMap<u64, QueueModel>,
    next_queue: u64,
    committed: Arc<AtomicU64>,
    options: Options,
    /// Crashes survived.
    pub(crate) crashes: u64,
}

pub(crate) fn small_options(random: &mut Rng) -> Options {
    let mut options = Options::default();
    options.drive = Drive::Manual;
    options.journal_file_bytes = [16 << 10, 32 << 10, 64 << 10][random.usize(0..3)];
    options.journal_files = random.usize(2..5);
    options.segment_bytes = [1 << 10, 4 << 10][random.usize(0..2)];
    options.open_segments = random.usize(1..5);
    options.block_bytes = [200, 600][random.usize(0..2)];
    options.read_bytes = [256, 4096][random.usize(0..2)];
    options.relocate_bytes = [300, 3_000][random.usize(0..2)];
    options.dead_bytes = 4 << 10;
    options
}

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let options = small_options(&mut random);
        let mut queues = BTreeMap::new();
        for id in 1..=QUEUES {
            queues.insert(id, QueueModel { next_seq: 1, ..QueueModel::default() });
        }
        Self {
            disk: SimulatedDisk::default(),
            random,
            queues,
            next_queue: QUEUES + 1,
            committed: Arc::default(),
            options,
            crashes: 0,
        }
    }

    /// Opens, checks, works until the crash, and crashes.
    pub(crate) fn round(&mut self) {
        let calls = if self.random.u8(0..8) == 0 { self.random.u64(1..12) } else { self.random.u64(1..80) };
        self.disk.arrange(calls, Trouble::Crash);
        if let Some((store, committed)) = self.open() {
            self.check_recovered(&store);
            self.committed = committed;
            while !self.disk.is_dead() && self.step(&store).is_ok() {}
            drop(store);
        }
        let crash = [Crash::KeepAll, Crash::LoseAll, Crash::Tear, Crash::Tear][self.random.usize(0..4)];
        self.disk.restart(crash, &mut self.random);
        self.crashes += 1;
    }

    /// Opens without any crash and checks for the last time.
    pub(crate) fn finish(&mut self) {
        let (store, _) = self.open().expect("no trouble was arranged");
        self.check_recovered(&store);
        store.close().expect("closes");
    }

    /// Positions that were not committed are used again after a crash, so each opening counts for itself.
    fn open(&mut self) -> Option<(Store, Arc<AtomicU64>)> {
        let committed = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&committed);
        let listener = move |event| {
            if let CommitEvent::Committed(Lsn(position)) = event {
                counted.fetch_max(position, Ordering::SeqCst);
            }
        };
        match Store::open_on(Arc::new(self.disk.clone()), self.options.clone(), listener) {
            Ok((store, recovery)) => {
                assert_eq!(recovery.damage, vec![], "a crash is no damage");
                Some((store, committed))
            }
            Err(error) => {
                assert!(self.disk.is_dead(), "opening failed without a crash: {error}");
                None
            }
        }
    }

    /// Compares what is there with what must and may be, and takes it over as what is.
    fn check_recovered(&mut self, store: &Store) {
        let committed = self.committed.load(Ordering::SeqCst);
        let mut found: HashMap<(u64, u64), bool> = HashMap::new();
        let ids: Vec<u64> = self.queues.keys().copied().collect();
        for id in ids {
            let present = read_all(store, id);
            let model = self.queues.get_mut(&id).expect("known");
            for (seq, record) in &mut model.records {
                let got = present.get(seq);
                found.insert((id, *seq), got.is_some());
                let must = !record.transient
                    && record.appended <= committed
                    && record.settled.is_none()
                    && model.deleted.is_none();
                let must_not = record.transient
                    || record.settled.is_some_and(|position| position <= committed)
                    || model.deleted.is_some_and(|position| position <= committed);
                assert!(!must || got.is_some(), "queue {id} lost {seq}: {record:?}, committed {committed}");
                assert!(
                    !must_not || got.is_none(),
                    "queue {id} got {seq} back: {record:?}, committed {committed}"
                );
                if let Some((flags, body, mark)) = got {
                    assert_eq!((*flags, body), (record.flags, &record.body), "queue {id} record {seq}");
                    let sure = record.marks.iter().rposition(|(position, _)| *position <= committed);
                    let possible = &record.marks[sure.unwrap_or(0)..];
                    assert!(
                        possible.iter().any(|(_, possible)| possible == mark),
                        "queue {id} record {seq} is marked {mark}: {record:?}, committed {committed}"
                    );
                    record.marks = vec![(0, *mark)];
                }
            }
            let known = present.keys().all(|seq| model.records.contains_key(seq));
            assert!(known, "queue {id} has records nobody appended");
        }
        self.check_moves(&found);
        for (id, model) in &mut self.queues {
            if model.deleted.is_some() && model.records.keys().any(|seq| found[&(*id, *seq)]) {
                // The deletion was not committed and is forgotten.
                model.deleted = None;
            }
            model.records.retain(|seq, _| found[&(*id, *seq)]);
            for record in model.records.values_mut() {
                record.appended = 0;
                record.settled = None;
                record.moved_from = None;
                record.spilled = false;
            }
        }
        self.mark_readable(store);
        self.queues.retain(|_, model| model.deleted.is_none());
        while (self.queues.len() as u64) < QUEUES {
            self.queues.insert(self.next_queue, QueueModel { next_seq: 1, ..QueueModel::default() });
            self.next_queue += 1;
        }
    }

    /// Both halves of a move, or none.
    fn check_moves(&self, found: &HashMap<(u64, u64), bool>) {
        for (id, model) in &self.queues {
            for (seq, record) in &model.records {
                let Some(from) = record.moved_from else { continue };
                let Some(&source) = found.get(&from) else { continue };
                let undisturbed = record.settled.is_none() && model.deleted.is_none();
                let source_undisturbed = self.queues[&from.0].deleted.is_none();
                if undisturbed && source_undisturbed {
                    assert_ne!(source, found[&(*id, *seq)], "half of a move from {from:?} to {id}/{seq}");
                }
            }
        }
    }

    /// What is in segments can be read again, what was in memory cannot.
    fn mark_readable(&mut self, store: &Store) {
        for (id, model) in &mut self.queues {
            for seq in read_all(store, *id).keys() {
                model.records.get_mut(seq).expect("just read").spilled = true;
            }
        }
    }

    fn step(&mut self, store: &Store) -> Result<(), StoreError> {
        match self.random.u8(0..100) {
            0..=34 => self.append(store),
            35..=52 => self.settle(store),
            53..=54 => self.mark(store),
            55..=61 => self.spill(store),
            62..=66 => self.transients(store),
            67..=71 => self.read(store),
            72..=84 => store.commit(),
            85..=91 => store.maintain(),
            92..=95 => self.move_one(store),
            96..=97 => self.purge(store),
            98 => self.settle_early(store),
            _ => self.delete(store),
        }
    }

    fn pick(&mut self) -> u64 {
        let ids: Vec<u64> =
            self.queues.iter().filter(|(_, model)| model.deleted.is_none()).map(|(id, _)| *id).collect();
        ids[self.random.usize(0..ids.len())]
    }

    fn body(&mut self) -> Vec<u8> {
        let length = match self.random.u8(0..20) {
            0 => 0,
            1 => self.random.usize(2_000..9_000),
            _ => self.random.usize(1..200),
        };
        let mut body = vec![0; length];
        self.random.fill(&mut body);
        body
    }

    fn note(&mut self, id: u64, seq: u64, body: &[u8], flags: u16, appended: u64) {
        let record = Record {
            flags,
            body: body.to_vec(),
            transient: false,
            appended,
            settled: None,
            marks: vec![(0, 0)],
            spilled: false,
            moved_from: None,
        };
        self.queues.get_mut(&id).expect("known").records.insert(seq, record);
    }

    fn take_seq(&mut self, id: u64) -> u64 {
        let model = self.queues.get_mut(&id).expect("known");
        model.next_seq += 1;
        model.next_seq - 1
    }

    fn append(&mut self, store: &Store) -> Result<(), StoreError> {
        for _ in 0..self.random.usize(1..12) {
            let mut ids: Vec<u64> = (0..self.random.usize(1..4)).map(|_| self.pick()).collect();
            ids.sort_unstable();
            ids.dedup();
            let targets: Vec<(QueueRef, u64)> =
                ids.iter().map(|&id| (store.queue(QueueId(id)), self.take_seq(id))).collect();
            let (body, flags) = (self.body(), self.random.u16(..));
            let middle = body.len() / 2;
            let parts = [&body[..middle], &body[middle..]];
            let position = store.append(&Append { flags, body: &parts, targets: &targets })?;
            for (queue, seq) in targets {
                self.note(queue.id().0, seq, &body, flags, position.0);
            }
        }
        Ok(())
    }

    fn living(&self, id: u64, transient: Option<bool>) -> Vec<u64> {
        let records = self.queues[&id].records.iter();
        let living = records.filter(|(_, record)| {
            record.settled.is_none() && transient.is_none_or(|transient| record.transient == transient)
        });
        living.map(|(seq, _)| *seq).collect()
    }

    fn settle(&mut self, store: &Store) -> Result<(), StoreError> {
        let id = self.pick();
        let living = self.living(id, None);
        let in_order = self.random.bool();
        let mut seqs = Vec::new();
        for index in 0..living.len().min(self.random.usize(1..40)) {
            seqs.push(if in_order { living[index] } else { living[self.random.usize(0..living.len())] });
        }
        seqs.sort_unstable();
        seqs.dedup();
        let position = store.settle(store.queue(QueueId(id)), &seqs)?;
        self.note_settled(id, &seqs, position);
        Ok(())
    }

    fn mark(&mut self, store: &Store) -> Result<(), StoreError> {
        let id = self.pick();
        let living = self.living(id, Some(false));
        for _ in 0..living.len().min(self.random.usize(1..10)) {
            let (seq, mark) = (living[self.random.usize(0..living.len())], self.random.u64(..));
            let position = store.mark(store.queue(QueueId(id)), seq, mark)?;
            let model = self.queues.get_mut(&id).expect("known");
            model.records.get_mut(&seq).expect("living").marks.push((position.0, mark));
        }
        Ok(())
    }

    fn note_settled(&mut self, id: u64, seqs: &[u64], position: Lsn) {
        let model = self.queues.get_mut(&id).expect("known");
        for seq in seqs {
            model.records.get_mut(seq).expect("living").settled = Some(position.0);
        }
    }

    fn settle_early(&mut self, store: &Store) -> Result<(), StoreError> {
        let id = self.pick();
        let queue = store.queue(QueueId(id));
        let seq = self.take_seq(id);
        store.settle(queue, &[seq])?;
        if self.random.u8(0..4) > 0 {
            store.commit()?;
        }
        let position = store.append(&Append { flags: 0, body: &[b"late"], targets: &[(queue, seq)] })?;
        self.note(id, seq, b"late", 0, position.0);
        // It must never come back: it is settled from the beginning.
        self.note_settled(id, &[seq], Lsn(0));
        Ok(())
    }

    fn spill(&mut self, store: &Store) -> Result<(), StoreError> {
        let id = self.pick();
        let living = self.living(id, Some(false));
        if living.is_empty() {
            return Ok(());
        }
        let start = self.random.usize(0..living.len());
        let chosen: Vec<u64> = living[start..].iter().copied().take(self.random.usize(1..60)).collect();
        let model = self.queues.get_mut(&id).expect("known");
        let spills: Vec<Spill<'_>> = chosen
            .iter()
            .map(|seq| {
                let record = &model.records[seq];
                Spill { seq: *seq, flags: record.flags, transient: false, body: &record.body }
            })
            .collect();
        let refused = store.spill(store.queue(QueueId(id)), &spills)?;
        assert_eq!(refused, Vec::<u64>::new());
        for seq in chosen {
            model.records.get_mut(&seq).expect("living").spilled = true;
        }
        Ok(())
    }

    fn transients(&mut self, store: &Store) -> Result<(), StoreError> {
        let id = self.pick();
        for _ in 0..self.random.usize(1..20) {
            let (seq, body) = (self.take_seq(id), self.body());
            let spill = Spill { seq, flags: 9, transient: true, body: &body };
            store.spill(store.queue(QueueId(id)), &[spill])?;
            self.note(id, seq, &body, 9, 0);
            let record =
                self.queues.get_mut(&id).and_then(|model| model.records.get_mut(&seq)).expect("noted");
            record.transient = true;
            record.spilled = true;
        }
        Ok(())
    }

    fn read(&mut self, store: &Store) -> Result<(), StoreError> {
        let id = self.pick();
        let (span, max_bytes, pieces) =
            (self.random.u64(1..1000), self.random.usize(1..3_000), self.random.u8(1..10));
        let model = self.queues.get_mut(&id).expect("known");
        let from = self.random.u64(1..=model.next_seq);
        let to = from + span;
        let range = model.records.range_mut(from..=to);
        let mut wanted = range.filter(|(_, record)| record.spilled && record.settled.is_none());
        let mut next = Some(from);
        for _ in 0..pieces {
            let Some(seq) = next else { break };
            let mut wrong = None;
            let end = store.read(store.queue(QueueId(id)), seq..=to, max_bytes, |record| {
                let fits = wanted.next().is_some_and(|(seq, model)| {
                    let mark = model.marks.last().map(|(_, mark)| *mark);
                    (*seq, model.flags, &model.body[..], model.transient, mark)
                        == (record.seq, record.flags, record.body, record.transient, Some(record.mark))
                });
                if !fits || !record.on_disk {
                    wrong.get_or_insert(record.seq);
                }
            })?;
            assert_eq!(wrong, None, "queue {id}, from {seq} to {to}");
            assert_eq!(end.lost, 0);
            next = end.next;
        }
        if next.is_none() {
            let rest: Vec<u64> = wanted.map(|(seq, _)| *seq).collect();
            assert!(rest.is_empty(), "queue {id} does not find {rest:?}");
        }
        Ok(())
    }

    fn move_one(&mut self, store: &Store) -> Result<(), StoreError> {
        let (from, to) = (self.pick(), self.pick());
        let living = self.living(from, Some(false));
        if living.is_empty() || from == to {
            return Ok(());
        }
        let seq = living[self.random.usize(0..living.len())];
        let record = self.queues[&from].records[&seq].clone();
        let new_seq = self.take_seq(to);
        let target = [(store.queue(QueueId(to)), new_seq)];
        let append = Append { flags: record.flags, body: &[&record.body], targets: &target };
        let source = store.queue(QueueId(from));
        let position = store.batch(|batch| {
            batch.settle(source, &[seq]);
            batch.append(&append)
        });
        let position = position??;
        self.note(to, new_seq, &record.body, record.flags, position.0);
        self.note_settled(from, &[seq], position);
        // Only where the source was safe before does its absence prove anything.
        if record.appended <= self.committed.load(Ordering::SeqCst) {
            let model = self.queues.get_mut(&to).and_then(|model| model.records.get_mut(&new_seq));
            model.expect("noted").moved_from = Some((from, seq));
        }
        Ok(())
    }

    fn purge(&mut self, store: &Store) -> Result<(), StoreError> {
        let id = self.pick();
        let up_to = self.random.u64(0..self.queues[&id].next_seq);
        let living: Vec<u64> = self.living(id, None).into_iter().filter(|&seq| seq <= up_to).collect();
        let (keep, purged): (Vec<u64>, Vec<u64>) =
            living.into_iter().partition(|_| self.random.u8(0..6) == 0);
        let position = store.purge(store.queue(QueueId(id)), up_to, &keep)?;
        self.note_settled(id, &purged, position);
        Ok(())
    }

    fn delete(&mut self, store: &Store) -> Result<(), StoreError> {
        let living = self.queues.values().filter(|model| model.deleted.is_none()).count();
        if living < 3 || self.random.bool() {
            return Ok(());
        }
        let id = self.pick();
        let position = store.delete_queue(store.queue(QueueId(id)))?;
        self.queues.get_mut(&id).expect("known").deleted = Some(position.0);
        Ok(())
    }
}

/// Flags, bodies and marks by number.
fn read_all(store: &Store, id: u64) -> BTreeMap<u64, (u16, Vec<u8>, u64)> {
    let mut present = BTreeMap::new();
    let mut last = 0;
    let end = store.read(store.queue(QueueId(id)), 1..=u64::MAX, usize::MAX, |record| {
        assert!(record.seq > last, "queue {id}: {} after {last}", record.seq);
        assert!(!record.transient && record.redelivered);
        last = record.seq;
        present.insert(record.seq, (record.flags, record.body.to_vec(), record.mark));
    });
    let end = end.expect("reads");
    assert_eq!((end.lost, end.next), (0, None));
    present
}
