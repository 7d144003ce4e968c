//! Messages as a peer receives them.

use leveret_amqp::{Properties, Value, basic};

/// A message that came by `basic.deliver`.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The consumer it is for.
    pub consumer_tag: String,
    /// What it is acknowledged by.
    pub tag: u64,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// The exchange it was published to.
    pub exchange: String,
    /// Its routing key.
    pub routing_key: String,
    /// Its properties, encoded.
    pub encoded_properties: Vec<u8>,
    /// Its body.
    pub body: Vec<u8>,
}

/// A message that came by `basic.get-ok`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    /// The message; its consumer tag is empty.
    pub delivery: Delivery,
    /// Messages left in the queue.
    pub message_count: u32,
}

/// A message that came back by `basic.return`.
#[derive(Clone, Debug, PartialEq)]
pub struct Returned {
    /// Reply code and text.
    pub reason: (u16, String),
    /// The message; consumer tag and delivery tag are empty.
    pub delivery: Delivery,
}

/// What comes of a publish on a channel in confirm mode.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It came back; the confirm follows.
    Returned(Returned),
    /// The broker has it.
    Acked(basic::Ack),
    /// The broker could not take it.
    Nacked(basic::Nack),
}

impl Delivery {
    pub(crate) fn from_method(deliver: basic::Deliver<'_>) -> Self {
        Self {
            consumer_tag: deliver.consumer_tag.into(),
            tag: deliver.delivery_tag,
            redelivered: deliver.redelivered,
            ..Self::on_route(deliver.exchange, deliver.routing_key)
        }
    }

    /// A message of which nothing is known yet but its route.
    pub(crate) fn on_route(exchange: &str, routing_key: &str) -> Self {
        Self {
            consumer_tag: String::new(),
            tag: 0,
            redelivered: false,
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            encoded_properties: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Its properties.
    #[must_use]
    pub fn properties(&self) -> Properties<'_> {
        Properties::parse(&self.encoded_properties).expect("the broker sends well-formed properties")
    }

    /// One of its headers.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Value> {
        Some(self.properties().headers?.find(name)?.to_owned())
    }

    /// Its body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }
}
