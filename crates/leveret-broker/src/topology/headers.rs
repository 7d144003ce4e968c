//! Bindings of `headers` exchanges: which headers a message must have.
//!
//! As in RabbitMQ, a header of type void matches any value, integers are equal in every width, other values must be
//! equal with their type, and names that begin with `x-` count only for the `-with-x` kinds.

use std::cell::OnceCell;
use std::hash::{Hash, Hasher};

use leveret_amqp::{Table, ValueRef};

use super::bindings::Binding;
use crate::Error;

/// Up to so many bytes headers are looked through for each name: longer ones are worth sorting.
const FEW_BYTES: usize = 512;

/// The headers of a message, to be compared with the patterns of many bindings. Of several with one name the first counts.
pub(super) struct Headers<'a> {
    table: Table<'a>,
    sorted: OnceCell<Vec<(&'a [u8], ValueRef<'a>)>>,
}

impl<'a> Headers<'a> {
    pub(super) fn new(table: Table<'a>) -> Self {
        Self { table, sorted: OnceCell::new() }
    }

    fn find(&self, name: &[u8]) -> Option<ValueRef<'a>> {
        if self.table.as_bytes().len() <= FEW_BYTES {
            return self.table.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
        }
        let sorted = self.sorted.get_or_init(|| {
            let mut all: Vec<_> = self.table.iter().collect();
            all.sort_by_key(|(key, _)| *key);
            all.dedup_by_key(|(key, _)| *key);
            all
        });
        sorted.binary_search_by_key(&name, |(key, _)| *key).ok().map(|at| sorted[at].1)
    }
}

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

    pub(super) fn matches(&self, headers: &Headers<'_>) -> bool {
        let Ok(pattern) = Table::parse(&self.binding.arguments) else { return false };
        let mut wanted = pattern.iter().filter(|(name, _)| self.mode.looks_at(name));
        let has = |(name, value): (&[u8], ValueRef<'_>)| {
            headers.find(name).is_some_and(|found| is_met(value, found))
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

#[cfg(test)]
mod tests {
    use leveret_amqp::{FieldTable, Value};

    use super::super::bindings::Destination;
    use super::*;

    fn pattern(arguments: &FieldTable) -> HeadersMatch {
        let arguments = arguments.encode().into();
        HeadersMatch::new(Binding { destination: Destination::Exchange("e".into()), arguments })
    }

    fn many(prefix: &str, count: i32) -> Vec<(String, Value)> {
        (0..count).map(|number| (format!("{prefix}{number:05}"), Value::I32(number))).collect()
    }

    #[test]
    fn of_headers_with_one_name_the_first_counts_however_many_there_are() {
        for others in [0, 200] {
            let mut headers = many("a", others);
            headers.push(("k".into(), "first".into()));
            headers.extend(many("z", others));
            headers.push(("k".into(), "second".into()));
            let encoded = FieldTable(headers).encode();
            let headers = Headers::new(Table::parse(&encoded).expect("just encoded"));
            for (value, expected) in [("first", true), ("second", false)] {
                let pattern = pattern(&FieldTable::from_iter([("k", value)]));
                assert_eq!(pattern.matches(&headers), expected, "{value} beside {others}");
            }
        }
    }
}
