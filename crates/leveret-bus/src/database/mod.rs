//! Connections and transactions as the bus needs them, on SQLite, MySQL or MariaDB, and PostgreSQL from one code. What
//! differs between the three stays in this folder.

mod forgetting;
mod insert;
mod migrations;
mod reading;

use std::time::{Duration, Instant};

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{Connection, Executor};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    EntityTrait, SqliteTransactionMode, TransactionOptions, TransactionTrait, UpdateMany,
};
use tokio::time::{sleep, timeout};

use crate::error::Error;

pub use forgetting::forget;
pub use insert::insert_if_absent;
pub use migrations::{Change, Migrations, Step};
pub use reading::{begin_reading, sum};

/// How long a statement waits for another process's write before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before a locked database is tried again.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);
const CONNECTIONS: u32 = 8;
/// SQLite has one writer at a time, and a connection that waits for it sleeps and looks again, longer each time. Those who
/// wait for the one connection of a pool stand in line instead, and are woken.
const SQLITE_CONNECTIONS: u32 = 1;
/// How long connecting, or waiting for a connection of the pool, may take.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection unused for so long is tried before it is used again.
const IDLE_BEFORE_TEST: Duration = Duration::from_secs(5);

/// A connection that does not answer for so long, because whoever had it went in the middle of a question, is closed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

const MYSQL_ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// Connects to a database.
///
/// - `sqlite://path/to/file.db` makes the file if there is none; `sqlite::memory:` lives as long as the connection.
/// - `mysql://user:password@host:port/database`, or `mariadb://`. MySQL 8 and MariaDB 10.6 are the oldest that do: both
///   can skip locked rows.
/// - `postgres://user:password@host:port/database`.
///
/// A connection to a server is encrypted where the server can do that, and not checked further, unless the URL asks for
/// more: `?sslmode=require` on PostgreSQL and `?ssl-mode=REQUIRED` on MySQL and MariaDB is an error where the server cannot,
/// `verify-full` and `VERIFY_IDENTITY` demand a certificate that an authority vouches for, for the very host of the URL.
/// The authorities are Mozilla's list; one's own is named by its PEM file, in `&sslrootcert=` and `&ssl-ca=`. A certificate
/// that vouches for itself will do if it is not marked as an authority's (as `openssl req -x509` does). Certificates
/// of the client are `sslcert` and `sslkey` (PEM), `ssl-cert` and `ssl-key` on MySQL.
///
/// SQLite runs in WAL mode with `synchronous=FULL`: a commit is on disk when it returns, and a power cut loses
/// nothing that was committed. It has one connection, on which all of a process take turns; whoever waits for 10 s, for it or
/// for another process's write, gets an error. So a task that holds a transaction has to ask everything of that transaction: what
/// it asked of the connection would wait for itself. (On the others enough tasks that do so at once wait for each
/// other.) MySQL and MariaDB run at READ COMMITTED, which is
/// PostgreSQL's default: a statement sees what others committed before it.
///
/// # Errors
/// The URL names no such database, or it cannot be opened.
pub async fn connect(url: &str) -> Result<DatabaseConnection, Error> {
    let url = match url.strip_prefix("mariadb:") {
        Some(rest) => format!("mysql:{rest}"),
        None => url.to_owned(),
    };
    let mut options = ConnectOptions::new(&url);
    options.max_connections(CONNECTIONS).sqlx_logging(false);
    options.connect_timeout(ACQUIRE_TIMEOUT).acquire_timeout(ACQUIRE_TIMEOUT);
    options.test_before_acquire_if_idle_for(IDLE_BEFORE_TEST);
    match url.split(':').next() {
        Some("sqlite") => open_sqlite(options).await,
        Some("mysql") => open_mysql(options).await,
        Some("postgres" | "postgresql") => Ok(Database::connect(options).await?),
        _ => Err(Error::Url(format!("{url:?} is none of sqlite:, mysql:, mariadb: and postgres:"))),
    }
}

/// Makes a database (on PostgreSQL a schema) of this name on the server where there is none, and says its URL. The
/// server's URL names any database that is there.
///
/// # Errors
/// The name has other characters than lower-case letters, digits and `_`, or the server refuses or cannot be reached.
pub async fn make(server: &str, name: &str) -> Result<String, Error> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(Error::Url(format!("{name:?} cannot be a database's name")));
    }
    let (base, options) = server.split_once('?').unwrap_or((server, ""));
    let (kind, url) = if base.starts_with("postgres") {
        ("SCHEMA", format!("{base}?{options}&options[search_path]={name}"))
    } else {
        let (_, rest) = base.split_once("://").unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default();
        ("DATABASE", format!("mysql://{host}/{name}?{options}"))
    };
    let db = connect(server).await?;
    db.execute_unprepared(&format!("CREATE {kind} IF NOT EXISTS {name}")).await?;
    db.close().await?;
    Ok(url)
}

async fn open_sqlite(mut options: ConnectOptions) -> Result<DatabaseConnection, Error> {
    options.max_connections(SQLITE_CONNECTIONS);
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

async fn open_mysql(mut options: ConnectOptions) -> Result<DatabaseConnection, Error> {
    options.map_sqlx_mysql_pool_opts(|pool| {
        let pool = pool.after_connect(|connection, _| {
            Box::pin(async move { connection.execute(MYSQL_ISOLATION).await.map(drop) })
        });
        // The pool asks too, but waits for ever, and so does then whoever closes it.
        pool.after_release(|connection, _| {
            Box::pin(
                async move { Ok(matches!(timeout(ANSWER_TIMEOUT, connection.ping()).await, Ok(Ok(())))) },
            )
        })
    });
    Ok(Database::connect(options).await?)
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

/// Carries out an update of one row whose condition says what the row has to be, and says whether it was. Of several at
/// once that change what the condition asks for, one gets true: this is how a state is moved on, or a turn taken, once.
///
/// Where several race, the update has to end its own condition: MySQL counts the rows that it finds, not those that it
/// changes.
///
/// # Errors
/// The database refuses or cannot be reached.
pub async fn changed_one<E: EntityTrait>(
    db: &impl ConnectionTrait,
    update: UpdateMany<E>,
) -> Result<bool, DbErr> {
    Ok(update.exec(db).await?.rows_affected == 1)
}

/// Keeps PostgreSQL from compiling the statements of this transaction to machine code (JIT), which takes up to a second each
/// time where it believes that a statement of a millisecond will be a long one.
pub(crate) async fn without_compiling(tx: &DatabaseTransaction) -> Result<(), DbErr> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared("SET LOCAL jit = off").await?;
    }
    Ok(())
}
