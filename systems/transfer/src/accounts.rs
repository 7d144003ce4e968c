//! Accounts, under the notes' names: A's are in `usermoney`, B's in `umoney`. Money is in cents.

use leveret_bus::database::{self, Change};
use sea_orm::prelude::Expr;
use sea_orm::sea_query::{ColumnDef, ExprTrait, Query, Table};
use sea_orm::{ConnectionTrait, DbErr, SqlErr};

use crate::books::Account;

/// What was there when the account was opened.
const OPENED: &str = "opened_money";

/// The names of a company's table, its accounts' names and their money.
#[derive(Clone, Copy)]
pub(crate) struct Accounts {
    table: &'static str,
    name: &'static str,
    money: &'static str,
}

impl Accounts {
    pub(crate) const A: Self = Self { table: "usermoney", name: "user_name", money: "user_money" };
    pub(crate) const B: Self = Self { table: "umoney", name: "uname", money: "umoney" };

    pub(crate) fn create(self) -> Change {
        let mut table = Table::create();
        table.table(self.table);
        table.col(ColumnDef::new(self.name).string().not_null().primary_key());
        table.col(ColumnDef::new(self.money).big_integer().not_null().default(0));
        table.col(ColumnDef::new(OPENED).big_integer().not_null());
        Change::CreateTable(Box::new(table))
    }

    /// Opens an account; false when there is one of this name, and the transaction must be rolled back.
    pub(crate) async fn open(self, db: &impl ConnectionTrait, name: &str, cents: i64) -> Result<bool, DbErr> {
        let mut opening = Query::insert();
        opening.into_table(self.table).columns([self.name, self.money, OPENED]);
        opening.values_panic([name.into(), cents.into(), cents.into()]);
        match db.execute(&opening).await {
            Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => Ok(false),
            opened => opened.map(|_| true),
        }
    }

    pub(crate) async fn has(self, db: &impl ConnectionTrait, name: &str) -> Result<bool, DbErr> {
        let mut finding = Query::select();
        finding.column(self.name).from(self.table).and_where(Expr::col(self.name).eq(name));
        Ok(db.query_one(&finding).await?.is_some())
    }

    /// Puts money into an account, or takes it out with a minus: false when there is too little, or no such account.
    pub(crate) async fn put(self, db: &impl ConnectionTrait, name: &str, cents: i64) -> Result<bool, DbErr> {
        let mut putting = Query::update();
        putting.table(self.table).value(self.money, Expr::col(self.money).add(cents));
        putting.and_where(Expr::col(self.name).eq(name)).and_where(Expr::col(self.money).gte(-cents));
        Ok(db.execute(&putting).await?.rows_affected() == 1)
    }

    /// The first by name.
    pub(crate) async fn list(self, db: &impl ConnectionTrait, limit: u64) -> Result<Vec<Account>, DbErr> {
        let mut listing = Query::select();
        listing.columns([self.name, self.money]).from(self.table);
        listing.order_by(self.name, sea_orm::Order::Asc).limit(limit);
        let rows = db.query_all(&listing).await?;
        let account = |(name, money)| Account { name, money };
        rows.iter().map(|row| row.try_get_many_by_index().map(account)).collect()
    }

    /// What was put into all of them when they were opened, and what is in them now.
    pub(crate) async fn sums(self, db: &impl ConnectionTrait) -> Result<(i64, i64), DbErr> {
        let mut summing = Query::select();
        summing.expr(database::sum(db, OPENED)).expr(database::sum(db, self.money)).from(self.table);
        db.query_one(&summing).await?.map_or(Ok((0, 0)), |row| row.try_get_many_by_index())
    }
}
