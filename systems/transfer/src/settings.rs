//! What can be set on the two companies, with defaults: the notes' names and times. Reading flags and environment is
//! the binary's business.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use leveret_bus::{ExchangeKind, Topology};
use leveret_web::StartError;
use leveret_web::client::check_url;

use crate::signature::Secret;

/// Where transfers travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Exchange that A publishes to. Default `TransExchange`.
    pub exchange: String,
    /// Routing key. Default `trans`.
    pub routing_key: String,
    /// Queue that B takes from. Default `TransQueueA`.
    pub queue: String,
}

impl Default for Names {
    fn default() -> Self {
        Self { exchange: "TransExchange".into(), routing_key: "trans".into(), queue: "TransQueueA".into() }
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
#[derive(Clone, Debug)]
pub struct SettingsA {
    /// The broker. Default `amqp://guest:guest@127.0.0.1:5672`.
    pub amqp_url: String,
    /// A's database. Default `sqlite://a.db`, made if there is none.
    pub database_url: String,
    /// Address of API, callback and page; port 0 picks a free one. Default `127.0.0.1:8082`.
    pub listen: SocketAddr,
    /// Where B is, for the page to show both sides. Default none.
    pub peer_url: Option<String>,
    /// What messages and callbacks are signed with. There is no default.
    pub secret: Secret,
    /// Exchange, key and queue. Default: the notes'.
    pub names: Names,
    /// How often what is pending is published again. Default 2 s.
    pub republish_every: Duration,
    /// Up to which age. Default 8 s.
    pub republish_until: Duration,
    /// How often what is overdue is failed, and what failed refunded. Default 3 s.
    pub expire_every: Duration,
    /// From which age a transfer is overdue. Default 30 s.
    pub expire_after: Duration,
}

impl SettingsA {
    /// The defaults, with this secret.
    pub fn new(secret: Secret) -> Self {
        Self {
            amqp_url: "amqp://guest:guest@127.0.0.1:5672".into(),
            database_url: "sqlite://a.db".into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8082)),
            peer_url: None,
            secret,
            names: Names::default(),
            republish_every: Duration::from_secs(2),
            republish_until: Duration::from_secs(8),
            expire_every: Duration::from_secs(3),
            expire_after: Duration::from_secs(30),
        }
    }
}

/// What a company asks another is asked over HTTP.
pub(crate) fn check_urls(urls: &[(&'static str, Option<&str>)]) -> Result<(), StartError> {
    for (setting, url) in urls {
        let checked = url.map_or(Ok(()), check_url);
        checked.map_err(|problem| StartError::setting(setting, problem))?;
    }
    Ok(())
}

/// Settings of company B.
#[derive(Clone, Debug)]
pub struct SettingsB {
    /// The broker. Default `amqp://guest:guest@127.0.0.1:5672`.
    pub amqp_url: String,
    /// B's database. Default `sqlite://b.db`, made if there is none.
    pub database_url: String,
    /// Address of API and page; port 0 picks a free one. Default `127.0.0.1:8083`.
    pub listen: SocketAddr,
    /// A's callback, `http://` or `https://`. Default `http://127.0.0.1:8082/callback`.
    pub callback_url: String,
    /// How long one callback may take. Default 5 s.
    pub callback_timeout: Duration,
    /// Where A is, for the page to show both sides. Default none.
    pub peer_url: Option<String>,
    /// What messages and callbacks are signed with. There is no default.
    pub secret: Secret,
    /// Exchange, key and queue. Default: the notes'.
    pub names: Names,
    /// How often what is still prepared is looked for. Default 1 s.
    pub sweep_every: Duration,
    /// Pause before A is asked again about the same transfer, doubled each time up to sixteen times as much. Default
    /// 1 s.
    pub ask_again_after: Duration,
    /// How many transfers are worked on at once. Default 64.
    pub concurrency: usize,
}

impl SettingsB {
    /// The defaults, with this secret.
    pub fn new(secret: Secret) -> Self {
        Self {
            amqp_url: "amqp://guest:guest@127.0.0.1:5672".into(),
            database_url: "sqlite://b.db".into(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8083)),
            callback_url: "http://127.0.0.1:8082/callback".into(),
            callback_timeout: Duration::from_secs(5),
            peer_url: None,
            secret,
            names: Names::default(),
            sweep_every: Duration::from_secs(1),
            ask_again_after: Duration::from_secs(1),
            concurrency: 64,
        }
    }
}
