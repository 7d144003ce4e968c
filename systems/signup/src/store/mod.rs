//! The system's tables, an entity and its queries a file. Times are milliseconds since 1970 UTC.
#![allow(unreachable_pub, reason = "the entities' derived code needs them public")]

pub(crate) mod attempt;
pub(crate) mod claim;
pub(crate) mod notify;
pub(crate) mod user;

use leveret_bus::database::{Change, Migrations};
use sea_orm::Schema;
use sea_orm::sea_query::Index;

pub(crate) const MIGRATIONS: Migrations = Migrations::new("signup", &[create]);

fn create(schema: &Schema) -> Vec<Change> {
    let by_user = Index::create()
        .name("user_attempt_user")
        .table(attempt::Entity)
        .col(attempt::Column::UserId)
        .to_owned();
    vec![
        Change::CreateTable(Box::new(schema.create_table_from_entity(user::Entity))),
        Change::CreateTable(Box::new(schema.create_table_from_entity(notify::Entity))),
        Change::CreateTable(Box::new(schema.create_table_from_entity(claim::Entity))),
        Change::CreateTable(Box::new(schema.create_table_from_entity(attempt::Entity))),
        Change::CreateIndex(Box::new(by_user)),
    ]
}
