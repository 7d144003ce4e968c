//! Messages as they stand in the store, for those who look at a data directory from outside.

use crate::message::split_route;
use crate::queue::{PREFIX_BYTES, stored_lens};

/// A stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The exchange it was published to.
    pub exchange: &'a str,
    /// With this key.
    pub routing_key: &'a str,
    /// Property flags and values, encoded.
    pub properties: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// The message in a record of a queue; `None` where it is none.
#[must_use]
pub fn message_of(record: &[u8]) -> Option<Message<'_>> {
    let lens = stored_lens(record)?;
    let (route, rest) = record.get(PREFIX_BYTES..)?.split_at_checked(lens.route.into())?;
    let (properties, body) = rest.split_at_checked(lens.properties as usize)?;
    let (exchange, routing_key) = split_route(route);
    Some(Message { exchange, routing_key, properties, body })
}
