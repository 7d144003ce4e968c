//! Samples of queues. A queue that has not moved is not looked at, and one that has not moved for a while is forgotten.

use std::sync::Arc;

use leveret_broker::{Broker, Queue, Time};
use rustc_hash::FxHashMap;

/// How long after its last move a queue's samples are kept, in microseconds: as long as its rates are not zero.
const KEPT_US: u64 = 10_000_000;

/// What waits, and what is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueTotals {
    pub(crate) ready: u64,
    pub(crate) unacked: u64,
    pub(crate) queues: u64,
    pub(crate) consumers: u64,
    pub(crate) exchanges: u64,
}

/// A queue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueSample {
    pub(crate) at: Time,
    pub(crate) ready: u64,
    pub(crate) unacked: u64,
    pub(crate) delivered: u64,
}

impl QueueSample {
    pub(crate) fn take(queue: &Queue, at: Time) -> Self {
        Self {
            at,
            ready: queue.ready_count() as u64,
            unacked: queue.unacked_count() as u64,
            delivered: queue.delivered_count(),
        }
    }
}

#[derive(Default)]
pub(crate) struct Objects {
    vhosts: FxHashMap<Arc<str>, OfVhost>,
    totals: QueueTotals,
}

#[derive(Default)]
struct OfVhost {
    now: QueueTotals,
    before: QueueTotals,
    moving: FxHashMap<Arc<str>, [QueueSample; 2]>,
}

impl Objects {
    pub(crate) fn sample(&mut self, broker: &Broker, now: Time) {
        let vhosts = broker.vhosts();
        self.vhosts.retain(|name, _| vhosts.iter().any(|vhost| vhost.name == *name));
        self.totals = QueueTotals::default();
        for vhost in vhosts {
            let of_vhost = self.vhosts.entry(Arc::clone(&vhost.name)).or_default();
            let mut totals =
                QueueTotals { exchanges: vhost.exchange_count() as u64, ..QueueTotals::default() };
            for queue in vhost.queues() {
                let sample = QueueSample::take(&queue, now);
                totals.ready += sample.ready;
                totals.unacked += sample.unacked;
                totals.queues += 1;
                totals.consumers += queue.consumer_count() as u64;
                of_vhost.note(&queue.name, sample);
            }
            of_vhost.moving.retain(|_, samples| now.0.saturating_sub(samples[0].at.0) < KEPT_US);
            of_vhost.before = std::mem::replace(&mut of_vhost.now, totals);
            self.totals.ready += totals.ready;
            self.totals.unacked += totals.unacked;
            self.totals.queues += totals.queues;
            self.totals.consumers += totals.consumers;
            self.totals.exchanges += totals.exchanges;
        }
    }

    pub(crate) fn totals(&self) -> QueueTotals {
        self.totals
    }

    pub(crate) fn vhost(&self, name: &str) -> [QueueTotals; 2] {
        self.vhosts.get(name).map_or_else(Default::default, |of_vhost| [of_vhost.now, of_vhost.before])
    }

    pub(crate) fn queue(&self, vhost: &str, name: &str) -> Option<(QueueSample, QueueSample, f64)> {
        let [now, before] = *self.vhosts.get(vhost)?.moving.get(name)?;
        Some((now, before, now.at.0.saturating_sub(before.at.0) as f64 / 1e6))
    }
}

impl OfVhost {
    fn note(&mut self, name: &Arc<str>, sample: QueueSample) {
        let fresh = [sample; 2];
        match self.moving.get_mut(name) {
            Some(samples) => *samples = [sample, samples[0]],
            None if sample.delivered > 0 || sample.ready + sample.unacked > 0 => {
                self.moving.insert(Arc::clone(name), fresh);
            }
            None => {}
        }
    }
}
