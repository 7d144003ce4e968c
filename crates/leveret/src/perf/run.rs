//! A test from start to end: connect, warm up, measure, take what is left, clean up, report.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use leveret_server::{Config, Server};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::client::ClientError;
use super::consumer::{Consumer, Received};
use super::measure::Measure;
use super::options::Options;
use super::producer::{Producer, Sent};
use super::progress::Progress;
use super::report::{Report, Window};
use super::topology::Topology;
use super::url::Url;
use crate::failure::Failure;
use crate::serve::start_failure;
use crate::stop::StopRequests;

/// How long the broker may take to confirm what was published.
const CONFIRM_LIMIT: Duration = Duration::from_secs(60);
/// How long nothing may come before what is missing is given up.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
const DRAIN_STEP: Duration = Duration::from_millis(5);

/// Runs the test and prints its result.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    options.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start: {error}")))?;
    runtime.block_on(test(options))
}

async fn test(options: &Options) -> Result<(), Failure> {
    let (url, broker) = find_broker(options).await?;
    let topology = Topology::new(options);
    topology.declare(&url).await.map_err(|error| lost_broker(&url, &error))?;
    let outcome = measure(options, &url, &topology).await;
    let left = topology.delete(&url).await.map_err(|error| lost_broker(&url, &error));
    if let Some(broker) = broker {
        broker.shutdown().await;
    }
    let report = Report::new(options, &outcome?, left?);
    report.print(options.json);
    report.verdict()
}

/// The broker that was named, or one of our own.
async fn find_broker(options: &Options) -> Result<(Url, Option<Server>), Failure> {
    let (text, server) = match &options.url {
        Some(url) => (url.clone(), None),
        None => {
            let server = Server::start(Config::ephemeral()).await;
            let server = server.map_err(|error| start_failure(&error, "off"))?;
            (server.amqp_url(), Some(server))
        }
    };
    let url = Url::parse(&text).map_err(|problem| Failure::usage(format!("--url {text}: {problem}")))?;
    Ok((url, server))
}

fn lost_broker(url: &Url, error: &ClientError) -> Failure {
    let advice = match error {
        ClientError::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            "; is it running? Without --url the test starts a broker of its own"
        }
        _ => "",
    };
    Failure::run(format!("broker at {}:{}: {error}{advice}", url.host, url.port))
}

/// What was measured.
pub(super) struct Outcome {
    pub(super) window: Window,
    pub(super) sent: Sent,
    pub(super) received: Received,
}

async fn measure(options: &Options, url: &Url, topology: &Topology) -> Result<Outcome, Failure> {
    let warmup = Duration::from_secs(options.warmup.into());
    let measure = Arc::new(Measure::start(warmup));
    let failed = |error: ClientError| lost_broker(url, &error);
    let mut consumers = JoinSet::new();
    for index in 0..options.consumers {
        let consumer = Consumer::connect(url, options, topology, Arc::clone(&measure), index).await;
        consumers.spawn(consumer.map_err(failed)?.run());
    }
    let mut producers = JoinSet::new();
    for index in 0..options.producers {
        let producer = Producer::connect(url, options, topology, Arc::clone(&measure), index).await;
        producers.spawn(producer.map_err(failed)?.run());
    }
    let stop = StopRequests::listen()
        .map_err(|error| Failure::run(format!("cannot listen for signals: {error}")))?;
    let progress = Progress::start(options, Arc::clone(&measure));
    Running { options, url, measure, producers, consumers, stop, progress }.complete().await
}

/// A test whose producers and consumers are at work.
struct Running<'a> {
    options: &'a Options,
    url: &'a Url,
    measure: Arc<Measure>,
    producers: JoinSet<Result<Sent, ClientError>>,
    consumers: JoinSet<Result<Received, ClientError>>,
    stop: StopRequests,
    progress: Progress,
}

impl Running<'_> {
    async fn complete(mut self) -> Result<Outcome, Failure> {
        let mut window = Window::default();
        let warmup_end = self.measure.instant(self.measure.timed_from_us).into();
        if self.watch_until(warmup_end).await? {
            window.begin(&self.measure);
            let seconds = Duration::from_secs(self.options.seconds.into());
            self.watch_until(warmup_end + seconds).await?;
        }
        window.end(&self.measure);
        self.measure.enough.cancel();
        let sent = self.all_sent().await?;
        if self.options.consumers > 0 {
            self.drain(sent.published - sent.refused).await?;
        }
        self.measure.drained.cancel();
        self.progress.end();
        let received = self.all_received().await?;
        Ok(Outcome { window, sent, received })
    }

    /// Watches over the test until then; false where it was asked to stop before.
    async fn watch_until(&mut self, end: Instant) -> Result<bool, Failure> {
        loop {
            tokio::select! {
                () = sleep_until(end) => return Ok(true),
                () = self.stop.next() => return Ok(false),
                () = self.progress.next_line() => {}
                Some(ended) = self.producers.join_next() => return Err(self.ended_early(ended)),
                Some(ended) = self.consumers.join_next() => return Err(self.ended_early(ended)),
            }
        }
    }

    /// Waits until the broker has everything.
    async fn all_sent(&mut self) -> Result<Sent, Failure> {
        let late = |_| Failure::run(format!("not all was confirmed within {} s", CONFIRM_LIMIT.as_secs()));
        let deadline = Instant::now() + CONFIRM_LIMIT;
        let mut sent = Sent::default();
        while let Some(ended) = timeout_at(deadline, self.producers.join_next()).await.map_err(late)? {
            let one = self.result_of(ended)?;
            sent.published += one.published;
            sent.refused += one.refused;
        }
        Ok(sent)
    }

    /// Waits until so many messages have come, or no more do.
    async fn drain(&mut self, expected: u64) -> Result<(), Failure> {
        let longest_ms = self.options.delay_to.or(self.options.delay.map(u64::from)).unwrap_or(0);
        let patience = IDLE_LIMIT + Duration::from_millis(longest_ms);
        let mut last = (self.measure.consumed.count(), Instant::now());
        while last.0 < expected && last.1.elapsed() < patience {
            tokio::select! {
                () = sleep(DRAIN_STEP) => {}
                () = self.stop.next() => break,
                () = self.progress.next_line() => {}
                Some(ended) = self.consumers.join_next() => return Err(self.ended_early(ended)),
            }
            let consumed = self.measure.consumed.count();
            if consumed > last.0 {
                last = (consumed, Instant::now());
            }
        }
        Ok(())
    }

    async fn all_received(&mut self) -> Result<Received, Failure> {
        let mut received = Received::new(self.options, self.measure.timed_from_us);
        while let Some(ended) = self.consumers.join_next().await {
            received.merge(&self.result_of(ended)?);
        }
        Ok(received)
    }

    fn ended_early<T>(&self, ended: Ended<T>) -> Failure {
        match self.result_of(ended) {
            Ok(_) => Failure::run("a producer or consumer ended too early"),
            Err(failure) => failure,
        }
    }

    fn result_of<T>(&self, ended: Ended<T>) -> Result<T, Failure> {
        let ended = ended.map_err(|error| Failure::run(format!("a task of the test failed: {error}")))?;
        ended.map_err(|error| lost_broker(self.url, &error))
    }
}

type Ended<T> = Result<Result<T, ClientError>, tokio::task::JoinError>;
