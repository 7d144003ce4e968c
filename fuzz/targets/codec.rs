//! Any bytes, taken for frames, methods, tables, properties and headers.
#![no_main]

#[path = "../../crates/leveret-amqp/tests/support/round_trip.rs"]
mod round_trip;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| round_trip::check(bytes));
