//! Failures to mail a user, counted as the notes do: `notifynum` up to a limit, then `isdone`.

use leveret_bus::{clock, database};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_notify")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: i64,
    /// Failures so far.
    #[sea_orm(default_value = 1)]
    pub notifynum: i32,
    /// 1 when no more mail is to be tried.
    #[sea_orm(default_value = 0)]
    pub isdone: i32,
    pub updatetime: i64,
    /// How many replays have been granted: each starts the count again.
    #[sea_orm(default_value = 0)]
    pub replays: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub(crate) fn gave_up(&self) -> bool {
        self.isdone == 1
    }
}

/// Counts a failure: the first inserts, later ones add 1, the `limit`-th ends it, and after that nothing changes any more.
/// Says what the count is then. To be called in a transaction, so that the count is this failure's.
pub(crate) async fn count_failure(
    db: &impl ConnectionTrait,
    user_id: i64,
    limit: i32,
) -> Result<Model, DbErr> {
    let now_ms = clock::now_ms();
    let row = ActiveModel {
        user_id: Set(user_id),
        notifynum: Set(1),
        isdone: Set(i32::from(limit <= 1)),
        updatetime: Set(now_ms),
        replays: Set(0),
    };
    if !database::insert_if_absent(db, row, [Column::UserId]).await? {
        add_one(db, user_id, limit, now_ms).await?;
    }
    let counted = find(db, user_id).await?;
    counted.ok_or_else(|| DbErr::RecordNotFound(format!("the count of user {user_id}")))
}

/// `isdone` is set before `notifynum`, because MySQL computes each from what those before it have become, and the other
/// databases from what was there.
async fn add_one(db: &impl ConnectionTrait, user_id: i64, limit: i32, now_ms: i64) -> Result<(), DbErr> {
    let next = || Expr::col(Column::Notifynum).add(1);
    Entity::update_many()
        .col_expr(Column::Isdone, Expr::case(next().gte(limit), 1).finally(0).into())
        .col_expr(Column::Notifynum, next())
        .col_expr(Column::Updatetime, Expr::value(now_ms))
        .filter(Column::UserId.eq(user_id))
        .filter(Column::Isdone.eq(0))
        .exec(db)
        .await?;
    Ok(())
}

/// Starts the count again for a replay, unless this replay has been granted before.
pub(crate) async fn grant_replay(db: &impl ConnectionTrait, user_id: i64, replay: i32) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::Notifynum, Expr::value(0))
        .col_expr(Column::Isdone, Expr::value(0))
        .col_expr(Column::Replays, Expr::value(replay))
        .filter(Column::UserId.eq(user_id))
        .filter(Column::Replays.lt(replay))
        .exec(db)
        .await?;
    Ok(())
}

pub(crate) async fn find(db: &impl ConnectionTrait, user_id: i64) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(user_id).one(db).await
}

/// The counts of these users.
pub(crate) async fn of(db: &impl ConnectionTrait, user_ids: &[i64]) -> Result<Vec<Model>, DbErr> {
    Entity::find().filter(Column::UserId.is_in(user_ids.iter().copied())).all(db).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn table() -> DatabaseConnection {
        let db = database::connect("sqlite::memory:").await.unwrap();
        super::super::MIGRATIONS.run(&db).await.unwrap();
        db
    }

    #[tokio::test]
    async fn five_failures_end_it_and_then_nothing_changes() {
        let db = table().await;
        for (number, done) in [(1, 0), (2, 0), (3, 0), (4, 0), (5, 1)] {
            let row = count_failure(&db, 1234, 5).await.unwrap();
            assert_eq!((row.notifynum, row.isdone), (number, done));
        }
        let ended = find(&db, 1234).await.unwrap().unwrap();
        assert_eq!(count_failure(&db, 1234, 5).await.unwrap(), ended);
    }

    #[tokio::test]
    async fn a_limit_of_one_ends_at_once() {
        let db = table().await;
        assert!(count_failure(&db, 1, 1).await.unwrap().gave_up());
    }

    #[tokio::test]
    async fn each_replay_starts_the_count_again_once() {
        let db = table().await;
        for _ in 0..2 {
            count_failure(&db, 1, 2).await.unwrap();
        }
        grant_replay(&db, 1, 1).await.unwrap();
        assert_eq!(count_failure(&db, 1, 2).await.unwrap().notifynum, 1);
        grant_replay(&db, 1, 1).await.unwrap();
        assert!(count_failure(&db, 1, 2).await.unwrap().gave_up());
        grant_replay(&db, 1, 2).await.unwrap();
        assert!(!find(&db, 1).await.unwrap().unwrap().gave_up());
    }
}
