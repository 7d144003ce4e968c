//! A system that is up, and how it ends.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use leveret_bus::Bus;
use sea_orm::DatabaseConnection;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long open requests may take to finish at the end.
const DRAIN: Duration = Duration::from_secs(3);

/// A running system. [`shutdown`](Self::shutdown) ends it in good order.
pub struct Running<S> {
    system: S,
    addr: SocketAddr,
    parts: Vec<Part>,
    leaving: Leaving,
}

/// How a part of a system is ended.
type Part = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send + Sync>;

/// What every system has to leave.
pub(crate) struct Leaving {
    pub(crate) door: JoinHandle<()>,
    pub(crate) tasks: TaskTracker,
    pub(crate) db: DatabaseConnection,
    pub(crate) bus: Bus,
    pub(crate) stop: CancellationToken,
}

impl<S> Running<S> {
    pub(crate) fn new(system: S, addr: SocketAddr, leaving: Leaving) -> Self {
        Self { system, addr, parts: Vec::new(), leaving }
    }

    /// Adds what is done before the connections are closed: a worker's or a relay's `shutdown()`. What was added first is
    /// done first.
    #[must_use]
    pub fn ending<F>(mut self, part: impl FnOnce() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.parts.push(Box::new(|| part().boxed()));
        self
    }

    /// Where API and page are.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The page's address.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// What the system can do, without HTTP.
    pub fn system(&self) -> &S {
        &self.system
    }

    /// Takes no more requests and messages, lets what is under way finish, and closes all connections.
    pub async fn shutdown(self) {
        let Leaving { mut door, tasks, db, bus, stop } = self.leaving;
        stop.cancel();
        if timeout(DRAIN, &mut door).await.is_err() {
            door.abort();
        }
        tasks.close();
        tasks.wait().await;
        for part in self.parts {
            part().await;
        }
        bus.close().await;
        if let Err(error) = db.close().await {
            tracing::warn!(%error, "closing the database");
        }
    }
}
