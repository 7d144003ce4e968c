//! Starting the whole system in one process, and stopping it in the right order.

use std::net::SocketAddr;
use std::time::Duration;

use leveret_bus::{PublisherOptions, Worker};
use leveret_web::{Ground, Places, Served, StartError, until_the_database_is_back};
use tokio::task::JoinHandle;

use crate::closing::Closing;
use crate::desk::Desk;
use crate::http;
use crate::numbers::Numbers;
use crate::settings::Settings;
use crate::store;
use crate::writer::Writer;

/// An order is accepted within this time or not at all.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
const CLOSED_AT_ONCE: usize = 16;

/// The running system. [`shutdown`](Self::shutdown) ends it in good order.
pub struct Running {
    served: Served,
    desk: Desk,
    workers: Vec<Worker>,
    looking: JoinHandle<()>,
}

/// Starts the system: API and page, and unless set otherwise the workers. Returns once all of them are up.
///
/// # Errors
/// A setting makes no sense, or the broker, the database or the address cannot be had.
pub async fn run(settings: Settings) -> Result<Running, StartError> {
    let places = Places {
        listen: settings.listen,
        database_url: &settings.database_url,
        amqp_url: &settings.amqp_url,
    };
    let publishing = PublisherOptions { timeout: PUBLISH_TIMEOUT, ..Default::default() };
    let ground = Ground::find("orders", places, publishing).await?;
    store::MIGRATIONS.run(&ground.db).await?;
    ground.bus.declare(&settings.names.topology()).await?;
    let numbers = Numbers::start(settings.numbering, &ground.db).await?;
    let desk = Desk::new(ground.db.clone(), ground.bus.clone(), settings, numbers);
    let workers = if desk.settings.accept_only { Vec::new() } else { start_workers(&desk).await? };
    let looking = tokio::spawn(desk.clone().look_after(ground.stop.clone()));
    let routes = http::routes(desk.clone(), &ground.stop);
    let served = ground.serve(http::OPENAPI, None, routes).await?;
    Ok(Running { served, desk, workers, looking })
}

async fn start_workers(desk: &Desk) -> Result<Vec<Worker>, StartError> {
    let names = &desk.settings.names;
    let retry = until_the_database_is_back();
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
        self.served.addr()
    }

    /// The page's address.
    pub fn url(&self) -> String {
        self.served.url()
    }

    /// What the system can do, without HTTP.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Takes no more requests and messages, lets what is under way finish, and closes all connections.
    pub async fn shutdown(mut self) {
        self.served.close_door().await;
        for worker in self.workers {
            worker.shutdown().await;
        }
        if let Err(error) = self.looking.await {
            tracing::error!(%error, "the watch over the queue ended badly");
        }
        self.served.leave().await;
    }
}
