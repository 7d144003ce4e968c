//! An empty database for a test: of the server named by `LEVERET_TEST_DATABASE_URL`, else a SQLite file.

use leveret_bus::database;
use sea_orm::{ConnectionTrait, DatabaseConnection};

pub struct TestDatabase {
    pub url: String,
    pub db: DatabaseConnection,
    home: Home,
}

enum Home {
    File {
        _folder: tempfile::TempDir,
    },
    /// What removes it, and where that is said.
    Server {
        server: String,
        drop: String,
    },
}

impl TestDatabase {
    pub async fn new() -> Self {
        let (url, home) = match std::env::var("LEVERET_TEST_DATABASE_URL") {
            Ok(server) => on(server).await,
            Err(_) => in_a_file(),
        };
        Self { db: database::connect(&url).await.unwrap(), url, home }
    }

    pub async fn remove(self) {
        self.db.close().await.unwrap();
        if let Home::Server { server, drop } = self.home {
            let server = database::connect(&server).await.unwrap();
            // A relay whose end a test did not await may hold it up; the server's folder goes as a whole anyway.
            let _ = server.execute_unprepared(&drop).await;
        }
    }
}

fn in_a_file() -> (String, Home) {
    let folder = tempfile::tempdir().unwrap();
    (format!("sqlite://{}/test.db", folder.path().display()), Home::File { _folder: folder })
}

/// A database on MySQL, a schema on PostgreSQL, where databases take long to make.
async fn on(server: String) -> (String, Home) {
    let name = format!("t_{}", uuid::Uuid::now_v7().simple());
    let is_postgres = server.starts_with("postgres");
    let (make, drop, url) = if is_postgres {
        let url = format!("{server}?options[search_path]={name}");
        (format!("CREATE SCHEMA {name}"), format!("DROP SCHEMA {name} CASCADE"), url)
    } else {
        let (head, _) = server.rsplit_once('/').unwrap();
        (format!("CREATE DATABASE {name}"), format!("DROP DATABASE {name}"), format!("{head}/{name}"))
    };
    let admin = database::connect(&server).await.unwrap();
    admin.execute_unprepared(&make).await.unwrap();
    admin.close().await.unwrap();
    (url, Home::Server { server, drop })
}
