//! The way in: a [`Bus`] is one supervised connection and what hangs on it.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::delay::DelayedQueueBuilder;
use crate::error::{Error, PublishError};
use crate::hosts::Hosts;
use crate::link::{self, Link, LinkState};
use crate::message::{Message, short};
use crate::parking::Parked;
use crate::publisher::{Publisher, PublisherOptions};
use crate::topology::Topology;
use crate::worker::WorkerBuilder;

/// A supervised connection to a broker. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    link: Arc<Link>,
    publisher: Publisher,
}

/// Settings of a [`Bus`] before it connects.
#[derive(Clone, Debug)]
pub struct BusBuilder {
    url: String,
    name: String,
    ca_pem: Option<String>,
    connect_within: Duration,
    publisher: PublisherOptions,
}

impl BusBuilder {
    /// Sets the connection's name as the broker's management shows it. Default: `leveret-bus`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how publishing works. Default: [`PublisherOptions::default`].
    pub fn publisher(mut self, options: PublisherOptions) -> Self {
        self.publisher = options;
        self
    }

    /// Sets the certificates (PEM) of the authorities that a broker behind `amqps://` may be vouched for by, beside
    /// those that the system trusts.
    pub fn certificate_authority(mut self, pem: impl Into<String>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Sets how long connecting for the first time may take, with pauses between attempts. Default 30 s; zero tries
    /// each host once.
    pub fn connect_within(mut self, limit: Duration) -> Self {
        self.connect_within = limit;
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// The URL cannot be read, the broker refuses the log-in, or it cannot be reached within the time for
    /// [connecting](Self::connect_within). Once connected, a lost connection is made again by itself.
    pub async fn connect(self) -> Result<Bus, Error> {
        let hosts = Hosts::new(&self.url, self.name, self.ca_pem)?;
        let link = Arc::new(Link::connect(hosts, Instant::now() + self.connect_within).await?);
        let publisher = Publisher::start(&link, &self.publisher);
        Ok(Bus { link, publisher })
    }
}

impl Bus {
    /// Connects with default settings. The URL is `amqp://user:password@host:port/vhost`, where the virtual
    /// host is percent-encoded and `/` if left out; `amqps://` for TLS. Several URLs, separated by commas, are the hosts
    /// of one cluster: the first that accepts a connection is used, each time one is made.
    ///
    /// # Errors
    /// As [`BusBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::builder(url).connect().await
    }

    /// Settings for a connection to this URL.
    pub fn builder(url: &str) -> BusBuilder {
        BusBuilder {
            url: url.to_owned(),
            name: "leveret-bus".to_owned(),
            ca_pem: None,
            connect_within: Duration::from_secs(30),
            publisher: PublisherOptions::default(),
        }
    }

    /// Declares exchanges, queues and bindings.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses one, for instance since it exists with other settings.
    pub async fn declare(&self, topology: &Topology) -> Result<(), Error> {
        let channel = self.link.channel().await?;
        link::bounded(topology.declare(&channel)).await?;
        link::close(&channel).await;
        Ok(())
    }

    /// Publishes a message and resolves on the broker's confirm.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn publish(&self, message: Message) -> Result<(), PublishError> {
        self.publisher.publish(message).await
    }

    /// The publisher, for those who only publish.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Settings of a worker on a queue.
    pub fn worker(&self, queue: impl Into<String>) -> WorkerBuilder {
        WorkerBuilder::new(Arc::clone(&self.link), self.publisher.clone(), queue.into())
    }

    /// Settings for publishing to a queue with a delay.
    pub fn delayed(&self, queue: impl Into<String>) -> DelayedQueueBuilder {
        DelayedQueueBuilder::new(Arc::clone(&self.link), self.publisher.clone(), queue.into())
    }

    /// The parked messages of a queue.
    pub fn parked(&self, queue: impl Into<String>) -> Parked {
        Parked::new(Arc::clone(&self.link), self.publisher.clone(), queue.into())
    }

    /// How many messages are ready in a queue, which must exist.
    ///
    /// # Errors
    /// There is no such queue, or the broker cannot be reached.
    pub async fn depth(&self, queue: &str) -> Result<u32, Error> {
        let channel = self.link.channel().await?;
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let name = short(queue)?;
        let asking = async { Ok(channel.queue_declare(name, options, FieldTable::default()).await?) };
        let queue = link::bounded(asking).await?;
        link::close(&channel).await;
        Ok(queue.message_count())
    }

    /// What the connection is doing, now and as it changes.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.link.state()
    }

    /// True when the connection is up and the broker answers on it within a second.
    pub async fn is_up(&self) -> bool {
        self.link.answers().await
    }

    /// Closes the connection for good. Shut workers down first: their answers need it.
    pub async fn close(&self) {
        self.link.close().await;
    }
}
