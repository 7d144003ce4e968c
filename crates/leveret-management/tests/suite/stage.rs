//! A server in memory with its management, on ports of their own.

use std::sync::Arc;

use leveret_broker::{Broker, Lsn, Time};
use leveret_management::{Committed, Limits, Listener, Logs, Management, Node, NodeStatus};
use leveret_server::{Config, Handle, Server};

pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) management: Management,
}

impl Stage {
    /// Starts both within the current tokio runtime.
    pub(crate) async fn start(limits: Limits) -> Self {
        let config = Config { amqp: "127.0.0.1:0".into(), ..Config::default() };
        let server = Server::start(config).await.expect("the server starts");
        let node = InProcess { handle: server.handle(), logs: Logs::default() };
        let management = Management::start("127.0.0.1:0", node, limits).await.expect("the management starts");
        Self { server, management }
    }
}

/// The server as its management sees it. The system's figures are left out.
struct InProcess {
    handle: Handle,
    logs: Logs,
}

impl Node for InProcess {
    fn broker(&self) -> &Arc<Broker> {
        self.handle.broker()
    }

    fn now(&self) -> Time {
        self.handle.now()
    }

    fn name(&self) -> &str {
        "leveret@test"
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn listeners(&self) -> Vec<Listener> {
        let address = self.handle.listeners().0;
        address.into_iter().map(|address| Listener { protocol: "amqp", address }).collect()
    }

    fn max_message_bytes(&self) -> u64 {
        self.handle.config().max_message_bytes
    }

    fn blocked(&self) -> Option<&'static str> {
        self.handle.blocked()
    }

    fn status(&self) -> NodeStatus {
        NodeStatus::default()
    }

    fn logs(&self) -> &Logs {
        &self.logs
    }

    fn committed(&self, position: Lsn) -> Committed<'_> {
        Box::pin(self.handle.committed(position))
    }
}
