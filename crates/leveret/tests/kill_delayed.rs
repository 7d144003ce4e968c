//! The leveret binary is killed at random moments while clients publish delayed messages, some due at once, some after
//! the restart. What was confirmed is in its queue or still held, once, and comes when it is due.
//!
//! `LEVERET_KILL_ROUNDS` (12) and `LEVERET_KILL_SEED` (random, printed) repeat a run or make it longer.

#![allow(clippy::unwrap_used)]

mod binary;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use binary::Broker;
use fastrand::Rng;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Error, ExchangeKind};

const QUEUES: [&str; 2] = ["one", "two"];
const PUBLISHERS: u64 = 3;
const WINDOW: u64 = 64;
const LONGEST_MS: i64 = 1500;

/// Messages whose confirm has come: number, and when it is due at the earliest, in microseconds since 1970.
type Confirmed = Arc<Mutex<BTreeMap<u64, u64>>>;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_confirmed_comes_once_and_not_early_whenever_the_broker_is_killed() {
    let rounds = setting("LEVERET_KILL_ROUNDS").unwrap_or(12);
    let seed = setting("LEVERET_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("LEVERET_KILL_SEED={seed} LEVERET_KILL_ROUNDS={rounds}");
    let mut rng = Rng::with_seed(seed);
    let mut broker = Broker::ours();
    declare(&broker).await.unwrap();
    let confirmed = Confirmed::default();
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    for round in 0..rounds {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let first = (round * PUBLISHERS + publisher) << 32;
                let (url, confirmed, rng) = (broker.url.clone(), Arc::clone(&confirmed), rng.fork());
                tokio::spawn(async move { publish(&url, first, rng, &confirmed).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(rng.u64(10..300))).await;
        // On a slow machine clients may need longer than that to connect: not in every round.
        while round + 1 == rounds && confirmed.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        broker = broker.crash_and_restart();
        for publisher in publishers {
            publisher.abort();
            let _broken_off = publisher.await;
        }
        // The queues are looked into once in a while only, so that messages wait in them over a crash too.
        if round % 3 == 2 {
            drain(&broker, &mut found, &confirmed).await.unwrap();
        }
    }
    let confirmed_count = confirmed.lock().unwrap().len();
    let begun = Instant::now();
    while !is_complete(&found, &confirmed) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", missing(&found, &confirmed));
        drain(&broker, &mut found, &confirmed).await.unwrap();
    }
    // Everything that was published is due by then: a second copy of anything comes no later.
    let all_due = begun + Duration::from_millis(LONGEST_MS as u64 + 100);
    tokio::time::sleep_until(all_due.into()).await;
    drain(&broker, &mut found, &confirmed).await.unwrap();
    println!("{confirmed_count} delayed messages confirmed, found after {rounds} kills");
    assert!(confirmed_count > 0, "the clients did nothing");
}

fn is_complete(found: &[BTreeSet<u64>; 2], confirmed: &Confirmed) -> bool {
    let confirmed = confirmed.lock().unwrap();
    found.iter().all(|found| confirmed.keys().all(|number| found.contains(number)))
}

fn missing(found: &[BTreeSet<u64>; 2], confirmed: &Confirmed) -> String {
    let confirmed = confirmed.lock().unwrap();
    let missing: Vec<_> =
        confirmed.keys().filter(|number| !found.iter().all(|it| it.contains(number))).collect();
    format!("{} messages were confirmed and are lost: {missing:?}", missing.len())
}

async fn open(broker: &Broker) -> Result<(Connection, Channel), Error> {
    let connection = Connection::connect(&broker.url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

async fn declare(broker: &Broker) -> Result<(), Error> {
    let (_connection, channel) = open(broker).await?;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-delayed-type".into(), AMQPValue::LongString("fanout".into()));
    let kind = ExchangeKind::Custom("x-delayed-message".into());
    channel.exchange_declare("later".into(), kind, durable, arguments).await?;
    for queue in QUEUES {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.into(), durable, FieldTable::default()).await?;
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(queue.into(), "later".into(), "".into(), options, arguments).await?;
    }
    Ok(())
}

/// Publishes until the broker is gone.
async fn publish(url: &str, first: u64, mut rng: Rng, confirmed: &Confirmed) -> Result<(), Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut next = first;
    loop {
        let mut confirms = vec![];
        for number in next..next + WINDOW {
            let delay_ms = if rng.bool() { rng.i64(1..20) } else { rng.i64(1..LONGEST_MS) };
            let due = now_us() + delay_ms as u64 * 1000;
            let body = [number.to_be_bytes(), due.to_be_bytes()].concat();
            let mut headers = FieldTable::default();
            headers.insert(ShortString::from("x-delay"), AMQPValue::LongLongInt(delay_ms));
            let properties = BasicProperties::default().with_delivery_mode(2).with_headers(headers);
            let options = BasicPublishOptions::default();
            let confirm =
                channel.basic_publish("later".into(), "".into(), options, &body, properties).await?;
            confirms.push((number, due, confirm));
        }
        next += WINDOW;
        for (number, due, confirm) in confirms {
            assert!(confirm.await?.is_ack());
            confirmed.lock().unwrap().insert(number, due);
        }
    }
}

/// Takes what is in the queues now. Nothing is found twice, nothing before it is due.
async fn drain(broker: &Broker, found: &mut [BTreeSet<u64>; 2], confirmed: &Confirmed) -> Result<(), Error> {
    let (_connection, channel) = open(broker).await?;
    for (queue, found) in QUEUES.iter().zip(found) {
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = channel.basic_get((*queue).into(), options).await? {
            let field = |at: usize| u64::from_be_bytes(message.delivery.data[at..at + 8].try_into().unwrap());
            let (number, due) = (field(0), field(8));
            assert!(now_us() >= due, "{queue}: {number} came {} us early", due - now_us());
            // Only what was in the queue before the crash may come again, its acknowledgement having been lost.
            assert!(found.insert(number) || message.delivery.redelivered, "{queue}: {number} came twice");
            assert!(confirmed.lock().unwrap().get(&number).is_none_or(|confirmed| *confirmed == due));
        }
    }
    Ok(())
}
