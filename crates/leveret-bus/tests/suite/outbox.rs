//! What is committed is published, what is rolled back is not.

use std::time::Duration;

use crate::support::database::TestDatabase;
use crate::support::{Broker, probe, soon, unique};
use leveret_bus::inbox::{self, Claim};
use leveret_bus::outbox::{Depth, RelayOptions};
use leveret_bus::{Bus, Message, Outbox, Outcome, Topology, database};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};

struct Rig {
    database: TestDatabase,
    broker: Broker,
    bus: Bus,
    db: DatabaseConnection,
    outbox: Outbox,
}

impl Rig {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let db = database.db.clone();
        let outbox = Outbox::open(db.clone()).await.unwrap();
        let broker = Broker::start().await;
        let bus = broker.bus().await;
        Self { database, broker, bus, db, outbox }
    }

    async fn stop(self) {
        self.broker.stop().await;
        self.database.remove().await;
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
    rig.stop().await;
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
    rig.stop().await;
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
    rig.stop().await;
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
    rig.stop().await;
}

#[tokio::test]
async fn a_claim_holds_only_if_its_transaction_does() {
    let database = TestDatabase::new().await;
    let db = &database.db;
    inbox::migrate(db).await.unwrap();
    let tx = database::begin(db).await.unwrap();
    assert_eq!(inbox::claim(&tx, "mailer", "m").await.unwrap(), Claim::First);
    assert_eq!(inbox::claim(&tx, "mailer", "m").await.unwrap(), Claim::Duplicate);
    tx.rollback().await.unwrap();
    let tx = database::begin(db).await.unwrap();
    assert_eq!(inbox::claim(&tx, "mailer", "m").await.unwrap(), Claim::First);
    assert_eq!(inbox::claim(&tx, "other", "m").await.unwrap(), Claim::First);
    tx.commit().await.unwrap();
    assert_eq!(inbox::forget(db, i64::MAX).await.unwrap(), 2);
    database.remove().await;
}

/// MySQL compares without regard to case and to spaces at the end unless told otherwise.
#[tokio::test]
async fn message_ids_are_compared_byte_for_byte() {
    let database = TestDatabase::new().await;
    inbox::migrate(&database.db).await.unwrap();
    let tx = database::begin(&database.db).await.unwrap();
    for id in ["m", "M", "m ", "\u{e9}", "e\u{301}", "e", ""] {
        assert_eq!(inbox::claim(&tx, "c", id).await.unwrap(), Claim::First, "{id:?}");
    }
    tx.commit().await.unwrap();
    database.remove().await;
}

/// The second waits for the first's end, and its transaction stays usable.
#[tokio::test]
async fn of_two_claims_at_once_the_committed_one_counts() {
    let database = TestDatabase::new().await;
    inbox::migrate(&database.db).await.unwrap();
    for first_commits in [true, false] {
        let id = format!("m-{first_commits}");
        let first = database::begin(&database.db).await.unwrap();
        assert_eq!(inbox::claim(&first, "c", &id).await.unwrap(), Claim::First);
        let second = tokio::spawn({
            let (db, id) = (database.db.clone(), id.clone());
            async move {
                let tx = database::begin(&db).await.unwrap();
                let claim = inbox::claim(&tx, "c", &id).await.unwrap();
                let _ = inbox::claim(&tx, "c", "another").await.unwrap();
                tx.commit().await.unwrap();
                claim
            }
        });
        tokio::task::yield_now().await;
        let expected = if first_commits { Claim::Duplicate } else { Claim::First };
        match first_commits {
            true => first.commit().await.unwrap(),
            false => first.rollback().await.unwrap(),
        }
        assert_eq!(soon("second claim", second).await.unwrap(), expected);
    }
    database.remove().await;
}

#[tokio::test]
async fn many_instances_may_migrate_at_once() {
    let database = TestDatabase::new().await;
    let instances = (0..8).map(|_| {
        let url = database.url.clone();
        tokio::spawn(async move {
            let db = database::connect(&url).await.unwrap();
            let opened = Outbox::open(db.clone()).await.map(drop);
            db.close().await.unwrap();
            opened
        })
    });
    for instance in instances.collect::<Vec<_>>() {
        soon("migration", instance).await.unwrap().unwrap();
    }
    database.remove().await;
}

/// More than MySQL's plain kinds of text and blob hold.
#[tokio::test]
async fn large_messages_pass_whole() {
    let rig = Rig::new().await;
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = rig.bus.worker(&queue).start(handler).await.unwrap();
    let relay = rig.outbox.relay(rig.bus.publisher(), RelayOptions::default());
    let (body, header) = ("x".repeat(300_000), "h".repeat(70_000));
    rig.stage(Message::text("", &queue, &body).with_header("h", &header)).await;
    let (text, delivery) = soon("arrival", arrived.recv()).await.unwrap();
    assert!(text == body && delivery.headers().text("h").as_ref() == Some(&header));
    relay.shutdown().await;
    worker.shutdown().await;
    rig.stop().await;
}

#[tokio::test]
async fn messages_of_one_key_keep_their_order() {
    let rig = Rig::new().await;
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = rig.bus.worker(&queue).concurrency(1).start(handler).await.unwrap();
    let tx = database::begin(&rig.db).await.unwrap();
    for n in 0..60 {
        let message =
            Message::text("", &queue, format!("{:02}", n / 3)).with_header("key", format!("k{}", n % 3));
        rig.outbox.stage_in_order(&tx, format!("k{}", n % 3), message).await.unwrap();
    }
    rig.outbox.commit(tx).await.unwrap();
    let options = RelayOptions { batch: 7, ..Default::default() };
    let relays = [(); 3].map(|()| rig.outbox.relay(rig.bus.publisher(), options.clone()));
    let mut seen = std::collections::HashMap::<String, Vec<String>>::new();
    for _ in 0..60 {
        let (text, delivery) = soon("arrival", arrived.recv()).await.unwrap();
        seen.entry(delivery.headers().text("key").unwrap()).or_default().push(text);
    }
    for (key, texts) in seen {
        assert!(texts.len() == 20 && texts.is_sorted(), "{key}: {texts:?}");
    }
    for relay in relays {
        relay.shutdown().await;
    }
    worker.shutdown().await;
    rig.stop().await;
}

#[tokio::test]
async fn a_message_that_fails_holds_back_those_behind_it_and_no_others() {
    let rig = Rig::new().await;
    let (queue, missing) = (unique("q"), unique("missing"));
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = rig.bus.worker(&queue).start(handler).await.unwrap();
    let tx = database::begin(&rig.db).await.unwrap();
    rig.outbox.stage_in_order(&tx, "k", Message::text("", &missing, "first")).await.unwrap();
    for text in ["second", "third"] {
        rig.outbox.stage_in_order(&tx, "k", Message::text("", &queue, text)).await.unwrap();
    }
    rig.outbox.stage_in_order(&tx, "other", Message::text("", &queue, "free")).await.unwrap();
    rig.outbox.commit(tx).await.unwrap();
    let (poll, first_backoff) = (Duration::from_millis(20), Duration::from_millis(50));
    let options = RelayOptions { poll, first_backoff, longest_backoff: first_backoff, ..Default::default() };
    let relay = rig.outbox.relay(rig.bus.publisher(), options);
    assert_eq!(soon("arrival", arrived.recv()).await.unwrap().0, "free");
    rig.unsent(3).await;
    assert!(arrived.try_recv().is_err());
    rig.bus.declare(&Topology::new().queue(&missing)).await.unwrap();
    rig.unsent(0).await;
    for text in ["second", "third"] {
        assert_eq!(soon("arrival", arrived.recv()).await.unwrap().0, text);
    }
    relay.shutdown().await;
    worker.shutdown().await;
    rig.stop().await;
}

/// A row in the middle of a key's, then its first one: what stands behind it waits, and nothing else. SQLite has no locks on
/// rows; there everything waits for the other transaction, and then keeps its order.
#[tokio::test]
async fn nothing_overtakes_a_row_that_another_transaction_has_locked() {
    let rig = Rig::new().await;
    let has_row_locks = rig.db.get_database_backend() != DbBackend::Sqlite;
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = rig.bus.worker(&queue).concurrency(1).start(handler).await.unwrap();
    for locked in [1, 0] {
        let key = unique("k");
        let tx = database::begin(&rig.db).await.unwrap();
        for n in 0..3 {
            let message = Message::text("", &queue, n.to_string()).with_message_id(format!("{key}-{n}"));
            rig.outbox.stage_in_order(&tx, &key, message).await.unwrap();
        }
        tx.commit().await.unwrap();
        let outside = database::begin(&rig.db).await.unwrap();
        let lock =
            format!("UPDATE leveret_outbox SET attempts = attempts WHERE message_id = '{key}-{locked}'");
        outside.execute_unprepared(&lock).await.unwrap();
        let options = RelayOptions { poll: Duration::from_millis(20), ..Default::default() };
        let relay = rig.outbox.relay(rig.bus.publisher(), options);
        let mut texts = Vec::new();
        if has_row_locks {
            while texts.len() < locked {
                texts.push(soon("arrival", arrived.recv()).await.unwrap().0);
            }
            rig.stage(Message::text("", &queue, "free")).await;
            assert_eq!(soon("arrival", arrived.recv()).await.unwrap().0, "free");
        }
        outside.rollback().await.unwrap();
        while texts.len() < 3 {
            texts.push(soon("arrival", arrived.recv()).await.unwrap().0);
        }
        assert_eq!(texts, ["0", "1", "2"]);
        relay.shutdown().await;
    }
    worker.shutdown().await;
    rig.stop().await;
}

/// PostgreSQL carries word to other processes; on the others the relay's own process is told.
#[tokio::test]
async fn a_commit_wakes_the_relay_long_before_it_would_look() {
    let rig = Rig::new().await;
    let queue = unique("q");
    let (handler, mut arrived) = probe(|_| Outcome::Done);
    let worker = rig.bus.worker(&queue).start(handler).await.unwrap();
    let options = RelayOptions { poll: Duration::from_secs(3600), ..Default::default() };
    let relay = rig.outbox.relay(rig.bus.publisher(), options);
    // The first shows that the relay has looked in vain once and listens.
    rig.stage(Message::text("", &queue, "first")).await;
    assert_eq!(soon("arrival", arrived.recv()).await.unwrap().0, "first");
    let elsewhere = match rig.database.url.starts_with("postgres") {
        true => Outbox::open(database::connect(&rig.database.url).await.unwrap()).await.unwrap(),
        false => rig.outbox.clone(),
    };
    let sent = async {
        loop {
            let tx = database::begin(&rig.db).await.unwrap();
            elsewhere.stage(&tx, Message::text("", &queue, "second")).await.unwrap();
            elsewhere.commit(tx).await.unwrap();
            // Listening begins a moment after the relay; what came before that is not heard of.
            if tokio::time::timeout(Duration::from_secs(1), arrived.recv()).await.is_ok() {
                return;
            }
        }
    };
    soon("arrival", sent).await;
    relay.shutdown().await;
    worker.shutdown().await;
    rig.stop().await;
}

#[tokio::test]
async fn sent_rows_are_removed_after_their_retention() {
    let rig = Rig::new().await;
    let queue = unique("q");
    rig.bus.declare(&Topology::new().queue(&queue)).await.unwrap();
    let rows = async || {
        let count = "SELECT COUNT(*) FROM leveret_outbox";
        let count = sea_orm::Statement::from_string(rig.db.get_database_backend(), count);
        let row = rig.db.query_one_raw(count).await.unwrap().unwrap();
        row.try_get_by_index::<i64>(0).unwrap()
    };
    rig.stage(Message::text("", &queue, "kept")).await;
    let relay = rig.outbox.relay(rig.bus.publisher(), RelayOptions::default());
    rig.unsent(0).await;
    assert_eq!(rows().await, 1);
    relay.shutdown().await;
    let options = RelayOptions { retention: Duration::ZERO, ..Default::default() };
    let relay = rig.outbox.relay(rig.bus.publisher(), options);
    rig.stage(Message::text("", &queue, "not kept")).await;
    soon("purge", async { while rows().await > 0 {} }).await;
    relay.shutdown().await;
    rig.stop().await;
}
