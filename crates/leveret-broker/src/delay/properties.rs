//! What the `x-delay` header says, and what becomes of it when the delay is over.

use leveret_amqp::{DeliveryMode, FieldTable, Properties, Value, ValueRef, flags};

use super::{Holding, tag_of};
use crate::{Message, Time};

/// The longest delay, in milliseconds.
const LONGEST_MS: u64 = 1 << 62;

/// Properties that ask for more than being passed on.
const SPECIAL: u16 = flags::EXPIRATION | flags::USER_ID | flags::REPLY_TO;
/// The header's name as it is encoded.
const NAME: &[u8] = b"\x07x-delay";

/// What the properties of a delayed message say, where they ask for nothing but being held: that is found out without
/// taking them apart.
#[derive(Clone, Copy, Debug)]
pub struct PlainDelay {
    /// For how long, in milliseconds.
    pub delay_ms: u64,
    /// Whether the message is persistent.
    pub persistent: bool,
    tag: u64,
    /// Where in the properties the value of `x-delay` stands, and what takes its place when the delay is over.
    at: usize,
    patch: [u8; 8],
    patch_len: usize,
}

impl PlainDelay {
    /// `None` where the message has to be looked at more closely.
    #[must_use]
    pub fn of(encoded: &[u8]) -> Option<Self> {
        let set = u16::from_be_bytes(*encoded.first_chunk()?);
        if set & SPECIAL != 0 || set & flags::HEADERS == 0 {
            return None;
        }
        let properties = Properties::parse(encoded).ok()?;
        let headers = properties.headers?;
        if headers.find("CC").is_some() || headers.find("BCC").is_some() {
            return None;
        }
        let value = headers.find("x-delay")?;
        let delay_ms = delay_ms(&properties)?;
        let at = only_place_of(NAME, encoded)? + NAME.len() + 1;
        let mut patch = [0; 8];
        let patch_len = match value {
            ValueRef::I32(ms) => {
                patch[..4].copy_from_slice(&ms.wrapping_neg().to_be_bytes());
                4
            }
            ValueRef::I64(ms) => {
                patch.copy_from_slice(&ms.wrapping_neg().to_be_bytes());
                8
            }
            // Other types change their length, or their place is not the same.
            _ => return None,
        };
        let persistent = properties.mode() == DeliveryMode::Persistent;
        let tag = tag_of(properties.message_id.unwrap_or_default());
        Some(Self { delay_ms, persistent, tag, at, patch, patch_len })
    }

    /// The message with these properties, on its way to a shelf.
    #[must_use]
    pub fn holding<'a>(&'a self, message: Message<'a>, now: Time) -> Holding<'a> {
        let (before, rest) = message.properties.split_at(self.at);
        let released_properties = [before, &self.patch[..self.patch_len], &rest[self.patch_len..]];
        Holding { message, released_properties, due: now.plus_ms(self.delay_ms), tag: self.tag }
    }
}

/// Where these bytes stand; `None` where they do not, or more than once.
fn only_place_of(wanted: &[u8], bytes: &[u8]) -> Option<usize> {
    let mut places = bytes.windows(wanted.len()).enumerate().filter(|(_, window)| *window == wanted);
    let (at, _) = places.next()?;
    places.next().is_none().then_some(at)
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
pub(super) fn released_properties(encoded: &[u8]) -> Option<Vec<u8>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(headers: FieldTable, message_id: Option<&str>) -> Vec<u8> {
        let headers = headers.encode();
        let headers = leveret_amqp::Table::parse(&headers).ok();
        Properties { headers, message_id, delivery_mode: Some(2), ..Properties::default() }.encode()
    }

    #[test]
    fn a_plain_delay_says_the_same_as_taking_the_properties_apart() {
        for value in [Value::I32(1500), Value::I64(1 << 40)] {
            let headers =
                FieldTable::from_iter([("a", Value::I32(7)), ("x-delay", value), ("z", "x-delays".into())]);
            let properties = encoded(headers, Some("id"));
            let plain = PlainDelay::of(&properties).expect("plain");
            assert_eq!(Some(plain.delay_ms), delay_ms(&Properties::parse(&properties).unwrap()));
            assert_eq!((plain.persistent, plain.tag), (true, tag_of("id")));
            let message = Message::of_parts(&properties, 0, properties.len());
            let pieces = plain.holding(message, Time(0)).released_properties.concat();
            assert_eq!(Some(pieces), released_properties(&properties));
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_others() {
        let unsigned = FieldTable::from_iter([("x-delay", Value::U32(5))]);
        let copies = FieldTable::from_iter([("x-delay", Value::I32(5)), ("CC", Value::Array(vec![]))]);
        let nested = FieldTable::from_iter([("x-delay", Value::I32(5))]);
        let twice = FieldTable::from_iter([("in", Value::Table(nested)), ("x-delay", Value::I32(5))]);
        let none = FieldTable::from_iter([("x-delay", Value::I32(0))]);
        for headers in [unsigned, copies, twice, none, FieldTable::default()] {
            assert!(PlainDelay::of(&encoded(headers, None)).is_none());
        }
    }
}
