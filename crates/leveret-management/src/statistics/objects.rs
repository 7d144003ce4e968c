//! Samples of queues. Only those are looked at that something has happened to, all of them once when a virtual host is
//! first seen; one that has not moved for a while is forgotten but for what it adds to the totals.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use leveret_broker::{Broker, ListedExchange, Queue, QueueCounts, QueueStats, Time, Vhost};
use rustc_hash::FxHashMap;

use super::past::Past;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) ready: u64,
    pub(crate) unacked: u64,
    pub(crate) bytes: u64,
    pub(crate) consumers: u64,
}

impl Share {
    fn of(stats: &QueueStats) -> Self {
        Self {
            ready: stats.ready as u64,
            unacked: stats.unacked as u64,
            bytes: stats.ready_bytes + stats.unacked_bytes,
            consumers: stats.consumers as u64,
        }
    }
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
    pasts: Pasts,
}

/// How queues and exchanges were. Samples of queues are without their time here, which stands beside them.
#[derive(Default)]
struct Pasts {
    queues: Past<Arc<str>, Arc<str>, QueueSample>,
    /// What had gone through them, in and out.
    exchanges: Past<Arc<str>, Arc<str>, (u64, u64)>,
}

#[derive(Default)]
struct OfVhost {
    /// Whose queues they are: another virtual host may have the name of one that was deleted.
    of: Weak<Vhost>,
    now: QueueTotals,
    before: QueueTotals,
    /// Of queues that add anything.
    shares: FxHashMap<Arc<str>, Share>,
    /// Queues whose share is as of later than the last sample, which is to look at them too.
    ahead: Vec<Arc<Queue>>,
    /// Of queues that have moved lately: the last sample and the one before.
    moving: FxHashMap<Arc<str>, [QueueSample; 2]>,
    /// What has gone through exchanges, in and out: now and a sample before.
    exchanges: FxHashMap<Arc<str>, [(u64, u64); 2]>,
}

impl Objects {
    pub(crate) fn sample(&mut self, broker: &Broker, now: Time) {
        let vhosts = broker.vhosts();
        let is_there = |name: &Arc<str>| vhosts.iter().any(|vhost| vhost.name == *name);
        self.vhosts.retain(|name, _| is_there(name));
        self.pasts.queues.begin(now, is_there);
        self.pasts.exchanges.begin(now, is_there);
        self.totals = QueueTotals::default();
        for vhost in &vhosts {
            let of_vhost = self.vhosts.entry(Arc::clone(&vhost.name)).or_default();
            of_vhost.sample(vhost, now, &mut self.pasts);
            self.totals += of_vhost.now;
        }
    }

    /// What the queues of a virtual host add to the totals that add anything, as of now.
    pub(crate) fn shares(&mut self, vhost: &Arc<Vhost>, now: Time) -> &FxHashMap<Arc<str>, Share> {
        let of_vhost = self.vhosts.entry(Arc::clone(&vhost.name)).or_default();
        of_vhost.catch_up(vhost, now, &mut self.pasts);
        &of_vhost.shares
    }

    /// Queues of a virtual host that have moved lately.
    pub(crate) fn moving(&self, vhost: &str) -> impl Iterator<Item = &Arc<str>> {
        self.vhosts.get(vhost).into_iter().flat_map(|of_vhost| of_vhost.moving.keys())
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

    /// How a queue was, the oldest sample first.
    pub(crate) fn past_of_queue(&self, vhost: &str, name: &str) -> Option<&VecDeque<(Time, QueueSample)>> {
        self.pasts.queues.of(vhost, name)
    }

    /// What had gone through an exchange, in and out, the oldest sample first.
    pub(crate) fn past_of_exchange(&self, vhost: &str, name: &str) -> Option<&VecDeque<(Time, (u64, u64))>> {
        self.pasts.exchanges.of(vhost, name)
    }

    pub(crate) fn look_at_queue(&mut self, vhost: &Vhost, queue: &Queue, now: Time) {
        let stats = queue.stats();
        let known = (stats.idle_since, QueueSample::of(&stats, Time::default()));
        self.pasts.queues.look((&vhost.name, &queue.name), now, known);
    }

    pub(crate) fn look_at_exchange(&mut self, vhost: &Vhost, exchange: &ListedExchange, now: Time) {
        let counts = &exchange.counts;
        let known = (now, (counts.published_in(), counts.published_out()));
        self.pasts.exchanges.look((&vhost.name, &exchange.name), now, known);
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
    fn sample(&mut self, vhost: &Arc<Vhost>, now: Time, pasts: &mut Pasts) {
        let moves = vhost.take_moved();
        let is_known = std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(vhost));
        let before = self.now;
        if is_known {
            self.drop_gone(vhost, &moves.gone, pasts);
            let mut ahead = std::mem::take(&mut self.ahead);
            ahead.retain(|queue| vhost.has_queue(queue));
            ahead.iter().chain(&moves.moved).for_each(|queue| self.note((vhost, queue), now, pasts));
        } else {
            *self = Self { of: Arc::downgrade(vhost), ..Self::default() };
            pasts.queues.remove_others(&vhost.name, |_| false);
            vhost.queues().iter().for_each(|queue| self.note((vhost, queue), now, pasts));
        }
        self.now.queues = vhost.queue_count() as u64;
        self.now.exchanges = vhost.exchange_count() as u64;
        self.sample_exchanges(vhost, now, &mut pasts.exchanges);
        self.now.delayed = vhost.delayed_exchanges().iter().map(|it| it.totals().messages).sum();
        self.before = if is_known { before } else { self.now };
        self.forget(now);
    }

    fn sample_exchanges(
        &mut self,
        vhost: &Vhost,
        now: Time,
        past: &mut Past<Arc<str>, Arc<str>, (u64, u64)>,
    ) {
        let mut exchanges = std::mem::take(&mut self.exchanges);
        for (name, traffic) in vhost.exchange_traffic() {
            let old = exchanges.remove(&name).map(|samples| samples[0]);
            if old.is_some_and(|old| old.0 > traffic.0 || old.1 > traffic.1) {
                past.remove(&vhost.name, &name);
            }
            if old != Some(traffic) {
                past.note((&vhost.name, &name), now, traffic);
            }
            self.exchanges.insert(name, [traffic, old.unwrap_or(traffic)]);
        }
        // Those that are left have no traffic any more: they are gone, or others of their names are there.
        exchanges.keys().for_each(|name| past.remove(&vhost.name, name));
    }

    /// Brings the shares up to date, without a sample.
    fn catch_up(&mut self, vhost: &Arc<Vhost>, now: Time, pasts: &mut Pasts) {
        if !std::ptr::eq(self.of.as_ptr(), Arc::as_ptr(vhost)) {
            return self.sample(vhost, now, pasts);
        }
        let moves = vhost.take_moved();
        self.drop_gone(vhost, &moves.gone, pasts);
        moves.moved.iter().for_each(|queue| self.share(&queue.name, Share::of(&queue.stats())));
        self.ahead.extend(moves.moved);
    }

    fn drop_gone(&mut self, vhost: &Vhost, gone: &[Arc<str>], pasts: &mut Pasts) {
        for name in gone {
            self.share(name, Share::default());
            pasts.queues.remove(&vhost.name, name);
        }
    }

    fn note(&mut self, (vhost, queue): (&Vhost, &Arc<Queue>), now: Time, pasts: &mut Pasts) {
        let stats = queue.stats();
        let sample = QueueSample::of(&stats, now);
        self.share(&queue.name, Share::of(&stats));
        pasts.queues.note((&vhost.name, &queue.name), now, QueueSample::of(&stats, Time::default()));
        match self.moving.get_mut(&queue.name) {
            Some(samples) if samples[0].at == now => samples[0] = sample,
            Some(samples) => *samples = [sample, samples[0]],
            // Of what was only declared there is nothing to tell.
            None if sample.counts == QueueCounts::default() => {}
            None => {
                self.moving.insert(Arc::clone(&queue.name), [sample; 2]);
            }
        }
    }

    /// Counts what a queue adds to the totals from now on.
    fn share(&mut self, name: &Arc<str>, share: Share) {
        let old = if share == Share::default() {
            self.shares.remove(name)
        } else {
            self.shares.insert(Arc::clone(name), share)
        };
        let old = old.unwrap_or_default();
        self.now.ready = (self.now.ready + share.ready).saturating_sub(old.ready);
        self.now.unacked = (self.now.unacked + share.unacked).saturating_sub(old.unacked);
        self.now.consumers = (self.now.consumers + share.consumers).saturating_sub(old.consumers);
    }

    /// What stands still has no rates.
    fn forget(&mut self, now: Time) {
        self.moving.retain(|_, samples| samples[0].at == now);
        // Nor does it keep its room, where many have moved at once.
        if self.moving.capacity() > 4 * self.moving.len() {
            self.moving.shrink_to(2 * self.moving.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use leveret_broker::{Client, Effects, FirstUser, Message, Properties, QueueOptions, Users, route_of};

    use super::*;

    /// A virtual host, and what is sampled of it.
    struct Rig {
        broker: Broker,
        objects: Objects,
        at: u64,
    }

    impl Rig {
        fn new() -> Self {
            let broker = Broker::new(Users::new(Vec::new()));
            let first = FirstUser { name: "guest", password: "guest", vhost: "/" };
            broker.begin(&first, "test").expect("begins");
            Self { broker, objects: Objects::default(), at: 0 }
        }

        fn vhost(&self) -> Arc<Vhost> {
            self.broker.vhost("/").expect("it is there")
        }

        fn declare(&self, name: &str) {
            let (client, effects) = (Client::broker(), &mut Effects::default());
            self.vhost().declare_queue(name, QueueOptions::default(), &client, effects).expect("declares");
        }

        fn publish(&self, name: &str) {
            let properties = Properties::default();
            let (routing, _) =
                self.vhost().route(("", name), &properties, &Client::broker()).expect("a route");
            let (route, encoded) = (route_of("", name), properties.encode());
            let message = Message {
                route: &route,
                properties: &encoded,
                body: b"",
                persistent: false,
                expiration_ms: None,
                record: None,
            };
            routing.route.publish(std::slice::from_ref(&message), &mut Effects::default());
        }

        fn delete(&self, name: &str) {
            self.vhost().delete_queue(name, &Client::broker(), false, false).expect("is deleted");
        }

        /// Queues, and messages that are ready, as a new sample counts them.
        fn totals(&mut self) -> (u64, u64) {
            self.at += 1;
            self.objects.sample(&self.broker, Time(self.at));
            (self.objects.totals().queues, self.objects.totals().ready)
        }
    }

    #[test]
    fn totals_follow_queues_that_come_move_and_go() {
        let mut rig = Rig::new();
        rig.declare("a");
        rig.publish("a");
        assert_eq!(rig.totals(), (1, 1), "what was there before anybody asked");
        rig.declare("b");
        rig.publish("b");
        rig.publish("a");
        assert_eq!(rig.totals(), (2, 3));
        rig.delete("a");
        rig.declare("a");
        assert_eq!(rig.totals(), (2, 1), "another queue of its name");
        rig.publish("a");
        rig.publish("b");
        rig.delete("b");
        assert_eq!(rig.totals(), (1, 1));
        rig.broker.delete_vhost("/").expect("is deleted");
        rig.broker.put_vhost("/", leveret_broker::VhostSettings::default()).expect("is made");
        assert_eq!(rig.totals(), (0, 0), "another virtual host of its name");
    }

    #[test]
    fn what_has_moved_once_takes_no_room() {
        let mut rig = Rig::new();
        let names: Vec<_> = (0..1000).map(|number| format!("q{number}")).collect();
        names.iter().for_each(|name| rig.declare(name));
        rig.totals();
        let room = |rig: &Rig| rig.objects.vhosts["/"].moving.capacity();
        assert_eq!(room(&rig), 0, "declared only");
        names.iter().for_each(|name| rig.publish(name));
        assert_eq!(rig.totals(), (1000, 1000));
        assert!(room(&rig) >= 1000);
        rig.totals();
        assert!(room(&rig) < 10);
    }

    #[test]
    fn only_what_moves_is_looked_at() {
        let mut rig = Rig::new();
        rig.declare("still");
        rig.declare("busy");
        rig.totals();
        rig.publish("busy");
        rig.declare("new");
        rig.totals();
        assert!(rig.objects.queue("/", "busy").is_some());
        assert!(rig.objects.queue("/", "still").is_none());
    }
}
