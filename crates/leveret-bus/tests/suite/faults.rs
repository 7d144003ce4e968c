//! What breaks in the middle: nothing is lost, and nothing comes twice but where the docs say so. That a broker is killed
//! and started again is tested with the leveret binary, in its own package.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use leveret_bus::inbox::{self, Claim};
use leveret_bus::outbox::RelayOptions;
use leveret_bus::{Bus, Message, Outbox, Outcome, PublisherOptions, database};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, Statement};

use crate::support::database::TestDatabase;
use crate::support::proxy::{Proxy, Weather};
use crate::support::{Broker, probe, soon, unique};

const BATCH: u64 = 20;

/// A relay that dies between the publish and the mark leaves rows that look unsent: they are published again, under
/// their message ids, and nothing else is.
#[tokio::test]
async fn a_relay_killed_again_and_again_loses_nothing() {
    let (broker, database) = (Broker::start().await, TestDatabase::new().await);
    let bus = broker.bus().await;
    let outbox = Outbox::open(database.db.clone()).await.unwrap();
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = bus.worker(&queue).start(handler).await.unwrap();
    let tx = database::begin(&database.db).await.unwrap();
    for n in 0..300 {
        let message = Message::text("", &queue, "x").with_message_id(n.to_string());
        outbox.stage(&tx, message).await.unwrap();
    }
    outbox.commit(tx).await.unwrap();
    // Long enough for a busy broker's confirms: what comes twice here comes of the kills.
    let lease = Duration::from_secs(2);
    let options = RelayOptions { batch: BATCH, lease, poll: Duration::from_millis(20), ..Default::default() };
    let mut seen = HashMap::<String, u64>::new();
    let mut kills = 0;
    for _ in 0..5 {
        // What is killed has connections of its own, which go with it.
        let theirs = Outbox::open(database::connect(&database.url).await.unwrap()).await.unwrap();
        let relay = theirs.relay(bus.publisher(), options.clone());
        let Ok(Some((_, delivery))) = tokio::time::timeout(Duration::from_secs(5), arrived.recv()).await
        else {
            break;
        };
        *seen.entry(delivery.message_id().to_owned()).or_default() += 1;
        relay.abort();
        kills += 1;
    }
    let relay = outbox.relay(bus.publisher(), options.clone());
    let all_sent = async { while outbox.depth().await.unwrap().unsent > 0 {} };
    soon("all sent", all_sent).await;
    while seen.len() < 300 {
        let (_, delivery) = soon("arrival", arrived.recv()).await.unwrap();
        *seen.entry(delivery.message_id().to_owned()).or_default() += 1;
    }
    relay.shutdown().await;
    worker.shutdown().await;
    while let Ok((_, delivery)) = arrived.try_recv() {
        *seen.entry(delivery.message_id().to_owned()).or_default() += 1;
    }
    let again: u64 = seen.values().map(|times| times - 1).sum();
    let most = kills * BATCH * options.batches as u64;
    assert!(again <= most, "{again} came again after {kills} kills");
    broker.stop().await;
    database.remove().await;
}

/// One row of a key after the other, on a broker so slow that the lease is over before them: the relay gives back what it
/// has no time for, and publishes nothing that another may have taken over. What is under way when a lease ends, because its
/// confirm is later than anybody thought, is one message; it may come twice.
#[tokio::test]
async fn a_relay_publishes_nothing_after_its_lease() {
    let (broker, database) = (Broker::start().await, TestDatabase::new().await);
    let proxy = Proxy::before(broker.url()).await;
    let (bus, slow) = (broker.bus().await, Bus::connect(proxy.url()).await.unwrap());
    let outbox = Outbox::open(database.db.clone()).await.unwrap();
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = bus.worker(&queue).concurrency(1).start(handler).await.unwrap();
    let tx = database::begin(&database.db).await.unwrap();
    for n in 0..100 {
        let message = Message::text("", &queue, format!("{n:02}"));
        outbox.stage_in_order(&tx, "key", message).await.unwrap();
    }
    outbox.commit(tx).await.unwrap();
    proxy.set(Weather::Slow);
    let (lease, start) = (Duration::from_secs(3), Instant::now());
    let options = RelayOptions { lease, ..Default::default() };
    let relays = [(); 2].map(|()| outbox.relay(slow.publisher(), options.clone()));
    soon("all sent", async { while outbox.depth().await.unwrap().unsent > 0 {} }).await;
    for relay in relays {
        relay.shutdown().await;
    }
    let leases = start.elapsed().as_secs() / lease.as_secs() + 1;
    bus.publish(Message::text("", &queue, "end")).await.unwrap();
    let mut texts = Vec::new();
    while texts.last().is_none_or(|last| last != "end") {
        texts.push(soon("arrival", arrived.recv()).await.unwrap().0);
    }
    worker.shutdown().await;
    let arrivals = texts.len();
    texts.dedup();
    assert!(texts.len() == 101 && texts.is_sorted(), "{texts:?}");
    assert!((arrivals - texts.len()) as u64 <= leases, "{arrivals} arrivals in {leases} leases");
    broker.stop().await;
    database.remove().await;
}

/// How the connection to the database ends in the middle of a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Network,
    Server,
}

#[tokio::test]
async fn a_transaction_cut_off_by_the_network_leaves_nothing_behind() {
    cut_in_a_transaction(Cut::Network).await;
}

#[tokio::test]
async fn a_transaction_ended_by_the_database_leaves_nothing_behind() {
    cut_in_a_transaction(Cut::Server).await;
}

/// Neither the transaction's rows nor its message come to be, and relay and claims go on when the database is back. There
/// is no connection to cut to SQLite's file; there the transaction is dropped instead.
async fn cut_in_a_transaction(cut: Cut) {
    let (broker, database) = (Broker::start().await, TestDatabase::new().await);
    let bus = broker.bus().await;
    let is_server = !database.url.starts_with("sqlite");
    let proxy = match is_server && cut == Cut::Network {
        true => Some(Proxy::before(&database.url).await),
        false => None,
    };
    let db = match &proxy {
        Some(proxy) => database::connect(proxy.url()).await.unwrap(),
        None => database.db.clone(),
    };
    let outbox = Outbox::open(db.clone()).await.unwrap();
    inbox::migrate(&db).await.unwrap();
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = bus.worker(&queue).start(handler).await.unwrap();
    let relay =
        outbox.relay(bus.publisher(), RelayOptions { poll: Duration::from_millis(50), ..Default::default() });

    let tx = database::begin(&db).await.unwrap();
    assert_eq!(inbox::claim(&tx, "c", "m").await.unwrap(), Claim::First);
    outbox.stage(&tx, Message::text("", &queue, "never")).await.unwrap();
    match &proxy {
        Some(proxy) => {
            proxy.set(Weather::Down);
            assert!(outbox.commit(tx).await.is_err());
            proxy.set(Weather::Fine);
        }
        None if is_server => {
            end_connection(&database.db, &tx).await;
            assert!(outbox.commit(tx).await.is_err());
        }
        None => drop(tx),
    }
    let again = async {
        loop {
            let Ok(tx) = database::begin(&db).await else { continue };
            let Ok(claim) = inbox::claim(&tx, "c", "m").await else { continue };
            assert_eq!(claim, Claim::First);
            outbox.stage(&tx, Message::text("", &queue, "once")).await.unwrap();
            return outbox.commit(tx).await.unwrap();
        }
    };
    soon("second try", again).await;
    assert_eq!(soon("arrival", arrived.recv()).await.unwrap().0, "once");
    relay.shutdown().await;
    worker.shutdown().await;
    assert!(arrived.try_recv().is_err());
    broker.stop().await;
    database.remove().await;
}

/// Tells the server to end the connection that the transaction is on.
async fn end_connection(db: &DatabaseConnection, tx: &DatabaseTransaction) {
    let backend = db.get_database_backend();
    let (asking, ending) = match backend {
        DbBackend::Postgres => ("SELECT pg_backend_pid()::bigint", "SELECT pg_terminate_backend"),
        _ => ("SELECT CAST(CONNECTION_ID() AS SIGNED)", "KILL "),
    };
    let row = tx.query_one_raw(Statement::from_string(backend, asking)).await.unwrap().unwrap();
    let id: i64 = row.try_get_by_index(0).unwrap();
    let ending =
        if backend == DbBackend::Postgres { format!("{ending}({id}::int)") } else { format!("{ending}{id}") };
    db.execute_unprepared(&ending).await.unwrap();
}

/// Another relay whose clock is an hour ahead takes over what the first is just publishing. It comes twice then, under one
/// message id, and the first one's word on it no longer counts.
#[tokio::test]
async fn a_clock_that_is_ahead_duplicates_and_loses_nothing() {
    let (broker, database) = (Broker::start().await, TestDatabase::new().await);
    let proxy = Proxy::before(broker.url()).await;
    let options = PublisherOptions { timeout: Duration::from_secs(2), lanes: 1, ..Default::default() };
    let held_up = Bus::builder(proxy.url()).publisher(options).connect().await.unwrap();
    let bus = broker.bus().await;
    let outbox = Outbox::open(database.db.clone()).await.unwrap();
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = bus.worker(&queue).start(handler).await.unwrap();
    held_up.publish(Message::text("", &queue, "before")).await.unwrap();
    assert_eq!(soon("arrival", arrived.recv()).await.unwrap().0, "before");
    proxy.set(Weather::Mute);
    let tx = database::begin(&database.db).await.unwrap();
    outbox.stage(&tx, Message::text("", &queue, "x").with_message_id("m")).await.unwrap();
    outbox.commit(tx).await.unwrap();
    let options = RelayOptions { batches: 1, ..Default::default() };
    let first = outbox.relay(held_up.publisher(), options);
    // It has arrived, but the first relay does not hear of it.
    assert_eq!(soon("arrival", arrived.recv()).await.unwrap().1.message_id(), "m");
    let ahead = "UPDATE leveret_outbox SET lease_until_ms = lease_until_ms - 3600000";
    database.db.execute_unprepared(ahead).await.unwrap();
    let second = outbox.relay(bus.publisher(), RelayOptions::default());
    assert_eq!(soon("arrival", arrived.recv()).await.unwrap().1.message_id(), "m");
    soon("all sent", async { while outbox.depth().await.unwrap().unsent > 0 {} }).await;
    // The first one's publish ends as a failure, which must not make the row unsent again.
    first.shutdown().await;
    assert_eq!(outbox.depth().await.unwrap().unsent, 0);
    proxy.set(Weather::Down);
    second.shutdown().await;
    worker.shutdown().await;
    assert!(arrived.try_recv().is_err());
    broker.stop().await;
    database.remove().await;
}
