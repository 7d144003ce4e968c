//! What every system stands on: an address, a database and a broker, had in this order when it starts and left the other
//! way round when it ends.

use std::net::SocketAddr;
use std::time::Duration;

use leveret_bus::{Bus, PublisherOptions, RetryPolicy, database};
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::running::Leaving;
use crate::site::{Site, serve};
use crate::{Front, Page, Running, StartError, Turns};

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
const RETRIES: u32 = 1000;

/// Where a system is, and what it stands on.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Address of API and page; port 0 picks a free one.
    pub listen: SocketAddr,
    /// URL of the database.
    pub database: &'a str,
    /// URL of the broker.
    pub amqp: &'a str,
}

/// The ground under a system that is starting.
pub struct Ground {
    /// The database.
    pub db: DatabaseConnection,
    /// The broker.
    pub bus: Bus,
    /// Cancelled when the system ends.
    pub stop: CancellationToken,
    tasks: TaskTracker,
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
        let db = database::connect(places.database).await;
        let db = db.map_err(|error| StartError::blame(error, "database_url"))?;
        let bus = Bus::builder(places.amqp).name(name).publisher(publishing).connect().await;
        let bus = bus.map_err(|error| StartError::blame(error, "amqp_url"))?;
        Ok(Self { db, bus, stop: CancellationToken::new(), tasks: TaskTracker::new(), name, listener, addr })
    }

    /// Has the system do a thing now and again until it ends. An error is logged as `trouble` when it begins, and the next
    /// turn comes all the same.
    pub fn every<S, T, F, E>(&self, pause: Duration, trouble: &'static str, system: &S, turn: T)
    where
        S: Clone + Send + Sync + 'static,
        T: Fn(S) -> F + Send + 'static,
        F: Future<Output = Result<(), E>> + Send,
        E: std::fmt::Display + Send,
    {
        let system = system.clone();
        let mut turns = Turns::every(pause, self.stop.clone());
        self.tasks.spawn(async move {
            let mut is_known = false;
            while turns.next().await {
                match turn(system.clone()).await {
                    Ok(()) => is_known = false,
                    Err(error) if is_known => tracing::debug!(%error, "{trouble}"),
                    Err(error) => {
                        is_known = true;
                        tracing::warn!(%error, "{trouble}");
                    }
                }
            }
        });
    }

    /// Opens the door, when all else is up: the system's own routes and page, and what all systems have.
    ///
    /// # Errors
    /// The database refuses or cannot be reached.
    pub async fn open<S, P: Page>(self, system: S, front: Front<P>) -> Result<Running<S>, StartError> {
        let Self { db, bus, stop, tasks, name, listener, addr } = self;
        let (openapi, outbox) = (front.openapi, front.outbox.clone());
        let site = Site::open(name, openapi, bus.clone(), db.clone(), outbox, stop.clone()).await?;
        let door = serve(listener, site, front.routes(&stop));
        Ok(Running::new(system, addr, Leaving { door, tasks, db, bus, stop }))
    }
}

/// When a message comes back that could not be dealt with because the database could not be reached: soon at first, and
/// for most of a day.
pub fn until_the_database_is_back() -> RetryPolicy {
    RetryPolicy::exponential(FIRST_RETRY).with_cap(LONGEST_RETRY).with_attempts(RETRIES)
}
