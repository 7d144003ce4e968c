//! A worker: typed messages, eight at a time, a time limit for each, and an end that finishes what is at work.

use std::time::Duration;

use leveret_bus::{Delivery, Handler, Json, Message, Outcome};
use leveret_bus_testkit::{TestBed, soon};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Serialize, Deserialize)]
struct Order {
    number: u64,
}

struct Invoices(mpsc::UnboundedSender<u64>);

impl Handler for Invoices {
    type Message = Json<Order>;

    async fn handle(&self, Json(order): Json<Order>, _: &Delivery) -> Outcome {
        Outcome::from(self.0.send(order.number))
    }
}

pub(crate) async fn run(bed: &TestBed) -> Result<(), Box<dyn std::error::Error>> {
    let (written, mut invoices) = mpsc::unbounded_channel();
    let worker = bed.bus.worker("invoices").concurrency(8).time_limit(Duration::from_secs(5));
    let worker = worker.start(Invoices(written)).await?;

    bed.bus.publish(Message::of("", "invoices", &Json(Order { number: 42 }))?).await?;

    assert_eq!(soon("the invoice", invoices.recv()).await, Some(42));
    worker.shutdown().await;
    Ok(())
}
