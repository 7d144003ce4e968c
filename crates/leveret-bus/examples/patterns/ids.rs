//! Ids: sorted by time, small and from a leased worker id, or readable.

use leveret_bus::ids::{self, Snowflake, SnowflakeOptions};
use leveret_bus_testkit::TestBed;

pub(crate) async fn run(bed: &TestBed) -> Result<(), Box<dyn std::error::Error>> {
    let snowflake = Snowflake::lease(&bed.db, SnowflakeOptions::default()).await?;
    let (first, second) = (snowflake.next_id().await?, snowflake.next_id().await?);
    assert!(first < second);

    assert_eq!(ids::uuid().len(), 36);
    assert!(ids::dated(42).ends_with("42"));
    Ok(())
}
