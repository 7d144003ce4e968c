//! What the management asks of the server that it manages.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use leveret_broker::{Broker, Lsn, Time};

use crate::Logs;

/// The end of a wait for the store: nothing, or why it will never have committed.
pub type Committed<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// A server as its management sees it.
pub trait Node: Send + Sync + 'static {
    /// The core.
    fn broker(&self) -> &Arc<Broker>;

    /// The core's time.
    fn now(&self) -> Time;

    /// What it calls itself, as RabbitMQ's nodes do: `leveret@HOST`.
    fn name(&self) -> &str;

    /// Its version.
    fn version(&self) -> &str;

    /// Where it listens.
    fn listeners(&self) -> Vec<Listener>;

    /// Largest body of a message, in bytes.
    fn max_message_bytes(&self) -> u64;

    /// Why publishers are blocked now, in RabbitMQ's words.
    fn blocked(&self) -> Option<&'static str>;

    /// How the server is now. The system is asked for it, so this is not for every request.
    fn status(&self) -> NodeStatus;

    /// The newest lines of its log.
    fn logs(&self) -> &Logs;

    /// Waits until the store has committed that position.
    fn committed(&self, position: Lsn) -> Committed<'_>;
}

/// How a server is.
#[derive(Clone, Debug, Default)]
pub struct NodeStatus {
    /// Its folder, where it keeps anything.
    pub data_dir: Option<PathBuf>,
    /// When it was started.
    pub started: Time,
    /// Resident memory, in bytes, where the system tells.
    pub memory_used_bytes: Option<u64>,
    /// Memory from which on publishers are blocked, in bytes; 0 for never.
    pub memory_limit_bytes: u64,
    /// Free space on the disk, in bytes, where it keeps anything.
    pub disk_free_bytes: Option<u64>,
    /// Free space below which publishers are blocked, in bytes; 0 for never.
    pub disk_free_limit_bytes: u64,
    /// Why the store has closed itself.
    pub store_failure: Option<String>,
    /// Damaged places found in the folder.
    pub damage: Vec<String>,
    /// Open files of the process, where the system tells, and the most it may have.
    pub files: Option<(u64, u64)>,
}

/// A listener of the server.
#[derive(Clone, Debug)]
pub struct Listener {
    /// RabbitMQ's name of what is spoken there: `amqp`, `amqp/ssl`.
    pub protocol: &'static str,
    /// Its address.
    pub address: SocketAddr,
    /// When the certificates end that it shows.
    pub certificates: Vec<Time>,
    /// When those end that vouch for its clients.
    pub authorities: Vec<Time>,
}

impl Listener {
    /// One without certificates.
    #[must_use]
    pub fn plain(protocol: &'static str, address: SocketAddr) -> Self {
        Self { protocol, address, certificates: Vec::new(), authorities: Vec::new() }
    }
}
