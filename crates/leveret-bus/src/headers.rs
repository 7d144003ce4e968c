//! Message headers as plain Rust values, and the names of those the bus writes itself. Values of foreign
//! types pass through unchanged, though only text and integers can be read here.

use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

/// Failed attempts so far, an integer. Absent before the first failure.
pub const ATTEMPTS: &str = "x-leveret-attempts";
/// Why the last attempt failed, text.
pub const REASON: &str = "x-leveret-reason";
/// The attempts that failed, JSON text: an array of objects with `attempt`, `failed_ms` and `reason`.
pub const HISTORY: &str = "x-leveret-history";
/// When the first attempt failed, milliseconds since 1970 UTC.
pub const FIRST_FAILED_MS: &str = "x-leveret-first-failed-ms";
/// When the last attempt failed, milliseconds since 1970 UTC.
pub const LAST_FAILED_MS: &str = "x-leveret-last-failed-ms";
/// How often the message was replayed from the parked queue, an integer.
pub const REPLAYS: &str = "x-leveret-replays";
/// Exchange that the message was first published to; a delayed copy arrives through another one.
pub const EXCHANGE: &str = "x-leveret-exchange";
/// Routing key that the message was first published with.
pub const ROUTING_KEY: &str = "x-leveret-routing-key";
/// Delay in milliseconds, read by `x-delayed-message` exchanges.
pub(crate) const DELAY: &str = "x-delay";

/// Names under which brokers write a message's dead-letter history.
const DEAD_LETTER_PREFIXES: [&str; 3] = ["x-death", "x-first-death-", "x-last-death-"];

/// A message's headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers(FieldTable);

impl Headers {
    /// The text under `name`, if there is text.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.0.inner().get(name)? {
            AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
            AMQPValue::ShortString(text) => Some(text.to_string()),
            _ => None,
        }
    }

    /// The integer under `name`, if there is an integer of any width that fits.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match *self.0.inner().get(name)? {
            AMQPValue::ShortShortInt(n) => Some(n.into()),
            AMQPValue::ShortShortUInt(n) => Some(n.into()),
            AMQPValue::ShortInt(n) => Some(n.into()),
            AMQPValue::ShortUInt(n) => Some(n.into()),
            AMQPValue::LongInt(n) => Some(n.into()),
            AMQPValue::LongUInt(n) => Some(n.into()),
            AMQPValue::LongLongInt(n) => Some(n),
            AMQPValue::Timestamp(n) => i64::try_from(n).ok(),
            _ => None,
        }
    }

    /// Sets text. A name over 255 bytes is cut, which AMQP cannot express.
    pub fn set_text(&mut self, name: &str, text: impl Into<String>) {
        self.set(name, AMQPValue::LongString(LongString::from(text.into())));
    }

    /// Sets an integer, 32 bits wide where it fits, which every client understands, else 64.
    pub fn set_integer(&mut self, name: &str, number: i64) {
        let value = i32::try_from(number).map_or(AMQPValue::LongLongInt(number), AMQPValue::LongInt);
        self.set(name, value);
    }

    /// Removes what is under `name`.
    pub fn remove(&mut self, name: &str) {
        self.retain(|key| key != name);
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.inner().is_empty()
    }

    /// Removes the broker's dead-letter history. A copy that kept it would be dropped by RabbitMQ as a
    /// dead-letter cycle when it passes the same delay queue a second time.
    pub(crate) fn forget_dead_letters(&mut self) {
        self.retain(|key| !DEAD_LETTER_PREFIXES.iter().any(|prefix| key.starts_with(prefix)));
    }

    pub(crate) fn from_table(table: FieldTable) -> Self {
        Self(table)
    }

    pub(crate) fn into_table(self) -> FieldTable {
        self.0
    }

    fn set(&mut self, name: &str, value: AMQPValue) {
        if let Ok(name) = ShortString::try_new(name.get(..255).unwrap_or(name)) {
            self.0.insert(name, value);
        }
    }

    fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let kept = self.0.inner().iter().filter(|(key, _)| keep(key.as_str()));
        self.0 = kept
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<std::collections::BTreeMap<_, _>>()
            .into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letter_history_is_forgotten_and_the_rest_kept() {
        let mut headers = Headers::default();
        headers.set_text("x-first-death-queue", "q");
        headers.set_integer("x-death", 1);
        headers.set_integer("n", 7);
        headers.set_text("t", "text");
        headers.forget_dead_letters();
        assert_eq!(headers.text("x-first-death-queue"), None);
        assert_eq!(headers.integer("x-death"), None);
        assert_eq!(headers.integer("n"), Some(7));
        assert_eq!(headers.text("t").as_deref(), Some("text"));
    }

    #[test]
    fn wide_integers_survive() {
        let mut headers = Headers::default();
        headers.set_integer("ms", 1_700_000_000_000);
        assert_eq!(headers.integer("ms"), Some(1_700_000_000_000));
    }
}
