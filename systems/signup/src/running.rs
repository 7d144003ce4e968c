//! Starting the whole system in one process, and stopping it in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use leveret_bus::outbox::{Relay, RelayOptions};
use leveret_bus::{Bus, DelayMode, Outbox, PublisherOptions, RetryPolicy, Worker, database};
use leveret_web::{Site, serve};
use sea_orm::DatabaseConnection;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::http;
use crate::mail::{MailFolder, MailSender, SmtpSender};
use crate::settings::Settings;
use crate::signup::Signup;
use crate::store;
use crate::welcome::Welcome;

/// How long open requests may take to finish at the end.
const HTTP_DRAIN: Duration = Duration::from_secs(3);
/// Shorter than the bus's own, so that the lease below can be: what a killed process had taken to publish waits until
/// that runs out.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
const RELAY_LEASE: Duration = Duration::from_secs(10);
/// When a message comes back that failed for other reasons than its mail, such as an unreachable database. The mail's
/// own failures are counted in the database and bring their own delays.
const OTHER_FAILURES: (Duration, Duration, u32) = (Duration::from_secs(1), Duration::from_secs(60), 1000);

/// The running system. [`shutdown`](Self::shutdown) ends it in good order.
pub struct Running {
    addr: SocketAddr,
    signup: Signup,
    worker: Worker,
    relay: Relay,
    http: JoinHandle<()>,
    stop: CancellationToken,
}

/// Connects to broker and database without starting anything: for the command line.
///
/// # Errors
/// A setting makes no sense, or the broker or the database cannot be reached.
pub async fn connect(settings: &Settings) -> Result<Signup, Error> {
    let db = database::connect(&settings.database_url).await.map_err(|error| blame(error, "database_url"))?;
    let publishing = PublisherOptions { timeout: PUBLISH_TIMEOUT, ..Default::default() };
    let bus = Bus::builder(&settings.amqp_url).name("sign-up").publisher(publishing).connect().await;
    let bus = bus.map_err(|error| blame(error, "amqp_url"))?;
    store::MIGRATIONS.run(&db).await?;
    let mails = MailFolder::open(&settings.mail_folder);
    let mails = mails.await.map_err(Error::io(settings.mail_folder.display().to_string()))?;
    Ok(Signup {
        outbox: Outbox::open(db.clone()).await?,
        parked: bus.parked(&settings.names.queue),
        names: Arc::new(settings.names.clone()),
        changed: Arc::new(Notify::new()),
        db,
        bus,
        mails,
    })
}

/// Starts the system: API and page, worker, outbox relay. Returns once all of them are up.
///
/// # Errors
/// A setting makes no sense, or the broker, the database or the address cannot be had.
pub async fn run(settings: Settings) -> Result<Running, Error> {
    let from: Mailbox = settings.mail_from.parse().map_err(|error| Error::setting("mail_from", error))?;
    let listener = TcpListener::bind(settings.listen).await;
    let listener = listener.map_err(Error::io(format!("listening on {}", settings.listen)))?;
    let addr = listener.local_addr().map_err(Error::io("listening"))?;
    let signup = connect(&settings).await?;
    let sender = sender(&settings, &signup.mails)?;
    let welcome = Welcome {
        db: signup.db.clone(),
        sender,
        from,
        delays: settings.delays.clone(),
        mail_timeout: settings.mail_timeout,
        changed: Arc::clone(&signup.changed),
    };
    let worker = start_worker(&settings, &signup.bus, welcome).await?;
    let relay = signup
        .outbox
        .relay(signup.bus.publisher(), RelayOptions { lease: RELAY_LEASE, ..Default::default() });
    let stop = CancellationToken::new();
    let outbox = Some(signup.outbox.clone());
    let site =
        Site::open("sign-up", http::OPENAPI, signup.bus.clone(), signup.db.clone(), outbox, stop.clone());
    let http = serve(listener, site.await?, http::routes(&signup, &stop));
    Ok(Running { addr, signup, worker, relay, http, stop })
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
    pub fn signup(&self) -> &Signup {
        &self.signup
    }

    /// Which way retries are held back on this broker.
    pub async fn delay_mode(&self) -> DelayMode {
        self.worker.delay_mode().await
    }

    /// Takes no more requests, finishes the mails under way, and closes all connections.
    pub async fn shutdown(self) {
        self.stop.cancel();
        let mut http = self.http;
        if timeout(HTTP_DRAIN, &mut http).await.is_err() {
            http.abort();
        }
        self.worker.shutdown().await;
        self.relay.shutdown().await;
        self.signup.close().await;
    }
}

impl Signup {
    /// Closes the connections to broker and database.
    pub async fn close(self) {
        self.bus.close().await;
        let db: DatabaseConnection = self.db;
        if let Err(error) = db.close().await {
            tracing::warn!(%error, "closing the database");
        }
    }
}

/// An error over a URL that cannot be read is the setting's fault.
fn blame(error: leveret_bus::Error, setting: &'static str) -> Error {
    match error {
        leveret_bus::Error::Url(problem) => Error::setting(setting, problem),
        other => other.into(),
    }
}

fn sender(settings: &Settings, folder: &MailFolder) -> Result<Arc<dyn MailSender>, Error> {
    match &settings.smtp_url {
        Some(url) => Ok(Arc::new(SmtpSender::new(url).map_err(|error| Error::setting("smtp_url", error))?)),
        None => Ok(Arc::new(folder.clone())),
    }
}

async fn start_worker(settings: &Settings, bus: &Bus, welcome: Welcome) -> Result<Worker, Error> {
    let names = &settings.names;
    let (first, cap, attempts) = OTHER_FAILURES;
    let worker = bus
        .worker(&names.queue)
        .topology(names.topology())
        .delay_through(&names.delay_exchange, &names.routing_key)
        .delay_mode(settings.delay_mode)
        .retry(RetryPolicy::exponential(first).with_cap(cap).with_attempts(attempts))
        .concurrency(settings.concurrency)
        .drain(settings.mail_timeout)
        .start(welcome)
        .await?;
    Ok(worker)
}
