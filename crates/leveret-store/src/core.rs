//! The state behind the one short lock: the gathering group, the queues, the error that closed the store. No I/O
//! happens under this lock.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{
    Append, Damage, Lsn, Options, QueueId, QueueRef, StoreError,
    engine::CommitterSleep,
    held::shelf::Shelves,
    journal::{
        op::AppendWriter,
        pending::{Pending, PendingRef},
    },
    queue::QueueState,
    segment::Segment,
};

/// Above this, a group is refused rather than gathered on.
const MAX_PENDING_BYTES: u64 = 3 << 30;

pub(crate) struct Core {
    pub(crate) pending: Pending,
    pub(crate) committed: u64,
    pub(crate) queues: Vec<Option<Box<QueueState>>>,
    pub(crate) slots: HashMap<QueueId, u32>,
    free_slots: Vec<u32>,
    pub(crate) failed: Option<StoreError>,
    pub(crate) next_segment: u64,
    /// Segments without a live record, to be deleted when no manifest needs them.
    pub(crate) dead: Vec<Segment>,
    pub(crate) dead_bytes: u64,
    /// The segments that were opened to be written, the longest ago first; some may be closed or gone.
    pub(crate) opened: VecDeque<(QueueRef, u64)>,
    pub(crate) transient_died: bool,
    pub(crate) damage: Vec<Damage>,
    pub(crate) committer: CommitterSleep,
    pub(crate) stopping: bool,
    /// Threads in [`Store::wait`](crate::Store::wait).
    pub(crate) waiters: u32,
    pub(crate) shelves: Shelves,
}

impl Core {
    pub(crate) fn new(pending: Pending, next_segment: u64, options: &Options) -> Self {
        Self {
            committed: pending.start,
            pending,
            queues: Vec::new(),
            slots: HashMap::new(),
            free_slots: Vec::new(),
            failed: None,
            next_segment,
            dead: Vec::new(),
            dead_bytes: 0,
            opened: VecDeque::new(),
            transient_died: false,
            damage: Vec::new(),
            committer: CommitterSleep::Awake,
            stopping: false,
            waiters: 0,
            shelves: Shelves::new(options),
        }
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    pub(crate) fn queue(&mut self, queue: QueueRef) -> Option<&mut QueueState> {
        self.queues.get_mut(queue.slot as usize)?.as_deref_mut().filter(|state| state.id == queue.id)
    }

    pub(crate) fn queue_by_id(&mut self, id: QueueId) -> Option<&mut QueueState> {
        let slot = *self.slots.get(&id)?;
        self.queue(QueueRef { id, slot })
    }

    pub(crate) fn queues(&self) -> impl Iterator<Item = (QueueRef, &QueueState)> {
        self.queues.iter().enumerate().filter_map(|(slot, state)| {
            let state = state.as_deref()?;
            Some((QueueRef { id: state.id, slot: slot as u32 }, state))
        })
    }

    pub(crate) fn open_queue(&mut self, id: QueueId) -> QueueRef {
        if let Some(&slot) = self.slots.get(&id) {
            return QueueRef { id, slot };
        }
        let state = Some(Box::new(QueueState::new(id)));
        let slot = match self.free_slots.pop() {
            Some(slot) => {
                self.queues[slot as usize] = state;
                slot
            }
            None => {
                self.queues.push(state);
                (self.queues.len() - 1) as u32
            }
        };
        self.slots.insert(id, slot);
        QueueRef { id, slot }
    }

    pub(crate) fn take_queue(&mut self, id: QueueId) -> Option<Box<QueueState>> {
        let slot = self.slots.remove(&id)?;
        self.free_slots.push(slot);
        self.queues[slot as usize].take()
    }

    pub(crate) fn append(&mut self, append: &Append<'_>) -> Result<Lsn, StoreError> {
        let body_bytes = append.body.iter().map(|part| part.len()).sum::<usize>();
        self.check_room(body_bytes, body_bytes + append.targets.len() * 16)?;
        let mut writer = self.pending.begin_append(append.flags);
        for &(queue, seq) in append.targets {
            self.append_target(&mut writer, queue, seq, body_bytes);
        }
        self.pending.finish_append(writer, append.body);
        Ok(Lsn(self.pending.end))
    }

    /// Whether the gathering group takes so many more bytes, of which a body has so many.
    pub(crate) fn check_room(&self, body_bytes: usize, bytes: usize) -> Result<(), StoreError> {
        let gathered = (self.pending.size_bytes() + bytes) as u64;
        if body_bytes as u64 > StoreError::MAX_BODY_BYTES || gathered > MAX_PENDING_BYTES {
            return Err(StoreError::TooLarge { size_bytes: body_bytes as u64 });
        }
        Ok(())
    }

    fn append_target(&mut self, writer: &mut AppendWriter, queue: QueueRef, seq: u64, body_bytes: usize) {
        let (group, file) = (self.pending.number, self.pending.file);
        let slot = self.queues.get_mut(queue.slot as usize).and_then(Option::as_deref_mut);
        let Some(state) = slot.filter(|state| state.id == queue.id) else { return };
        if !state.admits(seq) {
            return;
        }
        let place = PendingRef { seq, op: writer.start() as u32, target: writer.targets() };
        state.note_pending(group, place);
        state.journal_insert(file, seq, body_bytes);
        writer.target(&mut self.pending.buffer, queue.id, seq);
    }

    pub(crate) fn mark(&mut self, queue: QueueRef, seq: u64, mark: u64) -> Lsn {
        if let Some(state) = self.queue(queue) {
            state.marks.insert(seq, mark);
            self.pending.mark(queue.id, seq, mark);
        }
        Lsn(self.pending.end)
    }

    pub(crate) fn bury(&mut self, mut segment: Segment) {
        segment.file = None;
        self.dead_bytes += segment.extent.size_bytes;
        self.transient_died |= segment.transient;
        self.dead.push(segment);
    }

    pub(crate) fn report(&mut self, damage: Damage) {
        tracing::error!(file = %damage.file, offset = damage.offset, queue = ?damage.queue, "damage: {damage}");
        self.damage.push(damage);
    }

    /// Closes the store for good; the first error stays.
    pub(crate) fn fail(&mut self, error: &StoreError) -> bool {
        if self.failed.is_some() {
            return false;
        }
        tracing::error!("the store closed itself: {error}");
        self.failed = Some(error.clone());
        true
    }

    pub(crate) fn arc_of_writing(&mut self, queue: QueueRef) -> Option<Arc<parking_lot::Mutex<()>>> {
        self.queue(queue).map(|state| Arc::clone(&state.writing))
    }
}
