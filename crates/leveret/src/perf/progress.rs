//! The progress line: one a second on stderr, redrawn in place on a terminal.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::measure::Measure;
use super::options::Options;

const EVERY: Duration = Duration::from_secs(1);

/// Tells how the test goes.
pub(super) struct Progress {
    measure: Arc<Measure>,
    ticks: Interval,
    /// `None` where stderr is no terminal.
    bar: Option<ProgressBar>,
    seconds: u64,
    warmup: u64,
    last: (u64, u64),
}

impl Progress {
    pub(super) fn start(options: &Options, measure: Arc<Measure>) -> Self {
        let mut ticks = interval_at(Instant::now() + EVERY, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let length = u64::from(options.warmup) + u64::from(options.seconds);
        let bar = std::io::stderr().is_terminal().then(|| new_bar(length));
        Self { measure, ticks, bar, seconds: 0, warmup: options.warmup.into(), last: (0, 0) }
    }

    /// Waits for the next second, and tells what happened in the last.
    pub(super) async fn next_line(&mut self) {
        self.ticks.tick().await;
        self.seconds += 1;
        let line = self.line();
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.seconds);
                bar.set_message(line);
            }
            // Whoever closed stderr does without.
            None => drop(writeln!(std::io::stderr(), "{:>4} s  {line}", self.seconds)),
        }
    }

    fn line(&mut self) -> String {
        let now = (self.measure.published.count(), self.measure.consumed.count());
        let phase = match self.seconds {
            _ if self.measure.enough.is_cancelled() => " (taking what is left)",
            second if second <= self.warmup => " (warming up)",
            _ => "",
        };
        let line = format!(
            "published {:>11}/s  consumed {:>11}/s  on the way {}{phase}",
            HumanCount(now.0 - self.last.0).to_string(),
            HumanCount(now.1 - self.last.1).to_string(),
            HumanCount(now.0.saturating_sub(now.1)),
        );
        self.last = now;
        line
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{pos:>4}/{len} s {wide_bar:.dim} {msg}");
    let bar = ProgressBar::new(length);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
