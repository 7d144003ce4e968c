//! The Leveret server: a RabbitMQ-compatible AMQP 0-9-1 broker that runs in any Rust program.
//!
//! A broker for one's tests takes three lines; clients connect to [`Server::amqp_url`] as to any other broker:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = leveret_server::Server::start(leveret_server::Config::ephemeral()).await?;
//! println!("connect your client to {}", server.amqp_url());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Listeners, TLS, connections, channels, heartbeats and flow control live here. What a queue or an exchange
//! does is decided in `leveret-broker`, how frames look in `leveret-amqp`.

mod alarm;
mod catalog;
mod clock;
mod commits;
mod config;
mod connection;
mod consumer;
mod descriptors;
mod handle;
mod handshake;
mod health;
mod listener;
mod outbox;
mod reply;
mod session;
mod socket;
mod timer;
mod tls;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use leveret_broker::{
    Backing, Broker, CommitEvent, Definitions, Effects, FirstUser, Login, OpenStore, StoreOptions, Time,
    Users,
};
use thiserror::Error;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use catalog::queue_names;
pub use config::{Config, Durability, Tls};
pub use descriptors::raise_descriptor_limit;
pub use handle::Handle;
pub use health::Health;
pub use tls::CertificateEnds;

use self::catalog::RedbCatalog;
use self::clock::Clock;
use self::commits::Commits;
use self::outbox::Outbox;
use self::timer::Timer;

/// Passwords that are checked at once: each takes a processor and memory for a few milliseconds.
const LOG_INS_AT_ONCE: usize = 2;

/// A running server. Dropping it stops it without a word to its clients; [`Server::shutdown`] is the polite way.
pub struct Server {
    shared: Arc<Shared>,
    amqp: Option<SocketAddr>,
    amqps: Option<SocketAddr>,
    certificates: Arc<CertificateEnds>,
    tasks: Vec<JoinHandle<()>>,
    timer: Option<Timer>,
    /// Closed when the last connection has ended.
    connections: tokio::sync::mpsc::Receiver<()>,
}

/// What all connections of a server share.
pub(crate) struct Shared {
    broker: Arc<Broker>,
    config: Config,
    /// Passwords that may be checked at once.
    log_ins: Semaphore,
    /// Connections that may still be accepted.
    places: Arc<Semaphore>,
    clock: Clock,
    commits: Arc<Commits>,
    shutdown: watch::Sender<bool>,
    /// Why publishers are blocked now.
    alarm: watch::Sender<Option<&'static str>>,
    next_owner: AtomicU64,
}

impl Shared {
    /// Checks a password where it keeps nobody waiting.
    pub(crate) async fn admits(self: &Arc<Self>, name: &str, password: String, from_loopback: bool) -> bool {
        let Ok(_turn) = self.log_ins.acquire().await else { return false };
        let (shared, name) = (Arc::clone(self), name.to_owned());
        let check = move || shared.broker.users.admits(&name, Login::Password(&password), from_loopback);
        tokio::task::spawn_blocking(check).await.unwrap_or(false)
    }

    /// Waits until the server is to stop.
    pub(crate) async fn stopping(&self) {
        let mut shutdown = self.shutdown.subscribe();
        let _sender_lives = shutdown.wait_for(|shut_down| *shut_down).await;
    }
}

/// Why a server does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The address is taken, not of this machine, or no address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address as it was configured.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A certificate or key cannot be read or used.
    #[error("TLS: {0}")]
    Tls(String),
    /// What is on the disk cannot be used.
    #[error("data: {0}")]
    Data(String),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A setting is out of its range.
    #[error("setting {0}")]
    Setting(String),
}

impl Server {
    /// Starts a server within the current tokio runtime. It listens when this returns.
    ///
    /// # Errors
    /// Where a setting is out of range, a listener cannot be bound, or a certificate cannot be used.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        check(&config)?;
        let users = Users::new(config.loopback_users.clone());
        let commits = Arc::new(Commits::default());
        let clock = Clock::start();
        let broker = match &config.data_dir {
            None => Broker::new(users),
            Some(directory) => restore(users, directory, &config, &commits, clock.now())?,
        };
        begin(&broker, &config, clock.now())?;
        let shared = Arc::new(Shared {
            broker: Arc::new(broker),
            config,
            log_ins: Semaphore::new(LOG_INS_AT_ONCE),
            places: Arc::new(Semaphore::new(descriptors::for_connections())),
            clock,
            commits,
            shutdown: watch::Sender::new(false),
            alarm: watch::Sender::new(None),
            next_owner: AtomicU64::new(1),
        });
        let (alive, connections) = tokio::sync::mpsc::channel(1);
        let mut server = Self {
            shared: Arc::clone(&shared),
            amqp: None,
            amqps: None,
            certificates: Arc::default(),
            tasks: Vec::new(),
            timer: None,
            connections,
        };
        if let Some(listener) = listener::bind(&shared.config.amqp).await? {
            server.amqp = listener.local_addr().ok();
            server.tasks.push(tokio::spawn(listener::run(
                listener,
                None,
                Arc::clone(&shared),
                alive.clone(),
            )));
        }
        if let Some(listener) = listener::bind(&shared.config.amqps).await? {
            let tls = shared.config.tls.clone().unwrap_or_default();
            let acceptor = tls::acceptor(&tls)?;
            server.certificates = Arc::new(tls::ends(&tls)?);
            server.amqps = listener.local_addr().ok();
            server.tasks.push(tokio::spawn(listener::run(
                listener,
                Some(acceptor),
                Arc::clone(&shared),
                alive,
            )));
        }
        server.tasks.push(tokio::spawn(alarm::run(shared.config.clone(), shared.alarm.clone())));
        server.timer = Some(Timer::start(shared).map_err(StartError::Thread)?);
        Ok(server)
    }

    /// Address of the AMQP listener, with the port that was picked.
    #[must_use]
    pub fn amqp_addr(&self) -> Option<SocketAddr> {
        self.amqp
    }

    /// Address of the AMQP listener with TLS.
    #[must_use]
    pub fn amqps_addr(&self) -> Option<SocketAddr> {
        self.amqps
    }

    /// URL under which a client reaches the default virtual host as the default user; empty without a listener.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        let config = &self.shared.config;
        let Some(address) = self.amqp else { return String::new() };
        format!(
            "amqp://{}:{}@{address}/{}",
            percent_encoded(&config.default_user),
            percent_encoded(&config.default_pass),
            percent_encoded(&config.default_vhost)
        )
    }

    /// The core: what administrators set, and what is declared.
    #[must_use]
    pub fn broker(&self) -> &Arc<Broker> {
        &self.shared.broker
    }

    /// How the server is.
    #[must_use]
    pub fn health(&self) -> Health {
        self.handle().health()
    }

    /// A handle for others that act on the same core.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
            amqp: self.amqp,
            amqps: self.amqps,
            certificates: Arc::clone(&self.certificates),
        }
    }

    /// Stops listening, closes all connections with reply code 320, and waits for them, but no longer than
    /// [`Config::shutdown_timeout_ms`] and a little.
    pub async fn shutdown(mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // The listeners' handles on the connections go with their tasks.
        for task in std::mem::take(&mut self.tasks) {
            let _ = task.await;
        }
        if let Some(timer) = self.timer.take() {
            timer.end();
        }
        self.shared.shutdown.send_replace(true);
        let limit = Duration::from_millis(self.shared.config.shutdown_timeout_ms + 1500);
        let _ = timeout(limit, self.connections.recv()).await;
        if let Err(error) = self.shared.broker.close() {
            tracing::error!(%error, "the store was not closed in order");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.shared.shutdown.send_replace(true);
    }
}

/// Loads the definitions that are to be loaded, and gives a broker that nobody has used yet its first user where they
/// bring none.
fn begin(broker: &Broker, config: &Config, now: Time) -> Result<(), StartError> {
    let failed = |error: leveret_broker::Error| StartError::Data(error.to_string());
    let definitions = config.load_definitions.as_deref().map(definitions).transpose()?;
    let cluster_id = || format!("leveret-cluster-id-{}", uuid::Uuid::now_v7());
    let brings_users = definitions.as_ref().is_some_and(|definitions| !definitions.users.is_empty());
    if broker.is_new() && !brings_users {
        let Config { default_user, default_pass, default_vhost, .. } = config;
        let first = FirstUser { name: default_user, password: default_pass, vhost: default_vhost };
        broker.begin(&first, &cluster_id()).map_err(failed)?;
    }
    if let Some(definitions) = definitions {
        broker.import(&definitions, &mut Effects::at(now)).map_err(failed)?;
    }
    // One whose users could not be imported is new at the next start too.
    if broker.is_new() {
        broker.begin_without_user(&cluster_id()).map_err(failed)?;
    }
    Ok(())
}

fn definitions(path: &Path) -> Result<Definitions, StartError> {
    let broken = |error: &dyn std::fmt::Display| {
        StartError::Data(format!("load_definitions {}: {error}", path.display()))
    };
    let text = std::fs::read(path).map_err(|error| broken(&error))?;
    let json = serde_json::from_slice(&text).map_err(|error| broken(&error))?;
    Definitions::from_json(json).map_err(|error| broken(&error))
}

/// The broker as it was left in the data directory.
fn restore(
    users: Users,
    directory: &Path,
    config: &Config,
    commits: &Arc<Commits>,
    now: Time,
) -> Result<Broker, StartError> {
    let broken =
        |error: &dyn std::fmt::Display| StartError::Data(format!("{}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(|error| broken(&error))?;
    let commits = Arc::clone(commits);
    let listener = {
        let commits = Arc::clone(&commits);
        move |event| commits.note(event)
    };
    let mut options = StoreOptions::default();
    options.durability = config.durability.into();
    options.open_segments = descriptors::for_segments();
    // The store's lock is taken first, so that a second server is told what is wrong.
    let messages = directory.join("messages");
    let memory = usize::try_from(config.message_memory_bytes).unwrap_or(usize::MAX);
    let store = OpenStore::open(&messages, options, listener).map_err(|error| broken(&error))?;
    commits.note(CommitEvent::Committed(store.committed()));
    let catalog = RedbCatalog::open(&directory.join("catalog.redb"))?;
    let rows = catalog.rows().map_err(|error| broken(&error))?;
    Ok(Broker::restored(users, Backing::new(store, memory, Box::new(catalog)), &rows, now))
}

fn check(config: &Config) -> Result<(), StartError> {
    let refuse = |text: &str| Err(StartError::Setting(text.into()));
    if config.frame_max_bytes < leveret_amqp::FRAME_MIN_SIZE {
        return refuse("frame_max_bytes: the least is 4096");
    }
    if config.channel_max == 0 {
        return refuse("channel_max: the least is 1");
    }
    if config.max_message_bytes > u64::from(u32::MAX) {
        return refuse("max_message_bytes: the most is 4294967295");
    }
    if config.amqps != "off" && config.tls.is_none() {
        return refuse("amqps: needs tls.cert and tls.key");
    }
    Ok(())
}

/// The text with everything encoded that has a meaning in a URL.
fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02x}"),
        })
        .collect()
}
