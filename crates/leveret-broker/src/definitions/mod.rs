//! Definitions: everything that administrators and clients have declared, in the JSON that RabbitMQ exports and imports.
//! Reading and writing that JSON is here; making it so is in `import`.

mod import;
mod parse;

use leveret_amqp::{FieldTable, Value as Field};
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::check_name;
use crate::queue::check_properties;
use crate::{
    ApplyTo, Broker, Error, Exchange, ExchangeOptions, GlobalParameter, Parameter, Pattern, Policy,
    PolicyKind, Queue, QueueOptions, QueueRules, User, UserPermission, UserTopicPermission, Vhost,
    VhostSettings, table_from_json, table_to_json,
};

/// The version of RabbitMQ whose definitions these are like.
const RABBITMQ_VERSION: &str = "3.13.7";

/// Everything declared in a broker, or in one of its virtual hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Definitions {
    pub rabbit_version: String,
    pub rabbitmq_version: String,
    pub product_name: String,
    pub product_version: String,
    pub users: Vec<User>,
    pub vhosts: Vec<VhostDefinition>,
    pub permissions: Vec<UserPermission>,
    pub topic_permissions: Vec<UserTopicPermission>,
    pub parameters: Vec<Parameter>,
    pub global_parameters: Vec<GlobalParameter>,
    pub policies: Vec<PolicyDefinition>,
    pub queues: Vec<QueueDefinition>,
    pub exchanges: Vec<ExchangeDefinition>,
    pub bindings: Vec<BindingDefinition>,
}

/// A virtual host.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct VhostDefinition {
    pub name: String,
    #[serde(flatten)]
    pub settings: VhostSettings,
    pub metadata: VhostSettings,
}

/// A policy of the users. Those of operators are among the parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub struct PolicyDefinition {
    pub vhost: String,
    pub name: String,
    pub pattern: Pattern,
    #[serde(default)]
    pub apply_to: ApplyTo,
    #[serde(default)]
    pub priority: i64,
    pub definition: Map<String, Value>,
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct QueueDefinition {
    pub name: String,
    pub vhost: String,
    #[serde(rename = "type", default = "classic")]
    pub kind: String,
    #[serde(default)]
    pub durable: bool,
    #[serde(default)]
    pub auto_delete: bool,
    #[serde(default, deserialize_with = "parse::arguments")]
    pub arguments: Map<String, Value>,
}

fn classic() -> String {
    "classic".into()
}

/// An exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ExchangeDefinition {
    pub name: String,
    pub vhost: String,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub durable: bool,
    #[serde(default)]
    pub auto_delete: bool,
    #[serde(default)]
    pub internal: bool,
    #[serde(default, deserialize_with = "parse::arguments")]
    pub arguments: Map<String, Value>,
}

/// A binding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct BindingDefinition {
    pub source: String,
    pub vhost: String,
    pub destination: String,
    /// `queue` or `exchange`.
    pub destination_type: String,
    pub routing_key: String,
    #[serde(default, deserialize_with = "parse::arguments")]
    pub arguments: Map<String, Value>,
}

impl Definitions {
    /// All of it as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// What is in a virtual host as JSON, its name left out, so that it can be imported into another.
    #[must_use]
    pub fn to_vhost_json(&self) -> Value {
        let mut json = self.to_json();
        let Some(fields) = json.as_object_mut() else { return json };
        for of_broker in ["users", "vhosts", "permissions", "topic_permissions", "global_parameters"] {
            fields.remove(of_broker);
        }
        for item in fields.values_mut().filter_map(Value::as_array_mut).flatten() {
            if let Some(item) = item.as_object_mut() {
                item.remove("vhost");
            }
        }
        json
    }

    fn empty() -> Self {
        Self {
            rabbit_version: RABBITMQ_VERSION.into(),
            rabbitmq_version: RABBITMQ_VERSION.into(),
            product_name: "Leveret".into(),
            product_version: env!("CARGO_PKG_VERSION").into(),
            ..Self::default()
        }
    }

    fn add_vhost(&mut self, vhost: &Vhost) {
        let policies = vhost.policies(PolicyKind::User);
        self.policies.extend(policies.iter().map(|policy| PolicyDefinition::of(vhost, policy)));
        let component = PolicyKind::User.component();
        self.parameters.extend(vhost.parameters().into_iter().filter(|it| it.component != component));
        let mut queues = vhost.queues();
        queues.retain(|queue| queue.options.exclusive.is_none());
        self.queues.extend(queues.iter().map(|queue| QueueDefinition::of(vhost, queue)));
        self.queues.sort_by(|a, b| (&a.vhost, &a.name).cmp(&(&b.vhost, &b.name)));
        let mut exchanges = vhost.exchanges();
        exchanges.retain(|it| !is_ones_own(&it.name) || !it.options.internal);
        let own = exchanges.iter().filter(|it| is_ones_own(&it.name));
        self.exchanges.extend(own.map(|it| ExchangeDefinition::of(vhost, &it.name, &it.options)));
        self.exchanges.sort_by(|a, b| (&a.vhost, &a.name).cmp(&(&b.vhost, &b.name)));
        // Of a binding both ends have to be there when it is declared again.
        let queues: FxHashSet<&str> = queues.iter().map(|it| &*it.name).collect();
        let exchanges: FxHashSet<&str> = exchanges.iter().map(|it| &*it.name).collect();
        let mut bindings = vhost.bindings();
        bindings.retain(|it| {
            let destinations = if it.to_queue { &queues } else { &exchanges };
            exchanges.contains(&*it.source) && destinations.contains(&*it.destination)
        });
        self.bindings.extend(bindings.into_iter().map(|it| BindingDefinition {
            source: it.source.to_string(),
            vhost: vhost.name.to_string(),
            destination: it.destination.to_string(),
            destination_type: if it.to_queue { "queue" } else { "exchange" }.into(),
            routing_key: it.key.to_string(),
            arguments: table_to_json(&it.arguments),
        }));
    }
}

/// Whether somebody has declared it: it is neither the default exchange nor one that every virtual host has.
fn is_ones_own(name: &str) -> bool {
    !name.is_empty() && !name.starts_with("amq.")
}

impl PolicyDefinition {
    fn of(vhost: &Vhost, policy: &Policy) -> Self {
        Self {
            vhost: vhost.name.to_string(),
            name: policy.name.clone(),
            pattern: policy.pattern.clone(),
            apply_to: policy.apply_to,
            priority: policy.priority,
            definition: policy.definition.clone(),
        }
    }
}

impl QueueDefinition {
    fn of(vhost: &Vhost, queue: &Queue) -> Self {
        let QueueOptions { durable, auto_delete, arguments, .. } = &queue.options;
        let kind = match arguments.find("x-queue-type") {
            Some(Field::Text(kind)) => String::from_utf8_lossy(kind).into_owned(),
            _ => classic(),
        };
        Self {
            name: queue.name.to_string(),
            vhost: vhost.name.to_string(),
            kind,
            durable: *durable,
            auto_delete: *auto_delete,
            arguments: table_to_json(arguments),
        }
    }

    fn options(&self) -> Result<QueueOptions, Error> {
        let mut arguments: FieldTable = table_from_json(&self.arguments)?;
        if self.kind != "classic" && arguments.find("x-queue-type").is_none() {
            arguments.set("x-queue-type", self.kind.as_str().into());
        }
        Ok(QueueOptions { durable: self.durable, exclusive: None, auto_delete: self.auto_delete, arguments })
    }

    /// Whether it could be declared.
    fn check(&self) -> Result<(), Error> {
        let (options, object) = (self.options()?, format!("queue '{}' in vhost '{}'", self.name, self.vhost));
        check_name("queue", &self.name)?;
        QueueRules::parse(&options.arguments, &object)?;
        check_properties(&options, &object)
    }
}

impl ExchangeDefinition {
    fn of(vhost: &Vhost, name: &str, options: &ExchangeOptions) -> Self {
        Self {
            name: name.into(),
            vhost: vhost.name.to_string(),
            kind: options.kind.clone(),
            durable: options.durable,
            auto_delete: options.auto_delete,
            internal: options.internal,
            arguments: table_to_json(&options.arguments),
        }
    }

    fn options(&self) -> Result<ExchangeOptions, Error> {
        Ok(ExchangeOptions {
            kind: self.kind.clone(),
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            arguments: table_from_json(&self.arguments)?,
        })
    }

    /// Whether it could be declared.
    fn check(&self) -> Result<(), Error> {
        check_name("exchange", &self.name)?;
        Exchange::check(self.options()?)
    }
}

impl BindingDefinition {
    fn is_to_queue(&self) -> Result<bool, Error> {
        match self.destination_type.as_str() {
            "queue" => Ok(true),
            "exchange" => Ok(false),
            _ => {
                let text = format!("binding of '{}': destination_type: queue or exchange", self.source);
                Err(Error::precondition(text))
            }
        }
    }
}

impl Broker {
    /// Everything declared, but for what cannot be declared again: exclusive queues, and the exchanges that every virtual
    /// host has.
    #[must_use]
    pub fn definitions(&self) -> Definitions {
        let mut definitions = Definitions {
            users: self.users.all(),
            permissions: self.users.permissions(),
            topic_permissions: self.users.topic_permissions(),
            ..Definitions::empty()
        };
        let global = self.global_parameters();
        definitions.global_parameters =
            global.into_iter().filter(|parameter| !parameter.name.starts_with("internal")).collect();
        for vhost in self.vhosts() {
            let settings = vhost.settings();
            let (name, metadata) = (vhost.name.to_string(), settings.clone());
            definitions.vhosts.push(VhostDefinition { name, settings, metadata });
            definitions.add_vhost(&vhost);
        }
        definitions
    }

    /// What is declared in one virtual host.
    #[must_use]
    pub fn definitions_of(&self, vhost: &Vhost) -> Definitions {
        let mut definitions = Definitions::empty();
        definitions.add_vhost(vhost);
        definitions
    }
}
