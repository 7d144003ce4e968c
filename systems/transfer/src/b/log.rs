//! B's log of transfers: the notes' table `translog` under A's tid. A row that is 0 is prepared and no more; its
//! `ask_next_ms` says whose turn it is to ask A, and is moved on by whoever takes the turn.
#![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

use leveret_bus::{clock, database};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QueryOrder, QuerySelect};

use crate::books::{Entry, Status};
use crate::transfer::Transfer;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "translog")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tid: i64,
    pub from: String,
    pub to: String,
    /// In cents.
    pub money: i64,
    /// 0 prepared, 1 credited, 2 failed.
    #[sea_orm(default_value = 0)]
    pub status: i32,
    pub updatetime: i64,
    /// How often A was asked without an answer.
    pub asked: i32,
    /// When A may be asked again.
    pub ask_next_ms: i64,
    /// The trace that the transfer belongs to.
    pub trace: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub(crate) fn transfer(&self) -> Transfer {
        Transfer { tid: self.tid, from: self.from.clone(), to: self.to.clone(), money: self.money }
    }

    pub(crate) fn entry(self) -> Entry {
        Entry {
            tid: self.tid,
            from: self.from,
            to: self.to,
            money: self.money,
            status: Status::of(self.status),
            is_back: false,
            updated_ms: self.updatetime,
        }
    }
}

/// Records a transfer that was not known; false when it was.
pub(crate) async fn add(
    db: &impl ConnectionTrait,
    transfer: &Transfer,
    status: i32,
    trace: &str,
    ask_next_ms: i64,
) -> Result<bool, DbErr> {
    let row = ActiveModel {
        tid: Set(transfer.tid),
        from: Set(transfer.from.clone()),
        to: Set(transfer.to.clone()),
        money: Set(transfer.money),
        status: Set(status),
        updatetime: Set(clock::now_ms()),
        asked: Set(0),
        ask_next_ms: Set(ask_next_ms),
        trace: Set(trace.to_owned()),
    };
    database::insert_if_absent(db, row, [Column::Tid]).await
}

pub(crate) async fn find(db: &impl ConnectionTrait, tid: i64) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(tid).one(db).await
}

/// Ends a prepared transfer; false when it has ended before.
pub(crate) async fn end(db: &impl ConnectionTrait, tid: i64, status: i32) -> Result<bool, DbErr> {
    let ended = Entity::update_many()
        .col_expr(Column::Status, Expr::value(status))
        .col_expr(Column::Updatetime, Expr::value(clock::now_ms()))
        .filter(Column::Tid.eq(tid))
        .filter(Column::Status.eq(Status::PENDING))
        .exec(db)
        .await?;
    Ok(ended.rows_affected == 1)
}

/// The prepared transfers about which A may be asked again.
pub(crate) async fn due(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<Model>, DbErr> {
    Entity::find()
        .filter(Column::Status.eq(Status::PENDING))
        .filter(Column::AskNextMs.lte(clock::now_ms()))
        .order_by_asc(Column::AskNextMs)
        .limit(limit)
        .all(db)
        .await
}

/// Takes the turn to ask; false when another has taken it.
pub(crate) async fn take_turn(
    db: &impl ConnectionTrait,
    row: &Model,
    ask_next_ms: i64,
) -> Result<bool, DbErr> {
    let taken = Entity::update_many()
        .col_expr(Column::AskNextMs, Expr::value(ask_next_ms))
        .col_expr(Column::Asked, Expr::col(Column::Asked).add(1))
        .filter(Column::Tid.eq(row.tid))
        .filter(Column::Status.eq(Status::PENDING))
        .filter(Column::Asked.eq(row.asked))
        .exec(db)
        .await?;
    Ok(taken.rows_affected == 1)
}

/// How many are prepared and no more.
pub(crate) async fn open(db: &impl ConnectionTrait) -> Result<u64, DbErr> {
    Entity::find().filter(Column::Status.eq(Status::PENDING)).count(db).await
}

pub(crate) async fn latest(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<Model>, DbErr> {
    Entity::find().order_by_desc(Column::Tid).limit(limit).all(db).await
}
