//! A virtual host on a clock of the test's own.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::sync::Arc;

use leveret_amqp::{DeliveryMode, FieldTable, Properties, Value};
use leveret_broker::{
    BindingName, Broker, Client, Effects, Fetched, Message, Owner, Queue, QueueOptions, QueueRules,
    Settlement, Time, Users, Vhost, route_of,
};

/// The connection that does everything.
pub const ME: Owner = Owner(1);

pub fn me() -> Client {
    Client { owner: ME, ..Client::broker() }
}

/// A virtual host with everything done in it.
pub struct House {
    pub broker: Broker,
    pub vhost: Arc<Vhost>,
    pub effects: Effects,
}

impl House {
    pub fn new() -> Self {
        Self::of(Broker::new(Users::new(vec![])))
    }

    pub fn of(broker: Broker) -> Self {
        let vhost = broker.add_vhost("/").unwrap();
        let mut effects = Effects::default();
        effects.now = Time(1_000_000_000);
        Self { broker, vhost, effects }
    }

    pub fn declare(&mut self, name: &str, arguments: impl IntoIterator<Item = (&'static str, Value)>) {
        let options = QueueOptions { arguments: FieldTable::from_iter(arguments), ..QueueOptions::default() };
        self.vhost.declare_queue(name, options, &me(), &mut self.effects).unwrap();
    }

    pub fn refusal(&mut self, arguments: impl IntoIterator<Item = (&'static str, Value)>) -> String {
        let options = QueueOptions { arguments: FieldTable::from_iter(arguments), ..QueueOptions::default() };
        let refused = self.vhost.declare_queue("refused", options, &me(), &mut self.effects);
        refused.err().expect("a refusal").text
    }

    /// Publishes to the queue by name; true where it was taken.
    pub fn publish(&mut self, queue: &str, body: &str, properties: Properties<'_>) -> bool {
        let encoded = properties.encode();
        let message = Message {
            route: &route_of("", queue),
            properties: &encoded,
            body: body.as_bytes(),
            persistent: properties.mode() == DeliveryMode::Persistent,
            expiration_ms: properties.expiration.map(|ms| ms.parse().unwrap()),
            record: None,
        };
        let (routing, _) = self.vhost.route(("", queue), &properties, &me()).unwrap();
        routing.route.publish(&[message], &mut self.effects);
        self.vhost.carry_out(&mut self.effects);
        !std::mem::take(&mut self.effects.rejected)
    }

    pub fn put(&mut self, queue: &str, body: &str) -> bool {
        self.publish(queue, body, Properties::default())
    }

    pub fn wait_ms(&mut self, ms: u64) {
        let end = self.effects.now.plus_ms(ms);
        // As a server would: from one due moment to the next.
        while let Some(due) = self.broker.tick(&mut self.effects).filter(|due| *due <= end) {
            self.effects.now = due.max(self.effects.now);
        }
        self.effects.now = end;
        self.broker.tick(&mut self.effects);
    }

    pub fn get(&mut self, queue: &str) -> Option<Fetched> {
        let queue = self.vhost.queue(queue, ME).unwrap();
        let fetched = queue.get(false, None, &mut self.effects);
        self.vhost.carry_out(&mut self.effects);
        fetched
    }

    pub fn texts(&mut self, queue: &str) -> Vec<String> {
        std::iter::from_fn(|| self.get(queue)).map(|it| String::from_utf8(it.body).unwrap()).collect()
    }

    pub fn count(&self, queue: &str) -> usize {
        self.vhost.queue(queue, ME).unwrap().ready_count()
    }

    /// Puts a policy in force for one queue.
    pub fn set_policy(&mut self, queue: &str, policy: impl IntoIterator<Item = (&'static str, Value)>) {
        let queue = self.vhost.queue(queue, ME).unwrap();
        let (policy, none) = (FieldTable::from_iter(policy), FieldTable::default());
        let rules = QueueRules::effective(&queue.options.arguments, &policy, &none, &queue.name).unwrap();
        queue.set_rules(rules, &mut self.effects);
        self.vhost.carry_out(&mut self.effects);
    }

    pub fn is_there(&self, queue: &str) -> bool {
        self.vhost.queue(queue, ME).is_ok()
    }

    pub fn queue(&self, name: &str) -> Arc<Queue> {
        self.vhost.queue(name, ME).unwrap()
    }

    pub fn settle(&mut self, queue: &str, fetched: &Fetched, settlement: Settlement) {
        self.queue(queue).settle(&[fetched.receipt.unwrap()], settlement, &mut self.effects);
        self.vhost.carry_out(&mut self.effects);
    }

    pub fn declare_durable(
        &mut self,
        name: &str,
        arguments: impl IntoIterator<Item = (&'static str, Value)>,
    ) {
        let arguments = FieldTable::from_iter(arguments);
        let options = QueueOptions { durable: true, arguments, ..QueueOptions::default() };
        self.vhost.declare_queue(name, options, &me(), &mut self.effects).unwrap();
    }

    pub fn close(self) {
        let Self { broker, vhost, effects } = self;
        drop((vhost, effects));
        broker.close().unwrap();
    }

    pub fn bind(&mut self, source: &str, queue: &str) {
        let arguments = FieldTable::default();
        let binding =
            BindingName { source, destination: queue, to_queue: true, key: "", arguments: &arguments };
        self.vhost.bind(binding, &me()).unwrap();
    }

    pub fn delete(&mut self, name: &str) {
        self.vhost.delete_queue(name, &me(), false, false).unwrap();
    }
}
