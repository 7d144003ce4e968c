//! Any bytes, taken for frames, methods, tables, properties and headers.

#[path = "../../crates/leveret-amqp/tests/support/round_trip.rs"]
mod round_trip;

use crate::Worth;

/// Fuzzes with these bytes.
pub fn fuzz(bytes: &[u8]) -> Worth {
    round_trip::check(bytes);
    Worth::Keeping
}
