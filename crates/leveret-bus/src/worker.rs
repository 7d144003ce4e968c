//! A worker takes messages from a queue and gives them to a handler. It survives the loss of its connection: it
//! declares its topology anew, consumes again, and lets handlers that were at work come to their end.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery as Received;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use crate::delay::{DelayMode, DelayedQueue, DelayedQueueBuilder};
use crate::delivery::Delivery;
use crate::error::Error;
use crate::handler::{Handler, Outcome};
use crate::link::{self, CLOSE_TIMEOUT, Link, Pauses};
use crate::message::short;
use crate::meters;
use crate::parking::queue_of_parked;
use crate::payload::Payload;
use crate::publisher::Publisher;
use crate::retry::RetryPolicy;
use crate::settlement::{Fates, Settlement};
use crate::topology::{Queue, Topology};
use crate::trace;

/// Settings of a worker before it starts.
pub struct WorkerBuilder {
    link: Arc<Link>,
    publisher: Publisher,
    delayed: DelayedQueueBuilder,
    queue: String,
    options: Options,
}

struct Options {
    topology: Topology,
    policy: RetryPolicy,
    concurrency: usize,
    prefetch: Option<u16>,
    time_limit: Option<Duration>,
    drain: Duration,
}

impl WorkerBuilder {
    pub(crate) fn new(link: Arc<Link>, publisher: Publisher, queue: String) -> Self {
        let delayed = DelayedQueueBuilder::new(Arc::clone(&link), publisher.clone(), queue.clone());
        let options = Options {
            topology: Topology::new(),
            policy: RetryPolicy::default(),
            concurrency: 8,
            prefetch: None,
            time_limit: None,
            drain: Duration::from_secs(30),
        };
        Self { link, publisher, delayed, queue, options }
    }

    /// Sets what is declared before consuming, at the start and after each reconnection. Default: the queue
    /// alone, durable. With a topology of one's own the queue has to be part of it.
    pub fn topology(mut self, topology: Topology) -> Self {
        self.options.topology = topology;
        self
    }

    /// Sets when failed messages come back. Default: [`RetryPolicy::default`].
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.options.policy = policy;
        self
    }

    /// Sets how many messages are handled at once. Default 8.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.options.concurrency = concurrency.max(1);
        self
    }

    /// Sets how many messages the broker sends ahead. Default: twice the concurrency. Less than the
    /// concurrency leaves handlers idle.
    pub fn prefetch(mut self, prefetch: u16) -> Self {
        self.options.prefetch = Some(prefetch.max(1));
        self
    }

    /// Sets how long the handler may take for one message; then it is dropped where it is waiting, and the attempt
    /// has failed. Default: no limit.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.options.time_limit = Some(limit);
        self
    }

    /// Sets how long a shutdown waits for handlers at work. Default 30 s. What is not finished then is
    /// delivered again.
    pub fn drain(mut self, drain: Duration) -> Self {
        self.options.drain = drain;
        self
    }

    /// Sets the delayed exchange for retries and the key that leads from it to the queue. Default: `leveret.delay`
    /// and the queue's name. Of no consequence where delays go by the ladder.
    pub fn delay_through(mut self, exchange: impl Into<String>, routing_key: impl Into<String>) -> Self {
        self.delayed = self.delayed.through(exchange, routing_key);
        self
    }

    /// Sets how retries are held back. Default: [`DelayMode::Auto`].
    pub fn delay_mode(mut self, mode: DelayMode) -> Self {
        self.delayed = self.delayed.mode(mode);
        self
    }

    /// Declares everything and starts consuming; from then on the worker looks after itself.
    ///
    /// # Errors
    /// The broker cannot be reached now, or refuses a declaration.
    pub async fn start<H: Handler>(self, handler: H) -> Result<Worker, Error> {
        let delayed = self.delayed.unopened();
        let fates = Fates {
            meters: meters::Handling::new(&self.queue),
            queue: self.queue,
            policy: self.options.policy.clone(),
            delayed: delayed.clone(),
            publisher: self.publisher,
        };
        let stop = CancellationToken::new();
        let consuming = Consuming {
            link: self.link,
            slots: Arc::new(Semaphore::new(self.options.concurrency)),
            options: self.options,
            fates: Arc::new(fates),
            handler: Arc::new(handler),
            at_work: TaskTracker::new(),
            stop: stop.clone(),
        };
        let first = consuming.open().await?;
        let task = tokio::spawn(consuming.run(first));
        Ok(Worker { stop, task, delayed })
    }
}

/// A running worker. Dropping it stops it without waiting; [`shutdown`](Self::shutdown) waits.
pub struct Worker {
    stop: CancellationToken,
    task: JoinHandle<()>,
    delayed: DelayedQueue,
}

impl Worker {
    /// Stops taking messages, lets handlers at work finish and answers their messages. What the broker had sent
    /// ahead goes back to the queue.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "a worker ended badly");
        }
    }

    /// Which way retries are held back on this broker.
    pub async fn delay_mode(&self) -> DelayMode {
        self.delayed.mode().await
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Everything the consuming task owns.
struct Consuming<H> {
    link: Arc<Link>,
    options: Options,
    fates: Arc<Fates>,
    handler: Arc<H>,
    slots: Arc<Semaphore>,
    at_work: TaskTracker,
    stop: CancellationToken,
}

/// A channel with a consumer on it.
struct Session {
    channel: Channel,
    consumer: Consumer,
}

/// Why a session ended.
enum End {
    Stopped,
    Lost,
}

impl<H: Handler> Consuming<H> {
    async fn run(self, first: Session) {
        let mut session = Some(first);
        while let Some(mut present) = session {
            match self.consume(&mut present).await {
                End::Stopped => return self.drain(present).await,
                End::Lost => session = self.reopen().await,
            }
        }
        self.at_work.close();
        self.finish_work().await;
    }

    /// Declares and consumes.
    async fn open(&self) -> Result<Session, Error> {
        let channel = self.link.channel().await?;
        link::bounded(self.declare(&channel)).await?;
        self.fates.delayed.prepare(&self.link).await?;
        let consumer = link::bounded(self.consume_on(&channel)).await?;
        Ok(Session { channel, consumer })
    }

    async fn declare(&self, channel: &Channel) -> Result<(), Error> {
        let queue = &self.fates.queue;
        if self.options.topology == Topology::new() {
            Queue::durable(queue).declare(channel).await?;
        }
        self.options.topology.declare(channel).await?;
        queue_of_parked(queue).declare(channel).await?;
        Ok(())
    }

    async fn consume_on(&self, channel: &Channel) -> Result<Consumer, Error> {
        channel.basic_qos(self.options.prefetch(), BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions { no_ack: false, ..Default::default() };
        let (queue, tag) = (short(&self.fates.queue)?, ShortString::from(""));
        Ok(channel.basic_consume(queue, tag, options, FieldTable::default()).await?)
    }

    /// Opens again until it works; `None` when stopped meanwhile.
    async fn reopen(&self) -> Option<Session> {
        let mut pauses = Pauses::default();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = sleep(pauses.next_pause()) => {}
            }
            match self.open().await {
                Ok(session) => return Some(session),
                Err(error) => {
                    tracing::warn!(queue = self.fates.queue, %error, "cannot consume, trying again");
                }
            }
        }
    }

    async fn consume(&self, session: &mut Session) -> End {
        loop {
            let slot = tokio::select! {
                () = self.stop.cancelled() => return End::Stopped,
                slot = Arc::clone(&self.slots).acquire_owned() => slot,
            };
            let received = tokio::select! {
                () = self.stop.cancelled() => return End::Stopped,
                received = session.consumer.next() => received,
            };
            let Some(Ok(received)) = received else {
                tracing::warn!(queue = self.fates.queue, "consumer lost");
                return End::Lost;
            };
            let work = self.work(received);
            self.at_work.spawn(async move {
                work.await;
                drop(slot);
            });
        }
    }

    /// One message from arrival to answer.
    fn work(&self, received: Received) -> impl Future<Output = ()> + Send + use<H> {
        let settlement = Settlement::new(received.acker.clone());
        let (handler, fates) = (Arc::clone(&self.handler), Arc::clone(&self.fates));
        let limit = self.options.time_limit;
        async move {
            let delivery = Delivery::new(received);
            let span = span(&fates.queue, &delivery);
            let working = async {
                let started = Instant::now();
                fates.meters.at_work.increment(1.0);
                let outcome = handle(&*handler, &delivery, limit).await;
                fates.meters.at_work.decrement(1.0);
                fates.meters.seconds.record(started.elapsed());
                settlement.settle(delivery, outcome, &fates).await;
            };
            working.instrument(span).await;
        }
    }

    /// Cancels first, so that nothing more arrives, and closes the channel last, so that the answers still
    /// go through.
    async fn drain(&self, session: Session) {
        let tag = session.consumer.tag();
        let cancelling = session.channel.basic_cancel(tag, BasicCancelOptions { nowait: false });
        let _ = timeout(CLOSE_TIMEOUT, cancelling).await;
        self.at_work.close();
        self.finish_work().await;
        link::close(&session.channel).await;
    }

    async fn finish_work(&self) {
        if timeout(self.options.drain, self.at_work.wait()).await.is_err() {
            let left = self.at_work.len();
            tracing::warn!(queue = self.fates.queue, left, "handlers did not finish in time");
        }
    }
}

impl Options {
    fn prefetch(&self) -> u16 {
        let twice = u16::try_from(self.concurrency.saturating_mul(2)).unwrap_or(u16::MAX);
        self.prefetch.unwrap_or(twice)
    }
}

/// The span that a message is handled in, as part of the trace that it was sent in.
fn span(queue: &str, delivery: &Delivery) -> Span {
    let (message_id, attempt) = (delivery.message_id(), delivery.attempt());
    let span = tracing::info_span!("handle", queue, message_id, attempt, otel.kind = "consumer");
    trace::adopt(&span, delivery.headers());
    span
}

async fn handle<H: Handler>(handler: &H, delivery: &Delivery, limit: Option<Duration>) -> Outcome {
    let message = match H::Message::decode(delivery) {
        Ok(message) => message,
        Err(error) => return Outcome::park(format!("undecodable: {error}")),
    };
    let handling = AssertUnwindSafe(handler.handle(message, delivery)).catch_unwind();
    let handled = match limit {
        Some(limit) => timeout(limit, handling).await,
        None => Ok(handling.await),
    };
    match handled {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Outcome::retry("the handler panicked"),
        Err(_) => Outcome::retry(format!("not finished within {limit:?}")),
    }
}
