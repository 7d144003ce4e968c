//! Who signed up.

use leveret_bus::clock;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect, SqlErr};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub user_id: i64,
    pub user_name: String,
    pub email: String,
    /// The address in lower case: what makes two addresses the same.
    #[sea_orm(unique)]
    pub email_key: String,
    pub created_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Adds a user; `None` when the address is taken.
pub(crate) async fn add(db: &impl ConnectionTrait, name: &str, email: &str) -> Result<Option<Model>, DbErr> {
    let row = ActiveModel {
        user_id: NotSet,
        user_name: Set(name.to_owned()),
        email: Set(email.to_owned()),
        email_key: Set(email.to_lowercase()),
        created_ms: Set(clock::now_ms()),
    };
    match row.insert(db).await {
        Ok(user) => Ok(Some(user)),
        Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) async fn find(db: &impl ConnectionTrait, user_id: i64) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(user_id).one(db).await
}

/// The last who signed up, newest first.
pub(crate) async fn latest(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<Model>, DbErr> {
    Entity::find().order_by_desc(Column::UserId).limit(limit).all(db).await
}
