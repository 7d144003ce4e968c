//! Every setting there is: its key in the file, and what the help says of it. Flag and environment variable
//! follow from the key, default and type from [`leveret_server::Config`].

/// A setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Key in the file; a dot stands for a section.
    pub(crate) key: &'static str,
    /// What the help calls the value.
    pub(super) value_name: &'static str,
    pub(super) help: &'static str,
    /// Whether the value is not to be shown.
    pub(crate) secret: bool,
}

const fn setting(key: &'static str, value_name: &'static str, help: &'static str) -> Setting {
    Setting { key, value_name, help, secret: false }
}

/// All settings, in the order of the help.
pub(crate) const SETTINGS: [Setting; 24] = [
    setting(
        "data_dir",
        "DIR",
        "Folder for durable queues and exchanges and persistent messages, made if there is none. Without it \
         everything is gone when the broker stops",
    ),
    setting(
        "durability",
        "WHEN",
        "When a persistent message is confirmed: `sync`, once it would survive a loss of power, or `os`, once it would \
         survive the end of the process",
    ),
    setting(
        "message_memory_bytes",
        "BYTES",
        "Memory for messages that wait in queues; more is paged out to the data folder",
    ),
    setting(
        "disk_free_limit_bytes",
        "BYTES",
        "Free space on the data folder's disk below which publishers are blocked, 0 for never",
    ),
    setting(
        "memory_limit_bytes",
        "BYTES",
        "Resident memory of the process above which publishers are blocked, 0 for never",
    ),
    setting(
        "amqp",
        "HOST:PORT",
        "Address for AMQP, `off` for none; port 0 picks a free port, host 0.0.0.0 is every address of the machine",
    ),
    setting(
        "amqps",
        "HOST:PORT",
        "Address for AMQP with TLS, `off` for none; needs --tls-cert and --tls-key",
    ),
    setting("tls.cert", "FILE", "Certificate chain for --amqps, PEM"),
    setting("tls.key", "FILE", "Private key of that certificate, PEM"),
    setting(
        "tls.client_ca",
        "FILE",
        "Authorities whose client certificates are accepted, PEM; such clients may log in by EXTERNAL as their \
         certificate's common name",
    ),
    setting("default_user", "NAME", "The user"),
    Setting {
        secret: true,
        ..setting(
            "default_pass",
            "PASSWORD",
            "That user's password; others on the machine can see flags, so rather use the file or the environment",
        )
    },
    setting("default_vhost", "NAME", "The virtual host"),
    setting(
        "load_definitions",
        "FILE",
        "Definitions, RabbitMQ's or Leveret's, that are imported on every start",
    ),
    setting(
        "loopback_users",
        "NAMES",
        "Users who may log in from this machine only, with commas between; empty for none",
    ),
    setting("channel_max", "NUMBER", "Most channels on a connection, 1 to 65535"),
    setting("frame_max_bytes", "BYTES", "Largest frame, at least 4096"),
    setting("heartbeat_s", "SECONDS", "Heartbeat offered to clients, 0 for none"),
    setting("handshake_timeout_ms", "MS", "How long a new connection may take to open"),
    setting("max_message_bytes", "BYTES", "Largest message body"),
    setting("max_transaction_bytes", "BYTES", "Most bytes that a channel publishes in one transaction"),
    setting("shutdown_timeout_ms", "MS", "How long a stop waits for clients to close"),
    setting(
        "management",
        "HOST:PORT",
        "Address of the management, its HTTP API, page and metrics, `off` for none",
    ),
    setting(
        "log",
        "LEVEL",
        "What goes to stderr: off, error, warn, info, debug or trace; or by module, as `warn,leveret_server=debug`",
    ),
];

impl Setting {
    /// `--` and this is the flag.
    pub(super) fn flag(&self) -> String {
        self.key.replace(['_', '.'], "-")
    }

    /// The environment variable.
    pub(super) fn variable(&self) -> String {
        format!("LEVERET_{}", self.key.replace('.', "_").to_uppercase())
    }
}
