//! A broker for a test: the one named by `LEVERET_TEST_AMQP_URL`, else Leveret in this process. Also
//! waiting for outcomes, and names no other test uses.

pub mod database;
pub mod proxy;

use std::future::Future;
use std::time::Duration;

use leveret_bus::{Bus, Delivery, Handler, Outcome, Text};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than any test should take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A broker, ended with the test where it is in process.
pub struct Broker {
    url: String,
    server: Option<leveret_server::Server>,
}

impl Broker {
    pub async fn start() -> Self {
        if let Ok(url) = std::env::var("LEVERET_TEST_AMQP_URL") {
            return Self { url, server: None };
        }
        let server = leveret_server::Server::start(leveret_server::Config::ephemeral()).await.unwrap();
        Self { url: server.amqp_url(), server: Some(server) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn bus(&self) -> Bus {
        Bus::connect(&self.url).await.unwrap()
    }

    pub async fn stop(self) {
        if let Some(server) = self.server {
            server.shutdown().await;
        }
    }
}

/// A name that no other test, run or process uses.
pub fn unique(base: &str) -> String {
    format!("{base}-{}", uuid::Uuid::now_v7())
}

/// The outcome of a future that must come soon.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: waited {PATIENCE:?} in vain"))
}

/// A handler that passes on what it gets and answers as told.
pub struct Probe<F> {
    pub answer: F,
    pub seen: mpsc::UnboundedSender<(String, Delivery)>,
}

impl<F: Fn(&Delivery) -> Outcome + Send + Sync + 'static> Handler for Probe<F> {
    type Message = Text;

    async fn handle(&self, Text(text): Text, delivery: &Delivery) -> Outcome {
        let outcome = (self.answer)(delivery);
        let _ = self.seen.send((text, delivery.clone()));
        outcome
    }
}

/// A probe and where to see what it got.
pub fn probe<F>(answer: F) -> (Probe<F>, mpsc::UnboundedReceiver<(String, Delivery)>)
where
    F: Fn(&Delivery) -> Outcome + Send + Sync + 'static,
{
    let (seen, arrived) = mpsc::unbounded_channel();
    (Probe { answer, seen }, arrived)
}
