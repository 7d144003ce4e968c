//! The timer: does what the broker has due, when it is due.

use std::sync::Arc;

use leveret_broker::Effects;
use tokio::time::timeout_at;

use crate::Shared;

/// Runs until the task is aborted. `shared.timer` is notified when something becomes due earlier than what the
/// timer waits for.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut effects = Effects::default();
    loop {
        let next = shared.broker.tick(shared.clock.now(), &mut effects);
        effects.flush();
        effects.congested.clear();
        match next {
            None => shared.timer.notified().await,
            Some(due) if due <= shared.clock.now() => tokio::task::yield_now().await,
            Some(due) => {
                let due = shared.clock.instant(due).into();
                let _ = timeout_at(due, shared.timer.notified()).await;
            }
        }
    }
}
