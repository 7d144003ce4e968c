//! Settling records: voided while unwritten, else journalled, wherever they live.

use crate::{Lsn, QueueRef, core::Core, queue::QueueState, segment::Segment};

/// Where a record lived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lived {
    /// Where a restart would find it.
    Durably,
    /// Only in a transient segment.
    Transiently,
    Nowhere,
}

impl QueueState {
    /// Takes a record out of the sets it is in. A segment that this leaves without a live record comes back too.
    pub(crate) fn forget(&mut self, seq: u64) -> (Lived, Option<Segment>) {
        let in_journal = self.journal_remove(seq);
        if in_journal && !self.recovered.is_empty() {
            self.recovered.remove(&seq);
        }
        if in_journal && !self.unsaved {
            return (Lived::Durably, None);
        }
        let Some(index) = self.segment_of(seq) else {
            return (if in_journal { Lived::Durably } else { Lived::Nowhere }, None);
        };
        let segment = &mut self.segments[index];
        segment.live.remove(seq);
        self.held.remove(seq);
        let lived = if segment.transient { Lived::Transiently } else { Lived::Durably };
        // One that is still written goes on to be used.
        let is_dead = segment.live.is_empty() && !segment.appendable;
        (lived, if is_dead { self.segments.remove(index) } else { None })
    }
}

impl Core {
    pub(crate) fn settle(&mut self, queue: QueueRef, seqs: &[u64]) -> Lsn {
        for &seq in seqs {
            self.settle_one(queue, seq);
        }
        Lsn(self.pending.end)
    }

    fn settle_one(&mut self, queue: QueueRef, seq: u64) {
        let group = self.pending.number;
        let slot = self.queues.get_mut(queue.slot as usize).and_then(Option::as_deref_mut);
        let Some(state) = slot.filter(|state| state.id == queue.id) else { return };
        let unwritten = state.take_pending(group, seq);
        let (lived, dead) = state.forget(seq);
        match (unwritten, lived) {
            (Some(place), Lived::Durably) => self.pending.void(place),
            (_, Lived::Durably) => {
                let last = (state.settle_group == group).then_some(state.settle_place);
                state.settle_place = self.pending.settle(queue.id, seq, last);
                state.settle_group = group;
            }
            (_, Lived::Transiently) => {}
            (_, Lived::Nowhere) => {
                if seq > state.purged_up_to || state.kept.remove(&seq) {
                    state.early.insert(seq);
                }
            }
        }
        if let Some(segment) = dead {
            self.bury(segment);
        }
    }

    /// A settle read back from the journal.
    pub(crate) fn replay_settle(&mut self, id: crate::QueueId, first: u64, count: u64) {
        for seq in first..first.saturating_add(count) {
            let dead = self.queue_by_id(id).and_then(|state| state.forget(seq).1);
            if let Some(segment) = dead {
                self.bury(segment);
            }
        }
    }
}
