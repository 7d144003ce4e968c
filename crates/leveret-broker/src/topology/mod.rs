//! Exchanges, queues and bindings of a virtual host, and the way of a message through them. No lock lives here:
//! the virtual host has one for all of it.

mod administration;
mod bindings;
mod counts;
mod exchange;
mod hash_ring;
mod headers;
mod listing;
mod route;
mod topic;

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexSet;
use leveret_amqp::{FieldTable, Table, Value};
use rustc_hash::{FxBuildHasher, FxHashMap};

pub(crate) use self::administration::NewRules;
use self::administration::check_alternate;
use self::bindings::Binding;
use crate::backing::Backing;
use crate::delay::Shelves;
use crate::error::check_name;
use crate::parameters::Parameters;
use crate::policies::Subject;
use crate::queue::{COMPARED_ARGUMENTS, Owner, QueueOptions, check_properties};
use crate::timers::Timers;
use crate::{Access, Applied, Change, Client, Error, KeptBinding, Mailbox, Queue, Time, VhostSettings};

pub use self::bindings::Destination;
pub use self::counts::ExchangeCounts;
use self::exchange::{DELAYED, inequivalent_argument};
pub use self::exchange::{Exchange, ExchangeKind, ExchangeOptions};
pub use self::listing::ListedExchange;
pub(crate) use self::route::Keys;
pub use self::route::{Route, Routing};

/// All that is declared in one virtual host.
pub(crate) struct Topology {
    vhost: Arc<str>,
    exchanges: FxHashMap<Arc<str>, Exchange>,
    queues: FxHashMap<Arc<str>, Arc<Queue>>,
    /// Their names in order, for whoever looks at a page of a long list.
    queue_names: BTreeSet<Arc<str>>,
    /// The bindings that lead to each destination, by whether it is a queue and its name: what has to go with it.
    inbound: FxHashMap<(bool, Arc<str>), IndexSet<Inbound, FxBuildHasher>>,
    backing: Option<Arc<Backing>>,
    shelves: Shelves,
    timers: Arc<Timers>,
    /// Changes of what is durable that the catalog does not know yet.
    changes: Vec<Change>,
    parameters: Parameters,
    settings: VhostSettings,
    /// Whether the virtual host is being deleted: nothing is declared any more.
    closed: bool,
}

/// Where a destination's binding stands.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Inbound {
    source: Arc<str>,
    key: Arc<str>,
    arguments: Arc<[u8]>,
}

/// A binding as clients name it.
#[derive(Clone, Copy, Debug)]
pub struct BindingName<'a> {
    /// The exchange that messages come from.
    pub source: &'a str,
    /// The queue or exchange they go to.
    pub destination: &'a str,
    /// Whether that is a queue.
    pub to_queue: bool,
    /// The routing key.
    pub key: &'a str,
    /// The arguments.
    pub arguments: &'a FieldTable,
}

/// What went with a deleted queue.
#[derive(Default)]
pub(crate) struct DeletedQueue {
    pub(crate) ready: usize,
    pub(crate) mailboxes: Vec<(Arc<Queue>, Arc<dyn Mailbox>)>,
}

impl Topology {
    /// A topology with the exchanges that every virtual host has.
    pub(crate) fn new(vhost: Arc<str>, backing: Option<Arc<Backing>>, timers: Arc<Timers>) -> Self {
        let mut topology = Self {
            vhost,
            exchanges: FxHashMap::default(),
            queues: FxHashMap::default(),
            queue_names: BTreeSet::new(),
            inbound: FxHashMap::default(),
            shelves: Shelves::new(backing.clone()),
            backing,
            timers,
            changes: Vec::new(),
            parameters: Parameters::default(),
            settings: VhostSettings::default(),
            closed: false,
        };
        let predeclared = [
            ("", "direct", false),
            ("amq.direct", "direct", false),
            ("amq.fanout", "fanout", false),
            ("amq.topic", "topic", false),
            ("amq.headers", "headers", false),
            ("amq.match", "headers", false),
            ("amq.rabbitmq.trace", "topic", true),
        ];
        for (name, kind, internal) in predeclared {
            let options =
                ExchangeOptions { kind: kind.into(), durable: true, internal, ..ExchangeOptions::default() };
            let name: Arc<str> = name.into();
            if let Ok(exchange) = Exchange::new(Arc::clone(&name), options) {
                topology.exchanges.insert(name, exchange);
            }
        }
        topology
    }

    pub(crate) fn object(&self, kind: &str, name: &str) -> String {
        format!("{kind} '{name}' in vhost '{}'", self.vhost)
    }

    pub(crate) fn exchange(&self, name: &str) -> Result<&Exchange, Error> {
        self.exchanges
            .get(name)
            .ok_or_else(|| Error::not_found(format!("no {}", self.object("exchange", name))))
    }

    pub(crate) fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.values()
    }

    /// The queue of that name, if `owner` may use it.
    pub(crate) fn queue(&self, name: &str, owner: Owner) -> Result<&Arc<Queue>, Error> {
        let queue = self.queues.get(name);
        let queue = queue.ok_or_else(|| Error::not_found(format!("no {}", self.object("queue", name))))?;
        self.check_owner(queue, owner)?;
        Ok(queue)
    }

    /// The queue of that name, whoever it is that asks.
    pub(crate) fn queue_of(&self, name: &str) -> Option<&Arc<Queue>> {
        self.queues.get(name)
    }

    /// Whether it is this queue, and not another one of its name, that is there.
    pub(crate) fn has(&self, queue: &Queue) -> bool {
        self.queues.get(&queue.name).is_some_and(|there| std::ptr::eq(&raw const **there, queue))
    }

    pub(crate) fn queues_by_name(&self) -> &FxHashMap<Arc<str>, Arc<Queue>> {
        &self.queues
    }

    pub(crate) fn queues(&self) -> impl Iterator<Item = &Arc<Queue>> {
        self.queues.values()
    }

    fn check_owner(&self, queue: &Queue, owner: Owner) -> Result<(), Error> {
        match queue.options.exclusive {
            Some(other) if other != owner => Err(self.locked(queue)),
            _ => Ok(()),
        }
    }

    fn locked(&self, queue: &Queue) -> Error {
        Error::locked(format!(
            "cannot obtain exclusive access to locked {}. It could be originally declared on another connection or \
             the exclusive property value does not match that of the original declaration.",
            self.object("queue", &queue.name)
        ))
    }

    /// Declares an exchange; false where the same is there already.
    pub(crate) fn declare_exchange(
        &mut self,
        name: &str,
        options: ExchangeOptions,
        access: &Access,
    ) -> Result<bool, Error> {
        check_not_default(name)?;
        if let Some(exchange) = self.exchanges.get(name) {
            exchange.check_equivalent(&options, &self.object("exchange", name))?;
            return Ok(false);
        }
        check_new_name("exchange", name)?;
        check_alternate(name, &options, access)?;
        self.add_exchange(name.into(), options, None)?;
        Ok(true)
    }

    /// Adds an exchange that is not there yet; where it held messages before a restart, with their shelf.
    pub(crate) fn add_exchange(
        &mut self,
        name: Arc<str>,
        options: ExchangeOptions,
        mut shelf: Option<u64>,
    ) -> Result<(), Error> {
        let mut exchange = Exchange::new(Arc::clone(&name), options)?;
        if exchange.options.kind == DELAYED {
            let held = self.shelves.exchange(&name, exchange.options.durable, shelf);
            let (delayed, id) = held.map_err(|error| Error::internal(error.to_string()))?;
            (exchange.delayed, shelf) = (Some(delayed), Some(id));
        }
        exchange.apply(self.parameters.policies.applied(&name, Subject::Exchange));
        if exchange.options.durable {
            let (vhost, options) = (Arc::clone(&self.vhost), exchange.options.clone());
            self.changes.push(Change::PutExchange { vhost, name: Arc::clone(&name), shelf, options });
        }
        self.exchanges.insert(name, exchange);
        Ok(())
    }

    /// Whether an exchange of that name is declared so; `None` where there is none.
    pub(crate) fn check_declared_exchange(
        &self,
        name: &str,
        options: &ExchangeOptions,
    ) -> Option<Result<(), Error>> {
        let exchange = self.exchanges.get(name).filter(|_| !name.is_empty())?;
        Some(exchange.check_equivalent(options, &self.object("exchange", name)))
    }

    /// The queue of that name, if it is declared so; `None` where there is none.
    pub(crate) fn check_declared_queue(
        &self,
        name: &str,
        options: &QueueOptions,
        owner: Owner,
    ) -> Option<Result<Arc<Queue>, Error>> {
        let queue = self.queues.get(name)?;
        Some(self.check_declared(queue, options, owner).map(|()| Arc::clone(queue)))
    }

    fn check_declared(&self, queue: &Queue, options: &QueueOptions, owner: Owner) -> Result<(), Error> {
        self.check_owner(queue, owner)?;
        if options.exclusive.is_some() != queue.options.exclusive.is_some() {
            return Err(self.locked(queue));
        }
        self.check_equivalent(queue, options)
    }

    /// What the catalog does not know yet.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Deletes an exchange with its bindings and what it holds; returns how many messages that were. One that is not
    /// there is no error.
    pub(crate) fn delete_exchange(&mut self, name: &str, if_unused: bool) -> Result<u64, Error> {
        let Some(exchange) = self.exchanges.get(name) else { return Ok(0) };
        if if_unused && !exchange.bindings.is_empty() {
            return Err(Error::precondition(format!("{} in use", self.object("exchange", name))));
        }
        Ok(self.remove_exchange(name))
    }

    fn remove_exchange(&mut self, name: &str) -> u64 {
        let held = self.take_exchange(name);
        self.remove_inbound(Destination::Exchange(name.into()));
        held
    }

    /// Takes an exchange out with the bindings that lead from it; those that lead to it are still to be removed.
    fn take_exchange(&mut self, name: &str) -> u64 {
        let Some(exchange) = self.exchanges.remove(name) else { return 0 };
        let held = exchange.delayed().map_or(0, |delayed| delayed.delete());
        if exchange.options.durable {
            let (vhost, name) = (Arc::clone(&self.vhost), Arc::clone(&exchange.name));
            self.changes.push(Change::DropExchange { vhost, name });
        }
        for end in exchange.bindings.ends() {
            let Some(inbound) = self.inbound.get_mut(&end) else { continue };
            inbound.retain(|binding| *binding.source != *name);
            if inbound.is_empty() {
                self.inbound.remove(&end);
            }
        }
        held
    }

    /// Declares a queue; false where the same is there already.
    pub(crate) fn declare_queue(
        &mut self,
        name: &str,
        options: QueueOptions,
        client: &Client,
        now: Time,
    ) -> Result<(Arc<Queue>, bool), Error> {
        if let Some(queue) = self.queues.get(name) {
            self.check_declared(queue, &options, client.owner)?;
            return Ok((Arc::clone(queue), false));
        }
        check_new_name("queue", name)?;
        self.check_new_queue(name, &options, &client.access)?;
        Ok((self.add_queue(name, options, now)?, true))
    }

    /// Adds a queue that is not there yet.
    pub(crate) fn add_queue(
        &mut self,
        name: &str,
        options: QueueOptions,
        now: Time,
    ) -> Result<Arc<Queue>, Error> {
        let object = self.object("queue", name);
        let applied = self.parameters.policies.applied(name, Subject::of(&options));
        let rules = applied.rules(&options.arguments, &object)?;
        check_properties(&options, &object)?;
        let name: Arc<str> = name.into();
        let storage = self.backing.clone().map(|backing| {
            let id = backing.new_id(options.durable);
            if options.durable {
                let (vhost, name, options) = (Arc::clone(&self.vhost), Arc::clone(&name), options.clone());
                self.changes.push(Change::PutQueue { vhost, name, id, options });
            }
            backing.queue((&name, id), &options, &rules)
        });
        let timers = Arc::clone(&self.timers);
        let queue = Queue::with_storage(name, options, rules, storage, (Some(timers), now));
        Ok(self.insert_queue(queue, applied))
    }

    /// Adds a queue as it was before the restart.
    pub(crate) fn restore_queue(
        &mut self,
        name: Arc<str>,
        id: u64,
        options: QueueOptions,
        now: Time,
    ) -> Arc<Queue> {
        // Arguments that were right once are taken as they are; a newer version may have known more.
        let applied = self.parameters.policies.applied(&name, Subject::of(&options));
        let rules = applied.rules(&options.arguments, &name).unwrap_or_default();
        let storage = self.backing.as_ref().map(|backing| {
            backing.note_id(id);
            backing.queue((&name, id), &options, &rules)
        });
        let timers = Arc::clone(&self.timers);
        let queue = Queue::with_storage(name, options, rules, storage, (Some(timers), now));
        self.insert_queue(queue, applied)
    }

    fn insert_queue(&mut self, queue: Queue, applied: Applied) -> Arc<Queue> {
        let queue = Arc::new(queue);
        queue.note_applied(applied);
        self.queues.insert(Arc::clone(&queue.name), Arc::clone(&queue));
        self.queue_names.insert(Arc::clone(&queue.name));
        queue
    }

    fn check_equivalent(&self, queue: &Queue, declared: &QueueOptions) -> Result<(), Error> {
        let object = self.object("queue", &queue.name);
        let current = &queue.options;
        for (argument, received, is) in [
            ("durable", declared.durable, current.durable),
            ("auto_delete", declared.auto_delete, current.auto_delete),
        ] {
            if received != is {
                return Err(Error::inequivalent(argument, &object, received, is));
            }
        }
        for argument in COMPARED_ARGUMENTS {
            let (received, is) = (declared.arguments.find(argument), current.arguments.find(argument));
            // A queue is classic unless it says otherwise.
            let is_classic = |value: Option<&Value>| value.is_none_or(|it| *it == Value::from("classic"));
            let both_classic = argument == "x-queue-type" && is_classic(received) && is_classic(is);
            if !both_classic && !same_value(received, is) {
                return Err(inequivalent_argument(argument, &object, received, is));
            }
        }
        Ok(())
    }

    /// Deletes a queue with its bindings, unless `keep` says why not.
    pub(crate) fn delete_queue(
        &mut self,
        name: &str,
        keep: impl FnOnce(crate::queue::QueueUse) -> Option<Error>,
    ) -> Result<DeletedQueue, Error> {
        let Some(queue) = self.queues.get(name).cloned() else { return Ok(DeletedQueue::default()) };
        let (ready, mailboxes) = queue.delete(keep)?;
        self.queues.remove(name);
        self.queue_names.remove(name);
        self.timers.moved.note_gone(&queue.name);
        if queue.options.durable {
            let (vhost, name) = (Arc::clone(&self.vhost), Arc::clone(&queue.name));
            self.changes.push(Change::DropQueue { vhost, name });
        }
        self.remove_inbound(Destination::Queue(Arc::clone(&queue)));
        let mailboxes = mailboxes.into_iter().map(|mailbox| (Arc::clone(&queue), mailbox)).collect();
        Ok(DeletedQueue { ready, mailboxes })
    }

    /// Names of the queues that go when `owner` does.
    pub(crate) fn owned_by(&self, owner: Owner) -> Vec<Arc<str>> {
        let owned = self.queues.values().filter(|queue| queue.options.exclusive == Some(owner));
        owned.map(|queue| Arc::clone(&queue.name)).collect()
    }

    /// Adds a binding; one that is there already is no error.
    pub(crate) fn bind(&mut self, name: BindingName<'_>, owner: Owner) -> Result<(), Error> {
        let (binding, key) = self.find_binding(name, owner)?;
        let Some(source) = self.exchanges.get_mut(name.source) else { return Ok(()) };
        source.bindings.check(&key, &binding.arguments)?;
        let added = binding.clone();
        if source.bindings.insert(&key, binding) {
            let source = Arc::clone(&source.name);
            let inbound = Inbound {
                source: Arc::clone(&source),
                key: Arc::clone(&key),
                arguments: Arc::clone(&added.arguments),
            };
            self.inbound.entry((name.to_queue, name.destination.into())).or_default().insert(inbound);
            if let Some(binding) = self.kept_binding(&source, &key, &added) {
                self.changes.push(Change::PutBinding { vhost: Arc::clone(&self.vhost), binding });
            }
        }
        Ok(())
    }

    /// Removes a binding; one that is not there is no error, and neither are missing ends. An auto-delete exchange
    /// goes with its last one.
    pub(crate) fn unbind(&mut self, name: BindingName<'_>, owner: Owner) -> Result<(), Error> {
        let (binding, key) = match self.find_binding(name, owner) {
            Err(error) if error.kind == crate::ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        let end = (name.to_queue, Arc::from(name.destination));
        if let Some(inbound) = self.inbound.get_mut(&end) {
            inbound.swap_remove(&Inbound {
                source: name.source.into(),
                key: Arc::clone(&key),
                arguments: Arc::clone(&binding.arguments),
            });
            if inbound.is_empty() {
                self.inbound.remove(&end);
            }
        }
        if self.remove_outbound(name.source, &key, &binding) {
            self.remove_exchange(name.source);
        }
        Ok(())
    }

    /// The binding by its ends, which must exist.
    fn find_binding(&self, name: BindingName<'_>, owner: Owner) -> Result<(Binding, Arc<str>), Error> {
        self.exchange(name.source)?;
        let destination = if name.to_queue {
            Destination::Queue(Arc::clone(self.queue(name.destination, owner)?))
        } else {
            Destination::Exchange(Arc::clone(&self.exchange(name.destination)?.name))
        };
        Ok((Binding { destination, arguments: name.arguments.encode().into() }, name.key.into()))
    }

    /// Removes the bindings that lead to a destination which goes, and with them the auto-delete exchanges that have no
    /// others. There may be any number of these in a row.
    fn remove_inbound(&mut self, destination: Destination) {
        let mut going = vec![destination];
        while let Some(destination) = going.pop() {
            let end = (destination.is_queue(), Arc::clone(destination.name()));
            for inbound in self.inbound.remove(&end).unwrap_or_default() {
                let binding = Binding { destination: destination.clone(), arguments: inbound.arguments };
                if self.remove_outbound(&inbound.source, &inbound.key, &binding) {
                    self.take_exchange(&inbound.source);
                    going.push(Destination::Exchange(inbound.source));
                }
            }
        }
    }

    /// Removes a binding where it begins; true where the exchange is now to be deleted, being auto-delete.
    fn remove_outbound(&mut self, source: &str, key: &Arc<str>, binding: &Binding) -> bool {
        let kept = self.kept_binding(source, key, binding);
        let Some(exchange) = self.exchanges.get_mut(source) else { return false };
        let removed = exchange.bindings.remove(key, binding);
        let goes = removed && exchange.options.auto_delete && exchange.bindings.is_empty();
        if let Some(binding) = kept.filter(|_| removed) {
            self.changes.push(Change::DropBinding { vhost: Arc::clone(&self.vhost), binding });
        }
        goes
    }

    /// The binding for the catalog, where both of its ends are durable.
    fn kept_binding(&self, source: &str, key: &Arc<str>, binding: &Binding) -> Option<KeptBinding> {
        let source = &self.exchanges.get(source)?;
        let to_durable = match &binding.destination {
            Destination::Queue(queue) => queue.options.durable,
            // A destination that is being deleted is looked at for the last time: its row goes, if there is one.
            Destination::Exchange(name) => self.exchanges.get(name).is_none_or(|it| it.options.durable),
        };
        (source.options.durable && to_durable).then(|| KeptBinding {
            source: Arc::clone(&source.name),
            destination: Arc::clone(binding.destination.name()),
            to_queue: binding.destination.is_queue(),
            key: Arc::clone(key),
            arguments: Table::parse(&binding.arguments).unwrap_or_default().to_owned(),
        })
    }
}

pub(crate) fn check_not_default(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::refused("operation not permitted on the default exchange"));
    }
    Ok(())
}

fn check_new_name(kind: &str, name: &str) -> Result<(), Error> {
    check_name(kind, name)?;
    if name.starts_with("amq.") {
        return Err(Error::refused(format!("{kind} name '{name}' contains reserved prefix 'amq.*'")));
    }
    Ok(())
}

/// Integers are the same whatever type the client has sent them as.
fn same_value(a: Option<&Value>, b: Option<&Value>) -> bool {
    let number = |value: Option<&Value>| value.and_then(Value::as_i64);
    a == b || (number(a).is_some() && number(a) == number(b))
}
