//! The worker on the queue of orders whose time is up: closes those that are not paid.

use leveret_bus::{Delivery, Handler, Outcome, Text};
use leveret_web::trace;
use sea_orm::DbErr;

use crate::desk::Desk;
use crate::store;

/// Closes orders.
pub(crate) struct Closing(pub(crate) Desk);

impl Handler for Closing {
    type Message = Text;

    async fn handle(&self, Text(order_no): Text, delivery: &Delivery) -> Outcome {
        trace::handling(delivery, self.close(&order_no)).await.into()
    }
}

impl Closing {
    async fn close(&self, order_no: &str) -> Result<(), DbErr> {
        if store::decide(&self.0.db, order_no, store::CLOSED).await? {
            tracing::info!(order_no, "closed");
            self.0.changed.notify_one();
        }
        Ok(())
    }
}
