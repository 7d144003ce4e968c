//! What every system stands on: an address, a database and a broker, had in this order when it starts and left the other
//! way round when it ends.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use leveret_bus::{Bus, Outbox, PublisherOptions, RetryPolicy, database};
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::StartError;
use crate::site::{Site, serve};

/// How long open requests may take to finish at the end.
const DRAIN: Duration = Duration::from_secs(3);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
const RETRIES: u32 = 1000;

/// Where a system is, and what it stands on.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Address of API and page; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The database.
    pub database_url: &'a str,
    /// The broker.
    pub amqp_url: &'a str,
}

/// The ground under a system that is starting.
pub struct Ground {
    /// The database.
    pub db: DatabaseConnection,
    /// The broker.
    pub bus: Bus,
    /// Cancelled when the system ends.
    pub stop: CancellationToken,
    name: &'static str,
    listener: TcpListener,
    addr: SocketAddr,
}

impl Ground {
    /// Listens, without answering yet, and connects.
    ///
    /// # Errors
    /// A URL makes no sense, or address, database or broker cannot be had.
    pub async fn find(
        name: &'static str,
        places: Places<'_>,
        publishing: PublisherOptions,
    ) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { address: places.listen, source };
        let listener = TcpListener::bind(places.listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let db = database::connect(places.database_url).await;
        let db = db.map_err(|error| StartError::blame(error, "database_url"))?;
        let bus = Bus::builder(places.amqp_url).name(name).publisher(publishing).connect().await;
        let bus = bus.map_err(|error| StartError::blame(error, "amqp_url"))?;
        Ok(Self { db, bus, stop: CancellationToken::new(), name, listener, addr })
    }

    /// Opens the door: the system's own routes, described by `openapi` (JSON with `info` and `paths`), and those that all
    /// systems have.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn serve(
        self,
        openapi: &'static str,
        outbox: Option<Outbox>,
        routes: Router,
    ) -> Result<Served, StartError> {
        let Self { db, bus, stop, name, listener, addr } = self;
        let site = Site::open(name, openapi, bus.clone(), db.clone(), outbox, stop.clone()).await?;
        let task = serve(listener, site, routes);
        Ok(Served { addr, db, bus, stop, task })
    }
}

/// A system's HTTP side, answering.
pub struct Served {
    addr: SocketAddr,
    db: DatabaseConnection,
    bus: Bus,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Served {
    /// Where API and page are.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The page's address.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// Tells everybody to end, takes no more requests, and lets those under way finish.
    pub async fn close_door(&mut self) {
        self.stop.cancel();
        if timeout(DRAIN, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }

    /// Closes the connections to broker and database, last of all.
    pub async fn leave(self) {
        self.bus.close().await;
        if let Err(error) = self.db.close().await {
            tracing::warn!(%error, "closing the database");
        }
    }
}

/// When a message comes back that could not be dealt with because the database could not be reached: soon at first, and
/// for most of a day.
pub fn until_the_database_is_back() -> RetryPolicy {
    RetryPolicy::exponential(FIRST_RETRY).with_cap(LONGEST_RETRY).with_attempts(RETRIES)
}
