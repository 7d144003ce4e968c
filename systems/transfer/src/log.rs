//! The log of transfers: `translog` in the notes, in A's database and in B's. A row's `status` is the verdict. Every change of
//! it asks that it is still 0, so that of two who decide one wins, whoever is late.
#![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

use leveret_bus::clock;
use leveret_bus::database::{self, Change};
use leveret_web::trace;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::prelude::*;
use sea_orm::sea_query::{LockBehavior, LockType};
use sea_orm::{DatabaseTransaction, QueryOrder, QuerySelect, Schema, UpdateMany};

use crate::books::{Entry, Status};
use crate::transfer::Transfer;

pub(crate) mod translog {
    use sea_orm::entity::prelude::*;

    use crate::books::Status;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "translog")]
    pub struct Model {
        /// Counted by A; B's rows have A's.
        #[sea_orm(primary_key)]
        pub tid: i64,
        pub from: String,
        pub to: String,
        /// In cents.
        pub money: i64,
        /// 0 waiting (A) or prepared (B), 1 ok, 2 failed.
        #[sea_orm(default_value = 0)]
        pub status: Status,
        /// At A 1 once the money of a failed transfer is back. B has nothing to give back.
        #[sea_orm(default_value = 0)]
        pub isback: i32,
        /// When it last changed; at B also when A was last asked.
        pub updatetime: i64,
        /// The trace that the transfer belongs to.
        pub trace: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) use translog::{Column as Log, Model as Row};

impl From<Row> for Entry {
    fn from(row: Row) -> Self {
        let transfer = Transfer { tid: row.tid, from: row.from, to: row.to, money: row.money };
        Self { transfer, status: row.status, is_back: row.isback == 1, updated_ms: row.updatetime }
    }
}

pub(crate) fn create(schema: &Schema) -> Vec<Change> {
    let by_status = [Log::Status, Log::Isback, Log::Updatetime];
    vec![
        Change::table(schema, translog::Entity),
        Change::index("translog_status", translog::Entity, by_status),
    ]
}

/// Writes a new transfer down at A, which gives it its tid.
pub(crate) async fn begin(db: &impl ConnectionTrait, transfer: &Transfer) -> Result<Row, DbErr> {
    let row = translog::ActiveModel { tid: NotSet, ..new_row(transfer, Status::Pending) };
    row.insert(db).await
}

/// Writes a transfer down at B; false when it was known.
pub(crate) async fn record(
    db: &impl ConnectionTrait,
    transfer: &Transfer,
    status: Status,
) -> Result<bool, DbErr> {
    database::insert_if_absent(db, new_row(transfer, status), [Log::Tid]).await
}

fn new_row(transfer: &Transfer, status: Status) -> translog::ActiveModel {
    translog::ActiveModel {
        tid: Set(transfer.tid),
        from: Set(transfer.from.clone()),
        to: Set(transfer.to.clone()),
        money: Set(transfer.money),
        status: Set(status),
        isback: Set(0),
        updatetime: Set(clock::now_ms()),
        trace: Set(trace::current().header()),
    }
}

pub(crate) async fn find(db: &impl ConnectionTrait, tid: i64) -> Result<Option<Entry>, DbErr> {
    Ok(translog::Entity::find_by_id(tid).one(db).await?.map(Entry::from))
}

/// Newest first.
pub(crate) async fn latest(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<Entry>, DbErr> {
    let rows = translog::Entity::find().order_by_desc(Log::Tid).limit(limit).all(db).await?;
    Ok(rows.into_iter().map(Entry::from).collect())
}

/// The sum of the money of these.
pub(crate) async fn money(db: &impl ConnectionTrait, which: Expr) -> Result<i64, DbErr> {
    let sum = translog::Entity::find().filter(which).select_only().expr(database::sum(db, Log::Money));
    Ok(sum.into_tuple().one(db).await?.unwrap_or(0))
}

/// The move from 0 to ok or failed; false when the row is anything but 0.
pub(crate) async fn end(db: &impl ConnectionTrait, tid: i64, verdict: Status) -> Result<bool, DbErr> {
    database::changed_one(db, decide(verdict).filter(Log::Tid.eq(tid))).await
}

/// The time-out's move at A, 0 to 2, for all that are older. Says how many.
pub(crate) async fn fail_older(db: &impl ConnectionTrait, before_ms: i64) -> Result<u64, DbErr> {
    Ok(decide(Status::Failed).filter(Log::Updatetime.lt(before_ms)).exec(db).await?.rows_affected)
}

fn decide(verdict: Status) -> UpdateMany<translog::Entity> {
    translog::Entity::update_many()
        .col_expr(Log::Status, Expr::value(verdict))
        .col_expr(Log::Updatetime, Expr::value(clock::now_ms()))
        .filter(Log::Status.eq(Status::Pending))
}

/// What is pending and last changed between these times, oldest first.
pub(crate) async fn pending(
    db: &impl ConnectionTrait,
    from_ms: i64,
    until_ms: i64,
    limit: u64,
) -> Result<Vec<Row>, DbErr> {
    let rows = translog::Entity::find().filter(Log::Status.eq(Status::Pending)).filter(Log::Isback.eq(0));
    let rows = rows.filter(Log::Updatetime.between(from_ms, until_ms)).order_by_asc(Log::Updatetime);
    rows.limit(limit).all(db).await
}

/// Takes the turn at B to ask about a pending row; false when another has taken it.
pub(crate) async fn take_turn(db: &impl ConnectionTrait, row: &Row) -> Result<bool, DbErr> {
    let taking = translog::Entity::update_many().col_expr(Log::Updatetime, Expr::value(clock::now_ms()));
    let taking = taking.filter(Log::Tid.eq(row.tid)).filter(Log::Status.eq(Status::Pending));
    database::changed_one(db, taking.filter(Log::Updatetime.eq(row.updatetime))).await
}

/// Failed rows whose money is not back, taken so that no other copy of A takes them too.
pub(crate) async fn take_failed(tx: &DatabaseTransaction, limit: u64) -> Result<Vec<Row>, DbErr> {
    let rows = translog::Entity::find().filter(Log::Status.eq(Status::Failed)).filter(Log::Isback.eq(0));
    rows.limit(limit).lock_with_behavior(LockType::Update, LockBehavior::SkipLocked).all(tx).await
}

/// Notes that the money is back; false when it was already.
pub(crate) async fn mark_back(tx: &DatabaseTransaction, tid: i64) -> Result<bool, DbErr> {
    let marking = translog::Entity::update_many().col_expr(Log::Isback, Expr::value(1));
    let marking = marking.filter(Log::Tid.eq(tid)).filter(Log::Status.eq(Status::Failed));
    database::changed_one(tx, marking.filter(Log::Isback.eq(0))).await
}
