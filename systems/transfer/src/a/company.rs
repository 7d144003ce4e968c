//! What A can do, apart from how it is asked.

use std::sync::Arc;

use axum::http::StatusCode;
use leveret_bus::inbox::{self, Claim};
use leveret_bus::{Error, Message, Outbox, database};
use leveret_web::{Answer, Problem, RequestKey, trace};
use sea_orm::DbErr;
use serde_json::json;

use crate::books::{Books, Entry, Status};
use crate::company::Company;
use crate::log::{self, Row};
use crate::settings::SettingsA;
use crate::transfer::{SIGNATURE_HEADER, Transfer};

/// What signatures are claimed for in the inbox.
const CALLBACK: &str = "callback";

/// Company A's operations. Cheap to clone.
#[derive(Clone)]
pub struct CompanyA {
    pub(crate) company: Company,
    pub(crate) outbox: Outbox,
    pub(crate) settings: Arc<SettingsA>,
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
    /// Begins a transfer: debit, log row, message and the answer to the client's request key, in one transaction. The tid is
    /// A's to give.
    ///
    /// # Errors
    /// Too little money (409), no such user (422), or the database cannot be reached (503). Nothing was written then.
    pub async fn begin(&self, wanted: &Transfer, key: &RequestKey) -> Result<Answer, Problem> {
        let (accounts, from) = (self.company.accounts, wanted.from.as_str());
        let tx = database::begin(&self.company.db).await?;
        if !accounts.put(&tx, from, -wanted.money).await? {
            return Err(match accounts.has(&tx, from).await? {
                true => Problem::conflict(format!("{from} has not got that much money")),
                false => Problem::field("from", "there is no such user"),
            });
        }
        let row = log::begin(&tx, wanted).await?;
        let (tid, money) = (row.tid, row.money);
        self.outbox.stage(&tx, self.message(row)?).await?;
        let answer = Answer::new(StatusCode::ACCEPTED, json!({ "tid": tid, "status": "pending" }));
        let answer = answer.at(format!("/transfers/{tid}"));
        key.record(&tx, &answer).await?;
        self.outbox.commit(tx).await?;
        tracing::info!(tid, money, "transfer begun");
        self.company.changed.notify_one();
        Ok(answer)
    }

    /// Answers B's callback. "success" where the row is 1 afterwards, also when it was before: B may have died over
    /// the first answer, and must get the same again.
    ///
    /// # Errors
    /// The database cannot be reached; B will ask again.
    pub async fn verdict(&self, tid: i64, signature: &str) -> Result<Verdict, Error> {
        let tx = database::begin(&self.company.db).await?;
        if inbox::claim(&tx, CALLBACK, signature).await? == Claim::Duplicate {
            return Ok(Verdict::Replayed);
        }
        let is_first = log::end(&tx, tid, Status::Ok).await?;
        let stands = is_first || log::find(&tx, tid).await?.is_some_and(|entry| entry.status == Status::Ok);
        tx.commit().await?;
        self.company.changed.notify_one();
        tracing::info!(tid, stands, is_first, "callback answered");
        Ok(if stands { Verdict::Success } else { Verdict::Error })
    }

    /// A's books, all of one moment.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn books(&self) -> Result<Books, DbErr> {
        self.company.books().await
    }

    /// The message for B, signed, in the transfer's trace. Every copy of it has the same id.
    pub(super) fn message(&self, row: Row) -> Result<Message, Error> {
        let (names, trace) = (&self.settings.names, row.trace.clone());
        let transfer = Entry::from(row).transfer;
        let message = Message::json(&names.exchange, &names.routing_key, &transfer)?;
        let signature = self.settings.secret.sign_message(message.body());
        let message = message.with_message_id(format!("trans-{}", transfer.tid));
        Ok(message.with_header(SIGNATURE_HEADER, signature).with_header(trace::HEADER, trace))
    }
}
