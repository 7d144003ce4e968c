//! The notes' table of orders, and the numbers promised to those who may ask twice.
#![allow(unreachable_pub, reason = "the entities' derived code needs them public")]

use leveret_bus::database::{self, Change, Migrations};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DatabaseConnection, DbErr, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Schema,
    prelude::Expr,
};

use crate::desk::Order;

pub(crate) const MIGRATIONS: Migrations =
    Migrations::new("orders", &[create, create_promises, index_promises]);

pub(crate) const CREATED: i32 = 1;
pub(crate) const PAID: i32 = 2;
pub(crate) const CLOSED: i32 = 3;

pub(crate) mod order {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "orders")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub order_id: i64,
        #[sea_orm(unique)]
        pub order_no: String,
        /// 1 created, 2 paid, 3 closed.
        #[sea_orm(default_value = 1)]
        pub order_state: i32,
        /// When it was placed, milliseconds since 1970 UTC.
        pub order_time: i64,
        pub order_user: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod promise {
    //! The order that a request key stands for, written before the order is published: asked again, the same order
    //! is published again, and written once.

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "order_promised")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub request_key: String,
        pub order_no: String,
        pub order_time: i64,
        pub order_user: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What became of one order of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is in the table, now or from before.
    There,
    /// The number belongs to another order, which stays as it is.
    Taken,
}

/// Writes orders in one transaction. What is there already is left alone.
pub(crate) async fn write(db: &DatabaseConnection, orders: &[Order]) -> Result<Vec<Written>, DbErr> {
    let rows = orders.iter().map(|order| order::ActiveModel {
        order_id: NotSet,
        order_no: Set(order.orderno.clone()),
        order_state: Set(CREATED),
        order_time: Set(order.ordertime),
        order_user: Set(order.userid),
    });
    let tx = database::begin(db).await?;
    let insert = order::Entity::insert_many(rows).on_conflict_do_nothing_on([order::Column::OrderNo]);
    insert.exec_without_returning(&tx).await?;
    let numbers = orders.iter().map(|order| order.orderno.as_str());
    let present = order::Entity::find().filter(order::Column::OrderNo.is_in(numbers)).all(&tx).await?;
    tx.commit().await?;
    let is_there = |order: &Order| {
        present.iter().any(|row| {
            row.order_no == order.orderno
                && row.order_user == order.userid
                && row.order_time == order.ordertime
        })
    };
    let judge = |order| if is_there(order) { Written::There } else { Written::Taken };
    Ok(orders.iter().map(judge).collect())
}

/// Moves an order from created to another state; false when it is in any other already, or not there. This is what
/// paying and closing compete for.
pub(crate) async fn decide(db: &impl ConnectionTrait, order_no: &str, state: i32) -> Result<bool, DbErr> {
    let moving = order::Entity::update_many()
        .col_expr(order::Column::OrderState, Expr::value(state))
        .filter(order::Column::OrderNo.eq(order_no))
        .filter(order::Column::OrderState.eq(CREATED));
    database::changed_one(db, moving).await
}

pub(crate) async fn find(db: &impl ConnectionTrait, order_no: &str) -> Result<Option<order::Model>, DbErr> {
    order::Entity::find().filter(order::Column::OrderNo.eq(order_no)).one(db).await
}

pub(crate) async fn latest(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<order::Model>, DbErr> {
    order::Entity::find().order_by_desc(order::Column::OrderId).limit(limit).all(db).await
}

/// How many orders are in each state, all at one moment.
pub(crate) async fn count_by_state(db: &impl ConnectionTrait) -> Result<impl Fn(i32) -> u64, DbErr> {
    let counts = order::Entity::find()
        .select_only()
        .column(order::Column::OrderState)
        .column_as(order::Column::OrderId.count(), "orders")
        .group_by(order::Column::OrderState);
    let counts: Vec<(i32, i64)> = counts.into_tuple().all(db).await?;
    Ok(move |state| counts.iter().find(|(it, _)| *it == state).map_or(0, |(_, orders)| orders.unsigned_abs()))
}

/// The order that a request key stands for: this one, unless another was promised before.
pub(crate) async fn promise(
    db: &impl ConnectionTrait,
    request_key: &str,
    order: Order,
) -> Result<Order, DbErr> {
    let row = promise::ActiveModel {
        request_key: Set(request_key.to_owned()),
        order_no: Set(order.orderno.clone()),
        order_time: Set(order.ordertime),
        order_user: Set(order.userid),
    };
    if database::insert_if_absent(db, row, [promise::Column::RequestKey]).await? {
        return Ok(order);
    }
    let promised = promise::Entity::find_by_id(request_key).one(db).await?;
    Ok(promised.map_or(order, |row| Order {
        userid: row.order_user,
        orderno: row.order_no,
        ordertime: row.order_time,
    }))
}

/// Forgets promises older than this.
pub(crate) async fn forget_promises(db: &impl ConnectionTrait, before_ms: i64) -> Result<(), DbErr> {
    database::forget::<promise::Entity>(db, promise::Column::OrderTime, before_ms).await.map(drop)
}

fn create(schema: &Schema) -> Vec<Change> {
    vec![
        Change::table(schema, order::Entity),
        Change::index("orders_state", order::Entity, [order::Column::OrderState]),
    ]
}

fn create_promises(schema: &Schema) -> Vec<Change> {
    vec![Change::table(schema, promise::Entity)]
}

fn index_promises(_: &Schema) -> Vec<Change> {
    vec![Change::index("order_promised_time", promise::Entity, [promise::Column::OrderTime])]
}
