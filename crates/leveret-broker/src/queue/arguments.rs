//! Where a queue's rules come from: its `x-` arguments, a policy and an operator policy. Which keys there are, of which
//! type and range, and which of three values counts.

use std::sync::Arc;

use leveret_amqp::{FieldTable, Value};

use super::rules::{DeadLetterStrategy, Overflow, QueueType};
use crate::{Error, QueueOptions};

/// The longest time to live, in milliseconds, as in RabbitMQ: 100 years.
const LONGEST_MS: i64 = 100 * 365 * 86_400_000;

/// What a key's value may be.
#[derive(Clone, Copy)]
enum Kind {
    Number(i64, i64),
    Text,
    OneOf(&'static [&'static str]),
    Flag,
}

const OVERFLOWS: &[&str] = &["drop-head", "reject-publish", "reject-publish-dlx"];
const STRATEGIES: &[&str] = &["at-most-once", "at-least-once"];
const MODES: &[&str] = &["default", "lazy"];
const TYPES: &[&str] = &["classic", "quorum"];
const LOCATORS: &[&str] = &["client-local", "balanced", "random", "least-leaders"];
const LENGTH: Kind = Kind::Number(0, i64::MAX);

/// Keys that stand in arguments, with `x-` before them, and in policies.
const KEYS: [(&str, Kind); 13] = [
    ("message-ttl", Kind::Number(0, LONGEST_MS)),
    ("expires", Kind::Number(1, LONGEST_MS)),
    ("max-length", LENGTH),
    ("max-length-bytes", LENGTH),
    ("max-in-memory-length", LENGTH),
    ("max-in-memory-bytes", LENGTH),
    ("overflow", Kind::OneOf(OVERFLOWS)),
    ("dead-letter-exchange", Kind::Text),
    ("dead-letter-routing-key", Kind::Text),
    ("dead-letter-strategy", Kind::OneOf(STRATEGIES)),
    ("delivery-limit", Kind::Number(-1, i64::MAX)),
    ("consumer-timeout", Kind::Number(1, LONGEST_MS)),
    ("queue-mode", Kind::OneOf(MODES)),
];

/// Keys of arguments only.
const ARGUMENTS: [(&str, Kind); 9] = [
    ("queue-leader-locator", Kind::OneOf(LOCATORS)),
    ("quorum-initial-group-size", Kind::Number(1, i64::MAX)),
    ("queue-type", Kind::OneOf(TYPES)),
    ("queue-version", Kind::Number(1, 2)),
    ("max-priority", Kind::Number(0, 255)),
    ("single-active-consumer", Kind::Flag),
    ("message-deduplication", Kind::Flag),
    ("cache-size", Kind::Number(1, 10_000_000)),
    ("cache-ttl", Kind::Number(1, LONGEST_MS)),
];

/// Keys of policies only. All but the first one say how RabbitMQ spreads a queue over a cluster: they are taken, and
/// mean nothing to one node.
const POLICIES: [(&str, Kind); 11] = [
    ("alternate-exchange", Kind::Text),
    ("queue-version", Kind::Number(1, 2)),
    ("queue-master-locator", Kind::Text),
    ("queue-leader-locator", Kind::Text),
    ("ha-mode", Kind::Text),
    ("ha-params", Kind::Number(0, i64::MAX)),
    ("ha-sync-mode", Kind::Text),
    ("ha-sync-batch-size", Kind::Number(1, i64::MAX)),
    ("ha-promote-on-shutdown", Kind::Text),
    ("ha-promote-on-failure", Kind::Text),
    ("target-group-size", Kind::Number(1, i64::MAX)),
];

/// What an operator may limit.
const OPERATOR: [&str; 8] = [
    "message-ttl",
    "expires",
    "max-length",
    "max-length-bytes",
    "max-in-memory-length",
    "max-in-memory-bytes",
    "delivery-limit",
    "overflow",
];

const ONLY_CLASSIC: [&str; 4] =
    ["x-max-priority", "x-queue-mode", "x-queue-version", "x-queue-master-locator"];
const ONLY_QUORUM: [&str; 5] = [
    "x-delivery-limit",
    "x-dead-letter-strategy",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-quorum-initial-group-size",
];
/// Of streams, which there are none of.
const ONLY_STREAM: [&str; 3] = ["x-max-age", "x-stream-max-segment-size-bytes", "x-initial-cluster-size"];

/// Queue arguments that must be the same in every declaration, in the order in which RabbitMQ compares those of classic
/// queues: the first that differs is named.
pub(crate) const COMPARED_ARGUMENTS: [&str; 23] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    "x-dead-letter-strategy",
    "x-delivery-limit",
    "x-quorum-initial-group-size",
    "x-queue-leader-locator",
    "x-consumer-timeout",
    "x-message-deduplication",
    "x-cache-size",
    "x-cache-ttl",
];

/// Checks what a policy asks for, before anybody is given it.
///
/// # Errors
/// Names the key that is unknown, of the wrong type or out of range.
pub fn check_policy(definition: &FieldTable) -> Result<(), String> {
    if definition.0.is_empty() {
        return Err("a policy needs at least one key".into());
    }
    for (key, value) in &definition.0 {
        let kind = kind_of(&KEYS, key).or_else(|| kind_of(&POLICIES, key));
        let kind = kind.ok_or_else(|| format!("'{key}' is not a recognised policy setting"))?;
        kind.check(value).map_err(|wrong| format!("'{key}': {wrong}"))?;
    }
    Ok(())
}

/// The same for an operator policy, which knows fewer keys.
///
/// # Errors
/// As [`check_policy`].
pub fn check_operator_policy(definition: &FieldTable) -> Result<(), String> {
    match definition.0.iter().find(|(key, _)| !OPERATOR.contains(&key.as_str())) {
        Some((key, _)) => Err(format!("'{key}' is not a recognised operator policy setting")),
        None => check_policy(definition),
    }
}

fn kind_of(keys: &[(&str, Kind)], wanted: &str) -> Option<Kind> {
    keys.iter().find(|(key, _)| *key == wanted).map(|(_, kind)| *kind)
}

impl Kind {
    fn check(self, value: &Value) -> Result<(), String> {
        match self {
            Self::Number(least, most) => {
                let number = value.as_i64().ok_or("expected an integer")?;
                if number < least {
                    return Err(format!("{number} is too small, the least is {least}"));
                }
                if number > most {
                    return Err(format!("{number} is too large, the most is {most}"));
                }
            }
            Self::Text => {
                text(value).ok_or("expected a string of at most 255 bytes of UTF-8")?;
            }
            Self::OneOf(names) => {
                let name = text(value).ok_or("expected a string")?;
                if !names.contains(&name) {
                    return Err(format!("'{name}' is none of {}", names.join(", ")));
                }
            }
            Self::Flag if matches!(value, Value::Bool(_)) => {}
            Self::Flag => return Err("expected a boolean".into()),
        }
        Ok(())
    }
}

fn text(value: &Value) -> Option<&str> {
    let Value::Text(bytes) = value else { return None };
    std::str::from_utf8(bytes).ok().filter(|text| text.len() <= 255)
}

/// The three places where a rule may stand.
pub(super) struct Sources<'a> {
    pub(super) arguments: &'a FieldTable,
    pub(super) policy: &'a FieldTable,
    pub(super) operator: &'a FieldTable,
    pub(super) object: &'a str,
}

impl Sources<'_> {
    fn wrong(&self, name: &str, what: &str) -> Error {
        Error::precondition(format!("invalid arg '{name}' for {}: {what}", self.object))
    }

    /// Checks all arguments that Leveret knows; others are nobody's business.
    pub(super) fn check_arguments(&self) -> Result<(), Error> {
        for (name, value) in &self.arguments.0 {
            let Some(key) = name.strip_prefix("x-") else { continue };
            let Some(kind) = kind_of(&KEYS, key).or_else(|| kind_of(&ARGUMENTS, key)) else { continue };
            kind.check(value).map_err(|wrong| self.wrong(name, &wrong))?;
        }
        let given = |name| self.arguments.find(name).is_some();
        if given("x-dead-letter-routing-key") && !given("x-dead-letter-exchange") {
            return Err(self.wrong("x-dead-letter-routing-key", "set without x-dead-letter-exchange"));
        }
        let (others, name): (&[&str], _) = match self.queue_type() {
            QueueType::Classic => (&ONLY_QUORUM, "classic"),
            QueueType::Quorum => (&ONLY_CLASSIC, "quorum"),
        };
        match others.iter().chain(&ONLY_STREAM).find(|other| given(other)) {
            Some(other) => {
                let text = format!("invalid arg '{other}' for {} of queue type {name}", self.object);
                Err(Error::precondition(text))
            }
            None => Ok(()),
        }
    }

    fn argument(&self, key: &str) -> Option<&Value> {
        let of_key = |name: &&(String, Value)| name.0.strip_prefix("x-") == Some(key);
        self.arguments.0.iter().find(of_key).map(|(_, value)| value)
    }

    /// What the policies say of the key, the operator first; what is wrong counts as not said.
    fn policies(&self, key: &str) -> impl Iterator<Item = &Value> {
        let kind = kind_of(&KEYS, key);
        let is_right = move |value: &&Value| kind.is_some_and(|kind| kind.check(value).is_ok());
        [self.operator, self.policy].into_iter().filter_map(move |it| it.find(key)).filter(is_right)
    }

    /// The lowest of all numbers given.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        let numbers = self.argument(key).into_iter().chain(self.policies(key));
        numbers.filter_map(Value::as_i64).filter_map(|number| u64::try_from(number).ok()).min()
    }

    /// The lowest limit, where -1 stands for none.
    pub(super) fn delivery_limit(&self) -> Option<i64> {
        let key = "delivery-limit";
        let given = self.argument(key).into_iter().chain(self.policies(key)).filter_map(Value::as_i64);
        given.min_by_key(|limit| u64::try_from(*limit).unwrap_or(u64::MAX))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.argument(key).into_iter().chain(self.policies(key)).next().and_then(text)
    }

    pub(super) fn name(&self, key: &str) -> Option<Arc<str>> {
        self.text(key).map(Arc::from)
    }

    pub(super) fn overflow(&self) -> Overflow {
        match self.text("overflow") {
            Some("reject-publish") => Overflow::RejectPublish,
            Some("reject-publish-dlx") => Overflow::RejectPublishDlx,
            _ => Overflow::DropHead,
        }
    }

    pub(super) fn dead_letter_strategy(&self) -> DeadLetterStrategy {
        match self.text("dead-letter-strategy") {
            Some("at-least-once") => DeadLetterStrategy::AtLeastOnce,
            _ => DeadLetterStrategy::AtMostOnce,
        }
    }

    pub(super) fn queue_type(&self) -> QueueType {
        match self.argument("queue-type").and_then(text) {
            Some("quorum") => QueueType::Quorum,
            _ => QueueType::Classic,
        }
    }

    pub(super) fn argument_number(&self, key: &str) -> Option<u64> {
        self.argument(key).and_then(Value::as_i64).and_then(|number| u64::try_from(number).ok())
    }

    pub(super) fn argument_flag(&self, key: &str) -> bool {
        self.argument(key) == Some(&Value::Bool(true))
    }
}

/// Checks what does not go together with a quorum queue.
///
/// # Errors
/// `PreconditionFailed`, naming the property.
pub(crate) fn check_properties(options: &QueueOptions, object: &str) -> Result<(), Error> {
    if options.arguments.find("x-queue-type").and_then(text) != Some("quorum") {
        return Ok(());
    }
    let refused = [
        ("exclusive-owner", options.exclusive.is_some()),
        ("auto-delete", options.auto_delete),
        ("non-durable", !options.durable),
    ];
    match refused.iter().find(|(_, is)| *is) {
        Some((name, _)) => Err(Error::precondition(format!("invalid property '{name}' for {object}"))),
        None => Ok(()),
    }
}
