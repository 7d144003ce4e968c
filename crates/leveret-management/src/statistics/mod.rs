//! Samples of what is counted, and the rates between them. One task takes them; what does not move costs nothing.

mod connected;
mod history;
mod objects;
mod past;
mod vhosts;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leveret_broker::{Channel, Connection, ListedExchange, MessageTotals, Owner, Queue, Time, Vhost};
use parking_lot::RwLock;
use tokio::time::{MissedTickBehavior, interval};

use crate::App;

use self::connected::Connected;
pub(crate) use self::connected::Traffic;
pub(crate) use self::history::{History, Sample};
use self::objects::Objects;
pub(crate) use self::objects::{QueueSample, QueueTotals, Share};
pub(crate) use self::past::Range;
pub(crate) use self::vhosts::VhostSample;
use self::vhosts::Vhosts;

/// Time between samples.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// A value, and how much it changes in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rated {
    pub(crate) value: i64,
    pub(crate) rate: f64,
}

impl Rated {
    pub(crate) fn counter(now: u64, before: u64, seconds: f64) -> Self {
        let rate = if seconds > 0.0 { now.saturating_sub(before) as f64 / seconds } else { 0.0 };
        Self { value: now.cast_signed(), rate }
    }

    pub(crate) fn gauge(now: u64, before: u64, seconds: f64) -> Self {
        let change = now.cast_signed() - before.cast_signed();
        let rate = if seconds > 0.0 { change as f64 / seconds } else { 0.0 };
        Self { value: now.cast_signed(), rate }
    }
}

/// What has been sampled.
pub(crate) struct Statistics {
    /// Where the management listens: it is a listener of the node like others.
    pub(crate) address: SocketAddr,
    samples: RwLock<Samples>,
}

#[derive(Default)]
struct Samples {
    history: History,
    objects: Objects,
    connected: Connected,
    vhosts: Vhosts,
}

/// What was sampled at these moments, the newest first.
fn moments<S: Copy>(past: Option<&VecDeque<(Time, S)>>, range: Range) -> Vec<(u64, S)> {
    past.into_iter().flat_map(|past| range.of(past, |it| it.0)).map(|(at_ms, it)| (at_ms, it.1)).collect()
}

impl Statistics {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, samples: RwLock::default() }
    }

    /// What was sampled of the whole broker, oldest first.
    pub(crate) fn history(&self) -> Vec<Sample> {
        self.samples.read().history.all()
    }

    /// The last sample of the whole broker and the one some seconds before.
    pub(crate) fn now_and_before(&self) -> (Sample, Sample) {
        self.samples.read().history.now_and_before()
    }

    /// The last samples of a virtual host, the newer first.
    pub(crate) fn vhost(&self, name: &str) -> Option<[VhostSample; 2]> {
        self.samples.read().vhosts.last(name)
    }

    /// What went through an exchange, in and out, at the last samples, the newer first.
    pub(crate) fn exchange(&self, vhost: &str, name: &str) -> Option<[(u64, u64); 2]> {
        self.samples.read().objects.exchange(vhost, name)
    }

    /// The last samples of a queue that has moved since the one before, the newer first.
    pub(crate) fn queue(&self, vhost: &str, name: &str) -> Option<[QueueSample; 2]> {
        self.samples.read().objects.queue(vhost, name)
    }

    /// How the whole broker was.
    pub(crate) fn past(&self, range: Range) -> Vec<(u64, Sample)> {
        self.samples.read().history.at(range)
    }

    /// How a queue was.
    pub(crate) fn past_of_queue(&self, vhost: &str, name: &str, range: Range) -> Vec<(u64, QueueSample)> {
        moments(self.samples.read().objects.past_of_queue(vhost, name), range)
    }

    /// What had gone through an exchange, in and out.
    pub(crate) fn past_of_exchange(&self, vhost: &str, name: &str, range: Range) -> Vec<(u64, (u64, u64))> {
        moments(self.samples.read().objects.past_of_exchange(vhost, name), range)
    }

    /// How a virtual host was.
    pub(crate) fn past_of_vhost(&self, name: &str, range: Range) -> Vec<(u64, VhostSample)> {
        moments(self.samples.read().vhosts.past(name), range)
    }

    /// What a connection had received and sent.
    pub(crate) fn past_of_connection(&self, id: Owner, range: Range) -> Vec<(u64, Traffic)> {
        moments(self.samples.read().connected.past_of_connection(id), range)
    }

    /// What a channel had done with messages.
    pub(crate) fn past_of_channel(&self, id: Owner, number: u16, range: Range) -> Vec<(u64, MessageTotals)> {
        moments(self.samples.read().connected.past_of_channel(id, number), range)
    }

    /// Somebody looks at a queue: its past is kept from now on.
    pub(crate) fn look_at_queue(&self, vhost: &Vhost, queue: &Queue, now: Time) {
        self.samples.write().objects.look_at_queue(vhost, queue, now);
    }

    /// Somebody looks at an exchange: its past is kept from now on.
    pub(crate) fn look_at_exchange(&self, vhost: &Vhost, exchange: &ListedExchange, now: Time) {
        self.samples.write().objects.look_at_exchange(vhost, exchange, now);
    }

    /// Somebody looks at a virtual host: its past is kept from now on.
    pub(crate) fn look_at_vhost(&self, vhost: &Vhost, now: Time) {
        self.samples.write().vhosts.look(vhost, now);
    }

    /// Somebody looks at a connection: its past is kept from now on.
    pub(crate) fn look_at_connection(&self, connection: &Connection, now: Time) {
        self.samples.write().connected.look_at_connection(connection, now);
    }

    /// Somebody looks at a channel: its past is kept from now on.
    pub(crate) fn look_at_channel(&self, id: Owner, channel: &Channel, now: Time) {
        self.samples.write().connected.look_at_channel(id, channel, now);
    }

    /// The queues of a virtual host that add anything to the totals, and what `of` makes of what they add, where that is
    /// more than nothing. It is as of now.
    pub(crate) fn shares(
        &self,
        vhost: &Arc<Vhost>,
        now: Time,
        of: impl Fn(&Share) -> u64,
    ) -> Vec<(u64, Arc<str>)> {
        let mut samples = self.samples.write();
        let shares = samples.objects.shares(vhost, now).iter();
        let values = shares.map(|(name, share)| (of(share), name)).filter(|(value, _)| *value > 0);
        values.map(|(value, name)| (value, Arc::clone(name))).collect()
    }

    /// The queues of a virtual host that have moved lately: of no others are there rates.
    pub(crate) fn moving(&self, vhost: &str) -> Vec<Arc<str>> {
        self.samples.read().objects.moving(vhost).cloned().collect()
    }

    /// How fast a connection receives and sends, in bytes a second.
    pub(crate) fn traffic(&self, id: Owner) -> (f64, f64) {
        let Some([now, before]) = self.samples.read().connected.traffic(id) else { return (0.0, 0.0) };
        let seconds = self.seconds();
        (Rated::counter(now.0, before.0, seconds).rate, Rated::counter(now.1, before.1, seconds).rate)
    }

    /// The last samples of a channel's messages, the newer first.
    pub(crate) fn channel(&self, id: Owner, number: u16) -> Option<[MessageTotals; 2]> {
        self.samples.read().connected.channel(id, number)
    }

    /// Seconds between the last two samples.
    pub(crate) fn seconds(&self) -> f64 {
        PERIOD.as_secs_f64()
    }
}

/// Takes samples until the task is aborted.
pub(crate) async fn run(app: App) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        take(&app, false);
    }
}

/// Forgets all samples, and takes the first anew: an answer is never without one.
pub(crate) fn reset(app: &App) {
    take(app, true);
}

fn take(app: &App, anew: bool) {
    let broker = app.node.broker();
    let now: Time = app.node.now();
    let done = broker.connections.totals();
    let status = app.node.status();
    let mut samples = app.statistics.samples.write();
    if anew {
        *samples = Samples::default();
    }
    let Samples { objects, connected, vhosts, history } = &mut *samples;
    objects.sample(broker, now);
    let moved = connected.sample(&broker.connections.list(), now);
    vhosts.sample(&broker.vhosts(), now, |name| {
        let [queues, _] = objects.vhost(name);
        (queues, done.get(name).copied().unwrap_or_default(), moved.get(name).copied().unwrap_or_default())
    });
    let mut sum = MessageTotals::default();
    done.into_values().for_each(|totals| sum += totals);
    history.push(Sample::take(now, broker, &status, sum, objects.totals(), connected.total()));
}
