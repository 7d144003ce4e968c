//! What each company tells of its books, in one reading: enough to see that no money is made or lost.
//!
//! A's balances and what has left A always add up to what was put into A; B's balances less what has arrived at B, to
//! what was put into B. What has left A and has not arrived at B is in flight.

use sea_orm::prelude::*;
use serde::{Deserialize, Serialize};

use crate::transfer::Transfer;

/// Which of the two companies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// Where money leaves.
    #[default]
    A,
    /// Where it arrives.
    B,
}

impl Side {
    /// Its letter.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

/// Where a transfer stands, as the notes number it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i32", db_type = "Integer")]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// 0: waiting (A), prepared (B).
    #[sea_orm(num_value = 0)]
    Pending,
    /// 1: done.
    #[sea_orm(num_value = 1)]
    Ok,
    /// 2: failed.
    #[sea_orm(num_value = 2)]
    Failed,
}

/// Somebody's money, in cents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Who.
    pub name: String,
    /// How much.
    pub money: i64,
}

/// A transfer in one company's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    #[serde(flatten)]
    pub transfer: Transfer,
    /// Where it stands.
    pub status: Status,
    /// A's: the money is back.
    pub is_back: bool,
    /// When this last changed, in milliseconds since 1970 UTC.
    pub updated_ms: i64,
}

/// One company's books.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Whose they are.
    pub company: Side,
    /// What was put into accounts when they were opened, in cents.
    pub opened: i64,
    /// The sum of all balances, in cents.
    pub balances: i64,
    /// A: what was debited and not refunded. B: what was credited. In cents.
    pub moved: i64,
    /// Transfers that have not come to their end here.
    pub open: u64,
    /// The accounts, by name; the first fifty.
    pub accounts: Vec<Account>,
    /// The last transfers, newest first.
    pub transfers: Vec<Entry>,
}

impl Books {
    pub(crate) const LISTED: u64 = 50;

    /// What is between the companies, in cents. Never negative when B's books were read before A's.
    pub fn in_flight(a: &Self, b: &Self) -> i64 {
        a.moved.saturating_sub(b.moved)
    }

    /// Whether money was made or lost: what was put in must be what is there.
    pub fn balance(a: &Self, b: &Self) -> bool {
        let put_in = i128::from(a.opened) + i128::from(b.opened);
        let flying = i128::from(a.moved) - i128::from(b.moved);
        let is_all_there = put_in == i128::from(a.balances) + i128::from(b.balances) + flying;
        let is_at_rest = a.open == 0 && b.open == 0;
        is_all_there && flying >= 0 && (!is_at_rest || flying == 0)
    }
}
