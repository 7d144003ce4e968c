//! A virtual host: the topology behind its lock, and the operations on it that clients ask for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leveret_amqp::{FieldTable, Properties};
use parking_lot::RwLock;

use crate::backing::Backing;
use crate::dead_letter::{DeadLetter, Reason, is_cycle};
use crate::delay::delay_ms;
use crate::message::{properties_without_bcc, route_of, split_route};
use crate::queue::{Effects, Owner, QueueOptions, QueueUse};
use crate::timers::{TimerWaker, Timers};
use crate::topology::{BindingName, DeletedQueue, ExchangeOptions, Keys, Topology};
use crate::{Change, Error, Held, Message, Queue, Route, Routing, Time};

/// Messages that one tick releases before it lets others at the queues.
const RELEASES_A_TICK: usize = 1000;
/// Dead letters after which a tick lets others have their turn.
const DEAD_A_TICK: usize = 5000;
/// Queues that one tick of the virtual host ticks.
const TICKS_A_TICK: usize = 1000;

/// A virtual host.
pub struct Vhost {
    /// Its name.
    pub name: Arc<str>,
    topology: RwLock<Topology>,
    backing: Option<Arc<Backing>>,
    timers: Arc<Timers>,
    waker: TimerWaker,
    version: AtomicU64,
    dropped: AtomicU64,
}

/// A queue as `queue.declare-ok` describes it.
pub struct Declared {
    /// The queue.
    pub queue: Arc<Queue>,
    /// Whether it was not there before.
    pub created: bool,
}

impl Vhost {
    /// A virtual host with the predeclared exchanges.
    pub(crate) fn new(name: &str, backing: Option<Arc<Backing>>, waker: TimerWaker) -> Self {
        let name: Arc<str> = name.into();
        let timers = Arc::new(Timers::new(waker.clone()));
        Self {
            topology: RwLock::new(Topology::new(Arc::clone(&name), backing.clone(), Arc::clone(&timers))),
            backing,
            name,
            timers,
            waker,
            version: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// A number that changes with the topology: routes found under another one are void.
    #[must_use]
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Delayed messages whose route was gone when they were due.
    #[must_use]
    pub fn dropped_count(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Changes the topology, and the catalog with it.
    fn change<T>(&self, operation: impl FnOnce(&mut Topology) -> Result<T, Error>) -> Result<T, Error> {
        let mut topology = self.topology.write();
        let result = operation(&mut topology);
        self.version.fetch_add(1, Ordering::Release);
        let changes = topology.take_changes();
        match &self.backing {
            Some(backing) if !changes.is_empty() => match backing.keep(&changes) {
                Ok(()) => result,
                Err(error) => {
                    // The next change tries again.
                    topology.put_back_changes(changes);
                    Err(Error::internal(error))
                }
            },
            _ => result,
        }
    }

    /// Puts back what was declared before the restart. What does not fit any more is left out.
    pub(crate) fn restore(&self, change: &Change, now: Time) {
        let mut topology = self.topology.write();
        match change.clone() {
            Change::PutExchange { name, options, .. } => {
                let _unknown_kind = topology.add_exchange(name, options);
            }
            Change::PutQueue { name, id, options, .. } => {
                let queue = topology.restore_queue(name, id, options, now);
                // The first tick finds out what is due.
                if queue.ready_count() > 0 || queue.rules().expires_ms.is_some() {
                    queue.tick_at(now);
                }
            }
            Change::PutBinding { binding, .. } => {
                let name = BindingName {
                    source: &binding.source,
                    destination: &binding.destination,
                    to_queue: binding.to_queue,
                    key: &binding.key,
                    arguments: &binding.arguments,
                };
                let _end_is_gone = topology.bind(name, NOBODY);
            }
            _ => {}
        }
        topology.take_changes();
    }

    /// Declares an exchange.
    ///
    /// # Errors
    /// `PreconditionFailed` where it is there with other properties or an argument is wrong, `AccessRefused` for
    /// the default exchange and reserved names, `CommandInvalid` for an unknown type.
    pub fn declare_exchange(&self, name: &str, options: ExchangeOptions) -> Result<(), Error> {
        if let Some(checked) = self.topology.read().check_declared_exchange(name, &options) {
            return checked;
        }
        self.change(|topology| topology.declare_exchange(name, options)).map(|_| ())
    }

    /// Checks that an exchange is there.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn check_exchange(&self, name: &str) -> Result<(), Error> {
        let topology = self.topology.read();
        topology.check_not_default(name)?;
        topology.exchange(name).map(|_| ())
    }

    /// Deletes an exchange, its bindings, and what it holds back. One that is not there is no error.
    ///
    /// # Errors
    /// `PreconditionFailed` where it is in use and `if_unused`, `AccessRefused` for predeclared exchanges.
    pub fn delete_exchange(&self, name: &str, if_unused: bool) -> Result<(), Error> {
        self.change(|topology| topology.delete_exchange(name, if_unused))
    }

    /// Declares a queue of that name.
    ///
    /// # Errors
    /// `PreconditionFailed` where it is there with other properties or an argument is wrong, `ResourceLocked` where
    /// it is another connection's, `AccessRefused` for reserved names.
    pub fn declare_queue(
        &self,
        name: &str,
        options: QueueOptions,
        owner: Owner,
        effects: &mut Effects,
    ) -> Result<Declared, Error> {
        loop {
            let there = self.topology.read().check_declared_queue(name, &options, owner);
            let (queue, created) = match there {
                Some(there) => (there?, false),
                None => {
                    let options = options.clone();
                    self.change(|topology| topology.declare_queue(name, options, owner, effects.now))?
                }
            };
            // One that has gone since, being unused, is declared anew.
            if queue.note_use(effects) {
                return Ok(Declared { queue, created });
            }
        }
    }

    /// Declares a queue whose name, a reserved one, the server chose.
    ///
    /// # Errors
    /// `PreconditionFailed` where an argument is wrong.
    pub fn declare_server_named(
        &self,
        name: &str,
        options: QueueOptions,
        effects: &mut Effects,
    ) -> Result<Arc<Queue>, Error> {
        let queue = self.change(|topology| topology.add_queue(name, options, effects.now))?;
        let _it_is_new = queue.note_use(effects);
        Ok(queue)
    }

    /// The queue of that name.
    ///
    /// # Errors
    /// `NotFound`, or `ResourceLocked` where it is another connection's.
    pub fn queue(&self, name: &str, owner: Owner) -> Result<Arc<Queue>, Error> {
        self.topology.read().queue(name, owner).cloned()
    }

    /// All queues.
    #[must_use]
    pub fn queues(&self) -> Vec<Arc<Queue>> {
        self.topology.read().queues().cloned().collect()
    }

    /// Deletes a queue; returns how many ready messages went with it, 0 where it was not there.
    ///
    /// # Errors
    /// `PreconditionFailed` where it is used or not empty and the condition says so, `ResourceLocked`.
    pub fn delete_queue(
        &self,
        name: &str,
        owner: Owner,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<usize, Error> {
        let deleted = self.change(|topology| {
            if let Err(locked) = topology.queue(name, owner)
                && locked.kind == crate::ErrorKind::ResourceLocked
            {
                return Err(locked);
            }
            let object = topology.object("queue", name);
            topology.delete_queue(name, |in_use| refusal(in_use, if_unused, if_empty, &object))
        })?;
        Ok(tell(deleted))
    }

    /// Deletes an auto-delete queue that has lost its last consumer, or one that nobody has used for too long.
    pub fn delete_unused(&self, queue: &Queue, now: Time) {
        let deleted = self.change(|topology| {
            if !topology.has(queue) {
                return Ok(DeletedQueue::default());
            }
            topology.delete_queue(&queue.name, |in_use| {
                let left = queue.options.auto_delete && in_use.had_consumer && in_use.consumers == 0;
                let goes = left || in_use.unused_at <= now;
                (!goes).then(|| Error::precondition("in use"))
            })
        });
        tell(deleted.unwrap_or_default());
    }

    /// Deletes the exclusive queues of a connection that is gone.
    pub fn delete_owned(&self, owner: Owner) {
        let names = self.topology.read().owned_by(owner);
        for name in names {
            tell(self.change(|topology| topology.delete_queue(&name, |_| None)).unwrap_or_default());
        }
    }

    /// Binds a queue to an exchange.
    ///
    /// # Errors
    /// `NotFound`, `ResourceLocked`, `AccessRefused` for the default exchange, `PreconditionFailed` for arguments.
    pub fn bind_queue(
        &self,
        (source, queue): (&str, &str),
        key: &str,
        arguments: &FieldTable,
        owner: Owner,
    ) -> Result<(), Error> {
        let name = BindingName { source, destination: queue, to_queue: true, key, arguments };
        self.change(|topology| topology.bind(name, owner))
    }

    /// Undoes [`Vhost::bind_queue`]; a binding that is not there is no error.
    ///
    /// # Errors
    /// As there.
    pub fn unbind_queue(
        &self,
        (source, queue): (&str, &str),
        key: &str,
        arguments: &FieldTable,
        owner: Owner,
    ) -> Result<(), Error> {
        let name = BindingName { source, destination: queue, to_queue: true, key, arguments };
        self.change(|topology| topology.unbind(name, owner))
    }

    /// Binds an exchange to another.
    ///
    /// # Errors
    /// `NotFound`, `AccessRefused` for the default exchange, `PreconditionFailed` for arguments.
    pub fn bind_exchange(
        &self,
        (source, destination): (&str, &str),
        key: &str,
        arguments: &FieldTable,
    ) -> Result<(), Error> {
        let name = BindingName { source, destination, to_queue: false, key, arguments };
        self.change(|topology| topology.bind(name, NOBODY))
    }

    /// Undoes [`Vhost::bind_exchange`]; a binding that is not there is no error.
    ///
    /// # Errors
    /// As there.
    pub fn unbind_exchange(
        &self,
        (source, destination): (&str, &str),
        key: &str,
        arguments: &FieldTable,
    ) -> Result<(), Error> {
        let name = BindingName { source, destination, to_queue: false, key, arguments };
        self.change(|topology| topology.unbind(name, NOBODY))
    }

    /// Where a message goes that a client publishes, and how long it is to be held first, in milliseconds.
    ///
    /// # Errors
    /// `NotFound`, `AccessRefused` for an internal exchange, `PreconditionFailed` for malformed `CC` or `BCC`.
    pub fn route(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: &Properties<'_>,
    ) -> Result<(Routing, Option<u64>), Error> {
        let topology = self.topology.read();
        let found = topology.exchange(exchange)?;
        if found.options.internal {
            let object = topology.object("exchange", exchange);
            return Err(Error::refused(format!("cannot publish to internal {object}")));
        }
        let keys = Keys::new(routing_key, properties.headers.unwrap_or_default())?;
        let delay = delay_ms(properties);
        Ok((topology.route(found, &keys, properties, delay.is_some()), delay))
    }

    /// Carries out what operations on its queues have set off in others.
    pub fn carry_out(&self, effects: &mut Effects) {
        while !effects.dead.is_empty() || !effects.unused.is_empty() {
            for letter in std::mem::take(&mut effects.dead) {
                self.deliver_dead(&letter, effects);
            }
            for queue in std::mem::take(&mut effects.unused) {
                self.delete_unused(&queue, effects.now);
            }
        }
    }

    /// Holds a message in the exchanges of its route that do so.
    pub fn hold(&self, route: &Route, message: &Message<'_>, delay_ms: u64, now: Time) {
        let due = now.plus_ms(delay_ms);
        for exchange in &route.delayed {
            if exchange.hold(message, due) {
                self.waker.wake();
            }
        }
    }

    /// Publishes a dead letter where its queue wants it, then lets the store forget it where it was.
    fn deliver_dead(&self, letter: &DeadLetter, effects: &mut Effects) {
        if let Some(properties) = letter.properties(effects.now) {
            self.publish_dead(letter, &properties, effects);
        }
        if let Some((handle, seq)) = &letter.stored {
            handle.settle(&[*seq]);
        }
    }

    fn publish_dead(&self, letter: &DeadLetter, encoded: &[u8], effects: &mut Effects) {
        let old = letter.message();
        let (_, own_key) = split_route(old.route);
        let Ok(properties) = Properties::parse(encoded) else { return };
        let headers = properties.headers.unwrap_or_default();
        let key = letter.rules.dead_letter_routing_key.as_deref().unwrap_or(own_key);
        let exchange = letter.rules.dead_letter_exchange.as_deref().unwrap_or_default();
        let delay = delay_ms(&properties);
        let routing = {
            let topology = self.topology.read();
            let Ok(found) = topology.exchange(exchange) else { return };
            let Ok(keys) = Keys::new(key, headers) else { return };
            topology.route(found, &keys, &properties, delay.is_some())
        };
        let mut route = Route::clone(&routing.route);
        if letter.reason != Reason::Rejected {
            route.queues.retain(|queue| !is_cycle(headers, &queue.name));
        }
        let message = Message {
            route: &route_of(exchange, key),
            properties: encoded,
            body: old.body,
            persistent: old.persistent,
            expiration_ms: properties.expiration.and_then(|expiration| expiration.parse().ok()),
            record: None,
        };
        self.hold(&route, &message, delay.unwrap_or_default(), effects.now);
        // Whoever published what is being dealt with has nothing to do with these queues' being full.
        let before = (effects.rejected, effects.position, effects.failure.take());
        route.publish(std::slice::from_ref(&message), effects);
        (effects.rejected, effects.position, effects.failure) = before;
    }

    fn tick_queues(&self, effects: &mut Effects) {
        for _ in 0..TICKS_A_TICK {
            let due = self.timers.take_due(effects.now);
            let Some(queue) = due else { return };
            queue.tick(effects);
            if effects.dead.len() >= DEAD_A_TICK {
                return;
            }
        }
    }

    /// Releases delayed messages that are due and has queues do what is due, a bounded number; returns when to come
    /// again.
    pub fn tick(&self, effects: &mut Effects) -> Option<Time> {
        let now = effects.now;
        self.tick_queues(effects);
        let delayed: Vec<_> =
            self.topology.read().exchanges().filter_map(|exchange| exchange.delayed().cloned()).collect();
        let mut next: Option<Time> = None;
        for exchange in delayed {
            for _ in 0..RELEASES_A_TICK {
                let Some(held) = exchange.take_due(now) else { break };
                self.release(&exchange.name, &held, effects);
            }
            next = next.into_iter().chain(exchange.next_due()).min();
        }
        self.carry_out(effects);
        next.into_iter().chain(self.timers.next_due()).min()
    }

    fn release(&self, exchange: &str, held: &Held, effects: &mut Effects) {
        let mut message = held.message();
        let (_, routing_key) = split_route(message.route);
        let properties = Properties::parse(message.properties).unwrap_or_default();
        let routing = {
            let topology = self.topology.read();
            let Ok(found) = topology.exchange(exchange) else { return };
            let Ok(keys) = Keys::new(routing_key, properties.headers.unwrap_or_default()) else { return };
            topology.route(found, &keys, &properties, false)
        };
        if routing.route.is_empty() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let without_bcc = properties_without_bcc(&properties);
        if let Some(properties) = &without_bcc {
            message = Message { properties, record: None, ..message };
        }
        routing.route.publish(std::slice::from_ref(&message), effects);
    }
}

/// No connection: owner of nothing.
const NOBODY: Owner = Owner(0);

fn refusal(in_use: QueueUse, if_unused: bool, if_empty: bool, object: &str) -> Option<Error> {
    if if_unused && in_use.consumers > 0 {
        return Some(Error::precondition(format!("{object} in use")));
    }
    if if_empty && in_use.ready > 0 {
        return Some(Error::precondition(format!("{object} not empty")));
    }
    None
}

fn tell(deleted: DeletedQueue) -> usize {
    for (queue, mailbox) in deleted.mailboxes {
        mailbox.cancelled(&queue);
    }
    deleted.ready
}
