//! What the metrics say is what happened.

use std::collections::HashMap;
use std::time::Duration;

use leveret_bus::outbox::RelayOptions;
use leveret_bus::{
    Bus, Message, Outbox, Outcome, PublishError, PublisherOptions, Queue, RetryPolicy, Topology, database,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use sea_orm::ConnectionTrait;

use crate::support::database::TestDatabase;
use crate::support::proxy::{Proxy, Weather};
use crate::support::{Broker, probe, soon, unique};

/// Everything recorded since the last call, by `name{label=value,...}`. A histogram is the number of its values.
fn values(snapshotter: &Snapshotter) -> HashMap<String, f64> {
    let metrics = snapshotter.snapshot().into_vec().into_iter();
    let named = metrics.map(|(key, _, _, value)| {
        let key = key.key();
        let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(values) => values.len() as f64,
        };
        (format!("{}{{{}}}", key.name(), labels.join(",")), value)
    });
    named.collect()
}

#[tokio::test]
async fn every_end_of_a_publish_is_counted() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let broker = Broker::start().await;
    let proxy = Proxy::before(broker.url()).await;
    let options = PublisherOptions { timeout: Duration::from_secs(2), lanes: 1, ..Default::default() };
    let bus = Bus::builder(proxy.url()).publisher(options).connect().await.unwrap();
    let (queue, full) = (unique("q"), unique("full"));
    let narrow = Queue::durable(&full).with_integer("x-max-length", 1);
    let narrow = narrow.with_text("x-overflow", "reject-publish");
    bus.declare(&Topology::new().queue(&queue).queue_with(narrow)).await.unwrap();
    for _ in 0..3 {
        bus.publish(Message::text("", &queue, "x")).await.unwrap();
    }
    let returned = bus.publish(Message::text("", unique("nowhere"), "x")).await;
    assert!(matches!(returned, Err(PublishError::Returned(_))));
    bus.publish(Message::text("", &full, "fits")).await.unwrap();
    let nacked = bus.publish(Message::text("", &full, "does not")).await;
    assert!(matches!(nacked, Err(PublishError::Nacked { .. })));
    let rejected = bus.publish(Message::text(unique("no-exchange"), "k", "x")).await;
    assert!(matches!(rejected, Err(PublishError::Rejected { .. })));
    bus.publish(Message::text("", &queue, "x")).await.unwrap();
    proxy.set(Weather::Mute);
    let unknown = bus.publish(Message::text("", &queue, "x")).await;
    assert!(matches!(unknown, Err(PublishError::Unknown { .. })));

    let values = values(&recorder.snapshotter());
    let published = |result| values[&format!("leveret_bus_published_total{{result={result}}}")];
    let results = ["confirmed", "returned", "nacked", "failed", "unknown"];
    assert_eq!(results.map(published), [5.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(values["leveret_bus_publish_seconds{}"], 9.0);
    proxy.set(Weather::Down);
    broker.stop().await;
}

#[tokio::test]
async fn every_outcome_of_a_handler_is_counted() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let broker = Broker::start().await;
    let bus = broker.bus().await;
    let queue = unique("q");
    let (handler, mut arrived) = probe(|delivery| match delivery.body() {
        b"bad" => Outcome::park("bad"),
        b"late" if delivery.attempt() == 1 => Outcome::retry("not yet"),
        _ => Outcome::Done,
    });
    let policy = RetryPolicy::list([Duration::from_millis(10)]);
    let worker = bus.worker(&queue).retry(policy).start(handler).await.unwrap();
    for text in ["bad", "late", "good"] {
        bus.publish(Message::text("", &queue, text)).await.unwrap();
    }
    for _ in 0..4 {
        soon("arrival", arrived.recv()).await.unwrap();
    }
    worker.shutdown().await;

    let values = values(&recorder.snapshotter());
    let handled = |outcome| values[&format!("leveret_bus_handled_total{{queue={queue},outcome={outcome}}}")];
    assert_eq!(["done", "retried", "parked"].map(handled), [2.0, 1.0, 1.0]);
    assert_eq!(values[&format!("leveret_bus_handle_seconds{{queue={queue}}}")], 4.0);
    assert_eq!(values[&format!("leveret_bus_at_work{{queue={queue}}}")], 0.0);
    broker.stop().await;
}

#[tokio::test]
async fn the_outbox_tells_what_waits_and_for_how_long() {
    let recorder = DebuggingRecorder::new();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (broker, database) = (Broker::start().await, TestDatabase::new().await);
    let bus = broker.bus().await;
    let outbox = Outbox::open(database.db.clone()).await.unwrap();
    let queue = unique("q");
    bus.declare(&Topology::new().queue(&queue)).await.unwrap();
    let stage = async |key: &str| {
        let tx = database::begin(&database.db).await.unwrap();
        outbox.stage(&tx, Message::text("", key, "x")).await.unwrap();
        outbox.commit(tx).await.unwrap();
    };
    let unsent = async |wanted: u64| while outbox.depth().await.unwrap().unsent != wanted {};
    for _ in 0..2 {
        stage(&queue).await;
    }
    let relay = outbox.relay(bus.publisher(), RelayOptions::default());
    soon("two sent", unsent(0)).await;
    relay.shutdown().await;
    let snapshotter = recorder.snapshotter();
    assert_eq!(values(&snapshotter)["leveret_bus_outbox_relayed_total{}"], 2.0);

    // Nobody wants this one, and it has been waiting for a minute. A relay measures when it starts.
    stage(&unique("nowhere")).await;
    let older = "UPDATE leveret_outbox SET created_ms = created_ms - 60000";
    database.db.execute_unprepared(older).await.unwrap();
    let hour = Duration::from_secs(3600);
    let options = RelayOptions { first_backoff: hour, longest_backoff: hour, ..Default::default() };
    let relay = outbox.relay(bus.publisher(), options);
    let [mut unsent, mut oldest, mut failed] = [0.0_f64; 3];
    let measured = async {
        while oldest == 0.0 || failed == 0.0 {
            let values = values(&snapshotter);
            let highest = |so_far: &mut f64, name: &str| *so_far = so_far.max(values[name]);
            highest(&mut unsent, "leveret_bus_outbox_unsent{}");
            highest(&mut oldest, "leveret_bus_outbox_oldest_unsent_seconds{}");
            highest(&mut failed, "leveret_bus_outbox_failed_total{}");
            tokio::task::yield_now().await;
        }
    };
    soon("measured", measured).await;
    assert_eq!((unsent, failed), (1.0, 1.0));
    assert!((60.0..90.0).contains(&oldest), "{oldest}");
    relay.shutdown().await;
    broker.stop().await;
    database.remove().await;
}
