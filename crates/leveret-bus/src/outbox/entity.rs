//! One row a staged message. A row is unsent while `sent_ms` is null, and free to be taken while its lease
//! has run out.
#![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "leveret_outbox")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub message_id: String,
    pub exchange: String,
    pub routing_key: String,
    #[sea_orm(column_type = "Blob")]
    pub body: Vec<u8>,
    /// The AMQP properties as JSON.
    #[sea_orm(column_type = "Text")]
    pub properties: String,
    pub mandatory: bool,
    pub created_ms: i64,
    /// Not to be published before.
    pub due_ms: i64,
    /// Publishes that failed.
    pub attempts: i32,
    #[sea_orm(column_type = "Text", nullable)]
    pub last_error: Option<String>,
    /// Names the round of the relay that has taken the row. Whoever marks it must still hold this lease.
    pub lease: Option<String>,
    pub lease_until_ms: i64,
    pub sent_ms: Option<i64>,
    /// Rows of one key are published one after the other, in the order of their ids.
    pub order_key: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
