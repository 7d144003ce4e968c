//! The public face: a store, its queues' handles, and what goes in and out.

use std::{ops::RangeInclusive, path::Path, sync::Arc};

use crate::{
    HeldKey, HeldPage, HeldRecord, Hold, Options, ReadEnd, Recovery, ShelfId, ShelfTotals, Spill, Stats,
    StoreError, TallyCell,
    engine::Engine,
    held::collect::{Blocks, Wanted},
    journal::op::HOLD_HEADER,
    recovery,
    spill::Holder,
    storage::{DirectoryStorage, Storage},
    worker::Workers,
};

/// Number of a queue. The caller chooses it, and never uses one again after [`Store::delete_queue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// A position in the journal; everything up to it is on the disk once it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// A handle to a queue, from [`Store::queue`]. After the queue was deleted it means no queue, and calls with it do
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueueRef {
    pub(crate) id: QueueId,
    pub(crate) slot: u32,
}

impl QueueRef {
    /// The queue's number.
    pub fn id(self) -> QueueId {
        self.id
    }
}

/// A record to append.
#[derive(Debug, Clone, Copy)]
pub struct Append<'a> {
    /// The caller's bits, given back with the record.
    pub flags: u16,
    /// The body in pieces.
    pub body: &'a [&'a [u8]],
    /// The queues it goes to, each with its sequence number there, from 1 up.
    pub targets: &'a [(QueueRef, u64)],
}

/// A record read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRecord<'a> {
    /// Its sequence number.
    pub seq: u64,
    /// The caller's bits.
    pub flags: u16,
    /// It will not survive a restart.
    pub transient: bool,
    /// It was found at the last start and may have been delivered before.
    pub redelivered: bool,
    /// It is in a segment: memory may forget it and read it again. Otherwise it was handed over, and has to be spilled
    /// before memory may forget it.
    pub on_disk: bool,
    /// What [`Store::mark`] has noted with it; 0 for nothing.
    pub mark: u64,
    /// Its body.
    pub body: &'a [u8],
}

/// News for the listener given to [`Store::open`].
#[derive(Debug, Clone)]
pub enum CommitEvent {
    /// Everything up to this position is committed.
    Committed(Lsn),
    /// The store has closed itself; nothing will be committed any more. Comes at most once.
    Failed(StoreError),
}

/// Durable storage of records for numbered queues. Dropped without [`Store::close`] it stops as if the process had ended.
pub struct Store {
    pub(crate) engine: Arc<Engine>,
    workers: Option<Workers>,
}

impl Store {
    /// Opens a data directory, creating it if need be, and recovers what is in it.
    ///
    /// `listener` is called by the store's threads, one event after another; it must not wait for the store.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::ReadOnly`], [`StoreError::NewerFormat`], or what the disk says.
    pub fn open(
        directory: &Path,
        options: Options,
        listener: impl Fn(CommitEvent) + Send + Sync + 'static,
    ) -> Result<(Self, Recovery), StoreError> {
        Self::open_on(Arc::new(DirectoryStorage::new(directory)), options, listener)
    }

    /// [`Store::open`] on another storage than a directory.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(
        storage: Arc<dyn Storage>,
        options: Options,
        listener: impl Fn(CommitEvent) + Send + Sync + 'static,
    ) -> Result<(Self, Recovery), StoreError> {
        let drive = options.drive;
        let (engine, recovery) = recovery::open(storage, options, Box::new(listener))?;
        let engine = Arc::new(engine);
        let workers = Workers::start(&engine, drive)?;
        Ok((Self { engine, workers }, recovery))
    }

    /// The handle of a queue, which begins to exist with its first record.
    pub fn queue(&self, id: QueueId) -> QueueRef {
        self.engine.core.lock().open_queue(id)
    }

    /// Appends a record once for all of its targets. No I/O: it goes out with the group that gathers. A target whose
    /// queue is deleted, or which was settled or purged already, is left out.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], or what closed the store.
    pub fn append(&self, append: &Append<'_>) -> Result<Lsn, StoreError> {
        self.batch(|batch| batch.append(append))?
    }

    /// Does several operations under one lock and in one group: after a crash all of them count, or none. The closure
    /// must be short and must not call the store.
    ///
    /// # Errors
    /// What closed the store, before the closure is called.
    pub fn batch<R>(&self, operations: impl FnOnce(&mut Batch<'_>) -> R) -> Result<R, StoreError> {
        let mut core = self.engine.core.lock();
        core.check()?;
        let result = operations(&mut Batch { core: &mut core });
        self.engine.wake_committer(core);
        Ok(result)
    }

    /// Settles records: they are done with and will not come back. Not waited for; a crash may bring back what was
    /// settled last. Records that are neither appended nor spilled must not be settled, except persistent ones
    /// that are still to be appended.
    ///
    /// # Errors
    /// What closed the store.
    pub fn settle(&self, queue: QueueRef, seqs: &[u64]) -> Result<Lsn, StoreError> {
        self.batch(|batch| batch.settle(queue, seqs))
    }

    /// Notes a number with a record that is in the journal or in a segment, in place of the last one; it comes with the
    /// record when that is read after a restart. Not waited for; a crash may bring back the one before.
    ///
    /// # Errors
    /// What closed the store.
    pub fn mark(&self, queue: QueueRef, seq: u64, mark: u64) -> Result<Lsn, StoreError> {
        self.batch(|batch| batch.core.mark(queue, seq, mark))
    }

    /// Settles everything in a queue up to a number (included) except `keep`.
    ///
    /// # Errors
    /// What closed the store.
    pub fn purge(&self, queue: QueueRef, up_to: u64, keep: &[u64]) -> Result<Lsn, StoreError> {
        self.batch(|batch| batch.purge(queue, up_to, keep))
    }

    /// Deletes a queue with all its records.
    ///
    /// # Errors
    /// What closed the store.
    pub fn delete_queue(&self, queue: QueueRef) -> Result<Lsn, StoreError> {
        self.batch(|batch| batch.delete_queue(queue))
    }

    /// Takes records of one queue over from the caller's memory into its segments, to be read again later.
    /// `records` must be sorted by number; what is in a segment already is not written again. Does file I/O without
    /// sync. Returns the numbers not taken: persistent records not appended yet.
    ///
    /// # Errors
    /// What closed the store, before or now.
    pub fn spill(&self, queue: QueueRef, records: &[Spill<'_>]) -> Result<Vec<u64>, StoreError> {
        self.engine.spill(queue, records, Holder::NobodyElse)
    }

    /// Reads a queue's unsettled records in the order of their numbers: those that the caller has spilled, and those
    /// found at the last start. What is on the disk may be read again; the rest
    /// ([`StoredRecord::on_disk`] is false) is handed over once. Stops after about `max_bytes` of bodies, at the end of a
    /// block. Works on a failed store too.
    ///
    /// # Errors
    /// A failed read, which does not close the store.
    pub fn read(
        &self,
        queue: QueueRef,
        seqs: RangeInclusive<u64>,
        max_bytes: usize,
        visit: impl FnMut(StoredRecord<'_>),
    ) -> Result<ReadEnd, StoreError> {
        self.engine.read(queue, seqs, max_bytes, visit)
    }

    /// The records of a shelf that are due at `until` at the latest, in order: at most `count`, and about `max_bytes` of
    /// bodies. They stay on the shelf until [`Batch::take`]; a call before that returns them again. Meant to be called
    /// again and again with a rising `until`.
    ///
    /// # Errors
    /// A failed read, which does not close the store.
    pub fn due(
        &self,
        shelf: ShelfId,
        until: u64,
        count: usize,
        max_bytes: usize,
    ) -> Result<HeldPage, StoreError> {
        let wanted = Wanted { after: None, until, count, bytes: max_bytes };
        self.engine.due_page(shelf, wanted)
    }

    /// The records of a shelf behind `after` that are due at `until` at the latest, in order: at most `count`, and about
    /// `max_bytes` of bodies.
    ///
    /// # Errors
    /// A failed read, which does not close the store.
    pub fn held_page(
        &self,
        shelf: ShelfId,
        after: Option<HeldKey>,
        until: u64,
        count: usize,
        max_bytes: usize,
    ) -> Result<HeldPage, StoreError> {
        let wanted = Wanted { after, until, count, bytes: max_bytes };
        self.engine.held_page(shelf, wanted, &mut Blocks::new())
    }

    /// One record of a shelf.
    ///
    /// # Errors
    /// A failed read, which does not close the store.
    pub fn held_record(&self, shelf: ShelfId, key: HeldKey) -> Result<Option<HeldRecord>, StoreError> {
        self.engine.held_record(shelf, key)
    }

    /// Places of the first `count` records of a shelf behind `after` that have a tag.
    ///
    /// # Errors
    /// A failed read, which does not close the store.
    pub fn held_by_tag(
        &self,
        shelf: ShelfId,
        tag: u64,
        after: Option<HeldKey>,
        count: usize,
    ) -> Result<Vec<HeldKey>, StoreError> {
        self.engine.held_by_tag(shelf, tag, after, count)
    }

    /// Deletes a shelf with all that is on it; returns how many records that were.
    ///
    /// # Errors
    /// What closed the store.
    pub fn delete_shelf(&self, shelf: ShelfId) -> Result<u64, StoreError> {
        self.engine.near.lock().remove(&shelf);
        self.batch(|batch| batch.core.delete_shelf(shelf))
    }

    /// Nothing on the shelf is due before this; `None` where it is empty.
    pub fn next_due(&self, shelf: ShelfId) -> Option<u64> {
        self.engine.core.lock().shelves.by_id.get(&shelf)?.next_due()
    }

    /// How much a shelf holds.
    pub fn shelf_totals(&self, shelf: ShelfId) -> ShelfTotals {
        let core = self.engine.core.lock();
        core.shelves.by_id.get(&shelf).map(|shelf| shelf.totals()).unwrap_or_default()
    }

    /// How what a shelf holds is spread over `from..to`, in order; cells may be counted twice as wide as others, and
    /// durable ones stand beside transient ones.
    pub fn shelf_cells(&self, shelf: ShelfId, from: u64, to: u64) -> Vec<TallyCell> {
        let core = self.engine.core.lock();
        let mut cells = Vec::new();
        if let Some(state) = core.shelves.by_id.get(&shelf) {
            for tally in [&state.durable, &state.transient] {
                tally.cells(core.shelves.cell, from, to, &mut cells);
            }
        }
        cells.sort_by_key(|cell| cell.from);
        cells
    }

    /// Everything up to this position is committed.
    pub fn committed(&self) -> Lsn {
        Lsn(self.engine.core.lock().committed)
    }

    /// Blocks until a position is committed. With [`Drive::Manual`](crate::Drive::Manual) it commits itself.
    ///
    /// # Errors
    /// What closed the store.
    pub fn wait(&self, position: Lsn) -> Result<(), StoreError> {
        self.engine.wait(position)
    }

    /// Commits what has gathered, on this thread.
    ///
    /// # Errors
    /// What closed the store.
    pub fn commit(&self) -> Result<(), StoreError> {
        self.engine.commit()
    }

    /// Keeps house on this thread, as far as there is need: shortens the journal, deletes and compacts segments.
    ///
    /// # Errors
    /// What closed the store.
    pub fn maintain(&self) -> Result<(), StoreError> {
        self.engine.maintain()
    }

    /// Whether more comes in than can be written or moved out of the journal: hold publishers back while it is true. Cheap.
    pub fn is_congested(&self) -> bool {
        self.engine.is_congested()
    }

    /// The error that closed the store.
    pub fn error(&self) -> Option<StoreError> {
        self.engine.core.lock().failed.clone()
    }

    /// Figures about what there is.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Syncs of the journal since opening. Cheap, which all [`Store::stats`] are not where there are many queues.
    pub fn syncs(&self) -> crate::Syncs {
        self.engine.counts.syncs()
    }

    /// What was found damaged since the store was opened, that found on opening included.
    pub fn damage(&self) -> Vec<crate::Damage> {
        self.engine.core.lock().damage.clone()
    }

    /// Says that records up to a number were delivered at least once. Only needed before [`Store::close`]: after a
    /// clean end, later records are not marked redelivered. After any other end all are.
    pub fn note_delivered(&self, queue: QueueRef, up_to: u64) {
        if let Some(state) = self.engine.core.lock().queue(queue) {
            // Numbers that the store has never seen are given again after a restart.
            let seen = up_to.min(state.max_seq);
            state.redelivered_up_to = state.redelivered_up_to.max(seen);
        }
    }

    /// Commits, notes the clean end, and stops.
    ///
    /// # Errors
    /// What closed the store before, or now.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.stop_workers();
        self.engine.close()
    }

    fn stop_workers(&mut self) {
        if let Some(workers) = self.workers.take() {
            workers.stop(&self.engine);
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop_workers();
    }
}

/// Operations that stand in one group; see [`Store::batch`].
pub struct Batch<'a> {
    core: &'a mut crate::core::Core,
}

impl Batch<'_> {
    /// As [`Store::append`].
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub fn append(&mut self, append: &Append<'_>) -> Result<Lsn, StoreError> {
        self.core.append(append)
    }

    /// As [`Store::settle`].
    pub fn settle(&mut self, queue: QueueRef, seqs: &[u64]) -> Lsn {
        self.core.settle(queue, seqs)
    }

    /// As [`Store::purge`].
    pub fn purge(&mut self, queue: QueueRef, up_to: u64, keep: &[u64]) -> Lsn {
        self.core.purge(queue, up_to, keep)
    }

    /// As [`Store::delete_queue`].
    pub fn delete_queue(&mut self, queue: QueueRef) -> Lsn {
        self.core.delete_queue(queue)
    }

    /// Whether records with bodies of these lengths can be held: then [`Batch::hold`] does not fail.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub fn check_room(&self, body_lens: impl Iterator<Item = usize>) -> Result<(), StoreError> {
        let (largest, all) = body_lens
            .fold((0, 0), |(largest, all): (usize, usize), len| (largest.max(len), all + len + HOLD_HEADER));
        self.core.check_room(largest, all)
    }

    /// Holds a record on a shelf, which begins to exist with its first one. `None` for the position where there is none
    /// to wait for, the record being transient.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub fn hold(&mut self, hold: &Hold<'_>) -> Result<(HeldKey, Option<Lsn>), StoreError> {
        self.core.hold(hold)
    }

    /// Takes a record, whose body is so long, off its shelf. False where it is not there (any more).
    pub fn take(&mut self, shelf: ShelfId, key: HeldKey, body_bytes: u64) -> bool {
        self.core.take(shelf, key, body_bytes)
    }

    /// Takes everything off a shelf; returns how many records that were.
    pub fn clear_shelf(&mut self, shelf: ShelfId) -> u64 {
        self.core.clear_shelf(shelf)
    }

    /// The position of all that was done so far.
    pub fn position(&self) -> Lsn {
        Lsn(self.core.pending.end)
    }
}
