//! The management beside the broker: what it asks of the server, answered by the server's handle.

use std::io::ErrorKind;
use std::sync::Arc;

use leveret_broker::{Broker, Lsn, Time};
use leveret_management::{Committed, Limits, Listener, Logs, Management, Node, NodeStatus};
use leveret_server::{Handle, Server};

use crate::failure::Failure;
use crate::serve::listen_advice;

/// Starts the management unless it is off. Where nobody has asked for the address and it is taken, the broker runs
/// without: a second broker on a machine is nothing unusual.
pub(crate) async fn start(
    address: &str,
    wanted: bool,
    server: &Server,
    logs: Arc<Logs>,
) -> Result<Option<Management>, Failure> {
    if address == "off" {
        return Ok(None);
    }
    let node = Served { handle: server.handle(), name: node_name(), started: server.handle().now(), logs };
    match Management::start(address, node, Limits::default()).await {
        Ok(management) => Ok(Some(management)),
        Err(error) if error.kind() == ErrorKind::AddrInUse && !wanted => {
            tracing::warn!("{address} is in use: no management; choose another address with --management");
            Ok(None)
        }
        Err(error) => {
            let advice = listen_advice(&error, "--management");
            Err(Failure::run(format!("cannot listen on {address} for the management: {advice}")))
        }
    }
}

struct Served {
    handle: Handle,
    name: String,
    started: Time,
    logs: Arc<Logs>,
}

impl Node for Served {
    fn broker(&self) -> &Arc<Broker> {
        self.handle.broker()
    }

    fn now(&self) -> Time {
        self.handle.now()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        env!("CARGO_PKG_VERSION")
    }

    fn listeners(&self) -> Vec<Listener> {
        let (plain, tls) = self.handle.listeners();
        let ends = self.handle.certificates();
        let plain = plain.map(|address| Listener::plain("amqp", address));
        let tls = tls.map(|address| Listener {
            certificates: ends.shown.clone(),
            authorities: ends.trusted.clone(),
            ..Listener::plain("amqp/ssl", address)
        });
        plain.into_iter().chain(tls).collect()
    }

    fn max_message_bytes(&self) -> u64 {
        self.handle.config().max_message_bytes
    }

    fn blocked(&self) -> Option<&'static str> {
        self.handle.blocked()
    }

    fn status(&self) -> NodeStatus {
        let (config, health) = (self.handle.config(), self.handle.health());
        NodeStatus {
            data_dir: config.data_dir.clone(),
            started: self.started,
            memory_used_bytes: self.handle.resident_bytes(),
            memory_limit_bytes: config.memory_limit_bytes,
            disk_free_bytes: self.handle.disk_free_bytes(),
            disk_free_limit_bytes: config.disk_free_limit_bytes,
            store_failure: health.store_failure,
            damage: health.damage,
            files: files(),
        }
    }

    fn logs(&self) -> &Logs {
        &self.logs
    }

    fn committed(&self, position: Lsn) -> Committed<'_> {
        Box::pin(self.handle.committed(position))
    }
}

/// As RabbitMQ names nodes.
fn node_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("leveret@{}", if host.is_empty() { "localhost" } else { host })
}

/// Open files of this process, and the most it may have; `None` where the system does not tell.
fn files() -> Option<(u64, u64)> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    let most = line.split_whitespace().nth(3)?.parse().ok()?;
    Some((open, most))
}
