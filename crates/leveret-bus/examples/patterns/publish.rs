//! Publishing that knows how it ended: confirmed, or returned because no queue wants the message.

use leveret_bus::{ExchangeKind, Message, PublishError, Topology};
use leveret_bus_testkit::TestBed;

pub(crate) async fn run(bed: &TestBed) -> Result<(), Box<dyn std::error::Error>> {
    let topology = Topology::new().exchange("orders", ExchangeKind::Topic).queue("invoices").bind(
        "invoices",
        "orders",
        "order.paid",
    );
    bed.bus.declare(&topology).await?;

    bed.bus.publish(Message::json("orders", "order.paid", &42)?).await?;

    let nobody_wants_it = bed.bus.publish(Message::json("orders", "order.lost", &42)?).await;
    assert!(matches!(nobody_wants_it, Err(PublishError::Returned(_))));
    Ok(())
}
