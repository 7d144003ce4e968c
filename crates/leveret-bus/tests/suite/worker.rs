//! What becomes of a message after its handler's answer.

use std::time::{Duration, Instant};

use crate::support::{Broker, probe, soon, unique};
use leveret_bus::{Bus, DelayMode, Delivery, Json, Message, Outcome, RetryPolicy, Topology, parked_queue};
use tokio::sync::mpsc::UnboundedReceiver;

async fn declared(bus: &Bus) -> String {
    let queue = unique("q");
    bus.declare(&Topology::new().queue(&queue)).await.unwrap();
    queue
}

async fn next(arrived: &mut UnboundedReceiver<(String, Delivery)>) -> Delivery {
    soon("arrival", arrived.recv()).await.unwrap().1
}

async fn parked_count(bus: &Bus, queue: &str, wanted: u32) {
    let parked = bus.parked(queue);
    let reaching = async { while parked.count().await.unwrap() != wanted {} };
    soon(&format!("{wanted} parked"), reaching).await;
}

/// One queue per delay would let the long delay hold up the short one.
async fn short_delays_overtake_long_ones(mode: DelayMode) {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    let queue = declared(&bus).await;
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = bus.worker(&queue).start(handler).await.unwrap();
    let delayed = bus.delayed(&queue).mode(mode).open().await.unwrap();
    let started = Instant::now();
    let publish = async |delay_ms: u64| {
        let message = Message::text("", "", delay_ms.to_string());
        delayed.publish(message, Duration::from_millis(delay_ms)).await.unwrap();
    };
    // Without waiting for the confirms in between, during which the delays already run.
    tokio::join!(publish(1600), publish(400), publish(1200), publish(0), publish(800));
    for delay_ms in [0, 400, 800, 1200, 1600_u64] {
        let (text, _) = soon("arrival", arrived.recv()).await.unwrap();
        assert_eq!(text, delay_ms.to_string());
        assert!(started.elapsed() >= Duration::from_millis(delay_ms));
    }
    worker.shutdown().await;
    broker.stop().await;
}

#[tokio::test]
async fn order_by_due_time_by_what_the_broker_has() {
    short_delays_overtake_long_ones(DelayMode::Auto).await;
}

#[tokio::test]
async fn order_by_due_time_by_the_ladder() {
    short_delays_overtake_long_ones(DelayMode::Ladder).await;
}

/// RabbitMQ drops what passes the same queue twice by dead-lettering alone; retries must not look so.
#[tokio::test]
async fn the_same_delay_works_many_times_over() {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    let queue = declared(&bus).await;
    let (handler, mut arrived) = probe(|_| Outcome::retry_after(Duration::from_millis(24), "again"));
    let policy = RetryPolicy::fixed(Duration::from_secs(60)).with_attempts(8);
    let worker = bus.worker(&queue).retry(policy).delay_mode(DelayMode::Ladder).start(handler).await.unwrap();
    bus.publish(Message::text("", &queue, "x")).await.unwrap();
    for attempt in 1..=8 {
        assert_eq!(next(&mut arrived).await.attempt(), attempt);
    }
    parked_count(&bus, &queue, 1).await;
    worker.shutdown().await;
    broker.stop().await;
}

#[tokio::test]
async fn parked_messages_can_be_listed_replayed_and_dropped() {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    let queue = declared(&bus).await;
    let (handler, mut arrived) = probe(|delivery| match delivery.replays() {
        0 => Outcome::park("not today"),
        _ => Outcome::Done,
    });
    let worker = bus.worker(&queue).start(handler).await.unwrap();
    for id in ["a", "b", "c", "d"] {
        bus.publish(Message::text("", &queue, id).with_message_id(id)).await.unwrap();
        next(&mut arrived).await;
    }
    parked_count(&bus, &queue, 4).await;
    let parked = bus.parked(&queue);
    let mut ids: Vec<_> = parked.list(10).await.unwrap().into_iter().map(|m| m.message_id).collect();
    ids.sort();
    assert_eq!(ids, ["a", "b", "c", "d"]);
    assert!(parked.replay("b").await.unwrap());
    assert!(!parked.replay("b").await.unwrap());
    let replayed = next(&mut arrived).await;
    assert_eq!((replayed.message_id(), replayed.attempt(), replayed.replays()), ("b", 1, 1));
    assert!(parked.drop_one("c").await.unwrap());
    assert_eq!(parked.replay_all().await.unwrap(), 2);
    let mut replayed =
        [next(&mut arrived).await, next(&mut arrived).await].map(|d| d.message_id().to_owned());
    replayed.sort();
    assert_eq!(replayed, ["a", "d"]);
    parked_count(&bus, &queue, 0).await;
    worker.shutdown().await;
    broker.stop().await;
}

/// Looking takes messages out of their queue for a moment, where purging it does not find them.
#[tokio::test]
async fn all_are_dropped_though_somebody_looks_at_them() {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    let queue = declared(&bus).await;
    let parked = bus.parked(&queue);
    parked.count().await.unwrap();
    for _ in 0..10 {
        for _ in 0..5 {
            bus.publish(Message::text("", parked_queue(&queue), "no")).await.unwrap();
        }
        let (looked, dropped) = tokio::join!(parked.list(10), parked.drop_all());
        assert_eq!((looked.unwrap().len(), dropped.unwrap()), (5, 5));
    }
    broker.stop().await;
}

/// Where queues are of type quorum unless said otherwise, each look would count as a delivery that failed.
#[tokio::test]
async fn looking_never_drops_a_parked_message() {
    let definitions = tempfile::NamedTempFile::new().unwrap();
    let vhost = r#"{"vhosts":[{"name":"/","default_queue_type":"quorum"}]}"#;
    std::fs::write(definitions.path(), vhost).unwrap();
    let config = leveret_server::Config {
        load_definitions: Some(definitions.path().into()),
        ..leveret_server::Config::ephemeral()
    };
    let server = leveret_server::Server::start(config).await.unwrap();
    let bus = Bus::connect(&server.amqp_url()).await.unwrap();
    let queue = declared(&bus).await;
    let parked = bus.parked(&queue);
    parked.count().await.unwrap();
    bus.publish(Message::text("", parked_queue(&queue), "no")).await.unwrap();
    for look in 0..50 {
        assert_eq!(parked.list(10).await.unwrap().len(), 1, "{look}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn undecodable_bodies_and_panics() {
    struct Sums;
    impl leveret_bus::Handler for Sums {
        type Message = Json<Vec<u32>>;
        async fn handle(&self, Json(numbers): Json<Vec<u32>>, _: &Delivery) -> Outcome {
            assert!(!numbers.is_empty(), "nothing to add");
            Outcome::Done
        }
    }
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    let queue = declared(&bus).await;
    let worker = bus.worker(&queue).retry(RetryPolicy::none()).start(Sums).await.unwrap();
    bus.publish(Message::json("", &queue, &[1, 2]).unwrap()).await.unwrap();
    bus.publish(Message::text("", &queue, "{").with_message_id("broken")).await.unwrap();
    bus.publish(Message::json("", &queue, &[0_u32; 0]).unwrap().with_message_id("panics")).await.unwrap();
    parked_count(&bus, &queue, 2).await;
    let mut parked = bus.parked(&queue).list(10).await.unwrap();
    parked.sort_by(|a, b| a.message_id.cmp(&b.message_id));
    assert!(parked[0].reason.starts_with("undecodable: "), "{}", parked[0].reason);
    assert_eq!(parked[1].reason, "the handler panicked");
    worker.shutdown().await;
    broker.stop().await;
}

#[tokio::test]
async fn shutdown_finishes_what_is_at_work_and_leaves_the_rest() {
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    let queue = declared(&bus).await;
    for n in 0..5 {
        bus.publish(Message::text("", &queue, n.to_string())).await.unwrap();
    }
    let (release, gate) = tokio::sync::watch::channel(false);
    let (entered, mut at_work) = tokio::sync::mpsc::unbounded_channel();
    struct Slow(tokio::sync::watch::Receiver<bool>, tokio::sync::mpsc::UnboundedSender<String>);
    impl leveret_bus::Handler for Slow {
        type Message = leveret_bus::Text;
        async fn handle(&self, leveret_bus::Text(text): leveret_bus::Text, _: &Delivery) -> Outcome {
            self.1.send(text).unwrap();
            self.0.clone().wait_for(|open| *open).await.unwrap();
            Outcome::Done
        }
    }
    let worker = bus.worker(&queue).concurrency(2).start(Slow(gate, entered)).await.unwrap();
    soon("first", at_work.recv()).await.unwrap();
    soon("second", at_work.recv()).await.unwrap();
    let stopping = tokio::spawn(worker.shutdown());
    release.send(true).unwrap();
    soon("shutdown", stopping).await.unwrap();
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = bus.worker(&queue).concurrency(1).start(handler).await.unwrap();
    let mut left = Vec::new();
    while left.len() < 3 {
        left.push(soon("the rest", arrived.recv()).await.unwrap().0);
    }
    left.sort();
    assert_eq!(left, ["2", "3", "4"]);
    worker.shutdown().await;
    broker.stop().await;
}
