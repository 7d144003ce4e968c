//! What others may know of a queue: counts, consumers, and the messages that wait, without taking any out.

use super::undelivered::Undelivered;
use crate::queue::{ConsumerState, Peeked, QueueStats};
use crate::{Queue, Time};

impl Queue {
    /// Messages that wait to be delivered.
    #[must_use]
    pub fn ready_count(&self) -> usize {
        self.lock().ready.len()
    }

    /// Messages that are delivered and not settled.
    #[must_use]
    pub fn unacked_count(&self) -> usize {
        self.lock().unacked.len()
    }

    /// Consumers it has now.
    #[must_use]
    pub fn consumer_count(&self) -> usize {
        self.lock().consumers.len()
    }

    /// Deliveries it has made since it was declared.
    #[must_use]
    pub fn delivered_count(&self) -> u64 {
        let counts = self.lock().counts;
        counts.delivered + counts.delivered_no_ack + counts.got + counts.got_no_ack
    }

    /// The queue as it is now.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        let state = &mut *self.lock();
        let (persistent, paged_out) = (state.ready.persistent(), state.ready.paged_out());
        let undelivered = state.undelivered.as_deref();
        QueueStats {
            ready: state.ready.len(),
            ready_bytes: state.ready.ready_bytes(),
            unacked: state.unacked.len(),
            unacked_bytes: state.unacked.bytes(),
            persistent: persistent.count,
            persistent_bytes: persistent.bytes,
            paged_out: paged_out.count,
            paged_out_bytes: paged_out.bytes,
            undelivered: undelivered.map_or(0, Undelivered::len),
            memory_bytes: state.ready.waiting_bytes() + undelivered.map_or(0, Undelivered::memory_bytes),
            consumers: state.consumers.len(),
            consumers_with_room: state.consumers.with_room(),
            counts: state.counts,
            idle_since: state.last_busy,
            head_published: state.ready.head_published().filter(|published| *published < Time::NEVER),
        }
    }

    /// Its consumers as they are now.
    #[must_use]
    pub fn consumers(&self) -> Vec<ConsumerState> {
        self.lock().consumers.states()
    }

    /// Up to `count` waiting messages from the `skip`th on, in the order in which they would be delivered, each with at
    /// most `body_bytes` of its body. Nothing is taken out. Of a long row that is on the disk only the beginning is shown.
    #[must_use]
    pub fn peek(&self, skip: usize, count: usize, body_bytes: usize) -> Vec<Peeked> {
        let mut seen = Vec::new();
        self.lock().ready.look(skip, count, &mut |entry, published, parts| {
            seen.push(Peeked {
                redelivered: entry.redelivered,
                published,
                expires: entry.expires,
                route: parts.route.to_vec(),
                properties: parts.properties.to_vec(),
                body: parts.body[..parts.body.len().min(body_bytes)].to_vec(),
                body_bytes: parts.body.len(),
            });
        });
        seen
    }
}
