//! Publishing as part of a database transaction. What is staged is a row beside the caller's own rows; a relay
//! publishes it after the commit, with confirms, and again until it is confirmed. So nothing is announced that was
//! rolled back, and nothing committed goes unannounced; a crash at the wrong moment announces it twice,
//! under the same message id.

mod claim;
mod entity;
mod relay;
mod wake;

use std::sync::Arc;
use std::time::Duration;

use sea_orm::sea_query::Index;
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, DatabaseConnection, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, Schema,
};
use tokio::sync::Notify;

pub use relay::{Relay, RelayOptions};

use crate::clock;
use crate::database::{Change, Migrations};
use crate::error::Error;
use crate::message::Message;
use crate::publisher::Publisher;

/// The outbox's table.
const MIGRATIONS: Migrations = Migrations::new("leveret_outbox", &[create]);

/// Rows of one insert: SQLite allows 32,766 values in a statement, and a row has at most 20.
const ROWS_A_STATEMENT: usize = 500;

/// The outbox of one database, in the table `leveret_outbox`. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    db: DatabaseConnection,
    staged: Arc<Notify>,
}

/// How much waits in an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Messages not yet confirmed by the broker.
    pub unsent: u64,
    /// How long the oldest of them has been waiting.
    pub oldest: Option<Duration>,
}

impl Outbox {
    /// Opens the outbox and makes its table where there is none.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn open(db: DatabaseConnection) -> Result<Self, Error> {
        MIGRATIONS.run(&db).await?;
        Ok(Self { db, staged: Arc::default() })
    }

    /// Stages a message in the caller's transaction. It is published after the commit; a rollback takes
    /// it back.
    ///
    /// # Errors
    /// The database refuses, or a name or property of the message is too long for AMQP.
    pub async fn stage(&self, tx: &DatabaseTransaction, message: Message) -> Result<(), Error> {
        self.stage_after(tx, message, Duration::ZERO).await
    }

    /// Stages a message that is not to be published before `delay` has passed.
    ///
    /// # Errors
    /// As [`stage`](Self::stage).
    pub async fn stage_after(
        &self,
        tx: &DatabaseTransaction,
        message: Message,
        delay: Duration,
    ) -> Result<(), Error> {
        let row = row(message, clock::now_ms(), delay)?;
        entity::Entity::insert(row).exec_without_returning(tx).await?;
        Ok(())
    }

    /// Stages a message that is published only after all messages staged before it under the same `key` (at most 255
    /// bytes): each waits for the confirm of the one before. Of transactions that run at once, the order is that of
    /// their calls to this, so those that must not change places should lock a row of their own first.
    ///
    /// # Errors
    /// As [`stage`](Self::stage).
    pub async fn stage_in_order(
        &self,
        tx: &DatabaseTransaction,
        key: impl Into<String>,
        message: Message,
    ) -> Result<(), Error> {
        let row = row(message, clock::now_ms(), Duration::ZERO)?;
        let row = entity::ActiveModel { order_key: Set(Some(key.into())), ..row };
        entity::Entity::insert(row).exec_without_returning(tx).await?;
        Ok(())
    }

    /// Stages several messages with one statement for some hundred of them.
    ///
    /// # Errors
    /// As [`stage`](Self::stage).
    pub async fn stage_all(&self, tx: &DatabaseTransaction, messages: Vec<Message>) -> Result<(), Error> {
        let now_ms = clock::now_ms();
        let rows = messages.into_iter().map(|message| row(message, now_ms, Duration::ZERO));
        let rows = rows.collect::<Result<Vec<_>, _>>()?;
        for rows in rows.chunks(ROWS_A_STATEMENT) {
            entity::Entity::insert_many(rows.to_vec()).exec_without_returning(tx).await?;
        }
        Ok(())
    }

    /// Commits the caller's transaction and wakes the relays: in this process, and on PostgreSQL in all others too. With
    /// the transaction's own `commit` they find the message at their next look, which comes 500 ms later at most
    /// unless set otherwise.
    ///
    /// # Errors
    /// The commit failed.
    pub async fn commit(&self, tx: DatabaseTransaction) -> Result<(), Error> {
        wake::others(&tx).await?;
        tx.commit().await?;
        self.staged.notify_one();
        Ok(())
    }

    /// How much waits. A growing age of the oldest is the sign that the relay or the broker is in trouble.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn depth(&self) -> Result<Depth, Error> {
        let unsent = entity::Entity::find().filter(entity::Column::SentMs.is_null());
        let oldest_ms: Option<i64> = unsent
            .clone()
            .select_only()
            .column(entity::Column::CreatedMs)
            .order_by_asc(entity::Column::SentMs)
            .order_by_asc(entity::Column::Id)
            .into_tuple()
            .one(&self.db)
            .await?;
        let oldest = oldest_ms.map(|since_ms| (clock::now_ms() - since_ms).max(0).unsigned_abs());
        Ok(Depth { unsent: unsent.count(&self.db).await?, oldest: oldest.map(Duration::from_millis) })
    }

    /// Starts a relay. Several may run at once, in one process or many.
    pub fn relay(&self, publisher: Publisher, options: RelayOptions) -> Relay {
        Relay::start(self.clone(), publisher, options)
    }
}

/// The row carries the trace that it is staged in, so the relay's publish belongs to that.
fn row(message: Message, now_ms: i64, delay: Duration) -> Result<entity::ActiveModel, Error> {
    let message = message.traced();
    let properties = message.properties().to_amqp()?;
    Ok(entity::ActiveModel {
        id: NotSet,
        message_id: Set(message.message_id().to_owned()),
        exchange: Set(message.exchange().to_owned()),
        routing_key: Set(message.routing_key().to_owned()),
        body: Set(message.body().to_vec()),
        properties: Set(serde_json::to_string(&properties)?),
        mandatory: Set(message.is_mandatory()),
        created_ms: Set(now_ms),
        due_ms: Set(due_ms(now_ms, delay)),
        attempts: Set(0),
        last_error: Set(None),
        lease: Set(None),
        lease_until_ms: Set(0),
        sent_ms: Set(None),
        order_key: Set(None),
    })
}

/// Without a delay it is due whatever the relay's clock says: this one's may be ahead of it.
fn due_ms(now_ms: i64, delay: Duration) -> i64 {
    if delay.is_zero() { 0 } else { now_ms.saturating_add(clock::ms(delay)) }
}

fn create(schema: &Schema) -> Vec<Change> {
    let index = |name, first| {
        let (table, id) = (entity::Entity, entity::Column::Id);
        Index::create().name(name).table(table).col(first).col(id).to_owned()
    };
    vec![
        Change::table(schema, entity::Entity),
        Change::CreateIndex(Box::new(index("leveret_outbox_unsent", entity::Column::SentMs))),
        Change::CreateIndex(Box::new(index("leveret_outbox_order", entity::Column::OrderKey))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_delayed_heeds_the_clock_of_who_staged_it() {
        let due_ms = |delay| row(Message::text("", "q", "x"), 1000, delay).unwrap().due_ms;
        assert_eq!(due_ms(Duration::ZERO), Set(0));
        assert_eq!(due_ms(Duration::from_millis(5)), Set(1005));
    }
}
