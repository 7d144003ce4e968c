//! Regular expressions of permissions and policies. As in RabbitMQ they are searched for anywhere in a name, and know
//! look-around.

use std::fmt;
use std::sync::Arc;

use fancy_regex::Regex;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A regular expression.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    source: Arc<str>,
    /// `None` where it matches whatever there is.
    regex: Option<Arc<Regex>>,
}

impl Pattern {
    /// # Errors
    /// `PreconditionFailed`, saying what is wrong with it.
    pub fn new(source: &str) -> Result<Self, Error> {
        let regex = match source {
            "" | ".*" | "^.*" | "^.*$" => None,
            source => Some(Arc::new(Regex::new(source).map_err(|error| {
                Error::precondition(format!("invalid regular expression '{source}': {error}"))
            })?)),
        };
        Ok(Self { source: source.into(), regex })
    }

    /// The expression.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether it is found in the text. One that takes too many steps is not.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.as_ref().is_none_or(|regex| regex.is_match(text).unwrap_or(false))
    }

    /// Whether a permission of this pattern allows the name: there an empty pattern allows nothing that has a name.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        if self.source.is_empty() { name.is_empty() } else { self.is_match(name) }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.source)
    }
}

impl TryFrom<String> for Pattern {
    type Error = Error;

    fn try_from(source: String) -> Result<Self, Error> {
        Self::new(&source)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.source.to_string()
    }
}
