//! Company A: where money leaves, and whose log row holds the verdict on every transfer.

mod company;
mod http;
pub(crate) mod log;
mod running;
mod seen;
mod timers;
pub(crate) mod users;

use leveret_bus::database::{Change, Migrations};
use sea_orm::Schema;
use sea_orm::sea_query::Index;

pub use company::{CompanyA, Verdict};
pub use running::{RunningA, run_a};

pub(crate) const MIGRATIONS: Migrations = Migrations::new("transfer_a", &[create, index_signatures]);

fn create(schema: &Schema) -> Vec<Change> {
    let by_status = Index::create()
        .name("translog_status")
        .table(log::Entity)
        .col(log::Column::Status)
        .col(log::Column::Isback)
        .col(log::Column::Updatetime)
        .to_owned();
    vec![
        Change::CreateTable(Box::new(schema.create_table_from_entity(users::Entity))),
        Change::CreateTable(Box::new(schema.create_table_from_entity(log::Entity))),
        Change::CreateTable(Box::new(schema.create_table_from_entity(seen::Entity))),
        Change::CreateIndex(Box::new(by_status)),
    ]
}

fn index_signatures(_: &Schema) -> Vec<Change> {
    let by_age =
        Index::create().name("callback_seen_ms").table(seen::Entity).col(seen::Column::SeenMs).to_owned();
    vec![Change::CreateIndex(Box::new(by_age))]
}
