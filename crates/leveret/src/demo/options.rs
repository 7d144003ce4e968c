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
    /// Address of the page that leads to everything [default: 127.0.0.1:8080, with --once a free port].
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<SocketAddr>,
    /// Address of the sign-up system's page and API [default: 127.0.0.1:8081, with --once a free port].
    #[arg(long, value_name = "HOST:PORT")]
    signup: Option<SocketAddr>,
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
  leveret demo --once                 the tour alone, under a minute
  leveret demo --amqp 127.0.0.1:5673  where another broker has port 5672";

impl Options {
    pub(super) fn amqp(&self) -> SocketAddr {
        self.address(self.amqp, 5672)
    }

    pub(super) fn http(&self) -> SocketAddr {
        self.address(self.http, 8080)
    }

    pub(super) fn signup(&self) -> SocketAddr {
        self.address(self.signup, 8081)
    }

    fn address(&self, given: Option<SocketAddr>, usual: u16) -> SocketAddr {
        let port = if self.once { 0 } else { usual };
        given.unwrap_or_else(|| ([127, 0, 0, 1], port).into())
    }
}
