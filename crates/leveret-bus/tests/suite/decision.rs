//! One answer wins, and the anomalies of try, confirm and cancel do no harm.

use leveret_bus::{database, decision};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr, Statement};

use crate::support::database::TestDatabase;
use crate::support::soon;

async fn open() -> TestDatabase {
    let database = TestDatabase::new().await;
    decision::migrate(&database.db).await.unwrap();
    database
}

/// Decides in a transaction of its own.
async fn decide(db: &DatabaseConnection, id: &str, outcome: &str) -> decision::Decision {
    let tx = database::begin(db).await.unwrap();
    let decision = decision::decide(&tx, id, outcome).await.unwrap();
    tx.commit().await.unwrap();
    decision
}

#[tokio::test]
async fn the_first_answer_stands() {
    let database = open().await;
    let db = &database.db;
    assert_eq!(decision::find(db, "1").await.unwrap(), None);
    let first = decide(db, "1", "paid").await;
    assert_eq!((first.outcome.as_str(), first.is_new), ("paid", true));
    for outcome in ["closed", "paid"] {
        let later = decide(db, "1", outcome).await;
        assert_eq!((later.outcome.as_str(), later.is_new), ("paid", false));
        assert_eq!(later.decided_ms, first.decided_ms);
    }
    assert!(decide(db, "2", "closed").await.is_new);
    assert_eq!(decision::forget(db, i64::MAX).await.unwrap(), 2);
    database.remove().await;
}

#[tokio::test]
async fn what_is_old_is_forgotten_part_by_part_and_the_rest_stays() {
    let database = open().await;
    let tx = database::begin(&database.db).await.unwrap();
    for question in 0..2500 {
        decision::decide(&tx, &question.to_string(), "ok").await.unwrap();
    }
    tx.commit().await.unwrap();
    let last_ms = decision::find(&database.db, "2499").await.unwrap().unwrap().decided_ms;
    let forgotten = decision::forget(&database.db, last_ms).await.unwrap();
    assert!(forgotten < 2500 && decision::find(&database.db, "2499").await.unwrap().is_some());
    assert_eq!(forgotten + decision::forget(&database.db, i64::MAX).await.unwrap(), 2500);
    database.remove().await;
}

#[tokio::test]
async fn a_decision_rolled_back_is_none() {
    let database = open().await;
    let tx = database::begin(&database.db).await.unwrap();
    assert!(decision::decide(&tx, "1", "failed").await.unwrap().is_new);
    tx.rollback().await.unwrap();
    assert_eq!(decide(&database.db, "1", "ok").await.outcome, "ok");
    database.remove().await;
}

/// A time-out and a late success, many times at once: both learn the same, and one of them decided.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_decides() {
    let database = open().await;
    for question in 0..10 {
        let deciding = (0..8).map(|n| {
            let (db, outcome) = (database.db.clone(), if n % 2 == 0 { "ok" } else { "failed" });
            tokio::spawn(async move { decide(&db, &question.to_string(), outcome).await })
        });
        let mut decisions = Vec::new();
        for one in deciding.collect::<Vec<_>>() {
            decisions.push(soon("decision", one).await.unwrap());
        }
        assert_eq!(decisions.iter().filter(|decision| decision.is_new).count(), 1);
        assert!(decisions.iter().all(|decision| decision.outcome == decisions[0].outcome));
    }
    database.remove().await;
}

/// An account with a free and a reserved part, and the three operations on it as the module's text describes them.
struct Account {
    database: TestDatabase,
}

impl Account {
    async fn new() -> Self {
        let database = open().await;
        let table = "CREATE TABLE account (free INTEGER NOT NULL, reserved INTEGER NOT NULL)";
        database.db.execute_unprepared(table).await.unwrap();
        database.db.execute_unprepared("INSERT INTO account VALUES (100, 0)").await.unwrap();
        Self { database }
    }

    async fn reserve(&self, id: &str) {
        let tx = self.begin().await;
        let tried = decision::decide(&tx, &format!("{id}/try"), "reserved").await.unwrap();
        if tried.is_new {
            change(&tx, -10, 10).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn confirm(&self, id: &str) -> String {
        self.end(id, "confirmed", (0, -10)).await
    }

    async fn cancel(&self, id: &str) -> String {
        self.end(id, "cancelled", (10, -10)).await
    }

    async fn end(&self, id: &str, outcome: &str, (free, reserved): (i32, i32)) -> String {
        let tx = self.begin().await;
        let tried = decision::decide(&tx, &format!("{id}/try"), "refused").await.unwrap();
        let ended = decision::decide(&tx, id, outcome).await.unwrap();
        if tried.outcome == "reserved" && ended.is_new {
            change(&tx, free, reserved).await.unwrap();
        }
        tx.commit().await.unwrap();
        ended.outcome
    }

    async fn begin(&self) -> DatabaseTransaction {
        database::begin(&self.database.db).await.unwrap()
    }

    async fn state(&self) -> (i32, i32) {
        let db = &self.database.db;
        let select = Statement::from_string(db.get_database_backend(), "SELECT free, reserved FROM account");
        let row = db.query_one_raw(select).await.unwrap().unwrap();
        (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap())
    }
}

async fn change(tx: &DatabaseTransaction, free: i32, reserved: i32) -> Result<(), DbErr> {
    let sql = format!("UPDATE account SET free = free + ({free}), reserved = reserved + ({reserved})");
    tx.execute_unprepared(&sql).await.map(drop)
}

#[tokio::test]
async fn empty_rollback_undoes_nothing() {
    let account = Account::new().await;
    assert_eq!(account.cancel("t").await, "cancelled");
    assert_eq!(account.state().await, (100, 0));
    account.database.remove().await;
}

#[tokio::test]
async fn a_reservation_after_its_cancellation_does_not_hang() {
    let account = Account::new().await;
    account.cancel("t").await;
    account.reserve("t").await;
    assert_eq!(account.state().await, (100, 0));
    account.database.remove().await;
}

#[tokio::test]
async fn everything_twice_is_as_once() {
    let account = Account::new().await;
    for _ in 0..2 {
        account.reserve("t").await;
    }
    assert_eq!(account.state().await, (90, 10));
    for _ in 0..2 {
        assert_eq!(account.confirm("t").await, "confirmed");
    }
    // The cancellation that was under way all the time comes too late.
    assert_eq!(account.cancel("t").await, "confirmed");
    assert_eq!(account.state().await, (90, 0));
    account.reserve("u").await;
    for _ in 0..2 {
        assert_eq!(account.cancel("u").await, "cancelled");
    }
    assert_eq!(account.confirm("u").await, "cancelled");
    assert_eq!(account.state().await, (90, 0));
    account.database.remove().await;
}

/// In every order of a reservation, a confirmation and a cancellation, each doubled and all at once, the sum is kept.
#[tokio::test(flavor = "multi_thread")]
async fn at_once_and_in_any_order_the_account_stays_whole() {
    let account = std::sync::Arc::new(Account::new().await);
    for round in 0..5 {
        let id = round.to_string();
        let operations = (0..6).map(|n| {
            let (account, id) = (std::sync::Arc::clone(&account), id.clone());
            tokio::spawn(async move {
                match (n + round) % 3 {
                    0 => account.reserve(&id).await,
                    1 => drop(account.confirm(&id).await),
                    _ => drop(account.cancel(&id).await),
                }
            })
        });
        for operation in operations.collect::<Vec<_>>() {
            soon("operation", operation).await.unwrap();
        }
        let (free, reserved) = account.state().await;
        assert_eq!(reserved, 0, "something hangs");
        assert!(free == 100 || (100 - free) % 10 == 0, "{free}");
    }
    std::sync::Arc::into_inner(account).unwrap().database.remove().await;
}
