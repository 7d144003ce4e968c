//! Reading that is right on each database: all of one moment, and sums of one type.

use sea_orm::sea_query::{Alias, Expr, ExprTrait, IntoColumnRef};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, IsolationLevel,
    TransactionTrait,
};

/// Begins a transaction that only reads, and in which everything that is read is of one moment.
///
/// # Errors
/// The database cannot be reached.
pub async fn begin_reading(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    if db.get_database_backend() == DbBackend::Sqlite {
        return db.begin().await;
    }
    db.begin_with_config(Some(IsolationLevel::RepeatableRead), None).await
}

/// The sum of a column of whole numbers, as an `i64`, 0 over no rows. Databases else give it types of their own.
pub fn sum(db: &impl ConnectionTrait, column: impl IntoColumnRef) -> Expr {
    let whole = if db.get_database_backend() == DbBackend::MySql { "SIGNED" } else { "BIGINT" };
    Expr::col(column).sum().if_null(0).cast_as(Alias::new(whole))
}
