//! What sets B to work: the messages from A, and the sweep that picks up what a crash or a silent A left prepared.

use std::sync::Arc;

use leveret_bus::{Delivery, Handler, Json, Outcome};
use leveret_web::trace;
use sea_orm::DbErr;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::company::{CompanyB, Prepared};
use super::store;
use crate::signature::SIGNATURE_HEADER;
use crate::transfer::Transfer;

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
    /// Asks A again about what is still prepared. Any number of copies of B may do so at once.
    pub(super) async fn sweep(self) -> Result<(), DbErr> {
        let slots = Arc::new(Semaphore::new(self.settings.concurrency.max(1)));
        let mut asking = JoinSet::new();
        for row in store::due(&self.company.db, SWEPT_AT_A_TIME).await? {
            let (company, slots) = (self.clone(), Arc::clone(&slots));
            asking.spawn(async move {
                let _slot = slots.acquire().await;
                company.ask_again(row).await
            });
        }
        while let Some(asked) = asking.join_next().await {
            match asked {
                Ok(asked) => asked?,
                Err(error) => tracing::error!(%error, "a question to A ended badly"),
            }
        }
        Ok(())
    }
}
