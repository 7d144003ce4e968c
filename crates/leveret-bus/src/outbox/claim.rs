//! Taking rows under a lease, and letting go of them. Everything that a relay says to the database is here; nothing is
//! published. The lease is the fence: what is marked must still carry it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sea_orm::sea_query::{Alias, Expr, ExprTrait, LockBehavior, LockType, Query};
use sea_orm::{
    ColumnTrait, Condition, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait,
    QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::entity::{Column, Entity, Model};
use crate::{clock, database};

/// Rows that purging removes at a time.
const PURGED_AT_A_TIME: u64 = 1000;

/// Rows taken together, in the order of their ids, and the lease that proves it.
pub(super) struct Batch {
    lease: String,
    pub(super) rows: Vec<Model>,
}

/// A row whose publish failed.
pub(super) struct Failure {
    pub(super) id: i64,
    pub(super) error: String,
    /// When it is to be tried again.
    pub(super) due_ms: i64,
}

/// What has become of a batch. Rows that are in neither list go back as they were.
#[derive(Default)]
pub(super) struct Report {
    pub(super) sent: Vec<i64>,
    pub(super) failed: Vec<Failure>,
}

impl Batch {
    /// Takes up to `limit` rows that are due.
    pub(super) async fn take(db: &DatabaseConnection, limit: u64, lease: Duration) -> Result<Self, DbErr> {
        let now_ms = clock::now_ms();
        let mut batch = Self { lease: Uuid::now_v7().to_string(), rows: Vec::new() };
        if db.get_database_backend() == DbBackend::Sqlite && !is_anything_due(db, now_ms).await? {
            return Ok(batch);
        }
        let tx = database::begin(db).await?;
        database::without_compiling(&tx).await?;
        batch.rows = free(limit).filter(due(now_ms)).filter(heads()).all(&tx).await?;
        if batch.rows.is_empty() {
            tx.commit().await?;
            return Ok(batch);
        }
        batch.take_followers(&tx, limit, now_ms).await?;
        Entity::update_many()
            .col_expr(Column::Lease, Expr::value(batch.lease.as_str()))
            .col_expr(Column::LeaseUntilMs, Expr::value(now_ms.saturating_add(clock::ms(lease))))
            .filter(Column::Id.is_in(batch.rows.iter().map(|row| row.id)))
            .exec(&tx)
            .await?;
        tx.commit().await?;
        batch.rows.sort_by_key(|row| row.id);
        Ok(batch)
    }

    /// Takes along what comes behind the keys' first rows. Nobody else can: their first row is ours, and unsent.
    async fn take_followers(
        &mut self,
        tx: &DatabaseTransaction,
        limit: u64,
        now_ms: i64,
    ) -> Result<(), DbErr> {
        let keys: Vec<_> = self.rows.iter().filter_map(|row| row.order_key.clone()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let heads: Vec<i64> =
            self.rows.iter().filter(|row| row.order_key.is_some()).map(|row| row.id).collect();
        let behind = Condition::all()
            .add(Column::SentMs.is_null())
            .add(Column::OrderKey.is_in(keys))
            .add(Column::Id.is_not_in(heads));
        let waiting: Vec<(i64, Option<String>)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::OrderKey])
            .filter(behind.clone())
            .order_by_asc(Column::SentMs)
            .order_by_asc(Column::Id)
            .limit(limit)
            .into_tuple()
            .all(tx)
            .await?;
        let locked = free(limit).filter(behind).filter(Column::LeaseUntilMs.lte(now_ms)).all(tx).await?;
        self.line_up(waiting, locked);
        Ok(())
    }

    /// A row that waits and could not be locked holds up what stands behind it. That may be what was taken for its key's
    /// first row: MySQL locks by what is committed now, but looks for earlier rows as they were a moment before.
    fn line_up(&mut self, waiting: Vec<(i64, Option<String>)>, locked: Vec<Model>) {
        let mut locked: HashMap<i64, Model> = locked.into_iter().map(|row| (row.id, row)).collect();
        let mut held_up = HashSet::new();
        for (id, key) in waiting {
            if held_up.contains(&key) {
                continue;
            }
            match locked.remove(&id) {
                Some(row) => self.rows.push(row),
                None => {
                    self.rows.retain(|row| row.order_key != key || row.id < id);
                    held_up.insert(key);
                }
            }
        }
    }

    /// Writes down what has become of the rows, as far as they are still ours.
    pub(super) async fn settle(
        &self,
        db: &DatabaseConnection,
        report: &Report,
        keep: bool,
    ) -> Result<(), DbErr> {
        let tx = database::begin(db).await?;
        for failure in &report.failed {
            self.postpone(&tx, failure).await?;
        }
        if report.sent.len() + report.failed.len() < self.rows.len() {
            self.give_back(&tx, report).await?;
        }
        // All rows that still carry the lease are sent ones now.
        if keep {
            Entity::update_many()
                .col_expr(Column::SentMs, Expr::value(clock::now_ms()))
                .col_expr(Column::Lease, Expr::value(Option::<String>::None))
                .filter(self.mine())
                .exec(&tx)
                .await?;
        } else {
            Entity::delete_many().filter(self.mine()).exec(&tx).await?;
        }
        tx.commit().await
    }

    async fn postpone(&self, tx: &DatabaseTransaction, failure: &Failure) -> Result<(), DbErr> {
        Entity::update_many()
            .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
            .col_expr(Column::LastError, Expr::value(failure.error.as_str()))
            .col_expr(Column::DueMs, Expr::value(failure.due_ms))
            .col_expr(Column::Lease, Expr::value(Option::<String>::None))
            .col_expr(Column::LeaseUntilMs, Expr::value(0_i64))
            .filter(self.mine())
            .filter(Column::Id.eq(failure.id))
            .exec(tx)
            .await?;
        Ok(())
    }

    async fn give_back(&self, tx: &DatabaseTransaction, report: &Report) -> Result<(), DbErr> {
        let untouched = self.rows.iter().map(|row| row.id).filter(|id| !report.sent.contains(id));
        Entity::update_many()
            .col_expr(Column::Lease, Expr::value(Option::<String>::None))
            .col_expr(Column::LeaseUntilMs, Expr::value(0_i64))
            .filter(self.mine())
            .filter(Column::Id.is_in(untouched))
            .exec(tx)
            .await?;
        Ok(())
    }

    /// The rows that still carry this lease. The range of ids lets the index find them.
    fn mine(&self) -> Condition {
        let id = |row: Option<&Model>| row.map_or(0, |row| row.id);
        let (first, last) = (id(self.rows.first()), id(self.rows.last()));
        Condition::all()
            .add(Column::SentMs.is_null())
            .add(Column::Id.between(first, last))
            .add(Column::Lease.eq(self.lease.as_str()))
    }
}

/// Removes sent rows that are older than `before_ms`, some at a time, so that writers are never kept out for long.
pub(super) async fn purge(db: &DatabaseConnection, before_ms: i64) -> Result<(), DbErr> {
    loop {
        let old: Vec<i64> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::SentMs.lt(before_ms))
            .limit(PURGED_AT_A_TIME)
            .into_tuple()
            .all(db)
            .await?;
        if old.is_empty() {
            return Ok(());
        }
        Entity::delete_many().filter(Column::Id.is_in(old)).exec(db).await?;
    }
}

/// A look without a lock, so that an idle relay does not get in the way of writers on SQLite.
async fn is_anything_due(db: &DatabaseConnection, now_ms: i64) -> Result<bool, DbErr> {
    let rows = Entity::find().select_only().column(Column::Id).filter(due(now_ms)).filter(heads());
    let first = rows.order_by_asc(Column::SentMs).order_by_asc(Column::Id).limit(1);
    let first: Option<i64> = first.into_tuple().one(db).await?;
    Ok(first.is_some())
}

/// Rows in order, locked, without waiting for those that another has locked. The order names both columns of the index
/// over unsent rows, although the first is null in all of them: PostgreSQL would read the whole table otherwise.
fn free(limit: u64) -> sea_orm::Select<Entity> {
    let select = Entity::find().order_by_asc(Column::SentMs).order_by_asc(Column::Id).limit(limit);
    select.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
}

fn due(now_ms: i64) -> Condition {
    Condition::all()
        .add(Column::SentMs.is_null())
        .add(Column::DueMs.lte(now_ms))
        .add(Column::LeaseUntilMs.lte(now_ms))
}

/// Rows without a key, and the first unsent one of each key. A key whose first row is leased or postponed waits.
fn heads() -> Condition {
    let earlier = Alias::new("earlier");
    let of = |column: Column| Expr::col((earlier.clone(), column));
    let row = |column: Column| Expr::col((Entity, column));
    let before = Query::select()
        .expr(Expr::val(1))
        .from_as(Entity, earlier.clone())
        .and_where(of(Column::OrderKey).eq(row(Column::OrderKey)))
        .and_where(of(Column::SentMs).is_null())
        .and_where(of(Column::Id).lt(row(Column::Id)))
        .to_owned();
    Condition::any().add(Column::OrderKey.is_null()).add(Expr::exists(before).not())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, key: &str) -> Model {
        Model {
            id,
            message_id: id.to_string(),
            exchange: String::new(),
            routing_key: String::new(),
            body: Vec::new(),
            properties: String::new(),
            mandatory: true,
            created_ms: 0,
            due_ms: 0,
            attempts: 0,
            last_error: None,
            lease: None,
            lease_until_ms: 0,
            sent_ms: None,
            order_key: Some(key.into()),
        }
    }

    fn lined_up(heads: &[(i64, &str)], waiting: &[(i64, &str)], locked: &[(i64, &str)]) -> Vec<i64> {
        let rows = |list: &[(i64, &str)]| list.iter().map(|(id, key)| row(*id, key)).collect();
        let mut batch = Batch { lease: String::new(), rows: rows(heads) };
        let waiting = waiting.iter().map(|(id, key)| (*id, Some((*key).to_owned()))).collect();
        batch.line_up(waiting, rows(locked));
        let mut ids: Vec<_> = batch.rows.iter().map(|row| row.id).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn nothing_overtakes_a_row_that_another_has_locked() {
        let behind = [(2, "k"), (3, "k"), (5, "l")];
        assert_eq!(lined_up(&[(1, "k"), (4, "l")], &behind, &behind), [1, 2, 3, 4, 5]);
        assert_eq!(lined_up(&[(1, "k"), (4, "l")], &behind, &[(3, "k"), (5, "l")]), [1, 4, 5]);
    }

    #[test]
    fn one_wrongly_taken_for_the_first_of_its_key_waits_too() {
        let waiting = [(2, "k"), (6, "k")];
        assert_eq!(lined_up(&[(5, "k"), (7, "l")], &waiting, &[(6, "k")]), [7]);
        assert_eq!(lined_up(&[(5, "k"), (7, "l")], &waiting, &[(2, "k"), (6, "k")]), [2, 5, 6, 7]);
    }
}
