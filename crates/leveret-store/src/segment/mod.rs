//! Segments: files of one queue's records in rising order, written and read in large pieces. What a segment is and how
//! its bytes look stands here; which records go into one is decided elsewhere.

pub(crate) mod block;
pub(crate) mod cursor;

use std::sync::Arc;

use crate::{QueueId, StoreError, seq_set::SeqSet, storage::StorageFile};

/// What memory keeps of a segment.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) queue: QueueId,
    pub(crate) transient: bool,
    pub(crate) extent: Extent,
    /// How far it is synced, which is what manifests name; always empty for a transient one.
    pub(crate) durable: Extent,
    pub(crate) first: u64,
    /// Exactly the records in it that are not settled.
    pub(crate) live: SeqSet,
    /// Open while it is written. Where it is not, all of the segment is synced, or need not be.
    pub(crate) file: Option<Arc<dyn StorageFile>>,
    /// Written in this run and not full.
    pub(crate) appendable: bool,
    /// Being written at this moment; must not go away.
    pub(crate) busy: bool,
    pub(crate) damaged: bool,
    /// Where reading will go on: a block's offset, and the highest sequence number before it.
    pub(crate) resume: (u64, u64),
}

/// How far a segment reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) size_bytes: u64,
    pub(crate) records: u64,
    pub(crate) body_bytes: u64,
    pub(crate) last: u64,
}

impl Segment {
    pub(crate) fn name(&self) -> String {
        segment_name(self.queue, self.number, self.transient)
    }

    /// Whether a spilled record waits here for the next manifest.
    pub(crate) fn is_unsaved(&self) -> bool {
        !self.transient && self.extent != self.durable
    }

    /// Body bytes that live; an estimate once some were settled.
    pub(crate) fn live_bytes(&self) -> u64 {
        share(self.extent.body_bytes, self.live.len(), self.extent.records)
    }

    /// Bytes of the file that live, an estimate.
    pub(crate) fn live_file_bytes(&self) -> u64 {
        share(self.extent.size_bytes, self.live.len(), self.extent.records)
    }
}

pub(crate) fn share(total: u64, part: u64, whole: u64) -> u64 {
    if whole == 0 { 0 } else { (u128::from(total) * u128::from(part) / u128::from(whole)) as u64 }
}

pub(crate) fn segment_name(queue: QueueId, number: u64, transient: bool) -> String {
    let class = if transient { "transient" } else { "segment" };
    format!("{class}-{:016x}-{number:08x}", queue.0)
}

/// Queue, number and class by a file's name.
pub(crate) fn parse_name(name: &str) -> Option<(QueueId, u64, bool)> {
    let (rest, transient) = match name.strip_prefix("segment-") {
        Some(rest) => (rest, false),
        None => (name.strip_prefix("transient-")?, true),
    };
    let (queue, number) = rest.split_once('-')?;
    Some((QueueId(u64::from_str_radix(queue, 16).ok()?), u64::from_str_radix(number, 16).ok()?, transient))
}

pub(crate) fn read_error(name: &str, error: std::io::Error) -> StoreError {
    StoreError::io("read", name, error)
}
