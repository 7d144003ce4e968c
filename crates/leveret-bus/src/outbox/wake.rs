//! Waking relays of other processes when something was staged: PostgreSQL carries word of it; on the others they look by
//! themselves.

use std::sync::Arc;

use sea_orm::sqlx::postgres::PgListener;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr};
use tokio::sync::Notify;
use tokio::time::{Duration, sleep};

const CHANNEL: &str = "leveret_outbox";
const NOTIFY: &str = "NOTIFY leveret_outbox";
/// Pause before listening is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Wakes all that listen, when the transaction commits.
pub(super) async fn others(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared(NOTIFY).await?;
    }
    Ok(())
}

/// Passes word on to `staged` for as long as it is awaited. Never ends; on other databases it does nothing.
pub(super) async fn listen(db: DatabaseConnection, staged: Arc<Notify>) {
    if db.get_database_backend() != DbBackend::Postgres {
        return std::future::pending().await;
    }
    loop {
        if let Err(error) = pass_on(&db, &staged).await {
            tracing::warn!(%error, "the outbox's relay cannot listen, it looks by itself until it can");
        }
        sleep(PAUSE).await;
    }
}

async fn pass_on(db: &DatabaseConnection, staged: &Notify) -> Result<(), sea_orm::sqlx::Error> {
    let mut listener = PgListener::connect_with(db.get_postgres_connection_pool()).await?;
    listener.listen(CHANNEL).await?;
    loop {
        listener.recv().await?;
        staged.notify_waiters();
        staged.notify_one();
    }
}
