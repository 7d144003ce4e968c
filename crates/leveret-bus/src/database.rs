//! Connections and transactions as the bus needs them, and migrations that several instances may start at once.
//! SQLite is what it speaks today; what differs between databases stays in this file.

use std::time::{Duration, Instant};

use sea_orm::sea_query::TableCreateStatement;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ColumnTrait, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbErr,
    EntityTrait, QueryFilter, QuerySelect, Schema, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use tokio::time::sleep;

use crate::clock;
use crate::error::Error;

/// How long a statement waits for another process's write before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before a locked database is tried again.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);
const SQLITE_CONNECTIONS: u32 = 8;

/// Connects to a database. `sqlite://path/to/file.db` makes the file if there is none; `sqlite::memory:`
/// lives as long as the connection.
///
/// SQLite runs in WAL mode with `synchronous=FULL`: a commit is on disk when it returns, and a power cut loses
/// nothing that was committed. Writers wait up to 10 s for each other.
///
/// # Errors
/// The URL names no database that is compiled in, or it cannot be opened.
pub async fn connect(url: &str) -> Result<DatabaseConnection, Error> {
    if !url.starts_with("sqlite:") {
        return Err(Error::Url(format!("{url:?} is not a sqlite: URL, the only database as yet")));
    }
    let mut options = ConnectOptions::new(url);
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    options.max_connections(if in_memory { 1 } else { SQLITE_CONNECTIONS }).sqlx_logging(false);
    options.map_sqlx_sqlite_opts(|sqlite| {
        sqlite
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
    });
    // SQLite does not wait for its lock where several connections turn a new file to WAL at once: so this does.
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match Database::connect(options.clone()).await {
            Err(error) if is_locked(&error) && Instant::now() < deadline => sleep(LOCKED_PAUSE).await,
            result => return Ok(result?),
        }
    }
}

fn is_locked(error: &DbErr) -> bool {
    error.to_string().contains("database is locked")
}

/// Begins a transaction that is going to write. On SQLite this is `BEGIN IMMEDIATE`: one that reads first and then
/// writes could otherwise fail at its first write, whatever the time-out, because another wrote in between.
///
/// # Errors
/// The database cannot be reached, or stayed locked for 10 s.
pub async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..Default::default()
    };
    db.begin_with_options(options).await
}

/// One step of a component's tables. Runs once, inside the migration's transaction.
pub type Step = fn(&Schema) -> Vec<Change>;

/// One change that a step makes.
#[derive(Debug)]
pub enum Change {
    /// Makes a table.
    CreateTable(Box<TableCreateStatement>),
    /// Makes an index.
    CreateIndex(Box<sea_orm::sea_query::IndexCreateStatement>),
    /// Changes a table.
    AlterTable(Box<sea_orm::sea_query::TableAlterStatement>),
}

/// The tables of a component, as the list of steps that lead to them. Steps are only ever appended.
///
/// What has run is written in the table `leveret_bus_migration`. All of it happens in one transaction that excludes
/// other writers, so any number of instances may start at once.
#[derive(Clone, Copy, Debug)]
pub struct Migrations {
    component: &'static str,
    steps: &'static [Step],
}

impl Migrations {
    /// The steps of a component; its name tells its steps from others' in the same database.
    pub const fn new(component: &'static str, steps: &'static [Step]) -> Self {
        Self { component, steps }
    }

    /// Runs what has not run yet.
    ///
    /// # Errors
    /// A step failed, and nothing was changed; or the tables are newer than this program.
    pub async fn run(&self, db: &DatabaseConnection) -> Result<(), Error> {
        let tx = begin(db).await?;
        let schema = Schema::new(tx.get_database_backend());
        tx.execute(schema.create_table_from_entity(applied::Entity).if_not_exists()).await?;
        let done = self.steps_done(&tx).await?;
        for (number, step) in (1..).zip(self.steps).skip(done) {
            self.apply(&tx, &schema, number, *step).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn steps_done(&self, tx: &DatabaseTransaction) -> Result<usize, Error> {
        let mine = applied::Column::Component.eq(self.component);
        let steps: Vec<i32> = applied::Entity::find()
            .select_only()
            .column(applied::Column::Step)
            .filter(mine)
            .into_tuple()
            .all(tx)
            .await?;
        if steps.len() > self.steps.len() {
            let text = format!("the tables of {} are newer than this program", self.component);
            return Err(DbErr::Migration(text).into());
        }
        Ok(steps.len())
    }

    async fn apply(
        &self,
        tx: &DatabaseTransaction,
        schema: &Schema,
        number: i32,
        step: Step,
    ) -> Result<(), Error> {
        for change in step(schema) {
            match change {
                Change::CreateTable(table) => tx.execute(&*table).await?,
                Change::CreateIndex(index) => tx.execute(&*index).await?,
                Change::AlterTable(table) => tx.execute(&*table).await?,
            };
        }
        let row = applied::ActiveModel {
            component: sea_orm::Set(self.component.to_owned()),
            step: sea_orm::Set(number),
            applied_ms: sea_orm::Set(clock::now_ms()),
        };
        applied::Entity::insert(row).exec_without_returning(tx).await?;
        Ok(())
    }
}

mod applied {
    //! Which steps have run.
    #![allow(unreachable_pub, reason = "the entity's derived code needs it public")]

    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "leveret_bus_migration")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub component: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub step: i32,
        pub applied_ms: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
