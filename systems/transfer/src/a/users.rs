//! A's accounts, in the notes' table `usermoney`.
#![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

use leveret_bus::database;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QueryOrder, QuerySelect};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "usermoney")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_name: String,
    /// In cents.
    #[sea_orm(default_value = 0)]
    pub user_money: i64,
    /// What was there when the account was opened, in cents.
    pub opened_money: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Opens an account; false when there is one of this name.
pub(crate) async fn open(db: &impl ConnectionTrait, name: &str, money: i64) -> Result<bool, DbErr> {
    let row =
        ActiveModel { user_name: Set(name.to_owned()), user_money: Set(money), opened_money: Set(money) };
    database::insert_if_absent(db, row, [Column::UserName]).await
}

/// Takes money out where there is enough of it, as the notes do: false when there is not, or no such user.
pub(crate) async fn debit(db: &impl ConnectionTrait, name: &str, money: i64) -> Result<bool, DbErr> {
    let taken = Entity::update_many()
        .col_expr(Column::UserMoney, Expr::col(Column::UserMoney).sub(money))
        .filter(Column::UserName.eq(name))
        .filter(Column::UserMoney.gte(money))
        .exec(db)
        .await?;
    Ok(taken.rows_affected == 1)
}

/// Puts money back.
pub(crate) async fn refund(db: &impl ConnectionTrait, name: &str, money: i64) -> Result<(), DbErr> {
    let put = Entity::update_many()
        .col_expr(Column::UserMoney, Expr::col(Column::UserMoney).add(money))
        .filter(Column::UserName.eq(name))
        .exec(db)
        .await?;
    if put.rows_affected == 1 { Ok(()) } else { Err(DbErr::RecordNotFound(format!("the account of {name}"))) }
}

pub(crate) async fn exists(db: &impl ConnectionTrait, name: &str) -> Result<bool, DbErr> {
    Ok(Entity::find_by_id(name).one(db).await?.is_some())
}

pub(crate) async fn list(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<Model>, DbErr> {
    Entity::find().order_by_asc(Column::UserName).limit(limit).all(db).await
}
