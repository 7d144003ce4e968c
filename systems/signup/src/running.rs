//! Starting the whole system in one process, and stopping it in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use leveret_bus::outbox::{Relay, RelayOptions};
use leveret_bus::{Bus, DelayMode, Outbox, PublisherOptions, Worker};
use leveret_web::{Ground, Places, Served, StartError, until_the_database_is_back};

use crate::http;
use crate::mail::{MailFolder, MailSender, SmtpSender};
use crate::settings::Settings;
use crate::signup::Signup;
use crate::store;
use crate::welcome::Welcome;

/// Shorter than the bus's own, so that the lease below can be: what a killed process had taken to publish waits until
/// that runs out.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
const RELAY_LEASE: Duration = Duration::from_secs(10);

/// The running system. [`shutdown`](Self::shutdown) ends it in good order.
pub struct Running {
    served: Served,
    signup: Signup,
    worker: Worker,
    relay: Relay,
}

/// Starts the system: API and page, worker, outbox relay. Returns once all of them are up.
///
/// # Errors
/// A setting makes no sense, or the broker, the database or the address cannot be had.
pub async fn run(settings: Settings) -> Result<Running, StartError> {
    let from: Mailbox =
        settings.mail_from.parse().map_err(|error| StartError::setting("mail_from", error))?;
    let mails = MailFolder::open(&settings.mail_folder)
        .await
        .map_err(|error| StartError::setting("mail_folder", error))?;
    let sender = sender(&settings, &mails)?;
    let places = Places {
        listen: settings.listen,
        database_url: &settings.database_url,
        amqp_url: &settings.amqp_url,
    };
    let publishing = PublisherOptions { timeout: PUBLISH_TIMEOUT, ..Default::default() };
    let ground = Ground::find("sign-up", places, publishing).await?;
    store::MIGRATIONS.run(&ground.db).await?;
    let signup = Signup {
        db: ground.db.clone(),
        outbox: Outbox::open(ground.db.clone()).await?,
        parked: ground.bus.parked(&settings.names.queue),
        names: Arc::new(settings.names.clone()),
        changed: Arc::default(),
        mails,
    };
    let worker = start_worker(&settings, &ground.bus, welcome(&settings, &signup, sender, from)).await?;
    let options = RelayOptions { lease: RELAY_LEASE, ..Default::default() };
    let relay = signup.outbox.relay(ground.bus.publisher(), options);
    let routes = http::routes(&signup, &ground.stop);
    let served = ground.serve(http::OPENAPI, Some(signup.outbox.clone()), routes).await?;
    Ok(Running { served, signup, worker, relay })
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
    pub fn signup(&self) -> &Signup {
        &self.signup
    }

    /// Which way retries are held back on this broker.
    pub async fn delay_mode(&self) -> DelayMode {
        self.worker.delay_mode().await
    }

    /// Takes no more requests, finishes the mails under way, and closes all connections.
    pub async fn shutdown(mut self) {
        self.served.close_door().await;
        self.worker.shutdown().await;
        self.relay.shutdown().await;
        self.served.leave().await;
    }
}

fn sender(settings: &Settings, folder: &MailFolder) -> Result<Arc<dyn MailSender>, StartError> {
    match &settings.smtp_url {
        Some(url) => {
            Ok(Arc::new(SmtpSender::new(url).map_err(|error| StartError::setting("smtp_url", error))?))
        }
        None => Ok(Arc::new(folder.clone())),
    }
}

fn welcome(settings: &Settings, signup: &Signup, sender: Arc<dyn MailSender>, from: Mailbox) -> Welcome {
    Welcome {
        db: signup.db.clone(),
        sender,
        from,
        delays: settings.delays.clone(),
        mail_timeout: settings.mail_timeout,
        changed: Arc::clone(&signup.changed),
    }
}

/// The mail's own failures are counted in the database and bring their own delays; the policy is for all others.
async fn start_worker(settings: &Settings, bus: &Bus, welcome: Welcome) -> Result<Worker, StartError> {
    let names = &settings.names;
    let worker = bus
        .worker(&names.queue)
        .topology(names.topology())
        .delay_through(&names.delay_exchange, &names.routing_key)
        .delay_mode(settings.delay_mode)
        .retry(until_the_database_is_back())
        .concurrency(settings.concurrency)
        .drain(settings.mail_timeout)
        .start(welcome)
        .await?;
    Ok(worker)
}
