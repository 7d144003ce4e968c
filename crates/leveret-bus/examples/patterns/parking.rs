//! What cannot succeed is put aside with its story, and sent back when its cause is mended.

use leveret_bus::{Delivery, Handler, Message, Outcome, Text};
use leveret_bus_testkit::{TestBed, until};

struct Numbers;

impl Handler for Numbers {
    type Message = Text;

    async fn handle(&self, Text(text): Text, delivery: &Delivery) -> Outcome {
        match text.parse::<u32>() {
            Ok(_) => Outcome::Done,
            Err(_) if delivery.replays() > 0 => Outcome::Done,
            Err(error) => Outcome::park(error),
        }
    }
}

pub(crate) async fn run(bed: &TestBed) -> Result<(), Box<dyn std::error::Error>> {
    let worker = bed.bus.worker("numbers").start(Numbers).await?;
    bed.bus.publish(Message::text("", "numbers", "four").with_message_id("m")).await?;

    let parked = bed.bus.parked("numbers");
    let stories =
        until("it is parked", async || parked.list(10).await.ok().filter(|all| !all.is_empty())).await;
    assert_eq!(stories[0].reason, "invalid digit found in string");
    assert_eq!(stories[0].history.len(), 1);

    assert!(parked.replay("m").await?);
    assert_eq!(parked.count().await?, 0);
    worker.shutdown().await;
    Ok(())
}
