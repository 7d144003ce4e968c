//! The relay: takes unsent rows under a lease, publishes them outside any transaction, and marks as sent those that it
//! still holds. A relay that dies leaves its lease to run out, and another takes the rows over.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use lapin::BasicProperties;
use sea_orm::{DatabaseConnection, DbErr};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::claim::{self, Batch, Failure, Report};
use super::entity::Model;
use super::{Outbox, wake};
use crate::clock;
use crate::error::{Error, PublishError};
use crate::message::{Message, Properties};
use crate::meters;
use crate::publisher::Publisher;

/// How often old rows are removed and the depth is measured.
const CHORES_EVERY: Duration = Duration::from_secs(10);
/// Pause before the database is told again what became of a batch.
const SETTLE_PAUSE: Duration = Duration::from_millis(200);

/// How a relay works. All have defaults that suit most.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// Most rows taken at a time. Default 500.
    pub batch: u64,
    /// Batches under way at once: while one is published, the next is fetched and the last is marked. Default 2.
    pub batches: usize,
    /// How often to look without being woken: what other processes stage is found so. Default 500 ms.
    pub poll: Duration,
    /// How long rows stay taken when their relay dies. A relay publishes none of them after that. Twice the
    /// publisher's time-out leaves a slow broker all of that. Default 60 s.
    pub lease: Duration,
    /// Pause before a failed row is tried again, doubled with each failure. Default 1 s.
    pub first_backoff: Duration,
    /// Longest such pause. Default 60 s.
    pub longest_backoff: Duration,
    /// How long sent rows are kept. Zero removes them at once. Default 1 h.
    pub retention: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            batch: 500,
            batches: 2,
            poll: Duration::from_millis(500),
            lease: Duration::from_secs(60),
            first_backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(60),
            retention: Duration::from_secs(3600),
        }
    }
}

/// A running relay. Dropping it stops it after its present batches.
pub struct Relay {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Relay {
    pub(super) fn start(outbox: Outbox, publisher: Publisher, options: RelayOptions) -> Self {
        let stop = CancellationToken::new();
        let meters = meters::Relaying::new();
        let relaying = Relaying { outbox, publisher, options, meters, stop: stop.clone() };
        Self { stop, task: tokio::spawn(relaying.run()) }
    }

    /// Lets the present batches finish, then ends.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "an outbox relay ended badly");
        }
    }

    /// Ends at once, as a process that is killed: what was published is not marked, and comes again when the lease has
    /// run out.
    pub fn abort(self) {
        self.task.abort();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Relaying {
    outbox: Outbox,
    publisher: Publisher,
    options: RelayOptions,
    meters: meters::Relaying,
    stop: CancellationToken,
}

impl Relaying {
    async fn run(self) {
        let rounds = futures_util::future::join_all((0..self.options.batches.max(1)).map(|_| self.rounds()));
        // Neither is broken off: a connection whose answer nobody has read yet is of no use to who gets it next.
        let work = async { tokio::join!(rounds, self.chores()) };
        tokio::select! {
            _ = work => {}
            () = wake::listen(self.db().clone(), self.staged()) => {}
        }
    }

    async fn rounds(&self) {
        while !self.stop.is_cancelled() {
            match self.round().await {
                Ok(0) => self.rest().await,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "outbox relay");
                    self.rest().await;
                }
            }
        }
    }

    async fn rest(&self) {
        let staged = self.staged();
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = staged.notified() => {}
            () = sleep(self.options.poll) => {}
        }
    }

    /// Publishes one batch and says how many rows it had.
    async fn round(&self) -> Result<usize, Error> {
        let lease = self.options.lease;
        let until = Instant::now() + lease;
        let taking = Batch::take(self.db(), self.options.batch, lease);
        let batch = timeout(lease, taking).await.map_err(|_| Error::TimedOut(lease))??;
        if batch.rows.is_empty() {
            return Ok(0);
        }
        let span = tracing::debug_span!("relay", rows = batch.rows.len());
        let report = self.publish(&batch.rows, until).instrument(span).await;
        self.settle(&batch, &report, until).await?;
        Ok(batch.rows.len())
    }

    /// Publishes rows without a key together, and those of a key one after the other: each wave has the next row of
    /// every key. A row that fails keeps those behind it back. What there is no time for while the lease lasts is left
    /// for another round.
    async fn publish(&self, rows: &[Model], until: Instant) -> Report {
        let mut report = Report::default();
        let mut held: HashSet<&str> = HashSet::new();
        let last_start = until - self.publisher.timeout().min(self.options.lease / 2);
        for wave in waves(rows) {
            if Instant::now() > last_start {
                break;
            }
            let free = |row: &&Model| row.order_key.as_deref().is_none_or(|key| !held.contains(key));
            let wave: Vec<&Model> = wave.into_iter().filter(free).collect();
            let answers = self.publish_wave(&wave, until).await;
            for (row, answer) in wave.into_iter().zip(answers) {
                match answer {
                    Ok(()) => report.sent.push(row.id),
                    Err(error) => {
                        held.extend(row.order_key.as_deref());
                        report.failed.push(self.failure(row, &error));
                    }
                }
            }
        }
        self.meters.relayed.increment(report.sent.len() as u64);
        self.meters.failed.increment(report.failed.len() as u64);
        report
    }

    /// One that cannot be read fails alone.
    async fn publish_wave(&self, rows: &[&Model], until: Instant) -> Vec<Result<(), PublishError>> {
        let mut results: Vec<_> = rows.iter().map(|_| Ok(())).collect();
        let mut readable = Vec::with_capacity(rows.len());
        for (row, result) in rows.iter().zip(&mut results) {
            match message(row) {
                Ok(message) => readable.push((message, result)),
                Err(error) => *result = Err(PublishError::Invalid(error.to_string())),
            }
        }
        let (messages, slots): (Vec<_>, Vec<_>) = readable.into_iter().unzip();
        let answers = self.publisher.publish_all_by(messages, until).await;
        for (slot, result) in slots.into_iter().zip(answers) {
            *slot = result;
        }
        results
    }

    fn failure(&self, row: &Model, error: &PublishError) -> Failure {
        tracing::warn!(message_id = row.message_id, %error, "outbox message not published, will be tried again");
        let doublings = row.attempts.clamp(0, 20).unsigned_abs();
        let backoff = self.options.first_backoff.saturating_mul(1 << doublings);
        let backoff = backoff.min(self.options.longest_backoff);
        let due_ms = clock::now_ms().saturating_add(clock::ms(backoff));
        Failure { id: row.id, error: error.to_string(), due_ms }
    }

    /// Tries until the lease has run out: what is not marked is published again.
    async fn settle(&self, batch: &Batch, report: &Report, until: Instant) -> Result<(), Error> {
        let keep = !self.options.retention.is_zero();
        loop {
            let settling = timeout(self.options.lease, batch.settle(self.db(), report, keep)).await;
            match settling.unwrap_or_else(|_| Err(DbErr::Custom("no answer".into()))) {
                Err(error) if Instant::now() < until => {
                    tracing::warn!(%error, "published messages could not be marked, trying again");
                    sleep(SETTLE_PAUSE).await;
                }
                settled => return Ok(settled?),
            }
        }
    }

    /// Removes old rows and measures what waits.
    async fn chores(&self) {
        let mut ticks = interval(CHORES_EVERY);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(error) = self.do_chores().await {
                tracing::warn!(%error, "the outbox could not be tidied");
            }
        }
    }

    async fn do_chores(&self) -> Result<(), Error> {
        let before_ms = clock::now_ms().saturating_sub(clock::ms(self.options.retention));
        claim::purge(self.db(), before_ms).await?;
        let depth = self.outbox.depth().await?;
        self.meters.unsent.set(depth.unsent as f64);
        self.meters.oldest_seconds.set(depth.oldest.unwrap_or_default().as_secs_f64());
        Ok(())
    }

    fn db(&self) -> &DatabaseConnection {
        &self.outbox.db
    }

    fn staged(&self) -> Arc<Notify> {
        Arc::clone(&self.outbox.staged)
    }
}

/// Rows without a key and the first of each key, then the second of each key, and so on.
fn waves(rows: &[Model]) -> Vec<Vec<&Model>> {
    let mut waves: Vec<Vec<&Model>> = Vec::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for row in rows {
        let wave = match row.order_key.as_deref() {
            None => 0,
            Some(key) => {
                let count = seen.entry(key).or_default();
                *count += 1;
                *count - 1
            }
        };
        if waves.len() <= wave {
            waves.push(Vec::new());
        }
        waves[wave].push(row);
    }
    waves
}

fn message(row: &Model) -> Result<Message, Error> {
    let properties: BasicProperties = serde_json::from_str(&row.properties)?;
    let (exchange, key) = (row.exchange.clone(), row.routing_key.clone());
    let properties = Properties::from_amqp(&properties);
    Ok(Message::from_parts(exchange, key, row.body.clone(), properties, row.mandatory))
}
