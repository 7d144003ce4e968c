//! A's tables, under the notes' names: the accounts in `usermoney`, the log of transfers in `translog`. A log row's
//! `status` is the verdict: every change of it asks that it is still 0, so that of the callback and the time-out one wins,
//! whoever is late.
#![allow(unreachable_pub, reason = "the entities' derived code needs them public")]

use leveret_bus::clock;
use leveret_bus::database::{self, Change, Migrations};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::prelude::*;
use sea_orm::sea_query::{LockBehavior, LockType};
use sea_orm::{DatabaseTransaction, QueryOrder, QuerySelect, Schema, UpdateMany};

use crate::books::{self, Account, Books, Entry, Status};
use crate::transfer::Transfer;

pub(crate) const MIGRATIONS: Migrations = Migrations::new("transfer_a", &[create_accounts, create_log]);

pub(crate) mod usermoney {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "usermoney")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_name: String,
        /// In cents.
        #[sea_orm(default_value = 0)]
        pub user_money: i64,
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
        #[sea_orm(primary_key)]
        pub tid: i64,
        pub from: String,
        pub to: String,
        /// In cents.
        pub money: i64,
        /// 0 waiting, 1 ok, 2 failed.
        #[sea_orm(default_value = 0)]
        pub status: Status,
        /// 1 once the money of a failed transfer is back.
        #[sea_orm(default_value = 0)]
        pub isback: i32,
        pub updatetime: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

use translog::Column as Log;
use usermoney::Column as User;

impl From<translog::Model> for Entry {
    fn from(row: translog::Model) -> Self {
        let transfer = Transfer { tid: row.tid, from: row.from, to: row.to, money: row.money };
        Self { transfer, status: row.status, is_back: row.isback == 1, updated_ms: row.updatetime }
    }
}

/// Opens an account; false when there is one of this name.
pub(crate) async fn open_account(db: &impl ConnectionTrait, name: &str, money: i64) -> Result<bool, DbErr> {
    let row = usermoney::ActiveModel {
        user_name: Set(name.to_owned()),
        user_money: Set(money),
        opened_money: Set(money),
    };
    database::insert_if_absent(db, row, [User::UserName]).await
}

/// Takes money out of an account, or puts it back with a minus: false when there is too little, or no such account.
pub(crate) async fn debit(db: &impl ConnectionTrait, name: &str, cents: i64) -> Result<bool, DbErr> {
    books::put::<usermoney::Entity>(db, (User::UserName, name), User::UserMoney, -cents).await
}

pub(crate) async fn log(
    db: &impl ConnectionTrait,
    from: &str,
    to: &str,
    money: i64,
) -> Result<Transfer, DbErr> {
    let row = translog::ActiveModel {
        tid: NotSet,
        from: Set(from.to_owned()),
        to: Set(to.to_owned()),
        money: Set(money),
        status: Set(Status::Pending),
        isback: Set(0),
        updatetime: Set(clock::now_ms()),
    };
    Ok(Entry::from(row.insert(db).await?).transfer)
}

pub(crate) async fn find(db: &impl ConnectionTrait, tid: i64) -> Result<Option<Entry>, DbErr> {
    Ok(translog::Entity::find_by_id(tid).one(db).await?.map(Entry::from))
}

/// The callback's move, 0 to 1. False when the row is anything but 0.
pub(crate) async fn succeed(db: &impl ConnectionTrait, tid: i64) -> Result<bool, DbErr> {
    database::changed_one(db, decide(Status::Ok).filter(Log::Tid.eq(tid))).await
}

/// The time-out's move, 0 to 2, for all that are older. Says how many.
pub(crate) async fn fail_older(db: &impl ConnectionTrait, before_ms: i64) -> Result<u64, DbErr> {
    Ok(decide(Status::Failed).filter(Log::Updatetime.lt(before_ms)).exec(db).await?.rows_affected)
}

fn decide(verdict: Status) -> UpdateMany<translog::Entity> {
    translog::Entity::update_many()
        .col_expr(Log::Status, Expr::value(verdict))
        .col_expr(Log::Updatetime, Expr::value(clock::now_ms()))
        .filter(Log::Status.eq(Status::Pending))
}

/// Failed rows whose money is not back, taken so that no other copy of A takes them too.
pub(crate) async fn take_failed(tx: &DatabaseTransaction, limit: u64) -> Result<Vec<Transfer>, DbErr> {
    let rows = not_back().limit(limit).lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
    Ok(rows.all(tx).await?.into_iter().map(|row| Entry::from(row).transfer).collect())
}

fn not_back() -> Select<translog::Entity> {
    translog::Entity::find().filter(Log::Status.eq(Status::Failed)).filter(Log::Isback.eq(0))
}

/// Notes that the money is back; false when it was already.
pub(crate) async fn mark_back(tx: &DatabaseTransaction, tid: i64) -> Result<bool, DbErr> {
    let marking = translog::Entity::update_many().col_expr(Log::Isback, Expr::value(1));
    let marking = marking.filter(Log::Tid.eq(tid)).filter(Log::Status.eq(Status::Failed));
    database::changed_one(tx, marking.filter(Log::Isback.eq(0))).await
}

/// What is pending and was written between these times.
pub(crate) async fn pending(
    db: &impl ConnectionTrait,
    from_ms: i64,
    until_ms: i64,
    limit: u64,
) -> Result<Vec<Transfer>, DbErr> {
    let rows = translog::Entity::find()
        .filter(Log::Status.eq(Status::Pending))
        .filter(Log::Updatetime.between(from_ms, until_ms))
        .order_by_asc(Log::Tid)
        .limit(limit);
    Ok(rows.all(db).await?.into_iter().map(|row| Entry::from(row).transfer).collect())
}

pub(crate) async fn books(tx: &DatabaseTransaction) -> Result<Books, DbErr> {
    let (users, log) = (usermoney::Entity::find, translog::Entity::find);
    let pending = log().filter(Log::Status.eq(Status::Pending)).count(tx).await?;
    let accounts = users().order_by_asc(User::UserName).limit(Books::LISTED).all(tx).await?;
    let transfers = log().order_by_desc(Log::Tid).limit(Books::LISTED).all(tx).await?;
    let account = |user: usermoney::Model| Account { name: user.user_name, money: user.user_money };
    Ok(Books {
        company: "A".into(),
        opened: books::sum(tx, users(), User::OpenedMoney).await?,
        balances: books::sum(tx, users(), User::UserMoney).await?,
        moved: books::sum(tx, log().filter(Log::Isback.eq(0)), Log::Money).await?,
        open: pending + not_back().count(tx).await?,
        accounts: accounts.into_iter().map(account).collect(),
        transfers: transfers.into_iter().map(Entry::from).collect(),
    })
}

fn create_accounts(schema: &Schema) -> Vec<Change> {
    vec![Change::table(schema, usermoney::Entity)]
}

fn create_log(schema: &Schema) -> Vec<Change> {
    vec![
        Change::table(schema, translog::Entity),
        Change::index("translog_status", translog::Entity, [Log::Status, Log::Isback, Log::Updatetime]),
    ]
}
