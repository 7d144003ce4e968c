//! Deliveries of a queue with a consumer timeout: since when each is out, oldest first. A queue without has none of
//! this.

use std::collections::VecDeque;

use super::unacked::{Receipt, Unacked};
use crate::{ConsumerKey, Time};

/// What is out, in the order of delivery.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    out: VecDeque<(Time, Receipt)>,
}

impl Overdue {
    /// Notes a delivery made now. The time is not known ([`Time::default`]) where a mailbox went on by itself: it is
    /// set by the next look.
    pub(super) fn note(&mut self, receipt: Receipt, now: Time) {
        self.out.push_back((now, receipt));
    }

    /// When the oldest delivery has been out for so long.
    pub(super) fn next_due(&mut self, unacked: &Unacked, timeout_ms: u64) -> Time {
        self.forget_settled(unacked);
        match self.out.front() {
            Some((since, _)) if *since == Time::default() => Time::default(),
            Some((since, _)) => since.plus_ms(timeout_ms),
            None => Time::NEVER,
        }
    }

    /// The consumers that hold something for too long, each once. They are named once for each delivery.
    pub(super) fn take_due(&mut self, unacked: &Unacked, timeout_ms: u64, now: Time) -> Vec<ConsumerKey> {
        for (since, _) in self.out.iter_mut().filter(|(since, _)| *since == Time::default()) {
            *since = now;
        }
        let mut late = Vec::new();
        while self.next_due(unacked, timeout_ms) <= now
            && let Some((_, receipt)) = self.out.pop_front()
        {
            late.extend(unacked.find(receipt).and_then(|held| held.consumer));
        }
        late.dedup();
        late
    }

    /// Drops what was given back, before it is delivered again under the same receipt.
    pub(super) fn forget_returned(&mut self, unacked: &Unacked) {
        self.out.retain(|(_, receipt)| unacked.find(*receipt).is_some());
    }

    /// Drops what is settled: from the front, and wherever it stands once most of it is.
    fn forget_settled(&mut self, unacked: &Unacked) {
        while self.out.front().is_some_and(|(_, receipt)| unacked.find(*receipt).is_none()) {
            self.out.pop_front();
        }
        if self.out.len() > 1024 && self.out.len() > 2 * unacked.len() {
            self.out.retain(|(_, receipt)| unacked.find(*receipt).is_some());
        }
    }
}
