//! Worker ids, leased in the database. A lease keeps others away as long as the clocks are about right; what makes a
//! repeat impossible even when they are not is the reservation: the holder issues no id whose time is at or after
//! `reserved_until_ms`, and whoever takes the worker id over starts there at the earliest.

use sea_orm::sea_query::{Expr, LockBehavior, LockType};
use sea_orm::{
    ColumnTrait, DatabaseConnection, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    Schema,
};
use uuid::Uuid;

use super::sequence::WORKER_BITS;
use crate::database::{self, Change, Migrations, insert_if_absent};
use crate::error::Error;

pub(super) const MIGRATIONS: Migrations = Migrations::new("leveret_worker_id", &[create]);
const WORKERS: i32 = 1 << WORKER_BITS;

/// A worker id that is ours, and from which time on.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) worker: u16,
    pub(super) from_ms: i64,
    owner: String,
}

/// What is written for a lease: until when it keeps others away, and the end of the times that may be used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) lease_until_ms: i64,
    pub(super) reserved_until_ms: i64,
}

impl Lease {
    /// Takes a worker id that nobody holds; its times start at `now_ms` at the earliest and are reserved for
    /// `window_ms`.
    pub(super) async fn take(
        db: &DatabaseConnection,
        now_ms: i64,
        lease_ms: i64,
        window_ms: i64,
    ) -> Result<(Self, Term), Error> {
        let tx = database::begin(db).await?;
        let (worker, used_until_ms) = free(&tx, now_ms).await?;
        let from_ms = now_ms.max(used_until_ms);
        let number = u16::try_from(worker).map_err(|_| Error::NoWorkerId)?;
        let lease = Self { worker: number, from_ms, owner: Uuid::now_v7().to_string() };
        let term = Term { lease_until_ms: now_ms + lease_ms, reserved_until_ms: from_ms + window_ms };
        let mine = term.update(&lease.owner).filter(entity::Column::WorkerId.eq(worker));
        mine.exec(&tx).await?;
        tx.commit().await?;
        Ok((lease, term))
    }

    /// Writes down a new term. False when another has taken the worker id over.
    pub(super) async fn extend(&self, db: &DatabaseConnection, term: Term) -> Result<bool, Error> {
        // The owner stands in the condition, so that "found" and "changed" are the same.
        let mine = term.update(&self.owner).filter(entity::Column::WorkerId.eq(i32::from(self.worker)));
        let mine = mine.filter(entity::Column::Owner.eq(self.owner.as_str()));
        Ok(mine.exec(db).await?.rows_affected == 1)
    }
}

impl Term {
    fn update(self, owner: &str) -> sea_orm::UpdateMany<entity::Entity> {
        entity::Entity::update_many()
            .col_expr(entity::Column::Owner, Expr::value(owner))
            .col_expr(entity::Column::LeaseUntilMs, Expr::value(self.lease_until_ms))
            .col_expr(entity::Column::ReservedUntilMs, Expr::value(self.reserved_until_ms))
    }
}

/// A worker id whose lease has run out, locked, else one never used. With it the time up to which it has been used.
async fn free(tx: &DatabaseTransaction, now_ms: i64) -> Result<(i32, i64), Error> {
    let left = entity::Entity::find()
        .filter(entity::Column::LeaseUntilMs.lte(now_ms))
        .order_by_asc(entity::Column::WorkerId)
        .limit(1)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .one(tx)
        .await?;
    if let Some(row) = left {
        return Ok((row.worker_id, row.reserved_until_ms));
    }
    let highest: Option<i32> = entity::Entity::find()
        .select_only()
        .column(entity::Column::WorkerId)
        .order_by_desc(entity::Column::WorkerId)
        .into_tuple()
        .one(tx)
        .await?;
    // Counted up rather than looked up again: at REPEATABLE READ a second look shows what the first did.
    for worker_id in highest.map_or(0, |highest| highest + 1)..WORKERS {
        let row = entity::ActiveModel {
            worker_id: sea_orm::Set(worker_id),
            owner: sea_orm::Set(String::new()),
            lease_until_ms: sea_orm::Set(0),
            reserved_until_ms: sea_orm::Set(0),
        };
        if insert_if_absent(tx, row, [entity::Column::WorkerId]).await? {
            return Ok((worker_id, 0));
        }
    }
    Err(Error::NoWorkerId)
}

fn create(schema: &Schema) -> Vec<Change> {
    vec![Change::table(schema, entity::Entity)]
}

mod entity {
    //! One row a worker id that was ever used.
    #![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "leveret_worker_id")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub worker_id: i32,
        pub owner: String,
        pub lease_until_ms: i64,
        pub reserved_until_ms: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
