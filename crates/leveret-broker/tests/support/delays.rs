//! A durable delayed exchange `x` in a house, all of which goes to the durable queue `q`.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::sync::Arc;

use leveret_amqp::{DeliveryMode, FieldTable, Properties, Table, Value};
use leveret_broker::{
    BindingName, Catalog, Change, DelayedExchange, ExchangeOptions, Message, QueueOptions, route_of,
};
use parking_lot::Mutex;

use crate::house::{House, me};

pub const PERSISTENT: u8 = 2;

/// Rows in memory, given back after a restart.
#[derive(Clone, Default)]
pub struct Rows(pub Arc<Mutex<Vec<Change>>>);

impl Catalog for Rows {
    fn keep(&self, changes: &[Change]) -> Result<(), String> {
        self.0.lock().extend_from_slice(changes);
        Ok(())
    }
}

/// A house with a durable delayed exchange `x`, all of which goes to the durable queue `q`.
pub fn furnish(house: &mut House) {
    let arguments = FieldTable::from_iter([("x-delayed-type", Value::from("fanout"))]);
    let options =
        ExchangeOptions { kind: "x-delayed-message".into(), durable: true, arguments, ..Default::default() };
    house.vhost.declare_exchange("x", options, &me()).unwrap();
    let options = QueueOptions { durable: true, ..QueueOptions::default() };
    house.vhost.declare_queue("q", options, &me(), &mut house.effects).unwrap();
    bind(house, "q");
}

pub fn bind(house: &House, queue: &str) {
    let arguments = FieldTable::default();
    let binding =
        BindingName { source: "x", destination: queue, to_queue: true, key: "", arguments: &arguments };
    house.vhost.bind(binding, &me()).unwrap();
}

pub fn publish(house: &mut House, body: &str, delay_ms: i64, mode: u8, message_id: Option<&str>) {
    assert!(offer(house, body, delay_ms, mode, message_id));
}

/// Publishes; false where the store did not take it.
pub fn offer(house: &mut House, body: &str, delay_ms: i64, mode: u8, message_id: Option<&str>) -> bool {
    let headers = FieldTable::from_iter([("x-delay", Value::I64(delay_ms))]).encode();
    let headers = Some(Table::parse(&headers).unwrap());
    let properties = Properties { headers, delivery_mode: Some(mode), message_id, ..Properties::default() };
    let encoded = properties.encode();
    let message = Message {
        route: &route_of("x", ""),
        properties: &encoded,
        body: body.as_bytes(),
        persistent: properties.mode() == DeliveryMode::Persistent,
        expiration_ms: None,
        record: None,
    };
    let (routing, delay) = house.vhost.route(("x", ""), &properties, &me()).unwrap();
    let now = house.effects.now;
    house.vhost.hold(&routing.route, &message, (delay.unwrap(), now), &mut house.effects);
    house.effects.failure.take().is_none()
}

pub fn hold(house: &mut House, body: &str, delay_ms: i64) {
    publish(house, body, delay_ms, PERSISTENT, None);
}

pub fn exchange(house: &House) -> Arc<DelayedExchange> {
    house.vhost.delayed_exchange("x").unwrap()
}
