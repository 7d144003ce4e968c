//! What can be set on the two companies, by flag and environment or by a program that has them inside. The defaults are
//! the notes' names and times.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use leveret_bus::{ExchangeKind, Topology};
use leveret_web::program;
use leveret_web::signature::Secret;

/// Where transfers travel.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Exchange that A publishes to.
    #[arg(long, env = "TRANSFER_EXCHANGE", default_value = "TransExchange")]
    pub exchange: String,
    /// Routing key.
    #[arg(long, env = "TRANSFER_ROUTING_KEY", default_value = "trans")]
    pub routing_key: String,
    /// Queue that B takes from.
    #[arg(long, env = "TRANSFER_QUEUE", default_value = "TransQueueA")]
    pub queue: String,
}

impl Default for Names {
    fn default() -> Self {
        program::settings(&[])
    }
}

impl Names {
    /// Both companies declare all of it, so that either may start first.
    pub(crate) fn topology(&self) -> Topology {
        Topology::new().exchange(&self.exchange, ExchangeKind::Direct).queue(&self.queue).bind(
            &self.queue,
            &self.exchange,
            &self.routing_key,
        )
    }
}

/// Settings of company A.
#[derive(Args, Clone, Debug)]
pub struct SettingsA {
    /// The broker.
    #[arg(long, env = "TRANSFER_AMQP_URL", default_value = "amqp://guest:guest@127.0.0.1:5672")]
    pub amqp_url: String,
    /// A's database; a SQLite file is made if there is none.
    #[arg(long, env = "TRANSFER_A_DATABASE_URL", default_value = "sqlite://a.db")]
    pub database_url: String,
    /// Address of API, callback and page; port 0 picks a free one.
    #[arg(long, env = "TRANSFER_A_LISTEN", default_value = "127.0.0.1:8082")]
    pub listen: SocketAddr,
    /// Where B is, for the page to show both sides.
    #[arg(long, env = "TRANSFER_B_URL")]
    pub peer_url: Option<String>,
    /// What messages and callbacks are signed with, at least 16 bytes. There is no default.
    #[arg(long, env = "TRANSFER_SECRET", hide_env_values = true, value_parser = Secret::parse)]
    pub secret: Secret,
    /// Exchange, key and queue.
    #[command(flatten)]
    pub names: Names,
    /// How often what is pending is published again, in milliseconds.
    #[arg(long = "republish-every-ms", env = "TRANSFER_REPUBLISH_EVERY_MS", default_value = "2000", value_parser = program::ms)]
    pub republish_every: Duration,
    /// Up to which age, in milliseconds.
    #[arg(long = "republish-until-ms", env = "TRANSFER_REPUBLISH_UNTIL_MS", default_value = "8000", value_parser = program::ms)]
    pub republish_until: Duration,
    /// How often what is overdue is failed, and what failed refunded, in milliseconds.
    #[arg(long = "expire-every-ms", env = "TRANSFER_EXPIRE_EVERY_MS", default_value = "3000", value_parser = program::ms)]
    pub expire_every: Duration,
    /// From which age a transfer is overdue, in milliseconds.
    #[arg(long = "expire-after-ms", env = "TRANSFER_EXPIRE_AFTER_MS", default_value = "30000", value_parser = program::ms)]
    pub expire_after: Duration,
}

impl SettingsA {
    /// The defaults, with this secret.
    pub fn new(secret: Secret) -> Self {
        Self { secret, ..program::settings(PLACEHOLDER) }
    }
}

/// Settings of company B.
#[derive(Args, Clone, Debug)]
pub struct SettingsB {
    /// The broker.
    #[arg(long, env = "TRANSFER_AMQP_URL", default_value = "amqp://guest:guest@127.0.0.1:5672")]
    pub amqp_url: String,
    /// B's database; a SQLite file is made if there is none.
    #[arg(long, env = "TRANSFER_B_DATABASE_URL", default_value = "sqlite://b.db")]
    pub database_url: String,
    /// Address of API and page; port 0 picks a free one.
    #[arg(long, env = "TRANSFER_B_LISTEN", default_value = "127.0.0.1:8083")]
    pub listen: SocketAddr,
    /// A's callback, http:// or https://; whom to trust is the system's business, or SSL_CERT_FILE's.
    #[arg(long, env = "TRANSFER_CALLBACK_URL", default_value = "http://127.0.0.1:8082/callback")]
    pub callback_url: String,
    /// How long one callback may take, in milliseconds.
    #[arg(long = "callback-timeout-ms", env = "TRANSFER_CALLBACK_TIMEOUT_MS", default_value = "5000", value_parser = program::ms)]
    pub callback_timeout: Duration,
    /// Where A is, for the page to show both sides.
    #[arg(long, env = "TRANSFER_A_URL")]
    pub peer_url: Option<String>,
    /// What messages and callbacks are signed with, at least 16 bytes. There is no default.
    #[arg(long, env = "TRANSFER_SECRET", hide_env_values = true, value_parser = Secret::parse)]
    pub secret: Secret,
    /// Exchange, key and queue.
    #[command(flatten)]
    pub names: Names,
    /// How often what is still prepared is looked for, in milliseconds.
    #[arg(long = "sweep-every-ms", env = "TRANSFER_SWEEP_EVERY_MS", default_value = "1000", value_parser = program::ms)]
    pub sweep_every: Duration,
    /// Pause after one callback's time is over before A is asked again about the same transfer, in milliseconds.
    #[arg(long = "ask-again-after-ms", env = "TRANSFER_ASK_AGAIN_AFTER_MS", default_value = "1000", value_parser = program::ms)]
    pub ask_again_after: Duration,
    /// How many transfers are worked on at once.
    #[arg(long, env = "TRANSFER_CONCURRENCY", default_value = "64", value_parser = program::count)]
    pub concurrency: usize,
}

impl SettingsB {
    /// The defaults, with this secret.
    pub fn new(secret: Secret) -> Self {
        Self { secret, ..program::settings(PLACEHOLDER) }
    }
}

/// The one flag that has no default, where its value is replaced.
const PLACEHOLDER: &[&str] = &["--secret", "replaced by the caller's"];
