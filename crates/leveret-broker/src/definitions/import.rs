//! Making definitions so. What is there already stays as it is, so that the same definitions may be imported again.

use std::collections::BTreeMap;

use super::{Definitions, is_ones_own};
use crate::{
    BindingName, Broker, Change, Client, Effects, Error, Parameter, Policy, PolicyKind, Vhost,
    table_from_json,
};

impl Broker {
    /// Declares everything that the definitions hold. Everything that can be is checked before anything is changed.
    ///
    /// # Errors
    /// The first thing that cannot be, by its name.
    pub fn import(&self, definitions: &Definitions, effects: &mut Effects) -> Result<(), Error> {
        self.check(definitions)?;
        self.administer(|_| Ok((definitions.changes_of_broker(), ())))?;
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
            let name = BindingName {
                source: &binding.source,
                destination: &binding.destination,
                to_queue: binding.destination_type == "queue",
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
            named("exchange", &exchange.name, exchange.options().and_then(|options| options.check_kind()))?;
        }
        for queue in &definitions.queues {
            named("queue", &queue.name, queue.options())?;
        }
        for binding in &definitions.bindings {
            if binding.destination_type != "queue" && binding.destination_type != "exchange" {
                let text = format!("binding of '{}': destination_type: queue or exchange", binding.source);
                return Err(Error::precondition(text));
            }
            named("binding of", &binding.source, table_from_json(&binding.arguments))?;
        }
        self.check_permissions(definitions)?;
        self.check_queue_limits(definitions)
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
    fn changes_of_broker(&self) -> Vec<Change> {
        let vhosts = self.vhosts.iter().map(|it| {
            let (name, settings) = (it.name.as_str().into(), it.settings.clone());
            Change::PutVhost { name, settings }
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
