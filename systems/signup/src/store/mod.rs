//! The system's tables, an entity and its queries a file. Times are milliseconds since 1970 UTC.
#![allow(unreachable_pub, reason = "the entities' derived code needs them public")]

pub(crate) mod attempt;
pub(crate) mod notify;
pub(crate) mod user;

use leveret_bus::database::{Change, Migrations};
use sea_orm::Schema;

pub(crate) const MIGRATIONS: Migrations = Migrations::new("signup", &[create]);

fn create(schema: &Schema) -> Vec<Change> {
    vec![
        Change::table(schema, user::Entity),
        Change::table(schema, notify::Entity),
        Change::table(schema, attempt::Entity),
        Change::index("user_attempt_user", attempt::Entity, [attempt::Column::UserId]),
    ]
}
