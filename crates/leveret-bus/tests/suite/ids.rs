//! Snowflakes never repeat: not among processes, not after a crash, not when the clock steps back.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use leveret_bus::Error;
use leveret_bus::ids::{Snowflake, SnowflakeOptions};

use crate::support::database::TestDatabase;
use crate::support::soon;

#[tokio::test(flavor = "multi_thread")]
async fn several_workers_at_once_make_different_ids() {
    let database = TestDatabase::new().await;
    let making = (0..4).map(|_| {
        let db = database.db.clone();
        tokio::spawn(async move {
            let snowflake = Snowflake::lease(&db, SnowflakeOptions::default()).await.unwrap();
            let mut ids = Vec::new();
            for _ in 0..5000 {
                ids.push(snowflake.next_id().await.unwrap());
            }
            assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
            (snowflake, ids)
        })
    });
    let (mut ids, mut workers) = (HashSet::new(), Vec::new());
    for made in making.collect::<Vec<_>>() {
        let (snowflake, made) = soon("ids", made).await.unwrap();
        ids.extend(made);
        workers.push(snowflake);
    }
    assert_eq!(ids.len(), 20_000);
    let distinct: HashSet<_> = workers.iter().map(Snowflake::worker_id).collect();
    assert_eq!(distinct.len(), 4);
    database.remove().await;
}

/// Two holders of one worker id, which a lease of no length at all makes possible, on a clock that jumps both ways: each
/// stays within the times that it has reserved.
#[tokio::test]
async fn a_clock_that_steps_back_repeats_nothing() {
    static NOW_MS: AtomicI64 = AtomicI64::new(1_800_000_000_000);
    let database = TestDatabase::new().await;
    let options = SnowflakeOptions {
        lease: Duration::ZERO,
        window: Duration::from_millis(50),
        clock: || NOW_MS.load(Ordering::Relaxed),
    };
    let first = Snowflake::lease(&database.db, options.clone()).await.unwrap();
    let second = Snowflake::lease(&database.db, options).await.unwrap();
    assert_eq!((first.worker_id(), second.worker_id()), (0, 0));
    let mut ids = HashSet::new();
    for step_ms in [0, 20, -30, 500, -400, 1, -7_200_000, 3, -1, 7_199_000, 60, 60, -60] {
        NOW_MS.fetch_add(step_ms, Ordering::Relaxed);
        for snowflake in [&first, &second, &first] {
            for _ in 0..200 {
                assert!(ids.insert(snowflake.next_id().await.unwrap()), "an id came twice");
            }
        }
    }
    database.remove().await;
}

/// The lease of a process that was killed runs out, and its worker id is used again, but none of its times.
#[tokio::test]
async fn a_worker_id_taken_over_starts_after_its_last_holder() {
    static NOW_MS: AtomicI64 = AtomicI64::new(1_800_000_000_000);
    let database = TestDatabase::new().await;
    let options = SnowflakeOptions {
        lease: Duration::from_secs(10),
        window: Duration::from_secs(60),
        clock: || NOW_MS.load(Ordering::Relaxed),
    };
    let dead = Snowflake::lease(&database.db, options.clone()).await.unwrap();
    let last = dead.next_id().await.unwrap();
    drop(dead);
    let beside = Snowflake::lease(&database.db, options.clone()).await.unwrap();
    assert_eq!(beside.worker_id(), 1);
    NOW_MS.fetch_add(10_000, Ordering::Relaxed);
    let heir = Snowflake::lease(&database.db, options).await.unwrap();
    assert_eq!(heir.worker_id(), 0);
    let first = heir.next_id().await.unwrap();
    assert!((first >> 22) >= (last >> 22) + 60_000, "it starts where the last one's reservation ended");
    database.remove().await;
}

#[tokio::test]
async fn a_worker_id_too_many_is_an_error() {
    let database = TestDatabase::new().await;
    let _first = Snowflake::lease(&database.db, SnowflakeOptions::default()).await.unwrap();
    let take = "UPDATE leveret_worker_id SET worker_id = 1023";
    sea_orm::ConnectionTrait::execute_unprepared(&database.db, take).await.unwrap();
    let answer = Snowflake::lease(&database.db, SnowflakeOptions::default()).await;
    assert!(matches!(answer, Err(Error::NoWorkerId)));
    database.remove().await;
}
