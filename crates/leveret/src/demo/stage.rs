//! Everything that runs in the demo: broker, mail server, sign-up system and page; started from the ground up and
//! stopped the other way round.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use leveret_server::{Config, Server};
use leveret_signup::{MailFolder, Running, ScriptedMailServer, Settings};
use tempfile::TempDir;

use super::options::Options;
use super::page::Page;
use super::story::Story;
use crate::data_dir;
use crate::failure::Failure;
use crate::serve::{listen_advice, start_failure};

/// Mails that the mail server refuses in the tour.
pub(super) const REFUSALS: u32 = 2;

/// The running demo.
pub(super) struct Stage {
    pub(super) mails: PathBuf,
    pub(super) signup: Running,
    pub(super) page: Page,
    broker: Server,
    folder: Folder,
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
}

impl Stage {
    pub(super) async fn set_up(options: &Options, story: &Story) -> Result<Self, Failure> {
        let folder = Folder::make(options.dir.as_ref())?;
        let broker = start_broker(options.amqp(), &folder.path().join("broker")).await?;
        let mails = folder.path().join("mails");
        let mail_server = start_mail_server(&mails).await?;
        let settings = Settings {
            amqp_url: broker.amqp_url(),
            database_url: format!("sqlite://{}", folder.path().join("signup.db").display()),
            listen: options.signup(),
            mail_folder: mails.clone(),
            smtp_url: Some(mail_server.url()),
            ..Settings::default()
        };
        let signup = leveret_signup::run(settings).await.map_err(|error| signup_failure(&error))?;
        let page = Page::start(options.http(), story.clone(), signup.url(), broker.amqp_url(), mail_server);
        let page = page.await.map_err(|error| {
            Failure::run(format!("page on {}: {}", options.http(), listen_advice(&error, "--http")))
        })?;
        Ok(Self { mails, signup, page, broker, folder })
    }

    /// Where clients reach the broker.
    pub(super) fn amqp_url(&self) -> String {
        self.broker.amqp_url()
    }

    /// Whether everything written is gone with the demo.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.folder, Folder::Temporary(_))
    }

    pub(super) async fn take_down(self) {
        self.page.stop();
        self.signup.shutdown().await;
        self.broker.shutdown().await;
        if let Folder::Temporary(folder) = self.folder
            && let Err(error) = folder.close()
        {
            tracing::warn!(%error, "the temporary folder stays");
        }
    }
}

async fn start_broker(amqp: SocketAddr, data_dir: &Path) -> Result<Server, Failure> {
    let config = Config { amqp: amqp.to_string(), data_dir: Some(data_dir.into()), ..Config::default() };
    Server::start(config).await.map_err(|error| start_failure(&error, "off"))
}

async fn start_mail_server(mails: &Path) -> Result<ScriptedMailServer, Failure> {
    let failed = |error| Failure::run(format!("mail folder {}: {error}", mails.display()));
    let folder = MailFolder::open(mails).await.map_err(failed)?;
    ScriptedMailServer::start(folder, REFUSALS).await.map_err(failed)
}

fn signup_failure(error: &leveret_signup::Error) -> Failure {
    match error {
        leveret_signup::Error::Io { what, source } => {
            Failure::run(format!("sign-up system: {what}: {}", listen_advice(source, "--signup")))
        }
        error => Failure::run(format!("sign-up system: {error}")),
    }
}
