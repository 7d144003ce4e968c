//! What is committed is published, what is rolled back is not.
#![allow(clippy::unwrap_used, reason = "these are tests, also their setting up")]

mod support;

use std::time::Duration;

use leveret_bus::inbox::{self, Claim};
use leveret_bus::outbox::{Depth, RelayOptions};
use leveret_bus::{Bus, Message, Outbox, Outcome, Topology, database};
use sea_orm::DatabaseConnection;
use support::{Broker, probe, soon, unique};

struct Rig {
    _folder: tempfile::TempDir,
    broker: Broker,
    bus: Bus,
    db: DatabaseConnection,
    outbox: Outbox,
}

impl Rig {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/test.db", folder.path().display());
        let db = database::connect(&url).await.unwrap();
        let outbox = Outbox::open(db.clone()).await.unwrap();
        let broker = Broker::start().await;
        let bus = broker.bus().await;
        Self { _folder: folder, broker, bus, db, outbox }
    }

    async fn stage(&self, message: Message) {
        let tx = database::begin(&self.db).await.unwrap();
        self.outbox.stage(&tx, message).await.unwrap();
        self.outbox.commit(tx).await.unwrap();
    }

    async fn unsent(&self, wanted: u64) {
        let reaching = async { while self.outbox.depth().await.unwrap().unsent != wanted {} };
        soon(&format!("{wanted} unsent"), reaching).await;
    }
}

#[tokio::test]
async fn committed_messages_go_out_and_rolled_back_ones_do_not() {
    let rig = Rig::new().await;
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = rig.bus.worker(&queue).start(handler).await.unwrap();
    let relay = rig.outbox.relay(rig.bus.publisher(), RelayOptions::default());
    let tx = database::begin(&rig.db).await.unwrap();
    rig.outbox.stage(&tx, Message::text("", &queue, "never")).await.unwrap();
    tx.rollback().await.unwrap();
    rig.stage(Message::text("", &queue, "once").with_message_id("m").with_header("h", "v")).await;
    let (text, delivery) = soon("arrival", arrived.recv()).await.unwrap();
    assert_eq!((text.as_str(), delivery.message_id()), ("once", "m"));
    assert_eq!(delivery.headers().text("h").as_deref(), Some("v"));
    assert_eq!(delivery.content_type(), Some("text/plain"));
    rig.unsent(0).await;
    assert!(arrived.try_recv().is_err());
    relay.shutdown().await;
    worker.shutdown().await;
    rig.broker.stop().await;
}

#[tokio::test]
async fn unroutable_messages_wait_until_there_is_a_queue() {
    let rig = Rig::new().await;
    let queue = unique("q");
    let options = RelayOptions { first_backoff: Duration::from_millis(50), ..Default::default() };
    let relay =
        rig.outbox.relay(rig.bus.publisher(), RelayOptions { poll: Duration::from_millis(20), ..options });
    rig.stage(Message::text("", &queue, "early")).await;
    rig.stage(Message::text(unique("no-exchange"), "k", "hopeless")).await;
    rig.stage(Message::text("", &queue, "early too")).await;
    let depth = rig.outbox.depth().await.unwrap();
    assert!(matches!(depth, Depth { unsent: 3, oldest: Some(_) }), "{depth:?}");
    rig.bus.declare(&Topology::new().queue(&queue)).await.unwrap();
    rig.unsent(1).await;
    relay.shutdown().await;
    rig.broker.stop().await;
}

#[tokio::test]
async fn several_relays_send_each_message_once() {
    let rig = Rig::new().await;
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = rig.bus.worker(&queue).start(handler).await.unwrap();
    let tx = database::begin(&rig.db).await.unwrap();
    for n in 0..500 {
        rig.outbox.stage(&tx, Message::text("", &queue, n.to_string())).await.unwrap();
    }
    rig.outbox.commit(tx).await.unwrap();
    let options = RelayOptions { batch: 16, ..Default::default() };
    let relays = [(); 3].map(|()| rig.outbox.relay(rig.bus.publisher(), options.clone()));
    rig.unsent(0).await;
    let mut got = Vec::new();
    while got.len() < 500 {
        got.push(soon("arrival", arrived.recv()).await.unwrap().0);
    }
    got.sort();
    got.dedup();
    assert_eq!(got.len(), 500);
    for relay in relays {
        relay.shutdown().await;
    }
    worker.shutdown().await;
    assert!(arrived.try_recv().is_err(), "a message came twice");
    rig.broker.stop().await;
}

#[tokio::test]
async fn deferred_messages_are_not_early() {
    let rig = Rig::new().await;
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = rig.bus.worker(&queue).start(handler).await.unwrap();
    let options = RelayOptions { poll: Duration::from_millis(20), ..Default::default() };
    let relay = rig.outbox.relay(rig.bus.publisher(), options);
    let started = std::time::Instant::now();
    let tx = database::begin(&rig.db).await.unwrap();
    let later = Duration::from_millis(300);
    rig.outbox.stage_after(&tx, Message::text("", &queue, "later"), later).await.unwrap();
    rig.outbox.commit(tx).await.unwrap();
    soon("arrival", arrived.recv()).await.unwrap();
    assert!(started.elapsed() >= later);
    relay.shutdown().await;
    worker.shutdown().await;
    rig.broker.stop().await;
}

#[tokio::test]
async fn a_claim_holds_only_if_its_transaction_does() {
    let db = database::connect("sqlite::memory:").await.unwrap();
    inbox::migrate(&db).await.unwrap();
    let tx = database::begin(&db).await.unwrap();
    assert_eq!(inbox::claim(&tx, "mailer", "m").await.unwrap(), Claim::First);
    assert_eq!(inbox::claim(&tx, "mailer", "m").await.unwrap(), Claim::Duplicate);
    tx.rollback().await.unwrap();
    let tx = database::begin(&db).await.unwrap();
    assert_eq!(inbox::claim(&tx, "mailer", "m").await.unwrap(), Claim::First);
    assert_eq!(inbox::claim(&tx, "other", "m").await.unwrap(), Claim::First);
    tx.commit().await.unwrap();
    assert_eq!(inbox::forget(&db, i64::MAX).await.unwrap(), 2);
}

#[tokio::test]
async fn many_instances_may_migrate_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/test.db", folder.path().display());
    let instances = (0..8).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { Outbox::open(database::connect(&url).await.unwrap()).await.map(drop) })
    });
    for instance in instances.collect::<Vec<_>>() {
        soon("migration", instance).await.unwrap().unwrap();
    }
}
