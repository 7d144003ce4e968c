//! Doing a thing outside the database once, though its message may come twice: sending a mail, say. Whoever does it
//! holds a lease meanwhile, and that it is done ends the lease for good. A holder that died leaves its lease to run out,
//! after which another may do it. One window is left: who dies after the thing was done, and before that is written
//! down, leaves it to be done again.

use std::time::Duration;

use sea_orm::prelude::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, Schema, UpdateMany,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::clock;
use crate::database::{self, Change, Migrations, changed_one, insert_if_absent};
use crate::error::Error;

/// The leases' table.
const MIGRATIONS: Migrations = Migrations::new("leveret_lease", &[create]);

/// The pause before a lease that another holds is looked at again.
const SHORTEST_LOOK_MS: i64 = 10;
const LONGEST_LOOK_MS: i64 = 1000;

/// What a claim found.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Claim {
    /// Do it. Then end the lease by [`done`](Lease::done), or give it back by [`release`](Lease::release).
    Mine(Lease),
    /// It was done before.
    Done,
    /// Another is at it, until then at the latest.
    Busy {
        /// Milliseconds since 1970 UTC.
        until_ms: i64,
    },
}

/// The right to do the thing that one message asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    consumer: String,
    message_id: String,
    token: String,
}

/// Makes the table `leveret_lease` where there is none.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn migrate(db: &DatabaseConnection) -> Result<(), Error> {
    MIGRATIONS.run(db).await
}

/// Claims a message for a consumer (any name that tells apart those who do different work for the same message). The
/// lease is as long as `length`, which has to be longer than the thing can take: what is still being done when its lease
/// runs out may be done by another as well.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn claim(
    db: &impl ConnectionTrait,
    consumer: &str,
    message_id: &str,
    length: Duration,
) -> Result<Claim, Error> {
    let now_ms = clock::now_ms();
    let until_ms = now_ms.saturating_add(clock::ms(length));
    let token = Uuid::now_v7().to_string();
    let row = entity::ActiveModel {
        consumer: sea_orm::Set(consumer.to_owned()),
        message_id: sea_orm::Set(message_id.to_owned()),
        token: sea_orm::Set(token.clone()),
        lease_until_ms: sea_orm::Set(until_ms),
        done_ms: sea_orm::Set(None),
    };
    let mine = Lease { consumer: consumer.to_owned(), message_id: message_id.to_owned(), token };
    let run_out = mine
        .update_open()
        .col_expr(entity::Column::Token, Expr::value(mine.token.as_str()))
        .col_expr(entity::Column::LeaseUntilMs, Expr::value(until_ms))
        .filter(entity::Column::LeaseUntilMs.lte(now_ms));
    let key = [entity::Column::Consumer, entity::Column::MessageId];
    if insert_if_absent(db, row, key).await? || changed_one(db, run_out).await? {
        return Ok(Claim::Mine(mine));
    }
    let present = entity::Entity::find_by_id((consumer.to_owned(), message_id.to_owned())).one(db).await?;
    Ok(match present {
        Some(entity::Model { done_ms: Some(_), .. }) => Claim::Done,
        Some(row) => Claim::Busy { until_ms: row.lease_until_ms },
        None => Claim::Busy { until_ms: now_ms },
    })
}

/// Claims a message as [`claim`] does, and waits while another holds it, though not for longer than a lease is: one that
/// lasts longer was taken before the clock was set back, and is not worth a worker's place.
///
/// # Errors
/// As [`claim`].
pub async fn wait(
    db: &DatabaseConnection,
    consumer: &str,
    message_id: &str,
    length: Duration,
) -> Result<Claim, Error> {
    let deadline = Instant::now() + length;
    loop {
        let claim = claim(db, consumer, message_id, length).await?;
        let Claim::Busy { until_ms } = claim else { return Ok(claim) };
        if Instant::now() >= deadline {
            return Ok(claim);
        }
        let left_ms = (until_ms - clock::now_ms()).clamp(SHORTEST_LOOK_MS, LONGEST_LOOK_MS);
        sleep(Duration::from_millis(left_ms.unsigned_abs())).await;
    }
}

impl Lease {
    /// Writes down that it is done, for good. It is, so this holds even if the lease is another's by now.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn done(&self, db: &impl ConnectionTrait) -> Result<(), Error> {
        let done = self.update_open().col_expr(entity::Column::DoneMs, Expr::value(clock::now_ms()));
        done.exec(db).await?;
        Ok(())
    }

    /// Gives the lease back, so that it can be done at the next attempt.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn release(&self, db: &impl ConnectionTrait) -> Result<(), Error> {
        let back = self.update_open().col_expr(entity::Column::LeaseUntilMs, Expr::value(0_i64));
        back.filter(entity::Column::Token.eq(self.token.as_str())).exec(db).await?;
        Ok(())
    }

    /// A change of the message's row, as long as it is not done.
    fn update_open(&self) -> UpdateMany<entity::Entity> {
        entity::Entity::update_many()
            .filter(entity::Column::Consumer.eq(self.consumer.as_str()))
            .filter(entity::Column::MessageId.eq(self.message_id.as_str()))
            .filter(entity::Column::DoneMs.is_null())
    }
}

/// Forgets what was done before `before_ms` (milliseconds since 1970 UTC), and says how many. A message that comes again
/// after that is taken for a new one.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn forget(db: &DatabaseConnection, before_ms: i64) -> Result<u64, Error> {
    Ok(database::forget::<entity::Entity>(db, entity::Column::DoneMs, before_ms).await?)
}

fn create(schema: &Schema) -> Vec<Change> {
    vec![
        Change::table(schema, entity::Entity),
        Change::index("leveret_lease_done", entity::Entity, [entity::Column::DoneMs]),
    ]
}

mod entity {
    //! One row a message.
    #![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "leveret_lease")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub consumer: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub message_id: String,
        /// Whose lease it is.
        pub token: String,
        pub lease_until_ms: i64,
        pub done_ms: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
