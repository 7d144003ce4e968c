//! A message on its way through the core: its route, its encoded properties and its body, each a slice.

use std::sync::Arc;

use leveret_amqp::{DeliveryMode, Properties, Table};

/// Route, properties and body in one piece, shared by all queues that hold the message.
pub type Record = Arc<Vec<u8>>;

/// A message being published. The slices lie in the reader's buffer, or in `record`.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Exchange and routing key as two short strings, as they stand in `basic.publish` and `basic.deliver`.
    pub route: &'a [u8],
    /// Property flags and values, encoded and well-formed.
    pub properties: &'a [u8],
    /// The body.
    pub body: &'a [u8],
    /// Whether it is to outlive the broker's process, in queues that do.
    pub persistent: bool,
    /// How long it may wait in a queue, in milliseconds: its `expiration` property.
    pub expiration_ms: Option<u64>,
    /// The piece of memory that holds the three slices one after another, where they are to be shared rather
    /// than copied.
    pub record: Option<&'a Record>,
}

impl<'a> Message<'a> {
    /// The message that lies in `record`: route, properties and body, of which the first two are so long.
    #[must_use]
    pub fn in_record(record: &'a Record, route_len: usize, properties_len: usize) -> Self {
        Self { record: Some(record), ..Self::of_parts(record, route_len, properties_len) }
    }

    /// The message whose route, properties and body these bytes are; the first two are so long.
    pub(crate) fn of_parts(bytes: &'a [u8], route_len: usize, properties_len: usize) -> Self {
        let (route, rest) = bytes.split_at(route_len);
        let (properties, body) = rest.split_at(properties_len);
        let parsed = Properties::parse(properties).unwrap_or_default();
        Self {
            route,
            properties,
            body,
            persistent: parsed.mode() == DeliveryMode::Persistent,
            expiration_ms: parsed.expiration.and_then(|expiration| expiration.parse().ok()),
            record: None,
        }
    }

    /// A copy of the message in a piece of memory of its own.
    #[must_use]
    pub fn to_record(&self) -> Record {
        match self.record {
            Some(record) => Arc::clone(record),
            None => Arc::new([self.route, self.properties, self.body].concat()),
        }
    }

    /// Bytes of route, properties and body.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.route.len() + self.properties.len() + self.body.len()
    }
}

/// Exchange and routing key as a [`Message`]'s route. Each is at most 255 bytes long, as short strings are.
#[must_use]
pub fn route_of(exchange: &str, routing_key: &str) -> Vec<u8> {
    let mut route = Vec::with_capacity(exchange.len() + routing_key.len() + 2);
    leveret_amqp::write_shortstr(exchange, &mut route);
    leveret_amqp::write_shortstr(routing_key, &mut route);
    route
}

/// The exchange and the routing key in a route; empty where it is not well-formed.
#[must_use]
pub fn split_route(route: &[u8]) -> (&str, &str) {
    let mut reader = leveret_amqp::Reader::new(route);
    (reader.read().unwrap_or_default(), reader.read().unwrap_or_default())
}

/// The properties without the `BCC` header, which no consumer sees; `None` where there is none.
#[must_use]
pub fn properties_without_bcc(properties: &Properties<'_>) -> Option<Vec<u8>> {
    let headers = properties.headers?;
    headers.find("BCC")?;
    let mut headers = headers.to_owned();
    headers.0.retain(|(name, _)| name != "BCC");
    let headers = headers.encode();
    let headers = Table::parse(&headers).ok()?;
    Some(Properties { headers: Some(headers), ..*properties }.encode())
}
