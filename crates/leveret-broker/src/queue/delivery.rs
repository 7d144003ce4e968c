//! How a message looks to the consumer that gets it.

use leveret_amqp::{Properties, Table, Value};

use super::entry::Entry;

/// The properties of a message whose returns are counted, with `x-delivery-count`; `None` for all others.
#[inline]
pub(super) fn counted(entry: &Entry, encoded: &[u8]) -> Option<Vec<u8>> {
    if entry.returns == 0 { None } else { with_delivery_count(encoded, entry.returns) }
}

#[cold]
fn with_delivery_count(encoded: &[u8], returns: u16) -> Option<Vec<u8>> {
    let properties = Properties::parse(encoded).ok()?;
    let mut headers = properties.headers.unwrap_or_default().to_owned();
    headers.set("x-delivery-count", Value::I64(returns.into()));
    let headers = headers.encode();
    Some(Properties { headers: Some(Table::parse(&headers).ok()?), ..properties }.encode())
}
