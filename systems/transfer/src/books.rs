//! What each company tells of its books, in one reading: enough to see that no money is made or lost.
//!
//! A's balances and what has left A always add up to what was put into A; B's balances less what has arrived at B, to
//! what was put into B. What has left A and has not arrived at B is in flight.

use leveret_bus::database;
use sea_orm::prelude::*;
use sea_orm::sea_query::{Alias, ExprTrait};
use sea_orm::{DatabaseTransaction, DbBackend, IsolationLevel, QuerySelect, TransactionTrait};
use serde::{Deserialize, Serialize};

use crate::transfer::Transfer;

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
    /// `A` or `B`.
    pub company: String,
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

/// Puts money into the account of this name, or takes it out: false when there is too little, or no such account.
pub(crate) async fn put<E: EntityTrait>(
    db: &impl ConnectionTrait,
    name: (E::Column, &str),
    money: E::Column,
    cents: i64,
) -> Result<bool, DbErr> {
    let putting = E::update_many().col_expr(money, Expr::col(money).add(cents));
    database::changed_one(db, putting.filter(name.0.eq(name.1)).filter(money.gte(-cents))).await
}

/// The sum of a column of whole numbers, which databases else give in types of their own; 0 over no rows.
pub(crate) async fn sum<E: EntityTrait>(
    db: &impl ConnectionTrait,
    rows: Select<E>,
    column: E::Column,
) -> Result<i64, DbErr> {
    let whole = if db.get_database_backend() == DbBackend::MySql { "SIGNED" } else { "BIGINT" };
    let sum = Expr::expr(column.sum()).if_null(0).cast_as(Alias::new(whole));
    Ok(rows.select_only().expr(sum).into_tuple().one(db).await?.unwrap_or(0))
}

/// Begins a transaction in which everything that is read is of one moment.
pub(crate) async fn begin_reading(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    if db.get_database_backend() == DbBackend::Sqlite {
        return db.begin().await;
    }
    db.begin_with_config(Some(IsolationLevel::RepeatableRead), None).await
}
