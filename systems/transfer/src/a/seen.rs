//! Signatures that callbacks came with, kept for as long as they would be believed, so that none is taken twice.
#![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

use leveret_bus::{clock, database};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use crate::signature::TOLERANCE;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "callback_seen")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub signature: String,
    pub seen_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// True the first time.
pub(crate) async fn is_new(db: &impl ConnectionTrait, signature: &str) -> Result<bool, DbErr> {
    let row = ActiveModel { signature: Set(signature.to_owned()), seen_ms: Set(clock::now_ms()) };
    database::insert_if_absent(db, row, [Column::Signature]).await
}

/// Forgets those that would not be believed any more.
pub(crate) async fn purge(db: &impl ConnectionTrait) -> Result<(), DbErr> {
    let before_ms = clock::now_ms().saturating_sub(clock::ms(TOLERANCE * 2));
    Entity::delete_many().filter(Column::SeenMs.lt(before_ms)).exec(db).await?;
    Ok(())
}
