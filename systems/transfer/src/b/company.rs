//! What B can do: prepare a transfer, ask A about it, and credit or drop it as A says. Each step is one transaction or
//! one question, and any of them may be done again.

use std::sync::Arc;

use axum::http::StatusCode;
use leveret_bus::database;
use leveret_web::client::{Client, NoAnswer};
use leveret_web::trace;
use sea_orm::DbErr;

use crate::books::{Books, Entry, Status};
use crate::company::Company;
use crate::log::{self, Row};
use crate::settings::SettingsB;
use crate::transfer::{SIGNATURE_HEADER, TIME_HEADER, Transfer};

/// Company B's operations. Cheap to clone.
#[derive(Clone)]
pub struct CompanyB {
    pub(crate) company: Company,
    pub(crate) client: Client,
    pub(crate) settings: Arc<SettingsB>,
}

/// What became of a message from A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// It is new: ask A.
    Now,
    /// It was known, and the sweep looks after it.
    Before,
    /// Nobody of that name has an account here: failed without asking, and A's time-out gives the money back.
    NoAccount,
    /// The same tid with other content.
    OtherContent,
}

impl CompanyB {
    /// Step 1: records the transfer as prepared. No money moves.
    pub(crate) async fn prepare(&self, transfer: &Transfer) -> Result<Prepared, DbErr> {
        let tx = database::begin(&self.company.db).await?;
        let has_account = self.company.accounts.has(&tx, &transfer.to).await?;
        let status = if has_account { Status::Pending } else { Status::Failed };
        if log::record(&tx, transfer, status).await? {
            tx.commit().await?;
            self.company.changed.notify_one();
            return Ok(if has_account { Prepared::Now } else { Prepared::NoAccount });
        }
        let is_same = log::find(&tx, transfer.tid).await?.is_some_and(|entry| entry.transfer == *transfer);
        Ok(if is_same { Prepared::Before } else { Prepared::OtherContent })
    }

    /// Steps 2 and 3: asks A, and does as it says. Without an answer nothing is done, and the sweep asks again.
    pub(crate) async fn settle(&self, transfer: &Transfer) -> Result<(), DbErr> {
        match self.ask(transfer.tid).await {
            Ok(true) => self.credit(transfer).await?,
            Ok(false) => {
                let is_first = log::end(&self.company.db, transfer.tid, Status::Failed).await?;
                tracing::info!(tid = transfer.tid, is_first, "A says error: not credited");
            }
            Err(error) => tracing::warn!(tid = transfer.tid, %error, "A will be asked again"),
        }
        self.company.changed.notify_one();
        Ok(())
    }

    /// Credits and marks the row in one transaction, once.
    async fn credit(&self, transfer: &Transfer) -> Result<(), DbErr> {
        let tx = database::begin(&self.company.db).await?;
        let is_first = log::end(&tx, transfer.tid, Status::Ok).await?;
        if is_first && !self.company.accounts.put(&tx, &transfer.to, transfer.money).await? {
            return Err(DbErr::RecordNotFound(format!("the account of {}", transfer.to)));
        }
        tx.commit().await?;
        tracing::info!(tid = transfer.tid, is_first, "A says success: credited");
        Ok(())
    }

    /// Whether the transfer stands, in A's word. Anything but its two words is no answer.
    async fn ask(&self, tid: i64) -> Result<bool, NoAnswer> {
        let body = format!("tid={tid}");
        let (time_us, signature) = self.settings.secret.sign_now(body.as_bytes());
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            (TIME_HEADER, &time_us.to_string()),
            (SIGNATURE_HEADER, &signature),
        ];
        let answer = self.client.post(&self.settings.callback_url, &headers, body).await?;
        match (answer.status, answer.body.as_ref()) {
            (StatusCode::OK, b"success") => Ok(true),
            (StatusCode::OK, b"error") => Ok(false),
            (status, _) => Err(NoAnswer::because(format!("{status} {}", answer.text()))),
        }
    }

    /// Asks A about one that is still prepared, if nobody else has taken the turn.
    pub(crate) async fn ask_again(&self, row: Row) -> Result<(), DbErr> {
        if !log::take_turn(&self.company.db, &row).await? {
            return Ok(());
        }
        let trace = trace::Trace::parse(&row.trace).unwrap_or_else(trace::Trace::start);
        let span = tracing::info_span!("sweep", trace_id = trace.id(), tid = row.tid);
        trace.follow(span, self.settle(&Entry::from(row).transfer)).await
    }

    /// B's books, all of one moment.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn books(&self) -> Result<Books, DbErr> {
        self.company.books().await
    }
}
