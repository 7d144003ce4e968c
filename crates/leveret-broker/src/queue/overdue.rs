//! What is out of a queue with a consumer timeout: since when, and who holds it, oldest first. A queue without has none of
//! this.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use super::unacked::{Receipt, Unacked};
use crate::{Holder, Time};

/// What is out, in the order of delivery.
#[derive(Default)]
pub(super) struct Overdue {
    out: VecDeque<Out>,
}

struct Out {
    since: Time,
    receipt: Receipt,
    /// Not held on to: what is settled may stay in here for long.
    holder: Weak<dyn Holder>,
}

impl Overdue {
    /// Notes what is given out now. The time is not known ([`Time::default`]) where a mailbox went on by itself: it is set
    /// by the next look.
    pub(super) fn note(&mut self, receipt: Receipt, holder: Weak<dyn Holder>, since: Time) {
        self.out.push_back(Out { since, receipt, holder });
    }

    /// When the oldest message has been out for so long.
    pub(super) fn next_due(&mut self, unacked: &Unacked, timeout_ms: u64) -> Time {
        self.forget_settled(unacked);
        match self.out.front() {
            Some(Out { since, .. }) if *since == Time::default() => Time::default(),
            Some(Out { since, .. }) => since.plus_ms(timeout_ms),
            None => Time::NEVER,
        }
    }

    /// Those that hold something for too long, each once. They are named once for each message.
    pub(super) fn take_due(&mut self, unacked: &Unacked, timeout_ms: u64, now: Time) -> Vec<Arc<dyn Holder>> {
        for out in self.out.iter_mut().filter(|out| out.since == Time::default()) {
            out.since = now;
        }
        let mut late = Vec::new();
        while self.next_due(unacked, timeout_ms) <= now
            && let Some(out) = self.out.pop_front()
        {
            late.extend(out.holder.upgrade());
        }
        late.dedup_by(|a, b| Arc::ptr_eq(a, b));
        late
    }

    /// Drops what was given back, before it is delivered again under the same receipt.
    pub(super) fn forget_returned(&mut self, unacked: &Unacked) {
        self.out.retain(|out| unacked.has(out.receipt));
    }

    /// Drops what is settled: from the front, and wherever it stands once most of it is.
    fn forget_settled(&mut self, unacked: &Unacked) {
        while self.out.front().is_some_and(|out| !unacked.has(out.receipt)) {
            self.out.pop_front();
        }
        if self.out.len() > 1024 && self.out.len() > 2 * unacked.len() {
            self.out.retain(|out| unacked.has(out.receipt));
        }
    }
}
