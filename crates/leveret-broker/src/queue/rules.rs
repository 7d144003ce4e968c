//! What a queue's `x-` arguments ask for.

use std::sync::Arc;

use leveret_amqp::{FieldTable, Value};

use crate::{Error, Time};

/// The rules of a queue. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueRules {
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

/// Arguments that Leveret does not have yet; accepting them in silence would break promises.
const UNSUPPORTED: [&str; 5] = [
    "x-max-priority",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-consumer-timeout",
    "x-message-deduplication",
];

/// The longest time to live, in milliseconds, as in RabbitMQ: 100 years.
const LONGEST_MS: i64 = 100 * 365 * 86_400_000;

impl QueueRules {
    /// Reads the arguments of the queue that `object` names.
    ///
    /// # Errors
    /// `PreconditionFailed`, naming the argument that is of the wrong type or out of range.
    pub fn parse(arguments: &FieldTable, object: &str) -> Result<Self, Error> {
        let arguments = Arguments { arguments, object };
        arguments.check_supported()?;
        let rules = Self {
            message_ttl_ms: arguments.number("x-message-ttl", 0, LONGEST_MS)?,
            expires_ms: arguments.number("x-expires", 1, LONGEST_MS)?,
            max_length: arguments.number("x-max-length", 0, i64::MAX)?,
            max_length_bytes: arguments.number("x-max-length-bytes", 0, i64::MAX)?,
            overflow: arguments.overflow()?,
            dead_letter_exchange: arguments.text("x-dead-letter-exchange")?,
            dead_letter_routing_key: arguments.text("x-dead-letter-routing-key")?,
        };
        if rules.dead_letter_routing_key.is_some() && rules.dead_letter_exchange.is_none() {
            return Err(arguments.wrong("x-dead-letter-routing-key", "set without x-dead-letter-exchange"));
        }
        Ok(rules)
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

struct Arguments<'a> {
    arguments: &'a FieldTable,
    object: &'a str,
}

impl Arguments<'_> {
    fn wrong(&self, name: &str, what: &str) -> Error {
        Error::precondition(format!("invalid arg '{name}' for {}: {what}", self.object))
    }

    fn check_supported(&self) -> Result<(), Error> {
        match self.arguments.0.iter().find(|(name, _)| UNSUPPORTED.contains(&name.as_str())) {
            None => Ok(()),
            Some((name, _)) => Err(self.wrong(name, "asks for what Leveret does not have yet")),
        }
    }

    fn number(&self, name: &str, least: i64, most: i64) -> Result<Option<u64>, Error> {
        let Some(value) = self.arguments.find(name) else { return Ok(None) };
        let number = value.as_i64().ok_or_else(|| self.wrong(name, "expected an integer"))?;
        if number < least {
            return Err(self.wrong(name, &format!("{number} is too small, the least is {least}")));
        }
        if number > most {
            return Err(self.wrong(name, &format!("{number} is too large, the most is {most}")));
        }
        Ok(Some(number.unsigned_abs()))
    }

    fn text(&self, name: &str) -> Result<Option<Arc<str>>, Error> {
        match self.arguments.find(name) {
            None => Ok(None),
            Some(Value::Text(text)) => match std::str::from_utf8(text) {
                Ok(text) if text.len() <= 255 => Ok(Some(text.into())),
                _ => Err(self.wrong(name, "expected at most 255 bytes of UTF-8")),
            },
            Some(_) => Err(self.wrong(name, "expected a string")),
        }
    }

    fn overflow(&self) -> Result<Overflow, Error> {
        match self.text("x-overflow")?.as_deref() {
            None | Some("drop-head") => Ok(Overflow::DropHead),
            Some("reject-publish") => Ok(Overflow::RejectPublish),
            Some("reject-publish-dlx") => Ok(Overflow::RejectPublishDlx),
            Some(other) => Err(self.wrong(
                "x-overflow",
                &format!("'{other}' is none of drop-head, reject-publish, reject-publish-dlx"),
            )),
        }
    }
}
