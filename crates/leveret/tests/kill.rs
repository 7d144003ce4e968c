//! The leveret binary is killed at random moments while clients publish and acknowledge. After each restart nothing
//! that was confirmed is missing, nothing comes twice, and what may have been seen before is marked.
//!
//! `LEVERET_KILL_ROUNDS` (50) and `LEVERET_KILL_SEED` (random, printed) repeat a run or make it longer.

#![allow(clippy::unwrap_used)]

mod binary;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use binary::Broker;
use fastrand::Rng;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Error, ExchangeKind};

const QUEUES: [&str; 3] = ["one", "two", "three"];
const PUBLISHERS: u64 = 3;
const WINDOW: usize = 64;

/// What the clients know of one round, by queue and number of the message.
#[derive(Default)]
struct Known {
    /// Messages whose confirm has come. Each goes to every queue.
    confirmed: BTreeSet<u64>,
    delivered: HashSet<(usize, u64)>,
    /// Acknowledged: it may be gone, or, if the acknowledgement was lost, come back.
    acknowledged: HashSet<(usize, u64)>,
}

type Shared = Arc<Mutex<Known>>;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_confirmed_is_lost_whenever_the_broker_is_killed() {
    let rounds = setting("LEVERET_KILL_ROUNDS").unwrap_or(50);
    let seed = setting("LEVERET_KILL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("LEVERET_KILL_SEED={seed} LEVERET_KILL_ROUNDS={rounds}");
    let mut rng = Rng::with_seed(seed);
    let mut broker = Broker::ours();
    declare(&broker).await.unwrap();
    let (mut confirmed, mut returned) = (0, 0);
    for round in 0..rounds {
        let known = Shared::default();
        let clients = spawn_clients(&broker, round, &known, &mut rng);
        // On a slow machine clients may need longer than that to connect: they are waited for in every other round.
        while round % 2 == 1 && known.lock().unwrap().confirmed.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(rng.u64(10..200))).await;
        broker = broker.crash_and_restart();
        for client in clients {
            client.abort();
            let _broken_off = client.await;
        }
        let known = std::mem::take(&mut *known.lock().unwrap());
        confirmed += known.confirmed.len();
        for (index, queue) in QUEUES.iter().enumerate() {
            let found = drain(&broker, queue).await.unwrap();
            returned += found.len();
            check(&known, index, &found);
        }
    }
    println!("{confirmed} messages confirmed, {returned} found after {rounds} kills");
    assert!(confirmed > 0 && returned > 0, "the clients did nothing");
}

async fn open(broker: &Broker) -> Result<(Connection, Channel), Error> {
    let connection = Connection::connect(&broker.url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

async fn declare(broker: &Broker) -> Result<(), Error> {
    let (_connection, channel) = open(broker).await?;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare("all".into(), ExchangeKind::Fanout, durable, FieldTable::default()).await?;
    for queue in QUEUES {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.into(), durable, FieldTable::default()).await?;
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(queue.into(), "all".into(), "".into(), options, arguments).await?;
    }
    Ok(())
}

type Client = tokio::task::JoinHandle<Result<(), Error>>;

fn spawn_clients(broker: &Broker, round: u64, known: &Shared, rng: &mut Rng) -> Vec<Client> {
    let mut clients = vec![];
    for publisher in 0..PUBLISHERS {
        let first = (round * PUBLISHERS + publisher) << 32;
        let (url, known, body_len) = (broker.url.clone(), Arc::clone(known), rng.usize(8..3000));
        clients.push(tokio::spawn(async move { publish(&url, first, body_len, &known).await }));
    }
    for index in 0..2 {
        let (url, known, every) = (broker.url.clone(), Arc::clone(known), rng.u64(1..8));
        clients.push(tokio::spawn(async move { consume(&url, index, every, &known).await }));
    }
    clients
}

/// Publishes until the broker is gone.
async fn publish(url: &str, first: u64, body_len: usize, known: &Shared) -> Result<(), Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut next = first;
    loop {
        let mut confirms = vec![];
        for number in next..next + WINDOW as u64 {
            let mut body = number.to_be_bytes().to_vec();
            body.resize(body_len, 7);
            let properties = BasicProperties::default().with_delivery_mode(2);
            let options = BasicPublishOptions::default();
            let confirm = channel.basic_publish("all".into(), "".into(), options, &body, properties).await?;
            confirms.push((number, confirm));
        }
        next += WINDOW as u64;
        for (number, confirm) in confirms {
            assert!(confirm.await?.is_ack());
            known.lock().unwrap().confirmed.insert(number);
        }
    }
}

/// Consumes until the broker is gone, acknowledging one message in so many.
async fn consume(url: &str, index: usize, every: u64, known: &Shared) -> Result<(), Error> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(200, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let mut consumer =
        channel.basic_consume(QUEUES[index].into(), "".into(), options, FieldTable::default()).await?;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        let number = number(&delivery.data);
        known.lock().unwrap().delivered.insert((index, number));
        if number.is_multiple_of(every) {
            known.lock().unwrap().acknowledged.insert((index, number));
            delivery.ack(BasicAckOptions::default()).await?;
        }
    }
    Ok(())
}

/// Takes all that is in the queue: number and redelivered mark, in order.
async fn drain(broker: &Broker, queue: &str) -> Result<Vec<(u64, bool)>, Error> {
    let (_connection, channel) = open(broker).await?;
    let mut found = vec![];
    let options = BasicGetOptions { no_ack: true };
    while let Some(message) = channel.basic_get(queue.into(), options).await? {
        found.push((number(&message.delivery.data), message.delivery.redelivered));
    }
    Ok(found)
}

fn number(body: &[u8]) -> u64 {
    u64::from_be_bytes(*body.first_chunk().expect("bodies start with a number"))
}

fn check(known: &Known, index: usize, found: &[(u64, bool)]) {
    let queue = QUEUES[index];
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for (number, redelivered) in found {
        let before = last.insert(number >> 32, *number);
        assert!(before.is_none_or(|before| before < *number), "{queue}: {number} comes after {before:?}");
        let seen = known.delivered.contains(&(index, *number));
        assert!(*redelivered || !seen, "{queue}: {number} was delivered before and is not marked");
    }
    let found: BTreeSet<u64> = found.iter().map(|(number, _)| *number).collect();
    for number in &known.confirmed {
        let settled = known.acknowledged.contains(&(index, *number));
        assert!(settled || found.contains(number), "{queue}: {number} was confirmed and is lost");
    }
}
