//! Starting company B in one process, each part after those that it needs.

use std::sync::Arc;

use axum::Router;
use leveret_bus::{PublisherOptions, Worker};
use leveret_web::client::{Client, check_url};
use leveret_web::{Ground, Places, Running, StartError, until_the_database_is_back};

use super::company::CompanyB;
use super::receiver::Receiver;
use crate::books::Side;
use crate::company::Company;
use crate::http::front;
use crate::settings::SettingsB;

/// Company B, running.
pub type RunningB = Running<CompanyB>;

/// Starts company B: worker, sweep, API and page. Returns once all of them are up.
///
/// # Errors
/// A setting makes no sense, or the broker, the database or the address cannot be had.
pub async fn run_b(settings: SettingsB) -> Result<RunningB, StartError> {
    check_url("callback_url", Some(&settings.callback_url))?;
    check_url("peer_url", settings.peer_url.as_deref())?;
    let places =
        Places { listen: settings.listen, database: &settings.database_url, amqp: &settings.amqp_url };
    let ground = Ground::find("transfer-b", places, PublisherOptions::default()).await?;
    let company = Company::found(Side::B, &ground, &settings.names).await?;
    let client = Client::new(settings.callback_timeout);
    let b = CompanyB { company, client, settings: Arc::new(settings) };
    let worker = start_worker(&b).await?;
    ground.every(b.settings.sweep_every, "the sweep failed", &b, CompanyB::sweep);
    let front = front(&b.company, Router::new(), None, b.settings.peer_url.as_deref());
    let running = ground.open(b, front).await?;
    Ok(running.ending(|| worker.shutdown()))
}

async fn start_worker(b: &CompanyB) -> Result<Worker, StartError> {
    let worker = b.company.bus.worker(&b.settings.names.queue).topology(b.settings.names.topology());
    let worker = worker.retry(until_the_database_is_back()).concurrency(b.settings.concurrency);
    Ok(worker.drain(b.settings.callback_timeout).start(Receiver(b.clone())).await?)
}
