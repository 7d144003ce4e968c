//! Inserting what may be there already. Each database has its own way to say so, and MySQL's cannot be trusted.

use sea_orm::sea_query::{Expr, Iden, OnConflict};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, Insert, IntoActiveModel, QueryTrait,
    TryInsertResult,
};

/// What MySQL is told to report as the last inserted id where the row was there already: no row's own.
const WAS_THERE: u64 = u64::MAX;

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
        return insert_on_mysql(db, insert, key).await;
    }
    let inserted = insert.on_conflict_do_nothing_on(key).exec_without_returning(db).await?;
    Ok(matches!(inserted, TryInsertResult::Inserted(1..)))
}

/// Changes nothing where the row is there, but says so by the last inserted id, since the count of rows does not.
async fn insert_on_mysql<A, C, K>(
    db: &C,
    insert: Insert<A>,
    key: impl IntoIterator<Item = K>,
) -> Result<bool, DbErr>
where
    A: ActiveModelTrait,
    C: ConnectionTrait,
    K: Iden + Copy + 'static,
{
    let mut on_conflict = OnConflict::new();
    for column in key {
        let same = Expr::cust_with_exprs(
            format!("IF(LAST_INSERT_ID({WAS_THERE}), ?, ?)"),
            [Expr::col(column), Expr::col(column)],
        );
        on_conflict.value(column, same);
    }
    let statement = insert.into_query().on_conflict(on_conflict).to_owned();
    Ok(db.execute(&statement).await?.last_insert_id() != WAS_THERE)
}
