//! Taking messages out of what an exchange holds: into queues when they are due or somebody asks, or away. The step off
//! the shelf and into the queues is one group in the store's journal.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leveret_amqp::Properties;
use leveret_store::{Hold, StoreError};
use rustc_hash::FxHashMap;

use super::{DelayedExchange, DelayedMessage, Held, HeldId, Stop};
use crate::message::{properties_without_bcc, split_route};
use crate::queue::Effects;
use crate::topology::Keys;
use crate::{Error, Message, Route, Time, Vhost};

/// Messages that one tick releases before it lets others at the queues,
const RELEASES_A_TICK: usize = 1000;
/// and bytes of them, about.
const BYTES_A_TICK: usize = 8 << 20;
/// Messages that go one way together.
const RUN: usize = 128;
/// Messages looked at in one go when they are cancelled by what they are.
const PAGE: usize = 1000;
/// While more comes in than the disk takes, nothing is added to it for so long, in milliseconds.
const CONGESTED_MS: u64 = 5;
/// After a read that failed it is tried again in so long, in milliseconds.
const RETRY_MS: u64 = 1000;
/// Larger bodies are shared between queues.
const COPIED_BYTES: usize = 4 << 10;

impl DelayedExchange {
    /// What queues got from here on with a failed store, they would get again after a restart.
    fn check(&self) -> Result<(), StoreError> {
        if let Some(error) = self.store().error() {
            let _stopped_before = self.stopped.set(Stop::Failed(error));
        }
        match self.stopped.get() {
            Some(Stop::Failed(error)) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn count_cancelled(&self, count: u64) {
        self.counts.cancelled.fetch_add(count, Ordering::Relaxed);
    }

    /// Takes these messages away; returns how many of them were still there.
    fn cancel(&self, held: &[Held], effects: &mut Effects) -> Result<u64, StoreError> {
        let cancelled = self.store().batch(|batch| {
            let there = held.iter().filter(|held| batch.take(self.shelf, held.key, held.stored_bytes()));
            (there.count() as u64, batch.position())
        })?;
        effects.position = Some(cancelled.1);
        self.count_cancelled(cancelled.0);
        Ok(cancelled.0)
    }

    /// Cancels a message; false where it is not held (any more). [`Effects::position`] says when that is certain.
    ///
    /// # Errors
    /// What the store says.
    pub fn cancel_one(&self, id: HeldId, effects: &mut Effects) -> Result<bool, StoreError> {
        let _taking = self.taking.lock();
        let Some(held) = self.held(id)? else { return Ok(false) };
        Ok(self.cancel(&[held], effects)? == 1)
    }

    /// Cancels the messages with this `message-id`; returns how many.
    ///
    /// # Errors
    /// What the store says.
    pub fn cancel_by_message_id(&self, message_id: &str, effects: &mut Effects) -> Result<u64, StoreError> {
        let (mut cancelled, mut after) = (0, None);
        loop {
            let _taking = self.taking.lock();
            let (held, last) = self.held_by_message_id(message_id, after, PAGE)?;
            if last.is_none() {
                return Ok(cancelled);
            }
            after = last;
            cancelled += self.cancel(&held, effects)?;
        }
    }

    /// Cancels what is due in `from..=until` and of which `is_meant` says so; returns how many. Others may hold and
    /// release meanwhile.
    ///
    /// # Errors
    /// What the store says.
    pub fn cancel_where(
        &self,
        (from, until): (Time, Time),
        is_meant: impl Fn(&DelayedMessage) -> bool,
        effects: &mut Effects,
    ) -> Result<u64, StoreError> {
        let mut cancelled = 0;
        let mut after = from.0.checked_sub(1).map(|due| leveret_store::HeldKey { due, number: u64::MAX });
        loop {
            let _taking = self.taking.lock();
            let page = self.store().held_page(self.shelf, after, until.0, PAGE, BYTES_A_TICK)?;
            let Some(last) = page.records.last() else { return Ok(cancelled) };
            after = Some(last.key);
            let held = page.records.into_iter().filter_map(Held::of);
            let meant: Vec<_> = held.filter(|held| is_meant(&DelayedMessage::of(held))).collect();
            cancelled += self.cancel(&meant, effects)?;
        }
    }

    /// Cancels everything; returns how many messages that were.
    ///
    /// # Errors
    /// What the store says.
    pub fn purge(&self, effects: &mut Effects) -> Result<u64, StoreError> {
        let _taking = self.taking.lock();
        let (count, position) =
            self.store().batch(|batch| (batch.clear_shelf(self.shelf), batch.position()))?;
        effects.position = Some(position);
        self.count_cancelled(count);
        Ok(count)
    }

    /// Has a message wait for another time, under another id, which is returned; `None` where it is not held (any more).
    fn reschedule(&self, id: HeldId, due: Time, effects: &mut Effects) -> Result<Option<HeldId>, StoreError> {
        let _taking = self.taking.lock();
        let Some(held) = self.held(id)? else { return Ok(None) };
        let moved = self.store().batch(|batch| {
            batch.check_room(std::iter::once(held.body.len()))?;
            if !batch.take(self.shelf, held.key, held.stored_bytes()) {
                return Ok(None);
            }
            let Held { tag, transient, ref body, .. } = held;
            let hold = Hold { shelf: self.shelf, due: due.0, tag, flags: 0, transient, body: &[body] };
            let (key, position) = batch.hold(&hold)?;
            Ok(Some((HeldId(key), position)))
        })??;
        let Some((id, position)) = moved else { return Ok(None) };
        effects.position = position.or(effects.position);
        self.next_due.fetch_min(due.0, Ordering::AcqRel);
        Ok(Some(id))
    }
}

impl Vhost {
    /// The holding part of an exchange.
    ///
    /// # Errors
    /// `NotFound` where there is no such exchange, `PreconditionFailed` where it is no `x-delayed-message` exchange.
    pub fn delayed_exchange(&self, name: &str) -> Result<Arc<DelayedExchange>, Error> {
        let topology = self.topology();
        let delayed = topology.exchange(name)?.delayed().cloned();
        delayed.ok_or_else(|| {
            Error::precondition(format!("{} delays no messages", topology.object("exchange", name)))
        })
    }

    /// The holding parts of all exchanges that have one.
    #[must_use]
    pub fn delayed_exchanges(&self) -> Vec<Arc<DelayedExchange>> {
        self.topology().exchanges().filter_map(|exchange| exchange.delayed().cloned()).collect()
    }

    /// Has a held message wait for another time, under another id; `None` where it is not held (any more).
    ///
    /// # Errors
    /// What the store says.
    pub fn reschedule_held(
        &self,
        exchange: &DelayedExchange,
        id: HeldId,
        due: Time,
        effects: &mut Effects,
    ) -> Result<Option<HeldId>, StoreError> {
        let moved = exchange.reschedule(id, due, effects);
        self.wake_timer();
        moved
    }

    /// Releases a message now; false where it is not held (any more).
    ///
    /// # Errors
    /// What the store says.
    pub fn release_held(
        &self,
        exchange: &DelayedExchange,
        id: HeldId,
        effects: &mut Effects,
    ) -> Result<bool, StoreError> {
        let _taking = exchange.taking.lock();
        exchange.check()?;
        let Some(held) = exchange.held(id)? else { return Ok(false) };
        let release = Release { vhost: self, exchange, routes: FxHashMap::default() };
        release.run(&[held], effects)?;
        self.carry_out(effects);
        Ok(true)
    }

    /// Releases what is due, a bounded number in due order; returns when to come again.
    pub(crate) fn release_due(&self, exchange: &DelayedExchange, effects: &mut Effects) -> Option<Time> {
        let due = exchange.next_due()?;
        if due > effects.now {
            return Some(due);
        }
        // A store that has failed while much was on its way to it does not catch up.
        if exchange.store().is_congested() && exchange.check().is_ok() {
            return Some(effects.now.plus_ms(CONGESTED_MS));
        }
        let _taking = exchange.taking.lock();
        // What is held from here on lowers it again.
        exchange.next_due.store(u64::MAX, Ordering::Release);
        let released = exchange.check().and_then(|()| {
            let page = exchange.store().due(exchange.shelf, effects.now.0, RELEASES_A_TICK, BYTES_A_TICK)?;
            let release = Release { vhost: self, exchange, routes: FxHashMap::default() };
            release.page(page.records, effects)?;
            Ok(page.next)
        });
        let next = released.unwrap_or_else(|error| {
            effects.failure = Some(error);
            Some(effects.now.plus_ms(RETRY_MS).0)
        });
        exchange.next_due.fetch_min(next.unwrap_or(u64::MAX), Ordering::AcqRel);
        exchange.next_due()
    }
}

/// Messages of one exchange on their way to queues.
struct Release<'a> {
    vhost: &'a Vhost,
    exchange: &'a DelayedExchange,
    /// Ways that are the same for all messages of a route.
    routes: FxHashMap<Vec<u8>, Arc<Route>>,
}

impl Release<'_> {
    fn page(
        mut self,
        records: Vec<leveret_store::HeldRecord>,
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        let mut run: Vec<Held> = Vec::new();
        for record in records {
            let (key, body_bytes) = (record.key, record.body.len() as u64);
            let Some(held) = Held::of(record) else {
                self.drop_foreign(key, body_bytes)?;
                continue;
            };
            let same_way = run.first().is_none_or(|first| first.message().route == held.message().route);
            if !same_way || run.len() >= RUN {
                self.run_of_one_route(&mut run, effects)?;
            }
            run.push(held);
        }
        self.run_of_one_route(&mut run, effects)
    }

    fn drop_foreign(&self, key: leveret_store::HeldKey, body_bytes: u64) -> Result<(), StoreError> {
        self.exchange.store().batch(|batch| batch.take(self.exchange.shelf, key, body_bytes))?;
        self.exchange.counts.dropped.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn run_of_one_route(&mut self, run: &mut Vec<Held>, effects: &mut Effects) -> Result<(), StoreError> {
        let held = std::mem::take(run);
        let Some(first) = held.first() else { return Ok(()) };
        if held.iter().all(is_plain) {
            let route = first.message().route;
            let known = self.routes.get(route).cloned();
            let found = match known {
                Some(route) => Some(route),
                None => match self.route(first) {
                    Some((found, true)) => {
                        self.routes.insert(route.to_vec(), Arc::clone(&found));
                        Some(found)
                    }
                    _ => None,
                },
            };
            if let Some(found) = found.filter(|route| !route.one_by_one) {
                let messages: Vec<_> = held.iter().map(Held::message).collect();
                return self.hand_over(&found, &messages, &held, effects);
            }
        }
        held.iter().try_for_each(|one| self.run(std::slice::from_ref(one), effects))
    }

    /// Releases one message by itself.
    fn run(&self, held: &[Held], effects: &mut Effects) -> Result<(), StoreError> {
        let Some(first) = held.first() else { return Ok(()) };
        let route = self.route(first).map(|(route, _)| route).unwrap_or_default();
        let mut message = first.message();
        let properties = Properties::parse(message.properties).unwrap_or_default();
        let without_bcc = properties_without_bcc(&properties);
        if let Some(properties) = &without_bcc {
            message = Message { properties, ..message };
        }
        let shared =
            (route.queues.len() > 1 && message.body.len() > COPIED_BYTES).then(|| message.to_record());
        let message = Message { record: shared.as_ref(), ..message };
        self.hand_over(&route, std::slice::from_ref(&message), held, effects)
    }

    fn hand_over(
        &self,
        route: &Route,
        messages: &[Message<'_>],
        held: &[Held],
        effects: &mut Effects,
    ) -> Result<(), StoreError> {
        // Nobody waits for what these queues say of it.
        let before = (effects.rejected, effects.position, effects.failure.take());
        let shelf = self.exchange.shelf;
        let take = |batch: &mut leveret_store::Batch<'_>, done: usize| {
            for held in &held[..done] {
                batch.take(shelf, held.key, held.stored_bytes());
            }
        };
        let done = route.publish_with(messages, self.exchange.store(), take, effects);
        (effects.rejected, effects.position, effects.failure) = before;
        if let Err(error) = &done {
            let _stopped_before = self.exchange.stopped.set(Stop::Failed(error.clone()));
        }
        let counts = &self.exchange.counts;
        let counter = if route.is_empty() { &counts.dropped } else { &counts.released };
        counter.fetch_add(held.len() as u64, Ordering::Relaxed);
        done
    }

    /// The way of a message, and whether it is that of all with its route; `None` where there is none.
    fn route(&self, held: &Held) -> Option<(Arc<Route>, bool)> {
        let message = held.message();
        let (_, routing_key) = split_route(message.route);
        let properties = Properties::parse(message.properties).unwrap_or_default();
        let topology = self.vhost.topology();
        let found = topology.exchange(&self.exchange.name).ok()?;
        let keys = Keys::new(routing_key, properties.headers.unwrap_or_default()).ok()?;
        let routing = topology.route(found, &keys, &properties, false);
        Some((routing.route, routing.same_for_all))
    }
}

/// Whether its headers have no say in where it goes, other than those that a headers exchange looks at.
fn is_plain(held: &Held) -> bool {
    let properties = Properties::parse(held.message().properties).unwrap_or_default();
    let headers = properties.headers.unwrap_or_default();
    headers.find("CC").is_none() && headers.find("BCC").is_none()
}
