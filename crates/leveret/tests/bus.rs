//! The bus with the leveret binary: parked messages from the command line, and a broker that is killed while messages are
//! being published and handled.
#![cfg(feature = "systems")]
#![allow(clippy::unwrap_used)]

mod binary;

use std::collections::HashMap;
use std::process::{Command, Output};
use std::time::Duration;

use binary::Broker;
use leveret_bus::{
    Bus, Delivery, Handler, Message, Outcome, PublishError, PublisherOptions, RetryPolicy, Text, Topology,
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

/// Every message is published until it is confirmed, and arrives at least once, although the broker is killed and started
/// again in the middle of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_mid_publish_loses_nothing() {
    let mut broker = Broker::ours();
    let options = PublisherOptions { timeout: Duration::from_secs(5), ..Default::default() };
    let bus = Bus::builder(&broker.url).publisher(options).connect().await.unwrap();
    bus.declare(&Topology::new().queue("q")).await.unwrap();
    let (passing, mut arrived) = mpsc::unbounded_channel();
    let worker = bus.worker("q").start(Passing(passing)).await.unwrap();
    let publishing = (0..8).map(|publisher| tokio::spawn(publish_until_confirmed(bus.clone(), publisher)));
    let publishing: Vec<_> = publishing.collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        broker = broker.crash_and_restart_there();
    }
    for publisher in publishing {
        timeout(PATIENCE, publisher).await.unwrap().unwrap();
    }
    let mut seen = HashMap::<String, u32>::new();
    while seen.len() < 8 * 200 {
        let id = timeout(PATIENCE, arrived.recv()).await.expect("a confirmed message is lost").unwrap();
        *seen.entry(id).or_default() += 1;
    }
    worker.shutdown().await;
    bus.close().await;
}

async fn publish_until_confirmed(bus: Bus, publisher: u32) {
    for n in 0..200 {
        let message = Message::text("", "q", "x").with_message_id(format!("{publisher}-{n}"));
        loop {
            match bus.publish(message.clone()).await {
                Ok(()) => break,
                Err(PublishError::Unknown { .. } | PublishError::NotSent { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        // Slow enough that the kills fall into the middle.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}
