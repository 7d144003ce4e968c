//! Figures about a store, for metrics and for flow control.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::Engine;

/// Counters that only rise.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) groups: AtomicU64,
    pub(crate) journal_bytes: AtomicU64,
    pub(crate) spilled_records: AtomicU64,
    pub(crate) manifests: AtomicU64,
    syncs: AtomicU64,
    sync_us: AtomicU64,
}

impl Counts {
    pub(crate) fn note_sync(&self, took: Duration) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
    }

    pub(crate) fn syncs(&self) -> Syncs {
        Syncs { count: self.syncs.load(Ordering::Relaxed), time_us: self.sync_us.load(Ordering::Relaxed) }
    }
}

/// Syncs of the journal since opening. None are counted where a group is not synced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Syncs {
    /// How many there were.
    pub count: u64,
    /// What they took together, in microseconds.
    pub time_us: u64,
}

/// Figures about a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Groups committed since opening.
    pub groups: u64,
    /// Syncs of the journal since opening.
    pub syncs: Syncs,
    /// Bytes written to the journal since opening.
    pub journal_written_bytes: u64,
    /// Records written to segments since opening.
    pub spilled_records: u64,
    /// Manifests written since opening.
    pub manifests: u64,
    /// Records that were found damaged or missing since opening.
    pub lost_records: u64,
    /// Damaged places found since opening.
    pub damaged_places: u64,
    /// Bytes that gather for the next group.
    pub pending_bytes: u64,
    /// Size of the journal now, spare files left out.
    pub journal_bytes: u64,
    /// Segment files, those about to be deleted included.
    pub segments: u64,
    /// Their size in bytes.
    pub segment_bytes: u64,
    /// Records that live in segments.
    pub segment_records: u64,
    /// Queues known.
    pub queues: u64,
}

impl Engine {
    pub(crate) fn stats(&self) -> Stats {
        let journal_bytes = self.files.lock().size_bytes();
        let core = self.core.lock();
        let mut stats = Stats {
            groups: self.counts.groups.load(Ordering::Relaxed),
            syncs: self.counts.syncs(),
            journal_written_bytes: self.counts.journal_bytes.load(Ordering::Relaxed),
            spilled_records: self.counts.spilled_records.load(Ordering::Relaxed),
            manifests: self.counts.manifests.load(Ordering::Relaxed),
            lost_records: core.damage.iter().filter_map(|damage| damage.lost_records).sum(),
            damaged_places: core.damage.len() as u64,
            pending_bytes: core.pending.size_bytes() as u64,
            journal_bytes,
            queues: core.slots.len() as u64,
            ..Stats::default()
        };
        let living = core.queues().flat_map(|(_, state)| state.segments.iter());
        for segment in living.chain(&core.dead) {
            stats.segments += 1;
            stats.segment_bytes += segment.extent.size_bytes;
            stats.segment_records += segment.live.len();
        }
        stats
    }
}
