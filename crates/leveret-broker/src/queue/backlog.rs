//! Messages that wait, in their order: those that came back, the first of the others, what is paged out, and
//! the last ones. What was delivered and came back stands before everything that was never delivered, so that a
//! sorted map and three parts in a row suffice. Only ends of the row are in memory, however long it is.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use leveret_amqp::{Properties, flags};
use leveret_store::StoredRecord;

use super::chunk::{Chunks, Place};
use super::rules::QueueRules;
use super::storage::{PREFIX_BYTES, PageRead, Paged, QueueStorage, StoreHandle, stored_lens, stored_prefix};
use crate::{Message, Record, Time};

/// Messages larger than this are shared between queues instead of copied into each, in bytes.
const SHARED_FROM: usize = 8 << 10;
/// Bytes of waiting messages that stay in memory before those that are paged out.
const KEPT_BYTES: usize = 256 << 10;
/// Memory that a message takes beside its bytes.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// A message in a queue.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its place in the queue's order, from 1 up, never given twice.
    pub(super) seq: u64,
    location: Location,
    route_len: u16,
    pub(super) redelivered: bool,
    /// The store has it, or is about to.
    pub(super) persistent: bool,
    /// It is in a segment: memory may forget it.
    pub(super) on_disk: bool,
    properties_len: u32,
    body_len: u32,
    /// When it has waited long enough; [`Time::NEVER`] for most.
    pub(super) expires: Time,
}

#[derive(Debug)]
enum Location {
    /// Prefix, route, properties and body, as they are stored.
    Chunk(Place),
    /// Route, properties and body, and when they were published.
    Shared(Record, Time),
}

/// The three parts of a stored message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) route: &'a [u8],
    pub(super) properties: &'a [u8],
    pub(super) body: &'a [u8],
}

impl Entry {
    fn len(&self) -> usize {
        usize::from(self.route_len) + (self.properties_len + self.body_len) as usize
    }

    fn memory_bytes(&self) -> usize {
        self.len() + ENTRY_BYTES
    }

    /// When it has waited long enough by these rules.
    fn expiry(&self, rules: &QueueRules, chunks: &Chunks) -> Time {
        let (published, bytes) = match &self.location {
            Location::Chunk(place) => {
                let stored = chunks.bytes(*place, PREFIX_BYTES + self.len());
                (stored_lens(stored).map_or(Time::NEVER, |lens| lens.published), &stored[PREFIX_BYTES..])
            }
            Location::Shared(record, published) => (*published, record.as_slice()),
        };
        let properties = &bytes[usize::from(self.route_len)..][..self.properties_len as usize];
        rules.expiry(published, expiration_ms(properties))
    }
}

/// The waiting messages, and the memory of all of the queue's messages.
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
    /// Numbers of the messages whose bytes are counted when they are first read back.
    uncounted: Range<u64>,
    rules: Arc<QueueRules>,
    storage: Option<QueueStorage>,
    /// Stored messages that are done with, to be told to the store.
    settled: Vec<u64>,
}

impl Backlog {
    pub(super) fn new(rules: Arc<QueueRules>, storage: Option<QueueStorage>) -> Self {
        let recovered = storage.as_ref().and_then(QueueStorage::recovered);
        Self {
            returned: BTreeMap::new(),
            first: VecDeque::new(),
            next_seq: recovered.map_or(1, |(_, max_seq)| max_seq + 1),
            paged: recovered.and_then(|(paged, _)| paged),
            last: VecDeque::new(),
            chunks: Chunks::default(),
            waiting_bytes: 0,
            taken_up_to: 0,
            ready_bytes: 0,
            uncounted: recovered.map_or(1, |_| 0)..recovered.map_or(1, |(_, max_seq)| max_seq + 1),
            rules,
            storage,
            settled: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        let paged = self.paged.as_ref().map_or(0, |paged| paged.count);
        self.first.len() + self.returned.len() + paged + self.last.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.returned.is_empty() && self.paged.is_none()
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

    /// Appends a message.
    #[inline]
    pub(super) fn push(&mut self, message: &Message<'_>, now: Time) {
        let seq = self.next_seq;
        self.next_seq += 1;
        let location = match message.record {
            Some(record) => Location::Shared(Record::clone(record), now),
            None if message.size_bytes() >= SHARED_FROM => Location::Shared(message.to_record(), now),
            None => Location::Chunk(self.chunks.store([
                &stored_prefix(message.properties.len(), now),
                message.route,
                message.properties,
                message.body,
            ])),
        };
        let entry = Entry {
            seq,
            location,
            route_len: message.route.len() as u16,
            redelivered: false,
            persistent: message.persistent && self.storage.as_ref().is_some_and(|storage| storage.durable),
            on_disk: false,
            properties_len: message.properties.len() as u32,
            body_len: message.body.len() as u32,
            expires: self.rules.expiry(now, message.expiration_ms),
        };
        self.waiting_bytes += entry.memory_bytes();
        self.ready_bytes += u64::from(entry.body_len);
        if self.paged.is_some() { self.last.push_back(entry) } else { self.first.push_back(entry) }
    }

    /// Takes the first message out. Its memory stays until [`Backlog::release`].
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        if let Some((_, entry)) = self.returned.pop_first() {
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

    /// Puts a message back where it stood.
    pub(super) fn put_back(&mut self, mut entry: Entry) {
        entry.redelivered = true;
        self.ready_bytes += u64::from(entry.body_len);
        self.returned.insert(entry.seq, entry);
    }

    /// Bytes of the bodies of all that waits; after a restart what is still to be read back does not count.
    pub(super) fn ready_bytes(&self) -> u64 {
        self.ready_bytes
    }

    /// When the first message has waited long enough.
    pub(super) fn first_expiry(&mut self) -> Time {
        if let Some((_, entry)) = self.returned.first_key_value() {
            return entry.expires;
        }
        if self.first.is_empty() {
            self.page_in();
        }
        self.first.front().map_or(Time::NEVER, |entry| entry.expires)
    }

    /// A message on its way to the dead letters: it leaves memory, and the store once it has arrived.
    pub(super) fn bury(&mut self, entry: &Entry) -> (Record, Option<(StoreHandle, u64)>) {
        let parts = self.parts(entry);
        let record = match &entry.location {
            Location::Shared(record, _) => Record::clone(record),
            Location::Chunk(_) => Arc::new([parts.route, parts.properties, parts.body].concat()),
        };
        self.forget(entry);
        let stored = entry.persistent || entry.on_disk;
        let handle = self.storage.as_ref().filter(|_| stored).map(QueueStorage::handle);
        (record, handle.map(|handle| (handle, entry.seq)))
    }

    /// Ends the queue's part of the store.
    pub(super) fn delete_stored(&self) {
        if let Some(storage) = &self.storage {
            storage.handle().delete();
        }
    }

    /// Notes what was delivered, so that after a clean end nothing else counts as redelivered.
    pub(super) fn note_delivered(&self) {
        if let Some(storage) = &self.storage {
            storage.handle().note_delivered(self.taken_up_to);
        }
    }

    /// What the message consists of.
    #[inline]
    pub(super) fn parts<'a>(&'a self, entry: &'a Entry) -> Parts<'a> {
        let bytes = match &entry.location {
            Location::Chunk(place) => &self.chunks.bytes(*place, PREFIX_BYTES + entry.len())[PREFIX_BYTES..],
            Location::Shared(record, _) => record.as_slice(),
        };
        let (route, rest) = bytes.split_at(usize::from(entry.route_len));
        let (properties, body) = rest.split_at(entry.properties_len as usize);
        Parts { route, properties, body }
    }

    /// Lets go of a message that is done with.
    #[inline]
    pub(super) fn release(&mut self, entry: Entry) {
        if entry.persistent || entry.on_disk {
            self.settled.push(entry.seq);
        }
        self.forget(&entry);
    }

    #[inline]
    fn forget(&mut self, entry: &Entry) {
        if let Location::Chunk(place) = entry.location {
            self.chunks.release(place);
        }
    }

    /// Tells the store what is done with. Owed after every operation that releases messages.
    #[inline]
    pub(super) fn settle_stored(&mut self) {
        if self.settled.is_empty() {
            return;
        }
        if let Some(storage) = &self.storage {
            storage.handle().settle(&self.settled);
        }
        self.settled.clear();
    }

    /// Drops all that waits, but not the messages `out` with those numbers; returns how many.
    pub(super) fn clear(&mut self, out: &[u64]) -> usize {
        let count = self.len();
        let waiting: Vec<Entry> = std::mem::take(&mut self.returned)
            .into_values()
            .chain(self.first.drain(..))
            .chain(self.last.drain(..))
            .collect();
        waiting.iter().for_each(|entry| self.forget(entry));
        self.paged = None;
        self.waiting_bytes = 0;
        self.ready_bytes = 0;
        self.uncounted = 0..0;
        if let Some(storage) = &self.storage {
            storage.handle().purge(self.next_seq - 1, out);
        }
        count
    }

    /// Moves messages from memory to the disk where the queue holds more than its share.
    #[inline]
    pub(super) fn page_out_if_large(&mut self) {
        if let Some(storage) = &mut self.storage
            && storage.is_over_share(self.waiting_bytes)
        {
            self.page_out();
        }
    }

    /// Reports the memory that the queue takes.
    #[inline]
    pub(super) fn note_memory(&mut self) {
        if let Some(storage) = &mut self.storage {
            storage.note(self.waiting_bytes);
        }
    }

    /// Of a row without a gap its first part stays in memory; else the last part goes to join what is out already.
    fn page_out(&mut self) {
        let Some(store) = self.storage.as_ref().map(QueueStorage::handle) else { return };
        if self.paged.is_none() {
            let stays = self.first.len() * KEPT_BYTES / self.waiting_bytes.max(KEPT_BYTES);
            self.last = self.first.split_off(stays);
        }
        let mut out = std::mem::take(&mut self.last);
        let taken = store.spill(&mut out, |entry| self.stored(entry));
        let stays = out.split_off(taken);
        for entry in &out {
            self.waiting_bytes -= entry.memory_bytes();
            self.forget(entry);
        }
        self.note_paged(&out);
        if self.paged.is_some() { self.last = stays } else { self.first.extend(stays) }
    }

    /// The message as the store keeps it.
    fn stored(&self, entry: &Entry) -> Cow<'_, [u8]> {
        match &entry.location {
            Location::Chunk(place) => Cow::Borrowed(self.chunks.bytes(*place, PREFIX_BYTES + entry.len())),
            Location::Shared(record, published) => {
                let prefix = stored_prefix(entry.properties_len as usize, *published);
                Cow::Owned([&prefix, record.as_slice()].concat())
            }
        }
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

    /// Brings the next messages back from the disk. What cannot be read now may be later, and what is behind it must
    /// not overtake it.
    fn page_in(&mut self) {
        let Some(store) = self.storage.as_ref().map(QueueStorage::handle) else { return };
        while self.first.is_empty() {
            let Some(mut paged) = self.paged.take() else { return };
            let Self { first, chunks, waiting_bytes, ready_bytes, uncounted, rules, .. } = self;
            let read = store.read(&mut paged, |record| {
                let Some(entry) = read_entry(&record, chunks, rules) else { return };
                *waiting_bytes += entry.memory_bytes();
                if uncounted.contains(&entry.seq) {
                    *ready_bytes += u64::from(entry.body_len);
                    uncounted.start = entry.seq + 1;
                }
                first.push_back(entry);
            });
            match read {
                PageRead::More => self.paged = Some(paged),
                PageRead::End => self.first.append(&mut self.last),
                PageRead::Failed => {
                    self.paged = Some(paged);
                    return;
                }
            }
        }
    }
}

fn read_entry(record: &StoredRecord<'_>, chunks: &mut Chunks, rules: &QueueRules) -> Option<Entry> {
    let lens = stored_lens(record.body)?;
    let properties = record.body.get(PREFIX_BYTES + usize::from(lens.route)..)?;
    let expiration_ms = expiration_ms(properties.get(..lens.properties as usize)?);
    Some(Entry {
        seq: record.seq,
        location: Location::Chunk(chunks.store([record.body, b"", b"", b""])),
        route_len: lens.route,
        redelivered: record.redelivered,
        persistent: !record.transient,
        on_disk: record.on_disk,
        properties_len: lens.properties,
        body_len: lens.body,
        expires: rules.expiry(lens.published, expiration_ms),
    })
}

/// The `expiration` in encoded properties.
fn expiration_ms(encoded: &[u8]) -> Option<u64> {
    let set = u16::from_be_bytes(*encoded.first_chunk()?);
    if set & flags::EXPIRATION == 0 {
        return None;
    }
    Properties::parse(encoded).ok()?.expiration?.parse().ok()
}
