//! Something every second, in one of however many instances there are.

use leveret_bus::schedules::{Missed, Schedules};
use leveret_bus_testkit::{TestBed, soon};
use tokio::sync::mpsc;

pub(crate) async fn run(bed: &TestBed) -> Result<(), Box<dyn std::error::Error>> {
    let schedules = Schedules::open(bed.db.clone()).await?;
    let (ran, mut runs) = mpsc::unbounded_channel();
    let sweep = schedules.cron("sweep", "* * * * * *")?.missed(Missed::Once);
    let sweep = sweep.start(move |occurrence| {
        let told = ran.send(occurrence.due_ms);
        async move { told }
    });
    let sweep = sweep.await?;

    let due_ms = soon("a run", runs.recv()).await.ok_or("no run")?;
    assert_eq!(due_ms % 1000, 0);
    sweep.shutdown().await;
    Ok(())
}
