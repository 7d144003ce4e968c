//! The bindings of one exchange, kept so that its type finds those that match a message without looking at the
//! others.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use indexmap::{Equivalent, IndexSet};
use leveret_amqp::{Properties, Table};
use rustc_hash::{FxBuildHasher, FxHashMap, FxHashSet};

use super::hash_ring::{self, HashRing};
use super::headers::{self, Headers, HeadersMatch};
use super::topic::TopicTrie;
use crate::{Error, Queue};

/// Where a binding leads.
#[derive(Clone)]
pub enum Destination {
    /// To a queue.
    Queue(Arc<Queue>),
    /// To another exchange of the virtual host, by name.
    Exchange(Arc<str>),
}

impl Destination {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Queue(queue) => &queue.name,
            Self::Exchange(name) => name,
        }
    }

    pub(super) fn is_queue(&self) -> bool {
        matches!(self, Self::Queue(_))
    }
}

/// A binding, but for its source and routing key. Two are the same when destination and arguments are.
#[derive(Clone)]
pub(super) struct Binding {
    pub(super) destination: Destination,
    /// An encoded field table.
    pub(super) arguments: Arc<[u8]>,
}

impl Binding {
    fn identity(&self) -> (bool, &str, &[u8]) {
        (self.destination.is_queue(), self.destination.name(), &self.arguments)
    }
}

impl PartialEq for Binding {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Binding {}

impl Hash for Binding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl Equivalent<Binding> for (bool, &str, &[u8]) {
    fn equivalent(&self, binding: &Binding) -> bool {
        *self == binding.identity()
    }
}

/// Bindings with the same routing key.
pub(super) type BindingSet = IndexSet<Binding, FxBuildHasher>;

/// All bindings of an exchange.
pub(super) enum Bindings {
    Direct(FxHashMap<Arc<str>, BindingSet>),
    /// Routing keys are kept, since a binding is known by them, but not looked at.
    Fanout(FxHashMap<Arc<str>, BindingSet>),
    Topic(TopicTrie),
    Headers(IndexSet<(Arc<str>, HeadersMatch), FxBuildHasher>),
    ConsistentHash(HashRing),
}

impl Bindings {
    /// Adds a binding; false where it is there already.
    pub(super) fn insert(&mut self, key: &Arc<str>, binding: Binding) -> bool {
        match self {
            Self::Direct(keys) | Self::Fanout(keys) => {
                keys.entry(Arc::clone(key)).or_default().insert(binding)
            }
            Self::Topic(trie) => trie.insert(key, binding),
            Self::Headers(all) => all.insert((Arc::clone(key), HeadersMatch::new(binding))),
            Self::ConsistentHash(ring) => ring.insert(key, binding),
        }
    }

    /// Removes a binding; false where there is none.
    pub(super) fn remove(&mut self, key: &Arc<str>, binding: &Binding) -> bool {
        match self {
            Self::Direct(keys) | Self::Fanout(keys) => {
                let Some(set) = keys.get_mut(key) else { return false };
                let removed = set.swap_remove(&binding.identity());
                if set.is_empty() {
                    keys.remove(key);
                }
                removed
            }
            Self::Topic(trie) => trie.remove(key, binding),
            Self::Headers(all) => all.swap_remove(&(Arc::clone(key), HeadersMatch::new(binding.clone()))),
            Self::ConsistentHash(ring) => ring.remove(key, binding),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Direct(keys) | Self::Fanout(keys) => keys.is_empty(),
            Self::Topic(trie) => trie.is_empty(),
            Self::Headers(all) => all.is_empty(),
            Self::ConsistentHash(ring) => ring.is_empty(),
        }
    }

    /// Where they lead, each place once: whether it is a queue, and its name.
    pub(super) fn ends(&self) -> FxHashSet<(bool, Arc<str>)> {
        let mut ends = FxHashSet::default();
        let mut note = |binding: &Binding| {
            ends.insert((binding.destination.is_queue(), Arc::clone(binding.destination.name())));
        };
        match self {
            Self::Direct(keys) | Self::Fanout(keys) => keys.values().flatten().for_each(note),
            Self::Topic(trie) => trie.for_each(&mut note),
            Self::Headers(all) => all.iter().for_each(|(_, pattern)| note(&pattern.binding)),
            Self::ConsistentHash(ring) => ring.for_each(&mut note),
        }
        ends
    }

    /// Whether more of a message than its routing key has a say in where it goes.
    pub(super) fn look_at_properties(&self) -> bool {
        match self {
            Self::Headers(_) => true,
            Self::ConsistentHash(ring) => !ring.is_by_routing_key(),
            _ => false,
        }
    }

    /// Whether the routing key of a message has a say in where it goes.
    pub(super) fn look_at_key(&self) -> bool {
        !matches!(self, Self::Fanout(_) | Self::Headers(_))
    }

    /// Whether a binding may have this key and these arguments.
    pub(super) fn check(&self, key: &str, arguments: &[u8]) -> Result<(), Error> {
        match self {
            Self::Headers(_) => headers::check_arguments(Table::parse(arguments).unwrap_or_default()),
            Self::ConsistentHash(_) => hash_ring::check_weight(key),
            _ => Ok(()),
        }
    }

    /// Calls `found` with the destination of each binding that matches; a destination may come several times.
    pub(super) fn matching(
        &self,
        routing_key: &str,
        (properties, headers): (&Properties<'_>, &Headers<'_>),
        found: &mut dyn FnMut(&Destination),
    ) {
        match self {
            Self::Direct(keys) => {
                if let Some(set) = keys.get(routing_key) {
                    set.iter().for_each(|binding| found(&binding.destination));
                }
            }
            Self::Fanout(keys) => {
                keys.values().flatten().for_each(|binding| found(&binding.destination));
            }
            Self::Topic(trie) => trie.matching(routing_key, &mut |binding| found(&binding.destination)),
            Self::Headers(all) => {
                all.iter()
                    .filter(|(_, pattern)| pattern.matches(headers))
                    .for_each(|(_, pattern)| found(&pattern.binding.destination));
            }
            Self::ConsistentHash(ring) => {
                ring.chosen(routing_key, properties).into_iter().for_each(found);
            }
        }
    }
}
