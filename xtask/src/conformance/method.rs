//! The methods and properties of AMQP 0-9-1 as names and fields, so that a case file can send and expect any of
//! them. The table here is read from the specification apart from the codec of Leveret, which it thereby checks.

use anyhow::{Context, Result, bail};
use leveret_amqp::{FieldTable, Reader, Table, Value, Wire};

/// A method, by its name and its fields in wire order. A field without a type is a short string; one named `-`
/// is reserved.
#[derive(Debug)]
pub(crate) struct Method {
    pub(super) class: u16,
    pub(super) id: u16,
    pub(super) name: &'static str,
    fields: &'static str,
}

/// A field's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bit,
    Octet,
    Short,
    Long,
    LongLong,
    ShortText,
    LongText,
    Timestamp,
    Table,
}

/// Fields by name, in wire order, with the reserved ones left out.
pub(crate) type Fields = Vec<(&'static str, Value)>;

macro_rules! methods {
    ($($class:literal $id:literal $name:literal $fields:literal)*) => {
        &[$(Method { class: $class, id: $id, name: $name, fields: $fields },)*]
    };
}

#[rustfmt::skip]
pub(super) const METHODS: &[Method] = methods! {
    10 10 "connection.start" "version-major:octet version-minor:octet server-properties:table mechanisms:longtext locales:longtext"
    10 11 "connection.start-ok" "client-properties:table mechanism response:longtext locale"
    10 20 "connection.secure" "challenge:longtext"
    10 21 "connection.secure-ok" "response:longtext"
    10 30 "connection.tune" "channel-max:short frame-max:long heartbeat:short"
    10 31 "connection.tune-ok" "channel-max:short frame-max:long heartbeat:short"
    10 40 "connection.open" "virtual-host - -:bit"
    10 41 "connection.open-ok" "-"
    10 50 "connection.close" "reply-code:short reply-text class-id:short method-id:short"
    10 51 "connection.close-ok" ""
    10 60 "connection.blocked" "reason"
    10 61 "connection.unblocked" ""
    10 70 "connection.update-secret" "new-secret:longtext reason"
    10 71 "connection.update-secret-ok" ""
    20 10 "channel.open" "-"
    20 11 "channel.open-ok" "-:longtext"
    20 20 "channel.flow" "active:bit"
    20 21 "channel.flow-ok" "active:bit"
    20 40 "channel.close" "reply-code:short reply-text class-id:short method-id:short"
    20 41 "channel.close-ok" ""
    40 10 "exchange.declare" "-:short exchange type passive:bit durable:bit auto-delete:bit internal:bit no-wait:bit arguments:table"
    40 11 "exchange.declare-ok" ""
    40 20 "exchange.delete" "-:short exchange if-unused:bit no-wait:bit"
    40 21 "exchange.delete-ok" ""
    40 30 "exchange.bind" "-:short destination source routing-key no-wait:bit arguments:table"
    40 31 "exchange.bind-ok" ""
    40 40 "exchange.unbind" "-:short destination source routing-key no-wait:bit arguments:table"
    40 51 "exchange.unbind-ok" ""
    50 10 "queue.declare" "-:short queue passive:bit durable:bit exclusive:bit auto-delete:bit no-wait:bit arguments:table"
    50 11 "queue.declare-ok" "queue message-count:long consumer-count:long"
    50 20 "queue.bind" "-:short queue exchange routing-key no-wait:bit arguments:table"
    50 21 "queue.bind-ok" ""
    50 30 "queue.purge" "-:short queue no-wait:bit"
    50 31 "queue.purge-ok" "message-count:long"
    50 40 "queue.delete" "-:short queue if-unused:bit if-empty:bit no-wait:bit"
    50 41 "queue.delete-ok" "message-count:long"
    50 50 "queue.unbind" "-:short queue exchange routing-key arguments:table"
    50 51 "queue.unbind-ok" ""
    60 10 "basic.qos" "prefetch-size:long prefetch-count:short global:bit"
    60 11 "basic.qos-ok" ""
    60 20 "basic.consume" "-:short queue consumer-tag no-local:bit no-ack:bit exclusive:bit no-wait:bit arguments:table"
    60 21 "basic.consume-ok" "consumer-tag"
    60 30 "basic.cancel" "consumer-tag no-wait:bit"
    60 31 "basic.cancel-ok" "consumer-tag"
    60 40 "basic.publish" "-:short exchange routing-key mandatory:bit immediate:bit"
    60 50 "basic.return" "reply-code:short reply-text exchange routing-key"
    60 60 "basic.deliver" "consumer-tag delivery-tag:longlong redelivered:bit exchange routing-key"
    60 70 "basic.get" "-:short queue no-ack:bit"
    60 71 "basic.get-ok" "delivery-tag:longlong redelivered:bit exchange routing-key message-count:long"
    60 72 "basic.get-empty" "-"
    60 80 "basic.ack" "delivery-tag:longlong multiple:bit"
    60 90 "basic.reject" "delivery-tag:longlong requeue:bit"
    60 100 "basic.recover-async" "requeue:bit"
    60 110 "basic.recover" "requeue:bit"
    60 111 "basic.recover-ok" ""
    60 120 "basic.nack" "delivery-tag:longlong multiple:bit requeue:bit"
    85 10 "confirm.select" "no-wait:bit"
    85 11 "confirm.select-ok" ""
    90 10 "tx.select" ""
    90 11 "tx.select-ok" ""
    90 20 "tx.commit" ""
    90 21 "tx.commit-ok" ""
    90 30 "tx.rollback" ""
    90 31 "tx.rollback-ok" ""
};

/// The properties of a message, the first one with the highest flag.
const PROPERTIES: &str = "content-type content-encoding headers:table delivery-mode:octet priority:octet \
    correlation-id reply-to expiration message-id timestamp:timestamp type user-id app-id cluster-id";

/// Methods that a message follows.
pub(super) const WITH_CONTENT: [&str; 4] = ["basic.publish", "basic.return", "basic.deliver", "basic.get-ok"];

impl Method {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.name == name)
    }

    fn with_ids(class: u16, id: u16) -> Option<&'static Self> {
        METHODS.iter().find(|method| (method.class, method.id) == (class, id))
    }

    /// The method that answers this one, where there is exactly one.
    pub(super) fn answer(&self) -> Option<&'static Self> {
        Self::named(&format!("{}-ok", self.name)).filter(|_| self.name != "basic.get")
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&'static str, Kind)> {
        kinds(self.fields)
    }

    /// The method frame's payload. Fields that are not given are zero or empty.
    pub(super) fn encode(&self, given: &[(String, Value)]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut bit = 0;
        self.class.write(&mut out, &mut bit);
        self.id.write(&mut out, &mut bit);
        for (name, kind) in self.fields() {
            let value = given.iter().find(|(field, _)| field == name).map(|(_, value)| value);
            kind.write(value, &mut out, &mut bit)
                .with_context(|| format!("field {name} of {}", self.name))?;
        }
        Ok(out)
    }

    /// Reads a method frame's payload.
    pub(super) fn decode(payload: &[u8]) -> Result<(&'static Self, Fields)> {
        let mut reader = Reader::new(payload);
        let (class, id) = (reader.read()?, reader.read()?);
        let method = Self::with_ids(class, id).with_context(|| format!("unknown method {class}.{id}"))?;
        let fields = method
            .fields()
            .map(|(name, kind)| Ok((name, kind.read(&mut reader)?)))
            .collect::<Result<Fields>>()?;
        reader.finish()?;
        Ok((method, fields.into_iter().filter(|(name, _)| *name != "-").collect()))
    }
}

/// Appends flags and values of a message's properties.
pub(super) fn write_properties(given: &[(String, Value)], out: &mut Vec<u8>) -> Result<()> {
    let mut flags: u16 = 0;
    let mut values = Vec::new();
    for (index, (name, kind)) in kinds(PROPERTIES).enumerate() {
        if let Some((_, value)) = given.iter().find(|(property, _)| property == name) {
            flags |= 0x8000 >> index;
            kind.write(Some(value), &mut values, &mut 0).with_context(|| format!("property {name}"))?;
        }
    }
    if let Some((unknown, _)) = given.iter().find(|(name, _)| !is_property(name)) {
        bail!("there is no property {unknown}");
    }
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(&values);
    Ok(())
}

/// Reads flags and values of a message's properties.
pub(super) fn read_properties(bytes: &[u8]) -> Result<Fields> {
    let mut reader = Reader::new(bytes);
    let flags: u16 = reader.read()?;
    let fields = kinds(PROPERTIES)
        .enumerate()
        .filter(|(index, _)| flags & (0x8000 >> index) != 0)
        .map(|(_, (name, kind))| Ok((name, kind.read(&mut reader)?)))
        .collect::<Result<_>>()?;
    reader.finish()?;
    Ok(fields)
}

/// Whether a message has a property of that name.
pub(super) fn is_property(name: &str) -> bool {
    kinds(PROPERTIES).any(|(property, _)| property == name)
}

fn kinds(fields: &'static str) -> impl Iterator<Item = (&'static str, Kind)> {
    fields.split_whitespace().map(|field| match field.split_once(':') {
        None => (field, Kind::ShortText),
        Some((name, kind)) => (name, Kind::named(kind)),
    })
}

impl Kind {
    fn named(name: &str) -> Self {
        match name {
            "bit" => Self::Bit,
            "octet" => Self::Octet,
            "short" => Self::Short,
            "long" => Self::Long,
            "longlong" => Self::LongLong,
            "longtext" => Self::LongText,
            "timestamp" => Self::Timestamp,
            "table" => Self::Table,
            other => unreachable!("the tables above name no type {other}"),
        }
    }

    fn read(self, reader: &mut Reader<'_>) -> Result<Value> {
        Ok(match self {
            Self::Bit => Value::Bool(reader.read()?),
            Self::Octet => Value::U8(reader.read()?),
            Self::Short => Value::U16(reader.read()?),
            Self::Long => Value::U32(reader.read()?),
            Self::LongLong => Value::U64(reader.read()?),
            Self::Timestamp => Value::Timestamp(reader.read()?),
            Self::ShortText => Value::Text(reader.short_bytes()?.to_vec()),
            Self::LongText => Value::Text(reader.read::<&[u8]>()?.to_vec()),
            Self::Table => Value::Table(reader.read::<Table<'_>>()?.to_owned()),
        })
    }

    fn write(self, value: Option<&Value>, out: &mut Vec<u8>, bit: &mut u8) -> Result<()> {
        let number =
            || -> Result<i64> { value.map_or(Ok(0), |value| value.as_i64().context("expected a number")) };
        let text = || -> Result<&[u8]> {
            match value {
                None => Ok(b""),
                Some(Value::Text(text) | Value::Binary(text)) => Ok(text),
                Some(_) => bail!("expected a text"),
            }
        };
        match self {
            Self::Bit => matches!(value, Some(Value::Bool(true))).write(out, bit),
            Self::Octet => u8::try_from(number()?)?.write(out, bit),
            Self::Short => u16::try_from(number()?)?.write(out, bit),
            Self::Long => u32::try_from(number()?)?.write(out, bit),
            Self::LongLong | Self::Timestamp => match value {
                Some(Value::Timestamp(n) | Value::U64(n)) => n.write(out, bit),
                _ => number()?.cast_unsigned().write(out, bit),
            },
            Self::ShortText => {
                *bit = 0;
                let text = text()?;
                out.push(u8::try_from(text.len()).context("a short string has at most 255 bytes")?);
                out.extend_from_slice(text);
            }
            // What AMQPLAIN sends: a table without its length.
            Self::LongText => match value {
                Some(Value::Table(table)) => table.encode().as_slice().write(out, bit),
                _ => text()?.write(out, bit),
            },
            Self::Table => {
                let encoded = match value {
                    None => FieldTable::default().encode(),
                    Some(Value::Table(table)) => table.encode(),
                    Some(_) => bail!("expected a table"),
                };
                encoded.as_slice().write(out, bit);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_again() {
        let declare = Method::named("queue.declare").unwrap();
        let arguments = FieldTable::from_iter([("x-max-length", 5)]);
        let given = [
            ("queue".to_owned(), Value::from("q")),
            ("durable".to_owned(), true.into()),
            ("arguments".to_owned(), arguments.clone().into()),
        ];
        let (method, fields) = Method::decode(&declare.encode(&given).unwrap()).unwrap();
        assert_eq!(method.name, "queue.declare");
        let flag = |name| (name, Value::Bool(name == "durable"));
        let expected = vec![
            ("queue", "q".into()),
            flag("passive"),
            flag("durable"),
            flag("exclusive"),
            flag("auto-delete"),
            flag("no-wait"),
            ("arguments", arguments.into()),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn properties_are_read_again() {
        let given = [("priority".to_owned(), Value::U8(5)), ("cluster-id".to_owned(), "c".into())];
        let mut out = Vec::new();
        write_properties(&given, &mut out).unwrap();
        assert_eq!(read_properties(&out).unwrap(), [("priority", Value::U8(5)), ("cluster-id", "c".into())]);
    }
}
