//! What all tasks of a test share: the clock, the counters that the progress line reads, and the words to stop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// A test that runs.
pub(super) struct Measure {
    start: Instant,
    /// Messages written to sockets.
    pub(super) published: Counter,
    /// Messages that came, each counted once.
    pub(super) consumed: Counter,
    /// Producers are to stop publishing.
    pub(super) enough: CancellationToken,
    /// Consumers are to stop.
    pub(super) drained: CancellationToken,
    /// Messages sent earlier than this are not timed, in microseconds since the start.
    pub(super) timed_from_us: u64,
}

/// A counter that many tasks add to. It has its cache line to itself, lest counting slow down what is counted.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Measure {
    pub(super) fn start(warmup: Duration) -> Self {
        Self {
            start: Instant::now(),
            published: Counter::default(),
            consumed: Counter::default(),
            enough: CancellationToken::new(),
            drained: CancellationToken::new(),
            timed_from_us: micros(warmup),
        }
    }

    /// Microseconds since the start.
    pub(super) fn now_us(&self) -> u64 {
        micros(self.start.elapsed())
    }

    /// The instant so many microseconds after the start.
    pub(super) fn instant(&self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
