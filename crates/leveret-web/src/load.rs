//! How fast a system is: many clients at once, each asking again as soon as it is answered; then a wait until all that
//! was asked for is done. Both show on stderr how far they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::client::NoAnswer;

const TELL_EVERY: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// What succeeded.
    pub done: usize,
    /// What did not, and the last reason.
    pub failed: usize,
    /// The last failure in words.
    pub why: Option<String>,
    took: Duration,
    /// Of what succeeded, shortest first.
    latencies: Vec<Duration>,
}

/// Lets `clients` do `work` again and again for this long. The work is given its client's number.
pub async fn drive<W, F>(clients: usize, length: Duration, work: W) -> Report
where
    W: Fn(usize) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), String>> + Send,
{
    let start = Instant::now();
    let done = Arc::new(AtomicUsize::new(0));
    let mut driving = JoinSet::new();
    for client in 0..clients {
        let (work, done) = (work.clone(), Arc::clone(&done));
        driving.spawn(async move {
            let (mut latencies, mut failures) = (Vec::new(), Vec::new());
            // Once at least, however late this client comes to its turn.
            loop {
                let asked = Instant::now();
                match work(client).await {
                    Ok(()) => {
                        latencies.push(asked.elapsed());
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(why) => failures.push(why),
                }
                if start.elapsed() >= length {
                    break;
                }
            }
            (latencies, failures)
        });
    }
    let (mut latencies, mut failures) = (Vec::new(), Vec::new());
    let (bar, mut ticks) = (progress("asking", length.as_secs()), interval(TELL_EVERY));
    loop {
        tokio::select! {
            driven = driving.join_next() => {
                let Some(driven) = driven else { break };
                let (fast, slow) = driven.unwrap_or_default();
                latencies.extend(fast);
                failures.extend(slow);
            }
            _ = ticks.tick() => {
                bar.set_position(start.elapsed().as_secs());
                bar.set_message(format!("s, {} done", done.load(Ordering::Relaxed)));
            }
        }
    }
    bar.finish_and_clear();
    let (failed, why) = (failures.len(), failures.pop());
    Report { failed, why, ..Report::of(latencies, start.elapsed()) }
}

/// Waits until `look` has counted all of them, and says how long that took.
///
/// # Errors
/// `look`'s, or the count has stood still for as long as `patience`.
pub async fn until_all(
    what: &'static str,
    all: u64,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<u64, NoAnswer>,
) -> Result<Duration, NoAnswer> {
    let (start, bar) = (Instant::now(), progress(what, all));
    let (mut last, mut moved) = (0, start);
    loop {
        let count = look().await?;
        bar.set_position(count);
        if count >= all {
            bar.finish_and_clear();
            return Ok(start.elapsed());
        }
        if count != last {
            (last, moved) = (count, Instant::now());
        }
        if moved.elapsed() >= patience {
            bar.finish_and_clear();
            return Err(NoAnswer::because(format!(
                "{what} stands still at {count} of {all} for {patience:?}"
            )));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// A bar on stderr, where that is a terminal.
pub fn progress(what: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}{msg}");
    let bar = ProgressBar::new(length).with_prefix(what);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

impl Report {
    /// A report of latencies that were measured otherwise.
    pub fn of(mut latencies: Vec<Duration>, took: Duration) -> Self {
        latencies.sort();
        Self { done: latencies.len(), failed: 0, why: None, took, latencies }
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// What succeeded, per second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }

    /// The latency that `percent` of what succeeded did not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((self.latencies.len() * percent / 100).min(last)).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1000.0;
        write!(f, "{} in {:.1} s: {:.0}/s", self.done, self.took.as_secs_f64(), self.rate())?;
        write!(f, ", p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms", ms(50), ms(99), ms(100))?;
        match &self.why {
            Some(why) => write!(f, "; {} failed, the last with: {why}", self.failed),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let latencies = (1..=100).rev().map(Duration::from_millis).collect();
        let report = Report::of(latencies, Duration::from_secs(1));
        assert_eq!(
            (report.percentile(50), report.percentile(99), report.percentile(100)),
            (Duration::from_millis(51), Duration::from_millis(100), Duration::from_millis(100))
        );
        assert!(Report::of(Vec::new(), Duration::ZERO).to_string().starts_with("0 in"));
    }

    #[tokio::test]
    async fn failures_are_counted_and_told() {
        let report =
            drive(
                2,
                Duration::from_millis(1),
                async |client| {
                    if client == 0 { Ok(()) } else { Err("no".to_owned()) }
                },
            );
        let report = report.await;
        assert!(report.done > 0 && report.failed > 0);
        assert_eq!(report.why.as_deref(), Some("no"));
    }

    #[tokio::test]
    async fn what_stands_still_is_waited_for_no_more() {
        let mut counts = [1, 2, 2, 3].into_iter();
        let patience = Duration::from_secs(10);
        until_all("writing", 3, patience, async || Ok(counts.next().unwrap_or_default())).await.unwrap();
        let stuck = until_all("writing", 3, Duration::ZERO, async || Ok(1)).await;
        assert_eq!(stuck.unwrap_err().to_string(), "writing stands still at 1 of 3 for 0ns");
    }
}
