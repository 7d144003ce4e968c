//! The timer: does what the broker has due, when it is due.

use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;

use leveret_broker::Effects;
use tokio::sync::Notify;
use tokio::time::timeout_at;

use crate::Shared;

/// Wakes the timer from wherever something becomes due.
pub(crate) struct WakeTimer(pub(crate) Arc<Notify>);

impl Wake for WakeTimer {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Runs until the task is aborted. `shared.timer` is notified when something becomes due earlier than what the
/// timer waits for.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut effects = Effects::default();
    loop {
        effects.now = shared.clock.now();
        let next = shared.broker.tick(&mut effects);
        effects.flush();
        effects.congested.clear();
        match next {
            None => shared.timer.notified().await,
            // What has gathered, over a time without a broker for example, may take half of one core: the rest is for
            // what comes in now.
            Some(due) if due <= effects.now => {
                let took = shared.clock.now().0.saturating_sub(effects.now.0);
                tokio::time::sleep(Duration::from_micros(took)).await;
            }
            Some(due) if due <= shared.clock.now() => tokio::task::yield_now().await,
            Some(due) => {
                let due = shared.clock.instant(due).into();
                let _ = timeout_at(due, shared.timer.notified()).await;
            }
        }
    }
}
