//! An exchange: what it was declared with, and its bindings.

use std::fmt;
use std::sync::Arc;

use leveret_amqp::{FieldTable, Value};

use super::bindings::Bindings;
use super::counts::ExchangeCounts;
use super::hash_ring::{CONSISTENT_HASH, HashOf, HashRing};
use super::topic::TopicTrie;
use crate::{Applied, DelayedExchange, Error};

/// The exchange types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ExchangeKind {
    Direct,
    Fanout,
    Topic,
    Headers,
    ConsistentHash,
}

impl ExchangeKind {
    /// The type of that name; `None` for `x-delayed-message` too, which is none by itself.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "direct" => Self::Direct,
            "fanout" => Self::Fanout,
            "topic" => Self::Topic,
            "headers" => Self::Headers,
            CONSISTENT_HASH => Self::ConsistentHash,
            _ => return None,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
            Self::ConsistentHash => CONSISTENT_HASH,
        }
    }

    /// No bindings yet, of an exchange with these arguments.
    fn bindings(self, arguments: &FieldTable) -> Result<Bindings, Error> {
        Ok(match self {
            Self::Direct => Bindings::Direct(Default::default()),
            Self::Fanout => Bindings::Fanout(Default::default()),
            Self::Topic => Bindings::Topic(TopicTrie::default()),
            Self::Headers => Bindings::Headers(Default::default()),
            Self::ConsistentHash => {
                Bindings::ConsistentHash(HashRing::new(HashOf::from_arguments(arguments)?))
            }
        })
    }
}

/// The name of the type that holds messages back.
pub(super) const DELAYED: &str = "x-delayed-message";

/// What an exchange is declared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExchangeOptions {
    /// Name of the type.
    pub kind: String,
    /// Whether it outlives the broker's process.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether clients may not publish to it.
    pub internal: bool,
    /// The arguments.
    pub arguments: FieldTable,
}

impl ExchangeOptions {
    /// # Errors
    /// `CommandInvalid` for an unknown type.
    pub(crate) fn check_kind(&self) -> Result<(), Error> {
        if self.kind == DELAYED { Ok(()) } else { known_kind(&self.kind).map(|_| ()) }
    }
}

/// An exchange of a virtual host.
pub struct Exchange {
    /// Its name, unique in the virtual host.
    pub name: Arc<str>,
    /// What it was declared with.
    pub options: ExchangeOptions,
    /// The policies that apply to it.
    pub(super) applied: Applied,
    /// Where messages go that no binding matches.
    pub(super) alternate: Option<Arc<str>>,
    /// What it holds back, where it is of type `x-delayed-message`.
    pub(super) delayed: Option<Arc<DelayedExchange>>,
    pub(super) bindings: Bindings,
    /// What has gone through it.
    pub(super) counts: Arc<ExchangeCounts>,
}

impl Exchange {
    /// # Errors
    /// `CommandInvalid` for an unknown type, `PreconditionFailed` for wrong arguments.
    pub(super) fn new(name: Arc<str>, options: ExchangeOptions) -> Result<Self, Error> {
        let delays = options.kind == DELAYED;
        let kind = if delays { delayed_kind(&options.arguments)? } else { known_kind(&options.kind)? };
        let alternate = alternate_argument(&options)?.map(Arc::from);
        let applied = Applied::default();
        let bindings = kind.bindings(&options.arguments)?;
        Ok(Self { name, options, applied, alternate, delayed: None, bindings, counts: Arc::default() })
    }

    /// Whether there could be an exchange with these options.
    ///
    /// # Errors
    /// As [`Exchange::new`].
    pub(crate) fn check(options: ExchangeOptions) -> Result<(), Error> {
        Self::new("".into(), options).map(|_| ())
    }

    /// Has these policies apply to it. What its arguments say comes first.
    pub(super) fn apply(&mut self, applied: Applied) {
        let argument = alternate_argument(&self.options).ok().flatten().map(Arc::from);
        self.alternate = argument.or_else(|| applied.text("alternate-exchange").map(Arc::from));
        self.applied = applied;
    }

    /// The policies that apply to it.
    #[must_use]
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// Whether topic permissions are asked for: where the exchange is declared as a topic.
    pub(crate) fn is_topic(&self) -> bool {
        self.options.kind == ExchangeKind::Topic.name()
    }

    /// Whether `declared` describes this exchange.
    ///
    /// # Errors
    /// `PreconditionFailed`, naming the first difference.
    pub(super) fn check_equivalent(&self, declared: &ExchangeOptions, object: &str) -> Result<(), Error> {
        let current = &self.options;
        differ("type", object, &declared.kind, &current.kind)?;
        differ("durable", object, &declared.durable, &current.durable)?;
        differ("auto_delete", object, &declared.auto_delete, &current.auto_delete)?;
        differ("internal", object, &declared.internal, &current.internal)?;
        for argument in ["alternate-exchange", "x-delayed-type", "hash-header", "hash-property"] {
            let (received, is) = (declared.arguments.find(argument), current.arguments.find(argument));
            if received != is {
                return Err(inequivalent_argument(argument, object, received, is));
            }
        }
        Ok(())
    }

    /// The part that holds messages back.
    #[must_use]
    pub fn delayed(&self) -> Option<&Arc<DelayedExchange>> {
        self.delayed.as_ref()
    }
}

/// The exchange that messages go to which no binding matches, as the arguments name it.
pub(super) fn alternate_argument(options: &ExchangeOptions) -> Result<Option<&str>, Error> {
    match options.arguments.find("alternate-exchange") {
        None => Ok(None),
        Some(Value::Text(name)) if let Ok(name) = std::str::from_utf8(name) => Ok(Some(name)),
        Some(_) => Err(Error::precondition("invalid arg 'alternate-exchange': expected a string")),
    }
}

fn known_kind(name: &str) -> Result<ExchangeKind, Error> {
    ExchangeKind::from_name(name).ok_or_else(|| Error::invalid(format!("unknown exchange type '{name}'")))
}

fn delayed_kind(arguments: &FieldTable) -> Result<ExchangeKind, Error> {
    let name = match arguments.find("x-delayed-type") {
        Some(Value::Text(name)) => std::str::from_utf8(name).ok(),
        _ => None,
    };
    name.and_then(ExchangeKind::from_name).ok_or_else(|| {
        Error::precondition("Invalid argument, 'x-delayed-type' must be an existing exchange type")
    })
}

fn differ<T: PartialEq + fmt::Display>(
    argument: &str,
    object: &str,
    received: &T,
    current: &T,
) -> Result<(), Error> {
    if received == current { Ok(()) } else { Err(Error::inequivalent(argument, object, received, current)) }
}

/// RabbitMQ's text for an argument that differs: types are named where only one side has a value.
pub(super) fn inequivalent_argument(
    argument: &str,
    object: &str,
    received: Option<&Value>,
    current: Option<&Value>,
) -> Error {
    let shown = |value: Option<&Value>, alone: bool| match value {
        None => "none".into(),
        Some(value) if alone => format!("the value '{}' of type '{}'", value_text(value), type_name(value)),
        Some(value) => format!("'{}'", value_text(value)),
    };
    let alone = received.is_none() || current.is_none();
    Error::precondition(format!(
        "inequivalent arg '{argument}' for {object}: received {} but current is {}",
        shown(received, alone),
        shown(current, alone)
    ))
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Bool(value) => value.to_string(),
        Value::U64(n) => n.to_string(),
        other => other.as_i64().map_or_else(|| format!("{other:?}"), |n| n.to_string()),
    }
}

/// The names of types in RabbitMQ's texts.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Void => "void",
        Value::Bool(_) => "bool",
        Value::I8(_) => "byte",
        Value::U8(_) => "unsignedbyte",
        Value::I16(_) => "short",
        Value::U16(_) => "unsignedshort",
        Value::I32(_) => "signedint",
        Value::U32(_) => "unsignedint",
        Value::I64(_) | Value::U64(_) => "long",
        Value::F32(_) => "float",
        Value::F64(_) => "double",
        Value::Decimal(..) => "decimal",
        Value::Text(_) => "longstr",
        Value::Binary(_) => "binary",
        Value::Timestamp(_) => "timestamp",
        Value::Array(_) => "array",
        Value::Table(_) => "table",
    }
}
