//! One instance runs each occurrence, missed ones are treated as told, and a runner that dies is followed by another.

use std::time::Duration;

use leveret_bus::schedules::{Missed, Occurrence, Schedules};
use leveret_bus::{Error, database};
use sea_orm::ConnectionTrait;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::support::database::TestDatabase;
use crate::support::soon;

const EVERY_SECOND: &str = "* * * * * *";

async fn next(runs: &mut UnboundedReceiver<i64>) -> i64 {
    soon("run", runs.recv()).await.unwrap()
}

#[tokio::test]
async fn of_several_instances_one_runs_each_occurrence() {
    let database = TestDatabase::new().await;
    let (ran, mut runs) = mpsc::unbounded_channel();
    let mut instances = Vec::new();
    for _ in 0..3 {
        let schedules = Schedules::open(database.db.clone()).await.unwrap();
        let ran = ran.clone();
        let job = move |occurrence: Occurrence| {
            ran.send(occurrence.due_ms).unwrap();
            async { Err("it fails, and the next one comes all the same") }
        };
        instances.push(schedules.cron("each", EVERY_SECOND).unwrap().start(job).await.unwrap());
    }
    let first = next(&mut runs).await;
    assert_eq!(first % 1000, 0);
    assert!(next(&mut runs).await > first);
    for instance in instances {
        instance.shutdown().await;
    }
    let mut seen = vec![first];
    while let Ok(due_ms) = runs.try_recv() {
        seen.push(due_ms);
    }
    let count = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), count, "an occurrence was run twice");
    database.remove().await;
}

#[tokio::test]
async fn what_was_missed_is_run_once_or_each() {
    let database = TestDatabase::new().await;
    let schedules = Schedules::open(database.db.clone()).await.unwrap();
    for (missed, name) in [(Missed::Once, "once"), (Missed::Every, "every")] {
        let start = async |cron: &str| {
            let (ran, runs) = mpsc::unbounded_channel();
            let builder = schedules.cron(name, cron).unwrap().missed(missed);
            let job = move |occurrence: Occurrence| {
                ran.send(occurrence.due_ms).unwrap();
                async { Ok::<_, Error>(()) }
            };
            (builder.start(job).await.unwrap(), runs)
        };
        let (schedule, _) = start("0 0 * * *").await;
        schedule.shutdown().await;
        // Three days ago it was due, and nobody was there.
        let past = format!(
            "UPDATE leveret_schedule SET next_due_ms = next_due_ms - 259200000 WHERE name = '{name}'"
        );
        database.db.execute_unprepared(&past).await.unwrap();
        let (schedule, mut runs) = start("0 0 * * *").await;
        let days = if missed == Missed::Once { 1 } else { 3 };
        for _ in 0..days {
            assert_eq!(next(&mut runs).await % 86_400_000, 0);
        }
        schedule.shutdown().await;
        assert_eq!(runs.recv().await, None, "{name}: more than {days}");
    }
    database.remove().await;
}

#[tokio::test]
async fn a_run_cut_short_is_run_again_by_another() {
    let database = TestDatabase::new().await;
    let start = async |hangs: bool| {
        let (ran, runs) = mpsc::unbounded_channel();
        // What dies has connections of its own, which go with it.
        let schedules = Schedules::open(database::connect(&database.url).await.unwrap()).await.unwrap();
        let builder = schedules.cron("job", "0 0 1 1 *").unwrap().lease(Duration::from_millis(300));
        let job = move |occurrence: Occurrence| {
            ran.send(occurrence.due_ms).unwrap();
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok::<_, Error>(())
            }
        };
        (builder.start(job).await.unwrap(), runs)
    };
    let (first, mut runs) = start(true).await;
    let due = "UPDATE leveret_schedule SET next_due_ms = 1000";
    database.db.execute_unprepared(due).await.unwrap();
    let due_ms = next(&mut runs).await;
    // The runner that dies leaves its lease behind; one that is merely stopped would wait for the job.
    first.abort();
    let (second, mut runs) = start(false).await;
    assert_eq!(next(&mut runs).await, due_ms);
    second.shutdown().await;
    database.remove().await;
}

#[tokio::test]
async fn nonsense_is_an_error() {
    let database = TestDatabase::new().await;
    let schedules = Schedules::open(database.db.clone()).await.unwrap();
    for bad in ["", "* * *", "61 * * * *", "0 0 31 2 *"] {
        assert!(matches!(schedules.cron("x", bad), Err(Error::Cron(_))), "{bad:?}");
    }
    database.remove().await;
}
