//! A transfer as the two companies speak of it.

use leveret_web::Problem;
use leveret_web::input::{self, Fields};
use serde::{Deserialize, Serialize};

/// HTTP header of the time at which a callback was signed, in microseconds since 1970 UTC.
pub const TIME_HEADER: &str = "x-transfer-time";
/// HTTP header and message header of the signature, in hexadecimal.
pub const SIGNATURE_HEADER: &str = "x-transfer-signature";
/// Most money in one transfer and in a new account, in cents: sums of it stay far from the end of 64 bits.
const MOST_MONEY: i64 = 1_000_000_000_000;
const LONGEST_NAME: usize = 64;

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
    /// What somebody asks for at A, who has given it no number yet.
    pub(crate) fn wanted(fields: &Fields) -> Result<Self, Problem> {
        let (from, to) = (name(fields, "from")?, name(fields, "to")?);
        Ok(Self { tid: 0, from: from.into(), to: to.into(), money: money(fields, 1)? })
    }

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
    Ok((name(fields, "name")?, money(fields, 0)?))
}

fn name<'a>(fields: &'a Fields, field: &'static str) -> Result<&'a str, Problem> {
    input::name(field, fields.text(field)?, LONGEST_NAME)
}

fn money(fields: &Fields, least: i64) -> Result<i64, Problem> {
    let money = fields.integer("money")?;
    if !(least..=MOST_MONEY).contains(&money) {
        return Err(Problem::field("money", format!("must be cents from {least} to {MOST_MONEY}")));
    }
    Ok(money)
}
