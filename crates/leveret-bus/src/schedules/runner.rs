//! One instance's part in one schedule: waits until it is due, takes the lease or leaves it to another, runs the job,
//! and writes down that it is over.

use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use croner::Cron;
use futures_util::FutureExt;
use sea_orm::{DatabaseConnection, EntityTrait};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use uuid::Uuid;

use super::missed::Turn;
use super::{Missed, Occurrence, entity};
use crate::clock;
use crate::error::Error;

/// The longest sleep: by then a clock that was set is noticed, or a row that another changed.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
/// How often to look whether another's run is over.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

pub(super) struct Runner<J> {
    pub(super) db: DatabaseConnection,
    pub(super) name: String,
    pub(super) cron: Cron,
    pub(super) missed: Missed,
    pub(super) lease: Duration,
    pub(super) job: J,
    pub(super) stop: CancellationToken,
}

impl<J, F, E> Runner<J>
where
    J: Fn(Occurrence) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    pub(super) async fn run(self) {
        while !self.stop.is_cancelled() {
            let pause = match self.look().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(schedule = self.name, %error, "the schedule cannot be read");
                    LONGEST_SLEEP
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Runs what is due and says how long to wait before the next look.
    async fn look(&self) -> Result<Duration, Error> {
        let row = entity::Entity::find_by_id(self.name.as_str()).one(&self.db).await?;
        let Some(row) = row else { return Ok(LONGEST_SLEEP) };
        let now_ms = clock::now_ms();
        if row.next_due_ms > now_ms {
            let wait = Duration::from_millis((row.next_due_ms - now_ms).unsigned_abs());
            return Ok(wait.min(LONGEST_SLEEP));
        }
        let lease = Uuid::now_v7().to_string();
        if !entity::take(&self.db, &row, &lease, now_ms, self.lease_until_ms()).await? {
            return Ok(BUSY_PAUSE);
        }
        let turn = self.missed.turn(&self.cron, row.next_due_ms, now_ms)?;
        self.take_turn(&lease, &turn).await?;
        Ok(Duration::ZERO)
    }

    async fn take_turn(&self, lease: &str, turn: &Turn) -> Result<(), Error> {
        let failure = match turn.run_ms {
            Some(due_ms) => tokio::select! {
                failure = self.run_job(due_ms) => failure,
                () = self.keep_lease(lease) => {
                    tracing::warn!(schedule = self.name, "the lease is lost, the job is broken off");
                    return Ok(());
                }
            },
            None => None,
        };
        entity::finish(&self.db, &self.name, lease, turn, failure).await?;
        Ok(())
    }

    /// What went wrong, if anything did.
    async fn run_job(&self, due_ms: i64) -> Option<String> {
        let span = tracing::info_span!("scheduled", schedule = self.name, due_ms);
        let job = (self.job)(Occurrence { schedule: self.name.clone(), due_ms });
        let failure = match AssertUnwindSafe(job.instrument(span)).catch_unwind().await {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the job panicked".to_owned(),
        };
        tracing::warn!(schedule = self.name, failure, "a scheduled job failed");
        Some(failure)
    }

    /// Ends when the lease is lost. A renewal that fails is tried again until then.
    async fn keep_lease(&self, lease: &str) {
        let mut until_ms = self.lease_until_ms();
        loop {
            sleep(self.lease / 3).await;
            let next_ms = self.lease_until_ms();
            match entity::renew(&self.db, &self.name, lease, next_ms).await {
                Ok(true) => until_ms = next_ms,
                Ok(false) => return,
                Err(_) if clock::now_ms() >= until_ms => return,
                Err(error) => tracing::warn!(schedule = self.name, %error, "the lease could not be renewed"),
            }
        }
    }

    fn lease_until_ms(&self) -> i64 {
        clock::now_ms().saturating_add(clock::ms(self.lease))
    }
}
