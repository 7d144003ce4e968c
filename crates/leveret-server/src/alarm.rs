//! The watch over disk and memory: below or above their limits publishers are blocked, before anything is lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::Config;

const PERIOD: Duration = Duration::from_secs(1);

/// Looks every second, and tells through `alarm` why publishers are to be blocked, or that they are not.
pub(crate) async fn run(config: Config, alarm: watch::Sender<Option<&'static str>>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let reason = reason(&config);
        alarm.send_if_modified(|current| {
            let changed = *current != reason;
            if changed {
                match reason {
                    Some(reason) => tracing::warn!(reason, "publishers are blocked"),
                    None => tracing::info!("publishers are unblocked"),
                }
            }
            *current = reason;
            changed
        });
    }
}

/// In RabbitMQ's words.
fn reason(config: &Config) -> Option<&'static str> {
    if let Some(directory) = &config.data_dir
        && config.disk_free_limit_bytes > 0
        && free_bytes(directory).is_some_and(|free| free < config.disk_free_limit_bytes)
    {
        return Some("low on disk");
    }
    let limit = config.memory_limit_bytes;
    (limit > 0 && resident_bytes().is_some_and(|resident| resident > limit)).then_some("low on memory")
}

/// What the disk of that folder has left for this user.
pub(crate) fn free_bytes(directory: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Memory of this process that is not swapped out; `None` where the system does not tell.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string(PathBuf::from("/proc/self/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}
