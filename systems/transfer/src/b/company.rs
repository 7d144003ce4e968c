//! What B can do: prepare a transfer, ask A about it, and credit or drop it as A says. Each step is one transaction or
//! one question, and any of them may be done again.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use leveret_bus::{clock, database};
use leveret_web::client::{Client, NoAnswer};
use leveret_web::trace;
use sea_orm::DbErr;

use super::store;
use crate::books::{Books, Entry, Status};
use crate::company::Company;
use crate::settings::SettingsB;
use crate::signature::{SIGNATURE_HEADER, TIME_HEADER};
use crate::transfer::Transfer;

/// The pause before A is asked again grows up to this many times the first.
const LONGEST_PAUSES: u32 = 16;

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

/// What A says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Success,
    Error,
}

impl CompanyB {
    /// Step 1: records the transfer as prepared. No money moves.
    pub(crate) async fn prepare(&self, transfer: &Transfer) -> Result<Prepared, DbErr> {
        let tx = database::begin(&self.company.db).await?;
        let has_account = store::has_account(&tx, &transfer.to).await?;
        let status = if has_account { Status::Pending } else { Status::Failed };
        if store::log(&tx, transfer, status, trace::current().header(), self.ask_next_ms(0)).await? {
            tx.commit().await?;
            self.company.changed.notify_one();
            return Ok(if has_account { Prepared::Now } else { Prepared::NoAccount });
        }
        let is_same = store::find(&tx, transfer.tid).await?.is_some_and(|entry| entry.transfer == *transfer);
        Ok(if is_same { Prepared::Before } else { Prepared::OtherContent })
    }

    /// Steps 2 and 3: asks A, and does as it says. Without an answer nothing is done, and the sweep asks again.
    pub(crate) async fn settle(&self, transfer: &Transfer) -> Result<(), DbErr> {
        match self.ask(transfer.tid).await {
            Ok(Said::Success) => self.credit(transfer).await?,
            Ok(Said::Error) => {
                let is_first = store::end(&self.company.db, transfer.tid, Status::Failed).await?;
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
        let is_first = store::end(&tx, transfer.tid, Status::Ok).await?;
        if is_first && !store::credit(&tx, &transfer.to, transfer.money).await? {
            return Err(DbErr::RecordNotFound(format!("the account of {}", transfer.to)));
        }
        tx.commit().await?;
        tracing::info!(tid = transfer.tid, is_first, "A says success: credited");
        Ok(())
    }

    /// Anything but the two words is no answer.
    async fn ask(&self, tid: i64) -> Result<Said, NoAnswer> {
        let body = format!("tid={tid}");
        let time_us = now_us();
        let signature = self.settings.secret.sign(time_us, body.as_bytes());
        let time = time_us.to_string();
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            (TIME_HEADER, time.as_str()),
            (SIGNATURE_HEADER, signature.as_str()),
        ];
        let answer = self.client.post(&self.settings.callback_url, &headers, body).await?;
        match (answer.status, answer.body.as_ref()) {
            (StatusCode::OK, b"success") => Ok(Said::Success),
            (StatusCode::OK, b"error") => Ok(Said::Error),
            (status, _) => Err(NoAnswer::because(format!("{status} {}", answer.text()))),
        }
    }

    /// Asks A about one that is still prepared, if it is its turn and nobody else has taken it.
    pub(crate) async fn ask_again(&self, row: store::translog::Model) -> Result<(), DbErr> {
        if !store::take_turn(&self.company.db, &row, self.ask_next_ms(row.asked + 1)).await? {
            return Ok(());
        }
        let trace = trace::Trace::parse(&row.trace).unwrap_or_else(trace::Trace::start);
        let span = tracing::info_span!("sweep", trace_id = trace.id(), tid = row.tid);
        trace.follow(span, self.settle(&Entry::from(row).transfer)).await
    }

    /// When A may be asked again: not while the question now to be asked can still be answered.
    fn ask_next_ms(&self, asked: i32) -> i64 {
        let times = 1_u32.checked_shl(asked.unsigned_abs()).unwrap_or(LONGEST_PAUSES).min(LONGEST_PAUSES);
        let pause: Duration = self.settings.ask_again_after.saturating_mul(times);
        clock::now_ms().saturating_add(clock::ms(self.settings.callback_timeout + pause))
    }

    /// B's books, all of one moment.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn books(&self) -> Result<Books, DbErr> {
        self.company.books().await
    }
}

fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
