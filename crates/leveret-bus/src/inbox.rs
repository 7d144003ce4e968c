//! Doing a thing once though its message may come twice. A claim is a row written in the same transaction
//! as the thing itself: both are there or neither.

use sea_orm::{DatabaseConnection, DatabaseTransaction, Schema};

use crate::clock;
use crate::database::{self, Change, Migrations, insert_if_absent};
use crate::error::Error;

/// The inbox's table.
const MIGRATIONS: Migrations = Migrations::new("leveret_inbox", &[create, index_age]);

/// What a claim found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Claim {
    /// The message is new: do the work in this transaction.
    First,
    /// The work was done before: leave it, and answer [`Outcome::Done`](crate::Outcome::Done).
    Duplicate,
}

/// Makes the inbox's table `leveret_inbox` where there is none.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn migrate(db: &DatabaseConnection) -> Result<(), Error> {
    MIGRATIONS.run(db).await
}

/// Claims a message for a consumer (any name that tells apart those who do different work for the same message).
/// The claim counts when the transaction commits and is gone when it rolls back.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn claim(tx: &DatabaseTransaction, consumer: &str, message_id: &str) -> Result<Claim, Error> {
    let row = entity::ActiveModel {
        consumer: sea_orm::Set(consumer.to_owned()),
        message_id: sea_orm::Set(message_id.to_owned()),
        claimed_ms: sea_orm::Set(clock::now_ms()),
    };
    let key = [entity::Column::Consumer, entity::Column::MessageId];
    match insert_if_absent(tx, row, key).await? {
        true => Ok(Claim::First),
        false => Ok(Claim::Duplicate),
    }
}

/// Forgets claims older than `before_ms` (milliseconds since 1970 UTC) and says how many. A message that comes
/// again after that is taken for a new one, so keep claims longer than a message can possibly be under way.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn forget(db: &DatabaseConnection, before_ms: i64) -> Result<u64, Error> {
    Ok(database::forget::<entity::Entity>(db, entity::Column::ClaimedMs, before_ms).await?)
}

fn create(schema: &Schema) -> Vec<Change> {
    vec![Change::table(schema, entity::Entity)]
}

/// For those who forget often.
fn index_age(_: &Schema) -> Vec<Change> {
    vec![Change::index("leveret_inbox_claimed", entity::Entity, [entity::Column::ClaimedMs])]
}

mod entity {
    //! One row a claim.
    #![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "leveret_inbox")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub consumer: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub message_id: String,
        pub claimed_ms: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
