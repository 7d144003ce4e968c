//! Everything that runs in the demo: broker, mail server, the three systems and page; started from the ground up and
//! stopped the other way round.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use leveret_mailserver::ScriptedMailServer;
use leveret_management::{Logs, Management};
use leveret_server::{Config, Server};
use leveret_transfer::a::RunningA;
use leveret_transfer::b::RunningB;
use leveret_transfer::{Secret, SettingsA, SettingsB};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::options::Options;
use super::page::{Page, Shown};
use super::story::Story;
use crate::data_dir;
use crate::failure::Failure;
use crate::management;
use crate::serve::{listen_advice, start_failure};

/// Mails that the mail server refuses in the tour.
pub(super) const REFUSALS: u32 = 2;
/// How long an order may stay unpaid here, so that one can see it close.
pub(super) const CLOSE_AFTER: Duration = Duration::from_secs(15);

/// The running demo.
pub(super) struct Stage {
    pub(super) mails: PathBuf,
    pub(super) signup: leveret_signup::Running,
    pub(super) a: RunningA,
    pub(super) b: CompanyB,
    pub(super) orders: leveret_orders::Running,
    pub(super) page: Page,
    broker: Broker,
    folder: Folder,
}

/// Company B, which can be taken down.
pub(super) struct CompanyB {
    settings: SettingsB,
    running: Mutex<Option<RunningB>>,
}

/// The broker, in this process or somebody else's.
enum Broker {
    Ours { server: Server, management: Option<Management> },
    Theirs { amqp_url: String },
}

/// Where databases and mails are.
enum Folder {
    Given(PathBuf),
    Temporary(TempDir),
}

impl Folder {
    fn make(given: Option<&PathBuf>) -> Result<Self, Failure> {
        if let Some(path) = given {
            data_dir::prepare(path, "--dir")?;
            return Ok(Self::Given(path.clone()));
        }
        let made = tempfile::Builder::new().prefix("leveret-demo-").tempdir();
        made.map(Self::Temporary).map_err(|error| {
            Failure::run(format!("cannot make a temporary folder: {error}; give one with --dir"))
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// A system's database: a file here, or one on the server that was given.
    async fn database(&self, options: &Options, name: &str) -> Result<String, Failure> {
        let Some(server) = &options.mysql_url else {
            return Ok(format!("sqlite://{}", self.path().join(format!("{name}.db")).display()));
        };
        let made = leveret_bus::database::make(server, &format!("leveret_demo_{name}")).await;
        made.map_err(|error| Failure::run(format!("--mysql-url: {error}")))
    }
}

impl Stage {
    pub(super) async fn set_up(options: &Options, story: &Story, logs: Arc<Logs>) -> Result<Self, Failure> {
        let folder = Folder::make(options.dir.as_ref())?;
        let broker = Broker::start(options, &folder.path().join("broker"), logs).await?;
        let mails = folder.path().join("mails");
        let mail_server = start_mail_server(&mails).await?;
        let signup = leveret_signup::Settings {
            amqp_url: broker.amqp_url(),
            database_url: folder.database(options, "signup").await?,
            listen: options.signup(),
            mail_folder: mails.clone(),
            smtp_url: Some(mail_server.url()),
            ..Default::default()
        };
        let signup = leveret_signup::run(signup).await.map_err(|error| failed("sign-up", &error))?;
        let (a, b) = companies(options, &broker, &folder).await?;
        let orders = leveret_orders::Settings {
            amqp_url: broker.amqp_url(),
            database_url: folder.database(options, "orders").await?,
            listen: options.orders(),
            close_after: CLOSE_AFTER,
            ..Default::default()
        };
        let orders = leveret_orders::run(orders).await.map_err(|error| failed("orders", &error))?;
        let shown = Shown {
            story: story.clone(),
            signup_url: signup.url(),
            a_url: a.url(),
            b_url: b.url().await,
            orders_url: orders.url(),
            amqp_url: broker.amqp_url(),
            management_url: broker.management_url(),
            mail_server,
        };
        let page = Page::start(options.http(), shown).await.map_err(|error| {
            Failure::run(format!("page on {}: {}", options.http(), listen_advice(&error, "--http")))
        })?;
        Ok(Self { mails, signup, a, b, orders, page, broker, folder })
    }

    /// Where clients reach the broker.
    pub(super) fn amqp_url(&self) -> String {
        self.broker.amqp_url()
    }

    /// Where the broker's management is, if it is ours.
    pub(super) fn management_url(&self) -> Option<String> {
        self.broker.management_url()
    }

    /// Whether everything written is gone with the demo.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.folder, Folder::Temporary(_))
    }

    pub(super) async fn take_down(self) {
        self.page.stop();
        self.b.take_down().await;
        self.a.shutdown().await;
        self.orders.shutdown().await;
        self.signup.shutdown().await;
        if let Broker::Ours { server, management } = self.broker {
            drop(management);
            server.shutdown().await;
        }
        if let Folder::Temporary(folder) = self.folder
            && let Err(error) = folder.close()
        {
            tracing::warn!(%error, "the temporary folder stays");
        }
    }
}

impl Broker {
    async fn start(options: &Options, data_dir: &Path, logs: Arc<Logs>) -> Result<Self, Failure> {
        if let Some(amqp_url) = &options.amqp_url {
            return Ok(Self::Theirs { amqp_url: amqp_url.clone() });
        }
        let amqp = options.amqp().to_string();
        let config = Config { amqp, data_dir: Some(data_dir.into()), ..Config::default() };
        let server = Server::start(config).await.map_err(|error| start_failure(&error, "off"))?;
        let address = options.management().to_string();
        let management = management::start(&address, false, &server, logs).await?;
        Ok(Self::Ours { server, management })
    }

    fn amqp_url(&self) -> String {
        match self {
            Self::Ours { server, .. } => server.amqp_url(),
            Self::Theirs { amqp_url } => amqp_url.clone(),
        }
    }

    fn management_url(&self) -> Option<String> {
        match self {
            Self::Ours { management: Some(management), .. } => {
                Some(format!("http://{}/", management.address()))
            }
            _ => None,
        }
    }
}

impl CompanyB {
    /// Starts B, at the same address as before.
    pub(super) async fn bring_up(&self) -> Result<(), Failure> {
        let running = leveret_transfer::run_b(self.settings.clone()).await;
        *self.running.lock().await = Some(running.map_err(|error| failed("transfer B", &error))?);
        Ok(())
    }

    /// Stops B.
    pub(super) async fn take_down(&self) {
        let running = self.running.lock().await.take();
        if let Some(running) = running {
            running.shutdown().await;
        }
    }

    pub(super) async fn url(&self) -> String {
        format!("http://{}/", self.settings.listen)
    }
}

/// A and B know of each other, so B's address has to be known before either starts.
async fn companies(
    options: &Options,
    broker: &Broker,
    folder: &Folder,
) -> Result<(RunningA, CompanyB), Failure> {
    let secret = format!("{:032x}{:032x}", fastrand::u128(..), fastrand::u128(..));
    let secret = Secret::new(secret).map_err(Failure::run)?;
    let listen_b = fixed(options.transfer_b())?;
    let a = SettingsA {
        amqp_url: broker.amqp_url(),
        database_url: folder.database(options, "transfer_a").await?,
        listen: options.transfer_a(),
        peer_url: Some(format!("http://{listen_b}")),
        ..SettingsA::new(secret.clone())
    };
    let a = leveret_transfer::run_a(a).await.map_err(|error| failed("transfer A", &error))?;
    let settings = SettingsB {
        amqp_url: broker.amqp_url(),
        database_url: folder.database(options, "transfer_b").await?,
        listen: listen_b,
        callback_url: format!("{}callback", a.url()),
        peer_url: Some(a.url()),
        ..SettingsB::new(secret)
    };
    let b = CompanyB { settings, running: Mutex::default() };
    b.bring_up().await?;
    Ok((a, b))
}

/// The address with a port of its own in place of port 0.
fn fixed(address: SocketAddr) -> Result<SocketAddr, Failure> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| listener.local_addr());
    bound.map_err(|error| {
        Failure::run(format!("transfer B on {address}: {}", listen_advice(&error, "--transfer-b")))
    })
}

async fn start_mail_server(mails: &Path) -> Result<ScriptedMailServer, Failure> {
    let failed = |error| Failure::run(format!("mail folder {}: {error}", mails.display()));
    ScriptedMailServer::start(mails, REFUSALS).await.map_err(failed)
}

/// A system that does not start. Most often its port is taken, and its error says which.
fn failed(system: &str, error: &dyn std::error::Error) -> Failure {
    Failure::run(format!("{system} system: {error}; see `leveret demo --help` for its address"))
}
