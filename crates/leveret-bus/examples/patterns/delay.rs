//! A message for later, held by the broker: by its delayed exchange, or by a ladder of queues where it has none.

use std::time::{Duration, Instant};

use leveret_bus::{DelayMode, Message, Topology};
use leveret_bus_testkit::{TestBed, recorder, soon};

pub(crate) async fn run(bed: &TestBed) -> Result<(), Box<dyn std::error::Error>> {
    bed.bus.declare(&Topology::new().queue("reminders")).await?;
    let (handler, mut arrived) = recorder();
    let worker = bed.bus.worker("reminders").start(handler).await?;

    for mode in [DelayMode::Exchange, DelayMode::Ladder] {
        let reminders = bed.bus.delayed("reminders").mode(mode).open().await?;
        let (started, delay) = (Instant::now(), Duration::from_millis(100));
        reminders.publish(Message::text("", "", "pay"), delay).await?;
        soon("the reminder", arrived.recv()).await;
        assert!(started.elapsed() >= delay);
    }
    worker.shutdown().await;
    Ok(())
}
