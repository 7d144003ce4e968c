//! A virtual host: the topology behind its lock, and the operations on it that clients ask for.

mod aftermath;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use leveret_amqp::Properties;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde::{Deserialize, Serialize};

use crate::backing::Backing;
use crate::delay::delay_ms;
use crate::error::check_name;
use crate::moved::Moved;
use crate::queue::{Effects, Fetched, Owner, QueueOptions, QueueUse};
use crate::timers::{TimerWaker, Timers};
use crate::topology::{BindingName, DeletedQueue, ExchangeOptions, Keys, Topology, check_not_default};
use crate::{Change, Client, Error, Holder, Operation, Queue, Resource, Routing, Time};

/// A virtual host.
pub struct Vhost {
    /// Its name.
    pub name: Arc<str>,
    topology: RwLock<Topology>,
    backing: Option<Arc<Backing>>,
    timers: Arc<Timers>,
    waker: TimerWaker,
    version: AtomicU64,
    /// Held while a parameter is set, until it is in force everywhere.
    pub(crate) setting: Mutex<()>,
}

/// What is set on a virtual host as such.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VhostSettings {
    /// For people.
    pub description: String,
    /// For people.
    pub tags: Vec<String>,
    /// The type of queues that are declared without one: `classic`, the default, or `quorum`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_queue_type: Option<String>,
    /// Whether it is traced, as the management shows it.
    pub tracing: bool,
    /// Whether deleting it is refused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub protected_from_deletion: bool,
}

impl VhostSettings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.default_queue_type.as_deref() {
            None | Some("classic" | "quorum" | "undefined") => Ok(()),
            Some(other) => {
                Err(Error::precondition(format!("default_queue_type: unknown queue type '{other}'")))
            }
        }
    }
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
            setting: Mutex::default(),
        }
    }

    /// A number that changes with the topology: routes found under another one are void.
    #[must_use]
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Changes the topology, and the catalog with it.
    pub(crate) fn change<T>(
        &self,
        operation: impl FnOnce(&mut Topology) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut topology = self.topology.write();
        topology.check_open()?;
        let result = operation(&mut topology);
        self.version.fetch_add(1, Ordering::Release);
        let changes = topology.take_changes();
        if let Some(backing) = self.backing.as_ref().filter(|_| !changes.is_empty()) {
            // With the topology still locked: the catalog is to have the changes in their order.
            backing.note(changes);
        }
        result
    }

    /// Changes the topology for a client. Where the client does not group what it declares, the catalog has it then.
    fn change_for<T>(
        &self,
        client: &Client,
        operation: impl FnOnce(&mut Topology) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let result = self.change(operation)?;
        if !client.grouped {
            self.commit()?;
        }
        Ok(result)
    }

    /// Whether there are declarations that may be lost with the process, so that nobody may be told that they are made.
    #[must_use]
    #[inline]
    pub fn has_uncommitted(&self) -> bool {
        self.backing.as_ref().is_some_and(|backing| backing.has_uncommitted())
    }

    /// Writes down what was declared. Takes as long as the disk does.
    ///
    /// # Errors
    /// `Internal` where the catalog cannot keep it; the next call tries again.
    pub fn commit(&self) -> Result<(), Error> {
        match &self.backing {
            Some(backing) if backing.has_uncommitted() => backing.commit().map_err(Error::internal),
            _ => Ok(()),
        }
    }

    /// Puts back what was declared before the restart. What does not fit any more is left out.
    pub(crate) fn restore(&self, change: &Change, now: Time) {
        let mut topology = self.topology.write();
        match change.clone() {
            Change::PutExchange { name, options, shelf, .. } => {
                let _unknown_kind = topology.add_exchange(name, options, shelf);
                self.keep_new_shelf(topology.take_changes(), shelf);
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
                let _end_is_gone = topology.bind(name, Owner::NOBODY);
            }
            _ => {}
        }
        topology.take_changes();
    }

    /// Exchanges declared by a version that kept nothing of what they held have a shelf from now on.
    fn keep_new_shelf(&self, changes: Vec<Change>, before: Option<u64>) {
        let is_new = |change: &Change| matches!(change, Change::PutExchange { shelf: Some(_), .. });
        if let Some(backing) =
            self.backing.as_ref().filter(|_| before.is_none() && changes.iter().any(is_new))
        {
            // Kept or not, the next start tries again; what is held until then may be gone.
            let _failed = backing.keep(&changes);
        }
    }

    pub(crate) fn moved(&self) -> &Moved {
        &self.timers.moved
    }

    /// The topology as it is.
    pub(crate) fn topology(&self) -> RwLockReadGuard<'_, Topology> {
        self.topology.read()
    }

    /// The topology, to be changed in what the catalog does not hold.
    pub(crate) fn topology_mut(&self) -> RwLockWriteGuard<'_, Topology> {
        self.topology.write()
    }

    /// Routes found so far are void: they may not be allowed any more.
    pub(crate) fn void_routes(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Deletes what is left of it. The catalog has forgotten it already.
    pub(crate) fn delete_everything(&self) {
        let deleted = self.topology.write().clear();
        self.void_routes();
        for queue in deleted {
            tell(queue);
        }
    }

    /// Declares an exchange. It takes the permission to configure it, and with an alternate exchange to read from it and
    /// to write to that.
    ///
    /// # Errors
    /// `PreconditionFailed` where it is there with other properties or an argument is wrong, `AccessRefused` for
    /// the default exchange, reserved names and where the client may not, `CommandInvalid` for an unknown type.
    pub fn declare_exchange(
        &self,
        name: &str,
        options: ExchangeOptions,
        client: &Client,
    ) -> Result<(), Error> {
        options.check_kind()?;
        check_not_default(name)?;
        client.access.check(Operation::Configure, Resource::Exchange(name))?;
        if let Some(checked) = self.topology.read().check_declared_exchange(name, &options) {
            return checked;
        }
        self.change_for(client, |topology| topology.declare_exchange(name, options, &client.access))
            .map(|_| ())
    }

    /// Checks that an exchange is there.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn check_exchange(&self, name: &str) -> Result<(), Error> {
        check_not_default(name)?;
        self.topology.read().exchange(name).map(|_| ())
    }

    /// Deletes an exchange, its bindings, and what it holds back; returns how many messages that were. One that is not
    /// there is no error. It takes the permission to configure it.
    ///
    /// # Errors
    /// `PreconditionFailed` where it is in use and `if_unused`, `AccessRefused` for predeclared exchanges and where the
    /// client may not.
    pub fn delete_exchange(&self, name: &str, if_unused: bool, client: &Client) -> Result<u64, Error> {
        check_not_default(name)?;
        if name.starts_with("amq.") {
            let object = format!("exchange '{name}' in vhost '{}'", self.name);
            return Err(Error::refused(format!("deletion of system {object} not allowed")));
        }
        client.access.check(Operation::Configure, Resource::Exchange(name))?;
        self.change_for(client, |topology| topology.delete_exchange(name, if_unused))
    }

    /// Declares a queue of that name. It takes the permission to configure it, and with a dead-letter exchange to read
    /// from it and to write to that.
    ///
    /// # Errors
    /// `PreconditionFailed` where it is there with other properties, an argument is wrong or there are too many,
    /// `ResourceLocked` where it is another connection's, `AccessRefused` for reserved names and where the client may
    /// not.
    pub fn declare_queue(
        &self,
        name: &str,
        options: QueueOptions,
        client: &Client,
        effects: &mut Effects,
    ) -> Result<Declared, Error> {
        client.access.check(Operation::Configure, Resource::Queue(name))?;
        let options = self.topology.read().with_default_type(options);
        loop {
            let there = self.topology.read().check_declared_queue(name, &options, client.owner);
            let (queue, created) = match there {
                Some(there) => (there?, false),
                None => {
                    let options = options.clone();
                    self.change_for(client, |topology| {
                        topology.declare_queue(name, options, client, effects.now)
                    })?
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
    /// `PreconditionFailed` where an argument is wrong or there are too many, `AccessRefused` where the client may not.
    pub fn declare_server_named(
        &self,
        name: &str,
        options: QueueOptions,
        client: &Client,
        effects: &mut Effects,
    ) -> Result<Arc<Queue>, Error> {
        if options.arguments.find("x-queue-type") == Some(&"quorum".into()) {
            return Err(Error::precondition("Cannot declare a server-named queue for type quorum"));
        }
        client.access.check(Operation::Configure, Resource::Queue(name))?;
        let queue = self.change_for(client, |topology| {
            topology.check_new_queue(name, &options, &client.access)?;
            topology.add_queue(name, topology.with_default_type(options), effects.now)
        })?;
        let _it_is_new = queue.note_use(effects);
        Ok(queue)
    }

    /// Adds the queue behind a channel's `amq.rabbitmq.reply-to`, for which nobody needs a permission.
    ///
    /// # Errors
    /// `NotAllowed` where the virtual host is gone.
    pub fn add_reply_queue(&self, name: &str, now: Time) -> Result<Arc<Queue>, Error> {
        self.change(|topology| topology.add_queue(name, QueueOptions::default(), now))
    }

    /// The queue of that name.
    ///
    /// # Errors
    /// `NotFound`, or `ResourceLocked` where it is another connection's.
    pub fn queue(&self, name: &str, owner: Owner) -> Result<Arc<Queue>, Error> {
        self.topology.read().queue(name, owner).cloned()
    }

    /// The queue of that name, for somebody who declares it passively, which is a use of it as any declaration is.
    ///
    /// # Errors
    /// As [`Vhost::queue`].
    pub fn declared_queue(
        &self,
        name: &str,
        owner: Owner,
        effects: &mut Effects,
    ) -> Result<Arc<Queue>, Error> {
        loop {
            let queue = self.queue(name, owner)?;
            // One that has gone since is looked for anew, and soon not found.
            if queue.note_use(effects) {
                return Ok(queue);
            }
        }
    }

    /// The queue of that name, for somebody who gets, consumes or purges. It takes the permission to read from it.
    ///
    /// # Errors
    /// As [`Vhost::queue`], or `AccessRefused` where the client may not.
    pub fn queue_to_read(&self, name: &str, client: &Client) -> Result<Arc<Queue>, Error> {
        client.access.check(Operation::Read, Resource::Queue(name))?;
        self.queue(name, client.owner)
    }

    /// Takes a queue's first ready message, for somebody who is told when it is held for too long. However many before it have
    /// expired, they are dealt with.
    #[must_use]
    pub fn get(
        &self,
        queue: &Arc<Queue>,
        no_ack: bool,
        holder: Option<&Arc<dyn Holder>>,
        effects: &mut Effects,
    ) -> Option<Fetched> {
        loop {
            let fetched = queue.get(no_ack, holder, effects);
            if fetched.is_some() || !queue.is_expiring(effects.now) {
                return fetched;
            }
            self.carry_out(effects);
        }
    }

    /// All queues.
    #[must_use]
    pub fn queues(&self) -> Vec<Arc<Queue>> {
        self.topology.read().queues().cloned().collect()
    }

    /// How many queues there are.
    #[must_use]
    pub fn queue_count(&self) -> usize {
        self.topology.read().queues_by_name().len()
    }

    /// Deletes a queue; returns how many ready messages went with it, 0 where it was not there. It takes the permission to
    /// configure it.
    ///
    /// # Errors
    /// `PreconditionFailed` where it is used or not empty and the condition says so, `ResourceLocked`,
    /// `AccessRefused` where the client may not.
    pub fn delete_queue(
        &self,
        name: &str,
        client: &Client,
        if_unused: bool,
        if_empty: bool,
    ) -> Result<usize, Error> {
        client.access.check(Operation::Configure, Resource::Queue(name))?;
        let deleted = self.change_for(client, |topology| {
            if let Err(locked) = topology.queue(name, client.owner)
                && locked.kind == crate::ErrorKind::ResourceLocked
            {
                return Err(locked);
            }
            let object = topology.object("queue", name);
            topology.delete_queue(name, |in_use| refusal(in_use, if_unused, if_empty, &object))
        })?;
        Ok(tell(deleted))
    }

    /// Deletes the queue behind a channel's `amq.rabbitmq.reply-to`.
    pub fn delete_reply_queue(&self, name: &str) {
        tell(self.change(|topology| topology.delete_queue(name, |_| None)).unwrap_or_default());
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
        if queue.options.durable {
            // What cannot be written now is written with what comes next.
            let _kept = self.commit();
        }
    }

    /// Deletes the exclusive queues of a connection that is gone.
    pub fn delete_owned(&self, owner: Owner) {
        let names = self.topology.read().owned_by(owner);
        for name in names {
            tell(self.change(|topology| topology.delete_queue(&name, |_| None)).unwrap_or_default());
        }
    }

    /// Binds a queue or an exchange to an exchange; a binding that is there already is no error. It takes the permission
    /// to write to the destination and to read from the source.
    ///
    /// # Errors
    /// `NotFound`, `ResourceLocked`, `AccessRefused` for the default exchange and where the client may not,
    /// `PreconditionFailed` for arguments.
    pub fn bind(&self, binding: BindingName<'_>, client: &Client) -> Result<(), Error> {
        self.check_binding(binding, client)?;
        self.change_for(client, |topology| topology.bind(binding, client.owner))
    }

    /// Undoes [`Vhost::bind`]; a binding that is not there is no error.
    ///
    /// # Errors
    /// As there.
    pub fn unbind(&self, binding: BindingName<'_>, client: &Client) -> Result<(), Error> {
        self.check_binding(binding, client)?;
        self.change_for(client, |topology| topology.unbind(binding, client.owner))
    }

    fn check_binding(&self, binding: BindingName<'_>, client: &Client) -> Result<(), Error> {
        let destination = match binding.to_queue {
            true => Resource::Queue(binding.destination),
            false => Resource::Exchange(binding.destination),
        };
        client.access.check(Operation::Write, destination)?;
        check_name("routing key", binding.key)?;
        check_not_default(binding.source)?;
        if !binding.to_queue {
            check_not_default(binding.destination)?;
        }
        client.access.check(Operation::Read, Resource::Exchange(binding.source))?;
        if self.topology.read().is_topic(binding.source) {
            client.access.check_topic(Operation::Read, binding.source, binding.key)?;
        }
        Ok(())
    }

    /// Where a message goes that a client publishes, and how long it is to be held first, in milliseconds. It takes the
    /// permission to write to the exchange.
    ///
    /// # Errors
    /// `NotFound`, `AccessRefused` for an internal exchange and where the client may not, `PreconditionFailed` for
    /// malformed `CC` or `BCC`.
    pub fn route(
        &self,
        (exchange, routing_key): (&str, &str),
        properties: &Properties<'_>,
        client: &Client,
    ) -> Result<(Routing, Option<u64>), Error> {
        client.access.check(Operation::Write, Resource::Exchange(exchange))?;
        let topology = self.topology.read();
        let found = topology.exchange(exchange)?;
        if found.options.internal {
            let object = topology.object("exchange", exchange);
            return Err(Error::refused(format!("cannot publish to internal {object}")));
        }
        if found.is_topic() {
            client.access.check_topic(Operation::Write, exchange, routing_key)?;
        }
        let keys = Keys::new(routing_key, properties.headers.unwrap_or_default())?;
        let delay = delay_ms(properties);
        Ok((topology.route(found, &keys, properties, delay.is_some()), delay))
    }

    pub(crate) fn wake_timer(&self) {
        self.waker.wake();
    }
}

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
