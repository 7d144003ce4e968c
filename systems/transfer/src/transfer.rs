//! A transfer as the two companies speak of it.

use leveret_web::Problem;
use leveret_web::input::{self, Fields};
use serde::{Deserialize, Serialize};

/// Most money in one transfer and in a new account, in cents: sums of it stay far from the end of 64 bits.
pub(crate) const MOST_MONEY: i64 = 1_000_000_000_000;
pub(crate) const LONGEST_NAME: usize = 64;

/// The message from A to B, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// A's number of it.
    pub tid: i64,
    /// Whose money it is, at A.
    pub from: String,
    /// Who gets it, at B.
    pub to: String,
    /// How much, in cents.
    pub money: i64,
}

impl Transfer {
    /// Why nobody can have meant this.
    pub(crate) fn nonsense(&self) -> Option<&'static str> {
        match self {
            Self { money: ..=0, .. } => Some("the money is not more than nothing"),
            Self { money, .. } if *money > MOST_MONEY => Some("it is more money than a transfer may be"),
            Self { tid: ..=0, .. } => Some("the tid is not a number from 1"),
            _ => None,
        }
    }
}

/// The name and the money of an account to be opened.
pub(crate) fn account(fields: &Fields) -> Result<(&str, i64), Problem> {
    let name = input::name("name", fields.text("name")?, LONGEST_NAME)?;
    let money = fields.integer("money")?;
    if !(0..=MOST_MONEY).contains(&money) {
        return Err(Problem::field("money", "must be cents from 0 to 1000000000000"));
    }
    Ok((name, money))
}
