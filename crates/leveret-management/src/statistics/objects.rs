//! Samples of queues. Only those are looked at that something has happened to, or all of a virtual host whose topology has
//! changed; one that has not moved for a while is forgotten but for what it adds to the totals.

use std::sync::Arc;

use leveret_broker::{Broker, Queue, QueueCounts, QueueStats, Time, Vhost};
use rustc_hash::FxHashMap;

/// What waits, and what is out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueTotals {
    pub(crate) ready: u64,
    pub(crate) unacked: u64,
    pub(crate) queues: u64,
    pub(crate) consumers: u64,
    pub(crate) exchanges: u64,
    pub(crate) delayed: u64,
}

/// A queue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct QueueSample {
    pub(crate) at: Time,
    pub(crate) ready: u64,
    pub(crate) unacked: u64,
    pub(crate) counts: QueueCounts,
}

/// What a queue adds to the totals.
#[derive(Clone, Copy, Default)]
struct Share {
    ready: u64,
    unacked: u64,
    consumers: u32,
}

impl QueueSample {
    pub(crate) fn of(stats: &QueueStats, at: Time) -> Self {
        Self { at, ready: stats.ready as u64, unacked: stats.unacked as u64, counts: stats.counts }
    }
}

#[derive(Default)]
pub(crate) struct Objects {
    vhosts: FxHashMap<Arc<str>, OfVhost>,
    totals: QueueTotals,
}

#[derive(Default)]
struct OfVhost {
    /// Of the topology that the shares were taken of.
    version: Option<u64>,
    now: QueueTotals,
    before: QueueTotals,
    /// Of queues that add anything.
    shares: FxHashMap<Arc<str>, Share>,
    /// Of queues that have moved lately: the last sample and the one before.
    moving: FxHashMap<Arc<str>, [QueueSample; 2]>,
    /// What has gone through exchanges, in and out: now and a sample before.
    exchanges: FxHashMap<Arc<str>, [(u64, u64); 2]>,
}

impl Objects {
    pub(crate) fn sample(&mut self, broker: &Broker, now: Time) {
        let vhosts = broker.vhosts();
        self.vhosts.retain(|name, _| vhosts.iter().any(|vhost| vhost.name == *name));
        self.totals = QueueTotals::default();
        for vhost in vhosts {
            let of_vhost = self.vhosts.entry(Arc::clone(&vhost.name)).or_default();
            of_vhost.sample(&vhost, now);
            self.totals += of_vhost.now;
        }
    }

    pub(crate) fn totals(&self) -> QueueTotals {
        self.totals
    }

    pub(crate) fn vhost(&self, name: &str) -> [QueueTotals; 2] {
        self.vhosts.get(name).map_or_else(Default::default, |of_vhost| [of_vhost.now, of_vhost.before])
    }

    pub(crate) fn exchange(&self, vhost: &str, name: &str) -> Option<[(u64, u64); 2]> {
        self.vhosts.get(vhost)?.exchanges.get(name).copied()
    }

    pub(crate) fn queue(&self, vhost: &str, name: &str) -> Option<[QueueSample; 2]> {
        self.vhosts.get(vhost)?.moving.get(name).copied()
    }
}

impl std::ops::AddAssign for QueueTotals {
    fn add_assign(&mut self, other: Self) {
        self.ready += other.ready;
        self.unacked += other.unacked;
        self.queues += other.queues;
        self.consumers += other.consumers;
        self.exchanges += other.exchanges;
        self.delayed += other.delayed;
    }
}

impl OfVhost {
    fn sample(&mut self, vhost: &Vhost, now: Time) {
        let version = vhost.version();
        let moved = vhost.take_moved();
        self.before = self.now;
        if self.version == Some(version) {
            moved.iter().for_each(|queue| self.note(queue, now));
        } else {
            self.version = Some(version);
            let queues = vhost.queues();
            self.shares.clear();
            self.now = QueueTotals { queues: queues.len() as u64, ..QueueTotals::default() };
            queues.iter().for_each(|queue| self.note(queue, now));
        }
        let exchanges = vhost.exchanges();
        self.now.exchanges = exchanges.len() as u64;
        let mut before = std::mem::take(&mut self.exchanges);
        for exchange in &exchanges {
            let counts = (exchange.counts.published_in(), exchange.counts.published_out());
            if counts != (0, 0) {
                let old = before.remove(&exchange.name).map_or(counts, |samples| samples[0]);
                self.exchanges.insert(Arc::clone(&exchange.name), [counts, old]);
            }
        }
        self.now.delayed = vhost.delayed_exchanges().iter().map(|it| it.totals().messages).sum();
        self.forget(now);
    }

    fn note(&mut self, queue: &Arc<Queue>, now: Time) {
        let stats = queue.stats();
        let sample = QueueSample::of(&stats, now);
        let share = Share { ready: sample.ready, unacked: sample.unacked, consumers: stats.consumers as u32 };
        let adds = share.ready + share.unacked + u64::from(share.consumers) > 0;
        let old = if adds {
            self.shares.insert(Arc::clone(&queue.name), share)
        } else {
            self.shares.remove(&queue.name)
        };
        let old = old.unwrap_or_default();
        self.now.ready = (self.now.ready + share.ready).saturating_sub(old.ready);
        self.now.unacked = (self.now.unacked + share.unacked).saturating_sub(old.unacked);
        self.now.consumers =
            (self.now.consumers + u64::from(share.consumers)).saturating_sub(old.consumers.into());
        match self.moving.get_mut(&queue.name) {
            Some(samples) => *samples = [sample, samples[0]],
            None => {
                self.moving.insert(Arc::clone(&queue.name), [sample; 2]);
            }
        }
    }

    /// What stands still has no rates.
    fn forget(&mut self, now: Time) {
        self.moving.retain(|_, samples| samples[0].at == now);
    }
}
