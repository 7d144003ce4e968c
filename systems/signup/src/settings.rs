//! What can be set on the system, by flag and environment or by a program that has it inside. The defaults are the
//! notes' names and times.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use leveret_bus::{DelayMode, ExchangeKind, Topology};
use leveret_web::program;

/// Where sign-up messages travel.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Exchange that sign-ups are announced to.
    #[arg(long, env = "SIGNUP_EXCHANGE", default_value = "UserExchange")]
    pub exchange: String,
    /// Exchange that delays retries, on brokers that can.
    #[arg(long, env = "SIGNUP_DELAY_EXCHANGE", default_value = "UserDelayExchange")]
    pub delay_exchange: String,
    /// Routing key.
    #[arg(long, env = "SIGNUP_ROUTING_KEY", default_value = "userreg")]
    pub routing_key: String,
    /// Queue of mails to be sent.
    #[arg(long, env = "SIGNUP_QUEUE", default_value = "UserQueue")]
    pub queue: String,
}

impl Default for Names {
    fn default() -> Self {
        program::settings(&[])
    }
}

impl Names {
    pub(crate) fn topology(&self) -> Topology {
        Topology::new().exchange(&self.exchange, ExchangeKind::Direct).queue(&self.queue).bind(
            &self.queue,
            &self.exchange,
            &self.routing_key,
        )
    }
}

/// Settings of the sign-up system.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The broker.
    #[arg(long, env = "SIGNUP_AMQP_URL", default_value = "amqp://guest:guest@127.0.0.1:5672")]
    pub amqp_url: String,
    /// The database; a SQLite file is made if there is none.
    #[arg(long, env = "SIGNUP_DATABASE_URL", default_value = "sqlite://signup.db")]
    pub database_url: String,
    /// Address of API and page; port 0 picks a free one.
    #[arg(long, env = "SIGNUP_LISTEN", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// Folder of .eml files: where mails go without a mail server, and what the page shows.
    #[arg(long, env = "SIGNUP_MAIL_FOLDER", default_value = "mails")]
    pub mail_folder: PathBuf,
    /// Mail server, as smtp://host:port, smtps://user:password@host or smtp://host?tls=required; without one, mails become
    /// files.
    #[arg(long, env = "SIGNUP_SMTP_URL")]
    pub smtp_url: Option<String>,
    /// Sender of the mails.
    #[arg(long, env = "SIGNUP_MAIL_FROM", default_value = "Sign-up <welcome@localhost>")]
    pub mail_from: String,
    /// How long one mail may take, connecting included, in milliseconds.
    #[arg(long = "mail-timeout-ms", env = "SIGNUP_MAIL_TIMEOUT_MS", default_value = "20000", value_parser = program::ms)]
    pub mail_timeout: Duration,
    /// Pauses before the second and each further attempt, in milliseconds; after the last one the message is parked.
    #[arg(long = "delays-ms", env = "SIGNUP_DELAYS_MS", value_delimiter = ',', default_value = "3000,6000,12000,24000", value_parser = program::ms)]
    pub delays: Vec<Duration>,
    /// How retries are held back: by what the broker has.
    #[arg(skip = DelayMode::Auto)]
    pub delay_mode: DelayMode,
    /// How many mails are sent at once.
    #[arg(long, env = "SIGNUP_CONCURRENCY", default_value = "8", value_parser = program::count)]
    pub concurrency: usize,
    /// Exchanges, queue and key.
    #[command(flatten)]
    pub names: Names,
}

impl Default for Settings {
    fn default() -> Self {
        program::settings(&[])
    }
}
