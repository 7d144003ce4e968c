//! Bindings of `headers` exchanges: which headers a message must have.
//!
//! As in RabbitMQ, a header of type void matches any value, integers are equal in every width, other values must be
//! equal with their type, and names that begin with `x-` count only for the `-with-x` kinds.

use std::hash::{Hash, Hasher};

use leveret_amqp::{Table, ValueRef};

use super::bindings::Binding;
use crate::Error;

/// How the headers of a binding combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    All,
    Any,
    AllWithX,
    AnyWithX,
}

impl Mode {
    fn of(arguments: Table<'_>) -> Option<Self> {
        match arguments.find("x-match") {
            None => Some(Self::All),
            Some(value) => match value.as_str()? {
                "all" => Some(Self::All),
                "any" => Some(Self::Any),
                "all-with-x" => Some(Self::AllWithX),
                "any-with-x" => Some(Self::AnyWithX),
                _ => None,
            },
        }
    }

    fn looks_at(self, name: &[u8]) -> bool {
        let with_x = matches!(self, Self::AllWithX | Self::AnyWithX);
        name != b"x-match" && (with_x || !name.starts_with(b"x-"))
    }
}

/// A binding whose arguments are a pattern of headers.
#[derive(Clone)]
pub(super) struct HeadersMatch {
    pub(super) binding: Binding,
    mode: Mode,
}

impl PartialEq for HeadersMatch {
    fn eq(&self, other: &Self) -> bool {
        self.binding == other.binding
    }
}

impl Eq for HeadersMatch {}

impl Hash for HeadersMatch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.binding.hash(state);
    }
}

/// Checks the arguments of a binding to a `headers` exchange.
pub(super) fn check_arguments(arguments: Table<'_>) -> Result<(), Error> {
    match Mode::of(arguments) {
        Some(_) => Ok(()),
        None => Err(Error::precondition(
            "Invalid x-match field value; expected all, any, all-with-x, or any-with-x",
        )),
    }
}

impl HeadersMatch {
    pub(super) fn new(binding: Binding) -> Self {
        let mode = Table::parse(&binding.arguments).ok().and_then(Mode::of).unwrap_or(Mode::All);
        Self { binding, mode }
    }

    pub(super) fn matches(&self, headers: Table<'_>) -> bool {
        let Ok(pattern) = Table::parse(&self.binding.arguments) else { return false };
        let mut wanted = pattern.iter().filter(|(name, _)| self.mode.looks_at(name));
        let has = |(name, value): (&[u8], ValueRef<'_>)| {
            headers.iter().any(|(key, found)| key == name && is_met(value, found))
        };
        match self.mode {
            Mode::All | Mode::AllWithX => wanted.all(has),
            Mode::Any | Mode::AnyWithX => wanted.any(has),
        }
    }
}

fn is_met(wanted: ValueRef<'_>, found: ValueRef<'_>) -> bool {
    let same_number = || wanted.as_i64().is_some() && wanted.as_i64() == found.as_i64();
    wanted == ValueRef::Void || wanted == found || same_number()
}
