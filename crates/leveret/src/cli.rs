//! The command line: subcommands and their help texts. What a setting is called and means stands in
//! [`crate::settings`].

use clap::{Parser, Subcommand};

use crate::admin::{self, On};
#[cfg(feature = "systems")]
use crate::bus::BusCommand;
#[cfg(feature = "systems")]
use crate::demo;
#[cfg(feature = "migrate")]
use crate::migrate;
use crate::perf;
use crate::settings::Flags;
use crate::store::StoreCommand;

/// A RabbitMQ-compatible message broker (AMQP 0-9-1) with delayed delivery, in one small binary.
#[derive(Debug, Parser)]
#[command(name = "leveret", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the broker until SIGTERM or Ctrl-C.
    #[command(long_about = SERVE_ABOUT, after_help = SERVE_EXAMPLES)]
    Serve(Flags),
    /// Show the effective settings and where each came from.
    #[command(long_about = CONFIG_ABOUT, after_help = CONFIG_EXAMPLES)]
    Config {
        #[command(flatten)]
        flags: Flags,
        /// Show passwords as they are.
        #[arg(long)]
        show_secrets: bool,
    },
    /// Show what it is for: the broker, a system on it, and a mail that comes back until it is delivered.
    #[cfg(feature = "systems")]
    Demo(demo::Options),
    /// Look at what the bus's workers gave up, and send it back or throw it away.
    #[cfg(feature = "systems")]
    Bus {
        #[command(subcommand)]
        command: BusCommand,
    },
    /// Move everything from one broker to another, RabbitMQ or Leveret: definitions, then messages.
    #[cfg(feature = "migrate")]
    #[command(long_about = MIGRATE_ABOUT)]
    Migrate(migrate::Options),
    /// Measure what a broker does: rates, latency, and whether every message arrives.
    Perf(perf::Options),
    /// The broker at a glance
    Status(admin::Target),
    /// The broker and its fullest queues, live
    Top(admin::TopOptions),
    /// Queues and the messages in them
    Queues(On<admin::QueuesAction>),
    /// Exchanges
    Exchanges(On<admin::ExchangesAction>),
    /// Bindings
    Bindings(On<admin::BindingsAction>),
    /// Connections
    Connections(On<admin::ConnectionsAction>),
    /// Channels
    Channels(On<admin::ListAction>),
    /// Consumers
    Consumers(On<admin::ListAction>),
    /// Users
    Users(On<admin::UsersAction>),
    /// What users may do in a virtual host
    Permissions(On<admin::PermissionsAction>),
    /// Virtual hosts
    Vhosts(On<admin::VhostsAction>),
    /// Policies
    Policies(On<admin::PoliciesAction>),
    /// Everything that is declared, out and in
    Definitions(On<admin::DefinitionsAction>),
    /// Messages that are held back until they are due
    Delayed(On<admin::DelayedAction>),
    /// Messages that workers have given up
    Parked(On<admin::ParkedAction>),
    /// Print completions for a shell
    Completions(admin::Completions),
    /// Look at a data folder that no broker has open: what waits in it, and whether it is whole.
    Store {
        #[command(subcommand)]
        command: StoreCommand,
    },
}

#[cfg(feature = "migrate")]
const MIGRATE_ABOUT: &str = "\
Move everything from one broker to another, RabbitMQ or Leveret: definitions, then messages.

Definitions go over HTTP, messages over AMQP: each is acknowledged at the source once the target has confirmed it. \
Interrupt it whenever you like, and run it again to go on. At the end it says what was counted in each queue, and \
exits with 1 where that differs.";

const SERVE_ABOUT: &str = "\
Run the broker until SIGTERM or Ctrl-C.

Clients of RabbitMQ connect unchanged. The first line on stdout is `listening on HOST:PORT`; the log goes to \
stderr. Every setting can also stand in a TOML file (--config FILE, names with underscores: `heartbeat_s = 30`) \
or in the environment (LEVERET_HEARTBEAT_S=30); RABBITMQ_DEFAULT_USER, RABBITMQ_DEFAULT_PASS and \
RABBITMQ_DEFAULT_VHOST work too. Flags win over the environment, that over the file, that over the defaults.";

const SERVE_EXAMPLES: &str = "\
Examples:
  leveret serve                                         in memory
  leveret serve --data-dir data                         durable things in ./data
  leveret serve --amqp 127.0.0.1:0                      a free port, named on stdout
  leveret serve --amqp 0.0.0.0:5672 --config leveret.toml
  leveret serve --amqps 0.0.0.0:5671 --tls-cert cert.pem --tls-key key.pem
  RABBITMQ_DEFAULT_USER=app RABBITMQ_DEFAULT_PASS=secret leveret serve";

const CONFIG_ABOUT: &str = "\
Show the effective settings and where each came from.

Takes the flags, the file and the environment that `leveret serve` takes. What it prints is itself a settings \
file, but for passwords, which it hides.";

const CONFIG_EXAMPLES: &str = "\
Examples:
  leveret config
  leveret config --config leveret.toml --heartbeat-s 30
  leveret config --show-secrets > leveret.toml";
