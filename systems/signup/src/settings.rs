//! What can be set on the system, with defaults. Reading flags and environment is the binary's business.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use leveret_bus::DelayMode;

use crate::names::Names;

/// Settings of the sign-up system.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The broker. Default `amqp://guest:guest@127.0.0.1:5672`.
    pub amqp_url: String,
    /// The database. Default `sqlite://signup.db`, made if there is none.
    pub database_url: String,
    /// Address of API and page; port 0 picks a free one. Default `127.0.0.1:8081`.
    pub listen: SocketAddr,
    /// Folder of `.eml` files: where mails go without `smtp_url`, and what the page shows. Default `mails`.
    pub mail_folder: PathBuf,
    /// Mail server, as `smtp://host:port`, `smtps://user:password@host` or `smtp://host?tls=required`. Default
    /// none: mails become files.
    pub smtp_url: Option<String>,
    /// Sender of the mails. Default `Sign-up <welcome@localhost>`.
    pub mail_from: String,
    /// How long one mail may take, connecting included. Default 20 s.
    pub mail_timeout: Duration,
    /// Pauses before the second and each further attempt; after the last one the message is parked. Default 3 s, 6 s,
    /// 12 s, 24 s.
    pub delays: Vec<Duration>,
    /// How retries are held back. Default: by what the broker has.
    pub delay_mode: DelayMode,
    /// How many mails are sent at once. Default 8.
    pub concurrency: usize,
    /// Exchanges, queue and key. Default: the notes'.
    pub names: Names,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            amqp_url: "amqp://guest:guest@127.0.0.1:5672".into(),
            database_url: "sqlite://signup.db".into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)),
            mail_folder: "mails".into(),
            smtp_url: None,
            mail_from: "Sign-up <welcome@localhost>".into(),
            mail_timeout: Duration::from_secs(20),
            delays: [3, 6, 12, 24].map(Duration::from_secs).to_vec(),
            delay_mode: DelayMode::Auto,
            concurrency: 8,
            names: Names::default(),
        }
    }
}
