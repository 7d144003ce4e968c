//! A question that only one answer can win: paid or closed, confirmed or timed out. Whoever writes the answer first has
//! decided; everybody after that learns what stands. The record is written in the caller's transaction, so the
//! answer and what follows from it come to be together or not at all.
//!
//! # Try, confirm, cancel
//!
//! Two records close the three holes that a reservation with a later confirmation or cancellation has, when messages
//! are late, come twice or overtake each other. Reserving decides `"<id>/try"` for `reserved`; cancelling decides the
//! same record for `refused` before it undoes anything, and then `"<id>"` for `cancelled`:
//!
//! - *Empty rollback* (a cancellation whose reservation never came): the cancellation wins `"<id>/try"`, and there is
//!   nothing to undo.
//! - *Hanging* (a reservation that comes after its cancellation): `refused` stands, and nothing is reserved.
//! - *Idempotency*: the second time, [`Decision::is_new`] is false, and nothing is done again.

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, EntityTrait, QuerySelect, Schema};

use crate::clock;
use crate::database::{self, Change, Migrations, insert_if_absent};
use crate::error::Error;

/// The decisions' table.
const MIGRATIONS: Migrations = Migrations::new("leveret_decision", &[create, index_age]);

/// What stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The outcome that was decided first.
    pub outcome: String,
    /// True when this very call decided it; what follows from the outcome is to be done now, in this transaction.
    pub is_new: bool,
    /// When it was decided, milliseconds since 1970 UTC.
    pub decided_ms: i64,
}

/// Makes the table `leveret_decision` where there is none.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn migrate(db: &DatabaseConnection) -> Result<(), Error> {
    MIGRATIONS.run(db).await
}

/// Decides the question `id` for `outcome`, unless it has been decided, and says what stands. Both are at most 255
/// characters long. Of several at once one decides and the others wait for the end of its transaction: if that rolls
/// back, the next one decides.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn decide(tx: &DatabaseTransaction, id: &str, outcome: &str) -> Result<Decision, Error> {
    loop {
        let decided_ms = clock::now_ms();
        let row = entity::ActiveModel {
            id: sea_orm::Set(id.to_owned()),
            outcome: sea_orm::Set(outcome.to_owned()),
            decided_ms: sea_orm::Set(decided_ms),
        };
        if insert_if_absent(tx, row, [entity::Column::Id]).await? {
            return Ok(Decision { outcome: outcome.to_owned(), is_new: true, decided_ms });
        }
        // With a lock, because a transaction at REPEATABLE READ would not see what was committed since it began.
        if let Some(row) = entity::Entity::find_by_id(id).lock_exclusive().one(tx).await? {
            return Ok(row.into());
        }
        // Forgotten in between: the question is open again.
    }
}

/// What stands on the question `id`, if it has been decided.
///
/// # Errors
/// The database cannot be reached.
pub async fn find(db: &impl ConnectionTrait, id: &str) -> Result<Option<Decision>, Error> {
    Ok(entity::Entity::find_by_id(id).one(db).await?.map(Decision::from))
}

/// Forgets decisions older than `before_ms` (milliseconds since 1970 UTC) and says how many. Their questions are open
/// again after that, so keep them longer than a late answer can possibly be under way.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn forget(db: &DatabaseConnection, before_ms: i64) -> Result<u64, Error> {
    Ok(database::forget::<entity::Entity>(db, entity::Column::DecidedMs, before_ms).await?)
}

impl From<entity::Model> for Decision {
    fn from(row: entity::Model) -> Self {
        Self { outcome: row.outcome, is_new: false, decided_ms: row.decided_ms }
    }
}

fn create(schema: &Schema) -> Vec<Change> {
    vec![Change::table(schema, entity::Entity)]
}

/// For those who forget often.
fn index_age(_: &Schema) -> Vec<Change> {
    vec![Change::index("leveret_decision_decided", entity::Entity, [entity::Column::DecidedMs])]
}

mod entity {
    //! One row a question that has been decided.
    #![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "leveret_decision")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub outcome: String,
        pub decided_ms: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
