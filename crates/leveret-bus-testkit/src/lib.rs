//! What a program on `leveret-bus` is tested with: a [`TestBed`] is the Leveret broker in the test's own process and a
//! SQLite database in memory, both gone with it; [`recorder`] is a handler that tells what it got; [`soon`] and [`until`]
//! wait for an outcome, and fail the test by name when it does not come. Nothing has to be installed, and nothing
//! sleeps for a guessed time.
//!
//! ```
//! use leveret_bus::Message;
//! use leveret_bus_testkit::{TestBed, recorder, soon};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bed = TestBed::start().await;
//! let (handler, mut arrived) = recorder();
//! let worker = bed.bus.worker("mails").start(handler).await?;
//! bed.bus.publish(Message::text("", "mails", "42")).await?;
//! assert_eq!(soon("the mail", arrived.recv()).await.unwrap().body(), b"42");
//! worker.shutdown().await;
//! bed.stop().await;
//! # Ok(()) }
//! ```
//!
//! It panics where something is not as it should be, as tests do; it has no place in a program.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a failure here is a failed test")]

use std::future::Future;
use std::time::Duration;

use leveret_bus::{Bus, Bytes, Delivery, Handler, Outcome, database};
use leveret_server::{Config, Server};
use sea_orm::DatabaseConnection;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

/// Longer than anything that a test waits for should take.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks of [`until`].
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// A broker and a database for one test.
pub struct TestBed {
    /// A bus that is connected to the broker.
    pub bus: Bus,
    /// An empty database. It has one connection, so a transaction has to end before anything else is asked of it.
    pub db: DatabaseConnection,
    server: Server,
}

impl TestBed {
    /// Starts the broker on a free port and opens the database.
    pub async fn start() -> Self {
        let server = Server::start(Config::ephemeral()).await.unwrap();
        let bus = Bus::connect(&server.amqp_url()).await.unwrap();
        let db = database::connect("sqlite::memory:").await.unwrap();
        Self { bus, db, server }
    }

    /// The broker's URL, for programs that connect by themselves.
    pub fn amqp_url(&self) -> String {
        self.server.amqp_url()
    }

    /// Closes the connections and ends the broker.
    pub async fn stop(self) {
        self.bus.close().await;
        self.server.shutdown().await;
    }
}

/// A handler that is done with every message, and where to see what it got.
pub fn recorder() -> (Recorder, UnboundedReceiver<Delivery>) {
    let (seen, arrived) = unbounded_channel();
    (Recorder { seen }, arrived)
}

/// See [`recorder`].
pub struct Recorder {
    seen: UnboundedSender<Delivery>,
}

impl Handler for Recorder {
    type Message = Bytes;

    async fn handle(&self, _: Bytes, delivery: &Delivery) -> Outcome {
        // A test that looks no longer is none of the worker's business.
        let _ = self.seen.send(delivery.clone());
        Outcome::Done
    }
}

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
            sleep(LOOK_PAUSE).await;
        }
    };
    soon(what, looking).await
}
