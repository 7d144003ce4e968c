//! A payment and its time-out race; the first decides, and both act on what stands.

use leveret_bus::{database, decision};
use leveret_bus_testkit::TestBed;

async fn decide(bed: &TestBed, outcome: &str) -> Result<String, Box<dyn std::error::Error>> {
    let tx = database::begin(&bed.db).await?;
    let decision = decision::decide(&tx, "order 42", outcome).await?;
    if decision.is_new {
        // ... ship or give the goods back here, on &tx ...
    }
    tx.commit().await?;
    Ok(decision.outcome)
}

pub(crate) async fn run(bed: &TestBed) -> Result<(), Box<dyn std::error::Error>> {
    decision::migrate(&bed.db).await?;
    assert_eq!(decide(bed, "closed").await?, "closed");
    assert_eq!(decide(bed, "paid").await?, "closed", "too late: give the money back");
    assert_eq!(decide(bed, "closed").await?, "closed", "asked twice, answered the same");
    Ok(())
}
