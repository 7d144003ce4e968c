//! What the store knows of one queue: which sequence numbers live where. No I/O; all of it is changed under the core's
//! lock.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    QueueId,
    journal::pending::PendingRef,
    segment::{Segment, share},
    seq_set::SeqSet,
};

pub(crate) struct QueueState {
    pub(crate) id: QueueId,
    /// The highest number ever seen.
    pub(crate) max_seq: u64,
    pub(crate) purged_up_to: u64,
    /// Records up to here may have been delivered before the last start.
    pub(crate) redelivered_up_to: u64,
    /// Live records by the journal file they are in.
    pub(crate) journal: VecDeque<JournalSet>,
    /// Sorted by first number.
    pub(crate) segments: VecDeque<Segment>,
    /// Some segment holds records that are in the journal too.
    pub(crate) unsaved: bool,
    /// No segment holds a higher number.
    pub(crate) spilled_up_to: u64,
    /// Records that had to leave the journal while the caller has them in memory: it has not spilled them, so a read
    /// passes over them.
    pub(crate) held: SeqSet,
    /// Found at the start, kept in the journal, not read yet.
    pub(crate) recovered: BTreeMap<u64, RecoveredRecord>,
    /// Marks of records, of some too that do not live any more.
    pub(crate) marks: BTreeMap<u64, u64>,
    /// Settled before they were appended.
    pub(crate) early: BTreeSet<u64>,
    /// Kept by a purge that came before their append.
    pub(crate) kept: BTreeSet<u64>,
    /// Appends of the gathering group number `pending_group`, sorted.
    pub(crate) pending: VecDeque<PendingRef>,
    pub(crate) pending_group: u64,
    /// Place of the last settle in the list of group `settle_group`.
    pub(crate) settle_place: usize,
    pub(crate) settle_group: u64,
    /// Held while this queue's segments are written.
    pub(crate) writing: Arc<Mutex<()>>,
    /// Held while they are read, and while compaction replaces them.
    pub(crate) reading: Arc<Mutex<()>>,
}

pub(crate) struct JournalSet {
    pub(crate) file: u64,
    pub(crate) seqs: SeqSet,
    pub(crate) records: u64,
    pub(crate) body_bytes: u64,
}

pub(crate) struct RecoveredRecord {
    pub(crate) flags: u16,
    pub(crate) mark: u64,
    pub(crate) body: Box<[u8]>,
}

impl JournalSet {
    pub(crate) fn live_bytes(&self) -> u64 {
        share(self.body_bytes, self.seqs.len(), self.records)
    }
}

impl QueueState {
    pub(crate) fn new(id: QueueId) -> Self {
        Self {
            id,
            max_seq: 0,
            purged_up_to: 0,
            redelivered_up_to: 0,
            journal: VecDeque::new(),
            segments: VecDeque::new(),
            unsaved: false,
            held: SeqSet::default(),
            spilled_up_to: 0,
            recovered: BTreeMap::new(),
            marks: BTreeMap::new(),
            early: BTreeSet::new(),
            kept: BTreeSet::new(),
            pending: VecDeque::new(),
            pending_group: 0,
            settle_place: 0,
            settle_group: 0,
            writing: Arc::default(),
            reading: Arc::default(),
        }
    }

    /// Whether a record may still be appended: not settled or purged already.
    pub(crate) fn admits(&mut self, seq: u64) -> bool {
        if !self.early.is_empty() && self.early.remove(&seq) {
            return false;
        }
        seq > self.purged_up_to || self.kept.remove(&seq)
    }

    pub(crate) fn journal_insert(&mut self, file: u64, seq: u64, body_bytes: usize) {
        self.max_seq = self.max_seq.max(seq);
        if self.journal.back().is_none_or(|set| set.file != file) {
            self.journal.push_back(JournalSet { file, seqs: SeqSet::default(), records: 0, body_bytes: 0 });
        }
        if let Some(set) = self.journal.back_mut() {
            set.seqs.insert(seq);
            set.records += 1;
            set.body_bytes += body_bytes as u64;
        }
    }

    pub(crate) fn journal_remove(&mut self, seq: u64) -> bool {
        let removed = self.journal.iter_mut().any(|set| set.seqs.remove(seq));
        while self.journal.len() > 1 && self.journal.front().is_some_and(|set| set.seqs.is_empty()) {
            self.journal.pop_front();
        }
        removed
    }

    pub(crate) fn in_journal(&self, seq: u64) -> bool {
        self.journal.iter().any(|set| set.seqs.contains(seq))
    }

    pub(crate) fn in_journal_file(&self, file: u64, seq: u64) -> bool {
        self.journal.iter().any(|set| set.file == file && set.seqs.contains(seq))
    }

    pub(crate) fn note_pending(&mut self, group: u64, place: PendingRef) {
        if self.pending_group != group {
            self.pending_group = group;
            self.pending.clear();
            self.pending.shrink_to(4096);
        }
        if self.pending.back().is_none_or(|last| last.seq < place.seq) {
            self.pending.push_back(place);
        } else {
            let index = self.pending.partition_point(|other| other.seq < place.seq);
            self.pending.insert(index, place);
        }
    }

    /// Takes the place of an append that is still in the gathering group.
    pub(crate) fn take_pending(&mut self, group: u64, seq: u64) -> Option<PendingRef> {
        if self.pending_group != group {
            return None;
        }
        if self.pending.front().is_some_and(|front| front.seq == seq) {
            return self.pending.pop_front();
        }
        let index = self.pending.binary_search_by_key(&seq, |place| place.seq).ok()?;
        self.pending.remove(index)
    }

    pub(crate) fn segment_mut(&mut self, number: u64) -> Option<&mut Segment> {
        self.segments.iter_mut().find(|segment| segment.number == number)
    }

    /// The segment in which a record lives.
    pub(crate) fn segment_of(&mut self, seq: u64) -> Option<usize> {
        if self.segments.front().is_some_and(|front| front.live.contains(seq)) {
            return Some(0);
        }
        let after = self.segments.partition_point(|segment| segment.first <= seq);
        (0..after).rev().find(|&index| self.segments[index].live.contains(seq))
    }

    pub(crate) fn in_segment(&self, seq: u64) -> bool {
        if seq > self.spilled_up_to {
            return false;
        }
        let after = self.segments.partition_point(|segment| segment.first <= seq);
        self.segments.iter().take(after).rev().any(|segment| segment.live.contains(seq))
    }

    pub(crate) fn lives(&self, seq: u64) -> bool {
        self.in_journal(seq) || self.in_segment(seq)
    }

    pub(crate) fn mark_of(&self, seq: u64) -> u64 {
        self.marks.get(&seq).copied().unwrap_or_default()
    }

    /// Marks go with their records, but not in the moment in which these are settled: that would cost all that have none.
    pub(crate) fn forget_marks(&mut self) {
        let mut marks = std::mem::take(&mut self.marks);
        marks.retain(|&seq, _| self.lives(seq));
        self.marks = marks;
    }

    pub(crate) fn insert_segment(&mut self, segment: Segment) {
        self.spilled_up_to = self.spilled_up_to.max(segment.extent.last);
        let index = self.segments.partition_point(|other| other.first <= segment.first);
        self.segments.insert(index, segment);
    }

    /// Live durable records and their bytes; those both in the journal and in a segment count once.
    pub(crate) fn durable_totals(&self) -> (u64, u64) {
        let journal = self.journal.iter().map(|set| (set.seqs.len(), set.live_bytes()));
        let segments = self.segments.iter().filter(|segment| !segment.transient);
        let segments = segments.map(|segment| (segment.live.len(), segment.live_bytes()));
        journal.chain(segments).fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
    }

    pub(crate) fn first_durable(&self) -> Option<u64> {
        let journal = self.journal.iter().filter_map(|set| set.seqs.first());
        let segments = self.segments.iter().filter_map(|segment| segment.live.first());
        journal.chain(segments).min()
    }
}
