//! What the rest of the program sees of a running server: the management, which acts on the same core as the
//! connections do.

use std::net::SocketAddr;
use std::sync::Arc;

use leveret_broker::{Broker, Lsn, Time};
use tokio::sync::Notify;

use crate::{CertificateEnds, Config, Health, Shared, alarm};

/// A handle on a running server. It may outlive the server, which then does nothing any more.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) amqp: Option<SocketAddr>,
    pub(crate) amqps: Option<SocketAddr>,
    pub(crate) certificates: Arc<CertificateEnds>,
}

impl Handle {
    /// The core.
    #[must_use]
    pub fn broker(&self) -> &Arc<Broker> {
        &self.shared.broker
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The time by the server's clock, which is the core's.
    #[must_use]
    pub fn now(&self) -> Time {
        self.shared.clock.now()
    }

    /// How the server is.
    #[must_use]
    pub fn health(&self) -> Health {
        Health {
            store_failure: self.shared.commits.failure(),
            blocked: *self.shared.alarm.borrow(),
            damage: self.shared.broker.store_damage(),
        }
    }

    /// Why publishers are blocked now. Cheaper than all of [`Handle::health`].
    #[must_use]
    pub fn blocked(&self) -> Option<&'static str> {
        *self.shared.alarm.borrow()
    }

    /// Addresses of the listeners for AMQP, without TLS and with.
    #[must_use]
    pub fn listeners(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        (self.amqp, self.amqps)
    }

    /// When the certificates of the listener with TLS end; nothing without one.
    #[must_use]
    pub fn certificates(&self) -> &CertificateEnds {
        &self.certificates
    }

    /// Resident memory of this process, in bytes; `None` where the system does not tell.
    #[must_use]
    pub fn resident_bytes(&self) -> Option<u64> {
        alarm::resident_bytes()
    }

    /// Free space on the disk of the data directory, in bytes; `None` without one.
    #[must_use]
    pub fn disk_free_bytes(&self) -> Option<u64> {
        alarm::free_bytes(self.shared.config.data_dir.as_deref()?)
    }

    /// Waits until the store has committed `position`.
    ///
    /// # Errors
    /// Why it never will.
    pub async fn committed(&self, position: Lsn) -> Result<(), String> {
        let commits = &self.shared.commits;
        let news = Arc::new(Notify::new());
        loop {
            let seen = commits.position();
            if seen >= position {
                return Ok(());
            }
            if let Some(failure) = commits.failure() {
                return Err(failure);
            }
            if commits.wait(seen, &news) {
                news.notified().await;
            }
        }
    }
}
