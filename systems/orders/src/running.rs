//! Starting the whole system in one process, each part after those that it needs.

use std::sync::Arc;
use std::time::Duration;

use leveret_bus::{PublisherOptions, Worker};
use leveret_web::{Front, Ground, Places, StartError, until_the_database_is_back};
use tokio_util::sync::CancellationToken;

use crate::closing::Closing;
use crate::desk::Desk;
use crate::http;
use crate::numbers::Numbers;
use crate::page::DeskPage;
use crate::settings::Settings;
use crate::store;
use crate::writer::Writer;

/// An order is accepted within this time or not at all.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
const CLOSED_AT_ONCE: usize = 16;
/// How often the queue's depth is asked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// The running system.
pub type Running = leveret_web::Running<Desk>;

/// Starts the system: API and page, and unless set otherwise the workers. Returns once all of them are up.
///
/// # Errors
/// A setting makes no sense, or the broker, the database or the address cannot be had.
pub async fn run(settings: Settings) -> Result<Running, StartError> {
    let places =
        Places { listen: settings.listen, database: &settings.database_url, amqp: &settings.amqp_url };
    let publishing = PublisherOptions { timeout: PUBLISH_TIMEOUT, ..Default::default() };
    let ground = Ground::find("orders", places, publishing).await?;
    store::MIGRATIONS.run(&ground.db).await?;
    ground.bus.declare(&settings.names.topology()).await?;
    let numbers = Numbers::start(settings.numbering, &ground.db).await?;
    let desk = Desk::new(ground.db.clone(), ground.bus.clone(), settings, numbers);
    let workers = match desk.settings.accept_only {
        true => Vec::new(),
        false => start_workers(&desk, &ground.stop).await?,
    };
    ground.every(LOOK_EVERY, "the queue's depth is not known", &desk, Desk::look);
    ground.every(FORGET_EVERY, "old promises could not be removed", &desk, Desk::forget);
    let front = Front {
        openapi: http::OPENAPI,
        routes: http::routes(desk.clone(), &ground.stop),
        page: DeskPage(desk.clone()),
        parked: desk.parked.clone(),
        outbox: None,
        changed: Arc::clone(&desk.changed),
    };
    let running = ground.open(desk, front).await?;
    Ok(workers.into_iter().fold(running, |running, worker| running.ending(|| worker.shutdown())))
}

async fn start_workers(desk: &Desk, stop: &CancellationToken) -> Result<Vec<Worker>, StartError> {
    let names = &desk.settings.names;
    let retry = until_the_database_is_back();
    let closing = desk.bus.delayed(&names.close_queue).through(&names.close_exchange, &names.close_queue);
    let closing = closing.mode(desk.settings.delay_mode).open().await?;
    // Two batches: one being written, one gathering.
    let writing = desk.bus.worker(&names.queue).topology(names.topology()).retry(retry.clone());
    let writing = writing.delay_mode(desk.settings.delay_mode).concurrency(desk.settings.batch.max(1) * 2);
    let writing = writing.start(Writer::start(desk.clone(), closing, stop.clone())).await?;
    let closing = desk.bus.worker(&names.close_queue).topology(names.topology()).retry(retry);
    let closing = closing.delay_through(&names.close_exchange, &names.close_queue);
    let closing = closing.delay_mode(desk.settings.delay_mode).concurrency(CLOSED_AT_ONCE);
    let closing = closing.start(Closing(desk.clone())).await?;
    Ok(vec![writing, closing])
}
