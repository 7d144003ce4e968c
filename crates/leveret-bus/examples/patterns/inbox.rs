//! A message that comes twice does its work once: the claim is part of the work's own transaction.

use leveret_bus::inbox::{self, Claim};
use leveret_bus::{clock, database};
use leveret_bus_testkit::TestBed;

const KEEP_MS: i64 = 7 * 24 * 3600 * 1000;

pub(crate) async fn run(bed: &TestBed) -> Result<(), Box<dyn std::error::Error>> {
    inbox::migrate(&bed.db).await?;
    let mut booked = 0;
    for _delivery in 0..2 {
        let tx = database::begin(&bed.db).await?;
        if inbox::claim(&tx, "booking", "message 1").await? == Claim::First {
            // ... book it here, on &tx ...
            booked += 1;
        }
        tx.commit().await?;
    }
    assert_eq!(booked, 1);

    // Now and then: a message cannot be under way for longer than this.
    inbox::forget(&bed.db, clock::now_ms() - KEEP_MS).await?;
    Ok(())
}
