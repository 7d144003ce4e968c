//! An empty database for a test: of the server named by `LEVERET_TEST_DATABASE_URL`, else a SQLite file.

use leveret_bus::database;
use sea_orm::ConnectionTrait;
use tempfile::TempDir;

/// A database of a test's own.
pub struct TestDatabase {
    /// Where it is.
    pub url: String,
    home: Home,
}

enum Home {
    File {
        _folder: TempDir,
    },
    /// What removes it, and where that is said.
    Server {
        server: String,
        drop: String,
    },
}

impl TestDatabase {
    /// An empty one.
    pub async fn new() -> Self {
        match std::env::var("LEVERET_TEST_DATABASE_URL") {
            Ok(server) => on(server).await,
            Err(_) => in_a_file(),
        }
    }

    /// Has it refuse new rows of an empty table, until [`take_rows`](Self::take_rows).
    pub async fn refuse_rows(&self, table: &str) {
        self.execute(&match self.home {
            Home::Server { .. } => format!("ALTER TABLE {table} ADD CONSTRAINT refused CHECK (1 = 0)"),
            // Its constraints cannot be altered.
            Home::File { .. } => {
                let refuse = "BEGIN SELECT RAISE(ABORT, 'refused'); END";
                format!("CREATE TRIGGER refused BEFORE INSERT ON {table} {refuse}")
            }
        })
        .await;
    }

    /// Has it take new rows again.
    pub async fn take_rows(&self, table: &str) {
        self.execute(&match self.home {
            Home::Server { .. } => format!("ALTER TABLE {table} DROP CONSTRAINT refused"),
            Home::File { .. } => "DROP TRIGGER refused".to_owned(),
        })
        .await;
    }

    async fn execute(&self, statement: &str) {
        let db = database::connect(&self.url).await.unwrap();
        db.execute_unprepared(statement).await.unwrap();
        db.close().await.unwrap();
    }

    /// Removes it, once nobody is connected any more.
    pub async fn remove(self) {
        if let Home::Server { server, drop } = self.home {
            let server = database::connect(&server).await.unwrap();
            // Somebody who was killed may hold it up; the server's folder goes as a whole anyway.
            let _ = server.execute_unprepared(&drop).await;
        }
    }
}

fn in_a_file() -> TestDatabase {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/test.db", folder.path().display());
    TestDatabase { url, home: Home::File { _folder: folder } }
}

/// A database on MySQL, a schema on PostgreSQL, where databases take long to make.
async fn on(server: String) -> TestDatabase {
    let name = format!("t_{}", uuid::Uuid::now_v7().simple());
    let (make, drop, url) = if server.starts_with("postgres") {
        let url = format!("{server}?options[search_path]={name}");
        (format!("CREATE SCHEMA {name}"), format!("DROP SCHEMA {name} CASCADE"), url)
    } else {
        let (head, _) = server.rsplit_once('/').unwrap();
        (format!("CREATE DATABASE {name}"), format!("DROP DATABASE {name}"), format!("{head}/{name}"))
    };
    let admin = database::connect(&server).await.unwrap();
    admin.execute_unprepared(&make).await.unwrap();
    admin.close().await.unwrap();
    TestDatabase { url, home: Home::Server { server, drop } }
}
