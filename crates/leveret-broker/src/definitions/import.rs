//! Making definitions so. The same definitions may be imported again: exchanges, queues and bindings that are there already
//! stay as they are; users, permissions, parameters and the settings of virtual hosts become what the definitions say.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use super::{Definitions, is_ones_own};
use crate::error::check_name;
use crate::{
    BindingDefinition, BindingName, Broker, Change, Client, Effects, Error, Parameter, Policy, PolicyKind,
    Vhost, table_from_json,
};

impl Broker {
    /// Declares everything that the definitions hold. Everything that can be is checked before anything is changed.
    ///
    /// # Errors
    /// The first thing that cannot be, by its name.
    pub fn import(&self, definitions: &Definitions, effects: &mut Effects) -> Result<(), Error> {
        self.check(definitions)?;
        self.administer(|broker| Ok((definitions.changes_of_broker(broker), ())))?;
        let client = Client { grouped: true, ..Client::broker() };
        let declared = self.declare(definitions, &client, effects);
        let kept = self.vhosts().iter().try_for_each(|vhost| vhost.commit());
        declared.and(kept)
    }

    fn declare(
        &self,
        definitions: &Definitions,
        client: &Client,
        effects: &mut Effects,
    ) -> Result<(), Error> {
        for exchange in definitions.exchanges.iter().filter(|it| is_ones_own(&it.name)) {
            let vhost = self.vhost_of("exchange", &exchange.name, &exchange.vhost)?;
            if vhost.check_exchange(&exchange.name).is_err() {
                let declared = vhost.declare_exchange(&exchange.name, exchange.options()?, client);
                named("exchange", &exchange.name, declared)?;
            }
        }
        for parameter in definitions.all_parameters() {
            let vhost = self.vhost_of(&parameter.component, &parameter.name, &parameter.vhost)?;
            let Parameter { component, name, value, .. } = parameter;
            named(&component, &name, vhost.set_parameter(&component, &name, value, effects))?;
        }
        for queue in definitions.queues.iter().filter(|it| is_ones_own(&it.name)) {
            let vhost = self.vhost_of("queue", &queue.name, &queue.vhost)?;
            if vhost.find_queue(&queue.name).is_none() {
                let options = queue.options()?;
                named("queue", &queue.name, vhost.declare_queue(&queue.name, options, client, effects))?;
            }
        }
        for binding in &definitions.bindings {
            let vhost = self.vhost_of("binding", &binding.source, &binding.vhost)?;
            if self.is_passed_over(binding) {
                continue;
            }
            let name = BindingName {
                source: &binding.source,
                destination: &binding.destination,
                to_queue: binding.is_to_queue()?,
                key: &binding.routing_key,
                arguments: &table_from_json(&binding.arguments)?,
            };
            named("binding of", &binding.source, vhost.bind(name, client))?;
        }
        Ok(())
    }

    fn check(&self, definitions: &Definitions) -> Result<(), Error> {
        for parameter in definitions.all_parameters() {
            parameter.meaning()?;
        }
        for exchange in &definitions.exchanges {
            named("exchange", &exchange.name, exchange.check())?;
        }
        for queue in &definitions.queues {
            named("queue", &queue.name, queue.check())?;
        }
        self.check_bindings(definitions)?;
        self.check_permissions(definitions)?;
        self.check_queue_limits(definitions)
    }

    fn check_bindings(&self, definitions: &Definitions) -> Result<(), Error> {
        let exchanges = definitions.exchanges.iter().map(|it| (false, &*it.vhost, &*it.name));
        let queues = definitions.queues.iter().map(|it| (true, &*it.vhost, &*it.name));
        let declared: FxHashSet<_> = exchanges.chain(queues).collect();
        for binding in definitions.bindings.iter().filter(|it| !self.is_passed_over(it)) {
            let to_queue = binding.is_to_queue()?;
            for (is_queue, name) in [(false, &*binding.source), (to_queue, &*binding.destination)] {
                let will_be_there = declared.contains(&(is_queue, &*binding.vhost, name))
                    || self.has(is_queue, &binding.vhost, name)
                    || (!is_queue && !is_ones_own(name));
                if !will_be_there {
                    let kind = if is_queue { "queue" } else { "exchange" };
                    let text = format!("binding of '{}': no {kind} '{name}'", binding.source);
                    return Err(Error::precondition(text));
                }
            }
            named("binding of", &binding.source, check_name("routing key", &binding.routing_key))?;
            named("binding of", &binding.source, table_from_json(&binding.arguments))?;
        }
        Ok(())
    }

    fn has(&self, is_queue: bool, vhost: &str, name: &str) -> bool {
        let Some(vhost) = self.vhost(vhost) else { return false };
        if is_queue { vhost.find_queue(name).is_some() } else { vhost.check_exchange(name).is_ok() }
    }

    /// A queue whose name the server chose is passed over, and so is what is bound to it.
    fn is_passed_over(&self, binding: &BindingDefinition) -> bool {
        binding.destination_type == "queue"
            && !is_ones_own(&binding.destination)
            && !self.has(true, &binding.vhost, &binding.destination)
    }

    fn check_permissions(&self, definitions: &Definitions) -> Result<(), Error> {
        let permissions = definitions.permissions.iter().map(|it| (&it.user, &it.vhost));
        let topics = definitions.topic_permissions.iter().map(|it| (&it.user, &it.vhost));
        for (user, vhost) in permissions.chain(topics) {
            let is_user = definitions.users.iter().any(|it| it.name == *user);
            if !is_user && self.users.find(user).is_none() {
                return Err(Error::precondition(format!("permission: no user '{user}'")));
            }
            if !self.will_have(definitions, vhost) {
                return Err(Error::precondition(format!("permission of '{user}': no vhost '{vhost}'")));
            }
        }
        for topic in &definitions.topic_permissions {
            named("topic permission of", &topic.user, topic.permission.check())?;
        }
        Ok(())
    }

    fn will_have(&self, definitions: &Definitions, vhost: &str) -> bool {
        definitions.vhosts.iter().any(|it| it.name == vhost) || self.vhost(vhost).is_some()
    }

    /// As in RabbitMQ nothing is imported where a virtual host would get too many queues.
    fn check_queue_limits(&self, definitions: &Definitions) -> Result<(), Error> {
        let mut new_queues = BTreeMap::<&str, u64>::new();
        for queue in &definitions.queues {
            if !self.will_have(definitions, &queue.vhost) {
                let text = format!("queue '{}': no vhost '{}'", queue.name, queue.vhost);
                return Err(Error::precondition(text));
            }
            let vhost = self.vhost(&queue.vhost);
            if vhost.is_none_or(|vhost| vhost.find_queue(&queue.name).is_none()) {
                *new_queues.entry(&queue.vhost).or_default() += 1;
            }
        }
        for (name, added) in new_queues {
            let Some(vhost) = self.vhost(name) else { continue };
            let there = vhost.queue_count() as u64;
            if let Some(limit) = vhost.limits().max_queues.filter(|limit| there + added > *limit) {
                return Err(Error::precondition(format!(
                    "Adding {added} queue(s) to virtual host \"{name}\" would exceed the limit of {limit} queue(s). \
                     It has {there} now."
                )));
            }
        }
        Ok(())
    }

    fn vhost_of(&self, kind: &str, name: &str, vhost: &str) -> Result<std::sync::Arc<Vhost>, Error> {
        self.vhost(vhost).ok_or_else(|| Error::precondition(format!("{kind} '{name}': no vhost '{vhost}'")))
    }
}

impl Definitions {
    /// What is written down at once, or not at all.
    fn changes_of_broker(&self, broker: &Broker) -> Vec<Change> {
        let vhosts = self.vhosts.iter().map(|it| {
            let (name, mut settings) = (it.name.as_str(), it.settings.clone());
            // Definitions protect a virtual host, and never lift that: those of another time may not know of it.
            let is_protected = broker.vhost(name).is_some_and(|it| it.settings().protected_from_deletion);
            settings.protected_from_deletion |= is_protected;
            Change::PutVhost { name: name.into(), settings }
        });
        let users = self.users.iter().cloned().map(Change::PutUser);
        let permissions = self.permissions.iter().cloned().map(Change::PutPermission);
        let topics = self.topic_permissions.iter().cloned().map(Change::PutTopicPermission);
        let global = self.global_parameters.iter().cloned().map(Change::PutGlobalParameter);
        vhosts.chain(users).chain(permissions).chain(topics).chain(global).collect()
    }

    /// The parameters, policies among them.
    fn all_parameters(&self) -> impl Iterator<Item = Parameter> {
        let policies = self.policies.iter().map(|it| Parameter {
            vhost: it.vhost.clone(),
            component: PolicyKind::User.component().into(),
            name: it.name.clone(),
            value: Policy::json(&it.pattern, it.apply_to, it.priority, &it.definition),
        });
        policies.chain(self.parameters.iter().cloned())
    }
}

fn named<T>(kind: &str, name: &str, result: Result<T, Error>) -> Result<T, Error> {
    result.map_err(|error| Error { text: format!("{kind} '{name}': {}", error.text), ..error })
}
