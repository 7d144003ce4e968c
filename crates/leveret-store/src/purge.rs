//! Purging and deleting queues: many records settled by one small operation.

use std::collections::BTreeMap;

use crate::{Lsn, QueueId, QueueRef, core::Core, queue::QueueState, segment::Segment, seq_set::SeqSet};

impl Core {
    pub(crate) fn purge(&mut self, queue: QueueRef, up_to: u64, keep: &[u64]) -> Lsn {
        if self.queue(queue).is_some() {
            self.apply_purge(queue.id, up_to, keep);
            self.pending.purge(queue.id, up_to, keep);
        }
        Lsn(self.pending.end)
    }

    pub(crate) fn delete_queue(&mut self, queue: QueueRef) -> Lsn {
        if self.queue(queue).is_some() {
            self.apply_delete(queue.id);
            self.pending.delete(queue.id);
        }
        Lsn(self.pending.end)
    }

    pub(crate) fn apply_purge(&mut self, id: QueueId, up_to: u64, keep: &[u64]) {
        let Some(state) = self.queue_by_id(id) else { return };
        for segment in state.purge(up_to, keep) {
            self.bury(segment);
        }
    }

    pub(crate) fn apply_delete(&mut self, id: QueueId) {
        let Some(state) = self.take_queue(id) else { return };
        for segment in state.segments {
            self.bury(segment);
        }
    }
}

impl QueueState {
    fn purge(&mut self, up_to: u64, keep: &[u64]) -> Vec<Segment> {
        let unknown = keep.iter().copied().filter(|&seq| seq > self.purged_up_to && !self.lives(seq));
        let unknown: Vec<u64> = unknown.collect();
        self.kept.extend(unknown);
        self.purged_up_to = self.purged_up_to.max(up_to);
        // The numbers are used up, even those of records that were never stored.
        self.max_seq = self.max_seq.max(up_to);
        for set in &mut self.journal {
            set.seqs = without(&set.seqs, up_to, keep);
        }
        let kept_recovered = self.recovered.split_off(&(up_to.saturating_add(1)));
        let purged = std::mem::replace(&mut self.recovered, kept_recovered);
        self.recovered
            .extend(purged.into_iter().filter(|(seq, _)| keep.contains(seq)).collect::<BTreeMap<_, _>>());
        self.held = without(&self.held, up_to, keep);
        self.early.retain(|&seq| seq > up_to);
        self.purge_segments(up_to, keep)
    }

    fn purge_segments(&mut self, up_to: u64, keep: &[u64]) -> Vec<Segment> {
        for segment in &mut self.segments {
            segment.live = without(&segment.live, up_to, keep);
        }
        let (dead, living) = std::mem::take(&mut self.segments)
            .into_iter()
            .partition(|segment: &Segment| segment.live.is_empty() && !segment.appendable);
        self.segments = living;
        Vec::from_iter::<std::collections::VecDeque<Segment>>(dead)
    }
}

fn without(set: &SeqSet, up_to: u64, keep: &[u64]) -> SeqSet {
    let mut left = set.part(up_to.saturating_add(1), u64::MAX);
    for &seq in keep.iter().filter(|&&seq| seq <= up_to && set.contains(seq)) {
        left.insert(seq);
    }
    left
}
