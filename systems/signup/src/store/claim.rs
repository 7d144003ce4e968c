//! One row a message, so that its mail is sent once. Whoever sends holds a lease meanwhile; `sent_ms` ends it for
//! good. A sender that died leaves its lease to run out, after which the mail may be sent by another.

use std::time::Duration;

use leveret_bus::{clock, database};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use uuid::Uuid;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_mail")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub message_id: String,
    pub user_id: i64,
    pub lease: String,
    pub lease_until_ms: i64,
    pub sent_ms: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The answer to a claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Send it; this is the lease.
    Mine(Lease),
    /// It has been sent.
    Sent,
    /// Somebody is at it, until then at the latest.
    Busy { until_ms: i64 },
}

/// The right to send one message's mail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    message_id: String,
    token: String,
}

/// Claims a message's mail for as long as `lease`.
pub(crate) async fn claim(
    db: &impl ConnectionTrait,
    message_id: &str,
    user_id: i64,
    lease: Duration,
) -> Result<Claim, DbErr> {
    let now_ms = clock::now_ms();
    let token = Uuid::now_v7().to_string();
    let row = ActiveModel {
        message_id: Set(message_id.to_owned()),
        user_id: Set(user_id),
        lease: Set(token.clone()),
        lease_until_ms: Set(now_ms.saturating_add(clock::ms(lease))),
        sent_ms: Set(None),
    };
    let mine = Lease { message_id: message_id.to_owned(), token };
    if database::insert_if_absent(db, row, [Column::MessageId]).await? {
        return Ok(Claim::Mine(mine));
    }
    let taken_over = Entity::update_many()
        .col_expr(Column::Lease, Expr::value(mine.token.as_str()))
        .col_expr(Column::LeaseUntilMs, Expr::value(now_ms.saturating_add(clock::ms(lease))))
        .filter(Column::MessageId.eq(message_id))
        .filter(Column::SentMs.is_null())
        .filter(Column::LeaseUntilMs.lte(now_ms))
        .exec(db)
        .await?;
    if taken_over.rows_affected == 1 {
        return Ok(Claim::Mine(mine));
    }
    let present = Entity::find_by_id(message_id).one(db).await?;
    Ok(match present {
        Some(Model { sent_ms: Some(_), .. }) => Claim::Sent,
        Some(row) => Claim::Busy { until_ms: row.lease_until_ms },
        None => Claim::Busy { until_ms: now_ms },
    })
}

/// Notes that the mail was sent. The mail server has said so, so this holds even if the lease is lost by now.
pub(crate) async fn sent(db: &impl ConnectionTrait, lease: &Lease) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::SentMs, Expr::value(clock::now_ms()))
        .filter(Column::MessageId.eq(lease.message_id.as_str()))
        .filter(Column::SentMs.is_null())
        .exec(db)
        .await?;
    Ok(())
}

/// Gives the lease back after a failure.
pub(crate) async fn release(db: &impl ConnectionTrait, lease: &Lease) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::LeaseUntilMs, Expr::value(0_i64))
        .filter(Column::MessageId.eq(lease.message_id.as_str()))
        .filter(Column::Lease.eq(lease.token.as_str()))
        .exec(db)
        .await?;
    Ok(())
}

/// The rows of these users.
pub(crate) async fn of(db: &impl ConnectionTrait, user_ids: &[i64]) -> Result<Vec<Model>, DbErr> {
    Entity::find().filter(Column::UserId.is_in(user_ids.iter().copied())).all(db).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn table() -> DatabaseConnection {
        let db = database::connect("sqlite::memory:").await.unwrap();
        super::super::MIGRATIONS.run(&db).await.unwrap();
        db
    }

    #[tokio::test]
    async fn one_claims_and_the_other_waits_until_it_is_sent() {
        let db = table().await;
        let Claim::Mine(lease) = claim(&db, "m", 1, LONG).await.unwrap() else { panic!("not mine") };
        assert!(matches!(claim(&db, "m", 1, LONG).await.unwrap(), Claim::Busy { .. }));
        sent(&db, &lease).await.unwrap();
        assert_eq!(claim(&db, "m", 1, LONG).await.unwrap(), Claim::Sent);
    }

    #[tokio::test]
    async fn a_lease_given_back_or_run_out_can_be_claimed() {
        let db = table().await;
        let Claim::Mine(lease) = claim(&db, "m", 1, LONG).await.unwrap() else { panic!("not mine") };
        release(&db, &lease).await.unwrap();
        let again = claim(&db, "m", 1, Duration::ZERO).await.unwrap();
        assert!(matches!(again, Claim::Mine(_)), "{again:?}");
        assert!(matches!(claim(&db, "m", 1, LONG).await.unwrap(), Claim::Mine(_)));
        // The first lease is long gone: giving it back again takes nothing from the present holder.
        release(&db, &lease).await.unwrap();
        assert!(matches!(claim(&db, "m", 1, LONG).await.unwrap(), Claim::Busy { .. }));
    }
}
