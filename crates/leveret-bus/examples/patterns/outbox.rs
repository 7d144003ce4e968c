//! A row and the message that announces it: both or neither, in order, and perhaps later.

use std::time::Duration;

use leveret_bus::outbox::RelayOptions;
use leveret_bus::{Message, Outbox, database};
use leveret_bus_testkit::{TestBed, recorder, soon};

pub(crate) async fn run(bed: &TestBed) -> Result<(), Box<dyn std::error::Error>> {
    let (handler, mut arrived) = recorder();
    let worker = bed.bus.worker("users").concurrency(1).start(handler).await?;
    let outbox = Outbox::open(bed.db.clone()).await?;
    let relay = outbox.relay(bed.bus.publisher(), RelayOptions::default());

    let tx = database::begin(&bed.db).await?;
    outbox.stage(&tx, Message::text("", "users", "never was")).await?;
    tx.rollback().await?;

    let tx = database::begin(&bed.db).await?;
    // ... insert the user here, on &tx ...
    outbox.stage_in_order(&tx, "user 42", Message::text("", "users", "created")).await?;
    outbox.stage_in_order(&tx, "user 42", Message::text("", "users", "renamed")).await?;
    outbox.stage_after(&tx, Message::text("", "users", "reminded"), Duration::from_millis(200)).await?;
    outbox.commit(tx).await?;

    for event in ["created", "renamed", "reminded"] {
        assert_eq!(soon(event, arrived.recv()).await.ok_or("no event")?.body(), event.as_bytes());
    }
    relay.shutdown().await;
    worker.shutdown().await;
    Ok(())
}
