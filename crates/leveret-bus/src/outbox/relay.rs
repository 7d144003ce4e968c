//! The relay: takes unsent rows under a lease, publishes them outside any transaction, and marks as sent those that it
//! still holds. A relay that dies leaves its lease to run out, and another takes the rows over.

use std::sync::Arc;
use std::time::Duration;

use lapin::BasicProperties;
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType};
use sea_orm::{
    ColumnTrait, Condition, DatabaseConnection, DatabaseTransaction, DbErr, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::entity::{Column, Entity, Model};
use crate::clock;
use crate::database;
use crate::error::{Error, PublishError};
use crate::message::{Message, Properties};
use crate::publisher::Publisher;

const PURGE_EVERY: Duration = Duration::from_secs(60);

/// How a relay works. All have defaults that suit most.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// Most rows taken at a time. Default 256.
    pub batch: u64,
    /// How often to look without being woken: what other processes stage is found so. Default 500 ms.
    pub poll: Duration,
    /// How long rows stay taken when their relay dies. Must exceed the publisher's time-out. Default 60 s.
    pub lease: Duration,
    /// Pause before a failed row is tried again, doubled with each failure. Default 1 s.
    pub first_backoff: Duration,
    /// Longest such pause. Default 60 s.
    pub longest_backoff: Duration,
    /// How long sent rows are kept. Default 1 h.
    pub retention: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            batch: 256,
            poll: Duration::from_millis(500),
            lease: Duration::from_secs(60),
            first_backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(60),
            retention: Duration::from_secs(3600),
        }
    }
}

/// A running relay. Dropping it stops it after its present batch.
pub struct Relay {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Relay {
    pub(super) fn start(
        db: DatabaseConnection,
        staged: Arc<Notify>,
        publisher: Publisher,
        options: RelayOptions,
    ) -> Self {
        let stop = CancellationToken::new();
        let relaying = Relaying { db, staged, publisher, options, stop: stop.clone() };
        Self { stop, task: tokio::spawn(relaying.run()) }
    }

    /// Lets the present batch finish, then ends.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "an outbox relay ended badly");
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Relaying {
    db: DatabaseConnection,
    staged: Arc<Notify>,
    publisher: Publisher,
    options: RelayOptions,
    stop: CancellationToken,
}

/// Rows taken together, and the lease that proves it.
struct Batch {
    lease: String,
    rows: Vec<Model>,
}

impl Relaying {
    async fn run(self) {
        let mut purged: Option<Instant> = None;
        while !self.stop.is_cancelled() {
            match self.round().await {
                Ok(0) => self.rest().await,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "outbox relay");
                    self.rest().await;
                }
            }
            if purged.is_none_or(|at| at.elapsed() >= PURGE_EVERY) {
                purged = Some(Instant::now());
                self.purge().await;
            }
        }
    }

    async fn rest(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.staged.notified() => {}
            () = sleep(self.options.poll) => {}
        }
    }

    /// Publishes one batch and says how many rows it had.
    async fn round(&self) -> Result<usize, Error> {
        let batch = self.take().await?;
        if batch.rows.is_empty() {
            return Ok(0);
        }
        let results = self.publish(&batch.rows).await;
        self.mark(&batch, results).await?;
        Ok(batch.rows.len())
    }

    /// Publishes the rows in order. One that cannot be read fails alone.
    async fn publish(&self, rows: &[Model]) -> Vec<Result<(), PublishError>> {
        let mut results: Vec<_> = rows.iter().map(|_| Ok(())).collect();
        let mut readable = Vec::with_capacity(rows.len());
        for (row, result) in rows.iter().zip(&mut results) {
            match message(row) {
                Ok(message) => readable.push((message, result)),
                Err(error) => *result = Err(PublishError::Invalid(error.to_string())),
            }
        }
        let (messages, slots): (Vec<_>, Vec<_>) = readable.into_iter().unzip();
        for (slot, result) in slots.into_iter().zip(self.publisher.publish_all(messages).await) {
            *slot = result;
        }
        results
    }

    async fn take(&self) -> Result<Batch, DbErr> {
        let now_ms = clock::now_ms();
        let lease = Uuid::now_v7().to_string();
        if !self.is_anything_due(now_ms).await? {
            return Ok(Batch { lease, rows: Vec::new() });
        }
        let tx = database::begin(&self.db).await?;
        let rows = Entity::find()
            .filter(due(now_ms))
            .order_by_asc(Column::Id)
            .limit(self.options.batch)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .all(&tx)
            .await?;
        let until_ms = now_ms.saturating_add(clock::ms(self.options.lease));
        Entity::update_many()
            .col_expr(Column::Lease, Expr::value(lease.as_str()))
            .col_expr(Column::LeaseUntilMs, Expr::value(until_ms))
            .filter(Column::Id.is_in(rows.iter().map(|row| row.id)))
            .exec(&tx)
            .await?;
        tx.commit().await?;
        Ok(Batch { lease, rows })
    }

    /// A look without a lock, so that an idle relay does not get in the way of writers.
    async fn is_anything_due(&self, now_ms: i64) -> Result<bool, DbErr> {
        let first: Option<i64> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(due(now_ms))
            .limit(1)
            .into_tuple()
            .one(&self.db)
            .await?;
        Ok(first.is_some())
    }

    async fn mark(&self, batch: &Batch, results: Vec<Result<(), PublishError>>) -> Result<(), DbErr> {
        let tx = database::begin(&self.db).await?;
        let mut sent = Vec::with_capacity(results.len());
        for (row, result) in batch.rows.iter().zip(results) {
            match result {
                Ok(()) => sent.push(row.id),
                Err(error) => self.postpone(&tx, batch, row, &error).await?,
            }
        }
        Entity::update_many()
            .col_expr(Column::SentMs, Expr::value(clock::now_ms()))
            .col_expr(Column::Lease, Expr::value(Option::<String>::None))
            .filter(Column::Id.is_in(sent))
            .filter(Column::Lease.eq(batch.lease.as_str()))
            .exec(&tx)
            .await?;
        tx.commit().await
    }

    async fn postpone(
        &self,
        tx: &DatabaseTransaction,
        batch: &Batch,
        row: &Model,
        error: &PublishError,
    ) -> Result<(), DbErr> {
        tracing::warn!(message_id = row.message_id, %error, "outbox message not published, will be tried again");
        let due_ms = clock::now_ms().saturating_add(clock::ms(self.backoff(row.attempts)));
        Entity::update_many()
            .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
            .col_expr(Column::LastError, Expr::value(error.to_string()))
            .col_expr(Column::DueMs, Expr::value(due_ms))
            .col_expr(Column::Lease, Expr::value(Option::<String>::None))
            .col_expr(Column::LeaseUntilMs, Expr::value(0_i64))
            .filter(Column::Id.eq(row.id))
            .filter(Column::Lease.eq(batch.lease.as_str()))
            .exec(tx)
            .await?;
        Ok(())
    }

    fn backoff(&self, failures: i32) -> Duration {
        let doublings = failures.clamp(0, 20).unsigned_abs();
        self.options.first_backoff.saturating_mul(1 << doublings).min(self.options.longest_backoff)
    }

    async fn purge(&self) {
        let before_ms = clock::now_ms().saturating_sub(clock::ms(self.options.retention));
        let old = Entity::delete_many().filter(Column::SentMs.lt(before_ms));
        if let Err(error) = old.exec(&self.db).await {
            tracing::warn!(%error, "old outbox rows could not be removed");
        }
    }
}

fn due(now_ms: i64) -> Condition {
    Condition::all()
        .add(Column::SentMs.is_null())
        .add(Column::DueMs.lte(now_ms))
        .add(Column::LeaseUntilMs.lte(now_ms))
}

fn message(row: &Model) -> Result<Message, Error> {
    let properties: BasicProperties = serde_json::from_str(&row.properties)?;
    let (exchange, key) = (row.exchange.clone(), row.routing_key.clone());
    let properties = Properties::from_amqp(&properties);
    Ok(Message::from_parts(exchange, key, row.body.clone(), properties, row.mandatory))
}
