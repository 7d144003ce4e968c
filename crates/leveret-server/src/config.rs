//! The settings of a server, with their defaults. Reading them from files, flags and the environment is
//! the binary's business.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything that one can set on a server. Units stand last in the names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of everything durable. `None` keeps nothing: all is gone when the server ends.
    pub data_dir: Option<PathBuf>,
    /// When a persistent message counts as kept, and is confirmed.
    pub durability: Durability,
    /// Memory for messages that wait in queues, in bytes; more is paged out to `data_dir`.
    pub message_memory_bytes: u64,
    /// Free space on the disk of `data_dir` below which publishers are blocked, in bytes; 0 for never.
    pub disk_free_limit_bytes: u64,
    /// Resident memory of the process above which publishers are blocked, in bytes; 0 for never.
    pub memory_limit_bytes: u64,
    /// Address of the AMQP listener, `off` for none. Port 0 picks a free port.
    pub amqp: String,
    /// Address of the AMQP listener with TLS, `off` (the default) for none. Needs `tls`.
    pub amqps: String,
    /// Certificate and key of the TLS listener.
    pub tls: Option<Tls>,
    /// User made when there is none yet, an administrator.
    pub default_user: String,
    /// Password of that user.
    pub default_pass: String,
    /// Virtual host made when there is none yet.
    pub default_vhost: String,
    /// File of definitions, RabbitMQ's or Leveret's, that are imported on every start.
    pub load_definitions: Option<PathBuf>,
    /// Users who may log in from loopback addresses only. Default: `guest`.
    pub loopback_users: Vec<String>,
    /// Most channels on a connection, 1 to 65535.
    pub channel_max: u16,
    /// Largest frame, in bytes, at least 4096.
    pub frame_max_bytes: u32,
    /// Heartbeat offered to clients, in seconds; 0 offers none.
    pub heartbeat_s: u16,
    /// How long a new connection may take to open, in milliseconds.
    pub handshake_timeout_ms: u64,
    /// Largest message body, in bytes.
    pub max_message_bytes: u64,
    /// Most bytes that a channel may publish in one transaction.
    pub max_transaction_bytes: u64,
    /// How long a shutdown waits for clients to answer `connection.close`, in milliseconds.
    pub shutdown_timeout_ms: u64,
}

/// When a persistent message counts as kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// After `fdatasync`: it survives a loss of power.
    #[default]
    Sync,
    /// After it was handed to the operating system: it survives the end of the process, not of the machine.
    Os,
}

impl From<Durability> for leveret_broker::Durability {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Sync => Self::Sync,
            Durability::Os => Self::Os,
        }
    }
}

/// Files of the TLS listener, all in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate chain.
    pub cert: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
    /// Authorities whose client certificates are accepted; with it clients may log in by `EXTERNAL`, the
    /// certificate's common name being the user.
    pub client_ca: Option<PathBuf>,
}

impl Default for Config {
    /// A server as one installs it: RabbitMQ's port and users, nothing kept.
    fn default() -> Self {
        Self {
            data_dir: None,
            durability: Durability::Sync,
            message_memory_bytes: 128 << 20,
            disk_free_limit_bytes: 512 << 20,
            memory_limit_bytes: 0,
            amqp: "127.0.0.1:5672".into(),
            amqps: "off".into(),
            tls: None,
            default_user: "guest".into(),
            default_pass: "guest".into(),
            default_vhost: "/".into(),
            load_definitions: None,
            loopback_users: vec!["guest".into()],
            channel_max: 2047,
            frame_max_bytes: 131_072,
            heartbeat_s: 60,
            handshake_timeout_ms: 10_000,
            max_message_bytes: 128 << 20,
            max_transaction_bytes: 256 << 20,
            shutdown_timeout_ms: 3_000,
        }
    }
}

impl Config {
    /// A server for one's tests: a free port on loopback, in memory.
    #[must_use]
    pub fn ephemeral() -> Self {
        Self { amqp: "127.0.0.1:0".into(), ..Self::default() }
    }
}
