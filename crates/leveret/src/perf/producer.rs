//! A producer: publishes as fast as rate and confirm window let it, in batches of one write.

use std::collections::VecDeque;
use std::sync::Arc;

use leveret_amqp::{
    ContentHeader, FieldTable, FrameKind, Method, Properties, Table, Value, basic, confirm, connection,
    write_body_frames, write_method,
};
use tokio::time::sleep_until;

use super::body::Mark;
use super::client::{CHANNEL, Client, ClientError};
use super::delay::Delays;
use super::measure::Measure;
use super::options::Options;
use super::topology::Topology;

/// Bytes gathered for one write.
const BATCH_BYTES: usize = 64 << 10;
/// Stands where each message's own delay is written.
const PLACE_OF_DELAY: i64 = 0x5c1a_77e2_03d9_b64f;
/// Bytes of a body frame before its payload.
const FRAME_HEADER: usize = 7;

/// A producer that is connected.
pub(super) struct Producer {
    client: Client,
    measure: Arc<Measure>,
    streams: Vec<Stream>,
    turn: usize,
    sent: u64,
    pace: Option<f64>,
    confirms: Option<Confirms>,
    blocked: bool,
}

/// What it publishes to one queue.
struct Stream {
    id: u16,
    next: u64,
    /// The frames of a message, the mark still zero.
    frames: Vec<u8>,
    /// Where in them the mark stands.
    mark_at: usize,
    /// Where in them the delay stands, if it is not the same for all.
    delay: Option<(usize, Delays)>,
}

/// What a producer has done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// Messages published.
    pub(super) published: u64,
    /// Those of them that the broker refused with `basic.nack`.
    pub(super) refused: u64,
}

impl Producer {
    pub(super) async fn connect(
        url: &super::url::Url,
        options: &Options,
        topology: &Topology,
        measure: Arc<Measure>,
        index: u16,
    ) -> Result<Self, ClientError> {
        let mut client = Client::connect(url).await?;
        if options.confirm > 0 {
            let selected = |method: &Method<'_>| {
                matches!(method, Method::Confirm(confirm::Method::SelectOk(_))).then_some(())
            };
            client.call(confirm::Select { no_wait: false }, selected).await?;
        }
        let streams = options.queues_of(index, options.producers).map(|queue| {
            let id = index * options.queues + queue;
            Stream::new(
                id,
                &topology.exchange,
                &topology.queues[usize::from(queue)],
                options,
                client.frame_max,
            )
        });
        Ok(Self {
            streams: streams.collect(),
            client,
            measure,
            turn: 0,
            sent: 0,
            pace: options.rate.map(|rate| f64::from(rate) / f64::from(options.producers) / 1e6),
            confirms: (options.confirm > 0).then(|| Confirms::new(options.confirm)),
            blocked: false,
        })
    }

    /// Publishes until it is enough, and waits until the broker has it all.
    pub(super) async fn run(mut self) -> Result<Sent, ClientError> {
        let enough = self.measure.enough.clone();
        while !enough.is_cancelled() {
            self.gather();
            let (due, waits_for_its_pace) = (self.next_due(), self.waits_for_its_pace());
            let Self { client: Client { input, output, .. }, .. } = &mut self;
            tokio::select! {
                written = output.write(), if !output.is_empty() => written?,
                read = input.read() => read?,
                () = sleep_until(due.into()), if waits_for_its_pace => {}
                () = enough.cancelled() => {}
            }
            self.take_answers()?;
        }
        self.finish().await
    }

    async fn finish(mut self) -> Result<Sent, ClientError> {
        while !self.client.output.is_empty() || self.unconfirmed() > 0 {
            let Client { input, output, .. } = &mut self.client;
            tokio::select! {
                written = output.write(), if !output.is_empty() => written?,
                read = input.read() => read?,
            }
            self.take_answers()?;
        }
        let refused = self.confirms.map_or(0, |confirms| confirms.refused);
        self.client.close().await?;
        Ok(Sent { published: self.sent, refused })
    }

    /// Encodes what may be published now, once the last batch is on its way.
    fn gather(&mut self) {
        if !self.client.output.is_empty() || self.blocked {
            return;
        }
        let sent_us = self.measure.now_us();
        let mut left = self.due(sent_us).min(self.room());
        let before = self.sent;
        while left > 0 && self.client.output.bytes.len() < BATCH_BYTES {
            self.streams[self.turn].write(sent_us, &mut self.client.output.bytes);
            self.turn = (self.turn + 1) % self.streams.len();
            self.sent += 1;
            left -= 1;
        }
        let count = self.sent - before;
        if let Some(confirms) = &mut self.confirms {
            confirms.sent(count);
        }
        self.measure.published.add(count);
    }

    /// Messages that the rate asks for by now.
    fn due(&self, now_us: u64) -> u64 {
        self.pace.map_or(u64::MAX, |pace| ((now_us as f64 * pace) as u64).saturating_sub(self.sent))
    }

    /// Messages that the window has room for.
    fn room(&self) -> u64 {
        self.confirms.as_ref().map_or(u64::MAX, Confirms::room)
    }

    fn unconfirmed(&self) -> u64 {
        self.confirms.as_ref().map_or(0, Confirms::unanswered)
    }

    fn waits_for_its_pace(&self) -> bool {
        self.pace.is_some() && self.client.output.is_empty() && !self.blocked && self.room() > 0
    }

    fn next_due(&self) -> std::time::Instant {
        let us = self.pace.map_or(0.0, |pace| (self.sent + 1) as f64 / pace);
        self.measure.instant(us.ceil() as u64)
    }

    fn take_answers(&mut self) -> Result<(), ClientError> {
        let Self { client, confirms, blocked, .. } = self;
        client.input.drain(client.frame_max, |frame| {
            if frame.kind != FrameKind::Method {
                return Ok(());
            }
            match frame.method()? {
                Method::Basic(basic::Method::Ack(ack)) => {
                    answer(confirms, ack.delivery_tag, ack.multiple, false);
                }
                Method::Basic(basic::Method::Nack(nack)) => {
                    answer(confirms, nack.delivery_tag, nack.multiple, true);
                }
                Method::Connection(connection::Method::Blocked(_)) => *blocked = true,
                Method::Connection(connection::Method::Unblocked(_)) => *blocked = false,
                _ => {}
            }
            Ok(())
        })
    }
}

fn answer(confirms: &mut Option<Confirms>, tag: u64, multiple: bool, refused: bool) {
    if let Some(confirms) = confirms {
        confirms.answered(tag, multiple, refused);
    }
}

impl Stream {
    fn new(id: u16, exchange: &str, queue: &str, options: &Options, frame_max: u32) -> Self {
        let delays = Delays::of(options);
        let various = delays.filter(|delays| !delays.is_one());
        let value = |ms| if various.is_some() { Value::I64(PLACE_OF_DELAY) } else { delay_value(ms) };
        let headers = options.delay.map(|ms| FieldTable(vec![("x-delay".into(), value(ms))]).encode());
        let properties = Properties {
            // What we encoded ourselves always parses.
            headers: headers.as_deref().and_then(|headers| Table::parse(headers).ok()),
            delivery_mode: options.persistent.then_some(2),
            ..Properties::default()
        };
        let publish =
            basic::Publish { ticket: 0, exchange, routing_key: queue, mandatory: false, immediate: false };
        let mut frames = Vec::new();
        write_method(CHANNEL, publish, &mut frames);
        ContentHeader { body_size: options.size as u64, properties: &properties.encode() }
            .write_frame(CHANNEL, &mut frames);
        let mark_at = frames.len() + FRAME_HEADER;
        write_body_frames(CHANNEL, &vec![b'.'; options.size], frame_max, &mut frames);
        let place = PLACE_OF_DELAY.to_be_bytes();
        let delay_at = frames.windows(place.len()).position(|window| window == place);
        Self { id, next: 0, frames, mark_at, delay: delay_at.zip(various) }
    }

    #[inline]
    fn write(&mut self, sent_us: u64, out: &mut Vec<u8>) {
        let mark = Mark { sent_us, stream: self.id, number: self.next };
        if let Some((at, delays)) = &self.delay {
            self.frames[*at..at + 8].copy_from_slice(&delays.ms(&mark).to_be_bytes());
        }
        let mark = mark.encode();
        self.next += 1;
        self.frames[self.mark_at..self.mark_at + mark.len()].copy_from_slice(&mark);
        out.extend_from_slice(&self.frames);
    }
}

fn delay_value(ms: u32) -> Value {
    i32::try_from(ms).map_or(Value::I64(ms.into()), Value::I32)
}

/// Which publishes the broker has answered.
struct Confirms {
    window: u64,
    /// Every tag up to this one is answered.
    base: u64,
    /// Of the tags after `base`, which are answered.
    ahead: VecDeque<bool>,
    answered_ahead: u64,
    refused: u64,
}

impl Confirms {
    fn new(window: u32) -> Self {
        Self { window: window.into(), base: 0, ahead: VecDeque::new(), answered_ahead: 0, refused: 0 }
    }

    fn unanswered(&self) -> u64 {
        self.ahead.len() as u64 - self.answered_ahead
    }

    fn room(&self) -> u64 {
        self.window.saturating_sub(self.unanswered())
    }

    fn sent(&mut self, count: u64) {
        self.ahead.resize(self.ahead.len() + count as usize, false);
    }

    fn answered(&mut self, tag: u64, multiple: bool, refused: bool) {
        let before = self.unanswered();
        let end = (tag.saturating_sub(self.base) as usize).min(self.ahead.len());
        if multiple {
            let already = self.ahead.drain(..end).filter(|answered| *answered).count();
            self.answered_ahead -= already as u64;
            self.base += end as u64;
        } else if let Some(answered) = end.checked_sub(1).and_then(|index| self.ahead.get_mut(index)) {
            self.answered_ahead += u64::from(!std::mem::replace(answered, true));
            while self.ahead.pop_front_if(|answered| *answered).is_some() {
                self.base += 1;
                self.answered_ahead -= 1;
            }
        }
        if refused {
            self.refused += before - self.unanswered();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirms_in_any_order() {
        let mut confirms = Confirms::new(10);
        confirms.sent(10);
        assert_eq!((confirms.room(), confirms.unanswered()), (0, 10));
        confirms.answered(3, false, false);
        confirms.answered(3, false, false);
        confirms.answered(1, false, true);
        assert_eq!((confirms.unanswered(), confirms.base), (8, 1));
        confirms.answered(2, false, false);
        assert_eq!((confirms.unanswered(), confirms.base), (7, 3));
        confirms.answered(6, false, false);
        confirms.answered(8, true, true);
        assert_eq!((confirms.unanswered(), confirms.base, confirms.refused), (2, 8, 5));
        confirms.answered(99, true, false);
        assert_eq!((confirms.room(), confirms.unanswered()), (10, 0));
    }
}
