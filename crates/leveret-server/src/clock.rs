//! The one clock of the server: microseconds on a monotonic base, as the core wants its time.

use std::time::{Duration, Instant};

use leveret_broker::Time;

/// A clock that starts with the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The instant at which the clock shows `time`; some far day for times that no instant can hold.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        let far = self.start + Duration::from_secs(10 * 365 * 86_400);
        self.start.checked_add(Duration::from_micros(time.0)).unwrap_or(far)
    }
}
