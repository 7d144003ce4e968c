//! What administrators set in a virtual host, and what that means for what is declared: parameters, policies, limits,
//! and what a client must be allowed before something is declared.

use std::sync::Arc;

use leveret_amqp::Value;

use super::exchange::alternate_argument;
use super::{DeletedQueue, ExchangeOptions, Topology};
use crate::parameters::{Meaning, Parameters};
use crate::policies::{PolicyKind, Subject};
use crate::queue::QueueOptions;
use crate::{Access, Change, Error, Operation, Parameter, Queue, QueueRules, Resource, VhostSettings};

/// Queues that policies give other rules.
pub(crate) type NewRules = Vec<(Arc<Queue>, QueueRules)>;

impl Topology {
    /// # Errors
    /// `NotAllowed` where the virtual host is being deleted.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed {
            return Err(Error::not_allowed(format!("vhost '{}' is deleted", self.vhost)));
        }
        Ok(())
    }

    /// Takes no changes any more, or again.
    pub(crate) fn set_closed(&mut self, closed: bool) {
        self.closed = closed;
    }

    /// Deletes everything, without a word to the catalog.
    pub(crate) fn clear(&mut self) -> Vec<DeletedQueue> {
        self.closed = true;
        let names: Vec<Arc<str>> = self.queues.keys().cloned().collect();
        let deleted = names.iter().filter_map(|name| self.delete_queue(name, |_| None).ok()).collect();
        for exchange in self.exchanges.values() {
            if let Some(delayed) = exchange.delayed() {
                delayed.delete();
            }
        }
        self.exchanges.clear();
        self.inbound.clear();
        self.changes.clear();
        deleted
    }

    pub(crate) fn settings(&self) -> &VhostSettings {
        &self.settings
    }

    pub(crate) fn set_settings(&mut self, settings: VhostSettings) {
        self.settings = settings;
    }

    pub(crate) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Sets a parameter; true where there was none. Queues are to be given their new rules.
    pub(crate) fn put_parameter(&mut self, parameter: Parameter) -> Result<(bool, NewRules), Error> {
        let meaning = parameter.meaning()?;
        let is_policy = matches!(meaning, Meaning::Policy(..));
        self.changes.push(Change::PutParameter(parameter.clone()));
        let is_new = self.parameters.put(parameter, meaning);
        Ok((is_new, if is_policy { self.apply_policies() } else { NewRules::new() }))
    }

    /// Clears a parameter; false where there is none. Queues are to be given their new rules.
    pub(crate) fn drop_parameter(&mut self, component: &str, name: &str) -> (bool, NewRules) {
        if !self.parameters.remove(component, name) {
            return (false, NewRules::new());
        }
        let vhost = self.vhost.to_string();
        self.changes.push(Change::DropParameter { vhost, component: component.into(), name: name.into() });
        (
            true,
            if PolicyKind::of_component(component).is_some() {
                self.apply_policies()
            } else {
                NewRules::new()
            },
        )
    }

    /// Takes over a parameter that the catalog has.
    pub(crate) fn restore_parameter(&mut self, parameter: Parameter) {
        // One that was right once may not be so for this version: it is kept, and means nothing.
        let meaning = parameter.meaning().unwrap_or(Meaning::Other);
        self.parameters.put(parameter, meaning);
    }

    /// Finds out anew what applies to what, in one pass.
    fn apply_policies(&mut self) -> NewRules {
        let policies = &self.parameters.policies;
        let mut new_rules = NewRules::new();
        for queue in self.queues.values() {
            let applied = policies.applied(&queue.name, Subject::of(&queue.options));
            if queue.applied().is(&applied) {
                continue;
            }
            // Its arguments were right when it was declared.
            if let Ok(rules) = applied.rules(&queue.options.arguments, &queue.name) {
                new_rules.push((Arc::clone(queue), rules));
            }
            queue.note_applied(applied);
        }
        for exchange in self.exchanges.values_mut() {
            let applied = policies.applied(&exchange.name, Subject::Exchange);
            if !exchange.applied().is(&applied) {
                exchange.apply(applied);
            }
        }
        new_rules
    }

    /// Whether there is a topic exchange of that name.
    pub(crate) fn is_topic(&self, exchange: &str) -> bool {
        self.exchanges.get(exchange).is_some_and(super::Exchange::is_topic)
    }

    /// The options with the queue type that the virtual host gives those that name none. As in RabbitMQ, `quorum` is not
    /// for queues that could not be of that type.
    pub(crate) fn with_default_type(&self, mut options: QueueOptions) -> QueueOptions {
        let fits = options.durable && options.exclusive.is_none() && !options.auto_delete;
        if self.settings.default_queue_type.as_deref() == Some("quorum")
            && fits
            && options.arguments.find("x-queue-type").is_none()
        {
            options.arguments.set("x-queue-type", "quorum".into());
        }
        options
    }

    /// Whether the client may declare a queue that is not there yet: there is room for one more, and its dead letters may
    /// go where they are to go.
    pub(crate) fn check_new_queue(
        &self,
        name: &str,
        options: &QueueOptions,
        access: &Access,
    ) -> Result<(), Error> {
        if let Some(limit) = self.parameters.limits.max_queues
            && self.queues.len() as u64 >= limit
        {
            return Err(Error::precondition(format!(
                "cannot declare queue '{name}': queue limit in vhost '{}' ({limit}) is reached",
                self.vhost
            )));
        }
        if let Some(Value::Text(exchange)) = options.arguments.find("x-dead-letter-exchange") {
            access.check(Operation::Read, Resource::Queue(name))?;
            access.check(Operation::Write, Resource::Exchange(&String::from_utf8_lossy(exchange)))?;
        }
        Ok(())
    }
}

impl Subject {
    /// What a queue is to policies.
    pub(crate) fn of(options: &QueueOptions) -> Self {
        match options.arguments.find("x-queue-type") {
            Some(Value::Text(name)) if name == b"quorum" => Self::QuorumQueue,
            _ => Self::ClassicQueue,
        }
    }
}

/// Whether messages that the exchange cannot route may go where they are to go.
pub(super) fn check_alternate(name: &str, options: &ExchangeOptions, access: &Access) -> Result<(), Error> {
    if let Some(alternate) = alternate_argument(options)? {
        access.check(Operation::Read, Resource::Exchange(name))?;
        access.check(Operation::Write, Resource::Exchange(alternate))?;
    }
    Ok(())
}
