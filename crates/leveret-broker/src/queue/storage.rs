//! A queue's part of the store: how its messages look as records, what is paged out, and how much memory the queue
//! may hold.
//!
//! A record is `u32 length of the properties`, `u64 time of publishing` (microseconds since 1970), both little-endian,
//! then exchange and routing key as short strings, the encoded properties, and the body. A name that a deduplicating
//! queue remembers is on the shelf with the queue's number: `u64 until when` (microseconds since 1970), and the name.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use leveret_store::{
    HeldRecord, Lsn, QueueId, QueueRef, ReadEnd, RecoveredQueue, ShelfId, Spill, Store, StoreError,
    StoredRecord,
};
use parking_lot::Mutex;

use super::chunk::Chunks;
use super::entry::Entry;
use super::unread::Unread;
use crate::Time;

/// Bytes of a record before the route.
pub(crate) const PREFIX_BYTES: usize = 12;
/// Bytes read back at a time.
const PAGE_BYTES: usize = 512 << 10;
/// Bytes handed to the store at a time.
const SPILL_BYTES: usize = 1 << 20;
/// How exactly the memory of all queues is known: each may be off by so many bytes.
const REPORT_BYTES: usize = 64 << 10;

/// The beginning of a record.
#[inline]
pub(crate) fn stored_prefix(properties_len: usize, published: Time) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..4].copy_from_slice(&(properties_len as u32).to_le_bytes());
    prefix[4..].copy_from_slice(&published.0.to_le_bytes());
    prefix
}

/// Lengths of the parts of a record.
pub(crate) struct Lens {
    pub(super) published: Time,
    pub(crate) route: u16,
    pub(crate) properties: u32,
    pub(super) body: u32,
}

/// The lengths of a record's parts; `None` where it is no record of a queue.
pub(crate) fn stored_lens(record: &[u8]) -> Option<Lens> {
    let (properties, rest) = record.split_first_chunk::<4>()?;
    let (published, rest) = rest.split_first_chunk::<8>()?;
    let (properties, published) = (u32::from_le_bytes(*properties), Time(u64::from_le_bytes(*published)));
    let exchange = 1 + usize::from(*rest.first()?);
    let route = exchange + 1 + usize::from(*rest.get(exchange)?);
    let body = rest.len().checked_sub(route)?.checked_sub(properties as usize)?;
    Some(Lens { published, route: route as u16, properties, body: body as u32 })
}

/// The memory that waiting messages of all queues may take, and do.
#[derive(Debug)]
pub(crate) struct MessageMemory {
    budget_bytes: usize,
    used_bytes: AtomicUsize,
}

impl MessageMemory {
    pub(crate) fn new(budget_bytes: usize) -> Self {
        Self { budget_bytes, used_bytes: AtomicUsize::new(0) }
    }

    /// How much one queue may hold: much while there is plenty, little when there is none.
    fn share_bytes(&self) -> usize {
        let used = self.used_bytes.load(Ordering::Relaxed);
        if used < self.budget_bytes / 2 {
            self.budget_bytes / 8
        } else if used < self.budget_bytes {
            self.budget_bytes / 128
        } else {
            REPORT_BYTES
        }
    }
}

/// What the queues of a broker store their messages in.
pub(crate) struct Persistence {
    pub(crate) store: Store,
    pub(crate) memory: MessageMemory,
    /// Records met that are no messages, in words.
    pub(crate) unreadable: Mutex<Vec<String>>,
}

impl Persistence {
    /// Messages in memory may take so many bytes.
    pub(crate) fn new(store: Store, memory_bytes: usize) -> Self {
        Self { store, memory: MessageMemory::new(memory_bytes), unreadable: Mutex::default() }
    }
}

/// A queue's part of the store, and of the memory for messages.
pub(crate) struct QueueStorage {
    pub(super) handle: StoreHandle,
    keeps: Keeps,
    recovered: Option<RecoveredQueue>,
    /// What was found of its higher priorities, until their rows are opened.
    pub(super) recovered_levels: Vec<(u8, RecoveredQueue)>,
    reported_bytes: usize,
}

/// Which of a queue's messages are kept over a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeps {
    Nothing,
    Persistent,
    All,
}

/// The store's number of a queue's row: that of the queue for priority 0, with the priority above it for others.
pub(crate) fn level_id(queue: u64, level: u8) -> u64 {
    queue | u64::from(level) << LEVEL_SHIFT
}

/// Numbers of queues are lower than this power of two.
pub(crate) const LEVEL_SHIFT: u32 = 48;

impl std::fmt::Debug for QueueStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueStorage").field("queue", &self.handle.queue).finish_non_exhaustive()
    }
}

/// What is paged out of a queue's row: a range of numbers, of which so many are messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paged {
    pub(super) next: u64,
    pub(super) last: u64,
    pub(super) count: usize,
}

/// How reading back went.
pub(super) enum PageRead {
    More,
    End,
    Failed,
}

impl QueueStorage {
    pub(crate) fn new(
        handle: StoreHandle,
        keeps: Keeps,
        recovered: Option<RecoveredQueue>,
        recovered_levels: Vec<(u8, RecoveredQueue)>,
    ) -> Self {
        Self { handle, keeps, recovered, recovered_levels, reported_bytes: 0 }
    }

    pub(crate) fn handle(&self) -> StoreHandle {
        self.handle.clone()
    }

    /// Whether a message is kept over a restart that is marked persistent, or not.
    #[inline]
    pub(super) fn keeps(&self, persistent: bool) -> bool {
        match self.keeps {
            Keeps::Nothing => false,
            Keeps::Persistent => persistent,
            Keeps::All => true,
        }
    }

    /// Whether anything is kept over a restart.
    pub(super) fn is_durable(&self) -> bool {
        self.keeps != Keeps::Nothing
    }

    /// The storage of the row of another priority.
    pub(super) fn level(&self, level: u8, recovered: Option<RecoveredQueue>) -> Self {
        let handle = StoreHandle { queue: self.handle.level(level), ..self.handle.clone() };
        Self::new(handle, self.keeps, recovered, Vec::new())
    }

    /// What waited when the store was opened and is to be read.
    pub(super) fn unread(&self) -> Unread {
        self.recovered.as_ref().map(Unread::new).unwrap_or_default()
    }

    /// What waited when the store was opened, and the highest number ever given.
    pub(super) fn recovered(&self) -> Option<(Option<Paged>, u64)> {
        let recovered = self.recovered.as_ref()?;
        let count = usize::try_from(recovered.records).unwrap_or(usize::MAX);
        let paged = recovered.first.map(|next| Paged { next, last: recovered.max_seq, count });
        Some((paged.filter(|paged| paged.count > 0), recovered.max_seq))
    }

    /// Whether a queue with so many waiting bytes in memory holds more than its share.
    #[inline]
    pub(super) fn is_over_share(&mut self, waiting_bytes: usize) -> bool {
        self.note(waiting_bytes);
        waiting_bytes > REPORT_BYTES && waiting_bytes > self.handle.persistence.memory.share_bytes()
    }

    /// Reports how much memory the queue takes, if that has changed much.
    #[inline]
    pub(super) fn note(&mut self, waiting_bytes: usize) {
        if waiting_bytes.abs_diff(self.reported_bytes) >= REPORT_BYTES {
            self.report(waiting_bytes);
        }
    }

    fn report(&mut self, waiting_bytes: usize) {
        let used = &self.handle.persistence.memory.used_bytes;
        used.fetch_add(waiting_bytes, Ordering::Relaxed);
        used.fetch_sub(self.reported_bytes, Ordering::Relaxed);
        self.reported_bytes = waiting_bytes;
    }
}

impl Drop for QueueStorage {
    fn drop(&mut self) {
        self.report(0);
    }
}

/// The way to a queue's records.
#[derive(Clone)]
pub(crate) struct StoreHandle {
    pub(crate) persistence: Arc<Persistence>,
    pub(crate) queue: QueueRef,
    /// The queue's name.
    pub(crate) name: Arc<str>,
}

impl StoreHandle {
    /// The row of that priority.
    pub(crate) fn level(&self, level: u8) -> QueueRef {
        match level {
            0 => self.queue,
            _ => self.persistence.store.queue(QueueId(level_id(self.queue.id().0, level))),
        }
    }

    /// Tells the store that records are done with. A store that has failed takes no notice: it said so to everybody.
    #[inline]
    pub(crate) fn settle(&self, seqs: &[u64]) {
        let _failed = self.persistence.store.settle(self.queue, seqs);
    }

    /// Notes how often a message came back. Nobody waits for that: after a crash the last few times may be forgotten.
    pub(super) fn note_returns(&self, seq: u64, returns: u16) {
        let _failed = self.persistence.store.mark(self.queue, seq, returns.into());
    }

    /// The position of all that was done so far.
    pub(super) fn position(&self) -> Result<Lsn, StoreError> {
        self.persistence.store.batch(|batch| batch.position())
    }

    pub(super) fn purge(&self, up_to: u64, keep: &[u64]) {
        let _failed = self.persistence.store.purge(self.queue, up_to, keep);
    }

    pub(super) fn delete(&self) {
        let _failed = self.persistence.store.delete_queue(self.queue);
    }

    /// The shelf of the names that the queue is to remember. Queues and shelves share their numbers.
    pub(super) fn names(&self) -> ShelfId {
        ShelfId(self.queue.id().0)
    }

    /// These names, in the order in which they came.
    pub(super) fn stored_names(&self) -> Vec<HeldRecord> {
        let store = &self.persistence.store;
        match store.held_page(self.names(), None, u64::MAX, usize::MAX, usize::MAX) {
            Ok(page) => page.records,
            Err(error) => {
                let what = format!("queue '{}': names of messages are forgotten: {error}", self.name);
                self.persistence.unreadable.lock().push(what);
                Vec::new()
            }
        }
    }

    pub(super) fn delete_names(&self) {
        let _failed = self.persistence.store.delete_shelf(self.names());
    }

    pub(super) fn note_delivered(&self, up_to: u64) {
        self.persistence.store.note_delivered(self.queue, up_to);
    }

    /// A record that is no message was met; it is told like damage to the store.
    pub(super) fn note_unreadable(&self, seq: u64) {
        let place = format!("queue '{}': record {seq} is no message, and was passed over", self.name);
        self.persistence.unreadable.lock().push(place);
    }

    /// Writes messages to segments, unless they are there already. Returns how many of the first of them may now be
    /// forgotten.
    pub(super) fn spill(&self, entries: &mut VecDeque<Entry>, chunks: &Chunks) -> usize {
        let entries = entries.make_contiguous();
        let mut done = 0;
        while done < entries.len() {
            let count = page_of(&entries[done..]);
            let Some(taken) = self.spill_page(&mut entries[done..done + count], chunks) else { return done };
            done += taken;
            if taken < count {
                return done;
            }
        }
        done
    }

    /// `None` where nothing could be written.
    fn spill_page(&self, page: &mut [Entry], chunks: &Chunks) -> Option<usize> {
        let entries: Vec<&Entry> = page.iter().filter(|entry| !entry.on_disk).collect();
        let bodies: Vec<_> = entries.iter().map(|entry| entry.stored(chunks)).collect();
        let records: Vec<Spill<'_>> = entries
            .iter()
            .zip(&bodies)
            .map(|(entry, body)| Spill { seq: entry.seq, flags: 0, transient: !entry.persistent, body })
            .collect();
        let mut refused = self.persistence.store.spill(self.queue, &records).ok()?;
        drop(records);
        drop(bodies);
        refused.sort_unstable();
        for entry in page.iter_mut() {
            entry.on_disk = refused.binary_search(&entry.seq).is_err();
        }
        let first_refused = refused.first().copied().unwrap_or(u64::MAX);
        Some(page.partition_point(|entry| entry.seq < first_refused))
    }

    /// Reads the next messages of what is paged out.
    pub(super) fn read(&self, paged: &mut Paged, mut visit: impl FnMut(StoredRecord<'_>)) -> PageRead {
        let mut read = 0;
        let mut last = 0;
        let end = self.persistence.store.read(self.queue, paged.next..=paged.last, PAGE_BYTES, |record| {
            read += 1;
            last = record.seq;
            visit(record);
        });
        let end = match end {
            Ok(end) => end,
            Err(_) if read == 0 => return PageRead::Failed,
            // What was read is not to be read again.
            Err(_) => ReadEnd { next: (last < paged.last).then_some(last + 1), lost: 0 },
        };
        let lost = usize::try_from(end.lost).unwrap_or(usize::MAX);
        paged.count = paged.count.saturating_sub(read).saturating_sub(lost);
        match end.next {
            Some(next) => {
                paged.next = next;
                PageRead::More
            }
            None => PageRead::End,
        }
    }
}

/// How many of the first entries make about a page.
fn page_of(entries: &[Entry]) -> usize {
    let mut size = 0;
    let fits = |entry: &&Entry| {
        let before = size;
        size += entry.stored_bytes();
        before < SPILL_BYTES
    };
    entries.iter().take_while(fits).count()
}
