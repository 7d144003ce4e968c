//! What a queue's `x-` arguments ask for, and what policies add: the rules in force. How a rule is carried out is
//! elsewhere.

use std::sync::Arc;

use leveret_amqp::FieldTable;

use super::arguments::Sources;
use crate::{Error, Time};

/// The rules of a queue. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueRules {
    /// `x-queue-type`.
    pub queue_type: QueueType,
    /// `x-message-ttl`: how long a message may wait.
    pub message_ttl_ms: Option<u64>,
    /// `x-expires`: how long the queue may be unused.
    pub expires_ms: Option<u64>,
    /// `x-max-length`: most ready messages.
    pub max_length: Option<u64>,
    /// `x-max-length-bytes`: most bytes of ready messages' bodies.
    pub max_length_bytes: Option<u64>,
    /// `x-overflow`: what happens at that length.
    pub overflow: Overflow,
    /// `x-dead-letter-exchange`: where messages go that are rejected, expired or too many.
    pub dead_letter_exchange: Option<Arc<str>>,
    /// `x-dead-letter-routing-key`: with which key, if not their own.
    pub dead_letter_routing_key: Option<Arc<str>>,
    /// `x-dead-letter-strategy`: what happens to a dead letter that nobody takes.
    pub dead_letter_strategy: DeadLetterStrategy,
    /// `x-max-priority`: the highest priority that counts; 0 for a queue without.
    pub max_priority: u8,
    /// `x-single-active-consumer`: whether one consumer at a time gets all deliveries.
    pub single_active_consumer: bool,
    /// `x-delivery-limit`: how often a message may come back.
    pub delivery_limit: Option<u64>,
    /// `x-consumer-timeout`: how long a consumer may hold a delivery.
    pub consumer_timeout_ms: Option<u64>,
    /// `x-message-deduplication`: how far back a message is known to have been published before.
    pub deduplication: Option<Window>,
}

/// The kinds of queue. They share one implementation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueType {
    /// Durable or not, with every feature but the delivery limit.
    #[default]
    Classic,
    /// Durable, keeps every message on disk, and counts deliveries.
    Quorum,
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Lets the oldest go.
    #[default]
    DropHead,
    /// Takes no new one, which is nacked where it was to be confirmed.
    RejectPublish,
    /// Takes no new one, and dead-letters it.
    RejectPublishDlx,
}

/// What happens to a dead letter whose target does not take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadLetterStrategy {
    /// It is gone.
    #[default]
    AtMostOnce,
    /// Its queue keeps it and tries again.
    AtLeastOnce,
}

/// How far back a deduplicating queue remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// `x-cache-size`: most messages remembered.
    pub size: usize,
    /// `x-cache-ttl`: how long each is, in milliseconds; `None` for as long as there is room.
    pub ttl_ms: Option<u64>,
}

/// Deliveries that come back before a quorum queue gives a message up, as in RabbitMQ 4.
const DELIVERY_LIMIT: u64 = 20;
/// Messages remembered by a deduplicating queue that is not told how many.
const REMEMBERED: u64 = 10_000;

impl QueueRules {
    /// The rules of the queue that `object` names: its arguments, merged with the definitions of the policy and the
    /// operator policy that apply to it (empty where none does). Of numeric limits the lowest counts; of all else
    /// the argument, then the operator policy, then the policy. What a policy says wrongly is passed over, see
    /// [`check_policy`](super::check_policy).
    ///
    /// # Errors
    /// `PreconditionFailed`, naming the argument that is of the wrong type or out of range.
    pub fn effective(
        arguments: &FieldTable,
        policy: &FieldTable,
        operator: &FieldTable,
        object: &str,
    ) -> Result<Self, Error> {
        let sources = Sources { arguments, policy, operator, object };
        sources.check_arguments()?;
        let queue_type = sources.queue_type();
        let delivery_limit = match sources.delivery_limit() {
            None if queue_type == QueueType::Quorum => Some(DELIVERY_LIMIT),
            given => given.and_then(|limit| u64::try_from(limit).ok()),
        };
        Ok(Self {
            queue_type,
            message_ttl_ms: sources.number("message-ttl"),
            expires_ms: sources.number("expires"),
            max_length: sources.number("max-length"),
            max_length_bytes: sources.number("max-length-bytes"),
            overflow: sources.overflow(),
            dead_letter_exchange: sources.name("dead-letter-exchange"),
            dead_letter_routing_key: sources.name("dead-letter-routing-key"),
            dead_letter_strategy: sources.dead_letter_strategy(),
            max_priority: sources.argument_number("max-priority").unwrap_or(0) as u8,
            single_active_consumer: sources.argument_flag("single-active-consumer"),
            delivery_limit,
            consumer_timeout_ms: sources.number("consumer-timeout"),
            deduplication: sources.argument_flag("message-deduplication").then_some(Window {
                size: sources.argument_number("cache-size").unwrap_or(REMEMBERED) as usize,
                ttl_ms: sources.argument_number("cache-ttl"),
            }),
        })
    }

    /// The rules that the arguments alone make.
    ///
    /// # Errors
    /// As [`QueueRules::effective`].
    pub fn parse(arguments: &FieldTable, object: &str) -> Result<Self, Error> {
        let none = FieldTable::default();
        Self::effective(arguments, &none, &none, object)
    }

    /// Whether a message may be refused, so that each needs an answer of its own.
    #[must_use]
    pub fn may_reject(&self) -> bool {
        self.overflow != Overflow::DropHead && (self.max_length.is_some() || self.max_length_bytes.is_some())
    }

    /// When a message that was published then is to expire, by its own `expiration` or the queue's.
    #[inline]
    pub(super) fn expiry(&self, published: Time, expiration_ms: Option<u64>) -> Time {
        match (self.message_ttl_ms, expiration_ms) {
            (None, None) => Time::NEVER,
            (Some(ms), None) | (None, Some(ms)) => published.plus_ms(ms),
            (Some(queue_ms), Some(own_ms)) => published.plus_ms(queue_ms.min(own_ms)),
        }
    }

    /// Whether so many ready messages with so many bytes are more than the queue may hold.
    pub(super) fn is_over(&self, ready: usize, bytes: u64) -> bool {
        self.max_length.is_some_and(|max| ready as u64 > max)
            || self.max_length_bytes.is_some_and(|max| bytes > max)
    }
}
