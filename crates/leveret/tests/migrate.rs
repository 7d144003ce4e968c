//! `leveret migrate` between Leveret and another broker, both ways. The other is RabbitMQ with its management, where
//! `LEVERET_TEST_AMQP_URL` names one (`cargo xtask test` does), else a second Leveret.

#![cfg(feature = "migrate")]

mod binary;

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use binary::Broker;
use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};

/// A virtual host of its own at one broker.
struct Place {
    /// With the virtual host.
    url: String,
    management: String,
}

impl Place {
    fn new(broker: &Broker, vhost: &str) -> Self {
        let url = format!("{}/{vhost}", broker.url);
        let management = if broker.is_ours() {
            format!("http://{}", broker.management())
        } else {
            usual_management(&broker.url)
        };
        Self { url, management }
    }

    fn make_vhost(&self, vhost: &str) {
        let url = format!("{}/api/vhosts/{vhost}", self.management);
        let made = ureq::put(&url).header("authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=").send("{}");
        made.expect("the virtual host is made");
    }

    /// Names of the exchanges of its virtual host.
    fn exchanges(&self) -> Vec<String> {
        let vhost = self.url.rsplit('/').next().expect("a virtual host");
        let url = format!("{}/api/exchanges/{vhost}?columns=name", self.management);
        let answer = ureq::get(&url).header("authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=").call();
        let text = answer.expect("an answer").body_mut().read_to_string().expect("text");
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).expect("a list");
        rows.iter().filter_map(|row| Some(row["name"].as_str()?.to_owned())).collect()
    }

    async fn channel(&self) -> (Connection, Channel) {
        let connection =
            Connection::connect(&self.url, ConnectionProperties::default()).await.expect("connects");
        let channel = connection.create_channel().await.expect("a channel opens");
        (connection, channel)
    }

    /// Messages ready in a queue; `None` where there is no such queue (yet).
    async fn ready(&self, queue: &str) -> Option<u32> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.ok()?;
        let channel = connection.create_channel().await.ok()?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        Some(channel.queue_declare(queue.into(), passive, FieldTable::default()).await.ok()?.message_count())
    }
}

fn usual_management(url: &str) -> String {
    let (host, port) = url.rsplit('@').next().and_then(|address| address.split_once(':')).expect("HOST:PORT");
    let port: u32 = port.trim_end_matches('/').parse().expect("a port");
    format!("http://{host}:{}", port + 10_000)
}

fn migrate(from: &Place, to: &Place) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(["migrate", "--from", &from.url, "--to", &to.url]);
    command.args(["--from-management", &from.management, "--to-management", &to.management]);
    command.stdin(Stdio::null());
    command
}

fn succeed(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the binary starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

async fn declare(channel: &Channel, queue: &str) {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1_000_000));
    channel.queue_declare(queue.into(), durable, arguments).await.expect("declares");
}

async fn publish(channel: &Channel, queue: &str, number: u32, headers: FieldTable) {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(number.to_string().into())
        .with_content_type("text/plain".into())
        .with_headers(headers);
    let body = format!("message {number}");
    let sent = channel.basic_publish(
        "".into(),
        queue.into(),
        BasicPublishOptions::default(),
        body.as_bytes(),
        properties,
    );
    sent.await.expect("is sent");
}

/// Takes so many messages out of a queue: their ids, in order, and the headers of the first.
async fn take(place: &Place, queue: &str, count: u32) -> (Vec<u32>, FieldTable) {
    let (_connection, channel) = place.channel().await;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut consumer = channel
        .basic_consume(queue.into(), "taker".into(), options, FieldTable::default())
        .await
        .expect("consumes");
    let (mut ids, mut first) = (Vec::new(), None);
    while (ids.len() as u32) < count {
        let delivery = consumer.next().await.expect("a message comes").expect("a message comes");
        let id = delivery.properties.message_id().as_ref().and_then(|id| id.as_str().parse().ok());
        ids.push(id.expect("the id that it was published with"));
        first.get_or_insert_with(|| delivery.properties.headers().clone().unwrap_or_default());
    }
    (ids, first.unwrap_or_default())
}

#[tokio::test]
async fn everything_goes_over_and_comes_back() {
    let (other, ours) = (Broker::start(), Broker::ours());
    let vhost = format!("migrate-{:x}", fastrand::u64(..));
    let (there, here) = (Place::new(&other, &vhost), Place::new(&ours, &vhost));
    there.make_vhost(&vhost);
    let (_connection, channel) = there.channel().await;
    declare(&channel, "work").await;
    declare(&channel, "copied").await;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declared =
        channel.exchange_declare("events".into(), ExchangeKind::Topic, durable, FieldTable::default());
    declared.await.expect("declares");
    let bound = channel.queue_bind(
        "work".into(),
        "events".into(),
        "a.#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("binds");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    // The first goes to both queues by its CC header, and must not be doubled by being moved.
    let mut headers = FieldTable::default();
    let copies = FieldArray::from(vec![AMQPValue::LongString(LongString::from("copied"))]);
    headers.insert("CC".into(), AMQPValue::FieldArray(copies));
    headers.insert("tenant".into(), AMQPValue::LongInt(7));
    publish(&channel, "work", 0, headers.clone()).await;
    for number in 1..3000 {
        publish(&channel, "work", number, FieldTable::default()).await;
    }
    channel.wait_for_confirms().await.expect("all are confirmed");

    let told = succeed(migrate(&there, &here));
    assert!(told.contains("work: 3000 moved, 0 left at the source, 0 then 3000 at the target"), "{told}");
    assert!(told.contains("2 queues, 3001 messages moved"), "{told}");
    let exchanges = here.exchanges();
    assert!(exchanges.iter().any(|name| name == "events"), "{exchanges:?}");
    assert!(!exchanges.iter().any(|name| name.starts_with("leveret.migrate.")), "{exchanges:?}");
    // Again: there is nothing left to do.
    assert!(succeed(migrate(&there, &here)).contains("0 messages moved"));

    // The binding is there too: what is published to the exchange arrives.
    let (_connection, channel) = here.channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let properties = BasicProperties::default().with_message_id("3000".into());
    let sent =
        channel.basic_publish("events".into(), "a.b".into(), BasicPublishOptions::default(), b"", properties);
    sent.await.expect("is sent").await.expect("is confirmed");

    let told = succeed(migrate(&here, &there));
    assert!(told.contains("0 left at the source, 0 then"), "{told}");
    let (ids, first) = take(&there, "work", 3001).await;
    assert_eq!(ids, (0..=3000).collect::<Vec<_>>());
    assert_eq!(first, headers);
    assert_eq!(take(&there, "copied", 1).await.0, [0]);
}

#[tokio::test]
async fn a_migration_that_was_killed_goes_on() {
    let (other, ours) = (Broker::start(), Broker::ours());
    let vhost = format!("killed-{:x}", fastrand::u64(..));
    kill_and_go_on(&Place::new(&other, &vhost), &Place::new(&ours, &vhost), &vhost).await;
}

#[tokio::test]
async fn one_that_was_killed_on_the_way_back_goes_on() {
    let (other, ours) = (Broker::start(), Broker::ours());
    let vhost = format!("killed-{:x}", fastrand::u64(..));
    kill_and_go_on(&Place::new(&ours, &vhost), &Place::new(&other, &vhost), &vhost).await;
}

async fn kill_and_go_on(there: &Place, here: &Place, vhost: &str) {
    there.make_vhost(vhost);
    let (_connection, channel) = there.channel().await;
    declare(&channel, "work").await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    const COUNT: u32 = 10_000;
    // This one takes a detour, whose exchange a migration that is killed leaves behind.
    let copies = FieldArray::from(vec![AMQPValue::LongString(LongString::from("nowhere"))]);
    let mut headers = FieldTable::default();
    headers.insert("CC".into(), AMQPValue::FieldArray(copies));
    publish(&channel, "work", 0, headers).await;
    for number in 1..COUNT {
        publish(&channel, "work", number, FieldTable::default()).await;
    }
    channel.wait_for_confirms().await.expect("all are confirmed");
    let mut child = migrate(there, here).stdout(Stdio::null()).spawn().expect("the binary starts");
    let start = Instant::now();
    while here.ready("work").await.unwrap_or(0) == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing arrives");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    child.kill().expect("is killed");
    child.wait().expect("ends");
    let detours = || here.exchanges().into_iter().filter(|name| name.starts_with("leveret.migrate.")).count();
    assert_eq!(detours(), 1, "it was killed on the way");
    // The source notices that its consumer is gone, and has all that was not acknowledged once more.
    let told = succeed(migrate(there, here));
    assert!(told.contains("work: "), "{told}");
    assert_eq!(detours(), 0);
    let arrived = here.ready("work").await.expect("the queue is there");
    let (ids, _) = take(here, "work", arrived).await;
    let distinct: BTreeSet<u32> = ids.iter().copied().collect();
    assert_eq!(distinct, (0..COUNT).collect::<BTreeSet<_>>(), "nothing is lost");
    assert!(arrived <= COUNT + 1000, "at most what was on its way is doubled: {arrived}");
}

#[tokio::test]
async fn queues_that_go_with_their_consumers_stay_and_those_that_the_broker_named_are_left() {
    let (other, ours) = (Broker::start(), Broker::ours());
    let vhost = format!("passing-{:x}", fastrand::u64(..));
    let (there, here) = (Place::new(&other, &vhost), Place::new(&ours, &vhost));
    there.make_vhost(&vhost);
    let (_connection, channel) = there.channel().await;
    let passing = QueueDeclareOptions { durable: true, auto_delete: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("passing".into(), passing, FieldTable::default()).await.expect("declares");
    let named = channel.queue_declare("".into(), passing, FieldTable::default()).await.expect("declares");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    for number in 0..600 {
        publish(&channel, "passing", number, FieldTable::default()).await;
    }
    publish(&channel, named.name().as_str(), 0, FieldTable::default()).await;
    channel.wait_for_confirms().await.expect("all are confirmed");

    let told = succeed(migrate(&there, &here));
    assert!(told.contains("passing: 600 moved, 0 left at the source, 0 then 600 at the target"), "{told}");
    assert_eq!(there.ready("passing").await, Some(0), "the queue is there still");
    assert_eq!(there.ready(named.name().as_str()).await, Some(1), "nobody has touched it");
    assert_eq!(take(&here, "passing", 600).await.0, (0..600).collect::<Vec<_>>());
}
