//! Starting company B in one process, and stopping it in the right order.

use std::net::SocketAddr;
use std::sync::Arc;

use leveret_bus::{PublisherOptions, Worker};
use leveret_web::client::Client;
use leveret_web::{Ground, Places, Served, StartError, until_the_database_is_back};
use tokio::task::JoinHandle;

use super::company::CompanyB;
use super::receiver::{self, Receiver};
use super::{MIGRATIONS, OPENAPI};
use crate::company::Company;
use crate::settings::{SettingsB, check_urls};

/// Company B, running. [`shutdown`](Self::shutdown) ends it in good order.
pub struct RunningB {
    served: Served,
    company: CompanyB,
    worker: Worker,
    sweep: JoinHandle<()>,
}

/// Starts company B: worker, sweep, API and page. Returns once all of them are up.
///
/// # Errors
/// A setting makes no sense, or the broker, the database or the address cannot be had.
pub async fn run_b(settings: SettingsB) -> Result<RunningB, StartError> {
    let asked = Some(settings.callback_url.as_str());
    check_urls(&[("callback_url", asked), ("peer_url", settings.peer_url.as_deref())])?;
    let places = Places {
        listen: settings.listen,
        database_url: &settings.database_url,
        amqp_url: &settings.amqp_url,
    };
    let ground = Ground::find("transfer-b", places, PublisherOptions::default()).await?;
    MIGRATIONS.run(&ground.db).await?;
    let company = CompanyB {
        db: ground.db.clone(),
        bus: ground.bus.clone(),
        parked: ground.bus.parked(&settings.names.queue),
        client: Client::new(settings.callback_timeout),
        settings: Arc::new(settings),
        changed: Arc::default(),
    };
    let worker = start_worker(&company).await?;
    let sweep = tokio::spawn(receiver::sweep(company.clone(), ground.stop.clone()));
    let peer_url = company.settings.peer_url.clone();
    let routes = crate::http::routes(&Company::B(company.clone()), peer_url, &ground.stop);
    let served = ground.serve(OPENAPI, None, routes).await?;
    Ok(RunningB { served, company, worker, sweep })
}

async fn start_worker(company: &CompanyB) -> Result<Worker, StartError> {
    let settings = &company.settings;
    let worker = company
        .bus
        .worker(&settings.names.queue)
        .topology(settings.names.topology())
        .retry(until_the_database_is_back())
        .concurrency(settings.concurrency)
        .drain(settings.callback_timeout)
        .start(Receiver(company.clone()))
        .await?;
    Ok(worker)
}

impl RunningB {
    /// Where API and page are.
    pub fn addr(&self) -> SocketAddr {
        self.served.addr()
    }

    /// The page's address.
    pub fn url(&self) -> String {
        self.served.url()
    }

    /// What B can do, without HTTP.
    pub fn company(&self) -> &CompanyB {
        &self.company
    }

    /// Takes no more messages and requests, lets what is under way finish, and closes all connections.
    pub async fn shutdown(mut self) {
        self.served.close_door().await;
        self.worker.shutdown().await;
        if let Err(error) = self.sweep.await {
            tracing::error!(%error, "the sweep ended badly");
        }
        self.served.leave().await;
    }
}
