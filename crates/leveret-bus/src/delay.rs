//! Bringing a message to a queue later. Finds out by itself whether the broker has delayed exchanges and uses the
//! ladder of queues where it has not; callers see no difference.

use std::sync::Arc;
use std::time::Duration;

use lapin::Channel;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use tokio::sync::RwLock;
use tokio::time::timeout;

use crate::clock;
use crate::error::{Error, PublishError};
use crate::headers::DELAY;
use crate::ladder;
use crate::link::{self, CLOSE_TIMEOUT, Link};
use crate::message::Message;
use crate::publisher::Publisher;
use crate::topology::{Binding, Exchange, ExchangeKind};

/// Exchange that delayed messages go through unless a queue names its own.
const DEFAULT_EXCHANGE: &str = "leveret.delay";
/// How long a broker may take to answer what it can do.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How messages are held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DelayMode {
    /// By a delayed exchange where the broker has them, else by the ladder. The default.
    #[default]
    Auto,
    /// By a delayed exchange; an error where the broker has none.
    Exchange,
    /// By the ladder of queues with a time to live.
    Ladder,
}

/// A queue that can be published to with a delay.
///
/// By an `x-delayed-message` exchange, as long as the broker can; by the ladder at most 49.7 days, to which longer
/// delays are cut. Either way never early, and persistent messages survive a restart of the broker.
///
/// The ladder passes messages on by dead-lettering, which RabbitMQ's classic queues do without a confirm: on one node
/// nothing is lost, but in a cluster a node that fails at that very moment can lose a message.
#[derive(Clone)]
pub struct DelayedQueue {
    route: Arc<Route>,
    publisher: Publisher,
}

struct Route {
    queue: String,
    exchange: String,
    routing_key: String,
    wanted: DelayMode,
    /// What it came to with this broker: never `Auto`.
    found: RwLock<DelayMode>,
}

/// Settings of a [`DelayedQueue`] before it is opened.
pub struct DelayedQueueBuilder {
    link: Arc<Link>,
    publisher: Publisher,
    queue: String,
    exchange: String,
    routing_key: String,
    mode: DelayMode,
}

impl DelayedQueueBuilder {
    pub(crate) fn new(link: Arc<Link>, publisher: Publisher, queue: String) -> Self {
        let (exchange, routing_key) = (DEFAULT_EXCHANGE.to_owned(), queue.clone());
        Self { link, publisher, queue, exchange, routing_key, mode: DelayMode::Auto }
    }

    /// Sets the delayed exchange and the key that leads from it to the queue. Default: `leveret.delay` and the
    /// queue's name. Of no consequence on the ladder.
    pub fn through(mut self, exchange: impl Into<String>, routing_key: impl Into<String>) -> Self {
        self.exchange = exchange.into();
        self.routing_key = routing_key.into();
        self
    }

    /// Sets how messages are held back. Default: [`DelayMode::Auto`].
    pub fn mode(mut self, mode: DelayMode) -> Self {
        self.mode = mode;
        self
    }

    /// Declares what the delays need. The queue must exist.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses a declaration.
    pub async fn open(self) -> Result<DelayedQueue, Error> {
        let link = Arc::clone(&self.link);
        let delayed = self.unopened();
        delayed.prepare(&link).await?;
        Ok(delayed)
    }

    pub(crate) fn unopened(self) -> DelayedQueue {
        let route = Route {
            queue: self.queue,
            exchange: self.exchange,
            routing_key: self.routing_key,
            wanted: self.mode,
            found: RwLock::new(self.mode),
        };
        DelayedQueue { route: Arc::new(route), publisher: self.publisher }
    }
}

impl DelayedQueue {
    /// Publishes so that the message reaches the queue after `delay`, and resolves on the broker's confirm.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn publish(&self, message: Message, delay: Duration) -> Result<(), PublishError> {
        let message = self.route.address(message, delay, self.mode().await)?;
        self.publisher.publish(message).await
    }

    /// Which way delays go on this broker.
    pub async fn mode(&self) -> DelayMode {
        *self.route.found.read().await
    }

    /// Declares what the delays need on the broker that is connected now.
    pub(crate) async fn prepare(&self, link: &Link) -> Result<(), Error> {
        let route = &*self.route;
        let found = route.find(link).await?;
        let channel = link.channel().await?;
        match found {
            DelayMode::Ladder => link::bounded(route.prepare_ladder(&channel)).await?,
            _ => link::bounded(route.prepare_exchange(&channel)).await?,
        }
        *route.found.write().await = found;
        link::close(&channel).await;
        Ok(())
    }
}

impl Route {
    /// Tries the delayed exchange on a connection of its own: RabbitMQ answers an unknown type of exchange by
    /// closing the whole connection (503).
    async fn find(&self, link: &Link) -> Result<DelayMode, Error> {
        if self.wanted == DelayMode::Ladder {
            return Ok(DelayMode::Ladder);
        }
        // A probe that gets no answer is tried once more before the connection is given up.
        let declared = match timeout(PROBE_TIMEOUT, self.probe(link)).await {
            Ok(declared) => declared,
            Err(_) => {
                timeout(PROBE_TIMEOUT, self.probe(link)).await.map_err(|_| Error::TimedOut(PROBE_TIMEOUT))?
            }
        };
        match declared {
            Ok(()) => Ok(DelayMode::Exchange),
            Err(error) if self.wanted == DelayMode::Auto && is_unknown_kind(&error) => Ok(DelayMode::Ladder),
            Err(error) => Err(error),
        }
    }

    async fn probe(&self, link: &Link) -> Result<(), Error> {
        let probe = link.throw_away().await?;
        let declared = self.exchange().declare(&probe.create_channel().await?).await;
        // The answer is there: whether the connection ends well is of no interest.
        let _ = timeout(CLOSE_TIMEOUT, probe.close(200, "done".into())).await;
        declared
    }

    async fn prepare_exchange(&self, channel: &Channel) -> Result<(), Error> {
        self.exchange().declare(channel).await?;
        Binding::new(&self.queue, &self.exchange, &self.routing_key).declare(channel).await
    }

    async fn prepare_ladder(&self, channel: &Channel) -> Result<(), Error> {
        ladder::declare(channel).await?;
        ladder::attach(channel, &self.queue).await
    }

    fn exchange(&self) -> Exchange {
        Exchange::new(&self.exchange, ExchangeKind::Delayed(Box::new(ExchangeKind::Direct)))
    }

    fn address(
        &self,
        mut message: Message,
        delay: Duration,
        mode: DelayMode,
    ) -> Result<Message, PublishError> {
        message.headers_mut().remove(DELAY);
        message.headers_mut().forget_dead_letters();
        if mode == DelayMode::Ladder {
            return ladder::address(message, &self.queue, delay);
        }
        let exact = Duration::from_millis(clock::ms(delay).unsigned_abs()) >= delay;
        let delay_ms = clock::ms(delay).saturating_add(i64::from(!exact));
        message.headers_mut().set_integer(DELAY, delay_ms);
        // RabbitMQ's plugin returns every mandatory message that it holds back, so these are not.
        Ok(message.optional().readdressed(&self.exchange, &self.routing_key))
    }
}

/// True where the broker does not know the type of exchange: RabbitMQ before 4 says 503, later 406.
fn is_unknown_kind(error: &Error) -> bool {
    let Error::Broker(error) = error else { return false };
    let lapin::ErrorKind::ProtocolError(error) = error.kind() else { return false };
    let says_kind = error.get_message().as_str().contains("exchange type");
    match error.kind() {
        AMQPErrorKind::Hard(AMQPHardError::COMMANDINVALID | AMQPHardError::NOTIMPLEMENTED) => true,
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => says_kind,
        _ => false,
    }
}
