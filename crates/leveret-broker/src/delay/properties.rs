//! What the `x-delay` header says, and what becomes of it when the delay is over.

use leveret_amqp::{FieldTable, Properties, Value, ValueRef};

/// The longest delay, in milliseconds.
const LONGEST_MS: u64 = 1 << 62;

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
