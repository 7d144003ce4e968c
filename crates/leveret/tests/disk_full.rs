//! A disk that fills up under the leveret binary: nothing is confirmed any more, and what is there can still be
//! consumed.

mod binary;

use binary::Broker;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Error};
use leveret_amqp::{Properties, tx};
use leveret_testkit::{Login, Peer};

/// More than the disk holds.
const MESSAGES: u32 = 20_000;
const BODY_BYTES: usize = 64 << 10;

async fn publish(channel: &Channel, number: u32) -> Result<bool, Error> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(BODY_BYTES, 7);
    let properties = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    let confirm = channel.basic_publish("".into(), "queue".into(), options, &body, properties).await?;
    Ok(confirm.await?.is_ack())
}

#[tokio::test]
async fn a_full_disk_stops_confirms_and_not_consumers() -> Result<(), Error> {
    let broker = Broker::on_small_disk(200);
    let connection = Connection::connect(&broker.url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("queue".into(), durable, FieldTable::default()).await?;
    let mut confirmed = 0;
    while confirmed < MESSAGES && publish(&channel, confirmed).await? {
        confirmed += 1;
    }
    assert!(confirmed > 0 && confirmed < MESSAGES, "{confirmed} confirmed on a disk of 200 MB");
    for number in confirmed + 1..confirmed + 10 {
        assert!(!publish(&channel, number).await?, "confirmed after the disk had failed");
    }
    publishing_ends_with_internal_error(&broker);
    let first = channel.basic_get("queue".into(), BasicGetOptions { no_ack: true }).await?;
    let first = first.expect("what was confirmed is there");
    assert_eq!(first.delivery.data[..4], 0u32.to_be_bytes());
    let purged = channel.queue_purge("queue".into(), QueuePurgeOptions::default()).await?;
    assert!(purged >= confirmed - 1, "{purged} of {confirmed} confirmed messages were there");
    assert!(broker.terminate().success(), "the broker stops in order");
    Ok(())
}

/// Without confirms there is nothing to refuse but the channel.
fn publishing_ends_with_internal_error(broker: &Broker) {
    let mut peer = Peer::connect_to(broker.address().parse().expect("an address"), "/");
    peer.log_in(&Login::default());
    let persistent = Properties { delivery_mode: Some(2), ..Properties::default() };
    peer.publish(1, leveret_testkit::publish("", "queue"), &persistent, "lost");
    assert_eq!(peer.expect_channel_close(1).code, 541, "a publish without confirms");
    peer.ask::<tx::SelectOk>(1, tx::Select {});
    peer.publish(1, leveret_testkit::publish("", "queue"), &persistent, "lost");
    peer.send(1, tx::Commit {});
    assert_eq!(peer.expect_channel_close(1).code, 541, "a commit");
}
