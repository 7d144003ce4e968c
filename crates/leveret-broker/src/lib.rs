//! The core of the broker: virtual hosts, exchanges, bindings, queues, consumers, delays and users, as plain
//! state machines. Inputs are methods, outputs are values or calls of a [`Mailbox`], and time is an argument.
//!
//! No socket, file, clock, thread or async lives here, and nothing here knows how a frame looks. Locks are
//! taken in one order only: topology, then queue, then mailbox.

mod administration;
mod backing;
mod broker;
mod catalog;
mod connections;
mod dead_letter;
mod definitions;
mod delay;
mod error;
mod json;
mod limits;
mod listing;
mod mailbox;
mod message;
mod moved;
mod parameters;
mod password;
mod pattern;
mod permissions;
mod policies;
mod queue;
pub mod stored;
mod time;
mod timers;
mod topology;
mod users;
mod vhost;

pub use administration::{CLUSTER_NAME, FirstUser};
pub use backing::{Backing, OpenStore};
pub use broker::Broker;
pub use catalog::{Catalog, Change, KeptBinding};
pub use connections::{
    Channel, ChannelConsumer, ChannelMode, Churn, Connection, ConnectionOptions, Connections, Count,
    MessageCounts, MessageTotals,
};
pub use definitions::{
    BindingDefinition, Definitions, ExchangeDefinition, PolicyDefinition, QueueDefinition, VhostDefinition,
};
pub use delay::{DelayedExchange, DelayedMessage, DelayedTotals, DueCell, HeldId, Holding, PlainDelay};
pub use error::{Error, ErrorKind};
pub(crate) use json::parsed;
pub use json::{table_from_json, table_to_json, value_to_json};
pub use limits::{UserLimits, VhostLimits};
pub use mailbox::{Delivery, Holder, Inbox, Mailbox};
pub use message::{Message, Record, properties_without_bcc, route_of, split_route};
pub use moved::Moves;
pub use parameters::{GlobalParameter, Parameter};
pub use password::{HashAlgorithm, PasswordHash};
pub use pattern::Pattern;
pub use permissions::{Access, Client, Operation, Permission, Resource, TopicPermission};
pub use policies::{Applied, ApplyTo, Policy, PolicyKind};
pub use queue::{
    CONGESTED_READY, Consume, ConsumerKey, ConsumerState, DeadLetterStrategy, Effects, Fetched, Group,
    Overflow, Owner, Peeked, Queue, QueueCounts, QueueOptions, QueueRules, QueueStats, QueueType, Receipt,
    Settlement, Window, check_operator_policy, check_policy,
};
pub use time::Time;
pub use topology::{
    BindingName, Destination, Exchange, ExchangeCounts, ExchangeKind, ExchangeOptions, ListedExchange, Route,
    Routing,
};
pub use users::{Login, User, UserPermission, UserTopicPermission, Users};
pub use vhost::{Declared, Vhost, VhostSettings};

/// The values of AMQP that the core speaks in.
pub use leveret_amqp::{FieldTable, Properties, Table, Value as TableValue, ValueRef};
/// What the store says of itself and of what it could not do.
pub use leveret_store::{
    CommitEvent, Durability, Lsn, Options as StoreOptions, Stats as StoreStats, StoreError,
    Syncs as StoreSyncs,
};
