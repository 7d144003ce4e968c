//! The management of a broker: RabbitMQ's HTTP API under `/api`, metrics for Prometheus under `/metrics`, the
//! statistics behind both, and the web UI, which is a client of the API.
//!
//! What a route does to the broker it does through the same calls of the core as a channel. The server is known here
//! only by what [`Node`] asks of it. Shapes of JSON stand in `json` alone.

mod access;
mod api;
mod beside;
mod body;
mod error;
mod json;
mod list;
mod listener;
mod logs;
mod messages;
mod metrics;
mod node;
mod openapi;
mod origin;
mod parameters;
mod places;
mod ranges;
mod statistics;
mod ui;
mod unread;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use listener::Limits;
pub use logs::{LogLine, Logs};
pub use node::{Committed, Listener, Node, NodeStatus};

use self::access::Logins;
use self::statistics::Statistics;
use self::ui::session::Sessions;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    node: Arc<dyn Node>,
    statistics: Arc<Statistics>,
    logins: Arc<Logins>,
    sessions: Arc<Sessions>,
}

/// A running management. Dropping it stops it.
pub struct Management {
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Management {
    /// Serves the management of `node` on `address` within the current tokio runtime. It listens when this returns.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub async fn start(address: &str, node: impl Node, limits: Limits) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let node: Arc<dyn Node> = Arc::new(node);
        let statistics = Arc::new(Statistics::new(address));
        let app = App { node, statistics, logins: Arc::default(), sessions: Arc::default() };
        let sampling = tokio::spawn(statistics::run(app.clone()));
        let serving = tokio::spawn(listener::run(listener, api::router(app, limits.request), limits));
        Ok(Self { address, tasks: vec![sampling, serving] })
    }

    /// Where it listens, with the port that was picked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Management {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}
