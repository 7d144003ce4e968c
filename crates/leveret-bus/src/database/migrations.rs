//! Tables that several instances may make at once. PostgreSQL and SQLite change tables inside a transaction; MySQL
//! and MariaDB commit at each change, so there a step that was cut short is run again and finds part of it done.

use sea_orm::sea_query::{
    ColumnType, Index, IndexCreateStatement, Table, TableAlterStatement, TableCreateStatement,
};
use sea_orm::sqlx::mysql::MySqlDatabaseError;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait,
    QueryFilter, QuerySelect, RuntimeErr, Schema, Statement,
};

use super::begin;
use crate::clock;
use crate::error::Error;

/// Key of the advisory lock on PostgreSQL that migrations take: any number that others do not use.
const POSTGRES_LOCK: &str = "SELECT pg_advisory_xact_lock(7093863414)";
/// Named locks of MySQL reach over all databases of a server, so the database's name is part of the name.
const MYSQL_LOCK: &str = "SELECT GET_LOCK(CONCAT('leveret.', SHA1(DATABASE())), 60)";
const MYSQL_UNLOCK: &str = "SELECT RELEASE_LOCK(CONCAT('leveret.', SHA1(DATABASE())))";
/// MySQL's errors for a table, a column and an index that are there already.
const MYSQL_IS_THERE: [u16; 3] = [1050, 1060, 1061];

/// One step of a component's tables. Runs once. On MySQL it may run again after a crash in its middle, where a
/// table, column or index that is there already is no error.
pub type Step = fn(&Schema) -> Vec<Change>;

/// One change that a step makes.
#[derive(Debug)]
pub enum Change {
    /// Makes a table. On MySQL, text compares byte for byte as on the others, and text and blobs have no limit of
    /// 64 KiB.
    CreateTable(Box<TableCreateStatement>),
    /// Makes an index.
    CreateIndex(Box<IndexCreateStatement>),
    /// Changes a table.
    AlterTable(Box<TableAlterStatement>),
}

impl Change {
    /// Makes an entity's table.
    pub fn table(schema: &Schema, entity: impl EntityTrait) -> Self {
        Self::CreateTable(Box::new(schema.create_table_from_entity(entity)))
    }

    /// Makes an index of this name over columns of an entity's table.
    pub fn index<E: EntityTrait>(
        name: &str,
        entity: E,
        columns: impl IntoIterator<Item = E::Column>,
    ) -> Self {
        let mut index = Index::create().name(name).table(entity).to_owned();
        for column in columns {
            index.col(column);
        }
        Self::CreateIndex(Box::new(index))
    }
}

/// The tables of a component, as the list of steps that lead to them. Steps are only ever appended.
///
/// What has run is written in the table `leveret_bus_migration`. A lock keeps others out meanwhile, so any
/// number of instances may start at once.
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
    /// A step failed, and nothing was changed (on MySQL: nothing after it); or the tables are newer than this program.
    pub async fn run(&self, db: &DatabaseConnection) -> Result<(), Error> {
        let tx = begin(db).await?;
        lock(&tx).await?;
        let outcome = self.run_locked(&tx).await;
        unlock(&tx).await?;
        outcome?;
        tx.commit().await?;
        Ok(())
    }

    async fn run_locked(&self, tx: &DatabaseTransaction) -> Result<(), Error> {
        let schema = Schema::new(tx.get_database_backend());
        let table = schema.create_table_from_entity(applied::Entity).if_not_exists().to_owned();
        let dialect = Dialect::of(tx).await?;
        tx.execute(&dialect.table(table)).await?;
        let done = self.steps_done(tx).await?;
        for (number, step) in (1..).zip(self.steps).skip(done) {
            for change in step(&schema) {
                dialect.apply(tx, change).await?;
            }
            self.note(tx, number).await?;
        }
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

    async fn note(&self, tx: &DatabaseTransaction, step: i32) -> Result<(), Error> {
        let row = applied::ActiveModel {
            component: sea_orm::Set(self.component.to_owned()),
            step: sea_orm::Set(step),
            applied_ms: sea_orm::Set(clock::now_ms()),
        };
        applied::Entity::insert(row).exec_without_returning(tx).await?;
        Ok(())
    }
}

async fn lock(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    match tx.get_database_backend() {
        DbBackend::Postgres => tx.execute_unprepared(POSTGRES_LOCK).await.map(drop),
        DbBackend::MySql => {
            match answer(tx, MYSQL_LOCK).await?.and_then(|row| row.try_get_by_index(0).ok()) {
                Some(1_i64) => Ok(()),
                _ => Err(DbErr::Migration("another instance has been at the tables for 60 s".into())),
            }
        }
        // BEGIN IMMEDIATE has locked the file.
        _ => Ok(()),
    }
}

/// MySQL's lock belongs to the connection and not to the transaction.
async fn unlock(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    if tx.get_database_backend() == DbBackend::MySql {
        answer(tx, MYSQL_UNLOCK).await?;
    }
    Ok(())
}

async fn answer(tx: &DatabaseTransaction, sql: &str) -> Result<Option<sea_orm::QueryResult>, DbErr> {
    tx.query_one_raw(Statement::from_string(tx.get_database_backend(), sql)).await
}

/// How this database wants its tables.
enum Dialect {
    Plain,
    MySql { collation: &'static str },
}

impl Dialect {
    async fn of(tx: &DatabaseTransaction) -> Result<Self, DbErr> {
        if tx.get_database_backend() != DbBackend::MySql {
            return Ok(Self::Plain);
        }
        let version = answer(tx, "SELECT VERSION()").await?;
        let version: String = version.and_then(|row| row.try_get_by_index(0).ok()).unwrap_or_default();
        // Both compare bytes and heed trailing spaces; neither database has the other's.
        let is_mariadb = version.to_ascii_lowercase().contains("mariadb");
        let collation = if is_mariadb { "utf8mb4_nopad_bin" } else { "utf8mb4_0900_bin" };
        Ok(Self::MySql { collation })
    }

    async fn apply(&self, tx: &DatabaseTransaction, change: Change) -> Result<(), DbErr> {
        let outcome = match change {
            Change::CreateTable(table) => tx.execute(&self.table(*table)).await,
            Change::CreateIndex(index) => tx.execute(&*index).await,
            Change::AlterTable(table) => tx.execute(&*table).await,
        };
        match outcome {
            Err(error) if !is_there(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn table(&self, table: TableCreateStatement) -> TableCreateStatement {
        match self {
            Self::Plain => table,
            Self::MySql { collation } => mysql_table(&table, collation),
        }
    }
}

/// The table with MySQL's long kinds of text and blob, and with this collation.
fn mysql_table(table: &TableCreateStatement, collation: &'static str) -> TableCreateStatement {
    let mut made = Table::create();
    if let Some(name) = table.get_table_name() {
        made.table(name.clone());
    }
    for column in table.get_columns() {
        let mut column = column.clone();
        match column.get_column_type() {
            Some(ColumnType::Text) => column.custom("longtext"),
            Some(ColumnType::Blob) => column.custom("longblob"),
            _ => &mut column,
        };
        made.col(column);
    }
    for index in table.get_indexes() {
        made.index(&mut index.clone());
    }
    for key in table.get_foreign_key_create_stmts() {
        made.foreign_key(&mut key.clone());
    }
    made.if_not_exists().engine("InnoDB").character_set("utf8mb4").collate(collation);
    made
}

fn is_there(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.is_some_and(|error| MYSQL_IS_THERE.contains(&error.number()))
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
