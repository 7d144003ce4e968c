//! A broker for one test, in the test's process. To check the checks themselves, they can be run against another
//! broker: `TEST_AMQP_ADDRESS` names it, and each test takes one of its virtual hosts `test-0`, `test-1`, …,
//! which have to be there and empty.

use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use leveret_server::{Config, Handle, Server};
use tokio::runtime::{Builder, Runtime};

use crate::Certificates;

/// A Leveret server on a free port with a runtime of its own. Dropping it ends both.
pub struct TestBroker {
    runtime: Option<Runtime>,
    server: Option<Server>,
    address: SocketAddr,
    vhost: String,
}

impl TestBroker {
    /// An ephemeral server with default settings.
    #[must_use]
    pub fn start() -> Self {
        match env::var("TEST_AMQP_ADDRESS") {
            Ok(address) => Self::elsewhere(&address),
            Err(_) => Self::with(Config::ephemeral()),
        }
    }

    fn elsewhere(address: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let vhost = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let address = address.parse().expect("TEST_AMQP_ADDRESS is an address with a port");
        Self { runtime: None, server: None, address, vhost }
    }

    /// A server with these settings, which should name port 0.
    #[must_use]
    pub fn with(config: Config) -> Self {
        let runtime =
            Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts");
        let server = runtime.block_on(Server::start(config)).expect("the server starts");
        let address = server.amqp_addr().expect("it listens");
        Self { runtime: Some(runtime), server: Some(server), address, vhost: "/".into() }
    }

    /// A server that keeps its data in this folder.
    #[must_use]
    pub fn kept_in(folder: &Path) -> Self {
        Self::with(Config { data_dir: Some(folder.into()), ..Config::ephemeral() })
    }

    /// An ephemeral server with a TLS listener beside the plain one. It asks clients for certificates and has
    /// the user `alice` beside `guest`.
    #[must_use]
    pub fn with_tls(certificates: &Certificates) -> Self {
        Self::with(Config {
            amqps: "127.0.0.1:0".into(),
            tls: Some(certificates.server_files()),
            default_user: "alice".into(),
            ..Config::ephemeral()
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The virtual host that the test has for itself.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Where it listens for TLS.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        self.server.as_ref().and_then(Server::amqps_addr).expect("it listens for TLS")
    }

    /// What the rest of a program sees of the server.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.server.as_ref().map(Server::handle).expect("it runs in this process")
    }

    /// Shuts the server down politely, while the caller goes on.
    pub fn begin_shutdown(&mut self) {
        if let (Some(server), Some(runtime)) = (self.server.take(), &self.runtime) {
            runtime.spawn(server.shutdown());
        }
    }

    /// Shuts the server down politely and waits for its end.
    pub fn shutdown(&mut self) {
        if let (Some(server), Some(runtime)) = (self.server.take(), &self.runtime) {
            runtime.block_on(server.shutdown());
        }
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        self.server = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
