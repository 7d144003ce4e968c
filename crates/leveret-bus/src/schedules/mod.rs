//! Things that are due by the calendar. Every instance of a program starts the same schedules; for each occurrence one of
//! them holds a lease and runs the job. When an occurrence is over is written in the database, so it is not run again
//! after a restart or when a clock steps back; one whose runner died is run again by another, so a job may run twice
//! and should do no harm the second time.

mod entity;
mod missed;
mod runner;

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use croner::Cron;
use sea_orm::{DatabaseConnection, Schema, Set};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::database::{Change, Migrations, insert_if_absent};
use crate::error::Error;
use runner::Runner;

pub use missed::Missed;

const MIGRATIONS: Migrations = Migrations::new("leveret_schedule", &[create]);

/// The schedules of one database, in the table `leveret_schedule`. Cheap to clone.
#[derive(Clone)]
pub struct Schedules {
    db: DatabaseConnection,
}

/// What a job is run for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// The schedule's name.
    pub schedule: String,
    /// When it was due, milliseconds since 1970 UTC. The same when it is run again after a crash, so it serves as part
    /// of a message id.
    pub due_ms: i64,
}

/// Settings of a schedule before it starts.
pub struct ScheduleBuilder {
    db: DatabaseConnection,
    name: String,
    cron: Cron,
    missed: Missed,
    lease: Duration,
}

impl Schedules {
    /// Opens the schedules and makes their table where there is none.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn open(db: DatabaseConnection) -> Result<Self, Error> {
        MIGRATIONS.run(&db).await?;
        Ok(Self { db })
    }

    /// A schedule by a cron expression in UTC: five fields from the minute on, or six from the second on.
    ///
    /// # Errors
    /// [`Error::Cron`] when the expression cannot be read or never comes true.
    pub fn cron(&self, name: impl Into<String>, expression: &str) -> Result<ScheduleBuilder, Error> {
        let cron: Cron =
            expression.parse().map_err(|error| Error::Cron(format!("{expression:?}: {error}")))?;
        missed::next_after(&cron, clock::now_ms())?;
        let (missed, lease) = (Missed::default(), Duration::from_secs(30));
        Ok(ScheduleBuilder { db: self.db.clone(), name: name.into(), cron, missed, lease })
    }
}

impl ScheduleBuilder {
    /// Sets what becomes of occurrences at which no instance ran. Default: [`Missed::Once`].
    pub fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// Sets how long a job's instance may be silent before another takes over. It is renewed while the job runs. Default
    /// 30 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Starts it. A job that returns an error or panics has had its turn: the error is logged and kept in the table,
    /// and the next occurrence comes as always.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn start<J, F, E>(self, job: J) -> Result<Schedule, Error>
    where
        J: Fn(Occurrence) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + 'static,
    {
        let stop = CancellationToken::new();
        self.write_down().await?;
        let runner = Runner {
            db: self.db,
            name: self.name,
            cron: self.cron,
            missed: self.missed,
            lease: self.lease,
            job,
            stop: stop.clone(),
        };
        Ok(Schedule { stop, task: tokio::spawn(runner.run()) })
    }

    /// Makes the schedule's row, or changes it where another expression stands there.
    async fn write_down(&self) -> Result<(), Error> {
        let next_ms = missed::next_after(&self.cron, clock::now_ms())?;
        let row = entity::ActiveModel {
            name: Set(self.name.clone()),
            cron: Set(self.cron.as_str().to_owned()),
            next_due_ms: Set(next_ms),
            lease: Set(None),
            lease_until_ms: Set(0),
            last_due_ms: Set(None),
            last_error: Set(None),
        };
        if !insert_if_absent(&self.db, row, [entity::Column::Name]).await? {
            entity::change_cron(&self.db, &self.name, self.cron.as_str(), next_ms).await?;
        }
        Ok(())
    }
}

/// A running schedule. Dropping it stops it; [`shutdown`](Self::shutdown) waits for the job at work.
pub struct Schedule {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Schedule {
    /// Ends at once, and breaks off a job at work: another instance runs it again when the lease has run out.
    pub fn abort(self) {
        self.task.abort();
    }

    /// Lets a job at work finish, then ends.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "a schedule ended badly");
        }
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn create(schema: &Schema) -> Vec<Change> {
    vec![Change::table(schema, entity::Entity)]
}
