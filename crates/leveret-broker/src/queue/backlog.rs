//! One row of waiting messages, in their order: those that came back, the first of the others, what is paged out, and
//! the last ones. What was delivered and came back stands before everything that was never delivered, so that a
//! sorted map and three parts in a row suffice. Only ends of the row are in memory, however long it is.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::chunk::Chunks;
use super::entry::{Entry, Parts};
use super::rules::QueueRules;
use super::storage::{PageRead, Paged, QueueStorage, StoreHandle};
use super::unread::Unread;
use crate::dead_letter::Stored;
use crate::{Message, Record, Time};

/// Bytes of waiting messages that stay in memory before those that are paged out.
const KEPT_BYTES: usize = 256 << 10;

/// Is shown a message, when it was published, and what it consists of.
pub(super) type See<'a> = &'a mut dyn FnMut(&Entry, Time, Parts<'_>);

/// So many messages with so many bytes of bodies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) count: usize,
    pub(super) bytes: u64,
}

/// The waiting messages, and the memory of all of the row's messages.
#[derive(Debug)]
pub(super) struct Backlog {
    returned: BTreeMap<u64, Entry>,
    first: VecDeque<Entry>,
    /// Between `first` and `last`; where it is `None`, `last` is empty.
    paged: Option<Paged>,
    last: VecDeque<Entry>,
    chunks: Chunks,
    next_seq: u64,
    /// Memory of `first` and `last`.
    waiting_bytes: usize,
    /// No message up to here is being published for the first time.
    taken_up_to: u64,
    /// Bytes of the bodies of all that waits, but of what was there at the start and is still to be read.
    ready_bytes: u64,
    /// Bytes of the bodies of what is paged out, with the same exception.
    paged_bytes: u64,
    /// What is kept over a restart, waiting or out, with the same exception for its bytes.
    persistent: Tally,
    /// Numbers of the messages whose bytes are counted when they are first read back.
    uncounted: Range<u64>,
    /// These messages.
    unread: Unread,
    /// The priority of its messages.
    pub(super) level: u8,
    /// What is paged out could not be read when it was last asked for.
    pub(super) read_failed: bool,
    rules: Arc<QueueRules>,
    storage: Option<QueueStorage>,
    /// Stored messages that are done with, to be told to the store.
    settled: Vec<u64>,
}

impl Backlog {
    /// A row with what the store has of it.
    pub(super) fn new(level: u8, rules: Arc<QueueRules>, storage: Option<QueueStorage>) -> Self {
        let recovered = storage.as_ref().and_then(QueueStorage::recovered);
        let paged = recovered.and_then(|(paged, _)| paged);
        Self {
            returned: BTreeMap::new(),
            first: VecDeque::new(),
            next_seq: recovered.map_or(1, |(_, max_seq)| max_seq + 1),
            persistent: Tally { count: paged.map_or(0, |paged| paged.count), bytes: 0 },
            paged,
            last: VecDeque::new(),
            chunks: Chunks::default(),
            waiting_bytes: 0,
            taken_up_to: 0,
            ready_bytes: 0,
            paged_bytes: 0,
            uncounted: recovered.map_or(1, |_| 0)..recovered.map_or(1, |(_, max_seq)| max_seq + 1),
            unread: storage.as_ref().map(QueueStorage::unread).unwrap_or_default(),
            level,
            read_failed: false,
            rules,
            storage,
            settled: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.first.len() + self.returned.len() + self.paged_count() + self.last.len()
    }

    /// How many messages are on the disk alone.
    pub(super) fn paged_count(&self) -> usize {
        self.paged.as_ref().map_or(0, |paged| paged.count)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.returned.is_empty() && self.paged.is_none()
    }

    /// Its storage, with what was found of other rows.
    pub(super) fn storage_mut(&mut self) -> Option<&mut QueueStorage> {
        self.storage.as_mut()
    }

    /// The number that the next message gets.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Has all that waits expire by these rules. What is paged out is read by them.
    pub(super) fn set_rules(&mut self, rules: &Arc<QueueRules>) {
        let ttl_is_other = self.rules.message_ttl_ms != rules.message_ttl_ms;
        self.rules = Arc::clone(rules);
        if !ttl_is_other {
            return;
        }
        let Self { returned, first, last, chunks, .. } = self;
        for entry in returned.values_mut().chain(first).chain(last) {
            entry.expires = entry.expiry(rules, chunks);
        }
    }

    /// Has a message that is out expire by the rules, once it comes back.
    pub(super) fn renew(&self, entry: &mut Entry) {
        entry.expires = entry.expiry(&self.rules, &self.chunks);
    }

    /// Appends a message.
    #[inline]
    pub(super) fn push(&mut self, message: &Message<'_>, now: Time) {
        let place = (self.level, self.next_seq);
        self.next_seq += 1;
        let mut entry = Entry::new(place, message, &mut self.chunks, &self.rules, now);
        entry.persistent = self.storage.as_ref().is_some_and(|storage| storage.keeps(message.persistent));
        self.waiting_bytes += entry.memory_bytes();
        self.ready_bytes += u64::from(entry.body_len);
        if entry.persistent {
            self.persistent.count += 1;
            self.persistent.bytes += u64::from(entry.body_len);
        }
        if self.paged.is_some() { self.last.push_back(entry) } else { self.first.push_back(entry) }
    }

    /// Takes the first message out. Its memory stays until [`Backlog::release`].
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        if !self.returned.is_empty()
            && let Some((_, entry)) = self.returned.pop_first()
        {
            self.ready_bytes = self.ready_bytes.saturating_sub(entry.body_len.into());
            return Some(entry);
        }
        if self.first.is_empty() {
            self.page_in();
        }
        let entry = self.first.pop_front()?;
        self.ready_bytes = self.ready_bytes.saturating_sub(entry.body_len.into());
        self.waiting_bytes -= entry.memory_bytes();
        self.taken_up_to = entry.seq;
        if self.first.is_empty() && self.first.capacity() > 4096 {
            self.first.shrink_to(1024);
        }
        Some(entry)
    }

    /// Undoes the last [`Backlog::pop`].
    pub(super) fn undo_pop(&mut self, entry: Entry) {
        self.ready_bytes += u64::from(entry.body_len);
        if entry.redelivered {
            self.returned.insert(entry.seq, entry);
        } else {
            self.waiting_bytes += entry.memory_bytes();
            self.taken_up_to = entry.seq - 1;
            self.first.push_front(entry);
        }
    }

    /// Puts a message back where it stood.
    pub(super) fn put_back(&mut self, mut entry: Entry) {
        entry.redelivered = true;
        self.ready_bytes += u64::from(entry.body_len);
        self.returned.insert(entry.seq, entry);
    }

    /// Has the store know how often a message came back.
    pub(super) fn store_returns(&self, entry: &Entry) {
        if let Some(storage) = self.storage.as_ref().filter(|_| entry.is_stored()) {
            storage.handle.note_returns(entry.seq, entry.returns);
        }
    }

    /// Bytes of the bodies of all that waits; after a restart what is still to be read back does not count.
    pub(super) fn ready_bytes(&self) -> u64 {
        self.ready_bytes
    }

    /// Bytes of the bodies of all that waits, to be held against a limit. Of what is still to be read back they are an
    /// estimate, for which the first page is read.
    pub(super) fn limited_bytes(&mut self) -> u64 {
        if self.unread.is_unknown() && !self.read_failed {
            self.head();
        }
        self.ready_bytes + self.unread.body_bytes()
    }

    /// Bytes of the bodies of what is on the disk alone.
    pub(super) fn paged_bytes(&self) -> u64 {
        self.paged_bytes
    }

    /// What is kept over a restart, waiting or out.
    pub(super) fn persistent(&self) -> Tally {
        self.persistent
    }

    /// Memory that waiting messages take, in bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes + self.returned.values().map(Entry::memory_bytes).sum::<usize>()
    }

    /// The first message, if it can be read.
    pub(super) fn head(&mut self) -> Option<&Entry> {
        if self.returned.is_empty() && self.first.is_empty() {
            self.page_in();
        }
        self.returned.values().next().or_else(|| self.first.front())
    }

    /// When the first message has waited long enough.
    pub(super) fn first_expiry(&mut self) -> Time {
        self.head().map_or(Time::NEVER, |entry| entry.expires)
    }

    /// When the first message was published.
    pub(super) fn head_published(&mut self) -> Option<Time> {
        self.head()?;
        let head = self.returned.values().next().or_else(|| self.first.front());
        head.map(|entry| entry.published(&self.chunks))
    }

    /// Up to `count` messages from the `skip`th on, without taking them out. What is paged out is brought back for it,
    /// at most `pages` pages.
    pub(super) fn look(&mut self, skip: usize, count: usize, pages: usize, see: See<'_>) {
        for _ in 0..pages {
            if self.paged.is_none() || self.returned.len() + self.first.len() >= skip.saturating_add(count) {
                break;
            }
            self.read_page();
        }
        let row = self.returned.values().chain(&self.first);
        row.skip(skip)
            .take(count)
            .for_each(|entry| see(entry, entry.published(&self.chunks), entry.parts(&self.chunks)));
    }

    /// A message on its way to the dead letters: it leaves memory, and the store once it has arrived.
    pub(super) fn bury(&mut self, entry: &Entry) -> (Record, Option<Stored>) {
        let record = entry.record(&self.chunks);
        let stored = self.store().map(|handle| Stored {
            handle,
            level: self.level,
            seq: entry.seq,
            published: entry.published(&self.chunks),
            persistent: entry.persistent,
            is_known: entry.is_stored(),
        });
        self.forget(entry);
        (record, stored)
    }

    /// Where its messages are stored.
    pub(super) fn store(&self) -> Option<StoreHandle> {
        self.storage.as_ref().map(QueueStorage::handle)
    }

    /// The store does not take these messages after all: memory alone has them.
    pub(super) fn note_unstored(&mut self, seqs: Range<u64>) {
        let Self { returned, first, last, persistent, .. } = self;
        let waiting = returned.values_mut().chain(first).chain(last);
        for entry in waiting.filter(|entry| entry.persistent && seqs.contains(&entry.seq)) {
            entry.persistent = false;
            persistent.count -= 1;
            persistent.bytes = persistent.bytes.saturating_sub(entry.body_len.into());
        }
    }

    /// The same for a message that is out.
    pub(super) fn note_unstored_out(&mut self, entry: &mut Entry) {
        if std::mem::take(&mut entry.persistent) {
            self.count_out(entry.body_len);
        }
    }

    /// Ends the row's part of the store.
    pub(super) fn delete_stored(&self) {
        if let Some(storage) = &self.storage {
            storage.handle.delete();
        }
    }

    /// Notes what was delivered, so that after a clean end nothing else counts as redelivered.
    pub(super) fn note_delivered(&self) {
        if let Some(storage) = &self.storage {
            storage.handle.note_delivered(self.taken_up_to);
        }
    }

    /// What the message consists of.
    #[inline]
    pub(super) fn parts<'a>(&'a self, entry: &'a Entry) -> Parts<'a> {
        entry.parts(&self.chunks)
    }

    /// Lets go of a message that is done with.
    #[inline]
    pub(super) fn release(&mut self, entry: Entry) {
        if entry.is_stored() {
            self.settled.push(entry.seq);
        }
        self.forget(&entry);
    }

    #[inline]
    fn forget(&mut self, entry: &Entry) {
        if entry.persistent {
            self.count_out(entry.body_len);
        }
        entry.forget(&mut self.chunks);
    }

    fn count_out(&mut self, body_len: u32) {
        self.persistent.count = self.persistent.count.saturating_sub(1);
        self.persistent.bytes = self.persistent.bytes.saturating_sub(body_len.into());
    }

    /// Tells the store what is done with. Owed after every operation that releases messages.
    #[inline]
    pub(super) fn settle_stored(&mut self) {
        if self.settled.is_empty() {
            return;
        }
        if let Some(storage) = &self.storage {
            storage.handle.settle(&self.settled);
        }
        self.settled.clear();
    }

    /// Drops all that waits, but not the stored messages that are `out`, or `dead` letters of this row; returns how many.
    pub(super) fn clear<'a>(&mut self, out: impl Iterator<Item = &'a Entry>, dead: &[(u8, u64)]) -> usize {
        let count = self.len();
        let waiting: Vec<Entry> = std::mem::take(&mut self.returned)
            .into_values()
            .chain(self.first.drain(..))
            .chain(self.last.drain(..))
            .collect();
        waiting.iter().for_each(|entry| self.forget(entry));
        let out: Vec<&Entry> = out.filter(|entry| entry.is_stored()).collect();
        let persistent = out.iter().filter(|entry| entry.persistent);
        self.persistent = Tally {
            count: persistent.clone().count(),
            bytes: persistent.map(|entry| u64::from(entry.body_len)).sum(),
        };
        self.paged = None;
        self.waiting_bytes = 0;
        self.ready_bytes = 0;
        self.paged_bytes = 0;
        self.uncounted = 0..0;
        self.unread = Unread::default();
        if let Some(storage) = &self.storage {
            let dead = dead.iter().filter(|(level, _)| *level == self.level).map(|(_, seq)| *seq);
            let kept: Vec<u64> = out.iter().map(|entry| entry.seq).chain(dead).collect();
            storage.handle.purge(self.next_seq - 1, &kept);
        }
        count
    }

    /// Moves messages from memory to the disk where the row holds more than its share.
    #[inline]
    pub(super) fn page_out_if_large(&mut self) {
        if let Some(storage) = &mut self.storage
            && storage.is_over_share(self.waiting_bytes)
        {
            self.page_out();
        }
    }

    /// Reports the memory that the row takes.
    #[inline]
    pub(super) fn note_memory(&mut self) {
        if let Some(storage) = &mut self.storage {
            storage.note(self.waiting_bytes);
        }
    }

    /// Of a row without a gap its first part stays in memory; else the last part goes to join what is out already.
    fn page_out(&mut self) {
        let Some(store) = self.store() else { return };
        if self.paged.is_none() {
            let stays = self.first.len() * KEPT_BYTES / self.waiting_bytes.max(KEPT_BYTES);
            self.last = self.first.split_off(stays);
        }
        let mut out = std::mem::take(&mut self.last);
        let taken = store.spill(&mut out, &self.chunks);
        let stays = out.split_off(taken);
        for entry in &out {
            self.waiting_bytes -= entry.memory_bytes();
            self.paged_bytes += u64::from(entry.body_len);
            entry.forget(&mut self.chunks);
        }
        self.note_paged(&out);
        if self.paged.is_some() { self.last = stays } else { self.first.extend(stays) }
    }

    fn note_paged(&mut self, entries: &VecDeque<Entry>) {
        let (Some(front), Some(back)) = (entries.front(), entries.back()) else { return };
        match &mut self.paged {
            Some(paged) => {
                paged.last = back.seq;
                paged.count += entries.len();
            }
            None => self.paged = Some(Paged { next: front.seq, last: back.seq, count: entries.len() }),
        }
    }

    /// Brings the next messages back from the disk, until there are some.
    fn page_in(&mut self) {
        while self.first.is_empty() && self.paged.is_some() && self.read_page() {}
    }

    /// Reads a page to the end of `first`. What cannot be read now may be later, and what is behind it must not overtake
    /// it: false.
    fn read_page(&mut self) -> bool {
        let Some(store) = self.store() else { return false };
        let Some(mut paged) = self.paged.take() else { return false };
        let count = paged.count;
        let before = self.first.len();
        let Self {
            first,
            chunks,
            waiting_bytes,
            ready_bytes,
            paged_bytes,
            persistent,
            uncounted,
            unread,
            rules,
            level,
            ..
        } = self;
        let read = store.read(&mut paged, |record| {
            let Some(entry) = Entry::read(*level, &record, chunks, rules) else {
                store.note_unreadable(record.seq);
                return;
            };
            let bytes = u64::from(entry.body_len);
            *waiting_bytes += entry.memory_bytes();
            if uncounted.contains(&entry.seq) {
                *ready_bytes += bytes;
                persistent.bytes += bytes;
                unread.note_read(record.body.len() as u64, bytes);
                uncounted.start = entry.seq + 1;
            } else {
                *paged_bytes = paged_bytes.saturating_sub(bytes);
            }
            first.push_back(entry);
        });
        self.read_failed = matches!(read, PageRead::Failed);
        if matches!(read, PageRead::End) {
            self.first.append(&mut self.last);
            self.paged_bytes = 0;
            self.unread = Unread::default();
        } else {
            self.paged = Some(paged);
        }
        // Of what is lost nobody knows more than the number.
        let came = self.first.len() - before;
        let lost = count.saturating_sub(self.paged_count()).saturating_sub(came);
        self.persistent.count = self.persistent.count.saturating_sub(lost);
        !self.read_failed
    }
}
