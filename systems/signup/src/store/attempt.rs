//! Every attempt to mail somebody, for those who look.

use leveret_bus::clock;
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_attempt")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub attempt_id: i64,
    pub user_id: i64,
    pub message_id: String,
    pub tried_ms: i64,
    /// What went wrong; null when it was sent.
    #[sea_orm(column_type = "Text", nullable)]
    pub error: Option<String>,
    /// When the next attempt is due; null when there is none.
    pub next_due_ms: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Writes an attempt down.
pub(crate) async fn add(
    db: &impl ConnectionTrait,
    user_id: i64,
    message_id: &str,
    error: Option<String>,
    next_due_ms: Option<i64>,
) -> Result<(), DbErr> {
    let row = ActiveModel {
        attempt_id: NotSet,
        user_id: Set(user_id),
        message_id: Set(message_id.to_owned()),
        tried_ms: Set(clock::now_ms()),
        error: Set(error),
        next_due_ms: Set(next_due_ms),
    };
    Entity::insert(row).exec_without_returning(db).await?;
    Ok(())
}

/// When the next attempt with a message is due, as its last attempt had it.
pub(crate) async fn next_due_ms(
    db: &impl ConnectionTrait,
    user_id: i64,
    message_id: &str,
) -> Result<Option<i64>, DbErr> {
    let attempts = Entity::find().filter(Column::UserId.eq(user_id)).filter(Column::MessageId.eq(message_id));
    let last = attempts.order_by_desc(Column::AttemptId).one(db).await?;
    Ok(last.and_then(|attempt| attempt.next_due_ms))
}

/// The attempts of these users, oldest first.
pub(crate) async fn of(db: &impl ConnectionTrait, user_ids: &[i64]) -> Result<Vec<Model>, DbErr> {
    let theirs = Column::UserId.is_in(user_ids.iter().copied());
    Entity::find().filter(theirs).order_by_asc(Column::AttemptId).all(db).await
}
