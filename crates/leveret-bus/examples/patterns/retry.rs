//! Trying again: after growing pauses with some jitter, and by a more patient policy for one kind of error.

use std::time::Duration;

use leveret_bus::{Delivery, Handler, Message, Outcome, RetryPolicy, Text};
use leveret_bus_testkit::{TestBed, soon};
use tokio::sync::mpsc;

struct Mailer(mpsc::UnboundedSender<u32>, RetryPolicy);

impl Handler for Mailer {
    type Message = Text;

    async fn handle(&self, Text(_address): Text, delivery: &Delivery) -> Outcome {
        match delivery.attempt() {
            1 => Outcome::retry("connection refused"),
            2 => Outcome::retry_with(&self.1, "451 greylisted, come back later"),
            attempt => Outcome::from(self.0.send(attempt)),
        }
    }
}

pub(crate) async fn run(bed: &TestBed) -> Result<(), Box<dyn std::error::Error>> {
    let (sent, mut mails) = mpsc::unbounded_channel();
    let usual = RetryPolicy::exponential(Duration::from_millis(20)).with_jitter(0.2).with_attempts(5);
    let patient = RetryPolicy::fixed(Duration::from_millis(50)).with_attempts(100);
    let worker = bed.bus.worker("mails").retry(usual).start(Mailer(sent, patient)).await?;

    bed.bus.publish(Message::text("", "mails", "ada@example.org")).await?;

    assert_eq!(soon("the mail", mails.recv()).await, Some(3));
    worker.shutdown().await;
    Ok(())
}
