//! A message in a queue: its place in the row, where its bytes are, and when it has waited long enough.

use std::borrow::Cow;
use std::sync::Arc;

use leveret_amqp::{Properties, flags};
use leveret_store::StoredRecord;

use super::chunk::{Chunks, Place};
use super::rules::QueueRules;
use super::storage::{PREFIX_BYTES, stored_lens, stored_prefix};
use crate::{Message, Record, Time};

/// Messages larger than this are shared between queues instead of copied into each, in bytes.
const SHARED_FROM: usize = 8 << 10;
/// Memory that a message takes beside its bytes.
const ENTRY_BYTES: usize = size_of::<Entry>();

/// A message in a queue.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its place in its row, from 1 up, never given twice there.
    pub(super) seq: u64,
    location: Location,
    route_len: u16,
    /// How often it came back, where the queue counts that.
    pub(super) returns: u16,
    /// Which of the queue's rows it is of: its priority.
    pub(super) level: u8,
    pub(super) redelivered: bool,
    /// The store has it, or is about to.
    pub(super) persistent: bool,
    /// It is in a segment: memory may forget it.
    pub(super) on_disk: bool,
    properties_len: u32,
    pub(super) body_len: u32,
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

/// The three parts of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) route: &'a [u8],
    pub(super) properties: &'a [u8],
    pub(super) body: &'a [u8],
}

impl Entry {
    /// A message that has just come.
    #[inline]
    pub(super) fn new(
        (level, seq): (u8, u64),
        message: &Message<'_>,
        chunks: &mut Chunks,
        rules: &QueueRules,
        now: Time,
    ) -> Self {
        let location = match message.record {
            Some(record) => Location::Shared(Record::clone(record), now),
            None if message.size_bytes() >= SHARED_FROM => Location::Shared(message.to_record(), now),
            None => Location::Chunk(chunks.store([
                &stored_prefix(message.properties.len(), now),
                message.route,
                message.properties,
                message.body,
            ])),
        };
        Self {
            seq,
            location,
            route_len: message.route.len() as u16,
            returns: 0,
            level,
            redelivered: false,
            persistent: false,
            on_disk: false,
            properties_len: message.properties.len() as u32,
            body_len: message.body.len() as u32,
            expires: rules.expiry(now, message.expiration_ms),
        }
    }

    /// A message that was read back; `None` where the record is none.
    pub(super) fn read(
        level: u8,
        record: &StoredRecord<'_>,
        chunks: &mut Chunks,
        rules: &QueueRules,
    ) -> Option<Self> {
        let lens = stored_lens(record.body)?;
        let properties = record.body.get(PREFIX_BYTES + usize::from(lens.route)..)?;
        let expiration_ms = expiration_ms(properties.get(..lens.properties as usize)?);
        Some(Self {
            seq: record.seq,
            location: Location::Chunk(chunks.store([record.body, b"", b"", b""])),
            route_len: lens.route,
            returns: u16::try_from(record.mark).unwrap_or(u16::MAX),
            level,
            redelivered: record.redelivered,
            persistent: !record.transient,
            on_disk: record.on_disk,
            properties_len: lens.properties,
            body_len: lens.body,
            expires: rules.expiry(lens.published, expiration_ms),
        })
    }

    fn len(&self) -> usize {
        usize::from(self.route_len) + (self.properties_len + self.body_len) as usize
    }

    pub(super) fn stored_bytes(&self) -> usize {
        PREFIX_BYTES + self.len()
    }

    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        self.len() + ENTRY_BYTES
    }

    /// Whether the store is to be told when it is done with.
    #[inline]
    pub(super) fn is_stored(&self) -> bool {
        self.persistent || self.on_disk
    }

    /// What it consists of.
    #[inline(always)]
    pub(super) fn parts<'a>(&'a self, chunks: &'a Chunks) -> Parts<'a> {
        let bytes = match &self.location {
            Location::Chunk(place) => &chunks.bytes(*place, self.stored_bytes())[PREFIX_BYTES..],
            Location::Shared(record, _) => record.as_slice(),
        };
        let (route, rest) = bytes.split_at(usize::from(self.route_len));
        let (properties, body) = rest.split_at(self.properties_len as usize);
        Parts { route, properties, body }
    }

    /// Route, properties and body in a piece of memory that outlives the queue's.
    pub(super) fn record(&self, chunks: &Chunks) -> Record {
        match &self.location {
            Location::Shared(record, _) => Record::clone(record),
            Location::Chunk(_) => {
                let parts = self.parts(chunks);
                Arc::new([parts.route, parts.properties, parts.body].concat())
            }
        }
    }

    /// The message as the store keeps it.
    pub(super) fn stored<'a>(&'a self, chunks: &'a Chunks) -> Cow<'a, [u8]> {
        match &self.location {
            Location::Chunk(place) => Cow::Borrowed(chunks.bytes(*place, self.stored_bytes())),
            Location::Shared(record, published) => {
                let prefix = stored_prefix(self.properties_len as usize, *published);
                Cow::Owned([&prefix, record.as_slice()].concat())
            }
        }
    }

    /// Gives its memory back.
    #[inline]
    pub(super) fn forget(&self, chunks: &mut Chunks) {
        if let Location::Chunk(place) = self.location {
            chunks.release(place);
        }
    }

    /// When it was published.
    pub(super) fn published(&self, chunks: &Chunks) -> Time {
        match &self.location {
            Location::Shared(_, published) => *published,
            Location::Chunk(place) => {
                let stored = stored_lens(chunks.bytes(*place, self.stored_bytes()));
                stored.map_or(Time::NEVER, |lens| lens.published)
            }
        }
    }

    /// When it has waited long enough by these rules.
    pub(super) fn expiry(&self, rules: &QueueRules, chunks: &Chunks) -> Time {
        rules.expiry(self.published(chunks), expiration_ms(self.parts(chunks).properties))
    }
}

/// The `expiration` in encoded properties.
fn expiration_ms(encoded: &[u8]) -> Option<u64> {
    let set = u16::from_be_bytes(*encoded.first_chunk()?);
    if set & flags::EXPIRATION == 0 {
        return None;
    }
    Properties::parse(encoded).ok()?.expiration?.parse().ok()
}
