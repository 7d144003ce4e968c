//! One row a schedule. `next_due_ms` is what is still to be run; whoever holds the lease runs it.
#![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;

use super::missed::Turn;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "leveret_schedule")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub cron: String,
    pub next_due_ms: i64,
    /// Names the run that is at work. Whoever ends or renews it must still hold this lease.
    pub lease: Option<String>,
    pub lease_until_ms: i64,
    pub last_due_ms: Option<i64>,
    /// What went wrong the last time; null when all was well.
    #[sea_orm(column_type = "Text", nullable)]
    pub last_error: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Another expression: its next occurrence counts, and not the old one's. Nothing happens where it stands already.
pub(super) async fn change_cron(
    db: &impl ConnectionTrait,
    name: &str,
    cron: &str,
    next_ms: i64,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::NextDueMs, Expr::value(next_ms))
        .col_expr(Column::Cron, Expr::value(cron))
        .filter(Column::Name.eq(name))
        .filter(Column::Cron.ne(cron))
        .exec(db)
        .await?;
    Ok(())
}

/// Takes the lease on an occurrence. False when another has it, or it is over.
pub(super) async fn take(
    db: &impl ConnectionTrait,
    row: &Model,
    lease: &str,
    now_ms: i64,
    until_ms: i64,
) -> Result<bool, DbErr> {
    let update = Entity::update_many()
        .col_expr(Column::Lease, Expr::value(lease))
        .col_expr(Column::LeaseUntilMs, Expr::value(until_ms))
        .filter(Column::Name.eq(row.name.as_str()))
        .filter(Column::NextDueMs.eq(row.next_due_ms))
        .filter(Column::LeaseUntilMs.lte(now_ms));
    Ok(update.exec(db).await?.rows_affected == 1)
}

/// Renews the lease. False when it is lost.
pub(super) async fn renew(
    db: &impl ConnectionTrait,
    name: &str,
    lease: &str,
    until_ms: i64,
) -> Result<bool, DbErr> {
    let update = Entity::update_many()
        .col_expr(Column::LeaseUntilMs, Expr::value(until_ms))
        .filter(Column::Name.eq(name))
        .filter(Column::Lease.eq(lease));
    Ok(update.exec(db).await?.rows_affected == 1)
}

/// Ends an occurrence, if the lease still holds.
pub(super) async fn finish(
    db: &impl ConnectionTrait,
    name: &str,
    lease: &str,
    turn: &Turn,
    error: Option<String>,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::NextDueMs, Expr::value(turn.next_ms))
        .col_expr(Column::LastDueMs, Expr::value(turn.run_ms))
        .col_expr(Column::LastError, Expr::value(error))
        .col_expr(Column::Lease, Expr::value(Option::<String>::None))
        .col_expr(Column::LeaseUntilMs, Expr::value(0_i64))
        .filter(Column::Name.eq(name))
        .filter(Column::Lease.eq(lease))
        .exec(db)
        .await?;
    Ok(())
}
