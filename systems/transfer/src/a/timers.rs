//! What A does by itself: publish again what is pending, fail what is overdue, refund what failed, forget old
//! signatures. Any number of copies of A may do so at once.

use std::time::Duration;

use leveret_bus::{clock, database};
use leveret_web::Turns;
use sea_orm::DbErr;
use tokio_util::sync::CancellationToken;

use super::company::CompanyA;
use super::{log, seen, users};
use crate::settings::SettingsA;

const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Refunds in one transaction, as in the notes.
const REFUNDS_AT_A_TIME: u64 = 10;
/// Most that is published again at a time: enough for what was lost, too little to bury a broker that is only slow.
const REPUBLISHED_AT_A_TIME: u64 = 500;

/// Publishes again what is still pending and may have been lost: older than one interval, younger than the limit.
pub(super) async fn republish(company: CompanyA, settings: SettingsA, stop: CancellationToken) {
    let mut turns = Turns::every(settings.republish_every, stop);
    while turns.next().await {
        if let Err(error) = publish_pending(&company, &settings).await {
            tracing::warn!(%error, "pending transfers were not published again");
        }
    }
}

async fn publish_pending(company: &CompanyA, settings: &SettingsA) -> Result<(), DbErr> {
    let now_ms = clock::now_ms();
    let from_ms = now_ms - clock::ms(settings.republish_until);
    let until_ms = now_ms - clock::ms(settings.republish_every);
    let rows = log::pending(&company.db, from_ms, until_ms, REPUBLISHED_AT_A_TIME).await?;
    let messages = rows.iter().filter_map(|row| company.message(&row.transfer()).ok()).collect();
    for answer in company.bus.publisher().publish_all(messages).await {
        if let Err(error) = answer {
            tracing::warn!(%error, "a pending transfer was not published again");
        }
    }
    Ok(())
}

/// Fails what is overdue and refunds what failed.
pub(super) async fn expire(company: CompanyA, settings: SettingsA, stop: CancellationToken) {
    let mut turns = Turns::every(settings.expire_every, stop);
    while turns.next().await {
        if let Err(error) = fail_and_refund(&company, &settings).await {
            tracing::warn!(%error, "overdue transfers are looked at again");
        }
    }
}

async fn fail_and_refund(company: &CompanyA, settings: &SettingsA) -> Result<(), DbErr> {
    let before_ms = clock::now_ms() - clock::ms(settings.expire_after);
    let failed = log::fail_older(&company.db, before_ms).await?;
    let mut refunded = 0;
    loop {
        match refund_some(company).await? {
            0 => break,
            count => refunded += count,
        }
    }
    if failed + refunded > 0 {
        tracing::info!(failed, refunded, "overdue transfers");
        company.changed.notify_one();
    }
    Ok(())
}

/// Forgets signatures that would not be believed any more.
pub(super) async fn forget(company: CompanyA, stop: CancellationToken) {
    let mut turns = Turns::every(FORGET_EVERY, stop);
    while turns.next().await {
        if let Err(error) = seen::purge(&company.db).await {
            tracing::warn!(%error, "old signatures could not be removed");
        }
    }
}

/// Refunds up to ten, in one transaction: the log rows and the balances change together or not at all.
async fn refund_some(company: &CompanyA) -> Result<u64, DbErr> {
    let tx = database::begin(&company.db).await?;
    let mut refunded = 0;
    for row in log::take_failed(&tx, REFUNDS_AT_A_TIME).await? {
        if log::mark_back(&tx, row.tid).await? {
            users::refund(&tx, &row.from, row.money).await?;
            refunded += 1;
        }
    }
    tx.commit().await?;
    Ok(refunded)
}
