//! Starting company A in one process, each part after those that it needs.

use std::sync::Arc;
use std::time::Duration;

use leveret_bus::outbox::RelayOptions;
use leveret_bus::{Outbox, PublisherOptions, inbox};
use leveret_web::client::check_url;
use leveret_web::{Ground, Places, Running, StartError};

use super::company::CompanyA;
use super::{http, timers};
use crate::books::Side;
use crate::company::Company;
use crate::http::front;
use crate::settings::SettingsA;

/// Shorter than the bus's own, so that the lease below can be: what a killed copy had taken to publish waits until
/// that runs out.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);
const RELAY_LEASE: Duration = Duration::from_secs(5);

/// Company A, running.
pub type RunningA = Running<CompanyA>;

/// Starts company A: API and page, outbox relay, timers. Returns once all of them are up.
///
/// # Errors
/// A setting makes no sense, or the broker, the database or the address cannot be had.
pub async fn run_a(settings: SettingsA) -> Result<RunningA, StartError> {
    check_url("peer_url", settings.peer_url.as_deref())?;
    let places =
        Places { listen: settings.listen, database: &settings.database_url, amqp: &settings.amqp_url };
    let publishing = PublisherOptions { timeout: PUBLISH_TIMEOUT, ..Default::default() };
    let ground = Ground::find("transfer-a", places, publishing).await?;
    let company = Company::found(Side::A, &ground, &settings.names).await?;
    inbox::migrate(&ground.db).await?;
    let outbox = Outbox::open(ground.db.clone()).await?;
    let a = CompanyA { company, outbox, settings: Arc::new(settings) };
    let options = RelayOptions { lease: RELAY_LEASE, ..Default::default() };
    let relay = a.outbox.relay(ground.bus.publisher(), options);
    timers::start(&a, &ground);
    let (own, outbox, peer) = (http::routes(a.clone()), Some(a.outbox.clone()), a.settings.peer_url.clone());
    let front = front(&a.company, own, outbox, peer.as_deref());
    let running = ground.open(a, front).await?;
    Ok(running.ending(|| relay.shutdown()))
}
