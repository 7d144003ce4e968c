//! The flags of `leveret demo`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Where the demo's parts are, and how long it stays.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// End after the tour: with 0 where everything came out as it should, else with 1.
    #[arg(long)]
    pub(super) once: bool,
    /// Address of the broker [default: 127.0.0.1:5672, with --once a free port].
    #[arg(long, value_name = "HOST:PORT")]
    amqp: Option<SocketAddr>,
    /// Use this broker instead of starting one: amqp://user:password@host:port.
    #[arg(long, value_name = "URL", conflicts_with = "amqp")]
    pub(super) amqp_url: Option<String>,
    /// Use this database server instead of SQLite: mysql://user:password@host:port, or a postgres:// URL that names a
    /// database. Databases (on PostgreSQL schemas) named leveret_demo_… are made there and kept.
    #[arg(long, value_name = "URL", visible_alias = "database-url")]
    pub(super) mysql_url: Option<String>,
    /// Address of the broker's management [default: 127.0.0.1:15672, with --once a free port].
    #[arg(long, value_name = "HOST:PORT")]
    management: Option<SocketAddr>,
    /// Address of the page that leads to everything [default: 127.0.0.1:8080, with --once a free port].
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<SocketAddr>,
    /// Address of the sign-up system's page and API [default: 127.0.0.1:8081, with --once a free port].
    #[arg(long, value_name = "HOST:PORT")]
    signup: Option<SocketAddr>,
    /// Address of the transferring company A [default: 127.0.0.1:8082, with --once a free port].
    #[arg(long, value_name = "HOST:PORT")]
    transfer_a: Option<SocketAddr>,
    /// Address of the receiving company B [default: 127.0.0.1:8083, with --once a free port].
    #[arg(long, value_name = "HOST:PORT")]
    transfer_b: Option<SocketAddr>,
    /// Address of the orders system [default: 127.0.0.1:8084, with --once a free port].
    #[arg(long, value_name = "HOST:PORT")]
    orders: Option<SocketAddr>,
    /// Folder for databases and mails; kept, and used again the next time. Without it a temporary one.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// What of the programs' logs goes to stderr, as for `leveret serve`.
    #[arg(long, value_name = "LEVEL", default_value = "error,lapin=off")]
    pub(super) log: String,
}

const EXAMPLES: &str = "\
Examples:
  leveret demo                        then open http://127.0.0.1:8080
  leveret demo --once                 the tour alone, under 90 seconds
  leveret demo --amqp 127.0.0.1:5673  where another broker has port 5672
  leveret demo --amqp-url amqp://guest:guest@127.0.0.1 --mysql-url mysql://root@127.0.0.1:3306
                                      the same systems on RabbitMQ and MySQL";

impl Options {
    pub(super) fn amqp(&self) -> SocketAddr {
        self.address(self.amqp, 5672)
    }

    pub(super) fn management(&self) -> SocketAddr {
        self.address(self.management, 15672)
    }

    pub(super) fn http(&self) -> SocketAddr {
        self.address(self.http, 8080)
    }

    pub(super) fn signup(&self) -> SocketAddr {
        self.address(self.signup, 8081)
    }

    pub(super) fn transfer_a(&self) -> SocketAddr {
        self.address(self.transfer_a, 8082)
    }

    pub(super) fn transfer_b(&self) -> SocketAddr {
        self.address(self.transfer_b, 8083)
    }

    pub(super) fn orders(&self) -> SocketAddr {
        self.address(self.orders, 8084)
    }

    fn address(&self, given: Option<SocketAddr>, usual: u16) -> SocketAddr {
        let port = if self.once { 0 } else { usual };
        given.unwrap_or_else(|| ([127, 0, 0, 1], port).into())
    }
}
