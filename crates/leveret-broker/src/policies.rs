//! Policies: optional arguments for queues and exchanges by patterns of their names, set by operators of two kinds and
//! applied while queues live.
//!
//! The rules are RabbitMQ's (<https://www.rabbitmq.com/docs/policies>): one policy and one operator policy at most
//! apply to an object, those of the highest priority. What they mean for a queue stands in its rules.

use std::sync::Arc;

use leveret_amqp::FieldTable;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::pattern::Pattern;
use crate::queue::{check_operator_policy, check_policy};
use crate::{Error, QueueRules, parsed, table_from_json};

/// A policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Policy {
    /// The name, unique among those of its kind in the virtual host.
    pub name: String,
    /// Which names it is for.
    pub pattern: Pattern,
    /// What it is for.
    #[serde(default)]
    pub apply_to: ApplyTo,
    /// The highest wins.
    #[serde(default)]
    pub priority: i64,
    /// The arguments, without their `x-`.
    pub definition: Map<String, Value>,
    /// The definition as queues read it.
    #[serde(skip)]
    pub(crate) table: FieldTable,
}

/// Who has set a policy. What operators set, users cannot exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// The users of a virtual host: `policy`.
    User,
    /// Its operators: `operator_policy`.
    Operator,
}

impl PolicyKind {
    /// The name as a component of runtime parameters.
    #[must_use]
    pub fn component(self) -> &'static str {
        match self {
            Self::User => "policy",
            Self::Operator => "operator_policy",
        }
    }

    /// The kind of that component.
    #[must_use]
    pub fn of_component(name: &str) -> Option<Self> {
        [Self::User, Self::Operator].into_iter().find(|kind| kind.component() == name)
    }
}

/// What a policy is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ApplyTo {
    #[default]
    All,
    Queues,
    ClassicQueues,
    QuorumQueues,
    Streams,
    Exchanges,
}

/// What a policy may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    ClassicQueue,
    QuorumQueue,
    Exchange,
}

impl ApplyTo {
    fn includes(self, subject: Subject) -> bool {
        match self {
            Self::All => true,
            Self::Queues => subject != Subject::Exchange,
            Self::ClassicQueues => subject == Subject::ClassicQueue,
            Self::QuorumQueues => subject == Subject::QuorumQueue,
            Self::Streams => false,
            Self::Exchanges => subject == Subject::Exchange,
        }
    }
}

/// The policies that apply to a queue or an exchange.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Of the users.
    pub policy: Option<Arc<Policy>>,
    /// Of the operators.
    pub operator: Option<Arc<Policy>>,
}

impl Applied {
    /// Whether these are the very same.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let same = |a: &Option<Arc<Policy>>, b: &Option<Arc<Policy>>| match (a, b) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        same(&self.policy, &other.policy) && same(&self.operator, &other.operator)
    }

    /// The rules of a queue with these arguments.
    pub(crate) fn rules(&self, arguments: &FieldTable, object: &str) -> Result<QueueRules, Error> {
        let none = FieldTable::default();
        let policy = self.policy.as_ref().map_or(&none, |policy| &policy.table);
        let operator = self.operator.as_ref().map_or(&none, |policy| &policy.table);
        QueueRules::effective(arguments, policy, operator, object)
    }

    /// The text that the policy gives a key.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        [&self.policy, &self.operator].into_iter().flatten().find_map(|it| it.definition.get(key)?.as_str())
    }
}

impl Policy {
    /// From the value of a runtime parameter: all but the name, in RabbitMQ's JSON.
    ///
    /// # Errors
    /// `PreconditionFailed`, naming what is wrong.
    pub fn from_json(name: &str, value: &Value, kind: PolicyKind) -> Result<Self, Error> {
        let wrong = |what: String| Error::precondition(format!("Validation failed\n\n{what} ({name})"));
        let mut value = value.clone();
        let fields = value.as_object_mut().ok_or_else(|| wrong("expected an object".into()))?;
        fields.insert("name".into(), name.into());
        let mut policy: Self = parsed(value).map_err(wrong)?;
        policy.table = table_from_json(&policy.definition)?;
        let check = if kind == PolicyKind::User { check_policy } else { check_operator_policy };
        check(&policy.table).map_err(wrong)?;
        Ok(policy)
    }

    /// The value of its runtime parameter.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Self::json(&self.pattern, self.apply_to, self.priority, &self.definition)
    }

    pub(crate) fn json(
        pattern: &Pattern,
        apply_to: ApplyTo,
        priority: i64,
        definition: &Map<String, Value>,
    ) -> Value {
        json!({ "pattern": pattern, "apply-to": apply_to, "priority": priority, "definition": definition })
    }
}

/// The policies of a virtual host, each kind with the highest priority first.
#[derive(Default)]
pub(crate) struct Policies {
    user: Vec<Arc<Policy>>,
    operator: Vec<Arc<Policy>>,
}

impl Policies {
    pub(crate) fn all(&self, kind: PolicyKind) -> &[Arc<Policy>] {
        match kind {
            PolicyKind::User => &self.user,
            PolicyKind::Operator => &self.operator,
        }
    }

    fn all_mut(&mut self, kind: PolicyKind) -> &mut Vec<Arc<Policy>> {
        match kind {
            PolicyKind::User => &mut self.user,
            PolicyKind::Operator => &mut self.operator,
        }
    }

    /// Adds a policy or replaces the one of its name; true where there was none.
    pub(crate) fn put(&mut self, kind: PolicyKind, policy: Policy) -> bool {
        let is_new = !self.remove(kind, &policy.name);
        let all = self.all_mut(kind);
        all.push(Arc::new(policy));
        all.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
        is_new
    }

    /// Removes a policy; false where there was none.
    pub(crate) fn remove(&mut self, kind: PolicyKind, name: &str) -> bool {
        let all = self.all_mut(kind);
        let before = all.len();
        all.retain(|policy| policy.name != name);
        all.len() < before
    }

    /// What applies to the object of that name.
    pub(crate) fn applied(&self, name: &str, subject: Subject) -> Applied {
        let first = |all: &[Arc<Policy>]| {
            let mut all = all.iter();
            all.find(|policy| policy.apply_to.includes(subject) && policy.pattern.is_match(name)).cloned()
        };
        Applied { policy: first(&self.user), operator: first(&self.operator) }
    }
}
