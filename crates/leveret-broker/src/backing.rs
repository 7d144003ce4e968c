//! What stands behind a broker that keeps things: the store of its messages, and the catalog of what is declared.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use leveret_store::{
    CommitEvent, Lsn, Options, QueueId, RecoveredQueue, Recovery, ShelfId, Storage, Store, StoreError,
};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::queue::{
    Keeps, LEVEL_SHIFT, Persistence, QueueOptions, QueueRules, QueueStorage, QueueType, StoreHandle, level_id,
};
use crate::{Catalog, Change};

/// Ids of queues that do not outlive the process, so that they never meet the others'.
const TRANSIENT: u64 = 1 << 63;

/// Messages on disk, and the declarations that go with them.
pub struct Backing {
    persistence: Arc<Persistence>,
    catalog: Box<dyn Catalog>,
    /// Changes that the catalog does not hold yet, in their order.
    uncommitted: Mutex<Vec<Change>>,
    /// How many there are, those included that are being written.
    uncommitted_count: AtomicUsize,
    /// Held while changes are written, so that they are in their order.
    committing: Mutex<()>,
    next_id: AtomicU64,
    next_transient_id: AtomicU64,
    /// What the store has found, by queue, until that queue is restored.
    recovered: Mutex<FxHashMap<u64, RecoveredQueue>>,
    /// As well shelves, until their exchange is restored, or the queue whose names are there.
    unclaimed_shelves: Mutex<FxHashSet<u64>>,
}

/// A store that was opened, and what was found in it.
pub struct OpenStore {
    store: Store,
    recovery: Recovery,
}

impl OpenStore {
    /// Opens the store in `directory`, which nobody else has open. `listener` hears of commits.
    ///
    /// # Errors
    /// Where the directory is in use, cannot be written, or is from a newer version.
    pub fn open(
        directory: &Path,
        options: Options,
        listener: impl Fn(CommitEvent) + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let (store, recovery) = Store::open(directory, options, listener)?;
        Ok(Self { store, recovery })
    }

    /// [`OpenStore::open`] on another storage than a directory.
    ///
    /// # Errors
    /// As [`OpenStore::open`].
    pub fn open_on(
        storage: Arc<dyn Storage>,
        options: Options,
        listener: impl Fn(CommitEvent) + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let (store, recovery) = Store::open_on(storage, options, listener)?;
        Ok(Self { store, recovery })
    }

    /// Where the journal stands: everything up to here is on the disk.
    #[must_use]
    pub fn committed(&self) -> Lsn {
        self.store.committed()
    }
}

impl Backing {
    /// What a broker stands on. Waiting messages take about `memory_bytes` of memory; what is more is paged out.
    #[must_use]
    pub fn new(store: OpenStore, memory_bytes: usize, catalog: Box<dyn Catalog>) -> Self {
        let OpenStore { store, recovery } = store;
        let shelves: FxHashSet<u64> = recovery.shelves.iter().map(|shelf| shelf.0).collect();
        let queues = recovery.queues.iter().map(|queue| queue.queue.id().0);
        let ids = queues.chain(shelves.iter().copied()).filter(|id| *id < TRANSIENT);
        let ids = ids.map(|id| id & ((1 << LEVEL_SHIFT) - 1));
        Self {
            next_id: AtomicU64::new(ids.max().unwrap_or(0) + 1),
            next_transient_id: AtomicU64::new(TRANSIENT),
            recovered: Mutex::new(
                recovery.queues.into_iter().map(|queue| (queue.queue.id().0, queue)).collect(),
            ),
            unclaimed_shelves: Mutex::new(shelves),
            persistence: Arc::new(Persistence::new(store, memory_bytes)),
            catalog,
            uncommitted: Mutex::default(),
            uncommitted_count: AtomicUsize::new(0),
            committing: Mutex::default(),
        }
    }

    /// Takes note of changes that are to be written with the next [`Backing::commit`].
    pub(crate) fn note(&self, changes: Vec<Change>) {
        let mut uncommitted = self.uncommitted.lock();
        self.uncommitted_count.fetch_add(changes.len(), Ordering::Release);
        uncommitted.extend(changes);
    }

    /// Whether there are changes that the catalog may not hold yet.
    pub(crate) fn has_uncommitted(&self) -> bool {
        self.uncommitted_count.load(Ordering::Acquire) > 0
    }

    /// Writes all changes down that were noted before. What cannot be written is tried again with the next ones.
    pub(crate) fn commit(&self) -> Result<(), String> {
        self.keep(&[])
    }

    /// Writes these changes down, after those that were noted before.
    pub(crate) fn keep(&self, changes: &[Change]) -> Result<(), String> {
        let _in_order = self.committing.lock();
        let mut noted = std::mem::take(&mut *self.uncommitted.lock());
        let count = noted.len();
        noted.extend_from_slice(changes);
        if noted.is_empty() {
            return Ok(());
        }
        let result = self.catalog.keep(&noted);
        if result.is_ok() {
            self.uncommitted_count.fetch_sub(count, Ordering::Release);
        } else {
            noted.truncate(count);
            self.uncommitted.lock().splice(..0, noted);
        }
        result
    }

    pub(crate) fn is_congested(&self) -> bool {
        self.persistence.store.is_congested()
    }

    pub(crate) fn stats(&self) -> leveret_store::Stats {
        self.persistence.store.stats()
    }

    pub(crate) fn syncs(&self) -> leveret_store::Syncs {
        self.persistence.store.syncs()
    }

    pub(crate) fn damage(&self) -> Vec<String> {
        let mut places: Vec<_> = self.persistence.store.damage().iter().map(ToString::to_string).collect();
        places.extend_from_slice(&self.persistence.unreadable.lock());
        places
    }

    /// Where messages are kept.
    pub(crate) fn persistence(&self) -> Arc<Persistence> {
        Arc::clone(&self.persistence)
    }

    /// A number for a new queue or shelf.
    pub(crate) fn new_id(&self, durable: bool) -> u64 {
        let next = if durable { &self.next_id } else { &self.next_transient_id };
        next.fetch_add(1, Ordering::Relaxed)
    }

    /// The number was given in an earlier run.
    pub(crate) fn note_id(&self, id: u64) {
        self.next_id.fetch_max(id + 1, Ordering::Relaxed);
    }

    /// The part of the store of the queue with that number.
    pub(crate) fn queue(
        &self,
        (name, id): (&Arc<str>, u64),
        options: &QueueOptions,
        rules: &QueueRules,
    ) -> QueueStorage {
        let mut recovered = self.recovered.lock();
        let levels = 1..=rules.max_priority;
        let levels = levels.filter_map(|level| Some((level, recovered.remove(&level_id(id, level))?)));
        let levels = levels.collect();
        let keeps = match rules.queue_type {
            _ if !options.durable => Keeps::Nothing,
            QueueType::Classic => Keeps::Persistent,
            QueueType::Quorum => Keeps::All,
        };
        if rules.deduplication.is_some() && options.durable {
            self.unclaimed_shelves.lock().remove(&id);
        }
        let queue = self.persistence.store.queue(QueueId(id));
        let handle =
            StoreHandle { persistence: Arc::clone(&self.persistence), queue, name: Arc::clone(name) };
        QueueStorage::new(handle, keeps, recovered.remove(&id), levels)
    }

    /// The shelf with that number is an exchange's that was declared in an earlier run.
    pub(crate) fn claim_shelf(&self, id: u64) {
        self.note_id(id);
        self.unclaimed_shelves.lock().remove(&id);
    }

    /// Ends what the store has of queues and exchanges that nobody has declared: their deletion was cut short.
    pub(crate) fn drop_unclaimed(&self) {
        for shelf in std::mem::take(&mut *self.unclaimed_shelves.lock()) {
            let _failed = self.persistence.store.delete_shelf(ShelfId(shelf));
        }
        for queue in std::mem::take(&mut *self.recovered.lock()).into_values() {
            let _failed = self.persistence.store.delete_queue(queue.queue);
        }
    }

    /// Closes the store in order, if no queue is in use any more; else the next start finds it as after a crash, which
    /// it is made for.
    pub(crate) fn close(self) -> Result<(), StoreError> {
        match Arc::into_inner(self.persistence) {
            Some(persistence) => persistence.store.close(),
            None => Ok(()),
        }
    }
}
