//! What the store's calls and its threads share: the core behind its lock, the journal's files behind theirs, and the
//! wake-ups between them. Lock order: house, a queue's `writing`, files, core.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::{
    CommitEvent, Lsn, Options, ShelfId, StoreError,
    commit::CONGESTED_BYTES,
    core::Core,
    held::collect::Blocks,
    journal::files::JournalFiles,
    manifest::ManifestFiles,
    options::Drive,
    stats::Counts,
    storage::{PatientStorage, Storage},
};

pub(crate) type Listener = Box<dyn Fn(CommitEvent) + Send + Sync>;

pub(crate) struct Engine {
    /// For those who have something better to do than to wait for a file descriptor.
    pub(crate) storage: Arc<dyn Storage>,
    /// For the store's own threads.
    pub(crate) patient: Arc<PatientStorage>,
    pub(crate) options: Options,
    pub(crate) core: Mutex<Core>,
    /// Held while a group is written: one at a time.
    pub(crate) files: Mutex<JournalFiles>,
    /// Held while house is kept: one at a time.
    pub(crate) house: Mutex<ManifestFiles>,
    pub(crate) listener: Listener,
    /// Wakes the committing thread.
    pub(crate) gathered: Condvar,
    /// Wakes those who wait for a position.
    pub(crate) progress: Condvar,
    pub(crate) chores: Mutex<Chores>,
    /// Wakes the housekeeping thread.
    pub(crate) chore: Condvar,
    pub(crate) congested: AtomicBool,
    /// There was no file descriptor for a segment, and it was said.
    pub(crate) short: AtomicBool,
    pub(crate) buffers: Mutex<Vec<Vec<u8>>>,
    pub(crate) counts: Counts,
    /// Blocks that hold what is due next, by shelf. Locked while due records are read: one at a time.
    pub(crate) near: Mutex<HashMap<ShelfId, Blocks>>,
}

/// What the housekeeping thread is told.
#[derive(Debug, Default)]
pub(crate) struct Chores {
    pub(crate) due: bool,
    pub(crate) stop: bool,
}

/// What the committing thread sleeps for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitterSleep {
    Awake,
    ForAnything,
    ForSomethingUrgent,
}

impl Engine {
    pub(crate) fn new(
        (storage, patient): (Arc<dyn Storage>, Arc<PatientStorage>),
        options: Options,
        listener: Listener,
        core: Core,
        files: JournalFiles,
        manifests: ManifestFiles,
    ) -> Self {
        Self {
            storage,
            patient,
            options,
            core: Mutex::new(core),
            files: Mutex::new(files),
            house: Mutex::new(manifests),
            listener,
            gathered: Condvar::new(),
            progress: Condvar::new(),
            chores: Mutex::default(),
            chore: Condvar::new(),
            congested: AtomicBool::new(false),
            short: AtomicBool::new(false),
            buffers: Mutex::default(),
            counts: Counts::default(),
            near: Mutex::default(),
        }
    }

    /// Unlocks the core and wakes the committing thread if it sleeps and has something to do.
    pub(crate) fn wake_committer(&self, mut core: MutexGuard<'_, Core>) {
        let due = match core.committer {
            CommitterSleep::Awake => false,
            CommitterSleep::ForAnything => !core.pending.is_untouched(),
            CommitterSleep::ForSomethingUrgent => core.pending.is_urgent(),
        };
        if due {
            core.committer = CommitterSleep::Awake;
        }
        let flush = core.shelves.is_full() && !core.shelves.flush_asked;
        core.shelves.flush_asked |= flush;
        let burial = flush || core.transient_died || core.dead_bytes >= self.options.dead_bytes;
        core.transient_died = false;
        let much_waits = core.pending.size_bytes() > CONGESTED_BYTES || core.shelves.is_congested();
        if much_waits && core.failed.is_none() {
            self.congested.store(true, Ordering::Relaxed);
        }
        drop(core);
        if burial {
            self.ask_for_housekeeping();
        }
        if due {
            self.gathered.notify_one();
        }
    }

    pub(crate) fn ask_for_housekeeping(&self) {
        self.chores.lock().due = true;
        self.chore.notify_one();
    }

    pub(crate) fn wait(&self, position: Lsn) -> Result<(), StoreError> {
        if self.options.drive == Drive::Manual {
            self.commit()?;
        }
        let mut core = self.core.lock();
        while core.committed < position.0 {
            core.check()?;
            core.waiters += 1;
            self.progress.wait(&mut core);
            core.waiters -= 1;
        }
        Ok(())
    }

    pub(crate) fn is_congested(&self) -> bool {
        self.congested.load(Ordering::Relaxed)
    }

    /// Closes the store for good because of an error, and tells the listener.
    pub(crate) fn fail(&self, error: &StoreError) {
        let first = {
            let mut core = self.core.lock();
            // Nobody is to wait for what will never be written.
            self.congested.store(false, Ordering::Relaxed);
            core.fail(error)
        };
        self.progress.notify_all();
        if first {
            (self.listener)(CommitEvent::Failed(error.clone()));
        }
    }

    /// Passes a result on; an error closes the store.
    pub(crate) fn or_fail<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.inspect_err(|error| self.fail(error))
    }

    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        self.buffers.lock().pop().unwrap_or_default()
    }

    pub(crate) fn give_buffer(&self, buffer: Vec<u8>) {
        const KEPT: usize = 4;
        const KEPT_BYTES: usize = 4 << 20;
        let mut buffers = self.buffers.lock();
        if buffers.len() < KEPT && buffer.capacity() <= KEPT_BYTES {
            buffers.push(buffer);
        }
    }
}
