//! The bus with the leveret binary: parked messages from the command line, and a broker that is killed while messages are
//! being published and handled: ours, or the one that `LEVERET_TEST_AMQP_URL` names.
#![cfg(feature = "systems")]
#![allow(clippy::unwrap_used)]

mod binary;

use std::collections::HashSet;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use binary::Broker;
use leveret_bus::{
    Bus, Delivery, Handler, Message, Outcome, PublishError, PublisherOptions, Queue, RetryPolicy, Text,
    Topology,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

fn parked(broker: &Broker, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(["bus", "parked"]).args(arguments).env_clear().env("LEVERET_AMQP_URL", &broker.url);
    command.output().unwrap()
}

fn said(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap().trim()
}

struct Refusing;

impl Handler for Refusing {
    type Message = Text;

    async fn handle(&self, _: Text, _: &Delivery) -> Outcome {
        Outcome::retry("the mail server said 451")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_messages_from_the_command_line() {
    let broker = Broker::ours();
    let bus = Bus::connect(&broker.url).await.unwrap();
    let policy = RetryPolicy::list([Duration::from_millis(10)]);
    let worker = bus.worker("q").retry(policy).start(Refusing).await.unwrap();
    for id in ["a", "b", "c"] {
        bus.publish(Message::text("", "q", id).with_message_id(id)).await.unwrap();
    }
    timeout(PATIENCE, async { while bus.parked("q").count().await.unwrap() < 3 {} }).await.unwrap();
    worker.shutdown().await;

    let listed = parked(&broker, &["list", "q"]);
    let mut lines: Vec<_> = said(&listed).lines().collect();
    lines.sort_unstable();
    assert_eq!(lines[0], "a\t2\tthe mail server said 451");
    assert_eq!(lines.len(), 3);
    let listed = parked(&broker, &["list", "q", "--json", "--limit", "1"]);
    let message: serde_json::Value = serde_json::from_str(said(&listed)).unwrap();
    assert_eq!((&message["attempts"], message["history"].as_array().unwrap().len()), (&2.into(), 2));

    assert_eq!(said(&parked(&broker, &["replay", "q", "--id", "a"])), "a replayed");
    let missing = parked(&broker, &["drop", "q", "--id", "a"]);
    assert_eq!((missing.status.code(), said(&missing)), (Some(1), ""));
    assert_eq!(parked(&broker, &["drop", "q"]).status.code(), Some(2), "which one must be said");
    assert_eq!(said(&parked(&broker, &["drop", "q", "--id", "b"])), "b dropped");
    assert_eq!(said(&parked(&broker, &["replay", "q", "--all"])), "1 replayed");
    assert_eq!(bus.depth("q").await.unwrap(), 2);
    assert_eq!(said(&parked(&broker, &["drop", "q", "--all"])), "0 dropped");
    bus.close().await;
}

struct Passing(mpsc::UnboundedSender<String>);

impl Handler for Passing {
    type Message = Text;

    async fn handle(&self, _: Text, delivery: &Delivery) -> Outcome {
        let _ = self.0.send(delivery.message_id().to_owned());
        Outcome::Done
    }
}

/// Messages that get confirmed, at least, between one kill and the next.
const BETWEEN_KILLS: u32 = 100;

/// Every message is published until it is confirmed, and arrives at least once, although the broker is killed and started
/// again in the middle of it. What it forgot, such as a transient queue, is there again.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_mid_publish_loses_nothing() {
    let mut broker = Broker::start();
    let options = PublisherOptions { timeout: Duration::from_secs(5), ..Default::default() };
    let bus = Bus::builder(&broker.url).publisher(options).connect().await.unwrap();
    let (queue, forgotten) = (unique("q"), unique("forgotten"));
    let (passing, mut arrived) = mpsc::unbounded_channel();
    let worker = bus.worker(&queue).start(Passing(passing)).await.unwrap();
    let (passing, mut arrived_there) = mpsc::unbounded_channel();
    let transient = Topology::new().queue_with(Queue::transient(&forgotten));
    let beside = bus.worker(&forgotten).topology(transient).start(Passing(passing)).await.unwrap();

    let progress = Arc::new(Progress::default());
    let publishers = (0..8).map(|publisher| {
        let progress = Arc::clone(&progress);
        tokio::spawn(publish_until_stopped(bus.clone(), queue.clone(), publisher, progress))
    });
    let publishers: Vec<_> = publishers.collect();
    for _ in 0..3 {
        progress.wait_for_more().await;
        broker = tokio::task::spawn_blocking(|| broker.crash_and_restart_there()).await.unwrap();
    }
    progress.wait_for_more().await;
    progress.stop.store(true, Ordering::Relaxed);
    let mut missing = HashSet::new();
    for publisher in publishers {
        missing.extend(timeout(PATIENCE, publisher).await.unwrap().unwrap());
    }
    while !missing.is_empty() {
        let id = timeout(PATIENCE, arrived.recv()).await.expect("a confirmed message is lost").unwrap();
        missing.remove(&id);
    }

    // Until its worker has declared the queue again, the message returns.
    let there = Message::text("", &forgotten, "x").with_message_id("there");
    while bus.publish(there.clone()).await.is_err() {}
    let id = timeout(PATIENCE, arrived_there.recv()).await.expect("its worker consumes again").unwrap();
    assert_eq!(id, "there");
    worker.shutdown().await;
    beside.shutdown().await;
    bus.close().await;
}

#[derive(Default)]
struct Progress {
    confirmed: AtomicU32,
    stop: AtomicBool,
}

impl Progress {
    async fn wait_for_more(&self) {
        let wanted = self.confirmed.load(Ordering::Relaxed) + BETWEEN_KILLS;
        let reaching = async {
            while self.confirmed.load(Ordering::Relaxed) < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, reaching).await.expect("publishing goes on");
    }
}

/// Publishes each message under the same id as long as the answer leaves open whether it arrived. Says which were
/// confirmed.
async fn publish_until_stopped(
    bus: Bus,
    queue: String,
    publisher: u32,
    progress: Arc<Progress>,
) -> Vec<String> {
    let mut confirmed = Vec::new();
    while !progress.stop.load(Ordering::Relaxed) {
        let id = format!("{publisher}-{}", confirmed.len());
        let message = Message::text("", &queue, "x").with_message_id(&id);
        loop {
            match bus.publish(message.clone()).await {
                Ok(()) => break,
                Err(PublishError::Unknown { message_id, .. } | PublishError::NotSent { message_id, .. }) => {
                    assert_eq!(message_id, id);
                }
                Err(other) => panic!("{other}"),
            }
        }
        confirmed.push(id);
        progress.confirmed.fetch_add(1, Ordering::Relaxed);
    }
    confirmed
}

/// A name that no other run uses.
fn unique(base: &str) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    format!("{base}-{now}")
}
