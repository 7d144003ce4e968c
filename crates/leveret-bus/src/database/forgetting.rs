//! Deleting what is old.

use sea_orm::{ColumnTrait, ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

/// Rows in one statement: a few milliseconds, also where one connection serves all.
const AT_A_TIME: u64 = 1000;

/// Deletes the rows whose time in `age` (milliseconds, with an index) is before `before_ms`, oldest first and some at a time,
/// so that writers are never kept out for long. Says how many.
///
/// # Errors
/// The database refuses or cannot be reached. What was deleted until then stays so.
pub async fn forget<E: EntityTrait>(
    db: &impl ConnectionTrait,
    age: E::Column,
    before_ms: i64,
) -> Result<u64, DbErr> {
    let mut forgotten = 0;
    loop {
        let old = E::find().select_only().column(age).filter(age.lt(before_ms)).order_by_asc(age);
        let last: Option<i64> = old.offset(AT_A_TIME - 1).limit(1).into_tuple().one(db).await?;
        let part = last.map_or_else(|| age.lt(before_ms), |last_ms| age.lte(last_ms));
        forgotten += E::delete_many().filter(part).exec(db).await?.rows_affected;
        if last.is_none() {
            return Ok(forgotten);
        }
    }
}
