//! What the two companies have in common, seen from outside: accounts, transfers and books, each in tables of its own.

use std::sync::Arc;

use axum::http::StatusCode;
use leveret_bus::{Parked, database};
use leveret_web::{Answer, Problem, RequestKey};
use sea_orm::{DatabaseConnection, DbErr};
use serde_json::json;
use tokio::sync::Notify;

use crate::a::{self, CompanyA};
use crate::b::{self, CompanyB};
use crate::books::{Books, Entry};

/// Either company.
#[derive(Clone)]
pub(crate) enum Company {
    A(CompanyA),
    B(CompanyB),
}

impl Company {
    /// Opens an account, and records the answer to the client's request key in the same transaction.
    pub(crate) async fn open_account(
        &self,
        name: &str,
        money: i64,
        key: &RequestKey,
    ) -> Result<Answer, Problem> {
        let tx = database::begin(self.db()).await?;
        let is_new = match self {
            Self::A(_) => a::users::open(&tx, name, money).await?,
            Self::B(_) => b::users::open(&tx, name, money).await?,
        };
        if !is_new {
            return Err(Problem::conflict("there is an account of this name"));
        }
        let answer = Answer::new(StatusCode::CREATED, json!({ "name": name, "money": money }));
        key.record(&tx, &answer).await?;
        tx.commit().await?;
        self.changed().notify_one();
        Ok(answer)
    }

    /// A transfer in this company's log.
    pub(crate) async fn entry(&self, tid: i64) -> Result<Option<Entry>, DbErr> {
        Ok(match self {
            Self::A(a) => a::log::find(&a.db, tid).await?.map(a::log::Model::entry),
            Self::B(b) => b::log::find(&b.db, tid).await?.map(b::log::Model::entry),
        })
    }

    pub(crate) async fn books(&self) -> Result<Books, DbErr> {
        match self {
            Self::A(a) => a.books().await,
            Self::B(b) => b.books().await,
        }
    }

    /// Messages that wait for the broker. B publishes none.
    pub(crate) async fn unsent(&self) -> u64 {
        match self {
            Self::A(a) => a.outbox.depth().await.map_or(0, |depth| depth.unsent),
            Self::B(_) => 0,
        }
    }

    pub(crate) fn is_a(&self) -> bool {
        matches!(self, Self::A(_))
    }

    pub(crate) fn parked(&self) -> &Parked {
        match self {
            Self::A(a) => &a.parked,
            Self::B(b) => &b.parked,
        }
    }

    pub(crate) fn changed(&self) -> &Arc<Notify> {
        match self {
            Self::A(a) => &a.changed,
            Self::B(b) => &b.changed,
        }
    }

    fn db(&self) -> &DatabaseConnection {
        match self {
            Self::A(a) => &a.db,
            Self::B(b) => &b.db,
        }
    }
}
