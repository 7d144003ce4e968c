//! Starting the whole system in one process, each part after those that it needs.

use std::sync::Arc;
use std::time::Duration;

use lettre::message::Mailbox;
use leveret_bus::outbox::RelayOptions;
use leveret_bus::{Bus, Outbox, PublisherOptions, Worker, lease};
use leveret_web::{Front, Ground, Places, StartError, until_the_database_is_back};

use crate::http;
use crate::mail::{MailFolder, MailSender, SmtpSender};
use crate::page::SignupPage;
use crate::settings::Settings;
use crate::signup::Signup;
use crate::store;
use crate::welcome::Welcome;

/// Shorter than the bus's own, so that the lease below can be: what a killed process had taken to publish waits until
/// that runs out.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
const RELAY_LEASE: Duration = Duration::from_secs(10);

/// The running system.
pub type Running = leveret_web::Running<Signup>;

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
    let places =
        Places { listen: settings.listen, database: &settings.database_url, amqp: &settings.amqp_url };
    let publishing = PublisherOptions { timeout: PUBLISH_TIMEOUT, ..Default::default() };
    let ground = Ground::find("sign-up", places, publishing).await?;
    store::MIGRATIONS.run(&ground.db).await?;
    lease::migrate(&ground.db).await?;
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
    let front = Front {
        openapi: http::OPENAPI,
        routes: http::routes(signup.clone()),
        page: SignupPage(signup.clone()),
        parked: signup.parked.clone(),
        outbox: Some(signup.outbox.clone()),
        changed: Arc::clone(&signup.changed),
    };
    let running = ground.open(signup, front).await?;
    Ok(running.ending(|| worker.shutdown()).ending(|| relay.shutdown()))
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
