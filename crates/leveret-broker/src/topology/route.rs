//! The way of a message: from the exchange it is published to, through the bindings that match, to queues and
//! to exchanges that hold it back.

use std::sync::Arc;

use leveret_amqp::{Properties, Table};
use leveret_store::{Batch, Store, StoreError};
use rustc_hash::FxHashSet;

use super::bindings::Destination;
use super::exchange::Exchange;
use super::headers::Headers;
use super::{ExchangeCounts, Topology};
use crate::queue::{Effects, Group, ToStore};
use crate::{DelayedExchange, Error, Message, Queue};

/// Where a message goes.
#[derive(Clone, Default)]
pub struct Route {
    /// To these queues at once, each named once.
    pub queues: Vec<Arc<Queue>>,
    /// To these exchanges, which hold it back.
    pub delayed: Vec<Arc<DelayedExchange>>,
    /// Whether a queue may refuse a message, so that each has to be published by itself.
    pub one_by_one: bool,
    /// What the exchange at its beginning counts.
    pub counts: Option<Arc<ExchangeCounts>>,
}

impl Route {
    /// Hands a run of messages to all queues, and to the store what is to outlive the process.
    #[inline]
    pub fn publish(&self, run: &[Message<'_>], effects: &mut Effects) {
        if let Some(counts) = &self.counts {
            counts.note(run.len() as u64, self.queues.len() as u64);
        }
        let mut stored = ToStore::default();
        for queue in &self.queues {
            queue.publish(run, effects, |kept| stored.note(queue, kept));
        }
        stored.append(run, effects);
        effects.confirm_duplicates();
    }

    /// Hands a message to all queues as [`Route::publish`] does; returns the names of those that have not taken it, being
    /// full or deleted.
    pub(crate) fn offer(&self, message: &Message<'_>, effects: &mut Effects) -> Vec<Arc<str>> {
        let run = std::slice::from_ref(message);
        let mut refused = Vec::new();
        let mut stored = ToStore::default();
        for queue in &self.queues {
            (effects.rejected, effects.gone) = (false, false);
            queue.publish(run, effects, |kept| stored.note(queue, kept));
            if effects.rejected || effects.gone {
                refused.push(Arc::clone(&queue.name));
            }
        }
        stored.append(run, effects);
        effects.confirm_duplicates();
        refused
    }

    /// Hands a message to all queues as [`Route::publish`] does, but leaves it to the group to store it.
    pub fn publish_in(&self, group: &mut Group, message: &Message<'_>, effects: &mut Effects) {
        if let Some(counts) = &self.counts {
            counts.note(1, self.queues.len() as u64);
        }
        let mut stored = ToStore::default();
        for queue in &self.queues {
            queue.publish(std::slice::from_ref(message), effects, |kept| stored.note(queue, kept));
        }
        stored.leave_to(group, message);
    }

    /// Hands a run of messages to all queues as [`Route::publish`] does, with what `also` does to the store for the first so
    /// many of them, which the store has taken, in one group; after it where some queue knows the messages already.
    ///
    /// # Errors
    /// What the store says; then the queues have the messages nevertheless.
    pub(crate) fn publish_with(
        &self,
        run: &[Message<'_>],
        store: &Store,
        also: impl FnOnce(&mut Batch<'_>, usize),
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        let mut stored = ToStore::default();
        for queue in &self.queues {
            queue.publish(run, effects, |kept| stored.note(queue, kept));
        }
        if !effects.has_met_duplicates() {
            let appended = stored.append_with(run, store, also, effects);
            effects.confirm_duplicates();
            return appended;
        }
        // What was published before may not be in the journal yet: until it is, the duplicate must not go.
        let mut done = 0;
        let appended = stored.append_with(run, store, |_, count| done = count, effects);
        effects.confirm_duplicates();
        store.batch(|batch| also(batch, done))?;
        appended
    }

    /// Whether it leads nowhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.delayed.is_empty()
    }
}

/// A route, and what is to be known about it.
pub struct Routing {
    /// The way itself.
    pub route: Arc<Route>,
    /// Whether it is the way of every message with this exchange and routing key, until the topology changes.
    pub same_for_all: bool,
    /// Whether it is the way of all of them that are to be held.
    pub same_for_held: bool,
    /// Whether some binding matches now: what `mandatory` asks for. A message may be held without one.
    pub matched: bool,
}

/// The routing keys of a message: its own and those of its `CC` and `BCC` headers.
pub(crate) struct Keys<'a> {
    pub(crate) own: &'a str,
    pub(crate) copies: Vec<&'a str>,
}

impl<'a> Keys<'a> {
    /// # Errors
    /// `PreconditionFailed` where `CC` or `BCC` is not an array. Items that are no texts are passed over.
    pub(crate) fn new(own: &'a str, headers: Table<'a>) -> Result<Self, Error> {
        let mut copies = Vec::new();
        for name in ["CC", "BCC"] {
            let Some(value) = headers.find(name) else { continue };
            if !matches!(value, leveret_amqp::ValueRef::Array(_)) {
                return Err(Error::precondition(format!("header {name} is not an array of strings")));
            }
            copies.extend(value.items().filter_map(leveret_amqp::ValueRef::as_str));
        }
        Ok(Self { own, copies })
    }

    fn iter(&self) -> impl Iterator<Item = &'a str> {
        std::iter::once(self.own).chain(self.copies.iter().copied())
    }
}

impl Topology {
    /// The way of a message through the exchange of that name. With `hold` an exchange of type
    /// `x-delayed-message` keeps it, else it passes.
    pub(crate) fn route(
        &self,
        exchange: &Exchange,
        keys: &Keys<'_>,
        properties: &Properties<'_>,
        hold: bool,
    ) -> Routing {
        let mut walk = Walk {
            topology: self,
            keys,
            properties,
            headers: Headers::new(properties.headers.unwrap_or_default()),
            hold,
            route: Route { counts: Some(Arc::clone(&exchange.counts)), ..Route::default() },
            queues: FxHashSet::default(),
            exchanges: FxHashSet::default(),
            same_for_all: keys.copies.is_empty(),
            holds: false,
            matched: false,
        };
        walk.exchange(exchange);
        Routing {
            route: Arc::new(walk.route),
            same_for_all: walk.same_for_all && !walk.holds,
            same_for_held: walk.same_for_all && walk.holds,
            matched: walk.matched,
        }
    }
}

struct Walk<'a> {
    topology: &'a Topology,
    keys: &'a Keys<'a>,
    properties: &'a Properties<'a>,
    headers: Headers<'a>,
    hold: bool,
    route: Route,
    queues: FxHashSet<*const Queue>,
    exchanges: FxHashSet<&'a str>,
    same_for_all: bool,
    holds: bool,
    matched: bool,
}

impl<'a> Walk<'a> {
    fn exchange(&mut self, start: &'a Exchange) {
        let mut to_visit = vec![start];
        while let Some(exchange) = to_visit.pop() {
            if self.exchanges.insert(&exchange.name) {
                self.visit(exchange, &mut to_visit);
            }
        }
    }

    fn visit(&mut self, exchange: &'a Exchange, to_visit: &mut Vec<&'a Exchange>) {
        if exchange.name.is_empty() {
            return self.default_exchange();
        }
        // Whether a message is held, and until when, stands in its own headers.
        self.holds |= self.hold && exchange.delayed.is_some();
        self.same_for_all &= !exchange.bindings.look_at_properties();
        let destinations = self.destinations(exchange);
        if destinations.is_empty()
            && let Some(alternate) = &exchange.alternate
        {
            to_visit.extend(self.topology.exchanges.get(alternate));
            return;
        }
        if self.hold
            && let Some(delayed) = &exchange.delayed
        {
            self.matched |= !destinations.is_empty();
            self.route.delayed.push(Arc::clone(delayed));
            return;
        }
        for destination in destinations {
            match destination {
                Destination::Queue(queue) => self.queue(&queue),
                Destination::Exchange(name) => to_visit.extend(self.topology.exchanges.get(&name)),
            }
        }
    }

    fn destinations(&self, exchange: &Exchange) -> Vec<Destination> {
        let mut destinations = Vec::new();
        // Where keys are not looked at, all of them lead to the same places.
        let keys = if exchange.bindings.look_at_key() { usize::MAX } else { 1 };
        for key in self.keys.iter().take(keys) {
            let message = (self.properties, &self.headers);
            exchange.bindings.matching(key, message, &mut |found| destinations.push(found.clone()));
        }
        destinations
    }

    /// Every queue is bound to the default exchange by its name.
    fn default_exchange(&mut self) {
        for key in self.keys.iter() {
            if let Some(queue) = self.topology.queues.get(key) {
                self.queue(queue);
            }
        }
    }

    fn queue(&mut self, queue: &Arc<Queue>) {
        self.matched = true;
        if self.queues.insert(Arc::as_ptr(queue)) {
            self.route.one_by_one |= queue.rules().may_reject();
            self.route.queues.push(Arc::clone(queue));
        }
    }
}
