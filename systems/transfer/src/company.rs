//! What the two companies have in common: a broker, accounts, a log of transfers, and books about them.

use std::sync::Arc;

use axum::http::StatusCode;
use leveret_bus::database::{self, Change, Migrations};
use leveret_bus::{Bus, Parked, decision};
use leveret_web::{Answer, Ground, Problem, RequestKey, StartError};
use sea_orm::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{DatabaseConnection, DbErr, Schema};
use serde_json::json;
use tokio::sync::Notify;

use crate::accounts::Accounts;
use crate::books::{Books, Side, Status};
use crate::log::{self, Log, translog};
use crate::settings::Names;

const TABLES_A: Migrations = Migrations::new("transfer", &[|schema| tables(Accounts::A, schema)]);
const TABLES_B: Migrations = Migrations::new("transfer", &[|schema| tables(Accounts::B, schema)]);

/// Either company.
#[derive(Clone)]
pub(crate) struct Company {
    pub(crate) side: Side,
    pub(crate) accounts: Accounts,
    pub(crate) db: DatabaseConnection,
    pub(crate) bus: Bus,
    pub(crate) parked: Parked,
    pub(crate) changed: Arc<Notify>,
}

impl Company {
    /// Makes its tables, and what is wanted of the broker, where they are missing.
    pub(crate) async fn found(side: Side, ground: &Ground, names: &Names) -> Result<Self, StartError> {
        let (accounts, tables) = match side {
            Side::A => (Accounts::A, TABLES_A),
            Side::B => (Accounts::B, TABLES_B),
        };
        tables.run(&ground.db).await?;
        claim_database(&ground.db, side).await?;
        ground.bus.declare(&names.topology()).await?;
        let parked = ground.bus.parked(&names.queue);
        let (db, bus) = (ground.db.clone(), ground.bus.clone());
        Ok(Self { side, accounts, db, bus, parked, changed: Arc::default() })
    }

    /// Opens an account, and records the answer to the client's request key in the same transaction.
    pub(crate) async fn open_account(
        &self,
        name: &str,
        money: i64,
        key: &RequestKey,
    ) -> Result<Answer, Problem> {
        let tx = database::begin(&self.db).await?;
        if !self.accounts.open(&tx, name, money).await? {
            return Err(Problem::conflict("there is an account of this name"));
        }
        let answer = Answer::new(StatusCode::CREATED, json!({ "name": name, "money": money }));
        key.record(&tx, &answer).await?;
        tx.commit().await?;
        self.changed.notify_one();
        Ok(answer)
    }

    /// The books, all of one moment.
    pub(crate) async fn books(&self) -> Result<Books, DbErr> {
        let tx = database::begin_reading(&self.db).await?;
        let (opened, balances) = self.accounts.sums(&tx).await?;
        // What has left A is what is not back there; what has arrived at B is what was credited.
        let is_waiting = Log::Status.is_in([Status::Pending, Status::Failed]);
        let (moved, open) = match self.side {
            Side::A => (Log::Isback.eq(0), is_waiting.and(Log::Isback.eq(0))),
            Side::B => (Log::Status.eq(Status::Ok), Log::Status.eq(Status::Pending)),
        };
        let books = Books {
            company: self.side,
            opened,
            balances,
            moved: log::money(&tx, moved).await?,
            open: translog::Entity::find().filter(open).count(&tx).await?,
            accounts: self.accounts.list(&tx, Books::LISTED).await?,
            transfers: log::latest(&tx, Books::LISTED).await?,
        };
        tx.commit().await?;
        Ok(books)
    }
}

/// One company's tables look like the other's, whose money it would then decide about.
async fn claim_database(db: &DatabaseConnection, side: Side) -> Result<(), StartError> {
    decision::migrate(db).await?;
    let tx = database::begin(db).await?;
    let owner = decision::decide(&tx, "transfer: whose database", side.name()).await?.outcome;
    tx.commit().await?;
    if owner == side.name() {
        return Ok(());
    }
    let problem = format!("this is company {owner}'s database; company {} needs one of its own", side.name());
    Err(StartError::setting("database_url", problem))
}

fn tables(accounts: Accounts, schema: &Schema) -> Vec<Change> {
    let mut tables = log::create(schema);
    tables.push(accounts.create());
    tables
}
