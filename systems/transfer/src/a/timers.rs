//! What A does by itself: publish again what is pending, fail what is overdue, refund what failed, forget old
//! signatures. Any number of copies of A may do so at once.

use std::time::Duration;

use leveret_bus::{Error, clock, database, inbox};
use leveret_web::Ground;
use leveret_web::signature::TOLERANCE;
use leveret_web::trace::Trace;
use sea_orm::DbErr;

use super::company::CompanyA;
use crate::books::Entry;
use crate::log;

const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Refunds in one transaction, as in the notes.
const REFUNDS_AT_A_TIME: u64 = 10;
/// Most that is published again at a time: enough for what was lost, too little to bury a broker that is only slow.
const REPUBLISHED_AT_A_TIME: u64 = 500;

pub(super) fn start(a: &CompanyA, ground: &Ground) {
    let (republish_every, expire_every) = (a.settings.republish_every, a.settings.expire_every);
    ground.every(republish_every, "pending transfers were not published again", a, CompanyA::republish);
    ground.every(expire_every, "overdue transfers are looked at again", a, CompanyA::expire);
    ground.every(FORGET_EVERY, "old signatures could not be removed", a, CompanyA::forget);
}

impl CompanyA {
    /// Publishes again what is still pending and may have been lost: older than one interval, younger than the limit.
    async fn republish(self) -> Result<(), DbErr> {
        let now_ms = clock::now_ms();
        let from_ms = now_ms - clock::ms(self.settings.republish_until);
        let until_ms = now_ms - clock::ms(self.settings.republish_every);
        let pending = log::pending(&self.company.db, from_ms, until_ms, REPUBLISHED_AT_A_TIME).await?;
        let messages = pending.into_iter().filter_map(|row| self.message(row).ok()).collect();
        for answer in self.company.bus.publisher().publish_all(messages).await {
            if let Err(error) = answer {
                tracing::warn!(%error, "a pending transfer was not published again");
            }
        }
        Ok(())
    }

    /// Fails what is overdue and refunds what failed.
    async fn expire(self) -> Result<(), DbErr> {
        let before_ms = clock::now_ms() - clock::ms(self.settings.expire_after);
        let failed = log::fail_older(&self.company.db, before_ms).await?;
        let mut refunded = 0;
        loop {
            match self.refund_some().await? {
                0 => break,
                count => refunded += count,
            }
        }
        if failed > 0 {
            tracing::info!(failed, "overdue transfers");
        }
        if failed > 0 || refunded > 0 {
            self.company.changed.notify_one();
        }
        Ok(())
    }

    /// Refunds up to ten, in one transaction: the log rows and the balances change together or not at all.
    async fn refund_some(&self) -> Result<usize, DbErr> {
        let tx = database::begin(&self.company.db).await?;
        let mut refunded = Vec::new();
        for row in log::take_failed(&tx, REFUNDS_AT_A_TIME).await? {
            if log::mark_back(&tx, row.tid).await? {
                let (trace, transfer) = (Trace::parse(&row.trace), Entry::from(row).transfer);
                if !self.company.accounts.put(&tx, &transfer.from, transfer.money).await? {
                    return Err(DbErr::RecordNotFound(format!("the account of {}", transfer.from)));
                }
                refunded.push((trace, transfer.tid));
            }
        }
        tx.commit().await?;
        for (trace, tid) in &refunded {
            tracing::info!(trace_id = trace.as_ref().map(Trace::id), tid, "refunded");
        }
        Ok(refunded.len())
    }

    /// Forgets signatures that would not be believed any more.
    async fn forget(self) -> Result<(), Error> {
        let before_ms = clock::now_ms().saturating_sub(clock::ms(TOLERANCE * 2));
        inbox::forget(&self.company.db, before_ms).await.map(drop)
    }
}
