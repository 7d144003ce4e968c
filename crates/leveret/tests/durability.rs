//! What the leveret binary still has after it was killed or stopped: whatever it confirmed as persistent, and
//! nothing that was settled.

mod binary;

use binary::Broker;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Error, ExchangeKind, PublisherConfirm,
};

type Outcome = Result<(), Error>;

const PERSISTENT: u8 = 2;
const TRANSIENT: u8 = 1;

async fn open(broker: &Broker) -> Result<(Connection, Channel), Error> {
    let connection = Connection::connect(&broker.url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

async fn declare(channel: &Channel, durable: bool, passive: bool) -> Result<u32, Error> {
    let options = QueueDeclareOptions { durable, passive, ..Default::default() };
    Ok(channel.queue_declare("queue".into(), options, FieldTable::default()).await?.message_count())
}

/// Publishes and waits for every confirm.
async fn publish(
    channel: &Channel,
    exchange: &str,
    bodies: std::ops::Range<u32>,
    delivery_mode: u8,
) -> Outcome {
    for body in bodies {
        let properties = BasicProperties::default().with_delivery_mode(delivery_mode);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let body = body.to_be_bytes();
        let confirm =
            channel.basic_publish(exchange.into(), "queue".into(), options, &body, properties).await?.await?;
        assert!(confirm.is_ack());
        assert_eq!(confirm.take_message(), None);
    }
    Ok(())
}

/// Takes what is in the queue, without acknowledging it.
async fn take(channel: &Channel, count: u32) -> Result<Vec<u32>, Error> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let Some(message) = channel.basic_get("queue".into(), BasicGetOptions { no_ack: false }).await?
        else {
            break;
        };
        let body = message.delivery.data.first_chunk::<4>().expect("four bytes");
        bodies.push(u32::from_be_bytes(*body));
    }
    Ok(bodies)
}

#[tokio::test]
async fn what_was_confirmed_survives_a_crash_in_order() -> Outcome {
    let broker = Broker::ours();
    let (_connection, channel) = open(&broker).await?;
    declare(&channel, true, false).await?;
    publish(&channel, "", 0..500, PERSISTENT).await?;
    let broker = broker.crash_and_restart();
    let (_connection, channel) = open(&broker).await?;
    assert_eq!(declare(&channel, true, true).await?, 500);
    assert_eq!(take(&channel, 501).await?, (0..500).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn what_was_acknowledged_does_not_come_back() -> Outcome {
    let broker = Broker::ours();
    let (connection, channel) = open(&broker).await?;
    declare(&channel, true, false).await?;
    publish(&channel, "", 0..20, PERSISTENT).await?;
    take(&channel, 12).await?;
    channel.basic_ack(10, BasicAckOptions { multiple: true }).await?;
    connection.close(200, "done".into()).await?;
    let broker = broker.restart();
    let (_connection, channel) = open(&broker).await?;
    assert_eq!(take(&channel, 21).await?, (10..20).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn durable_exchanges_and_bindings_stay() -> Outcome {
    let broker = Broker::ours();
    let (_connection, channel) = open(&broker).await?;
    declare(&channel, true, false).await?;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare("exchange".into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind("queue".into(), "exchange".into(), "#".into(), options, arguments).await?;
    let broker = broker.crash_and_restart();
    let (_connection, channel) = open(&broker).await?;
    publish(&channel, "exchange", 0..1, PERSISTENT).await?;
    assert_eq!(take(&channel, 2).await?, [0]);
    Ok(())
}

#[tokio::test]
async fn what_is_transient_goes() -> Outcome {
    let broker = Broker::ours();
    let (_connection, channel) = open(&broker).await?;
    declare(&channel, true, false).await?;
    publish(&channel, "", 0..5, TRANSIENT).await?;
    publish(&channel, "", 5..7, PERSISTENT).await?;
    let broker = broker.restart();
    let (_connection, channel) = open(&broker).await?;
    assert_eq!(take(&channel, 8).await?, [5, 6]);
    let broker = broker.restart();
    let (_connection, channel) = open(&broker).await?;
    assert_eq!(declare(&channel, true, true).await?, 2);
    Ok(())
}

#[tokio::test]
async fn a_queue_that_is_not_durable_goes() -> Outcome {
    let broker = Broker::ours();
    let (_connection, channel) = open(&broker).await?;
    declare(&channel, false, false).await?;
    publish(&channel, "", 0..5, PERSISTENT).await?;
    let broker = broker.restart();
    let (_connection, channel) = open(&broker).await?;
    assert!(declare(&channel, false, true).await.is_err());
    Ok(())
}

#[tokio::test]
async fn numbers_of_purged_transient_messages_are_not_given_again() -> Outcome {
    let broker = Broker::ours();
    let (connection, channel) = open(&broker).await?;
    declare(&channel, true, false).await?;
    publish(&channel, "", 0..50, TRANSIENT).await?;
    channel.queue_purge("queue".into(), QueuePurgeOptions::default()).await?;
    connection.close(200, "done".into()).await?;
    let broker = broker.restart();
    let (_connection, channel) = open(&broker).await?;
    publish(&channel, "", 0..20, PERSISTENT).await?;
    let broker = broker.crash_and_restart();
    let (_connection, channel) = open(&broker).await?;
    assert_eq!(take(&channel, 21).await?, (0..20).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_limit_in_bytes_counts_bodies_after_a_restart_too() -> Outcome {
    let broker = Broker::ours();
    let (_connection, channel) = open(&broker).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongInt(400));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("queue".into(), durable, arguments).await?;
    publish(&channel, "", 0..100, PERSISTENT).await?;
    let broker = broker.crash_and_restart();
    let (_connection, channel) = open(&broker).await?;
    publish(&channel, "", 100..101, PERSISTENT).await?;
    let bodies = take(&channel, 101).await?;
    assert_eq!(bodies, (1..101).collect::<Vec<_>>());
    Ok(())
}

/// Fetches the message of a quorum queue, says how often it came back before, and gives it back; `None` where it is gone.
async fn give_back(channel: &Channel) -> Result<Option<i64>, Error> {
    let fetched = channel.basic_get("poisoned".into(), BasicGetOptions { no_ack: false }).await?;
    let Some(message) = fetched else { return Ok(None) };
    let headers = message.delivery.properties.headers().clone().unwrap_or_default();
    let count = headers.inner().get("x-delivery-count").and_then(AMQPValue::as_long_long_int);
    message.delivery.nack(BasicNackOptions { requeue: true, ..Default::default() }).await?;
    // The count is nothing that a client can wait for; what is confirmed after it is behind it in the journal.
    publish(channel, "", 0..1, PERSISTENT).await?;
    Ok(Some(count.unwrap_or(0)))
}

#[tokio::test]
async fn a_poison_message_reaches_its_delivery_limit_over_crashes() -> Outcome {
    let mut broker = Broker::ours();
    let (_connection, channel) = open(&broker).await?;
    declare(&channel, true, false).await?;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("dead".into(), durable, FieldTable::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(5));
    arguments.insert("x-dead-letter-exchange".into(), AMQPValue::LongString("".into()));
    arguments.insert("x-dead-letter-routing-key".into(), AMQPValue::LongString("dead".into()));
    channel.queue_declare("poisoned".into(), durable, arguments).await?;
    let (options, properties) =
        (BasicPublishOptions::default(), BasicProperties::default().with_delivery_mode(2));
    let confirm = channel.basic_publish("".into(), "poisoned".into(), options, b"x", properties).await?;
    assert!(confirm.await?.is_ack());

    let mut counts = Vec::new();
    for _ in 0..3 {
        let (_connection, channel) = open(&broker).await?;
        counts.push(give_back(&channel).await?);
        counts.push(give_back(&channel).await?);
        broker = broker.crash_and_restart();
    }
    assert_eq!(counts, [0, 1, 2, 3, 4, 5].map(Some));
    let (_connection, channel) = open(&broker).await?;
    assert_eq!(give_back(&channel).await?, None);
    let dead = channel.basic_get("dead".into(), BasicGetOptions { no_ack: true }).await?.expect("it is dead");
    let headers = dead.delivery.properties.headers().clone().expect("headers");
    let reason = headers.inner().get("x-first-death-reason");
    assert_eq!(reason, Some(&AMQPValue::LongString("delivery_limit".into())));
    Ok(())
}

/// What administrators have set, by way of definitions that only the first start is given.
#[tokio::test]
async fn users_permissions_and_policies_survive_a_crash() -> Outcome {
    let definitions = r#"{
        "users": [{"name": "bunny", "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
                   "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ["management"]}],
        "vhosts": [{"name": "burrow"}],
        "permissions": [{"user": "bunny", "vhost": "burrow", "configure": "^mine", "write": ".*", "read": ".*"}],
        "policies": [{"vhost": "burrow", "name": "short", "pattern": "", "apply-to": "queues", "priority": 0,
                      "definition": {"max-length": 2}}],
        "parameters": [{"vhost": "burrow", "component": "vhost-limits", "name": "limits",
                        "value": {"max-queues": 1}}],
        "queues": [{"vhost": "burrow", "name": "mine", "durable": true, "arguments": {}}]
    }"#;
    let broker = Broker::with_definitions(definitions).crash_and_restart();
    let address = broker.address();
    let url = |password: &str| format!("amqp://bunny:{password}@{address}/burrow");
    assert!(Connection::connect(&url("test13"), ConnectionProperties::default()).await.is_err());
    let guest = format!("amqp://guest:guest@{address}/burrow");
    assert!(
        Connection::connect(&guest, ConnectionProperties::default()).await.is_err(),
        "definitions bring users"
    );

    let connection = Connection::connect(&url("test12"), ConnectionProperties::default()).await?;
    let refusal = async |name: &str| {
        let channel = connection.create_channel().await?;
        let declared =
            channel.queue_declare(name.into(), QueueDeclareOptions::default(), FieldTable::default());
        Ok::<_, Error>(declared.await.expect_err("a refusal").to_string())
    };
    assert!(refusal("theirs").await?.contains("access to queue 'theirs' in vhost 'burrow' refused"));
    assert!(refusal("mine.too").await?.contains("queue limit in vhost 'burrow' (1) is reached"));
    let channel = connection.create_channel().await?;
    for _ in 0..5 {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        channel.basic_publish("".into(), "mine".into(), options, b"x", properties).await?.await?;
    }
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = channel.queue_declare("mine".into(), options, FieldTable::default()).await?;
    assert_eq!(queue.message_count(), 2, "the policy is in force");
    Ok(())
}

async fn publish_named(channel: &Channel, name: u32) -> Result<PublisherConfirm, Error> {
    let properties =
        BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(name.to_string().into());
    let options = BasicPublishOptions::default();
    channel.basic_publish("".into(), "queue".into(), options, &name.to_be_bytes(), properties).await
}

/// Killed while messages are on their way, of which some are confirmed, some are stored, and some are neither: their
/// publisher publishes all of them again, and each is there once.
#[tokio::test]
async fn what_was_published_before_a_crash_is_known_after_it() -> Outcome {
    const ALL: u32 = 2000;
    let broker = Broker::ours();
    let (_connection, channel) = open(&broker).await?;
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-message-deduplication".into(), AMQPValue::Boolean(true));
    channel.queue_declare("queue".into(), options, arguments).await?;
    let mut confirms = Vec::new();
    for name in 0..ALL {
        confirms.push(publish_named(&channel, name).await?);
    }
    for confirm in confirms.into_iter().take(300) {
        assert!(confirm.await?.is_ack());
    }
    assert_eq!(take(&channel, 100).await?, (0..100).collect::<Vec<_>>());
    channel.basic_ack(100, BasicAckOptions { multiple: true }).await?;
    let broker = broker.crash_and_restart();
    let (_connection, channel) = open(&broker).await?;
    for name in 0..ALL {
        assert!(publish_named(&channel, name).await?.await?.is_ack());
    }
    let mut there = take(&channel, ALL + 1).await?;
    // An acknowledgement may be lost; what it was for comes back in its place, and not as one more.
    there.retain(|name| *name >= 100);
    assert_eq!(there, (100..ALL).collect::<Vec<_>>());
    Ok(())
}
