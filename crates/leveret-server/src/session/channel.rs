//! The state of one channel.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use leveret_broker::{
    Channel as ChannelEntry, ChannelMode, ConsumerKey, DelayedExchange, Lsn, MessageCounts, PlainDelay,
    Queue, Route,
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::confirms::Confirms;
use super::publish::{Assembly, Staged};
use crate::consumer::{ChannelHolder, Consumer};
use crate::outbox::Out;

/// Routes remembered on a channel; beyond, all are forgotten and found again.
const REMEMBERED_ROUTES: usize = 4096;

/// A channel that is open, or that waits for the client to agree that it is closed.
pub(super) struct Channel {
    /// The channel among those of the broker; `None` where it waits for the client.
    pub(super) entry: Option<Arc<ChannelEntry>>,
    /// True from our `channel.close` to the client's `close-ok`: whatever it sends in between is ignored.
    pub(super) closing: bool,
    /// The content that is being received.
    pub(super) content: Option<Assembly>,
    pub(super) mode: Mode,
    pub(super) routes: Routes,
    pub(super) consumers: FxHashMap<String, Subscription>,
    pub(super) queues: QueueTable,
    /// Prefetch count of the consumers to come.
    pub(super) prefetch: u16,
    /// The queue last declared, meant by an empty name.
    pub(super) last_queue: String,
    /// The queue behind `amq.rabbitmq.reply-to`.
    pub(super) reply_queue: Option<Arc<Queue>>,
    /// Who holds what the channel is given, once somebody consumes or fetches. Queues only refer to it.
    pub(super) holder: Option<Arc<ChannelHolder>>,
}

/// Whether publishes are confirmed, gathered for a commit, or neither.
pub(super) enum Mode {
    Plain,
    Confirm(Confirms),
    Transaction(Transaction),
}

/// What waits for `tx.commit`.
#[derive(Default)]
pub(super) struct Transaction {
    pub(super) publishes: Vec<Staged>,
    /// Memory that they take.
    pub(super) staged_bytes: u64,
    pub(super) settlements: Vec<(Vec<Out>, leveret_broker::Settlement)>,
    /// Commits that are to be answered once the store has come so far.
    pub(super) commits: VecDeque<Lsn>,
}

/// A consumer and the place where it consumes.
pub(super) struct Subscription {
    pub(super) consumer: Arc<Consumer>,
    pub(super) key: ConsumerKey,
    pub(super) queue: Arc<Queue>,
}

impl Channel {
    /// A channel that has opened.
    pub(super) fn open(entry: Arc<ChannelEntry>) -> Self {
        Self { entry: Some(entry), closing: false, ..Self::closing() }
    }

    /// A channel that waits for the client to agree that it is closed.
    pub(super) fn closing() -> Self {
        Self {
            entry: None,
            closing: true,
            content: None,
            mode: Mode::Plain,
            routes: Routes::default(),
            consumers: FxHashMap::default(),
            queues: QueueTable::default(),
            prefetch: 0,
            last_queue: String::new(),
            reply_queue: None,
            holder: None,
        }
    }

    /// Counts something, where the channel is open.
    #[inline]
    pub(super) fn count(&self, count: impl FnOnce(&MessageCounts)) {
        if let Some(entry) = &self.entry {
            count(&entry.counts);
        }
    }

    pub(super) fn note_mode(&self, mode: ChannelMode) {
        if let Some(entry) = &self.entry {
            entry.set_mode(mode);
        }
    }
}

/// Where messages of the last exchanges and routing keys went, void when the topology has changed.
#[derive(Default)]
pub(super) struct Routes {
    version: u64,
    by_route: FxHashMap<Box<[u8]>, Arc<Route>>,
    last: Option<(Box<[u8]>, Arc<Route>)>,
    /// Encoded properties that were found to be well-formed and to change nothing about the route.
    pub(super) plain_properties: Vec<u8>,
    /// Whether they say that the message is persistent.
    pub(super) plain_persistent: bool,
    /// Of delayed messages: who holds them, and whether a binding matches.
    held: FxHashMap<Box<[u8]>, (Arc<DelayedExchange>, bool)>,
    /// Encoded properties of the last delayed message, and what they say.
    pub(super) plain_delay: Option<(Vec<u8>, PlainDelay)>,
}

impl Routes {
    #[inline]
    pub(super) fn find(&mut self, route: &[u8], version: u64) -> Option<&Arc<Route>> {
        if self.version != version {
            return None;
        }
        if self.last.as_ref().is_none_or(|(last, _)| **last != *route) {
            let (key, found) = self.by_route.get_key_value(route)?;
            self.last = Some((key.clone(), Arc::clone(found)));
        }
        self.last.as_ref().map(|(_, found)| found)
    }

    pub(super) fn remember(&mut self, route: &[u8], version: u64, found: &Arc<Route>) {
        self.make_room(version);
        self.by_route.insert(route.into(), Arc::clone(found));
    }

    /// Who holds delayed messages of this exchange and routing key, and whether a binding matches.
    #[inline]
    pub(super) fn find_held(&self, route: &[u8], version: u64) -> Option<&(Arc<DelayedExchange>, bool)> {
        self.held.get(route).filter(|_| self.version == version)
    }

    pub(super) fn remember_held(
        &mut self,
        route: &[u8],
        version: u64,
        exchange: &Arc<DelayedExchange>,
        matched: bool,
    ) {
        self.make_room(version);
        self.held.insert(route.into(), (Arc::clone(exchange), matched));
    }

    fn make_room(&mut self, version: u64) {
        if self.version != version || self.by_route.len() + self.held.len() >= REMEMBERED_ROUTES {
            self.forget();
            self.version = version;
        }
    }

    pub(super) fn forget(&mut self) {
        self.by_route.clear();
        self.held.clear();
        self.last = None;
    }
}

/// The queues that deliveries of the channel are of, so that what is out names them by a number.
#[derive(Default)]
pub(super) struct QueueTable {
    queues: Vec<Option<Arc<Queue>>>,
    /// By address, which stays taken as long as `queues` holds on to the queue.
    index: FxHashMap<usize, u32>,
    free: Vec<u32>,
    /// How many queues were left when it was last swept.
    left: usize,
}

/// Queues that a table holds before it is worth while to look which of them are still used.
const SWEPT_FROM: usize = 32;

impl QueueTable {
    pub(super) fn index_of(&mut self, queue: &Arc<Queue>) -> u32 {
        match self.index.entry(Arc::as_ptr(queue).addr()) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let index = self.free.pop().unwrap_or(self.queues.len() as u32);
                if index as usize == self.queues.len() {
                    self.queues.push(None);
                }
                self.queues[index as usize] = Some(Arc::clone(queue));
                *entry.insert(index)
            }
        }
    }

    pub(super) fn at(&self, index: u32) -> Option<&Arc<Queue>> {
        self.queues.get(index as usize)?.as_ref()
    }

    /// Whether it has grown so much that it should be swept.
    pub(super) fn is_crowded(&self) -> bool {
        self.index.len() >= SWEPT_FROM.max(2 * self.left)
    }

    /// Lets go of the queues that nothing is out of and nobody consumes from.
    pub(super) fn sweep(&mut self, used: &FxHashSet<u32>) {
        for (index, slot) in (0u32..).zip(&mut self.queues) {
            if !used.contains(&index)
                && let Some(queue) = slot.take()
            {
                self.index.remove(&Arc::as_ptr(&queue).addr());
                self.free.push(index);
            }
        }
        self.left = self.index.len();
    }
}
