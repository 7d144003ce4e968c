//! Messages that wait, in their order. What was delivered and came back stands before everything that was
//! never delivered, so two parts suffice: a sorted map of the returned, and a deque of the rest.

use std::collections::{BTreeMap, VecDeque};

use super::chunk::{Chunks, Place};
use crate::{Message, Record};

/// Messages larger than this are shared between queues instead of copied into each, in bytes.
const SHARED_FROM: usize = 8 << 10;

/// A message in a queue.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its place in the queue's order, never given twice.
    pub(super) seq: u64,
    location: Location,
    route_len: u16,
    pub(super) redelivered: bool,
    properties_len: u32,
    body_len: u32,
}

#[derive(Debug)]
enum Location {
    Chunk(Place),
    Shared(Record),
}

/// The three parts of a stored message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) route: &'a [u8],
    pub(super) properties: &'a [u8],
    pub(super) body: &'a [u8],
}

/// The waiting messages, and the memory of all of the queue's messages.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    fresh: VecDeque<Entry>,
    returned: BTreeMap<u64, Entry>,
    chunks: Chunks,
    next_seq: u64,
}

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.fresh.len() + self.returned.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.returned.is_empty()
    }

    /// Appends a message.
    #[inline]
    pub(super) fn push(&mut self, message: &Message<'_>) {
        let seq = self.next_seq;
        self.next_seq += 1;
        let location = match message.record {
            Some(record) => Location::Shared(Record::clone(record)),
            None if message.size_bytes() >= SHARED_FROM => Location::Shared(message.to_record()),
            None => Location::Chunk(self.chunks.store([message.route, message.properties, message.body])),
        };
        self.fresh.push_back(Entry {
            seq,
            location,
            route_len: message.route.len() as u16,
            redelivered: false,
            properties_len: message.properties.len() as u32,
            body_len: message.body.len() as u32,
        });
    }

    /// Takes the first message out. Its memory stays until [`Backlog::release`].
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        if !self.returned.is_empty() {
            return self.returned.pop_first().map(|(_, entry)| entry);
        }
        let entry = self.fresh.pop_front();
        if self.fresh.is_empty() && self.fresh.capacity() > 4096 {
            self.fresh.shrink_to(1024);
        }
        entry
    }

    /// Puts a message back where it stood.
    pub(super) fn put_back(&mut self, mut entry: Entry) {
        entry.redelivered = true;
        self.returned.insert(entry.seq, entry);
    }

    /// What the message consists of.
    #[inline]
    pub(super) fn parts<'a>(&'a self, entry: &'a Entry) -> Parts<'a> {
        let len = usize::from(entry.route_len) + (entry.properties_len + entry.body_len) as usize;
        let bytes = match &entry.location {
            Location::Chunk(place) => self.chunks.bytes(*place, len),
            Location::Shared(record) => record.as_slice(),
        };
        let (route, rest) = bytes.split_at(usize::from(entry.route_len));
        let (properties, body) = rest.split_at(entry.properties_len as usize);
        Parts { route, properties, body }
    }

    /// Lets go of a message's memory.
    #[inline]
    pub(super) fn release(&mut self, entry: Entry) {
        if let Location::Chunk(place) = entry.location {
            self.chunks.release(place);
        }
    }

    /// Drops all that waits; returns how many.
    pub(super) fn clear(&mut self) -> usize {
        let count = self.len();
        while let Some(entry) = self.pop() {
            self.release(entry);
        }
        count
    }
}
