//! Bindings of `x-consistent-hash` exchanges: each message goes to one of them, chosen by a hash of its routing key, of
//! a header or of a property. Adding or removing a binding moves as few keys as can be.
//!
//! As in RabbitMQ's plugin the routing key of a binding is its weight, the number of points it has on a ring, and a
//! destination counts once whatever else is bound to it. Which key goes where is not the same as there.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;

use leveret_amqp::{FieldTable, Properties, Value, ValueRef};
use rustc_hash::FxHasher;

use super::bindings::{Binding, BindingSet, Destination};
use crate::Error;

/// The name of the type.
pub(super) const CONSISTENT_HASH: &str = "x-consistent-hash";
/// The greatest weight: the ring has a point for each.
const HEAVIEST: i64 = 100_000;

/// What is hashed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum HashOf {
    #[default]
    RoutingKey,
    Header(String),
    Property(HashedProperty),
}

/// The properties that may be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HashedProperty {
    CorrelationId,
    MessageId,
    Timestamp,
}

impl HashOf {
    /// # Errors
    /// `PreconditionFailed` where the arguments name both a header and a property, or an unknown property.
    pub(super) fn from_arguments(arguments: &FieldTable) -> Result<Self, Error> {
        match (text(arguments, "hash-header")?, text(arguments, "hash-property")?) {
            (None, None) => Ok(Self::RoutingKey),
            (Some(header), None) => Ok(Self::Header(header)),
            (None, Some(property)) => Ok(Self::Property(match property.as_str() {
                "correlation_id" => HashedProperty::CorrelationId,
                "message_id" => HashedProperty::MessageId,
                "timestamp" => HashedProperty::Timestamp,
                other => {
                    return Err(Error::precondition(format!("Unsupported property: {other}")));
                }
            })),
            (Some(_), Some(_)) => {
                Err(Error::precondition("hash-header and hash-property are mutually exclusive"))
            }
        }
    }

    fn hash(&self, routing_key: &str, properties: &Properties<'_>) -> u64 {
        match self {
            Self::RoutingKey => hash(routing_key.as_bytes()),
            Self::Header(name) => match properties.headers.unwrap_or_default().find(name) {
                Some(ValueRef::Text(text)) => hash(text),
                Some(other) => hash(format!("{other:?}").as_bytes()),
                None => hash(&[]),
            },
            Self::Property(HashedProperty::CorrelationId) => {
                hash(properties.correlation_id.unwrap_or_default().as_bytes())
            }
            Self::Property(HashedProperty::MessageId) => {
                hash(properties.message_id.unwrap_or_default().as_bytes())
            }
            Self::Property(HashedProperty::Timestamp) => {
                hash(&properties.timestamp.unwrap_or_default().to_be_bytes())
            }
        }
    }
}

fn text(arguments: &FieldTable, name: &str) -> Result<Option<String>, Error> {
    match arguments.find(name) {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
        Some(_) => Err(Error::precondition(format!("invalid arg '{name}': expected a string"))),
    }
}

/// # Errors
/// `PreconditionFailed` where a binding's routing key is no weight.
pub(super) fn check_weight(key: &str) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::precondition(what));
    match key.parse::<i64>() {
        Ok(1..=HEAVIEST) => Ok(()),
        Ok(..1) => wrong("The binding key must be greater than 0".into()),
        Ok(_) => wrong(format!("The binding key must not be greater than {HEAVIEST}")),
        Err(_) => wrong(format!("The binding key must be an integer: '{key}'")),
    }
}

/// The ring.
#[derive(Default)]
pub(super) struct HashRing {
    by: HashOf,
    /// Where each point leads.
    points: BTreeMap<u64, Destination>,
    bindings: BTreeMap<Arc<str>, BindingSet>,
}

impl HashRing {
    pub(super) fn new(by: HashOf) -> Self {
        Self { by, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    /// Whether every message with the same routing key goes the same way.
    pub(super) fn is_by_routing_key(&self) -> bool {
        self.by == HashOf::RoutingKey
    }

    pub(super) fn for_each(&self, found: &mut dyn FnMut(&Binding)) {
        self.bindings.values().flatten().for_each(found);
    }

    /// Adds a binding; false where it is there already. A destination that has points keeps those it has.
    pub(super) fn insert(&mut self, weight: &Arc<str>, binding: Binding) -> bool {
        let has_points = self.weight_of(&binding.destination).is_some();
        let destination = binding.destination.clone();
        let added = self.bindings.entry(Arc::clone(weight)).or_default().insert(binding);
        if added && !has_points {
            self.add_points(weight, &destination);
        }
        added
    }

    /// Removes a binding; false where there is none.
    pub(super) fn remove(&mut self, weight: &Arc<str>, binding: &Binding) -> bool {
        let Some(set) = self.bindings.get_mut(weight) else { return false };
        if !set.swap_remove(binding) {
            return false;
        }
        if set.is_empty() {
            self.bindings.remove(weight);
        }
        let is_it = |other: &Destination| is_same(other, &binding.destination);
        self.points.retain(|_, destination| !is_it(destination));
        if let Some(other) = self.weight_of(&binding.destination) {
            self.add_points(&other, &binding.destination);
        }
        true
    }

    fn weight_of(&self, destination: &Destination) -> Option<Arc<str>> {
        let leads_there = |set: &BindingSet| set.iter().any(|it| is_same(&it.destination, destination));
        let (weight, _) = self.bindings.iter().find(|(_, set)| leads_there(set))?;
        Some(Arc::clone(weight))
    }

    fn add_points(&mut self, weight: &str, destination: &Destination) {
        let start = hash(destination.name().as_bytes()) ^ u64::from(destination.is_queue());
        for n in 0..weight.parse::<u64>().unwrap_or(1) {
            let mut point = hash(&[start.to_be_bytes(), n.to_be_bytes()].concat());
            while self.points.contains_key(&point) {
                point = point.wrapping_add(1);
            }
            self.points.insert(point, destination.clone());
        }
    }

    /// Where the message goes.
    pub(super) fn chosen(&self, routing_key: &str, properties: &Properties<'_>) -> Option<&Destination> {
        let hash = self.by.hash(routing_key, properties);
        let mut from_there = self.points.range(hash..).chain(&self.points);
        from_there.next().map(|(_, destination)| destination)
    }
}

fn is_same(a: &Destination, b: &Destination) -> bool {
    a.is_queue() == b.is_queue() && a.name() == b.name()
}

/// Spreads evenly what differs by little, such as numbered keys.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(bytes);
    let mut hash = hasher.finish();
    // The finish of MurmurHash3: every bit of the input tells on every bit of the output.
    for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}
