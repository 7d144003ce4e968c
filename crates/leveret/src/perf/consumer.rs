//! A consumer: takes what comes, accounts for it and times it, and acknowledges once a read.

use std::sync::Arc;

use hdrhistogram::Histogram;
use leveret_amqp::{
    ContentHeader, DecodeError, Frame, FrameKind, Method, Reader, Table, basic, write_method,
};

use super::body::{MARK_BYTES, Mark};
use super::client::{CHANNEL, Client, ClientError};
use super::delay::Delays;
use super::measure::Measure;
use super::options::Options;
use super::tally::Tally;
use super::topology::Topology;
use super::url::Url;

/// Class and method of `basic.deliver`.
const DELIVER: [u8; 4] = [0, 60, 0, 60];

/// A consumer that is connected and consumes.
pub(super) struct Consumer {
    client: Client,
    measure: Arc<Measure>,
    autoack: bool,
    assembly: Assembly,
    received: Received,
}

/// What came to a consumer.
#[derive(Debug)]
pub(super) struct Received {
    /// Which messages.
    pub(super) tally: Tally,
    /// How long they took, in microseconds; for delayed ones, how late they came.
    pub(super) times_us: Histogram<u64>,
    /// Messages that came before their delay was over.
    pub(super) early: u64,
    delays: Option<Delays>,
    timed_from_us: u64,
}

/// A delivery whose frames are coming in.
#[derive(Default)]
struct Assembly {
    tag: u64,
    redelivered: bool,
    missing: u64,
    mark: [u8; MARK_BYTES],
    marked: usize,
}

impl Consumer {
    pub(super) async fn connect(
        url: &Url,
        options: &Options,
        topology: &Topology,
        measure: Arc<Measure>,
        index: u16,
    ) -> Result<Self, ClientError> {
        let mut client = Client::connect(url).await?;
        let set =
            |method: &Method<'_>| matches!(method, Method::Basic(basic::Method::QosOk(_))).then_some(());
        let qos = basic::Qos { prefetch_size: 0, prefetch_count: options.prefetch, global: false };
        client.call(qos, set).await?;
        for queue in options.queues_of(index, options.consumers) {
            let queue = &topology.queues[usize::from(queue)];
            let consume = basic::Consume {
                ticket: 0,
                queue,
                consumer_tag: queue,
                no_local: false,
                no_ack: options.autoack,
                exclusive: false,
                no_wait: true,
                arguments: Table::default(),
            };
            write_method(CHANNEL, consume, &mut client.output.bytes);
        }
        client.output.flush().await?;
        let received = Received::new(options, measure.timed_from_us);
        Ok(Self { client, measure, autoack: options.autoack, assembly: Assembly::default(), received })
    }

    /// Consumes until everything has come.
    pub(super) async fn run(mut self) -> Result<Received, ClientError> {
        let drained = self.measure.drained.clone();
        loop {
            tokio::select! {
                read = self.client.input.read() => read?,
                () = drained.cancelled() => break,
            }
            let last = self.take_deliveries()?;
            if let Some(delivery_tag) = last.filter(|_| !self.autoack) {
                write_method(
                    CHANNEL,
                    basic::Ack { delivery_tag, multiple: true },
                    &mut self.client.output.bytes,
                );
                self.client.output.flush().await?;
            }
        }
        self.client.close().await?;
        Ok(self.received)
    }

    /// Counts what has come in whole; returns the last one's delivery tag.
    fn take_deliveries(&mut self) -> Result<Option<u64>, ClientError> {
        let now_us = self.measure.now_us();
        let (mut last, mut new) = (None, 0);
        let Self { client, assembly, received, .. } = self;
        client.input.drain(client.frame_max, |frame| {
            if assembly.take(frame)? {
                last = Some(assembly.tag);
                new += u64::from(received.count(assembly, now_us));
            }
            Ok(())
        })?;
        self.measure.consumed.add(new);
        Ok(last)
    }
}

impl Assembly {
    /// Takes a frame; true where the message is whole.
    #[inline]
    fn take(&mut self, frame: &Frame<'_>) -> Result<bool, DecodeError> {
        match frame.kind {
            FrameKind::Method if frame.payload.starts_with(&DELIVER) => {
                let mut fields = Reader::new(&frame.payload[DELIVER.len()..]);
                fields.short_bytes()?;
                (self.tag, self.redelivered) = (fields.read()?, fields.read()?);
                Ok(false)
            }
            FrameKind::Header => {
                self.missing = ContentHeader::parse(frame.payload)?.body_size;
                self.marked = 0;
                Ok(self.missing == 0)
            }
            FrameKind::Body => {
                self.take_body(frame.payload);
                Ok(self.missing == 0)
            }
            FrameKind::Method | FrameKind::Heartbeat => Ok(false),
        }
    }

    #[inline]
    fn take_body(&mut self, part: &[u8]) {
        self.missing = self.missing.saturating_sub(part.len() as u64);
        let wanted = part.len().min(MARK_BYTES - self.marked);
        self.mark[self.marked..self.marked + wanted].copy_from_slice(&part[..wanted]);
        self.marked += wanted;
    }
}

impl Received {
    /// Nothing yet.
    pub(super) fn new(options: &Options, timed_from_us: u64) -> Self {
        Self {
            tally: Tally::new(usize::from(options.producers) * usize::from(options.queues)),
            times_us: new_histogram(),
            early: 0,
            delays: Delays::of(options),
            timed_from_us,
        }
    }

    /// Counts a message; true where it is new.
    #[inline]
    fn count(&mut self, assembly: &Assembly, now_us: u64) -> bool {
        let Some(mark) = Mark::decode(&assembly.mark[..assembly.marked]) else {
            self.tally.foreign += 1;
            return false;
        };
        let new = self.tally.count(&mark, assembly.redelivered);
        if new {
            self.time(&mark, now_us);
        }
        new
    }

    #[inline]
    fn time(&mut self, mark: &Mark, now_us: u64) {
        let delay_us = self.delays.map_or(0, |delays| delays.ms(mark).saturating_mul(1000));
        let due_us = mark.sent_us.saturating_add(delay_us);
        self.early += u64::from(now_us < due_us);
        if mark.sent_us >= self.timed_from_us {
            self.times_us.saturating_record(now_us.saturating_sub(due_us));
        }
    }

    /// Adds what came to another consumer.
    pub(super) fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.early += other.early;
        // Both resize themselves, so that nothing is out of range.
        let _ = self.times_us.add(&other.times_us);
    }
}

/// Microseconds with three digits, up to an hour.
fn new_histogram() -> Histogram<u64> {
    const HOUR_US: u64 = 3_600_000_000;
    Histogram::new_with_max(HOUR_US, 3).unwrap_or_else(|_| unreachable!("constants in range"))
}
