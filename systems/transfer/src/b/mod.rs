//! Company B: where money arrives, once A has said that it may.

mod company;
pub(crate) mod log;
mod receiver;
mod running;
pub(crate) mod users;

use leveret_bus::database::{Change, Migrations};
use sea_orm::Schema;
use sea_orm::sea_query::Index;

pub use company::CompanyB;
pub use running::{RunningB, run_b};

const OPENAPI: &str = include_str!("openapi.json");
const MIGRATIONS: Migrations = Migrations::new("transfer_b", &[create]);

fn create(schema: &Schema) -> Vec<Change> {
    let by_turn = Index::create()
        .name("translog_turn")
        .table(log::Entity)
        .col(log::Column::Status)
        .col(log::Column::AskNextMs)
        .to_owned();
    vec![
        Change::CreateTable(Box::new(schema.create_table_from_entity(users::Entity))),
        Change::CreateTable(Box::new(schema.create_table_from_entity(log::Entity))),
        Change::CreateIndex(Box::new(by_turn)),
    ]
}
