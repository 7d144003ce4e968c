//! What sets B to work: the messages from A, and the sweep that picks up what a crash or a silent A left prepared.

use futures_util::{TryStreamExt, stream};
use leveret_bus::{Delivery, Handler, Json, Outcome, clock};
use leveret_web::trace;
use sea_orm::DbErr;

use super::company::{CompanyB, Prepared};
use crate::log;
use crate::transfer::{SIGNATURE_HEADER, Transfer};

const SWEPT_AT_A_TIME: u64 = 500;

/// The worker on A's queue.
pub(super) struct Receiver(pub(super) CompanyB);

impl Handler for Receiver {
    type Message = Json<Transfer>;

    async fn handle(&self, Json(transfer): Json<Transfer>, delivery: &Delivery) -> Outcome {
        // Anybody who may publish to the exchange can send a transfer; only A can have meant it.
        let signature = delivery.headers().text(SIGNATURE_HEADER);
        if let Err(refused) = self.0.settings.secret.check_message(signature.as_deref(), delivery.body()) {
            tracing::warn!(message_id = delivery.message_id(), "message refused: {refused}");
            return Outcome::park(format!("not from A: {refused}"));
        }
        if let Some(nonsense) = transfer.nonsense() {
            return Outcome::park(nonsense);
        }
        trace::handling(delivery, self.receive(&transfer)).await.unwrap_or_else(Outcome::retry)
    }
}

impl Receiver {
    /// Once it is prepared the message has done its part: what follows is in the log, and the sweep's if need be.
    async fn receive(&self, transfer: &Transfer) -> Result<Outcome, DbErr> {
        match self.0.prepare(transfer).await? {
            Prepared::Now => self.0.settle(transfer).await?,
            Prepared::Before => {}
            Prepared::NoAccount => {
                tracing::warn!(tid = transfer.tid, "nobody here has this name: not accepted");
            }
            Prepared::OtherContent => {
                return Ok(Outcome::park(format!("transfer {} is known with other content", transfer.tid)));
            }
        }
        Ok(Outcome::Done)
    }
}

impl CompanyB {
    /// Asks A again about what is still prepared, unless the last question may still be answered. Any number of copies of B
    /// may do so at once.
    pub(super) async fn sweep(self) -> Result<(), DbErr> {
        let pause = self.settings.callback_timeout + self.settings.ask_again_after;
        let until_ms = clock::now_ms() - clock::ms(pause);
        let due = log::pending(&self.company.db, 0, until_ms, SWEPT_AT_A_TIME).await?;
        let asking = stream::iter(due.into_iter().map(Ok));
        asking.try_for_each_concurrent(self.settings.concurrency.max(1), |row| self.ask_again(row)).await
    }
}
