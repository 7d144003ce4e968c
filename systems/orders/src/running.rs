//! Starting the whole system in one process, and stopping it in the right order.

use std::net::SocketAddr;
use std::time::Duration;

use leveret_bus::{Bus, PublisherOptions, RetryPolicy, Worker, database};
use leveret_web::{Site, serve};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::closing::Closing;
use crate::desk::Desk;
use crate::http;
use crate::numbers::Numbers;
use crate::settings::Settings;
use crate::store;
use crate::writer::Writer;
use leveret_web::StartError;

const HTTP_DRAIN: Duration = Duration::from_secs(3);
/// An order is accepted within this time or not at all.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// When a message comes back that could not be dealt with, because the database could not be reached.
const TRY_AGAIN: (Duration, Duration, u32) = (Duration::from_millis(500), Duration::from_secs(60), 1000);
const CLOSED_AT_ONCE: usize = 16;

/// The running system. [`shutdown`](Self::shutdown) ends it in good order.
pub struct Running {
    addr: SocketAddr,
    desk: Desk,
    workers: Vec<Worker>,
    looking: JoinHandle<()>,
    http: JoinHandle<()>,
    stop: CancellationToken,
}

/// Starts the system: API and page, and unless set otherwise the workers. Returns once all of them are up.
///
/// # Errors
/// A setting makes no sense, or the broker, the database or the address cannot be had.
pub async fn run(settings: Settings) -> Result<Running, StartError> {
    let address = settings.listen;
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let desk = connect(settings).await?;
    let workers = if desk.settings.is_writing { start_workers(&desk).await? } else { Vec::new() };
    let stop = CancellationToken::new();
    let looking = tokio::spawn(desk.clone().look_after(stop.clone()));
    let site = Site::open("orders", http::OPENAPI, desk.bus.clone(), desk.db.clone(), None, stop.clone());
    let http = serve(listener, site.await?, http::routes(desk.clone(), &stop));
    Ok(Running { addr, desk, workers, looking, http, stop })
}

async fn connect(settings: Settings) -> Result<Desk, StartError> {
    let db = database::connect(&settings.database_url).await;
    let db = db.map_err(|error| StartError::blame(error, "database_url"))?;
    let publishing = PublisherOptions { timeout: PUBLISH_TIMEOUT, ..Default::default() };
    let bus = Bus::builder(&settings.amqp_url).name("orders").publisher(publishing).connect().await;
    let bus = bus.map_err(|error| StartError::blame(error, "amqp_url"))?;
    store::MIGRATIONS.run(&db).await?;
    bus.declare(&settings.names.topology()).await?;
    let numbers = Numbers::start(settings.numbering, &db).await?;
    Ok(Desk::new(db, bus, settings, numbers))
}

async fn start_workers(desk: &Desk) -> Result<Vec<Worker>, StartError> {
    let names = &desk.settings.names;
    let (first, cap, attempts) = TRY_AGAIN;
    let retry = RetryPolicy::exponential(first).with_cap(cap).with_attempts(attempts);
    let closing = desk.bus.delayed(&names.close_queue).through(&names.close_exchange, &names.close_queue);
    let closing = closing.mode(desk.settings.delay_mode).open().await?;
    // Two batches: one being written, one gathering.
    let writing = desk.bus.worker(&names.queue).topology(names.topology()).retry(retry.clone());
    let writing = writing.delay_mode(desk.settings.delay_mode).concurrency(desk.settings.batch.max(1) * 2);
    let writing = writing.start(Writer::start(desk.clone(), closing)).await?;
    let closing = desk.bus.worker(&names.close_queue).topology(names.topology()).retry(retry);
    let closing = closing.delay_through(&names.close_exchange, &names.close_queue);
    let closing = closing.delay_mode(desk.settings.delay_mode).concurrency(CLOSED_AT_ONCE);
    let closing = closing.start(Closing(desk.clone())).await?;
    Ok(vec![writing, closing])
}

impl Running {
    /// Where API and page are.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The page's address.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// What the system can do, without HTTP.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Takes no more requests and messages, lets what is under way finish, and closes all connections.
    pub async fn shutdown(self) {
        self.stop.cancel();
        let mut http = self.http;
        if timeout(HTTP_DRAIN, &mut http).await.is_err() {
            http.abort();
        }
        for worker in self.workers {
            worker.shutdown().await;
        }
        if let Err(error) = self.looking.await {
            tracing::error!(%error, "the watch over the queue ended badly");
        }
        self.desk.bus.close().await;
        if let Err(error) = self.desk.db.close().await {
            tracing::warn!(%error, "closing the database");
        }
    }
}
