//! What the two companies have in common: a broker, accounts, a log of transfers, and books about them; each has them in
//! tables of its own.

use std::sync::Arc;

use axum::http::StatusCode;
use leveret_bus::{Bus, Parked, database};
use leveret_web::{Answer, Ground, Problem, RequestKey, StartError};
use sea_orm::{DatabaseConnection, DbErr};
use serde_json::json;
use tokio::sync::Notify;

use crate::books::{self, Books, Entry};
use crate::settings::Names;
use crate::{a, b};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

/// Either company.
#[derive(Clone)]
pub(crate) struct Company {
    pub(crate) side: Side,
    pub(crate) db: DatabaseConnection,
    pub(crate) bus: Bus,
    pub(crate) parked: Parked,
    pub(crate) changed: Arc<Notify>,
}

impl Company {
    /// Makes its tables, and what is wanted of the broker, where they are missing.
    pub(crate) async fn found(side: Side, ground: &Ground, names: &Names) -> Result<Self, StartError> {
        let tables = match side {
            Side::A => a::store::MIGRATIONS,
            Side::B => b::store::MIGRATIONS,
        };
        tables.run(&ground.db).await?;
        ground.bus.declare(&names.topology()).await?;
        let parked = ground.bus.parked(&names.queue);
        let (db, bus) = (ground.db.clone(), ground.bus.clone());
        Ok(Self { side, db, bus, parked, changed: Arc::default() })
    }

    /// Opens an account, and records the answer to the client's request key in the same transaction.
    pub(crate) async fn open_account(
        &self,
        name: &str,
        money: i64,
        key: &RequestKey,
    ) -> Result<Answer, Problem> {
        let tx = database::begin(&self.db).await?;
        let is_new = match self.side {
            Side::A => a::store::open_account(&tx, name, money).await?,
            Side::B => b::store::open_account(&tx, name, money).await?,
        };
        if !is_new {
            return Err(Problem::conflict("there is an account of this name"));
        }
        let answer = Answer::new(StatusCode::CREATED, json!({ "name": name, "money": money }));
        key.record(&tx, &answer).await?;
        tx.commit().await?;
        self.changed.notify_one();
        Ok(answer)
    }

    /// A transfer in this company's log.
    pub(crate) async fn entry(&self, tid: i64) -> Result<Option<Entry>, DbErr> {
        match self.side {
            Side::A => a::store::find(&self.db, tid).await,
            Side::B => b::store::find(&self.db, tid).await,
        }
    }

    /// The books, all of one moment.
    pub(crate) async fn books(&self) -> Result<Books, DbErr> {
        let tx = books::begin_reading(&self.db).await?;
        let books = match self.side {
            Side::A => a::store::books(&tx).await?,
            Side::B => b::store::books(&tx).await?,
        };
        tx.commit().await?;
        Ok(books)
    }
}
