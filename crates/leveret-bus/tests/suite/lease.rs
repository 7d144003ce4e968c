//! Of several who could do a thing, one does it, until it is done.

use std::time::Duration;

use leveret_bus::lease::{self, Claim, Lease};
use sea_orm::DatabaseConnection;

use crate::support::database::TestDatabase;
use crate::support::soon;

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(50);

async fn open() -> TestDatabase {
    let database = TestDatabase::new().await;
    lease::migrate(&database.db).await.unwrap();
    database
}

async fn claim(db: &DatabaseConnection, message_id: &str, length: Duration) -> Claim {
    lease::claim(db, "mailer", message_id, length).await.unwrap()
}

async fn mine(db: &DatabaseConnection, length: Duration) -> Lease {
    match claim(db, "m", length).await {
        Claim::Mine(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_claims_and_the_others_learn_that_it_is_done() {
    let database = open().await;
    let db = &database.db;
    let lease = mine(db, LONG).await;
    assert!(matches!(claim(db, "m", LONG).await, Claim::Busy { .. }));
    assert!(matches!(claim(db, "M", LONG).await, Claim::Mine(_)), "another message");
    assert!(
        matches!(lease::claim(db, "other", "m", LONG).await.unwrap(), Claim::Mine(_)),
        "another consumer"
    );
    lease.done(db).await.unwrap();
    assert_eq!(claim(db, "m", LONG).await, Claim::Done);
    lease.release(db).await.unwrap();
    assert_eq!(claim(db, "m", LONG).await, Claim::Done, "done is done");
    assert_eq!(lease::forget(db, i64::MAX).await.unwrap(), 1);
    mine(db, LONG).await;
    database.remove().await;
}

#[tokio::test]
async fn a_lease_given_back_or_run_out_can_be_claimed() {
    let database = open().await;
    let db = &database.db;
    let first = mine(db, LONG).await;
    first.release(db).await.unwrap();
    mine(db, Duration::ZERO).await;
    mine(db, LONG).await;
    // The first lease is long gone: giving it back again takes nothing from the present holder.
    first.release(db).await.unwrap();
    assert!(matches!(claim(db, "m", LONG).await, Claim::Busy { .. }));
    // Though it is done by whoever says so.
    first.done(db).await.unwrap();
    assert_eq!(claim(db, "m", LONG).await, Claim::Done);
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_holds_it() {
    let database = open().await;
    for number in 0..10 {
        let message = number.to_string();
        let claiming = (0..8).map(|_| {
            let (db, message) = (database.db.clone(), message.clone());
            tokio::spawn(async move { claim(&db, &message, LONG).await })
        });
        let mut holders = 0;
        for one in claiming.collect::<Vec<_>>() {
            holders += usize::from(matches!(one.await.unwrap(), Claim::Mine(_)));
        }
        assert_eq!(holders, 1);
    }
    database.remove().await;
}

#[tokio::test]
async fn who_waits_gets_what_runs_out_or_learns_what_was_done() {
    let database = open().await;
    let db = &database.db;
    mine(db, SHORT).await;
    let next = soon("the lease", lease::wait(db, "mailer", "m", LONG)).await.unwrap();
    let Claim::Mine(next) = next else { panic!("{next:?}") };
    let (waited, ended) = tokio::join!(lease::wait(db, "mailer", "m", LONG), next.done(db));
    ended.unwrap();
    assert_eq!(waited.unwrap(), Claim::Done);
    database.remove().await;
}

#[tokio::test]
async fn a_lease_from_before_the_clock_was_set_back_is_not_waited_for() {
    let database = open().await;
    let _held = mine(&database.db, LONG).await;
    let waited = soon("an end", lease::wait(&database.db, "mailer", "m", SHORT)).await.unwrap();
    assert!(matches!(waited, Claim::Busy { .. }));
    database.remove().await;
}
