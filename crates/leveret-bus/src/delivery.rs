//! A message as it arrives at a handler.

use lapin::message::Delivery as Received;

use crate::headers::{ATTEMPTS, DELAY, EXCHANGE, FIRST_FAILED_MS, Headers, REPLAYS, ROUTING_KEY};
use crate::message::{Message, Properties};

/// A message that arrived, with all that is known about it.
#[derive(Clone, Debug)]
pub struct Delivery {
    exchange: String,
    routing_key: String,
    redelivered: bool,
    body: Vec<u8>,
    properties: Properties,
}

impl Delivery {
    pub(crate) fn new(received: Received) -> Self {
        Self {
            exchange: received.exchange.to_string(),
            routing_key: received.routing_key.to_string(),
            redelivered: received.redelivered,
            properties: Properties::from_amqp(&received.properties),
            body: received.data,
        }
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The message id, the same on every attempt. A message that came without one has one made up for this attempt,
    /// kept from the first failure on.
    pub fn message_id(&self) -> &str {
        &self.properties.message_id
    }

    /// The exchange that the message was first published to.
    pub fn exchange(&self) -> String {
        self.headers().text(EXCHANGE).unwrap_or_else(|| self.exchange.clone())
    }

    /// The routing key that the message was first published with.
    pub fn routing_key(&self) -> String {
        self.headers().text(ROUTING_KEY).unwrap_or_else(|| self.routing_key.clone())
    }

    /// Which attempt this is, from 1. Deliveries that ended in a crash do not count; see
    /// [`is_redelivered`](Self::is_redelivered).
    pub fn attempt(&self) -> u32 {
        self.failures().saturating_add(1)
    }

    /// How often the message was replayed from the parked queue. Each replay starts again at attempt 1.
    pub fn replays(&self) -> u32 {
        count(self.headers(), REPLAYS)
    }

    /// True when the broker gave this message out before and got no answer: what the handler does may
    /// have been done already.
    pub fn is_redelivered(&self) -> bool {
        self.redelivered
    }

    /// When the first attempt failed, in milliseconds since 1970 UTC.
    pub fn first_failed_ms(&self) -> Option<i64> {
        self.headers().integer(FIRST_FAILED_MS)
    }

    /// The content type, where the sender set one.
    pub fn content_type(&self) -> Option<&str> {
        self.properties.content_type()
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        &self.properties.headers
    }

    /// Attempts that failed.
    pub(crate) fn failures(&self) -> u32 {
        count(self.headers(), ATTEMPTS)
    }

    /// The message to be sent on, remembering where it was first published.
    pub(crate) fn into_copy(self) -> Message {
        let (exchange, routing_key) = (self.exchange(), self.routing_key());
        let mut properties = self.properties;
        properties.headers.set_text(EXCHANGE, exchange.as_str());
        properties.headers.set_text(ROUTING_KEY, routing_key.as_str());
        properties.headers.remove(DELAY);
        properties.headers.forget_dead_letters();
        Message::from_parts(exchange, routing_key, self.body, properties, true)
    }
}

/// A header that counts something; one that makes no sense counts as 0.
pub(crate) fn count(headers: &Headers, name: &str) -> u32 {
    headers.integer(name).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}
