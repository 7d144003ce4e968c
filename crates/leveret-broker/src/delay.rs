//! Exchanges of type `x-delayed-message`: what they hold back, and until when.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret_amqp::{FieldTable, Properties, Value, ValueRef};
use parking_lot::Mutex;

use crate::{Message, Record, Time};

/// The longest delay, in milliseconds.
const LONGEST_MS: u64 = 1 << 62;

/// The part of an `x-delayed-message` exchange that holds messages.
pub struct DelayedExchange {
    /// The exchange's name.
    pub name: Arc<str>,
    held: Mutex<HeldMessages>,
}

/// A message that is held back.
#[derive(Clone, Debug)]
pub struct Held {
    /// Route, properties as the consumer will see them, and body.
    pub record: Record,
    /// Bytes of the route at the record's start.
    pub route_len: usize,
    /// Bytes of the properties after it.
    pub properties_len: usize,
}

impl Held {
    /// The message itself.
    #[must_use]
    pub fn message(&self) -> Message<'_> {
        Message::in_record(&self.record, self.route_len, self.properties_len)
    }
}

#[derive(Default)]
struct HeldMessages {
    /// By due time, then by the order of publishing.
    by_due: BTreeMap<(Time, u64), Held>,
    next_seq: u64,
}

impl DelayedExchange {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self { name, held: Mutex::default() }
    }

    /// Holds a message until `due`. True where nothing else of this exchange is due earlier.
    pub fn hold(&self, message: &Message<'_>, due: Time) -> bool {
        let properties = released_properties(message.properties);
        let properties = properties.as_deref().unwrap_or(message.properties);
        let record = Arc::new([message.route, properties, message.body].concat());
        let held = Held { record, route_len: message.route.len(), properties_len: properties.len() };
        let mut messages = self.held.lock();
        let key = (due, messages.next_seq);
        messages.next_seq += 1;
        messages.by_due.insert(key, held);
        messages.by_due.first_key_value().is_some_and(|(first, _)| *first == key)
    }

    /// Messages it holds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.held.lock().by_due.len()
    }

    /// When the next message is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        self.held.lock().by_due.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes out the next message that is due at `now`.
    pub(crate) fn take_due(&self, now: Time) -> Option<Held> {
        let mut messages = self.held.lock();
        let first = messages.by_due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Forgets all that it holds; returns how many that were.
    pub(crate) fn clear(&self) -> usize {
        std::mem::take(&mut self.held.lock().by_due).len()
    }
}

/// How long a message asks to be held, in milliseconds; `None` where it is to be routed at once.
pub(crate) fn delay_ms(properties: &Properties<'_>) -> Option<u64> {
    let ms = match properties.headers?.find("x-delay")? {
        ValueRef::F32(ms) => ms as i64,
        ValueRef::F64(ms) => ms as i64,
        ValueRef::U64(ms) => i64::try_from(ms).unwrap_or(i64::MAX),
        ValueRef::Text(_) => properties.headers?.find("x-delay")?.as_str()?.trim().parse().ok()?,
        value => value.as_i64()?,
    };
    u64::try_from(ms).ok().filter(|ms| *ms > 0).map(|ms| ms.min(LONGEST_MS))
}

/// The properties as the consumer sees them: `x-delay` is negated, which tells that the delay is over and keeps
/// a second delayed exchange from holding the message again.
fn released_properties(encoded: &[u8]) -> Option<Vec<u8>> {
    let properties = Properties::parse(encoded).ok()?;
    let mut headers: FieldTable = properties.headers?.to_owned();
    let negated = match headers.find("x-delay")? {
        Value::I8(ms) => Value::I8(ms.wrapping_neg()),
        Value::I16(ms) => Value::I16(ms.wrapping_neg()),
        Value::I32(ms) => Value::I32(ms.wrapping_neg()),
        Value::I64(ms) => Value::I64(ms.wrapping_neg()),
        // The unsigned types have no negative numbers: the next larger signed one takes their place.
        Value::U8(ms) => Value::I16(-i16::from(*ms)),
        Value::U16(ms) => Value::I32(-i32::from(*ms)),
        Value::U32(ms) => Value::I64(-i64::from(*ms)),
        Value::U64(ms) => Value::I64(i64::try_from(*ms).unwrap_or(i64::MAX).wrapping_neg()),
        Value::F32(ms) => Value::F32(-ms),
        Value::F64(ms) => Value::F64(-ms),
        Value::Text(ms) => Value::Text([b"-", ms.trim_ascii()].concat()),
        _ => return None,
    };
    headers.set("x-delay", negated);
    let headers = headers.encode();
    let headers = leveret_amqp::Table::parse(&headers).ok()?;
    Some(Properties { headers: Some(headers), ..properties }.encode())
}
