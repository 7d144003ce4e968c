//! What the systems are tested with: a broker and databases as the environment names them, programs that are killed,
//! any request that an OpenAPI document allows for and many that it does not. Nothing of this is for
//! production code; all of it panics where something is not as it should be.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a failure here is a failed test")]

mod database;
pub mod openapi;
mod program;

use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

pub use database::TestDatabase;
pub use program::Program;

/// Longer than anything that a test waits for should take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The outcome of a future that must come soon.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: waited {PATIENCE:?} in vain"))
}

/// Looks again and again until there is what is wanted.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(what, looking).await
}

/// The broker to test with, and its URL: the one named by `LEVERET_TEST_AMQP_URL`, else Leveret in this process.
pub async fn broker() -> (Option<leveret_server::Server>, String) {
    if let Ok(url) = std::env::var("LEVERET_TEST_AMQP_URL") {
        return (None, url);
    }
    let server = leveret_server::Server::start(leveret_server::Config::ephemeral()).await.unwrap();
    let url = server.amqp_url();
    (Some(server), url)
}
