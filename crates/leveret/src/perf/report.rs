//! The result of a test: rates, times, and whether every message is accounted for; as text or as JSON.

use std::fmt;
use std::io::Write;

use hdrhistogram::Histogram;
use indicatif::HumanCount;
use serde::Serialize;

use super::measure::Measure;
use super::options::Options;
use super::run::Outcome;
use crate::failure::Failure;

/// The time in which rates are measured.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    begin: Sample,
    end: Sample,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    us: u64,
    published: u64,
    consumed: u64,
}

impl Sample {
    fn of(measure: &Measure) -> Self {
        let (published, consumed) = (measure.published.count(), measure.consumed.count());
        Self { us: measure.now_us(), published, consumed }
    }
}

impl Window {
    pub(super) fn begin(&mut self, measure: &Measure) {
        self.begin = Sample::of(measure);
    }

    pub(super) fn end(&mut self, measure: &Measure) {
        self.end = Sample::of(measure);
    }

    fn seconds(&self) -> f64 {
        (self.end.us - self.begin.us) as f64 / 1e6
    }
}

/// A result.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// How long was measured.
    seconds: f64,
    /// Messages a second, written to sockets.
    publish_rate: u64,
    /// Messages a second that came.
    consume_rate: u64,
    /// From before the write to after the read, of what was sent in the measured time. Of delayed messages it
    /// is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<Times>,
    /// Of delayed messages: how long after they were due they came.
    #[serde(skip_serializing_if = "Option::is_none")]
    lateness_us: Option<Times>,
    /// Of the whole run, warm-up included.
    messages: Messages,
}

/// Times, in microseconds.
#[derive(Debug, Serialize)]
struct Times {
    count: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

#[derive(Debug, Serialize)]
struct Messages {
    published: u64,
    /// Answered with `basic.nack`.
    refused: u64,
    received: u64,
    /// Still in the queues at the end.
    left: u64,
    lost: u64,
    duplicated: u64,
    redelivered: u64,
    out_of_order: u64,
    /// Came before their delay was over.
    early: u64,
    /// Sent by nobody in this test.
    foreign: u64,
}

impl Report {
    /// The result of a test that left so many messages in its queues.
    pub(super) fn new(options: &Options, outcome: &Outcome, left: u64) -> Self {
        let Outcome { window, sent, received } = outcome;
        let rate = |count: u64| (count as f64 / window.seconds()) as u64;
        let times = (!received.times_us.is_empty()).then(|| Times::of(&received.times_us));
        let (latency_us, lateness_us) = if options.delay.is_none() { (times, None) } else { (None, times) };
        let tally = &received.tally;
        let arrived = tally.received + left;
        // What is still held at the end goes with its exchange.
        let is_looked_for = options.delay.is_none() || options.consumers > 0;
        Self {
            seconds: window.seconds(),
            publish_rate: rate(window.end.published - window.begin.published),
            consume_rate: rate(window.end.consumed - window.begin.consumed),
            latency_us,
            lateness_us,
            messages: Messages {
                published: sent.published,
                refused: sent.refused,
                received: tally.received,
                left,
                lost: if is_looked_for { (sent.published - sent.refused).saturating_sub(arrived) } else { 0 },
                duplicated: tally.duplicated,
                redelivered: tally.redelivered,
                out_of_order: tally.out_of_order,
                early: received.early,
                foreign: tally.foreign,
            },
        }
    }

    /// Prints it on stdout. Whoever closed stdout does not want it.
    pub(super) fn print(&self, as_json: bool) {
        let text = match serde_json::to_string_pretty(self) {
            Ok(json) if as_json => json,
            _ => self.to_string(),
        };
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// An error where a message went astray.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let Messages { lost, duplicated, early, .. } = self.messages;
        if lost + duplicated + early == 0 {
            return Ok(());
        }
        Err(Failure::run(format!("messages lost: {lost}, duplicated: {duplicated}, too early: {early}")))
    }
}

impl Times {
    fn of(times: &Histogram<u64>) -> Self {
        Self {
            count: times.len(),
            p50: times.value_at_quantile(0.5),
            p90: times.value_at_quantile(0.9),
            p99: times.value_at_quantile(0.99),
            p999: times.value_at_quantile(0.999),
            max: times.max(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "published     {:>12} messages/s", HumanCount(self.publish_rate).to_string())?;
        writeln!(out, "consumed      {:>12} messages/s", HumanCount(self.consume_rate).to_string())?;
        if let Some(times) = &self.latency_us {
            writeln!(out, "latency       {times}")?;
        }
        if let Some(times) = &self.lateness_us {
            writeln!(out, "lateness      {times}")?;
        }
        write!(out, "messages      {}", self.messages)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, p999, max] =
            [self.p50, self.p90, self.p99, self.p999, self.max].map(|us| us as f64 / 1000.0);
        write!(out, "p50 {p50:.3}  p90 {p90:.3}  p99 {p99:.3}  p99.9 {p999:.3}  max {max:.3} ms")
    }
}

impl fmt::Display for Messages {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let always = [("published", self.published), ("received", self.received), ("lost", self.lost)];
        let seldom = [
            ("duplicated", self.duplicated),
            ("out of order", self.out_of_order),
            ("too early", self.early),
            ("redelivered", self.redelivered),
            ("refused", self.refused),
            ("left in the queues", self.left),
            ("not ours", self.foreign),
        ];
        let told = always.into_iter().chain(seldom.into_iter().filter(|(_, count)| *count > 0));
        let told: Vec<_> = told.map(|(name, count)| format!("{name} {}", HumanCount(count))).collect();
        write!(out, "{}", told.join(", "))
    }
}
