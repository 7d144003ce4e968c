//! A store on a simulated disk, driven by hand, with one-line calls.

use std::sync::Arc;

use leveret_store::{
    Append, CommitEvent, Drive, Lsn, Options, QueueId, QueueRef, Recovery, Spill, Store, StoreError,
};

use parking_lot::Mutex;

use super::disk::{Crash, SimulatedDisk};

/// A record read back: number, body, redelivered.
pub(crate) type Seen = (u64, Vec<u8>, bool);

pub(crate) struct Rig {
    pub(crate) disk: SimulatedDisk,
    pub(crate) store: Option<Store>,
    pub(crate) recovery: Recovery,
    pub(crate) options: Options,
    pub(crate) events: Arc<Mutex<Vec<CommitEvent>>>,
}

pub(crate) fn options() -> Options {
    let mut options = Options::default();
    options.drive = Drive::Manual;
    options.journal_file_bytes = 64 << 10;
    options.segment_bytes = 8 << 10;
    options.open_segments = 2;
    options.block_bytes = 1 << 10;
    options.relocate_bytes = 2 << 10;
    options.dead_bytes = 16 << 10;
    options
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::on(SimulatedDisk::default(), options()).expect("opens")
    }

    pub(crate) fn on(disk: SimulatedDisk, options: Options) -> Result<Self, StoreError> {
        let events = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&events);
        let storage = Arc::new(disk.clone());
        let (store, recovery) =
            Store::open_on(storage, options.clone(), move |event| listener.lock().push(event))?;
        Ok(Self { disk, store: Some(store), recovery, options, events })
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().expect("open")
    }

    /// Pulls the plug and opens again.
    pub(crate) fn restart(mut self, crash: Crash) -> Self {
        self.store = None;
        self.disk.restart(crash, &mut fastrand::Rng::with_seed(1));
        Self::on(self.disk, self.options).expect("opens")
    }

    /// Closes in order and opens again.
    pub(crate) fn reopen(mut self) -> Self {
        self.store.take().expect("open").close().expect("closes");
        self.disk.restart(Crash::LoseAll, &mut fastrand::Rng::with_seed(1));
        Self::on(self.disk, self.options).expect("opens")
    }

    pub(crate) fn queue(&self, id: u64) -> QueueRef {
        self.store().queue(QueueId(id))
    }

    pub(crate) fn append(&self, id: u64, seq: u64, body: &[u8]) -> Result<Lsn, StoreError> {
        self.store().append(&Append { flags: 0, body: &[body], targets: &[(self.queue(id), seq)] })
    }

    /// Appends records with recognisable bodies and commits them.
    pub(crate) fn fill(&self, id: u64, seqs: std::ops::RangeInclusive<u64>) {
        for seq in seqs {
            self.append(id, seq, &body(id, seq)).expect("appends");
        }
        self.store().commit().expect("commits");
    }

    /// Spills what [`Rig::fill`] has appended.
    pub(crate) fn spill(&self, id: u64, seqs: std::ops::RangeInclusive<u64>) {
        self.spill_as(id, seqs, false);
    }

    pub(crate) fn spill_as(&self, id: u64, seqs: std::ops::RangeInclusive<u64>, transient: bool) {
        let bodies: Vec<(u64, Vec<u8>)> = seqs.map(|seq| (seq, body(id, seq))).collect();
        let spills: Vec<Spill<'_>> =
            bodies.iter().map(|(seq, body)| Spill { seq: *seq, flags: 0, transient, body }).collect();
        assert_eq!(self.store().spill(self.queue(id), &spills).expect("spills"), Vec::<u64>::new());
    }

    pub(crate) fn settle(&self, id: u64, seqs: impl IntoIterator<Item = u64>) {
        let seqs: Vec<u64> = seqs.into_iter().collect();
        self.store().settle(self.queue(id), &seqs).expect("settles");
    }

    pub(crate) fn read(&self, id: u64) -> Vec<Seen> {
        let mut seen = Vec::new();
        let visit = |record: leveret_store::StoredRecord<'_>| {
            seen.push((record.seq, record.body.to_vec(), record.redelivered));
        };
        self.store().read(self.queue(id), 1..=u64::MAX, usize::MAX, visit).expect("reads");
        seen
    }

    /// The numbers of a queue's records, whose bodies must be the ones of [`Rig::fill`].
    pub(crate) fn seqs(&self, id: u64) -> Vec<u64> {
        let seen = self.read(id);
        seen.iter().for_each(|(seq, found, _)| assert_eq!(*found, body(id, *seq)));
        seen.into_iter().map(|(seq, ..)| seq).collect()
    }

    pub(crate) fn committed_events(&self) -> Vec<Lsn> {
        let events = self.events.lock();
        let committed = events.iter().filter_map(|event| match event {
            CommitEvent::Committed(position) => Some(*position),
            CommitEvent::Failed(_) => None,
        });
        committed.collect()
    }

    pub(crate) fn failures(&self) -> usize {
        self.events.lock().iter().filter(|event| matches!(event, CommitEvent::Failed(_))).count()
    }

    pub(crate) fn file(&self, prefix: &str) -> String {
        let names = self.disk.names();
        names.into_iter().find(|name| name.starts_with(prefix)).unwrap_or_else(|| panic!("no file {prefix}*"))
    }
}

pub(crate) fn body(id: u64, seq: u64) -> Vec<u8> {
    format!("record {seq} of queue {id}, padded to be about a hundred bytes long {seq:>40}").into_bytes()
}
