//! The way in: a [`Bus`] is one supervised connection and what hangs on it.

use std::sync::Arc;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::delay::DelayedQueueBuilder;
use crate::error::{Error, PublishError};
use crate::link::{CLOSE_TIMEOUT, Link, LinkState};
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

    /// Connects.
    ///
    /// # Errors
    /// The URL cannot be read, or the broker not be reached now. Once connected, a lost connection is made
    /// again by itself.
    pub async fn connect(self) -> Result<Bus, Error> {
        let link = Arc::new(Link::new(&self.url, &self.name)?);
        let channel = link.channel().await?;
        let _ = timeout(CLOSE_TIMEOUT, channel.close(200, "connected".into())).await;
        let publisher = Publisher::start(&link, &self.publisher);
        Ok(Bus { link, publisher })
    }
}

impl Bus {
    /// Connects with default settings. The URL is `amqp://user:password@host:port/vhost`, where the virtual
    /// host is percent-encoded and `/` if left out.
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
            publisher: PublisherOptions::default(),
        }
    }

    /// Declares exchanges, queues and bindings.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses one, for instance since it exists with other settings.
    pub async fn declare(&self, topology: &Topology) -> Result<(), Error> {
        let channel = self.link.channel().await?;
        topology.declare(&channel).await?;
        let _ = timeout(CLOSE_TIMEOUT, channel.close(200, "declared".into())).await;
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
        let queue = channel.queue_declare(short(queue)?, options, FieldTable::default()).await?;
        let _ = timeout(CLOSE_TIMEOUT, channel.close(200, "counted".into())).await;
        Ok(queue.message_count())
    }

    /// What the connection is doing, now and as it changes.
    pub fn state(&self) -> watch::Receiver<LinkState> {
        self.link.state()
    }

    /// True when the broker can be reached now; tries to connect if it must.
    pub async fn is_up(&self) -> bool {
        self.link.is_up().await
    }

    /// Closes the connection for good. Shut workers down first: their answers need it.
    pub async fn close(&self) {
        self.link.close().await;
    }
}
