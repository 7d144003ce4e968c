//! Drives the leveret binary with lapin, the Rust client. Each test has a broker of its own. Run against
//! another broker with `LEVERET_TEST_AMQP_URL=amqp://... cargo test -p leveret --test lapin`.

mod binary;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use binary::Broker;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions,
    BasicQosOptions, BasicRejectOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, DecimalValue, FieldTable, ShortString};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Error, ErrorKind, Event,
    ExchangeKind,
};

type Outcome = Result<(), Error>;

const FRAME_PAYLOAD_BYTES: usize = 131_072 - 8;
/// Longest wait for what has to come about.
const PATIENCE: Duration = Duration::from_secs(30);

/// A broker, a connection to it, and a channel in confirm mode.
struct Bench {
    broker: Broker,
    connection: Connection,
    channel: Channel,
}

impl Bench {
    async fn new() -> Result<Self, Error> {
        let broker = Broker::start();
        let connection = Connection::connect(&broker.url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { broker, connection, channel })
    }

    async fn other_connection(&self) -> Result<Connection, Error> {
        Connection::connect(&self.broker.url, ConnectionProperties::default()).await
    }

    async fn queue(&self) -> Result<ShortString, Error> {
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue = self.channel.queue_declare(fresh("queue"), options, FieldTable::default()).await?;
        Ok(queue.name().clone())
    }

    /// An exchange and a queue bound to it with the key `key`.
    async fn bound(
        &self,
        kind: ExchangeKind,
        arguments: FieldTable,
    ) -> Result<(ShortString, ShortString), Error> {
        let (exchange, queue) = (fresh("exchange"), self.queue().await?);
        let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
        self.channel.exchange_declare(exchange.clone(), kind, options, arguments).await?;
        self.channel
            .queue_bind(
                queue.clone(),
                exchange.clone(),
                "key".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok((exchange, queue))
    }

    async fn publish(&self, exchange: &str, key: &str, body: &[u8]) -> Result<Confirmation, Error> {
        self.publish_with(exchange, key, body, BasicProperties::default()).await
    }

    async fn publish_with(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<Confirmation, Error> {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        self.channel.basic_publish(exchange.into(), key.into(), options, body, properties).await?.await
    }

    async fn get(&self, queue: &ShortString) -> Result<Option<lapin::message::BasicGetMessage>, Error> {
        self.channel.basic_get(queue.clone(), BasicGetOptions { no_ack: false }).await
    }

    async fn ready(&self, queue: &ShortString) -> Result<u32, Error> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        Ok(self.channel.queue_declare(queue.clone(), options, FieldTable::default()).await?.message_count())
    }

    /// Waits until that many messages are ready.
    async fn until_ready(&self, queue: &ShortString, count: u32) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        while self.ready(queue).await? != count {
            assert!(Instant::now() < deadline, "not {count} messages ready within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

fn fresh(kind: &str) -> ShortString {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("interop.lapin.{kind}.{}.{number}", std::process::id()).into()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(code: u16, outcome: Result<T, Error>) {
    let error = outcome.expect_err("refused");
    let ErrorKind::ProtocolError(protocol) = error.kind() else { panic!("expected {code}, got {error}") };
    assert_eq!(protocol.get_id(), code, "{error}");
}

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), value.clone());
    }
    table
}

#[tokio::test]
async fn publishes_with_confirms_and_gets_with_message_count() -> Outcome {
    let bench = Bench::new().await?;
    let (exchange, queue) = bench.bound(ExchangeKind::Direct, FieldTable::default()).await?;
    for body in [b"a", b"b", b"c"] {
        assert!(matches!(bench.publish(exchange.as_str(), "key", body).await?, Confirmation::Ack(None)));
    }
    for (body, left) in [(b"a", 2), (b"b", 1), (b"c", 0)] {
        let message = bench.get(&queue).await?.expect("a message");
        assert_eq!((message.delivery.data.as_slice(), message.message_count), (&body[..], left));
        assert!(!message.delivery.redelivered);
        message.delivery.ack(BasicAckOptions::default()).await?;
    }
    assert!(bench.get(&queue).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn unroutable_comes_back_with_312_before_the_confirm() -> Outcome {
    let bench = Bench::new().await?;
    let (exchange, queue) = bench.bound(ExchangeKind::Direct, FieldTable::default()).await?;
    for (exchange, key) in [(exchange.as_str(), "nowhere"), ("", fresh("absent").as_str())] {
        // lapin hands out the returned message with the confirm, so it had to come first.
        let Confirmation::Ack(Some(back)) = bench.publish(exchange, key, b"back").await? else {
            panic!("not returned");
        };
        assert_eq!((back.reply_code, back.delivery.data.as_slice()), (312, &b"back"[..]));
    }
    assert!(matches!(bench.publish(exchange.as_str(), "key", b"").await?, Confirmation::Ack(None)));
    assert_eq!(bench.ready(&queue).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_thousand_publishes_in_flight_are_all_confirmed() -> Outcome {
    let bench = Bench::new().await?;
    let queue = bench.queue().await?;
    let mut confirms = Vec::new();
    for number in 0..1000_u32 {
        let body = number.to_be_bytes();
        let (options, persistent) =
            (BasicPublishOptions::default(), BasicProperties::default().with_delivery_mode(2));
        confirms
            .push(bench.channel.basic_publish("".into(), queue.clone(), options, &body, persistent).await?);
    }
    for confirm in confirms {
        assert!(confirm.await?.is_ack());
    }
    for number in 0..1000_u32 {
        assert_eq!(bench.get(&queue).await?.expect("a message").delivery.data, number.to_be_bytes());
    }
    Ok(())
}

#[tokio::test]
async fn consumes_in_order_and_acks() -> Outcome {
    let bench = Bench::new().await?;
    let queue = bench.queue().await?;
    let consume = BasicConsumeOptions::default();
    let mut consumer =
        bench.channel.basic_consume(queue.clone(), "tag".into(), consume, FieldTable::default()).await?;
    for number in 0..100_u8 {
        bench.publish("", queue.as_str(), &[number]).await?;
    }
    for number in 0..100_u8 {
        let delivery = consumer.next().await.expect("a delivery")?;
        assert_eq!(delivery.data, [number]);
        delivery.ack(BasicAckOptions::default()).await?;
    }
    bench.until_ready(&queue, 0).await
}

#[tokio::test]
async fn requeued_is_redelivered_and_dropped_is_gone() -> Outcome {
    let bench = Bench::new().await?;
    let queue = bench.queue().await?;
    bench.publish("", queue.as_str(), b"again").await?;
    let first = bench.get(&queue).await?.expect("a message");
    assert!(!first.delivery.redelivered);
    first.delivery.nack(BasicNackOptions { requeue: true, multiple: false }).await?;
    bench.until_ready(&queue, 1).await?;
    let second = bench.get(&queue).await?.expect("a message");
    assert!(second.delivery.redelivered);
    second.delivery.reject(BasicRejectOptions { requeue: true }).await?;
    bench.until_ready(&queue, 1).await?;
    let third = bench.get(&queue).await?.expect("a message");
    third.delivery.nack(BasicNackOptions { requeue: false, multiple: false }).await?;
    assert!(bench.get(&queue).await?.is_none());
    bench.publish("", queue.as_str(), b"rejected").await?;
    bench
        .get(&queue)
        .await?
        .expect("a message")
        .delivery
        .reject(BasicRejectOptions { requeue: false })
        .await?;
    assert!(bench.get(&queue).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn prefetch_bounds_what_is_unacked() -> Outcome {
    let bench = Bench::new().await?;
    let queue = bench.queue().await?;
    for _ in 0..10 {
        bench.publish("", queue.as_str(), b"").await?;
    }
    bench.channel.basic_qos(3, BasicQosOptions::default()).await?;
    let consume = BasicConsumeOptions::default();
    let _consumer =
        bench.channel.basic_consume(queue.clone(), "tag".into(), consume, FieldTable::default()).await?;
    bench.until_ready(&queue, 7).await?;
    bench.channel.basic_ack(2, BasicAckOptions { multiple: true }).await?;
    bench.until_ready(&queue, 5).await
}

#[tokio::test]
async fn wrong_declarations_have_their_codes() -> Outcome {
    let bench = Bench::new().await?;
    let (exchange, queue) = bench.bound(ExchangeKind::Direct, FieldTable::default()).await?;
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let auto_delete = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let other = bench.other_connection().await?;
    refused(404, open(&other).await?.queue_declare(fresh("absent"), passive, FieldTable::default()).await);
    refused(405, open(&other).await?.queue_declare(queue.clone(), passive, FieldTable::default()).await);
    let same = open(&bench.connection).await?;
    refused(406, same.queue_declare(queue, auto_delete, FieldTable::default()).await);
    let options = ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
    let fanout = ExchangeKind::Fanout;
    refused(
        406,
        open(&other).await?.exchange_declare(exchange, fanout, options, FieldTable::default()).await,
    );
    Ok(())
}

async fn open(connection: &Connection) -> Result<Channel, Error> {
    connection.create_channel().await
}

#[tokio::test]
async fn an_auto_delete_queue_goes_with_its_last_consumer() -> Outcome {
    let bench = Bench::new().await?;
    let options = QueueDeclareOptions { auto_delete: true, ..Default::default() };
    let queue = fresh("queue");
    bench.channel.queue_declare(queue.clone(), options, FieldTable::default()).await?;
    let consume = BasicConsumeOptions::default();
    let _consumer =
        bench.channel.basic_consume(queue.clone(), "tag".into(), consume, FieldTable::default()).await?;
    bench.channel.basic_cancel("tag".into(), lapin::options::BasicCancelOptions::default()).await?;
    refused(404, bench.ready(&queue).await);
    Ok(())
}

#[tokio::test]
async fn a_transaction_publishes_at_its_commit() -> Outcome {
    let bench = Bench::new().await?;
    let queue = bench.queue().await?;
    let channel = open(&bench.connection).await?;
    channel.tx_select().await?;
    let publish = || {
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), queue.clone(), options, b"", BasicProperties::default())
    };
    publish().await?;
    channel.tx_rollback().await?;
    publish().await?;
    assert_eq!(bench.ready(&queue).await?, 0);
    channel.tx_commit().await?;
    bench.until_ready(&queue, 1).await
}

#[tokio::test]
async fn bodies_of_every_size_come_through() -> Outcome {
    let bench = Bench::new().await?;
    let queue = bench.queue().await?;
    let frame = FRAME_PAYLOAD_BYTES;
    for size in [0, 1, frame - 1, frame, frame + 1, 1 << 20, (5 << 20) + 3] {
        let body: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        bench.publish("", queue.as_str(), &body).await?;
        let message = bench.get(&queue).await?.expect("a message");
        assert!(message.delivery.data == body, "a body of {size} bytes came back otherwise");
    }
    Ok(())
}

#[tokio::test]
async fn many_channels_work_on_one_connection() -> Outcome {
    let bench = Bench::new().await?;
    let queue = bench.queue().await?;
    let mut channels = Vec::new();
    for _ in 0..300 {
        channels.push(open(&bench.connection).await?);
    }
    for channel in &channels {
        let options = BasicPublishOptions::default();
        channel.basic_publish("".into(), queue.clone(), options, b"", BasicProperties::default()).await?;
    }
    bench.until_ready(&queue, 300).await?;
    for channel in channels {
        channel.close(200, "done".into()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn headers_of_every_field_type_come_through() -> Outcome {
    let bench = Bench::new().await?;
    let queue = bench.queue().await?;
    let headers = table(&[
        ("boolean", AMQPValue::Boolean(true)),
        ("i8", AMQPValue::ShortShortInt(-128)),
        ("u8", AMQPValue::ShortShortUInt(255)),
        ("i16", AMQPValue::ShortInt(i16::MIN)),
        ("u16", AMQPValue::ShortUInt(u16::MAX)),
        ("i32", AMQPValue::LongInt(i32::MIN)),
        ("u32", AMQPValue::LongUInt(u32::MAX)),
        ("i64", AMQPValue::LongLongInt(i64::MIN)),
        ("f32", AMQPValue::Float(0.5)),
        ("f64", AMQPValue::Double(-1.25)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 })),
        ("text", AMQPValue::LongString("兔".into())),
        ("time", AMQPValue::Timestamp(1_700_000_000)),
        ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
        ("void", AMQPValue::Void),
        ("list", AMQPValue::FieldArray(vec![AMQPValue::LongInt(1), AMQPValue::Void].into())),
        ("table", AMQPValue::FieldTable(table(&[("deep", AMQPValue::Boolean(false))]))),
    ]);
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_content_type("text/plain".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(2)
        .with_priority(1)
        .with_correlation_id("correlation".into())
        .with_reply_to("reply".into())
        .with_expiration("60000".into())
        .with_message_id("id".into())
        .with_timestamp(1_700_000_000)
        .with_type("type".into())
        .with_app_id("app".into());
    bench.publish_with("", queue.as_str(), b"", properties.clone()).await?;
    assert_eq!(bench.get(&queue).await?.expect("a message").delivery.properties, properties);
    Ok(())
}

/// The best of three, since the machine may be busy with something else during one.
#[tokio::test]
async fn a_delayed_message_comes_on_time() -> Outcome {
    if is_without_delays() {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let (exchange, queue) = bench.bound(delayed(), delayed_arguments()).await?;
    let consume = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut consumer =
        bench.channel.basic_consume(queue, "tag".into(), consume, FieldTable::default()).await?;
    let mut arrives = async |headers| -> Result<_, Error> {
        let sent = Instant::now();
        let properties = BasicProperties::default().with_headers(headers);
        bench.publish_with(exchange.as_str(), "key", b"m", properties).await?;
        let delivery = consumer.next().await.expect("a delivery")?;
        Ok((sent.elapsed(), delivery))
    };
    let mut seen = Vec::new();
    for _ in 0..3 {
        // What a message without delay takes is what the machine is slow by, not the broker late.
        let (at_once, _) = arrives(FieldTable::default()).await?;
        let (took, delivery) = arrives(table(&[("x-delay", AMQPValue::LongInt(1500))])).await?;
        let headers = delivery.properties.headers().as_ref().expect("headers");
        assert_eq!(headers.inner().get("x-delay"), Some(&AMQPValue::LongInt(-1500)));
        assert!(took >= Duration::from_millis(1500), "early: took {took:?}");
        if took <= Duration::from_millis(1600) + at_once {
            return Ok(());
        }
        seen.push((at_once, took));
    }
    panic!("late: {seen:?}, without delay and with 1.5 s");
}

#[tokio::test]
async fn a_delayed_exchange_judges_mandatory_at_publish() -> Outcome {
    if is_without_delays() {
        return Ok(());
    }
    let bench = Bench::new().await?;
    let (exchange, _) = bench.bound(delayed(), delayed_arguments()).await?;
    assert!(matches!(bench.publish(exchange.as_str(), "nowhere", b"").await?, Confirmation::Ack(Some(_))));
    Ok(())
}

fn delayed() -> ExchangeKind {
    ExchangeKind::Custom("x-delayed-message".into())
}

fn delayed_arguments() -> FieldTable {
    table(&[("x-delayed-type", AMQPValue::LongString("direct".into()))])
}

/// RabbitMQ without its plugin; never true of Leveret.
fn is_without_delays() -> bool {
    let without = std::env::var_os("LEVERET_TEST_NO_DELAYED").is_some();
    if without {
        println!("skipped, because the broker has no x-delayed-message exchanges");
    }
    without
}

#[tokio::test]
async fn connections_and_channels_close() -> Outcome {
    let bench = Bench::new().await?;
    bench.channel.close(200, "done".into()).await?;
    let channel = open(&bench.connection).await?;
    assert!(channel.status().connected());
    bench.connection.close(200, "done".into()).await
}

#[tokio::test]
async fn a_wrong_password_is_403() {
    let broker = Broker::start();
    let url = broker.url.replace(":guest@", ":wrong@");
    refused(403, Connection::connect(&url, ConnectionProperties::default()).await.map(|_| ()));
}

#[tokio::test]
async fn sigterm_closes_clients_with_320_and_ends_in_time() -> Outcome {
    let Bench { broker, connection, .. } = Bench::new().await?;
    let mut events = std::pin::pin!(connection.events_listener());
    if !broker.is_ours() {
        return Ok(());
    }
    let start = Instant::now();
    let status = tokio::task::spawn_blocking(move || broker.terminate()).await.expect("no panic");
    assert!(status.success(), "{status}");
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    let told = events.next().await;
    let Some(Event::Error(error)) = told else { panic!("expected 320, got {told:?}") };
    refused::<()>(320, Err(error));
    Ok(())
}
