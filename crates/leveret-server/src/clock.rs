//! The one clock of the server: microseconds since 1970, on a monotonic base while it runs, as the core wants its time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use leveret_broker::Time;

/// A clock that starts with the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// Microseconds since 1970 at the start, by the wall clock; from then on only the monotonic clock counts.
    start_us: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_us: whole_us(since_1970) }
    }

    pub(crate) fn now(&self) -> Time {
        Time(self.start_us.saturating_add(whole_us(self.start.elapsed())))
    }

    /// The instant at which the clock shows `time`; some far day for times that no instant can hold.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        let far = self.start + Duration::from_secs(10 * 365 * 86_400);
        let after_start = Duration::from_micros(time.0.saturating_sub(self.start_us));
        self.start.checked_add(after_start).map_or(far, |instant| instant.min(far))
    }
}

fn whole_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
