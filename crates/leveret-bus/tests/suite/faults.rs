//! What breaks in the middle: nothing is lost, and nothing comes twice but where the docs say so. That a broker is killed
//! and started again is tested with the leveret binary, in its own package.

use std::collections::HashMap;
use std::time::Duration;

use leveret_bus::inbox::{self, Claim};
use leveret_bus::outbox::RelayOptions;
use leveret_bus::{Message, Outbox, Outcome, database};

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
    let lease = Duration::from_millis(300);
    let options = RelayOptions { batch: BATCH, lease, poll: Duration::from_millis(20), ..Default::default() };
    let mut seen = HashMap::<String, u64>::new();
    let mut kills = 0;
    for _ in 0..5 {
        let relay = outbox.relay(bus.publisher(), options.clone());
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

/// The connection to the database is cut with a transaction open: neither its rows nor its message come to be, and relay
/// and claims go on when it is back.
#[tokio::test]
async fn a_database_connection_cut_in_a_transaction_leaves_nothing_behind() {
    let (broker, database) = (Broker::start().await, TestDatabase::new().await);
    let bus = broker.bus().await;
    let is_server = !database.url.starts_with("sqlite");
    // There is no connection to cut to SQLite's file; there the transaction is dropped instead.
    let proxy = if is_server { Some(Proxy::before(&database.url).await) } else { None };
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
