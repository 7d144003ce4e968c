//! Inserting what may be there already. Each database has its own way to say so, and MySQL's cannot be trusted.

use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, Insert, IntoActiveModel, SqlErr,
    TryInsertResult,
};

/// Inserts a row unless one with the same values in the columns `key`, which must be its primary key or unique, is
/// there. True when it was inserted. The transaction it runs in stays usable either way, and two that insert the
/// same key wait for each other.
///
/// Use this rather than `ON CONFLICT DO NOTHING` where it matters which of the two it was: on MySQL that becomes
/// `ON DUPLICATE KEY UPDATE`, which reports one row affected in both cases, because found rows are counted
/// (`CLIENT_FOUND_ROWS`); and rather than by the error, after which PostgreSQL refuses the rest of the transaction.
///
/// # Errors
/// The database refuses for another reason, or cannot be reached.
pub async fn insert_if_absent<A, C>(
    db: &C,
    row: A,
    key: impl IntoIterator<Item = <A::Entity as EntityTrait>::Column>,
) -> Result<bool, DbErr>
where
    A: ActiveModelTrait,
    C: ConnectionTrait,
    <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
{
    let insert = Insert::one(row);
    if db.get_database_backend() == DbBackend::MySql {
        return match insert.exec_without_returning(db).await {
            Ok(_) => Ok(true),
            Err(error) if is_duplicate(&error) => Ok(false),
            Err(error) => Err(error),
        };
    }
    let inserted = insert.on_conflict_do_nothing_on(key).exec_without_returning(db).await?;
    Ok(matches!(inserted, TryInsertResult::Inserted(1..)))
}

fn is_duplicate(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}
