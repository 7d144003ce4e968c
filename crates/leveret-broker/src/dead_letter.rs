//! Dead letters: messages that a queue lets go of unconsumed, on their way to its dead-letter exchange.
//!
//! The headers are RabbitMQ's (<https://www.rabbitmq.com/docs/dlx>): `x-death` holds a table for each queue and
//! reason, newest first, and counts repetitions; `x-first-death-*` and `x-last-death-*` name the ends.

use std::sync::Arc;

use leveret_amqp::{FieldTable, Properties, Table, Value, ValueRef};

use crate::message::split_route;
use crate::queue::{QueueRules, StoreHandle};
use crate::{Message, Record, Route, Time};

/// Why a message is a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Rejected,
    Expired,
    MaxLength,
    DeliveryLimit,
}

impl Reason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// A message that a queue has let go of. The store keeps it until it has arrived elsewhere.
pub(crate) struct DeadLetter {
    pub(crate) queue: Arc<str>,
    pub(crate) rules: Arc<QueueRules>,
    pub(crate) reason: Reason,
    pub(crate) record: Record,
    pub(crate) route_len: usize,
    pub(crate) properties_len: usize,
    /// Whether the queue had taken it. What a full queue refuses is still its publisher's.
    pub(crate) is_owed: bool,
    /// Its place in the store of its queue, where that has one.
    pub(crate) stored: Option<Stored>,
    /// Who took it when others of its targets did not.
    pub(crate) taken_by: Option<Arc<TakenBy>>,
}

/// Targets that have a dead letter already, and are not to be sent it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TakenBy {
    queues: Vec<Arc<str>>,
    /// Exchanges that hold it back.
    exchanges: Vec<Arc<str>>,
}

/// A message's place in the store.
pub(crate) struct Stored {
    pub(crate) handle: StoreHandle,
    pub(crate) level: u8,
    pub(crate) seq: u64,
    pub(crate) published: Time,
    pub(crate) persistent: bool,
    /// Whether the store has it there, or is about to.
    pub(crate) is_known: bool,
}

impl DeadLetter {
    /// Takes out of its route who has it already.
    pub(crate) fn leave_out_taken(&self, route: &mut Route) {
        if let Some(taken_by) = &self.taken_by {
            route.queues.retain(|queue| !taken_by.queues.contains(&queue.name));
            route.delayed.retain(|exchange| !taken_by.exchanges.contains(&exchange.name));
        }
    }

    /// Notes that all of its route have it now but for the `refused` queues.
    pub(crate) fn note_taken(&mut self, route: &Route, refused: &[Arc<str>]) {
        let mut taken_by = self.taken_by.as_deref().cloned().unwrap_or_default();
        let queues = route.queues.iter().map(|queue| &queue.name);
        taken_by.queues.extend(queues.filter(|name| !refused.contains(name)).cloned());
        taken_by.exchanges.extend(route.delayed.iter().map(|exchange| Arc::clone(&exchange.name)));
        if taken_by != TakenBy::default() {
            self.taken_by = Some(Arc::new(taken_by));
        }
    }

    /// Has the store forget it, now that it is elsewhere.
    pub(crate) fn settle(&self) {
        if let Some(stored) = self.stored.as_ref().filter(|stored| stored.is_known) {
            stored.handle.settle(&[stored.seq]);
        }
    }

    pub(crate) fn message(&self) -> Message<'_> {
        Message::in_record(&self.record, self.route_len, self.properties_len)
    }

    /// The properties with which it goes on; `None` where the old ones cannot be read.
    pub(crate) fn properties(&self, now: Time) -> Option<Vec<u8>> {
        let message = self.message();
        let old = Properties::parse(message.properties).ok()?;
        let mut headers = old.headers.unwrap_or_default().to_owned();
        self.note_death(&mut headers, &old, now);
        if self.rules.dead_letter_routing_key.is_some() {
            headers.0.retain(|(name, _)| name != "CC");
        }
        // RabbitMQ sorts them.
        headers.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        let headers = headers.encode();
        let headers = Some(Table::parse(&headers).ok()?);
        // It must not expire where it goes.
        Some(Properties { headers, expiration: None, ..old }.encode())
    }

    fn note_death(&self, headers: &mut FieldTable, old: &Properties<'_>, now: Time) {
        let mut deaths = match headers.find("x-death") {
            Some(Value::Array(deaths)) => deaths.clone(),
            _ => Vec::new(),
        };
        let known = deaths.iter().position(|death| is_death(death, &self.queue, self.reason.name()));
        let death = match known.map(|at| deaths.remove(at)) {
            Some(Value::Table(mut death)) => {
                let count = death.find("count").and_then(Value::as_i64).unwrap_or(0);
                death.set("count", Value::I64(count + 1));
                death.0.sort_by(|(a, _), (b, _)| a.cmp(b));
                death
            }
            _ => self.first_death(headers, old, now),
        };
        let (exchange, _) = split_route(self.message().route);
        for (end, wanted) in [("first", deaths.is_empty() && known.is_none()), ("last", true)] {
            if wanted && (end == "last" || headers.find("x-first-death-reason").is_none()) {
                headers.set(&format!("x-{end}-death-reason"), self.reason.name().into());
                headers.set(&format!("x-{end}-death-queue"), (*self.queue).into());
                headers.set(&format!("x-{end}-death-exchange"), exchange.into());
            }
        }
        deaths.insert(0, Value::Table(death));
        headers.set("x-death", Value::Array(deaths));
    }

    fn first_death(&self, headers: &FieldTable, old: &Properties<'_>, now: Time) -> FieldTable {
        let (exchange, routing_key) = split_route(self.message().route);
        let mut keys = vec![Value::from(routing_key)];
        if let Some(Value::Array(copies)) = headers.find("CC") {
            keys.extend(copies.iter().cloned());
        }
        let mut death = FieldTable::from_iter([
            ("count", Value::I64(1)),
            ("reason", self.reason.name().into()),
            ("queue", (*self.queue).into()),
            ("time", Value::Timestamp(now.0 / 1_000_000)),
            ("exchange", exchange.into()),
            ("routing-keys", Value::Array(keys)),
        ]);
        if let Some(expiration) = old.expiration {
            death.set("original-expiration", expiration.into());
        }
        death
    }
}

fn is_death(death: &Value, queue: &str, reason: &str) -> bool {
    let Value::Table(death) = death else { return false };
    let is = |name, text: &str| death.find(name) == Some(&Value::from(text));
    is("queue", queue) && is("reason", reason)
}

/// Whether a message with these headers was a dead letter of that queue.
pub(crate) fn has_died_in(headers: Table<'_>, queue: &str) -> bool {
    let Some(deaths) = headers.find("x-death") else { return false };
    let name = |death| match death {
        ValueRef::Table(death) => death.find("queue").and_then(ValueRef::as_str),
        _ => None,
    };
    deaths.items().any(|death| name(death) == Some(queue))
}

/// Whether a message with these headers has been in the queue and come back without anybody having rejected it
/// meanwhile: it would go round for ever.
pub(crate) fn is_cycle(headers: Table<'_>, queue: &str) -> bool {
    let Some(deaths) = headers.find("x-death") else { return false };
    for death in deaths.items() {
        let ValueRef::Table(death) = death else { return false };
        let text = |name| death.find(name).and_then(ValueRef::as_str);
        if text("reason") == Some(Reason::Rejected.name()) {
            return false;
        }
        if text("queue") == Some(queue) {
            return true;
        }
    }
    false
}
