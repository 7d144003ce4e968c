//! B's tables, under the notes' names: the accounts in `umoney`, and in `translog` the transfers under A's tid. A log row
//! that is 0 is prepared and no more; its `ask_next_ms` says when it is somebody's turn to ask A, and is moved on by
//! whoever takes the turn.
#![allow(unreachable_pub, reason = "the entities' derived code needs them public")]

use leveret_bus::clock;
use leveret_bus::database::{self, Change, Migrations};
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{DatabaseTransaction, QueryOrder, QuerySelect, Schema};

use crate::books::{self, Account, Books, Entry, Status};
use crate::transfer::Transfer;

pub(crate) const MIGRATIONS: Migrations = Migrations::new("transfer_b", &[create]);

pub(crate) mod umoney {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "umoney")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub uname: String,
        /// In cents.
        #[sea_orm(default_value = 0)]
        pub umoney: i64,
        /// What was there when the account was opened, in cents.
        pub opened_money: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod translog {
    use sea_orm::entity::prelude::*;

    use crate::books::Status;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "translog")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tid: i64,
        pub from: String,
        pub to: String,
        /// In cents.
        pub money: i64,
        /// 0 prepared, 1 credited, 2 failed.
        #[sea_orm(default_value = 0)]
        pub status: Status,
        pub updatetime: i64,
        /// How often A was asked without an answer.
        pub asked: i32,
        /// When A may be asked again.
        pub ask_next_ms: i64,
        /// The trace that the transfer belongs to.
        pub trace: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use translog::Column as Log;
use umoney::Column as User;

impl From<translog::Model> for Entry {
    fn from(row: translog::Model) -> Self {
        let transfer = Transfer { tid: row.tid, from: row.from, to: row.to, money: row.money };
        Self { transfer, status: row.status, is_back: false, updated_ms: row.updatetime }
    }
}

/// Opens an account; false when there is one of this name.
pub(crate) async fn open_account(db: &impl ConnectionTrait, name: &str, money: i64) -> Result<bool, DbErr> {
    let row =
        umoney::ActiveModel { uname: Set(name.to_owned()), umoney: Set(money), opened_money: Set(money) };
    database::insert_if_absent(db, row, [User::Uname]).await
}

pub(crate) async fn has_account(db: &impl ConnectionTrait, name: &str) -> Result<bool, DbErr> {
    Ok(umoney::Entity::find_by_id(name).one(db).await?.is_some())
}

/// Puts money into an account; false when there is none of this name.
pub(crate) async fn credit(db: &impl ConnectionTrait, name: &str, cents: i64) -> Result<bool, DbErr> {
    books::put::<umoney::Entity>(db, (User::Uname, name), User::Umoney, cents).await
}

/// Records a transfer that was not known; false when it was.
pub(crate) async fn log(
    db: &impl ConnectionTrait,
    transfer: &Transfer,
    status: Status,
    trace: String,
    ask_next_ms: i64,
) -> Result<bool, DbErr> {
    let row = translog::ActiveModel {
        tid: Set(transfer.tid),
        from: Set(transfer.from.clone()),
        to: Set(transfer.to.clone()),
        money: Set(transfer.money),
        status: Set(status),
        updatetime: Set(clock::now_ms()),
        asked: Set(0),
        ask_next_ms: Set(ask_next_ms),
        trace: Set(trace),
    };
    database::insert_if_absent(db, row, [Log::Tid]).await
}

pub(crate) async fn find(db: &impl ConnectionTrait, tid: i64) -> Result<Option<Entry>, DbErr> {
    Ok(translog::Entity::find_by_id(tid).one(db).await?.map(Entry::from))
}

/// Ends a prepared transfer; false when it has ended before.
pub(crate) async fn end(db: &impl ConnectionTrait, tid: i64, status: Status) -> Result<bool, DbErr> {
    let ending = translog::Entity::update_many()
        .col_expr(Log::Status, Expr::value(status))
        .col_expr(Log::Updatetime, Expr::value(clock::now_ms()))
        .filter(Log::Tid.eq(tid))
        .filter(Log::Status.eq(Status::Pending));
    database::changed_one(db, ending).await
}

/// The prepared transfers about which A may be asked again.
pub(crate) async fn due(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<translog::Model>, DbErr> {
    let due = translog::Entity::find()
        .filter(Log::Status.eq(Status::Pending))
        .filter(Log::AskNextMs.lte(clock::now_ms()))
        .order_by_asc(Log::AskNextMs);
    due.limit(limit).all(db).await
}

/// Takes the turn to ask; false when another has taken it.
pub(crate) async fn take_turn(
    db: &impl ConnectionTrait,
    row: &translog::Model,
    ask_next_ms: i64,
) -> Result<bool, DbErr> {
    let taking = translog::Entity::update_many()
        .col_expr(Log::AskNextMs, Expr::value(ask_next_ms))
        .col_expr(Log::Asked, Expr::col(Log::Asked).add(1))
        .filter(Log::Tid.eq(row.tid))
        .filter(Log::Status.eq(Status::Pending))
        .filter(Log::Asked.eq(row.asked));
    database::changed_one(db, taking).await
}

pub(crate) async fn books(tx: &DatabaseTransaction) -> Result<Books, DbErr> {
    let (users, log) = (umoney::Entity::find, translog::Entity::find);
    let accounts = users().order_by_asc(User::Uname).limit(Books::LISTED).all(tx).await?;
    let transfers = log().order_by_desc(Log::Tid).limit(Books::LISTED).all(tx).await?;
    let account = |user: umoney::Model| Account { name: user.uname, money: user.umoney };
    Ok(Books {
        company: "B".into(),
        opened: books::sum(tx, users(), User::OpenedMoney).await?,
        balances: books::sum(tx, users(), User::Umoney).await?,
        moved: books::sum(tx, log().filter(Log::Status.eq(Status::Ok)), Log::Money).await?,
        open: log().filter(Log::Status.eq(Status::Pending)).count(tx).await?,
        accounts: accounts.into_iter().map(account).collect(),
        transfers: transfers.into_iter().map(Entry::from).collect(),
    })
}

fn create(schema: &Schema) -> Vec<Change> {
    vec![
        Change::table(schema, umoney::Entity),
        Change::table(schema, translog::Entity),
        Change::index("translog_turn", translog::Entity, [Log::Status, Log::AskNextMs]),
    ]
}
