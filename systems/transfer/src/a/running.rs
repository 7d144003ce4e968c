//! Starting company A in one process, and stopping it in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use leveret_bus::outbox::{Relay, RelayOptions};
use leveret_bus::{Outbox, PublisherOptions};
use leveret_web::{Ground, Places, Served, StartError};
use tokio_util::task::TaskTracker;

use super::company::CompanyA;
use super::{MIGRATIONS, http, timers};
use crate::company::Company;
use crate::settings::{SettingsA, check_urls};

/// Shorter than the bus's own, so that the lease below can be: what a killed copy had taken to publish waits until
/// that runs out.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);
const RELAY_LEASE: Duration = Duration::from_secs(5);

/// Company A, running. [`shutdown`](Self::shutdown) ends it in good order.
pub struct RunningA {
    served: Served,
    company: CompanyA,
    relay: Relay,
    timers: TaskTracker,
}

/// Starts company A: API and page, outbox relay, timers. Returns once all of them are up.
///
/// # Errors
/// A setting makes no sense, or the broker, the database or the address cannot be had.
pub async fn run_a(settings: SettingsA) -> Result<RunningA, StartError> {
    check_urls(&[("peer_url", settings.peer_url.as_deref())])?;
    let places = Places {
        listen: settings.listen,
        database_url: &settings.database_url,
        amqp_url: &settings.amqp_url,
    };
    let publishing = PublisherOptions { timeout: PUBLISH_TIMEOUT, ..Default::default() };
    let ground = Ground::find("transfer-a", places, publishing).await?;
    let company = company(&ground, &settings).await?;
    let options = RelayOptions { lease: RELAY_LEASE, ..Default::default() };
    let relay = company.outbox.relay(company.bus.publisher(), options);
    let timers = TaskTracker::new();
    timers.spawn(timers::republish(company.clone(), settings.clone(), ground.stop.clone()));
    timers.spawn(timers::expire(company.clone(), settings.clone(), ground.stop.clone()));
    timers.spawn(timers::forget(company.clone(), ground.stop.clone()));
    timers.close();
    let shared = crate::http::routes(&Company::A(company.clone()), settings.peer_url, &ground.stop);
    let routes = http::routes(company.clone()).merge(shared);
    let served = ground.serve(http::OPENAPI, Some(company.outbox.clone()), routes).await?;
    Ok(RunningA { served, company, relay, timers })
}

async fn company(ground: &Ground, settings: &SettingsA) -> Result<CompanyA, StartError> {
    MIGRATIONS.run(&ground.db).await?;
    ground.bus.declare(&settings.names.topology()).await?;
    Ok(CompanyA {
        db: ground.db.clone(),
        bus: ground.bus.clone(),
        outbox: Outbox::open(ground.db.clone()).await?,
        parked: ground.bus.parked(&settings.names.queue),
        names: Arc::new(settings.names.clone()),
        secret: settings.secret.clone(),
        changed: Arc::default(),
    })
}

impl RunningA {
    /// Where API, callback and page are.
    pub fn addr(&self) -> SocketAddr {
        self.served.addr()
    }

    /// The page's address.
    pub fn url(&self) -> String {
        self.served.url()
    }

    /// What A can do, without HTTP.
    pub fn company(&self) -> &CompanyA {
        &self.company
    }

    /// Takes no more requests, lets what is under way finish, and closes all connections.
    pub async fn shutdown(mut self) {
        self.served.close_door().await;
        self.timers.wait().await;
        self.relay.shutdown().await;
        self.served.leave().await;
    }
}
