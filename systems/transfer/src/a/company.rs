//! What A can do, apart from how it is asked.

use std::sync::Arc;

use axum::http::StatusCode;
use leveret_bus::{Bus, Message, Outbox, Parked, database};
use leveret_web::{Answer, Problem, RequestKey, trace};
use sea_orm::ColumnTrait;
use sea_orm::{DatabaseConnection, DbErr, EntityTrait, QueryFilter, QuerySelect};
use serde_json::json;
use tokio::sync::Notify;

use super::{log, seen, users};
use crate::books::{self, Account, Books};
use crate::settings::Names;
use crate::signature::{SIGNATURE_HEADER, Secret};
use crate::transfer::Transfer;

/// Company A's operations. Cheap to clone.
#[derive(Clone)]
pub struct CompanyA {
    pub(crate) db: DatabaseConnection,
    pub(crate) bus: Bus,
    pub(crate) outbox: Outbox,
    pub(crate) parked: Parked,
    pub(crate) names: Arc<Names>,
    pub(crate) secret: Secret,
    pub(crate) changed: Arc<Notify>,
}

/// A's answer to a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The transfer stands: credit it.
    Success,
    /// It does not, and never will.
    Error,
    /// The signature was used before, so nothing was done.
    Replayed,
}

impl CompanyA {
    /// Begins a transfer: debit, log row, message and the answer to the client's request key, in one transaction.
    ///
    /// # Errors
    /// Too little money (409), no such user (422), or the database cannot be reached (503). Nothing was written then.
    pub async fn begin(&self, from: &str, to: &str, money: i64, key: &RequestKey) -> Result<Answer, Problem> {
        let tx = database::begin(&self.db).await?;
        if !users::debit(&tx, from, money).await? {
            return Err(if users::exists(&tx, from).await? {
                Problem::conflict(format!("{from} has not got that much money"))
            } else {
                Problem::field("from", "there is no such user")
            });
        }
        let row = log::add(&tx, from, to, money).await?;
        self.outbox.stage(&tx, trace::attach(self.message(&row.transfer())?)).await?;
        let answer = Answer::new(StatusCode::ACCEPTED, json!({ "tid": row.tid, "status": "pending" }));
        let answer = answer.at(format!("/transfers/{}", row.tid));
        key.record(&tx, &answer).await?;
        self.outbox.commit(tx).await?;
        tracing::info!(tid = row.tid, money, "transfer begun");
        self.changed.notify_one();
        Ok(answer)
    }

    /// Answers B's callback. "success" where the row is 1 afterwards, also when it was before: B may have died over
    /// the first answer, and must get the same again.
    ///
    /// # Errors
    /// The database cannot be reached; B will ask again.
    pub async fn verdict(&self, tid: i64, signature: &str) -> Result<Verdict, DbErr> {
        let tx = database::begin(&self.db).await?;
        if !seen::is_new(&tx, signature).await? {
            return Ok(Verdict::Replayed);
        }
        let is_first = log::succeed(&tx, tid).await?;
        let stands =
            is_first || log::find(&tx, tid).await?.is_some_and(|row| row.status == books::Status::OK);
        tx.commit().await?;
        self.changed.notify_one();
        tracing::info!(tid, stands, is_first, "callback answered");
        Ok(if stands { Verdict::Success } else { Verdict::Error })
    }

    /// A's books, all of one moment.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn books(&self) -> Result<Books, DbErr> {
        let tx = books::begin_reading(&self.db).await?;
        let opened = users::Entity::find().select_only().expr(books::sum(&tx, users::Column::OpenedMoney));
        let balances = users::Entity::find().select_only().expr(books::sum(&tx, users::Column::UserMoney));
        let moved = log::Entity::find().select_only().expr(books::sum(&tx, log::Column::Money));
        let accounts = users::list(&tx, Books::LISTED).await?;
        let account = |user: users::Model| Account { name: user.user_name, money: user.user_money };
        let books = Books {
            company: "A".into(),
            opened: opened.into_tuple().one(&tx).await?.unwrap_or(0),
            balances: balances.into_tuple().one(&tx).await?.unwrap_or(0),
            moved: moved.filter(log::Column::Isback.eq(0)).into_tuple().one(&tx).await?.unwrap_or(0),
            open: log::open(&tx).await?,
            accounts: accounts.into_iter().map(account).collect(),
            transfers: log::latest(&tx, Books::LISTED).await?.into_iter().map(log::Model::entry).collect(),
        };
        tx.commit().await?;
        Ok(books)
    }

    /// The message for B, signed. Every copy of it has the same id.
    pub(super) fn message(&self, transfer: &Transfer) -> Result<Message, leveret_bus::Error> {
        let message = Message::json(&self.names.exchange, &self.names.routing_key, transfer)?;
        let signature = self.secret.sign_message(message.body());
        Ok(message
            .with_message_id(format!("trans-{}", transfer.tid))
            .with_header(SIGNATURE_HEADER, signature))
    }
}
