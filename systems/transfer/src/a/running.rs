//! Starting company A in one process, and stopping it in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leveret_bus::outbox::{Relay, RelayOptions};
use leveret_bus::{Bus, Outbox, PublisherOptions, database};
use leveret_web::{Site, serve};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::company::CompanyA;
use super::{MIGRATIONS, http, timers};
use crate::page::Pages;
use crate::settings::SettingsA;
use leveret_web::StartError;

const HTTP_DRAIN: Duration = Duration::from_secs(3);
/// Shorter than the bus's own, so that the lease below can be: what a killed copy had taken to publish waits until
/// that runs out.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);
const RELAY_LEASE: Duration = Duration::from_secs(5);

/// Company A, running. [`shutdown`](Self::shutdown) ends it in good order.
pub struct RunningA {
    addr: SocketAddr,
    company: CompanyA,
    relay: Relay,
    timers: TaskTracker,
    http: JoinHandle<()>,
    stop: CancellationToken,
}

/// Starts company A: API and page, outbox relay, timers. Returns once all of them are up.
///
/// # Errors
/// A setting makes no sense, or the broker, the database or the address cannot be had.
pub async fn run_a(settings: SettingsA) -> Result<RunningA, StartError> {
    let listener = TcpListener::bind(settings.listen).await;
    let listener = listener.map_err(|source| StartError::Listen { address: settings.listen, source })?;
    let addr =
        listener.local_addr().map_err(|source| StartError::Listen { address: settings.listen, source })?;
    let company = connect(&settings).await?;
    let options = RelayOptions { lease: RELAY_LEASE, ..Default::default() };
    let relay = company.outbox.relay(company.bus.publisher(), options);
    let stop = CancellationToken::new();
    let timers = TaskTracker::new();
    timers.spawn(timers::republish(company.clone(), settings.clone(), stop.clone()));
    timers.spawn(timers::expire(company.clone(), settings.clone(), stop.clone()));
    timers.spawn(timers::forget(company.clone(), stop.clone()));
    timers.close();
    let outbox = Some(company.outbox.clone());
    let site = Site::open(
        "transfer-a",
        http::OPENAPI,
        company.bus.clone(),
        company.db.clone(),
        outbox,
        stop.clone(),
    );
    let pages = Pages::of_a(&company, settings.peer_url, &stop);
    let http = serve(listener, site.await?, http::routes(company.clone(), pages));
    Ok(RunningA { addr, company, relay, timers, http, stop })
}

async fn connect(settings: &SettingsA) -> Result<CompanyA, StartError> {
    let db = database::connect(&settings.database_url).await;
    let db = db.map_err(|error| StartError::blame(error, "database_url"))?;
    let publishing = PublisherOptions { timeout: PUBLISH_TIMEOUT, ..Default::default() };
    let bus = Bus::builder(&settings.amqp_url).name("transfer A").publisher(publishing).connect().await;
    let bus = bus.map_err(|error| StartError::blame(error, "amqp_url"))?;
    MIGRATIONS.run(&db).await?;
    bus.declare(&settings.names.topology()).await?;
    Ok(CompanyA {
        outbox: Outbox::open(db.clone()).await?,
        parked: bus.parked(&settings.names.queue),
        names: Arc::new(settings.names.clone()),
        secret: settings.secret.clone(),
        changed: Arc::default(),
        db,
        bus,
    })
}

impl RunningA {
    /// Where API, callback and page are.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The page's address.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// What A can do, without HTTP.
    pub fn company(&self) -> &CompanyA {
        &self.company
    }

    /// Takes no more requests, lets what is under way finish, and closes all connections.
    pub async fn shutdown(self) {
        self.stop.cancel();
        let mut http = self.http;
        if timeout(HTTP_DRAIN, &mut http).await.is_err() {
            http.abort();
        }
        self.timers.wait().await;
        self.relay.shutdown().await;
        self.company.bus.close().await;
        if let Err(error) = self.company.db.close().await {
            tracing::warn!(%error, "closing the database");
        }
    }
}
