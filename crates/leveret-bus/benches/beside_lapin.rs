//! What the bus costs beside what it stands on, in one run: confirmed publishing and a worker beside bare lapin, and the
//! outbox relay on each database.
//!
//! `cargo bench -p leveret-bus` runs it on Leveret in this process and on SQLite. `LEVERET_TEST_AMQP_URL` names another
//! broker, `LEVERET_TEST_DATABASE_URL` another database (an empty one: the outbox's table is emptied).
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on should stop")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use leveret_bus::outbox::RelayOptions;
use leveret_bus::{
    Bus, Bytes, Delivery, Handler, Message, Outbox, Outcome, PublisherOptions, Topology, database,
};
use tokio::sync::Notify;

const MESSAGES: usize = 100_000;
const WINDOW: usize = 1000;
const PREFETCH: u16 = 500;
const BODY: [u8; 256] = [7; 256];
/// Each figure is the best of so many, in turns with the one beside it.
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    let server = match std::env::var("LEVERET_TEST_AMQP_URL") {
        Ok(_) => None,
        Err(_) => Some(leveret_server::Server::start(leveret_server::Config::ephemeral()).await.unwrap()),
    };
    let url = server
        .as_ref()
        .map_or_else(|| std::env::var("LEVERET_TEST_AMQP_URL").unwrap(), leveret_server::Server::amqp_url);
    println!("{MESSAGES} messages of {} bytes, persistent", BODY.len());
    let (mut publish, mut consume) = (Pair::default(), Pair::default());
    for _ in 0..ROUNDS {
        let queue = declared(&url).await;
        publish.lapin(lapin_publishes(&url, &queue).await);
        consume.lapin(lapin_consumes(&url, &queue).await);
        publish.bus(bus_publishes(&url, &queue).await);
        consume.bus(bus_consumes(&url, &queue).await);
    }
    publish.print(&format!("confirmed publishing, window {WINDOW}"));
    consume.print(&format!("consuming with acks, prefetch {PREFETCH}"));
    for relays in [1, 2, 4] {
        let rate = relay(&url, relays).await;
        println!("{:44} {rate:>9.0}/s", format!("outbox, {relays} relay(s), each with its connection"));
    }
}

/// The best rates of bare lapin and of the bus.
#[derive(Default)]
struct Pair {
    lapin: f64,
    bus: f64,
}

impl Pair {
    fn lapin(&mut self, rate: f64) {
        self.lapin = self.lapin.max(rate);
    }

    fn bus(&mut self, rate: f64) {
        self.bus = self.bus.max(rate);
    }

    fn print(&self, what: &str) {
        let share = self.bus / self.lapin * 100.0;
        println!("{what:44} lapin {:>9.0}/s   bus {:>9.0}/s   {share:.0} %", self.lapin, self.bus);
    }
}

fn rate(since: Instant) -> f64 {
    MESSAGES as f64 / since.elapsed().as_secs_f64()
}

async fn declared(url: &str) -> String {
    let queue = format!("bench-{}", uuid::Uuid::now_v7());
    let bus = Bus::connect(url).await.unwrap();
    bus.declare(&Topology::new().queue(&queue)).await.unwrap();
    queue
}

async fn channel(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn lapin_publishes(url: &str, queue: &str) -> f64 {
    let (_connection, channel) = channel(url).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let started = Instant::now();
    let mut window = VecDeque::with_capacity(WINDOW);
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    for n in 0..MESSAGES {
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_message_id(n.to_string().into());
        let publish = channel.basic_publish("".into(), queue.into(), options, &BODY, properties);
        window.push_back(publish.await.unwrap());
        if window.len() == WINDOW {
            assert!(window.pop_front().unwrap().await.unwrap().is_ack());
        }
    }
    for confirm in window {
        assert!(confirm.await.unwrap().is_ack());
    }
    rate(started)
}

async fn bus_publishes(url: &str, queue: &str) -> f64 {
    let options = PublisherOptions { window: WINDOW, lanes: 1, ..Default::default() };
    let bus = Bus::builder(url).publisher(options).connect().await.unwrap();
    let publisher = bus.publisher();
    let started = Instant::now();
    let messages = stream::iter(0..MESSAGES)
        .map(|n| publisher.publish(Message::bytes("", queue, BODY).with_message_id(n.to_string())));
    messages.buffer_unordered(WINDOW).for_each(|answer| async move { answer.unwrap() }).await;
    let rate = rate(started);
    bus.close().await;
    rate
}

async fn lapin_consumes(url: &str, queue: &str) -> f64 {
    let (_connection, channel) = channel(url).await;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.unwrap();
    let started = Instant::now();
    let consume = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume(queue.into(), "c".into(), consume, FieldTable::default()).await.unwrap();
    for _ in 0..MESSAGES {
        let delivery = consumer.next().await.unwrap().unwrap();
        delivery.acker.ack(BasicAckOptions::default()).await.unwrap();
    }
    rate(started)
}

struct Counting {
    left: Arc<AtomicUsize>,
    finished: Arc<Notify>,
}

impl Handler for Counting {
    type Message = Bytes;

    async fn handle(&self, _: Bytes, _: &Delivery) -> Outcome {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.finished.notify_one();
        }
        Outcome::Done
    }
}

async fn bus_consumes(url: &str, queue: &str) -> f64 {
    let bus = Bus::connect(url).await.unwrap();
    let (left, finished) = (Arc::new(AtomicUsize::new(MESSAGES)), Arc::new(Notify::new()));
    let counting = Counting { left, finished: Arc::clone(&finished) };
    let started = Instant::now();
    let worker = bus.worker(queue).concurrency(64).prefetch(PREFETCH).start(counting).await.unwrap();
    finished.notified().await;
    let rate = rate(started);
    worker.shutdown().await;
    bus.close().await;
    rate
}

/// Stages everything first, then times the relays alone.
async fn relay(amqp_url: &str, relays: usize) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let in_file = format!("sqlite://{}/outbox.db", folder.path().display());
    let url = std::env::var("LEVERET_TEST_DATABASE_URL").unwrap_or(in_file);
    let db = database::connect(&url).await.unwrap();
    let outbox = Outbox::open(db.clone()).await.unwrap();
    let queue = declared(amqp_url).await;
    for _ in 0..MESSAGES / 1000 {
        let tx = database::begin(&db).await.unwrap();
        let messages = (0..1000).map(|_| Message::bytes("", &queue, BODY)).collect();
        outbox.stage_all(&tx, messages).await.unwrap();
        tx.commit().await.unwrap();
    }
    let mut running = Vec::new();
    let started = Instant::now();
    for _ in 0..relays {
        let bus = Bus::connect(amqp_url).await.unwrap();
        let options = RelayOptions { retention: Duration::ZERO, ..Default::default() };
        running.push((outbox.relay(bus.publisher(), options), bus));
    }
    // The broker is asked first: the database would have to count what waits again and again.
    let counting = Bus::connect(amqp_url).await.unwrap();
    while (counting.depth(&queue).await.unwrap() as usize) < MESSAGES {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while outbox.depth().await.unwrap().unsent > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rate = rate(started);
    counting.close().await;
    for (relay, bus) in running {
        relay.shutdown().await;
        bus.close().await;
    }
    // The next run finds the table as this one did: without the rows that are gone and not yet swept up.
    if !url.starts_with("sqlite") {
        sea_orm::ConnectionTrait::execute_unprepared(&db, "TRUNCATE TABLE leveret_outbox").await.unwrap();
    }
    rate
}
