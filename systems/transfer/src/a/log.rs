//! A's log of transfers, in the notes' table `translog`. `status` is the verdict: every change of it asks that it is
//! still 0, so that of the callback and the time-out one wins, whoever is late.
#![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

use leveret_bus::clock;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{LockBehavior, LockType};
use sea_orm::{DatabaseTransaction, QueryOrder, QuerySelect};

use crate::books::{Entry, Status};
use crate::transfer::Transfer;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "translog")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub tid: i64,
    pub from: String,
    pub to: String,
    /// In cents.
    pub money: i64,
    /// 0 waiting, 1 ok, 2 failed.
    #[sea_orm(default_value = 0)]
    pub status: i32,
    /// 1 once the money of a failed transfer is back.
    #[sea_orm(default_value = 0)]
    pub isback: i32,
    pub updatetime: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub(crate) fn entry(self) -> Entry {
        Entry {
            tid: self.tid,
            from: self.from,
            to: self.to,
            money: self.money,
            status: Status::of(self.status),
            is_back: self.isback == 1,
            updated_ms: self.updatetime,
        }
    }

    pub(crate) fn transfer(&self) -> Transfer {
        Transfer { tid: self.tid, from: self.from.clone(), to: self.to.clone(), money: self.money }
    }
}

pub(crate) async fn add(db: &impl ConnectionTrait, from: &str, to: &str, money: i64) -> Result<Model, DbErr> {
    let row = ActiveModel {
        tid: NotSet,
        from: Set(from.to_owned()),
        to: Set(to.to_owned()),
        money: Set(money),
        status: Set(Status::PENDING),
        isback: Set(0),
        updatetime: Set(clock::now_ms()),
    };
    row.insert(db).await
}

pub(crate) async fn find(db: &impl ConnectionTrait, tid: i64) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(tid).one(db).await
}

/// The callback's move, 0 to 1. False when the row is anything but 0.
pub(crate) async fn succeed(db: &impl ConnectionTrait, tid: i64) -> Result<bool, DbErr> {
    let moved = decide(Status::OK).filter(Column::Tid.eq(tid)).exec(db).await?;
    Ok(moved.rows_affected == 1)
}

/// The time-out's move, 0 to 2, for all that are older. Says how many.
pub(crate) async fn fail_older(db: &impl ConnectionTrait, before_ms: i64) -> Result<u64, DbErr> {
    Ok(decide(Status::FAILED).filter(Column::Updatetime.lt(before_ms)).exec(db).await?.rows_affected)
}

fn decide(verdict: i32) -> sea_orm::UpdateMany<Entity> {
    Entity::update_many()
        .col_expr(Column::Status, Expr::value(verdict))
        .col_expr(Column::Updatetime, Expr::value(clock::now_ms()))
        .filter(Column::Status.eq(Status::PENDING))
}

/// Failed rows whose money is not back, taken so that no other copy of A takes them too.
pub(crate) async fn take_failed(tx: &DatabaseTransaction, limit: u64) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::Status.eq(Status::FAILED))
        .filter(Column::Isback.eq(0))
        .limit(limit)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .all(tx)
        .await
}

/// Notes that the money is back; false when it was already.
pub(crate) async fn mark_back(tx: &DatabaseTransaction, tid: i64) -> Result<bool, DbErr> {
    let marked = Entity::update_many()
        .col_expr(Column::Isback, Expr::value(1))
        .filter(Column::Tid.eq(tid))
        .filter(Column::Status.eq(Status::FAILED))
        .filter(Column::Isback.eq(0))
        .exec(tx)
        .await?;
    Ok(marked.rows_affected == 1)
}

/// What is pending and was written between these times.
pub(crate) async fn pending(
    db: &impl ConnectionTrait,
    from_ms: i64,
    until_ms: i64,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::Status.eq(Status::PENDING))
        .filter(Column::Updatetime.between(from_ms, until_ms))
        .order_by_asc(Column::Tid)
        .limit(limit)
        .all(db)
        .await
}

/// How many have not come to their end here.
pub(crate) async fn open(db: &impl ConnectionTrait) -> Result<u64, DbErr> {
    let pending = Entity::find().filter(Column::Status.eq(Status::PENDING)).count(db).await?;
    let to_refund = Entity::find().filter(Column::Status.eq(Status::FAILED)).filter(Column::Isback.eq(0));
    Ok(pending + to_refund.count(db).await?)
}

pub(crate) async fn latest(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<Model>, DbErr> {
    Entity::find().order_by_desc(Column::Tid).limit(limit).all(db).await
}
