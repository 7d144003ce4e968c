//! Work that is done again and again until the system ends.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// The turns of a timer: the first at once, then one every so often, never two in a hurry.
pub struct Turns {
    interval: Interval,
    stop: CancellationToken,
}

impl Turns {
    /// Turns until `stop`.
    pub fn every(pause: Duration, stop: CancellationToken) -> Self {
        let mut interval = interval(pause.max(Duration::from_millis(1)));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { interval, stop }
    }

    /// Waits for the next turn; false when there is none any more.
    pub async fn next(&mut self) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            _ = self.interval.tick() => true,
        }
    }
}
