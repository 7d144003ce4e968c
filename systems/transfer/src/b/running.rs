//! Starting company B in one process, and stopping it in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leveret_bus::{Bus, RetryPolicy, Worker, database};
use leveret_web::client::Client;
use leveret_web::{Site, serve};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::company::CompanyB;
use super::receiver::{self, Receiver};
use super::{MIGRATIONS, http};
use crate::page::Pages;
use crate::settings::SettingsB;
use leveret_web::StartError;

const HTTP_DRAIN: Duration = Duration::from_secs(3);
/// When a message comes back that could not be recorded, because the database could not be reached.
const TRY_AGAIN: (Duration, Duration, u32) = (Duration::from_millis(500), Duration::from_secs(60), 1000);

/// Company B, running. [`shutdown`](Self::shutdown) ends it in good order.
pub struct RunningB {
    addr: SocketAddr,
    company: CompanyB,
    worker: Worker,
    sweep: JoinHandle<()>,
    http: JoinHandle<()>,
    stop: CancellationToken,
}

/// Starts company B: worker, sweep, API and page. Returns once all of them are up.
///
/// # Errors
/// A setting makes no sense, or the broker, the database or the address cannot be had.
pub async fn run_b(settings: SettingsB) -> Result<RunningB, StartError> {
    let listener = TcpListener::bind(settings.listen).await;
    let listener = listener.map_err(|source| StartError::Listen { address: settings.listen, source })?;
    let addr =
        listener.local_addr().map_err(|source| StartError::Listen { address: settings.listen, source })?;
    let company = connect(settings).await?;
    let settings = Arc::clone(&company.settings);
    let (first, cap, attempts) = TRY_AGAIN;
    let worker = company
        .bus
        .worker(&settings.names.queue)
        .topology(settings.names.topology())
        .retry(RetryPolicy::exponential(first).with_cap(cap).with_attempts(attempts))
        .concurrency(settings.concurrency)
        .drain(settings.callback_timeout)
        .start(Receiver(company.clone()))
        .await?;
    let stop = CancellationToken::new();
    let sweep = tokio::spawn(receiver::sweep(company.clone(), stop.clone()));
    let site =
        Site::open("transfer-b", http::OPENAPI, company.bus.clone(), company.db.clone(), None, stop.clone());
    let pages = Pages::of_b(&company, settings.peer_url.clone(), &stop);
    let http = serve(listener, site.await?, http::routes(company.clone(), pages));
    Ok(RunningB { addr, company, worker, sweep, http, stop })
}

async fn connect(settings: SettingsB) -> Result<CompanyB, StartError> {
    let db = database::connect(&settings.database_url).await;
    let db = db.map_err(|error| StartError::blame(error, "database_url"))?;
    let bus = Bus::builder(&settings.amqp_url).name("transfer B").connect().await;
    let bus = bus.map_err(|error| StartError::blame(error, "amqp_url"))?;
    MIGRATIONS.run(&db).await?;
    Ok(CompanyB {
        parked: bus.parked(&settings.names.queue),
        client: Client::new(settings.callback_timeout),
        settings: Arc::new(settings),
        changed: Arc::default(),
        db,
        bus,
    })
}

impl RunningB {
    /// Where API and page are.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The page's address.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    /// What B can do, without HTTP.
    pub fn company(&self) -> &CompanyB {
        &self.company
    }

    /// Takes no more messages and requests, lets what is under way finish, and closes all connections.
    pub async fn shutdown(self) {
        self.stop.cancel();
        let mut http = self.http;
        if timeout(HTTP_DRAIN, &mut http).await.is_err() {
            http.abort();
        }
        self.worker.shutdown().await;
        if let Err(error) = self.sweep.await {
            tracing::error!(%error, "the sweep ended badly");
        }
        self.company.bus.close().await;
        if let Err(error) = self.company.db.close().await {
            tracing::warn!(%error, "closing the database");
        }
    }
}
